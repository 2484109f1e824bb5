"""Durations, sizes and rates as people write them: ``1h30m``, ``10MB``, ``30/1m``.

Used by every submission, so it does without ``re``.
"""

from __future__ import annotations

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "m": 1000**2,
    "mb": 1000**2,
    "g": 1000**3,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_DIGITS = "0123456789."
# Of a count or a size: more are a slip, and Python refuses to read thousands.
_MOST_DIGITS = 18


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _number_and_unit(text: str) -> tuple[str, str, str]:
    """Split ``1h30m`` into ``("1", "h", "30m")``."""
    digits = 0
    while digits < len(text) and text[digits] in _DIGITS:
        digits += 1
    end = digits
    while end < len(text) and text[end] not in _DIGITS:
        end += 1
    return text[:digits], text[digits:end].strip().lower(), text[end:]


def parse_duration(text: str) -> float:
    """Return seconds for ``24h``, ``90s``, ``1h30m``, ``1.5d`` or ``0``.

    Units are ms, s, m, h, d and w; only 0 may stand without one.
    Raises ValueError with a sentence that names what is allowed.
    """
    rest = text.strip()
    if rest == "0":
        return 0.0
    total = 0.0
    allowed = f"{_quoted(text)} is not a duration; write a number and a unit (s, m, h, d, w), such as 90s, 24h or 1h30m"
    if not rest:
        raise ValueError(allowed)
    while rest:
        number, unit, rest = _number_and_unit(rest)
        rest = rest.strip()
        if unit not in _SECONDS or not number or number.count(".") > 1 or number == ".":
            raise ValueError(allowed)
        total += float(number) * _SECONDS[unit]
    # A century: beyond it, sums with the time of day leave what struct tm and JSON readers hold.
    if total > 36525 * 86400:
        raise ValueError(f"{_quoted(text)} is longer than a century")
    return total


def format_duration(seconds: float) -> str:
    """Return ``1h30m`` for 5400: the shortest form that ``parse_duration`` reads back, to the millisecond."""
    milliseconds = round(seconds * 1000)
    if milliseconds <= 0:
        return "0s"
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Return bytes for ``10MB``, ``1.5 GiB``, ``4096``. MB is 1000 squared, MiB is 1024 squared.

    Raises ValueError with a sentence that names what is allowed.
    """
    number, unit, rest = _number_and_unit(text.strip())
    if len(number) > _MOST_DIGITS or not number or rest or unit not in _BYTES or number.count(".") > 1 or number == ".":
        raise ValueError(f"{_quoted(text)} is not a size; write bytes with a unit (kB, MB, GB, MiB), such as 10MB")
    return int(float(number) * _BYTES[unit])


def format_size(size_bytes: int) -> str:
    """Return ``10MB`` for 10,000,000: at the most one decimal, for people."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.95 or unit == "GB":
            return f"{size:.1f}".removesuffix(".0") + unit
        size /= 1000
    raise AssertionError("unreachable: the last unit takes every size")


def parse_rate(text: str) -> tuple[int, float]:
    """Return (count, seconds) for ``30/1m``: thirty in a minute.

    Raises ValueError with a sentence that names what is allowed.
    """
    count, slash, span = text.partition("/")
    count = count.strip()
    if not slash or not (count.isascii() and count.isdigit()) or len(count) > _MOST_DIGITS or int(count) == 0:
        raise ValueError(f"{_quoted(text)} is not a rate; write a count and a duration, such as 30/1m or 10000/24h")
    duration_s = parse_duration(span)
    if duration_s <= 0:
        raise ValueError(f"{_quoted(text)} has no duration; write a count and a duration, such as 30/1m")
    return int(count), duration_s
