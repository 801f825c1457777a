# SPDX-License-Identifier: Apache-2.0
"""davit-store as a program: what it refuses by design, how it starts and stops,
and that kill -9 loses nothing that was acknowledged."""
import os
import random
import signal
import struct
import subprocess
import threading
import time

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl, OPEN_ACL_UNSAFE

import rawzk
import servers
from rawzk import Closed, Raw, create_body, path_int, path_watch, text
from servers import wait_until

SEED = int(os.environ.get("DAVIT_SEED", "20261120"))
KILLS = int(os.environ.get("DAVIT_KILLS", "30"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.davit_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def raw(server):
    with Raw(server.port) as connection:
        yield connection


# ---- refused by design ----------------------------------------------------

@pytest.mark.parametrize("kind,body", [
    (rawzk.CREATE_CONTAINER, create_body("/refused", flags=4)),
    (rawzk.CREATE, create_body("/refused", flags=4)),
    (rawzk.CREATE2, create_body("/refused", flags=5)),
    (rawzk.CREATE_TTL, create_body("/refused", flags=6) + struct.pack(">q", 1000)),
    (rawzk.RECONFIG, text("") * 3 + struct.pack(">q", -1)),
    (rawzk.ADD_WATCH, path_int("/", 0)),
    (105, struct.pack(">qiii", 0, 0, 0, 0) + struct.pack(">i", 1) + text("/") + struct.pack(">i", 0)),
    (102, b""), (103, text("/")), (104, text("/")), (22, struct.pack(">i?i", -1, True, -1))])
def test_refused_by_design(raw, kind, body):
    reply = raw.ask(kind, body)
    assert (reply.err, reply.body) == (-6, b"")
    assert raw.ask(rawzk.EXISTS, path_watch("/refused")).err == -101  # and the connection lives


def test_refused_in_a_multi(raw):
    body = b"".join(struct.pack(">i?i", kind, False, -1) + part for kind, part in [
        (rawzk.CREATE, create_body("/multi-refused")),
        (rawzk.CREATE_CONTAINER, create_body("/c", flags=4))])
    reply = raw.ask(rawzk.MULTI, body + struct.pack(">i?i", -1, True, -1))
    assert reply.body[9:13] == struct.pack(">i", 0) and reply.body[22:26] == struct.pack(">i", -6)
    assert raw.ask(rawzk.EXISTS, path_watch("/multi-refused")).err == -101


def test_set_watches2_without_persistent_ones(raw):
    assert raw.ask(105, struct.pack(">qiiiii", 0, 0, 0, 0, 0, 0)).err == 0


# ---- starting and stopping ------------------------------------------------

def run(*args):
    return subprocess.run([servers.store_program(), *args], capture_output=True, text=True,
                          timeout=20)


def one_line(done):
    assert done.returncode not in (0, -6, -11)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("usage:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_second_one_on_the_same_directory(server):
    line = one_line(run("--dir", str(server.dir / "data"), "--listen", "127.0.0.1:0"))
    assert str(server.pid) in line


def test_taken_port(server, tmp_path):
    line = one_line(run("--dir", str(tmp_path), "--listen", server.address))
    assert str(server.port) in line and "address already in use" in line


def test_unwritable_directory():
    assert "/proc/nothing" in one_line(run("--dir", "/proc/nothing/x", "--listen", "127.0.0.1:0"))


@pytest.mark.parametrize("args", [[], ["--dir"], ["--dir", "/tmp", "--listen", "nonsense"],
                                  ["--dir", "/tmp", "--tick", "x"], ["--nonsense"], ["copy", "x"]])
def test_bad_usage(args, tmp_path):
    args = [str(tmp_path) if a == "/tmp" else a for a in args]
    done = run(*args)
    assert done.returncode == 2 and one_line(done)


def test_help_and_version():
    assert "--listen" in run("--help").stdout
    assert run("--version").returncode == 0


def test_damaged_file_is_named(tmp_path):
    (tmp_path / "store.db").write_bytes(b"this is no database" * 1000)
    assert "store.db" in one_line(run("--dir", str(tmp_path), "--listen", "127.0.0.1:0"))


def test_ready_fd_and_sigterm(tmp_path):
    read_end, write_end = os.pipe()
    process = subprocess.Popen([servers.store_program(), "--dir", str(tmp_path / "d"), "--listen",
                                "127.0.0.1:0", "--ready-fd", str(write_end)],
                               pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    assert os.read(read_end, 8) == b"\n" and os.read(read_end, 8) == b""
    os.close(read_end)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_sigterm_under_load_loses_nothing(tmp_path):
    with servers.davit_store(tmp_path) as server:
        writers = [Writer(server.port, n, SEED) for n in range(4)]
        for writer in writers:
            writer.start()
        wait_until("load", lambda: sum(w.acknowledged for w in writers) > 200)
        assert server.stop() == 0
        for writer in writers:
            writer.join(20)
        server.start()
        for writer in writers:
            writer.check()


def test_time_that_the_store_was_away_is_nobodys_silence(tmp_path):
    with servers.davit_store(tmp_path) as server, Raw(server.port, timeout_ms=400) as raw:
        raw.ask(rawzk.CREATE, create_body("/e", flags=1))
        server.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        wait_until("a second", lambda: time.monotonic() > stopped + 1)
        server.process.send_signal(signal.SIGCONT)
        assert raw.ask(rawzk.EXISTS, path_watch("/e")).err == 0
        assert raw.closed()  # and then it does expire


def test_most_connections(tmp_path):
    with servers.davit_store(tmp_path, extra=["--max-connections", "2"]) as small:
        with Raw(small.port), Raw(small.port):
            third = Raw(small.port, connect=False)
            third.frame(struct.pack(">iqiqi", 0, 0, 4000, 0, 16) + bytes(16) + b"\0")
            assert third.closed()


def test_longest_frame(tmp_path):
    with servers.davit_store(tmp_path, extra=["--max-frame", "2000"]) as small:
        with Raw(small.port) as raw:
            assert raw.ask(rawzk.CREATE, create_body("/a", b"x" * 1900)).err == 0
            raw.send(rawzk.CREATE, create_body("/b", b"x" * 2000))
            assert raw.closed()


def test_a_reader_that_does_not_read_is_paused(server):
    """Many large answers are asked for and not read: the server's memory stays bounded."""
    with Raw(server.port) as raw:
        assert raw.ask(rawzk.CREATE, create_body("/large", b"x" * 500000)).err == 0
        sent = [raw.send(rawzk.GET_DATA, path_watch("/large")) for _ in range(300)]
        resident = int(next(line.split()[1] for line in open(f"/proc/{server.pid}/status")
                            if line.startswith("VmRSS")))
        assert resident < 200 * 1024
        assert [raw.read().xid for _ in sent] == sent


# ---- copy -----------------------------------------------------------------

def test_copy(server, tmp_path):
    source = KazooClient(server.address, timeout=4)
    source.start()
    acl = [make_digest_acl("u", "p", all=True), *OPEN_ACL_UNSAFE]
    source.create("/copy/deep/er", b"data", makepath=True)
    source.create("/copy/guarded", b"g", acl=acl)
    source.create("/copy/ephemeral", ephemeral=True)
    with servers.davit_store(tmp_path) as other:
        target = KazooClient(other.address, timeout=4)
        target.start()
        target.create("/new", b"old")
        for _ in range(2):  # The second time finds everything there.
            done = run("copy", server.address + "/copy", other.address + "/new")
            assert done.returncode == 0 and "left out 1 ephemeral" in done.stdout, done.stderr
        assert sorted(target.get_children("/new")) == ["deep", "guarded"]
        assert target.get("/new/deep/er")[0] == b"data" and target.get("/new")[0] == b""
        assert target.get_acls("/new/guarded")[0] == acl
        assert "/no/such" in one_line(run("copy", server.address + "/copy",
                                          other.address + "/no/such"))
        target.stop()
    assert "connect" in one_line(run("copy", server.address, other.address))
    source.stop()


# ---- kill -9 --------------------------------------------------------------

class Writer(threading.Thread):
    """Writes under its own node until the connection breaks; knows what was
    acknowledged, and which one request is in doubt."""

    def __init__(self, port, number, seed):
        super().__init__(daemon=True)
        self.port, self.home = port, f"/w{number}"
        self.rng = random.Random(f"{seed}-{number}")
        self.raw = Raw(port)
        self.id = (self.raw.session, self.raw.passwd)
        self.nodes, self.pairs, self.value, self.count, self.acknowledged = set(), set(), 0, 0, 0
        self.doubt = None
        self.error = None
        for path, flags in ((self.home, 0), (self.home + "/e", 1)):
            assert self.raw.ask(rawzk.CREATE, create_body(path, b"0", flags=flags)).err == 0

    def one(self):
        self.count += 1
        what = self.rng.choice(["create", "create", "set", "delete", "pair"])
        if what == "delete" and not self.nodes:
            what = "create"
        if what == "create":
            name = f"n{self.count}"
            self.doubt = (what, name)
            reply = self.raw.ask(rawzk.CREATE, create_body(f"{self.home}/{name}", b"x" * 200))
        elif what == "set":
            name = self.value + 1
            self.doubt = (what, name)
            reply = self.raw.ask(rawzk.SET_DATA, text(self.home) + text(str(name))
                                 + struct.pack(">i", -1))
        elif what == "delete":
            name = self.rng.choice(sorted(self.nodes))
            self.doubt = (what, name)
            reply = self.raw.ask(rawzk.DELETE, path_int(f"{self.home}/{name}", -1))
        else:
            name = f"{self.count}"
            self.doubt = (what, name)
            reply = self.raw.ask(rawzk.MULTI, b"".join(
                struct.pack(">i?i", rawzk.CREATE, False, -1) + create_body(f"{self.home}/{side}{name}")
                for side in "ab") + struct.pack(">i?i", -1, True, -1))
        assert reply.err == 0, (what, name, reply.err)
        self.settle()
        self.acknowledged += 1

    def settle(self):
        """The request in doubt has happened."""
        what, name = self.doubt
        self.doubt = None
        if what == "create":
            self.nodes.add(name)
        elif what == "set":
            self.value = name
        elif what == "delete":
            self.nodes.discard(name)
        else:
            self.pairs.add(name)

    def run(self):
        try:
            while True:
                self.one()
        except (Closed, ConnectionError):
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def check(self):
        """After the restart: the same session, and exactly what was acknowledged."""
        assert self.error is None, self.error
        self.raw.drop()
        self.raw = Raw(self.port, session=self.id[0], passwd=self.id[1])
        assert self.raw.session == self.id[0], "the session was lost"
        stat = self.raw.ask(rawzk.EXISTS, path_watch(self.home + "/e"))
        assert stat.err == 0 and struct.unpack(">q", stat.body[44:52])[0] == self.id[0]
        body = self.raw.ask(rawzk.GET_CHILDREN, path_watch(self.home)).body
        there, offset = set(), 4
        for _ in range(struct.unpack(">i", body[:4])[0]):
            size = struct.unpack(">i", body[offset:offset + 4])[0]
            there.add(body[offset + 4:offset + 4 + size].decode())
            offset += 4 + size
        data = self.raw.ask(rawzk.GET_DATA, path_watch(self.home)).body
        value = int(data[4:4 + struct.unpack(">i", data[:4])[0]])
        if self.doubt is not None:
            what, name = self.doubt
            if {"create": name in there, "set": value == name, "delete": name not in there,
                    "pair": "a" + str(name) in there}[what]:
                self.settle()
        self.doubt = None
        assert value == self.value
        assert there == {"e"} | self.nodes | {s + n for n in self.pairs for s in "ab"}

    def again(self):
        """A thread runs once: the same state in a new one."""
        fresh = Writer.__new__(Writer)
        threading.Thread.__init__(fresh, daemon=True)
        fresh.__dict__.update({k: v for k, v in self.__dict__.items()
                               if k in ("port", "home", "rng", "raw", "id", "nodes", "pairs",
                                        "value", "count", "acknowledged", "doubt", "error")})
        return fresh


def test_kill_loses_nothing_acknowledged(tmp_path):
    rng = random.Random(SEED)
    print(f"seed {SEED}, {KILLS} kills")
    with servers.davit_store(tmp_path) as server:
        writers = [Writer(server.port, n, SEED) for n in range(6)]
        for turn in range(KILLS):
            goal = sum(w.acknowledged for w in writers) + rng.randrange(1, 400)
            for writer in writers:
                writer.start()
            # A random moment: so many acknowledgements later, whatever is under way then.
            wait_until("load", lambda: sum(w.acknowledged for w in writers) >= goal
                       or any(w.error for w in writers))
            server.kill()
            for writer in writers:
                writer.join(20)
                assert not writer.is_alive()
            server.start()
            for writer in writers:
                writer.check()
            writers = [writer.again() for writer in writers]
        acknowledged = sum(w.acknowledged for w in writers)
        print(f"{acknowledged} acknowledged changes, none lost")
        assert acknowledged > KILLS
        # What nobody comes back for expires, across a restart too.
        for writer in writers:
            writer.raw.drop()
        server.kill()
        server.start()
        with Raw(server.port) as raw:
            def gone():
                raw.ask(rawzk.PING, xid=-2)
                return all(raw.ask(rawzk.EXISTS, path_watch(w.home + "/e")).err == -101
                           for w in writers)
            wait_until("the ephemerals are gone", gone)
