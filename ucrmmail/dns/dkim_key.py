"""A DKIM key record, parsed strictly and judged (RFC 6376 section 3.6.1, RFC 8301, RFC 8463).

    v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A...

Receivers forgive little: a key that is cut off, quoted twice or of the wrong kind makes every signature invalid. The
key itself is read as a SubjectPublicKeyInfo and nothing else, as receivers do.
"""

from __future__ import annotations

import base64
import binascii
import re

from ucrmmail.dataclass import dataclass, field
from ucrmmail.dns.finding import Mark, Severity

LEAST_BITS = 1024
ADVISED_BITS = 2048
# NIST SP 800-56B and every current tool; a smaller one makes forged padding easy (CVE-2006-4339 and its like).
_ADVISED_EXPONENT = 65537
_ED25519_BYTES = 32
_MOST_TAGS = 50
# A TXT record holds strings of at most 255 bytes: where a panel cut off the rest, the one string has exactly that.
_LONGEST_STRING = 255
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/=\s]")
_BLANKS = " \t\r\n"
# Quotation marks and backslashes are noted for themselves.
_EDGES = _BLANKS + '"\\'
_WORKING_ALGORITHMS = ("rsa", "ed25519")


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """Something wrong with the record, or worth knowing; ``code`` is one of ``dkim_check.CODES``."""

    code: str
    severity: Severity
    what: str
    remedy: str = ""
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key record. ``bits`` is 0 when the key cannot be read; ``problems`` are in the order of the record."""

    text: str
    algorithm: str = "rsa"
    bits: int = 0
    revoked: bool = False
    testing: bool = False
    data: bytes = field(default=b"", repr=False)
    problems: tuple[KeyProblem, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether a signature can be verified with it."""
        return bool(self.bits) and not any(problem.severity is Severity.FAIL for problem in self.problems)


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    value: str
    start: int
    end: int


class _Notes:
    """Gathers what is wrong with one record."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.problems: list[KeyProblem] = []

    def add(self, tag: _Tag, code: str, what: str, remedy: str, severity: Severity = Severity.FAIL) -> None:
        """Note a problem of one tag."""
        self.problems.append(KeyProblem(code, severity, what, remedy, Mark(self._text, tag.start, tag.end)))

    def add_span(self, start: int, end: int, code: str, what: str, remedy: str) -> None:
        """Note a problem of one place."""
        self.problems.append(KeyProblem(code, Severity.FAIL, what, remedy, Mark(self._text, start, end)))


def looks_like_key(text: str) -> bool:
    """Return whether a TXT record is meant as a DKIM key, well written or not."""
    return re.match(r'[\s"]*(?:v\s*=\s*DKIM|k\s*=|p\s*=)', text, re.IGNORECASE) is not None


def parse_key(text: str, longest_string: int = 0) -> DkimKey:
    """Return a key record and what is wrong with it; any text is parsed.

    ``longest_string`` is the size in bytes of its longest character-string, which shows where a panel cut it off.
    """
    notes = _Notes(text)
    tags = _tags(text, notes)
    _judge_writing(text, notes)
    version = tags.get("v")
    if version is not None and (version.value != "DKIM1" or version.start != _first(tags)):
        notes.add(version, "dkim-version", "v is not DKIM1, or not the first tag", "write v=DKIM1; first")
    algorithm = tags["k"].value.lower() if "k" in tags else "rsa"
    if algorithm not in _WORKING_ALGORITHMS:
        what = f"k={algorithm} is no algorithm of DKIM"
        notes.add(tags["k"], "dkim-algorithm", what, "use k=rsa, or k=ed25519 beside an RSA key")
    testing = _judge_flags(tags, notes)
    key = tags.get("p")
    if key is None:
        notes.add_span(0, len(text), "dkim-no-key", "there is no p tag", "publish the public key as p=...")
        return DkimKey(text, algorithm, testing=testing, problems=tuple(notes.problems))
    if not key.value.strip():
        what = "the key is revoked: p is empty"
        notes.add(key, "dkim-revoked", what, "sign with another selector", Severity.WARN)
        return DkimKey(text, algorithm, revoked=True, testing=testing, problems=tuple(notes.problems))
    data = _decoded(key, longest_string, notes)
    bits = _bits(text, key, algorithm, data, notes) if data else 0
    return DkimKey(text, algorithm, bits, testing=testing, data=data, problems=tuple(notes.problems))


def _tags(text: str, notes: _Notes) -> dict[str, _Tag]:
    """Return the tags by name, of several with one name the first; note the first that makes the list invalid."""
    found: dict[str, _Tag] = {}
    is_valid = True
    start = 0
    for part in text.split(";")[:_MOST_TAGS]:
        name, equals, value = part.partition("=")
        lead = len(part) - len(part.lstrip(_BLANKS))
        size = len(part.strip(_BLANKS))
        tag = _Tag(name.strip(_EDGES), value.strip(_EDGES), start + lead, start + lead + size)
        if equals and tag.name not in found:
            found[tag.name] = tag
        elif is_valid and equals:
            is_valid = False
            what = f"{tag.name}= stands there twice, which makes the whole record invalid"
            notes.add(tag, "dkim-tag-list", what, "write each tag once")
        elif is_valid and tag.name:
            is_valid = False
            what = f"{tag.name[:40]!r} is no tag, which makes the whole record invalid"
            notes.add(tag, "dkim-tag-list", what, "write every tag as name=value, with semicolons between")
        start += len(part) + 1
    return found


def _first(tags: dict[str, _Tag]) -> int:
    return min(tag.start for tag in tags.values())


def _judge_writing(text: str, notes: _Notes) -> None:
    """Add what panels and zone files do to a record."""
    if '"' in text:
        at = text.index('"')
        what = "quotation marks are part of the record"
        remedy = "paste the text without quotation marks: the panel adds its own"
        notes.add_span(at, at + 1, "dkim-quotes", what, remedy)
    if "\\;" in text:
        at = text.index("\\;")
        what = "a semicolon is escaped with a backslash, which is part of the record now"
        remedy = "write ; alone: the panel is no zone file"
        notes.add_span(at, at + 2, "dkim-escaped-semicolon", what, remedy)


def _judge_flags(tags: dict[str, _Tag], notes: _Notes) -> bool:
    """Add what h, s, t and g mean; return whether the key is only being tested."""
    hashes = [word.strip().lower() for word in tags["h"].value.split(":")] if "h" in tags else []
    if hashes and "sha256" not in hashes:
        what = f"h={tags['h'].value}: without sha256 no signature is accepted (RFC 8301)"
        notes.add(tags["h"], "dkim-hash", what, "take h out, or write h=sha256")
    services = [word.strip().lower() for word in tags["s"].value.split(":")] if "s" in tags else []
    if services and not {"*", "email"} & set(services):
        what = f"s={tags['s'].value}: the key is not for mail"
        notes.add(tags["s"], "dkim-service", what, "take s out, or write s=email")
    flags = [word.strip().lower() for word in tags["t"].value.split(":")] if "t" in tags else []
    if "y" in flags:
        what = "t=y: the domain says that it only tests DKIM, so receivers may ignore the signature"
        notes.add(tags["t"], "dkim-testing", what, "take t=y out", Severity.WARN)
    if "s" in flags:
        what = "t=s: the signing identity (i=) must be in the domain itself, not in a subdomain"
        notes.add(tags["t"], "dkim-strict", what, "", Severity.INFO)
    if "g" in tags:
        what = "g is a tag of a predecessor, and ignored"
        notes.add(tags["g"], "dkim-obsolete-tag", what, "take g out", Severity.INFO)
    return "y" in flags


def _decoded(key: _Tag, longest_string: int, notes: _Notes) -> bytes:
    """Return the key's bytes; b"" when they cannot be read."""
    for words, code, what in (
        ("PRIVATE KEY", "dkim-private-key", "a private key is published: whoever reads it can sign as the domain"),
        ("BEGIN CERTIFICATE", "dkim-not-a-key", "this is a certificate, not a key"),
    ):
        if words in key.value:
            notes.add(key, code, what, "make a new key pair, and publish the public key alone")
            return b""
    value = re.sub(r"-----[A-Z ]+-----", "", key.value)
    if value != key.value:
        what = "the lines BEGIN and END of a file are part of the key"
        notes.add(key, "dkim-base64", what, "paste only what stands between these lines")
    squeezed = "".join(value.split())
    wrong = _NO_BASE64.search(squeezed)
    try:
        return base64.b64decode(squeezed, validate=True)
    except (binascii.Error, ValueError):
        if longest_string == _LONGEST_STRING and wrong is None:
            _add_truncated(key, notes)
        else:
            reason = f"{wrong[0]!r} is no base64" if wrong else "its length is that of no base64"
            notes.add(key, "dkim-base64", f"the key cannot be read: {reason}", "publish the key again")
        return b""


def _add_truncated(key: _Tag, notes: _Notes) -> None:
    what = "the key is cut off after 255 characters"
    remedy = "publish it as two strings in one record, or with a panel that takes long records"
    notes.add(key, "dkim-truncated", what, remedy)


def _bits(text: str, key: _Tag, algorithm: str, data: bytes, notes: _Notes) -> int:
    if algorithm == "ed25519":
        if len(data) == _ED25519_BYTES:
            return 256
        what = f"an Ed25519 key has 32 bytes, this one has {len(data)}"
        notes.add(key, "dkim-not-a-key", what, "publish the raw public key (RFC 8463 section 4)")
        return 0
    if algorithm != "rsa":
        return 0
    return _rsa_bits(text, key, data, notes)


def _rsa_bits(text: str, key: _Tag, data: bytes, notes: _Notes) -> int:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 # 90 ms, only where a key is read
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        public = load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        if _is_private(data):
            what = "a private key is published: whoever reads it can sign as the domain"
            notes.add(key, "dkim-private-key", what, "make a new key pair, and publish its public key alone")
        elif len(text) <= _LONGEST_STRING and _announced_bytes(data) > len(data):
            _add_truncated(key, notes)
        else:
            what = "this is no public key (SubjectPublicKeyInfo)"
            notes.add(key, "dkim-not-a-key", what, "publish what `openssl pkey -pubout` prints")
        return 0
    if not isinstance(public, RSAPublicKey):
        what = "this is no RSA key, and k says rsa"
        notes.add(key, "dkim-not-a-key", what, "publish an RSA key of 2048 bits")
        return 0
    if not _is_spki(data):
        what = "this is a bare RSA key (PKCS#1), which many receivers cannot read"
        notes.add(key, "dkim-not-a-key", what, "publish what `openssl pkey -pubout` prints")
        return 0
    bits = public.key_size
    if (exponent := public.public_numbers().e) < _ADVISED_EXPONENT:
        what = f"the public exponent is {exponent}; signatures can be forged where they are verified carelessly"
        notes.add(key, "dkim-exponent", what, "make a key with the exponent 65537", Severity.WARN)
    if bits < LEAST_BITS:
        what = f"the key has {bits} bits; receivers refuse less than 1024 (RFC 8301)"
        notes.add(key, "dkim-short-key", what, "make one of 2048 bits")
    elif bits < ADVISED_BITS:
        what = f"the key has {bits} bits; 2048 are advised (RFC 8301)"
        notes.add(key, "dkim-weak-key", what, "make one of 2048 bits, under a new selector", Severity.WARN)
    return bits


def _is_spki(data: bytes) -> bool:
    """Return whether DER is a SubjectPublicKeyInfo: a sequence that begins with a sequence, not with a number."""
    return len(data) > 6 and data[0] == 0x30 and data[_header_bytes(data)] == 0x30  # SEQUENCE


def _header_bytes(data: bytes) -> int:
    return 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)


def _announced_bytes(data: bytes) -> int:
    """Return how long DER says that it is; 0 when it does not say."""
    if len(data) < 4 or data[0] != 0x30 or not data[1] & 0x80:  # SEQUENCE, long form
        return 0
    count = data[1] & 0x7F
    return 2 + count + int.from_bytes(data[2 : 2 + count])


def _is_private(data: bytes) -> bool:
    from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415

    try:
        load_der_private_key(data, password=None)
    except (ValueError, TypeError):
        return False
    return True
