"""ucrmmail-findings(7): every code that ``check-dns`` gives, from the tables that ``--explain`` reads."""

from __future__ import annotations

from itertools import groupby

from tools.docs.mdoc import argument, paragraph
from tools.docs.page import page
from ucrmmail.dns.codes import CODES

_TITLES = {
    "spf": "SPF",
    "dkim": "DKIM",
    "dmarc": "DMARC",
    "align": "Alignment",
    "mx": "Mail exchanges",
    "ptr": "Names of sending addresses",
    "helo": "The HELO name",
    "mta-sts": "MTA-STS",
    "tlsrpt": "TLS reports",
    "dane": "DANE",
    "bimi": "BIMI",
    "blocklist": "Blocklists",
    "domain": "The domain",
}


def findings_page() -> str:
    """Return the page."""
    lines = []
    for title, group in groupby(in_order(), key=check_title):
        lines += [f".Ss {title}", ".Bl -tag -width Ds"]
        for code in group:
            lines += [f".It {argument(code)}", *paragraph(CODES[code])]
        lines.append(".El")
    told = "What a finding of `ucrmmail check-dns` means; `ucrmmail check-dns --explain CODE` prints the same."
    sections = {"DESCRIPTION": paragraph(told), "FINDINGS": lines}
    return page("ucrmmail-findings", 7, "what check-dns finds, and what to do", sections)


def in_order() -> list[str]:
    """Return the codes in the order of the page: by check, then by name."""
    return sorted(CODES, key=_place)


def check_title(code: str) -> str:
    """Return the title that a code stands under."""
    return _TITLES[_check(code)]


def _check(code: str) -> str:
    return next(name for name in _TITLES if code.startswith(f"{name}-"))


def _place(code: str) -> tuple[int, str]:
    return list(_TITLES).index(_check(code)), code
