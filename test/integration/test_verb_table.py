# SPDX-License-Identifier: Apache-2.0
"""Every row of the table of verbs: what people typed at the Aurora client, what it answered.

Contract: aurora.md 1.2 to 1.5; `aurora` is the program's other name.  The rows are
(command line, status, standard output, standard error): texts are patterns of the whole, None is
anything.  @x is the key of job x, ID the
update's.  What the verbs do is tested elsewhere; these are the words.
"""
import re
import shlex
import subprocess

import pytest

from cluster import Cluster, USER
from servers import build_dir

JOBS = """
import getpass, os
def job(name, cls=Service, cmd='exec sleep 1000', **kw):
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               contact=os.environ.get('CONTACT', 'ops@example.com'),
               update_config=UpdateConfig(watch_secs=600),
               task=Task(name='t', processes=[Process(name='main', cmdline=cmd)],
                         resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB), finalization_wait=2), **kw)
jobs = [job('web', instances=3), job('cron', cls=Job, cron_schedule='0 0 1 1 *'),
        job('once', cls=Job, cmd='true'), job('fails', cls=Job, cmd='false'),
        job('new'), job('quota', tier='preferred')]
"""
USAGE = r"usage: aurora .*\naurora [a-z- ]+: error: "
UNKNOWN = r"Unknown cluster: nowhere\n"
URL = r"http://127\.0\.0\.1:\d+/scheduler/\w+/devel/\w+"
NO_JOB = r"Error loading configuration: Could not find job devcluster/\w+/devel/nojob\nCandidates are:\n[^$]*"

#: Rows that leave things as they are: `web` runs with three instances, `cron` is scheduled.
ASK = [
    # job
    ("job create @web f", 4, "", r"Job creation failed due to error:\n\t.*already exists.*\n"),
    ("job create @cron f", 4, "",
     r'Cron jobs may only be scheduled with "aurora cron schedule" command\n'),
    ("job create @nojob f", 3, "", NO_JOB),
    ("job create nowhere/r/devel/n f", 3, "", UNKNOWN),
    ("job create @quota f", 4, "", r"Job creation failed due to error:\n\tInsufficient resource quota: .*\n"),
    ("job create @new f --wait-until DONE", 2, "", USAGE + r"argument --wait-until: invalid choice: 'DONE' .*\n"),
    ("job create @new none", 3, "", r"Error loading configuration: .*No such file or directory: 'none'\n"),
    ("job create @new", 2, "", USAGE + r"too few arguments.*\n"),
    ("job create @new f --bind x", 2, "", USAGE + r"Binding parameter must be formatted name=value\n"),
    ("job create @new f --bind a-b=x", 2, "", USAGE + r"Could not parse binding parameter .*\n"),
    ("job add @web/9 1", 6, "", r"No active task found for a given instance ID\.\n"),
    ("job add @web 1", 2, "", USAGE + r".*invalid taskinstance value: .*\n"),
    ("job add @web/0 0", 10, "", r"Error adding instances to job .*:\n\tInstance count must be positive\.\n"),
    ("job kill @web", 6, "", r"The instances list cannot be omitted in a kill command!; "
                             r"use killall to kill all instances\n"),
    ("job kill @web/", 6, "", r"The instances list cannot be omitted.*\n"),
    ("job kill @web/7", 0, r"Job kill succeeded\n", ""),
    ("job kill --strict @web/0,7", 6, "", r"Invalid instance parameter: \[7\]\n"),
    ("job kill @web/3-1", 2, "", USAGE + r"Invalid instance range: \['3', '1'\]\n"),
    ("job kill @web/x", 2, "", USAGE + r".*\n"),
    ("job kill @nojob/0", 6, "", r"No tasks to kill found for job devcluster/\w+/devel/nojob\n"),
    ("job killall @nojob", 6, "", r"No tasks to kill found for job devcluster/\w+/devel/nojob\n"),
    ("job killall --strict @web", 2, "", USAGE + r"unrecognized arguments: --strict\n"),
    ("job killall @web --b 3", 2, "", USAGE + r"ambiguous option: --b could match --bind, --batch-size\n"),
    ("job killall @web --max-t", 2, "", USAGE + r"argument --max-t: expected one argument\n"),
    ("job restart @nojob", 0, r"Job .*/nojob restarted successfully\n", r" INFO\] Nothing to do\.\n"),
    ("job restart @web/9", 10, "", r"Error restarting job .*/web:\n\tNot all requested shards are active\.\n"),
    ("job restart @web/9 --strict", 6, "", r"Invalid instance parameter: \[9\]\n"),
    ("job restart @web --max-total-failures -1", 6, "",
     r"max_total_failures option must be >0, but you specified -1\n"),
    ("job status @nojob", 6, "", r"Found no jobs matching .*/nojob\n"),
    ("job status @nojob --write-json", 0, r'\{"error":"No matching jobs found","jobspec":".*/nojob"\}\n', ""),
    ("job status @web", 0, r"Active tasks \(3\):\n\tTask role: [^$]*Inactive tasks \(0\):\n[^$]*", ""),
    ("job status nowhere", 3, "", UNKNOWN),
    ("job status a/b/c/d/e", 2, "", USAGE + r".*\n"),
    ("job list devcluster/*/dev*", 0, r"(devcluster/\w+/devel/\w+\n)+", ""),
    ("job list devcluster/nobody", 0, "", ""),
    ("job list nowhere", 3, "", UNKNOWN),
    ("job inspect @web f", 0, r"Job level information\n  name:       'web'\n[^$]*", ""),
    ("job inspect @nojob f", 3, "", NO_JOB),
    ("job diff @web f", 0, r"This job update will:\nnot change instances: \[0-2\]\n", ""),
    ("job diff @nojob f", 3, "", NO_JOB),
    ("job open nowhere", 3, "", UNKNOWN),
    # cron
    ("cron schedule @web f", 4, "",
     r'Non-cron jobs may only be created with "aurora job create" command\n'),
    ("cron schedule @cron f", 0, rf"Cron job scheduled, status can be viewed at {URL}\n", ""),
    ("cron show @cron", 0, r"devcluster/\w+/devel/cron\t 0 0 1 1 \*\n", ""),
    ("cron show @nojob", 6, "", r"No cron entry found for job .*/nojob\n"),
    ("cron start @nojob", 10, "", r"Error starting cron job .*/nojob:\n\t.*\n"),
    # update
    ("update start @cron f", 4, "",
     r'Cron jobs may only be updated with "aurora cron schedule" command\n'),
    ("update start @web f", 0,
     r"This job update will:\nnot change instances: \[0-2\]\nJob is unchanged by proposed update\.\n", ""),
    ("update pause @web", 6, "", r"No active update found for this job\.\n"),
    ("update resume @web", 6, "", r"No active update found for this job\.\n"),
    ("update abort @web", 6, "", r"No active update found for this job\.\n"),
    ("update rollback @web", 6, "", r"No active update found for this job\.\n"),
    ("update wait @web 123", 6, "", r"Job update not found\.\n"),
    ("update info @web", 6, "", r"There is no active update for this job\.\n"),
    ("update info @web 123", 6, "", r"There is no update for key: .*\n"),
    ("update list devcluster/nobody", 0, "", ""),
    ("update list devcluster --status nonsense", 2, "", USAGE + r"argument --status: invalid choice: 'nonsense'\n"),
    # task
    ("task run @nojob ls", 6, "", r"Job .*/nojob not found\n"),
    ("task run @web 'echo {{mesos.instance}}' -t 3", 0, r"([^ ]+:  [012]\n){3}", ""),
    ("task ssh @nojob", 6, "", r"Job .*/nojob not found\n"),
    ("task ssh @web -c ls", 6, "", r"INSTANCE must be specified when --command option is given\n"),
    ("task ssh @web/0 -c 'exit 3'", 3, "", None),
    ("task ssh @web/0 -L x", 6, "", r"Could not parse tunnel: x\.  Must be of form PORT:NAME\n"),
    ("task ssh @web/0 -L 22:http", 6, "", r"Task .* has no port named http\n"),
    ("task scp @nojob/0:x y", 6, "", r"Job or instance .*/nojob/0 not found\n"),
    ("task scp @web/0:~/x y", 6, "", r"Command does not support tilde expansion for path: ~/x\n"),
    # config, quota, sla
    ("config list f", 0, r"jobs=\[devcluster/\w+/devel/web, .*\]\n", ""),
    ("config list none", 4, "", r"Error loading configuration file: .*\n"),
    ("quota get devcluster/nobody", 0, r"Allocated:\n  CPU: 0\.0 core\(s\)\n  RAM: 0 MB\n  Disk: 0 MB\n[^$]*", ""),
    ("quota get devcluster", 2, "", USAGE + r".*\n"),
    ("quota get nowhere/r", 3, "", UNKNOWN),
    ("sla get-task-up-count @web --durations 1m,7d", 0, r"1 mins\t- [\d.]+ %\n7 days\t- [\d.]+ %\n", ""),
    ("sla get-task-up-count @web --durations 1q", 2, "", USAGE + r".*\n"),
    ("sla get-job-uptime @web --percentiles 50,99.5", 0,
     r"99\.5 percentile\t- [\d.]+ seconds\n50\.0 percentile\t- [\d.]+ seconds\n", ""),
    ("sla get-job-uptime @web --percentiles 100", 2, "", USAGE + r".*\n"),
    # the program
    ("--version", 0, r"\d+\.\d+\.\d+\n", ""),
    ("", 0, r"usage: aurora NOUN VERB[^$]*", ""),
    ("job", 2, "", r"aurora: error: 'aurora job' needs a verb; see 'aurora job --help'\n"),
    ("job --help", 0, r"usage: aurora job VERB[^$]*", ""),
    ("job create --help", 0, r"usage: aurora job create \[options\] CLUSTER/ROLE/ENV/NAME FILE\n[^$]*", ""),
]
#: Rows that change something, in order.
CHANGE = [
    ("job create @once f --wait-until=FINISHED", 0, rf"Job create succeeded: job url={URL}\n", ""),
    ("job create @fails f --wait FINISHED", 0, r"Job create succeeded: .*\n", ""),
    ("job add @web/0 2 --wait-until RUNNING", 0, "", ""),
    ("job kill @web/3,4 --batch 2", 0, r"Successfully killed instances \[3, 4\]\nJob kill succeeded\n", ""),
    ("job kill @web/1-2,7", 0, r"Successfully killed instances \[1\]\nSuccessfully killed instances \[2\]\n"
                               r"Job kill succeeded\n", ""),
    ("job restart @web/0 --watch 0 --force", 0, r"Job .*/web restarted successfully\n", ""),
    ("cron start @cron", 0, "", ""),
    ("cron deschedule @cron", 0, r"Cron descheduling succeeded\.\n", ""),
    ("cron deschedule @cron", 0, r"Cron descheduling succeeded\.\n", r" INFO\] .* is not scheduled with cron\n"),
    ("update start @web f -m why", 0, r"This job update will:\nadd instances: \[1-2\]\nnot change instances: "
     rf"\[0\]\nJob update has started\. View your update progress at {URL}/update/[0-9a-f-]+\n", ""),
    ("update start @web f", 10, None, r"Failed to start update due to error:\n\t.*\n[^$]*"),
    ("job restart @web", 10, "", r"Error restarting job .*:\n\t.*\n\tError: job is locked by an active update\.\n"
     r"\tRun 'aurora update abort' or wait for the active update to finish\.\n"),
    ("job killall @web", 10, "", r"Kill of instances \[0\] failed with error:\n\t.*\n\tError: job is locked by an "
     r"active update\.\n\tRun 'aurora update abort' or wait for the active update to finish\.\n"),
    ("update info @web", 0, r"Job: .*, UpdateID: .*\nStarted .*, last activity: .*\nCurrent status: ROLLING_FORWARD\n"
     r"Update events:\n  Status: ROLLING_FORWARD at .*\n      message: why\n[^$]*", ""),
    ("update pause @web", 0, r"Update has been paused\.\n", ""),
    ("update pause @web", 10, "", r"Failed to pause update due to error:\n\t.*\n"),
    ("update resume @web", 0, r"Update has been resumed\.\n", ""),
    ("update rollback @web --wait", 0, r"Update rollback has started\.\n(Current state \w+\n)*", ""),
    ("update wait @web ID", 4, r"(Current state \w+\n)*Current state ROLLED_BACK\n",
     r"(.*\n)* INFO\] Command terminated with error code 4\n"),
    ("update list devcluster --status failed", 0, r"JOB +UPDATE ID +STATUS +CREATED BY +STARTED +LAST MODIFIED\n"
     r"devcluster/\w+/devel/web +[0-9a-f-]{36} ROLLED_BACK +\w+ +\S+ \S+\n", ""),
    ("update abort @web", 6, "", r"No active update found for this job\.\n"),
    ("job killall @web --no-b", 0, r"Job killall succeeded\n", ""),
    ("job killall @web -v --no-batching", 6, "", r"(DEBUG\].*\n)*No tasks to kill found for job .*\n"),
    ("job list devcluster -v", 0, None, r"([^$]*\n)?DEBUG\] Command terminated successfully\n"),
]


@pytest.fixture(scope="module")
def aurora(tmp_path_factory):
    home = tmp_path_factory.mktemp("verb-table")
    (home / "f").write_text(JOBS)
    (home / "aurora").symlink_to(build_dir() / "src/cli/davit")
    with Cluster(home / "up", env={"NO_COLOR": ""}) as cluster:
        def run(line):
            words = [word.replace("@", f"devcluster/{USER}/devel/") for word in shlex.split(line)]
            return subprocess.run([home / "aurora", *words], cwd=home, env=cluster.env, text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        run.cluster = cluster
        for line in ("job create --wait-until RUNNING @web f", "cron schedule @cron f"):
            assert run(line).returncode == 0
        yield run
    assert cluster.all_pids() == []


def check(aurora, row):
    line, status, out, err = row
    done = aurora(line)
    told = f"{line}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
    assert done.returncode == status, told
    assert out is None or re.fullmatch(out, done.stdout), told
    assert err is None or re.fullmatch(err, done.stderr), told
    return done


@pytest.mark.parametrize("row", ASK, ids=lambda row: row[0] or "nothing")
def test_what_changes_nothing(aurora, row):
    check(aurora, row)


def test_what_changes_something(aurora):
    update = "?"
    for line, *wanted in CHANGE:
        done = check(aurora, (line.replace("ID", update), *wanted))
        started = re.search(r"/update/([0-9a-f-]+)", done.stdout)
        update = started.group(1) if started else update


def test_every_verb_of_the_contract_is_in_the_table():
    said = {" ".join(row[0].split()[:2]) for row in ASK + CHANGE}
    assert {f"{noun} {verb}" for noun, verbs in {
        "job": "create add kill killall restart status list inspect diff open",
        "cron": "schedule deschedule start show",
        "update": "start pause resume abort rollback wait list info",
        "task": "run ssh scp", "config": "list", "quota": "get",
        "sla": "get-task-up-count get-job-uptime"}.items() for verb in verbs.split()} <= said
