"""``ucrmmail test-send``: a message through the same client as the flush, at once, each stage shown."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.test_message import MOST_MESSAGES, Wanted, check_words
from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import SmarthostUnavailableError, TemporaryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ucrmmail.cli.test_arrival import Watch
    from ucrmmail.config.load import Config
    from ucrmmail.delivery.trial import Trial
    from ucrmmail.limits.ledger import Ledger
    from ucrmmail.message.outcome import Trouble
    from ucrmmail.message.prepare import Prepared
    from ucrmmail.output.arrival import Proof
    from ucrmmail.output.sent import TestReport
    from ucrmmail.smtp.stages import StageReport
    from ucrmmail.smtp.transcript import Transcript

EXAMPLES = """\b
Examples:
  ucrmmail test-send me@example.com
  ucrmmail test-send --transcript me@example.com
  ucrmmail test-send --html --attach invoice.pdf --size 5MB me@example.com
  ucrmmail test-send --count 3 --queue me@example.com   # under the limits
  ucrmmail test-send --dry-run me@example.com > message.eml
Whether others believe it, a mailbox of yours shows (imap.password):
  ucrmmail test-send --verify-imap imap.example.com me@example.com"""

# Greylisting apart, most mail arrives within seconds.
_WAIT = "2m"
# A run of the flush that is about to end is waited for so long.
_LOCK_WAIT_S = 10.0
_LOCK_STEP_S = 0.1
_LOST = "run the same command again; if it stays so, add --transcript"
# The groups of its options in --help.
_MESSAGE = "The message"
_RUN = "How it goes"
_PROOF = "The proof that it is believed"


def test_send(
    context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Where the test message goes.")],
    from_: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="Send from this address.", rich_help_panel=_MESSAGE)
    ] = "",
    subject: Annotated[
        str, typer.Option("--subject", metavar="TEXT", help="The subject.", rich_help_panel=_MESSAGE)
    ] = "",
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", metavar="FILE", help="Send this file along; repeatable.", rich_help_panel=_MESSAGE),
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Send the text as HTML too.", rich_help_panel=_MESSAGE)] = False,
    utf8: Annotated[
        bool,
        typer.Option(
            "--utf8",
            help="Use letters outside ASCII as they are: asks for 8BITMIME and SMTPUTF8.",
            rich_help_panel=_MESSAGE,
        ),
    ] = False,
    size: Annotated[
        str,
        typer.Option(
            "--size", metavar="SIZE", help="Make the message this large, such as 5MB.", rich_help_panel=_MESSAGE
        ),
    ] = "",
    count: Annotated[
        int,
        typer.Option(
            "--count",
            metavar="N",
            min=1,
            max=MOST_MESSAGES,
            help="Send N messages in one session.",
            rich_help_panel=_MESSAGE,
        ),
    ] = 1,
    queue: Annotated[
        bool, typer.Option("--queue", help="Put it into the queue; the next flush sends it.", rich_help_panel=_RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: print the message as it would go.", rich_help_panel=_RUN)
    ] = False,
    verify_imap: Annotated[
        str | None,
        typer.Option(
            "--verify-imap",
            metavar="HOST[:PORT]",
            help="Wait for it in the mailbox there, and prove it.",
            rich_help_panel=_PROOF,
        ),
    ] = None,
    wait: Annotated[
        str,
        typer.Option(
            "--wait", metavar="DURATION", help="How long to wait for it there, instead of 2m.", rich_help_panel=_PROOF
        ),
    ] = "",
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show the dialogue, without secrets.", rich_help_panel=_RUN)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a test message at once, and show each stage.

    It counts against the limits, but does not wait for them. Exits 0 when the smarthost took it for every address, 1
    when it refused one, or when --verify-imap does not prove it; 69, 75, 77 or 78 when there was no session, and 75
    when a limit is in the way.
    """
    if transcript and (queue or dry_run):
        raise UsageError("--transcript shows a session, and there is none", remedy="leave out --queue and --dry-run")
    if queue and dry_run:
        raise UsageError("--queue and --dry-run exclude each other", remedy="leave out one of the two")
    if verify_imap == "":
        # A variable of a script that is not set: without a mailbox nothing would be proved, and the code were 0.
        raise UsageError("--verify-imap names no mailbox server", remedy="such as --verify-imap imap.example.com")
    if verify_imap and (dry_run or count > 1):
        raise UsageError("--verify-imap waits for one message", remedy="leave out --dry-run and --count")
    if wait and not verify_imap:
        raise UsageError("--wait is for --verify-imap, and it is not given", remedy="name the mailbox to look into")
    wanted = Wanted(
        addresses, from_=from_, subject=subject, files=attach or (), html=html, utf8=utf8, size=size, count=count
    )
    check_words(wanted)
    config = invocation(context).config()
    messages = _messages(config, wanted)
    if dry_run:
        _show_prepared(messages, as_json=as_json)
        return
    # The mailbox is opened first: when that fails, nothing is sent.
    watch = _watch(config, verify_imap, wait or _WAIT, messages[0]) if verify_imap else None
    report = _queued(config, messages) if queue else _sent(config, messages, transcript=transcript)
    since = time.monotonic()
    if not as_json:
        _show(report)
    proof = None
    if watch is not None:
        if report.ok:
            proof = watch.prove(messages[0].message_id, since, quiet=as_json)
        else:
            watch.mailbox.close()
    _show_proof(report, proof, as_json=as_json)
    if report.trouble is not None:
        raise typer.Exit(report.trouble.exit_code)
    if not report.ok or (proof is not None and not proof.ok):
        raise typer.Exit(1)


def _messages(config: Config, wanted: Wanted) -> list[Prepared]:
    from ucrmmail.cli.runtime import smarthost_of
    from ucrmmail.cli.test_message import test_messages

    return test_messages(config, smarthost_of(config).name, wanted)


def _watch(config: Config, place: str, wait: str, message: Prepared) -> Watch:
    from ucrmmail.cli.test_arrival import open_watch

    return open_watch(config, place, wait, message.recipients[0])


def _show_prepared(messages: Sequence[Prepared], *, as_json: bool) -> None:
    from ucrmmail.output import machine, sent

    if as_json:
        machine.print_document(sent.prepared_document(messages))
    else:
        sent.show_prepared(messages)


def _show(report: TestReport) -> None:
    from ucrmmail.output import sent

    sent.show(report)


def _show_proof(report: TestReport, proof: Proof | None, *, as_json: bool) -> None:
    from ucrmmail.output import arrival, machine, sent

    if as_json:
        machine.print_document(sent.document(report, arrival.document(proof) if proof is not None else None))
    elif proof is not None:
        arrival.show_proof(proof)


def _queued(config: Config, messages: Sequence[Prepared]) -> TestReport:
    from ucrmmail.cli.test_message import queue_messages
    from ucrmmail.output.sent import Sent, TestReport

    ids = queue_messages(config, messages)
    return TestReport(
        tuple(Sent(prepared, queue_id=queue_id) for prepared, queue_id in zip(messages, ids, strict=True))
    )


@dataclass(slots=True)
class _Watcher:
    """Keeps the stages as they come."""

    stages: list[StageReport] = field(default_factory=list)

    def stage(self, report: StageReport) -> None:
        self.stages.append(report)


def _sent(config: Config, messages: Sequence[Prepared], *, transcript: bool) -> TestReport:
    """Send the messages at once, in one session, under the limits."""
    from ucrmmail.cli.test_message import transaction_of
    from ucrmmail.clock import Clock
    from ucrmmail.delivery.trial import Trial
    from ucrmmail.output.sent import Sent, TestReport
    from ucrmmail.smtp.transcript import Transcript

    clock, watcher, dialogue = Clock(), _Watcher(), Transcript()
    names = {f"test-{number}": prepared for number, prepared in enumerate(messages, 1)}
    with _ledger(config, clock.now()) as ledger:
        trial = Trial.of([transaction_of(prepared, name) for name, prepared in names.items()], ledger, clock)
        trouble = _converse(config, trial, watcher, dialogue) if trial.may_begin() else None
    _log(config, clock.now(), names, trial)
    if trouble is None and trial.opens_at:
        trouble = _limit_trouble(trial)
    return TestReport(
        tuple(Sent(prepared, trial.outcomes.get(name, ())) for name, prepared in names.items()),
        stages=watcher.stages,
        trouble=trouble,
        transcript=dialogue.lines if transcript else (),
        opens_at=trial.opens_at,
    )


def _log(config: Config, now: float, names: Mapping[str, Prepared], trial: Trial) -> None:
    """Write the outcomes to the delivery log, where this account keeps one: a postmaster who asks finds them there."""
    from ucrmmail.cli.runtime import delivery_log_path
    from ucrmmail.delivery.log import DeliveryLog
    from ucrmmail.output import human

    path = delivery_log_path(config)
    try:
        # Never the first: what root would make here, the user of the flush could not write to.
        if os.stat(os.path.dirname(path)).st_uid != os.geteuid():
            return
        log = DeliveryLog(path)
        for name, outcomes in trial.outcomes.items():
            for outcome in outcomes:
                log.add(now, name, names[name].reverse_path, outcome)
        log.close()
        if log.complaint:
            human.note(f"ucrmmail: {log.complaint}")
    except FileNotFoundError:
        return
    except OSError as error:
        human.note(f"ucrmmail: {path} cannot be written: {error.strerror or error}")


@contextmanager
def _ledger(config: Config, now: float) -> Iterator[Ledger]:
    """Open the record of the limits, which one process may change at a time; without any limit no file is touched."""
    from ucrmmail.cli.runtime import rules_of
    from ucrmmail.files import Locked
    from ucrmmail.limits.ledger import Ledger, read_boot_id
    from ucrmmail.spool.host import claim_host
    from ucrmmail.spool.layout import make_spool

    directory, rules = config.text("spool.directory"), rules_of(config)
    if not rules.any:
        yield Ledger("", rules, now, "")
        return
    make_spool(directory)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        with Locked(f"{directory}/lock", wait=False) as obtained:
            if obtained:
                claim_host(directory)
                ledger = Ledger(f"{directory}/ledger", rules, time.time(), read_boot_id())
                try:
                    yield ledger
                finally:
                    ledger.close(time.time())
                return
        if time.monotonic() >= deadline:
            raise TemporaryError(
                "a flush is running, and only one process at a time can count against the limits",
                remedy="try again when it is over, or use --queue: then it sends the message in its turn",
            )
        time.sleep(_LOCK_STEP_S)


def _converse(config: Config, trial: Trial, watcher: _Watcher, dialogue: Transcript) -> Trouble | None:
    """Send what may leave, and return what went wrong with the account or the connection."""
    from ucrmmail.cli.runtime import login_of, smarthost_of
    from ucrmmail.message.outcome import Scope
    from ucrmmail.smtp.opening import SessionError, open_session
    from ucrmmail.smtp.submit import submit

    smarthost, login = smarthost_of(config), login_of(config)
    without: set[str] = set()
    try:
        while True:
            before = trial.recipients_left
            session = open_session(
                smarthost,
                secret=login.secret,
                after_refusal=login.after_refusal,
                clock=trial.clock,
                observer=dialogue,
                watcher=watcher,
            )
            session.do_without(without)
            end = submit(session, trial)
            if end.alive:
                session.quit()
            if end.passing and end.distrust not in without:
                # Nothing of it has left: as in a run, it is tried without what the server may not understand.
                without.add(end.distrust)
                continue
            of_account = end.trouble is not None and end.trouble.scope is Scope.ACCOUNT
            if of_account or end.alive or trial.opens_at or not trial.left:
                break
            if trial.recipients_left == before:
                if end.trouble is not None:
                    break
                if trial.outcomes:
                    return _lost()
                raise SmarthostUnavailableError("the connection was lost", remedy=_LOST)
            # The server takes only so many messages in one session (RFC 9422), or hangs up behind who it refuses.
    except SessionError as error:
        return error.trouble
    if end.trouble is None and not end.alive and not trial.outcomes:
        raise SmarthostUnavailableError("the connection was lost", remedy=_LOST)
    return end.trouble


def _lost() -> Trouble:
    """Return the trouble of a connection that was lost again when some had the message: who, the report says."""
    from ucrmmail.message.outcome import Stage
    from ucrmmail.smtp.trouble import account_trouble

    return account_trouble(
        Stage.MAIL,
        "the smarthost closes the connection before all have the message",
        remedy="run the command again for the others alone; if it stays so, add --transcript",
    )


def _limit_trouble(trial: Trial) -> Trouble:
    from ucrmmail.clock import rfc3339
    from ucrmmail.message.outcome import Stage
    from ucrmmail.smtp.trouble import account_trouble

    left = len(trial.left)
    what = "it was" if not trial.outcomes and left == 1 else f"{left} of them {'was' if left == 1 else 'were'}"
    return account_trouble(
        Stage.CONFIGURATION,
        f"the {trial.limit} does not let the next message leave before {rfc3339(trial.opens_at)}: {what} not sent",
        why="a test message counts like any other; `ucrmmail status` shows how far the limits are used",
        remedy="try again then, or use --queue: the flush sends it when the limits let it",
        exit_code=TemporaryError.exit_code,
    )
