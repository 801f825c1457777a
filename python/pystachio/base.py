# SPDX-License-Identifier: Apache-2.0
"""Environment (a table of names) and Object (a value with scopes).

An Object never changes: bind() and in_scope() give copies that share the
payload.  Contract: pystachio.md sections 4 and 5.
"""

from .naming import Namable, Ref, frozendict  # noqa: F401 (re-exported)
from .parsing import MustacheParser
from .typing import Type, TypeCheck


class Environment(Namable):
    """A flat table from reference to text or Object."""

    __slots__ = ("_table",)

    def __init__(self, *dicts, **kw):
        self._table = {}
        for each in dicts:
            self._add(each, ())
        if kw:
            self._add(kw, ())

    @staticmethod
    def wrap(value):
        if isinstance(value, dict):
            return Environment(value)
        if isinstance(value, (Environment, Object)):
            return value
        if isinstance(value, (str, int, float)):
            return str(value)
        raise ValueError("Environment values must be strings, numbers, Objects or other "
                         "Environments. Got %s instead." % type(value))

    def _add(self, source, prefix):
        if isinstance(source, Environment):
            for parts, value in source._table.items():
                self._table[prefix + parts] = value
        elif isinstance(source, dict):
            for key, value in source.items():
                parts = prefix + Ref.wrap(key).parts
                if isinstance(value, (dict, Environment)):
                    self._add(value, parts)
                else:
                    self._table[parts] = Environment.wrap(value)
        else:
            raise ValueError("Environment expects dict or Environment, got %r" % (source,))

    def _look(self, parts):
        table = self._table
        value = table.get(parts)
        if value is not None:
            return value
        for n in range(len(parts) - 1, 0, -1):
            inner = table.get(parts[:n])
            if inner is not None and isinstance(inner, Namable):
                value = inner._look(parts[n:])
                if value is not None:
                    return value
        return None

    def find(self, ref):
        value = self._look(ref.parts)
        if value is None:
            raise Namable.NotFound(self, ref)
        return value

    def __eq__(self, other):
        return isinstance(other, Environment) and self._table == other._table

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def __repr__(self):
        return "Environment(%s)" % ", ".join(
            "%s => %s" % (Ref(parts).address(), value) for parts, value in self._table.items())


class Object(Type):
    """Base of every value: payload in the subclass, scopes here."""

    __slots__ = ("_scopes",)

    class CoercionError(ValueError):
        def __init__(self, src, dst, message=None):
            text = "Cannot coerce '%s' to %s" % (src, dst.__name__)
            super().__init__("%s: %s" % (text, message) if message else text)

    class InterpolationError(Exception):
        pass

    @classmethod
    def checker(cls, obj):
        raise NotImplementedError

    def _clone(self, scopes):
        """A copy with exactly these scopes."""
        raise NotImplementedError

    def get(self):
        raise NotImplementedError

    def interpolate(self):
        raise NotImplementedError

    def scopes(self):
        return self._scopes

    def copy(self):
        return self._clone(self._scopes)

    def dup(self):
        return self._clone(())

    @staticmethod
    def _wrap_scopes(args, kw):
        scopes = []
        for arg in args:
            if isinstance(arg, Namable):
                scopes.append(arg)
            elif isinstance(arg, dict):
                scopes.append(Environment(arg))
            else:
                raise TypeError("Cannot bind to %r" % (arg,))
        if kw:
            scopes.append(Environment(kw))
        return tuple(scopes)

    def bind(self, *args, **kw):
        return self._clone(self._wrap_scopes(args, kw)[::-1] + self._scopes)

    def in_scope(self, *args, **kw):
        return self._clone(self._scopes + self._wrap_scopes(args, kw))

    def _within(self, scopes):
        """in_scope() for a tuple that is known to be good."""
        return self._clone(self._scopes + scopes) if scopes else self

    def check(self):
        try:
            return self.checker(self.interpolate()[0])
        except (Object.CoercionError, MustacheParser.Uninterpolatable) as e:
            return TypeCheck.failure("Unable to interpolate: %s" % e)

    def __mod__(self, namable):
        if isinstance(namable, dict):
            namable = Environment(namable)
        bound = self.bind(namable) if isinstance(namable, Namable) else self
        return bound.interpolate()[0]

    def __ne__(self, other):
        return not self == other

    __hash__ = None
