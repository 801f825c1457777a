# SPDX-License-Identifier: Apache-2.0
"""What the command line shows of texts that somebody else wrote: only text, never a command to the
terminal.  A job's owner chooses names, metadata and hook output; an operator looks at them.
"""
import http.server
import json
import threading

import pytest

from test_cli import davit

# Colour, title, CSI as one character, right-to-left, bell, a line of its own.
EVIL = "\x1b[31m\x1b]0;gone\x07\u009b2J\u202egnp.exe\r\n\x7f"
FINE = "caf\u00e9 \U0001f6a2"

TASK = {"id": "t-" + EVIL, "job": f"one/{EVIL}/devel/x", "instance": 0, "state": EVIL,
        "host": EVIL, "node": EVIL, "reason": EVIL, "ports": {EVIL: 31000}, "resources": {},
        "metadata": [{"key": EVIL, "value": FINE + EVIL}],
        "events": [{"time_ms": 1, "state": EVIL, "message": EVIL}]}
RUN = {"level": EVIL, "event": EVIL, "hook": EVIL, "node": EVIL, "outcome": EVIL, "started_ms": 1,
       "finished_ms": 2, "output_head": FINE + EVIL}
OPERATION = {"number": 7, "id": EVIL, "state": EVIL, "user": FINE + EVIL, "created_ms": 1,
             "opcodes": [{"op": EVIL, "status": EVIL, "job": EVIL, "step": EVIL, "error": EVIL,
                          "log": [{"time_ms": 1, "message": EVIL}]}]}
UPDATE = {"id": "u1", "job": "one/a/b/c", "user": FINE + EVIL, "status": EVIL, "active": False,
          "created_ms": 1, "modified_ms": 2, "revision": 1,
          "latest_failure": {"instance": 0, "reason": FINE + EVIL},
          "events": [{"status": EVIL, "time_ms": 1, "message": EVIL}],
          "instance_events": [{"instance": 0, "time_ms": 1, "action": EVIL}],
          "metadata": [{"key": EVIL, "value": FINE + EVIL}]}
ANSWERS = {
    "/v1/updates": {"items": [{**UPDATE, "id": EVIL, "job": EVIL}], "next": None},
    "/v1/updates/u1": UPDATE,
    "/v1/tasks": {"items": [TASK], "next": None},
    "/v1/jobs": {"items": [{"key": FINE + EVIL}], "next": None},
    "/v1/cron": {"items": [], "next": None},
    "/v1/nodes": {"items": [{"name": FINE + EVIL, "mode": EVIL, "address": EVIL}], "next": None},
    "/v1/hook-runs": {"items": [RUN], "missing": [EVIL]},
    "/v1/operations": {"items": [OPERATION], "next": None},
    "/v1/operations/7": OPERATION,
}


class Master(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ANSWERS.get(self.path.split("?")[0])
        status = 200 if body else 404
        text = json.dumps(body or {"title": EVIL, "detail": EVIL, "status": 404}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if body else "application/problem+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clusters")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Master)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (directory / "clusters.json").write_text(json.dumps(
        [{"name": "one", "scheduler_uri": f"http://127.0.0.1:{server.server_port}"}]))
    yield {"AURORA_CONFIG_ROOT": str(directory)}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words, fine", [
    (["job", "status", "one"], True), (["job", "list", "one"], True), (["node", "list"], True),
    (["hook", "log"], True), (["op", "list"], True), (["op", "show", "7"], True),
    (["op", "show", "8"], False), (["op", "wait", "7"], False), (["update", "list", "one"], True),
    (["update", "info", "one/a/b/c", "u1"], True), (["update", "wait", "one/a/b/c", "u1"], True)], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_nothing_reaches_the_terminal_as_a_command(env, words, fine):
    done = davit(*words, env=env)
    shown = done.stdout + done.stderr
    assert "\\x1b[31m" in shown and (FINE in shown) == fine
    assert [c for c in shown if (c < " " and c not in "\n\t") or "\x7f" <= c < "\xa0"
            or "\u202a" <= c <= "\u202e"] == []
    # No text begins a line of its own: each line is one that the command line itself began.
    assert not any(line.startswith("\\x7f") for line in shown.splitlines())
