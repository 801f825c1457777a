# SPDX-License-Identifier: Apache-2.0
"""Cron jobs over a real master and store; the agents are played by the test.

A cron job fires on whole minutes, so a test shifts its master's clock (--wall-offset-ms) to a
moment before one.  Contract: aurora.md 4.4 and 2.9, ganeti.md section 4, promise P7.
"""
import calendar
import json
import os
import subprocess
import time
import uuid

import pytest

from masters import FakeAgent, Master, hello, key, masters
from servers import build_dir, davit_store, wait_until

BASE = calendar.timegm((2027, 3, 10, 12, 0, 0)) * 1000  # A tick of every schedule used here.


def offset(before_ms, tick_ms=BASE):
    """The option by which a master that starts now lives so long before the tick."""
    return ["--wall-offset-ms", str(tick_ms - before_ms - int(time.time() * 1000))]


def cron(name="tick", schedule="* * * * *", **more):
    return hello(name=name, **{"service": False, "instances": 2, "cron_schedule": schedule, **more})


def schedule(master, op="OP_CRON_ADD", **job):
    operation = master.wait(master.submit({"op": op, "job": cron(**job)}))
    assert operation["state"] == "succeeded", operation
    return operation["opcodes"][0]


def start(master, name="tick"):
    return master.submit({"op": "OP_CRON_START", "key": key(name)})


def refused(master, opcode):
    status, answer = master.request("POST", "/v1/operations", {
        "id": str(uuid.uuid4()), "user": "root", "opcodes": [opcode]})
    assert status >= 400, answer
    return status, answer["detail"]


def entry(master, name="tick", query=""):
    return master.get(f"/v1/cron/{key(name)}{query}")


def starts(master, name="tick"):
    """The operations that started the job, oldest first, whole."""
    found = master.get(f"/v1/operations?job={key(name)}&limit=500")["items"]
    ids = [o["id"] for o in found if o["opcodes"][0]["op"] == "OP_CRON_START"]
    return [master.get(f"/v1/operations/{op_id}") for op_id in reversed(ids)]


def launched(master, tick_ms, name="tick", seconds=20):
    """Waits for the end of what the tick asked for, and gives the operations."""
    def ended():
        own = [o for o in starts(master, name)
               if o["opcodes"][0]["input"].get("scheduled_ms") == tick_ms]
        return own if own and entry(master, name)["last_ms"] >= tick_ms and \
            "pending_op" not in entry(master, name) else None
    return wait_until(f"the tick {tick_ms} is done with", ended, seconds)


@pytest.fixture
def store(tmp_path):
    with davit_store(tmp_path / "store") as server:
        yield server


def known(master):
    return any(n["alive"] for n in master.get("/v1/nodes")["items"])


@pytest.fixture
def master(tmp_path, store):
    with masters(Master(tmp_path, store, args=offset(30_000))) as (one,):
        yield one


@pytest.fixture
def agent(store, master):
    with FakeAgent(store) as one:
        wait_until("the node is known", lambda: known(master))
        yield one


# -- scheduling ---------------------------------------------------------------------------------------


def test_schedule_show_replace_and_deschedule(master, store):
    opcode = schedule(master, cron_timezone="Europe/Berlin")
    for name, value in {"JOB_KEY": key("tick"), "OP_TARGET": key("tick"), "JOB_INSTANCE_COUNT": "2",
                        "CRON_SCHEDULE": "* * * * *", "CRON_TIMEZONE": "Europe/Berlin",
                        "CRON_COLLISION_POLICY": "KILL_EXISTING"}.items():
        assert opcode["pre_vars"][name] == value, name
    shown = entry(master, query="?next=2")
    assert shown["next"] == [
        {"time_ms": BASE, "local": "2027-03-10T13:00:00+01:00"},
        {"time_ms": BASE + 60_000, "local": "2027-03-10T13:01:00+01:00"}]
    assert shown["schedule"] == "* * * * *" and shown["next_ms"] == BASE
    assert shown["job"]["cron_schedule"] == "* * * * *" and shown["user"] == "root"

    # A second one, and the list.
    schedule(master, name="other")
    assert [e["key"] for e in master.get("/v1/cron")["items"]] == [key("other"), key("tick")]
    assert [e["key"] for e in master.get("/v1/cron?job=devcluster/www/devel/t*")["items"]] == [key("tick")]

    # It is scheduled already; SET_PARAMS replaces it.
    assert refused(master, {"op": "OP_CRON_ADD", "job": cron()}) == (
        409, "Job www/devel/tick already exists")
    schedule(master, "OP_CRON_SET_PARAMS", schedule="30 4 * * *")
    assert entry(master)["schedule"] == "30 4 * * *" and entry(master)["timezone"] == "UTC"
    assert refused(master, {"op": "OP_CRON_SET_PARAMS", "job": cron(name="new")}) == (
        404, "No cron job found for www/devel/new")

    # All of it survives the master.
    master.kill()
    master.start()
    wait_until("it leads again", lambda: master.request("GET", "/v1/cron")[0] == 200)
    assert entry(master)["schedule"] == "30 4 * * *"
    assert master.tasks("tick") == []

    gone = master.wait(master.submit({"op": "OP_CRON_REMOVE", "key": key("tick")}))
    assert gone["state"] == "succeeded" and "message" not in gone["opcodes"][0]["result"]
    assert gone["opcodes"][0]["pre_vars"]["CRON_SCHEDULE"] == "30 4 * * *"
    assert master.request("GET", f"/v1/cron/{key('tick')}")[0] == 404
    again = master.wait(master.submit({"op": "OP_CRON_REMOVE", "key": key("tick")}))
    assert again["state"] == "succeeded"
    assert again["opcodes"][0]["result"]["message"] == "Job www/devel/tick is not scheduled with cron"


@pytest.mark.parametrize("job, status, words", [
    ({"schedule": "* * * * 7"}, 422, "Invalid cron schedule: day of week '7': Sunday is 0 here"),
    ({"schedule": "0 0 30 2 *"}, 422, "Invalid cron schedule: '0 0 30 2 *' never fires"),
    ({"schedule": "0 0 1 * 1"}, 422, "Invalid cron schedule: '0 0 1 * 1': limiting both"),
    ({"schedule": ""}, 422, "Job www/devel/tick has no cron schedule"),
    ({"service": True}, 422, "A service task may not be run on a cron schedule: www/devel/tick"),
    ({"cron_collision_policy": "RUN_OVERLAP"}, 422,
     "The RUN_OVERLAP collision policy has been removed (AURORA-38)."),
    ({"cron_collision_policy": "QUEUE"}, 422, "Invalid cron collision policy: 'QUEUE'"),
    ({"cron_timezone": "../../etc/passwd"}, 422,
     "Invalid cron timezone: '../../etc/passwd' is not the name of a time zone"),
    ({"cron_timezone": "Mars/Olympus"}, 422, "Invalid cron timezone: there is no time zone"),
    ({"instances": 0}, 422, "Instance count must be positive."),
])
def test_what_cannot_be_scheduled(master, job, status, words):
    got, detail = refused(master, {"op": "OP_CRON_ADD", "job": cron(**job)})
    assert got == status and detail.startswith(words), detail
    assert master.get("/v1/cron")["items"] == []


def test_keys_are_of_a_cron_job_or_of_another(master, agent):
    assert refused(master, {"op": "OP_JOB_CREATE", "job": cron()}) == (
        422, "Cron jobs may only be created/updated by calling scheduleCronJob.")
    master.wait(master.create(name="tick"))
    assert refused(master, {"op": "OP_CRON_ADD", "job": cron()}) == (
        409, "Job www/devel/tick already exists")
    schedule(master, name="idle")
    assert refused(master, {"op": "OP_JOB_CREATE", "job": hello(name="idle")}) == (
        409, "Job www/devel/idle already exists")


def test_only_the_master_has_a_timer(master):
    schedule(master)
    assert refused(master, {"op": "OP_CRON_START", "key": key("tick"), "trigger": "timer"})[0] == 400
    assert refused(master, {"op": "OP_CRON_START", "key": key("nope")}) == (
        404, "Failed to start cron job - No cron job found for www/devel/nope")


# -- launching ----------------------------------------------------------------------------------------------


def test_start_by_hand_and_kill_existing(master, agent):
    schedule(master)
    first = master.wait(start(master))
    opcode = first["opcodes"][0]
    assert opcode["result"]["action"] == "NONE" and opcode["result"]["placed"] == 2
    assert opcode["pre_vars"]["CRON_TRIGGER"] == "manual"
    assert opcode["pre_vars"]["CRON_SCHEDULED_AT"] == ""
    assert opcode["post_vars"]["CRON_COLLISION_ACTION"] == "NONE"
    assert opcode["post_nodes"] == ["node1"] and opcode["pre_nodes"] == []
    agent.run_all()
    master.wait_states(["RUNNING"] * 2, "tick")
    old = {task["id"] for task in master.tasks("tick")}

    # It still runs: its tasks are killed, and while that lasts further starts are ignored.
    second, third = start(master), start(master)
    wait_until("the tasks are to stop", lambda: agent.stopped() == old)
    assert master.get(f"/v1/operations/{second}")["state"] == "running"
    assert master.states("tick") == ["KILLING"] * 2
    agent.stop_all()
    second, third = master.wait(second), master.wait(third)
    assert second["opcodes"][0]["result"]["action"] == "KILL_EXISTING"
    assert second["opcodes"][0]["pre_vars"]["CRON_COLLISION_ACTION"] == "KILL_EXISTING"
    assert third["state"] == "succeeded"
    assert third["opcodes"][0]["result"]["action"] == "IGNORED"
    assert len(master.tasks("tick")) == 4
    new = master.tasks("tick", "true")
    assert {task["op_id"] for task in new} == {second["id"]}
    assert sorted(task["instance"] for task in new) == [0, 1]
    for task in master.tasks("tick", "false"):
        assert any(e.get("message") == "Killed by cronScheduler" for e in task["events"]), task

    # No service: what ends well stays ended.  What ran is left alone by descheduling.
    agent.run_all()
    agent.report(new[0]["id"], "finished")
    master.wait_states(["RUNNING"], "tick")
    master.wait(master.submit({"op": "OP_CRON_REMOVE", "key": key("tick")}))
    assert master.states("tick") == ["RUNNING"]


def test_cancel_new(master, agent):
    schedule(master, cron_collision_policy="cancel_new")
    master.wait(start(master))
    agent.run_all()
    master.wait_states(["RUNNING"] * 2, "tick")
    canceled = master.wait(start(master))
    assert canceled["state"] == "succeeded"
    assert canceled["opcodes"][0]["result"]["action"] == "CANCEL_NEW"
    assert canceled["opcodes"][0]["post_vars"]["CRON_COLLISION_ACTION"] == "CANCEL_NEW"
    assert master.states("tick") == ["RUNNING"] * 2 and len(master.tasks("tick")) == 2
    for pod in list(agent.pods):
        agent.report(pod, "finished")
    master.wait_states([], "tick")
    assert master.wait(start(master))["opcodes"][0]["result"]["action"] == "NONE"
    assert len(master.tasks("tick", "true")) == 2


def test_failures_are_retried_up_to_max_task_failures(master, agent):
    schedule(master, instances=1, max_task_failures=2)
    master.wait(start(master))
    agent.run_all()
    master.wait_states(["RUNNING"], "tick")
    [first] = master.tasks("tick")
    agent.report(first["id"], "failed")
    wait_until("it is to run again", lambda: len(master.tasks("tick")) == 2)
    [again] = master.tasks("tick", "true")  # THROTTLED: it failed at once.
    assert again["ancestor"] == first["id"] and again["failures"] == 1
    assert again["op_id"] == first["op_id"] and again["instance"] == 0


# -- ticks -----------------------------------------------------------------------------------------------------


def world(tmp_path, store, before_ms, *args):
    """A master that lives so long before BASE, with the job scheduled by an earlier life of it."""
    early = Master(tmp_path, store, args=offset(40_000))
    early.start()
    schedule(early, name="tick")
    early.stop()
    return Master(tmp_path, store, args=[*offset(before_ms), *args])


def test_a_tick_is_one_operation_by_cron(tmp_path, store):
    with masters(world(tmp_path, store, 1500)) as (master,), FakeAgent(store) as agent:
        [operation] = launched(master, BASE)
        assert operation["user"] == "cron" and operation["state"] == "succeeded"
        assert operation["opcodes"][0]["input"]["trigger"] == "timer"
        pre = operation["opcodes"][0]["pre_vars"]
        assert pre["CRON_TRIGGER"] == "timer"
        assert pre["CRON_SCHEDULED_AT"] == "2027-03-10T12:00:00.000Z"
        tasks = master.tasks("tick")
        assert sorted(t["instance"] for t in tasks) == [0, 1]
        assert {t["op_id"] for t in tasks} == {operation["id"]}
        shown = entry(master)
        assert shown["last_ms"] == BASE and shown["next_ms"] == BASE + 60_000
        assert shown["launched_op"] == operation["id"]
        assert BASE <= shown["launched_ms"] < BASE + 5000
        doc = json.loads(agent.zk.get("/davit/cron/www:devel:tick")[0])
        assert doc["v"] == 1 and doc["last_ms"] == BASE


@pytest.mark.parametrize("late_ms, args, ticks", [
    (30_000, [], [BASE]),                                         # Within the minute of grace.
    (90_000 - 1, ["--cron-catch-up-ms", "20000"], []),            # The last one is too old.
    (600_000 + 5000, ["--cron-catch-up-ms", "3600000"], [BASE + 600_000]),  # Of eleven the last.
])
def test_what_was_missed(tmp_path, store, late_ms, args, ticks):
    with masters(world(tmp_path, store, -late_ms, *args)) as (master,):
        due = BASE + late_ms // 60_000 * 60_000
        wait_until("it is looked at", lambda: entry(master)["last_ms"] >= due)
        if ticks:
            assert len(launched(master, ticks[0])) == 1
        assert [o["opcodes"][0]["input"]["scheduled_ms"] for o in starts(master)] == ticks
        assert entry(master).get("missed_ms") == (None if ticks else due)
        assert len(master.tasks("tick")) == 2 * len(ticks)


def test_a_clock_set_back_repeats_no_tick(tmp_path, store):
    with masters(world(tmp_path, store, 500)) as (master,):
        launched(master, BASE)
        master.stop()
        master.args = offset(1000)
        master.start()
        assert entry(master)["next_ms"] == BASE + 60_000
        end = time.monotonic() + 1.5  # Past the tick again: there is nothing to wait for.
        while time.monotonic() < end:
            assert len(starts(master)) == 1
            time.sleep(0.05)
        assert len(master.tasks("tick")) == 2


def test_a_job_whose_zone_is_gone_never_fires_and_says_so(tmp_path, store):
    """The time zone database has changed between two masters; other jobs are launched."""
    with masters(world(tmp_path, store, 30_000)) as (master,), FakeAgent(store) as agent:
        schedule(master, name="lost")
        master.stop()
        path = "/davit/cron/www:devel:lost"
        doc = json.loads(agent.zk.get(path)[0])
        doc["job"]["cron_timezone"] = "Nowhere/Gone"
        agent.zk.set(path, json.dumps(doc).encode())
        master.args = offset(1000)
        master.start()
        assert len(launched(master, BASE)) == 1
        shown = entry(master, "lost", "?next=3")
        assert shown["error"] == "Invalid cron timezone: there is no time zone Nowhere/Gone"
        assert "next_ms" not in shown and shown["next"] == [] and starts(master, "lost") == []
        (tmp_path / "clusters.json").write_text(json.dumps([{
            "name": "devcluster", "scheduler_uri": "http://127.0.0.1:1",
            "socket": str(master.dir / "api.sock")}]))
        done = subprocess.run(
            [build_dir() / "src/cli/davit", "cron", "show", key("lost"), "--next=3"], text=True,
            capture_output=True, env={**os.environ, "AURORA_CONFIG_ROOT": str(tmp_path)}, timeout=30)
        assert done.stdout == f"{key('lost')}\t * * * * *\n"
        assert done.stderr == f" WARN] It never fires: {shown['error']}\n"
        # Scheduled again, with a zone that there is, it fires.
        schedule(master, "OP_CRON_SET_PARAMS", name="lost")
        assert "error" not in entry(master, "lost") and entry(master, "lost")["next_ms"] == BASE + 60_000


def test_a_launch_by_a_clock_that_was_ahead_serves_no_later_start(tmp_path, store):
    two_days_ms = 2 * 24 * 3600 * 1000
    ahead = world(tmp_path, store, 30_000 - two_days_ms, "--cron-catch-up-ms", "20000")
    with masters(ahead) as (master,), FakeAgent(store) as agent:
        wait_until("the node is known", lambda: known(master))
        assert master.wait(start(master))["opcodes"][0]["result"]["action"] == "NONE"
        agent.run_all()
        for pod in agent.intents():
            agent.report(pod, "finished")
        master.wait_states(["FINISHED"] * 2, "tick", active="false")
        master.stop()
        master.args = offset(2500)
        master.start()
        operation = master.wait(start(master))
        assert operation["opcodes"][0]["result"]["action"] == "NONE", operation
        for pod in agent.intents():
            agent.report(pod, "finished")
        assert len(launched(master, BASE)) == 1
        assert len(master.tasks("tick")) == 6


def test_a_tick_while_an_earlier_launch_waits_is_ignored(tmp_path, store):
    with masters(world(tmp_path, store, 1200)) as (master,), FakeAgent(store) as agent:
        wait_until("the node is known", lambda: known(master))
        master.wait(start(master))
        agent.run_all()
        master.wait_states(["RUNNING"] * 2, "tick")
        wait_until("the tick asks the tasks to stop", lambda: len(agent.stopped()) == 2)
        operation = starts(master)[-1]
        assert operation["state"] == "running"
        master.stop()  # The next tick comes, to a master that finds the launch under way.
        master.args = offset(1000, BASE + 60_000)
        master.start()
        # That launch died with its master, and is made again: it waits as the first did.
        wait_until("the next tick was ignored", lambda: entry(master).get("ignored_ms") == BASE + 60_000)
        agent.stop_all()
        both = launched(master, BASE)
        assert [o["state"] for o in both] == ["disappeared", "succeeded"]
        assert {t["op_id"] for t in master.tasks("tick", "true")} == {both[-1]["id"]}
        assert len(starts(master)) == 3 and len(master.tasks("tick")) == 4


def test_another_master_takes_the_tick(tmp_path, store):
    first = world(tmp_path, store, 2500)
    second = Master(tmp_path, store, name="second", args=first.args)
    with masters(first, second), FakeAgent(store):
        leader, other = (first, second) if first.request("GET", "/v1/cron")[0] == 200 else (second, first)
        leader.kill()
        wait_until("the other one leads", lambda: other.request("GET", "/v1/cron")[0] == 200)
        [operation] = launched(other, BASE)
        assert operation["state"] == "succeeded"
        assert len(other.tasks("tick")) == 2


# -- one launch per tick, whoever dies (P7) -----------------------------------------------------------------


def has_faults():
    program = build_dir() / "src/master/davit-master"
    return program.exists() and b"DAVIT_CRASH_FILE" in program.read_bytes()


POINTS = [*(f"master.cron.{name}" for name in ("tick", "asked", "ticked", "launch", "launched", "durable")),
          *(f"master.op.{name}" for name in (
              "accept", "accepted", "start", "begin", "begun", "pre_done", "work", "vars",
              "post_intent", "finish", "finished", "archived")),
          *(f"master.{kind}.{when}" for kind in ("doc", "operation", "job", "task")
            for when in ("before", "after")),
          "op.begin", "op.work", "op.finish.end", "worker.run", "worker.step", "worker.stepped"]


@pytest.mark.faults
@pytest.mark.skipif(not has_faults(), reason="this build has no crash points (-Dfaults=true)")
@pytest.mark.parametrize("point", POINTS)
def test_one_launch_whoever_dies_around_the_tick(tmp_path, store, point):
    master = world(tmp_path, store, 2500)
    master.env = {"DAVIT_CRASH_FILE": str(tmp_path / "crash")}
    for phase in ("pre", "post"):
        hooks = master.dir / "hooks" / f"cron-start-{phase}.d"
        hooks.mkdir(parents=True)
        (hooks / "10-true").write_text("#!/bin/sh\nexit 0\n")
        (hooks / "10-true").chmod(0o755)
    with masters(master), FakeAgent(store):
        wait_until("the node is known", lambda: known(master))
        (tmp_path / "crash").write_text(point + "\n")

        def revived():
            if master.process.poll() is not None:
                master.start()
            return (tmp_path / "crash.taken").exists()
        wait_until(f"something dies at {point}", revived, 10)

        def patiently():
            try:
                revived()
                return launched(master, BASE, seconds=0.1)
            except (AssertionError, OSError, KeyError):
                return None
        operations = wait_until("the tick is done with", patiently, 40)
        tasks = master.tasks("tick")
        assert sorted(t["instance"] for t in tasks) == [0, 1], (operations, tasks)
        assert len({t["op_id"] for t in tasks}) == 1
        # A launch that died before it was made is followed by one more operation, no other is.
        assert all(o["state"] == "disappeared" for o in operations[:-1]), operations
        assert len(operations) <= 2 and entry(master)["last_ms"] == BASE
