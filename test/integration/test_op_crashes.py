# SPDX-License-Identifier: Apache-2.0
"""Each crash point of an operation's life, once: whatever dies there, each opcode whose global pre
hook began has exactly one status from the global post hooks, and the operation ends.

Needs a build with -Dfaults=true (DAVIT_BUILD chooses the tree).
"""
import re
import time
import uuid

import pytest

from servers import build_dir
from test_operations import FINAL, World, delay

STATES = ("begin", "global-pre", "own-pre", "pre-done", "work", "vars", "own-post", "global-post",
          "finish")
OP_POINTS = [f"op.{state}{when}" for state in STATES for when in ("", ".end")]
WORKER_POINTS = ["worker.run", "worker.step", "worker.stepped", "worker.done"]
MASTER_POINTS = [f"master.op.{name}" for name in (
    "accept", "accepted", "start", "durable", "begin", "begun", "pre_done", "work", "vars",
    "post_intent", "finish", "finished", "archived")]
AGAIN_POINTS = ["op.again.vars", "op.again.vars.end", "op.again.global-post",
                "op.again.global-post.end", "op.again.finish"]


def has_faults():
    program = build_dir() / "src" / "op" / "davit-op"
    return program.exists() and b"DAVIT_CRASH_FILE" in program.read_bytes()


pytestmark = [pytest.mark.faults, pytest.mark.skipif(
    not has_faults(), reason="this build has no crash points (-Dfaults=true)")]


class CrashWorld(World):
    def __init__(self, directory):
        super().__init__(directory)
        self.orders = self.dir / "crash"
        self.env = {"DAVIT_CRASH_FILE": str(self.orders)}
        for phase in ("pre", "post"):
            for verb in ("create", "kill"):
                self.hook(f"job-{verb}-{phase}.d", "10-true", "exit 0\n")

    def order(self, point):
        self.orders.write_text(point + "\n")

    def died(self):
        return (self.dir / "crash.taken").exists()

    def revive(self):
        if self.master.poll() is not None:
            self.start()
            return True
        return False

    def wait(self, operation, seconds=40):
        end = time.monotonic() + seconds
        doc = None
        while time.monotonic() < end:
            self.revive()
            status, doc = self.get(f"/v1/operations/{operation['id']}?wait=300")
            if status == 200 and doc["state"] in FINAL:
                return doc
            if status == 404:
                return None
            time.sleep(0.02)
        raise AssertionError(f"operation not over: {doc}\n{self.log()}")

    def told(self, op_id):
        """{index: (times pre began, {statuses of post})} by the marks' tokens."""
        told = {}
        for path in self.marks.iterdir():
            match = re.search(r"_(pre|post)(?:_(\w+))?$", path.name)
            for token in path.read_text().split():
                if not token.startswith(op_id + "."):
                    continue
                index = int(token[len(op_id) + 1:].split(".")[0])
                pre, post = told.setdefault(index, [0, set()])
                if match[1] == "pre":
                    told[index][0] = pre + 1
                else:
                    post.add(match[2])
        return told


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = CrashWorld(tmp_path_factory.mktemp("crashes"))
    try:
        yield world.start()
    finally:
        world.stop()


def job(name):
    return {"cluster": "devcluster", "role": "www", "environment": "devel", "name": name,
            "instances": 1,
            "task": {"name": name, "processes": [{"name": "p", "cmdline": "true"}],
                     "resources": {"cpu": 0.1, "ram": 1048576, "disk": 1048576}}}


def submit(world, opcodes):
    """The operation, or None when the master died before it was accepted."""
    op_id = str(uuid.uuid4())
    try:
        status, doc = world.submit(*opcodes, op_id=op_id)
        assert status == 202, doc
    except (OSError, ValueError):
        doc = None
    return op_id, doc


def check(world, op_id, done):
    told = world.told(op_id)
    for index, opcode in enumerate(done["opcodes"]):
        pre, post = told.get(index, (0, set()))
        assert pre <= 1, (index, told)
        if pre:
            assert post == {opcode["status"]}, (index, opcode, told)
        if opcode["status"] == "canceled":
            assert not pre and not post
        else:
            assert opcode["status"] == opcode["post_status"]
    statuses = [opcode["status"] for opcode in done["opcodes"]]
    if done["state"] == "succeeded":
        assert set(statuses) == {"succeeded"}


@pytest.mark.parametrize("point", OP_POINTS + WORKER_POINTS + MASTER_POINTS)
def test_one_death(world, point):
    key = "j" + uuid.uuid4().hex[:8]
    world.order(point)
    op_id, accepted = submit(world, [
        {"op": "OP_JOB_CREATE", "job": job(key)}, delay(0.01),
        {"op": "OP_JOB_KILL", "key": f"devcluster/www/devel/{key}"}])
    done = world.wait({"id": op_id})
    assert world.died(), f"{point} was never reached"
    (world.dir / "crash.taken").unlink()
    if accepted is not None:
        assert done is not None, "an accepted operation was lost"
    if done is not None:
        check(world, op_id, done)
    # And the next one is none the worse.
    op_id, accepted = submit(world, [delay(0.01)])
    assert world.wait({"id": op_id})["state"] == "succeeded"


@pytest.mark.parametrize("point", AGAIN_POINTS)
def test_a_second_death_while_it_is_made_good(world, point):
    world.order("op.work")
    op_id, accepted = submit(world, [delay(0.01), delay(0.01)])
    end = time.monotonic() + 20
    while not world.died():
        assert time.monotonic() < end
    (world.dir / "crash.taken").unlink()
    world.order(point)
    done = world.wait({"id": op_id})
    assert done["state"] == "disappeared"
    check(world, op_id, done)
    if world.orders.exists():
        world.orders.unlink()  # It was over before the order came: nothing to die for.
    else:
        (world.dir / "crash.taken").unlink()
