# SPDX-License-Identifier: Apache-2.0
"""A task's own HTTP server, for tests: `python3 health_server.py PORT`.

Its directory is its control panel: /health answers what the file `answer` holds (a status, a
blank, a body; absent: 200 ok), after `delay` seconds.  Every request is a line in `requests`.  The
file `quits` names the POSTed paths after which it leaves; `refuses` those answered with 500.
"""
import http.server
import os
import signal
import sys
import time


def read(name, fallback=""):
    try:
        with open(name) as file:
            return file.read()
    except FileNotFoundError:
        return fallback


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def note(self, what):
        with open("requests", "a") as file:
            file.write(what + "\n")

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.note(f"GET {self.path}")
        time.sleep(float(read("delay", "0")))
        status, _, body = read("answer", "200 ok").partition(" ")
        self.reply(int(status), body.encode())

    def do_POST(self):
        self.note(f"POST {self.path}")
        refused = self.path in read("refuses").split()
        self.reply(500 if refused else 200, b"")
        if not refused and self.path in read("quits").split():
            os._exit(0)

    def log_message(self, *args):
        pass


def on_term(signum, frame):
    with open("requests", "a") as file:
        file.write("TERM\n")
    if not os.path.exists("stubborn"):
        os._exit(0)


signal.signal(signal.SIGTERM, on_term)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
