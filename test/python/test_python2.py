# SPDX-License-Identifier: Apache-2.0
"""Configuration files in Python 2: contracts/pystachio.md section 16."""

import pathlib
import subprocess

import pytest
from davit_guest import compat
from davit_guest.python2 import Compiler

PYTHON = pathlib.Path(__file__).resolve().parents[2] / "python"


def run(text, rewrite=True):
    compiler = Compiler(rewrite)
    names = {}
    exec(compiler(text, "f.aurora"), names)
    return names, compiler.warnings


@pytest.mark.parametrize("text, spelling", [
    ("a = 1\nprint 'x', a\n", "line 2: Python 3 spells it `print('x', a)`"),
    ("try:\n  1 / 0\nexcept ZeroDivisionError, e:\n  a = 1\n", "`except ZeroDivisionError as e:`"),
    ("try:\n  raise ValueError, 'm'\nexcept (ValueError, KeyError), e:\n  a = 1\n",
     "`raise ValueError('m')`"),
    ("a = 1 <> 2\n", "`a = 1 != 2`"),
    ("a = `1`\n", "`a = repr(1)`"),
    ("a = 0644\n", "`a = 0o644`"),
    ("a = 3L\n", "`a = 3`"),
    ("exec 'a = 2'\n", "`exec('a = 2')`"),
    ("def f(x, (y, z)): return y\na = f(1, (2, 3))\n", "line 1:"),
    ("if True:\n\ta = 1\n        b = 2\n", "line 2: Python 3 spells it `indentation by spaces"),
    ("from __future__ import print_function\nprint('x', end='')\na = 3L\n", "`a = 3`"),
    ("print('x', end='')\na = 07\n", "`a = 0o7`"),
])
def test_what_python_3_refuses_is_translated_with_a_warning(text, spelling, capsys):
    names, warnings = run(text)
    assert "a" in names
    assert len(warnings) == 1 and warnings[0].startswith(
        "f.aurora is written in Python 2 and was translated (") and spelling in warnings[0]
    with pytest.raises(SyntaxError) as refused:
        run(text, rewrite=False)
    assert refused.value.filename == "f.aurora" and refused.value.lineno >= 1
    assert spelling in refused.value.msg


@pytest.mark.parametrize("text, value", [
    ("a = [k for k, v in {'x': 1}.iteritems()]", ["x"]),
    ("a = list({'x': 1}.itervalues())", [1]),
    ("a = {'x': 1}.has_key('x')", True),
    ("a = map(str, [1, 2])[0]", "1"),
    ("a = filter(None, [0, 2])[0]", 2),
    ("a = zip([1], [2]) + [3]", [(1, 2), 3]),
    ("a = [9] + range(2)", [9, 0, 1]),
    ("a = {'x': 1}.keys()[0]", "x"),
    ("a = {'x': 1}.items() + []", [("x", 1)]),
    ("a = sorted([1, 3, 2], cmp=lambda x, y: y - x)", [3, 2, 1]),
    ("a = [1, 3, 2]\na.sort(cmp=lambda x, y: y - x, reverse=True)", [1, 2, 3]),
    ("import urllib\na = urllib.urlencode({'x': 'y z'})", "x=y+z"),
    ("from StringIO import StringIO\na = StringIO('x').read()", "x"),
    ("import ConfigParser\na = ConfigParser.__name__", "configparser"),
    ("import urlparse\na = urlparse.urlparse('http://h/p').path", "/p"),
    ("import commands\na = commands.getoutput('echo x')", "x"),
])
def test_idioms_that_fail_later_are_translated_in_silence(text, value):
    names, warnings = run(text)
    assert names["a"] == value and warnings == []
    with pytest.raises((TypeError, AttributeError, ImportError)):
        run(text, rewrite=False)


def test_print_to_a_stream_is_no_shift(capsys):
    run("import sys\nprint >>sys.stderr, 'to', 'stderr'\n")
    assert capsys.readouterr().err == "to stderr\n"


def test_hook_bodies_are_translated_with_their_file(capsys):
    names, _ = run("class Hook(object):\n  def pre_kill_job(self, key):\n    print 'killing', key\n")
    names["Hook"]().pre_kill_job("k")
    assert capsys.readouterr().out == "killing k\n"


def test_tabs_inside_texts_stay(capsys):
    names, _ = run("if True:\n\ta = '''x\n\ty'''\n        b = 1\n")
    assert names["a"] == "x\n\ty"


def test_lines_stay_where_they_are():
    with pytest.raises(KeyError) as failed:
        run("print 'a'\n\nfor k, v in {}.iteritems():\n  print k\n\n{}['none']\n")
    trace = failed.value.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    assert trace.tb_lineno == 6


def test_python_3_costs_no_lib2to3():
    code = ("import sys; sys.path.insert(0, %r)\nfrom davit_guest.python2 import Compiler\n"
            "Compiler()('a = list(zip([1], [2]))\\nb = [x for x in range(3)]', 'f')\n"
            "print('lib2to3' in sys.modules)" % str(PYTHON))
    out = subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", code], capture_output=True,
                         text=True, check=True)
    assert out.stdout == "False\n"


@pytest.mark.parametrize("text", ["a = {\n", "def f(:\n", "a = 'x\n"])
def test_what_neither_reads_keeps_python_3s_words(text):
    with pytest.raises((SyntaxError, ValueError)) as refused:
        run(text)
    with pytest.raises((SyntaxError, ValueError)) as plain:
        compile(text, "f.aurora", "exec")
    assert str(refused.value) == str(plain.value)


def test_a_nul_is_told_with_its_line():
    with pytest.raises(SyntaxError, match=r"cannot contain null bytes \(f.aurora, line 2\)"):
        run("a = 1\n\x00\n")


def test_a_coding_line_is_obeyed():
    names, _ = run("# -*- coding: latin-1 -*-\nprint '\xe9'\na = '\xe9'\n".encode("latin-1"))
    assert names["a"] == "\xe9"


def test_builtins_of_python_2():
    compat.install(True)
    names, _ = run("a = [xrange(2)[1], unicode('x'), long(3), basestring, cmp(1, 2),\n"
                   "     reduce(lambda x, y: x + y, [1, 2]), unichr(65), raw_input]")
    assert names["a"][:3] == [1, "x", 3] and names["a"][4:7] == [-1, 3, "A"]
