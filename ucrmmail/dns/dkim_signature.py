"""A DKIM-Signature field, parsed strictly (RFC 6376 section 3.5); whether it is valid ``dkim_message`` says.

DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.com; s=mail;
 h=from:to:subject:date; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=dzdVyOfAKCdLXdJOc9G2q8LoXSlE...
"""

from __future__ import annotations

import base64
import binascii
import re

from ucrmmail.dataclass import dataclass, field

# The longest that are seen have 3 KB, with a list of every field that must not be added.
LONGEST_FIELD_BYTES = 8192
_MANDATORY = ("v", "a", "b", "bh", "d", "h", "s")
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_DIGITS = re.compile(r"[0-9]{1,76}")
_CANONICALIZATIONS = ("simple", "relaxed")
_BLANKS = " \t\r\n"


class SignatureError(ValueError):
    """The field cannot be read; the text says why. Raised and caught within ``dns``."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A field's tags: ``signed`` is h=, in lower case; the times are seconds since the epoch, None where not given.

    ``blanked`` is the field without the value of b=, as it takes part in the hash (section 3.7).
    """

    domain: str
    selector: str
    algorithm: str
    canonicalization: str
    signed: tuple[str, ...]
    body_hash: bytes
    value: bytes = field(repr=False)
    identity_domain: str
    signed_at: int | None
    expires_at: int | None
    length_bytes: int | None
    blanked: bytes = field(repr=False)

    @property
    def key_name(self) -> str:
        """Where its key is published (section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def parse_signature(raw: bytes) -> Signature:
    """Return what a DKIM-Signature field says; ``raw`` is the field with its name.

    Raises SignatureError with the reason when a receiver could not evaluate it either.
    """
    if len(raw) > LONGEST_FIELD_BYTES:
        raise SignatureError(f"it has {len(raw)} bytes, more than any signature needs")
    value = raw.partition(b":")[2]
    try:
        tags = _tags(value.decode("ascii"))
    except UnicodeDecodeError:
        raise SignatureError("it holds bytes outside ASCII") from None
    missing = [name for name in _MANDATORY if name not in tags]
    if missing:
        raise SignatureError(f"there is no {missing[0]}=")
    if tags["v"] != "1":
        raise SignatureError(f"v={tags['v']}: the version must be 1")
    if "dns/txt" not in [method.strip(_BLANKS).lower() for method in tags.get("q", "dns/txt").split(":")]:
        raise SignatureError(f"q={tags['q']}: keys are asked for with dns/txt only")
    domain = _name(tags, "d").lower()
    signed_at, expires_at = _number(tags, "t"), _number(tags, "x")
    if signed_at is not None and expires_at is not None and expires_at <= signed_at:
        raise SignatureError(f"it expires (x={expires_at}) before it was made (t={signed_at})")
    return Signature(
        domain=domain,
        selector=_name(tags, "s"),
        algorithm=tags["a"].lower(),
        canonicalization=_canonicalization(tags.get("c", "simple/simple")),
        signed=_signed(tags["h"]),
        body_hash=_base64(tags, "bh"),
        value=_base64(tags, "b"),
        identity_domain=_identity_domain(tags.get("i", ""), domain),
        signed_at=signed_at,
        expires_at=expires_at,
        length_bytes=_number(tags, "l"),
        blanked=raw[: raw.index(b":") + 1] + _blanked(value),
    )


def _tags(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip(_BLANKS):
        parts.pop()
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip(_BLANKS)
        if not equals or not _TAG_NAME.fullmatch(name):
            raise SignatureError(f"{part.strip(_BLANKS)[:40]!r} is no tag")
        if name in found:
            raise SignatureError(f"{name}= stands there twice")
        found[name] = value.strip(_BLANKS)
    return found


def _blanked(value: bytes) -> bytes:
    """Return the value with b= emptied, white space around it included, and without the line end of the field."""
    parts = value.rstrip(b"\r\n").split(b";")
    names = [part.partition(b"=")[0] for part in parts]
    emptied = [
        name + b"=" if name.strip() == b"b" else part  # bh= has another name
        for name, part in zip(names, parts, strict=True)
    ]
    return b";".join(emptied)


def _name(tags: dict[str, str], tag: str) -> str:
    if not _NAME.fullmatch(tags[tag]):
        raise SignatureError(f"{tag}={tags[tag][:80]} is no name")
    return tags[tag]


def _number(tags: dict[str, str], tag: str) -> int | None:
    if tag not in tags:
        return None
    if not _DIGITS.fullmatch(tags[tag]):
        raise SignatureError(f"{tag}={tags[tag][:80]} is no number")
    return int(tags[tag])


def _base64(tags: dict[str, str], tag: str) -> bytes:
    try:
        return base64.b64decode("".join(tags[tag].split()), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError(f"{tag}= is no base64") from None


def _canonicalization(text: str) -> str:
    header, _, body = text.lower().partition("/")
    if header not in _CANONICALIZATIONS or (body or "simple") not in _CANONICALIZATIONS:
        raise SignatureError(f"c={text[:80]} is no canonicalization")
    return f"{header}/{body or 'simple'}"


def _signed(text: str) -> tuple[str, ...]:
    names = tuple(name.strip(_BLANKS).lower() for name in text.split(":"))
    for name in names:
        if not _FIELD_NAME.fullmatch(name):
            raise SignatureError(f"h= names {name[:40]!r}, which is no field")
    return names


def _identity_domain(identity: str, domain: str) -> str:
    """Return the domain of i=, which is that of d= or below it (section 3.5); without i= it is d= itself."""
    if not identity:
        return domain
    found = identity.rpartition("@")[2].lower()
    if "@" not in identity or (found != domain and not found.endswith("." + domain)):
        raise SignatureError(f"i={identity[:80]} is not within d={domain}")
    return found
