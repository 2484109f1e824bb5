"""What the checks beside SPF, DKIM and DMARC share: the wording of a finding, records of ``tag=value``, host names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.finding import Finding, Mark, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.dns.answer import Answer, Resolver

# Shown of what a stranger published.
LONGEST_SHOWN = 300
# Tags read of a record: more than any standard has, and a bound for a hostile one.
_MOST_TAGS = 50
_SOURCE = re.compile(r" (RFC \d+(?: (?:section|appendix) [\dA-Z.]+)?)\.$")
_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Voice:
    """Words the findings of one check: the reason is what its code is explained with, which ends in the RFC."""

    check: str
    codes: Mapping[str, str]

    def __call__(
        self, code: str, severity: Severity, subject: str, what: str, *, remedy: str = "", mark: Mark | None = None
    ) -> Finding:
        """Return a finding; ``code`` is one of ``codes``."""
        explanation = self.codes[code]
        source = _SOURCE.search(explanation)
        why = explanation[: source.start()] if source else explanation
        rfc = source[1] if source else ""
        return Finding(self.check, code, severity, subject, what, why=why, remedy=remedy, rfc=rfc, mark=mark)

    def unanswered(self, code: str, answer: Answer) -> Finding:
        """Return the finding for a question that was not answered: nothing is known, least of all "no record"."""
        detail = f" ({answer.detail[:LONGEST_SHOWN]})" if answer.detail else ""
        what = f"the DNS did not answer for {answer.name} {answer.rdtype}: {answer.status}{detail}"
        return self(code, Severity.ERROR, answer.name, what, remedy="run the check again later")


@dataclass(frozen=True, slots=True)
class TagValue:
    """One ``name=value`` of a record; ``start`` and ``end`` are where it stands. A part without = has no name."""

    name: str
    value: str
    start: int
    end: int


def tag_values(text: str) -> tuple[TagValue, ...]:
    """Return the parts of a record between semicolons, names in lower case; empty parts are left out.

    Only so many as a record can need are read.
    """
    tags = []
    for part in re.finditer(r"[^;]+", text):
        if not (body := part[0].strip()):
            continue
        name, equals, value = body.partition("=")
        start = part.start() + part[0].index(body)
        shown = (name.strip().lower(), value.strip()) if equals else ("", body)
        tags.append(TagValue(*shown, start, start + len(body)))
        if len(tags) == _MOST_TAGS:
            break
    return tuple(tags)


def mark_of_version(text: str) -> Mark:
    """Return where the version stands, or should, in a record that is not empty: all before the first semicolon."""
    return Mark(text, 0, max(1, len(text.partition(";")[0])))


def shown_texts(answer: Answer) -> tuple[str, ...]:
    """Return the TXT records of an answer as text; bytes that are none are written as escapes."""
    return tuple(text.joined.decode("utf-8", "backslashreplace") for text in answer.texts)


def is_host_name(name: str) -> bool:
    """Return True for a host name of at least two labels (RFC 1123 section 2.1), without a final dot."""
    labels = name.split(".")
    return (
        len(name) <= 253
        and len(labels) > 1
        and all(len(label) <= 63 and _HOST_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )


async def validates(resolver: Resolver) -> bool:
    """Return whether the nameserver asked validates DNSSEC: the root is signed, so it says so of the root."""
    return (await resolver.query(".", "SOA")).authenticated
