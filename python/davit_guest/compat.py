# SPDX-License-Identifier: Apache-2.0
"""Names that a Python 2 configuration takes for granted and Python 3 no longer has."""

import builtins
import posix
import sys

#: Where Debian keeps what apt installs; left out of the fast start (-S), put back for user code.
SITE = "/usr/lib/python3/dist-packages"


def _raw_input(prompt=""):
    return input(prompt)


def _reduce(*args):
    from functools import reduce
    return reduce(*args)


def _cmp(a, b):
    return (a > b) - (a < b)


def _unichr(code):
    return chr(code)


def _execfile(path, *scopes):
    from .python2 import Compiler
    with open(path, "rb") as fp:
        exec(Compiler()(fp.read(), path), *(scopes or (sys._getframe(1).f_globals,)))


def _exit(code=None):
    raise SystemExit(code)


def install(python2):
    names = [("exit", _exit), ("quit", _exit)]  # Of Python 3, too: they come with `site`.
    if python2:
        names += [("raw_input", _raw_input), ("xrange", range), ("unicode", str),
                  ("basestring", str), ("long", int), ("reduce", _reduce), ("cmp", _cmp),
                  ("unichr", _unichr), ("execfile", _execfile)]
    for name, value in names:
        if not hasattr(builtins, name):
            setattr(builtins, name, value)
    extra = posix.environ.get(b"PYTHONPATH", b"").decode("utf-8", "surrogateescape")
    for path in extra.split(":") + [SITE]:
        if path and path not in sys.path:
            sys.path.append(path)
