# SPDX-License-Identifier: Apache-2.0
"""The pod level of hooks: callback programs around a real davit-pod's processes."""
import json
import os
import time

import pytest

from pods import Pod, alive, process
from servers import wait_until

EVENTS = ("initialize", "configure", "sanity_check", "tear_down", "finalize")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


class Hooks:
    """A directory of pod hooks; each hook's stdin and order are kept beside it."""

    def __init__(self, top):
        self.dir = top / "podhooks"
        self.seen = top / "seen"
        self.dir.mkdir()
        self.seen.mkdir()

    def add(self, name, body="true"):
        path = self.dir / name
        path.parent.mkdir(exist_ok=True)
        event = name.replace("/", "-")
        path.write_text(f"#!/bin/sh\ncat > {self.seen}/{event}.json\n"
                        f"echo {name} >> {self.seen}/order\n{body}\n")
        path.chmod(0o755)

    def order(self):
        path = self.seen / "order"
        return path.read_text().split() if path.exists() else []

    def question(self, event):
        return json.loads((self.seen / f"{event}.json").read_text())


@pytest.fixture
def hooks(tmp_path):
    return Hooks(tmp_path)


def finished(agent):
    """event -> the last record of it that is finished."""
    return {m["record"]["event"]: m["record"] for m in agent.of("hook") if m["record"]["outcome"]}


def test_every_event_is_called_with_a_question_and_recorded(home, hooks):
    for event in EVENTS:
        hooks.add(event, 'echo \'{"said": "yes"}\'; echo noise >&2')
    with Pod(home, [process("a", "echo started >> ../../seen/order; sleep 60")], hooks=hooks.dir,
             task={"ports": {"http": 31004}, "instance": 3,
                   "hooks": {"check_every_ms": 50, "checks": 1}}) as pod:
        pod.agent.wait("a check", lambda: "sanity_check" in finished(pod.agent))
        pod.agent.tell(type="stop", grace_ms=10000)
        state = pod.end()
    order = hooks.order()
    assert order[:3] == ["initialize", "configure", "started"]
    assert order[-2:] == ["tear_down", "finalize"] and set(order[3:-2]) == {"sanity_check"}
    assert state["state"] == "killed"
    for event in EVENTS:
        question = hooks.question(event)
        assert question["event"] == event and question["task"] == "www-devel-hello-0-x"
        assert question["job"] == "c/www/devel/hello" and question["instance"] == 3
        assert question["ports"] == {"http": 31004}
        record = finished(pod.agent)[event]
        assert record["level"] == "pod" and record["outcome"] == "ok" and record["exit_code"] == 0
        assert record["op_id"] == "op-1" and record["node"] == "node1"
        assert "noise" in record["output_head"]
    assert "pid" not in hooks.question("configure")["processes"]["a"]
    assert hooks.question("sanity_check")["processes"]["a"]["pid"] == \
        hooks.question("tear_down")["processes"]["a"]["pid"]
    assert hooks.question("finalize")["processes"]["a"]["state"] == "killed"


def test_programs_of_a_directory_run_in_order_in_the_pods_environment(home, hooks):
    hooks.add("initialize.d/20-b", "env > $HOME/env; pwd > $HOME/pwd")
    hooks.add("initialize.d/10-a")
    with Pod(home, [process("a", "true")], hooks=hooks.dir) as pod:
        assert pod.end()["state"] == "finished"
    assert hooks.order() == ["initialize.d/10-a", "initialize.d/20-b"]
    env = (pod.sandbox / "env").read_text().splitlines()
    assert f"HOME={pod.sandbox}" in env and "USER=www" in env
    assert any(line.startswith("HOOK_TOKEN=") for line in env)
    assert (pod.sandbox / "pwd").read_text().strip() == str(pod.sandbox)


@pytest.mark.parametrize("event", ["initialize", "configure"])
def test_a_failure_before_the_start_fails_the_pod_without_a_process(home, hooks, event):
    hooks.add(event, "exit 7")
    hooks.add("finalize")
    with Pod(home, [process("a", "touch ran")], hooks=hooks.dir) as pod:
        state = pod.end()
    assert state["state"] == "failed" and event in state["reason"]
    assert state["processes"]["a"]["runs"] == 0 and not (pod.sandbox / "ran").exists()
    assert finished(pod.agent)[event]["exit_code"] == 7
    assert hooks.order() == [event, "finalize"]


def test_consecutive_failed_checks_turn_the_task_off(home, hooks):
    hooks.add("sanity_check", "test $(grep -c sanity_check $(dirname $0)/../seen/order) -ne 2 && exit 1; exit 0")
    hooks.add("tear_down")
    with Pod(home, [process("a", "sleep 60")], hooks=hooks.dir,
             task={"hooks": {"check_every_ms": 50, "checks": 2}}) as pod:
        state = pod.end()
    assert state["state"] == "failed" and state["reason"].startswith("Sanity check failed: ")
    # bad, good (credits are back), bad, bad
    assert hooks.order() == ["sanity_check"] * 4 + ["tear_down"]


def test_checks_are_off_unless_asked_for(home, hooks):
    hooks.add("sanity_check", "exit 1")
    with Pod(home, [process("a", "sleep 0.2")], hooks=hooks.dir) as pod:
        assert pod.end()["state"] == "finished"
    assert hooks.order() == []


def test_a_hanging_tear_down_leaves_time_for_term(home, hooks):
    hooks.add("tear_down", "trap '' TERM; while :; do sleep 0.05; done")
    with Pod(home, [process("a", "trap 'echo termed > termed; exit' TERM; touch ready;"
                                 "while :; do sleep 0.05; done")], hooks=hooks.dir) as pod:
        wait_until("the trap is set", (pod.sandbox / "ready").exists)
        began = time.monotonic()
        pod.agent.tell(type="stop", grace_ms=2000)
        assert pod.end()["state"] == "killed"
        took = time.monotonic() - began
    assert (pod.sandbox / "termed").exists() and took < 8
    assert finished(pod.agent)["tear_down"]["outcome"] in ("timed_out", "lost")


def test_a_stop_ends_a_hanging_initialize(home, hooks):
    hooks.add("initialize", "echo $$ > $HOME/pid; exec sleep 300")
    hooks.add("finalize")
    with Pod(home, [process("a", "touch ran")], hooks=hooks.dir) as pod:
        wait_until("initialize runs", lambda: (pod.sandbox / "pid").exists()
                   and (pod.sandbox / "pid").read_text().endswith("\n"))
        began = time.monotonic()
        pod.agent.tell(type="stop", grace_ms=3000, reason="Killed by root")
        state = pod.end()
        assert time.monotonic() - began < 8
        assert not alive(int((pod.sandbox / "pid").read_text()))
    assert state["state"] == "killed" and state["reason"] == "Killed by root"
    assert not (pod.sandbox / "ran").exists()


def test_an_initialize_that_takes_too_long_fails_the_pod(home, hooks):
    hooks.add("initialize", "exec sleep 300")
    with Pod(home, [process("a", "true")], hooks=hooks.dir,
             task={"hooks": {"grace_ms": 200}}) as pod:
        assert pod.end()["state"] == "failed"
    assert finished(pod.agent)["initialize"]["timed_out"]


def test_a_stop_that_is_repeated_does_not_cut_tear_down(home, hooks):
    """An agent that comes back says it again."""
    hooks.add("tear_down", f"while [ ! -e {hooks.seen}/go ]; do sleep 0.02; done")
    with Pod(home, [process("a", "sleep 60")], hooks=hooks.dir) as pod:
        pod.agent.wait_state("running")
        pod.agent.tell(type="stop", grace_ms=20000)
        wait_until("tear_down runs", lambda: "tear_down" in hooks.order())
        again = pod.connect()
        again.tell(type="stop", grace_ms=60000)
        pod.agent.tell(type="stop", grace_ms=60000)
        time.sleep(0.5)  # It must not do anything.
        (hooks.seen / "go").touch()
        pod.end()
    assert finished(pod.agent)["tear_down"]["outcome"] == "ok"


@pytest.mark.parametrize("event", ["tear_down", "finalize"])
def test_failures_at_the_end_are_trapped(home, hooks, event):
    hooks.add(event, "exit 1")
    with Pod(home, [process("a", "sleep 60")], hooks=hooks.dir) as pod:
        pod.agent.wait_state("running")
        pod.agent.tell(type="stop", grace_ms=5000)
        assert pod.end()["state"] == "killed"
    assert finished(pod.agent)[event]["outcome"] == "failed"


def test_records_wait_for_an_agent_and_are_forgotten_when_acknowledged(home, hooks):
    hooks.add("initialize", "echo from initialize >&2")
    with Pod(home, [process("a", "sleep 60")], hooks=hooks.dir) as pod:
        pod.agent.wait_state("running")
        pod.agent.close()
        assert json.loads((home / "hooks.jsonl").read_text())["type"] == "hook"
        agent = pod.connect()
        agent.wait_state("running")
        [message] = agent.of("hook")
        assert message["record"]["outcome"] == "ok"
        assert "from initialize" in message["record"]["output_head"]
        agent.tell(type="hook-ack", seq=message["seq"])
        wait_until("the file is gone", lambda: not (home / "hooks.jsonl").exists())
        again = pod.connect()
        again.wait_state("running")
        assert again.of("hook") == []
        again.tell(type="stop", grace_ms=1000)
        again.wait_state("killed")


def test_records_nobody_fetches_are_bounded_and_counted(home, hooks):
    hooks.add("sanity_check")
    with Pod(home, [process("a", "sleep 60")], hooks=hooks.dir,
             task={"hooks": {"check_every_ms": 10, "checks": 10000}}) as pod:
        pod.agent.wait_state("running")
        pod.agent.close()
        wait_until("300 checks", lambda: hooks.order().count("sanity_check") >= 300, 60)
        agent = pod.connect()
        agent.wait("a count of the lost", lambda: any(m.get("dropped") for m in agent.of("hook")))
        seen = {m["record"]["run_id"] for m in agent.of("hook")}
        assert len(seen) < hooks.order().count("sanity_check")
        assert (home / "hooks.jsonl").stat().st_size <= 600 * 1024
        rss, _ = pod.memory_kb()
        print(f"RSS with 256 records: {rss} KiB")
        agent.tell(type="stop", grace_ms=1000)
        agent.wait_state("killed")


def test_a_hook_that_leaves_something_behind_keeps_nothing_alive(home, hooks):
    hooks.add("finalize", "(setsid sleep 300 & echo $! > $HOME/left) >/dev/null 2>&1")
    with Pod(home, [process("a", "true")], hooks=hooks.dir) as pod:
        pod.agent.wait_state("finished")
        pod.agent.tell(type="bye")
        wait_until("davit-pod ends", lambda: pod.popen.poll() == 0)
        assert not alive(int((pod.sandbox / "left").read_text()))


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
def test_hooks_run_as_the_user_of_the_processes(home, hooks, tmp_path):
    top = tmp_path
    closed = []
    while top != top.parent:
        if not top.stat().st_mode & 0o001:
            closed.append((top, top.stat().st_mode))
            top.chmod(top.stat().st_mode | 0o001)
        top = top.parent
    try:
        (home / "sandbox").mkdir(parents=True)
        os.chown(home / "sandbox", 12345, 12345)
        hooks.seen.chmod(0o777)
        hooks.add("initialize", "id -u > $HOME/uid")
        with Pod(home, [process("a", "true")], hooks=hooks.dir,
                 task={"run_as": {"uid": 12345, "gid": 12345}}) as pod:
            assert pod.end()["state"] == "finished"
        assert (pod.sandbox / "uid").read_text() == "12345\n"
    finally:
        for path, mode in closed:
            path.chmod(mode)
