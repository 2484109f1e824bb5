"""What ``check-dns`` is about: from the command line and the configuration to domains, an account and nameservers."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING

from ucrmmail.cli.choice import not_allowed
from ucrmmail.errors import NoInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.config.load import Config
    from ucrmmail.dns.blocklist import Blocklist
    from ucrmmail.dns.check import SendingAccount
    from ucrmmail.dns.panel import Panel
    from ucrmmail.dns.resolver import DnsResolver

# A run ends in time whatever servers do, and a long list of domains gets more of it. SPF asks for no less than 20 s
# (RFC 7208 section 4.6.4).
_RUN_S = 20.0
_DOMAIN_S = 2.0
_LARGEST_FILE = 1 << 26


def make_resolver(nameservers: Sequence[str], *, domains: int = 1) -> DnsResolver:
    """Return a resolver that asks these servers, or the system's. Raises UsageError."""
    from ucrmmail.clock import Clock
    from ucrmmail.dns.nameserver import parse_nameserver
    from ucrmmail.dns.resolver import DnsResolver

    return DnsResolver([parse_nameserver(text) for text in nameservers], clock=Clock(), run_s=time_for(domains))


def time_for(domains: int) -> float:
    """Return how many seconds DNS has in a run that looks at so many domains."""
    return _RUN_S + max(domains - 1, 0) * _DOMAIN_S


def words(text: str) -> list[str]:
    """Return the parts of an option that takes several values with commas between them."""
    return [item.strip() for item in text.split(",") if item.strip()]


def read(path: str) -> bytes:
    """Return the content of a file, or of standard input for ``-``. Raises NoInputError."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(_LARGEST_FILE)
        with open(path, "rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise NoInputError(f"{path} cannot be read: {error.strerror}", remedy="give a file that you can read") from None


def domains_in(path: str | None) -> list[str]:
    """Return the domains of a file: one a line, # begins a remark. Raises NoInputError."""
    if path is None:
        return []
    lines = read(path).decode("utf-8", "replace").splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def domain(name: str) -> str:
    """Return a domain as the DNS has it: lower case, A-labels, no final dot. Raises UsageError."""
    from ucrmmail.config.texts import domain as checked

    try:
        found = checked(name.rpartition("@")[2].removesuffix("."))
    except ValueError as error:
        raise UsageError(f"{name!r} is no domain: {error}", remedy="give a name such as isp.example") from None
    if found.rpartition(".")[2].isdecimal():
        raise UsageError(f"{name!r} is an address, and no domain", remedy="give its domain, and the address with --ip")
    return found


def own_domains(config: Config) -> list[str]:
    """Return the domains that mail of this account is sent for. Raises UsageError when none is known."""
    named = list(config.words("dns.domains"))
    if not named:
        addresses = [config.text(f"addresses.{name}") for name in ("sender", "organization")]
        if not any(addresses):
            addresses = [config.text("smtp.username")]
        named = [address.rpartition("@")[2].lower() for address in addresses if "@" in address]
    if not named:
        raise UsageError(
            "no domain was given, and the configuration names none",
            remedy="`ucrmmail check-dns DOMAIN`, or run `ucrmmail config set addresses.sender`",
        )
    return list(dict.fromkeys(domain(name) for name in named))


def checks(only: str) -> frozenset[str]:
    """Return the checks to make, all of them for "". Raises UsageError."""
    from ucrmmail.dns.check import CHECKS

    wanted = frozenset(words(only.lower()))
    unknown = wanted - set(CHECKS)
    if unknown:
        raise not_allowed(f"--only: {min(unknown)!r} is no check", min(unknown), CHECKS)
    return wanted or frozenset(CHECKS)


def selectors(given: Sequence[str]) -> list[str]:
    """Return the selectors as the DNS has them. Raises UsageError."""
    from ucrmmail.config.texts import selector

    try:
        return [selector(text) for text in chain.from_iterable(words(each) or [each] for each in given)]
    except ValueError as error:
        raise UsageError(f"--selector: {error}", remedy="such as s1: what is behind s= in a signature") from None


def account(config: Config, selectors: Sequence[str]) -> SendingAccount:
    """Return what is known of how this account sends; ``selectors`` come before those configured."""
    from ucrmmail.dns.check import SendingAccount

    sender = config.text("addresses.sender") or config.text("addresses.organization")
    return SendingAccount(
        transport=config.text("smtp.transport"),
        smarthost=config.text("smtp.host"),
        sending_addresses=_sending_addresses(config.words("dns.sending_addresses")),
        reverse_path=sender,
        sender=sender,
        selectors=tuple(selectors) or config.words("dns.dkim_selectors"),
        helo_name=config.text("smtp.local_hostname"),
        uses_tls=config.text("smtp.encryption") != "none" if config.text("smtp.host") else None,
    )


def _sending_addresses(networks: Sequence[str]) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the addresses to evaluate: of a network the first and the last host."""
    from ipaddress import ip_network

    found: dict[IPv4Address | IPv6Address, None] = {}
    for text in networks:
        network = ip_network(text, strict=False)
        hosts = (network[0], network[-1]) if network.num_addresses <= 2 else (network[1], network[-2])
        found.update(dict.fromkeys(hosts))
    return tuple(found)


def address(text: str) -> IPv4Address | IPv6Address:
    """Return the address of ``--ip``. Raises UsageError."""
    from ipaddress import ip_address

    try:
        return ip_address(text)
    except ValueError:
        raise UsageError(f"--ip: {text!r} is no IP address", remedy="such as 192.0.2.25 or 2001:db8::25") from None


def blocklists(zones: Sequence[str], *, usual: bool) -> tuple[Blocklist, ...]:
    """Return the blocklists to ask: the usual ones and those that are named. Raises UsageError."""
    from ucrmmail.dns.blocklist import LISTS, lists_named

    named = lists_named([domain(zone) for zone in zones])
    return tuple(dict.fromkeys((*(LISTS if usual else ()), *named)))


def panel(name: str) -> Panel | None:
    """Return the panel that is named; None for "", when the nameservers tell. Raises UsageError."""
    from ucrmmail.dns.panel import PANELS, panel_named

    if not name:
        return None
    found = panel_named(name.lower())
    if found is None:
        raise not_allowed(f"--panel: {name!r} is not known", name, [each.key for each in PANELS])
    return found
