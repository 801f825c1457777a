#!/usr/bin/env python3
"""./dev bench [NAME]: every program of tools/bench/, or the named one.

Each prints a table and its own verdict per target; a missed target is printed as
missed and does not fail the run: these machines are noisy, and a bench is for
reading.  A bench that cannot run at all does.
"""
import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent / "bench"


def main():
    known = sorted(path.stem for path in BENCH.glob("*.py"))
    wanted = sys.argv[1:] or known
    for name in wanted:
        if name not in known:
            sys.exit(f"bench: no '{name}'; known: {', '.join(known)}")
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        if subprocess.run(["/usr/bin/python3", BENCH / f"{name}.py"]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"bench: could not run {', '.join(failed)}")


main()
