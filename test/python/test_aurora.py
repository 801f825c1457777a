# SPDX-License-Identifier: Apache-2.0
"""Aurora's schema, helpers, job selection and messages.  Contract: aurora.md 2, pystachio.md 14."""

import pytest

from davit_guest import compat, schema
from davit_guest.errors import GuestError
from davit_guest.loader import LoadedConfig
from davit_guest.schema import MB, Job, Process, Resources, Task
from pystachio import Empty

compat.install(True)

HEAD = """
res = Resources(cpu=1, ram=64*MB, disk=64*MB)
def P(n='p', cmd='true', **kw): return Process(name=n, cmdline=cmd, **kw)
def T(*ps, **kw):
    kw.setdefault('resources', res)
    return Task(processes=list(ps) or [P()], **kw)
def J(*ps, **kw):
    task = kw.pop('task', None) or T(*ps)
    d = dict(cluster='c', role='r', environment='devel', name='n', task=task)
    d.update(kw)
    return Job(**d)
"""


def load(text, **kw):
    return LoadedConfig(text=HEAD + text, name="f.aurora", **kw)


def select(text, key="c/r/devel/n", **kw):
    return load(text, **kw).select(key)[0]


# --- schema ------------------------------------------------------------------------------------

@pytest.mark.parametrize("struct,expected", [
    ("Process(name='p', cmdline='x')", {
        "name": "p", "cmdline": "x", "max_failures": 1, "daemon": False, "ephemeral": False,
        "min_duration": 5, "final": False}),
    ("Task(processes=[])", {
        "name": "{{processes[0].name}}", "processes": (), "constraints": (), "max_failures": 1,
        "max_concurrency": 0, "finalization_wait": 30}),
    ("UpdateConfig()", {
        "batch_size": 1, "watch_secs": 45, "max_per_shard_failures": 0, "max_total_failures": 0,
        "rollback_on_failure": True, "wait_for_batch_completion": False, "sla_aware": False}),
    ("HealthCheckConfig()", {
        "health_checker": {"http": {"endpoint": "/health", "expected_response": "ok",
                                    "expected_response_code": 0}},
        "initial_interval_secs": 15.0, "interval_secs": 10.0, "max_consecutive_failures": 0,
        "min_consecutive_successes": 1, "timeout_secs": 1.0}),
    ("LifecycleConfig()", {}),
    ("DefaultLifecycleConfig", {"http": {
        "port": "health", "graceful_shutdown_endpoint": "/quitquitquit",
        "shutdown_endpoint": "/abortabortabort", "graceful_shutdown_wait_secs": 5,
        "shutdown_wait_secs": 5}}),
    ("Announcer()", {"primary_port": "http", "portmap": {"aurora": "http"}}),
    ("Logger()", {"destination": "file", "mode": "standard"}),
    ("RotatePolicy()", {"log_size": 100 * MB, "backups": 5}),
    ("Resources(cpu='1.5', ram=1, disk='2')", {"cpu": 1.5, "ram": 1, "disk": 2, "gpu": 0}),
    ("PartitionPolicy()", {"reschedule": True, "delay_secs": 0}),
    ("ExecutorConfig()", {"name": "AuroraExecutor", "data": ""}),
    ("CoordinatorSlaPolicy(coordinator_url='u')", {"coordinator_url": "u", "status_key": "drain"}),
    ("Mesos(image=DockerImage(name='a', tag='b'))", {
        "image": {"name": "a", "tag": "b"}, "volumes": ()}),
    ("Volume(container_path='/a', host_path='/b', mode='RO')", {
        "container_path": "/a", "host_path": "/b", "mode": "RO"}),
])
def test_defaults(struct, expected):
    assert dict(eval(struct, schema.names()).interpolate()[0].get()) == expected


def test_job_defaults():
    job = select("jobs = [J()]").evaluated()[0].get()
    assert {name: job[name] for name in (
        "instances cron_collision_policy service max_task_failures priority production metadata "
        "enable_hooks").split()} == {
            "instances": 1, "cron_collision_policy": "KILL_EXISTING", "service": False,
            "max_task_failures": 1, "priority": 0, "production": False, "metadata": (),
            "enable_hooks": False}
    assert schema.Service.service().get() is True and schema.Job is schema.MesosJob
    assert "name" in Job(task=Task(name="x")).get() and len(schema.names()) == 88


@pytest.mark.parametrize("struct,message", [
    ("Process(name='p')", "Process[cmdline] is required."),
    ("Resources(cpu=1, ram=1)", "Resources[disk] is required."),
    ("UpdateConfig(update_strategy=QueueUpdateStrategy(batch_size=2))", ""),
    ("UpdateConfig(update_strategy=BatchUpdateStrategy())", ""),
    ("UpdateConfig(update_strategy=VariableBatchUpdateStrategy(batch_sizes=[1, 2]))", ""),
    ("Job(container=Docker())", "MesosJob[role] is required."),
    ("Mesos(volumes=[Volume(container_path='/a')])",
     "Mesos[volumes] failed: Element in VolumeList failed check: Volume[host_path] is required."),
])
def test_checks(struct, message):
    assert eval(struct, schema.names()).check().message() == message


# --- helpers -----------------------------------------------------------------------------------

def names(task):
    return [process.name().get() for process in task.processes()]


def orders(task):
    return [[name.get() for name in each.order()] for each in task.constraints()]


def make(name, *processes, **kw):
    return Task(name=name, processes=[Process(name=p, cmdline="x") for p in processes],
                resources=Resources(cpu=1, ram=10, disk=5), **kw)


def test_order():
    p = Process(name="{{n}}", cmdline="x").bind(n="late")
    made = schema.order("a", p, "c") + schema.order("x", "y")
    assert [[str(each) for each in constraint.order()] for constraint in made] == [
        ["a", "late", "c"], ["x", "y"]]
    with pytest.raises(ValueError, match="Unknown value for process order: 5"):
        schema.order(5)


def test_sequential_and_simple_task():
    task = schema.SequentialTask(name="s", processes=[Process(name=n, cmdline="x") for n in "abc"])
    assert orders(task) == [["a", "b", "c"]]
    assert orders(schema.Tasks.sequential(make("t", "a", "b"))) == [["a", "b"]]
    with pytest.raises(ValueError, match="Cannot turn a Task with existing constraints into a "
                                         "SequentialTask!"):
        schema.SequentialTask(processes=[], constraints=schema.order("a", "b"))
    simple = schema.SimpleTask("n", "echo")
    assert simple.interpolate()[0].resources().get() == {
        "cpu": 1.0, "ram": schema.GB, "disk": schema.GB, "gpu": 0}


def test_combine_and_concat():
    one = make("one", "a", "b", constraints=schema.order("a", "b"), finalization_wait=10)
    two = make("two", "c", finalization_wait=20, max_failures=7)
    both = schema.combine_tasks(one, two)
    assert names(both) == ["a", "b", "c"] and orders(both) == [["a", "b"]]
    assert both.resources().ram().get() == 20 and both.finalization_wait().get() == 20
    assert both.name().get() == "two" and both.max_failures().get() == 7
    joined = schema.concat_tasks(one, two, name="j")
    assert orders(joined) == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert joined.resources().ram().get() == 10 and joined.finalization_wait().get() == 30
    assert joined.name().get() == "j"
    bound = schema.combine_tasks(
        Task(processes=[Process(name="p", cmdline="{{x}}")]).bind(x=1),
        Task(processes=[Process(name="q", cmdline="{{x}}")]).bind(x=2))
    assert [str(p.cmdline()) for p in bound.processes()] == ["1", "2"]


def test_options():
    assert schema.java_options("a", {"c": "x"}, b=3) == "-a -c x -b 3"
    assert schema.python_options("v", "dry", n=3) == "-v --dry -n 3"
    assert schema.python_options(flag="") == "--flag"


# --- loading -----------------------------------------------------------------------------------

def test_python_2_names_are_there():
    load("x = [raw_input, xrange(3), unicode('a'), basestring, long(3), reduce, cmp(1, 2)]\n"
         "jobs = map(lambda n: J(name=n), ['a', 'b'])\n")


@pytest.mark.parametrize("text,message,line", [
    ("jobs = [J(]\n", "closing parenthesis", 1),
    ("x = 1\njobs = [zzz]\n", "name 'zzz' is not defined", 2),
    ("\nJob(nam='x')\n", "Unknown schema attribute nam", 2),
    ("Integer('abc') % {}\n", "Cannot coerce 'abc' to Integer", 1),
    ("P(cmd='{{ a }}').cmdline()\n", " a ", None),
    ("x = {}['k']\n", "KeyError: 'k'", 1),
    ("assert False\n", "AssertionError", 1),
    ("Mode('XX')\n", "Enum_RO_RW only accepts the following values: RO, RW", 1),
    ("raise SystemExit\n", "f.aurora called exit", None),
])
def test_load_failures(text, message, line):
    with pytest.raises(GuestError) as e:
        load(text)
    assert message in str(e.value) and "\n" not in str(e.value)
    if line is not None:
        assert e.value.data["line"] == line + HEAD.count("\n")
        assert e.value.data["file"] == "f.aurora"


def test_failure_in_an_included_file_is_placed_there(tmp_path):
    (tmp_path / "main.aurora").write_text("\ninclude('d/part.aurora')\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "part.aurora").write_text("x = 1\n\n1/0\n")
    with pytest.raises(GuestError) as e:
        LoadedConfig(path=str(tmp_path / "main.aurora"))
    assert e.value.data["file"] == "d/part.aurora" and e.value.data["line"] == 3
    (tmp_path / "d" / "part.aurora").write_text("x = = 1\n")
    with pytest.raises(GuestError) as e:
        LoadedConfig(path=str(tmp_path / "main.aurora"))
    assert str(e.value) == "invalid syntax (part.aurora, line 1)"
    (tmp_path / "d" / "part.aurora").write_text("include('gone')\n")
    with pytest.raises(GuestError, match=r"\[Errno 2\] No such file or directory: '.*d/gone'"):
        LoadedConfig(path=str(tmp_path / "main.aurora"))


def test_what_jobs_may_hold():
    assert load("class Mine(Job): pass\njobs = [Mine(J().get())]").job_paths() == ["c/r/devel/n"]
    assert load("jobs = None").job_paths() == load("").job_paths() == []
    for text in ("jobs = [5]", "jobs = [T()]", "jobs = ['Job']", "jobs = [Job]"):
        with pytest.raises(GuestError, match="`jobs` holds something that is no Job"):
            load(text)


def test_json_files(tmp_path):
    job = ('{"cluster": "c", "role": "r", "environment": "devel", "name": "n", "task": '
           '{"processes": [{"name": "p", "cmdline": "x"}], '
           '"resources": {"cpu": 1, "ram": 67108864, "disk": 67108864}}}')
    for text in (job, '{"jobs": [%s]}' % job):
        config = LoadedConfig(text=text, name="j.json", read_json=True)
        assert config.job_paths() == ["c/r/devel/n"]
        config.select("c/r/devel/n")
    for text, message in (("{", "j.json: Expecting property name"), ("nonsense", "j.json: "), ("[]", "expected a job"),
                          ('{"nam": 1}', "Unknown schema attribute nam")):
        with pytest.raises(GuestError, match=message):
            LoadedConfig(text=text, name="j.json", read_json=True)


def test_payload_can_be_read_back():
    from davit_guest import jsonio
    first = select("jobs = [J(P(cmd='{{thermos.ports[x]}}'), service=True, instances=3)]").to_json()
    again = LoadedConfig(text=jsonio.dumps(first["job"]), name="j", read_json=True)
    assert again.select("c/r/devel/n")[0].to_json() == first


# --- selecting ---------------------------------------------------------------------------------

def test_binds():
    text = "jobs = [J(P(cmd='{{a}} {{b.c}}'), name='{{a}}').bind(a='file')]"
    binds = [["a", "first"], ["a", "x=1"], ["b.c", "2"]]
    config = load(text.replace("{{a}}'", "n{{a}}'", 0), binds=[["a", "n"], ["b.c", "2"]])
    job = config.select("c/r/devel/n")[0].to_json()["job"]
    assert job["task"]["processes"][0]["cmdline"] == "n 2"
    assert load("jobs = [J(P(cmd='{{a}}'))]", binds=binds).select(None)[0].to_json()[
        "job"]["task"]["processes"][0]["cmdline"] == "x=1"
    with pytest.raises(GuestError, match="Could not parse binding parameter a-b=1"):
        load("", binds=[["a-b", "1"]])


@pytest.mark.parametrize("text,key,message", [
    ("", "c/r/devel/n", "No job defined in this config!"),
    ("jobs = []", "c/r/devel/n", "No job defined in this config!"),
    ("jobs = [J()]", "c/r/devel/x",
     "Could not find job c/r/devel/x\nCandidates are:\n  c/r/devel/n"),
    ("jobs = [J(), J(name='m', environment=Empty)]", "c/r/devel/x",
     "Could not find job c/r/devel/x\nJob c/r/{MISSING}/m in configuration file doesn't specify "
     "an environment\nCandidates are:\n  c/r/devel/n"),
    ("jobs = [J(), J()]", "c/r/devel/n",
     "Multiple jobs match, please disambiguate by specifying a job key.\nCandidates are:\n"
     "  c/r/devel/n\n  c/r/devel/n"),
    ("jobs = [J(), J(name='m')]", None,
     "Multiple jobs match, please disambiguate by specifying a job key.\nCandidates are:\n"
     "  c/r/devel/n\n  c/r/devel/m"),
    ("jobs = [J(name='two words')]", "c/r/devel/two words", "Invalid name 'two words'"),
])
def test_selection_messages(text, key, message):
    with pytest.raises(GuestError) as e:
        load(text).select(key)
    assert str(e.value) == message


BAD = "The configuration was invalid: "
PLAN = BAD + "Task is invalid: Task has invalid plan: "


@pytest.mark.parametrize("job,message", [
    ("J(task=Task(resources=res))", BAD + 'Processes required for task on job "n"'),
    ("J(task=Task(processes=[P()]))", BAD + "Task must specify resources!"),
    ("J(task=T(resources=Resources(cpu=1, ram=0, disk=1)))",
     BAD + "Must specify ram and disk resources, got ram:0 disk:1"),
    ("J(task=T(resources=Resources(cpu=0, ram=MB, disk=MB)))",
     BAD + "Task has invalid resources.  cpu/ramMb/diskMb must all be positive: "),
    ("J(task=T(resources=Resources(cpu=1, ram=5, disk=MB)))",
     BAD + "Task has invalid resources.  cpu/ramMb/diskMb must all be positive: "),
    ("J(task=T(resources=Resources(cpu='inf', ram=MB, disk=MB)))",
     BAD + "Task has invalid resources."),
    ("J(P('a/b'))", BAD + "Task is invalid: Invalid process name: a/b"),
    ("J(P('.a'))", BAD + "Task is invalid: Invalid process name: .a"),
    ("J(P('a'), P('a'))", BAD + "Task is invalid: Two processes are called a"),
    ("J(task=T(P('a'), P('b'), constraints=order('a', 'b') + order('b', 'a')))",
     PLAN + "Cycles detected in the task schedule!"),
    ("J(task=T(P('a'), constraints=order('a', 'zz')))", PLAN + "Invalid process dependencies!"),
    ("J(task=T(P('a'), P('b', final=True), constraints=order('a', 'b')))",
     PLAN + "Invalid process dependencies!"),
    ("J(task=T(P('p', daemon=True), P('q'), constraints=order('p', 'q')))",
     PLAN + "Process q may not depend upon daemon process p"),
    ("J(task=T(P('p', ephemeral=True), P('q'), constraints=order('p', 'q')))",
     PLAN + "Non-ephemeral process q may not depend upon ephemeral process p"),
    ("J(P(cmd='{{foo}} {{bar}}'))",
     BAD + "Task is invalid: Unexpected unbound refs: {{bar}} {{foo}}. Make sure you are not "
     "nesting template variables."),
    ("J(P(cmd='{{l[{{mesos.instance}}]}}')).bind(l=['a'][0])",
     BAD + "Task is invalid: Unexpected unbound refs: {{l[31337]}}"),
    ("J(contact='{{nobody}}')", BAD + "Config contains unbound variables: {{nobody}}"),
    ("J(instances='abc')", "Cannot coerce 'abc' to Integer"),
    ("J(priority='abc')", BAD + "Job not fully specified: MesosJob[priority] failed: Unable to "
     "interpolate: Cannot coerce 'abc' to Integer"),
    ("J(cron_collision_policy='FOO')", BAD + "Invalid <class 'gen.apache.aurora."
     "api.ttypes.CronCollisionPolicy'> type: FOO"),
    ("J(constraints={'host': 'limit:x'})", "limit:x is not a valid limit value, must be integer"),
    ("J(announce=Announcer(portmap={'a': '80'}))",
     "Job must be dedicated in order to specify static ports!"),
    ("J(announce=Announcer(portmap={'a': 'b', 'b': 'a'}))", "Found cycle in portmap!"),
    ("J(container=Docker())", BAD + "Job not fully specified: MesosJob[container] failed: "
     "Docker[image] is required."),
    ("J(priority=10**30)", BAD + "Number out of range: 1000000"),
    ("J(health_check_config=HealthCheckConfig(timeout_secs='nan'))",
     BAD + "Number out of range: nan"),
    ("J(P(cmd=None))", "Cannot coerce 'None' to String"),
    ("J(P(cmd='{{self.cmdline}}'))", "Unable to interpolate {{self.cmdline}}!"),
])
def test_job_messages(job, message):
    with pytest.raises(GuestError) as e:
        select("jobs = [%s]" % job).to_json()
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("job,message", [
    ("J(update_config=UpdateConfig(max_total_failures=1))",
     "max_total_failures in update_config must be lesser than the job size."),
    ("J(update_config=UpdateConfig(watch_secs=-1))",
     "Invalid value (-1) specified for watch_secs. Value cannot be less than 0."),
    ("J(health_check_config=HealthCheckConfig(interval_secs=-1))",
     "Invalid value (-1.0) specified for interval_secs. Value cannot be less than 0."),
    ("J(instances=100, constraints={'dedicated': 'r/x'})",
     "no less than 2% of your job size"),
])
def test_messages_that_end_with_one(job, message):
    with pytest.raises(GuestError) as e:
        select("jobs = [%s]" % job)
    assert message in str(e.value) and e.value.data["exit"] == 1


@pytest.mark.parametrize("settings,message", [
    ("", None),
    ("update_strategy=QueueUpdateStrategy(batch_size=3)", None),
    ("update_strategy=BatchUpdateStrategy(batch_size=3, autopause_after_batch=True)", None),
    ("update_strategy=VariableBatchUpdateStrategy(batch_sizes=[1, 2])", None),
    ("batch_size=2, wait_for_batch_completion=True, pulse_interval_secs=60", None),
    ("batch_size=0", "Batch size should be greater than 0"),
    ("update_strategy=QueueUpdateStrategy(batch_size=-1)", "Batch size should be greater than 0"),
    ("update_strategy=VariableBatchUpdateStrategy(batch_sizes=[])",
     "Batch size should be greater than 0"),
    ("pulse_interval_secs=1", "Pulse interval seconds must be at least 60 seconds."),
    ("batch_size=2, update_strategy=BatchUpdateStrategy()",
     "Ambiguous update configuration. Cannot combine update strategy with batch size."),
    ("wait_for_batch_completion=True, update_strategy=QueueUpdateStrategy()",
     "Ambiguous update configuration. Cannot combine wait_for_batch_completion"),
])
def test_update_settings(settings, message):
    config = select("jobs = [J(update_config=UpdateConfig(%s))]" % settings)
    if message is None:
        return config.check_update_settings()
    with pytest.raises(GuestError) as e:
        config.check_update_settings()
    assert message in str(e.value) and e.value.data["exit"] == 20


@pytest.mark.parametrize("job,key,message", [
    ("J(cluster=Empty)", "{MISSING}/r/devel/n", 'Cluster required for job "n"'),
    ("J(role=Empty)", "c/{MISSING}/devel/n", 'Role required for job "n"'),
])
def test_required_parts(job, key, message):
    with pytest.raises(GuestError, match=message):
        load("jobs = [%s]" % job).select(None)


@pytest.mark.parametrize("job,ports", [
    ("J()", []),
    ("J(P(cmd='{{thermos.ports[b]}} {{thermos.ports[a]}}'))", ["a", "b"]),
    ("J(announce=Announcer())", ["http"]),
    ("J(P(cmd='{{thermos.ports[web]}}'), announce=Announcer(primary_port='web'))", ["web"]),
    ("J(P(cmd='{{thermos.ports[x]}}'), announce=Announcer(portmap={'x': 'y', 'y': 'z'}))", ["z"]),
    ("J(P(cmd='{{thermos.ports[x]}}'), constraints={'dedicated': '*/x'}, "
     "update_config=UpdateConfig(), announce=Announcer(portmap={'x': '80'}))", []),
])
def test_ports(job, ports):
    assert select("jobs = [%s]" % job).ports() == ports


def test_standard_bindings_and_what_is_left_to_the_pod():
    answer = select("jobs = [J(P(cmd='{{mesos.role}} {{mesos.cluster}} {{thermos.user}} {{role}} "
                    "{{environment}} {{name}} {{task.name}} {{mesos.instance}} {{mesos.hostname}} "
                    "{{thermos.task_id}} {{thermos.ports[q]}}'))]").to_json()
    assert answer["job"]["task"]["processes"][0]["cmdline"] == (
        "r c r r devel p p {{mesos.instance}} {{mesos.hostname}} {{thermos.task_id}} "
        "{{thermos.ports[q]}}")
    assert answer["unbound"] == ["mesos.hostname", "mesos.instance", "thermos.ports[q]",
                                 "thermos.task_id"]


def test_profile_as_people_write_them():
    config = select("""
class Profile(Struct):
    package = Required(String)
    opts = Default(String, '--name {{package}}')
    sizes = Map(String, Integer)
PROD = Profile(package='web', sizes={'ram': 64})
task = T(P(cmd='run {{profile.package}} {{profile.opts}} {{profile.sizes[ram]}}'))
base = Service(cluster='c', role='r', environment='devel', name='n', task=task)
jobs = [base.bind(profile=PROD), base(name='other').bind(profile=PROD(package='api'))]
""")
    assert config.to_json()["job"]["task"]["processes"][0]["cmdline"] == \
        "run web --name web 64"
    assert config.to_json()["job"]["service"] is True


def test_what_hooks_ask():
    config = select("jobs = [J(P(cmd='{{thermos.ports[health]}} {{mesos.instance}}'), "
                    "instances=2)]")
    assert (config.name(), config.role(), config.cluster(), config.environment()) == (
        "n", "r", "c", "devel")
    assert str(config.job_key()) == "c/r/devel/n" and config.instances() == 2
    assert config.has_health_port() and not config.is_dedicated()
    assert config.update_config().batch_size().get() == 1
    assert config.health_check_config().interval_secs().get() == 10.0
    assert config.raw().cron_schedule() is Empty and config.job().taskConfig.ramMb == 64
    assert "{{mesos.instance}}" not in str(config.task(1).processes()[0].cmdline())
    config.add_metadata("k", "v")
    config.bind({"x": 1})
    assert config.to_json()["job"]["metadata"] == [{"key": "k", "value": "v"}]
    key = config.job_key()
    assert tuple(key) == ("c", "r", "devel", "n") and key == type(key).from_path("c/r/devel/n")
    assert key.to_path() == "c/r/devel/n" and key.env == "devel"


def test_imports_of_old_files():
    load("""
from twitter.common import log
from gen.apache.aurora.api.ttypes import ResponseCode, ScheduleStatus
from gen.apache.aurora.api.constants import ACTIVE_STATES
from apache.aurora.client.config import GlobalHookRegistry
from apache.aurora.config.schema.base import *
from apache.thermos.config.schema import *
from apache.aurora.common.aurora_job_key import AuroraJobKey
from apache.aurora.common.clusters import CLUSTERS
import pystachio, os, sys, re, json, copy, itertools, subprocess, socket, datetime, getpass
assert ResponseCode.OK == 1 and ScheduleStatus.RUNNING in ACTIVE_STATES
assert copy.deepcopy(J()) == J() and copy.copy(J()) == J()
""")


def test_selecting_each_of_many_jobs_is_linear():
    config = load("jobs = [J(name='n%d' % n) for n in range(50)]")
    evaluated = []
    original = config._key
    config._key = lambda job: evaluated.append(1) or original(job)
    for n in range(50):
        config.select("c/r/devel/n%d" % n)
    assert len(evaluated) == 50
