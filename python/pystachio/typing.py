# SPDX-License-Identifier: Apache-2.0
"""Type checks, and building types from data.  Contract: pystachio.md section 12.

Types made by List(), Map(), Struct, Enum() and Choice() are classes of the
metaclass Made: two of them are the same type when kind, name and parameters
are, whichever call made them.
"""


class TypeCheck:
    __slots__ = ("_ok", "_message")

    def __init__(self, success, message):
        self._ok = success
        self._message = message

    @staticmethod
    def success():
        return TypeCheck(True, "")

    @staticmethod
    def failure(message):
        return TypeCheck(False, message)

    def ok(self):
        return self._ok

    def message(self):
        return self._message

    def __repr__(self):
        return "TypeCheck(OK)" if self._ok else "TypeCheck(FAILED): %s" % self._message


class Type:
    __slots__ = ()

    @classmethod
    def type_factory(cls):
        return cls.__name__

    @classmethod
    def type_parameters(cls):
        return ()

    @classmethod
    def serialize_type(cls):
        return (cls.type_factory(),) + cls.type_parameters()

    @classmethod
    def dump(cls, fp):
        import json
        json.dump(cls.serialize_type(), fp)


class Made(type):
    """Metaclass of types that are made by a call."""

    def __instancecheck__(cls, obj):
        return same_type(type(obj), cls)

    def __subclasscheck__(cls, other):
        return type.__subclasscheck__(cls, other) or (
            isinstance(other, Made) and cls._made and same_type(other, cls))


def same_type(mine, wanted):
    """Whether a value of type `mine` is one of type `wanted`."""
    if mine is wanted or wanted in mine.__mro__:
        return True
    if mine.__name__ != wanted.__name__ or not isinstance(mine, Made) or \
            not isinstance(wanted, Made) or not mine._made or not wanted._made:
        return False
    return mine.serialize_type() == wanted.serialize_type()


class TypeFactory:
    """Types from what serialize_type() gave."""

    _makers = {}

    @classmethod
    def register(cls, name, maker):
        cls._makers[name] = maker

    @classmethod
    def get_factory(cls, name):
        return cls._makers[name]

    @classmethod
    def new(cls, into, type_tuple):
        made = cls._makers[type_tuple[0]](into, *type_tuple[1:])
        if into is not None:
            into[made.__name__] = made
        return made

    @classmethod
    def load(cls, type_tuple, into=None):
        into = {} if into is None else into
        cls.new(into, type_tuple)
        return into

    @classmethod
    def load_json(cls, text, into=None):
        import json
        return cls.load(json.loads(text), into)

    @classmethod
    def load_file(cls, path, into=None):
        with open(path) as fp:
            return cls.load_json(fp.read(), into)
