# SPDX-License-Identifier: Apache-2.0
"""The ZooKeeper protocol by hand: for what no client library sends or shows.

A Raw is one connection.  Requests can be pipelined: send() many, then read().
"""
import socket
import struct

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL = 1, 2, 3, 4, 5, 6, 7
GET_CHILDREN, SYNC, PING, GET_CHILDREN2, CHECK, MULTI, CREATE2 = 8, 9, 11, 12, 13, 14, 15
RECONFIG, CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, CREATE_TTL = 16, 17, 18, 19, 21
AUTH, SET_WATCHES, ADD_WATCH, CLOSE = 100, 101, 106, -11
OPEN = struct.pack(">iii", 1, 31, 5) + b"world" + struct.pack(">i", 6) + b"anyone"


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", len(raw)) + raw


def create_body(path, data=b"", flags=0, acl=OPEN):
    return text(path) + text(data) + acl + struct.pack(">i", flags)


def path_int(path, number):
    return text(path) + struct.pack(">i", number)


def path_watch(path, watch=False):
    return text(path) + struct.pack(">?", watch)


class Reply:
    def __init__(self, frame):
        self.xid, self.zxid, self.err = struct.unpack(">iqi", frame[:16])
        self.body = frame[16:]

    def event(self):
        """(type, path) of a notification."""
        kind, _state, size = struct.unpack(">iii", self.body[:12])
        return kind, self.body[12:12 + size].decode()


class Closed(Exception):
    pass


class Raw:
    def __init__(self, port, connect=True, timeout_ms=4000, session=0, passwd=bytes(16), zxid=0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.xid = 0
        self.timeout_ms = self.session = self.passwd = None
        if connect:
            self.frame(struct.pack(">iqiqi", 0, zxid, timeout_ms, session, 16) + passwd + b"\0")
            answer = self.read_frame()
            _, self.timeout_ms, self.session, size = struct.unpack(">iiqi", answer[:20])
            self.passwd = answer[20:20 + size]

    def frame(self, body):
        self.sock.sendall(struct.pack(">i", len(body)) + body)

    def send(self, kind, body=b"", xid=None):
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.frame(struct.pack(">ii", xid, kind) + body)
        return xid

    def read_exactly(self, size):
        while len(self.buffer) < size:
            try:
                part = self.sock.recv(65536)
            except ConnectionError:
                part = b""
            if not part:
                raise Closed()
            self.buffer += part
        head, self.buffer = self.buffer[:size], self.buffer[size:]
        return head

    def read_frame(self):
        return self.read_exactly(struct.unpack(">i", self.read_exactly(4))[0])

    def read(self):
        return Reply(self.read_frame())

    def ask(self, kind, body=b"", xid=None):
        """The reply to this request; notifications before it are dropped."""
        sent = self.send(kind, body, xid)
        while True:
            reply = self.read()
            if reply.xid == sent:
                return reply

    def closed(self):
        """Does the server hang up?  What it still sends is dropped."""
        try:
            while True:
                self.read_frame()
        except Closed:
            return True

    def drop(self):
        """As if the machine had died: the session is not closed."""
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
