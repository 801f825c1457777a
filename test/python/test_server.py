# SPDX-License-Identifier: Apache-2.0
"""The guest as a process: the channel's rules, and user code that does not behave."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

PYTHON = pathlib.Path(__file__).resolve().parents[2] / "python"
JOB = ("jobs = [Job(cluster='c', role='r', environment='devel', name='n', task=SimpleTask('n', %s),"
       " enable_hooks=True)]\n")


class Guest:
    def __init__(self, **env):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(20)
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-I", "-S", str(PYTHON / "davit_guest" / "__main__.py")],
            env=dict(os.environ, DAVIT_GUEST_FD=str(theirs.fileno()), **env),
            pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        theirs.close()
        self.lines = self.sock.makefile("r", encoding="utf-8")
        self.id = 0

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode())

    def read(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def start(self, name_, **params):
        self.id += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self.id, "method": name_,
                              "params": params}) + "\n")

    def call(self, name_, **params):
        self.start(name_, **params)
        answer = self.read()
        assert answer["id"] == self.id and answer["jsonrpc"] == "2.0"
        return answer

    def load(self, text, **params):
        return self.call("config.load", text=text, name="f.aurora", **params)

    def end(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@pytest.fixture
def guest():
    guest = Guest()
    yield guest
    guest.process.kill()
    guest.process.wait()
    for pipe in (guest.process.stdin, guest.process.stdout, guest.process.stderr, guest.lines,
                 guest.sock):
        pipe.close()


def test_hello_and_end(guest):
    answer = guest.call("hello", protocol="davit-guest", version=1)
    assert answer["result"]["version"] == 1
    assert guest.call("hello", protocol="davit-guest", version=2)["error"]["code"] == -32017
    assert guest.end() == (0, "", "")


def test_wrong_lines(guest):
    for line, code in (("[]", -32600), ("7", -32600), ('{"jsonrpc":"2.0","id":1}', -32600),
                       ('{"jsonrpc":"2.0","id":1,"method":"none"}', -32601),
                       ('{"jsonrpc":"2.0","id":1,"method":"hello","params":[]}', -32602)):
        guest.send(line + "\n")
        assert guest.read()["error"]["code"] == code
    guest.send('{"jsonrpc":"2.0","method":"none"}\n\n')  # A notification: no answer.
    assert guest.call("config.select", key="a")["error"]["data"]["kind"] == "usage"
    guest.send(b"\xff\xfe\n")
    assert guest.read()["error"]["code"] == -32700
    assert guest.read() is None


def test_prints_come_before_the_answer_on_stdout(guest):
    assert "result" in guest.load("print('hello')\nimport sys\nsys.stderr.write('e\\n')\n")
    assert guest.process.stdout.readline() == "hello\n"
    assert guest.process.stderr.readline() == "e\n"


def test_closed_stdout_is_no_failure():
    guest = Guest()
    guest.process.stdout.close()
    assert "Broken pipe" in guest.load("print('x' * 100000)\n")["error"]["message"]
    assert "result" in guest.load("jobs = []\n")
    guest.process.kill()
    guest.process.wait()
    for pipe in (guest.process.stdin, guest.process.stderr, guest.lines, guest.sock):
        pipe.close()


def test_channel_is_hidden_from_user_code(guest):
    answer = guest.load(
        "import os, subprocess\n"
        "assert 'DAVIT_GUEST_FD' not in os.environ\n"
        "fds = subprocess.check_output('ls /proc/self/fd; env', shell=True, close_fds=False)\n"
        "assert b'DAVIT_GUEST' not in fds, fds\n"
        "sockets = subprocess.check_output('ls -l /proc/self/fd', shell=True, close_fds=False)\n"
        "assert b'socket' not in sockets, sockets\n")
    assert "result" in answer, answer


@pytest.mark.parametrize("text,message", [
    ("'a\\0b'", "The configuration was invalid: it holds a NUL character"),
    ("'\\ud800'", None), ("'\\u00e9\\n\\t\"\\\\'", None)])
def test_odd_text(guest, text, message):
    guest.load(JOB % text)
    answer = guest.call("config.select", key="c/r/devel/n")
    if message:
        assert answer["error"]["message"] == message
    else:
        assert answer["result"]["job"]["task"]["processes"][0]["cmdline"] == \
            eval(text).encode("utf-8", "replace").decode()


@pytest.mark.parametrize("text", [
    "def f(): f()\nf()\n", "x = 'a' * 10\nraise MemoryError\n", "raise BaseException('b')\n",
    "include('x')\n", "jobs = None\nhooks = 5\n", "class E(Exception):\n  def __str__(self): 1/0\n"
    "raise E()\n"])
def test_guest_survives_what_a_file_raises(guest, text):
    answer = guest.load(text)
    assert "error" in answer and "\n" not in answer["error"]["message"]
    assert "result" in guest.load("jobs = []")


def test_interrupt_while_evaluating(guest):
    guest.start("config.load", text="import time, sys\nprint('on')\nsys.stdout.flush()\n"
                "time.sleep(60)\n", name="f")
    assert guest.process.stdout.readline() == "on\n"
    guest.process.send_signal(signal.SIGINT)
    answer = guest.read()
    assert answer["error"]["data"]["exit"] == 130 and answer["error"]["code"] == -32007


def test_hook_asks_on_the_terminal_and_changes_the_job(guest):
    text = JOB % "'x'" + (
        "class H:\n  def pre_create_job(self, config):\n"
        "    config.add_metadata('who', raw_input('name? '))\n    return True\n"
        "  def pre_kill_job(self, job_key):\n    return False\n"
        "  def post_create_job(self, result, config):\n"
        "    print(result.responseCode, config.job_key())\n"
        "  def err_create_job(self, exc, config):\n    config.bind(1)\n"
        "  def pre_restart(self, job_key, config):\n"
        "    config._job = config._job(instances='many')\n    config._evaluated = None\n"
        "    return True\nhooks = [H]\n")
    guest.load(text)
    assert "result" in guest.call("config.select", key="c/r/devel/n")
    guest.process.stdin.write("me\n")
    guest.process.stdin.flush()
    answer = guest.call("hook.call", phase="pre", method="create_job")["result"]
    assert answer["config"]["job"]["metadata"] == [{"key": "who", "value": "me"}]
    record = answer["records"][0]
    assert record["name"] == "H.pre_create_job" and record["ok"]
    assert record["finished_ms"] - record["started_ms"] == record["duration_ms"]
    assert guest.call("hook.call", phase="pre", method="kill_job", key="c/r/devel/n")["result"][
        "refused"]
    guest.call("hook.call", phase="post", method="create_job", outcome={"code": "OK"})
    assert guest.process.stdout.readline() == "name? 1 c/r/devel/n\n"
    assert not guest.call("hook.call", phase="err", method="create_job", outcome={
        "code": "ERROR"})["result"]["records"][0]["ok"]
    assert guest.call("hook.call", phase="pre", method="restart", key="c/r/devel/n")["error"][
        "message"] == "Cannot coerce 'many' to Integer"
    assert guest.call("hook.call", phase="pre", method="nothing")["error"]["data"]["kind"] == \
        "usage"
    assert guest.call("hook.call", phase="now", method="kill_job")["error"]["data"]["kind"] == \
        "usage"


def test_hooks_need_the_job_to_enable_them(guest):
    guest.load((JOB % "'x'").replace("True", "False") +
               "class H:\n  def generic_hook(self, *a): pass\nhooks = [H()]\n")
    guest.call("config.select", key="c/r/devel/n")
    assert guest.call("hooks.plan", method="kill_job")["result"]["pre"] == []
    assert guest.call("hook.call", phase="pre", method="kill_job")["result"]["records"] == []


def test_python_path_of_the_user_is_honoured(tmp_path):
    (tmp_path / "mine.py").write_text("value = 5\n")
    guest = Guest(PYTHONPATH=str(tmp_path))
    assert "result" in guest.load("import mine\nassert mine.value == 5\n")
    guest.end()
    for pipe in (guest.process.stdin, guest.lines, guest.sock):
        pipe.close()


def test_without_a_channel_it_says_so():
    done = subprocess.run(["/usr/bin/python3", "-I", "-S",
                           str(PYTHON / "davit_guest" / "__main__.py")],
                          capture_output=True, text=True, env={}, timeout=20)
    assert done.returncode == 1 and "DAVIT_GUEST_FD is not set" in done.stderr


def test_example(guest):
    path = PYTHON.parent / "examples" / "hello.aurora"
    key = guest.call("config.load", path=str(path))["result"]["jobs"][0]
    answer = guest.call("config.select", key=key)["result"]
    assert answer["ports"] == ["http"] and answer["job"]["instances"] == 2
    assert answer["job"]["task"]["constraints"] == [{"order": ["setup", "server"]}]
    assert guest.call("hooks.plan", method="create_job")["result"] == {
        "pre": ["Announce.pre_create_job"], "post": ["Announce.post_create_job"],
        "err": ["Announce.generic_hook"]}
