# SPDX-License-Identifier: Apache-2.0
"""Nodes that are cordoned, drained, cut off and that come back, with the real programs.

Contract: contracts/aurora.md 4.1 and 4.9, contracts/ganeti.md section 4, P11.
"""
import contextlib
import json
import os
import signal
import subprocess
import threading

import pytest

from cluster import USER, Answer, Cluster
from servers import build_dir, wait_until

NODES = ("node1", "node2", "node3")

JOBS = """
import getpass
task = Task(name='t', processes=[Process(name='p', cmdline='exec sleep 1000')],
            resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB), finalization_wait=2)
base = Service(cluster='devcluster', role=getpass.getuser(), environment='devel', task=task)
jobs = [
    base(name='many', instances=6),
    base(name='one', instances=1),
    base(name='late', instances=3, partition_policy=PartitionPolicy(delay_secs=3600)),
    base(name='sla', instances=20, tier='preferred',
         sla_policy=PercentageSlaPolicy(percentage=90, duration_secs=0)),
]
"""


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "up", nodes=3, options=["--master-arg=--node-lost-ms=500", "--agent-arg=--zk-timeout-ms=2000"]) as one:
        one.file = tmp_path / "jobs.aurora"
        one.file.write_text(JOBS)
        yield one
        one.stop()
        assert one.all_pids() == []


def make(cluster, name):
    key = cluster.key(name)
    cluster.davit("job", "create", "--wait-until=RUNNING", key, cluster.file)
    return key


def nodes(cluster):
    return {node["name"]: node for node in cluster.patient_api("GET", "/v1/nodes")["items"]}


def homes(cluster, key):
    return [task["node"] for task in cluster.tasks(key, active=True)]


def messages(task):
    return [(event["state"], event.get("message")) for event in task["events"]]


def hook(cluster, event, body):
    folder = cluster.dir / "hooks" / event
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x").write_text("#!/bin/sh\n" + body)
    (folder / "x").chmod(0o755)


def test_a_cordoned_node_takes_nothing_new(cluster):
    cluster.davit("node", "cordon", "node1", "node3", "--reason", "new disk")
    key = make(cluster, "many")
    assert set(homes(cluster, key)) == {"node2"}
    assert {name: node["mode"] for name, node in nodes(cluster).items()} == \
        {"node1": "cordoned", "node2": "active", "node3": "cordoned"}
    listed = cluster.davit("node", "list").stdout
    assert "cordoned" in listed and "host=" in listed
    cluster.davit("node", "uncordon", "node1", "node3")
    other = make(cluster, "late")
    assert set(homes(cluster, other)) != {"node2"}
    assert set(homes(cluster, key)) == {"node2"}  # What runs stays.


def test_drain_moves_everything_and_waits(cluster):
    hook(cluster, "node-modify-pre.d", f'env | grep ^GANETI_ >> {cluster.dir}/modify\n')
    hook(cluster, "node-evacuate-pre.d", f'env | grep ^GANETI_ >> {cluster.dir}/before\n')
    hook(cluster, "node-evacuate-post.d", f'env | grep ^GANETI_ >> {cluster.dir}/after\n')
    key = make(cluster, "many")
    victims = [task for task in cluster.tasks(key, active=True) if task["node"] == "node1"]
    for name in ("node1", "node2"):
        assert homes(cluster, key).count(name) > 0, "the job is spread over all nodes"
    done = cluster.davit("node", "drain", "node1", "node2", "--reason", "moving house")
    assert done.stdout == "node1: drained\nnode2: drained\n"
    cluster.wait_state(key, "RUNNING", 6)
    assert set(homes(cluster, key)) == {"node3"}
    seen = nodes(cluster)
    assert seen["node1"]["mode"] == "drained" and seen["node1"]["tasks"] == 0
    old = cluster.api("GET", f"/v1/tasks/{victims[0]['id']}")
    assert ("DRAINING", "Draining machine for maintenance.") in messages(old)
    new = next(t for t in cluster.tasks(key, active=True) if t.get("ancestor") == old["id"])
    assert messages(new)[0] == ("PENDING", "Rescheduled") and new["instance"] == old["instance"]

    told = (cluster.dir / "modify").read_text()
    for line in ("NODE_NAME=node1", "DRAINED=True", "OFFLINE=None", "REASON=moving house",
                 "OP_TARGET=node2", "OBJECT_TYPE=NODE", "OP_CODE=OP_NODE_SET_PARAMS"):
        assert f"GANETI_{line}\n" in told, told
    before = (cluster.dir / "before").read_text()
    assert "GANETI_EVAC_TIMEOUT=604800\n" in before
    assert f"{key}/{old['instance']}" in before
    assert "GANETI_POST_INSTANCES=\n" in (cluster.dir / "after").read_text()

    shown = cluster.davit("node", "show", "node1").stdout
    assert "drained" in shown and "kill ladder" in shown and "moving house" in shown
    rung = json.loads(cluster.davit("node", "show", "node1", "--json").stdout)["agent"]["rung"]
    assert rung in ("cgroup2", "cgroup1", "pidns", "sweep")
    cluster.davit("node", "undrain", "node1", "node2")
    assert {node["mode"] for node in nodes(cluster).values()} == {"active"}
    assert "GANETI_DRAINED=False\n" in (cluster.dir / "modify").read_text()


def test_a_hook_that_refuses_leaves_everything_where_it_is(cluster):
    hook(cluster, "node-evacuate-pre.d", "echo not today >&2; exit 1\n")
    key = make(cluster, "many")
    before = sorted(task["id"] for task in cluster.tasks(key, active=True))
    done = cluster.davit("node", "drain", "node1", check=False)
    assert done.returncode == 12 and "not today" in done.stderr, done.stderr
    assert sorted(task["id"] for task in cluster.tasks(key, active=True)) == before
    assert nodes(cluster)["node1"]["mode"] == "cordoned"
    assert cluster.davit("node", "drain", "none", check=False).returncode == 14
    assert cluster.davit("node", "show", "none", check=False).returncode == 14
    for bad in (["--percentage", "101"], ["--duration", "3h"], ["--deadline", "soon"], ["node1"]):
        assert cluster.davit("node", "drain", "node1", *bad, check=False).returncode == 2, bad


def quota(cluster):
    cluster.davit("quota", "set", f"devcluster/{USER}", "100", "100GB", "100GB")


class Watch(threading.Thread):
    """How many instances run, at each change of the state."""

    def __init__(self, cluster, key):
        super().__init__(daemon=True)
        self.cluster, self.key = cluster, key
        self.counts, self.over = [], False

    def run(self):
        revision = 0
        while not self.over:
            with contextlib.suppress(OSError, Answer):
                answer = self.cluster.api(
                    "GET", f"/v1/tasks?job={self.key}&active=true&limit=1000&since={revision}&wait=200")
                revision = answer["revision"]
                self.counts.append(sum(t["state"] == "RUNNING" for t in answer["items"]))


def test_the_sla_is_kept_and_a_drain_survives_its_master(cluster):
    quota(cluster)
    key = make(cluster, "sla")
    watch = Watch(cluster, key)
    watch.start()
    assert homes(cluster, key).count("node1") >= 3
    cluster.davit("node", "drain", "node1", "--no-wait")
    pid, = cluster.pids("davit-master")
    os.kill(pid, signal.SIGKILL)
    wait_until("drained by the next master", lambda: nodes(cluster)["node1"]["mode"] == "drained", 60)
    cluster.wait_state(key, "RUNNING", 20)
    watch.over = True
    watch.join(10)
    print(f"{len(watch.counts)} looks, at least {min(watch.counts)} of 20 running")
    assert min(watch.counts) >= 18, watch.counts
    assert "node1" not in homes(cluster, key)


def test_what_the_sla_holds_back_goes_at_the_deadline(cluster):
    quota(cluster)
    key = make(cluster, "sla")
    # Two elsewhere that never run again: nothing on node1 may go.
    for pid in [*cluster.pids("davit-agent", "--node=node2"), *cluster.pids("davit-agent", "--node=node3")]:
        os.kill(pid, signal.SIGSTOP)
    stopped = [*cluster.pids("davit-agent", "--node=node2"), *cluster.pids("davit-agent", "--node=node3")]
    try:
        there = homes(cluster, key).count("node1")
        assert there > 2
        drain = subprocess.Popen([build_dir() / "src/cli/davit", "node", "drain", "node1",
                                  "--deadline", "5s"], env=cluster.env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until("the SLA holds some back",
                   lambda: (nodes(cluster)["node1"]["drain"] or {}).get("waiting_for_sla"), 10)
        held = nodes(cluster)["node1"]
        assert held["mode"] == "draining" and held["tasks"] >= there - 2
        out, err = drain.communicate(timeout=40)
        assert drain.returncode == 0, err
        assert nodes(cluster)["node1"]["tasks"] == 0
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def agent_pid(cluster, name):
    pid, = cluster.pids("davit-agent", f"--node={name}")
    return pid


def test_a_node_that_is_cut_off_loses_its_tasks_and_kills_them_when_it_returns(cluster):
    key = make(cluster, "one")
    task, = cluster.tasks(key, active=True)
    home = task["node"]
    pid = agent_pid(cluster, home)
    old_pids = [p for p in cluster.task_pids() if p not in cluster.pids("davit-pod")]
    assert old_pids
    os.kill(pid, signal.SIGSTOP)
    try:
        new = wait_until("it runs elsewhere", lambda: [
            t for t in cluster.tasks(key, active=True)
            if t["id"] != task["id"] and t["state"] == "RUNNING"], 60)
        assert new[0]["node"] != home and new[0].get("ancestor") == task["id"]
        seen = messages(cluster.api("GET", f"/v1/tasks/{task['id']}"))
        assert seen[-2:] == [("PARTITIONED", f"Node {home} cannot be reached."),
                             ("LOST", "Task partitioned for too long.")]
        assert nodes(cluster)[home]["lost"] is True
        assert all(os.path.exists(f"/proc/{p}") for p in old_pids)  # The stray runs on.
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("the node is back", lambda: nodes(cluster)[home]["alive"], 30)
    wait_until("the stray is gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in old_pids), 30)
    assert [t["id"] for t in cluster.tasks(key, active=True)] == [new[0]["id"]]


def test_a_node_that_returns_within_the_partition_delay_keeps_its_tasks(cluster):
    key = make(cluster, "late")
    before = {t["id"]: t["node"] for t in cluster.tasks(key, active=True)}
    home = sorted(before.values())[0]
    pid = agent_pid(cluster, home)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until("PARTITIONED", lambda: {t["node"] for t in cluster.tasks(key)
                                           if t["state"] == "PARTITIONED"} == {home}, 60)
    finally:
        os.kill(pid, signal.SIGCONT)
    cluster.wait_state(key, "RUNNING", 3)
    assert {t["id"]: t["node"] for t in cluster.tasks(key, active=True)} == before
    task = next(t for t in cluster.tasks(key) if t["node"] == home)
    assert [event["state"] for event in task["events"]][-2:] == ["PARTITIONED", "RUNNING"]


def test_an_agent_that_is_only_restarted_leaves_no_trace(cluster):
    key = make(cluster, "many")
    before = {t["id"]: t["events"] for t in cluster.tasks(key, active=True)}
    old = agent_pid(cluster, "node1")
    os.kill(old, signal.SIGKILL)
    wait_until("another agent", lambda: [p for p in cluster.pids("davit-agent", "--node=node1")
                                         if p != old], 20)
    wait_until("it is alive", lambda: nodes(cluster)["node1"]["alive"], 20)
    assert {t["id"]: t["events"] for t in cluster.tasks(key, active=True)} == before


def test_attributes_of_the_operator_count_over_the_agents(cluster):
    cluster.davit("node", "set", "node1", "--attribute", "rack=a", "--attribute", "host=other")
    node = cluster.api("GET", "/v1/nodes/node1")
    assert node["attributes"] == {"rack": "a", "host": "other"} == node["own_attributes"]
    pid, = cluster.pids("davit-master")
    os.kill(pid, signal.SIGKILL)
    wait_until("kept", lambda: nodes(cluster)["node1"]["attributes"].get("rack") == "a", 20)
    cluster.davit("node", "set", "node1", "--remove-attribute", "host")
    node = cluster.api("GET", "/v1/nodes/node1")
    assert node["attributes"]["host"] != "other" and node["attributes"]["rack"] == "a"
