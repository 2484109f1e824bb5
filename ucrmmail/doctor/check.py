"""One check and its verdict, told so that an administrator can act on it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Verdict(StrEnum):
    """How a check ended; UNKNOWN: nothing honest can be said here; SKIPPED: there was nothing to check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


CHECKS = {
    "config": "the configuration file",
    "secret": "the secret, as it is found here",
    "cron-secret": "the secret, as cron would find it",
    "connection": "the way to the smarthost, up to TLS",
    "login": "the login",
    "sender": "whether mail from the sender would be taken",
    "dns": "SPF, DKIM and DMARC of the account's domains",
    "spool": "whose the queue is, and where",
    "space": "room on the disk",
    "queue": "the age of the oldest message",
    "limits": "limits that are used up",
    "failed": "what failed, was damaged or rejected",
    "account": "what the last flush learnt of the account",
    "schedule": "the cron entry or timer that runs the flush",
    "flush": "when the flush last ran",
    "clock": "the clock of this machine",
    "python": "the version of Python",
    "tls": "the TLS library and whom it trusts",
}
"""The names of all checks and what they look at, in the order in which they are shown: causes come first."""


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
