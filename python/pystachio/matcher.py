# SPDX-License-Identifier: Apache-2.0
"""Patterns over the open references of an object.  Contract: pystachio.md section 12."""

import re

from .naming import Ref


class Any:
    """Matches any one component."""


def _regex(pattern):
    return ".*" if pattern is Any else pattern


class Matcher:
    def __init__(self, root=None, _parts=None):
        self._parts = _parts if _parts is not None else (
            () if root is None else ((".", _regex(root)),))

    def _extend(self, kind, pattern):
        return Matcher(_parts=self._parts + ((kind, _regex(pattern)),))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._extend(".", name)

    def _(self, pattern):
        return self._extend(".", pattern)

    @property
    def Any(self):
        return self._extend(".", Any)

    def __getitem__(self, pattern):
        return self._extend("[", pattern)

    def _texts(self, parts):
        if len(parts) < len(self._parts):
            return None
        for (kind, pattern), part in zip(self._parts, parts):
            if part[0] != kind or not re.fullmatch(pattern, part[1:]):
                return None
        return tuple(part[1:] for part in parts[:len(self._parts)])

    def match(self, obj):
        for ref in obj.interpolate()[1]:
            texts = self._texts(ref.parts)
            if texts is not None:
                yield texts

    def apply(self, function, obj):
        bindings = {}
        for ref in obj.interpolate()[1]:
            texts = self._texts(ref.parts)
            if texts is not None:
                bindings[Ref(ref.parts[:len(self._parts)])] = function(*texts)
        return obj.bind(bindings), bindings
