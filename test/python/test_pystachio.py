# SPDX-License-Identifier: Apache-2.0
"""The language, case by case.  Names of the sections are those of contracts/pystachio.md."""

import json

import pytest

import pystachio
from pystachio import (
    Boolean, Choice, Default, Empty, Enum, Environment, Float, Integer, List, Map, MustacheParser,
    Namable, Ref, Required, String, Struct, TypeCheck, TypeFactory)
from pystachio.base import Object
from pystachio.composite import IsNotMappingError, Structural
from pystachio.config import Config
from pystachio.matcher import Any, Matcher
from pystachio.naming import frozendict

CoercionError = Object.CoercionError
Uninterpolatable = MustacheParser.Uninterpolatable


# --- 2. references -----------------------------------------------------------------------------

@pytest.mark.parametrize("text,address,parts", [
    ("a", "a", 1), ("_a1", "_a1", 1), ("a.b", "a.b", 2), ("a[b]", "a[b]", 2), (".a", "a", 1),
    ("[0]", "[0]", 1), ("a[x/y.z-1]", "a[x/y.z-1]", 2), ("a.b[c].d", "a.b[c].d", 4),
])
def test_address_is_read(text, address, parts):
    ref = Ref.from_address(text)
    assert ref.address() == address
    assert len(ref.components()) == parts
    assert str(ref) == "{{%s}}" % address
    assert repr(ref) == "Ref(%s)" % address


@pytest.mark.parametrize("text,says", [
    ("", "Invalid address: ''"), (None, "Invalid address: None"), ("1a", "1a"), (" x ", " x "),
    ("#section", "#section"), ("a b", "Badly formed address .a b"),
    ("a-b", "Badly formed address .a-b"), ("a.", "Badly formed address .a."),
    ("a[]", "Badly formed address .a[]"), ("a[b", "Badly formed address .a[b"),
    ("a[b c]", "Badly formed address .a[b c]"), ("a.1", "Badly formed address .a.1"),
    ("\u00e9", "\u00e9"), ("a]", "Badly formed address .a]"),
])
def test_address_is_refused(text, says):
    with pytest.raises(Ref.InvalidRefError) as e:
        Ref.from_address(text)
    assert str(e.value) == says
    assert not isinstance(e.value, (ValueError, Namable.Error))


def test_ref_algebra():
    a, ab = Ref.from_address("a"), Ref.from_address("a.b")
    assert Ref.subscope(a, ab) == Ref.from_address("b")
    assert a.scoped_to(ab) == Ref.from_address("b")
    assert Ref.subscope(a, a) is None
    assert Ref.subscope(a, Ref.from_address("ab")) is None
    assert Ref.from_address(".a") == a and Ref.from_address("[a]") != a
    assert a + Ref.from_address("b") == ab
    assert ab.rest() == Ref.from_address("b") and ab.rest().rest().is_empty()
    assert a < ab and ab.action().value == "a"
    assert a.is_dereference() and Ref.from_address("[a]").is_index()
    assert Ref.wrap(a) is a and hash(Ref.wrap("a.b")) == hash(ab)


# --- 3. strings with references ----------------------------------------------------------------

@pytest.mark.parametrize("text,bound,result", [
    ("{{a}}", {"a": "x"}, "x"),
    ("{{{a}}}", {"a": "x"}, "{x}"),
    ("{{{{a}}}}", {"a": "b", "b": "c"}, "c"),
    ("{{a{{b}}c}}", {"b": "B", "aBc": "x"}, "x"),
    ("{{x[{{k}}].name}}", {"k": "1", "x[1].name": "n"}, "n"),
    ("{{}}", {}, "{{}}"), ("{", {}, "{"), ("}}", {}, "}}"), ("{a}", {}, "{a}"),
    ("${x}", {}, "${x}"), ("{{a}", {}, "{{a}"), ('{"a": {"b": 1}}', {}, '{"a": {"b": 1}}'),
    ("{{.Id}}", {}, "{{Id}}"),
    ("{{&x}}", {"x": "1"}, "{{x}}"), ("{{&x&}}", {}, "{{x}}"),
    ("{{&x}} {{x}}", {"x": "1"}, "{{x}} 1"),
    ("{{a}} and {{b}}", {"a": "x"}, "x and {{b}}"),
    ("{{a}}", {"a": "{{b}}", "b": "{{c}}", "c": "deep"}, "deep"),
])
def test_mustache(text, bound, result):
    assert str(String(text).bind(bound)) == result


@pytest.mark.parametrize("text", ["{{ a }}", "{{a-b}}", "{{json .State}}", "{{#x}}", "{{&}}",
                                  "awk '{{print $1}}'"])
def test_what_stands_in_a_tag_must_be_an_address(text):
    with pytest.raises(Ref.InvalidRefError):
        String(text).interpolate()


def test_mustache_pieces_and_unbound():
    pieces = MustacheParser.split("a {{b}} c{{&d}}")
    assert pieces == ["a ", Ref.from_address("b"), " c", "{{d}}"]
    assert MustacheParser.split("{{&d}}", keep_aliases=True) == ["{{&d}}"]
    assert MustacheParser.join(pieces, Environment(b=1)) == ("a 1 c{{d}}", [])
    assert MustacheParser.resolve("{{x}}{{y}}", Environment(x=1)) == (
        "1{{y}}", [Ref.from_address("y")])


@pytest.mark.parametrize("bound", [
    {"a": "{{a}}"}, {"a": "{{b}}", "b": "{{a}}"}, {"a": "x{{b}}", "b": "y{{a}}"}])
def test_cycle_is_refused(bound):
    with pytest.raises(Uninterpolatable) as e:
        String("{{a}}").bind(bound).interpolate()
    assert str(e.value) == "Unable to interpolate {{a}}!  Maximum replacements reached."


def test_text_that_doubles_itself_is_refused():
    bound = {"a%d" % n: "{{a%d}}{{a%d}}" % (n - 1, n - 1) for n in range(1, 60)}
    bound["a0"] = "0123456789"
    with pytest.raises(Uninterpolatable):
        String("{{a59}}").bind(bound).interpolate()


def test_escape_survives_one_pass():
    once = String("{{&a}}").bind(a=1)
    assert str(once) == "{{a}}"
    assert str(once.interpolate()[0]) == "1"


# --- 4. environment ----------------------------------------------------------------------------

@pytest.mark.parametrize("source,address,found", [
    ({"a": {"b": 1}}, "a.b", "1"), ({"a": {"k": 1}}, "a[k]", None), ({"a[k]": 1}, "a[k]", "1"),
    ({"a": {"[k]": 1}}, "a[k]", "1"), ({"a": {"k": 1}}, "a", None), ({"a": {}}, "a", None),
    ({"a": 1.5}, "a", "1.5"), ({"a": True}, "a", "True"),
    ({"a": {"b": 1}, "a.c": 2}, "a.c", "2"), ({Ref.from_address("x.y"): 3}, "x.y", "3"),
])
def test_environment_table(source, address, found):
    environment = Environment(source)
    if found is None:
        with pytest.raises(Namable.NotFound) as e:
            environment.find(Ref.from_address(address))
        assert str(e.value) == "Could not find %s in object Environment" % address
    else:
        assert str(environment.find(Ref.from_address(address))) == found


@pytest.mark.parametrize("value", [None, [1], (1,), Empty, String])
def test_environment_refuses(value):
    with pytest.raises(ValueError) as e:
        Environment(a=value)
    assert str(e.value).startswith("Environment values must be strings, numbers, Objects or other")


def test_environment_asks_the_longest_prefix_first():
    class P(Struct):
        name = String
        other = String
    environment = Environment({"p": P(name="struct", other="o"), "p.name": "table"})
    assert str(environment.find(Ref.from_address("p.name"))) == "table"
    assert str(environment.find(Ref.from_address("p.other"))) == "o"
    with pytest.raises(ValueError, match="Environment expects dict or Environment, got 5"):
        Environment(5)


# --- 5. scopes and binding ---------------------------------------------------------------------

@pytest.mark.parametrize("make,result", [
    (lambda s: s.bind(a=1).bind(a=2), "2"),
    (lambda s: s.bind({"a": 1}, {"a": 2}), "2"),
    (lambda s: s.bind({"a": 1}, a=2), "2"),
    (lambda s: s.in_scope(a=1).in_scope(a=2), "1"),
    (lambda s: s.in_scope(a=1).bind(a=2), "2"),
    (lambda s: s.bind(a=1).dup(), "{{a}}"),
    (lambda s: s.bind(a=1).copy(), "1"),
    (lambda s: s % {"a": 3}, "3"),
    (lambda s: s.bind(a=String("{{b}}").bind(b=1)).bind(b=2), "1"),
    (lambda s: s.bind(a=String("{{b}}")).bind(b=2), "2"),
])
def test_nearest_scope_wins(make, result):
    assert str(make(String("{{a}}"))) == result


def test_namables_are_scopes():
    class S(Struct):
        name = String
    assert str(String("{{name}}").bind(S(name="x"))) == "x"
    assert str(String("{{[0]}}").bind(List(Integer)([7]))) == "7"
    assert str(String("{{[k]}}").bind(Map(String, Integer)({"k": 8}))) == "8"
    assert str(String("{{l}}").bind(l=List(String)(["x", "y"]))) == "StringList(x, y)"


def test_binding_goes_through_the_user_of_a_struct():
    class P(Struct):
        ds = String
    assert str(String("{{p.ds}}").bind(p=P(ds="x/{{role}}"), role="me")) == "x/me"


def test_interpolate_tells_what_is_open():
    value, refs = Integer("{{x}}").interpolate()
    assert refs == [Ref.from_address("x")] and value.get() == "{{x}}"
    assert Integer("{{x}}").bind(x="5").interpolate()[0].get() == 5


# --- 6. scalars --------------------------------------------------------------------------------

@pytest.mark.parametrize("klazz,given,got", [
    (String, True, "True"), (String, 1.5, "1.5"), (String, 3, "3"), (String, "x", "x"),
    (Integer, 1.9, 1), (Integer, " 12 ", 12), (Integer, True, 1), (Integer, "-3", -3),
    (Float, "1e3", 1000.0), (Float, ".5", 0.5), (Float, 2, 2.0),
    (Boolean, "true", True), (Boolean, "TRUE", True), (Boolean, "1", True), (Boolean, "0", False),
    (Boolean, "false", False), (Boolean, 2, True), (Boolean, 0.0, False),
])
def test_scalar_takes(klazz, given, got):
    value = klazz(given)
    assert value.get() == given
    assert value.interpolate()[0].get() == got
    assert type(value.interpolate()[0].get()) is type(got)
    assert value.check().ok()


@pytest.mark.parametrize("klazz,given", [
    (String, None), (String, []), (String, {}), (String, b"x"),
    (Integer, "1.9"), (Integer, "0x10"), (Integer, "1GB"), (Integer, ""), (Integer, None),
    (Integer, float("inf")), (Float, "abc"), (Float, None),
    (Boolean, "yes"), (Boolean, "on"), (Boolean, ""), (Boolean, None),
])
def test_scalar_refuses(klazz, given):
    value = klazz(given)
    with pytest.raises(CoercionError) as e:
        value.interpolate()
    assert str(e.value) == "Cannot coerce '%s' to %s" % (given, klazz.__name__)
    assert isinstance(e.value, ValueError)
    assert value.check().message() == "Unable to interpolate: %s" % e.value


@pytest.mark.parametrize("klazz,message", [
    (Integer, "'{{x}}' not an integer"), (Float, "'{{x}}' not a float"),
    (Boolean, "'{{x}}' not a boolean"), (String, "")])
def test_open_scalar_checks(klazz, message):
    assert klazz("{{x}}").check().message() == message


def test_scalar_comparisons():
    assert Integer(1) == Integer("1") and Integer(1) != 1 and Integer(1) != Float(1)
    assert String("a") != "a" and Integer(1) < Float(0) and Integer(1) < Integer(2)
    assert Integer(3) >= Integer(3) and not Integer(3) > Integer(3)
    assert repr(Integer("3")) == "Integer(3)" and repr(Float("{{x}}.5")) == "Float({{x}}.5)"
    assert bool(Integer(0)) and len({Integer(1), Integer(1)}) == 1
    assert String("{{x}}").bind(x=1) == String("1")


# --- 7. enum -----------------------------------------------------------------------------------

def test_enum():
    T, Named = Enum("a", "b"), Enum("Name", ("a", "b"))
    assert T.__name__ == "Enum_a_b" and Named.__name__ == "Name" and T.VALUES == ("a", "b")
    for bad in ("A", "c", 1):
        with pytest.raises(ValueError) as e:
            T(bad)
        assert str(e.value) == "Enum_a_b only accepts the following values: a, b"
    with pytest.raises(CoercionError, match="to String"):
        T(None)
    late = T("{{x}}")
    assert late.check().message() == "'{{x}}' not in the enumeration (a, b)"
    assert late.bind(x="a").check().ok()
    assert late.bind(x="c").check().message() == \
        "Unable to interpolate: Cannot coerce 'c' to Enum_a_b: c is not one of a, b"


# --- 8. list, 9. map ---------------------------------------------------------------------------

def test_list():
    L = List(Integer)
    assert L.__name__ == "IntegerList" and List(List(String)).__name__ == "StringListList"
    values = L([1, "{{x}}"])
    assert values.get() == (1, "{{x}}") and repr(values.bind(x=2)) == "IntegerList(1, 2)"
    assert values.bind(x=2) == L((1, 2)) and values.bind(x=2) != [1, 2]
    assert 2 in values.bind(x=2) and Integer(2) in values.bind(x=2)
    assert [each.get() for each in L([1, "2"])] == [1, 2] and L([1, 2, 3])[1:] == (
        Integer(2), Integer(3))
    assert L(["a"]).check().message() == ("Element in IntegerList failed check: "
                                          "Unable to interpolate: Cannot coerce 'a' to Integer")
    assert isinstance(L([]), List(Integer)) and not isinstance(L([]), List(String))


@pytest.mark.parametrize("bad", ["abc", 5, None, {}, set(), List(Integer)([1])])
def test_list_refuses(bad):
    with pytest.raises(ValueError, match="ListContainer expects an iterable, got"):
        List(Integer)(bad)


@pytest.mark.parametrize("text,result", [
    ("{{l[0]}}", "a"), ("{{l[-1]}}", "b"), ("{{l[5]}}", "{{l[5]}}"), ("{{l[x]}}", "{{l[x]}}"),
    ("{{l.x}}", "{{l.x}}")])
def test_list_is_indexed_in_text(text, result):
    assert str(String(text).bind(l=List(String)(["a", "b"]))) == result


def test_list_lookup_errors():
    values = List(String)(["a"])
    with pytest.raises(Namable.NamingError,
                       match="Cannot dereference object StringList by .a"):
        values.find(Ref.from_address("a"))
    with pytest.raises(Namable.Unnamable, match="Object is not indexable: String"):
        values.find(Ref.from_address("[0].x"))
    with pytest.raises(IndexError):
        str(String("{{l[-9]}}").bind(l=values))


def test_map():
    M = Map(String, Integer)
    value = M({"a": 1, "b": "{{x}}"})
    assert M.__name__ == "StringIntegerMap"
    assert repr(value.bind(x=2)) == "StringIntegerMap(a => 1, b => 2)"
    assert value["a"] == Integer(1) and "a" in value and "z" not in value
    assert [key.get() for key in value] == ["a", "b"]
    with pytest.raises(KeyError, match="z not found"):
        value["z"]
    assert M(("a", 1), ("b", 2)) == M({"a": 1, "b": 2}) != M(("b", 2), ("a", 1))
    with pytest.raises(ValueError, match=r"Unexpected input to MapContainer: \(5,\)"):
        M(5)
    assert str(String("{{m[a]}}{{m.a}}").bind(m=value)) == "1{{m.a}}"
    assert "value x failed check" in M({"a": "x"}).check().message()
    assert value.get() == frozendict({"a": 1, "b": "{{x}}"})
    with pytest.raises(CoercionError):
        str(String("{{m[x]}}").bind(m=Map(Integer, String)({1: "a"})))


# --- 10. struct --------------------------------------------------------------------------------

class Inner(Struct):
    a = Required(String)
    b = Default(Integer, 3)
    c = String


class Outer(Struct):
    """Docstrings vanish."""
    name = String
    inner = Inner
    many = List(Inner)
    CONSTANT = 5

    def method(self):
        pass


def test_struct_construction():
    value = Inner(a="x")
    assert value.b() == Integer(3) and value.c() is Empty and value.has_a() and not value.has_c()
    assert Inner({"a": "x"}, {"a": "y"}).a() == String("y") == Inner({"a": "x"}, a="y").a()
    assert value(a="z").a() == String("z") and value.a() == String("x")
    assert value(b=Empty).b() is Empty
    assert Outer(inner={"a": "q"}, many=[{"a": "w"}]).many()[0].a() == String("w")
    with pytest.raises(AttributeError, match="^Unknown schema attribute nam$"):
        Inner(nam=1)
    with pytest.raises(AttributeError, match="^Unknown schema attribute nam$"):
        Outer(inner={"nam": 1})
    for bad in (5, value, "x"):
        with pytest.raises(IsNotMappingError):
            Inner(bad)
    with pytest.raises(AttributeError, match="^Inner has no attribute foo$"):
        value.foo()
    assert not hasattr(Outer(), "CONSTANT") and not hasattr(Outer(), "method")
    with pytest.raises(ValueError):
        Outer(inner=None)


def test_struct_types():
    class Again(Struct):
        a = Required(String)
        b = Default(Integer, 3)
        c = String
    Again.__name__ = "Inner"
    assert not isinstance(Inner(), Struct) and isinstance(Inner(), Structural)
    assert Inner.type_factory() == "Struct" and Inner.TYPEMAP["a"].required
    assert Inner.TYPEMAP["b"].default == Integer(3) and Inner.TYPEMAP["c"].empty

    class Sub(Inner):
        z = String
    assert Sub.__name__ == "Sub" and set(Sub.TYPEMAP) == set(Inner.TYPEMAP)
    with pytest.raises(AttributeError):
        Sub(z=1)
    with pytest.raises(ValueError):
        Outer(inner=Sub(a="x"))

    def twin():
        class Twin(Struct):
            a = String
        return Twin
    assert isinstance(twin()(), twin()) and twin()(a=1) == twin()(a=1)


def test_struct_checks():
    assert Inner().check().message() == "Inner[a] is required."
    assert Outer(inner=Inner()).check().message() == \
        "Outer[inner] failed: Inner[a] is required."
    assert Outer(many=[Inner()]).check().message() == \
        "Outer[many] failed: Element in InnerList failed check: Inner[a] is required."
    assert Inner(a="x", b="q").check().message() == \
        "Inner[b] failed: Unable to interpolate: Cannot coerce 'q' to Integer"
    assert Inner(a="x").check().ok() and repr(TypeCheck.success()) == "TypeCheck(OK)"


@pytest.mark.parametrize("make,result", [
    (lambda: Inner(a="{{b}}").a(), "3"),
    (lambda: Inner(a="{{self.b}}").a(), "3"),
    (lambda: Inner(a="{{b}}")(b=9).a(), "9"),
    (lambda: Inner(a="{{b}}").bind(b=7).a(), "3"),
    (lambda: Inner(a="{{c}}").bind(c=7).a(), "7"),
    (lambda: Outer(name="n", inner=Inner(a="{{name}}")).inner().a(), "n"),
    (lambda: Outer(name="n", inner=Inner(a="{{super.name}}")).inner().a(), "n"),
    (lambda: Outer(name="n", inner=Inner(a="{{inner.b}}")).inner().a(), "3"),
    (lambda: Outer(name="n", many=[Inner(a="{{many[0].b}}{{name}}")]).many()[0].a(), "3n"),
    (lambda: Outer(name="n", inner=Inner(a="{{self.name}}")).inner().a(), "n"),
    (lambda: Outer(name="n", inner=Inner(a="{{b}}", b=5)).bind(b=1).inner().a(), "5"),
    (lambda: Outer(name="{{inner.a}}", inner=Inner(a="deep{{b}}")).name(), "deep3"),
])
def test_struct_scopes(make, result):
    assert str(make()) == result


def test_super_is_the_outermost_that_has_it():
    class Mid(Struct):
        name = String
        only = String
        leaf = Inner

    class Top(Struct):
        name = String
        mid = Mid
    top = Top(name="top", mid=Mid(name="mid", only="o", leaf=Inner(
        a="{{super.name}} {{super.only}}")))
    assert str(top.mid().leaf().a()) == "top o"


def test_struct_cycle_is_refused():
    class C(Struct):
        x = String
        y = String
    with pytest.raises(Uninterpolatable):
        C(x="{{y}}", y="{{x}}").interpolate()
    assert "Maximum replacements" in C(x="{{y}}", y="{{x}}").check().message()


def test_struct_compares_prints_and_travels():
    assert Inner(a="x", b="3") == Inner(a="{{y}}").bind(y="x")
    assert Inner(a="x") != Inner(a="y") and Inner(a="x").get() == {"a": "x", "b": 3}
    assert repr(Inner(a=1)) == "Inner(a=1,\n      b=3)"
    assert json.loads(Inner(a=1, b="4").json_dumps()) == {"a": "1", "b": 4}
    assert Inner.json_loads('{"a": "x", "zzz": 1}').a() == String("x")
    assert Outer.json_loads('{"inner": {"a": "x", "zzz": 1}}').inner().a() == String("x")
    with pytest.raises(AttributeError):
        Inner.json_loads('{"zzz": 1}', strict=True)
    loaded = TypeFactory.load(Outer.serialize_type())
    assert loaded["Outer"](inner={"a": 1}).inner().b() == Integer(3)
    assert TypeFactory.load_json(json.dumps(Outer.serialize_type()))["Inner"](a=1).b().get() == 3
    assert len({Inner(a="x"), Inner(a="x")}) == 1


def test_evaluated_struct_has_no_scopes():
    value = Outer(inner=Inner(a="{{name}}{{x}}")).bind(x=1).interpolate()[0]
    assert str(value.inner().a()) == "{{name}}1"
    assert str(value(name="late").inner().a()) == "late1"
    assert str(value.bind(name="bound").inner().a()) == "bound1"
    assert Inner(a="{{&x}}").bind(x=1).interpolate()[0].get()["a"] == "{{x}}"


# --- 11. choice --------------------------------------------------------------------------------

class A(Struct):
    x = Required(String)


class B(Struct):
    y = Required(Integer)


def test_choice():
    C = Choice([Integer, String])
    assert C.__name__ == "Choice_Integer_String" and Choice("N", (A, B)).__name__ == "N"
    assert C("1").interpolate()[0] == Integer(1) and C("q").interpolate()[0] == String("q")
    assert repr(C("1")) == "Choice_Integer_String('1')" and C("1") == C(1)
    assert C("{{x}}").check().ok()
    with pytest.raises(CoercionError, match="Cannot coerce '.*' to Choice_Integer_String"):
        C([]).interpolate()
    AB = Choice([A, B])
    assert AB(A(x="1")).check().ok() and AB({"y": 2}).unwrap() == B(y=2)
    assert AB(B()).check().message() == "B[y] is required."
    with pytest.raises(AttributeError, match="Unknown schema attribute z"):
        AB({"z": 1})

    class H(Struct):
        c = AB
    assert H(c=A(x="{{v}}")).bind(v=5).c().x() == String("5")
    assert H(c=A()).check().message() == "H[c] failed: A[x] is required."
    assert H(c=A(x="1")) == H(c={"x": "1"})


# --- 12, 13. matcher, loader, names ------------------------------------------------------------

def test_matcher():
    value = String("{{docker.image[a/b][1.0]}} {{other}}")
    pattern = Matcher("docker").image[Any][Any]
    assert list(pattern.match(value)) == [("docker", "image", "a/b", "1.0")]
    bound, _ = pattern.apply(lambda *texts: "@".join(texts[2:]), value)
    assert str(bound) == "a/b@1.0 {{other}}"


def test_names():
    for name in ("base basic choice composite config container naming parsing typing sys Boolean "
                 "Choice Default Empty Enum Environment Float Integer List Map Namable Ref "
                 "Required String Struct MustacheParser Type TypeCheck TypeFactory").split():
        assert hasattr(pystachio, name)


def test_loader(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "main").write_text("include('sub/one')\nz = x + y\nname = __name__\n")
    (tmp_path / "sub" / "one").write_text("x = 1\ninclude('two')\n")
    (tmp_path / "sub" / "two").write_text("y = 2\ns = String('q')\n")
    environment = Config(str(tmp_path / "main")).environment
    assert environment["z"] == 3 and environment["s"] == String("q")
    assert environment["name"] != "__main__"
    (tmp_path / "loop").write_text("include('loop')\n")
    with pytest.raises(RecursionError):
        Config(str(tmp_path / "loop"))
    with pytest.raises(Config.NotFound, match="Could not load resource /gone"):
        Config("/gone")
    (tmp_path / "bad").write_text("Integer('x').interpolate()\n")
    with pytest.raises(Config.InvalidConfigError, match="Cannot coerce 'x' to Integer"):
        Config(str(tmp_path / "bad"))
    (tmp_path / "caught").write_text(
        "try:\n  include('sub/fails')\nexcept Exception: pass\ninclude('sub/one')\n")
    (tmp_path / "sub" / "fails").write_text("1/0\n")
    assert Config(str(tmp_path / "caught")).environment["x"] == 1
