"""Which nameservers are asked: those named on the command line, else the system's (resolv.conf(5))."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import UsageError

_RESOLV_CONF = Path("/etc/resolv.conf")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_.])?\Z")


@dataclass(frozen=True, slots=True)
class Nameserver:
    """A server to ask: an address (or a name that the system resolves) and a port."""

    host: str
    port: int = 53

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 53 else f"{host}:{self.port}"


def parse_nameserver(text: str) -> Nameserver:
    """Return the nameserver named as ``HOST``, ``HOST:PORT``, ``[::1]:5353`` or a bare ``::1``.

    Raises UsageError for anything else.
    """
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        if not _is_address(host):
            raise _refused(text)
    elif text.count(":") > 1:
        host, port = text, None
        if not _is_address(host):
            raise _refused(text)
    else:
        found = re.fullmatch(r"([^:\[\]]+)(?::([0-9]{1,5}))?", text)
        # A name of digits and dots that is no address is a mistyped one, not a host.
        if not found or not _HOST.match(found[1]) or (re.fullmatch("[0-9.]+", found[1]) and not _is_address(found[1])):
            raise _refused(text)
        host, port = found[1], found[2]
    number = int(port) if port else 53
    if not 0 < number < 65536:
        raise _refused(text)
    return Nameserver(host, number)


def system_nameservers(path: Path = _RESOLV_CONF) -> tuple[Nameserver, ...]:
    """Return the nameservers of a resolv.conf in its order; this host's own when it names none, as libc does."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    hosts = [word[1] for word in words if len(word) >= 2 and word[0] == "nameserver" and _is_address(word[1])]
    return tuple(Nameserver(host) for host in dict.fromkeys(hosts)) or (Nameserver("127.0.0.1"),)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _refused(text: str) -> UsageError:
    return UsageError(
        f"{text!r} names no nameserver",
        why="it must be HOST or HOST:PORT, with brackets around an IPv6 address that has a port",
        remedy="write for example 9.9.9.9, 127.0.0.1:5353 or [::1]:5353",
    )
