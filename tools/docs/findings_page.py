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
    for title, group in groupby(sorted(CODES, key=_place), key=lambda code: _TITLES[_check(code)]):
        lines += [f".Ss {title}", ".Bl -tag -width Ds"]
        for code in group:
            lines += [f".It {argument(code)}", *paragraph(CODES[code])]
        lines.append(".El")
    told = "What a finding of `ucrmmail check-dns` means; `ucrmmail check-dns --explain CODE` prints the same."
    sections = {"DESCRIPTION": paragraph(told), "FINDINGS": lines}
    return page("ucrmmail-findings", 7, "what check-dns finds, and what to do", sections)


def _check(code: str) -> str:
    return next(name for name in _TITLES if code.startswith(f"{name}-"))


def _place(code: str) -> tuple[int, str]:
    return list(_TITLES).index(_check(code)), code
