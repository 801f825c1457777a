# SPDX-License-Identifier: Apache-2.0
"""The command line without a cluster: help, usage errors, bad files, exit codes.

Contract: aurora.md 1.1-1.3 and 2.8.  Every bad input gives one clear line (and,
for usage, the `usage:` line before it) and a documented exit code.
"""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAVIT = ROOT / "build" / "src" / "cli" / "davit"


def davit(*args, cwd=None, env=None, **kw):
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "DAVIT_PYTHONPATH": str(ROOT / "python")}
    return subprocess.run([DAVIT, *args], capture_output=True, text=True, timeout=30, cwd=cwd,
                          stdin=subprocess.DEVNULL, env={**clean, **(env or {})}, **kw)


def verbs():
    return json.loads(davit("help", "verbs").stdout)


@pytest.mark.parametrize("row", verbs(), ids=lambda row: f"{row.get('noun', '')}-{row['verb']}")
def test_help_of_every_verb_says_what_the_table_says(row):
    words = [row["noun"]] if "noun" in row else []
    done = davit(*words, row["verb"], "--help")
    assert done.returncode == 0 and done.stderr == ""
    text = done.stdout
    assert text.startswith(f"usage: davit {' '.join(words + [row['verb']])} [options]")
    assert row["summary"] in text and row["operands"] in text
    for option in row["options"]:
        assert f"--{option['name']}" in text and option["help"] in text
    assert "--help" in text
    assert row["summary"] in davit("--help").stdout


def test_no_arguments_is_help():
    done = davit()
    assert done.returncode == 0 and done.stdout == davit("--help").stdout


@pytest.mark.parametrize("args", [["-h"], ["job", "-h"], ["job", "list", "-h"], ["--version"]])
def test_options_before_them_change_neither_help_nor_version(args):
    assert davit("-v", "--skip-hooks", "x", *args).stdout == davit(*args).stdout != ""


def test_version_is_only_the_version():
    assert davit("--version").stdout.strip().count(".") == 2


@pytest.mark.parametrize("args, status, said", [
    (["jbo", "create"], 2, "did you mean 'job'"),
    (["job", "craete"], 2, "did you mean 'create'"),
    (["job"], 2, "needs a verb"),
    (["job", "create", "x", "f"], 2, "invalid jobkeytype value: 'x'"),
    (["job", "create", "a/b/c/d$", "f"], 2, "invalid jobkeytype value"),
    (["job", "create", "a/b/c/d/e", "f"], 2, "invalid jobkeytype value"),
    (["job", "create", "a/b/c/d"], 2, "too few arguments"),
    (["job", "status", "a", "b"], 2, "unrecognized arguments: b"),
    (["job", "status", "a/b/c/d/e"], 2, "invalid wildcard key"),
    (["job", "kill", "a/b/c/d/3-1"], 2, "Invalid instance range: ['3', '1']"),
    (["job", "kill", "a/b/c/d/x"], 2, "invalid instancesspectype"),
    (["job", "kill", "a/b/c/d"], 6, "use killall to kill all instances"),
    (["job", "create", "--wait-until=NEVER", "a/b/c/d", "f"], 2, "invalid choice: 'NEVER'"),
    (["job", "add", "a/b/c/d", "1"], 2, "invalid taskinstance value: 'a/b/c/d'"),
    (["job", "add", "a/b/c/d/0", "one"], 2, "argument COUNT: 'one' is not a whole number"),
    (["job", "restart", "--max-total-failures=-3", "a/b/c/d"], 6,
     "max_total_failures option must be >0, but you specified -3"),
    (["job", "restart", "a/b/c/d/3-1"], 2, "Invalid instance range: ['3', '1']"),
    (["job", "diff", "a/b/c/d"], 2, "too few arguments"),
    (["job", "diff", "--from=a/b", "a/b/c/d", "f"], 2, "invalid jobkeytype value: 'a/b'"),
    (["update", "start", "a/b/c", "f"], 2, "invalid jobkeytype value: 'a/b/c'"),
    (["update", "pause", "nowhere/b/c/d"], 3, "Unknown cluster: nowhere"),
    (["update", "list", "--status", "nonsense", "a"], 2, "--status: invalid choice: 'nonsense'"),
    (["update", "info"], 2, "too few arguments"),
    (["job", "create", "--nonsense", "a/b/c/d", "f"], 2, "unrecognized arguments: --nonsense"),
    (["--skip-hooks=all", "job", "list", "x"], 3, "Unknown cluster: x"),
    (["--skip-hooks"], 2, "argument --skip-hooks: expected one argument"),
    (["-v"], 2, "too few arguments"),
    (["jbo", "--help"], 2, "did you mean 'job'"),
    (["job", "status", "nowhere/a/b/c"], 3, "Unknown cluster: nowhere"),
    (["op", "list"], 3, "no cluster is known"),
    (["up", "--nodes", "0"], 2, "--nodes: 0 is not between 1 and 100"),
    (["up", "--dir", "/proc/nothing"], 14, "/proc/nothing"),
    (["task", "logs", "a/b/c/d"], 2, "name one instance"),
])
def test_bad_input_is_one_clear_line(args, status, said):
    done = davit(*args)
    assert said in done.stderr
    lines = done.stderr.rstrip("\n").split("\n")
    assert len(lines) == (2 if lines[0].startswith("usage: ") else 1), done.stderr
    assert done.returncode == status
    assert done.stdout == ""


@pytest.fixture
def one_cluster(tmp_path):
    """A cluster that is known, but where nobody answers."""
    (tmp_path / "clusters.json").write_text(json.dumps(
        [{"name": "devcluster", "scheduler_uri": "http://127.0.0.1:9"}]))
    return {"AURORA_CONFIG_ROOT": str(tmp_path)}


def test_nobody_answers(one_cluster):
    done = davit("job", "list", "devcluster", env=one_cluster)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1 and "devcluster" in done.stderr


def test_errors_in_json_mode_are_json(one_cluster):
    done = davit("job", "list", "devcluster", "--json", env=one_cluster)
    problem = json.loads(done.stderr)
    assert problem["exit"] == done.returncode == 7 and "devcluster" in problem["detail"]


def test_clusters_file_that_is_no_json(tmp_path):
    (tmp_path / "clusters.json").write_text("{")
    done = davit("job", "list", "x", env={"AURORA_CONFIG_ROOT": str(tmp_path)})
    assert done.returncode == 3 and "clusters.json" in done.stderr


def test_clusters_merge_and_the_later_file_wins(tmp_path):
    home = tmp_path / "home"
    (home / ".aurora").mkdir(parents=True)
    (home / ".aurora" / "clusters.json").write_text(json.dumps(
        {"x": {"name": "one", "scheduler_uri": "http://127.0.0.1:9"}, "y": {"no": "name"}}))
    (tmp_path / "clusters.json").write_text(json.dumps([{"name": "one"}, {"name": "two"}]))
    env = {"AURORA_CONFIG_ROOT": str(tmp_path), "HOME": str(home)}
    assert davit("job", "list", "one", env=env).returncode == 7
    done = davit("job", "list", "two", env=env)
    assert done.returncode == 3
    assert done.stderr == '"two" does not specify zk or scheduler_uri\n'


JOB = """
p = Process(name='p', cmdline='echo hi')
t = Task(name='t', processes=[p], resources=Resources(cpu=1, ram=1*MB, disk=1*MB))
jobs = [Job(cluster='devcluster', role='www', environment='devel', name='hi', task=t)]
"""


@pytest.mark.parametrize("text, status, said", [
    ("jobs = [", 3, "(bad.aurora, line 1)"),
    ("x = 1\ny = zzz\n", 3, "name 'zzz' is not defined"),
    ("jobs = [Job(nonsense=1)]", 3, "Unknown schema attribute nonsense"),
    (JOB.replace("role='www', ", ""), 3, "devcluster/{MISSING}/devel/hi"),
    (JOB.replace("cpu=1", "cpu='abc'"), 3, "Cannot coerce 'abc' to Float"),
    (JOB.replace("echo hi", "echo {{unbound}}"), 3, "{{unbound}}"),
    (JOB.replace("processes=[p]", "processes=[]"), 3, "Processes required for task"),
    (JOB.replace("name='hi'", "name='other'"), 3, "Could not find job devcluster/www/devel/hi"),
    ("import sys\nsys.exit(42)\n", 42, ""),
    ("include('absent.aurora')\n", 3, "absent.aurora"),
    ("jobs = []\n", 3, "No job defined in this config!"),
])
def test_broken_files_say_where(tmp_path, one_cluster, text, status, said):
    (tmp_path / "bad.aurora").write_text(text)
    done = davit("job", "create", "devcluster/www/devel/hi", "bad.aurora", cwd=tmp_path, env=one_cluster)
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == status


def test_missing_file(one_cluster):
    done = davit("job", "create", "devcluster/www/devel/hi", "/nonexistent.aurora", env=one_cluster)
    assert done.returncode == 3 and "No such file or directory: '/nonexistent.aurora'" in done.stderr


def test_config_list(tmp_path):
    (tmp_path / "a.aurora").write_text(JOB)
    done = davit("config", "list", "a.aurora", cwd=tmp_path)
    assert done.stdout == "jobs=[devcluster/www/devel/hi]\n" and done.returncode == 0
    assert json.loads(davit("config", "list", "--json", "a.aurora", cwd=tmp_path).stdout) == [
        "devcluster/www/devel/hi"]
    (tmp_path / "a.aurora").write_text("syntax error")
    done = davit("config", "list", "a.aurora", cwd=tmp_path)
    assert done.returncode == 4 and done.stderr.startswith("Error loading configuration file: ")


def complete(script, *words):
    """What bash offers after these words."""
    line = " ".join(f"'{word}'" for word in words)
    code = (f"source {script}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
            "_davit; printf '%s\\n' \"${COMPREPLY[@]}\"")
    env = {"PATH": f"{DAVIT.parent}:/usr/bin:/bin"}
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=env,
                          timeout=30).stdout.split()


def test_bash_completion(tmp_path):
    script = tmp_path / "davit.bash"
    script.write_text(davit("completion", "bash").stdout)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert complete(script, "davit", "j") == ["job"]
    assert set(complete(script, "davit", "job", "kill")) == {"kill", "killall"}
    assert complete(script, "davit", "job", "create", "--wait") == ["--wait-until="]
    nouns = {row.get("noun", row["verb"]) for row in verbs()}
    assert nouns <= set(complete(script, "davit", ""))


def test_no_color_without_a_terminal():
    assert "\033" not in davit("--help").stdout
    assert os.environ.get("CLICOLOR_FORCE") is None


@pytest.mark.parametrize("row", verbs(), ids=lambda row: f"{row.get('noun', '')}-{row['verb']}")
def test_any_unambiguous_beginning_of_an_option_will_do(row):
    """Contract: aurora.md 1.1; but for --strict-hooks, whose beginnings meant something else."""
    words = [row["noun"]] if "noun" in row else []
    names = [o["name"] for o in row["options"] if o["name"] != "strict-hooks"] + ["help", "version"]
    for option in row["options"]:
        name = option["name"]
        if name == "strict-hooks":
            continue
        least = next(n for n in range(1, len(name) + 1) if n == len(name) or not any(
            other != name and other.startswith(name[:n]) for other in names))
        value = ["1"] if "metavar" in option else []
        done = davit(*words, row["verb"], f"--{name[:least]}", *value, "--help")
        assert (done.returncode, done.stderr) == (0, ""), (name[:least], done.stderr)
        if least > 1 and name[:least - 1] not in names:
            done = davit(*words, row["verb"], f"--{name[:least - 1]}", *value, "--help")
            assert done.returncode == 2 and "error: ambiguous option: " in done.stderr, done.stderr
