"""All checks of a domain together, in the light of the account that sends for it.

Everything that can be asked at once is: the checks run side by side over one resolver, which asks no question twice.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.align import check_alignment
from ucrmmail.dns.bimi import check_bimi
from ucrmmail.dns.blocklist import check_blocklists
from ucrmmail.dns.dane import check_dane
from ucrmmail.dns.dkim_check import check_dkim
from ucrmmail.dns.dmarc_check import check_dmarc
from ucrmmail.dns.domain import check_domain as check_zone
from ucrmmail.dns.finding import Severity, verdict
from ucrmmail.dns.helo import check_helo
from ucrmmail.dns.mta_sts import check_mta_sts
from ucrmmail.dns.mx import check_mx
from ucrmmail.dns.providers import provider_of, selectors_of
from ucrmmail.dns.ptr import check_ptr
from ucrmmail.dns.requirements import Facts, Requirement, requirements
from ucrmmail.dns.spf import SpfVerdict
from ucrmmail.dns.spf_check import check_spf
from ucrmmail.dns.spf_record import is_spf
from ucrmmail.dns.tls_rpt import check_tls_rpt
from ucrmmail.dns.zone import NO_ZONE, Zone, find_zone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.align import AlignReport
    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.blocklist import Blocklist
    from ucrmmail.dns.dkim_check import DkimReport
    from ucrmmail.dns.dmarc_check import DmarcReport
    from ucrmmail.dns.finding import Finding, Proposal
    from ucrmmail.dns.https import Fetcher
    from ucrmmail.dns.presented import Presenter
    from ucrmmail.dns.spf_check import SpfReport

# Whether receivers believe the mail, then what stands around it.
CORE = ("spf", "dkim", "dmarc", "align")
CHECKS = (*CORE, "mx", "ptr", "helo", "mta-sts", "tlsrpt", "bimi", "dane", "domain")

# What is asked of who sends.
_OF_SENDERS = frozenset({"dkim", "align", "ptr", "helo"})


class _Report(Protocol):
    """What every check returns."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found."""
        ...


@dataclass(frozen=True, slots=True)
class SendingAccount:
    """What the DNS is judged against.

    ``transport`` is the provider's name ("smtp" for a smarthost of one's own), ``smarthost`` its host name or address,
    ``sending_addresses`` are those that mail reaches receivers from (empty: not known), ``reverse_path`` the address
    that bounces go to ("" when the From address serves), ``sender`` that of the Sender field ("": the mail has none),
    ``selectors`` those that must have a DKIM key, ``helo_name`` what our own server calls itself ("": a provider's
    sends), ``uses_tls`` whether mail leaves with TLS (None: not known).
    """

    transport: str = "smtp"
    smarthost: str = ""
    sending_addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    reverse_path: str = ""
    sender: str = ""
    selectors: tuple[str, ...] = ()
    helo_name: str = ""
    uses_tls: bool | None = None


@dataclass(frozen=True, slots=True)
class DomainReport:
    """What was found for one domain; a check that was not asked for is None.

    ``gone`` names what an earlier check found and this one did not: see ``baseline``. ``zone`` is looked for only when
    there is something to publish in it.
    """

    domain: str
    findings: tuple[Finding, ...]
    proposals: tuple[Proposal, ...] = ()
    spf: SpfReport | None = None
    dkim: DkimReport | None = None
    dmarc: DmarcReport | None = None
    align: AlignReport | None = None
    requirements: tuple[Requirement, ...] = ()
    gone: tuple[str, ...] = ()
    zone: Zone = NO_ZONE

    @property
    def verdict(self) -> Severity:
        """The worst that is known, else what is not known."""
        return verdict(self.findings)


async def check_domain(
    domain: str,
    account: SendingAccount,
    resolver: Resolver,
    fetcher: Fetcher,
    *,
    only: frozenset[str],
    random_label: str,
    now: float,
    blocklists: Sequence[Blocklist] = (),
    presenter: Presenter | None = None,
) -> DomainReport:
    """Check one domain.

    ``only`` names the checks to show; what a check needs of another is found out without being shown. ``random_label``
    is a name that nobody has published, ``now`` in seconds since the epoch. ``blocklists`` are asked when there are
    any: whoever runs one learns who asks about whom. With ``presenter`` exchanges that have TLSA
    records are asked for their certificate.
    """
    sends = not await _declares_no_mail(domain, account, resolver)
    if not sends:
        account, only = SendingAccount(uses_tls=account.uses_tls), only - _OF_SENDERS
    asked = _Asked(account, resolver, now)
    spf, dkim, dmarc, neighbours = await asyncio.gather(
        asked.spf(domain) if only & {"spf", "align"} else _nothing(),
        asked.dkim(domain, random_label) if only & {"dkim", "align"} else _nothing(),
        check_dmarc(domain, resolver) if only & {"dmarc", "bimi"} else _nothing(),
        _neighbours(domain, account, resolver, fetcher, presenter=presenter, only=only, sends=sends),
    )
    aligned = None
    if "align" in only and spf is not None and dkim is not None:
        aligned = await asked.alignment(domain, spf, dkim)
    reports: dict[str, _Report | None] = {"spf": spf, "dkim": dkim, "dmarc": dmarc, "align": aligned, **neighbours}
    if "bimi" in only and dmarc is not None:
        reports["bimi"] = await check_bimi(
            domain, resolver, policy=dmarc.policy, org_domain=dmarc.org_domain, fetcher=fetcher
        )
    shown = [report for name, report in reports.items() if report is not None and name in only]
    if blocklists:
        shown.append(await check_blocklists(domain, account.sending_addresses, resolver, lists=blocklists))
    report = DomainReport(
        domain,
        tuple(finding for report in shown for finding in report.findings),
        tuple(proposal for report in shown for proposal in getattr(report, "proposals", ())),
        spf=spf if "spf" in only else None,
        dkim=dkim if "dkim" in only else None,
        dmarc=dmarc if "dmarc" in only else None,
        align=aligned,
    )
    if report.proposals:
        report = replace(report, zone=await find_zone(domain, resolver))
    if not only >= set(CORE):
        return report
    return replace(report, requirements=requirements(_facts(account, report, reports["ptr"])))


async def _declares_no_mail(domain: str, account: SendingAccount, resolver: Resolver) -> bool:
    """Return whether the domain says that it has no mail, which is no mistake, unless this account sends in its name.

    A null MX (RFC 7505) and an SPF record that authorizes nobody say so together.
    """
    if domain.lower() in {address.rpartition("@")[2].lower() for address in (account.reverse_path, account.sender)}:
        return False
    mx, txt = await asyncio.gather(resolver.query(domain, "MX"), resolver.query(domain, "TXT"))
    records = [text.joined.lower().split() for text in txt.texts if is_spf(text.joined)]
    return [each.exchange for each in mx.exchanges] == ["."] and records == [[b"v=spf1", b"-all"]]


async def _neighbours(
    domain: str,
    account: SendingAccount,
    resolver: Resolver,
    fetcher: Fetcher,
    *,
    presenter: Presenter | None,
    only: frozenset[str],
    sends: bool,
) -> dict[str, _Report | None]:
    """Return the reports of what stands around the domain; those of checks that were not asked for are None."""
    addresses = account.sending_addresses
    checks: dict[str, Awaitable[_Report] | None] = {
        "mx": check_mx(domain, resolver, sends=sends) if "mx" in only else None,
        "ptr": check_ptr(addresses, resolver, helo_name=account.helo_name) if "ptr" in only and addresses else None,
        "helo": check_helo(account.helo_name, addresses, resolver)
        if "helo" in only and addresses and account.helo_name
        else None,
        "mta-sts": check_mta_sts(domain, resolver, fetcher) if "mta-sts" in only else None,
        "tlsrpt": check_tls_rpt(domain, resolver) if "tlsrpt" in only else None,
        "dane": check_dane(domain, resolver, presenter) if "dane" in only else None,
        "domain": check_zone(domain, resolver) if "domain" in only else None,
    }
    results = await asyncio.gather(*(check if check is not None else _nothing() for check in checks.values()))
    return dict(zip(checks, results, strict=True))


async def _nothing() -> None:
    """Stand for a check that was not asked for."""


def _facts(account: SendingAccount, report: DomainReport, reverse: _Report | None) -> Facts:
    """Return what the checks mean for the rules of receivers."""
    spf, dkim, dmarc, aligned = report.spf, report.dkim, report.dmarc, report.align
    return Facts(
        spf=_passes(spf, account) if spf is not None else None,
        dkim=_signs(dkim) if dkim is not None else None,
        dmarc=_has_policy(dmarc) if dmarc is not None else None,
        aligned=aligned.aligned if aligned is not None else None,
        reverse_dns=_holds(reverse) if reverse is not None else None,
        tls=account.uses_tls,
    )


def _holds(report: _Report) -> bool | None:
    """Return whether a check has found nothing that fails; None when the DNS did not answer."""
    found = verdict(report.findings)
    return None if found is Severity.ERROR else found is not Severity.FAIL


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every check of a run is asked with."""

    account: SendingAccount
    resolver: Resolver
    now: float

    async def spf(self, domain: str) -> SpfReport:
        """Check SPF for the addresses that mail of this account leaves from."""
        addresses = self.account.sending_addresses
        includes = provider_of(self.account.transport).includes
        if not addresses and not includes and self.account.smarthost:
            addresses = await self._addresses_of(self.account.smarthost)
        return await check_spf(
            domain, self.resolver, sending_addresses=addresses, expected_includes=includes, now=self.now
        )

    async def _addresses_of(self, host: str) -> tuple[IPv4Address | IPv6Address, ...]:
        """Return the public addresses of the smarthost: most often mail leaves from where it is taken."""
        try:
            addresses: tuple[IPv4Address | IPv6Address, ...] = (ip_address(host.strip("[]")),)
        except ValueError:
            answers = await asyncio.gather(self.resolver.query(host, "A"), self.resolver.query(host, "AAAA"))
            addresses = tuple(address for answer in answers for address in answer.addresses)
        return tuple(address for address in addresses if address.is_global)

    async def dkim(self, domain: str, random_label: str) -> DkimReport:
        """Check the keys of the account's selectors, of its provider, or those in common use."""
        account = self.account
        hints = () if account.selectors else selectors_of(await self._hosts_around(domain))
        return await check_dkim(
            domain,
            self.resolver,
            selectors=account.selectors,
            transport=account.transport,
            hints=hints,
            random_label=random_label,
        )

    async def _hosts_around(self, domain: str) -> tuple[str, ...]:
        """Return the exchanges of a domain and what its SPF record includes: they tell whom it sends with."""
        mx, txt = await asyncio.gather(self.resolver.query(domain, "MX"), self.resolver.query(domain, "TXT"))
        terms = [part for text in txt.texts if is_spf(text.joined) for part in text.joined.decode("latin-1").split(" ")]
        included = [term.partition(":")[2] for term in terms if term.lower().startswith("include:")]
        return (*(each.exchange.lower() for each in mx.exchanges), *(name.lower() for name in included))

    async def alignment(self, domain: str, spf: SpfReport, dkim: DkimReport) -> AlignReport:
        """Conclude what DMARC makes of the account's mail with this domain in From."""
        envelope_domain = self.account.reverse_path.rpartition("@")[2].lower() or domain
        of_envelope = spf if envelope_domain == domain else await self.spf(envelope_domain)
        return await check_alignment(
            domain,
            self.resolver,
            envelope_domain=envelope_domain,
            spf_passes=_passes(of_envelope, self.account),
            dkim_signs=_signs(dkim),
            transport=self.account.transport,
            sender_domain=self.account.sender.rpartition("@")[2].lower(),
        )


def _has_policy(dmarc: DmarcReport) -> bool | None:
    return None if dmarc.result == "temperror" else dmarc.result in ("found", "inherited")


def _passes(spf: SpfReport, account: SendingAccount) -> bool | None:
    """Return whether SPF passes for the account's mail; None when that is not known."""
    match spf.result:
        case SpfVerdict.PASS:
            return True
        case SpfVerdict.TEMPERROR:
            return None
        case "":
            # No address is known: that of the provider is in its include, which must be there.
            includes = provider_of(account.transport).includes
            missing = any(found.code == "spf-expected-include-missing" for found in spf.findings)
            return None if not includes else not missing
    return False


def _signs(dkim: DkimReport) -> bool | None:
    """Return whether a key is there; None when none was found under names that were only guessed."""
    if dkim.is_good:
        return True
    return False if any(result.state in ("missing", "invalid", "revoked") for result in dkim.selectors) else None
