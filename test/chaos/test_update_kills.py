# SPDX-License-Identifier: Apache-2.0
"""kill -9 of master, store, agents and operations while jobs are updated.

A round starts an update, with a configuration that runs or one that does not, lets a few
programs die at seeded moments, commands it now and then, and lets it end.  However
it was disturbed:

 it ends as it would have had nobody died; every instance is there exactly once, with the
 configuration that this end stands for; the job is unlocked; what never failed was never
 rolled back.

DAVIT_SEED chooses everything that is chosen here.
"""
import contextlib
import os
import random
import signal
import time

import pytest

from cluster import Answer, Cluster
from plan import SEED, count
from servers import wait_until

from test_updates import command, create, job, key_of, marks, operate, update

VICTIMS = ("davit-master", "davit-master", "davit-store", "davit-agent", "davit-op")


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("update-kills"), nodes=2,
                 env={"ASAN_OPTIONS": "detect_leaks=0"}) as cluster:
        yield cluster


def strike(c, rng):
    pids = sorted(c.pids(rng.choice(VICTIMS)))
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)


def newest(c, config):
    items = c.patient_api("GET", f"/v1/updates?job={key_of(config)}")["items"]
    return items[0] if items else None


def start_surely(c, config, before):
    """Starts it, again if the operation died before it was kept."""
    def there():
        found = newest(c, config)
        if (found and found["id"]) == before:
            operate(c, {"op": "OP_JOB_UPDATE_START", "job": config})
            found = newest(c, config)
        return found["id"] if (found and found["id"]) != before else None
    return wait_until("the update", there, 90)


def steer(c, word, config):
    """A command that may be lost with a master, or come too late."""
    with contextlib.suppress(Answer, AssertionError):
        command(c, word, config)


def test_updates_end_as_if_nobody_had_died(c):
    rng = random.Random(f"{SEED} updates")
    print(f"DAVIT_SEED={SEED}")
    config = job("chaos", instances=4, mark="0")
    create(c, config)
    now = marks(c, config, 4)
    for number in range(1, count(60) + 1):
        bad, back = rng.random() < 0.3, rng.random() < 0.2
        new = job("chaos", instances=4, mark=str(number),
                  cmd="exit 1" if bad else "exec sleep 1000",
                  settings={"watch_secs": 1 if bad or back else 0,
                            "batch_size": rng.randrange(1, 4),
                            "wait_for_batch_completion": rng.random() < 0.5})
        before = newest(c, new)
        uid = start_surely(c, new, before and before["id"])
        asked_back = False
        for _ in range(rng.randrange(1, 4)):
            time.sleep(rng.random() * 0.4)
            strike(c, rng)
            if rng.random() < 0.3:
                steer(c, "PAUSE", new)
                strike(c, rng)
        if back:
            steer(c, "ROLLBACK", new)
            asked_back = any(e["instance"] is not None and "ROLLING_BACK" in e["action"]
                             for e in update(c, uid)["instance_events"]) or \
                "ROLLING_BACK" in [e["status"] for e in update(c, uid)["events"]]

        def over():
            got = update(c, uid)
            if got["status"].endswith("_PAUSED"):
                steer(c, "RESUME", new)
            return got if not got["active"] else None
        got = wait_until(f"the end of update {number}", over, 120)
        wanted = "ROLLED_BACK" if bad or asked_back else "ROLLED_FORWARD"
        assert got["status"] == wanted, (number, bad, asked_back, got)
        after = marks(c, new, 4)
        assert after == (now if wanted == "ROLLED_BACK" else
                         dict.fromkeys(range(4), got["new_config"])), number
        assert wanted == "ROLLED_BACK" or got["failed_instances"] == [], got
        now = after
    def killed():
        try:
            return operate(c, {"op": "OP_JOB_KILL", "key": key_of(config), "instances": None})
        except Answer as e:
            raise AssertionError(e.body) from e
    assert killed()["state"] == "succeeded"
