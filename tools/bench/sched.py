#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Scheduling: 1,000 nodes, 50,000 tasks.

usage: tools/bench/sched.py [--nodes N] [--tasks N] [--runs N]

First the pure scheduler (test/bench/bench_sched.c, no store, no JSON), then a real master with
its store: jobs of at most 4,000 instances are created while there is no node, so that all tasks are
PENDING and durable; then the nodes come (ephemeral nodes of this program, nobody behind them),
and every task is placed, its place and its manifest durable.

What Aurora published is printed beside it.  It was measured by its authors on their machines,
in memory, without the replicated log (JMH): orders of magnitude, not a race on one machine.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "integration"))

from kazoo.client import KazooClient  # noqa: E402

from masters import Master, hello, masters  # noqa: E402
from servers import build_dir, davit_store, wait_until  # noqa: E402

TARGET = 50_000  # Tasks a second, of the pure scheduler.
AURORA = [
    ("fill a cluster: 10 tasks an op, 200,000 offers", "876 tasks/s",
     "87.6 ops/s; Aurora commit 320ee0810, Nov 2016"),
    ("insert 50,000 pending tasks of one job", "0.124 rounds/s",
     "= 6,200 tasks/s; Aurora commit 4bc524614, Dec 2016"),
    ("default ceiling of the scheduling loop", "200 tasks/s",
     "40 attempts/s of 5 tasks; SchedulingModule's defaults"),
]


def row(what, value, note=""):
    print(f"  {what:<54} {value:>18}  {note}".rstrip(), flush=True)


def pure(args):
    print("\nthe scheduler alone (medians; processor time of its one thread)")
    runs = {}
    for _ in range(args.runs):
        out = subprocess.run([build_dir() / "src/master/bench_sched", str(args.nodes),
                              str(args.tasks)], check=True, capture_output=True, text=True).stdout
        for line in out.splitlines():
            one = json.loads(line)
            runs.setdefault(one["mix"], []).append(one)
    for mix, many in runs.items():
        first = many[0]
        speed = statistics.median(one["placed"] / one["round_s"] for one in many)
        seconds = statistics.median(one["round_s"] for one in many)
        idle = statistics.median(one["idle_round_s"] for one in many)
        verdict = f"target {TARGET:,}: {'met' if speed >= TARGET else 'MISSED'}"
        row(f"{mix}: {first['tasks']:,} tasks in {first['groups']:,} groups", f"{speed:,.0f} tasks/s",
            verdict)
        row(f"  one round, {first['placed']:,} placed", f"{seconds * 1000:.1f} ms",
            f"{1 / seconds:.1f} rounds/s")
        row("  a round when nothing changed", f"{idle * 1e6:.0f} us")


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def add_nodes(store, count):
    zk = KazooClient(hosts=store.address, timeout=10.0)
    zk.start(timeout=10)
    waits = []
    for i in range(count):
        alive = {"v": 1, "address": "127.0.0.1:1", "boot_id": "x", "host": f"host{i}", "pid": 1,
                 "version": "0", "attributes": {"host": f"host{i}", "rack": f"rack{i % 20}"},
                 "hooks_dir": "/nonexistent",
                 "resources": {"cpu": 16.0, "ram_bytes": 64 << 30, "disk_bytes": 1 << 40,
                               "ports": [31000, 31999]}}
        zk.ensure_path(f"/davit/nodes/host{i}")
        waits.append(zk.create_async(f"/davit/nodes/host{i}/alive", json.dumps(alive).encode(),
                                     ephemeral=True))
    for wait in waits:
        wait.get()
    return zk


def pending(master):
    status, jobs = master.request("GET", "/v1/jobs")
    assert status == 200, jobs
    return sum(job["counts"].get("PENDING", 0) for job in jobs["items"])


def whole(args):
    print("\na real master, one store, everything durable")
    with tempfile.TemporaryDirectory(prefix="davit-bench-") as scratch:
        with davit_store(pathlib.Path(scratch) / "store") as store:
            one = Master(scratch, store, env={"DAVIT_LOG": "warn"})
            with masters(one):
                before = resident_kib(one.process.pid)
                started = time.monotonic()
                left, ids = args.tasks, []
                while left > 0:
                    n = min(left, 4000)
                    job = hello(f"job{len(ids)}", instances=n, cpu=0.1)
                    if len(ids) % 3 == 0:
                        job["constraints"] = {"host": "limit:6"}
                    ids.append(one.submit({"op": "OP_JOB_CREATE", "job": job}))
                    left -= n
                for op in ids:
                    assert one.wait(op, 300)["state"] == "succeeded"
                seconds = time.monotonic() - started
                assert pending(one) == args.tasks
                rss = resident_kib(one.process.pid)
                row(f"insert {args.tasks:,} pending tasks ({len(ids)} jobs)", f"{seconds:.2f} s",
                    f"{args.tasks / seconds:,.0f} tasks/s = {1 / seconds:.3f} rounds/s of "
                    f"{args.tasks:,}")
                row(f"  the master's memory with {args.tasks:,} of them", f"{rss / 1024:.1f} MiB",
                    f"{(rss - before) * 1024 / args.tasks:,.0f} bytes a task")
                started = time.monotonic()
                zk = add_nodes(store, args.nodes)
                came = time.monotonic() - started
                wait_until("all are placed", lambda: pending(one) == 0, 300)
                seconds = time.monotonic() - started
                rss = resident_kib(one.process.pid)
                row(f"{args.nodes:,} nodes come, all are placed and written", f"{seconds:.2f} s",
                    f"{args.tasks / seconds:,.0f} tasks/s; the nodes took {came:.2f} s to come")
                row("  the master's memory then", f"{rss / 1024:.1f} MiB")
                zk.stop()
                zk.close()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--nodes", type=int, default=1000)
    options.add_argument("--tasks", type=int, default=50000)
    options.add_argument("--runs", type=int, default=5)
    args = options.parse_args()
    pure(args)
    whole(args)
    print("\nAurora, as published (other machines, in memory)")
    for what, value, source in AURORA:
        row(what, value, source)


main()
