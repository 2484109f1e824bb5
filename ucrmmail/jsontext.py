"""JSON that a disk may have damaged or somebody else has written: what is none ends as a ValueError, whatever it is.

Python's own reader takes what RFC 8259 has no value for, ``NaN`` and ``1e999``, which then nothing can print, and ends
with a RecursionError at a thousand brackets in a row.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

T = TypeVar("T")

# The year 10,000, in seconds since the epoch: nothing can show what comes later.
_END_OF_TIME = 253_402_300_800.0


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text says. Raises ValueError when it is none."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def typed(found: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON object if each can stand for its default: see ``like``.

    Raises KeyError for an unknown one, TypeError, ValueError; AttributeError when it is no object.
    """
    return {name: like(value, defaults[name]) for name, value in found.items()}


def like(value: Any, default: T) -> T:
    """Return a value that was read if it can stand for ``default``: of its type, and no number below 0.

    A fraction is a time, or a duration, in seconds: a whole number can be one, and one beyond the calendar cannot.
    Raises TypeError, ValueError.
    """
    wanted: type = type(default)
    if type(value) not in ((float, int) if wanted is float else (wanted,)):
        raise TypeError(f"{value!r:.40} is no {wanted.__name__}")
    if wanted is int and value < 0:
        raise ValueError(f"{value!r:.40} is no count")
    if wanted is float and not 0 <= value < _END_OF_TIME:
        raise ValueError(f"{value!r:.40} is no time")
    return value  # type: ignore[no-any-return]


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
