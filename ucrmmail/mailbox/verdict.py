"""What the header of an arrived message proves: its way, and SPF, DKIM and DMARC in the words of the receiver.

Only the receiver's own Authentication-Results count (RFC 8601 section 5): a server on the sender's side may have
written some too. Which are the receiver's is told by their authserv-id, which must be related to the mailbox, and by
their place: they stand together, above the lines of the servers before.
"""

from __future__ import annotations

from email.utils import parseaddr
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.mailbox.authresults import read_auth_results
from ucrmmail.mailbox.trace import Hop, read_hop
from ucrmmail.message.header import split, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ucrmmail.mailbox.authresults import AuthResults, MethodResult

METHODS = ("spf", "dkim", "dmarc")
_DOMAIN_PROPERTIES = {
    "spf": ("smtp.mailfrom", "smtp.mail", "smtp.helo"),
    "dkim": ("header.d", "header.i"),
    "dmarc": ("header.from",),
}
_MOST_HOPS = 50
# Servers that leave the authserv-id out.
_NAMELESS = ("outlook.com", "office365.com", "hotmail.com", "live.com")
# Names below which organizations register theirs, beside those of one label.
_REGISTRIES = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one method, the domain it is about, and whether that aligns with the domain in From.

    ``aligned`` is None when it cannot be told from the names: two names below one organization.
    """

    method: str
    result: str
    domain: str
    aligned: bool | None

    @property
    def passes(self) -> bool:
        """Whether the receiver says pass."""
        return self.result == "pass"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the header says: the hops, the newest first, the receiver's id and its findings."""

    from_domain: str
    hops: tuple[Hop, ...]
    authserv_id: str
    findings: tuple[Finding, ...]

    @property
    def believed(self) -> bool:
        """Whether the receiver says pass for SPF, DKIM and DMARC (for one of several DKIM signatures)."""
        return all(self.passes(method) for method in METHODS)

    def passes(self, method: str) -> bool:
        """Return whether a method passes."""
        return any(finding.passes for finding in self.findings if finding.method == method)


def read_header(header: bytes, *, mailbox_names: Sequence[str]) -> Verdict:
    """Return what a header proves; ``mailbox_names`` are the IMAP host and the domain of the recipient."""
    fields, _body = split(header)
    values = [(name, value_of(field)) for name, field in fields]
    hops = tuple(read_hop(value) for name, value in values if name == "received")[:_MOST_HOPS]
    from_domain = next((_domain(value) for name, value in values if name == "from"), "")
    named = next((hop.by for hop in hops if "." in hop.by), "")
    results = list(_of_receiver(values, [*mailbox_names, named]))
    told = [result for one in results for result in one.results if result.method in METHODS]
    told.sort(key=lambda result: METHODS.index(result.method))
    findings = tuple(_finding(result, from_domain) for result in told)
    return Verdict(from_domain, hops, results[0].authserv_id if results else "", findings)


def _of_receiver(values: Sequence[tuple[str, str]], names: Sequence[str]) -> Iterator[AuthResults]:
    """Yield the fields that the receiver wrote: the first group of them, up to the next Received line."""
    first: AuthResults | None = None
    for name, value in values:
        if name == "received" and first is not None:
            return
        if name != "authentication-results":
            continue
        found = read_auth_results(value)
        if first is None and not _is_receiver(found.authserv_id, names):
            continue
        if first is None or found.authserv_id == first.authserv_id:
            first = first or found
            yield found


def _is_receiver(authserv_id: str, names: Sequence[str]) -> bool:
    if not authserv_id:
        return any(_related(name, service) for name in names for service in _NAMELESS)
    return any(_related(authserv_id, name) for name in names)


def _related(one: str, other: str) -> bool:
    """Return whether two host names seem to be of one organization: their last labels are the same.

    A guess without the public suffix list: it decides only which of the receiver's own words are read.
    """
    theirs, ours = (name.lower().rstrip(".").split(".") for name in (one, other))
    needed = 3 if len(ours) > 2 and ours[-2] in _REGISTRIES and len(ours[-1]) == 2 else 2
    return min(len(theirs), len(ours)) >= needed and theirs[-needed:] == ours[-needed:]


def _finding(result: MethodResult, from_domain: str) -> Finding:
    values = (result.properties.get(name, "") for name in _DOMAIN_PROPERTIES[result.method])
    domain = next((_domain(value) for value in values if value), "")
    return Finding(result.method, result.result, domain, _aligned(domain, from_domain))


def _aligned(domain: str, from_domain: str) -> bool | None:
    """Return whether a domain aligns with that of From in relaxed mode (RFC 9989 section 3.2.10), as names tell."""
    if not domain or not from_domain:
        return False
    if domain == from_domain or domain.endswith(f".{from_domain}") or from_domain.endswith(f".{domain}"):
        return True
    return None if _related(domain, from_domain) else False


def _domain(address: str) -> str:
    """Return the domain of an address, of ``@domain``, or of a bare domain, in lower case."""
    found = parseaddr(address)[1] or address
    return found.rpartition("@")[2].strip(" <>").rstrip(".").lower()
