# SPDX-License-Identifier: Apache-2.0
"""The man page says what the program says: verbs, options, exit codes, environment."""
import re
import subprocess

import pytest

from test_cli import ROOT, davit, verbs

PAGE = ROOT / "docs" / "man" / "davit.1"
#: Told once, for every verb.
COMMON = {"verbose", "skip-hooks", "color", "json", "write-json"}


def plain():
    """The page as one line of text."""
    text = subprocess.check_output(["mandoc", "-Tascii", "-Owidth=1000", PAGE], text=True)
    return " ".join(re.sub(".\b", "", text).split())


def section(name):
    return re.search(rf"^\.Sh {name}$(.*?)(?=^\.Sh|\Z)", PAGE.read_text(), re.M | re.S).group(1)


def items(name):
    """The first level of a section's list: {head: body}"""
    parts = re.split(r"^\.It (.*)$", section(name), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def commands():
    """{verb: its options}"""
    found, verb = {}, None
    for head in items("COMMANDS"):
        if head.startswith("Cm "):
            verb = head.removeprefix("Cm ").split(" Op ")[0].split(" Ar ")[0]
            found[verb] = set()
    verb = None
    for line in section("COMMANDS").splitlines():
        if line.startswith(".It Cm "):
            verb = line.removeprefix(".It Cm ").split(" Op ")[0].split(" Ar ")[0]
        elif line.startswith(".It Fl Fl "):
            found[verb].add(line.removeprefix(".It Fl Fl ").split()[0])
    return found


def test_every_verb_with_its_options_is_there_and_no_other():
    wanted = {" ".join(filter(None, [row.get("noun"), row["verb"]])): {
        o["name"] for o in row["options"]
        if o["name"] not in COMMON and not o["help"].startswith("internal")} for row in verbs()}
    assert commands() == wanted
    for option in COMMON:
        assert f"Fl Fl {option}" in section("DESCRIPTION")


@pytest.mark.parametrize("topic, where", [("exit-codes", "EXIT STATUS"),
                                          ("environment", "ENVIRONMENT")])
def test_tables_are_those_of_the_help(topic, where):
    told = dict(line.split(maxsplit=1) for line in davit("help", topic).stdout.splitlines())
    assert [head.split()[1] for head in items(where)] == list(told)
    page = plain()
    for key, text in told.items():
        assert f"{key} {text[0].upper()}{text[1:]}." in page, key
