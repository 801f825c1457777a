# SPDX-License-Identifier: Apache-2.0
"""Choice: a value of one of several types.  Contract: pystachio.md section 11.

Two of the original's faults are not kept: a dict that fits a later struct
alternative is not refused by an earlier one, and a value that is an alternative
but fails its check gives that alternative's message.
"""

from .base import Object
from .typing import Made, TypeCheck, TypeFactory, same_type


class ChoiceContainer(Object, metaclass=Made):
    __slots__ = ("_value",)
    _made = False
    CHOICES = ()

    def __init__(self, value):
        self._value = value
        self._scopes = ()
        if isinstance(value, dict):
            self._alternatives(value)  # A misspelt field is said where it was written.

    def _clone(self, scopes):
        new = object.__new__(self.__class__)
        new._value = self._value
        new._scopes = scopes
        return new

    def _alternatives(self, value):
        """The objects this may be, best first."""
        for klazz in self.CHOICES:
            if same_type(value.__class__, klazz):
                return [value._within(self._scopes)]
        found, unknown = [], None
        for klazz in self.CHOICES:
            try:
                found.append(klazz(value)._within(self._scopes))
            except ValueError:
                continue
            except AttributeError as e:
                unknown = unknown or e
        if not found and unknown is not None:
            raise unknown
        return found

    def _first(self, use):
        for each in self._alternatives(self._value):
            try:
                return use(each)
            except ValueError:
                continue
        raise self.CoercionError(self._value, self.__class__)

    def unwrap(self):
        def usable(each):
            each.interpolate()
            return each
        return self._first(usable)

    def get(self):
        return self._first(lambda each: (each.interpolate(), each.get())[1])

    def interpolate(self):
        return self._first(lambda each: each.interpolate())

    @classmethod
    def checker(cls, obj):
        return obj.check()

    def check(self):
        alternatives = self._alternatives(self._value)
        results = []
        for each in alternatives:
            results.append(each.check())
            if results[-1].ok():
                return results[-1]
        if len(results) == 1:
            return results[0]
        return TypeCheck.failure(
            "%s typecheck failed: value %s did not match any of its alternatives." % (
                self.__class__.__name__, self._value))

    def __eq__(self, other):
        return isinstance(other, ChoiceContainer) and len(self.CHOICES) == len(other.CHOICES) \
            and all(same_type(a, b) for a, b in zip(self.CHOICES, other.CHOICES)) \
            and self.unwrap() == other.unwrap()

    def __hash__(self):
        return hash(self.get())

    def __str__(self):
        return str(self.unwrap())

    def __repr__(self):
        return "%s(%r)" % (self.__class__.__name__, self._value)

    @classmethod
    def type_factory(cls):
        return "Choice"

    @classmethod
    def type_parameters(cls):
        return (cls.__name__, tuple(each.serialize_type() for each in cls.CHOICES))


def Choice(*args):
    """Choice([A, B]) or Choice('Name', (A, B))"""
    if len(args) == 2:
        name, choices = args
    elif len(args) == 1:
        choices = args[0]
        name = "Choice_" + "_".join(each.__name__ for each in choices)
    else:
        raise ValueError("Choice takes a list of types, or a name and a list of types")
    return Made(name, (ChoiceContainer,), {
        "__slots__": (), "CHOICES": tuple(choices), "_made": True, "__module__": __name__})


TypeFactory.register("Choice", lambda into, name, choices: Choice(
    name, tuple(TypeFactory.new(into, each) for each in choices)))
