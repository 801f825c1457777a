# SPDX-License-Identifier: Apache-2.0
"""Servers for tests: davit-store, and a real ZooKeeper 3.8 from Debian's package.

Both are context managers that give a Server: its address, its pid, and how to
kill, stop and start it again on the same directory and port.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
JAVA_DIR = pathlib.Path("/usr/share/java")
TICK_MS = 200  # so that sessions can expire while a test waits


def build_dir():
    return pathlib.Path(os.environ.get("DAVIT_BUILD", ROOT / "build"))


def store_program():
    return build_dir() / "src" / "store" / "davit-store"


def wait_until(what, condition, seconds=15.0):
    """Poll condition until it is true; its value.  Fails when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.002)


def four_letter(port, word, timeout=5.0):
    """The answer to a command such as b"ruok"; b"" when nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
            sock.sendall(word)
            answer = b""
            while True:
                part = sock.recv(65536)
                if not part:
                    return answer
                answer += part
    except OSError:
        return b""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    kind = ""

    def __init__(self, directory, port=0):
        self.dir = pathlib.Path(directory)
        self.port = port
        self.process = None
        self.log = self.dir / "server.log"
        self.dir.mkdir(parents=True, exist_ok=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def argv(self):
        raise NotImplementedError

    def spawn(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv(), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)

    def start(self):
        self.spawn()
        wait_until(f"{self.kind} answers", self.answers, 60)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended with {self.process.returncode}:\n"
                                 + self.log.read_text(errors="replace")[-3000:])
        # A short wait: a JVM that has bound its port may be far from answering.
        return b"Mode: standalone" in four_letter(self.port, b"srvr", timeout=0.1)

    def kill(self):
        """kill -9, at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self):
        """SIGTERM; its exit status."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class DavitStore(Server):
    kind = "davit-store"

    def __init__(self, directory, port=0, tick_ms=TICK_MS, extra=()):
        super().__init__(directory, port)
        self.tick_ms = tick_ms
        self.extra = list(extra)

    def argv(self):
        return [str(store_program()), "--dir", str(self.dir / "data"), "--listen", self.address,
                "--port-file", str(self.dir / "port"), "--tick", str(self.tick_ms), *self.extra]

    def answers(self):
        file = self.dir / "port"
        if self.port == 0 and file.exists():
            self.port = int(file.read_text())
        if self.port == 0 and self.process.poll() is None:
            return False
        return super().answers()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            (self.dir / "port").unlink()
        return super().start()


class ZooKeeper(Server):
    kind = "ZooKeeper"

    def __init__(self, directory, port=0, tick_ms=TICK_MS):
        super().__init__(directory, port or free_port())
        self.tick_ms = tick_ms
        (self.dir / "data").mkdir(exist_ok=True)
        (self.dir / "zoo.cfg").write_text(
            f"tickTime={tick_ms}\ndataDir={self.dir}/data\nclientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n"
            "4lw.commands.whitelist=*\n")

    def argv(self):
        return ["java", "-Dzookeeper.4lw.commands.whitelist=*",
                "-Dzookeeper.admin.enableServer=false",
                "-cp", f"{JAVA_DIR}/zookeeper.jar:{JAVA_DIR}/slf4j-nop.jar",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.dir / "zoo.cfg")]


def missing_zookeeper():
    """Why no real ZooKeeper can be started here; "" when one can."""
    if shutil.which("java") is None:
        return "no java: install Debian's zookeeper package"
    if not (JAVA_DIR / "zookeeper.jar").exists():
        return "no zookeeper.jar: install Debian's zookeeper package"
    return ""


@contextlib.contextmanager
def running(server):
    try:
        yield server.start()
    finally:
        if sys.exc_info()[0] is not None and server.log.exists():
            print(server.log.read_text(errors="replace")[-3000:], file=sys.stderr)
        server.stop()


def davit_store(directory, **options):
    return running(DavitStore(directory, **options))


def zookeeper_server(directory, **options):
    return running(ZooKeeper(directory, **options))
