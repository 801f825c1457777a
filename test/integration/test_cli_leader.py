# SPDX-License-Identifier: Apache-2.0
"""A master that does not lead names the one that does, and the command line follows."""
import http.server
import json
import socketserver
import threading

import pytest

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
