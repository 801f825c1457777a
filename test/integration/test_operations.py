# SPDX-License-Identifier: Apache-2.0
"""Operations and their hooks with a real store, a real master and real davit-ops.

The acceptance tests of contracts/ganeti.md 2.10 and ours: each opcode whose global pre hook began
gets exactly one status from global post hooks, whatever dies.
"""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time
import uuid

import pytest

from servers import DavitStore, build_dir, wait_until

FINAL = ("succeeded", "failed", "canceled", "disappeared")


def stat_of(pid):
    """(parent, state) of a process; None when it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return int(fields[1]), fields[0]


def children(pid):
    pids = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]
    return [each for each in pids if (stat_of(each) or (0, ""))[0] == pid]


def is_alive(pid):
    stat = stat_of(pid)
    return stat is not None and stat[1] not in "ZX"


class World:
    """A store and a master in a directory, with hooks that write down that they ran."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.marks = self.dir / "marks"
        self.marks.mkdir()
        self.store = DavitStore(self.dir / "store").start()
        self.master = None
        self.port = 0
        self.env = {}
        for phase in ("pre", "post"):
            self.hook(f"global-{phase}.d", "10-mark", f"""
name={self.marks}/${{GANETI_JOB_ID}}_${{GANETI_OP_CODE}}_{phase}${{GANETI_POST_STATUS:+_$GANETI_POST_STATUS}}
echo "$HOOK_TOKEN" >> $name
""")
            (self.dir / "hooks" / f"global-{phase}.d" / "10-mark.env").touch()

    def hook(self, directory, name, text):
        path = self.dir / "hooks" / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def start(self):
        port_file = self.dir / "port"
        with contextlib.suppress(FileNotFoundError):
            port_file.unlink()
        read, write = os.pipe()
        with open(self.dir / "master.log", "ab") as log:
            self.master = subprocess.Popen(
                [build_dir() / "src" / "master" / "davit-master", "--zk", self.store.address,
                 "--dir", self.dir / "master", "--hooks-dir", self.dir / "hooks",
                 "--cluster", "devcluster", "--listen", "127.0.0.1:0", "--port-file", port_file,
                 "--ready-fd", str(write)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=[write],
                env={**os.environ, **self.env})
        os.close(write)
        with os.fdopen(read) as pipe:
            assert pipe.read() == "\n", self.log()
        self.port = int(port_file.read_text())
        wait_until("the master leads", lambda: self.get("/v1/operations")[0] == 200, 30)
        return self

    def log(self):
        return (self.dir / "master.log").read_text(errors="replace")[-6000:]

    def kill_master(self):
        self.master.kill()
        self.master.wait(20)

    def stop(self):
        try:
            if self.master is not None and self.master.poll() is None:
                self.master.terminate()
                assert self.master.wait(20) == 0, self.log()
        finally:
            self.store.stop()

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=70)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"} if body is not None else {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def get(self, path):
        try:
            return self.request("GET", path)
        except OSError:
            return 0, None

    def submit(self, *opcodes, op_id=None, **more):
        body = {"id": op_id or str(uuid.uuid4()), "user": "www", "opcodes": list(opcodes), **more}
        return self.request("POST", "/v1/operations", body)

    def accept(self, *opcodes):
        status, doc = self.submit(*opcodes)
        assert status == 202, doc
        return doc

    def wait(self, operation, seconds=30):
        """The operation when it is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status, doc = self.get(f"/v1/operations/{operation['id']}?wait=5000")
            if status == 200 and doc["state"] in FINAL:
                return doc
            if status != 200:
                time.sleep(0.02)
        raise AssertionError(f"operation not over: {doc}\n{self.log()}")

    def marked(self, operation):
        """{"OP_TEST_DELAY_pre": times, ...} of the global hooks, and each one's tokens agree."""
        found = {}
        for path in self.marks.glob(f"{operation['number']}_*"):
            tokens = path.read_text().splitlines()
            found[path.name.split("_", 1)[1].replace("OP_TEST_DELAY_", "")] = len(tokens)
            for token in tokens:
                assert token.startswith(operation["id"] + "."), token
        return found

    def at_step(self, operation, step, index=0):
        """Wait until the opcode stands there; the operation."""
        def check():
            status, doc = self.get(f"/v1/operations/{operation['id']}")
            return doc if status == 200 and doc["opcodes"][index]["step"] == step else None
        return wait_until(f"opcode {index} at {step}", check, 20)

    def davit_op(self, operation):
        """Pid of the davit-op that holds the operation's lock."""
        path = self.dir / "master" / "op" / f"{operation['number']}.lock"

        def holder():
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.read_text())
                return pid if is_alive(pid) else None
        return wait_until("a davit-op", holder, 20)

    def worker(self, operation):
        return wait_until("a worker", lambda: children(self.davit_op(operation)), 20)[0]

    def processes(self):
        """All davit-ops and workers of this master's directory: those that name its socket's env."""
        return [pid for pid in children(self.master.pid)]


def delay(seconds):
    return {"op": "OP_TEST_DELAY", "duration": seconds}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    try:
        yield world.start()
    finally:
        world.stop()


def test_delay_1_gets_pre_and_succeeded(world):
    operation = world.accept(delay(0.3))
    done = world.wait(operation)
    assert done["state"] == "succeeded", done
    assert world.marked(operation) == {"pre": 1, "post_succeeded": 1}
    opcode = done["opcodes"][0]
    assert (opcode["status"], opcode["step"], opcode["post_status"]) == \
        ("succeeded", "post_done", "succeeded")
    assert opcode["object_type"] == "NOT_APPLICABLE"
    assert done["started_ms"] <= done["ended_ms"]


def test_delay_0_is_rejected_by_the_prerequisites(world):
    operation = world.accept(delay(0))
    done = world.wait(operation)
    assert done["state"] == "failed"
    assert "greater than 0" in done["opcodes"][0]["error"]
    assert world.marked(operation) == {"post_failed": 1}


def test_a_killed_worker_has_disappeared(world):
    operation = world.accept(delay(60))
    world.at_step(operation, "pre_done")
    os.kill(world.worker(operation), signal.SIGKILL)
    done = world.wait(operation)
    assert done["state"] == "disappeared"
    assert world.marked(operation) == {"pre": 1, "post_disappeared": 1}


def test_a_killed_davit_op_has_disappeared_once(world):
    operation = world.accept(delay(60))
    world.at_step(operation, "pre_done")
    worker = world.worker(operation)
    os.kill(world.davit_op(operation), signal.SIGKILL)
    done = world.wait(operation)
    assert done["state"] == "disappeared" and done["attempt"] == 2
    assert world.marked(operation) == {"pre": 1, "post_disappeared": 1}
    wait_until("the worker's end", lambda: not is_alive(worker), 5)


def test_a_killed_master_is_resumed_once(world):
    operation = world.accept(delay(60))
    world.at_step(operation, "pre_done")
    davit_op, worker = world.davit_op(operation), world.worker(operation)
    world.kill_master()
    for pid in (davit_op, worker):
        wait_until("its processes' end", lambda: not is_alive(pid), 10)
    world.start()
    done = world.wait(operation)
    assert done["state"] == "disappeared"
    assert world.marked(operation) == {"pre": 1, "post_disappeared": 1}


def test_master_and_davit_op_killed_together(world):
    operation = world.accept(delay(60))
    world.at_step(operation, "pre_done")
    os.kill(world.davit_op(operation), signal.SIGKILL)
    world.kill_master()
    world.start()
    assert world.wait(operation)["state"] == "disappeared"
    assert world.marked(operation) == {"pre": 1, "post_disappeared": 1}


def test_queued_ones_run_after_a_restart(world):
    first = [world.accept(delay(60)) for _ in range(20)]
    for operation in first:
        world.at_step(operation, "pre_done")
    waiting = world.accept(delay(0.05))
    assert world.get(f"/v1/operations/{waiting['id']}")[1]["state"] == "queued"
    world.kill_master()
    world.start()
    assert world.wait(waiting)["state"] == "succeeded"
    assert world.marked(waiting) == {"pre": 1, "post_succeeded": 1}
    for operation in first:
        assert world.wait(operation)["state"] == "disappeared"


@pytest.mark.parametrize("exit_line", ["exit 1", "kill -9 $$"])
def test_a_global_pre_hook_vetoes(world, exit_line):
    world.hook("global-pre.d", "20-veto", f"echo closed on sundays; {exit_line}\n")
    operation = world.accept(delay(60))
    done = world.wait(operation)
    assert done["state"] == "failed"
    assert "closed on sundays" in done["opcodes"][0]["error"]
    assert done["opcodes"][0]["hook"] == "global-pre.d/20-veto"
    assert world.marked(operation) == {"pre": 1, "post_failed": 1}


def test_two_opcodes_killed_in_the_second(world):
    operation = world.accept(delay(0.05), delay(60), delay(0.05))
    world.at_step(operation, "pre_done", 1)
    os.kill(world.worker(operation), signal.SIGKILL)
    done = world.wait(operation)
    assert done["state"] == "disappeared"
    assert [each["status"] for each in done["opcodes"]] == \
        ["succeeded", "disappeared", "canceled"]
    assert world.marked(operation) == {"pre": 2, "post_succeeded": 1, "post_disappeared": 1}
    tokens = (world.marks / f"{operation['number']}_OP_TEST_DELAY_pre").read_text().splitlines()
    assert len(set(tokens)) == 2


def test_a_master_killed_during_the_post_hook_runs_it_again_with_its_token_and_status(world):
    world.hook("global-post.d", "20-slow", f"""
[ -e {world.dir}/slept ] || {{ : > {world.dir}/slept; sleep 60; }}
""")
    operation = world.accept(delay(0.05))
    wait_until("the slow hook", (world.dir / "slept").exists, 20)
    world.kill_master()
    world.start()
    assert world.wait(operation)["state"] == "succeeded"
    path = world.marks / f"{operation['number']}_OP_TEST_DELAY_post_succeeded"
    assert len(set(path.read_text().splitlines())) == 1
    assert set(world.marked(operation)) == {"pre", "post_succeeded"}


def test_the_same_id_answers_the_same_operation(world):
    op_id = str(uuid.uuid4())
    status, first = world.submit(delay(0.05), op_id=op_id)
    assert status == 202
    assert world.submit(delay(0.05), op_id=op_id)[1]["number"] == first["number"]
    world.wait(first)
    status, again = world.submit(delay(0.05), op_id=op_id)
    assert again["number"] == first["number"] and again["state"] == "succeeded"
    assert world.submit(delay(0.06), op_id=op_id)[0] == 422
    world.kill_master()
    world.start()
    assert world.submit(delay(0.05), op_id=op_id)[1]["number"] == first["number"]
    assert world.submit(delay(0.06), op_id=op_id)[0] == 422
    assert world.submit(delay(0.05))[1]["number"] > first["number"]
    assert world.marked(first) == {"pre": 1, "post_succeeded": 1}


@pytest.mark.parametrize("body, word", [
    ({"id": "x", "opcodes": [delay(1)]}, "UUID"),
    ({"id": str(uuid.uuid4()), "opcodes": []}, "1 to 100"),
    ({"id": str(uuid.uuid4())}, "opcodes"),
    ({"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_NONE"}]}, "OP_NONE"),
    ({"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_TEST_DELAY"}]}, "duration"),
    ({"id": str(uuid.uuid4()), "opcodes": [delay(1)], "priority": 99}, "priority"),
    ({"id": str(uuid.uuid4()), "opcodes": "x"}, "opcodes"),
    ([], "id"),
])
def test_what_the_api_rejects_leaves_no_operation_and_runs_no_hook(world, body, word):
    if isinstance(body, dict):
        body["user"] = "www"
    status, doc = world.request("POST", "/v1/operations", body)
    assert status in (400, 413), doc
    assert word in doc["detail"]
    assert world.get("/v1/operations")[1]["items"] == []
    assert list(world.marks.iterdir()) == []


def test_lists_are_newest_first_in_pages_and_filtered(world):
    operations = [world.accept(delay(0.01)) for _ in range(5)] + [world.accept(delay(0))]
    for operation in operations:
        world.wait(operation)
    numbers = [operation["number"] for operation in operations][::-1]
    page = world.get("/v1/operations?limit=4")[1]
    assert [item["number"] for item in page["items"]] == numbers[:4]
    page = world.get(f"/v1/operations?limit=4&cursor={page['next']}")[1]
    assert [item["number"] for item in page["items"]] == numbers[4:]
    assert page["next"] is None
    failed = world.get("/v1/operations?state=failed")[1]["items"]
    assert [item["number"] for item in failed] == numbers[:1]
    assert world.get(f"/v1/operations/{numbers[0]}")[1]["id"] == operations[-1]["id"]
    assert world.get("/v1/operations/999")[0] == 404


def test_nothing_is_left_behind(world):
    operations = [world.accept(delay(0.05)) for _ in range(30)]
    for operation in operations:
        assert world.wait(operation)["state"] == "succeeded"
    # One davit-op is kept ready, with its worker.
    wait_until("one davit-op left", lambda: len(world.processes()) <= 1, 10)
    wait_until("no lock left", lambda: not list((world.dir / "master" / "op").iterdir()), 10)
    pids = world.processes()
    pids += [each for pid in pids for each in children(pid)]
    world.master.terminate()
    assert world.master.wait(20) == 0
    wait_until("all of them end", lambda: not any(map(is_alive, pids)), 10)


def test_records_move_to_the_archive(world):
    from kazoo.client import KazooClient
    operation = world.accept(delay(0.05))
    world.wait(operation)
    zk = KazooClient(hosts=world.store.address)
    zk.start(timeout=20)
    try:
        name = f"{operation['number']:010d}"
        assert zk.get_children("/davit/operations") == []
        assert json.loads(zk.get(f"/davit/archive/{name}")[0])["state"] == "succeeded"
    finally:
        zk.stop()
        zk.close()


# ---- What davit-op leaves behind ----


def sleepers(mark):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cmdline").read_bytes() == f"sleep\0{mark}\0".encode() and is_alive(int(path.name)):
                found.append(int(path.name))
    return found


@pytest.mark.parametrize("rung", ["auto", "cgroup2", "cgroup1", "sweep"])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_what_a_hook_started_ends_with_its_master(tmp_path, how, rung):
    """Nobody but the master is left to end it when davit-op was killed."""
    mark = 98000 + os.getpid() % 900
    world = World(tmp_path)
    world.env = {"DAVIT_KILL_RUNG": rung} if rung != "auto" else {}
    world.hook("global-pre.d", "20-daemon", f"setsid sleep {mark} &\nsleep 60\n")
    try:
        world.start()
        world.submit({"op": "OP_TEST_DELAY", "duration": 0.01})
        wait_until("the hook's child runs, or the rung does not work here",
                   lambda: sleepers(mark) or "do not work here" in str(
                       world.get("/v1/hook-runs?level=operation")[1]))
        if not sleepers(mark):
            pytest.skip(f"process trees by {rung} do not work here")
        if how == "killed":
            world.kill_master()
        else:
            world.master.terminate()
            world.master.wait(20)
        wait_until("it is ended", lambda: not sleepers(mark), 5)
    finally:
        for pid in sleepers(mark):
            os.kill(pid, signal.SIGKILL)
        world.stop()
