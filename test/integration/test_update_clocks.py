# SPDX-License-Identifier: Apache-2.0
"""Rolling updates over masters whose clocks differ; the agent is played by the test."""
import time

import pytest

from masters import FakeAgent, Master, hello, key, masters
from servers import davit_store, wait_until

HOUR_MS = 3600 * 1000


def new_config():
    return hello(name="clock", instances=2, priority=3,
                 update_config={"watch_secs": 1, "pulse_interval_secs": 60})


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, -HOUR_MS])
def test_another_master_with_another_clock_goes_on(tmp_path, ahead_ms):
    """Its predecessor saw an instance run, and a pulse, at a time that has not come."""
    with davit_store(tmp_path / "store") as store, FakeAgent(store) as agent, masters(
            Master(tmp_path, store, args=["--wall-offset-ms", str(ahead_ms)])) as (master,):
        wait_until("the node is known", lambda: any(n["alive"] for n in master.get("/v1/nodes")["items"]))
        master.wait(master.create(name="clock", instances=2))
        agent.run_all()
        master.wait_states(["RUNNING"] * 2, "clock")
        operation = master.wait(master.submit({"op": "OP_JOB_UPDATE_START", "job": new_config()}))
        path = f"/v1/updates/{operation['opcodes'][0]['result']['update']}"
        master.request("POST", path + "/pulse")
        wait_until("instance 0 is to stop", agent.stopped)
        agent.stop_all()

        def new_runs():
            agent.run_all()
            return [t for t in master.tasks("clock", "true") if t.get("ancestor") and t["state"] == "RUNNING"]
        [first] = wait_until("the new one runs", new_runs)
        assert master.get(path)["progress"]["working"] == 1
        master.stop()
        master.args = []
        master.start()
        # A pulse of an hour ago is over, and one of the next hour is none.
        wait_until("it is blocked",
                   lambda: master.get(path)["status"] == "ROLL_FORWARD_AWAITING_PULSE")
        master.request("POST", path + "/pulse")

        def over():
            agent.stop_all()
            agent.run_all()
            return not master.get(path)["active"]
        began = time.monotonic()
        wait_until("the update's end", over, 20)
        assert time.monotonic() - began < 15
        assert master.get(path)["status"] == "ROLLED_FORWARD"
        assert first["id"] in {t["id"] for t in master.tasks("clock", "true")}
        assert master.states("clock") == ["RUNNING"] * 2
        assert {t["job"] for t in master.tasks("clock")} == {key("clock")}
