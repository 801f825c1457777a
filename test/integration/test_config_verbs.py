# SPDX-License-Identifier: Apache-2.0
"""davit config dump, hooks and lint: what a file is, without a cluster."""

import json

import pytest
from test_cli import davit

FILE = """
class Confirm(object):
  def pre_kill_job(self, *args, **kw):
    return True
  def generic_hook(self, *args):
    return True

hooks = [Confirm()]
task = SimpleTask('hello', 'echo {{mesos.instance}} {{thermos.ports[http]}} {{greeting}}')
jobs = [
  Service(cluster='c', role='www', environment='prod', name='hello', task=task, instances=2,
          enable_hooks=True),
  Job(cluster='c', role='www', environment='test', name='hello', task=task),
]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "hello.aurora"
    path.write_text(FILE)
    return path


def test_dump_of_one_job(file):
    done = davit("config", "dump", file, "--select", "c/www/prod/hello", "--bind", "greeting=hi",
                 "--instance", "1")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert done.stdout.strip() == json.dumps(answer, sort_keys=True, separators=(",", ":"))
    assert answer["ok"] is True and answer["hooks"] == ["Confirm"]
    assert answer["jobs"] == ["c/www/prod/hello", "c/www/test/hello"]
    one, = answer["configs"]
    assert one["key"] == "c/www/prod/hello" and one["ports"] == ["http"]
    assert one["unbound"] == ["mesos.instance", "thermos.ports[http]"]
    assert one["job"]["service"] is True and one["job"]["instances"] == 2
    assert one["job"]["task"]["resources"]["cpu"] == 1.0 and "contact" not in one["job"]
    assert one["instance_task"]["processes"][0]["cmdline"] == "echo 1 {{thermos.ports[http]}} hi"
    assert one["instance_unbound"] == ["thermos.ports[http]"]


def test_dump_of_all_jobs_is_in_the_files_order(file):
    done = davit("config", "dump", file, "--bind", "greeting=hi")
    assert [one["key"] for one in json.loads(done.stdout)["configs"]] == [
        "c/www/prod/hello", "c/www/test/hello"]


@pytest.mark.parametrize("args, said", [
    ([], "Config contains unbound variables: {{greeting}}"),
    (["--select", "c/www/prod/other"], "Could not find job c/www/prod/other"),
])
def test_dump_of_what_is_wrong(file, args, said):
    done = davit("config", "dump", file, *args)
    assert done.stderr.count("Error loading configuration: ") == 1
    assert done.returncode == 3 and done.stdout == "" and said in done.stderr.replace(
        "Task is invalid: Unexpected unbound refs: {{greeting}}.",
        "Config contains unbound variables: {{greeting}}")


def test_hooks_that_would_run(file):
    def plan(*verb):
        done = davit("config", "hooks", file, "c/www/prod/hello", *verb, "--bind", "greeting=hi")
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert plan("job", "kill") == ("pre\tConfirm.pre_kill_job\npost\tConfirm.generic_hook\n"
                                   "err\tConfirm.generic_hook\n")
    assert plan("create_job").count("Confirm.generic_hook") == 3
    none = davit("config", "hooks", file, "c/www/test/hello", "job", "kill", "--bind", "greeting=h")
    assert none.returncode == 0 and none.stdout == "" and "enable_hooks" in none.stderr
    wrong = davit("config", "hooks", file, "c/www/prod/hello", "job", "status")
    assert wrong.returncode == 2 and "runs no client hooks" in wrong.stderr


LINT = [
    ("hooks = [Confirm]", "note", "the class Confirm"),
    ("Confirm.pre_kil_job = lambda self: True", "warning", "did you mean pre_kill_job?"),
    ("jobs = [jobs[0](cron_schedule='* * * * *')]", "error", "may not be run on a cron schedule"),
    ("jobs = [jobs[1](cron_collision_policy='RUN_OVERLAP')]", "error", "has been removed"),
    ("jobs = [jobs[0](max_task_failures=3)]", "note", "means nothing for a service"),
    ("jobs = [jobs[0](tier='silver')]", "error", "tier 'silver' is none of"),
    ("jobs = [jobs[0](update_config=UpdateConfig(batch_size=9))]", "note", "all of them go at once"),
    ("jobs = [jobs[0](health_check_config=HealthCheckConfig(interval_secs=3))]", "warning", "nothing is checked"),
    ("jobs = [jobs[1]]", "warning", "no job says enable_hooks=True"),
    ("jobs = jobs + jobs", "error", "two jobs have this key"),
    ("jobs = []", "error", "No job defined in this config!"),
    ("x = 3/2", "warning", "write // to keep the old result"),
    ("print 'x'", "note", "is written in Python 2"),
    ("jobs = [Job(cluster='c', role='r', name='n', task=task)]", "error", "has no environment"),
    ("jobs = [jobs[0](production=True)]", "warning", "Job.production is deprecated"),
]


@pytest.mark.parametrize("line, level, said", LINT, ids=[each[0] for each in LINT])
def test_lint(file, line, level, said):
    file.write_text(FILE + line + "\n")
    done = davit("config", "lint", file, "--bind", "greeting=hi", "--json")
    found = json.loads(done.stdout.splitlines()[-1])
    assert any(each["level"] == level and said in each["text"] for each in found), found
    assert done.returncode == (3 if any(each["level"] == "error" for each in found) else 0)
    text = davit("config", "lint", file, "--bind", "greeting=hi").stdout
    assert f": {level}: " in text and said in text


def test_lint_of_a_good_file_says_nothing(file):
    done = davit("config", "lint", file, "--bind", "greeting=hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_python_2_off(file):
    file.write_text("print 'x'\n")
    done = davit("config", "dump", file, "--python2-compat=off")
    assert done.returncode == 3 and "Python 3 spells it `print('x')`" in done.stderr
