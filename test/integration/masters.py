# SPDX-License-Identifier: Apache-2.0
"""One or several davit-masters on a store, and agents played by the test.

FakeAgent does an agent's part of the protocol by hand, through kazoo: its `alive`, its
reality; so a test decides what the master sees, and when.
"""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import uuid

from kazoo.client import KazooClient

from cluster import UnixConnection
from servers import build_dir, wait_until

SHARDS = 16


def shard(pod):
    value = 2166136261
    for byte in pod.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value % SHARDS


def hello(name="hello", instances=1, service=True, cpu=0.1, ram=16 << 20, ports=(), **more):
    refs = " ".join("{{thermos.ports[%s]}}" % port for port in ports)
    return {"cluster": "devcluster", "role": "www", "environment": "devel", "name": name,
            "instances": instances, "service": service,
            "task": {"name": name, "processes": [{"name": "main", "cmdline": "sleep 1000 " + refs}],
                     "resources": {"cpu": cpu, "ram": ram, "disk": 16 << 20}}, **more}


def key(name="hello"):
    return f"devcluster/www/devel/{name}"


class Master:
    def __init__(self, directory, store, name="master", args=(), env=None):
        self.dir = pathlib.Path(directory) / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.store, self.args, self.env = store, list(args), dict(env or {})
        self.log = self.dir / "log"
        self.process = None

    def spawn(self):
        ready, write = os.pipe()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(build_dir() / "src/master/davit-master"), "--zk", self.store.address,
                 "--dir", str(self.dir), "--hooks-dir", str(self.dir / "hooks"),
                 "--session-ms", "2000", "--ready-fd", str(write), *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write],
                env={**os.environ, "DAVIT_LOG": "debug", **self.env})
        os.close(write)
        return ready

    def start(self):
        ready = self.spawn()
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1) != b"\n":
                raise AssertionError("davit-master did not become ready:\n" + self.tail())
        return self

    def tail(self):
        return self.log.read_text(errors="replace")[-4000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def request(self, method, path, body=None, headers=None):
        connection = UnixConnection(self.dir / "api.sock")
        try:
            text = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
            head = {"Content-Type": "application/json"} if text is not None else {}
            connection.request(method, path, text, {**head, **(headers or {})})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None
        finally:
            connection.close()

    def get(self, path):
        status, body = self.request("GET", path)
        assert status == 200, (status, body)
        return body

    def submit(self, *opcodes, op_id=None):
        body = {"id": op_id or str(uuid.uuid4()), "user": "root", "opcodes": list(opcodes)}
        status, answer = self.request("POST", "/v1/operations", body)
        assert status == 202, (status, answer)
        return answer["id"]

    def wait(self, op_id, seconds=20):
        return wait_until("the operation ends", lambda: self.over(op_id), seconds)

    def over(self, op_id):
        operation = self.get(f"/v1/operations/{op_id}?wait=2000")
        return operation if operation["state"] not in ("queued", "running") else None

    def create(self, **job):
        return self.submit({"op": "OP_JOB_CREATE", "job": hello(**job)})

    def kill_job(self, name="hello", instances=None, message=None):
        return self.submit({"op": "OP_JOB_KILL", "key": key(name), "instances": instances,
                            "message": message})

    def tasks(self, name="hello", active=None):
        query = f"?job={key(name)}" + ("" if active is None else f"&active={active}")
        return self.get("/v1/tasks" + query)["items"]

    def states(self, name="hello", active="true"):
        return sorted(task["state"] for task in self.tasks(name, active))

    def wait_states(self, states, name="hello", active="true", seconds=15):
        try:
            wait_until(f"states {states}", lambda: self.states(name, active) == sorted(states), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.states(name, active)}") from None


@contextlib.contextmanager
def masters(*all_of_them):
    try:
        yield [master.start() for master in all_of_them]
    finally:
        for master in all_of_them:
            if sys.exc_info()[0] is not None and master.log.exists():
                print(f"--- {master.dir.name}\n{master.tail()}", file=sys.stderr)
            master.stop()


class FakeAgent:
    def __init__(self, store, name="node1", cpu=4.0, ram=8 << 30, ports=(31000, 31999)):
        self.name = name
        self.pods = {}
        self.alive = {"v": 1, "address": "127.0.0.1:1", "boot_id": "x", "host": name, "pid": 1,
                      "version": "0", "attributes": {"host": name}, "hooks_dir": "/nonexistent",
                      "resources": {"cpu": cpu, "ram_bytes": ram, "disk_bytes": 64 << 30,
                                    "ports": list(ports)}}
        self.zk = KazooClient(hosts=store.address, timeout=2.0)

    def __enter__(self):
        self.zk.start(timeout=10)
        self.come()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.zk.stop()
            self.zk.close()

    def come(self):
        self.zk.create(f"/davit/nodes/{self.name}/alive", json.dumps(self.alive).encode(),
                       ephemeral=True, makepath=True)

    def go(self):
        self.zk.delete(f"/davit/nodes/{self.name}/alive")

    def intents(self):
        path = f"/davit/intent/{self.name}"
        if not self.zk.exists(path):
            return {}
        found = {}
        for pod in self.zk.get_children(path):
            with contextlib.suppress(Exception):
                found[pod] = self.zk.get(f"{path}/{pod}")[0].decode()
        return found

    def stopped(self):
        return {pod for pod, text in self.intents().items() if "desired: stopped" in text}

    def report(self, pod, state, reason=None):
        """Say so of one pod; None: it is gone."""
        if state is None:
            self.pods.pop(pod, None)
        else:
            self.pods[pod] = {"state": state, **({"reason": reason} if reason else {})}
        nr = shard(pod)
        doc = {"v": 1, "pods": {p: e for p, e in self.pods.items() if shard(p) == nr}}
        path = f"/davit/reality/{self.name}/{nr}"
        data = json.dumps(doc).encode()
        if self.zk.exists(path):
            self.zk.set(path, data)
        else:
            self.zk.create(path, data, makepath=True)

    def run_all(self):
        """Every pod that should run does."""
        for pod in set(self.intents()) - self.stopped():
            if self.pods.get(pod, {}).get("state") != "running":
                self.report(pod, "running")

    def stop_all(self):
        for pod in self.stopped():
            self.report(pod, "killed", "asked to stop")
