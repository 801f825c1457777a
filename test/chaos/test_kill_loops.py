# SPDX-License-Identifier: Apache-2.0
"""kill -9 of every program while jobs are created and killed.

One cluster, one seeded history.  A round accepts a create and the kill of the round
before, orders a death somewhere in between (at a random moment, or at a named crash
point), and lets both operations end.  After each round and at the end:

 P1   every accepted operation still exists, and no other does;
 P2   it ends in exactly one final state, and never leaves it;
 P3   what a pre hook refused was not done;
 P4   each opcode whose global pre hooks began has exactly one final global-post
      record, and the token of a hook is the same on a re-run;
 P5   each task that ran has a record of before_launch that began no later;
 P6   nothing that a hook left runs 5 s later;
 P10  no running instance is restarted by a death of store, master or agent;
 P11  an accepted kill ended the processes; nothing runs when the cluster is stopped;
 --   a job never has more active tasks than instances (watched all the time);
 --   nobody died of anything but these kills; the records and what the hooks wrote
      down themselves agree; no davit-op and no lock of one is left.

DAVIT_SEED chooses everything that is chosen here; it is printed, and so are the
hits of each crash point.
"""
import collections
import contextlib
import fcntl
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time
import uuid

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from cluster import USER, Answer, Cluster, is_zombie
from plan import FINAL, SCALE, SEED, Tally, count, crash_points
from servers import build_dir, wait_until

NODES = {"node1", "node2"}

# The shell's own words: one short write a run, so that lines do not mix.  What it leaves behind
# is for the engine to end.
OPERATION_HOOK = """#!/bin/sh
echo "$GANETI_HOOKS_PHASE $GANETI_HOOKS_PATH ${GANETI_JOB_ID:--} ${GANETI_POST_STATUS:--}" >> DIR/ledger
CHAOS_LEFT=DIR sleep 900 &
case "$GANETI_HOOKS_PHASE $GANETI_OP_TARGET" in pre*veto*) exit 1;; esac
exit 0
"""
NODE_HOOK = """#!/bin/sh
echo "$HOOK_EVENT $HOOKED_POD_ID" >> DIR/node-ledger
CHAOS_LEFT=DIR sleep 900 &
exit 0
"""
POD_HOOK = """#!/bin/sh
cat >/dev/null
sleep 0.05
exit 0
"""


def job(name, cmdline, instances):
    """An evaluated job, as the client sends it."""
    return {
        "cluster": "devcluster", "role": USER, "environment": "devel", "name": name,
        "instances": instances, "service": True, "max_task_failures": 1,
        "announce": {"primary_port": "http", "portmap": {}},
        "task": {"name": name, "max_failures": 1, "max_concurrency": 0, "finalization_wait": 2,
                 "constraints": [], "resources": {"cpu": 0.01, "ram": 1 << 20, "disk": 1 << 20},
                 "processes": [{"name": "main", "cmdline": cmdline, "max_failures": 1,
                                "daemon": False, "ephemeral": False, "min_duration": 1,
                                "final": False}]},
    }


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Watcher(threading.Thread):
    """Asks all the time whether some job has too many tasks."""

    def __init__(self, history):
        super().__init__(daemon=True)
        self.history = history
        self.over = threading.Event()
        self.looks = 0
        self.found = []

    def run(self):
        while not self.over.wait(0.1):
            try:
                tasks = self.history.cluster.api(
                    "GET", "/v1/tasks?active=true&limit=1000", timeout=10)["items"]
            except (OSError, Answer, ValueError):
                continue
            self.looks += 1
            seen = collections.Counter((t["job"], t["instance"]) for t in tasks)
            for (key, instance), number in seen.items():
                most = self.history.instances.get(key.split("/")[-1], 0)
                if number > 1 or instance >= most:
                    self.found.append(f"{key} instance {instance}: {number} active of {most}")


class History:
    """What was asked for, what was answered, and what must hold."""

    def __init__(self, directory):
        self.dir = directory
        self.crash = directory / "crash"
        self.taken = directory / "crash.taken"
        self.hits = directory / "hits"
        self.ledger = directory / "ledger"
        self.node_ledger = directory / "node-ledger"
        self.starts = directory / "starts"
        for path in (self.ledger, self.node_ledger, self.starts):
            path.touch()
        self.cluster = Cluster(
            directory, nodes=len(NODES),
            env={"DAVIT_CRASH_FILE": str(self.crash), "DAVIT_CRASH_LOG": str(self.hits),
                 "ASAN_OPTIONS": "detect_leaks=0"},
            options=["--node-cpus=64", f"--node-ram={64 << 30}", f"--node-disk={64 << 30}"])
        self.accepted = {}   # operation id -> what
        self.numbers = {}    # operation id -> number
        self.final = {}      # operation id -> state, once seen
        self.opcodes = {}    # operation id -> the final status of each opcode
        self.closed = set()  # operation ids whose hooks were checked
        self.jobs = set()    # names of jobs that may exist
        self.instances = {}  # name of a job -> its instances
        self.kills = 0
        self.tally = Tally()
        self.watcher = Watcher(self)
        self.steady = None
        hook = OPERATION_HOOK.replace("DIR", str(directory))
        for event in ("global-pre", "global-post", "job-create-pre", "job-create-post",
                      "job-kill-pre", "job-kill-post"):
            write_program(directory / "hooks" / f"{event}.d" / "10-chaos", hook)
        for node in sorted(NODES):
            base = directory / "nodes" / node
            write_program(base / "hooks" / "job-create-post.d" / "10-chaos",
                          "#!/bin/sh\nexit 0\n")
            write_program(base / "p2hooks.d" / "10-chaos",
                          NODE_HOOK.replace("DIR", str(directory)))
            for event in ("initialize", "tear_down", "finalize"):
                write_program(base / "podhooks" / event, POD_HOOK)

    # --- asking ---

    def submit(self, rng, opcodes, what):
        """POST until a master answered: the id makes repeating safe."""
        op_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        body = {"id": op_id, "user": USER, "opcodes": opcodes}
        record = self.cluster.patient_api("POST", "/v1/operations", body,
                                          headers={"Idempotency-Key": op_id})
        self.accepted[op_id] = what
        self.numbers[op_id] = record["number"]
        return op_id

    def create(self, rng, name, instances=2):
        cmdline = (f"echo {name} {{{{mesos.instance}}}} {{{{thermos.task_id}}}} >> {self.starts}; "
                   "(setsid sleep 3601 &); exec sleep 3600")
        self.jobs.add(name)
        self.instances[name] = instances
        return self.submit(rng, [{"op": "OP_JOB_CREATE", "job": job(name, cmdline, instances)}],
                           f"create {name}")

    def kill(self, rng, name):
        delay = {"op": "OP_TEST_DELAY", "duration": 0.02, "on_nodes": []}
        return self.submit(rng, [delay] * rng.randrange(3) + [
            {"op": "OP_JOB_KILL", "key": self.cluster.key(name), "instances": None,
             "message": "chaos"}], f"kill {name}")

    def restart(self, rng, name):
        return self.submit(rng, [{"op": "OP_JOB_RESTART", "key": self.cluster.key(name),
                                  "instances": None, "batch_size": rng.randint(1, 2),
                                  "watch_secs": 0}], f"restart {name}")

    def wait_final(self, op_id, seconds=90):
        def over():
            record = self.cluster.patient_api("GET", f"/v1/operations/{op_id}?wait=2000")
            return record if record["state"] in FINAL else None
        try:
            record = wait_until(f"end of {self.accepted[op_id]}", over, seconds)
        except AssertionError as e:
            record = self.cluster.patient_api("GET", f"/v1/operations/{op_id}")
            raise AssertionError(f"{e}\n{json.dumps(record)}\n{self.cluster.logs()}") from None
        before = self.final.setdefault(op_id, record["state"])
        assert before == record["state"], f"{self.accepted[op_id]} left {before}"  # P2
        self.opcodes[op_id] = [opcode["status"] for opcode in record["opcodes"]]
        assert set(self.opcodes[op_id]) <= FINAL, record
        return record

    def finish_kill(self, rng, name, op_id):
        """The job is gone in the end, and with it every process of it (P11)."""
        for _ in range(20):
            if self.wait_final(op_id)["state"] == "succeeded":
                break
            op_id = self.kill(rng, name)  # The operation died; a user would ask again.
        else:
            raise AssertionError(f"{name} cannot be killed")
        key = self.cluster.key(name)
        assert not self.cluster.tasks(key, active=True), f"active tasks of {name} after its kill"
        wait_until(f"processes of {name} gone", lambda: not self.processes(f"-{name}-"), 5)
        self.jobs.discard(name)

    # --- looking ---

    def processes(self, text=""):
        """Live processes below the pods' homes whose home has the text in its path."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and not is_zombie(entry):
                with contextlib.suppress(OSError):
                    where = os.readlink(f"/proc/{entry}/cwd")
                    if where.startswith(f"{self.dir}/nodes/") and text in where:
                        found.append(int(entry))
        return found

    def left_by_hooks(self):
        return self.cluster.marked_pids(f"CHAOS_LEFT={self.dir}")

    def start_lines(self):
        return collections.Counter(
            tuple(line.split()) for line in self.starts.read_text().splitlines())

    def steady_starts(self):
        return {k: v for k, v in self.start_lines().items() if k[0] == "steady"}

    def keep_steady(self):
        """A job that must not notice anything."""
        if self.steady is None:
            self.wait_final(self.create(random.Random(f"{SEED} steady"), "steady", 4))
            self.cluster.wait_state(self.cluster.key("steady"), "RUNNING", 4)
            wait_until("steady processes", lambda: sum(self.steady_starts().values()) == 4)
            self.steady = self.steady_starts()

    def settle(self):
        """Every program is back, the master answers, and all nodes are alive."""
        def back():
            nodes = self.cluster.patient_api("GET", "/v1/nodes")["items"]
            return {n["name"] for n in nodes if n["alive"]} == NODES
        wait_until("all nodes alive", back, 60)

    # --- what must hold ---

    def check(self):
        self.settle()
        self.check_operations()
        self.check_hooks()
        self.check_nothing_left()
        self.check_members()
        self.check_deaths()
        assert not self.watcher.found, self.watcher.found
        if self.steady is not None:
            assert self.steady_starts() == self.steady, "a running instance was restarted"  # P10
            running = self.cluster.tasks(self.cluster.key("steady"), active=True)
            assert sorted(t["id"] for t in running) == sorted(k[2] for k in self.steady)

    def check_operations(self):
        listed = {}
        cursor = ""
        while cursor is not None:
            page = self.cluster.patient_api("GET", f"/v1/operations?limit=1000{cursor}")
            listed.update({item["id"]: item for item in page["items"]})
            cursor = f"&cursor={page['next']}" if page.get("next") else None
        assert set(listed) == set(self.accepted)  # P1
        for op_id, state in self.final.items():
            assert listed[op_id]["state"] == state, f"{self.accepted[op_id]} left {state}"  # P2
            assert listed[op_id]["number"] == self.numbers[op_id]

    def records(self, query):
        def whole():
            answer = self.cluster.patient_api("GET", f"/v1/hook-runs?{query}&limit=1000")
            return answer if not NODES & set(answer["missing"]) else None
        return wait_until("every node's records", whole, 30)["items"]

    def check_hooks(self):
        """P3, P4 and P5 of what ended since the last time."""
        told = collections.Counter(tuple(line.split()[:3])
                                   for line in self.ledger.read_text().splitlines())
        statuses = collections.defaultdict(collections.Counter)
        for phase, path, number, status in map(str.split, self.ledger.read_text().splitlines()):
            if phase == "post" and path == "global":  # Only these are told the number.
                statuses[int(number)][status] += 1
        for op_id in set(self.final) - self.closed:
            self.closed.add(op_id)
            what = f"{self.accepted[op_id]} ({self.final[op_id]})"
            number = self.numbers[op_id]
            runs = [r for r in self.records(f"op={op_id}") if r["level"] == "operation"]
            assert all(r["outcome"] for r in runs), f"{what}: a run without an end {runs}"
            chaos = collections.defaultdict(list)
            begun = collections.Counter()
            for run in runs:
                chaos[run["event"]].append(run)
                chaos[run["event"], run["opcode_index"], run["node"]].append(run)
            for index, status in enumerate(self.opcodes[op_id]):
                some = [r for r in runs if r["opcode_index"] == index]
                post = [r for r in some if r["event"] == "global-post"]
                if any(r["event"] == "global-pre" for r in some):
                    begun[status] += 1
                    ended = [r for r in post if r["outcome"] != "lost"]
                    assert len(ended) == 1, f"{what}: opcode {index} ended {post}"  # P4
            # One that was rejected, or died before its first hook, may be told about too.
            assert set(begun) <= set(statuses[number]) <= set(self.opcodes[op_id]), \
                f"{what}: {statuses[number]} {begun} {self.opcodes[op_id]}"
            for same in [some for key, some in chaos.items() if isinstance(key, tuple)]:
                assert len({r["token"] for r in same}) == 1, same
            # What the hooks wrote down themselves: each line has a record, each end a line.
            for phase, path, event in (("pre", "global", "global-pre"),
                                       ("post", "global", "global-post")):
                lines = told[(phase, path, str(number))]
                whole = len([r for r in chaos[event] if r["outcome"] in ("ok", "refused")])
                assert whole <= lines <= len(chaos[event]), \
                    f"{what} {event}: {lines} lines, {chaos[event]}"
            if "veto" in what and what.startswith("create"):
                assert self.final[op_id] != "succeeded", what  # P3
        for line, number in self.start_lines().items():
            name, _, task = line
            assert number == 1 or name == "phoenix", f"{task} was launched {number} times"
            if name in self.checked_tasks:
                continue
            before = [r for r in self.records(f"level=node&job={self.cluster.key(name)}")
                      if r["task"] == task and r["event"] == "before_launch"]
            assert before, f"{task} ran without before_launch"  # P5
        self.checked_tasks.update(line[0] for line in self.start_lines())

    checked_tasks = set()

    def check_nothing_left(self):
        wait_until("hooks' left-overs gone", lambda: not self.left_by_hooks(), 5)  # P6
        try:
            wait_until("no davit-op", lambda: not self.working_ops(), 10)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.working_ops()}\n{self.cluster.logs()}") from None
        for lock in (self.dir / "master" / "op").glob("*.lock"):
            with contextlib.suppress(FileNotFoundError), open(lock, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise AssertionError(f"{lock.name} is held") from None

    def working_ops(self):
        """All davit-ops but those that the master keeps ready, which hold no lock."""
        found = []
        for pid in self.cluster.pids("davit-op"):
            with contextlib.suppress(OSError):
                held = [name for fd in os.listdir(f"/proc/{pid}/fd")
                        if (name := os.readlink(f"/proc/{pid}/fd/{fd}")).endswith(".lock")]
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                parent = re.search(r"PPid:\s+(\d+)", status)[1]
                if held or parent == "1":
                    found.append((pid, parent, cmdline(pid), held))
        return found

    def members(self):
        """(job, instance) of every ServerSet member, as a client without a password sees them."""
        port = json.loads((self.dir / "up.json").read_text())["ports"]["store"]
        zk = KazooClient(hosts=f"127.0.0.1:{port}", timeout=10)
        zk.start(30)
        try:
            found = []
            base = f"/aurora/{USER}/devel"
            for name in zk.get_children(base) if zk.exists(base) else []:
                for member in zk.get_children(f"{base}/{name}"):
                    with contextlib.suppress(NoNodeError):
                        data, _ = zk.get(f"{base}/{name}/{member}")
                        found.append((name, json.loads(data)["shard"]))
            return sorted(found)
        finally:
            zk.stop()
            zk.close()

    def check_members(self):
        """Each running task has its one member, and nothing else has any."""
        def same():
            running = sorted((t["job"].split("/")[-1], t["instance"])
                             for t in self.cluster.tasks("*", active=True)
                             if t["state"] == "RUNNING")
            self.compared = running, self.members()
            return running == self.compared[1]
        try:
            wait_until("members are those of the running tasks", same, 30)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.compared}\n{self.cluster.logs()}") from None

    def check_deaths(self):
        """Nobody but us killed anybody."""
        text = "".join(path.read_text(errors="replace")
                       for path in [self.dir / "up.out", *(self.dir / "log").glob("*.log"),
                                    *self.dir.glob("nodes/*/pods/*/log/*")] if path.is_file())
        for word in ("AddressSanitizer", "runtime error:", "Assertion"):
            assert word not in text, text[max(0, text.index(word) - 500):][:3000]
        deaths = collections.Counter(re.findall(r"ended \(exit (-?\d+), signal (\d+)\)", text))
        assert {signum for _, signum in deaths} <= {"9"}, f"{deaths}\n{self.cluster.logs()}"

    # --- deaths ---

    def strike(self, rng, victim, within):
        """SIGKILL to a process of the victim's kind, once there is one."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            pids = sorted(victims(self.cluster, victim))
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    self.tally.kill(victim)
                    return True
            time.sleep(0.001)
        return False

    def order(self, point):
        new = self.crash.with_suffix(".new")
        new.write_text(point + "\n")
        new.rename(self.crash)

    def cancel_order(self):
        self.crash.unlink(missing_ok=True)

    def pass_by_a_node(self, name):
        """A node that the master has not seen before, with room for nothing."""
        home = self.dir / "passing" / name
        home.mkdir(parents=True, exist_ok=True)
        port = (self.dir / "run" / "store.port").read_text().strip()
        with open(self.dir / "log" / "passing.log", "ab") as log:
            agent = subprocess.Popen(
                [build_dir() / "src/agent/davit-agent", f"--zk=127.0.0.1:{port}",
                 f"--zk-auth-file={self.dir}/zk-auth", f"--token-file={self.dir}/token",
                 f"--dir={home}", f"--node={name}", "--listen=127.0.0.1:0", "--ram-bytes=1",
                 f"--hooks-dir={home}", f"--node-hooks-dir={home}"],
                env=self.cluster.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            with contextlib.suppress(AssertionError):
                wait_until("death", self.taken.exists, 5)
        finally:
            agent.terminate()
            agent.wait(30)


def cmdline(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


VICTIMS = ("store", "master", "agent", "op", "worker")


def victims(cluster, victim):
    if victim == "worker":
        return cluster.pids("davit-op", "--worker")
    return [pid for pid in cluster.pids(f"davit-{victim}") if "--worker" not in cmdline(pid)]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    print(f"\nkill loops: DAVIT_SEED={SEED} DAVIT_SCALE={SCALE}")
    history = History(tmp_path_factory.mktemp("chaos"))
    try:
        history.cluster.start()
        history.watcher.start()
        history.keep_steady()
        yield history
        kill_everything(history)
    finally:
        history.watcher.over.set()
        history.cluster.stop()
        history.tally.show(history.hits)
    left = history.processes() + history.cluster.marked_pids(history.cluster.marker)
    assert not left, [cmdline(p) for p in left]  # P11


def kill_everything(history):
    rng = random.Random(f"{SEED} end")
    for name in sorted(history.jobs):
        history.finish_kill(rng, name, history.kill(rng, name))
    history.steady = None
    history.check()
    states = collections.Counter(history.final.values())
    print(f"  {len(history.accepted)} operations: {dict(states)}; the number of each job's tasks "
          f"looked at {history.watcher.looks} times")


class Rounds:
    """Each one creates a job, and kills that of the round before, after a restart sometimes."""

    def __init__(self, history, label):
        self.history = history
        self.label = label
        self.last = None
        self.number = 0

    def next(self, die):
        history = self.history
        self.number += 1
        rng = random.Random(f"{SEED} {self.label} {self.number}")
        veto = rng.random() < 0.15
        name = f"{'veto' if veto else 'job'}-{self.label}-{self.number}"
        create = history.create(rng, name, rng.randint(1, 3))
        again = rng.random() < 0.5
        restart = history.restart(rng, self.last) if self.last and rng.random() < 0.3 else None
        die(rng)
        kill = history.kill(rng, self.last) if self.last else None
        if again and kill:
            die(rng)
        record = history.wait_final(create)
        if veto:
            assert record["state"] != "succeeded", record
            with pytest.raises(Answer) as caught:  # P3: there is no such job.
                history.cluster.patient_api("GET", f"/v1/jobs/{history.cluster.key(name)}")
            assert caught.value.status == 404
            history.jobs.discard(name)
        if restart:
            history.wait_final(restart)
        if kill:
            history.finish_kill(rng, self.last, kill)
        self.last = None if veto else name

    def end(self):
        if self.last:
            rng = random.Random(f"{SEED} {self.label} end")
            self.history.finish_kill(rng, self.last, self.history.kill(rng, self.last))
        self.history.check()


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_at_random_moments(history, victim):
    rounds = Rounds(history, victim)
    wanted = count(30)
    done = 0

    def die(rng):
        nonlocal done
        time.sleep(rng.random() * 0.12)  # The random moment itself, not a synchronisation.
        if done < wanted and history.strike(rng, victim, 0.3):
            done += 1

    while done < wanted:
        assert rounds.number < wanted * 12, f"only {done} kills of {victim} hit anything"
        rounds.next(die)
        history.check_operations()
    rounds.end()
    print(f"  {victim}: {done} kills in {rounds.number} rounds")


def test_killed_all_at_once(history):
    """Store, master, agents and operations die in one moment, as when a machine's memory runs out."""
    rounds = Rounds(history, "all")
    for _ in range(count(30)):
        def die(rng):
            time.sleep(rng.random() * 0.12)
            doomed = [pid for victim in VICTIMS if rng.random() < 0.8
                      for pid in sorted(victims(history.cluster, victim))]
            rng.shuffle(doomed)
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    history.tally.kill("together")
        rounds.next(die)
        history.check_operations()
    rounds.end()


POINTS = ("store", "master", "agent", "hook", "op", "worker", "pod")


@pytest.mark.parametrize("room", POINTS)
def test_killed_at_crash_points(history, room):
    every = crash_points(room)
    assert every, f"no crash point in {room}"
    rng = random.Random(f"{SEED} points {room}")
    chosen = every if SCALE >= 1 else sorted(rng.sample(every, min(len(every), count(30))))
    rounds = Rounds(history, f"at-{room}")
    died = []

    def wait_taken(seconds):
        with contextlib.suppress(AssertionError):
            wait_until("death", history.taken.exists, seconds)

    for point in chosen:
        history.taken.unlink(missing_ok=True)

        def die(rng, point=point):
            if history.taken.exists():
                return
            ordered = history.crash.exists()
            if point.startswith("op.again.") and not ordered:
                # First the death that it makes good, as late as that other point allows.
                history.order("op.finish" if "own-post" in point else
                              rng.choice(["op.work.end", "op.vars.end", "op.global-post"]))
                wait_taken(3)
                history.taken.unlink(missing_ok=True)
            if not ordered:
                history.order(point)
            if point.startswith("master.lead."):
                history.strike(rng, "master", 1)
            elif point.startswith("master.node."):
                history.pass_by_a_node(point)
            elif point == "agent.settle":
                with contextlib.suppress(AssertionError):
                    wait_until("a pod ends", lambda: history.cluster.pids("sh", "/finalize"), 1)
                    for pid in victims(history.cluster, "agent"):
                        os.kill(pid, signal.SIGKILL)  # They find an end that they were not told.
                        history.tally.kill("agent")
            elif point == "store.tick":
                wait_taken(5)
            elif point in ("agent.kill", "agent.reap"):
                pods = sorted(p for p in history.cluster.pids("davit-pod")
                              if f"-{rounds.label}-" in " ".join(cmdline(p)))
                if pods:
                    os.kill(rng.choice(pods), signal.SIGKILL)
                    history.tally.kill("pod")

        # A create begins, a kill ends: together they pass by all that a round can reach.
        for _ in range(6):
            history.cancel_order()
            rounds.next(die)
            if history.taken.exists():
                break
        history.cancel_order()
        if history.taken.exists():
            died.append(point)
            history.tally.point(point)
        history.check_operations()
    history.taken.unlink(missing_ok=True)
    rounds.end()
    print(f"  {room}: died at {len(died)} of {len(chosen)} points; not reached: "
          f"{' '.join(sorted(set(chosen) - set(died))) or 'none'}")
    assert died, "no crash point was ever passed"


def test_killed_pod_takes_its_processes_along(history):
    """kill -9 of davit-pod: its processes are gone within 5 s and the task is rescheduled."""
    cluster = history.cluster
    for number in range(count(30)):
        rng = random.Random(f"{SEED} pod {number}")
        name = f"pod-{number}"
        history.wait_final(history.create(rng, name, 1))
        [task] = cluster.wait_state(cluster.key(name), "RUNNING", 1)
        wait_until("process started", lambda: task["id"] in history.starts.read_text())
        pods = cluster.pids("davit-pod", task["id"])
        assert len(pods) == 1
        # davit-pod, sleep, and the sleep in a session of its own
        wait_until("all processes", lambda: len(history.processes(task["id"])) == 3, 10)
        os.kill(pods[0], signal.SIGKILL)
        history.tally.kill("pod")
        if number % 3 == 2:  # And nobody is there to see it.
            history.strike(rng, "agent", 1)
        wait_until("its processes gone", lambda: not history.processes(task["id"]), 5)
        [again] = wait_until("rescheduled", lambda: [
            t for t in cluster.tasks(cluster.key(name), active=True) if t["id"] != task["id"]], 60)
        assert again["ancestor"] == task["id"] and again["instance"] == task["instance"]
        history.finish_kill(rng, name, history.kill(rng, name))
    history.check()


def test_pods_run_while_the_store_is_away(history):
    """P10: 10 s without a store; a process that ends meanwhile is started again."""
    rng = random.Random(f"{SEED} away")
    phoenix = job("phoenix", f"echo phoenix 0 {{{{thermos.task_id}}}} >> {history.starts}; "
                  "echo $$ > pid; exec sleep 3600", 1)
    phoenix["task"]["processes"][0].update(max_failures=100, min_duration=0)
    history.jobs.add("phoenix")
    history.instances["phoenix"] = 1
    history.wait_final(history.submit(rng, [{"op": "OP_JOB_CREATE", "job": phoenix}],
                                      "create phoenix"))
    key = history.cluster.key("phoenix")
    [task] = history.cluster.wait_state(key, "RUNNING", 1)
    [pid_file] = wait_until("phoenix wrote its pid", lambda: [
        p for p in history.dir.glob(f"nodes/*/pods/*{task['id']}*/sandbox/pid") if p.read_text()])
    [store] = history.cluster.pids("davit-store")
    pods = sorted(history.cluster.pids("davit-pod"))
    os.kill(store, signal.SIGSTOP)
    try:
        away = time.monotonic()
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        wait_until("phoenix again", lambda: sum(
            n for line, n in history.start_lines().items() if line[0] == "phoenix") == 2, 9)
        while time.monotonic() < away + 10:  # The ten seconds are the test.
            assert sorted(history.cluster.pids("davit-pod")) == pods
            time.sleep(0.2)
    finally:
        os.kill(store, signal.SIGCONT)
    history.settle()
    assert sorted(history.cluster.pids("davit-pod")) == pods
    [same] = history.cluster.tasks(key, active=True)
    assert same["id"] == task["id"]
    history.finish_kill(rng, "phoenix", history.kill(rng, "phoenix"))
    history.check()


def test_a_bad_request_changes_nothing(history):
    """Malformed and oversized requests: 4xx, and the operations are the same."""
    cluster = history.cluster
    before = cluster.patient_api("GET", "/v1/operations?limit=1")["items"]
    for body in ([], {}, {"id": "x"}, {"id": str(uuid.uuid4()), "opcodes": []},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_NOPE"}]},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_JOB_CREATE"}]},
                 {"id": str(uuid.uuid4()), "opcodes": [{"op": "OP_JOB_KILL", "key": "a/b"}]},
                 {"id": str(uuid.uuid4()),
                  "opcodes": [{"op": "OP_JOB_KILL", "key": "x" * (5 << 20)}]}):
        with pytest.raises((Answer, OSError)) as caught:
            cluster.api("POST", "/v1/operations", body)
        if isinstance(caught.value, Answer):
            assert 400 <= caught.value.status < 500, caught.value
    assert cluster.patient_api("GET", "/v1/operations?limit=1")["items"] == before
