# SPDX-License-Identifier: Apache-2.0
"""`davit up` and `davit down`: the life of a whole cluster on one machine.

Contract: design.md 2, issue's "davit up" paragraph, P10 and P11.
"""
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from cluster import Cluster, USER
from servers import build_dir, free_port, missing_zookeeper, wait_until, zookeeper_server

JOBS = """
import getpass
jobs = [Service(cluster='devcluster', role=getpass.getuser(), environment='devel', name='sleep',
                instances=2, task=Task(name='t', processes=[
                    Process(name='p', cmdline='echo started; exec sleep 1000')],
                    resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB), finalization_wait=2))]
"""


def davit(*args, env, timeout=60, **kw):
    return subprocess.run([build_dir() / "src/cli/davit", *map(str, args)], env=env, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, **kw)


@pytest.fixture
def cluster(tmp_path):
    """Not started; whatever was started is stopped, and nothing of it may be left."""
    (tmp_path / "jobs.aurora").write_text(JOBS)
    one = Cluster(tmp_path / "up")
    one.file = tmp_path / "jobs.aurora"
    yield one
    one.stop()
    davit("down", "--dir", one.dir, env=one.env)
    assert one.all_pids() == []


def one_line(done, status, *said):
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "", done.stdout + done.stderr
    for words in said:
        assert words in done.stderr, done.stderr


def task_pids(cluster):
    """The `sleep`s of the job, which hold on to their sandboxes; not davit-pod."""
    return sorted(p for p in cluster.task_pids() if p not in cluster.pids("davit-pod"))


def make_job(cluster):
    key = cluster.key("sleep")
    cluster.davit("job", "create", "--wait-until=RUNNING", key, cluster.file)
    return key


def test_nodes_have_attributes_and_programs_further_options(cluster):
    done = davit("up", "--detach", "--dir", cluster.dir, "--nodes", 2, "--node-attribute", "zone=z",
                 "--node-attribute", "node2:rack=b:1", "--agent-arg=--attribute=disk=ssd",
                 "--master-arg=--node-lost-ms=4321", env=cluster.env)
    assert done.returncode == 0, done.stderr + cluster.logs()
    nodes = {node["name"]: node["attributes"] for node in cluster.api("GET", "/v1/nodes")["items"]}
    assert all(nodes[name]["zone"] == "z" and nodes[name]["disk"] == "ssd" for name in nodes)
    assert nodes["node2"]["rack"] == "b:1" and "rack" not in nodes["node1"]
    assert len(cluster.pids("davit-master", "--node-lost-ms=4321")) == 1
    for bad in ("rack", "node1:rack", "=x", "node1:=x"):
        refused = davit("up", "--dir", cluster.dir / "x", "--node-attribute", bad, env=cluster.env)
        assert refused.returncode == 2 and "expected [NODE:]NAME=VALUE" in refused.stderr


def test_detach_and_down(cluster):
    started = time.monotonic()
    done = davit("up", "--detach", "--dir", cluster.dir, "--nodes", 3, env=cluster.env)
    took = time.monotonic() - started
    print(f"three nodes ready after {took * 1000:.0f} ms")
    assert done.returncode == 0 and done.stderr == "", done.stderr + cluster.logs()
    assert done.stdout == (f"devcluster runs in the background, state in {cluster.dir}; stop it with: "
                           f"davit down --dir {cluster.dir}\n")
    key = make_job(cluster)
    assert len(cluster.pids("davit-agent")) == 3
    listed, = json.loads((cluster.dir / "clusters.json").read_text())
    assert listed["name"] == "devcluster" and listed["scheduler_uri"].startswith("http://127.0.0.1:")
    assert listed["socket"] == str(cluster.dir / "master/api.sock")
    for secret in ("token", "zk-auth", "clusters.json"):
        assert stat.S_IMODE((cluster.dir / secret).stat().st_mode) == 0o600, secret
    assert len(cluster.tasks(key, active=True)) == 2
    done = davit("down", "--dir", cluster.dir, env=cluster.env)
    assert (done.returncode, done.stdout) == (0, f"stopped the cluster in {cluster.dir}\n")
    assert cluster.all_pids() == []
    done = davit("down", "--json", "--dir", cluster.dir, env=cluster.env)
    assert json.loads(done.stdout) == {"dir": str(cluster.dir), "stopped": False}


def test_ready_well_under_a_second(cluster):
    """The median of five starts, so that one slow moment of the machine does not decide."""
    times = []
    for _ in range(5):
        started = time.monotonic()
        cluster.start()
        times.append(time.monotonic() - started)
        cluster.stop()
    print("ready after " + ", ".join(f"{t * 1000:.0f}" for t in times) + " ms")
    assert sorted(times)[2] < 1


def test_ctrl_c_stops_everything_and_it_resumes(cluster):
    cluster.start()
    said = (cluster.dir / "up.out").read_text()
    assert "devcluster is up: http://127.0.0.1:" in said
    assert f"export AURORA_CONFIG_ROOT={cluster.dir}" in said and "davit job create" in said
    key = make_job(cluster)
    first = {t["id"] for t in cluster.tasks(key)}
    uri = json.loads((cluster.dir / "clusters.json").read_text())[0]["scheduler_uri"]
    process = cluster.process
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert cluster.all_pids() == []
    cluster.start()
    assert json.loads((cluster.dir / "clusters.json").read_text())[0]["scheduler_uri"] == uri
    tasks = cluster.wait_state(key, "RUNNING", 2)
    assert {t["id"] for t in tasks}.isdisjoint(first)
    assert {t["state"] for t in cluster.tasks(key, active=False)} == {"LOST"}
    assert {t["ancestor"] for t in tasks} == first


def test_a_killed_up_leaves_nothing(cluster):
    """kill -9: the programs end with their parent; pods are ended by the next start."""
    cluster.start()
    make_job(cluster)
    cluster.process.kill()
    cluster.process.wait()
    wait_until("the programs end", lambda: not (cluster.pids("davit-store") or cluster.pids(
        "davit-master") or cluster.pids("davit-agent")), 30)
    cluster.process = None
    cluster.start()
    cluster.wait_state(cluster.key("sleep"), "RUNNING", 2)
    wait_until("two tasks", lambda: len(task_pids(cluster)) == 2)


@pytest.mark.parametrize("program", ["davit-store", "davit-master", "davit-agent"])
def test_a_dead_child_is_restarted(cluster, program):
    """P10: and no running instance is restarted by it."""
    cluster.start()
    key = make_job(cluster)
    pids = wait_until("both run", lambda: len(found := task_pids(cluster)) == 2 and found)
    old, = cluster.pids(program)
    os.kill(old, signal.SIGKILL)
    wait_until(f"another {program}", lambda: [p for p in cluster.pids(program) if p != old], 30)
    cluster.patient_api("GET", "/v1/status")
    wait_until("the node is alive", lambda: all(
        n["alive"] for n in cluster.patient_api("GET", "/v1/nodes")["items"]), 30)
    assert task_pids(cluster) == pids
    assert [t["state"] for t in cluster.tasks(key)] == ["RUNNING"] * 2
    cluster.davit("job", "killall", "--no-batching", key)


def test_a_second_one_on_the_same_directory(cluster):
    cluster.start()
    for options in ([], ["--detach"]):
        done = davit("up", "--dir", cluster.dir, *options, env=cluster.env)
        one_line(done, 13, f"a cluster already runs in {cluster.dir}",
                 f"davit down --dir {cluster.dir}")
    cluster.davit("node", "list")


def test_a_taken_port(cluster):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        for options in ([], ["--detach"]):
            done = davit("up", "--dir", cluster.dir, "--port", port, *options, env=cluster.env)
            one_line(done, 4, "master did not start", str(port))
    assert cluster.all_pids() == []


def test_a_port_and_a_name(tmp_path, cluster):
    port = free_port()
    cluster.options = ["--port", str(port), "--cluster", "elsewhere"]
    cluster.start()
    listed, = json.loads((cluster.dir / "clusters.json").read_text())
    assert listed["name"] == "elsewhere" and listed["scheduler_uri"] == f"http://127.0.0.1:{port}"
    assert cluster.davit("job", "list", "elsewhere").stdout == ""
    cluster.file.write_text(JOBS.replace("devcluster", "elsewhere"))
    cluster.davit("job", "create", f"elsewhere/{USER}/devel/sleep", cluster.file)
    assert cluster.davit("job", "list", "elsewhere").stdout == f"elsewhere/{USER}/devel/sleep\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become nobody")
def test_an_unwritable_directory(cluster):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        programs = tempfile.mkdtemp(dir=folder)  # nobody may not look into this tree
        for name in ("store", "master", "agent", "op", "pod"):
            shutil.copy(build_dir() / "src" / name / f"davit-{name}", programs)
        shutil.copy(build_dir() / "src/cli/davit", programs)
        os.chmod(programs, 0o755)
        for options in ([], ["--detach"]):
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                 f"{programs}/davit", "up", "--dir", f"{folder}/mine", *options],
                capture_output=True, text=True, timeout=30, cwd="/", env=cluster.env)
            one_line(done, 30, f"{folder}/mine", "Permission denied")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become nobody")
def test_without_root(cluster):
    """Tasks run as the caller; nothing outside the directory is touched."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        tree = os.path.join(folder, "tree")
        for part in ("python",):
            shutil.copytree(build_dir().parent / part, os.path.join(tree, part))
        for name in ("store", "master", "agent", "op", "pod"):
            os.makedirs(f"{tree}/bin", exist_ok=True)
            shutil.copy(build_dir() / "src" / name / f"davit-{name}", f"{tree}/bin")
        shutil.copy(build_dir() / "src/cli/davit", f"{tree}/bin")
        home = f"{folder}/home"
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        subprocess.run(["chmod", "-R", "a+rX", tree], check=True)
        (jobs := cluster.file.parent / "nobody.aurora").write_text(
            JOBS.replace("getpass.getuser()", "'nobody'").replace("echo started", "id -un"))
        shutil.copy(jobs, f"{folder}/jobs.aurora")
        os.chmod(f"{folder}/jobs.aurora", 0o644)
        env = {**cluster.env, "HOME": home, "DAVIT_PYTHONPATH": f"{tree}/python",
               "AURORA_CONFIG_ROOT": home, "XDG_STATE_HOME": ""}

        def run(*args):
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                 f"{tree}/bin/davit", *args], capture_output=True, text=True, timeout=60, cwd="/",
                env=env, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout
        where = ["--dir", f"{home}/up"]
        env["AURORA_CONFIG_ROOT"] = f"{home}/up"
        run("up", "--detach", *where)
        try:
            key = "devcluster/nobody/devel/sleep"
            run("job", "create", "--wait-until=RUNNING", key, f"{folder}/jobs.aurora")
            assert wait_until("it wrote", lambda: run("task", "logs", f"{key}/0")) == "nobody\n"
        finally:
            run("down", *where)
        assert cluster.all_pids() == []


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to run tasks as others")
def test_tasks_of_other_users(cluster):
    """Below directories that are closed to them, as root's home is."""
    os.chmod(cluster.file.parent, 0o700)
    cluster.start()
    key = "devcluster/nobody/devel/sleep"
    cluster.file.write_text(JOBS.replace("getpass.getuser()", "'nobody'").replace(
        "echo started", "touch mine && id -un; ls -d mine"))
    cluster.davit("job", "create", "--wait-until=RUNNING", key, cluster.file)
    wait_until("it wrote", lambda: cluster.davit("task", "logs", f"{key}/0").stdout == "nobody\nmine\n")
    assert stat.S_IMODE(cluster.dir.stat().st_mode) == 0o711
    for path in cluster.dir.iterdir():
        assert path.name == "nodes" or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or \
            path.name == "up.out", path
    assert stat.S_IMODE((cluster.dir / "nodes/node1/hooks.db").stat().st_mode) == 0o600


@pytest.mark.skipif(missing_zookeeper() != "", reason=missing_zookeeper() or "-")
def test_with_a_real_zookeeper(cluster, tmp_path):
    """Leaving one machine is a change of address: the same cluster, the same job."""
    with zookeeper_server(tmp_path / "zk", tick_ms=2000) as server:
        cluster.options = ["--zk", server.address + "/here"]
        cluster.start()
        assert cluster.pids("davit-store") == []
        key = make_job(cluster)
        wait_until("it wrote", lambda: cluster.davit("task", "logs", f"{key}/1").stdout == "started\n")
        cluster.davit("job", "killall", "--no-batching", key)
        assert {t["state"] for t in cluster.tasks(key)} == {"KILLED"}
        cluster.stop()


def test_nobody_answers_at_zk(cluster):
    port = free_port()
    done = davit("up", "--dir", cluster.dir, "--zk", f"127.0.0.1:{port}", "--wait=2", env=cluster.env, timeout=90)
    one_line(done, 4, f"is not ready after 2 s: does ZooKeeper answer at 127.0.0.1:{port}; its log is ")
