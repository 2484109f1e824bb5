"""Whether TLSA records fit the certificate that a server presents (RFC 6698 section 2.1, RFC 7671 section 5)."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.answer import Tlsa
    from ucrmmail.dns.presented import Presented

_OWN = 3
_AUTHORITY = 2


def fits(records: Sequence[Tlsa], presented: Presented) -> bool | None:
    """Return whether any usable record fits; None when that cannot be said for want of the authority's certificate.

    A record with usage 3 is about the server's own certificate, one with usage 2 about one of those that it sends.
    """
    for record in records:
        certificates = presented.chain if record.usage == _AUTHORITY else presented.chain[:1]
        if any(_data(certificate, record) == record.data for certificate in certificates):
            return True
    judged = all(record.usage == _OWN for record in records) or presented.is_whole
    return False if judged else None


def _data(certificate: bytes, record: Tlsa) -> bytes | None:
    """Return what the record would hold for this certificate, or None for a certificate that cannot be read."""
    chosen: bytes | None = certificate if record.selector == 0 else _public_key(certificate)
    if chosen is None:
        return None
    match record.matching_type:
        case 1:
            return hashlib.sha256(chosen).digest()
        case 2:
            return hashlib.sha512(chosen).digest()
    return chosen


def _public_key(certificate: bytes) -> bytes | None:
    """Return the SubjectPublicKeyInfo of a certificate in DER, or None when it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 # heavy, only where there are records to compare
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    try:
        # What its parser warns of is for those who make certificates.
        with warnings.catch_warnings(action="ignore"):
            key = x509.load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None
