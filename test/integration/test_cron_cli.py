# SPDX-License-Identifier: Apache-2.0
"""The cron verbs over a whole cluster: outputs, exit codes, client hooks, and a tick that runs
real processes.  Contract: aurora.md 1.4, 2.9, 3.2."""
import calendar
import time

import re

import pytest

from cluster import USER, Cluster
from servers import wait_until

TICK = calendar.timegm((2027, 3, 28, 1, 0, 0))  # When Berlin's clocks go from 02:00 to 03:00.
FILE = """
p = Process(name='main', cmdline='echo launched; sleep 1000')
t = SequentialTask(processes=[p], resources=Resources(cpu=0.1, ram=16*MB, disk=16*MB))
def job(name, **kw):
    return Job(cluster='devcluster', role='%s', environment='devel', name=name, task=t, **kw)
class Veto(object):
    def pre_start_cronjob(self, api, job_key, **kw):
        return False
hooks = [Veto()]
jobs = [job('tick', cron_schedule='30 2 * * *', cron_timezone='Europe/Berlin', instances=2),
        job('vetoed', cron_schedule='0 5 * * *', enable_hooks=True),
        job('bad', cron_schedule='@daily'), job('both', cron_schedule='* * * * *', service=True),
        job('once', cron_schedule='0 5 * * *', cron_collision_policy='CANCEL_NEW'),
        job('plain')]
""" % USER


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    shift = int((TICK - 20 - time.time()) * 1000)
    with Cluster(tmp_path_factory.mktemp("cron"),
                 options=[f"--master-arg=--wall-offset-ms={shift}"]) as one:
        (one.dir / "cron.aurora").write_text(FILE)
        one.file = str(one.dir / "cron.aurora")
        yield one


def fails(cluster, status, *args):
    done = cluster.davit(*args, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def test_a_job_is_scheduled_shown_and_fires(cluster):
    key = cluster.key("tick")
    done = cluster.davit("cron", "schedule", key, cluster.file)
    assert done.stdout.startswith("Cron job scheduled, status can be viewed at http://")
    assert done.stdout.endswith(f"/scheduler/{USER}/devel/tick\n")
    assert cluster.davit("cron", "show", key).stdout == f"{key}\t 30 2 * * *\n"
    assert cluster.davit("cron", "show", key, "--next", "2").stdout.splitlines() == [
        f"{key}\t 30 2 * * *",
        "Europe/Berlin              UTC",
        "2027-03-28T03:00:00+02:00  2027-03-28T01:00:00Z",
        "2027-03-29T02:30:00+02:00  2027-03-29T00:30:00Z"]
    assert cluster.davit("cron", "list", "devcluster").stdout == f"{key}\t 30 2 * * *\n"
    # A job like others before its first launch.
    assert cluster.davit("job", "list", "devcluster").stdout == f"{key}\n"
    assert cluster.davit("job", "list", f"devcluster/{USER}x").stdout == ""
    # Scheduled again, it is replaced.
    cluster.davit("cron", "schedule", key, cluster.file, "--timezone", "UTC")
    assert cluster.api("GET", f"/v1/cron/{key}")["timezone"] == "UTC"
    shown = cluster.davit("cron", "show", key, "--next", "1").stdout.splitlines()
    assert shown[1] == "UTC" and re.fullmatch(r"\d{4}-\d\d-\d\dT02:30:00Z", shown[2])
    cluster.davit("cron", "schedule", key, cluster.file)
    assert cluster.tasks(key) == []

    # 02:30 is skipped that night: it fires when the clocks have been turned.
    tasks = cluster.wait_state(key, "RUNNING", 2, 60)
    ops = cluster.api("GET", f"/v1/operations?job={key}")["items"]
    assert [o["opcodes"][0]["op"] for o in ops] == [
        "OP_CRON_START", "OP_CRON_SET_PARAMS", "OP_CRON_SET_PARAMS", "OP_CRON_ADD"]
    assert {t["op_id"] for t in tasks} == {ops[0]["id"]} and ops[0]["user"] == "cron"
    assert "launched" in wait_until("it says something", lambda: cluster.davit(
        "task", "logs", f"{key}/0").stdout)

    # By hand it is killed and launched anew; nothing is printed.
    done = cluster.davit("cron", "start", key)
    assert done.stdout == ""
    old = {t["id"] for t in tasks}
    assert old.isdisjoint(t["id"] for t in cluster.tasks(key, active=True))
    assert len(cluster.tasks(key, active=True)) == 2

    # What runs goes on without a schedule.
    assert cluster.davit("cron", "deschedule", key).stdout == "Cron descheduling succeeded.\n"
    assert len(cluster.tasks(key, active=True)) == 2
    cluster.davit("job", "killall", key, "--no-batching")


def test_a_start_that_launches_nothing_says_why(cluster):
    key = cluster.key("once")
    cluster.davit("cron", "schedule", key, cluster.file)
    done = cluster.davit("cron", "start", key)
    assert (done.stdout, done.stderr) == ("", "")
    done = cluster.davit("cron", "start", key)
    assert (done.stdout, done.stderr) == (
        "", f" INFO] {key}: it still runs, and its collision policy is CANCEL_NEW\n")
    cluster.davit("cron", "deschedule", key)
    cluster.davit("job", "killall", key, "--no-batching")


def test_refusals(cluster):
    key = cluster.key
    done = fails(cluster, 4, "cron", "schedule", key("plain"), cluster.file)
    assert 'Non-cron jobs may only be created with "aurora job create" command' in done.stderr
    done = fails(cluster, 4, "job", "create", key("tick"), cluster.file)
    assert 'Cron jobs may only be scheduled with "aurora cron schedule" command' in done.stderr
    done = fails(cluster, 10, "cron", "schedule", key("bad"), cluster.file)
    assert done.stderr.endswith(
        f"Error scheduling cron job {key('bad')}:\n"
        "\tInvalid cron schedule: '@daily' is not supported, write '0 0 * * *'\n")
    done = fails(cluster, 10, "cron", "schedule", key("both"), cluster.file)
    assert "\tA service task may not be run on a cron schedule: " in done.stderr
    done = fails(cluster, 10, "cron", "schedule", key("tick"), cluster.file, "--timezone", "Mars/X")
    assert "\tInvalid cron timezone: there is no time zone Mars/X" in done.stderr
    fails(cluster, 3, "cron", "schedule", key("nope"), cluster.file)
    done = fails(cluster, 6, "cron", "show", key("nope"))
    assert done.stderr.strip() == f"No cron entry found for job {key('nope')}"
    done = fails(cluster, 10, "cron", "start", key("nope"))
    assert f"No cron job found for {USER}/devel/nope" in done.stderr
    done = cluster.davit("cron", "deschedule", key("nope"))
    assert done.stdout == "Cron descheduling succeeded.\n"
    assert f"Job {USER}/devel/nope is not scheduled with cron" in done.stderr
    assert cluster.davit("cron", "list", "devcluster/nobody").stdout == ""


def test_client_hooks_of_start_cronjob(cluster):
    key = cluster.key("vetoed")
    cluster.davit("cron", "schedule", key, cluster.file)  # No hook stands around this.
    fails(cluster, 1, "cron", "start", key, "--config", cluster.file)
    assert cluster.tasks(key) == []
    cluster.davit("cron", "start", key)
    assert len(cluster.tasks(key)) == 1
    cluster.davit("cron", "deschedule", key)
    cluster.davit("job", "killall", key)


def test_an_operation_hook_refuses_a_start(cluster):
    key = cluster.key("vetoed")
    cluster.davit("cron", "schedule", key, cluster.file)
    hook = cluster.dir / "hooks" / "cron-start-pre.d" / "10-no"
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text(f"#!/bin/sh\nenv > {cluster.dir}/told\nexit 1\n")
    hook.chmod(0o755)
    fails(cluster, 12, "cron", "start", key)
    hook.unlink()
    told = dict(line.split("=", 1) for line in (cluster.dir / "told").read_text().splitlines())
    assert told["GANETI_CRON_TRIGGER"] == "manual" and told["GANETI_JOB_KEY"] == key
    assert told["GANETI_CRON_COLLISION_ACTION"] == "NONE"
    assert [t for t in cluster.tasks(key) if t["state"] not in ("KILLED", "FAILED")] == []
