# SPDX-License-Identifier: Apache-2.0
"""Struct, with Required, Default and Empty.  Contract: pystachio.md section 10.

`class T(Struct)` does not subclass Struct: it makes a new type whose base is
Structural and which has the declared fields and nothing else.

What a struct's fields can see, nearest first: `self.` and the struct's own set
fields, then what was bound to or inherited by the struct, then that again
under `super.`.  The fields found are raw: their text is evaluated where the
reference stands.
"""

from .base import Object
from .naming import Namable, frozendict
from .container import as_value
from .typing import Made, Type, TypeCheck, TypeFactory


class Empty:
    """The absence of a value: not None, which is one."""


class IsNotMappingError(ValueError):
    pass


class TypeSignature:
    """A field: its type, whether it must be set, and what it starts with."""

    __slots__ = ("klazz", "required", "default")

    def __init__(self, klazz, required=False, default=Empty):
        if not (isinstance(klazz, type) and issubclass(klazz, Type)):
            raise TypeError("A field must be a type, got %r" % (klazz,))
        self.klazz = klazz
        self.required = required
        self.default = default if default is Empty else self._unbound(klazz, default)

    @staticmethod
    def _unbound(klazz, default):
        """Of its raw data alone: what was bound to a default object is not part of a type."""
        value = as_value(klazz, default)
        # The data of a Choice would not tell which of its types it is.
        return value.dup() if klazz.type_factory() == "Choice" else klazz(value.get())

    @property
    def empty(self):
        return self.default is Empty

    def serialize(self):
        default = () if self.default is Empty else self.default.get()
        return (self.required, default, self.default is Empty, self.klazz.serialize_type())

    def __eq__(self, other):
        return isinstance(other, TypeSignature) and self.serialize() == other.serialize()

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def __repr__(self):
        return "TypeSignature(%s, required: %s, default: %s, empty: %s)" % (
            self.klazz.__name__, self.required, self.default, self.empty)


def Required(klazz):
    return TypeSignature(klazz, required=True)


def Default(klazz, default):
    return TypeSignature(klazz, required=False, default=default)


class _Own(Namable):
    """A struct's set fields as a scope, bare and under `self.`."""

    __slots__ = ("_data",)

    def __init__(self, data):
        self._data = data

    def _look(self, parts):
        if parts[0] == ".self" and len(parts) > 1:
            value = self._field(parts[1:])
            if value is not None:
                return value
        return self._field(parts)

    def _field(self, parts):
        if parts[0][0] != ".":
            return None
        value = self._data.get(parts[0][1:], Empty)
        if value is Empty:
            return None
        if len(parts) == 1:
            return value
        return value._look(parts[1:]) if isinstance(value, Namable) else None

    def find(self, ref):
        value = self._look(ref.parts)
        if value is None:
            raise Namable.NotFound(self, ref)
        return value


class _Super(Namable):
    """A struct's inherited scopes under `super.`."""

    __slots__ = ("_inherited",)

    def __init__(self, inherited):
        self._inherited = inherited

    def _look(self, parts):
        if parts[0] == ".super" and len(parts) > 1:
            for scope in self._inherited:
                value = scope._look(parts[1:])
                if value is not None:
                    return value
        return None

    def find(self, ref):
        value = self._look(ref.parts)
        if value is None:
            raise Namable.NotFound(self, ref)
        return value


def make_struct(name, typemap):
    return type.__new__(StructMade, name, (Structural,), {
        "__slots__": (),
        "_made": True,
        "TYPEMAP": typemap,
        "_defaults": {field: signature.default for field, signature in typemap.items()},
        "_serialized": None,
        "__module__": __name__,
    })


class StructMade(Made):
    """Metaclass of struct types: a subclass of one is the same type by another name."""

    def __new__(mcs, name, bases, attributes):
        if bases and getattr(bases[0], "_made", False):
            return make_struct(name, bases[0].TYPEMAP)
        return type.__new__(mcs, name, bases, attributes)

    def __init__(cls, name, bases, attributes):
        pass


class Structural(Object, Namable, metaclass=StructMade):
    __slots__ = ("_data",)
    _made = False
    TYPEMAP = {}
    _defaults = {}
    _serialized = None

    def __init__(self, *args, **kw):
        self._data = dict(self._defaults)
        self._scopes = ()
        for arg in args:
            if not isinstance(arg, dict):
                raise IsNotMappingError("Expected dictionary argument, got %r" % (arg,))
            self._set(arg)
        if kw:
            self._set(kw)

    def _set(self, fields):
        typemap = self.TYPEMAP
        for name, value in fields.items():
            signature = typemap.get(name)
            if signature is None:
                raise AttributeError("Unknown schema attribute %s" % name)
            self._data[name] = value if value is Empty else as_value(signature.klazz, value)

    def _clone(self, scopes):
        new = object.__new__(self.__class__)
        new._data = self._data
        new._scopes = scopes
        return new

    def __call__(self, **kw):
        new = object.__new__(self.__class__)
        new._data = dict(self._data)
        new._scopes = self._scopes
        new._set(kw)
        return new

    def scopes(self):
        inherited = self._scopes
        own = _Own(self._data)
        return (own,) + inherited + (_Super(inherited),) if inherited else (own,)

    def get(self):
        return frozendict((name, value.get()) for name, value in self._data.items()
                          if value is not Empty)

    def interpolate(self):
        scopes = self.scopes()
        data, unbound = {}, []
        for name, value in self._data.items():
            if value is not Empty:
                value, refs = value._within(scopes).interpolate()
                if refs:
                    unbound.extend(refs)
            data[name] = value
        new = object.__new__(self.__class__)
        new._data = data
        new._scopes = ()
        return new, list(dict.fromkeys(unbound)) if unbound else unbound

    @classmethod
    def checker(cls, obj):
        return obj.check()

    def check(self):
        scopes = self.scopes()
        name = self.__class__.__name__
        for field, signature in self.TYPEMAP.items():
            value = self._data[field]
            if value is Empty:
                if signature.required:
                    return TypeCheck.failure("%s[%s] is required." % (name, field))
                continue
            result = value._within(scopes).check()
            if not result.ok():
                return TypeCheck.failure("%s[%s] failed: %s" % (name, field, result.message()))
        return TypeCheck.success()

    def _field(self, name):
        value = self._data[name]
        return value if value is Empty else value._within(self.scopes()).interpolate()[0]

    def __getattr__(self, name):
        typemap = self.__class__.TYPEMAP
        if name in typemap:
            return lambda: self._field(name)
        if name.startswith("has_") and name[4:] in typemap:
            return lambda: self._data[name[4:]] is not Empty
        raise AttributeError("%s has no attribute %s" % (self.__class__.__name__, name))

    def _look(self, parts):
        if parts[0][0] != ".":
            return None
        value = self._data.get(parts[0][1:], Empty)
        if value is Empty:
            return None
        value = value._within(self.scopes())
        if len(parts) == 1:
            return value
        return value._look(parts[1:]) if isinstance(value, Namable) else None

    def find(self, ref):
        if not ref.is_dereference():
            raise Namable.NamingError(self, ref)
        value = self._data.get(ref.parts[0][1:], Empty)
        if value is Empty:
            raise Namable.NotFound(self, ref)
        value = value._within(self.scopes())
        if len(ref.parts) == 1:
            return value
        if not isinstance(value, Namable):
            raise Namable.Unnamable(value)
        return value.find(ref.rest())

    def __eq__(self, other):
        if not isinstance(other, Structural) or self.TYPEMAP != other.TYPEMAP:
            return False
        return self.interpolate()[0]._data == other.interpolate()[0]._data

    def __hash__(self):
        return hash(self.get())

    def __repr__(self):
        name = self.__class__.__name__
        evaluated = self.interpolate()[0]._data
        return "%s(%s)" % (name, (",\n" + " " * (len(name) + 1)).join(
            "%s=%s" % (field, str(value)) for field, value in evaluated.items()
            if value is not Empty))

    def json_dumps(self, **kw):
        import json
        return json.dumps(self.interpolate()[0].get(), **kw)

    def json_dump(self, fp, **kw):
        fp.write(self.json_dumps(**kw))

    @classmethod
    def json_loads(cls, text, strict=False):
        import json
        return cls(cls._known_only(json.loads(text), strict))

    @classmethod
    def json_load(cls, fp, strict=False):
        return cls.json_loads(fp.read(), strict)

    @classmethod
    def _known_only(cls, data, strict):
        if strict or not isinstance(data, dict):
            return data
        out = {}
        for name, value in data.items():
            signature = cls.TYPEMAP.get(name)
            if signature is not None:
                klazz = signature.klazz
                out[name] = klazz._known_only(value, strict) if \
                    issubclass(klazz, Structural) else value
        return out

    @classmethod
    def type_factory(cls):
        return "Struct"

    @classmethod
    def type_parameters(cls):
        return (cls.__name__,) + tuple(
            (field, signature.serialize()) for field, signature in cls.TYPEMAP.items())

    @classmethod
    def serialize_type(cls):
        if cls._serialized is None:
            cls._serialized = ("Struct",) + cls.type_parameters()
        return cls._serialized


class StructMeta(type):
    """Turns `class T(Struct): ...` into a made struct type."""

    def __new__(mcs, name, bases, attributes):
        if not bases:
            return type.__new__(mcs, name, bases, attributes)
        typemap = {}
        for field, value in attributes.items():
            if isinstance(value, TypeSignature):
                typemap[field] = value
            elif isinstance(value, type) and issubclass(value, Type):
                typemap[field] = TypeSignature(value)
        return make_struct(name, typemap)

    def __call__(cls, *args, **kw):
        raise TypeError("Struct is declared, not called: class T(Struct): ...")


class Struct(metaclass=StructMeta):
    pass


def _load_struct(into, name, *fields):
    typemap = {}
    for field, (required, default, empty, type_tuple) in fields:
        klazz = TypeFactory.new(into, type_tuple)
        typemap[field] = TypeSignature(klazz, required, Empty if empty else default)
    return make_struct(name, typemap)


TypeFactory.register("Struct", _load_struct)
