# SPDX-License-Identifier: Apache-2.0
"""The verbs of updates, and job diff, as people and scripts use them.

What updates do is in test_updates.py; here: words, exit codes, client hooks, JSON, and the
pipes of awk and grep that old scripts are made of.  Contract: aurora.md 1.4-1.6, 3.2, 3.8.
"""
import json
import os
import re
import signal
import subprocess
import uuid

import pytest

from cluster import Cluster, USER
from servers import build_dir, wait_until

CONFIG = """
import getpass, json, os

MODE = os.environ.get('MODE', '')

def say(**kw):
    open(os.environ['HOOK_LOG'], 'a').write(json.dumps(kw, sort_keys=True) + '\\n')

class Watcher(object):
    def pre_start_job_update(self, config, message, instances=None, metadata=None):
        say(event='pre_start', name=config.name(), message=message, instances=instances,
            metadata=sorted(metadata))
        if MODE == 'change': config.add_metadata('changed', 'by a hook')
        return MODE != 'veto'
    def post_start_job_update(self, result, config, message, instances=None, metadata=None):
        say(event='post_start', code=result.responseCode)
    def err_start_job_update(self, exc, config, message, instances=None, metadata=None):
        say(event='err_start', said=str(exc))
    def pre_cancel_update(self, job_key):
        say(event='pre_cancel', key=str(job_key))
        return MODE != 'veto'
    def post_cancel_update(self, result, job_key):
        say(event='post_cancel', code=result.responseCode)

hooks = [Watcher()]

def job(name, cls=Service, cmd='exec sleep 1000', instances=3, watch=0, contact=None, **kw):
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               enable_hooks=True, instances=int(os.environ.get('N', instances)),
               contact=os.environ.get('CONTACT', 'ops@example.com'),
               update_config=UpdateConfig(watch_secs=int(os.environ.get('WATCH', watch)), **kw),
               task=Task(name='t', processes=[
                   Process(name='main', cmdline=os.environ.get('CMD', cmd))],
                   resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB), finalization_wait=2))

jobs = [
    job('web'), job('other'), job('sum', instances=2),
    job('pulsed', pulse_interval_secs=60),
    job('steps', update_strategy=VariableBatchUpdateStrategy(
        batch_sizes=[1, 2], autopause_after_batch=True)),
    job('batch', cls=Job),
    job('cron', cls=Job)(cron_schedule='* * * * *'),
]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("update-cli")
    home = directory / "home"
    home.mkdir()
    (home / "jobs.aurora").write_text(CONFIG)
    with Cluster(directory / "up", env={"NO_COLOR": "", "HOOK_LOG": str(home / "hooks.log")},
                 options=["--node-cpus=8"]) as one:
        one.home = home
        yield one
    assert one.all_pids() == []


@pytest.fixture
def run(cluster):
    def go(*args, check=False, timeout=60, **env):
        done = subprocess.run(
            [build_dir() / "src/cli/davit", *map(str, args)], text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=timeout, cwd=cluster.home,
            env={**cluster.env, **env})
        if check and done.returncode != 0:
            raise AssertionError(f"davit {args}: exit {done.returncode}\n{done.stdout}{done.stderr}\n"
                                 + cluster.logs())
        return done
    return go


@pytest.fixture
def made(cluster, run):
    keys = []

    def go(name, **env):
        key = cluster.key(name)
        keys.append(key)
        run("job", "create", "--wait-until=RUNNING", key, "jobs.aurora", check=True, **env)
        return key
    yield go
    for key in keys:
        run("update", "abort", key)
        run("job", "killall", "--no-batching", key)


def hook_log(cluster):
    path = cluster.home / "hooks.log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def latest(cluster, key):
    return cluster.api("GET", f"/v1/updates?job={key}")["items"][0]


def status(cluster, key, *wanted):
    return wait_until(f"{wanted}", lambda: latest(cluster, key)["status"] in wanted and
                      latest(cluster, key))


def start_slow(run, key, **env):
    """An update that is under way until something is done about it."""
    return run("update", "start", key, "jobs.aurora", check=True, **{"WATCH": "600",
                                                                     "CONTACT": "slow", **env})


URL = r"http://127\.0\.0\.1:\d+/scheduler/{}/devel/{}/update/([0-9a-f-]{{36}})"


# --- update start ----------------------------------------------------------------------------

def test_start_previews_starts_and_waits(cluster, run, made):
    key = made("web")
    done = run("update", "start", "--wait", "-m", "release 7", key, "jobs.aurora", check=True,
               CONTACT="new", N="4")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["This job update will:", "add instances: [3]", "update instances: [0-2]"]
    assert re.fullmatch("Job update has started. View your update progress at "
                        + URL.format(USER, "web"), lines[3])
    assert lines[4:] == ["Current state ROLLING_FORWARD", "Current state ROLLED_FORWARD"]
    assert done.stderr == ""
    assert len(cluster.tasks(key, active=True)) == 4
    assert latest(cluster, key)["start_message"] == "release 7"


def test_start_of_what_is_there_already(cluster, run, made):
    key = made("web")
    done = run("update", "start", key, "jobs.aurora", check=True)
    assert done.stdout == ("This job update will:\nnot change instances: [0-2]\n"
                           "Job is unchanged by proposed update.\n")


def test_preview_of_some_instances(cluster, run, made):
    key = made("web", N="5")
    done = run("update", "start", f"{key}/1,3-4", "jobs.aurora", check=True, CONTACT="x", N="5")
    assert done.stdout.splitlines()[1] == "update instances: [1], [3-4]"
    status(cluster, key, "ROLLED_FORWARD")
    configs = {t["instance"]: t["config"] for t in cluster.tasks(key, active=True)}
    assert configs[0] == configs[2] != configs[1] == configs[3] == configs[4]
    # Less instances than there are, in another configuration.
    done = run("update", "start", "--wait", key, "jobs.aurora", check=True, CONTACT="x", N="2")
    assert done.stdout.splitlines()[1:4] == ["remove instances: [2-4]", "update instances: [0]",
                                             "not change instances: [1]"]
    assert [t["instance"] for t in cluster.tasks(key, active=True)] == [0, 1]


def test_an_update_may_create_the_job(cluster, run):
    key = cluster.key("sum")
    done = run("update", "start", "--wait", key, "jobs.aurora", check=True)
    assert done.stdout.splitlines()[1] == "add instances: [0-1]"
    run("job", "killall", "--no-batching", key, check=True)


def test_start_that_rolls_back_ends_with_4_and_says_why(cluster, run, made):
    key = made("web")
    done = run("update", "start", "--wait", key, "jobs.aurora", CMD="exit 3", WATCH="2")
    assert done.returncode == 4
    assert done.stdout.splitlines()[-1] == "Current state ROLLED_BACK"
    assert re.match(r"Latest failure: instance \d ", done.stderr)
    info = run("update", "info", key, latest(cluster, key)["id"], check=True).stdout
    assert re.search(r"^Latest failure: instance \d ", info, re.M)


@pytest.mark.parametrize("name, env, options, code, said", [
    ("cron", {}, [], 4, 'Cron jobs may only be updated with "aurora cron schedule" command\n'),
    ("absent", {}, [], 3, "Could not find job devcluster/"),
    ("web", {"WATCH": "-1"}, [], 1, "Invalid value (-1) specified for watch_secs"),
    ("batch", {}, [], 10, "Failed to start update due to error:\n\t"
                          "Updates are not supported for non-service tasks.\n"),
])
def test_starts_that_are_refused(cluster, run, name, env, options, code, said):
    done = run("update", "start", *options, cluster.key(name), "jobs.aurora", **env)
    assert done.returncode == code and said in done.stderr, done.stdout + done.stderr


def test_one_update_at_a_time_and_the_job_is_locked(cluster, run, made):
    key = made("web")
    start_slow(run, key)
    done = run("update", "start", key, "jobs.aurora", CONTACT="third")
    assert done.returncode == 10
    assert done.stderr.startswith("Failed to start update due to error:\n\tAn active update already "
                                  "exists for this job, please terminate it before starting another")
    done = run("job", "restart", key)
    assert done.returncode == 10
    assert done.stderr == (
        f"Error restarting job {key}:\n\tJob is currently updating\n"
        "\tError: job is locked by an active update.\n"
        "\tRun 'aurora update abort' or wait for the active update to finish.\n")
    done = run("job", "add", f"{key}/1", "1")
    assert done.returncode == 10 and "\tJob is currently updating\n" in done.stderr
    done = run("job", "kill", f"{key}/1")
    assert done.returncode == 10
    assert done.stderr == (
        "Kill of instances [1] failed with error:\n\tJob is currently updating\n"
        "\tError: job is locked by an active update.\n"
        "\tRun 'aurora update abort' or wait for the active update to finish.\n")


def test_instances_that_the_update_does_not_touch(cluster, run, made):
    key = made("web")
    done = run("update", "start", f"{key}/1,7", "jobs.aurora", CONTACT="y")
    assert done.returncode == 10
    assert done.stderr.startswith(
        "Failed to start update due to error:\n\tThe update request attempted to update specific "
        "instances, but some are irrelevant")


def test_client_hooks_around_a_start(cluster, run, made):
    key = made("web")
    hook_log(cluster)
    done = run("update", "start", "-m", "why", f"{key}/0-1", "jobs.aurora", MODE="veto", CONTACT="x")
    assert done.returncode == 1 and "Pre hooks stopped call to start_job_update" in done.stderr
    assert done.stdout.splitlines()[0] == "This job update will:"  # The preview comes first.
    assert cluster.api("GET", f"/v1/updates?job={key}&active=true")["items"] == []
    run("update", "start", "-m", "why", f"{key}/0-1", "jobs.aurora", CONTACT="x", check=True)
    pre = {"event": "pre_start", "name": "web", "message": "why", "instances": [0, 1],
           "metadata": ["org.apache.aurora.client.update_id"]}
    assert hook_log(cluster) == [pre, pre, {"event": "post_start", "code": 1}]
    status(cluster, key, "ROLLED_FORWARD")
    run("update", "start", "--wait", key, "jobs.aurora", CONTACT="x", MODE="change", check=True)
    assert cluster.tasks(key, active=True)[0]["metadata"] == [
        {"key": "changed", "value": "by a hook"}]
    start_slow(run, key)
    hook_log(cluster)
    run("update", "start", key, "jobs.aurora", CONTACT="y")
    log = hook_log(cluster)
    assert log[0]["message"] is None and log[0]["instances"] is None
    assert log[1]["event"] == "err_start" and "An active update already exists" in log[1]["said"]


# --- pause, resume, abort, rollback, wait ----------------------------------------------------

def test_pause_and_resume(cluster, run, made):
    key = made("web")
    start_slow(run, key)
    done = run("update", "pause", "-m", "lunch", key, check=True)
    assert (done.stdout, done.stderr) == ("Update has been paused.\n", "")
    paused = status(cluster, key, "ROLL_FORWARD_PAUSED")
    assert paused["message"] == "lunch"
    assert run("update", "list", "--status=paused", key).stdout.count("\n") == 2
    again = run("update", "pause", key)
    assert again.returncode == 10
    assert again.stderr.startswith("Failed to pause update due to error:\n\t")
    assert "from ROLL_FORWARD_PAUSED to ROLL_FORWARD_PAUSED" in again.stderr
    done = run("update", "resume", key, check=True)
    assert done.stdout == "Update has been resumed.\n"
    status(cluster, key, "ROLLING_FORWARD")
    again = run("update", "resume", key)
    assert again.returncode == 10
    assert again.stderr.startswith("Failed to resume update due to error:\n\t")


def test_abort_and_its_client_hooks(cluster, run, made):
    key = made("web")
    start_slow(run, key)
    hook_log(cluster)
    done = run("update", "abort", key, "jobs.aurora", MODE="veto")
    assert done.returncode == 1 and "Pre hooks stopped call to cancel_update" in done.stderr
    assert latest(cluster, key)["active"] is True
    done = run("update", "abort", "-m", "no", "--config=jobs.aurora", key, check=True)
    assert done.stdout == "Update has been aborted.\n"
    assert hook_log(cluster) == [{"event": "pre_cancel", "key": key},
                                 {"event": "pre_cancel", "key": key},
                                 {"event": "post_cancel", "code": 1}]
    assert latest(cluster, key)["status"] == "ABORTED"


def test_abort_that_restores(cluster, run, made):
    key = made("web")
    old = {t["config"] for t in cluster.tasks(key, active=True)}
    start_slow(run, key)
    wait_until("an instance is updated", lambda: {
        t["config"] for t in cluster.tasks(key, active=True)} != old)
    done = run("update", "abort", "--rollback", key, check=True)
    assert done.stdout == "Update rollback has started.\n"
    assert status(cluster, key, "ROLLING_BACK", "ROLLED_BACK")


def test_rollback_waits(cluster, run, made):
    key = made("web")
    old = {t["config"] for t in cluster.tasks(key, active=True)}
    start_slow(run, key, WATCH="1")
    wait_until("an instance is updated", lambda: {
        t["config"] for t in cluster.tasks(key, active=True)} != old)
    done = run("update", "rollback", "--wait", key, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "Update rollback has started."
    assert lines[-1] == "Current state ROLLED_BACK"
    assert {t["config"] for t in cluster.tasks(key, active=True)} == old


@pytest.mark.parametrize("verb", ["pause", "resume", "abort", "rollback", "wait", "pulse"])
def test_without_an_active_update(cluster, run, verb):
    done = run("update", verb, cluster.key("other"))
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == "No active update found for this job.\n"


def test_wait_follows_to_each_end(cluster, run, made):
    key = made("web")
    start_slow(run, key)
    update = latest(cluster, key)["id"]
    waiting = subprocess.Popen(
        [build_dir() / "src/cli/davit", "update", "wait", key], env=cluster.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert waiting.stdout.readline() == "Current state ROLLING_FORWARD\n"
    for pid in cluster.pids("davit-master"):
        os.kill(pid, signal.SIGKILL)  # It waits for the next master too.
    cluster.patient_api("GET", "/v1/status")
    run("update", "abort", key, check=True)
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 20 and out.splitlines()[-1] == "Current state ABORTED"
    assert run("update", "wait", key, update).returncode == 20
    shown = json.loads(run("update", "wait", "--json", key, update).stdout)
    assert shown["updateId"] == update and shown["status"] == "ABORTED"
    for args in ([key, str(uuid.uuid4())], [key, "nonsense"], [cluster.key("other"), update]):
        done = run("update", "wait", *args)
        assert (done.returncode, done.stderr) == (6, "Job update not found.\n")


def test_interrupted_wait_says_that_it_goes_on(cluster, run, made):
    key = made("web")
    start_slow(run, key)
    waiting = subprocess.Popen(
        [build_dir() / "src/cli/davit", "update", "wait", key], env=cluster.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert waiting.stdout.readline() == "Current state ROLLING_FORWARD\n"
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=10)
    assert waiting.returncode == 130
    assert f"the update goes on; see 'davit update wait {key}'" in said


def test_pulse(cluster, run, made):
    key = made("pulsed")
    run("update", "start", key, "jobs.aurora", check=True, CONTACT="x")
    status(cluster, key, "ROLL_FORWARD_AWAITING_PULSE")
    assert run("update", "list", "--status=blocked", key).stdout.count("\n") == 2
    done = run("update", "pulse", key, check=True)
    assert done.stdout == "OK\n"
    update = status(cluster, key, "ROLLED_FORWARD")["id"]
    assert run("update", "pulse", key, update, check=True).stdout == "FINISHED\n"
    done = run("update", "pulse", key, str(uuid.uuid4()))
    assert (done.returncode, done.stderr) == (6, "Job update not found.\n")


def test_who_waits_for_a_held_update_is_told_what_it_waits_for(cluster, run, made):
    def waiting(key, lines):
        wait = subprocess.Popen(
            [build_dir() / "src/cli/davit", "update", "wait", key], env=cluster.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = [wait.stderr.readline() for _ in range(lines)]
        wait.send_signal(signal.SIGINT)
        wait.communicate(timeout=20)
        return "".join(said)
    key = made("pulsed")
    run("update", "start", key, "jobs.aurora", check=True, CONTACT="y")
    assert waiting(key, 1) == f" INFO] It goes on after 'davit update pulse {key}'\n"
    key = made("steps")
    run("update", "start", key, "jobs.aurora", check=True, CONTACT="y")
    status(cluster, key, "ROLL_FORWARD_PAUSED")
    assert waiting(key, 1) == (" INFO] Job update auto paused after batch 1. "
                               f"It goes on after 'davit update resume {key}'\n")
    run("update", "resume", key, check=True)
    assert run("update", "wait", key).returncode in (0, 6)


def test_an_update_that_finds_no_room_says_so(cluster, run, made):
    key = made("web")
    run("node", "cordon", "node1", check=True)
    try:
        run("update", "start", key, "jobs.aurora", check=True, CONTACT="z")
        wait_until("instance 0 is pending", lambda: any(
            t["state"] == "PENDING" and t.get("reason") for t in cluster.tasks(key)))
        said = "instance 0 is PENDING: Host cordoned for maintenance\n"
        assert f"\nWaiting: {said}" in run("update", "info", key).stdout
        wait = subprocess.Popen(
            [build_dir() / "src/cli/davit", "update", "wait", key], env=cluster.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert wait.stderr.readline() == f" INFO] {said}"
    finally:
        run("node", "uncordon", "node1", check=True)
    out, _ = wait.communicate(timeout=60)
    assert wait.returncode == 0 and out.endswith("Current state ROLLED_FORWARD\n")


# --- list and info ---------------------------------------------------------------------------

def test_list_for_scripts(cluster, run, made):
    key = made("web")
    start_slow(run, key)
    done = run("update", "list", key, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].rstrip() == (f"{'JOB':47} {'UPDATE ID':36} {'STATUS':15} {'CREATED BY':11} "
                                 f"{'STARTED':19} LAST MODIFIED")
    first = subprocess.run(
        ["sh", "-c", f"davit update list {key} | tail -n +2 | head -n 1 | awk '{{print $1, $2, $3}}'"],
        env=cluster.env, text=True, capture_output=True, check=True).stdout.split()
    assert first == [key, latest(cluster, key)["id"], "ROLLING_FORWARD"]
    assert re.search(rf" {USER} +\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d$",
                     lines[1])
    rows = json.loads(run("update", "list", "--json", "--status=active", key).stdout)
    assert len(rows) == 1 and sorted(rows[0]) == ["id", "job", "last_modified", "started", "status",
                                                  "user"]
    assert rows[0]["user"] == USER and rows[0]["status"] == "ROLLING_FORWARD"
    assert run("update", "list", "--user=nobody-else", key).stdout == ""
    assert run("update", "list", "--status=succeeded", "--status=ABORTED", "--user", USER,
               key).returncode == 0
    # Wider keys.
    for wide in ("devcluster", f"devcluster/{USER}", f"devcluster/{USER}/devel"):
        assert key in run("update", "list", "--status=active", wide).stdout


def test_list_of_nothing(cluster, run):
    assert run("update", "list", "devcluster/nobody", check=True).stdout == ""
    assert run("update", "list", "--json", "devcluster/nobody", check=True).stdout == "[]\n"
    done = run("update", "list", "--status=running", "devcluster")
    assert done.returncode == 2
    assert "argument --status: invalid choice: 'running'" in done.stderr


def test_info_for_people_and_scripts(cluster, run, made):
    key = made("web")
    run("update", "start", "--wait", "-m", "go", key, "jobs.aurora", check=True, CONTACT="z")
    update = latest(cluster, key)["id"]
    text = run("update", "info", key, update, check=True).stdout
    t = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    assert re.match(rf"Job: {key}, UpdateID: {update}\nStarted {t}, last activity: {t}\n"
                    rf"Current status: ROLLED_FORWARD\nUpdate events:\n"
                    rf"  Status: ROLLING_FORWARD at {t}\n      message: go\n", text), text
    assert re.search(rf"^Instance events:\n  Instance 0 at {t}: INSTANCE_UPDATING\n", text, re.M)
    assert re.search(r"^Metadata:\n  org\.apache\.aurora\.client\.update_id: [0-9a-f-]{36}\n", text,
                     re.M)
    current = subprocess.run(
        ["sh", "-c", f"davit update info {key} {update} | grep 'Current status' | awk '{{print $NF}}'"],
        env=cluster.env, text=True, capture_output=True, check=True).stdout
    assert current == "ROLLED_FORWARD\n"
    doc = json.loads(run("update", "info", "--write-json", key, update, check=True).stdout)
    assert doc["updateId"] == update and doc["job"] == key and isinstance(doc["started"], int)
    assert re.fullmatch(t, doc["last_modified"]) and doc["status"] == "ROLLED_FORWARD"
    assert doc["update_events"][0]["status"] == "ROLLING_FORWARD"
    assert doc["update_events"][0]["message"] == "go" and doc["update_events"][0]["timestampMs"] > 0
    assert doc["instance_update_events"][0] == {
        "instance": 0, "action": "INSTANCE_UPDATING",
        "timestamp": doc["instance_update_events"][0]["timestamp"]}
    assert list(doc["metadata"][0]) == ["org.apache.aurora.client.update_id"]


def test_info_of_nothing(cluster, run):
    key = cluster.key("other")
    done = run("update", "info", key)
    assert (done.returncode, done.stderr) == (6, "There is no active update for this job.\n")
    wrong = str(uuid.uuid4())
    done = run("update", "info", key, wrong)
    assert (done.returncode, done.stderr) == (6, f"There is no update for key: {key}/{wrong}\n")


# --- job diff --------------------------------------------------------------------------------

def test_diff_shows_the_lines_that_change(cluster, run, made):
    key = made("web")
    done = run("job", "diff", key, "jobs.aurora", check=True)
    assert done.stdout == "This job update will:\nnot change instances: [0-2]\n"
    done = run("job", "diff", key, "jobs.aurora", check=True, CONTACT="pager", N="2")
    lines = done.stdout.splitlines()
    assert lines[:6] == ["This job update will:", "remove instances: [2]", "update instances: [0-1]",
                         "with diff:", "", "--- current"]
    assert lines[6] == "+++ proposed" and lines[7].startswith("@@ -")
    assert [x for x in lines[8:] if x[:1] in ("+", "-")] == ['-  "contact": "ops@example.com",',
                                                       '+  "contact": "pager",']
    assert sum(x.startswith("remove instances") for x in lines) == 1
    assert latest_or_none(cluster, key) is None  # Nothing was started.


def latest_or_none(cluster, key):
    items = cluster.api("GET", f"/v1/updates?job={key}&active=true")["items"]
    return items[0] if items else None


def test_diff_of_two_configurations_at_once(cluster, run, made):
    key = made("web")
    run("update", "start", "--wait", f"{key}/0", "jobs.aurora", check=True, CONTACT="canary")
    done = run("job", "diff", key, "jobs.aurora", check=True, CONTACT="third")
    assert done.stdout.count("with diff:") == 2
    assert "update instances: [0]\n" in done.stdout and "update instances: [1-2]\n" in done.stdout
    assert '-  "contact": "canary",' in done.stdout
    done = run("job", "diff", f"{key}/1-2", "jobs.aurora", check=True, CONTACT="third")
    assert done.stdout.count("with diff:") == 1
    doc = json.loads(run("job", "diff", "--json", key, "jobs.aurora", CONTACT="third").stdout)
    assert doc["update"] == [0, 1, 2] and doc["add"] == []


def test_diff_from_another_job(cluster, run, made):
    web, other = made("web"), made("other")
    done = run("job", "diff", "--from", other, web, "jobs.aurora", check=True)
    assert done.stdout == "This job update will:\nnot change instances: [0-2]\n"
    done = run("job", "diff", "--from", other, web, "jobs.aurora", check=True, CONTACT="x")
    assert '+  "contact": "x",' in done.stdout
    done = run("job", "diff", "--from", cluster.key("absent"), web, "jobs.aurora")
    assert (done.returncode, done.stderr) == (6, f"Job {cluster.key('absent')} not found\n")


def test_diff_by_the_users_program(cluster, run, made):
    key = made("web")
    done = run("job", "diff", key, "jobs.aurora", check=True, CONTACT="x", DIFF_VIEWER="diff -c")
    assert "!   \"contact\": \"x\"," in done.stdout and "@@" not in done.stdout
    done = run("job", "diff", key, "jobs.aurora", check=True, CONTACT="x",
               DIFF_VIEWER="no-such-program")
    assert done.stderr.startswith(" WARN] DIFF_VIEWER cannot be run: ") and "@@" in done.stdout
