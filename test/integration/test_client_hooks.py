# SPDX-License-Identifier: Apache-2.0
"""Client hooks around real calls: all 21 combinations, the document's own examples, what vetoes.

Contract: aurora.md section 3, and the Aurora client's page on hooks with its typing errors
mended.  Which arguments a hook gets is test/python/test_hooks.py's; here they are fired.
"""
import contextlib
import getpass
import json
import os
import pty
import select
import stat
import subprocess
import time

import pytest

from cluster import Cluster
from servers import ROOT, build_dir

METHODS = {
    "create_job": ["config"],
    "add_instances": ["job_key", "instance_id", "count", "config"],
    "kill_job": ["job_key", "instances", "config", "message"],
    "restart": ["job_key", "shards", "restart_settings", "config"],
    "start_cronjob": ["job_key", "config"],
    "start_job_update": ["config", "message", "instances", "metadata"],
    "cancel_update": ["job_key", "config", "message"],
}
JOBS = """
import getpass, json, os

MODE = os.environ.get('MODE', '')

def job(name, cls=Service, cmd='exec sleep 1000', **kw):
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               enable_hooks=True, contact=os.environ.get('CONTACT', 'ops@example.com'),
               update_config=UpdateConfig(watch_secs=600),
               task=Task(name='t', processes=[Process(name='main', cmdline=cmd)],
                         resources=Resources(cpu=0.01, ram=1*MB, disk=1*MB), finalization_wait=2), **kw)

def say(**kw):
    open(os.environ['HOOK_LOG'], 'a').write(json.dumps(kw, sort_keys=True) + '\\n')
"""
ALL = JOBS + """
class All(object):
    pass

def make(event, method, names):
    def hook(self, *args, **kw):
        first = [] if event == 'pre' else [args[0].responseCode]
        args = args if event == 'pre' else args[1:]
        say(hook=event + '_' + method, code=first, args=names[:len(args)], kw=sorted(kw))
        return True
    return hook

for method, names in %r.items():
    for event in ('pre', 'post', 'err'):
        setattr(All, event + '_' + method, make(event, method, names))

hooks = [All()]
jobs = [job('all'), job('cron', cls=Job, cron_schedule='0 0 1 1 *')]
""" % METHODS
VETO = JOBS + """
class Veto(object):
    def generic_hook(self, hook_config, event, method_name, result_or_err, *args, **kw):
        say(event=event, method=method_name, key=str(hook_config.job_key),
            named=sorted(kw), config=hook_config.config is not None)
        return {'veto': False, 'none': None}.get(MODE, True)

hooks = [Veto]
jobs = [job('all'), job('cron', cls=Job, cron_schedule='0 0 1 1 *')]
"""
CHANGE = JOBS + """
class Change(object):
    def pre_create_job(self, config):
        config.bind({'word': 'a hook'})
        config.add_metadata('by', 'Change')
        return True

hooks = [Change()]
jobs = [job('changed', cmd='echo changed by {{word}}; exec sleep 1000').bind(word='the file')]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("client-hooks")
    home = directory / "home"
    home.mkdir()
    with Cluster(directory / "up", env={"NO_COLOR": "", "HOOK_LOG": str(home / "hooks.log")}) as one:
        one.home = home
        (home / "aurora").symlink_to(build_dir() / "src/cli/davit")
        yield one
    assert one.all_pids() == []


@pytest.fixture
def run(cluster):
    def go(*args, program="davit", status=0, **env):
        path = cluster.home / "aurora" if program == "aurora" else build_dir() / "src/cli/davit"
        done = subprocess.run([path, *map(str, args)], text=True, capture_output=True, timeout=60,
                              stdin=subprocess.DEVNULL, cwd=cluster.home, env={**cluster.env, **env})
        assert done.returncode == status, \
            f"{args}: exit {done.returncode}\n{done.stdout}{done.stderr}\n{cluster.logs()}"
        return done
    return go


@pytest.fixture(autouse=True)
def tidy(cluster):
    yield
    for job in cluster.api("GET", "/v1/jobs?limit=100")["items"]:
        cluster.davit("update", "abort", job["key"], check=False)
        cluster.davit("job", "killall", "--no-batching", job["key"], check=False)
    hook_log(cluster)


def write(cluster, name, text):
    path = cluster.home / name
    path.write_text(text)
    return path.name


def hook_log(cluster):
    path = cluster.home / "hooks.log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def records(run, key):
    return json.loads(run("hook", "log", "--json", "--level=client", "--job", key,
                          "--limit=1000").stdout)


@contextlib.contextmanager
def operation_hook(cluster, directory, text):
    path = cluster.dir / "hooks" / directory / "guard"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    try:
        yield
    finally:
        path.unlink()


def on_terminal(cluster, *args, answer=None, interrupt=False):
    """Output and status on a terminal of its own: its question is answered, or Ctrl-C typed."""
    main, side = pty.openpty()

    def own_terminal():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(side, termios.TIOCSCTTY, 0)

    process = subprocess.Popen([build_dir() / "src/cli/davit", *args], stdin=side, stdout=side,
                               stderr=side, cwd=cluster.home, preexec_fn=own_terminal,
                               env={**cluster.env, "TERM": "dumb"})
    os.close(side)
    seen, end = b"", time.monotonic() + 60
    with contextlib.suppress(OSError):  # EIO: the last writer is gone.
        while time.monotonic() < end:
            if select.select([main], [], [], 0.1)[0]:
                seen += os.read(main, 65536)
            if b"(yes/no): " in seen and answer is not None:
                os.write(main, answer)
                answer = None
    os.close(main)
    return seen.decode(), process.wait(30)


# --- all of them ---------------------------------------------------------------------------------

def test_all_21_combinations_fire_around_real_calls(cluster, run):
    file = write(cluster, "all.aurora", ALL)
    key, cron = cluster.key("all"), cluster.key("cron")
    run("update", "abort", key, file, status=6)  # No update, so no call and no hook.
    run("job", "create", "--wait-until=RUNNING", key, file)
    run("job", "create", key, file, status=4)
    run("job", "add", f"{key}/0", "1", file)
    run("job", "add", "--config", file, f"{key}/0", "1000000", status=10)
    run("job", "restart", "--watch-secs=0", "--config", file, f"{key}/0")
    run("cron", "schedule", cron, file)
    run("cron", "start", cron, file)
    run("cron", "deschedule", cron, file)
    run("cron", "start", cron, "--config", file, status=10)
    run("update", "start", key, file, "-m", "because", CONTACT="else@example.com")
    run("update", "start", key, file, status=10, CONTACT="third@example.com")
    run("job", "restart", key, file, status=10)
    run("job", "killall", "--no-batching", key, file, status=10)
    with operation_hook(cluster, "job-update-abort-pre.d", "exit 1"):
        run("update", "abort", key, file, status=12)
    run("update", "pause", key, file)
    run("update", "abort", "--config", file, key)
    run("job", "kill", f"{key}/0", file)
    said = hook_log(cluster)
    fired = {each["hook"] for each in said}
    assert fired == {f"{event}_{method}" for event in ("pre", "post", "err") for method in METHODS}
    for each in said:
        event, method = each["hook"].split("_", 1)
        assert each["args"] + sorted(set(METHODS[method]) - set(each["args"])) == \
            each["args"] + each["kw"], each
        assert [code == 1 for code in each["code"]] == {
            "pre": [], "post": [True], "err": [False]}[event], each
    kept = {each["hook"] for k in (key, cron) for each in records(run, k)}
    assert kept == {f"All.{name}" for name in fired}


def test_every_call_can_be_vetoed_and_the_veto_is_kept(cluster, run):
    file = write(cluster, "veto.aurora", VETO)
    key, cron = cluster.key("all"), cluster.key("cron")
    calls = {
        "create_job": ["job", "create", cluster.key("all"), file],
        "add_instances": ["job", "add", f"{key}/0", "1", file],
        "restart": ["job", "restart", key, file],
        "kill_job": ["job", "killall", key, file],
        "start_cronjob": ["cron", "start", cron, file],
        "start_job_update": ["update", "start", key, file],
        "cancel_update": ["update", "abort", key, file],
    }
    run(*calls["create_job"], status=1, MODE="veto")
    assert cluster.tasks(key, active=True) == []
    run("job", "create", "--wait-until=RUNNING", key, file)
    run("cron", "schedule", cron, file)
    ran = len(cluster.tasks(cron))
    before = [t["id"] for t in cluster.tasks(key)]
    for method in ("add_instances", "restart", "kill_job", "start_cronjob", "start_job_update"):
        done = run(*calls[method], status=1, MODE="veto", CONTACT="x@example.com")
        assert done.stderr == (f"Pre hooks stopped call to {method} "
                               "(Veto.generic_hook: returned False)\n")
    assert [t["id"] for t in cluster.tasks(key)] == before
    run("update", "start", key, file, CONTACT="y@example.com")
    run(*calls["cancel_update"], status=1, MODE="veto")
    assert cluster.api("GET", f"/v1/updates?job={key}")["items"][0]["active"] is True
    run(*calls["cancel_update"], "--strict-hooks", status=1, MODE="none")
    run(*calls["cancel_update"], MODE="none")
    assert len(cluster.tasks(cron)) == ran
    said = [each for each in hook_log(cluster) if each["event"] == "pre"]
    assert {each["method"] for each in said} == set(calls)
    assert all(each["config"] and each["key"] in (key, cron) for each in said)
    refused = [each for k in (key, cron) for each in records(run, k)
               if each["outcome"] == "refused" and each["hook"].startswith("Veto.")]
    assert len(refused) == 8  # Seven, and the one of --strict-hooks.


@pytest.mark.parametrize("verb", [
    ["job", "create", "KEY"], ["job", "killall", "KEY"], ["job", "kill", "KEY/0"],
    ["job", "restart", "KEY"], ["job", "add", "KEY/0", "1"], ["update", "start", "KEY"]])
def test_strict_hooks(cluster, run, verb):
    """The Aurora client's rule: None refuses also from generic_hook."""
    file = write(cluster, "veto.aurora", VETO)
    key = cluster.key("all")
    if verb[1] != "create":
        run("job", "create", key, file)
    done = run(*[word.replace("KEY", key) for word in verb], file, "--strict-hooks", status=1,
               MODE="none", CONTACT="z@example.com")
    assert "Veto.generic_hook: returned None" in done.stderr


@pytest.mark.parametrize("verb", [
    ["job", "killall", "KEY"], ["job", "kill", "KEY/0"], ["job", "restart", "KEY"],
    ["job", "add", "KEY/0", "1"], ["cron", "start", "KEY"], ["cron", "deschedule", "KEY"],
    ["update", "pause", "KEY"], ["update", "resume", "KEY"], ["update", "abort", "KEY"],
    ["update", "rollback", "KEY"]])
def test_a_file_for_its_hooks_alone_must_be_right(cluster, run, verb):
    file = write(cluster, "wrong.aurora", "jobs = [nothing]")
    words = [word.replace("KEY", cluster.key("all")) for word in verb]
    for args in ([*words, file], [*words, "--config", file], [f"--config={file}", *words]):
        if args[0].startswith("--"):
            args = [*args[1:3], args[0], *args[3:]]
        done = run(*args, status=3)
        assert "name 'nothing' is not defined" in done.stderr
    both = run(*words, file, "--config", file, status=2)
    assert "argument --config: not allowed with the argument FILE" in both.stderr


def test_global_hooks_of_a_plugin_file_need_no_configuration(cluster, run):
    file = write(cluster, "veto.aurora", VETO)
    key = cluster.key("all")
    run("job", "create", key, file)
    hook_log(cluster)
    plugin = cluster.dir / "command_hooks.py"
    plugin.write_text("""
import json, os
from apache.aurora.client.config import GlobalHookRegistry

class Site(object):
    def generic_hook(self, hook_config, event, method_name, result_or_err, args, kw):
        if event == 'pre':
            open(os.environ['HOOK_LOG'], 'a').write(json.dumps([method_name, str(hook_config.job_key),
                hook_config.config is None]) + '\\n')
            return os.environ.get('SITE') != 'no'

GlobalHookRegistry.register_global_hook(Site())
""")
    try:
        done = run("job", "killall", key, status=1, SITE="no")
        assert done.stderr == "Pre hooks stopped call to kill_job (Site.generic_hook: returned False)\n"
        run("job", "add", f"{key}/0", "1")
        run("job", "killall", "--no-batching", key, file)
        assert [each if isinstance(each, list) else each["method"] for each in hook_log(cluster)][:4] == [
            ["kill_job", key, True], ["add_instances", key, True],
            ["kill_job", key, False], "kill_job"]  # Global ones first.
        assert "Site.generic_hook" in {each["hook"] for each in records(run, key)}
    finally:
        plugin.unlink()


def test_what_a_hook_made_of_the_job_is_what_runs(cluster, run):
    file = write(cluster, "change.aurora", CHANGE)
    key = cluster.key("changed")
    run("job", "create", "--wait-until=RUNNING", key, file)
    shown = json.loads(run("job", "status", "--json", key).stdout)[0]["active"][0]["assignedTask"]["task"]
    assert {"key": "by", "value": "Change"} in shown["metadata"]
    logged = run("task", "logs", f"{key}/0").stdout
    assert "changed by a hook" in logged


# --- the document's own examples -------------------------------------------------------------------

@pytest.fixture
def asked(cluster, run):
    path = ROOT / "examples/hooks/kill_confirmer.aurora"
    key = cluster.key("asked")
    run("job", "create", key, path)
    yield path, key


def test_kill_confirmer_and_logger(cluster, asked):
    """Asked on the terminal; what is not yes kills nothing."""
    path, key = asked
    question = f"Are you sure you want to kill {key} (all shards)? (yes/no): "
    args = ["job", "killall", "--no-batching", "--config", path, key]
    for answer, status, said in (
            (b"no\n", 1, "Pre hooks stopped call to kill_job (KillConfirmer.pre_kill_job"),
            (b"\x04", 1, "Pre hooks stopped call to kill_job (KillConfirmer.pre_kill_job: EOFError"),
            (b"\x03", 130, "Command interrupted by user")):
        text, ended = on_terminal(cluster, *args, answer=answer)
        assert question in text and said in text and ended == status, text
        assert len(cluster.tasks(key, active=True)) == 1, answer
    text, ended = on_terminal(cluster, *args, answer=b"YES\n")
    assert ended == 0 and "Job killall succeeded" in text, text
    assert f" INFO] Logger: pre_kill_job of {key}" in text
    assert f" INFO] Logger: post_kill_job of {key}" in text


def test_kill_confirmer_asks_for_each_batch(cluster, asked):
    path, key = asked
    text, ended = on_terminal(cluster, "job", "kill", f"{key}/0", path, answer=b"yes\n")
    assert f"kill {key} (shards [0])? (yes/no): " in text and ended == 0


def test_restart_with_its_file_behind(cluster, asked, run):
    path, key = asked
    done = run("job", "restart", "--watch-secs=0", key, path, program="aurora")
    assert done.stdout == f"Job {key} restarted successfully\n"
    assert f"INFO] Logger: pre_restart of {key}" in done.stderr
    assert f"INFO] Logger: post_restart of {key}" in done.stderr
    assert "Logger" not in run("job", "restart", "--watch-secs=0", key, program="aurora").stderr


PRE = """
def do_something():
    raise ValueError('broken')

class Careless(object):
    def pre_create_job(self, *args):
        do_something() # if do_something fails with an exception, the create_job is not attempted!
        return True

# However...
class Careful(object):
    def pre_create_job(self, *args):
        try:
            do_something() # may cause exception
        except Exception: # generic error trap will catch it
            pass # and ignore the exception
        return True # create_job will run in any case!
"""


def test_error_trap_in_a_pre_hook(cluster, run):
    key = cluster.key("trap")
    careless = write(cluster, "careless.aurora", JOBS + PRE + "hooks = [Careless]\njobs = [job('trap')]")
    done = run("job", "create", key, careless, status=1)
    assert "Pre hooks stopped call to create_job (Careless.pre_create_job: ValueError: broken)" in \
        done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in run("job", "create", "-v", key, careless, status=1).stderr
    assert cluster.tasks(key) == []
    careful = write(cluster, "careful.aurora", JOBS + PRE + "hooks = [Careful]\njobs = [job('trap')]")
    run("job", "create", key, careful)
    assert len(cluster.tasks(key)) == 1


def test_the_last_included_hooks_win(cluster, run):
    for name, names in (("x", "abc"), ("y", "def")):
        write(cluster, f"{name}.aurora", "".join(
            f"class {n}(object):\n    def pre_create_job(self, config): return True\n"
            for n in names.replace("def", "deg")) + f"hooks = [{', '.join(names.replace('def', 'deg'))}]\n")
    z = write(cluster, "z.aurora", JOBS + "include('x.aurora')\ninclude('y.aurora')\njobs = [job('z')]\n")
    planned = run("config", "hooks", z, cluster.key("z"), "job", "create").stdout
    assert planned == "pre\td.pre_create_job\npre\te.pre_create_job\npre\tg.pre_create_job\n"


def test_hooks_for_some_of_the_jobs(cluster, run):
    text = """
import getpass
class No(object):
    def pre_create_job(self, config): return False
hooks = [No()]
template = Service(name='app', role=getpass.getuser(), task=SimpleTask('app', 'exec sleep 1000'))
jobs = [
    template(enable_hooks = True, cluster = c, environment = 'prod') for c in ('devcluster', 'cluster2')
]
jobs.extend(
    template(cluster = c, environment = 'devel') for c in ('devcluster', 'cluster2'))
# Hooks disabled for these jobs
"""
    file = write(cluster, "some.aurora", text)
    listed = run("config", "list", file).stdout
    user = getpass.getuser()
    assert listed == "jobs=[" + ", ".join(
        f"{c}/{user}/{env}/app" for env in ("prod", "devel") for c in ("devcluster", "cluster2")) + "]\n"
    run("job", "create", cluster.key("app", env="prod"), file, status=1)
    run("job", "create", cluster.key("app"), file)
    assert cluster.tasks(cluster.key("app", env="prod")) == []


def test_runtask_is_create_job(cluster, run):
    file = write(cluster, "veto.aurora", VETO)
    assert run("runtask", cluster.key("all"), file, status=1, MODE="veto").stderr.startswith(
        "Pre hooks stopped call to create_job")
    done = run("runtask", cluster.key("all"), file, program="aurora")
    assert done.stdout.startswith("Job create succeeded: job url=")


def test_old_names_get_old_exit_codes(cluster, run):
    key = cluster.key("all")
    file = write(cluster, "veto.aurora", VETO)
    with operation_hook(cluster, "job-create-pre.d", "exit 1"):
        run("job", "create", key, file, status=12)
        run("job", "create", key, file, status=4, program="aurora")
    run("job", "create", key, file)
    with operation_hook(cluster, "job-kill-pre.d", "exit 1"):
        run("job", "killall", key, status=12)
        run("job", "killall", key, status=10, program="aurora")
