# SPDX-License-Identifier: Apache-2.0
"""pystachio.md statement by statement: each line is one that holds, under its section's number.

test_pystachio.py has the same language by topic, with what follows from it.  Not kept, on purpose:
`ref == "text"` and comparing a frozendict with a dict fail there, and an Enum value that was given
as text differs from the same one given as an object; here they compare by what they are.
"""
import io
import json

import pytest

import pystachio
from pystachio import *  # noqa: F403
from pystachio.matcher import Any, Matcher
from pystachio.naming import frozendict

R = Ref.from_address
M = MustacheParser
S = String
E = Enum("a", "b")
E2 = Enum("N", ("a", "b"))
LI = List(Integer)
MI = Map(S, Integer)
C = Choice([Integer, String])


class T(Struct):
    a = Required(String)
    b = Default(Integer, 3)
    c = String


class T2(Struct):
    a = Required(String)
    b = Default(Integer, 3)
    c = String


class T3(Struct):
    a = Required(String)
    b = Default(Integer, 3)
    c = Integer


class U(T):
    z = String


class W(Struct):
    t = T


class X(Struct):
    "Gone, like all that is no field."
    K = 5
    a = String

    def f(self):
        pass


class LT(Struct):
    l = List(T)


class CS(Struct):
    ch = Choice([T, Integer])
    t = String


class D(Struct):
    t = Default(T, T(a="{{q}}").bind(q="lost"))


class DC(Struct):
    c = Default(Choice([T, LT]), LT(l=[]))


class P(Struct):
    name = String
    cmd = String


class K(Struct):
    name = String
    ps = List(P)
    u = String


class J(Struct):
    name = String
    task = K
    role = String


def same():
    class Same(Struct):
        a = String
    return Same


A1, A2 = same(), same()


def s(text, **bound):
    return str(String(text).bind(**bound))


def in_process(cmd):
    """What a text becomes in a process of a task of a job."""
    job = J(name="job", role="r", task=K(name="task", u="uu", ps=[P(name="proc", cmd=cmd)]))
    return str(job.task().ps()[0].cmd())


def there_and_back(struct):
    file = io.StringIO()
    struct.json_dump(file)
    file.seek(0)
    return type(struct).json_load(file)


def dumped(klazz):
    file = io.StringIO()
    klazz.dump(file)
    return TypeFactory.load_json(file.getvalue())


HOLDS = {
    # 2 References
    2: r'''
        not issubclass(Ref.InvalidRefError, ValueError)
        not issubclass(Ref.InvalidRefError, Namable.Error)
        R(".a").address() == "a"
        str(R(".a[b-./c]")) == "{{a[b-./c]}}"
        repr(R("a")) == "Ref(a)"
        R("[x].y").address() == "[x].y"
        R(".é").address() == "é"
        R("a.é").address() == "a.é"
        R("a[b].c").action().value == "a"
        R("a[b].c").rest() == R("[b].c")
        R("a").is_dereference()
        R("[a]").is_index()
        not R("a").is_empty()
        R("a").rest().is_empty()
        R("a") + R("[b]") == R("a[b]")
        hash(R("a.b")) == hash(R(".a.b"))
        len(R("a.b").components()) == 2
        sorted([R("b"), R("a.b"), R("a")]) == [R("a"), R("b"), R("a.b")]
        Ref.subscope(R("a"), R("a.b")) == R("b")
        Ref.subscope(R("a"), R("a")) is None
        R("a").scoped_to(R("a[b]")) == R("[b]")
        Ref.subscope(R("[a]"), R("a.b")) is None
        Ref.wrap("a") == R("a")
        Ref.wrap(R("a")) == R("a")
    ''',
    # 3 Strings with references
    3: r'''
        s("{{a{{b}}c}}", b="X", aXc="y") == "y"
        str(String("{{x[{{k}}].name}}").bind({"x[q].name": "z"}, k="q")) == "z"
        s("{{{a}}}", a="x") == "{x}"
        s("{{{{a}}}}", a="b", b="c") == "c"
        str(String("{{.Id}}")) == "{{Id}}"
        s("{{&x}}", x=1) == "{{x}}"
        s("{{&x&}}", x=1) == "{{x}}"
        repr(String("{{&a}}").bind(a=1)) == "String({{a}})"
        repr(String("{{&a}}").bind(a=1).interpolate()[0]) == "String(1)"
        M.split("a{{b}}c") == ["a", R("b"), "c"]
        M.split("{{&b}}") == ["{{b}}"]
        M.split("{{&b}}", keep_aliases=True) == ["{{&b}}"]
        M.join(["x", R("a"), R("b")], Environment(a=1)) == ("x1{{b}}", [R("b")])
        M.join([R("l")], Environment(l=List(String)(["x", "y"])))[0] == "StringList(x, y)"
        M.MAX_ITERATIONS == 100
        issubclass(M.Uninterpolatable, M.Error)
        issubclass(M.Error, Exception)
        str(String('{{}}')) == '{{}}'
        str(String('{')) == '{'
        str(String('}')) == '}'
        str(String('{a}')) == '{a}'
        str(String('${x}')) == '${x}'
        str(String('{{a}')) == '{{a}'
        str(String('{"a": {"b": 1}}')) == '{"a": {"b": 1}}'
    ''',
    # 4 Environment
    4: r'''
        s("{{a.k}}{{a[k]}}", a={"k": 1}) == "1{{a[k]}}"
        str(String("{{a[k]}}").bind({"a[k]": 1})) == "1"
        str(String("{{a[k]}}").bind({"a": {"[k]": 1}})) == "1"
        s("{{a}}", a={"k": 1}) == "{{a}}"
        s("{{a}}", a={}) == "{{a}}"
        s("{{a}}", a=True) == "True"
        Environment({"a": {"b": 1}}, {"a.b": 2}).find(R("a.b")) == "2"
        str(Environment({"a": Environment(b=1)}).find(R("a.b"))) == "1"
        s("{{l[-1]}}", l=List(String)(["x", "y"])) == "y"
    ''',
    # 5 Scopes and binding
    5: r'''
        str(S("{{a}}").bind(a=1).bind(a=2)) == "2"
        str(S("{{a}}").bind({"a": 1}, {"a": 2})) == "2"
        str(S("{{a}}").bind({"a": 1}, a=2)) == "2"
        str(S("{{a}}").in_scope({"a": 1}, {"a": 2})) == "1"
        str(S("{{a}}").in_scope({"b": 1}, a=2)) == "2"
        str(S("{{a}}").bind(a=1).in_scope(a=2)) == "1"
        str(S("{{a}}").bind(T(a="q"))) == "q"
        str(S("{{[0]}}").bind(List(S)(["z"]))) == "z"
        str(S("{{[k]}}").bind(Map(S, S)({"k": "v"}))) == "v"
        len(S("x").bind(a=1).scopes()) == 1
        S("x").bind(a=1).dup().scopes() == ()
        len(S("x").bind(a=1).copy().scopes()) == 1
        repr(S("{{a}}") % {"a": 1}) == "String(1)"
        repr(S("x") % 5) == "String(x)"
        str(S("{{a}}").bind(a=S("{{b}}").bind(b=1)).bind(b=2)) == "1"
        Integer.CoercionError is S.CoercionError
        issubclass(Integer.CoercionError, ValueError)
        Integer('x').check().message() == "Unable to interpolate: Cannot coerce 'x' to Integer"
    ''',
    # 6 Scalars
    6: r'''
        Integer("1").get() == "1"
        Integer("1").interpolate()[0].get() == 1
        len(S("{{a}}").bind(a=1).interpolate()[0].scopes()) == 1
        S("{{a}}{{b}}").bind(a=1).interpolate()[0].scopes() == ()
        Integer('{{x}}').check().message() == "'{{x}}' not an integer"
        Float('{{x}}').check().message() == "'{{x}}' not a float"
        Boolean('{{x}}').check().message() == "'{{x}}' not a boolean"
        S("{{x}}").check().ok()
        not Integer(1) == 1
        not Integer(1) == Float(1)
        not S("a") == "a"
        Integer(1) < Float(0)
        Integer(1) == Integer("1")
        Integer(1) != 1
        bool(Integer(0))
        bool(Boolean(False))
        repr(S("a")) == "String(a)"
        repr(Float("{{x}}.5")) == "Float({{x}}.5)"
        hash(S("a")) == hash("a")
        S(True).interpolate()[0].get() == "True"
        S(1.5).interpolate()[0].get() == "1.5"
        Integer(1.9).interpolate()[0].get() == 1
        Integer(" 12 ").interpolate()[0].get() == 12
        Integer(True).interpolate()[0].get() == 1
        Integer("-3").interpolate()[0].get() == -3
        Integer("1_000").interpolate()[0].get() == 1000
        Float("1e3").interpolate()[0].get() == 1000.0
        Float(".5").interpolate()[0].get() == 0.5
        Boolean("TRUE").interpolate()[0].get() == True
        Boolean("0").interpolate()[0].get() == False
        Boolean(2).interpolate()[0].get() == True
    ''',
    # 7 Enum
    7: r'''
        E.__name__ == "Enum_a_b"
        E2.__name__ == "N"
        E.VALUES == ("a", "b")
        E('{{x}}').check().message() == "'{{x}}' not in the enumeration (a, b)"
        not Enum("a", "b")("a") == Enum("a", "b")("a")
        E("a") == E("a")
    ''',
    # 8 List
    8: r'''
        LI.__name__ == "IntegerList"
        List(List(S)).__name__ == "StringListList"
        LI(["1", 2]).get() == ("1", 2)
        [i.get() for i in LI(["1", 2])] == [1, 2]
        LI([1, 2, 3])[1:] == (Integer(2), Integer(3))
        isinstance(LI([1, 2])[0:1], tuple)
        1 in LI(["1"])
        Integer(1) in LI([1])
        5 not in LI([1])
        LI([1]) == LI(["1"])
        not LI([1]) == [1]
        repr(LI([1, 2])) == "IntegerList(1, 2)"
        LI(['x']).check().message() == "Element in IntegerList failed check: Unable to interpolate: Cannot coerce 'x' to Integer"
    ''',
    # 9 Map
    9: r'''
        not MI({"a": 1, "b": 2}) == MI({"b": 2, "a": 1})
        MI({"a": 1}) == MI({"a": "1"})
        "a" in MI({"a": 1})
        "x" not in MI({"a": 1})
        [str(k) for k in MI({"a": 1})] == ["a"]
        MI({"a": "1"})["a"] == Integer(1)
        repr(MI({"a": 1, "b": 2})) == "StringIntegerMap(a => 1, b => 2)"
        MI({"a": "x"}).check().message().startswith("StringIntegerMap[a] value x failed check: ")
        Map(Integer, S)({"a": "x"}).check().message().startswith("IntegerStringMap key a failed check: ")
        repr(MI(("a", 1), ("b", 2))) == "StringIntegerMap(a => 1, b => 2)"
        str(S("{{m[a]}}").bind(m=MI({"{{k}}": 1}), k="a")) == "{{m[a]}}"
    ''',
    # 10 Struct
    10: r'''
        U.__name__ == "U"
        sorted(U.TYPEMAP) == ["a", "b", "c"]
        not isinstance(T(a="x"), Struct)
        not issubclass(T, Struct)
        [b.__name__ for b in T.__bases__] == ["Structural"]
        not hasattr(X, "K")
        not hasattr(X, "f")
        X.__doc__ is None
        isinstance(A1(), A2)
        T(a=Empty).has_a() is False
        T(a="x")(a=Empty).has_a() is False
        T(a=None).check().message() == "T[a] failed: Unable to interpolate: Cannot coerce 'None' to String"
        T(a="x").c() is Empty
        T(a="x").has_c() is False
        T(a="x").b() == Integer(3)
        callable(T(a="x").a)
        isinstance(T(a="x").get(), frozendict)
        "c" not in T(a="x").get()
        T(a="x", b="7").get()["b"] == "7"
        T(a="x", b="7").interpolate()[0].get()["b"] == 7
        T().check().message() == "T[a] is required."
        T(a='x', b='q').check().message() == "T[b] failed: Unable to interpolate: Cannot coerce 'q' to Integer"
        W(t=T()).check().message() == "W[t] failed: T[a] is required."
        T(a="x") == T2(a="x")
        not T(a="x") == T3(a="x")
        T(a="{{q}}").bind(q="x") == T(a="x")
        T(a="x").bind(z=1) == T(a="x")
        isinstance(hash(T(a="x")), int)
        json.loads(T(a="{{x}}").json_dumps()) == {"a": "{{x}}", "b": 3}
        T.json_loads('{"a":"x","zzz":1}') == T(a='x')
        W.json_loads('{"t":{"a":"x","zzz":1}}') == W(t=T(a='x'))
        repr(T(a=1)) == "T(a=1,\n  b=3)"
        T.type_factory() == "Struct"
        T.TYPEMAP["a"].required
        T.TYPEMAP["b"].default == Integer(3)
        T.TYPEMAP["c"].empty
        T.TYPEMAP["a"].klazz is String
        str(P(name="n", cmd="{{name}}").bind(name="b").cmd()) == "n"
        str(P(cmd="{{name}}").bind(name="b").cmd()) == "b"
        str(K(name="kk", ps=[P(cmd="{{super.name}}")]).ps()[0].cmd()) == "kk"
        there_and_back(T(a="x")) == T(a="x")
        str(D().t().a()) == "{{q}}"
        str(D().bind(q="mine").t().a()) == "mine"
        isinstance(DC().c(), LT)
        in_process("{{name}}") == "proc"
        in_process("{{role}}") == "r"
        in_process("{{task.name}}") == "task"
        in_process("{{ps[0].name}}") == "proc"
        in_process("{{super.name}}") == "job"
        in_process("{{super.u}}") == "uu"
        in_process("{{self.u}}") == "uu"
        in_process("{{self.name}}") == "proc"
        in_process("{{super.super.role}}") == "r"
        in_process("{{task.ps[0].name}}") == "proc"
    ''',
    # 11 Choice
    11: r'''
        C.__name__ == "Choice_Integer_String"
        Choice("N", (Integer, String)).__name__ == "N"
        isinstance(C("1").unwrap(), Integer)
        isinstance(C("x").unwrap(), String)
        repr(C('1')) == "Choice_Integer_String('1')"
        C("1").interpolate()[0] == Integer(1)
        C("{{x}}").check().ok()
        isinstance(C("{{x}}").unwrap(), Integer)
        Choice([Integer, Float])("x").check().message() == "Choice_Integer_Float typecheck failed: value x did not match any of its alternatives."
        Choice([T, Integer])(T()).check().message() == "T[a] is required."
        Choice([T, Integer])(T(a="x")) == Choice([T, Integer])(T(a="x"))
        str(CS(ch=T(a="x"), t="{{ch.a}}").t()) == "{{ch.a}}"
    ''',
    # 12 Types, checks, factories
    12: r'''
        repr(TypeCheck.success()) == "TypeCheck(OK)"
        repr(TypeCheck.failure("m")) == "TypeCheck(FAILED): m"
        bool(TypeCheck.failure("m"))
        TypeCheck(True, "").ok()
        bool(Empty)
        Empty() is not Empty
        TypeFactory.load(T.serialize_type())["T"](a="x").check().ok()
        TypeFactory.load_json(json.dumps(W.serialize_type()))["W"](t={"a": "x"}).check().ok()
        pystachio.__version__ == "0.8.3"
        "T" in dumped(T)
        pystachio.__version__ == "0.8.3"
    ''',
}
CASES = [(section, line.strip()) for section, lines in HOLDS.items()
         for line in lines.strip().splitlines()]


@pytest.mark.parametrize("section, statement", CASES)
def test_holds(section, statement):
    assert eval(statement, globals()) is True


NO_COERCION = String.CoercionError
REFUSED = [
    (2, 'R("")', Ref.InvalidRefError, "Invalid address: ''"),
    (2, 'R(None)', Ref.InvalidRefError, 'Invalid address: None'),
    (2, 'R("a b")', Ref.InvalidRefError, 'Badly formed address .a b'),
    (2, 'R("a-b")', Ref.InvalidRefError, 'Badly formed address .a-b'),
    (2, 'R("1a")', Ref.InvalidRefError, '1a'),
    (2, 'R(" x ")', Ref.InvalidRefError, ' x '),
    (2, 'R("#section")', Ref.InvalidRefError, '#section'),
    (2, 'R("é")', Ref.InvalidRefError, 'é'),
    (3, 'M.resolve("{{a}}", Environment(a="{{a}}"))', M.Uninterpolatable,
     'Unable to interpolate {{a}}!  Maximum replacements reached.'),
    (3, 'str(String("{{ a }}"))', Ref.InvalidRefError, None),
    (3, 'str(String("{{a-b}}"))', Ref.InvalidRefError, None),
    (3, 'str(String("{{json .State}}"))', Ref.InvalidRefError, None),
    (3, 'str(String("{{#x}}"))', Ref.InvalidRefError, None),
    (3, 'str(String("awk \'{{print $1}}\'"))', Ref.InvalidRefError, None),
    (4, 'Environment().find(R("x"))', Namable.NotFound, 'Could not find x in object Environment'),
    (4, 'Environment(5)', ValueError, 'Environment expects dict or Environment, got 5'),
    (4, 'Environment({5: 1})', Ref.InvalidRefError, None),
    (4, 'List(String)(["x"]).find(R("a"))', Namable.NamingError,
     'Cannot dereference object StringList by .a'),
    (4, 'T(a="x").find(R("a.b"))', Namable.Unnamable, 'Object is not indexable: String'),
    (4, 'String("{{l[-9]}}").bind(l=List(String)(["x"])).interpolate()', IndexError, None),
    (4, 'String("{{m[x]}}").bind(m=Map(Integer, String)({1: "a"})).interpolate()', NO_COERCION,
     None),
    (4, 'Environment(a=None)', ValueError,
     "Environment values must be strings, numbers, Objects or other Environments. Got <class 'NoneType'> instead."),
    (4, 'Environment(a=[1])', ValueError,
     "Environment values must be strings, numbers, Objects or other Environments. Got <class 'list'> instead."),
    (4, 'Environment(a=(1,))', ValueError,
     "Environment values must be strings, numbers, Objects or other Environments. Got <class 'tuple'> instead."),
    (4, 'Environment(a=Empty)', ValueError,
     "Environment values must be strings, numbers, Objects or other Environments. Got <class 'type'> instead."),
    (4, 'Environment(a=int)', ValueError,
     "Environment values must be strings, numbers, Objects or other Environments. Got <class 'type'> instead."),
    (5, 'Integer("x").interpolate()', NO_COERCION, "Cannot coerce 'x' to Integer"),
    (5, 'S("{{ a }}").check()', Ref.InvalidRefError, None),
    (6, 'Integer("{{x}}") < Integer(1)', TypeError, None),
    (6, 'S()', TypeError, None),
    (6, 'S(None).interpolate()', NO_COERCION, None),
    (6, 'S([]).interpolate()', NO_COERCION, None),
    (6, 'S({}).interpolate()', NO_COERCION, None),
    (6, 'S(b"x").interpolate()', NO_COERCION, None),
    (6, 'Integer("1.9").interpolate()', NO_COERCION, None),
    (6, 'Integer("0x10").interpolate()', NO_COERCION, None),
    (6, 'Integer("1GB").interpolate()', NO_COERCION, None),
    (6, 'Integer("").interpolate()', NO_COERCION, None),
    (6, 'Integer(None).interpolate()', NO_COERCION, None),
    (6, 'Float("abc").interpolate()', NO_COERCION, None),
    (6, 'Float(None).interpolate()', NO_COERCION, None),
    (6, 'Boolean("yes").interpolate()', NO_COERCION, None),
    (6, 'Boolean("").interpolate()', NO_COERCION, None),
    (6, 'Boolean(None).interpolate()', NO_COERCION, None),
    (7, 'E("A")', ValueError, 'Enum_a_b only accepts the following values: a, b'),
    (7, 'E(1)', ValueError, 'Enum_a_b only accepts the following values: a, b'),
    (7, 'E(None)', NO_COERCION, "Cannot coerce 'None' to String"),
    (7, 'E("{{x}}").bind(x="c").interpolate()', NO_COERCION,
     "Cannot coerce 'c' to Enum_a_b: c is not one of a, b"),
    (8, 'len(LI([1]))', TypeError, None),
    (8, 'LI([1]) + LI([1])', TypeError, None),
    (8, 'LI([1]).find(R("[5]"))', Namable.NotFound, None),
    (8, 'LI([1]).find(R("[x]"))', Namable.NamingError, None),
    (8, 'LI([1]).find(R("[-5]"))', IndexError, None),
    (8, 'LI("abc")', ValueError, None),
    (8, 'LI(5)', ValueError, None),
    (8, 'LI(None)', ValueError, None),
    (8, 'LI({"a": 1})', ValueError, None),
    (8, 'LI({1})', ValueError, None),
    (8, 'LI(LI([1]))', ValueError, None),
    (8, 'LI(T(a="x"))', ValueError, None),
    (9, 'MI(5)', ValueError, 'Unexpected input to MapContainer: (5,)'),
    (9, 'MI(a=1)', TypeError, None),
    (9, 'MI({"a": 1})["x"]', KeyError, "'x not found'"),
    (9, 'len(MI({}))', TypeError, None),
    (9, 'MI({"a": 1}).keys', AttributeError, None),
    (9, 'MI({"a": 1}).items', AttributeError, None),
    (9, 'MI({"a": 1}).values', AttributeError, None),
    (10, 'U(z=1)', AttributeError, 'Unknown schema attribute z'),
    (10, 'W(t=U(a="x"))', Exception, None),
    (10, 'T(5)', ValueError, None),
    (10, 'T(T(a="x"))', ValueError, None),
    (10, 'T(nam=1)', AttributeError, 'Unknown schema attribute nam'),
    (10, 'W(t=None)', ValueError, None),
    (10, 'T(a="x")({"a": "y"})', TypeError, None),
    (10, 'T(a="x").foo', AttributeError, 'T has no attribute foo'),
    (10, 'T(a="x").has_foo', AttributeError, 'T has no attribute has_foo'),
    (10, 'T(a="x") < T(a="y")', TypeError, None),
    (10, 'T.json_loads(\'{"a":"x","zzz":1}\', strict=True)', AttributeError, None),
    (10, 'LT.json_loads(\'{"l":[{"zzz":1}]}\')', AttributeError, None),
    (10, 'P(name="{{cmd}}", cmd="{{name}}").name()', M.Uninterpolatable, None),
    (11, 'Choice([Integer, Float])("x").unwrap()', NO_COERCION,
     "Cannot coerce 'x' to Choice_Integer_Float"),
]


@pytest.mark.parametrize("section, statement, error, text", REFUSED)
def test_is_refused(section, statement, error, text):
    with pytest.raises(error) as e:
        eval(statement, globals())
    if text is not None:
        assert str(e.value) == text


@pytest.mark.parametrize("name", [
    "Boolean", "Choice", "Default", "Empty", "Enum", "Environment", "Float", "Integer", "List", "Map",
    "MustacheParser", "Namable", "Ref", "Required", "String", "Struct", "Type", "TypeCheck",
    "TypeFactory", "base", "basic", "choice", "composite", "config", "container", "naming", "parsing",
    "sys", "typing"])
def test_exports(name):
    assert name in vars(pystachio)
