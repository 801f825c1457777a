# SPDX-License-Identifier: Apache-2.0
"""JSON by the interpreter's C parts alone.

Importing `json` brings `re` with it, which costs more time than evaluating a
small configuration.  Where the C parts have another shape, `json` is used.
"""

try:
    from _json import encode_basestring, make_encoder, make_scanner
except ImportError:
    make_encoder = None


class _Context:
    """What the C scanner asks for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo = {}

    @staticmethod
    def parse_constant(name):
        raise ValueError("%s is not JSON" % name)


def _refuse(obj):
    raise TypeError("%s cannot be sent as JSON" % type(obj).__name__)


def _fast_dumps(obj):
    return "".join(_encode(obj, 0))


def _fast_loads(text):
    start = 0
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    try:
        obj, end = _scan(text, start)
    except StopIteration as e:
        raise ValueError("not JSON at character %s" % e.value) from None
    if text[end:].strip(" \t\r\n"):
        raise ValueError("text after the JSON value at character %d" % end)
    return obj


try:
    _scan = make_scanner(_Context())
    _encode = make_encoder({}, _refuse, encode_basestring, None, ":", ",", False, False, False)
    if _fast_loads(_fast_dumps({"a": [1, 2.5, True, None, "\u00e9\n"]})) != \
            {"a": [1, 2.5, True, None, "\u00e9\n"]}:
        raise TypeError
    dumps, loads = _fast_dumps, _fast_loads
except TypeError:
    import json

    def dumps(obj):
        return json.dumps(obj, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    def loads(text):
        return json.loads(text, parse_constant=_Context.parse_constant)


def plain(obj):
    """A copy of lists and dicts alone, so that no user class is walked by C code."""
    if isinstance(obj, dict):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [plain(value) for value in obj]
    return obj


def has_nul(obj):
    """Whether any text in it has a NUL, which no C string can hold."""
    if isinstance(obj, str):
        return "\0" in obj
    if isinstance(obj, dict):
        return any(has_nul(key) or has_nul(value) for key, value in obj.items())
    if isinstance(obj, list):
        return any(has_nul(value) for value in obj)
    return False
