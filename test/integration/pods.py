# SPDX-License-Identifier: Apache-2.0
"""A real davit-pod in a directory of its own, and an agent's end of its channel."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from servers import build_dir, wait_until

TERMINAL = ("finished", "failed", "killed")


def program():
    return build_dir() / "src" / "pod" / "davit-pod"


def process(name, cmdline, **more):
    return {"name": name, "cmdline": cmdline, "min_duration": 0, **more}


def alive(pid):
    """Runs, and is no zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def with_token(token):
    """Pids of all live processes that carry the token, also those of callbacks and checks."""
    found = []
    wanted = {f"{name}={token}".encode() for name in ("DAVIT_RUN", "DAVIT_RUN_OF")}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                env = pathlib.Path("/proc", entry, "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted & set(env) and alive(int(entry)):
                found.append(int(entry))
    return found


class Agent:
    """One connection; lines are kept in .heard in the order in which they came."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(0.05)
        self.rest = b""
        self.heard = []
        self.closed = False

    def pump(self):
        try:
            part = self.sock.recv(65536)
        except (TimeoutError, BlockingIOError):
            return
        except ConnectionError:
            part = b""
        self.closed = self.closed or not part
        *lines, self.rest = (self.rest + part).split(b"\n")
        self.heard += [json.loads(line) for line in lines]

    def wait(self, what, condition, seconds=15.0):
        def check():
            self.pump()
            return condition()
        return wait_until(what, check, seconds)

    def of(self, kind):
        return [line for line in self.heard if line["type"] == kind]

    def state(self):
        states = self.of("state")
        return states[-1] if states else {"state": None, "processes": {}}

    def wait_state(self, *names, seconds=15.0):
        self.wait(f"state {names}", lambda: self.state()["state"] in names, seconds)
        return self.state()

    def tell(self, **message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def raw(self, data):
        self.sock.sendall(data)

    def close(self):
        self.sock.close()


class Pod:
    def __init__(self, home, processes, hooks=None, options=(), task=None, env=None, **graph):
        self.home = pathlib.Path(home)
        self.sandbox = self.home / "sandbox"
        self.sandbox.mkdir(parents=True, exist_ok=True)
        self.token = os.urandom(16).hex()
        spec = {"v": 1, "id": "www-devel-hello-0-x", "job": "c/www/devel/hello", "instance": 0,
                "digest": "abc", "hostname": "node1", "node": "node1", "op_id": "op-1",
                "user": "www", "token": self.token}
        spec.update(task or {})
        spec["task"] = {"name": "hello", "processes": processes, **graph}
        (self.home / "task.json").write_text(json.dumps(spec))
        ours, theirs = socket.socketpair()
        command = [str(program()), "--home", str(self.home), "--agent-fd", str(theirs.fileno())]
        if hooks:
            command += ["--pod-hooks-dir", str(hooks)]
        self.log = open(self.home / "pod.log", "ab")
        self.popen = subprocess.Popen(
            command + list(options), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, **(env or {})})
        theirs.close()
        self.agent = Agent(ours)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for pid in with_token(self.token):
            os.kill(pid, signal.SIGKILL)
        self.agent.close()
        self.log.close()

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        fd = os.open(self.home, os.O_PATH)
        try:
            sock.connect(f"/proc/self/fd/{fd}/pod.sock")
        finally:
            os.close(fd)
        return Agent(sock)

    def status(self):
        return json.loads((self.home / "state.json").read_text())

    def out(self, name, run=0, stream="stdout"):
        return (self.sandbox / ".logs" / name / str(run) / stream).read_text()

    def messages(self):
        return (self.home / "pod.log").read_text()

    def end(self, seconds=20.0):
        """Wait for the final state, say bye, and check that all is told and gone."""
        state = self.agent.wait_state(*TERMINAL, seconds=seconds)
        on_disk = self.status()
        assert on_disk["state"] == state["state"]
        assert on_disk["processes"] == state["processes"]
        assert with_token(self.token) == []
        self.agent.tell(type="bye")
        wait_until("davit-pod ends", lambda: self.popen.poll() is not None)
        assert self.popen.returncode == 0
        return state

    def memory_kb(self):
        """(VmRSS, PSS)"""
        status = pathlib.Path(f"/proc/{self.popen.pid}/status").read_text()
        rollup = pathlib.Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text()
        field = lambda text, name: int(text.partition(f"\n{name}:")[2].split()[0])
        return field(status, "VmRSS"), field(rollup, "Pss")
