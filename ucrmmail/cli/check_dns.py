"""``ucrmmail check-dns``: will receivers believe the mail of this account, and if not, what is to be published."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.dataclass import dataclass, replace
from ucrmmail.errors import CannotCreateError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.cli.dns_work import Work
    from ucrmmail.dns.check import DomainReport
    from ucrmmail.dns.propagation import Propagation

EXAMPLES = """\b
Examples:
  ucrmmail check-dns                           # the domains of this account
  ucrmmail check-dns isp.example --selector s1
  ucrmmail check-dns --ip 192.0.2.25 --mail-from billing@isp.example
  ucrmmail check-dns --from billing@isp.example --dkim-pass isp.example
  ucrmmail check-dns --message sent.eml
  ucrmmail check-dns --compare known.json --save known.json -q
  ucrmmail check-dns isp.example --zone > records.zone
  ucrmmail check-dns isp.example --only spf --watch --expect 'v=spf1 mx -all'
  ucrmmail check-dns --explain spf-too-many-lookups"""

_EX_TEMPFAIL = 75
_WATCHED = frozenset({"spf", "dkim", "dmarc"})
# The groups of its options in --help.
_WHICH = "Which domains, and what of them"
_CASE = "One case in place of the domain"
_PUBLISH = "What to publish"
_OVER_TIME = "Over time"
_TOLD = "How it is told"


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
        typer.Option(
            "--nameserver",
            metavar="SERVER",
            help="Ask this server: HOST or HOST:PORT. Repeatable.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    selector: Annotated[
        list[str] | None,
        typer.Option(
            "--selector",
            metavar="SELECTOR",
            help="A DKIM selector that must have a key. Repeatable.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    ip: Annotated[
        str | None,
        typer.Option(
            "--ip", metavar="IP", help="Give the SPF result for this client address (RFC 7208).", rich_help_panel=_CASE
        ),
    ] = None,
    mail_from: Annotated[
        str | None,
        typer.Option(
            "--mail-from",
            metavar="ADDRESS",
            help='With --ip: the reverse-path ("": the HELO identity).',
            rich_help_panel=_CASE,
        ),
    ] = None,
    helo: Annotated[
        str | None, typer.Option("--helo", metavar="NAME", help="With --ip: the HELO name.", rich_help_panel=_CASE)
    ] = None,
    header_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="ADDRESS",
            help="Give the DMARC result for a message from this address.",
            rich_help_panel=_CASE,
        ),
    ] = None,
    spf_pass: Annotated[
        str,
        typer.Option(
            "--spf-pass",
            metavar="DOMAINS",
            help="With --from: the domains for which SPF passed.",
            rich_help_panel=_CASE,
        ),
    ] = "",
    dkim_pass: Annotated[
        str,
        typer.Option(
            "--dkim-pass",
            metavar="DOMAINS",
            help="With --from: the domains for which DKIM passed.",
            rich_help_panel=_CASE,
        ),
    ] = "",
    message: Annotated[
        str | None,
        typer.Option(
            "--message",
            metavar="FILE",
            help="Verify the DKIM signatures of this message, and its DMARC.",
            rich_help_panel=_CASE,
        ),
    ] = None,
    private_key: Annotated[
        str | None,
        typer.Option(
            "--private-key",
            metavar="FILE",
            help="With --selector: is this the key that is published?",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    only: Annotated[
        str,
        typer.Option("--only", metavar="CHECKS", help="Only these checks, such as spf,dmarc.", rich_help_panel=_WHICH),
    ] = "",
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODE", help="Leave this finding out. Repeatable.", rich_help_panel=_WHICH),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Read domains from a file, one a line (-: standard input).",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="FILE", help="Keep what was found, for --compare.", rich_help_panel=_OVER_TIME),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare", metavar="FILE", help="Tell only what has changed since --save.", rich_help_panel=_OVER_TIME
        ),
    ] = None,
    flatten: Annotated[
        bool,
        typer.Option(
            "--flatten",
            help="Propose SPF without includes too. It breaks when the provider moves.",
            rich_help_panel=_PUBLISH,
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for warnings too.", rich_help_panel=_TOLD)
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain lines without colour, also on a terminal.", rich_help_panel=_TOLD)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Show only what is wrong.", rich_help_panel=_TOLD)
    ] = False,
    zone: Annotated[
        bool, typer.Option("--zone", help="Print the proposed records as a zone file.", rich_help_panel=_PUBLISH)
    ] = False,
    panel: Annotated[
        str,
        typer.Option(
            "--panel",
            metavar="NAME",
            help="Tell the steps for this DNS panel, such as cpanel.",
            rich_help_panel=_PUBLISH,
        ),
    ] = "",
    usual_blocklists: Annotated[
        bool,
        typer.Option(
            "--blocklists",
            help="Ask the usual blocklists about the domain and sending addresses.",
            rich_help_panel=_WHICH,
        ),
    ] = False,
    blocklist: Annotated[
        list[str] | None,
        typer.Option("--blocklist", metavar="ZONE", help="Ask this blocklist. Repeatable.", rich_help_panel=_WHICH),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Wait until all servers of the zone show good records.", rich_help_panel=_OVER_TIME
        ),
    ] = False,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            metavar="RECORD",
            help="With --watch: until this record is among them. Repeatable.",
            rich_help_panel=_OVER_TIME,
        ),
    ] = None,
    watch_time: Annotated[
        str,
        typer.Option(
            "--watch-time",
            metavar="DURATION",
            help="With --watch: give up after this time.",
            rich_help_panel=_OVER_TIME,
        ),
    ] = "1h",
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="CODE", help="Say what a finding means, and exit.", rich_help_panel=_TOLD),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check SPF, DKIM and DMARC of your domains. Says what to publish when something is missing."""
    if explain is not None:
        _explain(explain)
        return
    for code in ignore or []:
        _check_code("--ignore", code)
    if ip is None and (mail_from is not None or helo is not None):
        raise UsageError("--mail-from and --helo belong to --ip", remedy="give the client's address with --ip")
    if header_from is None and (dkim_pass or (spf_pass and message is None)):
        raise UsageError("--spf-pass and --dkim-pass belong to --from", remedy="give the From address with --from")
    if message is not None and (ip is not None or header_from is not None):
        raise UsageError("--message says itself whom it is from", remedy="leave out --ip and --from, or --message")
    if watch and not (ip is None and header_from is None and message is None):
        raise UsageError("--watch is about the records of a domain", remedy="leave out --ip, --from and --message")
    import asyncio

    from ucrmmail.cli import dns_scope, dns_work
    from ucrmmail.output import dns_progress, dns_report

    config = invocation(context).config()
    ignored = frozenset(ignore or ())
    given = [*(domains or []), *dns_scope.domains_in(file)]
    if file is not None and not given:
        raise UsageError(f"{file} names no domain", remedy="write one a line")
    servers = nameserver or list(config.words("dns.nameservers"))
    resolver = dns_scope.make_resolver(servers, domains=len(given))
    spf_passed, dkim_passed = dns_scope.words(spf_pass), dns_scope.words(dkim_pass)
    shown_panel = dns_scope.panel(panel)
    if message is not None:
        from ucrmmail.dns.case import judge_message

        reports = [asyncio.run(judge_message(dns_scope.read(message), spf_passed, resolver, now=time.time()))]
    elif ip is not None or header_from is not None:
        case = dns_work.Case(given, ip, mail_from, helo, header_from, spf_passed, dkim_passed)
        reports = [asyncio.run(dns_work.judge(case, resolver))]
    else:
        if private_key is not None and not selector:
            raise UsageError("--private-key needs to know where its record stands", remedy="add --selector")
        if expect and not watch:
            raise UsageError("--expect belongs to --watch", remedy="add --watch")
        names = list(dict.fromkeys(dns_scope.domain(name) for name in given)) or dns_scope.own_domains(config)
        lists = dns_scope.blocklists(blocklist or [], usual=usual_blocklists)
        account = dns_scope.account(config, dns_scope.selectors(selector or []))
        work = dns_work.Work(account, dns_scope.checks(only), lists)
        if watch:
            wanted = _Watch(tuple(expect or ()), _seconds(watch_time), strict=strict, as_json=as_json)
            _leave(_watch(names, replace(work, only=_WATCHED) if not only else work, servers, wanted))
            return
        with dns_progress.domains_done(len(names), shown=not as_json) as done:
            reports = asyncio.run(dns_work.check_all(names, work, resolver, done))
        if flatten:
            reports = asyncio.run(dns_work.flattened(reports, resolver))
        if private_key is not None:
            pem = dns_scope.read(private_key)
            reports = [dns_work.with_private_key(report, pem) for report in reports]
    reports = [_without(report, ignored) for report in reports]
    found = reports
    if compare is not None:
        from ucrmmail.dns.baseline import decode, since

        baseline = decode(dns_scope.read(compare))
        reports = [since(report, baseline) for report in reports]
    if as_json:
        dns_report.show_document(reports, shown_panel)
    elif zone:
        dns_report.show_zone(reports)
    else:
        dns_report.show_reports(reports, panel=shown_panel, plain=plain, quiet=quiet)
    if save is not None:
        _save(save, found)
    _leave(_exit_code(reports, strict=strict))


@dataclass(frozen=True, slots=True)
class _Watch:
    """Until when to watch; ``time_s`` in seconds."""

    expected: tuple[str, ...]
    time_s: float
    strict: bool
    as_json: bool

    def is_enough(self, seen: Propagation) -> bool:
        """Return whether all servers show what is wanted."""
        return seen.is_settled(strict=self.strict)


def _watch(domains: Sequence[str], work: Work, nameservers: Sequence[str], wanted: _Watch) -> int:
    """Watch the servers of the zones, and return the exit code."""
    import asyncio

    from ucrmmail.cli import dns_work
    from ucrmmail.output import propagation

    seen = asyncio.run(
        dns_work.watch_all(
            domains,
            work,
            nameservers,
            expected=wanted.expected,
            is_enough=wanted.is_enough,
            time_s=wanted.time_s,
            tell=(lambda _seen: None) if wanted.as_json else propagation.show_look,
        )
    )
    if wanted.as_json:
        propagation.show_document(seen, strict=wanted.strict)
    else:
        propagation.show_end(seen, strict=wanted.strict)
    if all(wanted.is_enough(each) for each in seen):
        return 0
    verdicts = {sight.report.verdict.value for each in seen for sight in each.sights}
    return _EX_TEMPFAIL if verdicts <= {"error"} else 1


def _seconds(text: str) -> float:
    """Return the seconds of ``--watch-time``. Raises UsageError."""
    from ucrmmail.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--watch-time: {error}", remedy="such as --watch-time 1h") from None


def _leave(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _save(path: str, reports: Sequence[DomainReport]) -> None:
    """Write the baseline, in one step. Raises CannotCreateError."""
    from ucrmmail.dns.baseline import encode
    from ucrmmail.files import replace_file

    try:
        replace_file(path, encode(reports), follows_link=True)
    except OSError as error:
        raise CannotCreateError(
            f"{path} cannot be written: {error.strerror}", remedy="name another file with --save"
        ) from None


def _without(report: DomainReport, codes: frozenset[str]) -> DomainReport:
    return replace(report, findings=tuple(found for found in report.findings if found.code not in codes))


def _exit_code(reports: Sequence[DomainReport], *, strict: bool) -> int:
    """Return 0 when all passes, 1 when something fails, 75 when the DNS did not answer and nothing else fails."""
    verdicts = {report.verdict.value for report in reports}
    if "fail" in verdicts or (strict and "warn" in verdicts):
        return 1
    return _EX_TEMPFAIL if "error" in verdicts else 0


def _check_code(option: str, code: str) -> None:
    """Raise UsageError for what is no code of a finding."""
    from difflib import get_close_matches

    from ucrmmail.dns.codes import CODES

    if code not in CODES:
        near = get_close_matches(code, CODES, 1)
        remedy = f"did you mean {near[0]}?" if near else "the codes are in `man ucrmmail-findings`"
        raise UsageError(f"{option}: {code!r} is no code of a finding", remedy=remedy)


def _explain(code: str) -> None:
    from ucrmmail.dns.codes import CODES

    _check_code("--explain", code)
    human.say(f"{code}: {CODES[code]}")
