"""What a server's certificate says, for words that a person can act on: until when, for which names, from whom.

Python's ssl tells nothing about a certificate that it does not trust, and that is the one people ask about. The
parser costs 90 ms to load: ``tls`` imports this module only then.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    import datetime as dt

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Certificate:
    """The parts of an X.509 certificate that are told; names are foreign text."""

    names: tuple[str, ...]
    subject: str
    issuer: str
    not_before: dt.datetime
    not_after: dt.datetime

    @property
    def told_names(self) -> str:
        """Its names, a few at the most: some certificates have hundreds."""
        names = self.names or (self.subject,)
        more = len(names) - _MOST_NAMES
        return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")

    def days_left(self, now: float) -> int:
        """Return the whole days until it ends, ``now`` in seconds since 1970; negative when it has ended."""
        return int((self.not_after.timestamp() - now) // 86400)


def read_certificate(der: bytes) -> Certificate | None:
    """Return what a certificate says (DER, RFC 5280); None when it cannot be read."""
    try:
        # What its parser warns of (a serial number below zero) is for those who make certificates, not for our stderr.
        with warnings.catch_warnings(action="ignore"):
            certificate = x509.load_der_x509_certificate(der)
        return Certificate(
            names=_names_of(certificate),
            subject=_told(certificate.subject),
            issuer=_told(certificate.issuer),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _told(name: x509.Name) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return str(attribute.value)
    return name.rfc4514_string()
