# SPDX-License-Identifier: Apache-2.0
"""What a master makes of nodes that go, come and are drained, with agents played by the test.

Contract: contracts/aurora.md 4.1 and 4.9.  The same with real agents: test_nodes.py.
"""
import contextlib
import http.client
import http.server
import json
import threading
import urllib.parse
import uuid

import pytest

from masters import FakeAgent, Master, hello, key, masters
from servers import davit_store, wait_until


@pytest.fixture
def store(tmp_path):
    with davit_store(tmp_path / "store") as one:
        yield one


def lead(tmp_path, store, *args):
    return masters(Master(tmp_path, store, args=["--node-lost-ms", "200", *args]))


def succeeded(operation):
    assert operation["state"] == "succeeded", operation


def started(master, agent, **job):
    """A job all of whose instances run on agent's node."""
    wait_until("the node is known", lambda: [n for n in master.get("/v1/nodes")["items"]
                                             if n["name"] == agent.name and n["alive"]])
    succeeded(master.wait(master.create(**job)))
    agent.run_all()
    n = job.get("instances", 1)
    master.wait_states(["RUNNING"] * n, name=job.get("name", "hello"))


def events(master, task):
    return [(e["state"], e.get("message")) for e in master.get(f"/v1/tasks/{task}")["events"]]


def evacuate(master, node="one", **more):
    return master.submit({"op": "OP_NODE_EVACUATE", "node": node, "wait_ms": 0, **more})


def node(master, name="one"):
    return master.get(f"/v1/nodes/{name}")


def test_a_partition_follows_the_policy_of_each_job(tmp_path, store):
    with lead(tmp_path, store) as (master,), FakeAgent(store, "one") as one:
        started(master, one, name="now")
        started(master, one, name="soon", partition_policy={"reschedule": True, "delay_secs": 2})
        started(master, one, name="never", partition_policy={"reschedule": False, "delay_secs": 0})
        ids = {name: master.tasks(name)[0]["id"] for name in ("now", "soon", "never")}
        with FakeAgent(store, "two") as two:
            one.go()
            wait_until("the first went elsewhere", two.intents)
            assert events(master, ids["now"])[-2:] == [
                ("PARTITIONED", "Node one cannot be reached."), ("LOST", "Task partitioned for too long.")]
            assert master.states("soon") == master.states("never") == ["PARTITIONED"]
            wait_until("the second as well", lambda: len(two.intents()) == 2, 5)
            assert events(master, ids["soon"])[-1] == ("LOST", "Task partitioned for too long.")
            assert master.states("never") == ["PARTITIONED"]
            # Another leader keeps to it, from the time of the event.
            master.kill()
            master.start()
            assert master.states("never") == ["PARTITIONED"] and master.states("now") == ["ASSIGNED"]
            one.come()
            wait_until("it runs again", lambda: master.states("never") == ["RUNNING"])
            assert one.stopped() == {ids["now"], ids["soon"]}  # Strays.
            one.stop_all()
            wait_until("no stray", lambda: set(one.intents()) == {ids["never"]})


def test_what_was_to_end_is_lost_with_its_node_at_once(tmp_path, store):
    with lead(tmp_path, store) as (master,), FakeAgent(store, "one") as one:
        started(master, one, instances=2, partition_policy={"reschedule": True, "delay_secs": 3600})
        op_id = master.kill_job(instances=[0])
        wait_until("asked to stop", one.stopped)
        one.go()
        succeeded(master.wait(op_id))  # It does not wait for a node that is gone.
        states = {t["instance"]: t["state"] for t in master.tasks()}
        assert states == {0: "LOST", 1: "PARTITIONED"}
        # What is asked of one that cannot hear is done as well.
        succeeded(master.wait(master.kill_job()))
        assert master.states(active="true") == []


class Coordinator:
    """Answers one call at a time, and remembers what it was asked."""

    def __init__(self):
        self.asked, self.answers, self.busy, self.most = [], {"default": {"drain": False}}, 0, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.busy += 1
                outer.most = max(outer.most, outer.busy)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                task = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["task"][0]
                outer.asked.append((task, body))
                text = json.dumps(outer.answers.get(task, outer.answers["default"])).encode()
                outer.busy -= 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/may"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def grant_quota(master):
    with contextlib.suppress(AssertionError):
        master.wait(master.submit({"op": "OP_QUOTA_SET", "role": "www", "cpu": 1000,
                                   "ram_bytes": 1 << 40, "disk_bytes": 1 << 40}))


def test_a_coordinator_decides_for_its_job(tmp_path, store):
    with Coordinator() as asked, lead(tmp_path, store, "--coordinator-retry-ms", "200") as (master,), \
            FakeAgent(store, "one") as one:
        grant_quota(master)
        started(master, one, instances=2, tier="preferred",
                sla_policy={"coordinator_url": asked.url, "status_key": "drain"})
        with FakeAgent(store, "two"):
            evacuate(master, timeout_ms=3600_000)
            wait_until("asked about both, again and again", lambda: len(asked.asked) >= 6)
            assert one.stopped() == set() and node(master)["drain"]["waiting_for_coordinator"] == 2
            task, body = asked.asked[0]
            assert task in (key() + "/0", key() + "/1")
            assert body["taskConfig"]["name"] == "hello" and body["task"]["job"] == key()
            assert 3500_000 < int(body["forceMaintenanceCountdownMs"]) <= 3600_000
            asked.answers[key() + "/1"] = {"drain": True}
            wait_until("that one goes", one.stopped)
            stopped, = one.stopped()
            assert master.get(f"/v1/tasks/{stopped}")["instance"] == 1
            assert events(master, stopped)[-1] == ("DRAINING", "Draining machine for maintenance.")
            assert asked.most == 1
            asked.answers["default"] = {"drain": True}
            one.stop_all()
            wait_until("the other as well", one.stopped)
            one.stop_all()
            wait_until("drained", lambda: node(master)["mode"] == "drained")


def test_the_deadline_overrules_everybody(tmp_path, store):
    with Coordinator() as asked, lead(tmp_path, store) as (master,), FakeAgent(store, "one") as one:
        grant_quota(master)
        started(master, one, tier="preferred", sla_policy={"coordinator_url": asked.url})
        evacuate(master, timeout_ms=1000)
        wait_until("it goes", one.stopped, 10)
        assert len(asked.asked) == 1 and node(master)["mode"] == "draining"
        one.stop_all()
        wait_until("drained", lambda: node(master)["mode"] == "drained")
        wait_until("why it waits", lambda: "drained" in master.tasks(active="true")[0].get("reason", ""))


def test_undrain_ends_a_drain_and_its_operation(tmp_path, store):
    with Coordinator() as asked, lead(tmp_path, store) as (master,), FakeAgent(store, "one") as one:
        grant_quota(master)
        started(master, one, tier="preferred", sla_policy={"coordinator_url": asked.url})
        op_id = evacuate(master, wait_ms=600_000)
        wait_until("draining", lambda: node(master)["mode"] == "draining")
        succeeded(master.wait(master.submit(
            {"op": "OP_NODE_SET_PARAMS", "node": "one", "mode": "active"})))
        operation = master.wait(op_id)
        assert operation["state"] == "failed", operation
        assert "ended or replaced" in operation["opcodes"][0]["error"]
        assert node(master)["mode"] == "active" and node(master)["drain"] is None
        assert master.states() == ["RUNNING"]


@pytest.mark.parametrize("opcode, status", [
    ({"op": "OP_NODE_SET_PARAMS", "node": "none", "mode": "active"}, 404),
    ({"op": "OP_NODE_SET_PARAMS", "mode": "active"}, 400),
    ({"op": "OP_NODE_SET_PARAMS", "node": "one", "mode": "draining"}, 400),
    ({"op": "OP_NODE_SET_PARAMS", "node": "one", "attributes": {"a": 1}}, 400),
    ({"op": "OP_NODE_EVACUATE", "node": "one", "percentage": 101}, 400),
    ({"op": "OP_NODE_EVACUATE", "node": "one", "duration_secs": 7201}, 400),
    ({"op": "OP_NODE_EVACUATE", "node": "one", "timeout_ms": "soon"}, 400),
])
def test_bad_requests_are_refused_before_anything_happens(tmp_path, store, opcode, status):
    with lead(tmp_path, store) as (master,), FakeAgent(store, "one"):
        wait_until("the node is known", lambda: master.get("/v1/nodes")["items"])
        got, answer = master.request("POST", "/v1/operations", {
            "id": "0c0ffee0-0000-4000-8000-000000000000", "user": "x", "opcodes": [opcode]})
        assert got == status, answer
        assert node(master)["mode"] == "active"
        assert master.request("GET", "/v1/nodes/none")[0] == 404


def test_the_owner_of_a_role_works_on_its_own_jobs_only(tmp_path, store):
    tokens, port = tmp_path / "tokens", tmp_path / "port"
    tokens.write_text("0123456789abcdef-master master admin\n0123456789abcdef-www bob role:www\n")
    tokens.chmod(0o600)
    with lead(tmp_path, store, "--token-file", str(tokens), "--port-file", str(port)), \
            FakeAgent(store, "one"):
        def post(**opcode):
            connection = http.client.HTTPConnection("127.0.0.1", int(port.read_text()), timeout=10)
            connection.request("POST", "/v1/operations", json.dumps(
                {"id": str(uuid.uuid4()), "user": "bob", "opcodes": [opcode]}),
                {"Content-Type": "application/json", "Authorization": "Bearer 0123456789abcdef-www"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        other = "devcluster/mail/devel/hello"
        assert post(op="OP_JOB_CREATE", job=hello())[0] == 202
        for opcode, word in (
                ({"op": "OP_JOB_KILL", "key": other}, "role mail"),
                ({"op": "OP_JOB_KILL", "key": other, "job": hello()}, "role mail"),
                ({"op": "OP_JOB_CREATE", "key": key(), "job": {**hello(), "role": "mail"}}, "role mail"),
                ({"op": "OP_NODE_SET_PARAMS", "node": "one", "mode": "cordoned", "key": key()}, "operators"),
                ({"op": "OP_NODE_EVACUATE", "node": "one", "job": hello()}, "operators"),
                ({"op": "OP_QUOTA_SET", "role": "www", "cpu": 1, "key": key()}, "operators"),
                ({"op": "OP_TEST_DELAY", "duration": 1}, "(none)")):
            status, answer = post(**opcode)
            assert status == 403 and word in answer["detail"], (opcode, answer)


@pytest.mark.faults
@pytest.mark.parametrize("point", ["master.node.before:3", "master.node.after:3", "master.node.before:4",
                                   "master.node.after:4", "master.task.before:5", "master.task.after:5",
                                   "master.task.before:7", "master.task.after:7"])
def test_a_drain_that_dies_at_a_write_is_carried_on(tmp_path, store, point):
    """Needs a build with -Dfaults=true for the points to be there; says so otherwise."""
    one, two = Master(tmp_path, store, env={"DAVIT_CRASH_AT": point}), Master(tmp_path, store)
    with FakeAgent(store, "one") as left, contextlib.ExitStack() as stack:
        with masters(one):
            started(one, left, instances=3)
            right = stack.enter_context(FakeAgent(store, "two"))
            wait_until("both are known", lambda: len(one.get("/v1/nodes")["items"]) == 2)
            with contextlib.suppress(OSError):
                evacuate(one)
            try:
                for _ in range(100):
                    left.stop_all()
                    right.run_all()
                    if one.process.poll() is not None:
                        break
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        if node(one)["mode"] == "drained":
                            break
                wait_until("it dies", lambda: one.process.poll() is not None, 3)
            except AssertionError:
                pytest.skip("this build has no crash points (-Dfaults=true), or the drain never passed this one")
        with masters(two):
            begun = node(two)["drain"] is not None
            if not begun:
                evacuate(two)  # It died before anything of it was durable.

            def drained():
                left.stop_all()
                right.run_all()
                return node(two)["mode"] == "drained" and two.states() == ["RUNNING"] * 3
            wait_until("drained by the next master", drained)
            tasks = two.tasks(active="true")
            assert {task["node"] for task in tasks} == {"two"}
            assert sorted(task["instance"] for task in tasks) == [0, 1, 2]
            wait_until("nothing is left behind", lambda: not left.intents())
            assert set(right.intents()) == {task["id"] for task in tasks}
