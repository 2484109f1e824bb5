r"""One mailbox, as RFC 5321 section 4.1.2 writes it and RFC 6531 section 3.3 extends it to UTF-8.

    joe@example.com   "joe q"@example.com   joe@[192.0.2.1]   joe@[IPv6:2001:db8::1]   jörg@münchen.example

Nothing is repaired. An address that is not exactly right is refused with the reason, because what a lenient parser
makes of ``a@b>SIZE=1`` or ``joe@example.com\r\nRCPT TO:<x@y>`` is another recipient than the one that was meant.
Stricter than the grammar in three points: no character that hides or reorders what stands beside it, no domain that
only looks like an ASCII one, no IP address without its brackets.

Lists of addresses, as header fields have them, are read by ``addresslist``. Both are loaded by submissions, so they do
without ``re``; ``idna`` and ``ipaddress`` are loaded for the rare address that needs them.
"""

from __future__ import annotations

from ucrmmail.errors import NoUserError

# RFC 5321 section 4.5.3.1, in bytes: a path has 256 with its angle brackets.
_LONGEST_LOCAL_PART = 64
_LONGEST_MAILBOX = 254
_LONGEST_LABEL = 63
# Before the domain is in its A-label form, characters say little about its length; this bounds the work.
_LONGEST_TEXT = 1024

_LETDIG = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ATEXT = frozenset(_LETDIG + "!#$%&'*+-/=?^_`{|}~")
_LDH = frozenset(_LETDIG + "-")
_DIGITS = frozenset("0123456789")
# Letters and marks that are drawn as nothing (fillers, joiners, variation selectors). Other invisible characters and
# the bidirectional controls are not printable for Python either.
_HIDDEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    "\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f"
)
# Whichever machine is asked (RFC 6761 section 6.3).
_THIS_MACHINE = ("localhost", "localhost.localdomain")
_FIRST_OF_THE_SPECIAL_PURPOSE_PLANE = "\U000e0000"


def parse_mailbox(text: str) -> str:
    """Return the mailbox in the form that goes on the wire: as it stands, with an international domain as A-label.

    A local part outside ASCII stays as it is, byte for byte, and needs SMTPUTF8. Raises NoUserError with the address
    and the reason.
    """
    if len(text) > _LONGEST_TEXT:
        raise refused(text, "it is longer than 254 bytes")
    local, at, domain = text.rpartition("@")
    if not at:
        raise refused(text, "it has no @ and domain")
    if local.startswith('"'):
        _check_quoted(text, local)
    else:
        _check_dot_atom(text, local)
    if len(local.encode()) > _LONGEST_LOCAL_PART:
        raise refused(text, "the part before @ is longer than 64 bytes")
    mailbox = f"{local}@{_domain_on_the_wire(text, domain)}"
    if len(mailbox.encode()) > _LONGEST_MAILBOX:
        raise refused(text, "it is longer than 254 bytes")
    return mailbox


def needs_smtputf8(mailbox: str) -> bool:
    """Return whether a mailbox can only go to a server that offers SMTPUTF8 (RFC 6531)."""
    return not mailbox.isascii()


def is_bare(text: str) -> bool:
    """Return whether this is the name of a local user, without a domain: ``root``, ``www-data``, ``joe.smith``."""
    if len(text) > _LONGEST_LOCAL_PART or text.startswith("=?"):
        # An encoded word has the same characters: a program encoded a name together with its address.
        return False
    return all(atom and _ATEXT.issuperset(atom) for atom in text.split("."))


def is_of_this_machine(mailbox: str) -> bool:
    """Return whether a mailbox is that of a user of this machine: a smarthost takes it for one of its own."""
    return mailbox.rpartition("@")[2].lower() in _THIS_MACHINE


def is_this_machine(host: str) -> bool:
    """Return whether a host, as it is configured, is this machine by its name."""
    return host.lower() in ("localhost", "::1", "[::1]") or (host[:4] == "127." and host.replace(".", "").isdigit())


def same_mailbox(one: str, other: str) -> bool:
    """Return whether two mailboxes are the same: domains compare without case, local parts do not (RFC 5321 2.4)."""
    return folded(one) == folded(other)


def folded(mailbox: str) -> str:
    """Return the mailbox with its domain in lower case: equal for mailboxes that are the same."""
    local, at, domain = mailbox.rpartition("@")
    return local + at + domain.lower()


def refused(text: str, why: str) -> NoUserError:
    """Return the error for a text that is no address: it names the text, with control characters spelled out."""
    shown = text if len(text) <= 120 else text[:117] + "..."
    return NoUserError(f"{shown!r} is not an address", why=why, remedy="write it as joe@example.com")


def _check_dot_atom(text: str, local: str) -> None:
    if not local:
        raise refused(text, "nothing stands before @")
    for atom in local.split("."):
        if not atom:
            raise refused(text, "before @, a dot must stand between two characters")
        if not _ATEXT.issuperset(atom):
            for character in atom:
                if character not in _ATEXT and not _is_shown(character):
                    raise refused(text, _why_not(character))


def _check_quoted(text: str, local: str) -> None:
    if len(local) < 2 or not local.endswith('"'):
        raise refused(text, "the closing quote is missing before @")
    inner = local[1:-1]
    at = 0
    while at < len(inner):
        character = inner[at]
        if character == "\\":
            at += 1
            if not " " <= inner[at : at + 1] <= "~":
                raise refused(text, "a backslash must stand before a printable ASCII character")
        elif character == '"':
            raise refused(text, "a quote within quotes needs a backslash")
        elif not (" " <= character <= "~" or _is_shown(character)):
            raise refused(text, _why_not(character))
        at += 1


def _is_shown(character: str) -> bool:
    """Return whether a character outside ASCII is one that a reader sees."""
    return (
        not character.isascii()
        and character.isprintable()
        and character not in _HIDDEN
        and character < _FIRST_OF_THE_SPECIAL_PURPOSE_PLANE
    )


def _why_not(character: str) -> str:
    code = ord(character)
    if code < 0x20 or 0x7F <= code <= 0x9F:
        return f"it holds the control character U+{code:04X}"
    if 0xD800 <= code <= 0xDFFF:
        return "it holds bytes that are not UTF-8"
    if code > 0x9F:
        return f"it holds the invisible or unassigned character U+{code:04X}"
    return f"{character!r} must not stand in it"


def _domain_on_the_wire(text: str, domain: str) -> str:
    if domain.startswith("["):
        _check_literal(text, domain)
        return domain
    if not domain.isascii():
        domain = _a_labels(text, domain)
    labels = domain.split(".")
    for label in labels:
        if not label:
            raise refused(text, "behind @, a dot must stand between two names")
        if not _LDH.issuperset(label):
            raise refused(text, _why_not(next(character for character in label if character not in _LDH)))
        if label[0] == "-" or label[-1] == "-":
            raise refused(text, "behind @, a name must not begin or end with a hyphen")
        if len(label) > _LONGEST_LABEL:
            raise refused(text, "behind @, a name between dots is longer than 63 characters")
    if len(labels) == 4 and all(_DIGITS.issuperset(label) for label in labels):
        raise refused(text, f"an IP address stands in brackets: [{domain}]")
    return domain


def _a_labels(text: str, domain: str) -> str:
    """Return an international domain in ASCII (RFC 5891), mapped to lower case and NFC as UTS 46 does."""
    for character in domain:
        if not character.isascii() and not _is_shown(character):
            raise refused(text, _why_not(character))
    import idna  # noqa: PLC0415 # only for a domain outside ASCII

    try:
        mapped = idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise refused(text, f"the domain is not a valid international name: {error}") from None
    before, after = domain.split("."), mapped.split(".")
    # A full-width "example" would become the ASCII one, and a full-width dot or @ would divide the name anew.
    if len(before) != len(after) or any(
        not label.isascii() and not a_label.startswith("xn--") for label, a_label in zip(before, after, strict=True)
    ):
        raise refused(text, f"the domain only looks like {mapped!r}")
    return mapped


def _check_literal(text: str, domain: str) -> None:
    import ipaddress  # noqa: PLC0415 # only for an address literal

    inner = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise ValueError
        if inner[:5].lower() == "ipv6:":
            # A zone (fe80::1%eth0) has a meaning on this host only.
            if "%" in inner:
                raise ValueError
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        raise refused(text, "an address literal is [192.0.2.1] or [IPv6:2001:db8::1]") from None
