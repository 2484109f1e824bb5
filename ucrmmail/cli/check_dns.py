"""``ucrmmail check-dns``: will receivers believe the mail of this account, and if not, what is to be published."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.errors import NoInputError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.config.load import Config
    from ucrmmail.dns.check import DomainReport, SendingAccount
    from ucrmmail.dns.resolver import DnsResolver

EXAMPLES = """\b
Examples:
  ucrmmail check-dns                           the domains of this account
  ucrmmail check-dns isp.example --selector s1
  ucrmmail check-dns --ip 192.0.2.25 --mail-from billing@isp.example --helo mail.isp.example
  ucrmmail check-dns --from billing@isp.example --dkim-pass isp.example
  ucrmmail check-dns --message sent.eml
  ucrmmail check-dns --compare known.json --save known.json -q
  ucrmmail check-dns isp.example --zone > records.zone
  ucrmmail check-dns --explain spf-too-many-lookups"""

_EX_TEMPFAIL = 75
_AT_ONCE = 8
# A run ends in time whatever servers do, and a long list of domains gets more of it.
_RUN_S = 60.0
_DOMAIN_S = 2.0
_LARGEST_FILE = 1 << 26


def check_dns(
    context: typer.Context,
    domains: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DOMAIN]...", help="The domains; without any those of the account.", show_default=False
        ),
    ] = None,
    nameserver: Annotated[
        list[str] | None,
        typer.Option("--nameserver", metavar="SERVER", help="Ask this server: HOST or HOST:PORT. Repeatable."),
    ] = None,
    selector: Annotated[
        list[str] | None,
        typer.Option("--selector", metavar="SELECTOR", help="A DKIM selector that must have a key. Repeatable."),
    ] = None,
    ip: Annotated[
        str | None,
        typer.Option("--ip", metavar="IP", help="Give the SPF result for this client address (RFC 7208)."),
    ] = None,
    mail_from: Annotated[
        str | None,
        typer.Option("--mail-from", metavar="ADDRESS", help='With --ip: the reverse-path ("": the HELO identity).'),
    ] = None,
    helo: Annotated[str | None, typer.Option("--helo", metavar="NAME", help="With --ip: the HELO name.")] = None,
    header_from: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS", help="Give the DMARC result for a message from this address."),
    ] = None,
    spf_pass: Annotated[
        str, typer.Option("--spf-pass", metavar="DOMAINS", help="With --from: the domains for which SPF passed.")
    ] = "",
    dkim_pass: Annotated[
        str, typer.Option("--dkim-pass", metavar="DOMAINS", help="With --from: the domains for which DKIM passed.")
    ] = "",
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="FILE", help="Verify the DKIM signatures of this message, and its DMARC."),
    ] = None,
    private_key: Annotated[
        str | None,
        typer.Option("--private-key", metavar="FILE", help="With --selector: is this the key that is published?"),
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="CHECKS", help="Only these checks, such as spf,dmarc.")] = "",
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODE", help="Leave this finding out. Repeatable.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Read domains from a file, one a line (-: standard input)."),
    ] = None,
    save: Annotated[
        str | None, typer.Option("--save", metavar="FILE", help="Keep what was found, for --compare.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="FILE", help="Tell only what has changed since --save.")
    ] = None,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Propose SPF without includes too. It breaks when the provider moves.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines without colour, also on a terminal.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show only what is wrong.")] = False,
    zone: Annotated[bool, typer.Option("--zone", help="Print the proposed records as a zone file.")] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="Say what a finding means, and exit.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check SPF, DKIM and DMARC of your domains. Says what to publish when something is missing."""
    import asyncio

    from ucrmmail.output import dns_report

    if explain is not None:
        _explain(explain)
        return
    config = invocation(context).config()
    given = [*(domains or []), *_domains_in(file)]
    resolver = _resolver(nameserver or list(config.words("dns.nameservers")), domains=len(given))
    if message is not None:
        from ucrmmail.dns.case import judge_message

        reports = [asyncio.run(judge_message(_read(message), _list(spf_pass), resolver, now=time.time()))]
    elif ip is not None or header_from is not None:
        reports = [
            asyncio.run(
                _judge(
                    resolver,
                    given,
                    ip=ip,
                    mail_from=mail_from,
                    helo=helo,
                    header_from=header_from,
                    spf_pass=_list(spf_pass),
                    dkim_pass=_list(dkim_pass),
                )
            )
        ]
    else:
        if mail_from is not None or helo is not None:
            raise UsageError("--mail-from and --helo belong to --ip", remedy="give the client's address with --ip")
        if spf_pass or dkim_pass:
            raise UsageError("--spf-pass and --dkim-pass belong to --from", remedy="give the From address with --from")
        checked = [_domain(name) for name in given] or own_domains(config)
        account = account_of(config, selector or [])
        if private_key is not None and not selector:
            raise UsageError("--private-key needs to know where its record stands", remedy="add --selector")
        reports = asyncio.run(_check(checked, account, resolver, _checks(only)))
        if flatten:
            reports = asyncio.run(_flattened(reports, resolver))
        if private_key is not None:
            pem = _read(private_key)
            reports = [_with_private_key(report, pem) for report in reports]
    reports = [_without(report, frozenset(ignore or [])) for report in reports]
    found = reports
    if compare is not None:
        from ucrmmail.dns.baseline import decode, since

        baseline = decode(_read(compare))
        reports = [since(report, baseline) for report in reports]
    if as_json:
        dns_report.show_document(reports)
    elif zone:
        dns_report.show_zone(reports)
    else:
        dns_report.show_reports(reports, plain=plain, quiet=quiet)
    if save is not None:
        _save(save, found)
    code = _exit_code(reports, strict=strict)
    if code:
        raise typer.Exit(code)


# --- what is asked ----------------------------------------------------------------------------------------------------


def _resolver(nameservers: Sequence[str], *, domains: int) -> DnsResolver:
    from ucrmmail.clock import Clock
    from ucrmmail.dns.nameserver import parse_nameserver
    from ucrmmail.dns.resolver import DnsResolver

    return DnsResolver(
        [parse_nameserver(text) for text in nameservers], clock=Clock(), run_s=_RUN_S + domains * _DOMAIN_S
    )


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _domains_in(path: str | None) -> list[str]:
    """Return the domains of a file: one a line, # begins a remark. Raises NoInputError."""
    if path is None:
        return []
    lines = _read(path).decode("utf-8", "replace").splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def _domain(name: str) -> str:
    """Return a domain as the DNS has it: lower case, A-labels, no final dot. Raises UsageError."""
    from ucrmmail.config.texts import domain

    try:
        return domain(name.rpartition("@")[2].removesuffix("."))
    except ValueError as error:
        raise UsageError(f"{name!r} is no domain: {error}", remedy="give a name such as isp.example") from None


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
    return list(dict.fromkeys(_domain(name) for name in named))


def _checks(only: str) -> frozenset[str]:
    from ucrmmail.dns.check import CHECKS

    wanted = frozenset(_list(only.lower()))
    unknown = wanted - set(CHECKS)
    if unknown:
        raise UsageError(f"--only: {min(unknown)!r} is no check; there are {', '.join(CHECKS)}")
    return wanted or frozenset(CHECKS)


def account_of(config: Config, selectors: Sequence[str]) -> SendingAccount:
    """Return what the DNS is judged against; ``selectors`` go before those of the configuration."""
    from ucrmmail.dns.check import SendingAccount

    return SendingAccount(
        transport=config.text("smtp.transport"),
        smarthost=config.text("smtp.host"),
        sending_addresses=_sending_addresses(config.words("dns.sending_addresses")),
        reverse_path=config.text("addresses.sender") or config.text("addresses.organization"),
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


# --- the checks -------------------------------------------------------------------------------------------------------


async def _check(
    domains: Sequence[str], account: SendingAccount, resolver: DnsResolver, only: frozenset[str]
) -> list[DomainReport]:
    import asyncio

    from ucrmmail.clock import Clock
    from ucrmmail.dns.check import check_domain
    from ucrmmail.dns.https import HttpsFetcher

    fetcher = HttpsFetcher(clock=Clock())
    random_label = f"ucrmmail-{os.urandom(6).hex()}"
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def check(domain: str) -> DomainReport:
        async with at_once:
            return await check_domain(
                domain, account, resolver, fetcher, only=only, random_label=random_label, now=time.time()
            )

    return list(await asyncio.gather(*(check(domain) for domain in domains)))


async def _flattened(reports: Sequence[DomainReport], resolver: DnsResolver) -> list[DomainReport]:
    """Add the records without includes to what is proposed; the danger is named beside them."""
    import asyncio
    from dataclasses import replace

    from ucrmmail.dns.spf_flatten import flatten

    proposed = await asyncio.gather(*(flatten(report.domain, resolver) for report in reports))
    return [
        replace(report, proposals=(*report.proposals, *more)) for report, more in zip(reports, proposed, strict=True)
    ]


async def _judge(
    resolver: DnsResolver,
    domains: Sequence[str],
    *,
    ip: str | None,
    mail_from: str | None,
    helo: str | None,
    header_from: str | None,
    spf_pass: Sequence[str],
    dkim_pass: Sequence[str],
) -> DomainReport:
    """Give the results of SPF and DMARC for one case; malformed names have results too, and are no usage errors."""
    from ucrmmail.dns.case import judge_dmarc, judge_spf, together

    if len(domains) > 1:
        raise UsageError("--ip and --from are about one domain", remedy="run the command for each domain")
    domain = domains[0] if domains else ""
    spf = None
    if ip is not None:
        if mail_from is None:
            mail_from = f"postmaster@{domain}" if domain else ""
        if not mail_from and not helo:
            raise UsageError("--ip needs to know for whom", remedy="add DOMAIN, --mail-from or --helo")
        spf = await judge_spf(_address(ip), mail_from, helo or mail_from.rpartition("@")[2], resolver, now=time.time())
    dmarc = None
    if header_from is not None:
        passed = [*spf_pass, *([spf.domain] if spf is not None and spf.passes else [])]
        dmarc = await judge_dmarc(header_from, passed, dkim_pass, resolver)
    return together(spf, dmarc)


def _with_private_key(report: DomainReport, pem: bytes) -> DomainReport:
    """Add for each selector whether its record belongs to the private key. Raises DataError."""
    from dataclasses import replace

    from ucrmmail.dns.dkim_private import judge_private_key

    results = report.dkim.selectors if report.dkim is not None else ()
    told = [
        judge_private_key(pem, f"{result.selector}._domainkey.{report.domain}", result.record)
        for result in results
        if result.record
    ]
    return replace(report, findings=(*report.findings, *told))


def _save(path: str, reports: Sequence[DomainReport]) -> None:
    """Write the baseline, in one step. Raises CannotCreateError."""
    from ucrmmail.dns.baseline import encode
    from ucrmmail.errors import CannotCreateError
    from ucrmmail.files import replace_file

    try:
        replace_file(path, encode(reports))
    except OSError as error:
        raise CannotCreateError(f"{path} cannot be written: {error.strerror}") from None


def _read(path: str) -> bytes:
    """Return the content of a file, or of standard input for ``-``. Raises NoInputError."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(_LARGEST_FILE)
        with open(path, "rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise NoInputError(f"{path} cannot be read: {error.strerror}") from None


def _address(text: str) -> IPv4Address | IPv6Address:
    from ipaddress import ip_address

    try:
        return ip_address(text)
    except ValueError:
        raise UsageError(f"--ip: {text!r} is no IP address", remedy="such as 192.0.2.25 or 2001:db8::25") from None


# --- what is told -----------------------------------------------------------------------------------------------------


def _without(report: DomainReport, codes: frozenset[str]) -> DomainReport:
    from dataclasses import replace

    return replace(report, findings=tuple(found for found in report.findings if found.code not in codes))


def _exit_code(reports: Sequence[DomainReport], *, strict: bool) -> int:
    """Return 0 when all passes, 1 when something fails, 75 when the DNS did not answer and nothing else fails."""
    verdicts = {report.verdict.value for report in reports}
    if "fail" in verdicts or (strict and "warn" in verdicts):
        return 1
    return _EX_TEMPFAIL if "error" in verdicts else 0


def _explain(code: str) -> None:
    from difflib import get_close_matches

    from ucrmmail.dns.codes import CODES

    if code not in CODES:
        near = get_close_matches(code, CODES, 1)
        remedy = f"did you mean {near[0]}?" if near else "the codes are in `man ucrmmail-findings`"
        raise UsageError(f"--explain: {code!r} is no code of a finding", remedy=remedy)
    human.say(f"{code}: {CODES[code]}")
