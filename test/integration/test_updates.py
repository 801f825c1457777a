# SPDX-License-Identifier: Apache-2.0
"""Rolling updates, over real programs: how they end, what they leave, and masters that die.

One cluster of two nodes for the whole file; each test has jobs of its own.
Contract: aurora.md 4.5, ganeti.md section 4, docs/architecture.md.
"""
import http.server
import json
import os
import signal
import threading
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


def test_without_rollback_it_fails_and_stays_mixed(c):
    old = job("stuck")
    bad = job("stuck", cmd="exit 1", mark="bad",
              settings={"watch_secs": 1, "rollback_on_failure": False})
    create(c, old)
    before = marks(c, old, 3)
    got = wait_status(c, start(c, bad), "FAILED")
    assert got["message"].startswith("Latest failure: instance 0 ")
    assert got["failed_instances"] == [0] and got["progress"]["waiting"] == 2
    after = {t["instance"]: t["config"] for t in active(c, old)}
    assert after == {0: got["new_config"], 1: before[1], 2: before[2]}
    assert c.api("GET", f"/v1/jobs/{key_of(old)}")["config"] == before[0]  # What most have.
    done(c, {"op": "OP_JOB_KILL", "key": key_of(old), "instances": None})


def test_some_may_fail(c):
    create(c, job("some"))
    # Instance 1 alone fails.
    new = job("some", cmd="[ {{mesos.instance}} != 1 ] || exit 1; exec sleep 1000",
              settings={"watch_secs": 1, "max_total_failures": 1, "batch_size": 3})
    got = wait_status(c, start(c, new), "ROLLED_FORWARD")
    assert got["failed_instances"] == [1]
    assert actions(got, 1) == ["INSTANCE_UPDATING", "INSTANCE_UPDATE_FAILED"]
    done(c, {"op": "OP_JOB_KILL", "key": key_of(new), "instances": None})


def test_pause_freezes_and_resume_goes_on(c):
    create(c, job("paused"))
    new = job("paused", mark="new", settings={"watch_secs": 1})
    uid = start(c, new)
    assert command(c, "PAUSE", new, message="lunch")["state"] == "succeeded"
    got = update(c, uid)
    assert got["status"] == "ROLL_FORWARD_PAUSED" and got["message"] == "lunch"
    with pytest.raises(Answer) as e:
        command(c, "PAUSE", new)
    assert e.value.status == 409 and "Cannot transition update from ROLL_FORWARD_PAUSED to " \
        "ROLL_FORWARD_PAUSED" in e.value.body
    # What had begun is completed, nothing else begins, however long it takes.
    wait_until("instance 0 runs", lambda: [t for t in active(c, new) if t["instance"] == 0 and
               t["state"] == "RUNNING" and t["config"] == got["new_config"]], 20)
    time.sleep(1.5)
    assert update(c, uid)["progress"] == {"waiting": 2, "working": 1, "done": 0, "failed": 0}
    assert sum(t["config"] == got["new_config"] for t in active(c, new)) == 1
    assert command(c, "RESUME", new)["state"] == "succeeded"
    wait_status(c, uid, "ROLLED_FORWARD")


def test_a_failure_while_paused_is_not_forgotten(c):
    old = job("unforgotten")
    bad = job("unforgotten", cmd="sleep 1; exit 1", settings={"watch_secs": 5})
    create(c, old)
    before = marks(c, old, 3)
    uid = start(c, bad)
    command(c, "PAUSE", bad)
    failed = wait_until("the failure", lambda: update(c, uid)["failed_instances"], 20)
    assert failed == [0] and update(c, uid)["status"] == "ROLL_FORWARD_PAUSED"
    command(c, "RESUME", bad)
    wait_status(c, uid, "ROLLED_BACK")
    assert marks(c, old, 3) == before


def test_abort_leaves_what_is_and_unlocks(c):
    create(c, job("aborted"))
    new = job("aborted", mark="new", settings={"watch_secs": 600})
    uid = start(c, new)
    for opcode in ({"op": "OP_JOB_KILL", "key": key_of(new), "instances": [1]},
                   {"op": "OP_JOB_CREATE", "job": new},
                   {"op": "OP_JOB_UPDATE_START", "job": job("aborted", mark="third")}):
        with pytest.raises(Answer) as e:
            done(c, opcode)
        assert e.value.status == 409 and any(words in e.value.body for words in (
            "Job is currently updating", "already exists")), (opcode["op"], str(e.value))
    wait_until("instance 0 runs", lambda: any(
        t["state"] == "RUNNING" and t["config"] == update(c, uid)["new_config"]
        for t in active(c, new)), 20)
    assert command(c, "ABORT", new)["state"] == "succeeded"
    got = update(c, uid)
    assert got["status"] == "ABORTED" and not got["active"]
    configs = marks(c, new, 3)
    assert configs[0] == got["new_config"] and configs[1] == configs[2] == got["old_config"]
    done(c, {"op": "OP_JOB_KILL", "key": key_of(new), "instances": [1]})
    with pytest.raises(Answer) as e:
        command(c, "ABORT", new)
    assert "No active update found for this job." in str(e.value)


def test_rollback_by_command_restores_sizes_too(c):
    old = job("back", instances=2)
    new = job("back", instances=3, mark="new", settings={"watch_secs": 1})
    create(c, old)
    before = marks(c, old, 2)
    uid = start(c, new)
    wait_until("it has begun with 0", lambda: actions(update(c, uid), 0), 20)
    assert command(c, "ROLLBACK", new, message="no good")["state"] == "succeeded"
    got = wait_status(c, uid, "ROLLED_BACK")
    assert marks(c, old, 2) == before
    assert c.api("GET", f"/v1/jobs/{key_of(old)}")["instances"] == 2
    back = [e["instance"] for e in got["instance_events"]
            if e["action"] == "INSTANCE_ROLLING_BACK"]
    assert back == [0, 2]  # The reverse of 2, 0.
    assert "no good" in [e.get("message") for e in got["events"]]


def test_a_canary_changes_only_its_instances(c):
    old, new = job("canary"), job("canary", mark="new")
    create(c, old)
    before = marks(c, old, 3)
    got = wait_status(c, start(c, new, instances=[1]), "ROLLED_FORWARD")
    assert got["settings"]["only_instances"] == [1] and got["instances"]["update"] == [1]
    assert marks(c, new, 3) == {0: before[0], 1: got["new_config"], 2: before[2]}
    assert c.api("GET", f"/v1/jobs/{key_of(old)}")["config"] == before[0]
    with pytest.raises(Answer) as e:
        start(c, job("canary", mark="newer"), instances=[1, 7])
    assert e.value.status == 400 and "some are irrelevant" in e.value.body
    # The rest follows; what has it stays.
    got = wait_status(c, start(c, new), "ROLLED_FORWARD")
    assert got["instances"]["update"] == [0, 2] and got["instances"]["unchanged"] == [1]
    assert c.api("GET", f"/v1/jobs/{key_of(old)}")["config"] == got["new_config"]


def test_pulses(c):
    create(c, job("pulsed"))
    new = job("pulsed", mark="new", settings={"pulse_interval_secs": 60})
    uid = start(c, new)
    assert update(c, uid)["status"] == "ROLL_FORWARD_AWAITING_PULSE"
    assert c.api("GET", f"/v1/updates?status=blocked&job={key_of(new)}")["items"]
    assert c.api("POST", f"/v1/updates/{uid}/pulse") == {"status": "OK"}
    wait_status(c, uid, "ROLLED_FORWARD")
    assert c.api("POST", f"/v1/updates/{uid}/pulse") == {"status": "FINISHED"}
    with pytest.raises(Answer) as e:
        c.api("POST", f"/v1/updates/{uuid.uuid4()}/pulse")
    assert e.value.status == 404


def test_batches_pause_before_the_next(c):
    create(c, job("batches", instances=4))
    new = job("batches", instances=4, mark="new", settings={
        "update_strategy": {"batch_sizes": [1, 3], "autopause_after_batch": True}})
    uid = start(c, new)
    got = wait_status(c, uid, "ROLL_FORWARD_PAUSED")
    assert "auto paused" in got["message"] and got["progress"]["done"] == 1
    command(c, "RESUME", new)
    got = wait_status(c, uid, "ROLLED_FORWARD")
    assert [e["status"] for e in got["events"]].count("ROLL_FORWARD_PAUSED") == 1
    begun = [e["instance"] for e in got["instance_events"] if e["action"] == "INSTANCE_UPDATING"]
    assert begun == [0, 1, 2, 3]


def test_what_cannot_be_placed_can_be_rolled_back(c):
    old, huge = job("huge"), job("huge")
    huge["task"]["resources"]["cpu"] = 10000
    create(c, old)
    before = marks(c, old, 3)
    uid = start(c, huge)
    wait_until("it waits", lambda: any(t["state"] == "PENDING" for t in active(c, old)), 20)
    assert command(c, "ROLLBACK", old)["state"] == "succeeded"
    wait_status(c, uid, "ROLLED_BACK")
    assert marks(c, old, 3) == before


def test_a_job_that_an_update_began_to_create_is_gone_after_rollback(c):
    bad = job("unborn", cmd="exit 1", settings={"watch_secs": 1})
    wait_status(c, start(c, bad), "ROLLED_BACK")
    wait_until("no tasks", lambda: not active(c, bad), 20)
    create(c, job("unborn"))  # The name is free.


def test_the_same_client_request_is_the_same_update(c):
    create(c, job("twice"))
    metadata = [{"key": "org.apache.aurora.client.update_id", "value": str(uuid.uuid4())}]
    new = job("twice", mark="new", settings={"watch_secs": 1})
    uid = start(c, new, metadata=metadata)
    assert start(c, new, metadata=metadata) == uid
    assert wait_status(c, uid, "ROLLED_FORWARD")["metadata"] == metadata
    assert start(c, new, metadata=metadata) == uid


@pytest.mark.parametrize("words,change", [
    ("Updates are not supported for non-service tasks.", {"service": False}),
    ("Cron jobs may only be created/updated by calling scheduleCronJob.",
     {"cron_schedule": "* * * * *"}),
    ("Batch size should be greater than 0", {"settings": {"batch_size": 0}}),
    ("Pulse interval seconds must be at least 60 seconds.",
     {"settings": {"pulse_interval_secs": 5}}),
    ("Ambiguous update configuration. Cannot combine",
     {"settings": {"batch_size": 3, "update_strategy": {"batch_size": 2}}}),
    ("slaAware is true, but no task slaPolicy is specified.", {"settings": {"sla_aware": True}}),
    ("Your update allows too many failures to occur",
     {"settings": {"max_per_shard_failures": 20001}}),
])
def test_bad_requests_are_refused_in_the_known_words(c, words, change):
    with pytest.raises(Answer) as e:
        start(c, job("refused", **change))
    assert e.value.status == 422 and words in e.value.body


def test_job_diff_tells_what_an_update_would_do(c):
    old = job("diffed", instances=3)
    create(c, old)
    new = job("diffed", instances=2)
    new["task"]["resources"]["cpu"] = 0.02
    diff = c.api("POST", "/v1/job-diff", {"job": new, "instances": None})
    assert (diff["add"], diff["remove"], diff["update"], diff["unchanged"]) == \
        ([], [2], [0, 1], [])
    assert diff["changes"] == {"task.resources.cpu": [0.01, 0.02]}
    assert diff["from"][0]["instances"] == [0, 1] and diff["from"][0]["job"] == old


def test_hooks_get_their_variables(c):
    out = c.dir / "update-hooks"
    for name in ("job-update-pre", "job-update-post", "job-update-pause-pre",
                 "job-update-abort-post"):
        folder = c.dir / "hooks" / f"{name}.d"
        folder.mkdir(parents=True, exist_ok=True)
        hook = folder / "10-note"
        hook.write_text(f"#!/bin/sh\nenv | sort > {out}-{name}\n")
        hook.chmod(0o755)
    create(c, job("hooked"))
    new = job("hooked", mark="new", settings={"watch_secs": 600, "batch_size": 2,
                                              "max_total_failures": 1})
    uid = start(c, new)
    command(c, "PAUSE", new, message="because")
    command(c, "ABORT", new)

    def told(name):
        lines = (out.parent / f"{out.name}-{name}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
    pre, post = told("job-update-pre"), told("job-update-post")
    got = update(c, uid)
    assert pre["GANETI_UPDATE_ID"] == uid  # Known before there is an update.
    for env in (pre, post):
        assert env["GANETI_JOB_KEY"] == env["GANETI_OP_TARGET"] == key_of(new)
        assert env["GANETI_OLD_CONFIG_HASH"] == got["old_config"]
        assert env["GANETI_NEW_CONFIG_HASH"] == got["new_config"]
        assert env["GANETI_BATCH_SIZE"] == "2" and env["GANETI_MAX_FAILURES"] == "1"
        assert env["GANETI_ROLLBACK_ON_FAILURE"] == "True"
        assert env["GANETI_JOB_INSTANCE_COUNT"] == "3"
    assert post.get("GANETI_POST_UPDATE_ID", post["GANETI_UPDATE_ID"]) == uid
    pause = told("job-update-pause-pre")
    assert pause["GANETI_UPDATE_ID"] == uid and pause["GANETI_UPDATE_STATE"] == "ROLLING_FORWARD"
    assert pause["GANETI_REASON"] == "because"
    for folder in (c.dir / "hooks").glob("job-update*"):
        (folder / "10-note").unlink()


def kill_master(c):
    (pid,) = c.pids("davit-master")
    os.kill(pid, signal.SIGKILL)
    wait_until("another master", lambda: c.pids("davit-master") not in ([], [pid]), 20)


@pytest.mark.parametrize("status", sorted(ACTIVE))
def test_another_master_goes_on_in_each_state(c, status):
    name = "killed-" + status.lower().replace("_", "-")
    back, pulse = "BACK" in status, "PULSE" in status
    old = job(name)
    new = job(name, mark="new", settings={
        "watch_secs": 1, **({"pulse_interval_secs": 60} if pulse else {})})
    create(c, old)
    before = marks(c, old, 3)
    uid = start(c, new)
    if pulse and back:
        command(c, "ROLLBACK", new)  # Nobody has sent a pulse: blocked as well.
    elif back:
        wait_until("it has begun", lambda: actions(update(c, uid), 0), 20)
        command(c, "ROLLBACK", new)
    if "PAUSED" in status:
        command(c, "PAUSE", new)
    assert update(c, uid)["status"] == status
    kill_master(c)
    assert update(c, uid)["status"] == status
    with pytest.raises(Answer) as e:
        done(c, {"op": "OP_JOB_KILL", "key": key_of(new), "instances": None})
    assert "Job is currently updating" in str(e.value)
    if "PAUSED" in status:
        command(c, "RESUME", new)
    if pulse:
        c.api("POST", f"/v1/updates/{uid}/pulse")
    got = wait_status(c, uid, "ROLLED_BACK" if back else "ROLLED_FORWARD")
    assert marks(c, old, 3) == (before if back else dict.fromkeys(range(3), got["new_config"]))


def test_only_the_newest_ten_are_remembered(c):
    create(c, job("many", instances=1))
    ids = [wait_status_done(c, job("many", instances=1, mark=str(i))) for i in range(12)]
    listed = [u["id"] for u in c.api("GET", f"/v1/updates?job={c.key('many')}")["items"]]
    assert listed == ids[:1:-1]
    page = c.api("GET", f"/v1/updates?job={c.key('many')}&limit=4&cursor=4")
    assert [u["id"] for u in page["items"]] == listed[4:8] and page["next"] == "8"


def wait_status_done(c, config):
    uid = start(c, config)
    wait_status(c, uid, "ROLLED_FORWARD")
    return uid


def test_one_that_fails_its_health_checks_rolls_back(c):
    old = job("health", mark="old")
    create(c, old)
    before = marks(c, old, 3)
    sick = job("health", mark="sick", health_check_config={
        "health_checker": {"shell": {"shell_command": "echo too bad; exit 3"}},
        "initial_interval_secs": 0.2, "interval_secs": 0.1, "timeout_secs": 5,
        "max_consecutive_failures": 1, "min_consecutive_successes": 1})
    got = wait_status(c, start(c, sick), "ROLLED_BACK")
    assert marks(c, old, 3) == before
    assert "Failed health check!" in got["latest_failure"]["reason"]
    assert "health check" in next(e["message"] for e in got["events"]
                                  if e["status"] == "ROLLING_BACK")


def test_watch_secs_0_waits_for_health(c):
    create(c, job("ready", instances=2))
    new = job("ready", instances=2, cmd="sleep 1; touch ready; exec sleep 1000",
              health_check_config={
                  "health_checker": {"shell": {"shell_command": "test -e ready"}},
                  "initial_interval_secs": 10, "interval_secs": 0.1, "timeout_secs": 5,
                  "max_consecutive_failures": 0, "min_consecutive_successes": 1})
    got = wait_status(c, start(c, new), "ROLLED_FORWARD")
    # Never two at a time, and each was healthy before the next began.
    assert [(e["instance"], e["action"]) for e in got["instance_events"]] == [
        (i, f"INSTANCE_{a}") for i in range(2) for a in ("UPDATING", "UPDATED")]
    took = [got["instance_events"][n + 1]["time_ms"] - got["instance_events"][n]["time_ms"]
            for n in (0, 2)]
    assert min(took) >= 1000


class Coordinator(http.server.BaseHTTPRequestHandler):
    """Lets instance 0 go and nobody else."""
    asked = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        answer = json.dumps({"drain": self.path.endswith("/0")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


def test_sla_aware_ends_only_what_the_coordinator_lets_go(c):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Coordinator)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done(c, {"op": "OP_QUOTA_SET", "role": USER, "cpu": 10.0, "ram_bytes": 1 << 30,
             "disk_bytes": 1 << 30})
    policy = {"coordinator_url": f"http://127.0.0.1:{server.server_port}/ask",
              "status_key": "drain"}
    old = job("coordinated", instances=2, tier="preferred", sla_policy=policy)
    new = job("coordinated", instances=2, mark="new", tier="preferred", sla_policy=policy,
              settings={"sla_aware": True})
    create(c, old)
    before = marks(c, old, 2)
    uid = start(c, new)
    wait_until("instance 1 is asked about", lambda: len(Coordinator.asked) == 2, 30)
    assert [path.rsplit("/", 1)[1] for path, _ in Coordinator.asked] == ["0", "1"]
    now = marks(c, new, 2)
    got = update(c, uid)
    assert now == {0: got["new_config"], 1: before[1]} and got["progress"]["working"] == 1
    command(c, "ABORT", new)
    assert marks(c, new, 2) == now
    server.shutdown()
    server.server_close()


def test_the_list_is_filtered_and_the_newest_is_first(c):
    one, two = job("list-one", instances=1), job("list-two", instances=1)
    ids = []
    for config in (one, two):
        create(c, config)
        uid = start(c, {**config, "contact": "x@y"})
        wait_status(c, uid, "ROLLED_FORWARD")
        ids.append(uid)

    def listed(query):
        return [u["id"] for u in c.api("GET", f"/v1/updates?{query}")["items"] if u["id"] in ids]
    glob = f"devcluster/{USER}/devel/list-*"
    assert listed(f"job={glob}") == ids[::-1] == listed("") == listed("status=succeeded")
    assert listed(f"job={key_of(one)},{key_of(two)}&status=rolled_forward") == ids[::-1]
    assert listed(f"job={key_of(one)}") == ids[:1]
    assert listed(f"user={USER}") == ids[::-1] and listed("user=nobody") == []
    assert listed("active=true") == [] == listed("status=failed,blocked")
    assert listed("active=false") == ids[::-1]
    for bad in ("status=SOON", "active=maybe", "limit=0", "job=a/b/c/d/e"):
        with pytest.raises(Answer) as e:
            c.api("GET", f"/v1/updates?{bad}")
        assert e.value.status == 400, bad


def test_a_long_poll_is_answered_by_the_next_change(c):
    create(c, job("polled", instances=1))
    new = job("polled", instances=1, mark="new", settings={"watch_secs": 1})
    uid = start(c, new)
    got, seen = update(c, uid), []
    end = time.monotonic() + 20
    while got["active"] and time.monotonic() < end:
        got = c.api("GET", f"/v1/updates/{uid}?since={got['revision']}&wait=10000")
        seen.append(got["status"])
    assert seen[-1] == "ROLLED_FORWARD"
    with pytest.raises(Answer) as e:
        c.api("GET", f"/v1/updates/{uuid.uuid4()}")
    assert e.value.status == 404
