"""JSON that a disk may have damaged or somebody else has written: what is none ends as a ValueError, whatever it is.

Python's own reader takes what RFC 8259 has no value for, ``NaN`` and ``1e999``, which then nothing can print, and ends
with a RecursionError at a thousand brackets in a row.
"""

from __future__ import annotations

import json
import math
from typing import Any


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text says. Raises ValueError when it is none."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
