"""What a text in the configuration may be: each function returns the text in its proper form, or raises ValueError.

The sentence of a ValueError says what is wrong with the text; what is allowed instead is said by the key.
"""

from __future__ import annotations

import string

from ucrmmail.config.location import refuse_another_file_elsewhere
from ucrmmail.errors import NoUserError
from ucrmmail.units import parse_rate

_LABEL = frozenset(string.ascii_letters + string.digits + "-_")


def plain(text: str) -> str:
    """Return a text without control characters: a line feed in it could add a line to a message or a log."""
    for character in text:
        if character < " " or "\x7f" <= character <= "\x9f" or character in "\u2028\u2029":
            raise ValueError(f"{shown(text)} holds a control character")
    return text


def shown(text: str) -> str:
    """Return the text in quotes, cut where it is too long for one line of a message."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def mailbox(text: str) -> str:
    """Return an address as it goes on the wire (RFC 5321 section 4.1.2)."""
    from ucrmmail.message.address import parse_mailbox  # noqa: PLC0415 # most commands have no address to check

    try:
        return parse_mailbox(text)
    except NoUserError as error:
        raise ValueError(f"{error.what}: {error.why}" if error.why else error.what) from None


def path(text: str) -> str:
    """Return an absolute path: a relative one would mean another file for each directory that a command runs in."""
    if not plain(text).startswith("/"):
        raise ValueError(f"{shown(text)} is not an absolute path")
    refuse_another_file_elsewhere(text)
    return text.rstrip("/") or "/"


def domain(text: str) -> str:
    """Return a domain name in ASCII and lower case; an internationalised one as its A-label (RFC 5891)."""
    name = text.removesuffix(".")
    if not name.isascii():
        name = _a_label(text, name)
    labels = name.split(".")
    if len(name) > 253 or not all(_is_label(label) for label in labels):
        raise ValueError(f"{shown(text)} is not a domain name")
    return name.lower()


def _is_label(label: str) -> bool:
    return 0 < len(label) <= 63 and _LABEL.issuperset(label) and not label.startswith("-") and not label.endswith("-")


def _a_label(text: str, name: str) -> str:
    import idna  # noqa: PLC0415 # only for names outside ASCII

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError(f"{shown(text)} is not a domain name") from None


def host(text: str) -> str:
    """Return a host name, or an IP address without brackets."""
    if "://" in text or "/" in text:
        raise ValueError(f"{shown(text)} is not a host name; leave out everything but the name")
    # A scope behind an IPv6 address may be any text.
    plain(text)
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if address[:1].isdigit() or ":" in address:
        import ipaddress  # noqa: PLC0415 # most hosts have a name

        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            pass
    name, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and ":" not in name:
        raise ValueError(f"{shown(text)} has a port; it belongs into smtp.port")
    try:
        proper = domain(text)
    except ValueError:
        proper = ""
    if all(label.isdecimal() or not label for label in proper.split(".")):
        raise ValueError(f"{shown(text)} is neither a host name nor an IP address")
    return proper


def endpoint(text: str) -> str:
    """Return the address of an endpoint: with https, or on this machine itself; else what it is sent could be read."""
    from urllib.parse import urlsplit  # noqa: PLC0415 # most commands have no endpoint to check

    try:
        parts = urlsplit(plain(text))
        port_is_sound = parts.port != 0
    except ValueError:
        raise ValueError(f"{shown(text)} is not an address of the web") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or not port_is_sound or " " in text:
        raise ValueError(f"{shown(text)} is not an address that begins with https://")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"{shown(text)} holds more than the address of an endpoint")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError(f"{shown(text)} is not encrypted, and secrets are sent there; use https")
    return text


def tenant(text: str) -> str:
    """Return a tenant of Microsoft: an id, a domain, or a word such as organizations."""
    return domain(text)


def nameserver(text: str) -> str:
    """Return ``HOST`` or ``HOST:PORT``; an IPv6 address with a port stands in brackets."""
    name, colon, port = text.rpartition(":")
    if colon and (":" not in name or (name.startswith("[") and name.endswith("]"))):
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
            raise ValueError(f"{shown(text)} has no valid port behind its colon")
        address = host(name)
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return host(text)


def network(text: str) -> str:
    """Return an IP address, or a network such as 192.0.2.0/24, in its shortest form."""
    import ipaddress  # noqa: PLC0415 # as in ``host``

    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{shown(text)} is neither an IP address nor a network") from None
    return str(found) if "/" in text else str(found.network_address)


def selector(text: str) -> str:
    """Return a DKIM selector (RFC 6376 section 3.1): one label or several; panels show the whole name of the record."""
    try:
        return domain(text.partition("._domainkey")[0])
    except ValueError:
        raise ValueError(f"{shown(text)} is not a DKIM selector") from None


def rate(text: str) -> str:
    """Return a rate such as 30/1m as it stands."""
    try:
        parse_rate(text)
    except ValueError as error:
        raise ValueError(str(error).partition(";")[0]) from None
    return text
