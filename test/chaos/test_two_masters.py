# SPDX-License-Identifier: Apache-2.0
"""P8: two masters on one store, and the leading one sleeps longer than its session.

The other leads.  When the first wakes up it writes nothing, accepts nothing that the
new leader does not know, and ends the davit-op that it still had.
"""
import contextlib
import os
import signal
import subprocess
import threading
import uuid

import pytest
from kazoo.client import KazooClient

from cluster import USER, Answer, Cluster, is_zombie
from plan import FINAL
from servers import build_dir, wait_until
from test_kill_loops import OPERATION_HOOK, job, write_program


class Second(Cluster):
    """The cluster as another master of it, started by hand, sees it."""

    def __init__(self, first, store):
        self.__dict__.update(first.__dict__)
        home = first.dir / "second"
        home.mkdir()
        log = open(first.dir / "log" / "second.log", "ab")
        self.process = subprocess.Popen(
            [build_dir() / "src/master/davit-master", f"--zk={store}", f"--dir={home}",
             f"--zk-auth-file={first.dir}/zk-auth", f"--token-file={first.dir}/token",
             "--cluster=devcluster", "--listen=127.0.0.1:0", f"--hooks-dir={first.dir}/hooks"],
            env=first.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.socket = home / "api.sock"


def gone(pid):
    return not os.path.exists(f"/proc/{pid}") or is_zombie(pid)


def tree_of(zk, path):
    """{path: mzxid} of everything below."""
    found = {path: zk.exists(path).mzxid}
    for child in zk.get_children(path):
        found.update(tree_of(zk, f"{path}/{child}"))
    return found


def test_a_deposed_master_does_nothing(tmp_path):
    with Cluster(tmp_path, nodes=1, env={"ASAN_OPTIONS": "detect_leaks=0"}) as first, \
            contextlib.ExitStack() as stack:
        for phase in ("pre", "post"):
            write_program(tmp_path / "hooks" / f"global-{phase}.d" / "10-chaos",
                          OPERATION_HOOK.replace("DIR", str(tmp_path)))
        (tmp_path / "ledger").touch()
        port = (tmp_path / "run" / "store.port").read_text().strip()
        zk = KazooClient(f"127.0.0.1:{port}", auth_data=[
            ("digest", (tmp_path / "zk-auth").read_text().strip())])
        zk.start(30)
        stack.callback(zk.close)
        stack.callback(zk.stop)
        [leader] = first.pids("davit-master")
        delay_id = str(uuid.uuid4())
        first.api("POST", "/v1/operations", {"id": delay_id, "user": USER, "opcodes": [
            {"op": "OP_TEST_DELAY", "duration": 600, "on_nodes": []}]},
            headers={"Idempotency-Key": delay_id})
        wait_until("the work goes on", lambda: first.pids("davit-op", "--worker"), 20)
        old = [*first.pids("davit-op")]
        epoch = zk.exists("/davit/epoch").version
        second = Second(first, f"127.0.0.1:{port}")
        stack.callback(second.process.wait, 60)
        stack.callback(second.process.terminate)
        wait_until("second master answers", lambda: second.socket.exists(), 20)
        with pytest.raises(Answer) as refused:
            second.api("GET", "/v1/operations")
        assert refused.value.status in (503, 307, 421), refused.value

        os.kill(leader, signal.SIGSTOP)
        stack.callback(os.kill, leader, signal.SIGCONT)
        # It waits in the sleeper's socket, to be read when it wakes up.
        late_id, late = str(uuid.uuid4()), []

        def ask_sleeper():
            try:
                late.append(first.api("POST", "/v1/operations", {
                    "id": late_id, "user": USER, "opcodes": [
                        {"op": "OP_JOB_CREATE", "job": job("late", "exec sleep 3600", 1)}]},
                    headers={"Idempotency-Key": late_id}))
            except (OSError, Answer) as e:
                late.append(e)

        asking = threading.Thread(target=ask_sleeper, daemon=True)
        asking.start()
        second.patient_api("GET", "/v1/operations", seconds=60)
        assert zk.exists("/davit/epoch").version > epoch
        create_id = str(uuid.uuid4())
        second.patient_api("POST", "/v1/operations", {"id": create_id, "user": USER, "opcodes": [
            {"op": "OP_JOB_CREATE", "job": job("new", "exec sleep 3600", 2)}]},
            headers={"Idempotency-Key": create_id})
        second.wait_state(second.key("new"), "RUNNING", 2)
        tasks = sorted(t["id"] for t in second.tasks(second.key("new")))
        epoch = zk.exists("/davit/epoch").version
        before = {**tree_of(zk, "/davit/jobs"), **tree_of(zk, "/davit/tasks")}

        os.kill(leader, signal.SIGCONT)
        wait_until("its davit-ops ended", lambda: all(map(gone, old)), 10)
        asking.join(30)
        assert late, "the sleeper never answered"
        if not isinstance(late[0], Exception):
            assert second.api("GET", f"/v1/operations/{late_id}")["id"] == late_id
        else:
            assert "late" not in {j["key"].split("/")[-1]
                                  for j in second.api("GET", "/v1/jobs")["items"]}, late

        def over():
            record = second.patient_api("GET", f"/v1/operations/{delay_id}?wait=2000")
            return record if record["state"] in FINAL else None
        assert wait_until("the old operation ended", over, 60)["state"] == "disappeared"
        posts = [line.split() for line in (tmp_path / "ledger").read_text().splitlines()
                 if line.startswith("post global 1 ")]
        assert posts == [["post", "global", "1", "disappeared"]]  # P4
        assert zk.exists("/davit/epoch").version == epoch
        after = {**tree_of(zk, "/davit/jobs"), **tree_of(zk, "/davit/tasks")}
        if isinstance(late[0], Exception):
            assert after == before
        with pytest.raises((Answer, OSError)):
            first.api("GET", "/v1/operations")

        # And back: the second one leaves, the first one leads again.
        second.process.terminate()
        second.process.wait(60)
        assert first.patient_api("GET", f"/v1/operations/{delay_id}")["state"] == "disappeared"
        assert sorted(t["id"] for t in first.tasks(first.key("new"), active=True)) == tasks
