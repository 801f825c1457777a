# SPDX-License-Identifier: Apache-2.0
"""kill -9 of every program while jobs are created and killed.

One cluster, one seeded history: each round orders a death, either at a random
moment or at a named crash point, does work meanwhile, and lets the cluster come
back.  Afterwards, and all the time:

 P1  every accepted operation still exists;
 P2  it ends in exactly one final state, and never leaves it;
 P4  each opcode whose global pre hooks began has exactly one final global-post
     record, with the same token on a re-run;
 --  no running instance was restarted by a death of store, master or agent;
 P11 nothing is left running at the end.

The seed is printed; the hits of each crash point are printed at the end.
"""
import collections
import json
import os
import pathlib
import random
import signal
import time
import uuid

import pytest

from cluster import USER, Answer, Cluster
from servers import wait_until

SCALE = float(os.environ.get("DAVIT_SCALE", "0.1"))
SEED = int(os.environ.get("DAVIT_SEED", "1"))
FINAL = {"succeeded", "failed", "canceled", "disappeared"}


def count(full):
    return max(3, int(full * SCALE + 0.5))


HOOK = """#!/bin/sh
# One short line a run: a single write, so that lines do not mix.
echo "$GANETI_HOOKS_PHASE $GANETI_JOB_ID $GANETI_OP_CODE ${GANETI_POST_STATUS:--}" >> LEDGER
"""


def job(name, cmdline, instances):
    """An evaluated job, as the client sends it."""
    return {
        "cluster": "devcluster", "role": USER, "environment": "devel", "name": name,
        "instances": instances, "service": True, "max_task_failures": 1,
        "task": {"name": name, "max_failures": 1, "max_concurrency": 0, "finalization_wait": 2,
                 "constraints": [], "resources": {"cpu": 0.01, "ram": 1 << 20, "disk": 1 << 20},
                 "processes": [{"name": "main", "cmdline": cmdline, "max_failures": 1,
                                "daemon": False, "ephemeral": False, "min_duration": 1,
                                "final": False}]},
    }


class History:
    """What was asked for, and what was answered."""

    def __init__(self, cluster, rng):
        self.cluster = cluster
        self.rng = rng
        self.accepted = {}  # operation id -> what
        self.final = {}     # operation id -> state, once seen
        self.ledger = cluster.dir / "ledger.txt"
        self.starts = cluster.dir / "starts.txt"
        self.starts.touch()
        self.jobs = {}      # name -> instances, for jobs that a create was accepted for

    def submit(self, opcode, what):
        """POST until a master answered: the id makes repeating safe."""
        op_id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        body = {"id": op_id, "user": USER, "opcodes": [opcode]}
        self.cluster.patient_api("POST", "/v1/operations", body,
                                 headers={"Idempotency-Key": op_id})
        self.accepted[op_id] = what
        return op_id

    def create(self, name, instances=2):
        cmdline = f"echo {name} {{{{mesos.instance}}}} {{{{thermos.task_id}}}} >> {self.starts}; exec sleep 3600"
        self.jobs[name] = instances
        return self.submit({"op": "OP_JOB_CREATE", "job": job(name, cmdline, instances)},
                           f"create {name}")

    def kill(self, name):
        self.jobs.pop(name, None)
        return self.submit({"op": "OP_JOB_KILL", "key": self.cluster.key(name), "instances": None,
                            "message": "chaos"}, f"kill {name}")

    def wait_final(self, op_id, seconds=90):
        def over():
            record = self.cluster.patient_api("GET", f"/v1/operations/{op_id}?wait=2000")
            return record if record["state"] in FINAL else None
        try:
            record = wait_until(f"end of {self.accepted[op_id]}", over, seconds)
        except AssertionError as e:
            record = self.cluster.patient_api("GET", f"/v1/operations/{op_id}")
            raise AssertionError(f"{e}\n{json.dumps(record)}\n{self.cluster.logs()}") from None
        self.final[op_id] = record["state"]
        return record

    def check_operations(self):
        for op_id, what in self.accepted.items():
            record = self.cluster.patient_api("GET", f"/v1/operations/{op_id}")  # P1
            if op_id in self.final:
                assert record["state"] == self.final[op_id], f"{what} left its final state"  # P2

    def start_lines(self):
        return collections.Counter(
            tuple(line.split()) for line in self.starts.read_text().splitlines())


def kill_one(cluster, rng, program, *words):
    """SIGKILL to one of the program's processes; False when there is none now."""
    pids = cluster.pids(program, *words)
    if not pids:
        return False
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def settle(cluster):
    """Wait until every program is back and the master answers with every node alive."""
    def back():
        nodes = cluster.patient_api("GET", "/v1/nodes")["items"]
        return len([n for n in nodes if n["alive"]]) == cluster.nodes
    wait_until("all nodes alive", back, 60)


VICTIMS = {
    "store": ("davit-store",),
    "master": ("davit-master",),
    "agent": ("davit-agent",),
    "op": ("davit-op", "!--worker"),
    "worker": ("davit-op", "--worker"),
}


def victims_of(cluster, victim):
    program, *words = VICTIMS[victim]
    pids = cluster.pids(program, *[w for w in words if not w.startswith("!")])
    for word in words:
        if word.startswith("!"):
            pids = [p for p in pids if word[1:] not in
                    pathlib.Path(f"/proc/{p}/cmdline").read_bytes().decode(errors="replace")]
    return pids


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    print(f"\nkill loops: DAVIT_SEED={SEED} DAVIT_SCALE={SCALE}")
    directory = tmp_path_factory.mktemp("chaos")
    env = {"DAVIT_CRASH_FILE": str(directory / "crash"), "DAVIT_CRASH_LOG": str(directory / "hits"),
           "ASAN_OPTIONS": "detect_leaks=0"}
    cluster = Cluster(directory, nodes=2, env=env,
                      options=["--node-cpus=64", f"--node-ram={64 << 30}", f"--node-disk={64 << 30}"])
    history = History(cluster, random.Random(SEED))
    for phase in ("pre", "post"):
        hook = directory / "hooks" / f"global-{phase}.d" / "ledger"
        hook.parent.mkdir(parents=True)
        hook.write_text(HOOK.replace("LEDGER", str(history.ledger)))
        hook.chmod(0o755)
    cluster.start()
    yield history
    for name in list(history.jobs):
        history.wait_final(history.kill(name))
    cluster.stop()
    left = cluster.marked_pids(cluster.marker)
    assert not left, [pathlib.Path(f"/proc/{p}/cmdline").read_bytes() for p in left]  # P11
    hits = collections.Counter((directory / "hits").read_text().split()) \
        if (directory / "hits").exists() else {}
    for point, number in sorted(hits.items()):
        print(f"  crash point {point}: {number} hits")


def steady_job(history):
    """A job that must not notice anything."""
    if "steady" not in history.jobs:
        history.wait_final(history.create("steady", 4))
        history.cluster.wait_state(history.cluster.key("steady"), "RUNNING", 4)
        wait_until("steady processes", lambda: sum(
            n for line, n in history.start_lines().items() if line[0] == "steady") >= 4)


def a_round(history, number, die):
    """One create and one kill with a death in between, somewhere."""
    rng = history.rng
    name = f"job{number}"
    create = history.create(name, rng.randint(1, 3))
    die()
    history.wait_final(create)
    kill = history.kill(name)
    if rng.random() < 0.5:
        die()
    history.wait_final(kill)


@pytest.mark.parametrize("victim", list(VICTIMS))
def test_killed_at_random_moments(history, victim):
    steady_job(history)
    before = {k: v for k, v in history.start_lines().items() if k[0] == "steady"}
    rng = random.Random(f"{SEED} {victim}")
    kills = 0

    def die():
        nonlocal kills
        time.sleep(rng.random() * 0.05)  # The random moment itself, not a synchronisation.
        pids = victims_of(history.cluster, victim)
        if pids:
            try:
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass

    attempt = 0
    while kills < count(30):
        attempt += 1
        assert attempt < count(30) * 12, f"only {kills} kills of {victim} hit anything"
        a_round(history, f"-{victim}-{attempt}", die)
    settle(history.cluster)
    history.check_operations()
    check_global_hooks(history)
    after = {k: v for k, v in history.start_lines().items() if k[0] == "steady"}
    assert before == after, "a running instance was restarted"
    print(f"  {victim}: {kills} kills in {attempt} rounds")


def check_global_hooks(history):
    """P4 by the records, and the ledger's tokens by the operations."""
    for op_id, what in history.accepted.items():
        runs = history.cluster.patient_api(
            "GET", f"/v1/hook-runs?op={op_id}&level=operation&limit=1000")["items"]
        pre = [r for r in runs if r["event"] == "global-pre"]
        post = [r for r in runs if r["event"] == "global-post"]
        final = [r for r in post if r.get("outcome") not in (None, "lost")]
        if op_id not in history.final:
            continue
        if pre:
            assert len(final) == 1, f"{what} {history.final[op_id]}: {len(final)} final of {post}"
        assert len({r["token"] for r in post}) <= 1, f"{what}: tokens differ {post}"


def crash_points(prefixes):
    """The names that the sources give to crash points."""
    import re
    root = pathlib.Path(__file__).resolve().parents[2]
    names = set()
    for path in (root / "src").rglob("*.c"):
        names.update(re.findall(r'CRASH_POINT\("([^"]+)"\)', path.read_text()))
    return sorted(n for n in names if n.split(".")[0] in prefixes)


@pytest.mark.parametrize("prefix", ["store", "master", "agent", "op"])
def test_killed_at_crash_points(history, prefix):
    steady_job(history)
    before = {k: v for k, v in history.start_lines().items() if k[0] == "steady"}
    crash = pathlib.Path(history.cluster.env["DAVIT_CRASH_FILE"])
    taken = pathlib.Path(f"{crash}.taken")
    points = crash_points([prefix])
    assert points, f"no crash point in {prefix}"
    rng = random.Random(f"{SEED} points {prefix}")
    chosen = points if SCALE >= 1 else rng.sample(points, min(len(points), count(30)))
    died = []
    for number, point in enumerate(chosen):
        taken.unlink(missing_ok=True)

        def die(point=point):
            if not taken.exists():
                crash.with_suffix(".new").write_text(point + "\n")
                crash.with_suffix(".new").rename(crash)

        a_round(history, f"-{prefix}-at{number}", die)
        crash.unlink(missing_ok=True)
        if taken.exists():
            died.append(point)
    settle(history.cluster)
    history.check_operations()
    check_global_hooks(history)
    after = {k: v for k, v in history.start_lines().items() if k[0] == "steady"}
    assert before == after, "a running instance was restarted"
    print(f"  {prefix}: died at {len(died)} of {len(chosen)} points; never passed: "
          f"{sorted(set(chosen) - set(died))}")
    assert died, "no crash point was ever passed"


def test_killed_pod_takes_its_processes_along(history):
    """kill -9 of davit-pod: its processes are gone within 5 s and the task is rescheduled."""
    cluster = history.cluster
    for number in range(count(30)):
        name = f"pod{number}"
        history.wait_final(history.create(name, 1))
        [task] = cluster.wait_state(cluster.key(name), "RUNNING", 1)
        mark = f" {task['id']} "
        wait_until("process started", lambda: mark.strip() in history.starts.read_text())
        pods = cluster.pids("davit-pod", task["id"])
        assert len(pods) == 1
        members = [p for p in cluster.marked_pids(task["id"]) if p != pods[0]]
        os.kill(pods[0], signal.SIGKILL)
        wait_until("its processes gone", lambda: not cluster.marked_pids(task["id"]), 5)
        [again] = wait_until("rescheduled", lambda: [
            t for t in cluster.tasks(cluster.key(name), active=True) if t["id"] != task["id"]], 60)
        assert again["ancestor"] == task["id"] and again["instance"] == task["instance"], members
        history.wait_final(history.kill(name))


def test_a_bad_request_changes_nothing(history):
    """Malformed and oversized requests: 4xx, and the operations are the same."""
    cluster = history.cluster
    before = cluster.patient_api("GET", "/v1/operations?limit=1")["items"]
    for body in ([], {}, {"id": "x"}, {"id": str(uuid.uuid4()), "opcodes": []},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_NOPE"}]},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_JOB_CREATE"}]},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_JOB_KILL", "key": "a/b"}]},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_JOB_KILL", "key": "x" * (5 << 20)}]}):
        with pytest.raises((Answer, OSError)) as caught:
            cluster.api("POST", "/v1/operations", body)
        if isinstance(caught.value, Answer):
            assert 400 <= caught.value.status < 500, caught.value
    assert cluster.patient_api("GET", "/v1/operations?limit=1")["items"] == before
