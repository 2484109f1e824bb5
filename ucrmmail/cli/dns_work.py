"""The work of ``check-dns`` over the network: domains side by side, one case, and the wait for what was published."""

from __future__ import annotations

import asyncio
import os
import time
from itertools import chain, repeat
from typing import TYPE_CHECKING

from ucrmmail.cli import dns_scope
from ucrmmail.clock import Clock
from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.case import judge_dmarc, judge_spf, together
from ucrmmail.dns.check import check_domain
from ucrmmail.dns.dkim_private import judge_private_key, propose_key
from ucrmmail.dns.domain import check_domain as check_zone
from ucrmmail.dns.https import HttpsFetcher
from ucrmmail.dns.presented import SmtpPresenter
from ucrmmail.dns.propagation import look, servers_of
from ucrmmail.dns.resolver import DnsResolver
from ucrmmail.dns.spf_flatten import flatten
from ucrmmail.errors import NoUserError, UsageError
from ucrmmail.message.addresslist import parse_address_list

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.blocklist import Blocklist
    from ucrmmail.dns.check import DomainReport, SendingAccount
    from ucrmmail.dns.https import Fetcher
    from ucrmmail.dns.nameserver import Nameserver
    from ucrmmail.dns.presented import Presenter
    from ucrmmail.dns.propagation import Propagation

_AT_ONCE = 8
# Between two looks at the zone's servers, more each time; and the longest that one of them may take over a question.
_PAUSES_S = (1.0, 2.0, 5.0, 10.0)
_SERVER_S = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """What every domain of a run is checked with."""

    account: SendingAccount
    only: frozenset[str]
    blocklists: tuple[Blocklist, ...] = ()

    async def check(
        self,
        domain: str,
        resolver: Resolver,
        fetcher: Fetcher,
        random_label: str,
        presenter: Presenter | None = None,
    ) -> DomainReport:
        """Check one domain."""
        return await check_domain(
            domain,
            self.account,
            resolver,
            fetcher,
            only=self.only,
            random_label=random_label,
            now=time.time(),
            blocklists=self.blocklists,
            presenter=presenter,
        )


async def check_all(
    domains: Sequence[str], work: Work, resolver: DnsResolver, done: Callable[[DomainReport], None]
) -> list[DomainReport]:
    """Check the domains, a few at once; ``done`` hears of each that is ready."""
    fetcher = HttpsFetcher(clock=Clock())
    presenter = SmtpPresenter()
    random_label = _random_label()
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def check(domain: str) -> DomainReport:
        async with at_once:
            report = await work.check(domain, resolver, fetcher, random_label, presenter)
        done(report)
        return report

    return list(await asyncio.gather(*(check(domain) for domain in domains)))


def _random_label() -> str:
    """Return a name that nobody has published."""
    return f"ucrmmail-{os.urandom(6).hex()}"


async def watch_all(
    domains: Sequence[str],
    work: Work,
    nameservers: Sequence[str],
    *,
    expected: tuple[str, ...],
    is_enough: Callable[[Propagation], bool],
    time_s: float,
    tell: Callable[[Propagation], None],
) -> list[Propagation]:
    """Look at the servers of each domain's zone until ``is_enough`` or ``time_s`` seconds are over.

    ``tell`` hears of each look that shows something else than the one before. Returns the last look at each domain.
    """
    ends_at = time.monotonic() + time_s

    async def watch(domain: str) -> Propagation:
        last: Propagation | None = None
        for pause_s in chain(_PAUSES_S, repeat(_PAUSES_S[-1])):
            seen = await _look(domain, work, nameservers, expected)
            if last is None or _shown(seen) != _shown(last):
                tell(seen)
            last = seen
            left = ends_at - time.monotonic()
            if left <= 0 or is_enough(seen):
                break
            await asyncio.sleep(min(pause_s, left))
        return seen

    return list(await asyncio.gather(*(watch(domain) for domain in domains)))


async def _look(domain: str, work: Work, nameservers: Sequence[str], expected: tuple[str, ...]) -> Propagation:
    """Return what each server of the domain's zone shows at this moment, without anything remembered."""
    fetcher = HttpsFetcher(clock=Clock())
    random_label = _random_label()
    outside = dns_scope.make_resolver(nameservers)
    zone = await check_zone(domain, outside)

    def inside(server: Nameserver) -> DnsResolver:
        return DnsResolver([server], clock=Clock(), query_s=_SERVER_S)

    async def check(resolver: Resolver) -> DomainReport:
        return await work.check(domain, resolver, fetcher, random_label)

    servers = servers_of(zone.nameservers)
    return await look(domain, zone.zone, servers, outside, inside=inside, check=check, expected=expected)


def _shown(seen: Propagation) -> list[tuple[Nameserver, frozenset[str], tuple[str, ...]]]:
    """Return what a person is told of a look."""
    return [(sight.server, sight.records, sight.codes) for sight in seen.sights]


async def flattened(reports: Sequence[DomainReport], resolver: DnsResolver) -> list[DomainReport]:
    """Add the records without includes to what is proposed; the danger is named beside them."""
    proposed = await asyncio.gather(*(flatten(report.domain, resolver) for report in reports))
    return [
        replace(report, proposals=(*report.proposals, *more)) for report, more in zip(reports, proposed, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Case:
    """One case to judge, as the command line gives it; None stands for what was not given."""

    domains: Sequence[str]
    ip: str | None
    mail_from: str | None
    helo: str | None
    header_from: str | None
    spf_pass: Sequence[str]
    dkim_pass: Sequence[str]


async def judge(case: Case, resolver: DnsResolver) -> DomainReport:
    """Give the results of SPF and DMARC for one case; malformed names have results too, and are no usage errors."""
    if len(case.domains) > 1:
        raise UsageError("--ip and --from are about one domain", remedy="run the command for each domain")
    domain = case.domains[0] if case.domains else ""
    spf = None
    if case.ip is not None:
        mail_from = case.mail_from
        if mail_from is None:
            mail_from = f"postmaster@{domain}" if domain else ""
        # An empty name that was given is malformed, and has a result (RFC 7208 section 4.3).
        if not domain and case.mail_from is None and case.helo is None:
            raise UsageError("--ip needs to know for whom", remedy="add DOMAIN, --mail-from or --helo")
        ip = dns_scope.address(case.ip)
        helo = case.helo or mail_from.rpartition("@")[2] or domain
        spf = await judge_spf(ip, mail_from, helo, resolver, now=time.time())
    dmarc = None
    if case.header_from is not None:
        passed = [*case.spf_pass, *([spf.domain] if spf is not None and spf.passes else [])]
        dmarc = await judge_dmarc(_address_in(case.header_from), passed, case.dkim_pass, resolver)
    return together(spf, dmarc)


def _address_in(header_from: str) -> str:
    """Return the address of a From header that was pasted whole, ``Joe <joe@isp.example>``; else what was given."""
    if "<" not in header_from:
        return header_from
    try:
        return next(iter(parse_address_list(header_from)), header_from)
    except NoUserError:
        return header_from


def with_private_key(report: DomainReport, pem: bytes) -> DomainReport:
    """Add for each selector whether its record belongs to the private key, and the record where there is none.

    Raises DataError.
    """
    results = report.dkim.selectors if report.dkim is not None else ()
    names = {result: f"{result.selector}._domainkey.{report.domain}" for result in results}
    told = [judge_private_key(pem, name, result.record) for result, name in names.items() if result.record]
    missing = [propose_key(pem, name) for result, name in names.items() if result.state == "missing"]
    return replace(report, findings=(*report.findings, *told), proposals=(*report.proposals, *missing))
