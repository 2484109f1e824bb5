"""How a flush looks: silent in cron, a line a message with ``-v``, a progress bar on a terminal, or JSON."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.message.explain import for_administrator_told
from ucrmmail.message.outcome import Result
from ucrmmail.output import human
from ucrmmail.reader import SlowReader
from ucrmmail.streams import StandardOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from ucrmmail.delivery.report import MessageReport, RunReport
    from ucrmmail.message.outcome import Outcome


def run_document(report: RunReport) -> dict[str, object]:
    """Return the JSON fields of a run (ucrmmail-flush(1))."""
    return {
        "relayed": report.relayed,
        "deferred": report.deferred,
        "failed": report.failed,
        "held_back": report.held_back,
        "uncertain": report.uncertain,
        "reason": report.reason,
        "next_at": rfc3339(report.next_at) if report.next_at else None,
        "error": trouble_document(report),
        "needs_person": list(report.needs_person),
        "messages": [message_document(message) for message in report.messages],
    }


def last_flush_line(report: RunReport, doubtful: Sequence[str], ended_at: float) -> str:
    """Return what ``status`` shows of the last run, as one line of JSON; ``doubtful`` are ids of earlier ones too."""
    fields = {
        "ended_at": rfc3339(ended_at),
        "relayed": report.relayed,
        "deferred": report.deferred,
        "failed": report.failed,
        "held_back": report.held_back,
        "uncertain": report.uncertain,
        "reason": report.reason,
        "exit_code": report.exit_code,
        "doubtful": list(doubtful),
    }
    return json.dumps(fields) + "\n"


def trouble_document(report: RunReport) -> dict[str, object] | None:
    """Return what is wrong with the account, or None."""
    trouble = report.trouble
    if trouble is None:
        return None
    return {
        "stage": trouble.stage.value,
        "what": trouble.what,
        "why": trouble.why,
        "remedy": trouble.remedy,
        "reply": str(trouble.reply) if trouble.reply is not None else None,
    }


def message_document(message: MessageReport) -> dict[str, object]:
    """Return the JSON fields of one message of a run."""
    return {
        "queue_id": message.queue_id,
        "reverse_path": message.reverse_path,
        "result": message.result,
        "next_attempt_at": rfc3339(message.next_attempt_at) if message.next_attempt_at else None,
        "recipients": {outcome.recipient: _outcome_document(outcome) for outcome in message.outcomes},
    }


def _outcome_document(outcome: Outcome) -> dict[str, object]:
    why, remedy = for_administrator_told(outcome.stage.value, outcome.reply, outcome.enhanced)
    return {
        "outcome": outcome.result.value,
        "stage": outcome.stage.value,
        "reply": outcome.reply,
        "why": why or None,
        "remedy": remedy or None,
        "uncertain": outcome.uncertain,
    }


def say_message(message: MessageReport) -> None:
    """Print a line for each recipient of one message (``-v``)."""
    for outcome in message.outcomes:
        again = f", next attempt {rfc3339(message.next_attempt_at)}" if outcome.result is Result.DEFERRED else ""
        human.say(f"{message.queue_id} {outcome.recipient} {outcome.result.value}: {outcome.reply}{again}")
        human.say_advice(*for_administrator_told(outcome.stage.value, outcome.reply, outcome.enhanced), indent="  ")


def summary(report: RunReport) -> str:
    """Return one line that says what the run did, and why it stopped when messages are left."""
    counts = [
        f"{count} {word}"
        for count, word in (
            (report.relayed, "relayed"),
            (report.deferred, "deferred"),
            (report.failed, "failed"),
            (report.held_back, "held back"),
            (report.uncertain, "may be delivered twice"),
        )
        if count
    ]
    line = ", ".join(counts) or "nothing to send"
    if report.reason:
        line += f" ({report.reason}"
        line += f", next at {rfc3339(report.next_at)})" if report.next_at else ")"
    return line


def tell_person(report: RunReport) -> bool:
    """Print on standard error what needs a person: this is what cron mails. Return whether all lines were written."""
    told = all(human.note(f"ucrmmail: {line}") for line in report.needs_person)
    trouble = report.trouble
    if trouble is not None and (not report.told or human.on_terminal(stderr=True)):
        said = f": {trouble.reply}" if trouble.reply is not None else ""
        told &= human.note(f"ucrmmail: {trouble.what}{said}")
        human.note_advice(trouble.why, trouble.remedy)
    return told


class RunProgress:
    """A bar on the terminal: how many of the messages that were due have been settled, and what it waits for.

    A terminal that takes no more misses some of its states.
    """

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._reader = SlowReader(sys.stderr.fileno(), most_bytes=0)
        self._terminal = StandardOutput(sys.stderr)
        self._terminal.never_wait(self._reader)
        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=human.console(file=self._terminal),
            transient=True,
        )
        self._total, self._done = total, 0
        self._task: TaskID = self._progress.add_task("sending", total=total)

    def start(self) -> None:
        """Show the bar."""
        self._progress.start()

    def stop(self) -> None:
        """Take the bar away; the summary remains."""
        # The cursor, which was hidden, has to come back.
        self._reader.most_bytes = 1 << 16
        self._progress.stop()

    def finish(self) -> None:
        """Wait for a terminal that has not taken all of it so far."""
        with suppress(OSError):  # nobody looks on any more
            self._terminal.wait_again()

    def settled(self, message: MessageReport) -> None:
        """Move the bar on by one message; one that came during the run, such as a report, makes it longer."""
        del message
        self._done += 1
        self._progress.update(
            self._task, completed=self._done, total=max(self._total, self._done), description="sending"
        )

    def waiting(self, reason: str, until: float) -> None:
        """Say what the run waits for."""
        self._progress.update(self._task, description=f"waiting for the {reason} until {rfc3339(until)[11:19]} UTC")
