"""A domain of an address as the DNS has it: mail may carry it in any script (RFC 6531), the DNS has A-labels."""

from __future__ import annotations


def a_label(domain: str) -> str:
    """Return an international domain in ASCII (RFC 8616 sections 4 and 6); what is none stays as it is."""
    if domain.isascii():
        return domain
    import idna  # noqa: PLC0415 # only for names outside ASCII

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return domain
