#!/usr/bin/env python3
"""The whole system: create to RUNNING, instances per second, idle memory.

    ./dev bench cluster

Peers' figures on this class of machine: `srun` of one task 30 ms, a Slurm job
array 95 tasks/s.  Targets: 500 instances/s on two cores; resident memory idle:
plain task pod 3 MB, store 3.3 MB, agent 10 MB, master 20 MB.
"""
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "integration"))

from cluster import Cluster  # noqa: E402
from servers import ROOT as _ROOT, wait_until, zookeeper_server  # noqa: E402,F401

ONE = """
p = Process(name='main', cmdline='exec sleep 3600')
t = Task(name='{name}', processes=[p], resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB))
jobs = [Service(cluster='devcluster', role='{role}', environment='devel', name='{name}', task=t,
                instances={instances})]
"""
BIG = ["--node-cpus=1000", f"--node-ram={1 << 40}", f"--node-disk={1 << 40}"]


def config(directory, cluster, name, instances):
    path = pathlib.Path(directory) / f"{name}.aurora"
    path.write_text(ONE.format(name=name, role=cluster.key("x").split("/")[1], instances=instances))
    return str(path)


def memory(pid):
    """(RssAnon + RssFile + RssShmem, proportional share) in kB."""
    rss = pss = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            rss = int(line.split()[1])
        if line.startswith("Pss:"):
            pss = int(line.split()[1])
    return rss, pss


def row(what, value, target="", verdict=""):
    print(f"  {what:<52} {value:>16} {target:>16} {verdict}", flush=True)


def verdict(ok):
    return "met" if ok else "MISSED"


def idle_memory(cluster):
    targets = {"davit-store": 3300, "davit-master": 20000, "davit-agent": 10000, "davit-pod": 3000}
    for program, target in targets.items():
        found = [memory(pid) for pid in cluster.pids(program)]
        if found:
            rss, pss = found[0]
            row(f"{program} idle, resident (proportional)", f"{rss} kB ({pss})", f"<= {target} kB",
                verdict(rss <= target))


def create_to_running(cluster, directory, runs=11):
    times, phases = [], []
    for n in range(runs):
        name = f"one{n}"
        path = config(directory, cluster, name, 1)
        started = time.monotonic()
        cluster.davit("job", "create", "--wait-until=RUNNING", cluster.key(name), path)
        times.append((time.monotonic() - started) * 1000)
        [task] = cluster.tasks(cluster.key(name))
        at = {e["state"]: e["time_ms"] for e in task["events"]}
        operation = cluster.api("GET", f"/v1/operations/{task['op_id']}")
        phases.append((at["PENDING"] - operation["created_ms"], at["RUNNING"] - at["PENDING"]))
        cluster.davit("job", "killall", "--no-batching", cluster.key(name))
    python = []
    for _ in range(runs):
        started = time.monotonic()
        cluster.davit("config", "list", path)
        python.append((time.monotonic() - started) * 1000)
    row("job create to RUNNING, 1 instance, median", f"{statistics.median(times):.0f} ms", "(srun 30 ms)")
    row("  of it: evaluate the file in Python (config list)", f"{statistics.median(python):.0f} ms")
    row("  accepted to tasks durable (operation, davit-op)",
        f"{statistics.median(p[0] for p in phases):.0f} ms")
    row("  PENDING to RUNNING (schedule, intent, spawn, report)",
        f"{statistics.median(p[1] for p in phases):.0f} ms")


def thousand(cluster, directory, label, instances=1000):
    name = "thousand"
    path = config(directory, cluster, name, instances)
    started = time.monotonic()
    cluster.davit("job", "create", "--wait-until=RUNNING", cluster.key(name), path, timeout=300)
    took = time.monotonic() - started
    rate = instances / took
    row(f"{instances} instances of sleep RUNNING, {label}", f"{rate:.0f}/s ({took:.1f} s)", ">= 500/s",
        verdict(rate >= 500))
    pods = [memory(pid) for pid in cluster.pids("davit-pod")[:50]]
    if pods:
        row("davit-pod, resident, median of 50 (proportional)",
            f"{statistics.median(p[0] for p in pods):.0f} kB ({statistics.median(p[1] for p in pods):.0f})",
            "<= 3000 kB", verdict(statistics.median(p[0] for p in pods) <= 3000))
    started = time.monotonic()
    cluster.davit("job", "killall", "--no-batching", cluster.key(name), timeout=300)
    row(f"  killed again, {label}", f"{instances / (time.monotonic() - started):.0f}/s")


def main():
    print(f"  {'what':<52} {'measured':>16} {'target':>16}")
    with tempfile.TemporaryDirectory(prefix="davit-bench-") as directory:
        started = time.monotonic()
        with Cluster(pathlib.Path(directory) / "a", options=BIG) as cluster:
            row("davit up, first start to ready", f"{(time.monotonic() - started) * 1000:.0f} ms", "< 1000 ms",
                verdict(time.monotonic() - started < 1))
            idle_memory(cluster)
            create_to_running(cluster, directory)
            thousand(cluster, directory, "davit-store")
        with zookeeper_server(pathlib.Path(directory) / "zk") as zk:
            with Cluster(pathlib.Path(directory) / "b",
                         options=[*BIG, f"--zk={zk.address}"]) as cluster:
                thousand(cluster, directory, "ZooKeeper 3.8")
    subprocess.run(["sync"], check=False)


main()
