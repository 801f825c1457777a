# SPDX-License-Identifier: Apache-2.0
"""davit-pod as the agent sees it: task.json in, processes, files and messages out."""
import json
import os
import signal
import subprocess
import time

import pytest

from pods import Pod, alive, process, program, with_token
from servers import wait_until


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def read(path):
    return path.read_text() if path.exists() else ""


def pid_in(path):
    """The pid that a script writes with `echo $$ > file`, once it is whole."""
    text = wait_until(f"{path.name} is written", lambda: read(path) if read(path).endswith("\n") else "")
    return int(text)


def sanitized():
    return b"__asan_init" in program().read_bytes()


# --- the order of processes, and how a task ends ---

def test_processes_run_in_order_and_log_into_their_own_files(home):
    with Pod(home, [process("b", "echo b >> order; echo oops >&2"),
                    process("a", "sleep 0.05; echo a >> order; echo out of a")],
             constraints=[{"order": ["a", "b"]}]) as pod:
        state = pod.end()
    assert state["state"] == "finished" and state["reason"] == "Task finished."
    assert (pod.sandbox / "order").read_text() == "a\nb\n"
    assert pod.out("a") == "out of a\n" and pod.out("b", 0, "stderr") == "oops\n"
    assert state["processes"]["a"]["exit"] == 0 and state["processes"]["a"]["runs"] == 1
    assert not (home / "pod.sock").exists()


def test_hello_comes_first_and_names_the_process(home):
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        hello = pod.agent.heard[0]
        ticks = open(f"/proc/{pod.popen.pid}/stat").read().rpartition(")")[2].split()[19]
        assert hello["type"] == "hello" and hello["v"] == 1
        assert hello["pid"] == pod.popen.pid and hello["start_time"] == int(ticks)
        assert hello["task"] == "www-devel-hello-0-x" and hello["digest"] == "abc"
        assert hello["boot_id"] == open("/proc/sys/kernel/random/boot_id").read().strip()
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


def test_environment_directory_and_placeholders(home):
    command = "env; pwd; echo {{mesos.instance}} {{mesos.hostname}} {{thermos.task_id}} " \
              "{{thermos.ports[http]}} {{thermos.user}} '{{unknown.thing}}'"
    with Pod(home, [process("a", command)],
             task={"instance": 7, "ports": {"http": 31004}, "env": {"EXTRA": "x=y"}}) as pod:
        pod.end()
    lines = pod.out("a").splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    assert env["HOME"] == str(pod.sandbox) and env["USER"] == env["LOGNAME"] == "www"
    assert env["EXTRA"] == "x=y" and env["DAVIT_RUN"] == pod.token and "BASH_ENV" not in env
    assert set(env) - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "HOME", "USER", "LOGNAME", "PATH", "EXTRA", "DAVIT_RUN"}
    assert lines[-2] == str(pod.sandbox)
    assert lines[-1] == "7 node1 www-devel-hello-0-x 31004 www {{unknown.thing}}"


def test_a_profile_written_by_one_process_is_read_by_the_next(home):
    with Pod(home, [process("setup", "echo export COLOUR=blue > .thermos_profile"),
                    process("use", "echo $COLOUR")],
             constraints=[{"order": ["setup", "use"]}]) as pod:
        pod.end()
    assert pod.out("use") == "blue\n"


def test_a_failing_process_is_run_again_each_time_with_its_own_logs(home):
    with Pod(home, [process("a", "echo run; test -f twice && exit 0; test -f once && touch twice;"
                                 "touch once; exit 3", max_failures=5)]) as pod:
        state = pod.end()
    assert state["state"] == "finished"
    assert state["processes"]["a"]["runs"] == 3 and state["processes"]["a"]["failures"] == 2
    assert [pod.out("a", run) for run in range(3)] == ["run\n"] * 3


def test_too_many_failures_fail_the_task(home):
    with Pod(home, [process("a", "exit 9", max_failures=2), process("b", "sleep 60")]) as pod:
        state = pod.end()
    assert state["state"] == "failed"
    assert state["reason"] == "Task failed. Process a ended with status 9."
    assert state["processes"]["a"] ["state"] == "failed" and state["processes"]["a"]["exit"] == 9
    assert state["processes"]["b"]["state"] == "killed" and state["processes"]["b"]["signal"] == 15


def test_min_duration_lies_between_the_runs(home):
    with Pod(home, [process("a", "date +%s%N >> times; exit 1", max_failures=3,
                            min_duration=0.3)]) as pod:
        pod.end()
    times = [int(line) / 1e9 for line in (pod.sandbox / "times").read_text().split()]
    assert len(times) == 3 and times[1] - times[0] >= 0.3 and times[2] - times[1] >= 0.3


def test_a_daemon_runs_again_and_a_signal_counts_as_lost(home):
    with Pod(home, [process("d", "echo $$ >> pids; sleep 60", daemon=True)]) as pod:
        for run in range(3):
            pids = wait_until("another run", lambda: (
                len(read(pod.sandbox / "pids").split()) == run + 1
                and read(pod.sandbox / "pids").split()))
            os.kill(int(pids[-1]), signal.SIGKILL)
        pod.agent.wait("the fourth run", lambda: pod.agent.state()["processes"]["d"]["runs"] == 4)
        assert pod.agent.state()["processes"]["d"]["failures"] == 0
        assert pod.agent.state()["processes"]["d"]["signal"] == 9
        pod.agent.tell(type="stop", grace_ms=5000)
        assert pod.end()["state"] == "killed"


def test_a_process_has_at_most_100_runs(home):
    with Pod(home, [process("a", "exit 1", max_failures=0)]) as pod:
        state = pod.end(60)
    assert state["state"] == "failed" and state["processes"]["a"]["runs"] == 100


def test_an_ephemeral_process_does_not_hold_the_task(home):
    with Pod(home, [process("a", "sleep 0.1"),
                    process("log", "sleep 600", ephemeral=True, daemon=True)]) as pod:
        assert pod.end()["state"] == "finished"


def test_max_concurrency(home):
    command = "echo start >> log; sleep 0.1; echo end >> log"
    with Pod(home, [process(f"p{i}", command) for i in range(4)], max_concurrency=1) as pod:
        pod.end()
    assert (pod.sandbox / "log").read_text().split() == ["start", "end"] * 4


def test_a_process_that_cannot_be_started_says_why_in_its_log(home):
    # Longer than the kernel takes as one argument.
    with Pod(home, [process("a", "true " + "x" * 200000)]) as pod:
        state = pod.end()
    assert state["state"] == "failed" and state["processes"]["a"]["exit"] == 127
    assert "Argument list too long" in pod.out("a", 0, "stderr")


# --- the end: final processes, deadlines, stubborn processes ---

def test_final_processes_run_when_the_others_are_gone(home):
    with Pod(home, [process("a", "echo $$ > pid; sleep 60"),
                    process("f", "kill -0 $(cat pid) 2>/dev/null && echo still || echo gone",
                            final=True)]) as pod:
        pid_in(pod.sandbox / "pid")
        pod.agent.tell(type="stop", grace_ms=10000, reason="Killed by root", op_id="op-2")
        state = pod.end()
    assert state["state"] == "killed" and state["reason"] == "Killed by root"
    assert state["processes"]["f"]["state"] == "finished"
    assert pod.out("f") == "gone\n"


def test_finalization_wait_bounds_a_process_that_ignores_term(home):
    with Pod(home, [process("a", "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done"),
                    process("f", "true", final=True)], finalization_wait=0.5) as pod:
        pid = pid_in(pod.sandbox / "pid")
        began = time.monotonic()
        pod.agent.tell(type="stop", grace_ms=60000)
        state = pod.end()
        took = time.monotonic() - began
    assert 0.5 <= took < 5 and not alive(pid)
    assert state["processes"]["a"]["signal"] == 9
    assert state["processes"]["f"]["state"] == "waiting"


def test_the_grace_of_a_stop_is_shorter_than_finalization_wait(home):
    with Pod(home, [process("a", "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")]) as pod:
        pid_in(pod.sandbox / "pid")
        pod.agent.tell(type="stop", grace_ms=20000)
        pod.agent.wait_state("stopping")
        pod.agent.tell(type="stop", grace_ms=100)
        began = time.monotonic()
        assert pod.end()["state"] == "killed"
    assert time.monotonic() - began < 5


def test_what_was_double_forked_gets_term_and_is_gone(home):
    script = """
        (setsid bash -c 'trap "echo termed > termed; exit" TERM; echo $$ > orphan; \
                         while :; do sleep 0.05; done' &)
        sleep 60"""
    with Pod(home, [process("a", script)]) as pod:
        orphan = pid_in(pod.sandbox / "orphan")
        pod.agent.tell(type="stop", grace_ms=5000)
        pod.end()
    assert not alive(orphan) and (pod.sandbox / "termed").exists()


def test_an_orphan_that_ignores_term_and_forks_is_killed(home):
    script = """
        (setsid bash -c 'trap "" TERM; echo $$ > orphan; \
                         while :; do (setsid sleep 300 &); sleep 0.05; done' &)
        while [ ! -s orphan ]; do sleep 0.01; done"""
    with Pod(home, [process("a", script)], finalization_wait=0.5) as pod:
        state = pod.end()
    assert state["state"] == "finished"


def test_orphans_of_a_running_pod_are_reaped(home):
    with Pod(home, [process("a", "for i in $(seq 20); do (setsid true &); done; touch done; sleep 60")]
             ) as pod:
        wait_until("all forked", (pod.sandbox / "done").exists)

        def children():
            path = f"/proc/{pod.popen.pid}/task/{pod.popen.pid}/children"
            return open(path).read().split()
        wait_until("only the process itself is left", lambda: len(children()) == 1)
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_davit_pod_stops_it(home, signum):
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        pod.popen.send_signal(signum)
        assert pod.end()["reason"] == "Task killed."


def test_kill_9_of_davit_pod_takes_its_processes_along(home):
    with Pod(home, [process("a", "echo $$ > a; exec sleep 600"),
                    process("b", "trap '' TERM INT HUP; echo $$ > b; while :; do sleep 0.1; done")]
             ) as pod:
        pids = [pid_in(pod.sandbox / name) for name in "ab"]
        pod.agent.wait_state("running")
        pod.popen.kill()
        pod.popen.wait()
        began = time.monotonic()
        wait_until("direct children are gone", lambda: not any(map(alive, pids)), 5)
        print(f"gone after {(time.monotonic() - began) * 1000:.1f} ms")
        assert pod.status()["state"] == "running"  # and the lock is free: it died
        assert with_token(pod.token) == [] or all(p not in pids for p in with_token(pod.token))


@pytest.mark.faults
@pytest.mark.parametrize("point", ["pod.before_start", "pod.after_start", "pod.process_ended",
                                   "pod.before_state", "pod.after_state"])
@pytest.mark.parametrize("nth", [1, 2])
def test_death_at_any_point_leaves_no_process_and_an_honest_state(home, point, nth):
    if point.encode() not in program().read_bytes():
        pytest.skip("built without -Dfaults=true: no crash points")
    with Pod(home, [process("a", "true"), process("b", "sleep 600")],
             constraints=[{"order": ["a", "b"]}],
             env={"DAVIT_CRASH_AT": f"{point}:{nth}", "DAVIT_CRASH_LOG": str(home / "crashes")}
             ) as pod:
        if (point, nth) == ("pod.process_ended", 2):
            pod.agent.wait("b runs", lambda: "pid" in pod.agent.state()["processes"].get("b", {}))
            pod.agent.tell(type="stop", grace_ms=5000)
        assert pod.popen.wait(10) == -signal.SIGKILL
        wait_until("all is gone", lambda: with_token(pod.token) == [], 5)
        assert (home / "crashes").read_text().split().count(point) == nth
        if (home / "state.json").exists():
            assert pod.status()["state"] in ("running", "stopping")


# --- agents come and go ---

def test_an_agent_may_come_back_and_several_may_be_there(home):
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        pod.agent.close()
        again, second = pod.connect(), pod.connect()
        for agent in (again, second):
            assert agent.wait_state("running")["processes"]["a"]["state"] == "running"
            assert agent.heard[0]["type"] == "hello"
        again.tell(type="stop", grace_ms=1000)
        assert second.wait_state("killed")["seq"] == again.wait_state("killed")["seq"]
        second.tell(type="bye")
        wait_until("ends", lambda: pod.popen.poll() == 0)


def test_a_pod_without_agents_ends_by_itself(home):
    with Pod(home, [process("a", "sleep 0.3")]) as pod:
        pod.agent.wait_state("running")
        pod.agent.close()
        wait_until("ends", lambda: pod.popen.poll() == 0)
        assert pod.status()["state"] == "finished"


@pytest.mark.parametrize("line", [
    b"hello\n", b"{}\n", b"[]\n", b'{"type":"stop"}\n', b'{"type":"stop","grace_ms":-5}\n',
    b'{"type":"signal","signal":"NOPE"}\n', b"\xff\xfe\n", b"\n", b"x" * (1024 * 1024 + 2)],
    ids=lambda line: line[:40].decode(errors="replace").strip())
def test_a_bad_line_closes_that_connection_only(home, line):
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        other = pod.connect()
        other.wait_state("running")
        try:
            other.raw(line)
        except ConnectionError:
            pass
        other.wait("closed", lambda: other.closed)
        assert pod.messages().count("closing its connection") == 1
        pod.agent.tell(type="of-a-later-version")
        pod.agent.tell(type="signal", signal="TERM", process="nobody")
        pod.agent.tell(type="stop", grace_ms=1000)
        assert pod.end()["state"] == "killed"


def test_messages_may_come_in_pieces_and_together(home):
    with Pod(home, [process("a", "trap 'touch one' USR1; trap 'touch two' USR2; touch ready;"
                                 "while :; do sleep 0.05; done")]) as pod:
        wait_until("traps are set", (pod.sandbox / "ready").exists)
        text = b'{"type":"signal","signal":"USR1"}\n{"type":"signal","signal":"USR2","process":"a"}\n'
        for i in range(0, len(text), 7):
            pod.agent.raw(text[i:i + 7])
        wait_until("both came", lambda: (pod.sandbox / "one").exists()
                   and (pod.sandbox / "two").exists())
        pod.agent.raw(b'{"type":"stop","grace_ms":0}\n{"type":"stop","grace_ms":0}\n')
        pod.end()


def test_an_agent_that_does_not_read_is_dropped(home):
    many = [process(f"process-{i:04}-" + "x" * 150, "true", max_failures=1) for i in range(60)]
    with Pod(home, [process("d", "true", daemon=True, max_failures=0)] + many + [
            process("hold", "sleep 60")], max_failures=0) as pod:
        pod.agent.wait_state("running")
        slow = pod.connect()
        pod.agent.wait("100 runs", lambda: pod.agent.state()["processes"].get("d", {}).get("runs") == 100, 60)
        rss, _ = pod.memory_kb()
        print(f"RSS with a reader that does not read: {rss} KiB")
        assert sanitized() or rss < 4 * 1024
        slow.wait("closed", lambda: slow.closed)
        assert "does not read" in pod.messages()
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


# --- starting badly ---

def test_bad_task_json_is_told_in_state_json(home):
    with Pod(home, [process("a", "true", daemon=True), process("b", "true")],
             constraints=[{"order": ["a", "b"]}]) as pod:
        assert pod.popen.wait(10) == 3
        assert pod.status()["state"] == "failed" and "daemon" in pod.status()["reason"]


def test_a_second_davit_pod_of_the_same_home_is_refused(home):
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        second = subprocess.run([program(), "--home", home], capture_output=True, text=True,
                                timeout=10)
        assert second.returncode == 13 and str(pod.popen.pid) in second.stderr
        assert pod.connect().wait_state("running")
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


def test_no_sandbox_is_a_failed_task(tmp_path):
    home = tmp_path / "home"
    (home / "sandbox").mkdir(parents=True)
    os.rmdir(home / "sandbox")
    home.joinpath("sandbox").write_text("a file")
    home.joinpath("task.json").write_text(json.dumps(
        {"v": 1, "id": "t", "task": {"processes": [process("a", "true")]}}))
    done = subprocess.run([program(), "--home", home], timeout=10)
    state = json.loads((home / "state.json").read_text())
    assert done.returncode == 0 and state["state"] == "failed"
    assert state["reason"].startswith("Failed to initialize sandbox: ")


def test_bad_options_are_one_line(tmp_path):
    for options, status in (([], 2), (["--nope"], 2), (["--home", tmp_path / "absent"], 14),
                            (["--help"], 0), (["--version"], 0)):
        done = subprocess.run([program(), *options], capture_output=True, text=True, timeout=10)
        assert done.returncode == status, (options, done)


def test_a_home_longer_than_a_socket_address(tmp_path):
    home = tmp_path.joinpath(*["d" * 100] * 4)
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        assert pod.connect().wait_state("running")
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
def test_processes_become_the_user_of_task_json(tmp_path):
    home = tmp_path / "home"
    sandbox = home / "sandbox"
    sandbox.mkdir(parents=True)
    os.chown(sandbox, 12345, 12346)
    path = sandbox
    opened = []
    while path != path.parent:  # pytest's directories are closed to others
        mode = path.stat().st_mode
        if not mode & 0o001:
            opened.append((path, mode))
            path.chmod(mode | 0o001)
        path = path.parent
    try:
        with Pod(home, [process("a", "id -u; id -g; id -G; touch made; ulimit -c")],
                 task={"run_as": {"uid": 12345, "gid": 12346, "groups": [12346, 4242]}}) as pod:
            assert pod.end()["state"] == "finished", pod.out("a", 0, "stderr")
        assert pod.out("a").split()[:4] == ["12345", "12346", "12346", "4242"]
        assert (sandbox / "made").stat().st_uid == 12345
        assert (sandbox / ".logs" / "a" / "0" / "stdout").stat().st_uid == 12345
    finally:
        for path, mode in opened:
            path.chmod(mode)


@pytest.mark.skipif(os.getuid() != 0, reason="planting another user's link needs root")
@pytest.mark.parametrize("link", [".logs", ".logs/a", ".logs/a/0"])
def test_a_log_directory_that_is_a_link_to_elsewhere_is_not_followed(tmp_path, link):
    """davit-pod is root there: not even a directory may appear where the link leads."""
    home = tmp_path / "home"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = home / "sandbox" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    with Pod(home, [process("a", "echo hi")]) as pod:
        assert pod.end()["state"] == "failed"
    assert not list(elsewhere.iterdir())


# --- size ---

def test_an_idle_pod_is_small_and_asleep(home):
    with Pod(home, [process("a", "sleep 60")]) as pod:
        pod.agent.wait_state("running")
        rss, pss = pod.memory_kb()

        def switches():
            text = open(f"/proc/{pod.popen.pid}/status").read()
            return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        wait_until("asleep", lambda: "S (sleeping)" in open(f"/proc/{pod.popen.pid}/status").read())
        before = switches()
        time.sleep(0.5)  # what is measured is that nothing happens
        after = switches()
        print(f"idle davit-pod: RSS {rss} KiB, PSS {pss} KiB, {after - before} wake-ups in 0.5 s")
        assert sanitized() or rss <= 3 * 1024
        assert after - before == 0
        pod.agent.tell(type="stop", grace_ms=1000)
        pod.end()
