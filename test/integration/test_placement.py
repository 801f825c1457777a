# SPDX-License-Identifier: Apache-2.0
"""Where tasks go, why some wait, who makes room, and who may use how much.

One cluster of three nodes for the whole file.  Contract: aurora.md 4.2, 4.6, 4.8, ganeti.md 4
(OP_QUOTA_SET).
"""
import collections
import contextlib
import json
import os
import signal
import subprocess
import uuid

import pytest

from cluster import Answer, Cluster, USER
import servers
from servers import build_dir

CONFIG = """
import getpass
role = getpass.getuser()

def job(name, cpu=0.1, instances=1, cmd='exec sleep 1000', **kw):
    return Service(cluster='devcluster', role=kw.pop('role', role), environment='devel', name=name,
                   instances=instances, task=Task(
                       name='t', processes=[Process(name='main', cmdline=cmd)],
                       resources=Resources(cpu=cpu, ram=4*MB, disk=4*MB), finalization_wait=2),
                   **kw)

jobs = [
    job('spread', instances=2),
    job('onehost', instances=4, constraints={'host': 'limit:1'}),
    job('rackb', instances=2, constraints={'rack': 'b'}),
    job('notb', instances=2, constraints={'rack': '!b'}),
    job('rackz', constraints={'rack': 'z'}),
    job('own', instances=2, constraints={'dedicated': role + '/own'}),
    job('others', constraints={'dedicated': 'nobody/own'}),
    job('two', constraints={'dedicated': 'a/b,c/d'}),
    job('large', cpu=100.0),
    job('everyone', cpu=0.1, instances=40),
    job('filler', cpu=3.9, instances=2),
    job('stubborn', cpu=3.9, instances=2, cmd="trap '' TERM; while :; do sleep 0.1; done"),
    job('wanted', cpu=3.0, tier='preferred', constraints={'rack': 'a'}),
    job('prod', cpu=1.0, instances=2, tier='preferred'),
    job('prodown', cpu=1.0, tier='preferred', constraints={'dedicated': role + '/own'}),
]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("placement")
    (directory / "home").mkdir()
    (directory / "home" / "jobs.aurora").write_text(CONFIG)
    options = ["--node-cpus=4", "--node-attribute=node1:rack=a", "--node-attribute=node2:rack=b",
               f"--node-attribute=node3:dedicated=nobody/x,{USER}/own",
               "--master-arg=--preempt-delay-ms=300", "--master-arg=--preempt-every-ms=200"]
    with Cluster(directory / "up", nodes=3, options=options, env={"NO_COLOR": ""}) as one:
        one.home = directory / "home"
        yield one
    assert one.all_pids() == []


@pytest.fixture
def run(cluster):
    def go(*args, check=True):
        done = subprocess.run([build_dir() / "src/cli/davit", *map(str, args)], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=90,
                              cwd=cluster.home, env=cluster.env)
        if check and done.returncode != 0:
            raise AssertionError(f"davit {args}: exit {done.returncode}\n{done.stdout}{done.stderr}\n"
                                 + cluster.logs())
        return done
    return go


@pytest.fixture
def made(cluster, run):
    """made(name, ...) creates a job and kills it when the test is over; its key."""
    keys = []

    def go(name, *options):
        key = cluster.key(name)
        keys.append(key)
        run("job", "create", key, "jobs.aurora", *options)
        return key
    yield go
    for key in keys:
        run("job", "killall", "--no-batching", key, check=False)


def wait_until(condition, seconds):
    servers.wait_until("the placement", condition, seconds)


def tasks(cluster, key):
    return cluster.api("GET", f"/v1/tasks?job={key}&active=true")["items"]


def places(cluster, key):
    return collections.Counter(task.get("node") for task in tasks(cluster, key))


def reasons(cluster, key):
    return {task.get("reason") for task in tasks(cluster, key) if task["state"] == "PENDING"}


def test_instances_spread_over_nodes(cluster, made):
    assert places(cluster, made("spread")) == {"node1": 1, "node2": 1}


def test_a_limit_leaves_the_rest_pending_and_says_so(cluster, made, run):
    key = made("onehost")
    assert places(cluster, key) == {"node1": 1, "node2": 1, None: 2}
    # node3 is dedicated to others, which is farther away than a limit.
    assert reasons(cluster, key) == {"Limit not satisfied: host"}
    assert run("job", "status", key).stdout.count("Limit not satisfied: host") == 2
    assert "Limit not satisfied: host" in run("job", "status", "--json", key).stdout
    # One ends: its place is for the next one of the job, on that host only.
    first = next(t for t in tasks(cluster, key) if t.get("node") == "node2")
    run("job", "kill", f"{key}/{first['instance']}")
    wait_until(lambda: places(cluster, key) == {"node1": 1, "node2": 1, None: 1}, 20)


def test_values_and_negation(cluster, made):
    assert places(cluster, made("rackb")) == {"node2": 2}
    # node3 has no rack and would match, but it is dedicated.
    assert places(cluster, made("notb")) == {"node1": 2}
    key = made("rackz")
    assert reasons(cluster, key) == {"Constraint not satisfied: rack"}


def test_dedicated_nodes(cluster, made, run):
    assert places(cluster, made("own")) == {"node3": 2}
    refused = run("job", "create", cluster.key("others"), "jobs.aurora", check=False)
    assert refused.returncode != 0
    assert "Only nobody may use hosts dedicated for that role." in refused.stderr
    refused = run("job", "create", cluster.key("two"), "jobs.aurora", check=False)
    assert "A dedicated constraint must have exactly one value" in refused.stderr


def test_the_nearest_node_gives_the_reason_and_it_follows(cluster, made, run):
    key = made("large")
    assert reasons(cluster, key) == {"Insufficient: CPU"}
    run("node", "cordon", "node1")
    run("node", "cordon", "node2")
    try:
        wait_until(lambda: reasons(cluster, key) == {"Host cordoned for maintenance"}, 20)
    finally:
        run("node", "uncordon", "node1")
        run("node", "uncordon", "node2")
    wait_until(lambda: reasons(cluster, key) == {"Insufficient: CPU"}, 20)


def test_attributes_changed_by_an_operator_count(cluster, made, run):
    key = made("rackz")
    assert reasons(cluster, key) == {"Constraint not satisfied: rack"}
    run("node", "set", "node1", "--attribute", "rack=z")
    try:
        wait_until(lambda: places(cluster, key) == {"node1": 1}, 20)
    finally:
        run("node", "set", "node1", "--attribute", "rack=a")


def quota(run, role=USER):
    return run("quota", "get", f"devcluster/{role}").stdout


def test_quota(cluster, made, run):
    role = f"devcluster/{USER}"
    key = cluster.key("prod")
    assert quota(run).startswith("Allocated:\n  CPU: 0.0 core(s)\n  RAM: 0 MB\n  Disk: 0 MB\n")
    refused = run("job", "create", key, "jobs.aurora", check=False)
    assert refused.returncode == 4
    assert ("Insufficient resource quota: CPU quota exceeded by 2.00 core(s); RAM quota exceeded by "
            "8.00 MB; disk quota exceeded by 8.00 MB") in refused.stderr
    assert run("quota", "set", role, "1.5", "100m", "1G").stdout == f"Quota of {USER} set.\n"
    refused = run("job", "create", key, "jobs.aurora", check=False)
    assert "Insufficient resource quota: CPU quota exceeded by 0.50 core(s)\n" in refused.stderr
    made("prodown")  # Dedicated: needs none.
    run("quota", "set", role, "--cpu", "2.5")
    made("prod")
    assert quota(run).splitlines() == [
        "Allocated:", "  CPU: 2.5 core(s)", "  RAM: 100 MB", "  Disk: 1024 MB",
        "Production shared pool resources consumed:",
        "  CPU: 2.0 core(s)", "  RAM: 8 MB", "  Disk: 8 MB",
        "Production dedicated pool resources consumed:",
        "  CPU: 1.0 core(s)", "  RAM: 4 MB", "  Disk: 4 MB",
        "Non-production shared pool resources consumed:",
        "  CPU: 0.0 core(s)", "  RAM: 0 MB", "  Disk: 0 MB",
        "Non-production dedicated pool resources consumed:",
        "  CPU: 0.0 core(s)", "  RAM: 0 MB", "  Disk: 0 MB"]
    answer = json.loads(run("quota", "get", "--write-json", role).stdout)
    assert answer["prodSharedConsumption"]["resources"] == [
        {"numCpus": 2.0}, {"ramMb": 8}, {"diskMb": 8}]
    refused = run("quota", "set", role, "--cpu", "1", check=False)
    assert refused.returncode == 10 and "less than current prod reservation" in refused.stderr
    refused = run("job", "add", f"{key}/0", "1", check=False)
    assert refused.returncode != 0
    assert "Insufficient resource quota: CPU quota exceeded by 0.50 core(s)" in refused.stderr
    cluster.stop()
    cluster.start()  # It is in the store.
    assert "CPU: 2.5 core(s)" in quota(run)


def test_quota_of_updates_and_cron_jobs(cluster, made, run):
    run("quota", "set", f"devcluster/{USER}", "2.5", "1G", "1G")
    made("prod")  # 2 cores.
    larger = cluster.home / "larger.aurora"
    larger.write_text(CONFIG.replace("job('prod', cpu=1.0", "job('prod', cpu=1.5").replace(
        "job('large', cpu=100.0)", """Job(cluster='devcluster', role=role, environment='devel',
        name='tick', cron_schedule='0 0 1 1 *', tier='preferred', instances=1, task=Task(name='t',
        processes=[Process(name='main', cmdline='true')],
        resources=Resources(cpu=0.6, ram=1*MB, disk=1*MB)))"""))
    refused = run("update", "start", cluster.key("prod"), larger, check=False)
    assert refused.returncode == 10
    assert "Insufficient resource quota: CPU quota exceeded by 0.50 core(s)" in refused.stderr
    refused = run("cron", "schedule", cluster.key("tick"), larger, check=False)
    assert refused.returncode != 0
    assert "Insufficient resource quota: CPU quota exceeded by 0.10 core(s)" in refused.stderr
    run("quota", "set", f"devcluster/{USER}", "--cpu", "2.6")
    run("cron", "schedule", cluster.key("tick"), larger)
    try:  # It counts though nothing of it runs.
        assert "consumed:\n  CPU: 2.6 core(s)" in quota(run)
    finally:
        run("cron", "deschedule", cluster.key("tick"))
    run("quota", "set", f"devcluster/{USER}", "--cpu", "3")
    run("update", "start", cluster.key("prod"), larger)
    try:  # From its start, though one instance after the other is replaced.
        assert "consumed:\n  CPU: 3.0 core(s)" in quota(run)
    finally:
        run("update", "abort", cluster.key("prod"))


def test_quota_hooks_get_their_variables(cluster, run):
    for phase in ("pre", "post"):
        where = cluster.dir / "hooks" / f"quota-modify-{phase}.d"
        where.mkdir(parents=True, exist_ok=True)
        hook = where / "record"
        hook.write_text(f"#!/bin/sh\nenv > {cluster.dir}/quota-{phase}\n")
        hook.chmod(0o755)
    run("quota", "set", "devcluster/hooked", "1", "10M", "20M")
    run("quota", "set", "devcluster/hooked", "--cpu=2.5", "--ram=1G")
    seen = dict(line.split("=", 1) for line in
                (cluster.dir / "quota-pre").read_text().splitlines() if "=" in line)
    wanted = {"QUOTA_OWNER": "hooked", "OLD_CPU": "1", "OLD_MEMORY": "10", "OLD_DISK": "20",
              "NEW_CPU": "2.5", "NEW_MEMORY": "1024", "NEW_DISK": "20", "OP_TARGET": "hooked",
              "OBJECT_TYPE": "QUOTA", "OP_CODE": "OP_QUOTA_SET"}
    assert {name: seen.get(f"GANETI_{name}") for name in wanted} == wanted
    post = dict(line.split("=", 1) for line in
                (cluster.dir / "quota-post").read_text().splitlines() if "=" in line)
    assert post["GANETI_POST_NEW_CPU"] == "2.5" and post["GANETI_OLD_CPU"] == "1"


@pytest.mark.parametrize("args", [
    ["1", "10", "10M"], ["x", "10M", "10M"], ["1", "10M"], ["-1", "10M", "10M"], [],
    ["1", "10M", "10M", "--cpu=2"], ["--ram=5Q"], ["1", "9999999999T", "1M"],
])
def test_bad_quotas_are_usage_errors(run, args):
    assert run("quota", "set", "devcluster/www", *args, check=False).returncode == 2


@pytest.mark.parametrize("wrong", [
    {"role": "a/b"}, {"role": ""}, {"role": None}, {"cpu": -1}, {"cpu": "1"}, {"ram_bytes": 1e300},
    {"disk_bytes": []}, {"ram_bytes": True},
])
def test_the_api_refuses_bad_quotas(cluster, wrong):
    opcode = {"op": "OP_QUOTA_SET", "role": "bad", "cpu": 1, "ram_bytes": 1, "disk_bytes": 1, **wrong}
    with pytest.raises(Answer) as refused:
        cluster.api("POST", "/v1/operations",
                    {"id": str(uuid.uuid4()), "user": USER, "opcodes": [opcode]})
    assert refused.value.status == 400
    assert cluster.api("GET", "/v1/quota/bad")["set"] is False


@pytest.mark.parametrize("role", ["devcluster", "devcluster/", "/www", "devcluster/a b", "c/r/e"])
def test_bad_roles(run, role):
    assert run("quota", "get", role, check=False).returncode == 2


def test_preemption(cluster, made, run):
    """A preferred task that waits has its way; the victim waits in its stead."""
    run("quota", "set", f"devcluster/{USER}", "100", "10G", "10G")
    filler = made("filler")
    wait_until(lambda: [t["state"] for t in tasks(cluster, filler)] == ["RUNNING"] * 2, 30)
    victim = next(t for t in tasks(cluster, filler) if t.get("node") == "node1")
    stays = next(t for t in tasks(cluster, filler) if t.get("node") == "node2")
    wanted = made("wanted")
    wait_until(lambda: [(t.get("node"), t["state"]) for t in tasks(cluster, wanted)] ==
               [("node1", "RUNNING")], 30)
    gone = cluster.api("GET", f"/v1/tasks/{victim['id']}")
    events = [(e["state"], e.get("message")) for e in gone["events"]]
    favored = tasks(cluster, wanted)[0]["id"]
    assert ("PREEMPTING", f"Preempting in favor of {favored}") in events
    after = {t["instance"]: t for t in tasks(cluster, filler)}
    assert after[stays["instance"]]["id"] == stays["id"]
    assert after[victim["instance"]]["state"] == "PENDING"
    assert after[victim["instance"]]["ancestor"] == victim["id"]
    # Nobody may preempt it in turn, however long the victim waits.
    run("job", "killall", "--no-batching", wanted)
    wait_until(lambda: all(t["state"] == "RUNNING" for t in tasks(cluster, filler)), 30)


def test_preemption_survives_its_master(cluster, made, run):
    """Victims that were asked to go still go when another master leads, and no more of them do."""
    run("quota", "set", f"devcluster/{USER}", "100", "10G", "10G")
    stubborn = made("stubborn")
    wait_until(lambda: [t["state"] for t in tasks(cluster, stubborn)] == ["RUNNING"] * 2, 30)
    before = {t["node"]: t["id"] for t in tasks(cluster, stubborn)}
    wanted = made("wanted")
    wait_until(lambda: "PREEMPTING" in [t["state"] for t in tasks(cluster, stubborn)], 30)
    assert reasons(cluster, wanted) == {"Waiting for preempted tasks to end"}
    (pid,) = cluster.pids("davit-master")
    os.kill(pid, signal.SIGKILL)

    def is_there():
        with contextlib.suppress(Answer, OSError):
            return [(t.get("node"), t["state"]) for t in tasks(cluster, wanted)] == [
                ("node1", "RUNNING")]
    wait_until(is_there, 60)
    after = {t["id"] for t in tasks(cluster, stubborn)}
    assert before["node2"] in after and before["node1"] not in after
