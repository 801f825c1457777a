# SPDX-License-Identifier: Apache-2.0
"""Rolling updates, over real programs: how they end, what they leave, and masters that die.

One cluster of two nodes for the whole file; each test has jobs of its own.
Contract: aurora.md 4.5, ganeti.md section 4, docs/architecture.md.
"""
import os
import signal
import time
import uuid

import pytest

from cluster import Answer, Cluster, USER
from servers import wait_until

ACTIVE = {"ROLLING_FORWARD", "ROLLING_BACK", "ROLL_FORWARD_PAUSED", "ROLL_BACK_PAUSED",
          "ROLL_FORWARD_AWAITING_PULSE", "ROLL_BACK_AWAITING_PULSE"}
SLEEP = "exec sleep 1000"


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("updates"), nodes=2) as cluster:
        yield cluster


def job(name, cmd=SLEEP, instances=3, mark="", service=True, settings=None, **members):
    return {"cluster": "devcluster", "role": USER, "environment": "devel", "name": name,
            "service": service, "instances": instances, "max_task_failures": 1,
            "task": {"name": "t", "processes": [{"name": "main", "cmdline": f"{cmd} #{mark}"}],
                     "resources": {"cpu": 0.01, "ram": 1 << 20, "disk": 1 << 20},
                     "finalization_wait": 2},
            "update_config": {"watch_secs": 0, **(settings or {})}, **members}


def operate(c, opcode, user=USER, wait=True):
    """Posts an operation of one opcode; its record once it is over."""
    op = {"id": str(uuid.uuid4()), "user": user, "opcodes": [opcode]}
    c.patient_api("POST", "/v1/operations", op, headers={"Idempotency-Key": op["id"]})
    if not wait:
        return op["id"]

    def over():
        record = c.patient_api("GET", f"/v1/operations/{op['id']}?wait=5000")
        return record if record["state"] not in ("queued", "running") else None
    return wait_until("the operation's end", over, 60)


def done(c, opcode, **kw):
    record = operate(c, opcode, **kw)
    assert record["state"] == "succeeded", record
    return record["opcodes"][0]["result"]


def create(c, config):
    done(c, {"op": "OP_JOB_CREATE", "job": config})
    c.wait_state(key_of(config), "RUNNING", config["instances"])


def key_of(config):
    return f"devcluster/{USER}/devel/{config['name']}"


def start(c, config, **members):
    return done(c, {"op": "OP_JOB_UPDATE_START", "job": config, **members})["update"]


def command(c, word, config, **members):
    return operate(c, {"op": f"OP_JOB_UPDATE_{word}", "key": key_of(config), **members})


def update(c, uid):
    return c.patient_api("GET", f"/v1/updates/{uid}")


def wait_status(c, uid, *statuses, seconds=40):
    def there():
        got = update(c, uid)
        return got if got["status"] in statuses else None
    try:
        return wait_until(f"update {statuses}", there, seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{update(c, uid)}\n{c.logs()}") from None


def active(c, config):
    return c.tasks(key_of(config), active=True)


def marks(c, config, count):
    """Which configuration each instance runs: instance -> config hash."""
    def there():
        tasks = [t for t in active(c, config) if t["state"] == "RUNNING"]
        return {t["instance"]: t["config"] for t in tasks} if len(tasks) == count and \
            len(active(c, config)) == count else None
    try:
        return wait_until(f"{count} running", there, 40)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{active(c, config)}\n{c.logs()}") from None


def actions(got, instance):
    return [e["action"] for e in got["instance_events"] if e["instance"] == instance]


def test_rolls_forward_one_by_one(c):
    old, new = job("forward"), job("forward", mark="new")
    create(c, old)
    uid = start(c, new, message="because")
    got = wait_status(c, uid, "ROLLED_FORWARD")
    assert set(marks(c, new, 3).values()) == {got["new_config"]}
    assert got["old_config"] != got["new_config"]
    assert got["instances"] == {"add": [], "update": [0, 1, 2], "remove": [], "unchanged": []}
    assert [e["status"] for e in got["events"]] == ["ROLLING_FORWARD", "ROLLED_FORWARD"]
    assert got["start_message"] == "because" and got["user"] == USER
    # One at a time, in order.
    assert [(e["instance"], e["action"]) for e in got["instance_events"]] == [
        (i, f"INSTANCE_{a}") for i in range(3) for a in ("UPDATING", "UPDATED")]
    assert c.api("GET", f"/v1/jobs/{key_of(new)}")["config"] == got["new_config"]
    listed = c.api("GET", f"/v1/updates?job={key_of(new)}")["items"]
    assert [u["id"] for u in listed] == [uid] and "instances" not in listed[0]


def test_the_same_again_is_no_update(c):
    config = job("same")
    create(c, config)
    result = done(c, {"op": "OP_JOB_UPDATE_START", "job": config})
    assert result == {"job": key_of(config), "update": None,
                      "message": "Job is unchanged by proposed update."}


def test_adds_changes_and_removes(c):
    create(c, job("sizes", instances=2))
    grown = job("sizes", instances=4, mark="grown", settings={"batch_size": 2})
    got = wait_status(c, start(c, grown), "ROLLED_FORWARD")
    assert got["instances"] == {"add": [2, 3], "update": [0, 1], "remove": [], "unchanged": []}
    assert got["instance_events"][0]["instance"] == 2  # New ones come first.
    assert len(marks(c, grown, 4)) == 4
    assert c.api("GET", f"/v1/jobs/{key_of(grown)}")["instances"] == 4
    shrunk = job("sizes", instances=1, mark="grown")
    got = wait_status(c, start(c, shrunk), "ROLLED_FORWARD")
    assert got["instances"]["remove"] == [1, 2, 3] and got["instances"]["unchanged"] == [0]
    assert list(marks(c, shrunk, 1)) == [0]
    assert c.api("GET", f"/v1/jobs/{key_of(grown)}")["instances"] == 1


def test_an_update_creates_a_job(c):
    config = job("born", instances=2)
    got = wait_status(c, start(c, config), "ROLLED_FORWARD")
    assert got["instances"]["add"] == [0, 1] and got["old_config"] is None
    assert len(marks(c, config, 2)) == 2


def test_a_failing_one_rolls_back(c):
    old, bad = job("bad"), job("bad", cmd="exit 1", mark="bad", settings={"watch_secs": 1})
    create(c, old)
    before = marks(c, old, 3)
    got = wait_status(c, start(c, bad), "ROLLED_BACK")
    assert marks(c, old, 3) == before
    assert got["latest_failure"]["instance"] == 0
    rolling_back = next(e for e in got["events"] if e["status"] == "ROLLING_BACK")
    assert rolling_back["message"].startswith("Latest failure: instance 0 exited unexpectedly")
    assert actions(got, 0) == ["INSTANCE_UPDATING", "INSTANCE_UPDATE_FAILED",
                               "INSTANCE_ROLLING_BACK", "INSTANCE_ROLLED_BACK"]
    assert actions(got, 1) == []
    assert c.api("GET", f"/v1/jobs/{key_of(old)}")["config"] == before[0]
