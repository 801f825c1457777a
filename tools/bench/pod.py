#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""davit-pod: how many start per second with a `sleep` each, and what they cost to keep.

usage: tools/bench/pod.py [N]    (N pods, default 300)
"""
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "integration"))
from pods import process, program  # noqa: E402


def homes(top, n, limits):
    made = []
    for i in range(n):
        home = top / f"pod{i:05}"
        (home / "sandbox").mkdir(parents=True)
        spec = {"v": 1, "id": f"www-devel-bench-{i}-x", "instance": i, "token": f"bench{os.getpid()}-{i}",
                "task": {"processes": [process("a", "sleep 1000")], "finalization_wait": 5}}
        if limits:
            spec["resources"] = {"cpu": 0.1, "ram_bytes": 64 << 20}
        (home / "task.json").write_text(json.dumps(spec))
        made.append(home)
    return made


def running(home):
    try:
        return json.loads((home / "state.json").read_text())["state"] == "running"
    except FileNotFoundError:
        return False


def spawn(home):
    log = os.open(home / "pod.log", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        return os.posix_spawn(program(), [str(program()), "--home", str(home)], os.environ,
                              file_actions=[(os.POSIX_SPAWN_DUP2, log, 1),
                                            (os.POSIX_SPAWN_DUP2, log, 2)], setsid=True)
    finally:
        os.close(log)


def cpu_ms():
    used = os.times()
    return (used.children_user + used.children_system) * 1000


def memory_kb(pid, name):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition(f"\n{name}:")[2].split()[0])


def measure(n, limits):
    top = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-pod-"))
    pids = []
    try:
        todo = homes(top, n, limits)
        began = time.perf_counter()
        for home in todo:
            pids.append(spawn(home))
        waiting = list(todo)
        while waiting and time.perf_counter() < began + 60:
            waiting = [home for home in waiting if not running(home)]
        took = time.perf_counter() - began
        first = []
        for home, pid in zip(todo, pids):
            state = json.loads((home / "state.json").read_text())
            ticks = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
            boot_ms = (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)) * 1000
            first.append(state["processes"]["a"]["started_ms"] - state["started_ms"])
            del ticks, boot_ms
        memory = {name: statistics.mean(memory_kb(pid, name) for pid in pids[:50])
                  for name in ("Rss", "Pss", "Private_Dirty")}
        before = cpu_ms()
        began = time.perf_counter()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            os.waitpid(pid, 0)
        pids = []
        stop = time.perf_counter() - began
        used = cpu_ms() - before
        what = "with limits" if limits else "plain"
        print(f"{what:12} {n / took:8.0f}/s started  {n / stop:8.0f}/s stopped  "
              f"{used / n:5.2f} ms CPU of davit-pod and its processes each  RSS {memory['Rss']:.0f} KiB  PSS {memory['Pss']:.0f} KiB  "
              f"private {memory['Private_Dirty']:.0f} KiB")
        return n / took, memory["Rss"]
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        shutil.rmtree(top)


def one(n=50):
    """A pod whose only process is `true`, from spawn to its end: start and stop alone."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-pod-"))
    try:
        took = []
        for i in range(n):
            home = top / f"one{i}"
            (home / "sandbox").mkdir(parents=True)
            (home / "task.json").write_text(json.dumps(
                {"v": 1, "id": "t", "task": {"processes": [process("a", "exit 0")]}}))
            began = time.perf_counter()
            subprocess.run([program(), "--home", home], check=True)
            took.append((time.perf_counter() - began) * 1000)
        bash = []
        for i in range(n):
            began = time.perf_counter()
            subprocess.run(["/bin/bash", "-c", "exit 0"], check=True)
            bash.append((time.perf_counter() - began) * 1000)
        print(f"one pod of `exit 0`, start to end: {statistics.median(took):.2f} ms "
              f"(bash alone: {statistics.median(bash):.2f} ms)")
    finally:
        shutil.rmtree(top)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    one()
    rate, rss = measure(n, False)
    measure(n, True)
    print(f"target: 500/s started: {'met' if rate >= 500 else 'missed'};  "
          f"3072 KiB resident: {'met' if rss <= 3072 else 'missed'}")


main()
