# SPDX-License-Identifier: Apache-2.0
"""davit task run, ssh and scp: into the sandboxes of instances, directly and over ssh.

Contract: aurora.md 1.4 and 1.5 (`task run|ssh` details).
"""
import contextlib
import os
import socket
import subprocess
import threading

import pytest

from cluster import Cluster
from servers import free_port, wait_until
from sshd import SshServer

CONFIG = """
import getpass
jobs = [Service(
    cluster='devcluster', role=getpass.getuser(), environment='devel', name='shell', instances=2,
    task=Task(name='t', resources=Resources(cpu=0.01, ram=64*MB, disk=1*MB), finalization_wait=2,
              processes=[Process(name='main', cmdline='''
                  echo {{mesos.instance}} > number
                  exec /usr/bin/python3 -c "import http.server, sys
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')
" {{thermos.ports[http]}}''')]))]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tasks")
    with Cluster(directory / "c", nodes=2) as c:
        (directory / "shell.aurora").write_text(CONFIG)
        c.key = c.key("shell")
        c.davit("job", "create", c.key, directory / "shell.aurora", "--wait-until", "RUNNING")
        # RUNNING is not listening yet.
        for task in c.tasks(c.key):
            wait_until("its server", lambda port=task["ports"]["http"]: not socket.socket()
                       .connect_ex(("127.0.0.1", port)))
        yield c


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with SshServer(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@contextlib.contextmanager
def killed_late(process, seconds=30):
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def hosts(cluster):
    return {task["instance"]: task["host"] for task in cluster.tasks(cluster.key)}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_run_prints_each_line_with_its_host(cluster, threads):
    done = cluster.davit("task", "run", cluster.key, "cat number; echo two >&2", "-t", threads)
    at = hosts(cluster)
    assert sorted(done.stdout.splitlines()) == sorted(
        [f"{at[0]}:  0", f"{at[0]}:  two", f"{at[1]}:  1", f"{at[1]}:  two"])
    if threads == "1":
        assert done.stdout.splitlines()[0].endswith(":  0")


def test_run_fills_each_instances_own_values(cluster):
    task, = [t for t in cluster.tasks(cluster.key) if t["instance"] == 1]
    done = cluster.davit("task", "run", cluster.key + "/1",
                         "echo {{mesos.instance}} {{thermos.task_id}} {{thermos.ports[http]}} "
                         "{{thermos.ports[none]}}; pwd; id -u")
    where = f"{task['host']}:  "
    assert done.stdout.splitlines() == [
        f"{where}1 {task['id']} {task['ports']['http']} {{{{thermos.ports[none]}}}}",
        f"{where}{task['home']}/sandbox", f"{where}{os.stat(task['home'] + '/sandbox').st_uid}"]
    executor = cluster.davit("task", "run", cluster.key + "/1", "pwd", "--executor-sandbox")
    assert executor.stdout == f"{where}{task['home']}\n"


def test_run_that_fails_somewhere(cluster):
    done = cluster.davit("task", "run", cluster.key, "test {{mesos.instance}} = 0", check=False)
    assert done.returncode == 4
    assert "instance 1: the command ended with status 1" in done.stderr
    assert "failed in 1 of 2 instances" in done.stderr


def test_run_over_ssh(cluster, sshd):
    done = cluster.davit("task", "run", cluster.key, "cat number", "--ssh", "-l", "operator",
                         "--ssh-options", sshd.options())
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{host}:  {instance}" for instance, host in hosts(cluster).items())
    assert sshd.commands[-1].startswith("cd /") and sshd.commands[-1].endswith("/sandbox;cat number")
    assert sshd.users[-1] == "operator"


def test_ssh_here(cluster):
    done = cluster.davit("task", "ssh", cluster.key + "/1", "-c", "cat number; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "1\n")
    shell = cluster.davit("task", "ssh", cluster.key)
    assert shell.returncode == 0  # Standard input is at its end: the shell ends at once.


def test_ssh_there(cluster, sshd, tmp_path):
    done = cluster.davit("task", "ssh", cluster.key + "/1", "--ssh", "--ssh-options",
                         sshd.options(), "--command", "cat number; exit 7", "-p", tmp_path / "pid",
                         check=False)
    assert (done.returncode, done.stdout.replace("\r", "")) == (7, "1\n")
    assert int((tmp_path / "pid").read_text()) > 1
    cluster.davit("task", "ssh", cluster.key, "--ssh", "--ssh-options", sshd.options())
    assert sshd.commands[-1].endswith("/sandbox;bash")
    assert sshd.users[-1] == cluster.key.split("/")[1]


def test_ssh_tunnels(cluster, sshd):
    port = free_port()
    with subprocess.Popen(
            ["davit", "task", "ssh", cluster.key + "/0", "-c", "read line", f"-L{port}:http",
             "--ssh-options", sshd.options()], env=cluster.env, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL) as ssh, killed_late(ssh):
        wait_until("the tunnel", lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        number = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/number"],
                                capture_output=True, text=True, timeout=20, check=True)
        ssh.communicate(b"done\n", timeout=20)
    assert number.stdout == "0\n"


@pytest.mark.parametrize("args, status, said", [
    (["task", "ssh", "{key}", "-c", "true"], 6,
     "INSTANCE must be specified when --command option is given"),
    (["task", "ssh", "{key}/7"], 6, "Job devcluster/"),
    (["task", "ssh", "{key}none"], 6, "not found"),
    (["task", "ssh", "{key}/0", "-L", "http"], 6,
     "Could not parse tunnel: http.  Must be of form PORT:NAME"),
    (["task", "ssh", "{key}/0", "-L", "x:http"], 6, "Must be of form PORT:NAME"),
    (["task", "ssh", "{key}/0", "-L", "8080:admin"], 6, "has no port named admin"),
    (["task", "run", "{key}/7", "true"], 6, "has no live instance of that number"),
    (["task", "scp", "{key}/0:~/x", "y"], 6,
     "Command does not support tilde expansion for path: ~/x"),
    (["task", "scp", "{key}/7:x", "y"], 6, "Job or instance devcluster/"),
    (["task", "scp", "{key}:x", "y"], 2, "name one instance"),
    (["task", "scp", "x"], 2, "too few arguments"),
])
def test_what_is_wrong(cluster, args, status, said):
    done = cluster.davit(*(arg.format(key=cluster.key) for arg in args), check=False)
    assert done.returncode == status and said in done.stderr


@pytest.mark.parametrize("far", [False, True])
def test_scp_both_ways(cluster, sshd, tmp_path, far):
    ssh = ["--ssh", "--scp-options", "-O " + sshd.options()] if far else []
    (tmp_path / "up").write_text("up")
    cluster.davit("task", "scp", tmp_path / "up", f"{cluster.key}/1:given{far}", *ssh)
    cluster.davit("task", "scp", f"{cluster.key}/1:given{far}", f"{cluster.key}/1:number",
                  tmp_path, *ssh)
    assert (tmp_path / f"given{far}").read_text() == "up"
    assert (tmp_path / "number").read_text() == "1\n"
    cluster.davit("task", "scp", f"{cluster.key}/1:/etc/hostname", tmp_path / "absolute", *ssh)
    assert (tmp_path / "absolute").exists()
    gone = cluster.davit("task", "scp", f"{cluster.key}/1:none", tmp_path, *ssh, check=False)
    assert gone.returncode == 1 and "No such file" in gone.stderr
