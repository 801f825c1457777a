# SPDX-License-Identifier: Apache-2.0
"""job restart and job add over the real programs.

Contract: aurora.md 1.4-1.5, 2.9 and 3.2; ganeti.md 4 (job-restart, job-scale).  What takes
longer than a test (an instance that never gets room, thousands of instances) is in
test/unit/test_restarter.c.
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import time
import uuid

import pytest

from cluster import Answer, Cluster, USER
from servers import build_dir, wait_until

CONFIG = """
import getpass, json, os

def say(**kw):
    open(os.environ['HOOK_LOG'], 'a').write(json.dumps(kw, sort_keys=True) + '\\n')

class Watcher(object):
    def pre_restart(self, job_key, shards, restart_settings, config=None):
        say(event='pre_restart', key=str(job_key), shards=shards, named=config is not None,
            batch=restart_settings.batch_size, watch=restart_settings.watch_secs,
            per=restart_settings.max_per_instance_failures,
            total=restart_settings.max_total_failures,
            check=restart_settings.health_check_interval_seconds)
        return os.environ.get('MODE') != 'veto'
    def post_restart(self, result, job_key, shards, restart_settings, config=None):
        say(event='post_restart', code=result.responseCode)
    def err_restart(self, exc, job_key, shards, restart_settings, config=None):
        say(event='err_restart', said=str(exc))
    def pre_add_instances(self, job_key, instance_id, count, config=None):
        say(event='pre_add', key=str(job_key), instance=instance_id, count=count)
        return os.environ.get('MODE') != 'veto'
    def post_add_instances(self, result, job_key, instance_id, count, config=None):
        say(event='post_add', code=result.responseCode)

hooks = [Watcher()]

def job(name, cmd='exec sleep 1000', cls=Service, cpu=0.01, **kw):
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               enable_hooks=True,
               task=Task(name='t', processes=[Process(name='main', cmdline=cmd, max_failures=1)],
                         resources=Resources(cpu=cpu, ram=1*MB, disk=1*MB), finalization_wait=2),
               **kw)

bad = os.environ['BAD_FLAG']
jobs = [
    job('plain'),
    job('five', instances=5),
    job('four', instances=4),
    job('turns', cmd='if [ -e %s ]; then exit 3; fi; touch %s.{{thermos.task_id}}; exec sleep 1000'
        % (bad, bad), instances=3),
    job('short', cmd='sleep 1', cls=Job),
    job('sla', instances=20, tier='preferred', sla_policy=PercentageSlaPolicy(percentage=50, duration_secs=1)),
]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("restart")
    home = directory / "home"
    home.mkdir()
    (home / "jobs.aurora").write_text(CONFIG)
    with Cluster(directory / "up", nodes=2, env={
            "NO_COLOR": "", "BAD_FLAG": str(home / "bad"),
            "HOOK_LOG": str(home / "hooks.log"), "DAVIT_CRASH_FILE": str(home / "crash")},
            options=["--master-arg=--op-work-ms=4000"]) as one:
        one.home = home
        yield one
    assert one.all_pids() == []


@pytest.fixture
def run(cluster):
    def go(*args, check=False, mode="", timeout=60):
        done = subprocess.run(
            [build_dir() / "src/cli/davit", *map(str, args)], text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=timeout, cwd=cluster.home,
            env={**cluster.env, "MODE": mode})
        if check and done.returncode != 0:
            raise AssertionError(f"davit {args}: exit {done.returncode}\n{done.stdout}{done.stderr}\n"
                                 + cluster.logs())
        return done
    return go


@pytest.fixture
def made(cluster, run):
    keys = []

    def go(name, *options):
        key = cluster.key(name)
        keys.append(key)
        run("job", "create", "--wait-until=RUNNING", key, "jobs.aurora", *options, check=True)
        return key
    yield go
    (cluster.home / "bad").unlink(missing_ok=True)
    for key in keys:
        run("job", "killall", "--no-batching", key)


def make_bad(cluster, key):
    """From now on runs of "turns" fail; those that are RUNNING have looked for the flag before."""
    wait_until("all have looked", lambda: all(
        (cluster.home / f"bad.{task['id']}").exists() for task in cluster.tasks(key, active=True)))
    (cluster.home / "bad").touch()


def hook_log(cluster):
    path = cluster.home / "hooks.log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def runs(cluster, key):
    """{instance: id of its active task}"""
    return {t["instance"]: t["id"] for t in cluster.tasks(key, active=True)}


def operation_of(cluster, key, op):
    rows = cluster.api("GET", f"/v1/operations?job={key}")["items"]
    number = next(r["number"] for r in rows if r["opcodes"][0]["op"] == op)
    return cluster.api("GET", f"/v1/operations/{number}")


@contextlib.contextmanager
def hook(directory, name, body):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    try:
        yield path
    finally:
        path.unlink()


def has_faults():
    program = build_dir() / "src/master/davit-master"
    return program.exists() and b"DAVIT_CRASH_FILE" in program.read_bytes()


def dies_at(cluster, point):
    (cluster.home / "crash").write_text(point + "\n")


def nothing_dies(cluster):
    for name in ("crash", "crash.taken"):
        (cluster.home / name).unlink(missing_ok=True)


# --- restart ---------------------------------------------------------------------------------

def test_every_instance_gets_a_new_run_of_the_same_configuration(cluster, run, made):
    key = made("five")
    before = cluster.tasks(key, active=True)
    done = run("job", "restart", "--batch-size=2", "--watch-secs=0", "-m", "new keys", key,
               check=True)
    assert done.stdout == f"Job {key} restarted successfully\n" and done.stderr == ""
    after = cluster.tasks(key, active=True)
    assert [t["instance"] for t in after] == [0, 1, 2, 3, 4]
    assert [t["ancestor"] for t in after] == [t["id"] for t in before]
    assert {t["config"] for t in after} == {t["config"] for t in before}
    old = [t for t in cluster.tasks(key) if not t["active"]]
    said = [e for t in old for e in t["events"] if e["state"] == "RESTARTING"]
    assert [e["message"] for e in said] == [f"Restarted by {USER}.\nnew keys"] * 5
    record = operation_of(cluster, key, "OP_JOB_RESTART")
    assert record["state"] == "succeeded"
    assert record["opcodes"][0]["result"]["instances"] == [0, 1, 2, 3, 4]
    assert record["opcodes"][0]["log"][-1]["message"] == "5 of 5 instances restarted, 0 failed"


def test_batches_are_ascending_and_one_waits_for_the_other(cluster, run, made):
    key = made("four")
    run("job", "restart", "--batch-size=2", "--watch-secs=1", f"{key}/0-1,3", check=True)
    tasks = cluster.tasks(key)
    ended = {t["instance"]: next(e["time_ms"] for e in t["events"] if e["state"] == "RESTARTING")
             for t in tasks if not t["active"]}
    up = {t["instance"]: next(e["time_ms"] for e in t["events"] if e["state"] == "RUNNING")
          for t in tasks if t["active"]}
    assert sorted(ended) == [0, 1, 3]
    assert ended[3] - max(up[0], up[1]) >= 1000 > ended[1] - ended[0]


def test_a_restart_that_gave_up_is_a_failure_and_says_so(cluster, run, made):
    key = made("turns")
    before = runs(cluster, key)
    make_bad(cluster, key)
    hook_log(cluster)
    done = run("job", "restart", "--watch-secs=5", key, "jobs.aurora")
    assert done.returncode == 4 and done.stdout == ""
    assert done.stderr.startswith("Restart failures threshold reached. Aborting: instance 0: ")
    assert "FAILED" in done.stderr and "0 of 3 instances restarted, 1 failed" in done.stderr
    after = runs(cluster, key)
    assert after.get(0) != before[0]
    assert (after[1], after[2]) == (before[1], before[2])
    record = operation_of(cluster, key, "OP_JOB_RESTART")
    assert record["state"] == "failed"
    log = [line["message"] for line in record["opcodes"][0]["log"]]
    assert any(line.startswith("Instance 0 failed: ") and line.endswith("it is not tried again")
               for line in log)
    assert [e["event"] for e in hook_log(cluster)] == ["pre_restart", "err_restart"]


def test_failures_within_the_limit_are_survived(cluster, run, made):
    """Instance 0 is given up, the flag goes away with its run, the others come back."""
    key = made("turns")
    make_bad(cluster, key)
    restart = subprocess.Popen(
        [build_dir() / "src/cli/davit", "job", "restart", "--watch-secs=0",
         "--max-total-failures=1", "--json", key], env=cluster.env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    wait_until("instance 0 failed", lambda: any(
        t["instance"] == 0 and t["state"] == "FAILED" for t in cluster.tasks(key)))
    (cluster.home / "bad").unlink()
    out, said = restart.communicate(timeout=60)
    # With --watch-secs=0 a run that was RUNNING for a moment is well too: both are right.
    assert restart.returncode == 0, said
    result = json.loads(out)["opcodes"][0]["result"]
    assert result["failed"] in ([], [0])


def test_work_that_goes_on_outlives_its_deadline(cluster, run, made):
    """--op-work-ms is 4 s here; this restart takes longer, and is heard of meanwhile."""
    key = made("four")
    done = run("job", "restart", "--watch-secs=2", key, check=True)
    record = operation_of(cluster, key, "OP_JOB_RESTART")
    assert record["ended_ms"] - record["started_ms"] > 8000
    assert done.stdout == f"Job {key} restarted successfully\n"


def test_a_stalled_davit_op_hears_what_went_on_before_it_judges(cluster, run, made):
    """Its deadline passes while it is stopped; the progress that was made waits in its socket."""
    key = made("four")
    restart = subprocess.Popen(
        [build_dir() / "src/cli/davit", "job", "restart", "--watch-secs=2", key],
        env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    number = wait_until("the restart", lambda: cluster.api(
        "GET", f"/v1/operations?job={key}&state=running")["items"])[0]["number"]
    wait_until("its work", lambda: any(t.get("ancestor") for t in cluster.tasks(key, active=True)))
    [lock] = cluster.dir.rglob(f"{number}.lock")
    pid = int(lock.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(4.5)  # Longer than --op-work-ms: this is what is tested.
    finally:
        os.kill(pid, signal.SIGCONT)
    out, said = restart.communicate(timeout=60)
    assert restart.returncode == 0, said
    assert out == f"Job {key} restarted successfully\n"


def test_progress_is_in_the_log_while_it_runs(cluster, run, made):
    key = made("four")
    restart = subprocess.Popen(
        [build_dir() / "src/cli/davit", "job", "restart", "--watch-secs=1", key],
        env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line():
        rows = cluster.api("GET", f"/v1/operations?job={key}&state=running")["items"]
        if not rows:
            return None
        record = cluster.api("GET", f"/v1/operations/{rows[0]['number']}")
        return record["opcodes"][0].get("log")
    assert wait_until("a line", line)[0]["message"] == "1 of 4 instances restarted, 0 failed"
    restart.send_signal(signal.SIGINT)
    _, said = restart.communicate(timeout=10)
    number = operation_of(cluster, key, "OP_JOB_RESTART")["number"]
    assert restart.returncode == 130
    assert f"Command interrupted by user; operation {number} goes on; see 'davit op wait {number}'" \
        in said
    done = run("op", "wait", number, check=True)
    assert done.stdout == f"operation {number} succeeded\n"
    assert all(t["ancestor"] for t in cluster.tasks(key, active=True))


def test_a_kill_does_not_wait_for_the_rest_of_a_restart(cluster, run, made):
    """With --watch-secs=600 that would be never; another restart still waits its turn."""
    key = made("four")
    restart = subprocess.Popen(
        [build_dir() / "src/cli/davit", "job", "restart", "--watch-secs=600", key],
        env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until("instance 0 has a new run", lambda: any(
        t.get("ancestor") for t in cluster.tasks(key, active=True)))
    number = operation_of(cluster, key, "OP_JOB_RESTART")["number"]
    second = subprocess.Popen(
        [build_dir() / "src/cli/davit", "job", "restart", "--watch-secs=600", key],
        env=cluster.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = second.stderr.readline()
    assert re.fullmatch(rf" INFO\] operation \d+ waits for operation {number} \(OP_JOB_RESTART\), "
                        "which works on the same job\n", said)
    began = time.monotonic()
    done = run("job", "kill", f"{key}/3", check=True)
    assert time.monotonic() - began < 10
    assert done.stdout == "Successfully killed instances [3]\nJob kill succeeded\n"
    out, said = restart.communicate(timeout=20)
    number = operation_of(cluster, key, "OP_JOB_KILL")["number"]
    assert restart.returncode == 4 and out == ""
    assert said == (f"Restart aborted: operation {number} is to kill instances of this job "
                    "(0 of 4 instances restarted, 0 failed)\n")
    assert second.wait(20) == 4
    second.stderr.close()
    assert sorted(runs(cluster, key)) == [0, 1, 2]


def test_a_batch_job_that_ended_well_is_well(cluster, run):
    key = cluster.key("short")
    run("job", "create", "--wait-until=RUNNING", key, "jobs.aurora", check=True)
    run("job", "restart", "--watch-secs=5", key, check=True)
    states = sorted(t["state"] for t in cluster.tasks(key))
    assert states in (["FINISHED", "KILLED"], ["FINISHED", "FINISHED"], ["FINISHED"])


def test_nothing_to_do(cluster, run):
    done = run("job", "restart", cluster.key("plain"), check=True)
    assert done.stdout == f"Job {cluster.key('plain')} restarted successfully\n"
    assert done.stderr == " INFO] Nothing to do.\n"


@pytest.mark.parametrize("options, status, said", [
    (["--max-total-failures=-1", "KEY"], 6,
     "max_total_failures option must be >0, but you specified -1\n"),
    (["--strict", "KEY/0,5,7"], 6, "Invalid instance parameter: [5, 7]\n"),
    (["KEY/0,5"], 10, "Error restarting job KEY:\n\tNot all requested shards are active.\n"),
    (["--batch-size=0", "KEY"], 2, "--batch-size: 0 is not between 1 and 4000"),
])
def test_bad_restarts(cluster, run, made, options, status, said):
    key = made("plain")
    before = runs(cluster, key)
    done = run("job", "restart", *[o.replace("KEY", key) for o in options])
    assert done.returncode == status and said.replace("KEY", key) in done.stderr
    assert runs(cluster, key) == before


def test_client_hooks_run_around_the_whole_restart(cluster, run, made):
    key = made("four")
    hook_log(cluster)
    run("job", "restart", "--watch-secs=0", "--batch-size=3", "--max-total-failures=2",
        "--max-per-instance-failures=1", "--config=jobs.aurora", f"{key}/1-2", check=True)
    assert hook_log(cluster) == [
        {"event": "pre_restart", "key": key, "shards": [1, 2], "named": True, "batch": 3,
         "watch": 0, "per": 1, "total": 2, "check": 3},
        {"event": "post_restart", "code": 1}]
    before = runs(cluster, key)
    done = run("job", "restart", "--watch-secs=0", key, "jobs.aurora", mode="veto")
    assert done.returncode == 1 and "Pre hooks stopped call to restart" in done.stderr
    assert runs(cluster, key) == before


def test_operation_hooks_of_a_restart(cluster, run, made):
    key = made("four")
    out = cluster.home / "restart.env"
    with hook(cluster.dir / "hooks" / "job-restart-pre.d", "say", f"env > {out}"):
        run("job", "restart", "--watch-secs=0", "--batch-size=2", f"{key}/0,2-3", check=True)
    env = dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)
    assert env["GANETI_OP_CODE"] == "OP_JOB_RESTART" and env["GANETI_OBJECT_TYPE"] == "JOB"
    assert env["GANETI_INSTANCES"] == "0 2 3" and env["GANETI_BATCH_SIZE"] == "2"
    assert env["GANETI_SHUTDOWN_TIMEOUT"] == "2" and env["GANETI_OP_TARGET"] == key
    assert env["GANETI_JOB_INSTANCE_COUNT"] == "4"
    before = runs(cluster, key)
    with hook(cluster.dir / "hooks" / "job-restart-pre.d", "no", "echo not now; exit 1"):
        done = run("job", "restart", "--watch-secs=0", key)
    assert done.returncode == 12 and "not now" in done.stderr
    assert done.stderr.startswith(f"Error restarting job {key}:\n\t")
    assert runs(cluster, key) == before


def test_killed_master_in_the_middle_of_a_restart(cluster, run, made):
    key = made("five")
    before = runs(cluster, key)
    restart = subprocess.Popen(
        [build_dir() / "src/cli/davit", "job", "restart", "--watch-secs=1", key],
        env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until("the second is under way", lambda: runs(cluster, key).get(1) not in
               (None, before[1]))
    for pid in cluster.pids("davit-master"):
        os.kill(pid, signal.SIGKILL)
    _, said = restart.communicate(timeout=60)
    record = operation_of_patiently(cluster, key)
    assert record["state"] == "disappeared"
    assert restart.returncode == 4
    assert f"operation {record['number']} disappeared" in said
    cluster.wait_state(key, "RUNNING", 5)
    after = runs(cluster, key)
    assert sorted(after) == [0, 1, 2, 3, 4]
    assert after[0] != before[0] and after[4] == before[4]
    # What it had told is kept, and another restart does the rest.
    assert record["opcodes"][0]["log"][0]["message"] == "1 of 5 instances restarted, 0 failed"
    run("job", "restart", "--watch-secs=0", "--batch-size=5", key, check=True)


def operation_of_patiently(cluster, key):
    def over():
        rows = cluster.patient_api("GET", f"/v1/operations?job={key}")["items"]
        row = next(r for r in rows if r["opcodes"][0]["op"] == "OP_JOB_RESTART")
        record = cluster.patient_api("GET", f"/v1/operations/{row['number']}")
        return record if record["state"] not in ("queued", "running") else None
    return wait_until("it is over", over)


@pytest.mark.faults
@pytest.mark.skipif(not has_faults(), reason="this build has no crash points (-Dfaults=true)")
@pytest.mark.parametrize("point", ["master.restart.asked", "master.task.before",
                                   "master.task.after"])
def test_restart_whose_master_dies_at(cluster, run, made, point):
    key = made("four")
    before = runs(cluster, key)
    dies_at(cluster, point)
    done = run("job", "restart", "--watch-secs=0", key)
    assert (cluster.home / "crash.taken").exists()
    nothing_dies(cluster)
    assert done.returncode == 4 and "disappeared" in done.stderr
    assert operation_of_patiently(cluster, key)["state"] == "disappeared"
    cluster.wait_state(key, "RUNNING", 4)
    after = runs(cluster, key)
    assert sorted(after) == [0, 1, 2, 3] and [after[i] for i in (1, 2, 3)] == [
        before[i] for i in (1, 2, 3)]
    run("job", "restart", "--watch-secs=0", key, check=True)
    assert not set(runs(cluster, key).values()) & set(after.values())


# --- job add ---------------------------------------------------------------------------------

def test_added_instances_have_the_next_numbers_and_stay(cluster, run, made):
    key = made("four")
    run("job", "kill", f"{key}/3", check=True)
    done = run("job", "add", "--wait-until=RUNNING", f"{key}/0", "3", check=True)
    assert done.stdout == "" and done.stderr == ""
    tasks = cluster.tasks(key, active=True)
    assert [t["instance"] for t in tasks] == [0, 1, 2, 3, 4, 5]
    assert {t["state"] for t in tasks} == {"RUNNING"} and len({t["config"] for t in tasks}) == 1
    path = f"/v1/jobs/{key}"
    assert cluster.api("GET", path)["instances"] == 6
    for pid in cluster.pids("davit-master"):
        os.kill(pid, signal.SIGKILL)
    job = cluster.patient_api("GET", path)
    assert job["instances"] == 6 and job["job"]["instances"] == 6
    assert [t["instance"] for t in cluster.tasks(key, active=True)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.faults
@pytest.mark.skipif(not has_faults(), reason="this build has no crash points (-Dfaults=true)")
@pytest.mark.parametrize("point", ["master.scale.made", "master.job.before", "master.job.after",
                                   "master.task.after"])
def test_add_whose_master_dies_at(cluster, run, made, point):
    """All of it or nothing, and the job says what there is."""
    key = made("plain")
    dies_at(cluster, point)
    done = run("job", "add", f"{key}/0", "2")
    assert (cluster.home / "crash.taken").exists()
    nothing_dies(cluster)
    assert done.returncode == 10 and "disappeared" in done.stderr
    count = cluster.patient_api("GET", f"/v1/jobs/{key}")["instances"]
    assert count in (1, 3)
    assert sorted(runs(cluster, key)) == list(range(count))
    cluster.wait_state(key, "RUNNING", count)


def test_hooks_of_added_instances(cluster, run, made):
    key = made("plain")
    hook_log(cluster)
    out = cluster.home / "scale.env"
    with hook(cluster.dir / "hooks" / "job-scale-post.d", "say", f"env > {out}"):
        run("job", "add", f"{key}/0", "2", "--config=jobs.aurora", check=True)
    assert hook_log(cluster) == [
        {"event": "pre_add", "key": key, "instance": 0, "count": 2},
        {"event": "post_add", "code": 1}]
    env = dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)
    assert (env["GANETI_OLD_COUNT"], env["GANETI_NEW_COUNT"]) == ("1", "3")
    assert (env["GANETI_JOB_INSTANCE_COUNT"], env["GANETI_POST_JOB_INSTANCE_COUNT"]) == ("1", "3")
    done = run("job", "add", f"{key}/0", "2", "jobs.aurora", mode="veto")
    assert done.returncode == 1 and "Pre hooks stopped call to add_instances" in done.stderr
    assert len(cluster.tasks(key, active=True)) == 3


@pytest.mark.parametrize("what, status, said", [
    (("KEY/7", "1"), 6, "No active task found for a given instance ID.\n"),
    (("KEY/0", "0"), 10, "Error adding instances to job KEY:\n\tInstance count must be positive.\n"),
    (("KEY/0", "-1"), 10, "\tInstance count must be positive.\n"),
    (("KEY/0", "4000"), 10, "\tInstance count must be between 1 and 4000 inclusive.\n"),
    (("KEY", "1"), 2, "invalid taskinstance value"),
    (("KEY/0,1", "1"), 2, "invalid taskinstance value"),
    (("KEY/0", "many"), 2, "COUNT"),
])
def test_instances_that_are_not_added(cluster, run, made, what, status, said):
    key = made("plain")
    done = run("job", "add", *(["--"] if what[1] == "-1" else []),
               *[w.replace("KEY", key) for w in what])
    assert done.returncode == status and said.replace("KEY", key) in done.stderr, done.stderr
    assert len(cluster.tasks(key, active=True)) == 1


def test_the_sla_and_the_quota_of_a_job_that_grows(cluster, run, made):
    run("quota", "set", f"devcluster/{USER}", "0.25", "1G", "1G", check=True)
    key = made("sla")
    done = run("job", "add", f"{key}/0", "10")
    assert done.returncode == 10
    assert "\tInsufficient resource quota: CPU quota exceeded by 0.05 core(s)" in done.stderr
    done = run("job", "add", f"{key}/0", "1", check=True)
    assert done.stdout == "WARNING: Adding instances without updating SlaPolicy.\n"


def test_bad_requests_leave_no_operation(cluster, made):
    key = made("plain")
    for op, status, said in [
            ({"op": "OP_JOB_RESTART", "key": "x"}, 400, "key"),
            ({"op": "OP_JOB_RESTART", "key": key, "watch_secs": -1}, 400, "watch_secs"),
            ({"op": "OP_JOB_RESTART", "key": key, "batch_size": "2"}, 400, "batch_size"),
            ({"op": "OP_JOB_RESTART", "key": key, "instances": [1e9]}, 400, "instances"),
            ({"op": "OP_JOB_RESTART", "key": key, "instances": [2**40]}, 400, "shards"),
            ({"op": "OP_JOB_SCALE", "key": key, "instance": 0}, 400, "count"),
            ({"op": "OP_JOB_SCALE", "key": key + "x", "instance": 0, "count": 1}, 400, "active")]:
        with pytest.raises(Answer) as e:
            cluster.api("POST", "/v1/operations", {
                "id": str(uuid.uuid4()), "user": USER, "opcodes": [op]})
        assert e.value.status == status and said in e.value.body, e.value
