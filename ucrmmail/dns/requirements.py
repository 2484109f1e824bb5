"""What Gmail, Yahoo and Outlook.com ask of those who send to them, and which of it holds here.

Pure: from verdicts of the checks to the state of each rule. What cannot be seen from the DNS (the rate of complaints,
one-click unsubscribe) is listed as not known, so that nobody takes silence for a pass.
"""

from __future__ import annotations

from ucrmmail.dataclass import dataclass

# support.google.com/a/answer/81126 (Email sender guidelines); senders.yahooinc.com/best-practices; Microsoft's
# "Strengthening Email Ecosystem: Outlook's New Requirements for High-Volume Senders" (550 5.7.515 since 5 May 2025).
_BULK = "5,000 messages a day and more"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks found; None is not known."""

    spf: bool | None = None
    dkim: bool | None = None
    dmarc: bool | None = None
    aligned: bool | None = None
    reverse_dns: bool | None = None
    tls: bool | None = None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule of one receiver: ``state`` is True when it holds, None when that is not known."""

    receiver: str
    senders: str
    rule: str
    state: bool | None


def requirements(facts: Facts) -> tuple[Requirement, ...]:
    """Return every rule with its state."""
    one = _either(facts.spf, facts.dkim)
    both = _both(facts.spf, facts.dkim)
    rules: tuple[tuple[str, str, str, bool | None], ...] = (
        ("Gmail", "all", "SPF or DKIM passes", one),
        ("Gmail", "all", "sending addresses have a name that leads back to them", facts.reverse_dns),
        ("Gmail", "all", "mail is sent with TLS", facts.tls),
        ("Gmail", _BULK, "SPF and DKIM pass", both),
        ("Gmail", _BULK, "a DMARC policy, p=none at least", facts.dmarc),
        ("Gmail", _BULK, "From aligns with SPF or DKIM", facts.aligned),
        ("Gmail", _BULK, "marketing mail can be unsubscribed with one click (RFC 8058)", None),
        ("Gmail", "all", "fewer than 0.3 % of the messages are reported as spam", None),
        ("Yahoo", _BULK, "SPF and DKIM pass", both),
        ("Yahoo", _BULK, "a DMARC policy that passes", _both(facts.dmarc, facts.aligned)),
        ("Yahoo", "all", "sending addresses have a name that leads back to them", facts.reverse_dns),
        ("Outlook.com", _BULK, "SPF and DKIM pass", both),
        ("Outlook.com", _BULK, "a DMARC policy, and From aligns", _both(facts.dmarc, facts.aligned)),
    )
    return tuple(Requirement(*rule) for rule in rules)


def _either(first: bool | None, second: bool | None) -> bool | None:
    if first or second:
        return True
    return None if first is None or second is None else False


def _both(first: bool | None, second: bool | None) -> bool | None:
    if first is False or second is False:
        return False
    return None if first is None or second is None else True
