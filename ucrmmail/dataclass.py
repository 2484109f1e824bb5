"""Dataclasses that are quick to start with: those of the standard library, with slots, as far as this package needs.

`dataclasses` imports `inspect`, and compiles up to seven methods a class, each by itself: with the sixty classes that a
flush with mail has loaded, a third of the time until its first message leaves. Here one method a class is compiled,
its `__init__`; the rest are functions over the names of the fields. Type checkers read the standard library's:

    @dataclass(frozen=True, slots=True)
    class Address:
        local: str
        domain: str = "isp.example"

`frozen` is held by the type checker and gives a hash. Held at run time, as the standard library does, it would cost as
much for each instance as all else about it.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import asdict, dataclass, field, fields, replace
    from typing import Any

__all__ = ["asdict", "dataclass", "field", "fields", "replace"]

_FIELDS = "__fields__"
_MISSING = object()


class _Field:
    """What is known of a field: its default, or what makes one, and whether `repr` shows it."""

    __slots__ = ("default", "default_factory", "name", "repr")

    def __init__(self, *, default: object = _MISSING, default_factory: Any = None, repr: bool = True) -> None:  # noqa: A002 # the standard library's word
        self.name = ""
        self.default = default
        self.default_factory = default_factory
        self.repr = repr


def _dataclass(*, slots: bool, frozen: bool = False) -> Callable[[type], type]:
    if not slots:
        raise TypeError("a class without slots is the standard library's to make")
    return lambda cls: _made(cls, frozen=frozen)


def _made(cls: type, *, frozen: bool) -> type:
    """Return the class with slots for its fields, and with the methods that it does not define itself."""
    namespace = dict(cls.__dict__)
    known: dict[str, _Field] = {}
    for name in cls.__annotations__:
        default = namespace.pop(name, _MISSING)
        known[name] = default if isinstance(default, _Field) else _Field(default=default)
        known[name].name = name
    for name in ("__dict__", "__weakref__"):
        namespace.pop(name, None)
    methods = {"__init__": _init_of(cls, known), **_comparison(tuple(known), frozen=frozen), "__repr__": _repr}
    made = type(cls)(
        cls.__name__, cls.__bases__, {**methods, **namespace, "__slots__": tuple(known), _FIELDS: tuple(known.values())}
    )
    made.__qualname__ = cls.__qualname__
    return made


def _init_of(cls: type, known: dict[str, _Field]) -> Callable[..., None]:
    parameters, assignments = [], []
    scope: dict[str, Any] = {"_missing": _MISSING}
    for name, each in known.items():
        value = name
        if each.default_factory is not None:
            scope[f"_new_{name}"] = each.default_factory
            parameters.append(f"{name}=_missing")
            value = f"_new_{name}() if {name} is _missing else {name}"
        elif each.default is not _MISSING:
            scope[f"_default_{name}"] = each.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        assignments.append(f" self.{name} = {value}\n")
    # The names come from a class of ours: nothing that was read from anywhere is compiled.
    exec(f"def __init__(self, {', '.join(parameters)}):\n{''.join(assignments) or ' pass'}", scope)  # noqa: S102
    init: Callable[..., None] = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _comparison(names: tuple[str, ...], *, frozen: bool) -> dict[str, Any]:
    values: Callable[[object], object] = attrgetter(*names) if names else lambda _: ()

    def is_equal(self: object, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return {"__eq__": is_equal, "__hash__": (lambda self: hash(values(self))) if frozen else None}


def _repr(self: Any) -> str:
    told = ", ".join([f"{each.name}={getattr(self, each.name)!r}" for each in _fields(self) if each.repr])
    return f"{self.__class__.__qualname__}({told})"


def _fields(made: Any) -> tuple[_Field, ...]:
    known: tuple[_Field, ...] = getattr(made, _FIELDS)
    return known


def _replace(instance: Any, /, **changes: object) -> Any:
    kept = {each.name: getattr(instance, each.name) for each in _fields(instance)}
    return instance.__class__(**{**kept, **changes})


def _asdict(instance: Any) -> dict[str, Any]:
    return {each.name: _plain(getattr(instance, each.name)) for each in _fields(instance)}


def _plain(value: Any) -> Any:
    if hasattr(value.__class__, _FIELDS):
        return _asdict(value)
    if isinstance(value, (list, tuple)):
        return value.__class__(_plain(each) for each in value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


if not TYPE_CHECKING:
    asdict, dataclass, field, fields, replace = _asdict, _dataclass, _Field, _fields, _replace
