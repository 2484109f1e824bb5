"""Every verdict on an SPF record: how much it weighs, why it matters, what to do (RFC 7208).

One table, so that a finding and ``--explain CODE`` never tell two stories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.finding import Finding, Severity

if TYPE_CHECKING:
    from ucrmmail.dns.finding import Mark

_MAX_SENTENCE = 500


@dataclass(frozen=True, slots=True)
class _Entry:
    severity: Severity
    meaning: str
    why: str
    remedy: str
    section: str


_P, _I, _W, _F, _E = Severity.PASS, Severity.INFO, Severity.WARN, Severity.FAIL, Severity.ERROR
_PERMERROR = "Receivers treat the whole record as broken (permerror), and mail of this domain fails SPF everywhere."

_TABLE: dict[str, _Entry] = {
    # --- finding the record ---
    "spf-valid": _Entry(
        _P,
        "The record is well formed and says what it seems to say.",
        "Receivers can evaluate it for every address.",
        "Nothing is to be done.",
        "section 4",
    ),
    "spf-no-record": _Entry(
        _F,
        "No TXT record of the domain begins with v=spf1.",
        "Receivers cannot tell this domain's servers from others; Gmail, Yahoo and Outlook.com ask for SPF.",
        "Publish one TXT record at the domain itself.",
        "section 3",
    ),
    "spf-dns-error": _Entry(
        _E,
        "The DNS did not answer the question for the record.",
        "Nothing is known of the record; receivers that meet the same defer the mail (temperror).",
        "Try again; when it stays, look at the domain's nameservers.",
        "section 2.6.6",
    ),
    "spf-multiple-records": _Entry(
        _F,
        "More than one record of the domain begins with v=spf1.",
        _PERMERROR,
        "Merge them into one record and remove the others.",
        "section 4.5",
    ),
    "spf-near-miss": _Entry(
        _F,
        "A TXT record looks like SPF and is none: the version must be exactly v=spf1 and a space.",
        "Receivers ignore it as they would any other text.",
        "Publish the corrected text in its place.",
        "section 4.5",
    ),
    "spf-sender-id": _Entry(
        _I,
        "A record for Sender ID (spf2.0) is published.",
        "Nobody reads it any more: the experiment ended with RFC 6686.",
        "Remove it; it replaces no v=spf1 record.",
        "section 3.1",
    ),
    "spf-type-99": _Entry(
        _W,
        "A record of the obsolete DNS type SPF (99) is published.",
        "Receivers read TXT only; what stands in the other is forgotten, and misleads who edits it.",
        "Remove the record of type SPF and keep the TXT record.",
        "section 3.1",
    ),
    "spf-wrong-name": _Entry(
        _W,
        "An SPF record stands at a name that nobody asks.",
        "Receivers ask the domain in the sender's address, not names below it.",
        "Publish the record at the domain itself; many DNS panels want @ or nothing as the name.",
        "section 3",
    ),
    "spf-long-record": _Entry(
        _W,
        "The record is longer than 450 bytes.",
        "With the other TXT records the answer may not fit 512 bytes, and old resolvers and firewalls lose it.",
        "Move addresses into a record of their own that this one includes.",
        "section 3.4",
    ),
    # --- what cannot be read ---
    "spf-syntax": _Entry(
        _F, "A term is not part of the grammar.", _PERMERROR, "Correct or remove the term.", "section 12"
    ),
    "spf-non-ascii": _Entry(
        _F,
        "The record holds a character outside ASCII, such as a typographic quote or a no-break space.",
        "It looks right and is not: " + _PERMERROR[0].lower() + _PERMERROR[1:],
        "Type the record anew with plain spaces and hyphens.",
        "section 3.1",
    ),
    "spf-missing-space": _Entry(
        _F,
        "Two terms stand together without a space; strings of one TXT record are joined without one.",
        _PERMERROR,
        "Put one space between the terms.",
        "sections 3.3 and 4.6.1",
    ),
    "spf-space-inside": _Entry(
        _F,
        "A space stands inside a term and makes two of it.",
        _PERMERROR,
        "Remove the space.",
        "section 4.6.1",
    ),
    "spf-wrong-separator": _Entry(
        _F,
        "Terms are separated by a comma, a semicolon, a tab or a line break.",
        _PERMERROR,
        "Separate terms by spaces and by nothing else.",
        "section 4.6.1",
    ),
    "spf-equals-for-colon": _Entry(
        _F,
        "A mechanism is written with = where a colon belongs.",
        "It is read as an unknown modifier and ignored without a word, so the servers it names are not authorized.",
        "Write a colon.",
        "section 6",
    ),
    "spf-colon-for-equals": _Entry(
        _F,
        "redirect or exp is written with a colon; they are modifiers and take =.",
        _PERMERROR,
        "Write an equals sign.",
        "section 6",
    ),
    "spf-unknown-mechanism": _Entry(
        _F,
        "A mechanism of this name does not exist.",
        _PERMERROR,
        "Use all, include, a, mx, ip4, ip6 or exists.",
        "section 4.6.1",
    ),
    "spf-unknown-modifier": _Entry(
        _W,
        "A modifier of this name has no meaning.",
        "It is ignored without a word.",
        "Remove it, or write what was meant.",
        "section 6",
    ),
    "spf-address-in-a": _Entry(
        _F,
        "An address stands where a or mx take a host name.",
        _PERMERROR,
        "Use ip4: or ip6: for addresses.",
        "section 5.3",
    ),
    "spf-name-in-ip": _Entry(
        _F, "A host name stands where ip4 or ip6 take an address.", _PERMERROR, "Use a: for host names.", "section 5.6"
    ),
    "spf-wrong-family": _Entry(
        _F,
        "ip4 has an IPv6 address, or ip6 an IPv4 one.",
        _PERMERROR,
        "Use ip4: for IPv4 and ip6: for IPv6.",
        "section 5.6",
    ),
    "spf-misplaced-cidr": _Entry(
        _F,
        "A CIDR length stands where none can.",
        _PERMERROR,
        "Put it at the end, as in a:example.net/24; include, exists and ptr take none.",
        "section 5",
    ),
    # --- what it says ---
    "spf-plus-all": _Entry(
        _F,
        "The record ends in +all: every address of the world passes.",
        "Anybody may send as this domain, and SPF confirms it; receivers count such records against the domain.",
        "End the record in ~all or -all.",
        "section 5.1",
    ),
    "spf-neutral-all": _Entry(
        _W,
        "The record ends in ?all: of other servers it says nothing.",
        "Forged mail is treated as if there were no record.",
        "End the record in ~all or -all.",
        "section 8.2",
    ),
    "spf-no-all": _Entry(
        _W,
        "The record ends without all and without redirect=.",
        "Servers that are not named get neutral, as with ?all.",
        "Add ~all or -all at the end.",
        "section 4.7",
    ),
    "spf-after-all": _Entry(
        _W,
        "Terms stand after all.",
        "They are never evaluated, so the servers that they name are not authorized.",
        "Move them before all, or remove them.",
        "section 5.1",
    ),
    "spf-redirect-beside-all": _Entry(
        _W,
        "redirect= stands beside all.",
        "all decides every case, and the redirect is never followed.",
        "Remove one of the two.",
        "section 6.1",
    ),
    "spf-ptr": _Entry(
        _W,
        "The record uses ptr.",
        "It is slow, unreliable, and should not be published; some receivers skip it.",
        "Name the servers with ip4, ip6, a or include.",
        "section 5.5",
    ),
    "spf-exists-fixed": _Entry(
        _F,
        "exists asks for a fixed name.",
        "The name exists for every client or for none, so the term passes the whole world or nobody.",
        "Use a macro such as %{i} in the name, or a: for a host.",
        "section 5.7",
    ),
    "spf-huge-range": _Entry(
        _F,
        "A term covers a range that no sender owns.",
        "Millions of strangers' addresses pass as this domain.",
        "Name the addresses that send.",
        "section 5.6",
    ),
    "spf-large-range": _Entry(
        _W,
        "A term covers a very large range.",
        "Whoever rents an address in it passes as this domain.",
        "Name the addresses that send.",
        "section 5.6",
    ),
    "spf-private-address": _Entry(
        _W,
        "A term names addresses that are never seen on the internet.",
        "No receiver meets them as a client; the public address of the server is missing.",
        "Name the address from which mail leaves the network.",
        "section 5.6",
    ),
    "spf-host-bits": _Entry(
        _I,
        "The address of a range has bits beyond its length.",
        "The range is not what the address suggests: it begins lower.",
        "Write the first address of the range, or the length that was meant.",
        "section 5.6",
    ),
    "spf-duplicate-term": _Entry(
        _W,
        "A term stands twice.",
        "The second never matches, and may use up one of ten lookups.",
        "Remove one.",
        "section 4.6.2",
    ),
    "spf-overlapping-ranges": _Entry(
        _I,
        "A range lies inside another one of the record.",
        "The smaller one adds nothing.",
        "Remove it.",
        "section 4.6.2",
    ),
    "spf-unreachable-term": _Entry(
        _W,
        "A range lies inside an earlier one that decides otherwise.",
        "The first match counts, so this term is never reached.",
        "Move it before the larger one.",
        "section 4.6.2",
    ),
    "spf-passes-anyone": _Entry(
        _F,
        "An address that belongs to nobody passes.",
        "So does everybody's: SPF confirms forged mail.",
        "Remove the term that matched.",
        "section 5.1",
    ),
    "spf-explanation-missing": _Entry(
        _W,
        "exp= leads to no usable text.",
        "Receivers show no explanation of a refusal.",
        "Publish one TXT record there, or remove exp=.",
        "section 6.2",
    ),
    # --- what it leads to ---
    "spf-include-without-record": _Entry(
        _F, "A domain that is included has no SPF record.", _PERMERROR, "Correct or remove the term.", "section 5.2"
    ),
    "spf-include-invalid": _Entry(
        _F,
        "The record of a domain that is included is broken.",
        "A permerror there is one here, for every client that is not matched before.",
        "Tell its owner, or remove the term.",
        "section 5.2",
    ),
    "spf-include-dns-error": _Entry(
        _E,
        "The DNS did not answer for a domain that is included.",
        "Nothing is known of it; receivers that meet the same defer the mail (temperror).",
        "Try again; when it stays, tell the owner of that domain.",
        "section 5.2",
    ),
    "spf-include-loop": _Entry(
        _F,
        "An include or redirect leads back to a domain that is being evaluated.",
        "Receivers go round until ten lookups are used: permerror.",
        "Remove the term that leads back.",
        "section 4.6.4",
    ),
    "spf-include-passes-all": _Entry(
        _F,
        "A domain that is included lets every address pass.",
        "So everybody may send as this domain too.",
        "Remove the term.",
        "section 5.2",
    ),
    "spf-include-twice": _Entry(
        _W,
        "The same domain is included on two ways.",
        "It uses up lookups twice.",
        "Remove the direct include of what another one includes.",
        "section 4.6.4",
    ),
    "spf-too-many-lookups": _Entry(
        _F,
        "Evaluating the whole record takes more than ten DNS lookups.",
        "Clients that are not matched by then get permerror, whatever the rest says.",
        "Remove includes of services that no longer send; replace a and mx by ip4 and ip6.",
        "section 4.6.4",
    ),
    "spf-over-limit-term": _Entry(
        _I,
        "The term is beyond the tenth lookup.",
        "It is never evaluated: who reaches it gets permerror.",
        "Move it to the front if its servers send much, and make room.",
        "section 4.6.4",
    ),
    "spf-many-lookups": _Entry(
        _W,
        "Eight or more of ten DNS lookups are used.",
        "A provider that adds one include to its own record breaks this one.",
        "Make room: remove what no longer sends.",
        "section 4.6.4",
    ),
    "spf-void-lookup": _Entry(
        _W,
        "A term asks for a name that does not exist or has no address.",
        "Only two such lookups are allowed; the next is a permerror.",
        "Correct the name, or remove the term.",
        "section 4.6.4",
    ),
    "spf-too-many-void-lookups": _Entry(
        _F,
        "More than two lookups of the record find nothing.",
        "Clients that are not matched by then get permerror.",
        "Correct or remove the terms named.",
        "section 4.6.4",
    ),
    "spf-lookup-dns-error": _Entry(
        _E,
        "The DNS did not answer for a name that a term asks.",
        "Nothing is known of it; receivers that meet the same defer the mail (temperror).",
        "Try again; when it stays, look at the nameservers of that name.",
        "section 5",
    ),
    "spf-too-many-mx": _Entry(
        _F,
        "A domain that mx names has more than ten mail exchanges.",
        _PERMERROR,
        "Name the senders by ip4 and ip6.",
        "section 4.6.4",
    ),
    # --- this sender ---
    "spf-address-pass": _Entry(
        _P,
        "The sending address passes.",
        "Receivers accept it as a sender for this domain.",
        "Nothing is to be done.",
        "section 2.6.3",
    ),
    "spf-address-not-authorized": _Entry(
        _F,
        "The sending address does not pass.",
        "Receivers see mail of this account as not authorized by its domain.",
        "Publish the record proposed.",
        "section 2.6",
    ),
    "spf-address-permerror": _Entry(
        _F,
        "Evaluation for the sending address ends in permerror.",
        "Receivers see a broken record, which counts as no pass.",
        "Correct what is named.",
        "section 2.6.7",
    ),
    "spf-address-temperror": _Entry(
        _E,
        "Evaluation for the sending address could not be finished: the DNS did not answer.",
        "Nothing is known; receivers that meet the same defer the mail.",
        "Try again.",
        "section 2.6.6",
    ),
    "spf-expected-include-missing": _Entry(
        _F,
        "The record does not include the provider of this account.",
        "The provider's servers are not authorized, now or when it adds new ones.",
        "Publish the record proposed.",
        "section 5.2",
    ),
}

# Code -> what it means, why it matters, what to do, and where it is written.
CODES: dict[str, str] = {
    code: f"{entry.meaning} {entry.why} {entry.remedy} (RFC 7208 {entry.section})" for code, entry in _TABLE.items()
}


def finding(
    code: str,
    subject: str,
    what: str,
    *,
    remedy: str = "",
    mark: Mark | None = None,
    severity: Severity | None = None,
) -> Finding:
    """Return the finding of this code: ``what`` is about this record, the rest is the code's own unless given."""
    entry = _TABLE[code]
    return Finding(
        "spf",
        code,
        severity or entry.severity,
        subject,
        _clipped(what),
        entry.why,
        _clipped(remedy) or entry.remedy,
        f"RFC 7208 {entry.section}",
        mark,
    )


def _clipped(text: str) -> str:
    """Return a sentence of a length that is read, whatever a stranger's 64 kilobytes made of it."""
    return text if len(text) <= _MAX_SENTENCE else text[: _MAX_SENTENCE - 3] + "..."
