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


def spawn(argv, log):
    fd = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        return os.posix_spawn(argv[0], argv, os.environ, setsid=True,
                              file_actions=[(os.POSIX_SPAWN_DUP2, fd, 1),
                                            (os.POSIX_SPAWN_DUP2, fd, 2)])
    finally:
        os.close(fd)


def memory_kb(pid, name):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition(f"\n{name}:")[2].split()[0])


def busy_ms():
    """Processor time that the whole machine has spent."""
    user, nice, system, _idle, _wait, irq, soft = map(
        int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:8])
    return (user + nice + system + irq + soft) * 1000 / os.sysconf("SC_CLK_TCK")


def bash_alone(n):
    """What nobody can do without: the shells themselves."""
    with tempfile.TemporaryDirectory(prefix="davit-bench-pod-") as top:
        before, began = busy_ms(), time.perf_counter()
        pids = [spawn(["/bin/bash", "-c", "sleep 1000"], f"{top}/log") for _ in range(n)]
        for pid in pids:  # over when the shell has become sleep
            while b"sleep" not in pathlib.Path(f"/proc/{pid}/comm").read_bytes():
                time.sleep(0.001)
        took, used = time.perf_counter() - began, busy_ms() - before
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(f"{'bash alone':12} {n / took:6.0f}/s started  {used / n:5.2f} ms CPU of the machine each")


def measure(n, limits):
    top = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-pod-"))
    pids = []
    try:
        todo = homes(top, n, limits)
        before, began = busy_ms(), time.perf_counter()
        for home in todo:
            pids.append(spawn([str(program()), "--home", str(home)], home / "pod.log"))
        for home in todo:
            while not running(home):
                if time.perf_counter() > began + 60:
                    sys.exit(f"{home} does not come up")
                time.sleep(0.002)
        took, used = time.perf_counter() - began, busy_ms() - before
        memory = {name: statistics.mean(memory_kb(pid, name) for pid in pids[:50])
                  for name in ("Rss", "Pss", "Private_Dirty")}
        began = time.perf_counter()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        while pids:
            os.waitpid(pids[0], 0)
            pids.pop(0)
        stop = time.perf_counter() - began
        print(f"{'with limits' if limits else 'plain':12} {n / took:6.0f}/s started  "
              f"{used / n:5.2f} ms CPU of the machine each  {n / stop:5.0f}/s stopped  "
              f"RSS {memory['Rss']:.0f} KiB, PSS {memory['Pss']:.0f}, "
              f"private {memory['Private_Dirty']:.0f}")
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
    bash_alone(n)
    rate, rss = measure(n, False)
    measure(n, True)
    print(f"target: 500/s started: {'met' if rate >= 500 else 'missed'};  "
          f"3072 KiB resident: {'met' if rss <= 3072 else 'missed'}")


main()
