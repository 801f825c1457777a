# SPDX-License-Identifier: Apache-2.0
"""Health checks, the HTTP stop ladder and limits, with a real davit-pod and real servers."""
import os
import pathlib
import signal
import socket
import time

import pytest

from pods import Pod, alive, process, program, with_token
from servers import wait_until

SERVER = pathlib.Path(__file__).with_name("health_server.py")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def read(path):
    return path.read_text() if path.exists() else ""


def write(path, text):
    """At one stroke: the server may be reading."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.rename(path)


def checks(http=None, shell=None, **more):
    checker = {"shell": {"shell_command": shell}} if shell else {"http": http or {}}
    return {"health_checker": checker, "initial_interval_secs": 2, "interval_secs": 0.2,
            "timeout_secs": 0.5, **more}


class Served(Pod):
    """A pod that runs health_server.py on its port `health`."""

    def __init__(self, home, health=None, files=None, before="", lifecycle=None, options=(), **graph):
        self.port = free_port()
        sandbox = home / "sandbox"
        sandbox.mkdir(parents=True)
        for name, text in (files or {}).items():
            (sandbox / name).write_text(text)
        task = {"ports": {"health": self.port}}
        if health:
            task["health"] = health
        if lifecycle is not None:
            task["lifecycle"] = {"http": lifecycle}
        command = f"{before}exec /usr/bin/python3 {SERVER} {{{{thermos.ports[health]}}}}"
        super().__init__(home, [process("server", command)], task=task, options=options, **graph)

    def requests(self):
        return read(self.sandbox / "requests").splitlines()

    def wait_request(self, *words):
        wait_until(f"{words} asked", lambda: all(word in self.requests() for word in words))

    def stop(self, grace_ms=60000):
        self.agent.tell(type="stop", grace_ms=grace_ms, reason="Killed by me")


def states(pod):
    return [line["state"] for line in pod.agent.of("state")]


# --- HTTP ---

def test_running_only_when_healthy(home):
    with Served(home, checks(initial_interval_secs=20), {"answer": "503 not yet"}) as pod:
        pod.wait_request("GET /health")
        pod.agent.pump()
        assert set(states(pod)) <= {"starting"}
        write(pod.sandbox / "answer", "200  OK\n")
        state = pod.agent.wait_state("running")
        assert state["reason"] == "Task is healthy."
        assert pod.status()["state"] == "running"
        pod.agent.tell(type="stop", grace_ms=5000)
        assert pod.end()["state"] == "killed"
    assert states(pod).index("running") == len(states(pod)) - 1 - states(pod)[::-1].index("running")


def test_never_healthy_fails_with_the_text(home):
    with Served(home, checks(initial_interval_secs=0.4), {"answer": "200 sick"}) as pod:
        state = pod.end()
    assert state["state"] == "failed"
    assert state["reason"] == "Failed health check! Not enough successful health checks in time."
    assert "running" not in states(pod)
    # ceil(0.4 / 0.2) forgiven, 0 consecutive failures allowed, 1 success wanted; the server may
    # have been up late for the first of them.
    assert 1 <= pod.requests().count("GET /health") <= 3


@pytest.mark.parametrize("http, answer, reason", [
    ({}, "200 sick", 'Response differs from expected response (expected "ok", got "sick")'),
    ({"expected_response": "", "expected_response_code": 200}, "500 ok",
     "Response code differs from expected response (expected 200, got 500)"),
])
def test_unhealthy_later_fails_with_the_last_reason(home, http, answer, reason):
    with Served(home, checks(http, initial_interval_secs=20, max_consecutive_failures=2)) as pod:
        pod.agent.wait_state("running")
        asked = pod.requests().count("GET /health")
        write(pod.sandbox / "answer", answer)
        state = pod.end()
    assert state["state"] == "failed" and state["reason"] == "Failed health check! " + reason
    assert 3 <= pod.requests().count("GET /health") - asked <= 4  # more than two in a row
    assert pod.requests()[-1] == "TERM"


def test_a_server_that_is_gone_or_too_slow(home):
    with Served(home, checks(initial_interval_secs=20)) as pod:
        pod.agent.wait_state("running")
        write(pod.sandbox / "delay", "5")
        state = pod.end()
        assert state["reason"] == f"Failed health check! Failed to signal http://localhost:{pod.port}/health: timed out"
    with Pod(home.with_name("other"), [process("a", "sleep 60")],
             task={"ports": {"health": pod.port}, "health": checks(initial_interval_secs=0.2)}) as pod:
        began = time.monotonic()
        assert "Not enough successful" in pod.end()["reason"]
        assert time.monotonic() - began < 5


def test_the_first_attempt_is_at_once_and_its_failure_forgiven(home):
    health = checks(initial_interval_secs=10, interval_secs=10)
    with Pod(home, [process("a", "sleep 60")], task={"ports": {"health": free_port()}, "health": health}) as pod:
        wait_until("the first attempt is logged", lambda: "attempt=1 " in pod.messages(), 5)
        assert "connection refused" in pod.messages()
        assert pod.agent.wait_state("starting")
        pod.agent.tell(type="stop", grace_ms=1000)
        assert pod.end()["state"] == "killed"


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_a_server_on_the_ipv6_loopback_is_found(home):
    port = free_port()
    serve = f"exec /usr/bin/python3 -m http.server --bind ::1 {port}"
    with Pod(home, [process("a", serve)],
             task={"ports": {"health": port}, "health": checks({"expected_response": ""})}) as pod:
        assert pod.agent.wait_state("running")["reason"] == "Task is healthy."
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


def test_a_snooze_file_counts_as_healthy(home):
    with Served(home, checks(initial_interval_secs=0.2), {"answer": "500 no", ".healthchecksnooze": ""}) as pod:
        pod.agent.wait_state("running")
        assert "GET /health" not in pod.requests()
        (pod.sandbox / ".healthchecksnooze").unlink()
        state = pod.end()
        assert state["state"] == "failed" and '(expected "ok", got "no")' in state["reason"]


def test_without_a_port_called_health_there_is_no_check(home):
    with Pod(home, [process("a", "sleep 60")], task={"ports": {"http": 1}, "health": checks()}) as pod:
        assert pod.agent.wait_state("running").get("reason") is None
        pod.agent.tell(type="stop", grace_ms=1000)
        assert pod.end()["state"] == "killed"


def test_a_task_may_finish_before_it_was_healthy(home):
    with Pod(home, [process("a", "true")], task={"ports": {"health": free_port()}, "health": checks()}) as pod:
        state = pod.end()
    assert state["state"] == "finished" and state["reason"] == "Task finished."


def test_endless_and_broken_answers_are_failures(home):
    """A server that never ends its answer, one that is no HTTP, one that closes at once."""
    script = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "turn = 0\n"
        "while True:\n"
        "    c, _ = s.accept(); turn += 1\n"
        "    try:\n"
        "        c.recv(65536)\n"
        "        if turn % 3 == 1:\n"
        "            c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\n"
        "            while True: c.sendall(b'x' * 65536)\n"
        "        elif turn % 3 == 2:\n"
        "            c.sendall(b'SSH-2.0-OpenSSH\\r\\n')\n"
        "    except OSError: pass\n"
        "    c.close()\n")
    port = free_port()
    (home / "sandbox").mkdir(parents=True)
    (home / "sandbox" / "bad.py").write_text(script)
    with Pod(home, [process("bad", "exec /usr/bin/python3 bad.py {{thermos.ports[health]}}")],
             task={"ports": {"health": port}, "health": checks(initial_interval_secs=60)}) as pod:
        for text in ("longer than 1048576 bytes", "is no HTTP", "closed before the answer"):
            wait_until(text, lambda: text in pod.messages())
        pod.agent.pump()
        assert pod.agent.state()["state"] == "starting"
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


# --- commands ---

def test_a_command_decides_with_placeholders_and_the_tasks_environment(home):
    command = "echo {{mesos.instance}} {{thermos.ports[http]}} {{thermos.task_id}} $USER $PWD > seen; test -f up"
    with Pod(home, [process("a", "sleep 60")],
             task={"ports": {"http": 31007}, "instance": 3,
                   "health": checks(shell=command, initial_interval_secs=20)}) as pod:
        wait_until("the command ran", lambda: read(pod.sandbox / "seen").endswith("\n"))
        assert read(pod.sandbox / "seen").split() == ["3", "31007", "www-devel-hello-0-x", "www",
                                                      str(pod.sandbox)]
        assert states(pod) == [] or set(states(pod)) == {"starting"}
        (pod.sandbox / "up").touch()
        assert pod.agent.wait_state("running")["reason"] == "Task is healthy."
        (pod.sandbox / "up").unlink()
        state = pod.end()
    assert state["state"] == "failed"
    assert state["reason"].startswith("Failed health check! Command 'echo 3 31007")
    assert state["reason"].endswith("; test -f up' returned non-zero exit status 1 with output ''")


def test_a_failing_command_is_told_with_its_output(home):
    command = "test -f sick && { echo so sick; echo and tired >&2; exit 42; }; true"
    with Pod(home, [process("a", "sleep 60")], task={"health": checks(shell=command)}) as pod:
        pod.agent.wait_state("running")
        (pod.sandbox / "sick").touch()
        reason = pod.end()["reason"]
    assert reason == (f"Failed health check! Command '{command}' returned non-zero exit status 42 "
                      "with output 'so sick\nand tired'")


def test_a_command_that_hangs_is_killed_with_all_that_it_started(home):
    command = "test -f hang || exit 0; trap '' TERM; " \
              "(echo $BASHPID >> pids; while :; do sleep 1; done) & while :; do sleep 1; done"
    with Pod(home, [process("a", "sleep 60")],
             task={"health": checks(shell=command, max_consecutive_failures=1)}) as pod:
        pod.agent.wait_state("running")
        (pod.sandbox / "hang").touch()
        pids = wait_until("it hangs", lambda: read(pod.sandbox / "pids").split())
        wait_until("the first one is gone", lambda: not alive(int(pids[0])), 8)
        state = pod.end()
        assert state["reason"] == "Failed health check! Health check timed out."
        for pid in read(pod.sandbox / "pids").split():
            assert not alive(int(pid))


@pytest.mark.parametrize("rung", ["sweep", ""])
def test_a_check_leaves_the_tasks_own_daemons_alone(home, rung):
    """Also one that wiped its environment, as servers do that write a title over it."""
    daemon = "(setsid env -i /bin/bash -c 'echo $$ > daemon; while :; do sleep 1; done' &) ; exec sleep 60"
    with Pod(home, [process("a", daemon)], env={"DAVIT_KILL_RUNG": rung} if rung else {},
             task={"health": checks(shell="echo x >> asked; (env -i sleep 600 &); true")}) as pod:
        pod.agent.wait_state("running")
        pid = int(wait_until("the daemon runs", lambda: read(pod.sandbox / "daemon").endswith("\n")
                             and read(pod.sandbox / "daemon")))
        before = len(read(pod.sandbox / "asked").split())
        wait_until("four more checks", lambda: len(read(pod.sandbox / "asked").split()) > before + 4)
        assert alive(pid)
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()
        assert not alive(pid)


def test_a_check_that_fails_for_ever_does_not_fill_the_log(home):
    with Pod(home, [process("a", "sleep 60")],
             task={"health": checks(shell="echo x >> asked; test ! -e sick", interval_secs=0.1,
                                    max_consecutive_failures=1_000_000)}) as pod:
        pod.agent.wait_state("running")
        (pod.sandbox / "sick").touch()
        before = len(read(pod.sandbox / "asked").split())
        wait_until("twenty checks", lambda: len(read(pod.sandbox / "asked").split()) > before + 20)
        assert 1 <= pod.messages().count("health check failed") <= 6
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


def test_a_command_beats_the_port(home):
    with Served(home, checks(shell="true"), {"answer": "500 no"}) as pod:
        pod.agent.wait_state("running")
        assert "GET /health" not in pod.requests()
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


# --- the stop ladder ---

LADDER = {"graceful_shutdown_wait_secs": 0.6, "shutdown_wait_secs": 0.6}


def test_the_rungs_of_a_stop_in_their_order(home):
    with Served(home, lifecycle=LADDER, files={"stubborn": ""}, finalization_wait=0.6) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        began = time.monotonic()
        pod.stop()
        state = pod.end()
        took = time.monotonic() - began
    assert pod.requests() == ["POST /quitquitquit", "POST /abortabortabort", "TERM"]
    assert state["state"] == "killed" and state["reason"] == "Killed by me"
    assert state["processes"]["server"]["signal"] == 9
    assert 1.7 < took < 6


def serves(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("quits, asked", [("/quitquitquit", ["POST /quitquitquit"]),
                                          ("/abortabortabort", ["POST /quitquitquit", "POST /abortabortabort"])])
def test_a_server_that_leaves_is_not_signalled(home, quits, asked):
    ladder = {"graceful_shutdown_wait_secs": 0.5, "shutdown_wait_secs": 20}
    with Served(home, lifecycle=ladder, files={"quits": quits}) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        began = time.monotonic()
        pod.stop()
        state = pod.end()
        assert time.monotonic() - began < 8
    assert pod.requests() == asked
    assert state["state"] == "killed" and state["reason"] == "Killed by me"
    assert state["processes"]["server"]["exit"] == 0


def test_a_post_that_is_refused_has_no_wait(home):
    ladder = {"graceful_shutdown_wait_secs": 30, "shutdown_wait_secs": 30}
    with Served(home, lifecycle=ladder, files={"refuses": "/quitquitquit /abortabortabort"}) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        began = time.monotonic()
        pod.stop(120000)
        pod.end()
        assert time.monotonic() - began < 8
    assert pod.requests() == ["POST /quitquitquit", "POST /abortabortabort", "TERM"]


def test_final_processes_run_after_the_ladder(home):
    port = free_port()
    (home / "sandbox").mkdir(parents=True)
    (home / "sandbox" / "quits").write_text("/quitquitquit")
    with Pod(home, [process("server", f"exec /usr/bin/python3 {SERVER} {port}"),
                    process("last", "echo last >> requests", final=True)],
             task={"ports": {"health": port}, "lifecycle": {"http": {}}}) as pod:
        wait_until("it serves", lambda: serves(port))
        pod.agent.tell(type="stop", grace_ms=60000)
        assert pod.end()["state"] == "killed"
    assert read(pod.sandbox / "requests").split("\n")[:-1] == ["POST /quitquitquit", "last"]


def test_a_later_shorter_stop_cuts_the_ladder(home):
    ladder = {"graceful_shutdown_wait_secs": 50, "shutdown_wait_secs": 50}
    with Served(home, lifecycle=ladder, finalization_wait=1) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        pod.stop(110000)
        pod.wait_request("POST /quitquitquit")
        began = time.monotonic()
        pod.stop(500)
        state = pod.end()
        assert time.monotonic() - began < 5
    assert pod.requests() == ["POST /quitquitquit", "TERM"]
    assert state["reason"] == "Killed by me"


def test_a_stop_without_time_goes_straight_to_signals(home):
    with Served(home, lifecycle={}, finalization_wait=2) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        pod.stop(2000)
        pod.end()
    assert pod.requests() == ["TERM"]


def test_a_long_finalization_wait_leaves_the_ladder_its_time(home):
    with Served(home, lifecycle=LADDER, finalization_wait=600) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        pod.stop(600_000)
        pod.end()
    assert pod.requests() == ["POST /quitquitquit", "POST /abortabortabort", "TERM"]


def test_no_port_no_ladder(home):
    with Served(home, lifecycle={"port": "admin"}) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        pod.stop()
        pod.end()
    assert pod.requests() == ["TERM"]


def test_a_failed_health_check_ends_by_the_ladder(home):
    with Served(home, checks(), {"quits": "/quitquitquit"}, lifecycle={}) as pod:
        pod.agent.wait_state("running")
        write(pod.sandbox / "answer", "500 no")
        state = pod.end()
    assert state["state"] == "failed" and state["reason"].startswith("Failed health check! Response differs")
    assert [line for line in pod.requests() if not line.startswith("GET")] == ["POST /quitquitquit"]


def test_a_daemon_is_not_started_again_while_it_is_asked_to_leave(home):
    port = free_port()
    (home / "sandbox").mkdir(parents=True)
    (home / "sandbox" / "quits").write_text("/quitquitquit")
    with Pod(home, [process("server", f"exec /usr/bin/python3 {SERVER} {port}", daemon=True),
                    process("other", "trap 'echo TERM >> requests; exit' TERM; while :; do sleep 0.1; done")],
             task={"ports": {"health": port},
                   "lifecycle": {"http": {"graceful_shutdown_wait_secs": 0.5}}}) as pod:
        wait_until("it serves", lambda: serves(port))
        pod.agent.tell(type="stop", grace_ms=60000)
        state = pod.end()
    assert state["processes"]["server"]["runs"] == 1 and state["processes"]["server"]["exit"] == 0
    assert read(pod.sandbox / "requests").split("\n")[0] == "POST /quitquitquit"
    assert read(pod.sandbox / "requests").endswith("TERM\n")


def test_the_pod_goes_on_without_its_agent(home):
    """The agent dies in the middle of a stop: the rungs are climbed all the same."""
    with Served(home, lifecycle=LADDER, files={"stubborn": ""}, finalization_wait=0.5) as pod:
        wait_until("it serves", lambda: serves(pod.port))
        pod.stop()
        pod.wait_request("POST /quitquitquit")
        pod.agent.close()
        wait_until("davit-pod ends", lambda: pod.popen.poll() is not None)
        assert pod.popen.returncode == 0 and pod.status()["state"] == "killed"
        assert with_token(pod.token) == []
    assert pod.requests() == ["POST /quitquitquit", "POST /abortabortabort", "TERM"]


@pytest.mark.faults
@pytest.mark.parametrize("point", ["pod.check", "pod.checked", "pod.ladder"])
@pytest.mark.parametrize("nth", [1, 2])
def test_death_while_checking_or_asking_leaves_no_process_and_an_honest_state(home, point, nth):
    if point.encode() not in program().read_bytes():
        pytest.skip("built without -Dfaults=true: no crash points")
    with Pod(home, [process("a", "sleep 600")],
             task={"ports": {"health": free_port()}, "lifecycle": {"http": {}},
                   "health": checks(shell="sleep 0.05")},
             env={"DAVIT_CRASH_AT": f"{point}:{nth}"}) as pod:
        if point == "pod.ladder":
            pod.agent.wait_state("running")
            pod.agent.tell(type="stop", grace_ms=60000)
        assert pod.popen.wait(10) == -signal.SIGKILL
        wait_until("all is gone", lambda: with_token(pod.token) == [], 5)
        if (home / "state.json").exists():
            assert pod.status()["state"] in ("starting", "running", "stopping")


# --- limits ---

def memory_limits_work():
    if os.environ.get("DAVIT_KILL_RUNG", "cgroup") in ("pidns", "sweep"):
        return False
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
        if os.path.exists(f"{root}/memory.limit_in_bytes") or os.path.exists(f"{root}/cgroup.controllers"):
            text = read(pathlib.Path(root, "cgroup.controllers"))
            if os.geteuid() == 0 and (root.endswith("memory") or "memory" in text):
                return True
    return False


@pytest.mark.skipif(not memory_limits_work(), reason="no memory cgroup that we may use")
@pytest.mark.parametrize("command", [
    "exec /usr/bin/python3 -c \"x = b'x' * 200_000_000\"",
    "/usr/bin/python3 -c \"x = b'x' * 200_000_000\"; sleep 60",
], ids=["the process itself", "a child of it"])
def test_out_of_memory_is_a_failure_that_names_the_limit(home, command):
    with Pod(home, [process("hog", command, max_failures=3)], options=["--usage-every-ms=200"],
             task={"resources": {"ram_bytes": 32 << 20}}) as pod:
        state = pod.end()
    assert state["state"] == "failed"
    assert state["reason"].startswith("Memory limit exceeded.  Reserved 33554432 bytes vs used 33")
    assert state["processes"]["hog"]["runs"] == 1


@pytest.mark.skipif(not memory_limits_work(), reason="no memory cgroup that we may use")
@pytest.mark.parametrize("rung", ["sweep", ""])
def test_a_check_has_no_more_memory_than_its_task(home, rung):
    hog = "/usr/bin/python3 -c \"x = b'x' * 200_000_000\""
    health = checks(shell=hog, initial_interval_secs=0, timeout_secs=10, max_consecutive_failures=2)
    with Pod(home, [process("a", "sleep 60")], env={"DAVIT_KILL_RUNG": rung} if rung else {},
             task={"resources": {"ram_bytes": 32 << 20}, "health": health}) as pod:
        state = pod.end()
    assert state["state"] == "failed"
    assert state["reason"] == "Failed health check! Not enough successful health checks in time."


def test_a_full_disk_is_a_failure_that_names_both_numbers(home):
    command = "mkdir -p a/b; head -c 300000 /dev/zero > a/b/f; ln a/b/f a/g; ln -s / everything; " \
              "while [ ! -e more ]; do sleep 0.05; done; head -c 900000 /dev/zero > h; sleep 60"
    with Pod(home, [process("writer", command)], options=["--usage-every-ms=100"],
             task={"resources": {"disk_bytes": 1_000_000}}) as pod:
        wait_until("the first file is there", lambda: (pod.sandbox / "a/g").exists())
        assert pod.agent.wait_state("running")
        (pod.sandbox / "more").touch()
        state = pod.end()
    assert state["state"] == "failed"
    words = state["reason"].split()
    assert state["reason"] == f"Disk limit exceeded.  Reserved 1000000 bytes vs used {words[8]} bytes."
    assert 1_200_000 < int(words[8]) < 1_400_000


def test_a_process_that_cannot_be_started_is_told_as_the_reason(home):
    too_long = "true #" + "x" * 200_000  # for one argument of execve(2)
    with Pod(home, [process("a", too_long)]) as pod:
        reason = pod.end()["reason"]
    assert reason.startswith("Task failed. Process a could not be started: "), reason
    assert "Argument list too long" in reason


def test_looking_after_a_pod_tells_nothing_while_all_is_well(home):
    with Pod(home, [process("a", "sleep 60")], options=["--usage-every-ms=20"],
             task={"resources": {"ram_bytes": 64 << 20, "disk_bytes": 1 << 30},
                   "health": checks(shell="echo x >> asked", interval_secs=0.1)}) as pod:
        pod.agent.wait_state("running")
        told, written = len(pod.agent.heard), (pod.home / "state.json").stat().st_mtime_ns
        before = len(read(pod.sandbox / "asked").split())
        wait_until("ten checks", lambda: len(read(pod.sandbox / "asked").split()) > before + 10)
        pod.agent.pump()
        assert len(pod.agent.heard) == told
        assert (pod.home / "state.json").stat().st_mtime_ns == written
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


# --- logs ---

def logger(size, backups):
    return {"mode": "rotate", "rotate": {"log_size": size, "backups": backups}}


def logs_of(pod, name, stream="stdout", run=0):
    folder = pod.sandbox / ".logs" / name / str(run)
    return {path.name: path.read_text() for path in folder.iterdir() if path.name.startswith(stream)}


def test_a_rotated_log_keeps_the_newest_lines_in_files_of_its_size(home):
    command = "for i in $(seq 1000 1999); do echo line $i; done; echo oops >&2"  # 10 bytes a line
    with Pod(home, [process("a", command, logger=logger(1005, 3))]) as pod:
        assert pod.end()["state"] == "finished"
    files = logs_of(pod, "a")
    assert sorted(files) == ["stdout", "stdout.1", "stdout.2", "stdout.3"]
    assert [len(files[name]) for name in sorted(files)] == [1000] * 4
    newest_last = "".join(files[name] for name in ("stdout.3", "stdout.2", "stdout.1", "stdout"))
    assert newest_last == "".join(f"line {i}\n" for i in range(1600, 2000))
    assert logs_of(pod, "a", "stderr") == {"stderr": "oops\n"}


def test_a_log_without_backups_and_a_line_longer_than_a_file(home):
    command = "printf 'a%.0s' $(seq 250); echo; echo b"
    with Pod(home, [process("a", command, logger=logger(100, 0))]) as pod:
        pod.end()
    assert logs_of(pod, "a") == {"stdout": "a" * 50 + "\nb\n"}


def test_an_orphan_that_keeps_its_log_open_ends_with_the_pod(home):
    with Pod(home, [process("a", "(sleep 600; echo late) & echo early", logger=logger(1000, 1))],
             finalization_wait=0.2) as pod:
        assert pod.end()["state"] == "finished"
    assert logs_of(pod, "a") == {"stdout": "early\n"}


def test_each_run_rotates_its_own_log(home):
    command = "for i in $(seq 10 29); do echo line $i; done; test -e twice && exit 0; touch twice; exit 1"
    with Pod(home, [process("a", command, max_failures=2, logger=logger(100, 1))]) as pod:
        assert pod.end()["state"] == "finished"
    for run in (0, 1):
        assert len(logs_of(pod, "a", run=run)) == 2
        assert logs_of(pod, "a", run=run)["stdout"].endswith("line 29\n")


def test_a_log_that_its_owner_removed_is_there_again_after_a_change_of_files(home):
    command = "echo first line; rm .logs/a/0/stdout; for i in $(seq 10 29); do echo line $i; sleep 0.01; done"
    with Pod(home, [process("a", command, logger=logger(50, 2))]) as pod:
        assert pod.end()["state"] == "finished"
    files = logs_of(pod, "a")
    assert sorted(files) == ["stdout", "stdout.1", "stdout.2"]
    assert all(0 < len(text) <= 50 for text in files.values())
    assert files["stdout"].endswith("line 29\n")


def test_names_that_cannot_be_changed_cost_neither_the_backups_nor_the_log(home):
    """Its owner may do what he likes in there; davit-pod must not fill its own log about it."""
    command = "mkdir -p .logs/a/0/.stdout.new/x; echo old > .logs/a/0/stdout.1; " \
              "for i in $(seq 10 59); do echo line $i; sleep 0.005; done"
    with Pod(home, [process("a", command, logger=logger(50, 3))]) as pod:
        assert pod.end()["state"] == "finished"
    files = logs_of(pod, "a")
    assert sorted(files) == ["stdout", "stdout.1"]
    assert files["stdout.1"] == "old\n"
    assert files["stdout"] == "".join(f"line {i}\n" for i in range(10, 60))
    assert pod.messages().count("cannot begin a new log") == 1
