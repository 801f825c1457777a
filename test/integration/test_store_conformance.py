# SPDX-License-Identifier: Apache-2.0
"""One suite for two servers: davit-store, and a real ZooKeeper 3.8.

Every test below takes `server` and runs on both, with the same assertions,
through kazoo, through libzookeeper (zk_conformance.c) or by raw frames.
What davit-store refuses by design is in test_store.py.
"""
import queue
import re
import socket
import struct
import subprocess
import threading

import pytest
from kazoo import exceptions as ke
from kazoo.client import KazooClient, KazooState
from kazoo.security import ACL, Id, OPEN_ACL_UNSAFE, make_acl, make_digest_acl
from kazoo.security import make_digest_acl_credential

import rawzk
import servers
from rawzk import Raw, create_body, path_int, path_watch, text
from servers import wait_until

SESSION_S = 4.0


@pytest.fixture(scope="module", params=["davit-store", "zookeeper"])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    if request.param == "zookeeper":
        if servers.missing_zookeeper():
            pytest.skip(servers.missing_zookeeper())
        make = servers.zookeeper_server
    else:
        make = servers.davit_store
    with make(directory) as running:
        yield running


def connect(server, **options):
    client = KazooClient(server.address, timeout=SESSION_S, **options)
    client.start(timeout=10)
    return client


@pytest.fixture
def clients(server):
    """Makes clients that are gone after the test."""
    made = []

    def make(**options):
        made.append(connect(server, **options))
        return made[-1]

    yield make
    for client in made:
        client.stop()
        client.close()


@pytest.fixture
def zk(clients):
    return clients()


@pytest.fixture
def root(zk, request):
    """A node of the test's own."""
    name = "/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    zk.create(name)
    return name


@pytest.fixture
def raw(server):
    with Raw(server.port) as connection:
        yield connection


class Events(queue.Queue):
    """A watcher that remembers."""

    def __call__(self, event):
        self.put((event.type, event.path))

    def next(self):
        return self.get(timeout=10)

    def none(self, zk):
        """Nothing has come, though the server has answered since."""
        zk.exists("/")
        return self.empty()


# ---- create ---------------------------------------------------------------

def test_create_gives_back_the_path(zk, root):
    assert zk.create(root + "/a", b"data") == root + "/a"
    assert zk.get(root + "/a")[0] == b"data"


def test_create_fills_the_stat(zk, root):
    path, stat = zk.create(root + "/a", b"12345", include_data=True)
    assert path == root + "/a"
    assert (stat.version, stat.cversion, stat.aversion) == (0, 0, 0)
    assert stat.czxid == stat.mzxid == stat.pzxid > 0
    assert stat.ctime == stat.mtime > 0
    assert (stat.ephemeralOwner, stat.dataLength, stat.numChildren) == (0, 5, 0)
    assert zk.exists(root + "/a") == stat


def test_create_counts_in_the_parent(zk, root):
    zk.create(root + "/a")
    zk.create(root + "/b")
    zk.delete(root + "/a")
    stat = zk.exists(root)
    assert (stat.cversion, stat.numChildren, stat.version) == (3, 1, 0)
    assert stat.pzxid > stat.czxid == stat.mzxid


def test_create_twice_is_refused(zk, root):
    zk.create(root + "/a", b"first")
    with pytest.raises(ke.NodeExistsError):
        zk.create(root + "/a", b"second")
    assert zk.get(root + "/a")[0] == b"first"


def test_create_without_parent_is_refused(zk, root):
    with pytest.raises(ke.NoNodeError):
        zk.create(root + "/missing/a")


def test_create_of_the_root_is_refused(raw):
    assert raw.ask(rawzk.CREATE, create_body("/")).err == -110


@pytest.mark.parametrize("path", ["nothing", "/a//b", "//a", "/a/", "/./a", "/a/..", "/a\x01b",
                                  "/a\u007fb", "/a\ud7ffb\ue000", "/a\ufff0", ""])
def test_bad_paths_are_refused(raw, path):
    # Which of the two depends on whether the part before the last slash is a node.
    assert raw.ask(rawzk.CREATE, create_body(path)).err in (-8, -101)
    assert raw.ask(rawzk.GET_DATA, path_watch(path)).err in (-101, 0 if path == "" else -101)


def test_bad_path_of_an_existing_parent(raw):
    for path in ["/\x01", "//", "/x\ufffe"]:
        assert raw.ask(rawzk.CREATE, create_body(path)).err == -8


def test_null_byte_in_a_path_is_refused(raw):
    assert raw.ask(rawzk.CREATE, create_body("/a\0b")).err == -8


def test_invalid_flags_are_refused(raw):
    assert raw.ask(rawzk.CREATE, create_body("/flags", flags=77)).err == -8
    assert raw.ask(rawzk.CREATE, create_body("/flags", flags=-1)).err == -8


def test_utf8_names(zk, root):
    zk.create(root + "/größe-東")
    assert zk.get_children(root) == ["größe-東"]


def test_empty_and_null_data_differ(raw, request):
    path = "/null-" + request.node.name.split("[")[1].rstrip("]")
    body = text(path) + struct.pack(">i", -1) + rawzk.OPEN + struct.pack(">i", 0)
    assert raw.ask(rawzk.CREATE, body).err == 0
    reply = raw.ask(rawzk.GET_DATA, path_watch(path))
    assert struct.unpack(">i", reply.body[:4]) == (-1,)
    raw.ask(rawzk.SET_DATA, text(path) + text(b"") + struct.pack(">i", -1))
    reply = raw.ask(rawzk.GET_DATA, path_watch(path))
    assert struct.unpack(">i", reply.body[:4]) == (0,)


def test_large_data(zk, root):
    data = bytes(range(256)) * 3900
    zk.create(root + "/big", data)
    assert zk.get(root + "/big")[0] == data


def test_many_children(zk, root):
    names = [f"n{i:04}" for i in range(1000)]
    for result in [zk.create_async(f"{root}/{name}") for name in names]:
        result.get(timeout=10)
    assert sorted(zk.get_children(root)) == names
    children, stat = zk.get_children(root, include_data=True)
    assert len(children) == stat.numChildren == stat.cversion == 1000


def test_system_nodes_are_there(zk):
    assert "zookeeper" in zk.get_children("/")
    assert sorted(zk.get_children("/zookeeper")) == ["config", "quota"]


# ---- delete, set, check ---------------------------------------------------

def test_delete(zk, root):
    zk.create(root + "/a")
    zk.delete(root + "/a")
    assert zk.exists(root + "/a") is None
    with pytest.raises(ke.NoNodeError):
        zk.delete(root + "/a")


def test_delete_with_children_is_refused(zk, root):
    zk.create(root + "/a")
    with pytest.raises(ke.NotEmptyError):
        zk.delete(root)


def test_delete_checks_the_version(zk, root):
    zk.create(root + "/a")
    zk.set(root + "/a", b"1")
    with pytest.raises(ke.BadVersionError):
        zk.delete(root + "/a", version=0)
    zk.delete(root + "/a", version=1)


@pytest.mark.parametrize("path", ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config",
                                  "nothing"])
def test_delete_of_special_nodes_is_refused(raw, path):
    assert raw.ask(rawzk.DELETE, path_int(path, -1)).err == -8


def test_version_is_checked_before_children(raw, zk, root):
    zk.create(root + "/a")
    assert raw.ask(rawzk.DELETE, path_int(root, 5)).err == -103


def test_set_counts_versions(zk, root):
    stat = zk.set(root, b"one")
    assert (stat.version, stat.dataLength) == (1, 3)
    assert stat.mzxid > stat.czxid and stat.pzxid == stat.czxid
    assert zk.set(root, b"two", version=1).version == 2
    with pytest.raises(ke.BadVersionError):
        zk.set(root, b"three", version=1)
    assert zk.get(root)[0] == b"two"


def test_set_of_a_missing_node(zk, root):
    with pytest.raises(ke.NoNodeError):
        zk.set(root + "/missing", b"")


def test_set_with_a_bad_path(raw):
    assert raw.ask(rawzk.SET_DATA, text("/a/") + text(b"") + struct.pack(">i", -1)).err == -8


def test_sync(zk, root):
    assert zk.sync(root) == root


def test_exists_of_a_missing_node(zk, root):
    assert zk.exists(root + "/missing") is None


def test_children_of_a_missing_node(zk, root):
    with pytest.raises(ke.NoNodeError):
        zk.get_children(root + "/missing")


# ---- sequence -------------------------------------------------------------

def test_sequence_has_ten_digits(zk, root):
    assert zk.create(root + "/a-", sequence=True) == root + "/a-0000000000"
    assert zk.create(root + "/b-", sequence=True) == root + "/b-0000000001"


def test_sequence_counts_all_creates_and_no_delete(zk, root):
    zk.create(root + "/plain")
    zk.delete(root + "/plain")
    zk.create(root + "/other")
    assert zk.create(root + "/s", sequence=True) == root + "/s0000000002"


def test_sequence_of_nothing_but_digits(zk, root):
    assert zk.create(root + "/", sequence=True) == root + "/0000000000"


def test_sequence_is_not_used_up_by_a_failure(zk, root):
    zk.create(root + "/a")
    with pytest.raises(ke.NodeExistsError):
        zk.create(root + "/a")
    assert zk.create(root + "/s", sequence=True).endswith("s0000000001")


def test_sequences_of_two_clients_never_meet(clients, zk, root):
    other = clients()
    results = [c.create_async(root + "/s", sequence=True) for _ in range(100) for c in (zk, other)]
    paths = sorted(result.get(timeout=10) for result in results)
    assert paths == [f"{root}/s{n:010}" for n in range(200)]


# ---- ephemeral ------------------------------------------------------------

def test_ephemeral_names_its_session(zk, root):
    zk.create(root + "/e", ephemeral=True)
    assert zk.exists(root + "/e").ephemeralOwner == zk.client_id[0]


def test_ephemeral_goes_with_its_session(clients, zk, root):
    other = clients()
    other.create(root + "/e", ephemeral=True)
    other.stop()
    assert zk.exists(root + "/e") is None


def test_ephemeral_has_no_children(zk, root):
    zk.create(root + "/e", ephemeral=True)
    with pytest.raises(ke.NoChildrenForEphemeralsError):
        zk.create(root + "/e/child")


def test_ephemeral_can_be_deleted_by_another(clients, zk, root):
    zk.create(root + "/e", ephemeral=True)
    clients().delete(root + "/e")
    assert zk.exists(root + "/e") is None


def test_all_ephemerals_of_a_session_go_in_one_change(clients, zk, root):
    other = clients()
    for n in range(20):
        other.create(f"{root}/e{n}", ephemeral=True)
    before = zk.exists(root)
    other.stop()
    stat = zk.exists(root)
    assert stat.numChildren == 0 and stat.cversion == before.cversion + 20
    assert zk.last_zxid >= stat.pzxid


# ---- watches --------------------------------------------------------------

def test_data_watch_fires_once(zk, root):
    events = Events()
    zk.get(root, watch=events)
    zk.set(root, b"1")
    zk.set(root, b"2")
    assert events.next() == ("CHANGED", root)
    assert events.none(zk)


def test_data_watch_sees_the_end(zk, root):
    events = Events()
    zk.create(root + "/a")
    zk.get(root + "/a", watch=events)
    zk.delete(root + "/a")
    assert events.next() == ("DELETED", root + "/a")


def test_exists_watch_sees_the_birth(zk, root):
    events = Events()
    assert zk.exists(root + "/a", watch=events) is None
    zk.create(root + "/a")
    assert events.next() == ("CREATED", root + "/a")


def test_exists_watch_sees_data_and_end(zk, root):
    events = Events()
    zk.create(root + "/a")
    zk.exists(root + "/a", watch=events)
    zk.set(root + "/a", b"1")
    assert events.next() == ("CHANGED", root + "/a")
    zk.exists(root + "/a", watch=events)
    zk.delete(root + "/a")
    assert events.next() == ("DELETED", root + "/a")


def test_child_watch_sees_births_and_ends(zk, root):
    events = Events()
    zk.get_children(root, watch=events)
    zk.create(root + "/a")
    assert events.next() == ("CHILD", root)
    zk.get_children(root, watch=events)
    zk.delete(root + "/a")
    assert events.next() == ("CHILD", root)


def test_child_watch_does_not_see_data(zk, root):
    events = Events()
    zk.create(root + "/a")
    zk.get_children(root, watch=events)
    zk.set(root, b"1")
    zk.set(root + "/a", b"1")
    assert events.none(zk)


def test_data_watch_does_not_see_children_or_acls(zk, root):
    events = Events()
    zk.get(root, watch=events)
    zk.create(root + "/a")
    zk.set_acls(root, OPEN_ACL_UNSAFE)
    assert events.none(zk)


def test_a_failed_read_leaves_no_watch(raw, zk, root):
    assert raw.ask(rawzk.GET_DATA, path_watch(root + "/a", True)).err == -101
    zk.create(root + "/a")
    raw.send(rawzk.PING, xid=-2)
    assert raw.read().xid == -2


def test_both_watches_of_a_deleted_node_are_one_event(raw, zk, root):
    zk.create(root + "/a")
    raw.ask(rawzk.GET_DATA, path_watch(root + "/a", True))
    raw.ask(rawzk.GET_CHILDREN, path_watch(root + "/a", True))
    zk.delete(root + "/a")
    assert raw.read().event() == (2, root + "/a")
    raw.send(rawzk.PING, xid=-2)
    assert raw.read().xid == -2


def test_the_same_watch_twice_is_one_event(raw, zk, root):
    raw.ask(rawzk.GET_DATA, path_watch(root, True))
    raw.ask(rawzk.EXISTS, path_watch(root, True))
    zk.set(root, b"")
    assert raw.read().event() == (3, root)
    raw.send(rawzk.PING, xid=-2)
    assert raw.read().xid == -2


def test_notification_comes_before_the_answer_that_shows_the_change(raw, root):
    raw.ask(rawzk.GET_DATA, path_watch(root, True))
    xid = raw.send(rawzk.SET_DATA, text(root) + text(b"new") + struct.pack(">i", -1))
    first, second = raw.read(), raw.read()
    assert first.xid == -1 and first.event() == (3, root) and first.zxid == -1
    assert second.xid == xid and second.err == 0


def test_notification_comes_before_the_others_read(server, raw, zk, root):
    """raw watches; zk changes; once raw reads the new data it has heard of it."""
    raw.ask(rawzk.GET_DATA, path_watch(root, True))
    zk.set(root, b"new")
    raw.send(rawzk.GET_DATA, path_watch(root))
    assert raw.read().event() == (3, root)
    assert raw.read().body[4:7] == b"new"


def test_deleted_child_fires_its_own_and_the_parents_watch(raw, zk, root):
    zk.create(root + "/a")
    raw.ask(rawzk.GET_DATA, path_watch(root + "/a", True))
    raw.ask(rawzk.GET_CHILDREN, path_watch(root, True))
    zk.delete(root + "/a")
    assert [raw.read().event() for _ in range(2)] == [(2, root + "/a"), (4, root)]


def test_watches_fire_when_a_session_ends(clients, zk, root):
    events = Events()
    other = clients()
    other.create(root + "/e", ephemeral=True)
    zk.exists(root + "/e", watch=events)
    other.stop()
    assert events.next() == ("DELETED", root + "/e")


def test_watches_of_many_clients(clients, zk, root):
    watchers = [(clients(), Events()) for _ in range(5)]
    for client, events in watchers:
        client.get(root, watch=events)
    zk.set(root, b"x")
    assert [events.next() for _, events in watchers] == [("CHANGED", root)] * 5


def test_set_watches_reports_what_was_missed(server, zk, root):
    for name in ("data", "gone", "same", "child"):
        zk.create(f"{root}/{name}")
    seen = zk.exists(root + "/child").czxid
    zk.set(root + "/data", b"new")
    zk.delete(root + "/gone")
    zk.create(root + "/child/x")
    zk.create(root + "/born")

    def vector(*paths):
        return struct.pack(">i", len(paths)) + b"".join(text(p) for p in paths)

    with Raw(server.port) as raw:
        raw.send(rawzk.SET_WATCHES, struct.pack(">q", seen)
                 + vector(root + "/data", root + "/gone", root + "/same")
                 + vector(root + "/born", root + "/unborn") + vector(root + "/child"), xid=-8)
        replies = [raw.read() for _ in range(5)]
        assert {r.event() for r in replies if r.xid == -1} == {
            (3, root + "/data"), (2, root + "/gone"), (1, root + "/born"), (4, root + "/child")}
        assert replies[-1].xid == -8 and replies[-1].err == 0
        zk.set(root + "/same", b"")
        assert raw.read().event() == (3, root + "/same")
        zk.create(root + "/unborn")
        assert raw.read().event() == (1, root + "/unborn")


def test_check_and_remove_watches(raw, zk, root):
    assert raw.ask(rawzk.CHECK_WATCHES, path_int(root, 2)).err == -121
    raw.ask(rawzk.GET_DATA, path_watch(root, True))
    raw.ask(rawzk.GET_CHILDREN, path_watch(root, True))
    assert raw.ask(rawzk.CHECK_WATCHES, path_int(root, 2)).err == 0
    assert raw.ask(rawzk.REMOVE_WATCHES, path_int(root, 2)).err == 0
    assert raw.ask(rawzk.REMOVE_WATCHES, path_int(root, 2)).err == -121
    assert raw.ask(rawzk.CHECK_WATCHES, path_int(root, 1)).err == 0
    assert raw.ask(rawzk.REMOVE_WATCHES, path_int(root, 3)).err == 0
    zk.set(root, b"")
    raw.send(rawzk.PING, xid=-2)
    assert raw.read().xid == -2


# ---- multi ----------------------------------------------------------------

def test_multi_does_all(zk, root):
    zk.create(root + "/old")
    t = zk.transaction()
    t.create(root + "/a", b"1")
    t.set_data(root + "/a", b"2")
    t.check(root + "/a", 1)
    t.delete(root + "/old")
    path, stat, checked, deleted = t.commit()
    assert path == root + "/a" and stat.version == 1 and checked is True and deleted is True
    assert zk.get(root + "/a")[0] == b"2" and zk.exists(root + "/old") is None


def test_multi_is_one_zxid(zk, root):
    t = zk.transaction()
    t.create(root + "/a")
    t.create(root + "/b")
    t.commit()
    assert zk.exists(root + "/a").czxid == zk.exists(root + "/b").czxid


def test_multi_does_all_or_nothing(zk, root):
    zk.create(root + "/old", b"old")
    before = zk.exists(root)
    t = zk.transaction()
    t.create(root + "/a")
    t.set_data(root + "/old", b"new")
    t.delete(root + "/old")
    t.create(root + "/s", sequence=True)
    t.check(root, 99)
    t.create(root + "/never")
    results = t.commit()
    assert [type(r) for r in results] == [ke.RolledBackError] * 4 + [
        ke.BadVersionError, ke.RuntimeInconsistency]
    assert zk.get_children(root) == ["old"] and zk.get(root + "/old")[0] == b"old"
    assert zk.exists(root) == before and zk.exists(root + "/old").version == 0


def test_multi_failure_fires_nothing(zk, root):
    events = Events()
    zk.get_children(root, watch=events)
    t = zk.transaction()
    t.create(root + "/a")
    t.delete(root + "/missing")
    assert isinstance(t.commit()[1], ke.NoNodeError)
    assert events.none(zk)


def test_multi_sees_its_own_changes(zk, root):
    t = zk.transaction()
    t.create(root + "/a")
    t.create(root + "/a/b")
    t.delete(root + "/a/b")
    t.delete(root + "/a")
    t.create(root + "/s", sequence=True)
    assert t.commit()[4] == root + "/s0000000001"
    assert zk.exists(root).cversion == 3


def test_multi_with_ephemeral_and_sequence(zk, root):
    t = zk.transaction()
    t.create(root + "/e-", ephemeral=True, sequence=True)
    t.create(root + "/e-", ephemeral=True, sequence=True)
    assert t.commit() == [root + "/e-0000000000", root + "/e-0000000001"]
    assert zk.exists(root + "/e-0000000001").ephemeralOwner == zk.client_id[0]


def test_multi_fires_in_order(raw, zk, root):
    raw.ask(rawzk.GET_CHILDREN, path_watch(root, True))
    raw.ask(rawzk.EXISTS, path_watch(root + "/a", True))
    t = zk.transaction()
    t.create(root + "/a")
    t.set_data(root, b"")
    t.commit()
    assert [raw.read().event() for _ in range(2)] == [(1, root + "/a"), (4, root)]


def test_empty_multi(raw):
    reply = raw.ask(rawzk.MULTI, struct.pack(">i?i", -1, True, -1))
    assert reply.err == 0 and reply.body == struct.pack(">i?i", -1, True, -1)


def test_failed_multi_frame_is_exactly_zookeepers(raw, root):
    def part(kind, body):
        return struct.pack(">i?i", kind, False, -1) + body
    reply = raw.ask(rawzk.MULTI, part(rawzk.CREATE, create_body(root + "/a"))
                    + part(rawzk.CHECK, path_int(root + "/missing", -1))
                    + part(rawzk.DELETE, path_int(root, -1)) + struct.pack(">i?i", -1, True, -1))
    assert reply.err == 0
    assert reply.body == b"".join(struct.pack(">i?ii", -1, False, code, code)
                                  for code in (0, -101, -2)) + struct.pack(">i?i", -1, True, -1)


# ---- ACL ------------------------------------------------------------------

def test_acl_is_kept(zk, root):
    acl = [make_digest_acl("user", "secret", read=True), make_acl("world", "anyone", admin=True)]
    zk.create(root + "/a", acl=acl)
    got, stat = zk.get_acls(root + "/a")
    assert got == acl and stat.aversion == 0


def test_acl_digest_lets_in_who_knows(clients, zk, root):
    zk.create(root + "/a", b"x", acl=[make_digest_acl("user", "secret", all=True)])
    with pytest.raises(ke.NoAuthError):
        zk.get(root + "/a")
    with pytest.raises(ke.NoAuthError):
        clients(auth_data=[("digest", "user:wrong")]).get(root + "/a")
    assert clients(auth_data=[("digest", "user:secret")]).get(root + "/a")[0] == b"x"


def test_acl_checks_each_right(clients, zk, root):
    acl = [make_acl("world", "anyone", read=True), make_digest_acl("u", "p", all=True)]
    zk.create(root + "/a", acl=acl)
    owner = clients(auth_data=[("digest", "u:p")])
    owner.create(root + "/a/child", acl=OPEN_ACL_UNSAFE)
    for refused in (lambda: zk.set(root + "/a", b""), lambda: zk.create(root + "/a/b"),
                    lambda: zk.delete(root + "/a/child"),
                    lambda: zk.set_acls(root + "/a", OPEN_ACL_UNSAFE)):
        with pytest.raises(ke.NoAuthError):
            refused()
    zk.get(root + "/a")
    zk.get_children(root + "/a")
    owner.delete(root + "/a/child")


def test_acl_does_not_guard_exists(zk, root):
    zk.create(root + "/a", acl=[make_digest_acl("u", "p", all=True)])
    assert zk.exists(root + "/a") is not None


def test_delete_needs_the_parents_right_only(zk, root):
    zk.create(root + "/a", acl=[make_digest_acl("u", "p", all=True)])
    zk.delete(root + "/a")


def test_acl_auth_stands_for_whom_one_is(clients, root):
    owner = clients(auth_data=[("digest", "me:pw"), ("digest", "too:pw")])
    owner.create(root + "/a", acl=[ACL(31, Id("auth", ""))])
    got = owner.get_acls(root + "/a")[0]
    assert {a.id.id for a in got} == {make_digest_acl_credential("me", "pw"),
                                      make_digest_acl_credential("too", "pw")}


def test_acl_auth_without_authentication_is_refused(zk, root):
    with pytest.raises(ke.InvalidACLError):
        zk.create(root + "/a", acl=[ACL(31, Id("auth", ""))])


@pytest.mark.parametrize("scheme,who", [("nonsense", "x"), ("digest", "nocolon"),
                                        ("digest", "a:b:c"), ("world", "me"), ("ip", "1.2.3"),
                                        ("ip", "1.2.3.4/33")])
def test_bad_acls_are_refused(zk, root, scheme, who):
    with pytest.raises(ke.InvalidACLError):
        zk.create(root + "/a", acl=[ACL(31, Id(scheme, who))])


def test_empty_acl_is_refused(raw, root):
    assert raw.ask(rawzk.CREATE, create_body(root + "/a", acl=struct.pack(">i", 0))).err == -114


def test_acl_by_address(zk, root):
    zk.create(root + "/near", acl=[ACL(31, Id("ip", "127.0.0.0/8"))])
    zk.create(root + "/far", acl=[ACL(31, Id("ip", "10.1.2.3"))])
    zk.get(root + "/near")
    with pytest.raises(ke.NoAuthError):
        zk.get(root + "/far")


def test_set_acl_counts_versions(zk, root):
    stat = zk.set_acls(root, [make_acl("world", "anyone", all=True)])
    assert stat.aversion == 1 and stat.version == 0
    with pytest.raises(ke.BadVersionError):
        zk.set_acls(root, OPEN_ACL_UNSAFE, version=0)
    assert zk.set_acls(root, OPEN_ACL_UNSAFE, version=1).aversion == 2


def test_get_acl_hides_digests_from_strangers(clients, zk, root):
    zk.create(root + "/a", acl=[make_digest_acl("u", "p", all=True),
                                make_acl("world", "anyone", read=True)])
    assert zk.get_acls(root + "/a")[0][0].id.id == "u:x"
    owner = clients(auth_data=[("digest", "u:p")])
    assert owner.get_acls(root + "/a")[0][0].id.id == make_digest_acl_credential("u", "p")


def test_multi_respects_acls(zk, root):
    zk.create(root + "/a", acl=[make_digest_acl("u", "p", all=True)])
    t = zk.transaction()
    t.create(root + "/b")
    t.set_data(root + "/a", b"")
    assert isinstance(t.commit()[1], ke.NoAuthError)
    assert zk.exists(root + "/b") is None


def test_unknown_auth_scheme_ends_the_connection(raw):
    raw.send(rawzk.AUTH, struct.pack(">i", 0) + text("nonsense") + text(b"x"), xid=-4)
    reply = raw.read()
    assert (reply.xid, reply.err) == (-4, -115)
    assert raw.closed()


# ---- sessions -------------------------------------------------------------

@pytest.mark.parametrize("asked,granted", [(1, 400), (1500, 1500), (999999, 4000)])
def test_session_timeout_is_negotiated(server, asked, granted):
    with Raw(server.port, timeout_ms=asked) as raw:
        assert raw.timeout_ms == granted and raw.session != 0 and len(raw.passwd) == 16


def test_session_expires(server, zk, root):
    events = Events()
    raw = Raw(server.port, timeout_ms=400)
    assert raw.ask(rawzk.CREATE, create_body(root + "/e", flags=1)).err == 0
    zk.exists(root + "/e", watch=events)
    raw.drop()
    assert events.next() == ("DELETED", root + "/e")
    with Raw(server.port, session=raw.session, passwd=raw.passwd) as again:
        assert (again.session, again.timeout_ms) == (0, 0)
        assert again.closed()


def test_silent_session_expires_and_is_hung_up(server, zk, root):
    raw = Raw(server.port, timeout_ms=400)
    raw.ask(rawzk.CREATE, create_body(root + "/e", flags=1))
    assert raw.closed()
    wait_until("the ephemeral is gone", lambda: zk.exists(root + "/e") is None)


def test_pings_keep_a_session(server, zk, root):
    with Raw(server.port, timeout_ms=400) as raw:
        raw.ask(rawzk.CREATE, create_body(root + "/e", flags=1))
        stop = threading.Event()
        while not stop.wait(0.1):
            raw.send(rawzk.PING, xid=-2)
            assert raw.read().err == 0
            if raw.xid >= 10:
                stop.set()
            raw.xid += 1
        assert zk.exists(root + "/e") is not None


def test_reconnect_keeps_session_and_ephemerals(server, zk, root):
    raw = Raw(server.port)
    raw.ask(rawzk.CREATE, create_body(root + "/e", flags=1))
    raw.drop()
    with Raw(server.port, session=raw.session, passwd=raw.passwd) as again:
        assert again.session == raw.session and again.passwd == raw.passwd
        assert zk.exists(root + "/e").ephemeralOwner == raw.session
        again.ask(rawzk.CLOSE)
    wait_until("the ephemeral is gone", lambda: zk.exists(root + "/e") is None)


def test_reconnect_with_a_wrong_password_is_refused(server):
    raw = Raw(server.port)
    raw.drop()
    with Raw(server.port, session=raw.session, passwd=b"x" * 16) as again:
        assert again.session == 0
        assert again.closed()


def test_reconnect_moves_the_session(server):
    first = Raw(server.port)
    with Raw(server.port, session=first.session, passwd=first.passwd) as second:
        assert first.closed()
        assert second.ask(rawzk.EXISTS, path_watch("/")).err == 0


def test_watches_end_with_the_connection(server, zk, root):
    raw = Raw(server.port)
    raw.ask(rawzk.GET_DATA, path_watch(root, True))
    raw.drop()
    with Raw(server.port, session=raw.session, passwd=raw.passwd) as again:
        zk.set(root, b"")
        again.send(rawzk.PING, xid=-2)
        assert again.read().xid == -2


def test_close_answers_and_hangs_up(server):
    raw = Raw(server.port)
    reply = raw.ask(rawzk.CLOSE)
    assert reply.err == 0 and reply.body == b""
    assert raw.closed()
    with Raw(server.port, session=raw.session, passwd=raw.passwd) as again:
        assert again.session == 0


def test_a_client_from_the_future_is_refused(server):
    raw = Raw(server.port, connect=False)
    raw.frame(struct.pack(">iqiqi", 0, 1 << 40, 4000, 0, 16) + bytes(16) + b"\0")
    assert raw.closed()


def test_connect_without_the_readonly_flag(server):
    raw = Raw(server.port, connect=False)
    raw.frame(struct.pack(">iqiqi", 0, 0, 4000, 0, 16) + bytes(16))
    assert len(raw.read_frame()) == 36
    raw.drop()


def test_kazoo_survives_a_lost_connection(zk, root):
    states = Events()
    zk.add_listener(lambda state: states.put(state))
    zk.create(root + "/e", ephemeral=True)
    session = zk.client_id[0]
    zk._connection._socket.shutdown(socket.SHUT_RDWR)
    assert states.next() == KazooState.SUSPENDED
    assert states.next() == KazooState.CONNECTED
    assert zk.client_id[0] == session and zk.exists(root + "/e") is not None


def test_restart_keeps_everything(server, clients, root, zk):
    raw = Raw(server.port)
    raw.ask(rawzk.CREATE, create_body(root + "/e", b"e", flags=1))
    zk.create(root + "/a", b"1", acl=[make_digest_acl("u", "p", all=True),
                                      make_acl("world", "anyone", read=True)])
    zk.create(root + "/s", sequence=True)
    zk.delete(root + "/s0000000002")
    zk.set(root, b"data")
    before = {p: zk.get(p) for p in (root, root + "/a", root + "/e")}
    acls = zk.get_acls(root + "/a")
    zk.stop()
    assert server.stop() in (0, 143)
    server.start()
    fresh = clients()
    assert {p: fresh.get(p) for p in before} == before
    assert fresh.get_acls(root + "/a") == acls
    assert fresh.create(root + "/s", sequence=True).endswith("s0000000003")
    assert fresh.exists(root + "/s0000000003").czxid > before[root][1].mzxid
    with Raw(server.port, session=raw.session, passwd=raw.passwd) as again:
        assert again.session == raw.session
        again.ask(rawzk.CLOSE)
    assert fresh.exists(root + "/e") is None


# ---- frames ---------------------------------------------------------------

def test_pipelined_answers_keep_their_order(raw, root):
    sent = []
    for n in range(50):
        sent.append(raw.send(rawzk.CREATE, create_body(f"{root}/n{n}")))
        sent.append(raw.send(rawzk.GET_DATA, path_watch(f"{root}/n{n}")))
    replies = [raw.read() for _ in sent]
    assert [r.xid for r in replies] == sent
    assert all(r.err == 0 for r in replies)


@pytest.mark.parametrize("kind,body", [
    (rawzk.CREATE, b""), (rawzk.CREATE, struct.pack(">i", 1 << 20)),
    (rawzk.GET_DATA, struct.pack(">i", -7)), (rawzk.SET_DATA, text("/") + struct.pack(">i", 99)),
    (rawzk.CREATE, text("/x") + text(b"") + struct.pack(">i", 0x7fffffff)),
    (rawzk.MULTI, struct.pack(">i?i", 99, False, -1)), (rawzk.DELETE, text("/x") + b"\0\0")])
def test_malformed_requests_change_nothing(raw, zk, kind, body):
    before = zk.exists("/")
    raw.send(kind, body)
    try:
        assert raw.read().err == -5
    except rawzk.Closed:
        pass
    assert zk.exists("/") == before


@pytest.mark.parametrize("length", [-1, 1 << 20, 0x7fffffff])
def test_a_bad_length_ends_the_connection(raw, length):
    raw.sock.sendall(struct.pack(">i", length))
    assert raw.closed()


def test_an_unknown_request_is_unimplemented(raw):
    assert raw.ask(999).err == -6
    assert raw.closed()


def test_ttl_is_unimplemented(raw, root):
    body = create_body(root + "/t", flags=5) + struct.pack(">q", 1000)
    assert raw.ask(rawzk.CREATE_TTL, body).err == -6
    assert raw.ask(rawzk.EXISTS, path_watch("/")).err == 0


def test_ping(raw):
    reply = raw.ask(rawzk.PING, xid=-2)
    assert (reply.xid, reply.err, reply.body) == (-2, 0, b"")


@pytest.mark.parametrize("word,part", [(b"ruok", b"imok"), (b"srvr", b"Mode: standalone"),
                                       (b"mntr", b"zk_server_state\tstandalone"),
                                       (b"isro", b"rw"), (b"mntr", b"zk_znode_count\t"),
                                       (b"stat", b"Node count: ")])
def test_four_letter_words(server, word, part):
    assert part in servers.four_letter(server.port, word)


# ---- libzookeeper ---------------------------------------------------------

def c_program():
    return servers.build_dir() / "src" / "store" / "zk_conformance"


def c_cases():
    if not c_program().exists():
        return []
    return subprocess.run([c_program(), "--list"], capture_output=True, text=True,
                          check=True).stdout.split()


@pytest.mark.parametrize("case", c_cases() or ["zk_conformance-not-built"])
def test_libzookeeper(server, case):
    done = subprocess.run([c_program(), server.address, case], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
