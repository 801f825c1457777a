# SPDX-License-Identifier: Apache-2.0
"""Whatever a configuration file does, the command line ends by itself, with a documented status.

A file is its author's program and runs as he does: this is no sandbox.  It is about what a broken
or thoughtless file may do to `davit`: hang it, take it along, talk in its place.
"""
import json
import re
import subprocess
import time

import pytest

from test_cli import DAVIT, ROOT, davit

JOB = """
jobs = [Job(cluster='c', role='r', environment='devel', name='n', task=SimpleTask('a', 'true'))]
"""
LISTED = "jobs=[c/r/devel/n]\n"


@pytest.fixture
def run(tmp_path):
    def run(text, *args, verb="dump"):
        (tmp_path / "f.aurora").write_bytes(text if isinstance(text, bytes) else text.encode())
        return davit("config", verb, "f.aurora", *args, cwd=tmp_path)
    return run


@pytest.mark.parametrize("text, status, said", [
    ("import os\nos._exit(0)\n", 3, "the Python process exited with status 0"),
    ("import os\nos._exit(7)\n", 3, "the Python process exited with status 7"),
    ("import os\nos.abort()\n", 3, "the Python process was killed by signal 6"),
    ("import os\nos.kill(os.getpid(), 9)\n", 3, "the Python process was killed by signal 9"),
    ("import ctypes\nctypes.string_at(0)\n", 3, "the Python process was killed by signal 11"),
    ("import sys\nsys.exit(42)\n", 42, "f.aurora called exit"),
    ("import sys\nsys.exit('a reason')\n", 1, "f.aurora called exit"),
    ("exit()\n", 3, "f.aurora called exit"),  # Nothing was done: not 0.
    ("class E(Exception):\n  def __str__(self): raise SystemExit(0)\nraise E\n", 3, "called exit"),
    ("raise KeyboardInterrupt\n", 130, "interrupted"),
    ("class B(BaseException): pass\nraise B('own')\n", 3, "own (f.aurora, line 2)"),
    ("raise GeneratorExit\n", 3, "GeneratorExit"),
    ("def f(): f()\nf()\n", 3, "maximum recursion depth exceeded"),
    ("jobs = []\nfor _ in range(10**5): jobs = [jobs]\n", 3, "RecursionError"),
    ("x = 'a' * (1 << 45)\n", 3, "MemoryError"),
    ("raise ValueError('x' * 30000000)\n", 3, "xxxx..."),
    ("jobs = [Job(cluster='c', role='r', environment='e', name='n', contact='x' * 20000000,\n"
     "  task=SimpleTask('a', 'true'))]\n", 3, "longer than the cap"),
    (b"\x7fELF\x02\xff\x00", 3, "null bytes (f.aurora, line 1)"),
])
def test_a_file_that_ends_badly(run, text, status, said):
    done = run(text)
    assert done.returncode == status and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("text", [
    "while True: pass\n",
    "import time\ntime.sleep(100)\n",
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass\n",
    "import os\nos.kill(os.getpid(), 19)\n",  # SIGSTOP
    "class L(object):\n  def __iter__(self):\n    while True: yield 1\njobs = L()\n",
], ids=["loops", "sleeps", "ignores SIGTERM", "stops", "never ends its list"])
def test_a_file_that_never_ends(run, text):
    started = time.monotonic()
    done = run(text, "--load-timeout", "1")
    assert done.returncode == 9 and done.stdout == ""
    assert done.stderr == \
        "Error loading configuration: evaluating f.aurora took longer than 1 s\n"
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("value", ["0", "-1", "soon", "86401"])
def test_what_is_no_time(run, value):
    done = run(JOB, "--load-timeout", value)
    assert done.returncode == 2 and "load-timeout" in done.stderr


@pytest.mark.parametrize("text", [
    "import os\nfor fd in 0, 1, 2: os.close(fd)\n",
    "import os\nos.closerange(0, 256)\n",
    "import os\nos.chdir('/')\nos.environ.clear()\n",
    "import sys\nsys.stdout = None\nsys.stderr = 5\n",
    "import sys\nsys.modules.clear()\n",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n",
    "import os, time\nif os.fork() == 0:\n  os.closerange(0, 3)\n  time.sleep(8)\n  os._exit(0)\n",
    "import subprocess\nsubprocess.Popen(['sleep', '8'], stdout=-3, stderr=-3)\n",
    "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n",
], ids=["closes its streams", "closes all it finds", "leaves", "breaks its streams",
        "forgets modules", "has a thread", "has a child", "starts a program", "has few files"])
def test_a_file_that_does_odd_things_and_still_defines_jobs(run, text):
    started = time.monotonic()
    done = run(text + JOB, verb="list")
    assert (done.returncode, done.stdout, done.stderr) == (0, LISTED, "")
    assert time.monotonic() - started < 7


ANSWER = """
import os, json
class Anything(dict): pass
channel = max(int(fd) for fd in os.listdir('/proc/self/fd') if fd.isdigit())
for id in range(20):
  os.write(channel, (json.dumps({'jsonrpc': '2.0', 'id': id, 'result': %s}) + '\\n').encode())
"""


@pytest.mark.parametrize("result", [
    "{}", "5", "None", "[]", "{'jobs': 5, 'hooks': [], 'warnings': []}",
    "{'jobs': [1], 'hooks': [], 'warnings': []}", "{'jobs': ['a'], 'hooks': ['x'], 'warnings': {}}",
    "{'jobs': ['a'], 'hooks': [], 'warnings': [], 'key': 'a', 'job': 7}",
    "{'jobs': ['a'], 'hooks': [], 'warnings': [], 'key': 'a', 'job': {}, 'ports': [None]}",
])
def test_a_file_that_answers_in_the_guests_place(run, result):
    done = run(ANSWER % result)
    assert done.returncode == 3 and done.stdout == "" and done.stderr.count("\n") == 1


@pytest.mark.parametrize("data", ["b'garbage\\n'", "b'x' * 65536", "b'\\0\\n'"])
def test_a_file_that_writes_to_the_channel(run, data):
    done = run("import os\nchannel = max(int(fd) for fd in os.listdir('/proc/self/fd'))\n"
               "for _ in range(1000): os.write(channel, %s)\n" % data + JOB)
    assert done.returncode == 3 and done.stderr.count("\n") == 1


def test_a_gigabyte_of_output_passes(tmp_path):
    """It goes from the file to our stdout without passing through us."""
    path = tmp_path / "f.aurora"
    path.write_text("import os\nfor _ in range(1024): os.write(1, b'x' * (1 << 20))\n" + JOB)
    done = subprocess.run(f"{DAVIT} config list {path} --load-timeout 60 | tail -c {len(LISTED)}",
                          shell=True, env={"DAVIT_PYTHONPATH": str(ROOT / "python"),
                                           "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
    assert done.stdout == LISTED and done.stderr == ""


@pytest.fixture
def create(tmp_path):
    """job create with a master that nobody can reach: what is sent would fail in other words."""
    (tmp_path / "clusters.json").write_text(json.dumps(
        [{"name": "c", "scheduler_uri": "http://127.0.0.1:9"}]))

    def create(text):
        (tmp_path / "f.aurora").write_text(text)
        return davit("job", "create", "c/r/devel/n", "f.aurora", cwd=tmp_path,
                     env={"AURORA_CONFIG_ROOT": str(tmp_path)})
    return create


@pytest.mark.parametrize("text, status", [
    ("import os\nos._exit(0)\n", 3), ("import ctypes\nctypes.string_at(0)\n", 3), ("exit()\n", 3),
    ("import sys\nsys.exit(42)\n", 42), ("def f(): f()\nf()\n", 3)])
def test_verbs_that_use_a_file_end_with_it(create, text, status):
    done = create(text)
    assert done.returncode == status and done.stdout == "" and done.stderr.count("\n") == 1


@pytest.mark.parametrize("body, said", [
    ("import os; os._exit(0)", "exited with status 0"),
    ("import ctypes; ctypes.string_at(0)", "was killed by signal 11"),
    ("import os; os.closerange(3, 1024); return True", "exited with status 1")])
def test_a_hook_that_takes_python_along_sends_nothing(create, body, said):
    done = create(JOB.replace("name='n',", "name='n', enable_hooks=True,") +
                  f"class H(object):\n  def pre_create_job(self, config):\n    {body}\nhooks = [H()]\n")
    assert done.returncode == 4
    assert done.stdout + done.stderr == (
        f"Job creation failed due to error:\n\trunning hooks of f.aurora: the Python process {said}\n")


def sockets(trace):
    return [line for line in trace.splitlines()
            if re.search(r"\b(socket|connect|bind|sendto|getaddrinfo)\(", line)]


def traced(path, tmp_path):
    log = tmp_path / "trace"
    subprocess.run(["strace", "-f", "-qq", "-e", "trace=network", "-o", log, DAVIT, "config", "dump",
                    path], env={"DAVIT_PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"},
                   stdout=subprocess.DEVNULL, check=True, timeout=60, cwd=ROOT / "test/corpus/whole")
    return log.read_text()


def test_evaluating_never_opens_the_network(tmp_path):
    """Of the network's calls there is only the socketpair between us and the guest."""
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    trace = traced("hello_world.aurora", tmp_path)
    assert "socketpair(AF_UNIX" in trace and sockets(trace) == []
    # A file that does it itself is seen, so that silence means something.
    path = tmp_path / "own.aurora"
    path.write_text("import socket\nsocket.socket().close()\n" + JOB)
    assert any("AF_INET" in line for line in sockets(traced(path, tmp_path)))


def test_evaluating_needs_no_network(tmp_path):
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here")
    path = tmp_path / "f.aurora"
    path.write_text("import socket\n" + JOB)
    done = subprocess.run(["unshare", "-rn", DAVIT, "config", "list", path], text=True, timeout=30,
                          env={"DAVIT_PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"},
                          capture_output=True)
    assert (done.returncode, done.stdout) == (0, LISTED), done.stderr
