# SPDX-License-Identifier: Apache-2.0
"""Every message of the Aurora client about a wrong configuration, word for word, with its exit
status, through the command line.  Contract: aurora.md 2.8; the rest of the words: test_aurora.py.

Not there: what Python 2 itself says about a broken program ("unexpected EOF while parsing").
"""
import http.server
import threading

import pytest

from test_cli import davit

KEY = "c/www/devel/n"
HEAD = """
res = Resources(cpu=1, ram=64*MB, disk=64*MB)
def P(n='p', cmd='true', **kw): return Process(name=n, cmdline=cmd, **kw)
def T(*ps, **kw):
    kw.setdefault('resources', res)
    return Task(processes=list(ps) or [P()], **kw)
def J(*ps, **kw):
    task = kw.pop('task', None) or T(*ps)
    d = dict(cluster='c', role='www', environment='devel', name='n', task=task)
    d.update(kw)
    return Job(**d)
"""
LOAD = "Error loading configuration: "
BAD = LOAD + "The configuration was invalid: "
TASK = BAD + "Task is invalid: "
PLAN = TASK + "Task has invalid plan: "
JOBS_SIZE = "max_total_failures in update_config must be lesser than the job size."
NEGATIVE = "Invalid value (%s) specified for %s. Value cannot be less than 0."
AMBIGUOUS = "Ambiguous update configuration. Cannot combine "
FATAL = "Fatal error running command: "


@pytest.fixture
def run(tmp_path):
    def call(text, verb=("job", "inspect"), key=KEY, port=9):
        (tmp_path / "f.aurora").write_text(HEAD + text)
        (tmp_path / "clusters.json").write_text(
            '[{"name": "c", "scheduler_uri": "http://127.0.0.1:%d"}]' % port)
        return davit(*verb, key, "f.aurora", cwd=tmp_path, env={"AURORA_CONFIG_ROOT": str(tmp_path)})
    return call


def update(**fields):
    return "J(instances=3, update_config=UpdateConfig(%s))" % ", ".join(
        f"{name}={value}" for name, value in fields.items())


def health(name, value):
    return f"J(health_check_config=HealthCheckConfig({name}={value}))"


CASES = [
    # What jobs the file has.
    ("", 3, LOAD + "No job defined in this config!"),
    ("jobs = []", 3, LOAD + "No job defined in this config!"),
    ("jobs = [J(name='m')]", 3, LOAD + "Could not find job c/www/devel/n\nCandidates are:\n"
     "  c/www/devel/m"),
    ("jobs = [J(environment=Empty)]", 3, LOAD + "Could not find job c/www/devel/n\nJob "
     "c/www/{MISSING}/n in configuration file doesn't specify an environment\nCandidates are:"),
    ("jobs = [J(), J()]", 3, LOAD + "Multiple jobs match, please disambiguate by specifying a job "
     "key.\nCandidates are:\n  c/www/devel/n\n  c/www/devel/n"),
    # What a job is made of.
    ("J(task=Task(resources=res))", 3, BAD + 'Processes required for task on job "n"'),
    ("J(task=Empty)", 3, None),
    ("J(task=Task(processes=[P()]))", 3, BAD + "Task must specify resources!"),
    ("J(task=T(resources=Resources(cpu=1, ram=0, disk=64*MB)))", 3,
     BAD + "Must specify ram and disk resources, got ram:0 disk:67108864"),
    ("J(task=T(resources=Resources(cpu=1, ram=64*MB, disk=0)))", 3,
     BAD + "Must specify ram and disk resources, got ram:67108864 disk:0"),
    ("J(task=T(resources=Resources(cpu=0, ram=64*MB, disk=64*MB)))", 3,
     BAD + "Task has invalid resources.  cpu/ramMb/diskMb must all be positive: cpu:0.0 ramMb:64 "
     "diskMb:64"),
    ("J(task=T(resources=Resources(cpu=1, ram=1, disk=64*MB)))", 3,
     BAD + "Task has invalid resources.  cpu/ramMb/diskMb must all be positive: cpu:1.0 ramMb:0 "
     "diskMb:64"),
    ("J(task=T(resources=Resources(cpu=1, ram=64*MB)))", 3, BAD + "Job not fully specified: "
     "MesosJob[task] failed: Task[resources] failed: Resources[disk] is required."),
    # Plans.
    ("J(task=T(P('a'), P('b'), constraints=order('a', 'b') + order('b', 'a')))", 3,
     PLAN + "Cycles detected in the task schedule!"),
    ("J(task=T(P('a'), constraints=order('a', 'a')))", 3,
     PLAN + "Cycles detected in the task schedule!"),
    ("J(task=T(P('a'), constraints=order('a', 'zz')))", 3, PLAN + "Invalid process dependencies!"),
    ("J(task=T(P('a'), P('b', final=True), constraints=order('a', 'b')))", 3,
     PLAN + "Invalid process dependencies!"),
    ("J(task=T(P('p', daemon=True), P('q'), constraints=order('p', 'q')))", 3,
     PLAN + "Process q may not depend upon daemon process p"),
    ("J(task=T(P('p', ephemeral=True), P('q'), constraints=order('p', 'q')))", 3,
     PLAN + "Non-ephemeral process q may not depend upon ephemeral process p"),
    ("J(P('a/b'))", 3, TASK + "Invalid process name: a/b"),
    # References.
    ("J(P(cmd='{{foo}} {{bar}}'))", 3, TASK + "Unexpected unbound refs: {{bar}} {{foo}}. Make sure "
     "you are not nesting template variables."),
    ("J(contact='{{nobody}}')", 3, BAD + "Config contains unbound variables: {{nobody}}"),
    ("J(P(cmd='{{ foo }}'))", 3, None),
    # Types and words.
    ("J(cron_schedule='* * * * *', cron_collision_policy='FOO')", 3, BAD + "Invalid <class "
     "'gen.apache.aurora.api.ttypes.CronCollisionPolicy'> type: FOO"),
    ("J(announce=Announcer(portmap={'a': '80'}))", 3,
     LOAD + "Job must be dedicated in order to specify static ports!"),
    ("J(announce=Announcer(portmap={'a': 'b', 'b': 'a'}))", 3, LOAD + "Found cycle in portmap!"),
    ("J(nonsense=1)", 3, LOAD + "Unknown schema attribute nonsense (f.aurora, line 11)"),
    ("Integer('abc') % {}", 3, LOAD + "Cannot coerce 'abc' to Integer (f.aurora, line 12)"),
    ("jobs = [zzz]", 3, LOAD + "name 'zzz' is not defined (f.aurora, line 12)"),
    ("include('gone')", 3, None),
    # Status 1: the program died.
    ("J(instances=2, update_config=UpdateConfig(max_total_failures=2))", 1,
     JOBS_SIZE + " Based on your job size (2) you should use max_total_failures <= 1."),
    ("J(update_config=UpdateConfig(max_total_failures=1))", 1,
     JOBS_SIZE + " Based on your job size (1) you should use max_total_failures <= 0."),
    ("J(instances=100, constraints={'dedicated': 'www/x'})", 1,
     "Since this is a dedicated job, you must set your max_total_failures in your update "
     "configuration to no less than 2% of your job size."),
    (update(watch_secs=-1), 1, NEGATIVE % (-1, "watch_secs")),
    (health("interval_secs", -1), 1, NEGATIVE % (-1.0, "interval_secs")),
    (health("initial_interval_secs", -0.5), 1, NEGATIVE % (-0.5, "initial_interval_secs")),
    (health("max_consecutive_failures", -2), 1, NEGATIVE % (-2, "max_consecutive_failures")),
    (health("min_consecutive_successes", -1), 1, NEGATIVE % (-1, "min_consecutive_successes")),
]


@pytest.mark.parametrize("text, status, message", CASES)
@pytest.mark.parametrize("verb", ["inspect", "create"])
def test_a_wrong_file(run, verb, text, status, message):
    if text.startswith("J("):
        text = f"jobs = [{text}]"
    done = run(text, ("job", verb))
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    if message is not None:
        assert done.stderr == message + "\n"


@pytest.mark.parametrize("text, words", [
    ("jobs = [J(P(cmd='{{ foo }}'))]", " foo "),
    ("include('gone')", "[Errno 2] No such file or directory: 'gone'"),
    ("jobs = [J(task=Empty)]", LOAD),
])
def test_words_in_a_message(run, text, words):
    assert words in run(text).stderr


def test_no_such_file(tmp_path):
    done = davit("job", "inspect", KEY, "gone.aurora", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        3, LOAD + "[Errno 2] No such file or directory: 'gone.aurora'\n")


def test_a_limit_that_is_no_number_is_told_on_stdout_too(run):
    done = run("jobs = [J(constraints={'host': 'limit:x'})]")
    text = "limit:x is not a valid limit value, must be integer\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, text, LOAD + text)


@pytest.mark.parametrize("key, said", [
    ("a/b/c", "invalid jobkeytype value: 'a/b/c'"), ("c/r/e/n/5", "invalid jobkeytype value"),
    ("c/r o/e/n", "invalid jobkeytype value: 'c/r o/e/n'")])
def test_a_bad_key_is_bad_usage(run, key, said):
    done = run("jobs = [J()]", key=key)
    assert done.returncode == 2 and said in done.stderr and "usage: " in done.stderr


@pytest.mark.parametrize("bind, said", [
    ("x", "Binding parameter must be formatted name=value"),
    ("a-b=1", "Could not parse binding parameter a-b=1")])
def test_a_bad_bind_is_bad_usage(run, bind, said):
    done = run("jobs = [J()]", ("job", "inspect", "--bind", bind))
    assert done.returncode == 2 and said in done.stderr


def test_production_without_a_tier_is_warned_about(run):
    done = run("jobs = [J(production=True)]")
    lines = done.stderr.splitlines()
    assert done.returncode == 0
    assert lines[0] == lines[3] == " WARN] " + "*" * 80
    assert lines[1] == " WARN] * The command you ran is deprecated and will soon break!"
    assert run("jobs = [J(production=True, tier='preferred')]").stderr == ""


def test_a_primary_port_that_nobody_bound_is_warned_about(run):
    done = run("jobs = [J(announce=Announcer(primary_port='x'))]")
    assert done.returncode == 0
    assert done.stderr == (" WARN] Announcer specified primary port as 'x' but no processes have "
                           "bound that port.\n")


UPDATES = [
    (update(batch_size=0), "Batch size should be greater than 0"),
    (update(update_strategy="QueueUpdateStrategy(batch_size=0)"),
     "Batch size should be greater than 0"),
    (update(update_strategy="VariableBatchUpdateStrategy(batch_sizes=[1, 0])"),
     "Batch size should be greater than 0"),
    (update(pulse_interval_secs=59), "Pulse interval seconds must be at least 60 seconds."),
    (update(batch_size=2, update_strategy="QueueUpdateStrategy()"),
     AMBIGUOUS + "update strategy with batch size. Please set batch size inside of update strategy "
     "instead."),
    (update(wait_for_batch_completion=True, update_strategy="BatchUpdateStrategy()"),
     AMBIGUOUS + "wait_for_batch_completion with an explicit update strategy."),
]
GOOD = [
    update(update_strategy="QueueUpdateStrategy(batch_size=2)"),
    update(update_strategy="BatchUpdateStrategy(batch_size=2, autopause_after_batch=True)"),
    update(update_strategy="VariableBatchUpdateStrategy(batch_sizes=[1, 2])"),
    update(batch_size=3, wait_for_batch_completion=True, pulse_interval_secs=60, watch_secs=0),
]


@pytest.mark.parametrize("job, message", UPDATES)
def test_update_settings(run, job, message):
    """Only an update looks at them; the file itself is good."""
    assert run(f"jobs = [{job}]").returncode == 0
    done = run(f"jobs = [{job}]", ("update", "start"))
    assert (done.returncode, done.stderr) == (20, FATAL + message + "\n")


class Reached(http.server.BaseHTTPRequestHandler):
    """A master that refuses everything: who hears of it has sent the call."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"title": "Bad Request", "status": 400, "detail": "reached the master"}'
        self.send_response(400)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.headers["Content-Length"] = "0"
        self.do_POST()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def refusing():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reached) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("job", GOOD)
def test_good_update_settings(run, refusing, job):
    assert run(f"jobs = [{job}]").returncode == 0
    done = run(f"jobs = [{job}]", ("update", "start"), port=refusing)
    assert "reached the master" in done.stderr and FATAL not in done.stderr
