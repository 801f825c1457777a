#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What evaluating `.aurora` files costs, beside bare starts of the same interpreter.

    tools/bench/config.py [RUNS]

Prints one table; everything is measured in this one run, so that the ratios mean something.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
MAIN = TREE / "python" / "davit_guest" / "__main__.py"
INTERPRETER = os.environ.get("DAVIT_PYTHON", "/usr/bin/python3")
DAVIT = TREE / "build" / "src" / "cli" / "davit"

TARGET_ONE_MS = 30
TARGET_MANY_MS = 300
TARGET_RATIO = 2.5  # Linear is 2; the original's, which is quadratic, 4.

ONE = """
jobs = [Service(cluster='c', role='r', environment='devel', name='n', instances=2,
    task=SequentialTask(processes=[
        Process(name='a', cmdline='echo {{mesos.instance}}'),
        Process(name='b', cmdline='exec {{name}} {{thermos.ports[http]}}')],
    resources=Resources(cpu=1, ram=64*MB, disk=64*MB)))]
"""
MANY = """
jobs = [Job(cluster='c', role='r', environment='devel', name='n%d' % n,
    task=SequentialTask(processes=[
        Process(name='p%d' % p, cmdline='run {{role}} {{mesos.instance}} {{thermos.ports[http]}}')
        for p in range(10)],
    resources=Resources(cpu=1, ram=64*MB, disk=64*MB))) for n in range(NUMBER)]
"""


class Guest:
    def __init__(self):
        self.sock, theirs = socket.socketpair()
        self.process = subprocess.Popen([INTERPRETER, "-I", "-S", str(MAIN)], close_fds=True,
                                        env=dict(os.environ, DAVIT_GUEST_FD=str(theirs.fileno())),
                                        pass_fds=[theirs.fileno()])
        theirs.close()
        self.lines = self.sock.makefile("rb")

    def call(self, name_, **params):
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": name_,
                                      "params": params}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        assert "result" in answer, answer
        return answer["result"]

    def end(self):
        self.lines.close()
        self.sock.close()
        assert self.process.wait(10) == 0


def timed(runs, function):
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def listed(path):
    guest = Guest()
    guest.call("hello", protocol="davit-guest", version=1)
    guest.call("config.load", path=path)
    guest.end()


def selected(path, keys):
    guest = Guest()
    guest.call("hello", protocol="davit-guest", version=1)
    guest.call("config.load", path=path)
    for key in keys:
        guest.call("config.select", key=key)
    guest.end()


def cli(*args):
    """The program as people call it."""
    subprocess.run([DAVIT, *args], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   env=dict(os.environ, DAVIT_PYTHONPATH=str(TREE / "python")))


def row(name, value, bare, target=None):
    verdict = "" if target is None else "target %g: %s" % (
        target, "met" if value <= target else "MISSED")
    print(("%-46s %9.2f %9.2f  %s" % (name, value, value / bare, verdict)).rstrip(), flush=True)


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    slow = max(3, runs // 5)
    with tempfile.TemporaryDirectory() as directory:
        def file(name, text):
            path = os.path.join(directory, name)
            pathlib.Path(path).write_text(text)
            return path
        one = file("one.aurora", ONE)
        many = {n: file("many%d.aurora" % n, MANY.replace("NUMBER", str(n)))
                for n in (50, 100, 200)}
        cli("config", "list", one)  # Compiles the modules once, as an installation does.

        print("%-46s %9s %9s" % ("what", "ms", "x bare"))
        bare = timed(runs, lambda: subprocess.run([INTERPRETER, "-I", "-S", "-c", "pass"]))
        row("python3 -I -S -c pass", bare, bare)
        row("python3 -c 'import json, re'", timed(runs, lambda: subprocess.run(
            [INTERPRETER, "-c", "import json, re"])), bare)
        row("config list of one job", timed(runs, lambda: cli("config", "list", one)), bare,
            TARGET_ONE_MS)
        row("config dump of it", timed(runs, lambda: cli("config", "dump", one)), bare)
        row("config list of the example (getpass, hooks)", timed(
            runs, lambda: cli("config", "list", str(TREE / "examples" / "hello.aurora"))), bare)
        row("config list of 200 jobs of 10 processes", timed(
            slow, lambda: cli("config", "list", many[200])), bare, TARGET_MANY_MS)
        row("config dump of one of them", timed(
            slow, lambda: cli("config", "dump", many[200], "--select", "c/r/devel/n199")), bare)
        row("config dump of all 200", timed(
            slow, lambda: cli("config", "dump", many[200])), bare)
        each = {}
        for n, path in many.items():
            keys = ["c/r/devel/n%d" % at for at in range(n)]
            each[n] = timed(slow, lambda: selected(path, keys)) - timed(
                slow, lambda: listed(path))
        row("select all 200 one by one, each", each[200] / 200, bare)
    ratio = each[200] / each[100]
    print("each selection: %s" % ", ".join(
        "%d jobs %.2f ms" % (n, value / n) for n, value in each.items()))
    print("200 jobs one by one take %.2f times what 100 take  target %g: %s" % (
        ratio, TARGET_RATIO, "met" if ratio <= TARGET_RATIO else "MISSED"))


main()
