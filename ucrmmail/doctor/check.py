"""One check and its verdict, told so that an administrator can act on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Verdict(StrEnum):
    """How a check ended; UNKNOWN: nothing honest can be said here; SKIPPED: there was nothing to check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


CHECKS = (
    "config",
    "secret",
    "cron-secret",
    "connection",
    "login",
    "sender",
    "dns",
    "spool",
    "space",
    "queue",
    "failed",
    "account",
    "schedule",
    "flush",
    "clock",
    "python",
    "tls",
)
"""The names of all checks, in the order in which they are shown: what comes first is the cause of what comes later."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check that was made: its ``name`` in ``CHECKS``, and the ``subject`` where there are several of one name.

    ``detail`` is what was found, ``remedy`` what to do ("" when nothing is to be done); both may hold foreign text.
    ``facts`` is what a program may want to know.
    """

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    subject: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


def worst(checks: Iterable[Check]) -> Verdict:
    """Return fail, else warn, else ok: what is not known, or was not checked, is not held against the account."""
    verdicts = {check.verdict for check in checks}
    return next((verdict for verdict in (Verdict.FAIL, Verdict.WARN) if verdict in verdicts), Verdict.OK)


def skipped(names: Iterable[str], why: str) -> tuple[Check, ...]:
    """Return these checks as not made."""
    return tuple(Check(name, Verdict.SKIPPED, why) for name in names)
