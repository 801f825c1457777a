# SPDX-License-Identifier: Apache-2.0
"""The corpus of configuration files: each evaluates to what its head says (test/corpus/README.md)."""
import json
import re
import shlex
import sys

import pytest

from test_cli import ROOT, davit

CORPUS = ROOT / "test" / "corpus"
CASES = sorted(path for kind in ("*/*.aurora", "*/*.json") for path in CORPUS.glob(kind))
WHOLE = ("ok", "jobs", "hooks", "configs")
PREFIX = "Error loading configuration: "
ABSENT = object()


def name_of(path):
    return str(path.relative_to(CORPUS).with_suffix(""))


def head_of(path):
    """(title, citation, [(word, text)...]) of a case."""
    if path.suffix == ".json":
        path = path.with_suffix(".expect")
    lines = []
    for line in path.read_text(errors="replace").splitlines():
        if not line.startswith("#"):
            break
        line = line[1:].rstrip()
        if line and "-*-" not in line:
            lines.append(line.removeprefix(" "))
    rows = []
    for line in lines[2:]:
        if line.startswith("  "):
            rows[-1][1] += "\n" + line[2:]
        else:
            word, colon, text = line.partition(":")
            assert colon, f"{path}: no word in {line!r}"
            rows.append([word, text.strip()])
    return lines[0], lines[1], rows


def texts(rows, word):
    """All that the rows of that word say."""
    return "\n".join(unquoted(line) for name, text in rows if name == word
                     for line in text.split("\n"))


def unquoted(text):
    """A text in quotes keeps its outer blanks."""
    return json.loads(text) if text.startswith('"') else text


def part_of(answer, path):
    """What stands at job.task.processes[0].name, or ABSENT."""
    steps = [int(number) if number else word
             for word, number in re.findall(r"\.?(\w+)|\[(\d+)\]", path)]
    if steps[0] == "shown":
        steps[:1] = ["job", "task_links"]
    at = answer if steps[0] in WHOLE else answer["configs"][0]
    for step in steps:
        if isinstance(at, list) and isinstance(step, int) and step < len(at):
            at = at[step]
        elif isinstance(at, dict) and step in at:
            at = at[step]
        else:
            return ABSENT
    return at


def exactly(value):
    """JSON as text: there 1, 1.0 and true are three things."""
    return "absent" if value is ABSENT else json.dumps(value, sort_keys=True, indent=1)


def check_answer(rows, answer):
    for path, wanted in rows:
        if path in ("args", "prints", "says"):
            continue
        wanted = ABSENT if wanted == "absent" else json.loads(wanted)
        assert exactly(part_of(answer, path)) == exactly(wanted), path


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_case(path):
    _, _, rows = head_of(path)
    args = shlex.split(texts(rows, "args").replace("\n", " "))
    done = davit("config", "dump", path.name, *args, cwd=path.parent)
    failure = re.match(r"(\d+) ?(.*)", texts(rows, "fails"), re.S)
    if failure:
        status, text = int(failure[1]), unquoted(failure[2])
        assert done.stderr == (PREFIX if status == 3 else "") + text + "\n"
        assert done.returncode == status and done.stdout.rstrip("\n") == texts(rows, "prints")
        return
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    assert "\n".join(printed) == texts(rows, "prints")
    assert done.stderr.rstrip("\n") == texts(rows, "says")
    answer = json.loads(last)
    assert answer["ok"] is True
    check_answer(rows, answer)


def test_every_case_says_what_it_shows_and_where_that_is_written():
    for path in CASES:
        title, see, rows = head_of(path)
        assert title.endswith(".") and len(title) > 10, path
        assert re.fullmatch(r"See ((pystachio|aurora)\.md \d+(\.\d+)?(, \d+(\.\d+)?)*(; )?)+", see), path
        assert [word for word, _ in rows if word not in ("args", "prints", "says")], path


def test_nothing_that_a_file_can_name_is_left_out():
    """Every name a file starts with, and every field of every struct, is in some case."""
    sys.path.insert(0, str(ROOT / "python"))
    try:
        from davit_guest import schema
        names = schema.names()
    finally:
        sys.path.pop(0)
    text = "\n".join(path.read_text(errors="replace") for path in [*CASES, CORPUS / "job.aurora"])
    words = set(re.findall(r"\w+", text))
    fields = {field for value in names.values() for field in getattr(value, "TYPEMAP", ())}
    assert sorted(set(names) - words) == []
    assert sorted(fields - words) == []
