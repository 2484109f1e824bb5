"""Our dataclasses against those of the standard library: over samples, and over every one that the package has."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import Any

import pytest

import ucrmmail
from ucrmmail import dataclass as ours

MISSING: Any = ours.fields(ours.dataclass(slots=True)(type("Bare", (), {"__annotations__": {"bare": "str"}})))[
    0
].default
BOTH = [pytest.param(ours, id="ours"), pytest.param(dataclasses, id="standard library")]


def modules() -> list[Any]:
    found = pkgutil.walk_packages(ucrmmail.__path__, "ucrmmail.")
    return [importlib.import_module(each.name) for each in found if not each.name.endswith("__main__")]


def package_classes() -> list[type]:
    known = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "__fields__")
    }
    return sorted(known, key=lambda cls: f"{cls.__module__}.{cls.__qualname__}")


def sample(module: Any, *, frozen: bool = True) -> Any:
    @module.dataclass(frozen=frozen, slots=True)
    class Sample:
        """A class with all that the package uses."""

        name: str
        size: int = 5
        secret: str = module.field(default="x", repr=False)
        held: list[str] = module.field(default_factory=list)

        def doubled(self) -> int:
            return 2 * self.size

    return Sample


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("frozen", [True, False])
class TestSample:
    def test_is_made_by_position_by_name_and_with_defaults(self, module: Any, frozen: bool) -> None:
        made = sample(module, frozen=frozen)("a", secret="y")
        assert (made.name, made.size, made.secret, made.held, made.doubled()) == ("a", 5, "y", [], 10)

    @pytest.mark.parametrize(
        ("arguments", "named", "told"),
        [
            ((), {}, "Sample.__init__() missing 1 required positional argument: 'name'"),
            (("a",), {"nmae": "b"}, "got an unexpected keyword argument 'nmae'"),
            (("a",), {"name": "b"}, "got multiple values for argument 'name'"),
            (("a", 1, "x", [], 2), {}, "takes from 2 to 5 positional arguments but 6 were given"),
        ],
    )
    def test_a_wrong_call_is_told_by_name(
        self, module: Any, frozen: bool, arguments: tuple[object, ...], named: dict[str, object], told: str
    ) -> None:
        with pytest.raises(TypeError) as caught:
            sample(module, frozen=frozen)(*arguments, **named)
        assert told in str(caught.value)

    def test_no_two_share_what_a_factory_makes(self, module: Any, frozen: bool) -> None:
        made = sample(module, frozen=frozen)
        first, second = made("a"), made("a")
        first.held.append("x")
        assert second.held == []
        given: list[str] = []
        assert made("a", held=given).held is given

    def test_what_it_shows_has_no_secret(self, module: Any, frozen: bool) -> None:
        shown = repr(sample(module, frozen=frozen)("a", 1, "s3cret", ["b"]))
        assert shown.endswith("Sample(name='a', size=1, held=['b'])")
        assert "s3cret" not in shown

    def test_equals_one_of_its_class_with_the_same_values(self, module: Any, frozen: bool) -> None:
        made = sample(module, frozen=frozen)
        assert made("a") == made("a", 5)
        assert made("a") != made("b")
        assert made("a") != sample(module, frozen=frozen)("a")
        assert made("a") != ("a", 5, "x", [])

    def test_has_no_other_attribute(self, module: Any, frozen: bool) -> None:
        made = sample(module, frozen=frozen)("a")
        assert not hasattr(made, "__dict__")
        # The standard library's frozen one says FrozenInstanceError, or TypeError where `super()` finds another class.
        with pytest.raises((AttributeError, TypeError)):
            made.other = 1

    def test_is_replaced_in_part(self, module: Any, frozen: bool) -> None:
        made = sample(module, frozen=frozen)("a", 1, "y", ["b"])
        changed = module.replace(made, size=2)
        assert (changed.name, changed.size, changed.secret, changed.held) == ("a", 2, "y", ["b"])
        assert made.size == 1
        with pytest.raises(TypeError, match="other"):
            module.replace(made, other=1)

    def test_knows_its_fields(self, module: Any, frozen: bool) -> None:
        for asked in (sample(module, frozen=frozen), sample(module, frozen=frozen)("a")):
            known = module.fields(asked)
            assert [each.name for each in known] == ["name", "size", "secret", "held"]
            assert known[1].default == 5


@pytest.mark.parametrize("module", BOTH)
def test_a_frozen_one_has_a_hash_and_another_has_none(module: Any) -> None:
    @module.dataclass(frozen=True, slots=True)
    class Known:
        one: str
        two: int = 0

    known: Any = Known
    assert {known("a"): 1}[known("a", 0)] == 1
    assert len({known("a"), known("b"), known("a", 1)}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(sample(module, frozen=False)("a"))


@pytest.mark.parametrize("module", BOTH)
def test_one_without_fields_equals_its_like(module: Any) -> None:
    @module.dataclass(frozen=True, slots=True)
    class Connected:
        """A message that says all by its class."""

    assert Connected() == Connected()
    assert hash(Connected()) == hash(Connected())
    assert repr(Connected()).endswith("Connected()")


@pytest.mark.parametrize("module", BOTH)
def test_what_a_class_defines_itself_stays(module: Any) -> None:
    @module.dataclass(frozen=True, slots=True)
    class Own:
        value: str

        def __str__(self) -> str:
            return f"<{self.value}>"

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    own: Any = Own
    made = own("a")
    assert (str(made), repr(made), made == own("b"), hash(made)) == ("<a>", "own", True, 7)


@pytest.mark.parametrize("module", BOTH)
def test_as_a_dictionary_it_is_plain_all_the_way_down(module: Any) -> None:
    @module.dataclass(frozen=True, slots=True)
    class Inner:
        value: int

    @module.dataclass(slots=True)
    class Outer:
        one: Any
        some: Any
        named: Any
        text: str

    inner: Any = Inner
    outer: Any = Outer
    made = outer(inner(1), [inner(2), (inner(3), 4)], {"a": inner(5)}, "x")
    assert module.asdict(made) == {
        "one": {"value": 1},
        "some": [{"value": 2}, ({"value": 3}, 4)],
        "named": {"a": {"value": 5}},
        "text": "x",
    }


def test_a_class_without_slots_is_refused() -> None:
    with pytest.raises(TypeError, match="slots"):
        ours.dataclass(slots=False)


def test_the_package_has_them() -> None:
    assert len(package_classes()) > 150


@pytest.mark.parametrize("cls", package_classes(), ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_a_class_of_the_package_is_as_the_standard_library_would_make_it(cls: Any) -> None:
    def twin_field(each: Any) -> Any:
        if each.default_factory is not None:
            return dataclasses.field(default_factory=each.default_factory, repr=each.repr)
        if each.default is not MISSING:
            # A factory, too, because a mutable default is refused there; ours are not changed.
            return dataclasses.field(default_factory=lambda: each.default, repr=each.repr)
        return dataclasses.field(repr=each.repr)

    known: Any = ours.fields(cls)
    assert [each.name for each in known] == list(cls.__annotations__)
    own = {name: vars(cls)[name] for name in ("__str__",) if name in vars(cls)}
    twin: Any = dataclasses.make_dataclass(
        cls.__name__, [(each.name, object, twin_field(each)) for each in known], frozen=True, slots=True, namespace=own
    )
    twin.__qualname__ = cls.__qualname__

    needed = [each for each in known if each.default_factory is None and each.default is MISSING]
    assert [each.name for each in known[: len(needed)]] == [each.name for each in needed]
    values = {each.name: f"value of {each.name}" for each in needed}
    made, theirs = cls(**values), twin(**values)
    for each in known:
        left, right = getattr(made, each.name), getattr(theirs, each.name)
        assert left == right or type(left) is type(right), each.name
    every = {each.name: f"value of {each.name}" for each in known}
    made, theirs = cls(*every.values()), twin(*every.values())
    assert repr(made) == repr(theirs)
    assert made == cls(**every)
    assert all(made != ours.replace(made, **{name: "another"}) for name in every)
    assert ours.asdict(made) == dataclasses.asdict(theirs) == every
    assert not hasattr(made, "__dict__")
