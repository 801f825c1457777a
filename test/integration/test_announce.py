# SPDX-License-Identifier: Apache-2.0
"""ServerSet members of running tasks, read back with kazoo: from davit-store and Apache ZooKeeper.

A real davit-agent and real davit-pods; this test plays the master.
"""
import json
import os
import signal
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import make_acl

import servers
from servers import wait_until
from test_agent import SLEEP, Node

FOLDER = "/aurora/root/devel/hello"
ANNOUNCE = ("    announce: {primary_port: http, portmap: {aurora: http}}\n")


@pytest.fixture(scope="module", params=["davit", "apache"])
def store(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "davit":
        with servers.davit_store(directory) as server:
            yield server
    else:
        if servers.missing_zookeeper():
            pytest.skip(servers.missing_zookeeper())
        with servers.zookeeper_server(directory) as server:
            yield server


@pytest.fixture
def zk(store):
    client = KazooClient(hosts=store.address)
    client.start()
    if client.exists("/aurora"):
        client.delete("/aurora", recursive=True)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def make_node(tmp_path, store, zk):
    nodes = []

    def make(**options):
        nodes.append(Node(tmp_path, store, zk, **options))
        return nodes[-1]

    yield make
    for one in nodes:
        one.clean_up()


def launch(node, *processes, announce=ANNOUNCE, instance=0, **more):
    pod = node.pod()
    text = node.manifest(pod, processes or (SLEEP,), extra=announce, **more)
    node.intend(pod, text.replace("instance: 0", f"instance: {instance}"))
    return pod


def ask_stop(node, pod, *processes, announce=ANNOUNCE):
    node.intend(pod, node.manifest(pod, processes or (SLEEP,), desired="stopped", extra=announce))


def names(zk, folder=FOLDER):
    try:
        return sorted(zk.get_children(folder))
    except NoNodeError:
        return []


def members(zk, folder=FOLDER):
    found = {}
    for name in names(zk, folder):
        try:
            data, stat = zk.get(f"{folder}/{name}")
        except NoNodeError:
            continue
        found[name] = (json.loads(data), stat)
    return found


def wait_members(zk, count, folder=FOLDER, seconds=20):
    try:
        return wait_until(f"{count} members",
                          lambda: len(members(zk, folder)) == count and (members(zk, folder) or True),
                          seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}: {members(zk, folder)}") from None


def wait_names(node, what, condition, folder=FOLDER):
    """Until the names of the members are as wanted."""
    try:
        wait_until(what, lambda: condition(names(node.zk, folder)), 30)
    except AssertionError as e:
        raise AssertionError(f"{e}: {members(node.zk, folder)}\n{node.log()[-4000:]}") from None


def endpoint(port, host="here"):
    return {"host": host, "port": port}


def test_a_member_is_there_while_the_task_runs(make_node, zk):
    node = make_node().start()
    pod = launch(node, instance=3)
    (name, (doc, stat)), = wait_members(zk, 1).items()
    # The master puts the aliases into the ports: test_cluster.py.
    assert doc == {"serviceEndpoint": endpoint(31004), "status": "ALIVE", "shard": 3,
                   "additionalEndpoints": {"http": endpoint(31004)}}
    assert name.startswith("member_") and len(name) == len("member_") + 10 and name[7:].isdigit()
    assert stat.ephemeralOwner != 0
    node.wait_state(pod, "running")
    assert node.get(f"/v1/pods/{pod}")[1]["announced"] == f"{FOLDER}/{name}"
    ask_stop(node, pod)
    node.wait_state(pod, "killed")
    assert members(zk) == {}
    assert not (node.pod_root / pod / "announced").exists()
    node.drop(pod)
    node.wait_forgotten(pod)


def test_one_that_ends_by_itself_is_taken_out(make_node, zk):
    node = make_node().start()
    gate = node.dir / "gate"
    os.mkfifo(gate)
    pod = launch(node, ("main", f"cat {gate}", ""))
    wait_members(zk, 1)
    gate.write_text("")
    node.wait_state(pod, "finished")
    wait_members(zk, 0)


def test_unannounced_tasks_have_no_member(make_node, zk):
    node = make_node().start()
    pod = launch(node, announce="")
    node.wait_state(pod, "running")
    other = launch(node)
    wait_members(zk, 1)
    assert "announced" not in node.get(f"/v1/pods/{pod}")[1]
    node.wait_state(other, "running")
    assert len(members(zk)) == 1


def test_the_member_is_out_before_the_process_hears_term(make_node, zk, store):
    node = make_node().start()
    seen = node.dir / "seen"
    look = (f"/usr/bin/python3 -c 'from kazoo.client import KazooClient as K; z = K(\"{store.address}\");"
            f" z.start(); print(z.get_children(\"{FOLDER}\")); z.stop()' > {seen}.new;"
            f" mv {seen}.new {seen}; exit 0")
    script = node.dir / "task.sh"
    script.write_text(f"trap '{look.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}' TERM\n"
                      f"touch {node.dir}/ready\nwhile :; do sleep 0.05; done\n")
    task = ("main", f"exec /bin/bash {script}", "")
    pod = launch(node, task, wait_s=20)
    wait_members(zk, 1)
    wait_until("the task runs", lambda: (node.dir / "ready").exists())
    ask_stop(node, pod, task)
    node.wait_state(pod, "finished", "killed", seconds=30)
    assert seen.read_text() == "[]\n"


def test_the_process_hears_term_late_when_the_member_cannot_be_taken_out(make_node, zk):
    node = make_node().start()
    pod = launch(node)
    name, = wait_members(zk, 1)
    zk.set_acls(FOLDER, [make_acl("world", "anyone", read=True, create=True, admin=True)])
    try:
        begin = time.monotonic()
        ask_stop(node, pod)
        node.wait_state(pod, "killed")
        assert 1.9 < time.monotonic() - begin < 10  # It had waited for the member, but not for ever.
        assert names(zk) == [name]
    finally:
        zk.set_acls(FOLDER, [make_acl("world", "anyone", all=True)])
    wait_members(zk, 0)  # It goes on trying.


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restarted_agent_takes_its_member_over(make_node, zk, how):
    node = make_node(options=["--zk-timeout-ms", "4000"]).start()
    pod = launch(node)
    old, = wait_members(zk, 1)
    seen = set()

    @zk.ChildrenWatch(FOLDER)
    def _(children):
        seen.add(len(children))

    node.kill() if how == "kill" else node.stop()
    assert names(zk) == [old]  # The pod runs on, and is announced.
    node.start()
    wait_names(node, "another member", lambda now: len(now) == 1 and now != [old])
    new, = names(zk)
    session = node.get("/v1/status")[1]["store_session"]
    wait_until("it is the new agent's",
               lambda: node.get(f"/v1/pods/{pod}")[1].get("announced") == f"{FOLDER}/{new}")
    assert zk.exists(f"{FOLDER}/{new}").ephemeralOwner == session
    assert seen == {1}  # Neither none nor two at any time.


def test_without_its_note_the_old_member_is_found(make_node, zk):
    node = make_node().start()
    pod = launch(node)
    old, = wait_members(zk, 1)
    note = node.pod_root / pod / "announced"
    wait_until("it is noted", note.exists)
    node.kill()
    note.unlink()
    # Somebody else's member stays.
    zk.create(f"{FOLDER}/member_", b'{"shard":9}', ephemeral=True, sequence=True)
    node.start()
    wait_names(node, "taken over", lambda now: old not in now and len(now) == 2)


def test_a_task_that_is_to_end_when_the_agent_comes_back_is_taken_out_first(make_node, zk):
    node = make_node().start()
    pod = launch(node)
    wait_members(zk, 1)
    node.kill()
    ask_stop(node, pod)
    node.start()
    node.wait_state(pod, "killed")
    assert members(zk) == {}


def test_after_an_expired_session_it_is_back(make_node, zk):
    node = make_node().start()
    launch(node)
    old, = wait_members(zk, 1)
    os.kill(node.process.pid, signal.SIGSTOP)
    wait_members(zk, 0)
    os.kill(node.process.pid, signal.SIGCONT)
    new, = wait_members(zk, 1)
    assert new != old
    assert len(members(zk)) == 1


def test_a_removed_member_is_made_again(make_node, zk):
    node = make_node().start()
    launch(node)
    old, = wait_members(zk, 1)
    zk.delete(f"{FOLDER}/{old}")
    wait_names(node, "made again", lambda now: now and now != [old])


def test_ends_while_the_store_is_away(make_node, tmp_path):
    with servers.davit_store(tmp_path / "own") as store:
        client = KazooClient(hosts=store.address)
        client.start()
        node = Node(tmp_path, store, client, options=["--stop-pods-on-exit"])
        try:
            node.start()
            pod = launch(node)
            wait_members(client, 1)
            pid = node.pod_pid(pod)
            store.kill()
            assert node.stop(30) == 0
            wait_until("no pod is left", lambda: not os.path.exists(f"/proc/{pid}"))
        finally:
            node.clean_up()
            client.stop()
            client.close()


def test_custom_root_host_and_path(make_node, zk):
    announce = ("    announce: {primary_port: http, zk_path: /services/x, portmap: {aurora: http}}\n")
    node = make_node(options=["--announcer-root", "/sd/all", "--announcer-hostname",
                              "h.example"]).start()
    launch(node, announce=announce)
    (doc, _), = wait_members(zk, 1, "/sd/all/root/devel/hello").values()
    assert doc["serviceEndpoint"] == endpoint(31004, "h.example")
    assert "not allowed on this node" in node.log()
    allowed = make_node(options=["--announcer-allow-custom-path"]).start()
    launch(allowed, announce=announce)
    wait_members(zk, 1, "/services/x")
    assert names(zk) == []


@pytest.mark.parametrize("path", ["/davit/jobs/x", "/davit", "/zookeeper/x", "/services/../davit/x"])
def test_a_job_cannot_be_announced_between_the_nodes_of_others(make_node, zk, path):
    node = make_node(options=["--announcer-allow-custom-path"]).start()
    launch(node, announce=f"    announce: {{primary_port: http, zk_path: {path}}}\n")
    wait_members(zk, 1)
    assert "not used" in node.log()
    assert not zk.exists("/davit/jobs/x")


def test_everybody_may_read_and_nobody_else_write(make_node, zk, tmp_path):
    auth = tmp_path / "auth"
    auth.write_text("davit:secret\n")
    auth.chmod(0o600)
    for path in ("/davit/nodes", "/davit/reality"):
        zk.ensure_path(path)
    node = make_node(options=["--zk-auth-file", str(auth), "--announcer-root", "/closed"]).start()
    launch(node)
    name, = wait_members(zk, 1, "/closed/root/devel/hello")
    for path in ("/closed", "/closed/root", "/closed/root/devel/hello",
                 f"/closed/root/devel/hello/{name}"):
        acls, _ = zk.get_acls(path)
        assert {(acl.id.scheme, acl.id.id.split(":")[0], acl.perms) for acl in acls} == {
            ("world", "anyone", 1), ("digest", "davit", 31)}
    node.kill()
    cleaner = KazooClient(hosts=node.store.address, auth_data=[("digest", "davit:secret")])
    cleaner.start()
    cleaner.delete("/closed", recursive=True)
    cleaner.stop()
    cleaner.close()
