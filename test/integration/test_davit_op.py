# SPDX-License-Identifier: Apache-2.0
"""davit-op by itself: this test is its master, on the other end of the socketpair."""
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from servers import build_dir, wait_until

PROGRAM = build_dir() / "src" / "op" / "davit-op"
OP_ID = "0d7cf9a4-6f9e-4c5f-8d3c-0b0b5f0f4a11"


class Master:
    """Answers what davit-op asks, as `answers` says, and keeps what was asked."""

    def __init__(self, tmp, opcodes, mode="run", index=0, answers=None):
        self.tmp = tmp
        self.asked = []
        self.answers = answers or {}
        ours, theirs = socket.socketpair()
        env = dict(os.environ, DAVIT_OP_FD=str(theirs.fileno()))
        self.process = subprocess.Popen([PROGRAM], env=env, pass_fds=[theirs.fileno()])
        theirs.close()
        self.sock = ours
        self.sock.settimeout(20)
        self.lines = ours.makefile("rwb")
        self.hello = {
            "version": 1, "attempt": 1, "mode": mode, "index": index,
            "hooks_dir": str(tmp / "hooks"), "journal": str(tmp / "hooks.db"),
            "lock": str(tmp / "op.lock"), "data_dir": str(tmp), "cluster": "devcluster",
            "node": "m1", "term_ms": 5000,
            "operation": {"id": OP_ID, "number": 17, "user": "www", "opcodes": opcodes},
        }

    def answer(self, request):
        method, params = request["method"], request.get("params", {})
        if method in self.answers:
            given = self.answers[method]
            return given(params) if callable(given) else given
        if method == "op.hello":
            return self.hello
        if method == "op.begin":
            return {"vars": {"OP_TARGET": "t"}, "nodes": [], "token": OP_ID + ".0"}
        if method == "op.vars":
            return {"status": params["status"], "vars": {}, "pre_vars": {"OP_TARGET": "t"},
                    "nodes": [], "done": False}
        if method == "op.finish":
            return {"next": params["index"] + 1 < len(self.hello["operation"]["opcodes"])
                    and params["status"] == "succeeded"}
        return {}

    def step(self):
        """Serve one request; False at the end of the channel."""
        line = self.lines.readline()
        if not line:
            return False
        request = json.loads(line)
        self.asked.append((request["method"], request.get("params", {})))
        reply = {"jsonrpc": "2.0", "id": request.get("id"), "result": self.answer(request)}
        self.lines.write(json.dumps(reply).encode() + b"\n")
        self.lines.flush()
        return True

    def run(self):
        """Serve until it ends; its exit status."""
        try:
            while self.step():
                pass
        except ConnectionError:
            pass
        return self.process.wait(20)

    def methods(self):
        return [method for method, _ in self.asked]

    def params_of(self, method):
        return next(params for name, params in self.asked if name == method)

    def close(self):
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)


def opcode(op="OP_TEST_DELAY", duration=0.01, **more):
    return {"op": op, "input": {"op": op, "duration": duration}, "object_type": "NOT_APPLICABLE",
            "token": OP_ID + ".0", **more}


@pytest.fixture
def start(tmp_path):
    masters = []

    def starter(*args, **kwargs):
        masters.append(Master(tmp_path, *args, **kwargs))
        return masters[-1]

    yield starter
    for master in masters:
        master.close()


def hook(tmp_path, directory, name, text):
    path = tmp_path / "hooks" / directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def note(tmp_path, *directories):
    """A hook in each that appends its directory, and its environment's file."""
    for directory in directories:
        hook(tmp_path, directory, "10-note",
             f"echo {directory} >> {tmp_path}/order\nenv | sort > {tmp_path}/env.{directory}\n"
             f"cat /proc/self/cgroup > {tmp_path}/cgroup.{directory}\n")


def order(tmp_path):
    path = tmp_path / "order"
    return path.read_text().split() if path.exists() else []


def children(pid):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def alive(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rsplit(")", 1)[1].split()[0] != "Z"


def test_without_hooks_it_says_so_and_runs_the_work(start):
    master = start([opcode()])
    assert master.run() == 0
    assert master.methods() == ["op.hello", "op.begin", "op.pre_done", "op.vars", "op.finish"]
    assert master.params_of("op.begin")["local_hooks"] is False
    assert master.params_of("op.vars")["status"] == "succeeded"
    assert not (master.tmp / "hooks.db").exists()


def test_hooks_run_in_their_order_with_their_environment(start, tmp_path):
    note(tmp_path, "global-pre.d", "job-kill-pre.d", "job-kill-post.d", "global-post.d")
    master = start([opcode(hooks_path="job-kill", object_type="JOB")], answers={
        "op.vars": lambda p: {"status": p["status"], "vars": {"NEW": "1"}, "nodes": [],
                              "pre_vars": {"OP_TARGET": "t"}}})
    assert master.run() == 0
    assert order(tmp_path) == ["global-pre.d", "job-kill-pre.d", "job-kill-post.d",
                               "global-post.d"]
    lines = [line for line in (tmp_path / "env.global-post.d").read_text().splitlines()
             if not line.startswith(("PWD=", "SHLVL=", "_=", "OLDPWD="))]
    # Only where no cgroup holds the run does a variable have to mark it (base/tree.h).
    marked = [line for line in lines if line.startswith("DAVIT_RUN=")]
    in_group = "davit-" in (tmp_path / "cgroup.global-post.d").read_text()
    assert len(marked) == (0 if in_group else 1)
    lines = [line for line in lines if line not in marked]
    assert sorted(lines) == sorted([
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "GANETI_HOOKS_VERSION=2",
        "GANETI_OP_CODE=OP_TEST_DELAY", f"GANETI_DATA_DIR={tmp_path}",
        "GANETI_HOOKS_PHASE=post", "GANETI_HOOKS_PATH=global", "GANETI_OBJECT_TYPE=JOB",
        "GANETI_CLUSTER=devcluster", "GANETI_MASTER=m1", "GANETI_JOB_ID=17",
        "GANETI_IS_MASTER=master", "GANETI_OP_HOOKS_PATH=job-kill",
        "GANETI_POST_STATUS=succeeded", "GANETI_OP_TARGET=t", "GANETI_POST_NEW=1"])
    own = (tmp_path / "env.job-kill-pre.d").read_text()
    assert "GANETI_HOOKS_PATH=job-kill\n" in own
    assert "JOB_ID" not in own and "IS_MASTER" not in own and "TOKEN" not in own


@pytest.mark.parametrize("directory", ["global-pre.d", "job-kill-pre.d"])
def test_a_veto_keeps_the_work_from_running(start, tmp_path, directory):
    note(tmp_path, "global-pre.d", "job-kill-pre.d", "job-kill-post.d", "global-post.d")
    hook(tmp_path, directory, "20-veto", "echo not today; exit 3\n")
    master = start([opcode(duration=60, hooks_path="job-kill", object_type="JOB")])
    assert master.run() == 0
    verdict = master.params_of("op.pre_done")
    assert verdict["verdict"] == "refused"
    assert verdict["hook"] == f"{directory}/20-veto"
    assert "not today" in verdict["error"]
    assert master.params_of("op.vars")["status"] == "failed"
    assert "job-kill-post.d" not in order(tmp_path)
    assert "GANETI_POST_STATUS=failed\n" in (tmp_path / "env.global-post.d").read_text()
    assert "output: not today" in json.dumps(master.params_of("op.vars")["log"])


def test_a_failing_post_hook_is_only_noted(start, tmp_path):
    hook(tmp_path, "global-post.d", "10-bad", "exit 1\n")
    master = start([opcode()])
    assert master.run() == 0
    assert master.params_of("op.finish")["status"] == "succeeded"
    assert master.params_of("op.finish")["log"][0]["message"] == \
        "On m1 script global-post.d/10-bad failed, output: (no output)"


def test_rejected_runs_the_global_post_hook_alone(start, tmp_path):
    note(tmp_path, "global-pre.d", "global-post.d")
    master = start([opcode()], answers={"op.begin": {"rejected": "no"}})
    assert master.run() == 0
    assert order(tmp_path) == ["global-post.d"]
    assert master.params_of("op.vars")["status"] == "failed"


def test_nodes_are_asked_after_the_master_and_unreachable_ones_never_veto(start, tmp_path):
    note(tmp_path, "global-pre.d", "job-kill-pre.d")
    asked = []

    def nodes(params):
        asked.append((params["dir"], order(tmp_path), params["env"]["GANETI_HOOKS_PATH"],
                      params["env"].get("GANETI_IS_MASTER")))
        return {"results": [{"node": "n1", "reachable": False, "error": "down", "runs": []}]}

    master = start([opcode(hooks_path="job-kill", object_type="JOB")], answers={
        "op.begin": {"vars": {}, "nodes": ["n1"]}, "hooks.run_on_nodes": nodes})
    assert master.run() == 0
    assert asked[:2] == [
        ("global-pre.d", ["global-pre.d"], "global", "not_master"),
        ("job-kill-pre.d", ["global-pre.d", "job-kill-pre.d"], "job-kill", None)]
    assert master.params_of("op.vars")["status"] == "succeeded"
    assert "Node n1 could not be reached" in json.dumps(master.params_of("op.vars")["log"])


def test_a_hook_of_a_node_vetoes(start):
    record = {"run_id": "r", "level": "operation", "event": "global-pre", "hook": "veto",
              "outcome": "failed", "exit_code": 1, "output_head": "no"}
    master = start([opcode(duration=60)], answers={
        "op.begin": {"vars": {}, "nodes": ["n1"]},
        "hooks.run_on_nodes": {"results": [{"node": "n1", "reachable": True,
                                            "runs": [record]}]}})
    assert master.run() == 0
    assert master.params_of("op.pre_done")["hook"] == "global-pre.d/veto"
    assert "on n1" in master.params_of("op.pre_done")["error"]


def wait_for_work(master):
    while "op.pre_done" not in master.methods():
        assert master.step()
    return wait_until("a worker", lambda: children(master.process.pid), 5)[0]


def test_a_killed_worker_disappeared_and_ends_the_operation(start, tmp_path):
    note(tmp_path, "global-pre.d", "global-post.d")
    master = start([opcode(duration=60), opcode()])
    os.kill(wait_for_work(master), signal.SIGKILL)
    assert master.run() == 0
    assert master.params_of("op.vars")["status"] == "disappeared"
    assert master.params_of("op.finish")["status"] == "disappeared"
    assert order(tmp_path) == ["global-pre.d", "global-post.d"]
    assert master.methods().count("op.begin") == 1


def test_a_second_opcode_follows(start, tmp_path):
    note(tmp_path, "global-pre.d", "global-post.d")
    master = start([opcode(), opcode()])
    assert master.run() == 0
    assert [p["index"] for m, p in master.asked if m == "op.finish"] == [0, 1]
    assert order(tmp_path) == ["global-pre.d", "global-post.d"] * 2


def test_when_the_master_is_gone_it_kills_its_worker_and_ends(start):
    master = start([opcode(duration=60)])
    worker = wait_for_work(master)
    master.lines.close()
    master.sock.close()
    assert master.process.wait(10) == 1
    wait_until("the worker's end", lambda: not alive(worker), 5)


def test_when_the_master_is_gone_it_kills_a_hook_and_its_children(start, tmp_path):
    hook(tmp_path, "global-pre.d", "slow", f"sleep 300 & echo $! > {tmp_path}/kid\nwait\n")
    master = start([opcode()])
    while "op.begin" not in master.methods():
        assert master.step()
    kid = tmp_path / "kid"
    wait_until("the hook's child", lambda: kid.exists() and kid.read_text().strip(), 5)
    pid = int(kid.read_text())
    master.lines.close()
    master.sock.close()
    assert master.process.wait(15) == 1
    wait_until("the child's end", lambda: not alive(pid), 5)


def test_killed_itself_it_takes_its_worker_along(start):
    master = start([opcode(duration=60)])
    worker = wait_for_work(master)
    master.process.kill()
    wait_until("the worker's end", lambda: not alive(worker), 5)


def test_an_error_of_the_master_ends_it(start):
    master = start([opcode()])
    master.answer = lambda request: master.hello if request["method"] == "op.hello" else None
    line = master.lines.readline()
    request = json.loads(line)
    master.lines.write(json.dumps({"jsonrpc": "2.0", "id": request["id"],
                                   "result": master.hello}).encode() + b"\n")
    master.lines.flush()
    request = json.loads(master.lines.readline())
    assert request["params"]["op"] == 17 and request["params"]["attempt"] == 1
    master.lines.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": {
        "code": -32003, "message": "stale"}}).encode() + b"\n")
    master.lines.flush()
    assert master.process.wait(10) == 1


def test_mode_disappeared_runs_only_the_post_hook(start, tmp_path):
    note(tmp_path, "global-pre.d", "global-post.d", "job-kill-post.d")
    master = start([opcode(hooks_path="job-kill", object_type="JOB")], mode="disappeared")
    assert master.run() == 0
    assert order(tmp_path) == ["global-post.d"]
    assert master.methods() == ["op.hello", "op.vars", "op.finish"]
    text = (tmp_path / "env.global-post.d").read_text()
    assert "GANETI_POST_STATUS=disappeared\n" in text and "GANETI_OP_TARGET=t\n" in text


def test_post_hooks_that_had_ended_are_not_run_again(start, tmp_path):
    note(tmp_path, "global-post.d")
    answers = {"op.vars": {"status": "succeeded", "vars": {}, "pre_vars": {}, "nodes": []}}
    assert start([opcode()]).run() == 0
    master = start([opcode()], mode="disappeared", answers=answers)
    assert master.run() == 0
    assert order(tmp_path) == ["global-post.d"]
    assert master.params_of("op.finish")["status"] == "succeeded"


def test_it_waits_for_the_lock_of_its_predecessor(start, tmp_path):
    import fcntl
    lock = open(tmp_path / "op.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    master = start([opcode()])
    assert master.step()
    master.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        master.sock.recv(1)
    lock.close()
    master.sock.settimeout(20)
    master.lines = master.sock.makefile("rwb")
    assert master.run() == 0


def test_started_by_hand_it_says_so():
    env = {key: value for key, value in os.environ.items() if key != "DAVIT_OP_FD"}
    done = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "started by davit-master" in done.stderr
    assert subprocess.run([PROGRAM, "--help"], capture_output=True, timeout=10).returncode == 0
