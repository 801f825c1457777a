# SPDX-License-Identifier: Apache-2.0
"""A whole cluster as its users see it: verbs, hooks of all levels, logs, the API.

One cluster of three nodes for the whole file; test_up.py has the life of clusters.
Contract: aurora.md 1.1-1.6 and 3.8-3.9, ganeti.md 2.9, p2.md 1.4, docs/architecture.md.
"""
import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
import uuid

import pytest

from cluster import Answer, Cluster, USER
from servers import build_dir, wait_until

CONFIG = """
import getpass, os, sys

MODE = os.environ.get('MODE', '')

class Gate(object):
    def pre_create_job(self, config):
        if MODE == 'false': return False
        if MODE == 'none': return None
        if MODE == 'raise': raise ValueError('boom')
        if MODE == 'exit': sys.exit(42)
        if MODE == 'change': config.add_metadata('changed', 'by a hook')
        return True
    def err_create_job(self, exc, config):
        print('err hook: %s' % exc)
    def post_create_job(self, result, config):
        if MODE == 'late': raise ValueError('too late')
    def pre_kill_job(self, job_key, instances=None, config=None, message=None):
        print('pre kill %s' % (instances,))
        return MODE != 'nokill'

class Generic(object):
    def generic_hook(self, hook_config, event, method_name, result_or_err, args, kw):
        if MODE == 'generic-false' and event == 'pre': return False
        if MODE == 'generic-none': return None
        return True

hooks = [Gate(), Generic()]

def task(cmd, cpu=0.01, processes=None, **kw):
    return Task(name='t', processes=processes or [Process(name='main', cmdline=cmd)],
                resources=Resources(cpu=cpu, ram=1*MB, disk=1*MB), finalization_wait=2, **kw)

def job(name, cmd='exec sleep 1000', cls=Service, task_kw={}, **kw):
    kw.setdefault('enable_hooks', True)
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               task=task(cmd, **task_kw), **kw)

P = Process
ordered = [P(name='one', cmdline='echo one >> order'), P(name='two', cmdline='echo two >> order'),
           P(name='last', cmdline='echo last >> order; cat order', final=True)]

jobs = [
    job('plain'),
    job('hooked'),
    job('six', 'echo "up {{mesos.instance}}"; echo oops >&2; exec sleep 1000', instances=6),
    job('big', task_kw={'cpu': 1000.0}),
    job('batch', 'echo the result', cls=Job),
    job('fails', 'echo bad news >&2; exit 3', cls=Job, max_task_failures=1),
    job('flaps', 'exit 1'),
    job('cron', cls=Job, cron_schedule='* * * * *'),
    job('bound', 'echo "for {{who}}"', cls=Job),
    job('order', cls=Job, task_kw={'processes': ordered,
                                   'constraints': order('one', 'two')}),
    job('counts', 'for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done', cls=Job),
    job('ports', 'echo {{thermos.ports[http]}}; exec sleep 1000'),
]
"""

SCRIPT = """#!/bin/sh
{}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cluster")
    (directory / "home").mkdir()
    (directory / "home" / "jobs.aurora").write_text(CONFIG)
    with Cluster(directory / "up", nodes=3, env={"NO_COLOR": ""}) as one:
        one.home = directory / "home"
        yield one
    assert one.all_pids() == []


@pytest.fixture
def run(cluster):
    """run(words...) -> the finished command, in the directory of jobs.aurora."""
    def go(*args, check=False, mode="", timeout=60, env=None):
        done = subprocess.run(
            [build_dir() / "src/cli/davit", *map(str, args)], text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=timeout, cwd=cluster.home,
            env={**cluster.env, "MODE": mode, **(env or {})})
        if check and done.returncode != 0:
            raise AssertionError(f"davit {args}: exit {done.returncode}\n{done.stdout}{done.stderr}\n"
                                 + cluster.logs())
        return done
    return go


@pytest.fixture
def made(cluster, run):
    """made(name, ...) creates a job and kills it when the test is over; its key."""
    keys = []

    def go(name, *options, **kw):
        key = cluster.key(name)
        keys.append(key)
        run("job", "create", key, "jobs.aurora", *options, check=True, **kw)
        return key
    yield go
    for key in keys:
        run("job", "killall", "--no-batching", key)


@contextlib.contextmanager
def hook(directory, name, body):
    """A hook program that is there for a while."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(SCRIPT.format(body))
    path.chmod(0o755)
    try:
        yield path
    finally:
        path.unlink()


def text_of(done):
    return done.stdout + done.stderr


# --- job create ------------------------------------------------------------------------------

def test_create_says_where_to_look(cluster, run, made):
    key = cluster.key("plain")
    done = run("job", "create", "--wait-until=RUNNING", key, "jobs.aurora", check=True)
    assert re.fullmatch(rf"Job create succeeded: job url=http://127\.0\.0\.1:\d+/scheduler/{USER}/"
                        r"devel/plain\n", done.stdout)
    assert [t["state"] for t in cluster.tasks(key)] == ["RUNNING"]
    again = run("job", "create", key, "jobs.aurora")
    assert again.returncode == 4
    assert again.stderr == ("Job creation failed due to error:\n"
                            f"\tJob {USER}/devel/plain already exists\n")
    assert "err hook: " in again.stdout and "already exists" in again.stdout
    again = run("job", "create", "--json", key, "jobs.aurora")
    assert again.returncode == 4 and json.loads(again.stderr)["exit"] == 4
    run("job", "killall", key, check=True)
    done = run("job", "create", "--json", key, "jobs.aurora", check=True)
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["state"] == "succeeded" and record["opcodes"][0]["op"] == "OP_JOB_CREATE"
    run("job", "killall", key, check=True)


def test_wait_until_looks_at_the_new_job_only(cluster, run, made):
    """Runs of an earlier job of the same name count for nothing."""
    key = made("order", "--wait-until=FINISHED")
    made("order", "--wait-until=FINISHED")
    assert [t["state"] for t in cluster.tasks(key)] == ["FINISHED"] * 2


def test_waiting_for_a_service_that_keeps_failing_ends(cluster, run, made):
    key = made("flaps", "--wait-until=RUNNING", timeout=20)
    tasks = wait_until("it is tried again", lambda: [
        t for t in cluster.tasks(key, active=True) if t["state"] == "THROTTLED"])
    assert "penalized" in tasks[0]["events"][0]["message"] and tasks[0]["ancestor"]
    assert "THROTTLED: Rescheduled, penalized for" in run("job", "status", key).stdout


@pytest.mark.parametrize("name, options, status, said", [
    ("cron", [], 4, 'Cron jobs may only be scheduled with "aurora cron schedule" command'),
    ("bound", [], 3, "{{who}}"),
    ("plain", ["--bind", "nonsense"], 2, "Binding parameter must be formatted name=value"),
    ("absent", [], 3, "Could not find job devcluster/"),
])
def test_create_that_is_refused_before_the_master(cluster, run, name, options, status, said):
    done = run("job", "create", cluster.key(name), "jobs.aurora", *options)
    assert said in done.stderr and done.returncode == status, text_of(done)
    assert cluster.tasks(cluster.key(name), active=True) == []


def test_create_with_an_unknown_cluster(run):
    done = run("job", "create", "nowhere/a/b/c", "jobs.aurora")
    assert (done.returncode, done.stderr) == (3, "Unknown cluster: nowhere\n")


def test_bind(cluster, run, made):
    key = made("bound", "--bind", "who=you", "--wait-until=FINISHED")
    assert run("task", "logs", f"{key}/0", check=True).stdout == "for you\n"


def test_create_that_the_server_rejects(cluster, run):
    """A job that the client lets through and the master does not."""
    (cluster.home / "long.aurora").write_text(CONFIG + "\njobs = [job('x' * 300)]\n")
    done = run("job", "create", cluster.key("x" * 300), "long.aurora")
    assert done.returncode == 4, text_of(done)
    assert done.stderr.startswith("Job creation failed due to error:\n\tInvalid name 'xxx")
    assert "err hook: APIError" in done.stdout and cluster.tasks(cluster.key("x*")) == []


# --- client hooks ------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, status, said", [
    ("false", 1, "Pre hooks stopped call to create_job (Gate.pre_create_job: returned False"),
    ("none", 1, "Gate.pre_create_job: returned None"),
    ("raise", 1, "Gate.pre_create_job: ValueError: boom"),
    ("exit", 42, ""),
    ("generic-false", 1, "Generic.generic_hook: returned False"),
])
def test_a_client_hook_refuses(cluster, run, mode, status, said):
    """P3: nothing is changed, and the timeline tells of it."""
    key = cluster.key("hooked")
    operations = cluster.api("GET", "/v1/operations")["items"]
    since = int(time.time() * 1000) - 1
    done = run("job", "create", key, "jobs.aurora", mode=mode)
    assert done.returncode == status and said in done.stderr, text_of(done)
    assert cluster.tasks(key, active=True) == []
    assert cluster.api("GET", "/v1/operations")["items"] == operations
    records = json.loads(run("hook", "log", "--job", key, "--failed", "--json", check=True).stdout)
    mine = [r for r in records if r["started_ms"] >= since]
    assert mine and mine[-1]["level"] == "client" and mine[-1]["event"] == "pre_create_job"
    assert mine[-1]["outcome"] in ("refused", "failed")


def test_client_hooks_that_let_it_pass(cluster, run, made):
    key = made("hooked", mode="generic-none")
    assert cluster.tasks(key) != []
    run("job", "killall", key)
    made("hooked", mode="late")  # A post hook that raises is logged only.
    events = [r["event"] for r in json.loads(
        run("hook", "log", "--job", key, "--level", "client", "--json").stdout)]
    assert events.count("post_create_job") >= 2
    assert run("job", "kill", f"{key}/0", "jobs.aurora", mode="nokill").returncode == 1
    assert [t["state"] for t in cluster.tasks(key, active=True)] != []


def test_a_client_hook_changes_the_job(cluster, run, made):
    key = made("hooked", mode="change")
    task, = json.loads(run("job", "status", key, "--write-json").stdout)[0]["active"]
    assert task["assignedTask"]["task"]["metadata"] == [{"key": "changed", "value": "by a hook"}]
    assert "(key: 'changed', value: 'by a hook')" in run("job", "status", key).stdout


# --- job status, list ------------------------------------------------------------------------

def test_status(cluster, run, made):
    key = made("ports", "--wait-until=RUNNING")
    lines = run("job", "status", key, check=True).stdout.splitlines()
    assert lines[0] == "Active tasks (1):"
    assert re.fullmatch(rf"\tTask role: {USER}, env: devel, name: ports, instance: 0, "
                        r"status: RUNNING on node\d", lines[1])
    assert lines[2] == "\t  CPU: 0.01 core(s), RAM: 1 MB, Disk: 1 MB, Port: http"
    assert re.fullmatch(r"\t  assigned ports: \{'http': 3\d{4}\}", lines[3])
    assert lines[4:6] == ["\t  failure count: 0 (max 1)", "\t  events:"]
    assert re.fullmatch(r"\t   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d PENDING:.*", lines[6])
    assert "Inactive tasks (0):" in lines and not any("None" in line for line in lines)
    rows = json.loads(run("job", "status", key, "--write-json", check=True).stdout)
    task = rows[0]["active"][0]
    assert rows[0]["job"] == key and rows[0]["inactive"] == [] and task["status"] == "RUNNING"
    assigned = task["assignedTask"]
    assert assigned["instanceId"] == 0 and assigned["slaveHost"].startswith("node")
    said = wait_until("it has said its port", lambda: run("task", "logs", f"{key}/0").stdout)
    assert assigned["assignedPorts"]["http"] == int(said)
    assert assigned["taskId"] == cluster.tasks(key)[0]["id"]
    assert assigned["task"]["job"] == {"role": USER, "environment": "devel", "name": "ports"}
    assert {"numCpus": 0.01} in assigned["task"]["resources"]
    assert [e["status"] for e in task["taskEvents"]][::len(task["taskEvents"]) - 1] == [
        "PENDING", "RUNNING"]
    assert task["failureCount"] == 0


def test_nothing_found(cluster, run):
    done = run("job", "status", "devcluster/zzz")
    assert (done.returncode, done.stderr) == (6, "Found no jobs matching devcluster/zzz/*/*\n")
    done = run("job", "status", "devcluster/zzz", "--write-json", check=True)
    assert json.loads(done.stdout) == {"jobspec": "devcluster/zzz",
                                       "error": "No matching jobs found"}
    assert run("job", "list", "devcluster/zzz", check=True).stdout == ""


def test_wildcards(cluster, run, made):
    keys = [made("plain"), made("hooked")]
    found = run("job", "list", "devcluster", check=True).stdout.splitlines()
    assert set(keys) <= set(found) and found == sorted(found)
    assert run("job", "list", f"dev*/{USER}/d?vel/pl[a]in", check=True).stdout == keys[0] + "\n"
    assert run("job", "status", "*/*/devel/hooked").stdout.count("Task role") >= 1
    assert keys[0] in [j["key"] for j in json.loads(run("job", "list", "devcluster", "--json").stdout)]


def test_no_room(cluster, run, made):
    key = made("big")
    assert "\t  pending reason: Insufficient: CPU\n" in run("job", "status", key).stdout
    assert cluster.tasks(key)[0]["state"] == "PENDING"


# --- task states ------------------------------------------------------------------------------

def test_batch_jobs_end_and_their_output_stays(cluster, run, made):
    key = made("batch", "--wait-until=FINISHED")
    task, = cluster.tasks(key)
    assert task["state"] == "FINISHED" and task["active"] is False
    wait_until("the pod is uninstalled", lambda: not list(
        cluster.dir.glob(f"nodes/*/pods/{task['id']}")))
    assert run("task", "logs", f"{key}/0", check=True).stdout == "the result\n"
    assert run("task", "logs", "--follow", f"{key}/0", check=True).stdout == "the result\n"
    assert "status: FINISHED" in run("job", "status", key).stdout
    failed = made("fails", "--wait-until=FINISHED")
    task, = cluster.tasks(failed)
    assert task["state"] == "FAILED" and "status 3" in task["events"][-1]["message"]
    assert run("task", "logs", "--stderr", f"{failed}/0", check=True).stdout == "bad news\n"


def test_processes_run_in_order_and_final_ones_last(run, made):
    key = made("order", "--wait-until=FINISHED")
    assert run("task", "logs", f"{key}/0", check=True).stdout == "one\ntwo\nlast\n"
    assert run("task", "logs", f"{key}/0", "one", check=True).stdout == ""


# --- task logs --------------------------------------------------------------------------------

def test_logs(cluster, run, made):
    key = made("six", "--wait-until=RUNNING")
    wait_until("it wrote", lambda: run("task", "logs", f"{key}/4").stdout == "up 4\n")
    assert run("task", "logs", f"{key}/4", "main", "--run", 0).stdout == "up 4\n"
    assert run("task", "logs", f"{key}/4", "--stderr").stdout == "oops\n"
    for args, status, said in [
            ([f"{key}/9"], 6, f"Job or instance {key}/9 not found"),
            ([f"{key}/1", "nobody"], 14, "'nobody'"),
            ([f"{key}/1", "--run", "7"], 14, "no run 7"),
            ([f"{key}/1", "--run", "x"], 6, "'x'"),
            ([f"{key}/1", "../../../etc"], 6, "no process can be called"),
            ([cluster.key("absent") + "/0"], 6, "not found")]:
        done = run("task", "logs", *args)
        assert done.returncode == status and said in done.stderr and done.stdout == "", text_of(done)
        assert done.stderr.count("\n") == 1


def test_logs_as_json(run, made):
    key = made("counts", "--wait-until=FINISHED")
    done = run("task", "logs", "--json", f"{key}/0", check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["line"] for row in rows] == [f"line {i}" for i in range(1, 6)]
    assert {row["stream"] for row in rows} == {"stdout"} and len({row["task"] for row in rows}) == 1


def test_follow_ends_with_the_task(run, made):
    key = made("counts")
    wait_until("it started", lambda: "RUNNING" in run("job", "status", key).stdout)
    done = run("task", "logs", "--follow", f"{key}/0", check=True, timeout=30)
    assert done.stdout == "".join(f"line {i}\n" for i in range(1, 6))


# --- job kill ---------------------------------------------------------------------------------

def test_kill(cluster, run, made):
    key = made("six", "--wait-until=RUNNING")

    def active():
        return [t["instance"] for t in cluster.tasks(key, active=True)]
    done = run("job", "kill", f"{key}/0-1,1", "-m", "maintenance", check=True)
    assert done.stdout == ("Successfully killed instances [0]\nSuccessfully killed instances [1]\n"
                           "Job kill succeeded\n")
    assert active() == [2, 3, 4, 5]
    events = [t for t in cluster.tasks(key, active=False) if t["instance"] == 0][-1]["events"]
    assert next(e for e in events if e["state"] == "KILLING")["message"] == (
        f"Killed by {USER}.\nmaintenance")
    assert f" KILLING: Killed by {USER}. maintenance\n" in run("job", "status", key).stdout
    done = run("job", "kill", f"{key}/1,5", "--strict")
    assert (done.returncode, done.stderr) == (6, "Invalid instance parameter: [1]\n")
    assert active() == [2, 3, 4, 5]
    assert run("job", "kill", f"{key}/0").stdout == "Job kill succeeded\n"  # Dropped silently.
    done = run("job", "kill", f"{key}/2-4", "--batch-size", 2, "--config", "jobs.aurora", check=True)
    assert done.stdout.splitlines() == [
        "pre kill [2, 3]", "Successfully killed instances [2, 3]",
        "pre kill [4]", "Successfully killed instances [4]", "Job kill succeeded"]
    done = run("job", "kill", "--no-batching", "--json", f"{key}/5", check=True)
    record, = json.loads(done.stdout)
    assert record["opcodes"][0]["op"] == "OP_JOB_KILL" and record["state"] == "succeeded"
    assert active() == []
    done = run("job", "kill", f"{key}/5")
    assert (done.returncode, done.stderr) == (6, f"No tasks to kill found for job {key}\n")


def test_killall(cluster, run, made):
    key = made("six")
    done = run("job", "killall", "--batch-size=4", key, "jobs.aurora", check=True)
    assert done.stdout.splitlines()[-1] == "Job killall succeeded"
    assert done.stdout.count("Successfully killed instances [") == 2
    key = made("six")
    assert run("job", "killall", "--no-batching", key).stdout == "Job killall succeeded\n"
    assert cluster.tasks(key, active=True) == []
    assert run("job", "killall", key).returncode == 6


# --- operation hooks --------------------------------------------------------------------------

@pytest.mark.parametrize("where, directory", [
    ("master", "global-pre.d"), ("master", "job-kill-pre.d"), ("node", "job-kill-pre.d")])
def test_an_operation_hook_refuses(cluster, run, made, where, directory):
    """P3 on the master and on the operation's node."""
    key = made("plain", "--wait-until=RUNNING")
    before = cluster.tasks(key)
    node, = {t["node"] for t in before if t["active"]}
    hooks = cluster.dir / ("hooks" if where == "master" else f"nodes/{node}/hooks")
    with hook(hooks / directory, "guard", "echo 'not today'; exit 1"):
        done = run("job", "killall", "--no-batching", key)
        assert done.returncode == 12, text_of(done)
        assert done.stderr == (
            "Kill of instances all failed with error:\n\trefused by hook "
            f"{directory}/guard on {socket.gethostname() if where == 'master' else node}: not today\n")
        assert cluster.tasks(key) == before
    log = json.loads(run("hook", "log", "--job", key, "--failed", "--json").stdout)
    assert log[-1]["hook"] == "guard" and log[-1]["outcome"] == "refused"


def test_a_create_hook_refuses(cluster, run):
    key = cluster.key("plain")
    with hook(cluster.dir / "hooks/job-create-pre.d", "guard", "exit 7"):
        done = run("job", "create", key, "jobs.aurora")
        assert done.returncode == 12 and "guard" in done.stderr
        assert cluster.tasks(key, active=True) == []
        done = run("job", "create", "--json", key, "jobs.aurora")
        assert done.returncode == 12 and "guard" in json.loads(done.stderr)["detail"]
    number = json.loads(run("op", "list", "--limit=1", "--json").stdout)[0]["number"]
    shown = run("op", "show", number, check=True).stdout
    assert "failed" in shown and "guard" in shown
    assert run("op", "list", "--state=failed", "--limit=1").stdout.splitlines()[1].startswith(str(number))


def test_post_hooks_are_told_how_it_ended(cluster, run, made):
    out = cluster.dir / "post.txt"
    with hook(cluster.dir / "hooks/global-post.d", "tell",
              f'echo "$GANETI_OP_CODE $GANETI_POST_STATUS $GANETI_HOOKS_PATH" >> {out}'), \
            hook(cluster.dir / "hooks/job-create-post.d", "tell", f'echo "own post" >> {out}'):
        made("plain")
        assert out.read_text().splitlines() == ["own post", "OP_JOB_CREATE succeeded global"]
        out.unlink()
        with hook(cluster.dir / "hooks/job-kill-pre.d", "guard", "exit 1"):
            assert run("job", "killall", cluster.key("plain")).returncode == 12
        assert out.read_text() == "OP_JOB_KILL failed global\n"


# --- node and pod hooks -----------------------------------------------------------------------

NODE_VARIABLES = ["HOOK", "HOOK_EVENT", "HOOKED_NODE", "HOOKED_POD_ID", "HOOKED_POD_HOME",
                  "HOOKED_POD_MANIFEST", "HOOKED_CONFIG_PATH", "HOOKED_ENV_PATH",
                  "HOOKED_CONFIG_DIR_PATH", "HOOKED_SYSTEM_POD_ROOT", "HOOKED_POD_UNIQUE_KEY",
                  "HOOKED_POD_READ_ONLY"]


def test_node_hooks_in_p2s_order_with_its_variables(cluster, run, made):
    out = cluster.dir / "node-hooks"
    out.mkdir(mode=0o777)
    directories = [cluster.dir / f"nodes/node{i}/p2hooks.d" for i in (1, 2, 3)]
    with contextlib.ExitStack() as stack:
        for directory in directories:
            stack.enter_context(hook(directory, "audit", f'/usr/bin/env > {out}/$(/bin/date +%s%N).$HOOK_EVENT'))
        key = made("plain", "--wait-until=RUNNING")
        task = cluster.tasks(key, active=True)[0]["id"]
        run("job", "killall", key, check=True)
        def recorded():
            log = json.loads(run("hook", "log", "--job", key, "--level=node", "--json").stdout)
            return [r["event"] for r in log if r["task"] == task and r["outcome"] == "ok"]
        wait_until("the pod is uninstalled", lambda: "before_uninstall" in recorded())
    events = [p.name.split(".")[1] for p in sorted(out.iterdir())]
    assert events == ["before_install", "after_install", "before_launch", "after_launch",
                      "before_uninstall"]
    for path in out.iterdir():
        env = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        assert not [name for name in NODE_VARIABLES if name not in env], path.name
        assert {name for name in env if name.startswith("HOOK")} == set(NODE_VARIABLES)
        assert env["HOOKED_POD_ID"] == task and env["HOOKED_NODE"].startswith("node")
        assert env["HOOK"] == "p2hooks.d" and env["HOOKED_POD_HOME"].endswith(task)
        assert env["HOOK_EVENT"] == path.name.split(".")[1]
    assert recorded() == events


def test_before_launch_ends_before_the_first_process(cluster, run, made):
    """P5."""
    marker = cluster.dir / "launched"
    with contextlib.ExitStack() as stack:
        for i in (1, 2, 3):
            stack.enter_context(hook(cluster.dir / f"nodes/node{i}/p2hooks.d/before_launch", "slow",
                                     f"/bin/sleep 0.3; /bin/date +%s%N > {marker}"))
        key = made("plain", "--wait-until=RUNNING")
    task = cluster.tasks(key, active=True)[0]
    running = next(e for e in task["events"] if e["state"] == "RUNNING")
    assert int(marker.read_text()) / 1e6 <= running["time_ms"] + 1


def test_a_failing_initialize_fails_the_task(cluster, run, made):
    with contextlib.ExitStack() as stack:
        for i in (1, 2, 3):
            stack.enter_context(hook(cluster.dir / f"nodes/node{i}/podhooks", "initialize",
                                     "echo 'no disk today' >&2; exit 1"))
        key = made("batch", "--wait-until=FINISHED")
    task = cluster.tasks(key)[-1]
    assert task["state"] == "FAILED" and "initialize" in task["events"][-1]["message"]
    log = json.loads(run("hook", "log", "--job", key, "--level=pod", "--failed", "--json").stdout)
    assert log[-1]["event"] == "initialize" and log[-1]["exit_code"] == 1
    assert "no disk today" in (log[-1]["output_head"] or "")


# --- operations, nodes, the timeline -------------------------------------------------------------

def test_op_list_and_show(cluster, run, made):
    key = made("plain")
    lines = run("op", "list", "--job", key, "--limit=1", check=True).stdout.splitlines()
    assert lines[0].split() == ["NUMBER", "STATE", "OPCODE", "JOB/NODE", "USER", "CREATED"]
    number, state, opcode, job, user, _ = lines[1].split()
    assert (state, opcode, job, user) == ("succeeded", "OP_JOB_CREATE", key, USER)
    shown = run("op", "show", number, check=True).stdout
    record = json.loads(run("op", "show", number, "--json", check=True).stdout)
    assert record["id"] in shown and "OP_JOB_CREATE  succeeded" in shown
    assert json.loads(run("op", "show", record["id"], "--json").stdout) == record
    for wrong in ("99999999", "no-such-id"):
        done = run("op", "show", wrong)
        assert done.returncode == 14 and done.stderr.count("\n") == 1
    done = run("op", "list", "--state=bogus")
    assert done.returncode == 6 and "'bogus'" in done.stderr


def test_node_list(cluster, run):
    lines = run("node", "list", check=True).stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        [f"node{i}", "alive", "active"] for i in (1, 2, 3)]
    nodes = json.loads(run("node", "list", "--json", check=True).stdout)
    assert [n["name"] for n in nodes] == ["node1", "node2", "node3"]
    assert nodes[0]["resources"]["ram_bytes"] > 0


def test_hook_log_filters(cluster, run, made):
    with hook(cluster.dir / "hooks/job-create-pre.d", "hello", "echo hello there"):
        key = made("hooked")
    record = json.loads(run("op", "list", "--job", key, "--limit=1", "--json").stdout)[0]
    by_number = json.loads(run("hook", "log", "--op", record["number"], "--json", check=True).stdout)
    by_id = json.loads(run("hook", "log", "--op", record["id"], "--json", check=True).stdout)
    assert by_number == by_id
    assert {(r["level"], r["event"]) for r in by_id} >= {
        ("client", "pre_create_job"), ("operation", "job-create-pre"), ("client", "post_create_job")}
    assert {r["op_id"] for r in by_id} == {record["id"]}
    assert {r["level"] for r in json.loads(
        run("hook", "log", "--op", record["id"], "--level=operation", "--json").stdout)} == {"operation"}
    text = run("hook", "log", "--op", record["number"]).stdout
    assert "hello there" in text and text.startswith("TIME")
    assert run("hook", "log", "--op", "999999").returncode == 14
    assert run("hook", "log", "--level=bogus").returncode == 6
    assert json.loads(run("hook", "log", "--job", "x/y/z/none", "--json").stdout) == []


def test_a_node_that_is_down_is_named(cluster, run):
    """P10 too: its pods go on while the agent is away, and are adopted again."""
    pid, = cluster.pids("davit-agent", "--node=node3")
    os.kill(pid, signal.SIGSTOP)
    try:
        done = run("hook", "log", check=True)
        assert done.stderr == "davit: no answer from node3; their records are missing here\n"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("it answers", lambda: run("hook", "log").stderr == "", 30)
    wait_until("it is alive", lambda: all(
        n["alive"] for n in cluster.api("GET", "/v1/nodes")["items"]), 30)


# --- terminals ----------------------------------------------------------------------------------

def on_terminal(cluster, *args, env=None, interrupt_at=None):
    """The output and exit status of davit on a terminal; Ctrl-C once a text was seen."""
    main, side = pty.openpty()
    process = subprocess.Popen([build_dir() / "src/cli/davit", *args], stdin=side, stdout=side,
                               stderr=side, cwd=cluster.home, start_new_session=True,
                               env={**cluster.env, "TERM": "xterm", **(env or {})})
    os.close(side)
    seen = b""
    end = time.monotonic() + 60
    with contextlib.suppress(OSError):  # EIO: the last writer is gone.
        while time.monotonic() < end:
            if select.select([main], [], [], 0.1)[0]:
                part = os.read(main, 65536)
                if not part:
                    break
                seen += part
            if interrupt_at is not None and interrupt_at in seen:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
    os.close(main)
    return seen.decode(), process.wait(30)


def test_colour_on_a_terminal_only(cluster, run):
    assert "\033[32malive" in on_terminal(cluster, "node", "list")[0]
    assert "\033[3" not in on_terminal(cluster, "node", "list", env={"NO_COLOR": "1"})[0]
    assert "\033[3" not in on_terminal(cluster, "node", "list", env={"TERM": "dumb"})[0]
    assert "\033[3" not in on_terminal(cluster, "node", "list", "--color=never")[0]
    assert "\033[3" not in run("node", "list").stdout
    assert "\033[32malive" in run("node", "list", "--color=always").stdout


def test_ctrl_c_while_waiting_leaves_the_operation(cluster, run, made):
    """A hook holds the operation; the client is interrupted; the job is made all the same."""
    key = cluster.key("plain")
    release = cluster.dir / "release"
    with hook(cluster.dir / "hooks/job-create-pre.d", "hold",
              f"while [ ! -e {release} ]; do sleep 0.05; done"):
        text, status = on_terminal(cluster, "job", "create", key, "jobs.aurora",
                                   interrupt_at=b"is running")
        assert status == 130, text
        assert f"creating {key}: operation" in text
        assert re.search(r"\r\033\[KERROR\] Command interrupted by user; operation (\d+) goes on; "
                         r"see 'davit op wait \1'\r\n", text)
        assert cluster.tasks(key, active=True) == []
        release.touch()
        wait_until("the job is made", lambda: cluster.tasks(key, active=True))
    run("job", "killall", key, check=True)


# --- API ------------------------------------------------------------------------------------------

def raw(cluster, request):
    with socket.socket(socket.AF_UNIX) as sock:
        fd = os.open(cluster.dir / "master", os.O_PATH)
        try:
            sock.connect(f"/proc/self/fd/{fd}/api.sock")
        finally:
            os.close(fd)
        sock.settimeout(20)
        with contextlib.suppress(OSError):  # It may answer before all was sent.
            sock.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(65536):
                answer += part
    return answer


def post(cluster, body, path="/v1/operations"):
    head = (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n")
    answer = raw(cluster, head.encode() + body)
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), text.decode()


def operation(**changes):
    doc = {"id": str(uuid.uuid4()), "user": "x",
           "opcodes": [{"op": "OP_TEST_DELAY", "duration": 0.01}]}
    doc.update(changes)
    return json.dumps(doc).encode()


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"nonsense", b'"x"', b"\xff\xfe", b'{"id": "\\ud800"}',
    b'{"id": 1}', operation(id=7), operation(id=""), operation(opcodes={}), operation(opcodes=[]),
    operation(opcodes=[7]), operation(opcodes=[{}]), operation(opcodes=[{"op": "OP_NO_SUCH"}]),
    operation(opcodes=[{"op": 3}]), operation(opcodes=[{"op": "OP_TEST_DELAY", "duration": "x"}]),
    operation(opcodes=[{"op": "OP_JOB_CREATE"}]),
    operation(opcodes=[{"op": "OP_JOB_CREATE", "job": {"name": "x"}}]),
    operation(opcodes=[{"op": "OP_JOB_KILL", "key": "x"}]),
    operation(opcodes=[{"op": "OP_JOB_KILL", "key": "devcluster/a/b/c", "instances": "x"}]),
    operation(hook_runs={}), operation(hook_runs=[1]), operation(priority="x"),
    b'{"id":"a","id":"b","user":"x","opcodes":[{"op":"OP_TEST_DELAY","duration":1}]}',
    b"[" * 100000, b'{"id":' * 5000, b'{"a":"' + b"x" * (5 << 20) + b'"}',
], ids=lambda body: body[:40].decode(errors="replace"))
def test_malformed_operations(cluster, body):
    before = cluster.api("GET", "/v1/operations")["items"]
    status, head, text = post(cluster, body)
    assert 400 <= status < 500, (status, text)
    assert "application/problem+json" in head
    problem = json.loads(text)
    assert problem["status"] == status and problem["detail"] and "\n" not in problem["detail"]
    assert cluster.api("GET", "/v1/operations")["items"] == before


@pytest.mark.parametrize("path, status", [
    ("/v1/operations?cursor=x", 400), ("/v1/operations?limit=0", 400),
    ("/v1/operations?limit=99999", 400), ("/v1/operations?state=no", 400),
    ("/v1/operations/none", 404), ("/v1/operations/1?wait=x", 400),
    ("/v1/tasks?since=x", 400), ("/v1/tasks?wait=-1", 400), ("/v1/tasks?limit=x", 400),
    ("/v1/tasks?cursor=-1", 400), ("/v1/tasks?active=maybe", 400), ("/v1/tasks?job=a/b/c/d/e", 400),
    ("/v1/tasks/none", 404), ("/v1/tasks/none/logs", 404), ("/v1/jobs/devcluster/a/b/c", 404),
    ("/v1/hook-runs?level=x", 400), ("/v1/hook-runs?limit=-1", 400), ("/v1/hook-runs?after=x", 400),
    ("/v1/hook-runs?failed=x", 400), ("/v1/nothing", 404), ("/", 404), ("/v1/%zz", 400),
])
def test_malformed_questions(cluster, path, status):
    with pytest.raises(Answer) as caught:
        cluster.api("GET", path)
    assert caught.value.status == status, caught.value
    assert "\n" not in json.loads(caught.value.body)["detail"]


def test_methods(cluster):
    for method, path, status in [("DELETE", "/v1/tasks", 405), ("PUT", "/v1/operations", 405),
                                 ("POST", "/v1/status", 405)]:
        with pytest.raises(Answer) as caught:
            cluster.api(method, path)
        assert caught.value.status == status
    answer = raw(cluster, b"HEAD /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and body == b""


def test_tcp_needs_the_token(cluster):
    uri = json.loads((cluster.dir / "clusters.json").read_text())[0]["scheduler_uri"]
    token = (cluster.dir / "token").read_text().strip()

    def ask(*headers):
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                               *[word for h in headers for word in ("-H", h)], uri + "/v1/status"],
                              capture_output=True, text=True, timeout=30)
        return done.stdout
    assert ask() == "401"
    assert ask("Authorization: Bearer wrong") == "401"
    assert ask("Authorization: Bearer " + token[:-1]) == "401"
    assert ask("Authorization: Bearer " + token) == "200"


def test_an_operation_that_its_check_rejects(cluster):
    body = json.loads(operation(opcodes=[{"op": "OP_TEST_DELAY", "duration": -1}]))
    cluster.api("POST", "/v1/operations", body)
    record = wait_until("it is over", lambda: (lambda r: r["state"] == "failed" and r)(
        cluster.api("GET", f"/v1/operations/{body['id']}?wait=5000")))
    assert record["opcodes"][0]["error"] and "hook" not in record["opcodes"][0]


def test_the_same_operation_twice_is_one(cluster):
    body = json.loads(operation())
    first = cluster.api("POST", "/v1/operations", body)
    assert cluster.api("POST", "/v1/operations", body)["number"] == first["number"]
    body["opcodes"][0]["duration"] = 0.02
    with pytest.raises(Answer) as caught:
        cluster.api("POST", "/v1/operations", body)
    assert caught.value.status == 422
