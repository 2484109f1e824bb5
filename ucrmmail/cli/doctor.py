"""``ucrmmail doctor``: every check there is in one run, for a person and for a monitor."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.invocation import Invocation
from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import UcrmmailError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from ucrmmail.cli.as_cron import Look
    from ucrmmail.cli.runtime import Login
    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location
    from ucrmmail.delivery.account import AccountState
    from ucrmmail.doctor.check import Check
    from ucrmmail.doctor.schedule import LastFlush
    from ucrmmail.limits.view import LimitsView
    from ucrmmail.spool.listing import Counts

EXAMPLES = """\b
Examples:
  ucrmmail doctor
  ucrmmail doctor --quiet --strict            # silent when all is well
  ucrmmail doctor --only schedule,flush,queue
  ucrmmail doctor --skip dns --json | jq '.checks[]|select(.verdict=="fail")'"""

_PATIENCE_S = 5.0
_LONGEST_S = 60.0


def doctor(
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Only these checks, such as queue,flush. Repeatable."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="CHECK", help="All but these checks, such as dns. Repeatable.")
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long a server may take for an answer.")
    ] = "5s",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show only what is wrong.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check all that mail needs to go out, and change nothing.

    Exits 0 when nothing fails, else 1; with --strict a warning counts too.
    """
    from ucrmmail.doctor.check import Verdict, worst
    from ucrmmail.output.doctor import show_checks

    checks = _Examination(invocation(context), _wanted(only, skip), _patience(timeout)).run()
    show_checks(checks, quiet=quiet, as_json=as_json)
    verdict = worst(checks)
    if verdict is Verdict.FAIL or (strict and verdict is Verdict.WARN):
        raise typer.Exit(1)


def _wanted(only: list[str] | None, skip: list[str] | None) -> frozenset[str]:
    """Return the checks to make. Raises UsageError."""
    from ucrmmail.doctor.check import CHECKS

    chosen = _names("--only", only) or frozenset(CHECKS)
    left = chosen - _names("--skip", skip)
    if not left:
        raise UsageError("no check is left to make", remedy="name others with --only, or fewer with --skip")
    return left


def _names(option: str, given: list[str] | None) -> frozenset[str]:
    from ucrmmail.doctor.check import CHECKS

    names = frozenset(name.strip().lower() for text in given or [] for name in text.split(",") if name.strip())
    unknown = sorted(names - set(CHECKS))
    if unknown:
        raise not_allowed(f"{option}: {unknown[0]!r} is no check", unknown[0], CHECKS)
    return names


def _patience(text: str) -> float:
    from ucrmmail.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}", remedy="such as --timeout 5s") from None
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(f"--timeout: {text!r} is not between 1s and 60s", remedy="leave it out for 5s")
    return seconds


@dataclass(slots=True)
class _Examination:
    """One run: what may wait for others (servers, a keyring) runs at the same time, the rest meanwhile."""

    called: Invocation
    wanted: frozenset[str]
    patience_s: float
    checks: list[Check] = field(default_factory=list)

    def run(self) -> list[Check]:
        """Return the checks in their order."""
        from concurrent.futures import ThreadPoolExecutor

        from ucrmmail.doctor.account import with_hindsight
        from ucrmmail.doctor.check import CHECKS

        location = self.called.location()
        config, found = self._config(location)
        with ThreadPoolExecutor(max_workers=4) as pool:
            running = self._start(pool.submit, config, location) if config is not None else []
            local = [self._machine(config)] if self._wants("clock", "python", "tls") else []
            if config is not None:
                local.append(self._spool(config))
            for checks in (found, *local, *(future.result() for future in running)):
                self.checks += [check for check in checks if check.name in self.wanted]
        order = list(CHECKS)
        self.checks = list(with_hindsight(self.checks))
        return sorted(self.checks, key=lambda check: order.index(check.name))

    def _wants(self, *names: str) -> bool:
        return not self.wanted.isdisjoint(names)

    def _config(self, location: Location) -> tuple[Config | None, list[Check]]:
        """Return the configuration, None when nothing can be done with it; and the verdict on it."""
        from ucrmmail.config.load import examine
        from ucrmmail.doctor.check import CHECKS, Check, Verdict, skipped
        from ucrmmail.doctor.configuration import judge_config

        rest = [name for name in CHECKS if name not in ("config", "clock", "python", "tls")]
        try:
            found = examine(location)
        except UcrmmailError as error:
            why = f"{error.what} ({error.why})" if error.why else error.what
            failed = Check("config", Verdict.FAIL, why, error.remedy)
            return None, [failed, *skipped(rest, "there is no configuration to check it with")]
        check = judge_config(found)
        if found.problems:
            return None, [check, *skipped(rest, "there is no configuration to check it with")]
        return found.config, [check]

    # --- what waits for others ----------------------------------------------------------------------------------------

    def _start(
        self, submit: Callable[..., Future[list[Check]]], config: Config, location: Location
    ) -> list[Future[list[Check]]]:
        """Start what asks servers, keyrings and other processes."""
        running = []
        if self._wants("cron-secret"):
            running.append(submit(_guarded("cron-secret", lambda: _cron_secret(config, location))))
        if self._wants("secret", "connection", "login", "sender"):
            running.append(submit(_guarded("connection", lambda: self._account(config))))
        if self._wants("dns"):
            running.append(submit(_guarded("dns", lambda: _dns(config, self.patience_s))))
        if self._wants("schedule", "flush"):
            running.append(submit(_guarded("schedule", lambda: _schedule(config, location))))
        return running

    def _account(self, config: Config) -> list[Check]:
        """Look for the secret and try the session that the flush would open."""
        from ucrmmail.cli.as_cron import look_here
        from ucrmmail.cli.runtime import login_of, sender_of, smarthost_of
        from ucrmmail.clock import Clock
        from ucrmmail.dataclass import replace
        from ucrmmail.doctor import connection
        from ucrmmail.doctor.check import Verdict, skipped
        from ucrmmail.doctor.configuration import judge_secret

        sessions = ("connection", "login", "sender")
        if config.smarthost_problem() is not None:
            return list(skipped(("secret", *sessions), "no smarthost is configured"))
        smarthost = smarthost_of(config)
        checks: list[Check] = []
        found = False
        account = login_of(config)
        if smarthost.logs_in and self._wants("secret", "login", "sender"):
            look = look_here(config, os.environ)
            error = look.error or _not_to_be_had(account)
            found = error is None
            checks.append(judge_secret("secret", look.source, look.account, error))
        elif not smarthost.logs_in:
            checks += skipped(["secret"], "the account does not log in")
        if not self._wants(*sessions):
            return checks
        refused = _refused_login(config) if found and self._wants("login", "sender") else None
        log_in = found and refused is None
        seen = connection.try_session(
            replace(smarthost, timeout_s=min(smarthost.timeout_s, self.patience_s)),
            secret=account.secret if log_in else _no_secret,
            after_refusal=account.after_refusal,
            sender=sender_of(config) if self._wants("sender") else "",
            clock=Clock(),
        )
        login = connection.judge_login(seen, smarthost)
        if refused is not None and login.verdict is Verdict.SKIPPED:
            login = refused
        sender = connection.judge_sender(seen, sender_of(config))
        return [*checks, connection.judge_connection(seen, smarthost), login, sender]

    # --- what is on this machine --------------------------------------------------------------------------------------

    def _machine(self, config: Config | None) -> list[Check]:
        import sys

        from ucrmmail.config.location import LAST_FLUSH
        from ucrmmail.doctor import machine

        now = time.time()
        spool = config.text("spool.directory") if config is not None else ""
        written = [f"{spool}/{name}" for name in (LAST_FLUSH, "ledger", "account.json", "journal")] if spool else []
        if config is not None:
            written.append(config.path)
        return [
            machine.judge_clock(machine.look_at_clock([*written, __file__]), now),
            machine.judge_python(sys.version_info[:3], now),
            machine.judge_tls(machine.look_at_tls(os.environ), config.text("smtp.ca_file") if config else ""),
        ]

    def _spool(self, config: Config) -> list[Check]:
        from ucrmmail.cli.runtime import delivery_log_path
        from ucrmmail.doctor import spool
        from ucrmmail.doctor.account import judge_account, judge_limits
        from ucrmmail.doctor.check import Verdict, skipped

        directory = config.text("spool.directory")
        now = time.time()
        checks = [spool.check_spool(directory, delivery_log_path(config))]
        try:
            disk = spool.look_at_disk(directory)
            checks.append(spool.judge_space(disk, directory, config.size_bytes("spool.min_free_space")))
            counts = _counts(directory)
            checks += [spool.judge_queue(counts, now), spool.judge_failed(counts, directory)]
            checks.append(judge_limits(_limits(config, now), counts.waiting, now))
            checks.append(judge_account(*_account_state(config, now), now))
        except (UcrmmailError, OSError) as error:
            made = {check.name for check in checks}
            rest = [name for name in ("space", "queue", "limits", "failed", "account") if name not in made]
            if checks[0].verdict is not Verdict.FAIL:
                # Else the check of the spool has told what is wrong with it.
                checks.append(_failed(rest.pop(0), error))
            checks += skipped(rest, "the spool cannot be read")
        return checks


def _guarded(name: str, examine: Callable[[], list[Check]]) -> Callable[[], list[Check]]:
    """Return a function that makes of an error a check that fails: the other checks go on."""

    def guarded() -> list[Check]:
        try:
            return examine()
        except (UcrmmailError, OSError) as error:
            return [_failed(name, error)]

    return guarded


def _failed(name: str, error: UcrmmailError | OSError) -> Check:
    from ucrmmail.doctor.check import Check, Verdict

    if isinstance(error, UcrmmailError):
        return Check(name, Verdict.FAIL, error.what, error.remedy)
    where = f"{error.filename}: " if error.filename else ""
    return Check(name, Verdict.FAIL, f"{where}{error.strerror or error}")


def _not_to_be_had(account: Login) -> UcrmmailError | None:
    """Return why there is no secret after all: an access token that has ended must be renewed first."""
    try:
        account.secret()
    except UcrmmailError as error:
        return error
    return None


def _no_secret() -> str:
    from ucrmmail.doctor.connection import NoSecretError

    raise NoSecretError


def _cron_secret(config: Config, location: Location) -> list[Check]:
    from ucrmmail.cli.as_cron import look_as_cron
    from ucrmmail.doctor.check import skipped
    from ucrmmail.doctor.configuration import judge_secret

    if not config.text("smtp.username") or config.text("smtp.authentication") == "none":
        return list(skipped(["cron-secret"], "the account does not log in"))
    look: Look = look_as_cron(location)
    return [judge_secret("cron-secret", look.source, look.account, look.error)]


def _dns(config: Config, patience_s: float) -> list[Check]:
    import asyncio

    from ucrmmail.cli.dns_scope import account as account_of
    from ucrmmail.cli.dns_scope import own_domains
    from ucrmmail.clock import Clock
    from ucrmmail.dns.check import CORE, check_domain
    from ucrmmail.dns.https import HttpsFetcher
    from ucrmmail.dns.nameserver import parse_nameserver
    from ucrmmail.dns.resolver import DnsResolver
    from ucrmmail.doctor.check import skipped
    from ucrmmail.doctor.domains import judge_domain

    try:
        domains = own_domains(config)
    except UsageError:
        return list(skipped(["dns"], "no domain is known: addresses.sender is not set"))

    async def check() -> list[Check]:
        resolver = DnsResolver(
            [parse_nameserver(text) for text in config.words("dns.nameservers")],
            clock=Clock(),
            attempt_s=patience_s / 3,
            query_s=patience_s,
            run_s=2 * patience_s,
        )
        fetcher = HttpsFetcher(clock=Clock())
        label = f"ucrmmail-{os.urandom(6).hex()}"
        account = account_of(config, [])
        reports = await asyncio.gather(
            *(
                check_domain(
                    domain, account, resolver, fetcher, only=frozenset(CORE), random_label=label, now=time.time()
                )
                for domain in domains
            )
        )
        return [judge_domain(report) for report in reports]

    return asyncio.run(check())


def _schedule(config: Config, location: Location) -> list[Check]:
    import pwd

    from ucrmmail.cli.as_cron import cron_environment
    from ucrmmail.cli.cron_line import cron_line
    from ucrmmail.config.location import locate
    from ucrmmail.doctor import schedule

    environment = cron_environment(location.euid, os.environ)
    try:
        user = pwd.getpwuid(location.euid).pw_name
    except KeyError:
        user = str(location.euid)
    home = os.environ.get("XDG_CONFIG_HOME") or f"{os.environ.get('HOME') or environment['HOME']}/.config"
    jobs = (*schedule.jobs_of_user(user, home, _crontab()), *schedule.jobs_of_system())
    whose = schedule.Whose(
        user=user,
        config=location.path,
        default_config=locate(None, environment, location.euid).path,
        line=cron_line(location),
    )
    now = time.time()
    last = _last_flush(config)
    check = schedule.judge_schedule(jobs, whose, last, now, cron_running=schedule.cron_runs())
    gap_s = check.facts.get("gap_s")
    waiting = _waiting(config)
    return [check, schedule.judge_flush(last, gap_s if isinstance(gap_s, float) else None, waiting, now)]


def _crontab() -> str:
    """Return the user's own table of cron; "" when there is none, or no cron."""
    from ucrmmail.credentials.child import run

    try:
        ended = run(["crontab", "-l"], os.environ, 5.0)
    except (OSError, TimeoutError):
        return ""
    return ended.out.decode("utf-8", "surrogateescape") if ended.returncode == 0 else ""


def _last_flush(config: Config) -> LastFlush:
    from ucrmmail.cli.last_flush import last_flush
    from ucrmmail.config.location import LAST_FLUSH
    from ucrmmail.doctor.schedule import LastFlush, flush_runs

    directory = config.text("spool.directory")
    running = flush_runs(f"{directory}/lock")
    left = last_flush(directory)
    if left is None:
        return LastFlush(None, running=running)
    code = left.get("exit_code")
    at = os.stat(f"{directory}/{LAST_FLUSH}").st_mtime
    return LastFlush(at, code if isinstance(code, int) else 0, running=running)


def _counts(directory: str) -> Counts:
    from ucrmmail.spool.listing import counts

    return counts(directory)


def _waiting(config: Config) -> int:
    try:
        counts = _counts(config.text("spool.directory"))
    except (UcrmmailError, OSError):
        return 0
    return counts.waiting + counts.deferred


def _account_state(config: Config, now: float) -> tuple[AccountState, float]:
    """Return what the last runs learnt of the account, and when the next one may try. Raises OSError."""
    from ucrmmail.cli.runtime import settings_mark_of
    from ucrmmail.delivery.account import load_account, may_connect_at

    state = load_account(f"{config.text('spool.directory')}/account.json", owner=os.geteuid())
    opens_at = may_connect_at(
        state, now=now, max_delay_s=config.seconds("retry.max_delay"), settings_mark=settings_mark_of(config)
    )
    return state, opens_at


def _limits(config: Config, now: float) -> LimitsView:
    """Return how far the limits are used. Raises OSError."""
    from ucrmmail.cli.runtime import rules_of
    from ucrmmail.limits.ledger import read_boot_id
    from ucrmmail.limits.view import read_tally, view_limits

    ledger = f"{config.text('spool.directory')}/ledger"
    return view_limits(read_tally(ledger, rules_of(config), now, read_boot_id()), now)


def _refused_login(config: Config) -> Check | None:
    """Return the verdict on a login that was refused a short while ago and is not to be tried again yet.

    Providers lock accounts after many refused logins, and a monitor may run this every minute.
    """
    from ucrmmail.cli.runtime import login_of, settings_mark_of
    from ucrmmail.clock import rfc3339
    from ucrmmail.delivery.account import secret_mark
    from ucrmmail.doctor.check import Check, Verdict
    from ucrmmail.errors import PermissionDeniedError
    from ucrmmail.message.outcome import Stage

    now = time.time()
    try:
        state, opens_at = _account_state(config, now)
    except OSError:
        return None
    # A token that was refused is another matter: there is one now.
    if opens_at <= now or state.exit_code != PermissionDeniedError.exit_code or state.stage == Stage.SECRET:
        return None
    if state.secret_mark and secret_mark(settings_mark_of(config), login_of(config).mark()) != state.secret_mark:
        return None
    detail = f"{state.what}; not tried again before {rfc3339(opens_at)}, since providers lock accounts"
    return Check("login", Verdict.FAIL, detail, state.remedy)
