# SPDX-License-Identifier: Apache-2.0
"""P7: one launch per cron tick, while masters die around the ticks.

Two masters on one store live, by a shifted clock, through one tick after the other.  Around each
the leading one is killed, at a moment or a crash point chosen by the seed, often also the
one that takes over.  After each tick every job has been launched exactly once for it.  A hunt
changes the master at 200 ticks, a test at a tenth of them.
"""
import calendar
import os
import pathlib
import random
import sys
import time

from masters import FakeAgent, Master, hello, key
from servers import davit_store, wait_until

SCALE = float(os.environ.get("DAVIT_SCALE", "0.1"))
SEED = int(os.environ.get("DAVIT_SEED", "1"))
BASE = calendar.timegm((2027, 3, 10, 12, 0, 0)) * 1000
JOBS = 8
POINTS = ["master.cron.*", "master.op.*", "master.doc.*", "master.operation.*", "master.job.*",
          "master.task.*", "op.*", "worker.*", "master.lead.*"]


class Pair:
    """Two masters, either of which may lead or be dead."""

    def __init__(self, tmp_path, store):
        self.crash = tmp_path / "crash"
        self.all = [Master(tmp_path, store, name=name, env={
            "DAVIT_CRASH_FILE": str(self.crash), "DAVIT_LOG": "info"}) for name in ("one", "two")]
        self.changes = 0

    def args(self, *args):
        for master in self.all:
            master.args = list(args)

    def start_dead(self):
        dead = [m for m in self.all if m.process is None or m.process.poll() is not None]
        pipes = [os.fdopen(master.spawn(), "rb") for master in dead]
        for master, pipe in zip(dead, pipes):
            with pipe:
                # Without a word it has died already: at a crash point.
                assert pipe.read(1) == b"\n" or master.process.wait(10) != 0

    def stop(self):
        for master in self.all:
            if sys.exc_info()[0] is not None and master.log.exists():
                print(f"--- {master.dir.name}\n{master.tail()}", file=sys.stderr)
            master.stop()

    def leader(self):
        for master in self.all:
            try:
                if master.process.poll() is None and master.request("GET", "/v1/cron")[0] == 200:
                    return master
            except OSError:
                pass
        return None

    def kill(self):
        master = self.leader()
        if master is not None:
            master.kill()
            self.changes += 1

    def ask(self, path):
        """An answer, from whoever leads; None for now."""
        master = self.leader()
        try:
            status, body = master.request("GET", path) if master else (503, None)
            return body if status == 200 else None
        except OSError:
            return None


def schedule_all(pair):
    master = wait_until("one leads", pair.leader, 20)
    for n in range(JOBS):
        policy = "CANCEL_NEW" if n % 2 else "KILL_EXISTING"
        operation = master.wait(master.submit({"op": "OP_CRON_ADD", "job": hello(
            name=f"tick{n}", service=False, instances=1 + n % 3, cron_schedule="* * * * *",
            cron_collision_policy=policy)}))
        assert operation["state"] == "succeeded", operation


def done_with(pair, tick_ms):
    """The tasks by job once all of the tick's operations are over; None before."""
    pair.start_dead()
    answer = pair.ask("/v1/cron")
    if answer is None or any(e["last_ms"] < tick_ms or "pending_op" in e for e in answer["items"]):
        return None
    answer = pair.ask("/v1/tasks?limit=10000")
    return answer and answer["items"]


def test_one_launch_per_tick_while_masters_change(tmp_path):
    rng = random.Random(SEED)
    rounds, seen, launches = max(20, int(200 * SCALE)), set(), 0
    before = 2.5  # Seconds from the start of masters to their tick: one of them leads by then.
    with davit_store(tmp_path / "store") as store, FakeAgent(store, cpu=64.0) as agent:
        pair = Pair(tmp_path, store)
        try:
            pair.args("--wall-offset-ms", str(BASE - 50_000 - int(time.time() * 1000)))
            pair.start_dead()
            schedule_all(pair)
            for round_ in range(rounds):
                tick_ms = BASE + 60_000 * round_
                for master in pair.all:
                    master.kill()
                began = time.time()
                at = began + before
                pair.args("--wall-offset-ms", str(tick_ms - int(at * 1000)))
                pair.start_dead()
                wait_until("one leads", pair.leader, 20)
                before = min(2.5, 0.4 + 1.5 * (time.time() - began))
                if rng.random() < 0.5:
                    pair.crash.write_text(rng.choice(POINTS) + "\n")
                else:
                    wait_until("the moment", lambda m=at + rng.uniform(-0.2, 0.6): time.time() > m)
                    pair.kill()
                if rng.random() < 0.3:
                    time.sleep(rng.random())
                    pair.kill()
                tasks = wait_until(f"seed {SEED}, round {round_} is over",
                                   lambda t=tick_ms: done_with(pair, t), 60)
                new = [task for task in tasks if task["id"] not in seen]
                seen.update(task["id"] for task in new)
                for n in range(JOBS):
                    own = [task for task in new if task["job"] == key(f"tick{n}")]
                    assert sorted(t["instance"] for t in own) == list(range(1 + n % 3)), \
                        f"seed {SEED}, round {round_}, job {n}: {own}"
                    assert len({t["op_id"] for t in own}) == 1
                    launches += 1
                pair.crash.unlink(missing_ok=True)
                taken = pathlib.Path(f"{pair.crash}.taken")
                pair.changes += taken.exists()
                taken.unlink(missing_ok=True)
                for pod in agent.intents():
                    agent.report(pod, "finished")
                wait_until("all have ended", lambda: not agent.intents(), 20)
                agent.pods.clear()
        finally:
            pair.stop()
    text = (f"cron: {launches} launches for {rounds * JOBS} ticks of {JOBS} jobs, {pair.changes} programs "
            f"died around them, seed {SEED}")
    print(text)
    if os.environ.get("DAVIT_TALLY"):
        with open(os.environ["DAVIT_TALLY"], "a", encoding="utf-8") as out:
            out.write(text + "\n")
    assert launches == rounds * JOBS
