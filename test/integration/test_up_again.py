# SPDX-License-Identifier: Apache-2.0
"""`davit up` on a directory that an earlier one left in some state, and as root for other users.

Contract: design.md 2; what the life of one cluster is, is test_up.py's.
"""
import json
import os
import socket
import tempfile

import pytest

from cluster import Cluster, USER
from servers import wait_until

JOB = """
jobs = [Job(cluster='devcluster', role=%r, environment='devel', name='one',
            task=Task(name='t', processes=[Process(name='p', cmdline=%r)],
                      resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB), finalization_wait=4))]
"""


@pytest.fixture
def cluster(tmp_path):
    one = Cluster(tmp_path / "up")
    yield one
    one.stop()
    wait_until("nothing of it is left", lambda: one.marked_pids(one.marker) == [], 30)


def make_job(cluster, cmdline, role=USER, state="RUNNING"):
    path = cluster.dir / "one.aurora"
    path.write_text(JOB % (role, cmdline))
    cluster.davit("job", "create", f"devcluster/{role}/devel/one", path)
    cluster.wait_state(f"devcluster/{role}/devel/one", state, 1)


def ports_of(cluster):
    return json.loads((cluster.dir / "up.json").read_text())["ports"]


def test_again_at_once_while_the_killed_one_still_ends_its_pods(cluster):
    """The agent of the first lives until its pod has gone; the second waits for it."""
    cluster.start()
    make_job(cluster, "trap '' TERM; touch trapped; while :; do sleep 1; done")
    wait_until("the trap is set", lambda: list(cluster.dir.glob("nodes/*/pods/*/sandbox/trapped")))
    old, = cluster.pids("davit-agent")
    cluster.process.kill()
    cluster.process.wait()
    assert old in cluster.pids("davit-agent")
    cluster.start()
    assert old not in cluster.pids("davit-agent") and len(cluster.pids("davit-agent")) == 1
    cluster.wait_state(f"devcluster/{USER}/devel/one", "RUNNING", 1)


@pytest.mark.parametrize("service", ["store", "master", "node1"])
def test_a_remembered_port_that_somebody_else_has_now(cluster, service):
    cluster.start()
    before = ports_of(cluster)
    cluster.stop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", before[service]))
        sock.listen()
        cluster.start()
    after = ports_of(cluster)
    assert after.pop(service) != before.pop(service)
    assert after == before  # The others come back where they were.
    cluster.davit("node", "list")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ports": {"store": -7, "master": 999999}}',
                                  '{"ports": {"store": "x", "node1": 4294967297}}'])
def test_an_up_json_that_is_no_use(cluster, text):
    cluster.dir.mkdir()
    (cluster.dir / "up.json").write_text(text)
    cluster.start()
    cluster.davit("node", "list")


def test_what_it_writes_is_private(cluster):
    cluster.start()
    for path in cluster.dir.rglob("*.db*"):
        assert path.stat().st_mode & 0o077 == 0, path
    for name in ("token", "zk-auth", "clusters.json", "up.json", "nodes/node1/hooks.db"):
        assert (cluster.dir / name).stat().st_mode & 0o077 == 0, name


def test_systemd_is_told_once_and_when_the_cluster_is_there(cluster, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        cluster.env["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        cluster.start()
        sock.settimeout(10)
        assert sock.recv(100) == b"READY=1"
        cluster.davit("node", "list")
        cluster.stop()
        sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            sock.recv(100)


@pytest.mark.skipif(os.getuid() != 0, reason="tasks become other users only under root")
def test_root_runs_tasks_of_other_roles(tmp_path):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with Cluster(f"{folder}/up") as cluster:
            make_job(cluster, "id -un; pwd -P", role="nobody", state="FINISHED")
            said = cluster.davit("task", "logs", "devcluster/nobody/devel/one/0").stdout
            assert said.split()[0] == "nobody" and said.rstrip().endswith("/sandbox")
            assert "cannot pass" not in cluster.logs()


@pytest.mark.skipif(os.getuid() != 0, reason="tasks become other users only under root")
def test_root_is_told_when_other_roles_cannot_reach_their_sandboxes():
    with tempfile.TemporaryDirectory() as folder:  # Mode 0700.
        with Cluster(f"{folder}/up") as cluster:
            assert f"other users cannot pass {folder}: " in cluster.logs()
