"""What stands beside an SPF record, or in its place: texts that are almost SPF, obsolete kinds, wrong names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dns.finding import Severity
from ucrmmail.dns.spf_client import is_askable
from ucrmmail.dns.spf_codes import finding
from ucrmmail.dns.spf_record import is_spf
from ucrmmail.dns.spf_slips import near_miss

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver, Text
    from ucrmmail.dns.finding import Finding


def shown_text(text: Text) -> str:
    """Return a record as it is shown, with undecodable bytes written out."""
    return text.joined.decode("utf-8", "backslashreplace")


def beside(domain: str, answer: Answer, obsolete: Answer, *, alone: bool) -> list[Finding]:
    """Look at the records beside: almost SPF, Sender ID, and the obsolete type."""
    found = []
    for text in answer.texts:
        data = text.joined
        if is_spf(data):
            continue
        if data[:6].lower() == b"spf2.0":
            found.append(finding("spf-sender-id", domain, f"{shown_text(text)!r} is for Sender ID"))
            continue
        meant = near_miss(data)
        if meant is not None:
            what = f"{shown_text(text)!r} is not an SPF record"
            severity = Severity.FAIL if alone else Severity.WARN
            remedy = (
                f"Publish {meant}" if alone else "Remove it, and see that the record beside it says what was meant."
            )
            found.append(finding("spf-near-miss", domain, what, remedy=remedy, severity=severity))
    old = [text for text in obsolete.texts if is_spf(text.joined)]
    if old:
        same = any(text.joined == old[0].joined for text in answer.texts)
        other = "" if same else ", and it differs from the TXT record"
        found.append(finding("spf-type-99", domain, f"{shown_text(old[0])!r} is of type SPF{other}"))
    return found


async def elsewhere(domain: str, resolver: Resolver) -> list[Finding]:
    """Tell that there is no record, and look where records land by mistake."""
    names = [f"_spf.{domain}", f"spf.{domain}", f"{domain}.{domain}", f"_dmarc.{domain}", f"www.{domain}"]
    askable = [name for name in names if is_askable(name)]
    answers = await asyncio.gather(*(resolver.query(name, "TXT") for name in askable))
    found = [finding("spf-no-record", domain, f"no TXT record of {domain} begins with v=spf1")]
    for name, answer in zip(askable, answers, strict=True):
        record = next((text for text in answer.texts if is_spf(text.joined)), None)
        if record:
            found.append(finding("spf-wrong-name", name, f"{shown_text(record)!r} stands at {name}, not at {domain}"))
    return found
