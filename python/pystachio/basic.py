# SPDX-License-Identifier: Apache-2.0
"""String, Integer, Float, Boolean and Enum.  Contract: pystachio.md sections 6 and 7."""

from .base import Object
from .parsing import MustacheParser
from .typing import Made, TypeCheck, TypeFactory


class SimpleObject(Object):
    """A scalar: keeps what it was given and converts it when it is looked at."""

    __slots__ = ("_value",)

    def __init__(self, value):
        self._value = value
        self._scopes = ()

    def _clone(self, scopes):
        new = object.__new__(self.__class__)
        new._value = self._value
        new._scopes = scopes
        return new

    @classmethod
    def coerce(cls, value):
        raise NotImplementedError

    def get(self):
        return self._value

    def interpolate(self):
        value = self._value
        if isinstance(value, str):
            scopes = self._scopes
            if "{{" in value:
                value, unbound = MustacheParser.resolve(value, *scopes)
                if unbound:
                    return self.__class__(value), unbound
            new = object.__new__(self.__class__)
            new._value = self.coerce(value)
            new._scopes = scopes
            return new, []
        return self.__class__(self.coerce(value)), []

    def _payload(self):
        return self.interpolate()[0]._value

    def __hash__(self):
        return hash(self._value)

    def __eq__(self, other):
        return self.__class__ is other.__class__ and self._payload() == other._payload()

    def __lt__(self, other):
        return self.__class__ is not other.__class__ or self._payload() < other._payload()

    def __gt__(self, other):
        return self.__class__ is other.__class__ and self._payload() > other._payload()

    def __le__(self, other):
        return self.__class__ is not other.__class__ or self._payload() <= other._payload()

    def __ge__(self, other):
        return self.__class__ is other.__class__ and self._payload() >= other._payload()

    def __str__(self):
        return str(self._payload())

    def __repr__(self):
        return "%s(%s)" % (self.__class__.__name__, self._payload())


class String(SimpleObject):
    __slots__ = ()

    @classmethod
    def coerce(cls, value):
        if not isinstance(value, (str, int, float)):
            raise cls.CoercionError(value, cls)
        return str(value)

    @classmethod
    def checker(cls, obj):
        if isinstance(obj._value, str):
            return TypeCheck.success()
        return TypeCheck.failure("%r not a string" % (obj._value,))


class Integer(SimpleObject):
    __slots__ = ()

    @classmethod
    def coerce(cls, value):
        if not isinstance(value, (str, int, float)):
            raise cls.CoercionError(value, cls)
        try:
            return int(value)
        except (ValueError, OverflowError):
            raise cls.CoercionError(value, cls) from None

    @classmethod
    def checker(cls, obj):
        if isinstance(obj._value, int):
            return TypeCheck.success()
        return TypeCheck.failure("%r not an integer" % (obj._value,))


class Float(SimpleObject):
    __slots__ = ()

    @classmethod
    def coerce(cls, value):
        if not isinstance(value, (str, int, float)):
            raise cls.CoercionError(value, cls)
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise cls.CoercionError(value, cls) from None

    @classmethod
    def checker(cls, obj):
        if isinstance(obj._value, (int, float)):
            return TypeCheck.success()
        return TypeCheck.failure("%r not a float" % (obj._value,))


class Boolean(SimpleObject):
    __slots__ = ()

    _words = {"true": True, "1": True, "false": False, "0": False}

    @classmethod
    def coerce(cls, value):
        if isinstance(value, (bool, int, float)):
            return bool(value)
        if isinstance(value, str) and value.lower() in cls._words:
            return cls._words[value.lower()]
        raise cls.CoercionError(value, cls)

    @classmethod
    def checker(cls, obj):
        if isinstance(obj._value, bool):
            return TypeCheck.success()
        return TypeCheck.failure("%r not a boolean" % (obj._value,))


class EnumContainer(SimpleObject, metaclass=Made):
    __slots__ = ()
    _made = False
    VALUES = ()

    def __init__(self, value):
        text = self.coerce_text(value)
        if "{{" not in text and text not in self.VALUES:
            raise ValueError("%s only accepts the following values: %s" % (
                self.__class__.__name__, ", ".join(self.VALUES)))
        SimpleObject.__init__(self, text)

    @classmethod
    def coerce_text(cls, value):
        return String.coerce(value._payload() if isinstance(value, SimpleObject) else value)

    @classmethod
    def coerce(cls, value):
        if value not in cls.VALUES:
            raise cls.CoercionError(value, cls, "%s is not one of %s" % (
                value, ", ".join(cls.VALUES)))
        return value

    @classmethod
    def checker(cls, obj):
        if obj._value in cls.VALUES:
            return TypeCheck.success()
        return TypeCheck.failure("%r not in the enumeration (%s)" % (
            obj._value, ", ".join(cls.VALUES)))

    @classmethod
    def type_factory(cls):
        return "Enum"

    @classmethod
    def type_parameters(cls):
        return (cls.__name__, tuple(cls.VALUES))


def Enum(*stuff):
    """Enum('a', 'b') or Enum('Name', ('a', 'b'))"""
    if len(stuff) == 2 and isinstance(stuff[0], str) and isinstance(stuff[1], (list, tuple)):
        name, values = stuff
    else:
        name, values = "Enum_" + "_".join(str(each) for each in stuff), stuff
    if not all(isinstance(each, str) for each in values):
        raise ValueError("Enum values must be strings, got %r" % (stuff,))
    return Made(name, (EnumContainer,), {
        "__slots__": (), "VALUES": tuple(values), "_made": True, "__module__": __name__})


for _scalar in (String, Integer, Float, Boolean):
    TypeFactory.register(_scalar.__name__, lambda into, scalar=_scalar: scalar)
TypeFactory.register("Enum", lambda into, name, values: Enum(name, tuple(values)))
