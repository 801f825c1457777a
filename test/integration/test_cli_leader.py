# SPDX-License-Identifier: Apache-2.0
"""A master that does not lead names the one that does, and the command line follows."""
import http.server
import json
import socketserver
import threading

import pytest
from kazoo.client import KazooClient

from servers import DavitStore
from test_cli import davit

TOKEN = "0123456789abcdef"


class Leader(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        text = json.dumps({"items": [{"key": "one/a/b/c"}], "next": None} if allowed else
                          {"title": "no", "detail": "a token is needed", "status": 401}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


def follower(address):
    class Follower(Leader):
        def do_GET(self):
            text = json.dumps({"title": "not the leader", "detail": "ask another", "status": 503,
                               "leader": {"address": address, "socket": "/nonexistent"}}).encode()
            self.send_response(503)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def address_string(self):
            return "unix"
    return Follower


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("private", [True, False], ids=["with-token", "without"])
def test_from_the_socket_of_one_to_the_port_of_another(tmp_path, monkeypatch, private):
    leader = serve(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Leader))
    monkeypatch.chdir(tmp_path)  # The path of a socket is short.
    here = serve(socketserver.ThreadingUnixStreamServer(
        "api.sock", follower(f"127.0.0.1:{leader.server_port}")))
    if private:
        (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "clusters.json").write_text(json.dumps(
        [{"name": "one", "scheduler_uri": "http://127.0.0.1:1", "socket": "api.sock",
          "token_file": str(tmp_path / "token")}]))
    done = davit("job", "list", "one", env={"AURORA_CONFIG_ROOT": str(tmp_path)}, cwd=tmp_path)
    for server in (leader, here):
        server.shutdown()
        server.server_close()
    if private:
        assert (done.returncode, done.stdout) == (0, "one/a/b/c\n"), done.stderr
    else:
        assert done.returncode == 30 and "token" in done.stderr


# --- by ZooKeeper ------------------------------------------------------------------------------

ROLE = b'{"serviceEndpoint": {"host": "127.0.0.1", "port": %d}, "additionalEndpoints": {}, "status": "ALIVE"}'


@pytest.fixture
def zk(tmp_path):
    server = DavitStore(tmp_path / "zk").start()
    client = KazooClient(server.address)
    client.start(10)
    yield server, client
    client.stop()
    client.close()
    assert server.stop() == 0


@pytest.fixture
def leader():
    server = serve(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Leader))
    yield server.server_port
    server.shutdown()
    server.server_close()


def by_zk(tmp_path, server, **more):
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "clusters.json").write_text(json.dumps([{
        "name": "one", "zk": "127.0.0.1", "zk_port": server.port, "proxy_url": "http://shown/",
        "token_file": str(tmp_path / "token"), **more}]))
    return davit("job", "list", "one", env={"AURORA_CONFIG_ROOT": str(tmp_path)}, cwd=tmp_path)


@pytest.mark.parametrize("node, more", [
    (b'{"address": "127.0.0.1:%d", "socket": "/nonexistent"}', {}),
    (ROLE, {"scheduler_zk_path": "/aurora/scheduler"})], ids=["davit", "aurora"])
def test_the_first_candidate_of_its_zookeeper_leads(tmp_path, zk, leader, node, more):
    server, client = zk
    path = more.get("scheduler_zk_path", "/davit/master")
    client.create(f"{path}/one-0000000007", node % leader, makepath=True)
    client.create(f"{path}/two-0000000009", node % 1)
    done = by_zk(tmp_path, server, **more)
    assert (done.returncode, done.stdout) == (0, "one/a/b/c\n"), done.stderr


def test_a_list_of_servers_and_one_that_is_down(tmp_path, zk, leader):
    server, client = zk
    client.create("/davit/master/one-0000000007", b'{"address": "127.0.0.1:%d"}' % leader, makepath=True)
    assert by_zk(tmp_path, server, zk=f"127.0.0.1:1,127.0.0.1:{server.port}").returncode == 0


def test_nobody_leads(tmp_path, zk):
    server, _ = zk
    done = by_zk(tmp_path, server, scheduler_zk_path="/nobody")
    assert done.returncode == 9
    assert done.stderr == ("cluster one: no leading scheduler was found under /nobody of ZooKeeper at "
                           f"127.0.0.1:{server.port}\n")


# --- the token in ~/.netrc ---------------------------------------------------------------------

@pytest.mark.parametrize("text, mode, status", [
    ("machine 127.0.0.1 login me password %s\n" % TOKEN, 0o600, 0),
    ("machine other login me password x\n\nmacdef init\nmachine 127.0.0.1 password y\n\n"
     "machine 127.0.0.1\n\tlogin password\n\tpassword %s" % TOKEN, 0o600, 0),
    ("machine other password x\ndefault password %s" % TOKEN, 0o600, 0),
    ("machine other password %s" % TOKEN, 0o600, 30),
    ("machine 127.0.0.1 password", 0o600, 30),
    ("machine 127.0.0.1 login me password %s\n" % TOKEN, 0o644, 30)])
def test_the_token_in_netrc(tmp_path, leader, text, mode, status):
    (tmp_path / ".netrc").write_text(text)
    (tmp_path / ".netrc").chmod(mode)
    (tmp_path / "clusters.json").write_text(json.dumps(
        [{"name": "one", "scheduler_uri": f"http://127.0.0.1:{leader}/"}]))
    done = davit("job", "list", "one", env={"AURORA_CONFIG_ROOT": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == status, done.stderr
    assert ("others may read it" in done.stderr) == (mode != 0o600)


# --- while masters change ----------------------------------------------------------------------

@pytest.mark.parametrize("how", ["no leader", "broken"])
def test_a_read_waits_for_the_next_leader(tmp_path, how):
    seen = []

    class Standby(Leader):
        def do_GET(self):
            seen.append(self.path)
            if len(seen) > 2:
                return super().do_GET()
            if how == "broken":
                return self.connection.close()
            text = b'{"title": "no leader", "detail": "nobody leads", "status": 503}'
            self.send_response(503)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            return self.wfile.write(text)

    server = serve(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Standby))
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "clusters.json").write_text(json.dumps(
        [{"name": "one", "scheduler_uri": f"http://127.0.0.1:{server.server_port}",
          "token_file": str(tmp_path / "token")}]))
    done = davit("job", "list", "one", env={"AURORA_CONFIG_ROOT": str(tmp_path)})
    server.shutdown()
    server.server_close()
    assert done.returncode == 0 and "one/a/b/c\n" in done.stdout, done.stderr
    assert len(set(seen[:3])) == 1  # The same one again, until somebody led.
