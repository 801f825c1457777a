#!/usr/bin/env python3
"""Keep src/ the way docs/architecture.md draws it.

Fails when a room includes a room it may not know, when a foreign library is
included outside its one file, when two source files share a basename (the
basename is the symbol prefix), or when a shell is called.  To allow something
new, edit the tables here and in docs/architecture.md in one commit.
"""
import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "model": {"base"},
    "guest": {"base"},
    "hook": {"base", "guest"},
    "coord": {"base"},
    "store": {"base"},
    "http": {"base"},
    "config": {"base", "model", "guest"},
    "client": {"base", "model", "hook", "guest", "http", "coord"},
    "cli": {"base", "model", "hook", "config", "client"},
    "rest": {"base", "model", "hook", "guest", "http", "config", "client"},
    "op": {"base", "model", "hook", "guest", "master/op_proto.h"},
    "agent": {"base", "model", "hook", "coord", "http", "pod/proto.h"},
    "pod": {"base", "model", "hook", "guest", "http", "coord"},
    "master": {"base", "model", "guest", "hook", "http", "coord"},
}
FOREIGN = {
    "zookeeper/zookeeper.h": "coord/zk.c",
    "zookeeper/zookeeper.jute.h": "store/jute.c",
    "zookeeper/recordio.h": "store/jute.c",
    "curl/curl.h": "http/httpc.c",
    "microhttpd.h": "http/httpd.c",
    "http_parser.h": "pod/health/probe_http.c",
    "sqlite3.h": "base/db.c",
    "nettle/sha2.h": "base/digest.c",
    "nettle/sha1.h": "base/digest.c",
    "nettle/base64.h": "base/digest.c",
    "nettle/memops.h": "base/digest.c",
    "yaml.h": "model/yaml.c",
    "archive.h": "agent/unpack.c",
    "archive_entry.h": "agent/unpack.c",
    "gpgme.h": "agent/signature.c",
}
QUOTED = re.compile(r'^\s*#\s*include\s+"([a-z_]+)/([a-z_0-9/]+\.h)"', re.M)
ANGLED = re.compile(r"^\s*#\s*include\s+<([^>]+)>", re.M)
SHELL = re.compile(r"(?<![\w./])(system|popen)\s*\([^)]")


def complaints(src):
    seen = {}
    for path in sorted(src.rglob("*.[ch]")):
        name = path.relative_to(src).as_posix()
        room = name.split("/")[0]
        text = path.read_text()
        if room not in ALLOWED:
            yield f"{name}: room {room}/ is not in ALLOWED"
            continue
        for target, header in QUOTED.findall(text):
            if target != room and not {target, f"{target}/{header}"} & ALLOWED[room]:
                yield f"{name}: {room}/ may not include {target}/{header}"
        for header in ANGLED.findall(text):
            if name != FOREIGN.get(header, name):
                yield f"{name}: only {FOREIGN[header]} may include <{header}>"
        for call in SHELL.findall(text):
            yield f"{name}: {call}() starts a shell; use base/child.h"
        if path.suffix == ".c" and path.name != "main.c":
            if path.name in seen:
                yield f"{name}: basename already taken by {seen[path.name]}"
            seen[path.name] = name


found = list(complaints(pathlib.Path(sys.argv[1], "src")))
if found:
    print("\n".join(found))
sys.exit(bool(found))
