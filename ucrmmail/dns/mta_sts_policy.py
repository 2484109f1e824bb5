"""An MTA-STS policy as it is served (RFC 8461 section 3.2): what it says, and where it is wrong. Pure."""

from __future__ import annotations

import re
from hashlib import sha256

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.neighbour import is_host_name

MODES = ("enforce", "testing", "none")
# About a year (section 3.2).
MAX_AGE_S = 31_557_600
# A policy names some exchanges; what is longer is hostile.
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Policy:
    """What senders read; a field that is missing or wrong is "" or None.

    ``wrong_lines`` are lines that are no ``key: value``, ``repeated`` are keys that stand there again (only the first
    counts), ``wrong_patterns`` the ``mx`` that match nothing, ``written`` the values as they stand there, by key.
    """

    version: str = ""
    mode: str = ""
    max_age_s: int | None = None
    patterns: tuple[str, ...] = ()
    wrong_patterns: tuple[str, ...] = ()
    wrong_lines: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    written: tuple[tuple[str, str], ...] = ()

    def value(self, key: str) -> str:
        """Return the first value of a key as it stands there, "" without one."""
        return next((value for name, value in self.written if name == key), "")

    def covers(self, host: str) -> bool:
        """Return whether mail may go to an exchange of this name."""
        return any(matches(pattern, host) for pattern in self.patterns)


def parse_policy(text: str) -> Policy:
    """Return what a policy says; lines end in CRLF or LF, and keys are told apart by case."""
    written: list[tuple[str, str]] = []
    wrong_lines: list[str] = []
    repeated: list[str] = []
    # Not splitlines(): it also parts at form feeds and the like, which senders do not.
    for line in re.split(r"\r?\n", text)[:_MOST_LINES]:
        key, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", key):
            wrong_lines.append(line)
        elif key != "mx" and any(name == key for name, _ in written):
            repeated.append(key)
        else:
            written.append((key, value.strip(" \t")))
    fields = dict(reversed(written))
    patterns = [value.lower().removesuffix(".") for key, value in written if key == "mx"]
    age = fields.get("max_age", "")
    return Policy(
        version=fields.get("version", "") if fields.get("version") == "STSv1" else "",
        mode=fields.get("mode", "") if fields.get("mode") in MODES else "",
        max_age_s=int(age) if re.fullmatch(r"[0-9]{1,10}", age) and int(age) <= MAX_AGE_S else None,
        patterns=tuple(dict.fromkeys(pattern for pattern in patterns if is_pattern(pattern))),
        wrong_patterns=tuple(pattern for pattern in patterns if not is_pattern(pattern)),
        wrong_lines=tuple(wrong_lines),
        repeated=tuple(dict.fromkeys(repeated)),
        written=tuple(written),
    )


def is_pattern(text: str) -> bool:
    """Return whether this is a host name, or one with ``*.`` before it."""
    return is_host_name(text.removeprefix("*."))


def matches(pattern: str, host: str) -> bool:
    """Return whether a pattern covers a host: ``*.`` stands for exactly one label (section 4.1)."""
    host = host.lower()
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return host == pattern


def policy_text(mode: str, hosts: tuple[str, ...], max_age_s: int) -> str:
    """Return a policy to serve."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), f"max_age: {max_age_s}"]
    return "".join(line + "\r\n" for line in lines)


def policy_id(text: str) -> str:
    """Return an id for the record that changes exactly when the policy does (section 3.1: letters and digits)."""
    return sha256(text.encode()).hexdigest()[:16]
