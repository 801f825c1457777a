# SPDX-License-Identifier: Apache-2.0
"""davit-master over a real davit-store; the agents are played by the test.

What a master does with jobs, tasks and nodes, and that none of it is lost when it,
or the store, dies.  Contract: aurora.md 4.1-4.3, docs/architecture.md.
"""
import hashlib
import json
import time
import uuid

import pytest
import yaml_subset

from masters import FakeAgent, Master, hello, key, masters
from servers import davit_store, wait_until


@pytest.fixture
def store(tmp_path):
    with davit_store(tmp_path / "store") as server:
        yield server


@pytest.fixture
def master(tmp_path, store):
    with masters(Master(tmp_path, store)) as (one,):
        yield one


@pytest.fixture
def agent(store, master):
    with FakeAgent(store) as one:
        wait_until("the node is known", lambda: any(n["alive"] for n in master.get("/v1/nodes")["items"]))
        yield one


def succeeded(operation):
    assert operation["state"] == "succeeded", operation
    return operation["opcodes"][0]


def test_create_run_kill(master, agent):
    opcode = succeeded(master.wait(master.create(instances=3, ports=("http",))))
    assert opcode["result"]["instances"] == 3 and opcode["result"]["placed"] == 3
    assert opcode["post_nodes"] == ["node1"]
    assert opcode["pre_vars"]["JOB_KEY"] == key() and opcode["pre_vars"]["JOB_MEMORY"] == "16"
    assert master.states() == ["ASSIGNED"] * 3
    tasks = master.tasks()
    intents = agent.intents()
    assert set(intents) == {task["id"] for task in tasks}
    for task in tasks:
        intent = yaml_subset.parse(intents[task["id"]])
        davit = intent["config"]["davit"]
        assert intent["run_as"] == "www" and davit["desired"] == "running"
        assert davit["instance"] == task["instance"] and davit["ports"] == task["ports"]
        assert 31000 <= task["ports"]["http"] <= 31999 and task["host"] == "node1"
    assert len({task["ports"]["http"] for task in tasks}) == 3

    agent.run_all()
    master.wait_states(["RUNNING"] * 3)
    op_id = master.kill_job(message="enough")
    master.wait_states(["KILLING"] * 3)
    wait_until("intents say stopped", lambda: agent.stopped() == set(intents))
    assert "Killed by root" in next(iter(agent.intents().values()))
    assert master.get(f"/v1/operations/{op_id}")["state"] == "running"
    agent.stop_all()
    opcode = succeeded(master.wait(op_id))
    assert sorted(opcode["result"]["instances"]) == [0, 1, 2] and opcode["post_nodes"] == ["node1"]
    assert opcode["pre_vars"]["INSTANCES"] == "0 1 2" and opcode["pre_vars"]["REASON"] == "enough"
    assert master.states(active="false") == ["KILLED"] * 3
    assert master.tasks()[0]["events"][-2]["message"] == "Killed by root.\nenough"
    assert agent.intents() == {}
    assert master.get("/v1/nodes")["items"][0]["tasks"] == 0


def test_a_service_that_ends_is_rescheduled_and_throttled(master, agent):
    master.wait(master.create())
    first = master.tasks()[0]["id"]
    agent.report(first, "running")
    master.wait_states(["RUNNING"])
    agent.report(first, "failed", "exit 1")
    master.wait_states(["THROTTLED"])
    new = master.tasks(active="true")[0]
    assert new["ancestor"] == first and new["instance"] == 0 and new["failures"] == 1
    assert new["events"][0]["message"] == "Rescheduled, penalized for 30000 ms for flapping"
    old = master.get(f"/v1/tasks/{first}")
    assert old["state"] == "FAILED" and old["events"][-1]["message"] == "exit 1"
    assert agent.intents() == {}


def test_a_lost_pod_is_rescheduled_at_once(master, agent):
    master.wait(master.create())
    first = master.tasks()[0]["id"]
    agent.report(first, "running")
    agent.report(first, "lost", "the machine was rebooted")
    wait_until("another run", lambda: set(agent.intents()) and first not in agent.intents())
    new = master.tasks(active="true")[0]
    assert new["state"] == "ASSIGNED" and new["events"][0]["message"] == "Rescheduled"


def test_a_batch_job_fails_for_good_after_max_task_failures(master, agent):
    master.wait(master.create(service=False, max_task_failures=2))
    first = master.tasks()[0]["id"]
    agent.report(first, "failed", "exit 1")
    master.wait_states(["THROTTLED"])
    killed = master.wait(master.kill_job())
    succeeded(killed)
    # A run that was never placed leaves no history.
    assert master.states(active="true") == [] and master.states(active="false") == ["FAILED"]

    master.wait(master.create(name="once", service=False))
    agent.report(master.tasks("once")[0]["id"], "finished")
    wait_until("it is over", lambda: master.states("once", "false") == ["FINISHED"])
    assert master.states("once") == []


def test_what_does_not_fit_waits_and_says_why(master, agent):
    opcode = succeeded(master.wait(master.create(name="big", cpu=5.0)))
    assert opcode["result"]["placed"] == 0
    assert master.tasks("big")[0]["state"] == "PENDING"
    assert master.tasks("big")[0]["reason"] == "Insufficient: CPU"
    master.wait(master.create(name="fat", ram=9 << 30))
    assert master.tasks("fat")[0]["reason"] == "Insufficient: RAM"
    succeeded(master.wait(master.kill_job("big")))
    status, body = master.request("GET", f"/v1/jobs/{key('big')}")
    assert status == 404 and body["code"] == "notfound"


def test_room_that_comes_back_is_used(master, agent):
    master.wait(master.create(name="a", cpu=3.0))
    master.wait(master.create(name="b", cpu=3.0))
    assert master.states("b") == ["PENDING"]
    agent.run_all()
    op_id = master.kill_job("a")
    wait_until("asked to stop", agent.stopped)
    agent.stop_all()
    master.wait(op_id)
    master.wait_states(["ASSIGNED"], "b")


@pytest.mark.parametrize("change, status, said", [
    ({"instances": 0}, 422, "Instance count must be positive."),
    ({"instances": 5000}, 422, "Instance count must be between 1 and 4000 inclusive."),
    ({"environment": "production"}, 422, "Job environment production doesn't match:"),
    ({"role": "a/b"}, 422, "Invalid role"),
    ({"cluster": "elsewhere"}, 422, "this is cluster devcluster"),
    ({"task": {"name": "x"}}, 422, "must all be positive"),
    ({"task": None}, 422, "Task required"),
    ({"cron_schedule": "* * * * *"}, 422, "calling scheduleCronJob"),
])
def test_bad_jobs_are_refused_and_leave_nothing(master, change, status, said):
    job = {**hello(), **change}
    body = {"id": str(uuid.uuid4()), "user": "root", "opcodes": [{"op": "OP_JOB_CREATE", "job": job}]}
    got, answer = master.request("POST", "/v1/operations", body)
    assert got == status and said in answer["detail"], answer
    assert master.get("/v1/operations")["items"] == [] and master.get("/v1/jobs")["items"] == []


def test_a_job_that_runs_cannot_be_created_again(master, agent):
    master.wait(master.create())
    body = {"id": str(uuid.uuid4()), "user": "root", "opcodes": [{"op": "OP_JOB_CREATE", "job": hello()}]}
    status, answer = master.request("POST", "/v1/operations", body)
    assert status == 409 and answer["detail"] == "Job www/devel/hello already exists"


@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/v1/nothing", None, 404),
    ("GET", "/v1/tasks?job=a/b/c/d/e", None, 400),
    ("GET", "/v1/tasks?active=maybe", None, 400),
    ("GET", "/v1/tasks?since=x", None, 400),
    ("GET", "/v1/jobs/devcluster/www/devel/none", None, 404),
    ("GET", "/v1/tasks/none/logs", None, 404),
    ("GET", "/v1/hook-runs?limit=0", None, 400),
    ("PUT", "/v1/operations", "{}", 405),
    ("POST", "/v1/operations", "{", 400),
    ("POST", "/v1/operations", "[]", 400),
    ("POST", "/v1/operations", "{\"id\":\"x\"}", 400),
    pytest.param("POST", "/v1/operations", "x" * 600000, 413, id="too-big"),
    ("POST", "/v1/hook-runs", "{\"records\":[{}]}", 400),
])
def test_malformed_requests_are_refused(master, method, path, body, status):
    got, answer = master.request(method, path, body)
    assert got == status, (got, answer)
    assert answer["status"] == status and answer["code"]
    master.get("/v1/status")


def test_a_lost_node_gives_its_tasks_away_and_gets_told_when_it_returns(tmp_path, store):
    with masters(Master(tmp_path, store, args=["--node-lost-ms", "300"])) as (master,), \
            FakeAgent(store, "one") as one:
        wait_until("the node is known", lambda: master.get("/v1/nodes")["items"])
        master.wait(master.create())
        old = master.tasks()[0]["id"]
        one.report(old, "running")
        master.wait_states(["RUNNING"])
        with FakeAgent(store, "two") as two:
            one.go()
            wait_until("it went to the other node", lambda: two.intents())
            assert master.get(f"/v1/tasks/{old}")["state"] == "LOST"
            assert one.stopped() == {old}  # The intent stays: the pod may live.
            one.come()
            one.report(old, "killed")
            wait_until("the stray is gone", lambda: not one.intents())
            assert master.states() == ["ASSIGNED"]


def test_two_cron_jobs_that_are_added_at_once_stay_within_the_quota(master, agent):
    """Both were looked at before their hooks, and each alone is within it."""
    master.wait(master.submit({"op": "OP_QUOTA_SET", "role": "www", "cpu": 1.0,
                               "ram_bytes": 1 << 30, "disk_bytes": 1 << 30}))
    hooks = master.dir / "hooks" / "cron-add-pre.d"
    hooks.mkdir(parents=True)
    (hooks / "wait").write_text(f"#!/bin/sh\ntouch {master.dir}/at-$$\n"
                                f"while [ ! -e {master.dir}/go ]; do sleep 0.05; done\n")
    (hooks / "wait").chmod(0o755)
    ids = [master.submit({"op": "OP_CRON_ADD", "job": hello(
        name, service=False, cpu=0.6, tier="preferred", cron_schedule="0 0 1 1 *")})
        for name in ("one", "two")]
    wait_until("both wait", lambda: len(list(master.dir.glob("at-*"))) == 2, 20)
    (master.dir / "go").touch()
    ended = sorted((master.wait(op_id) for op_id in ids), key=lambda op: op["state"])
    assert [op["state"] for op in ended] == ["failed", "succeeded"]
    assert "CPU quota exceeded by 0.20 core(s)" in json.dumps(ended[0])


def test_an_update_of_an_instance_beyond_all_numbers_is_refused(master):
    """2^32 was 0."""
    body = {"id": str(uuid.uuid4()), "user": "root", "opcodes": [
        {"op": "OP_JOB_UPDATE_START", "job": hello(), "instances": [1 << 32]}]}
    status, answer = master.request("POST", "/v1/operations", body)
    assert status == 400 and answer["detail"].endswith("instances must be numbers below 2147483647")


def test_a_node_takes_no_more_attributes_than_it_may_have(master, agent):
    wait_until("the node is known", lambda: master.get("/v1/nodes")["items"])
    change = {"op": "OP_NODE_SET_PARAMS", "node": "node1"}
    full = {f"a{n}": "x" for n in range(100)}
    assert master.wait(master.submit({**change, "attributes": full}))["state"] == "succeeded"
    body = {"id": str(uuid.uuid4()), "user": "root", "opcodes": [{**change, "attributes": {"one": "more"}}]}
    status, answer = master.request("POST", "/v1/operations", body)
    assert status == 400
    assert answer["detail"].endswith("node node1 would have more than 100 attributes")
    swap = {**change, "attributes": {"a0": None, "one": "more"}}
    assert master.wait(master.submit(swap))["state"] == "succeeded"


def test_a_node_that_only_a_task_names_cannot_be_changed(tmp_path, store):
    """It has no document: writing one was refused by the store, and ended one term after the other."""
    with FakeAgent(store, "gone") as agent:
        with masters(Master(tmp_path, store)) as (master,):
            wait_until("the node is known", lambda: master.get("/v1/nodes")["items"])
            master.wait(master.create())
            master.kill()
        agent.zk.delete("/davit/nodes/gone", recursive=True)
        with masters(Master(tmp_path, store)) as (master,):
            before = master.get("/v1/status")["epoch"]
            for change in ({"op": "OP_NODE_SET_PARAMS", "mode": "cordoned"}, {"op": "OP_NODE_EVACUATE"}):
                body = {"id": str(uuid.uuid4()), "user": "root", "opcodes": [{**change, "node": "gone"}]}
                status, answer = master.request("POST", "/v1/operations", body)
                assert (status, answer["detail"].split(": ")[-1]) == (404, "there is no node gone")
            assert master.get("/v1/status")["epoch"] == before


def test_long_polls_wait_for_a_change(master, agent):
    master.wait(master.create())
    seen = master.get(f"/v1/tasks?job={key()}")
    assert seen["items"][0]["state"] == "ASSIGNED"
    agent.run_all()
    wait_until("RUNNING is told", lambda: master.get(
        f"/v1/tasks?job={key()}&since={seen['revision']}&wait=5000")["items"][0]["state"] == "RUNNING")
    seen = master.get("/v1/tasks")
    later = master.get(f"/v1/tasks?since={seen['revision']}&wait=100")
    assert later["revision"] == seen["revision"]


def test_a_second_master_refuses_then_takes_over(tmp_path, store):
    one, two = Master(tmp_path, store, "one"), Master(tmp_path, store, "two")
    with masters(one, two), FakeAgent(store) as agent:
        wait_until("the node is known", lambda: one.get("/v1/nodes")["items"])
        status, problem = two.request("GET", "/v1/jobs")
        assert status == 503 and problem["leader"]["socket"] == str(one.dir / "api.sock")
        assert two.get("/v1/status")["leading"] is False
        one.wait(one.create(instances=2))
        agent.run_all()
        one.wait_states(["RUNNING"] * 2)
        before = {task["id"] for task in one.tasks()}
        revision = one.get("/v1/status")["revision"]
        one.kill()
        wait_until("the other leads", lambda: two.get("/v1/status")["leading"])
        assert {task["id"] for task in two.tasks()} == before and two.states() == ["RUNNING"] * 2
        assert two.get("/v1/status")["revision"] > revision
        op_id = two.kill_job()
        wait_until("asked to stop", lambda: agent.stopped() == before)
        agent.stop_all()
        succeeded(two.wait(op_id))


def test_a_restarted_master_does_not_wait_for_its_own_session(tmp_path, store):
    one = Master(tmp_path, store, args=["--session-ms", "4000"])
    with masters(one):
        one.kill()
        one.start()
        wait_until("it leads again", lambda: one.get("/v1/status")["leading"], 2)
        second = Master(tmp_path, store)
        with pytest.raises(AssertionError, match="master.lock"):
            second.start()


def test_a_restart_of_the_store_does_not_end_the_term(tmp_path, store, master, agent):
    epoch = master.get("/v1/status")["epoch"]
    for nr in range(3):
        op_ids = [master.create(name=f"j{nr}{i}", instances=20, cpu=0.001) for i in range(2)]
        store.kill()
        store.start()
        for op_id in op_ids:
            succeeded(master.wait(op_id))
    assert master.get("/v1/status")["epoch"] == epoch
    assert len(master.get("/v1/tasks")["items"]) == 120
    wait_until("all intents are there", lambda: len(agent.intents()) == 120)


@pytest.mark.faults
@pytest.mark.parametrize("point", ["master.job.before", "master.job.after", "master.task.before",
                                   "master.task.after", "master.operation.before:2",
                                   "master.operation.after:3"])
def test_kill_9_at_a_write_loses_nothing(tmp_path, store, point):
    """Needs a build with -Dfaults=true for the points to be there; says so otherwise."""
    one = Master(tmp_path, store, env={"DAVIT_CRASH_AT": point})
    with FakeAgent(store) as agent:
        with masters(one):
            op_id = str(uuid.uuid4())
            body = {"id": op_id, "user": "root",
                    "opcodes": [{"op": "OP_JOB_CREATE", "job": hello(instances=5)}]}
            accepted = False
            try:
                accepted = one.request("POST", "/v1/operations", body)[0] == 202
                wait_until("it dies", lambda: one.process.poll() is not None, 3)
            except (ConnectionError, OSError):
                one.process.wait(5)
            except AssertionError:
                pytest.skip("this build has no crash points (-Dfaults=true)")
        two = Master(tmp_path, store)
        with masters(two):
            wait_until("it leads", lambda: two.get("/v1/status")["leading"])
            if not accepted:
                status, _ = two.request("GET", f"/v1/operations/{op_id}")
                if status == 404:
                    return
            ended = two.wait(op_id, 30)
            assert ended["state"] in ("succeeded", "disappeared", "failed"), ended
            count = len(two.tasks())
            assert count in (0, 5), count
            if count:
                wait_until("intents", lambda: len(agent.intents()) == 5)
            ids = {task["id"] for task in two.tasks()}
            assert set(agent.intents()) == ids
            assert sorted(task["instance"] for task in two.tasks()) == list(range(count))


def test_work_that_never_ends_fails_at_its_deadline(tmp_path, store):
    with masters(Master(tmp_path, store, args=["--op-work-ms", "600"])) as (master,), \
            FakeAgent(store) as agent:
        wait_until("the node is known", lambda: master.get("/v1/nodes")["items"])
        master.wait(master.create())
        agent.run_all()
        master.wait_states(["RUNNING"])
        operation = master.wait(master.kill_job())  # The agent never says that it ended.
        assert operation["state"] == "failed"
        assert "did not end within" in operation["opcodes"][0]["error"]
        master.wait_states(["KILLING"])  # What was asked for stays asked for.
        agent.stop_all()
        master.wait_states([])
        again = master.wait(master.kill_job())
        assert again["state"] == "succeeded", again


def test_the_timeline_shows_the_newest_runs(master):
    def records(first, last):
        return [{"run_id": str(uuid.uuid4()), "level": "client", "event": "pre_create_job",
                 "hook": f"h{n}", "intent_ms": 1000 + n, "started_ms": 1000 + n,
                 "finished_ms": 4102444800000, "outcome": "ok"} for n in range(first, last)]

    for first in range(0, 300, 50):
        status, answer = master.request("POST", "/v1/hook-runs", {"records": records(first, first + 50)})
        assert status == 200, answer
    shown = [run["hook"] for run in master.get("/v1/hook-runs?limit=20")["items"]]
    assert shown == [f"h{n}" for n in range(280, 300)]


def test_a_master_without_its_store_stops_at_once(tmp_path, store):
    with masters(Master(tmp_path, store)) as (master,):
        store.kill()
        wait_until("it has noticed", lambda: "session suspended" in master.tail())
        began = time.monotonic()
        assert master.stop() == 0
        assert time.monotonic() - began < 5


def test_a_task_that_cannot_be_read_is_not_ended(tmp_path, store):
    one = Master(tmp_path, store)
    with masters(one), FakeAgent(store) as agent:
        wait_until("the node is known", lambda: one.get("/v1/nodes")["items"])
        one.wait(one.create())
        task = one.tasks()[0]["id"]
        agent.report(task, "running")
        one.wait_states(["RUNNING"])
        one.kill()
        folder = hashlib.sha256(task.encode()).hexdigest()[:2]
        agent.zk.set(f"/davit/tasks/{folder}/{task}", b"{")
        one.start()
        one.wait(one.create(name="other"))  # It has written what it wanted to.
        assert task in agent.intents() and task not in agent.stopped()


def big(nr, size):
    job = hello()
    job["task"]["processes"][0]["cmdline"] = f": {nr} " + "x" * size
    return {"op": "OP_JOB_CREATE", "job": job}


def test_a_job_made_anew_with_ever_other_configurations_goes_on(master, agent):
    """The configurations of its ended tasks must not make its document too large to be written."""
    for nr in range(8):
        succeeded(master.wait(master.submit(big(nr, 100_000))))
        agent.run_all()
        master.wait_states(["RUNNING"])
        kill = master.kill_job()
        wait_until("it is to stop", agent.stopped)
        agent.stop_all()
        succeeded(master.wait(kill))
        wait_until("the intent is gone", lambda: not agent.intents())
    assert len(master.tasks()) >= 2  # Some history is kept.
    assert master.get("/v1/status")["epoch"] == 1


def test_old_tasks_and_jobs_are_forgotten(tmp_path, store):
    with masters(Master(tmp_path, store, args=["--history-ms", "400"])) as (master,), \
            FakeAgent(store) as agent:
        wait_until("the node is known", lambda: master.get("/v1/nodes")["items"])
        master.wait(master.create(service=False))
        agent.report(master.tasks()[0]["id"], "finished", "done")
        wait_until("it is forgotten", lambda: not master.get("/v1/jobs")["items"], 10)
        wait_until("in the store too", lambda: not agent.zk.get_children("/davit/jobs/www/devel"))


def test_an_endless_reason_does_not_end_the_term(master, agent):
    master.wait(master.create())
    agent.report(master.tasks()[0]["id"], "failed", "x" * 600_000)
    wait_until("it was rescheduled", lambda: len(master.tasks()) == 2)
    succeeded(master.wait(master.create(name="other")))
    assert master.get("/v1/status")["epoch"] == 1


def test_many_new_nodes_in_one_turn(store, master):
    """Each new node's folder of intents is made with the first intent, whichever write that is in."""
    epoch = master.get("/v1/status")["epoch"]
    nodes = 400
    with FakeAgent(store, "n0") as agent:
        waits = []
        for i in range(1, nodes):
            alive = dict(agent.alive, host=f"n{i}", attributes={"host": f"n{i}"})
            agent.zk.ensure_path(f"/davit/nodes/n{i}")
            waits.append(agent.zk.create_async(f"/davit/nodes/n{i}/alive", json.dumps(alive).encode(),
                                               ephemeral=True))
        for wait in waits:
            wait.get()
        wait_until("the nodes are known", lambda: len([
            node for node in master.get("/v1/nodes")["items"] if node["alive"]]) == nodes)
        task = {**hello(ports=("http",))["task"], "contact": "x" * 3000}
        opcode = succeeded(master.wait(master.create(
            instances=nodes, constraints={"host": "limit:1"}, task=task)))
        assert opcode["result"]["placed"] == nodes
        assert master.get("/v1/status")["epoch"] == epoch  # No term ended over it.
