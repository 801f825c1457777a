# SPDX-License-Identifier: Apache-2.0
"""The block YAML that davit writes, read without a YAML library (python3-yaml is no
dependency): nested mappings and lists of scalars; quoted text is JSON's."""
import json


def scalar(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse(text):
    lines = [line for line in text.splitlines() if line.strip()]
    value, rest = block(lines, indent_of(lines[0]))
    assert not rest, rest
    return value


def indent_of(line):
    return len(line) - len(line.lstrip(" "))


def block(lines, indent):
    return sequence(lines, indent) if lines[0].lstrip().startswith("- ") else mapping(lines, indent)


def mapping(lines, indent):
    found = {}
    while lines and indent_of(lines[0]) == indent and not lines[0].lstrip().startswith("- "):
        name, _, rest = lines[0].strip().partition(":")
        lines = lines[1:]
        if rest.strip():
            found[scalar(name)] = scalar(rest.strip())
        elif lines and (indent_of(lines[0]) > indent or lines[0].lstrip().startswith("- ")):
            found[scalar(name)], lines = block(lines, indent_of(lines[0]))
        else:
            found[scalar(name)] = None
    return found, lines


def sequence(lines, indent):
    found = []
    while lines and indent_of(lines[0]) == indent and lines[0].lstrip().startswith("- "):
        inner = " " * (indent + 2) + lines[0].lstrip()[2:]
        if ": " in inner or inner.endswith(":"):
            value, lines = block([inner] + lines[1:], indent + 2)
        else:
            value, lines = scalar(inner.strip()), lines[1:]
        found.append(value)
    return found, lines
