# SPDX-License-Identifier: Apache-2.0
"""References and the things that can be asked for one.

A reference is the text between `{{` and `}}`: `a.b[c]`.  Inside, it is a tuple
of parts ('.a', '.b', '[c'), which is what tables are keyed by; the Ref class
wraps that for the outside.  Contract: pystachio.md sections 2 and 4.

Lookups come in two shapes: `find(ref)`, the public one, raises Namable.Error;
`_look(parts)`, the fast one, answers None for "not here".
"""


class frozendict(dict):
    """A dict with a hash, equal by content."""

    __slots__ = ()

    def __hash__(self):
        return hash(tuple(sorted(self.items(), key=lambda item: str(item[0]))))

    def __repr__(self):
        return "frozendict(%s)" % dict.__repr__(self)


def is_word(c):
    return c == "_" or c.isalnum()


def split_address(address):
    """'a.b[c]' -> ('.a', '.b', '[c'), or InvalidRefError."""
    if not isinstance(address, str) or not address:
        raise Ref.InvalidRefError("Invalid address: %r" % (address,))
    first = address[0]
    if first not in ".[":
        if not (first == "_" or (first.isascii() and first.isalpha())):
            raise Ref.InvalidRefError(address)
        address = "." + address
    parts = []
    at, end = 0, len(address)
    while at < end:
        start = at + 1
        stop = start
        if address[at] == ".":
            while stop < end and is_word(address[stop]):
                stop += 1
            good = stop > start and not address[start].isdecimal()
            parts.append(address[at:stop])
            at = stop
        elif address[at] == "[":
            while stop < end and (is_word(address[stop]) or address[stop] in "-./"):
                stop += 1
            good = stop > start and stop < end and address[stop] == "]"
            parts.append(address[at:stop])
            at = stop + 1
        else:
            good = False
        if not good:
            raise Ref.InvalidRefError("Badly formed address %s" % address)
    return tuple(parts)


class Component:
    """One step of a reference; the two kinds differ in how they are written."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.__class__ is other.__class__ and self.value == other.value

    def __ne__(self, other):
        return not self == other

    def __lt__(self, other):
        return self.value < other.value

    def __gt__(self, other):
        return self.value > other.value

    def __hash__(self):
        return hash((self.__class__.__name__, self.value))

    def __repr__(self):
        return "%s(%s)" % (self.__class__.__name__, self.value)


class Ref:
    __slots__ = ("parts",)

    class InvalidRefError(Exception):
        pass

    class Component(Component):
        __slots__ = ()

    class Index(Component):
        __slots__ = ()

    class Dereference(Component):
        __slots__ = ()

    _known = {}

    def __init__(self, components):
        self.parts = tuple(
            c if isinstance(c, str) else (("[" if isinstance(c, Ref.Index) else ".") + c.value)
            for c in components)

    @classmethod
    def from_address(cls, address):
        ref = cls._known.get(address) if isinstance(address, str) else None
        if ref is None:
            ref = cls(split_address(address))
            if len(cls._known) > 10000:
                cls._known.clear()
            cls._known[address] = ref
        return ref

    @classmethod
    def wrap(cls, value):
        return value if isinstance(value, Ref) else cls.from_address(value)

    @staticmethod
    def subscope(a, b):
        n = len(a.parts)
        if len(b.parts) > n and b.parts[:n] == a.parts:
            return Ref(b.parts[n:])
        return None

    def scoped_to(self, other):
        return Ref.subscope(self, other)

    def components(self):
        return tuple((Ref.Index if p[0] == "[" else Ref.Dereference)(p[1:]) for p in self.parts)

    def action(self):
        return self.components()[0]

    def is_index(self):
        return self.parts[0][0] == "["

    def is_dereference(self):
        return self.parts[0][0] == "."

    def is_empty(self):
        return not self.parts

    def rest(self):
        return Ref(self.parts[1:])

    def address(self):
        text = "".join(p + "]" if p[0] == "[" else p for p in self.parts)
        return text[1:] if text.startswith(".") else text

    def __add__(self, other):
        return Ref(self.parts + other.parts)

    def __hash__(self):
        return hash(self.parts)

    def __eq__(self, other):
        return isinstance(other, Ref) and self.parts == other.parts

    def __ne__(self, other):
        return not self == other

    def _order(self):
        return (len(self.parts), tuple(p[1:] for p in self.parts))

    def __lt__(self, other):
        return self._order() < other._order()

    def __gt__(self, other):
        return self._order() > other._order()

    def __le__(self, other):
        return self._order() <= other._order()

    def __ge__(self, other):
        return self._order() >= other._order()

    def __str__(self):
        return "{{%s}}" % self.address()

    def __repr__(self):
        return "Ref(%s)" % self.address()


class Namable:
    """Something that can be asked for a reference."""

    __slots__ = ()

    class Error(Exception):
        pass

    class Unnamable(Error):
        def __init__(self, obj):
            super().__init__("Object is not indexable: %s" % obj.__class__.__name__)

    class NamingError(Error):
        def __init__(self, obj, ref):
            super().__init__("Cannot dereference object %s by %s" % (
                obj.__class__.__name__, "".join(p + "]" if p[0] == "[" else p for p in ref.parts)))

    class NotFound(Error):
        def __init__(self, obj, ref):
            super().__init__("Could not find %s in object %s" % (
                ref.address(), obj.__class__.__name__))

    def find(self, ref):
        raise NotImplementedError

    def _look(self, parts):
        try:
            return self.find(Ref(parts))
        except Namable.Error:
            return None
