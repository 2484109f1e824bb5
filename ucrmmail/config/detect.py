"""Which provider handles the mail of an address: by the domain itself, or by the exchanges in its MX records.

Where a provider receives mail for a domain it mostly sends for it too. It is a proposal, made to a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Detected:
    """A provider: the name of its preset, and the host where that depends on the region ("": the preset's)."""

    transport: str
    host: str = ""


# The domains of providers that everyone can have an address in: no DNS is needed for them.
_DOMAINS = {
    "gmail.com": "gmail",
    "googlemail.com": "gmail",
    "outlook.com": "outlook",
    "hotmail.com": "outlook",
    "live.com": "outlook",
    "msn.com": "outlook",
    "yahoo.com": "yahoo",
    "ymail.com": "yahoo",
    "icloud.com": "icloud",
    "me.com": "icloud",
    "mac.com": "icloud",
    "fastmail.com": "fastmail",
    "fastmail.fm": "fastmail",
    "zohomail.com": "zoho",
}
# The end of an exchange's name; the first that fits decides.
_EXCHANGES = (
    # support.google.com/a/answer/174125 (smtp.google.com; aspmx.l.google.com before 2023)
    (".google.com", "gmail"),
    (".googlemail.com", "gmail"),
    # Consumers' mail has exchanges of its own below the same name as that of companies.
    (".olc.protection.outlook.com", "outlook"),
    # learn.microsoft.com: mail.protection.outlook.com, since 2024 mx.microsoft for new domains
    (".mail.protection.outlook.com", "microsoft365"),
    (".mx.microsoft", "microsoft365"),
    (".yahoodns.net", "yahoo"),
    (".mail.icloud.com", "icloud"),
    (".messagingengine.com", "fastmail"),
)
# zoho.com/mail/help/adminconsole: each region has exchanges and servers of its own.
_ZOHO_REGIONS = ("com", "eu", "in", "com.au", "jp", "sa", "com.cn")


def by_domain(domain: str) -> Detected | None:
    """Return the provider whose own domain this is."""
    name = _DOMAINS.get(domain)
    return Detected(name) if name is not None else None


def by_exchanges(exchanges: Sequence[str]) -> Detected | None:
    """Return the provider that receives at the first of these hosts that is known; None when none is."""
    for exchange in exchanges:
        # A dot in front, so that the name itself fits as those below it do.
        name = "." + exchange.lower().rstrip(".")
        for end, transport in _EXCHANGES:
            if name.endswith(end):
                return Detected(transport)
        for region in _ZOHO_REGIONS:
            if name.endswith(f".zoho.{region}"):
                return Detected("zoho", f"smtppro.zoho.{region}")
    return None
