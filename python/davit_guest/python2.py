# SPDX-License-Identifier: Apache-2.0
"""Configuration files written for Python 2: found, and given their meaning.

    text --does Python 3 read it, without idioms of Python 2?--> its code
      |no
      rewrite by lib2to3 --> its code; with a warning where Python 3 would refuse it

A file in Python 3 costs a few searches for words; lib2to3 is only imported for
one that needs it.  Lines stay where they are, so that errors name the right one.
Not here: builtins that Python 3 lost (compat.py), and what both read with
different results (`3/2`, text of floats), which only the author can decide.
Contract: pystachio.md section 16.
"""

#: Words without which no idiom of `_uses()` can stand in a file: the quick look.
_WORDS = (b".iteritems", b".iterkeys", b".itervalues", b".has_key", b"map(", b"filter(", b"zip(",
          b"range(", b".keys(", b".items(", b".values(", b"cmp", b"ConfigParser", b"urllib",
          b"urlparse", b"StringIO", b"commands", b"__metaclass__", b">>")
_GONE_METHODS = ("iteritems", "iterkeys", "itervalues", "has_key")
_GONE_MODULES = ("ConfigParser", "urlparse", "urllib2", "StringIO", "cStringIO", "commands")
_GONE_FROM_URLLIB = ("urlencode", "urlopen", "urlretrieve", "quote", "quote_plus", "unquote",
                     "unquote_plus")
_WERE_LISTS = ("map", "filter", "zip", "range", "xrange")
_WERE_LIST_METHODS = ("keys", "items", "values")
_ONCE_ONLY = ("map", "filter", "zip")
_LIST_METHODS = ("append", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort")

_FIXERS = ("apply", "dict", "except", "exec", "filter", "has_key", "imports", "itertools",
           "itertools_imports", "map", "metaclass", "methodattrs", "ne", "next", "numliterals",
           "paren", "raise", "repr", "tuple_params", "types", "unicode", "urllib", "xrange", "zip")


class Compiler:
    """Compiles configuration files; `warnings` tells which of them were Python 2."""

    def __init__(self, rewrite=True):
        self._rewrite = rewrite
        self.warnings = []

    def __call__(self, source, name):
        data = source.encode("utf-8") if isinstance(source, str) else source
        if b"\0" in data:  # In some versions of Python a ValueError that names no file.
            raise SyntaxError("source code string cannot contain null bytes",
                              (name, data[:data.index(b"\0")].count(b"\n") + 1, None, None))
        try:
            code = compile(source, name, "exec", dont_inherit=True)
            if not self._rewrite or not _uses(data, source, name):
                return code
            refused = None
        except SyntaxError as e:
            refused = e
        text, line, spelling = _translate(data, None if refused is None else refused.lineno)
        if text is None or line is None:
            if refused is not None:
                raise refused
            return code
        hint = "line %d: Python 3 spells it `%s`" % (line, spelling)
        if refused is not None and not self._rewrite:
            raise SyntaxError("%s; %s" % (refused.msg, hint),
                              (name, refused.lineno, refused.offset, refused.text)) from None
        try:
            code = compile(text, name, "exec", dont_inherit=True)
        except SyntaxError as e:
            raise (refused or e) from None
        if refused is not None:
            self.warnings.append("%s is written in Python 2 and was translated (%s)" % (name, hint))
        return code


def _uses(data, source, name):
    """Does what Python 3 compiles need translating all the same?"""
    if not any(word in data for word in _WORDS):
        return False
    views, as_lists = set(), set()
    for node in _nodes(source, name):
        if _is_idiom(node):
            return True
        _follow(node, views, as_lists)
    return bool(views & as_lists)


def _follow(node, views, as_lists):
    """Names that were given a list in Python 2 and a view in 3; names that are used as lists."""
    kind = type(node).__name__
    if kind == "Assign" and _made_a_list(node.value):
        views.update(target.id for target in node.targets if hasattr(target, "id"))
    elif kind == "Subscript":
        as_lists.add(getattr(node.value, "id", None))
    elif kind == "Attribute" and node.attr in _LIST_METHODS:
        as_lists.add(getattr(node.value, "id", None))
    elif kind in ("BinOp", "AugAssign") and type(node.op).__name__ == "Add":
        sides = (node.left, node.right) if kind == "BinOp" else (node.target, node.value)
        as_lists.update(getattr(side, "id", None) for side in sides)


def divisions(source, name):
    """Lines with a `/` between whole numbers written out: 3/2 was 1 in Python 2."""
    try:
        nodes = list(_nodes(source, name)) if (b"/" if isinstance(source, bytes) else "/") in \
            source else []
    except SyntaxError:
        return []  # It was translated: Python 3 cannot say which of them there are.
    return sorted(node.lineno for node in nodes
                  if type(node).__name__ == "BinOp" and type(node.op).__name__ == "Div"
                  and all(type(getattr(side, "value", None)) is int
                          for side in (node.left, node.right)))


def _nodes(source, name):
    todo = [compile(source, name, "exec", 0x400, dont_inherit=True)]  # ast.PyCF_ONLY_AST
    while todo:
        node = todo.pop()
        yield node
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                todo.extend(each for each in value if hasattr(each, "_fields"))
            elif hasattr(value, "_fields"):
                todo.append(value)


def _is_idiom(node):
    kind = type(node).__name__
    if kind == "Attribute":
        return node.attr in _GONE_METHODS or (
            node.attr in _GONE_FROM_URLLIB and getattr(node.value, "id", None) == "urllib")
    if kind == "Subscript":
        return _made_a_list(node.value)
    if kind == "BinOp":
        if type(node.op).__name__ == "RShift":
            return getattr(node.left, "id", None) == "print"
        return type(node.op).__name__ == "Add" and (
            _made_a_list(node.left) or _made_a_list(node.right))
    if kind == "Call":
        called = getattr(node.func, "id", getattr(node.func, "attr", None))
        return (called in ("sorted", "sort") and any(each.arg == "cmp" for each in node.keywords)) \
            or (called == "len" and any(_runs_out(each) for each in node.args))
    if kind in ("Assign", "Return"):
        return _runs_out(node.value)  # Whoever reads it twice finds nothing left in Python 3.
    if kind == "Import":
        return any(each.name in _GONE_MODULES for each in node.names)
    if kind == "ImportFrom":
        return node.module in _GONE_MODULES or (
            node.module == "urllib" and any(each.name not in ("error", "parse", "request",
                                                              "response") for each in node.names))
    if kind == "ClassDef":
        return any(getattr(target, "id", None) == "__metaclass__" for each in node.body
                   if type(each).__name__ == "Assign" for target in each.targets)
    return False


def _made_a_list(node):
    """An expression whose value was a list in Python 2 and is none now."""
    if type(node).__name__ != "Call":
        return False
    if type(node.func).__name__ == "Name":
        # A range can be indexed in Python 3 as well; adding is what fails.
        return node.func.id in _WERE_LISTS
    return type(node.func).__name__ == "Attribute" and not node.args and not node.keywords and \
        node.func.attr in _WERE_LIST_METHODS


def _runs_out(node):
    return type(node).__name__ == "Call" and getattr(node.func, "id", None) in _ONCE_ONLY


# --- translating -------------------------------------------------------------

def _translate(data, refused_line):
    """(text in Python 3, number of a line that differs, that line); text None when it cannot be
    read.  The line is the one that Python 3 refused, else the first that differs."""
    import io
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    from lib2to3.pgen2 import tokenize
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None, None, None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    wanted = _spaces(text if text.endswith("\n") else text + "\n", tokenize)
    # `print('a', 'b')` is both, and not the same: what Python 3 reads is meant for it.
    functions_first = refused_line is None and b">>" not in data
    for print_is_function in (functions_first, not functions_first):
        result = _refactor(wanted, print_is_function)
        if result is not None:
            line, spelling = _difference(text, result, refused_line)
            return result, line, spelling
    return None, None, None


def _refactor(text, print_is_function):
    from lib2to3.pgen2.parse import ParseError
    from lib2to3.pgen2.tokenize import TokenError
    from lib2to3.refactor import RefactoringTool

    class Tool(RefactoringTool):
        def get_fixers(self):
            pre, post = super().get_fixers()
            return pre, post + [_cmp_fixer()(self.options, self.fixer_log)]

    fixers = ["lib2to3.fixes.fix_" + each for each in _FIXERS]
    if not print_is_function:
        fixers.append("lib2to3.fixes.fix_print")
    tool = Tool(fixers, {"print_function": print_is_function})
    try:
        return str(tool.refactor_string(text, "<configuration>"))
    except (ParseError, TokenError, IndentationError):
        return None


def _cmp_fixer():
    """sorted(x, cmp=f) and x.sort(cmp=f) -> key=cmp_to_key(f)."""
    from lib2to3.fixer_base import BaseFix
    from lib2to3.fixer_util import Name

    class FixSortCmp(BaseFix):
        BM_compatible = False
        order = "pre"
        PATTERN = """
            power< any* trailer< '(' (arglist< any* arg=argument< 'cmp' '=' value=any > any* > |
                                      arg=argument< 'cmp' '=' value=any >) ')' > any* >
        """

        def transform(self, node, results):
            arg, value = results["arg"], results["value"]
            head = str(node)
            if "sort" not in head.split("(")[0]:
                return
            arg.children[0].replace(Name("key", prefix=arg.children[0].prefix))
            value.replace(Name("__import__('functools').cmp_to_key(%s)" % str(value).strip()))

    return FixSortCmp


def _spaces(text, tokenize):
    """Indentation in spaces: a tab goes to the next column of eight, as Python 2 read it."""
    if "\t" not in text:
        return text
    import io
    inside = set()  # Lines that begin inside a text: not ours to touch.
    try:
        for kind, _, start, end, _ in tokenize.generate_tokens(io.StringIO(text).readline):
            if kind == tokenize.STRING:
                inside.update(range(start[0] + 1, end[0] + 1))
    except (tokenize.TokenError, IndentationError):
        return text
    lines = text.split("\n")
    for at, line in enumerate(lines):
        body = line.lstrip(" \t\f")
        if at + 1 not in inside and "\t" in line[:len(line) - len(body)]:
            lines[at] = line[:len(line) - len(body)].expandtabs(8) + body
    return "\n".join(lines)


def _difference(before, after, wanted_line):
    found = {}
    for at, (old, new) in enumerate(zip(before.split("\n"), after.split("\n"))):
        if old != new:
            found[at + 1] = "indentation by spaces only" if old.expandtabs(8) == new \
                else new.strip()
    line = wanted_line if wanted_line in found else min(found, default=None)
    return line, found.get(line)
