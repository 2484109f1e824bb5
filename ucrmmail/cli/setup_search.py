"""Where the account's mail is submitted: what was said, else what the DNS knows, else what a person names.

A host is never guessed: it is named by a flag, by a provider's preset, by the domain's own SRV records, or by a person.
Ports are tried only on such a host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.cli.choice import not_allowed
from ucrmmail.config.detect import by_domain, by_exchanges
from ucrmmail.config.presets import NAMES, preset
from ucrmmail.dataclass import dataclass, replace
from ucrmmail.errors import SmarthostUnavailableError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.cli.dialogue import Dialogue
    from ucrmmail.config.load import Config
    from ucrmmail.dns.submission import Discovery, Service
    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.probe import Probed

# A guide waits no longer than a person does.
_DISCOVERY_S = 8.0
_MOST_SERVICES = 4
_PORTS = {"tls": 465, "starttls": 587, "none": 25}
_MISSING_HOST = "--host or --transport"


@dataclass(frozen=True, slots=True)
class Found:
    """A submission server: of a provider (``transport``), or of one's own ("smtp").

    ``host`` "", ``port`` 0 and ``encryption`` "" are those of the preset. ``by`` tells how it was found: given, domain,
    mx, srv, asked. ``offers_login`` is None when nobody has looked.
    """

    transport: str
    by: str
    host: str = ""
    port: int = 0
    encryption: str = ""
    offers_login: bool | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What the flags say; "" and 0 when they do not."""

    transport: str = ""
    host: str = ""
    port: int = 0
    encryption: str = ""


def search(address: str, given: Given, config: Config, talk: Dialogue, *, test: bool) -> Found:
    """Return where mail from ``address`` is submitted. Raises UsageError, SmarthostUnavailableError."""
    if given.transport and given.transport not in NAMES:
        raise not_allowed(f"--transport: {given.transport!r} is not known", given.transport, NAMES)
    if given.transport and not given.host and not preset(given.transport).host:
        # A provider with a host for each region, or a smarthost of one's own.
        host = talk.ask("Smarthost (a host name)", host_name, missing="--host")
        found = Found(given.transport, "asked", host, given.port, given.encryption)
    elif given.transport:
        found = Found(given.transport, "given", given.host, given.port, given.encryption)
    elif given.host:
        found = Found("smtp", "given", given.host, given.port, given.encryption)
    else:
        found = _discovered(address, config, talk) or _asked(talk)
        # A port or an encryption that was given goes before what was found.
        found = replace(found, port=given.port or found.port, encryption=given.encryption or found.encryption)
    while found.transport == "smtp" and found.offers_login is None:
        try:
            return _probed(found, config, talk) if test else _unprobed(found)
        except SmarthostUnavailableError as error:
            if not talk.asks:
                raise
            human.print_error(error)
            found = _asked(talk)
    return found


# --- what the DNS knows -----------------------------------------------------------------------------------------------


def _discovered(address: str, config: Config, talk: Dialogue) -> Found | None:
    """Return what is found of the address's domain and agreed to; None when there is nothing."""
    domain = _ascii_domain(address)
    detected = by_domain(domain)
    if detected is not None:
        title = preset(detected.transport).title
        if talk.agrees(f"{domain} is {title}. Send through it?", unasked=True):
            return Found(detected.transport, "domain", detected.host)
        return None
    talk.say(f"Looking for the provider of {domain} ...")
    discovery = _ask_dns(domain, config)
    if discovery.silence:
        talk.find(f"The DNS did not answer all of it: {discovery.silence}.")
    found = _by_exchanges(domain, discovery, talk) or _by_services(domain, discovery, config, talk)
    if found is None:
        talk.find(f"No provider is known for {domain}.")
    return found


def _by_exchanges(domain: str, discovery: Discovery, talk: Dialogue) -> Found | None:
    detected = by_exchanges(discovery.exchanges)
    if detected is None:
        return None
    known = preset(detected.transport)
    host = detected.host or known.host
    question = f"{known.title} receives the mail of {domain} (MX {discovery.exchanges[0]}). Send through {host}?"
    return Found(detected.transport, "mx", detected.host) if talk.agrees(question, unasked=True) else None


def _by_services(domain: str, discovery: Discovery, config: Config, talk: Dialogue) -> Found | None:
    """Return the first service of the domain that answers; it is tried before it is proposed."""
    for service in discovery.services[:_MOST_SERVICES]:
        if not service.vouched and not talk.agrees(_of_others(domain, service), default=False):
            if talk.asks:
                continue
            raise UsageError(
                f"{domain} names {service.host} as its submission server, which belongs to another domain",
                why="the DNS is not signed, so anyone on the way could have named it",
                remedy=f"say --host {service.host} or --yes if it is right",
            )
        combination = [(service.port, service.encryption)]
        (probed,) = _probe(service.host, combination, config)
        if probed.trouble is not None:
            talk.find(f"{service.host}:{service.port} does not take mail: {_told(probed.trouble)}.")
            continue
        question = f"{domain} names {service.host}:{service.port} as its submission server. Send through it?"
        if talk.agrees(question, unasked=True):
            return Found(
                "smtp", "srv", service.host, service.port, service.encryption, offers_login=bool(probed.mechanisms)
            )
    return None


def _of_others(domain: str, service: Service) -> str:
    return f"{domain} names {service.host} as its submission server, which belongs to another domain. Is that right?"


def _ask_dns(domain: str, config: Config) -> Discovery:
    import asyncio

    from ucrmmail.clock import Clock
    from ucrmmail.dns.nameserver import parse_nameserver
    from ucrmmail.dns.resolver import DnsResolver
    from ucrmmail.dns.submission import discover

    async def ask() -> Discovery:
        servers = [parse_nameserver(text) for text in config.words("dns.nameservers")]
        return await discover(domain, DnsResolver(servers, clock=Clock(), run_s=_DISCOVERY_S))

    return asyncio.run(ask())


def _ascii_domain(address: str) -> str:
    """Return the domain of an address as the DNS has it. Raises UsageError."""
    from ucrmmail.config.texts import domain

    try:
        return domain(address.rpartition("@")[2])
    except ValueError as error:
        raise UsageError(f"{address!r}: {error}", remedy="give a whole address, such as billing@isp.example") from None


# --- what a person names ----------------------------------------------------------------------------------------------


def _asked(talk: Dialogue) -> Found:
    question = f"Smarthost (a host name, or one of {', '.join(NAMES[:-1])})"
    return talk.ask(question, _named, missing=_MISSING_HOST)


def _named(text: str) -> Found:
    """Return what a person means by a name. Raises UsageError."""
    name = text.lower()
    if name in NAMES and preset(name).host:
        return Found(name, "asked")
    if name in NAMES:
        note = preset(name).note
        raise UsageError(f"{name} has no host of its own", remedy=f"type the host name: {note}")
    return Found("smtp", "asked", host_name(text))


def host_name(text: str) -> str:
    """Return a host name or an address as smtp.host takes it. Raises UsageError."""
    from ucrmmail.config.schema import KEYS

    try:
        return str(KEYS["smtp.host"].kind.check(text))
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}", remedy="such as mail.isp.example") from None


# --- which port -------------------------------------------------------------------------------------------------------


def _unprobed(found: Found) -> Found:
    """Return the server with the usual port of an encryption, or the usual encryption of a port."""
    encryption = found.encryption or ("tls" if found.port == _PORTS["tls"] else "starttls")
    return replace(found, port=found.port or _PORTS[encryption], encryption=encryption)


def _probed(found: Found, config: Config, talk: Dialogue) -> Found:
    """Return the server with the best port and encryption that work. Raises SmarthostUnavailableError."""
    combinations = _combinations(found, config)
    talk.say(f"Trying {found.host}: {', '.join(f'{port} {encryption}' for port, encryption in combinations)} ...")
    probed = _probe(found.host, combinations, config)
    works = [each for each in probed if each.trouble is None]
    if not works:
        raise _no_port(found.host, probed)
    best = works[0]
    return replace(found, port=best.port, encryption=best.encryption, offers_login=bool(best.mechanisms))


def _combinations(found: Found, config: Config) -> list[tuple[int, str]]:
    """Return what to try, the best first; plain text only where it was asked for."""
    from ucrmmail.smtp.probe import USUAL

    if found.encryption == "none":
        return [(found.port or _PORTS["none"], "none")]
    ports = [found.port] if found.port else [config.integer("smtp.port")]
    tried = [] if found.port else list(USUAL)
    tried += [(port, encryption) for port in ports for encryption in ("tls", "starttls")]
    return [each for each in dict.fromkeys(tried) if found.encryption in ("", each[1])]


def _no_port(host: str, probed: Sequence[Probed]) -> SmarthostUnavailableError:
    from ucrmmail.smtp.tls import is_mistrust

    tried = "; ".join(f"{each.port} {each.encryption}: {_told(each.trouble)}" for each in probed if each.trouble)
    # It was reached: neither a port nor a firewall is to blame.
    mistrust = next((each.trouble for each in probed if each.trouble and is_mistrust(each.trouble)), None)
    if mistrust is not None:
        return SmarthostUnavailableError(mistrust.what, why=mistrust.why, remedy=mistrust.remedy)
    return SmarthostUnavailableError(
        f"{host} takes no mail from here",
        why=tried,
        remedy="check the name, and --port and --encryption if it has unusual ones; or ask who runs the firewall here",
    )


def _told(trouble: Trouble) -> str:
    return trouble.what if trouble.reply is None else f"{trouble.what}: {trouble.reply}"


def _probe(host: str, combinations: Sequence[tuple[int, str]], config: Config) -> tuple[Probed, ...]:
    """Try the combinations without a login, with the authorities that the configuration trusts."""
    from ucrmmail.cli.runtime import ehlo_name
    from ucrmmail.clock import Clock
    from ucrmmail.smtp.probe import probe
    from ucrmmail.smtp.smarthost import Smarthost

    smarthost = Smarthost(
        host=host,
        port=combinations[0][0],
        verify_certificate=config.flag("smtp.verify_certificate"),
        ca_file=config.text("smtp.ca_file"),
        timeout_s=config.seconds("smtp.timeout"),
        local_hostname=ehlo_name(config),
    )
    return probe(smarthost, combinations, clock=Clock())
