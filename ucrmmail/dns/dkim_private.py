"""Whether a private key is the one whose public key is published; nothing of it is ever shown.

Neither findings nor errors hold any of the file's bytes, nor what the library says of them.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from ucrmmail.dns.dkim_key import parse_key
from ucrmmail.dns.finding import Finding, Proposal, Severity
from ucrmmail.errors import DataError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ucrmmail.dns.dkim_key import DkimKey

_RFC = "RFC 6376 section 3.6.1"
# 16384 bits are 13 KB.
_LONGEST_FILE_BYTES = 65_536

CODES: dict[str, str] = {
    "dkim-private-matches": "The published key belongs to the private key: what is signed with it can be verified.",
    "dkim-private-differs": "The published key does not belong to the private key, so every signature is invalid."
    f" Publish the public key of the signer under its selector. {_RFC}.",
}


def match_private_key(pem: bytes, record: str) -> bool:
    """Return whether ``record``, the text of a key record, publishes the public key of ``pem``.

    Raises DataError when ``pem`` is no RSA or Ed25519 private key in PEM form without a passphrase.
    """
    published = parse_key(record)
    public = _public_key(pem)
    return bool(published.bits) and _is_published(public, published)


def judge_private_key(pem: bytes, name: str, record: str) -> Finding:
    """Return the finding of ``match_private_key``; ``name`` is where the record stands. Raises DataError like it."""
    if match_private_key(pem, record):
        what, code, severity = "the published key belongs to the private key", "dkim-private-matches", Severity.PASS
        return Finding("dkim", code, severity, name, what, CODES[code])
    return Finding(
        "dkim",
        "dkim-private-differs",
        Severity.FAIL,
        name,
        "the published key does not belong to the private key",
        "every signature made with it is invalid",
        f"publish its public key at {name}, or let the signer use the key that belongs to the record",
        _RFC,
    )


def record_for(pem: bytes) -> str:
    """Return the text of the record that publishes the public key of ``pem``. Raises DataError as above."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 # as below
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    public = _public_key(pem)
    if isinstance(public, RSAPublicKey):
        data, kind = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "rsa"
    else:
        data, kind = public.public_bytes_raw(), "ed25519"
    return f"v=DKIM1; k={kind}; p={b64encode(data).decode()}"


def propose_key(pem: bytes, name: str) -> Proposal:
    """Return the record to publish at a name that has none. Raises DataError as above."""
    return Proposal(name, "TXT", record_for(pem), "the public key that belongs to the private key")


def _public_key(pem: bytes) -> RSAPublicKey | Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 # 90 ms, only where a key is read
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    if len(pem) > _LONGEST_FILE_BYTES:
        raise _unreadable("the file is too large")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        # The one case in which the library asks for a passphrase.
        raise _unreadable("it is locked with a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        # Without the cause: its text may quote the file.
        raise _unreadable("it is no private key in PEM form") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise _unreadable("it is neither an RSA nor an Ed25519 key")
    return key.public_key()


def _is_published(public: RSAPublicKey | Ed25519PublicKey, published: DkimKey) -> bool:
    """Compare the numbers: the same key can be written as DER in more than one way."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 # as above
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    if not isinstance(public, RSAPublicKey):
        return published.algorithm == "ed25519" and published.data == public.public_bytes_raw()
    if published.algorithm != "rsa":
        return False
    other = load_der_public_key(published.data)
    return isinstance(other, RSAPublicKey) and other.public_numbers() == public.public_numbers()


def _unreadable(why: str) -> DataError:
    return DataError(
        "the private key cannot be read",
        why=why,
        remedy="give the signer's key file, which begins with -----BEGIN PRIVATE KEY----- or an RSA key's such line",
    )
