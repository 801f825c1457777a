#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""davit-store beside a real ZooKeeper 3.8: same machine, same run, same load, fsync on in both.

Prints a table of medians and ratios; the last column is the target of the design.
Needs a built tree (DAVIT_BUILD, default build/).
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "integration"))
import servers  # noqa: E402

# name, clients, outstanding per client, creates per round, target ratio
LOADS = [
    ("creates/s, 1 client, synchronous", 1, 1, 3000, 1.5),
    ("creates/s, 1 client, 1000 outstanding", 1, 1000, 60000, 5.0),
    ("creates/s, 64 clients x 16 outstanding", 64, 16, 80000, 2.0),
]


def load(server, label, clients, outstanding, total):
    program = servers.build_dir() / "src" / "store" / "store_load"
    out = subprocess.run([program, "127.0.0.1", str(server.port), f"/{label}", str(clients),
                          str(outstanding), str(total)], check=True, capture_output=True, text=True)
    return float(out.stdout)


def idle_kb(server):
    for line in pathlib.Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def start_ms(make, directory):
    """From exec to the first answer to srvr, on an empty directory."""
    server = make(directory)
    begin = time.perf_counter()
    server.start()
    took = (time.perf_counter() - begin) * 1000
    memory = idle_kb(server)
    server.stop()
    return took, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    why = servers.missing_zookeeper()
    if why:
        sys.exit(f"bench: {why}")
    makers = {"davit": lambda d: servers.DavitStore(d, tick_ms=2000),
              "zk": lambda d: servers.ZooKeeper(d, tick_ms=2000)}
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as top:
        top = pathlib.Path(top)
        figures = {(kind, what): [] for kind in makers for what in ("start", "memory")}
        for turn in range(args.rounds):
            for kind, make in makers.items():
                took, memory = start_ms(make, top / f"start-{kind}-{turn}")
                figures[kind, "start"].append(took)
                figures[kind, "memory"].append(memory)
        running = {kind: make(top / kind).start() for kind, make in makers.items()}
        try:
            # One round that does not count: the JVM compiles, files get their size.
            for kind, server in running.items():
                for n, (_, clients, depth, total, _) in enumerate(LOADS):
                    load(server, f"warm{n}", clients, depth, total)
            for n, (name, clients, depth, total, target) in enumerate(LOADS):
                rates = {kind: [] for kind in running}
                for turn in range(args.rounds):
                    for kind, server in running.items():
                        rates[kind].append(load(server, f"r{n}-{turn}", clients, depth, total))
                ours, theirs = (statistics.median(rates[k]) for k in ("davit", "zk"))
                rows.append((name, f"{ours:,.0f}", f"{theirs:,.0f}", ours / theirs, target, True))
        finally:
            for server in running.values():
                server.stop()
    ours, theirs = (statistics.median(figures[k, "memory"]) / 1024 for k in ("davit", "zk"))
    rows.append(("idle memory (VmRSS), MB", f"{ours:.2f}", f"{theirs:.1f}", ours / theirs, 3.3 / 67,
                 False))
    ours, theirs = (statistics.median(figures[k, "start"]) for k in ("davit", "zk"))
    rows.append(("start to first answer, ms", f"{ours:.1f}", f"{theirs:.0f}", ours / theirs, 1 / 20,
                 False))
    print(f"{'':40}{'davit-store':>12}{'ZooKeeper':>12}{'ratio':>9}{'target':>10}")
    for name, ours, theirs, ratio, target, more_is_better in rows:
        good = ratio >= target if more_is_better else ratio <= target
        missed += not good
        sign = ">=" if more_is_better else "<="
        print(f"{name:40}{ours:>12}{theirs:>12}{ratio:>8.3g}x {sign}{target:>6.3g}x"
              f" {'ok' if good else 'MISSED'}")
    print("targets missed:", missed)


main()
