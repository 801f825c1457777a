#!/usr/bin/python3
"""One `sh` hook run beside run-parts and a bare posix_spawn, on the same scripts.

usage: hooks.py [--build DIR] [--turns N] [--runs N]

All contenders take turns, several times; the table shows the
median of the rounds, in microseconds a script, and its ratio to run-parts.  The target is
0.9 of run-parts, with the journal records included.  Prints one JSON line at the end.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = 0.9  # of run-parts, the journal included


def make_scripts(base, count):
    directory = pathlib.Path(base, "x.d")
    directory.mkdir(parents=True)
    for i in range(count):
        script = directory / f"hook{i:02}"
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)
    return directory


def run_parts(directory, rounds, count):
    """run-parts is started from sh once a round, as cron does: its own start is part of its price."""
    loop = f"i=0; while [ $i -lt {rounds} ]; do /usr/bin/run-parts {directory}; i=$((i+1)); done"
    before = time.perf_counter()
    subprocess.run(["/bin/sh", "-c", loop], check=True, env={"PATH": "/usr/bin:/bin"})
    return (time.perf_counter() - before) * 1e6 / rounds / count


def ours(bench, base, rounds, mode):
    done = subprocess.run([bench, base, str(rounds), mode], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--build", default="build")
    options.add_argument("--turns", type=int, default=7)
    options.add_argument("--runs", type=int, default=200, help="scripts a turn")
    args = options.parse_args()
    bench = pathlib.Path(args.build, "src/hook/bench_hooks")
    if not bench.exists() or not shutil.which("run-parts"):
        sys.exit(f"hooks.py: needs {bench} and run-parts")
    results = {}
    for count in (1, 10):
        with tempfile.TemporaryDirectory(prefix="davit-bench-") as base:
            directory = make_scripts(base, count)
            rounds = max(args.runs // count, 1)
            contenders = {
                "run-parts, started by sh": lambda: run_parts(directory, rounds, count),
                "davit chain + journal": lambda: ours(bench, base, rounds, "chain"),
                "davit chain, no journal": lambda: ours(bench, base, rounds, "quiet"),
                "base/child alone": lambda: ours(bench, base, rounds, "child"),
                "bare posix_spawn": lambda: ours(bench, base, rounds, "spawn"),
            }
            times = {name: [] for name in contenders}
            for _ in range(args.turns):
                for name, run in contenders.items():
                    times[name].append(run())
        reference = statistics.median(times["run-parts, started by sh"])
        print(f"{count} script(s) a chain")
        for name, values in times.items():
            median = statistics.median(values)
            results[f"{count}:{name}"] = round(median, 1)
            ratio = median / reference
            verdict = ""
            if name == "davit chain + journal":
                verdict = f"   target <= {TARGET}: {'met' if ratio <= TARGET else 'MISSED'}"
            print(f"  {name:28} {median:8.1f} us a script   {ratio:5.2f} x run-parts{verdict}")
    print(json.dumps({"bench": "hooks", "us": results, "cpus": os.cpu_count()}))


if __name__ == "__main__":
    main()
