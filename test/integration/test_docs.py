# SPDX-License-Identifier: Apache-2.0
"""What the documents tell people to type works: README's commands, and the demo.

Every line of a README block that begins with `./dev run davit` is run, in order, on one
cluster; `up` is the fixture's own start, and a `--follow` is ended by the job's end.
"""
import os
import re
import shlex
import subprocess

import pytest

from cluster import Cluster, USER
from servers import ROOT, build_dir


def blocks(text):
    return re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)


def commands():
    """(davit command line without its comment, the status that the comment names) of README."""
    found = []
    for block in blocks((ROOT / "README.md").read_text()):
        for line in block.splitlines():
            line, _, comment = line.partition(" #")
            if line.startswith("./dev run davit "):
                status = re.search(r"\bexit (\d+)", comment)
                found.append((line.strip().removeprefix("./dev run ").replace("$USER", USER),
                              int(status[1]) if status else 0))
    return found


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text()
    usage = subprocess.check_output([ROOT / "dev", "help"], text=True)
    for word in re.findall(r"^\./dev (\w+)", "\n".join(blocks(text)), re.M):
        assert re.search(rf"^  {word}\b", usage, re.M), word
    for path in re.findall(r"`((?:docs|examples)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_commands_of_the_readme(tmp_path):
    lines = commands()
    assert len(lines) >= 15 and lines[0] == ("davit up --nodes 2", 0)
    with Cluster(tmp_path / "up", nodes=2) as cluster:
        followers = []
        for line, status in lines[1:]:
            words = [str(build_dir() / "src/cli/davit"), *shlex.split(line)[1:]]
            if "--follow" in words:
                followers.append(subprocess.Popen(words, cwd=ROOT, env=cluster.env, text=True,
                                                  stdout=subprocess.PIPE))
                assert followers[-1].stdout.readline() != ""
                continue
            done = subprocess.run(words, cwd=ROOT, env=cluster.env, text=True, timeout=90,
                                  capture_output=True, stdin=subprocess.DEVNULL)
            assert done.returncode == status, f"{line}\n{done.stdout}{done.stderr}\n{cluster.logs()}"
        for follower in followers:
            follower.stdout.read()
            assert follower.wait(60) == 0


def test_verbs_of_the_documents_exist():
    """Each `davit NOUN VERB` in a document is one of the table."""
    table = subprocess.check_output([build_dir() / "src/cli/davit", "--help"], text=True)
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for noun, verb in re.findall(r"`davit (job|op|hook|node|task|config|update|cron|quota|sla) (\w+)", path.read_text()):
            assert re.search(rf"\b{noun} {verb}\b", table), f"{path.name}: davit {noun} {verb}"


def test_files_and_commands_of_the_page_on_aurora_files(tmp_path):
    """Each file of the page is written, each command run there, and answers as it says."""
    text = (ROOT / "docs" / "aurora-files.md").read_text()
    env = {**os.environ, "DAVIT_PYTHONPATH": str(ROOT / "python"), "HOME": str(tmp_path),
           "PATH": f"{build_dir()}/src/cli:/usr/bin:/bin"}
    for name, body in re.findall(r"^`(\w+\.aurora)`:\n\n```python\n(.*?)^```", text, re.S | re.M):
        (tmp_path / name).write_text(body)
    told = "".join(re.findall(r"^```console\n(.*?)^```", text, re.S | re.M))
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", told, re.M)
    assert len(steps) >= 6
    for command, answer in steps:
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=env, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.stdout == answer, command


def test_the_demo(tmp_path):
    env = {**os.environ, "DAVIT_PYTHONPATH": str(ROOT / "python"), "TMPDIR": str(tmp_path),
           "PATH": f"{build_dir()}/src/cli:/usr/bin:/bin:/usr/sbin:/sbin"}
    done = subprocess.run([ROOT / "tools/demo.sh"], cwd=ROOT, env=env, text=True, timeout=120,
                          capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done: nothing of it runs any more" in done.stdout
    for level in ("client", "operation", "node", "pod"):
        assert re.search(rf"Z +{level} +", done.stdout), level
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.aurora")), ids=lambda p: p.name)
def test_examples_load(path):
    env = {**os.environ, "DAVIT_PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run([build_dir() / "src/cli/davit", "config", "list", path], env=env, text=True,
                          capture_output=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("jobs=[devcluster/"), done.stderr
