# SPDX-License-Identifier: Apache-2.0
"""List and Map.  Contract: pystachio.md sections 8 and 9."""

from .base import Object
from .naming import Namable, frozendict
from .typing import Made, Type, TypeCheck, TypeFactory, same_type

# What Python 2 made a list of and files therefore pass as one.
_LAZY = (map, filter, zip, range, type({}.keys()), type({}.values()), type({}.items()))


def as_value(klazz, value):
    """value as a klazz: itself if it is one, else klazz(value)."""
    mine = value.__class__
    return value if mine is klazz or same_type(mine, klazz) else klazz(value)


class ListContainer(Object, Namable, metaclass=Made):
    __slots__ = ("_values",)
    _made = False
    TYPE = None

    def __init__(self, values=()):
        if isinstance(values, _LAZY):
            values = list(values)
        if not isinstance(values, (list, tuple)):
            raise ValueError("ListContainer expects an iterable, got %r" % (values,))
        klazz = self.TYPE
        self._values = tuple([as_value(klazz, value) for value in values])
        self._scopes = ()

    def _clone(self, scopes):
        new = object.__new__(self.__class__)
        new._values = self._values
        new._scopes = scopes
        return new

    def get(self):
        return tuple(value.get() for value in self._values)

    def interpolate(self):
        values, unbound = [], []
        for value in self._values:
            value, refs = value._within(self._scopes).interpolate()
            values.append(value)
            if refs:
                unbound.extend(refs)
        new = object.__new__(self.__class__)
        new._values = tuple(values)
        new._scopes = ()
        return new, list(dict.fromkeys(unbound)) if unbound else unbound

    def _evaluated(self):
        return self.interpolate()[0]._values

    @classmethod
    def checker(cls, obj):
        return obj.check()

    def check(self):
        for value in self._values:
            result = value._within(self._scopes).check()
            if not result.ok():
                return TypeCheck.failure("Element in %s failed check: %s" % (
                    self.__class__.__name__, result.message()))
        return TypeCheck.success()

    def _at(self, text):
        index = int(text)
        if index >= len(self._values):
            return None
        return self._values[index]._within(self._scopes)

    def _look(self, parts):
        try:
            value = self._at(parts[0][1:]) if parts[0][0] == "[" else None
        except ValueError:
            return None
        if value is None or len(parts) == 1:
            return value
        return value._look(parts[1:]) if isinstance(value, Namable) else None

    def find(self, ref):
        if not ref.is_index():
            raise Namable.NamingError(self, ref)
        try:
            value = self._at(ref.parts[0][1:])
        except ValueError:
            raise Namable.NamingError(self, ref) from None
        if value is None:
            raise Namable.NotFound(self, ref)
        if len(ref.parts) == 1:
            return value
        if not isinstance(value, Namable):
            raise Namable.Unnamable(value)
        return value.find(ref.rest())

    def __iter__(self):
        return iter(self._evaluated())

    def __getitem__(self, index):
        return self._evaluated()[index]

    def __contains__(self, item):
        values = self._evaluated()
        if isinstance(item, self.TYPE):
            return item in values
        return item in tuple(value.get() for value in values)

    def __eq__(self, other):
        return isinstance(other, ListContainer) and same_type(other.TYPE, self.TYPE) and \
            self._evaluated() == other._evaluated()

    def __hash__(self):
        return hash(self.get())

    def __repr__(self):
        return "%s(%s)" % (self.__class__.__name__, ", ".join(
            str(value) for value in self._evaluated()))

    @classmethod
    def type_factory(cls):
        return "List"

    @classmethod
    def type_parameters(cls):
        return (cls.TYPE.serialize_type(),)


class MapContainer(Object, Namable, metaclass=Made):
    __slots__ = ("_entries",)
    _made = False
    KEYTYPE = VALUETYPE = None

    def __init__(self, *args):
        if len(args) == 1 and isinstance(args[0], dict):
            entries = args[0].items()
        elif all(isinstance(arg, (list, tuple)) and len(arg) == 2 for arg in args):
            entries = args
        else:
            raise ValueError("Unexpected input to MapContainer: %r" % (args,))
        self._entries = tuple([(as_value(self.KEYTYPE, key), as_value(self.VALUETYPE, value))
                               for key, value in entries])
        self._scopes = ()

    def _clone(self, scopes):
        new = object.__new__(self.__class__)
        new._entries = self._entries
        new._scopes = scopes
        return new

    def get(self):
        return frozendict((key.get(), value.get()) for key, value in self._entries)

    def interpolate(self):
        entries, unbound = [], []
        for key, value in self._entries:
            key, key_refs = key._within(self._scopes).interpolate()
            value, refs = value._within(self._scopes).interpolate()
            entries.append((key, value))
            unbound.extend(key_refs)
            unbound.extend(refs)
        new = object.__new__(self.__class__)
        new._entries = tuple(entries)
        new._scopes = ()
        return new, list(dict.fromkeys(unbound))

    def _evaluated(self):
        return self.interpolate()[0]._entries

    @classmethod
    def checker(cls, obj):
        return obj.check()

    def check(self):
        name = self.__class__.__name__
        for key, value in self._entries:
            result = key._within(self._scopes).check()
            if not result.ok():
                return TypeCheck.failure("%s key %s failed check: %s" % (
                    name, key.get(), result.message()))
            result = value._within(self._scopes).check()
            if not result.ok():
                return TypeCheck.failure("%s[%s] value %s failed check: %s" % (
                    name, key.get(), value.get(), result.message()))
        return TypeCheck.success()

    def _at(self, text):
        wanted = self.KEYTYPE(text)
        for key, value in self._entries:
            if key == wanted:
                return value._within(self._scopes)
        return None

    def _look(self, parts):
        value = self._at(parts[0][1:]) if parts[0][0] == "[" else None
        if value is None or len(parts) == 1:
            return value
        return value._look(parts[1:]) if isinstance(value, Namable) else None

    def find(self, ref):
        if not ref.is_index():
            raise Namable.NamingError(self, ref)
        value = self._at(ref.parts[0][1:])
        if value is None:
            raise Namable.NotFound(self, ref)
        if len(ref.parts) == 1:
            return value
        if not isinstance(value, Namable):
            raise Namable.Unnamable(value)
        return value.find(ref.rest())

    def __iter__(self):
        return (key for key, _ in self._evaluated())

    def __getitem__(self, key):
        wanted = as_value(self.KEYTYPE, key)
        for each, value in self._evaluated():
            if each == wanted:
                return value
        raise KeyError("%s not found" % key)

    def __contains__(self, key):
        try:
            self[key]
        except (KeyError, Object.CoercionError):
            return False
        return True

    def __eq__(self, other):
        return isinstance(other, MapContainer) and \
            same_type(other.KEYTYPE, self.KEYTYPE) and \
            same_type(other.VALUETYPE, self.VALUETYPE) and \
            self._evaluated() == other._evaluated()

    def __hash__(self):
        return hash(self.get())

    def __repr__(self):
        return "%s(%s)" % (self.__class__.__name__, ", ".join(
            "%s => %s" % (key, value) for key, value in self._evaluated()))

    @classmethod
    def type_factory(cls):
        return "Map"

    @classmethod
    def type_parameters(cls):
        return (cls.KEYTYPE.serialize_type(), cls.VALUETYPE.serialize_type())


def _require_type(klazz):
    if not (isinstance(klazz, type) and issubclass(klazz, Type)):
        raise TypeError("Container parameters must be types, got %r" % (klazz,))


def List(klazz):
    _require_type(klazz)
    return Made(klazz.__name__ + "List", (ListContainer,), {
        "__slots__": (), "TYPE": klazz, "_made": True, "__module__": __name__})


def Map(key, value):
    _require_type(key)
    _require_type(value)
    return Made(key.__name__ + value.__name__ + "Map", (MapContainer,), {
        "__slots__": (), "KEYTYPE": key, "VALUETYPE": value, "_made": True,
        "__module__": __name__})


TypeFactory.register("List", lambda into, klazz: List(TypeFactory.new(into, klazz)))
TypeFactory.register("Map", lambda into, key, value: Map(
    TypeFactory.new(into, key), TypeFactory.new(into, value)))
