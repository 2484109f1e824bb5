"""A DMARC policy record, parsed (RFC 9989 section 4.7).

    v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@isp.example

The version decides whether a TXT record is a DMARC record at all; everything behind it is read with patience, as
receivers do: unknown tags are ignored, and a value that is wrong falls back to the default of its tag. What was ignored
is kept, for the audit to tell.
"""

from __future__ import annotations

import re

from ucrmmail.dataclass import dataclass

POLICIES = ("none", "quarantine", "reject")
# RFC 9989 appendix A.6: pct, rf and ri are gone; receivers ignore them.
REMOVED = frozenset({"pct", "rf", "ri"})
KNOWN = frozenset({"v", "p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf"})
_WORDS = {
    "p": POLICIES,
    "sp": POLICIES,
    "np": POLICIES,
    "adkim": ("r", "s"),
    "aspf": ("r", "s"),
    "psd": ("y", "n", "u"),
    "t": ("y", "n"),
}
_DEFAULTS = {"adkim": "r", "aspf": "r", "psd": "u", "t": "n"}
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_FAILURE_OPTIONS = frozenset({"0", "1", "d", "s"})
# More tags than anybody needs; what stands behind them is not read.
_MOST_TAGS = 100
_MOST_URIS = 50
_ADDRESS = re.compile(r"[^@,!\x00-\x20\x7f]+@[^@,!\x00-\x20\x7f]+\.[^@,!\x00-\x20\x7f]+\Z")


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag as published; ``start`` and ``end`` are where it stands in the record."""

    name: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ReportUri:
    """One destination of reports. ``address`` is "" unless it is a valid ``mailto:``; ``size`` is an obsolete limit."""

    text: str
    scheme: str
    address: str
    size: str

    @property
    def domain(self) -> str:
        """The domain of the mailbox, in lower case; "" when there is none."""
        return self.address.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A record whose version is right: its text and its tags, in order."""

    text: str
    tags: tuple[Tag, ...]

    def tag(self, name: str) -> Tag | None:
        """Return the first tag of this name, None when it is not there."""
        return next((tag for tag in self.tags if tag.name == name), None)

    def word(self, name: str) -> str:
        """Return the value of p, sp, np, adkim, aspf, psd or t; the default ("" for a policy) when absent or wrong."""
        tag = self.tag(name)
        value = tag.value.lower() if tag is not None else ""
        return value if value in _WORDS[name] else _DEFAULTS.get(name, "")

    def uris(self, name: str) -> tuple[ReportUri, ...]:
        """Return the destinations of ``rua`` or ``ruf``."""
        tag = self.tag(name)
        if tag is None:
            return ()
        return tuple(parse_uri(part.strip()) for part in tag.value.split(",")[:_MOST_URIS] if part.strip())

    def is_wrong(self, tag: Tag) -> bool:
        """Return whether a known tag has a value that receivers ignore."""
        if tag.name in _WORDS:
            return tag.value.lower() not in _WORDS[tag.name]
        if tag.name == "fo":
            return not {option.strip() for option in tag.value.lower().split(":")} <= _FAILURE_OPTIONS
        return False

    @property
    def is_usable(self) -> bool:
        """Whether receivers apply it at all.

        With a policy that is missing or wrong they do only if somebody wants reports, and then as ``p=none`` (RFC 9989
        section 4.10.1).
        """
        return self._policies_are_right or any(uri.address for uri in self.uris("rua"))

    @property
    def _policies_are_right(self) -> bool:
        wrong = any(tag.name in ("p", "sp", "np") and self.is_wrong(tag) for tag in self.tags)
        return bool(self.word("p")) and not wrong

    def policy_for(self, *, subdomain: bool, exists: bool) -> str:
        """Return the policy before ``t``: for the domain of the record itself, or a subdomain that exists or not."""
        if not self._policies_are_right:
            return "none"
        policy = self.word("p")
        if subdomain:
            policy = self.word("sp") or policy
            if not exists:
                policy = self.word("np") or policy
        return policy

    def applied(self, policy: str) -> str:
        """Return what receivers do: with ``t=y`` one level less than the policy."""
        return POLICIES[max(0, POLICIES.index(policy) - 1)] if self.word("t") == "y" else policy


def is_dmarc(text: str) -> bool:
    """Return whether a TXT record is a DMARC record: the version first, and exactly so (section 4.7)."""
    return _VERSION.match(text) is not None


def parse_record(text: str) -> DmarcRecord:
    """Return the tags of a record for which ``is_dmarc`` holds."""
    tags = []
    start = 0
    for part in text.split(";")[:_MOST_TAGS]:
        name, equals, value = part.partition("=")
        if part.strip(" \t"):
            lead = len(part) - len(part.lstrip(" \t"))
            end = start + len(part.rstrip(" \t"))
            tags.append(Tag(name.strip(" \t").lower() if equals else "", value.strip(" \t"), start + lead, end))
        start += len(part) + 1
    return DmarcRecord(text, tuple(tags))


def parse_uri(text: str) -> ReportUri:
    """Return a destination of reports (section 4.8): ``mailto:dmarc@isp.example``, of old with a size, ``!10m``."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower() if colon else ""
    size = ""
    if scheme == "mailto":
        rest, _, size = rest.partition("!")
        rest = rest.partition("?")[0]
    address = rest if scheme == "mailto" and _ADDRESS.match(rest) else ""
    return ReportUri(text, scheme, address, size)
