"""Submissions for tests: ``prepare`` with everything that a test does not care about filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.prepare import Addresses, Prepared, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.arrival import Arrived

NOW = 1795431959.0
UNIQUE = "0123456789abcdef01234567"
NOTHING_CONFIGURED = Addresses()


def submit(
    raw: bytes | str | Arrived,
    *,
    reverse_path: str | None = "billing@isp.example",
    recipients: Sequence[str] = ("joe@example.com",),
    extract_recipients: bool = False,
    addresses: Addresses = NOTHING_CONFIGURED,
    priority: str | None = None,
    now: float = NOW,
    hostname: str = "web-1",
    unique: str = UNIQUE,
    max_size: int = 1_000_000_000,
    full_name: str = "",
) -> Prepared:
    """Prepare a message; text is encoded as UTF-8."""
    return prepare(
        raw.encode() if isinstance(raw, str) else raw,
        reverse_path=reverse_path,
        recipients=recipients,
        extract_recipients=extract_recipients,
        addresses=addresses,
        priority=priority,
        now=now,
        hostname=hostname,
        unique=unique,
        max_size=max_size,
        full_name=full_name,
    )


def again(prepared: Prepared, addresses: Addresses = NOTHING_CONFIGURED) -> Prepared:
    """Prepare once more what was prepared, an hour later and elsewhere."""
    return submit(
        prepared.message,
        reverse_path=prepared.reverse_path,
        recipients=prepared.recipients,
        addresses=addresses,
        now=NOW + 3600,
        hostname="elsewhere",
        unique="other",
    )
