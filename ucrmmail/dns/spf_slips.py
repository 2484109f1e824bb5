"""What a person meant who wrote an SPF term that cannot be read, or that reads as something else.

Each slip has its code, a sentence, and the text that was probably meant ("" to leave the term out, None when nobody
can tell), which proposals use and then check like any other record.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.spf_record import Fault, Record, Term, parse_record, shown

_DUAL = r"(?:/[0-9]+)?(?://[0-9]+)?"
# What editors, chat programs and web pages put in the place of ASCII.
_LOOK_ALIKES = {
    "\u00a0": " ",
    "\u2002": " ",
    "\u2003": " ",
    "\u2009": " ",
    "\u202f": " ",
    "\u3000": " ",
    "\u2010": "-",
    "\u2011": "-",
    "\u2012": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2212": "-",
    "\u02dc": "~",
    "\u223c": "~",
    "\uff1a": ":",
    "\uff1d": "=",
}
_DROPPED = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"
_ASCII = {ord(key): value for key, value in _LOOK_ALIKES.items()} | {ord(character): "" for character in _DROPPED}
_SECOND_TERM = re.compile(
    r"(?<=[^+\-?~ ])(?=[+\-?~]?(?:(?:include|ip4|ip6|exists):|(?:redirect|exp)=)|[+~?]all\Z)|(?<=[0-9])(?=-all\Z)",
    re.IGNORECASE,
)
_RUN_INTO_ALL = re.compile(r"(?<=[A-Za-z0-9])-all\Z", re.IGNORECASE)
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_\-%{}]+(?:[.:][A-Za-z0-9_\-%{}:]*)+(?:/[0-9]+)?\Z")
_NAMED = re.compile(r"([+\-?~]?)([A-Za-z0-9_\-]+)([:=/]?)(.*)\Z", re.DOTALL)
_IP_LIKE = frozenset({"ip", "ipv4", "ipv6", "ip4", "ip6", "ipaddr", "address"})
_MECHANISMS = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists", "ip", "ipv4", "ipv6"})
# Transposed and missing letters, by the letters sorted.
_SPELLED = {"".join(sorted(typo)): name for typo, name in (
    ("include", "include"), ("includ", "include"), ("inclue", "include"), ("includes", "include"),
    ("al", "all"), ("alll", "all"), ("xm", "mx"), ("exist", "exists"),
)}  # fmt: skip
_VERSION_SLIP = re.compile(
    # The column of a panel ("SPF", "TXT") is copied along with the record.
    rb"""[\s"']*(?:(?:spf|txt)[\s:=]+(?=v))?(?:v\s*[=:]\s*spf[\s\-_.]?[1l2]?|spf1|v\s*spf1|spf\s*=\s*v?1|v=sp1|v=sfp1)[\s"';,:.]*""",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"[+\-?~]?(?:(?:all|a|mx|ptr)(?![A-Za-z0-9_\-])|(?:include|exists|ip|ip4|ip6|ipv4|ipv6|redirect|exp)\s*[:=])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Slip:
    """A slip at ``text[start:end]`` of its record, and what was meant."""

    code: str
    what: str
    start: int
    end: int
    meant: str | None = None


def slip_of_fault(record: Record, fault: Fault) -> Slip:
    """Return what the fault of a record is called, and what was meant."""
    text = record.text[fault.start : fault.end]
    parted = _parted(record.text, fault)
    if parted:
        return parted
    code, what, meant = _named(text, fault.reason)
    return Slip(code, what, fault.start, fault.end, meant)


def slips_of_faults(record: Record, limit: int) -> list[Slip]:
    """Return the slips of a record's faults, at most ``limit``, each place once: one slip may explain two faults."""
    found: list[Slip] = []
    end = 0
    for fault in record.faults[:limit]:
        if fault.start >= end:
            found.append(slip_of_fault(record, fault))
            end = found[-1].end
    return found


def _parted(text: str, fault: Fault) -> Slip | None:
    """Return the slip of a term that a space cut in two: ``include: x``, ``ip4 192.0.2.1``, ``- all``, ``a /24``."""
    word = text[fault.start : fault.end]
    if re.fullmatch(r"/[0-9]{1,3}", word) and text[fault.start - 1] == " ":
        what = f"{word!r} is cut off from what stands before it"
        return Slip("spf-space-inside", what, fault.start - 1, fault.end, word)
    following = re.compile(r" +([^ ]+)").match(text, fault.end)
    opening = re.fullmatch(r"([+\-?~]?)(?:(include|ip4|ip6|exists|a|mx|redirect|exp)([:=]?))?", word, re.IGNORECASE)
    if following is None or opening is None:
        return None
    rest = following[1]
    whole = f"{word} {rest}"
    what = f"{shown(whole)!r} is one term with a space inside"
    if opening[2] is None:
        plain = re.fullmatch(r"(?:all|a|mx|ptr|(?:include|ip4|ip6|exists|a|mx|ptr):.*)", rest, re.IGNORECASE)
        meant = f"{word}{rest}" if plain else None
    elif _PLAIN_VALUE.match(rest) and not _BEGINS.match(rest):
        separator = opening[3] or ("=" if opening[2].lower() in ("redirect", "exp") else ":")
        meant = f"{word.removesuffix(opening[3])}{separator}{rest}"
    else:
        meant = None
    return Slip("spf-space-inside", what, fault.start, following.end(), meant) if meant else None


def slip_of_term(term: Term) -> Slip | None:
    """Return the slip in a term that is well formed and yet not what was meant."""
    text = shown(term.text)
    run = _RUN_INTO_ALL.search(term.target)
    if run and not term.target.startswith("-"):
        meant = text[: -len("-all")] + " -all"
        return Slip("spf-missing-space", f"{text!r} runs into -all: it asks for that name", term.start, term.end, meant)
    if term.qualifier:
        return None
    if term.name == "v":
        what = f"{text!r} inside the record: two records were pasted together"
        return Slip("spf-unknown-modifier", what, term.start, term.end, "")
    if term.name in _MECHANISMS:
        what = f"{text!r} is ignored: it is no mechanism with ="
        return Slip("spf-equals-for-colon", what, term.start, term.end, _with_colon(term))
    if term.name not in ("redirect", "exp"):
        return Slip("spf-unknown-modifier", f"{text!r} has no meaning", term.start, term.end)
    return None


def _with_colon(term: Term) -> str:
    """Return the mechanism that was meant by a modifier of its name, "" when none can be made of it."""
    meant = f"{term.name}:{term.target}"
    read = parse_record(f"v=spf1 {meant}".encode("utf-8", "surrogateescape"))
    return meant if not read.faults else slip_of_fault(read, read.faults[0]).meant or ""


def _named(text: str, reason: str) -> tuple[str, str, str | None]:
    """Return the code, the sentence and the correction for a term that cannot be read."""
    seen = repr(shown(text))
    if not text.isascii():
        plain = text.translate(_ASCII)
        return "spf-non-ascii", f"{seen} holds {_foreign(text)}", plain if plain.isascii() else None
    if re.search(r"[,;\t\r\n]", text):
        return "spf-wrong-separator", f"{seen} is one term: only spaces separate", re.sub(r"[,;\t\r\n]+", " ", text)
    if set(text) & set("\"'"):
        return "spf-syntax", f"{seen} holds a quotation mark", re.sub(r"[\\\"']", "", text)
    if _family(text):
        return "spf-unknown-mechanism", f"{seen}: an address needs ip4: or ip6:", f"ip{_family(text)}:{text}"
    found = _NAMED.match(text)
    if found is None:
        return "spf-syntax", f"{seen}: {reason}", None
    qualifier, name, separator, value = found[1], found[2].lower(), found[3], found[4]
    second = _SECOND_TERM.search(text, 1)
    if second:
        parted = f"{text[: second.start()]} {text[second.start() :]}"
        return "spf-missing-space", f"{seen} is two terms without a space", parted
    if name in ("redirect", "exp") and separator == ":":
        return "spf-colon-for-equals", f"{seen}: {name} takes =", f"{name}={value}"
    if name in ("redirect", "exp"):
        return "spf-syntax", f"{seen}: {reason}", None
    if name in _IP_LIKE and separator:
        return _address(seen, reason, qualifier, name, value)
    if name in ("a", "mx") and separator == ":" and (family := _family(value)):
        what = f"{seen}: {name} takes a host name, not an address"
        return "spf-address-in-a", what, f"{qualifier}ip{family}:{value}"
    misplaced = re.match(rf"(a|mx)({_DUAL}):([^/]+)\Z", text[len(qualifier) :], re.IGNORECASE)
    if misplaced and misplaced[2]:
        what = f"{seen}: the CIDR length comes last"
        return "spf-misplaced-cidr", what, f"{qualifier}{misplaced[1]}:{misplaced[3]}{misplaced[2]}"
    if name in ("include", "exists", "ptr") and (length := re.search(r"/[0-9/]+\Z", text)):
        return "spf-misplaced-cidr", f"{seen}: {name} takes no CIDR length", text[: length.start()]
    address = re.fullmatch(r"(a|mx|include):https?://([^/ ]+)/?", text[len(qualifier) :], re.IGNORECASE)
    if address:
        return "spf-syntax", f"{seen}: a web address is no host name", f"{qualifier}{address[1]}:{address[2]}"
    if re.fullmatch(r"all[.:]+", text[len(qualifier) :], re.IGNORECASE):
        return "spf-syntax", f"{seen}: nothing follows all", f"{qualifier}all"
    if name in ("a-all", "mx-all", "ptr-all"):
        return "spf-missing-space", f"{seen} is two terms without a space", f"{qualifier}{name[:-4]} -all"
    if name not in _MECHANISMS:
        close = _SPELLED.get("".join(sorted(name)))
        meant = f"{qualifier}{close}{separator}{value}" if close else None
        return "spf-unknown-mechanism", f"{seen}: there is no mechanism {name!r}", meant
    return "spf-syntax", f"{seen}: {reason}", None


def _address(seen: str, reason: str, qualifier: str, name: str, value: str) -> tuple[str, str, str | None]:
    family = _family(value)
    meant = f"{qualifier}ip{family}:{value}" if family else None
    if name not in ("ip4", "ip6"):
        return "spf-unknown-mechanism", f"{seen}: there is no mechanism {name!r}, only ip4 and ip6", meant
    if family and name != f"ip{family}":
        return "spf-wrong-family", f"{seen}: this is an IPv{family} address", meant
    if re.fullmatch(r"(?=.*[g-z])[a-z0-9_\-]+(\.[a-z0-9_\-]+)+\.?", value, re.IGNORECASE):
        return "spf-name-in-ip", f"{seen}: {name} takes an address, not a host name", f"{qualifier}a:{value}"
    return "spf-syntax", f"{seen}: {reason}", _as_network(qualifier, value)


def _as_network(qualifier: str, value: str) -> str | None:
    """Return what an IPv4 address with a netmask, a port, an asterisk or leading zeros means as a term."""
    value = re.sub(r":[0-9]{1,5}\Z", "", value) if value.count(":") == 1 else value
    value = re.sub(r"(?<![0-9])0+(?=[0-9])", "", value)
    if re.fullmatch(r"(?:[0-9]+\.){1,3}\*", value):
        known = value.count(".")
        value = value.removesuffix(".*") + ".0" * (4 - known) + f"/{8 * known}"
    if not re.fullmatch(r"[0-9.]+(?:/[0-9.]+)?", value) or not _family(value):
        return None
    network = ip_network(value, strict=False)
    return f"{qualifier}ip4:{value.partition('/')[0]}" + (f"/{network.prefixlen}" if "/" in value else "")


def _family(value: str) -> str:
    """Return 4 or 6 for an address with or without a length, as text, "" for anything else."""
    try:
        return str(ip_network(value, strict=False).version)
    except ValueError:
        return ""


def _foreign(text: str) -> str:
    character = next(character for character in text if not character.isascii())
    names = {"\u00a0": "a no-break space", "\u201c": "a typographic quote", "\u201d": "a typographic quote"}
    if "\udc80" <= character <= "\udcff":
        return f"the byte 0x{ord(character) - 0xDC00:02X}"
    return names.get(character, f"the character U+{ord(character):04X}")


def near_miss(data: bytes) -> str | None:
    """Return the text that was meant by a TXT record that is almost an SPF record, or None for any other text.

    v=spf1; a -all      spf1 a -all      "v=spf1 a -all" (in quotes)      v=spf1 and a no-break space
    """
    plain = data[:4096].decode("utf-8", "surrogateescape").translate(_ASCII)
    if not plain.isascii():
        plain = plain.encode("ascii", "replace").decode()
    found = _VERSION_SLIP.match(plain.encode())
    if found is None:
        return None
    rest = plain[found.end() :]
    # A sentence about SPF, or a key of some service, is not a record: something of a record must follow.
    if rest and not _BEGINS.match(rest):
        return None
    return f"v=spf1 {rest}".rstrip(" \"'")
