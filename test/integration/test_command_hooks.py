# SPDX-License-Identifier: Apache-2.0
"""Command hooks: plugin files, what lets a command go on, --skip-hooks; and the program's other names.

Contract: aurora.md 3.7 with its defects mended, 1.1.  No cluster is needed: the command that
the hooks stand around is `config list`.
"""
import os
import subprocess

import pytest

from test_cli import DAVIT, ROOT

FILE = """
jobs = [Process(name='p', cmdline='true')] and []
"""
PLUGIN = """
import os
from apache.aurora.client.cli.command_hooks import CommandHook, GlobalCommandHookRegistry

class Hook(CommandHook):
    def __init__(self, name, pre=0, post=None, verbs=('list',)):
        self._name, self._pre, self._post, self._verbs = name, pre, post, verbs
    @property
    def name(self):
        return self._name
    def get_nouns(self):
        return ['config']
    def get_verbs(self, noun):
        return list(self._verbs)
    def pre_command(self, noun, verb, context, argv):
        print 'pre %s %s %s %s %s' % (self._name, noun, verb, ' '.join(argv), context.options.read_json)
        if isinstance(self._pre, Exception): raise self._pre
        if self._pre == 'exit': raise SystemExit(0)
        return self._pre
    def post_command(self, noun, verb, context, argv, result):
        context.print_out('post %s %d' % (self._name, result), 2)
        if isinstance(self._post, Exception): raise self._post

def add(*args, **kw):
    GlobalCommandHookRegistry.register_command_hook(Hook(*args, **kw))

"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "f.aurora").write_text(FILE)

    def run(plugin, *args, program=DAVIT, where="command_hooks.py", head=PLUGIN):
        path = tmp_path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        if plugin is not None:
            path.write_text(head + plugin)
        return subprocess.run(
            [program, *(args or ("config", "list", "f.aurora"))], cwd=tmp_path, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AURORA_CONFIG_ROOT": str(tmp_path),
                 "DAVIT_PYTHONPATH": str(ROOT / "python")})
    return run


def test_they_stand_around_the_command(run):
    done = run("add('a')\nadd('b', pre=None)\nadd('c', pre=True)\nadd('not', verbs=['dump'])")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"pre {name} config list config list f.aurora False" for name in "abc"] + ["jobs=[]"] + [
        f"  post {name} 0" for name in "abc"]
    assert [line for line in done.stderr.splitlines() if " WARN] " not in line] == []


@pytest.mark.parametrize("pre, status", [
    ("False", 1), ("7", 7), ("'no'", 1), ("256", 1), ("CommandHook.Error(9, 'not on Fridays')", 9),
    ("ValueError('broken')", 1)])
def test_what_ends_a_command(run, pre, status):
    done = run(f"add('first')\nadd('no', pre={pre})\nadd('last')")
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == \
        f"Command aborted by command hook no with error code {status}"
    assert "jobs=" not in done.stdout and "pre last" not in done.stdout
    assert "post" not in done.stdout
    assert ("not on Fridays" in done.stderr) == (status == 9)
    assert f" INFO] Command terminated with error code {status}\n" in done.stderr


def test_a_hook_that_exits_ends_the_command_with_its_status(run):
    done = run("add('quiet', pre='exit')")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1) and "jobs=" not in done.stdout


def test_every_post_hook_runs_whatever_the_others_do(run):
    done = run("add('a', post=ValueError('x'))\nadd('b', post=CommandHook.Error(5, 'five'))\n"
               "add('c')")
    assert done.stdout.splitlines()[-3:] == ["  post a 0", "  post b 0", "  post c 0"]
    assert done.returncode == 5 and "five" in done.stderr
    assert " WARN] Error in post_command in a: ValueError: x" in done.stderr


def test_a_configuration_adds_none(run, tmp_path):
    (tmp_path / "late.aurora").write_text(PLUGIN + "add('late')\njobs = []\n")
    done = run("add('a')", "config", "list", "late.aurora")
    assert done.stdout.splitlines()[1:] == ["jobs=[]", "  post a 0"], done.stderr


def test_no_post_hook_after_a_failure(run):
    done = run("add('a')", "config", "list", "none.aurora")
    assert done.returncode == 4 and "pre a" in done.stdout and "post" not in done.stdout


@pytest.mark.parametrize("args", [
    ("config", "list", "f.aurora", "--skip-hooks", "a,b"),
    ("config", "list", "--skip-hooks=a", "f.aurora", "--skip-hooks=b"),
    ("--skip-hooks=a,b", "config", "list", "f.aurora"),
    ("-v", "--skip-hooks", "a, b", "config", "list", "f.aurora"),
    ("config", "list", "f.aurora", "--skip-hooks=all"),
    ("--skip-hooks", "all", "config", "list", "f.aurora")])
def test_hooks_left_out(run, args):
    done = run("add('a')\nadd('b', pre=1)\nadd('c')", *args)
    assert done.returncode == 0 and "jobs=[]" in done.stdout
    assert ("pre c" in done.stdout) == ("all" not in "".join(args))
    assert "pre a" not in done.stdout and "pre b" not in done.stdout


@pytest.mark.parametrize("where", ["command_hooks.py", ".aurora/command_hooks.py",
                                   ".config/davit/command_hooks.py"])
def test_where_plugin_files_live(run, where):
    assert run("add('a', pre=3)", where=where).returncode == 3


def test_all_files_that_are_there_run_in_order(run):
    run("add('mine')", where=".aurora/command_hooks.py")
    done = run("add('sites')")
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("pre")] == \
        ["sites", "mine"]


def test_a_list_of_hooks_is_enough(run):
    done = run("hooks = [Hook('listed', pre=3)]")
    assert done.returncode == 3


@pytest.mark.parametrize("plugin, said", [
    ("add('all')", "ValueError: Invalid hook name 'all'"),
    ("x = 1/0", "ZeroDivisionError: division by zero"),
    ("def (", "SyntaxError")])
def test_a_plugin_file_that_is_wrong(run, plugin, said):
    done = run(plugin)
    assert done.returncode == 3 and said in done.stderr and "command_hooks.py, line" in done.stderr
    assert done.stdout == ""


def test_a_plugin_file_that_anybody_may_write_is_not_run(run, tmp_path):
    run("add('a')")
    (tmp_path / "command_hooks.py").chmod(0o666)
    done = run(None)
    assert done.returncode == 3 and "may be written by everybody" in done.stderr
    assert "pre" not in done.stdout
    if os.geteuid() == 0:  # Only root may give files away.
        (tmp_path / "command_hooks.py").chmod(0o644)
        os.chown(tmp_path / "command_hooks.py", 1, 1)
        done = run(None)
        assert done.returncode == 3 and "is neither root's nor yours" in done.stderr


def test_a_plugin_file_that_does_not_end_is_ended(run):
    done = run("while True: pass")
    assert done.returncode == 9 and "took longer than 10 s" in done.stderr


def test_commands_without_a_noun_have_none(run):
    assert run("x = 1/0", "completion", "bash").returncode == 0


def test_the_name_aurora(run, tmp_path):
    aurora = tmp_path / "aurora"
    os.symlink(DAVIT, aurora)
    assert run(None, "config", "list", "f.aurora", program=aurora).stdout == "jobs=[]\n"
    assert run(None, "job", "kill", "--help", program=aurora).stdout.startswith(
        "usage: aurora job kill [options]")
    assert "usage: aurora NOUN VERB" in run(None, "--help", program=aurora).stdout
    bad = run(None, "job", "create", "x", "f", program=aurora)
    assert bad.returncode == 2 and "\naurora job create: error: argument" in bad.stderr
    bad = run(None, "jbo", program=aurora)
    assert bad.stderr == "aurora: error: 'jbo' is no aurora command; did you mean 'job'?\n"
    assert run(None, "--version", program=aurora).stdout.count(".") == 2


def test_runtask_is_job_create_for_hooks_too(run):
    plugin = ("class Site(object):\n"
              "    name = 'site'\n"
              "    def get_nouns(self): return ['job']\n"
              "    def get_verbs(self, noun): return ['create']\n"
              "    def pre_command(self, noun, verb, context, argv):\n"
              "        print(noun, verb, context.options.jobspec.name, context.options.config_file)\n"
              "        return 8\n"
              "hooks = [Site]\n")
    done = run(plugin, "runtask", "c/r/devel/n", "f.aurora", head="")
    assert done.returncode == 8 and done.stdout.startswith("job create n f.aurora\n")
    assert run(None, "runtask", "c/r/devel/n", "f.aurora", "--skip-hooks", "site").returncode == 3


def test_the_documents_example(run):
    text = (ROOT / "docs/client-hooks.md").read_text().split("```python\n")[2].split("```")[0]
    for env, status, said in (("prod", 8, "production is frozen\n"), ("devel", 3, "Unknown cluster")):
        done = run(text, "job", "create", f"c/r/{env}/n", "f.aurora", head="")
        assert done.returncode == status and said in done.stderr


def test_the_documents_job_hook(run, tmp_path):
    text = (ROOT / "docs/client-hooks.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "g.aurora").write_text(text.replace(
        "...", "cluster='c', role='r', environment='devel', name='n', task=SimpleTask('n', 'true')"))
    done = run(None, "config", "hooks", "g.aurora", "c/r/devel/n", "job", "kill")
    assert done.stdout == "pre\tKillConfirmer.pre_kill_job\n", done.stderr
