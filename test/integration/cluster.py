# SPDX-License-Identifier: Apache-2.0
"""A whole davit cluster for tests: `davit up` on a directory of its own.

    with Cluster(tmp_path, nodes=2) as c:
        c.davit("job", "create", c.key("hello"), "hello.aurora")
        c.api("GET", "/v1/tasks?job=" + c.key("hello"))

Real programs only.  DAVIT_BUILD chooses the build tree (default build/).
"""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from servers import ROOT, build_dir, wait_until

USER = os.environ.get("USER") or subprocess.check_output(["id", "-un"], text=True).strip()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=70):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        # Deep directories make paths longer than sun_path: go through a descriptor.
        folder, name = os.path.split(self.path)
        fd = os.open(folder, os.O_PATH)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{fd}/{name}")
        finally:
            os.close(fd)


class Answer(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


def environ_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def is_zombie(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Cluster:
    def __init__(self, directory, nodes=1, options=(), env=None, marker=None):
        self.dir = pathlib.Path(directory)
        self.nodes = nodes
        self.options = list(options)
        self.marker = marker or f"davit-test-{os.getpid()}-{time.monotonic_ns()}"
        self.env = {
            **os.environ, "AURORA_CONFIG_ROOT": str(self.dir), "DAVIT_TEST_MARK": self.marker,
            "DAVIT_PYTHONPATH": str(ROOT / "python"), "HOME": str(self.dir),
            "PATH": f"{build_dir()}/src/cli:/usr/bin:/bin:/usr/sbin:/sbin", **(env or {}),
        }
        self.process = None
        self.socket = self.dir / "master" / "api.sock"

    # --- life ---

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        self.dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        log = open(self.dir / "up.out", "ab")
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [build_dir() / "src/cli/davit", "up", "--dir", self.dir, "--nodes", str(self.nodes),
             f"--report-fd={write}", *self.options],
            env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        if said != "\n":
            self.process.wait(30)
            raise AssertionError(f"davit up: {said}\n{self.logs()}")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("davit up did not stop\n" + self.logs()) from None
        self.process = None

    def logs(self, lines=15):
        parts = []
        for path in [self.dir / "up.out", *sorted((self.dir / "log").glob("*.log"))]:
            with contextlib.suppress(OSError):
                tail = path.read_text(errors="replace").splitlines()[-lines:]
                parts.append(f"--- {path.name}\n" + "\n".join(tail))
        return "\n".join(parts)

    # --- asking ---

    def key(self, name, env="devel"):
        return f"devcluster/{USER}/{env}/{name}"

    def davit(self, *args, check=True, timeout=120, **kw):
        done = subprocess.run([build_dir() / "src/cli/davit", *args], env=self.env, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, **kw)
        if check and done.returncode != 0:
            raise AssertionError(f"davit {' '.join(map(str, args))}: exit {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}\n{self.logs()}")
        return done

    def api(self, method, path, body=None, timeout=70, headers=None):
        """The answer's JSON; raises Answer for a status that is not 2xx, OSError when
        nobody answers."""
        connection = UnixConnection(self.socket, timeout)
        try:
            text = json.dumps(body) if body is not None else None
            head = {"Content-Type": "application/json"} if text else {}
            connection.request(method, path, text, {**head, **(headers or {})})
            answer = connection.getresponse()
            data = answer.read().decode()
            if not 200 <= answer.status < 300:
                raise Answer(answer.status, data)
            return json.loads(data) if data else None
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            connection.close()

    def patient_api(self, method, path, body=None, seconds=60, headers=None):
        """api(), again while the master is away: for requests that may be repeated."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.api(method, path, body, headers=headers)
            except (OSError, Answer) as e:
                if isinstance(e, Answer) and e.status not in (503, 502):
                    raise
                if time.monotonic() > end:
                    raise AssertionError(f"no master within {seconds} s: {e}\n{self.logs()}") from e
                time.sleep(0.02)

    def tasks(self, key, active=None):
        query = "" if active is None else f"&active={'true' if active else 'false'}"
        return self.patient_api("GET", f"/v1/tasks?limit=1000&job={key}{query}")["items"]

    def wait_state(self, key, state, count, seconds=60):
        def there():
            return [t for t in self.tasks(key) if t["state"] == state][:count] \
                if sum(t["state"] == state for t in self.tasks(key)) >= count else None
        try:
            return wait_until(f"{count} tasks of {key} {state}", there, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.tasks(key)}\n{self.logs()}") from None

    # --- processes ---

    def pids(self, program, *words):
        """Live processes of this cluster whose command line begins with the program and
        holds the words."""
        found = []
        mark = f"DAVIT_TEST_MARK={self.marker}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                argv = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(argv[0]).decode(errors="replace") != program:
                continue
            text = b" ".join(argv).decode(errors="replace")
            if all(word in text for word in words) and not is_zombie(entry) and (
                    str(self.dir) in text or mark in environ_of(entry)):
                found.append(int(entry))
        return found

    def task_pids(self):
        """Every live process whose working directory is in this cluster's directory: what
        tasks run, since their environment holds no mark of ours."""
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and int(entry) != os.getpid() and not is_zombie(entry) and \
                        os.readlink(f"/proc/{entry}/cwd").startswith(f"{self.dir}/"):
                    found.append(int(entry))
        return found

    def all_pids(self):
        """Everything that runs because of this cluster."""
        return sorted({*self.marked_pids(self.marker), *self.task_pids()})

    def marked_pids(self, marker):
        """Every live process with this text in its environment or command line."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and not is_zombie(entry):
                text = b"\0".join(environ_of(entry))
                with contextlib.suppress(OSError):
                    text += pathlib.Path(f"/proc/{entry}/cmdline").read_bytes()
                if marker.encode() in text:
                    found.append(int(entry))
        return found
