"""How ``test-send`` looks: the stages, each message with what became of it, or the message itself (``--dry-run``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.clock import rfc3339
from ucrmmail.dataclass import dataclass
from ucrmmail.message.explain import by_hand, for_administrator_told
from ucrmmail.message.remoteid import remote_queue_id
from ucrmmail.output import human
from ucrmmail.output.stages import error_fields, note_trouble, say_stages, stage_fields
from ucrmmail.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.outcome import Outcome, Trouble
    from ucrmmail.message.prepare import Prepared
    from ucrmmail.smtp.stages import StageReport


@dataclass(frozen=True, slots=True)
class Sent:
    """One test message: as it was made, and what became of it.

    ``queue_id`` is ours, for one that was queued; ``outcomes`` are of the recipients whose turn it was.
    """

    prepared: Prepared
    outcomes: tuple[Outcome, ...] = ()
    queue_id: str = ""

    @property
    def remote_queue_id(self) -> str:
        """The server's queue id, "" when it was not told, or not in a form that is known."""
        return next(filter(None, (remote_queue_id(outcome.reply) for outcome in self.outcomes)), "")

    @property
    def relayed(self) -> bool:
        """Whether the server took it for every recipient."""
        done = [outcome for outcome in self.outcomes if outcome.result.value == "relayed"]
        return len(done) == len(self.prepared.recipients)


@dataclass(frozen=True, slots=True)
class TestReport:
    """A whole test. ``opens_at`` is when the limit that stopped it lets the next message leave, 0.0 for none."""

    __test__ = False  # pytest must not take it for a test

    messages: tuple[Sent, ...]
    stages: Sequence[StageReport] = ()
    trouble: Trouble | None = None
    transcript: Sequence[str] = ()
    opens_at: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether each message was taken by the server for every recipient, or is in the queue."""
        return self.trouble is None and all(message.relayed or message.queue_id for message in self.messages)


def show(report: TestReport) -> None:
    """Print a test for a person."""
    say_stages(report.stages)
    for message in report.messages:
        _show_message(message)
    for line in report.transcript:
        human.say(line)
    if report.trouble is not None:
        note_trouble(report.trouble)


def _show_message(sent: Sent) -> None:
    prepared = sent.prepared
    if not sent.outcomes and not sent.queue_id:
        return
    human.say(
        f"       {'message':<13} {prepared.message_id}, {format_size(len(prepared.message))}, from "
        f"<{prepared.reverse_path}>"
    )
    if sent.queue_id:
        for recipient in prepared.recipients:
            human.say(f"ok     {'queued':<13} {recipient}")
        human.say(f"       {'queue id':<13} {sent.queue_id}: `ucrmmail flush` sends it")
    for outcome in sent.outcomes:
        mark = "ok    " if outcome.result.value == "relayed" else "FAILED"
        human.say_item(f"{mark} {outcome.stage.value:<13} ", f"{outcome.recipient}: {outcome.reply}")
        why, remedy = for_administrator_told(outcome.stage.value, outcome.reply, outcome.enhanced)
        human.say_advice(why, by_hand(remedy), indent=" " * 21)
    if sent.remote_queue_id:
        human.say(f"       {'queue id':<13} {sent.remote_queue_id} (the smarthost's)")


def show_prepared(messages: Sequence[Prepared]) -> None:
    """Print messages exactly as they would be sent (``--dry-run``), their envelopes on standard error."""
    for prepared in messages:
        human.note(f"MAIL FROM:<{prepared.reverse_path}>")
        for recipient in prepared.recipients:
            human.note(f"RCPT TO:<{recipient}>")
        human.say_message(prepared.message)


def document(report: TestReport, verification: dict[str, Any] | None) -> dict[str, Any]:
    """Return the JSON fields of a test."""
    stages = [stage_fields(stage) for stage in report.stages]
    trouble = report.trouble
    if trouble is not None and not report.opens_at and all(stage["ok"] for stage in stages):
        stages.append(
            {
                "stage": trouble.stage.value,
                "ok": False,
                "seconds": 0.0,
                "detail": trouble.what,
                "reply": str(trouble.reply) if trouble.reply is not None else None,
                "remedy": trouble.remedy or None,
                "warning": None,
                "facts": {},
            }
        )
    replies = [outcome.reply for message in report.messages for outcome in message.outcomes]
    return {
        "ok": report.ok and (verification is None or verification["ok"]),
        "reply": replies[-1] if replies else None,
        "stages": stages,
        "messages": [_message_fields(message) for message in report.messages],
        "next_at": rfc3339(report.opens_at) if report.opens_at else None,
        "error": error_fields(trouble),
        "transcript": list(report.transcript),
        "verification": verification,
    }


def prepared_document(messages: Sequence[Prepared]) -> dict[str, Any]:
    """Return the JSON fields of ``--dry-run``: the same, and the text of each message."""
    shown = document(TestReport(tuple(Sent(prepared) for prepared in messages)), None)
    for fields, prepared in zip(shown["messages"], messages, strict=True):
        fields["message"] = prepared.message.decode("utf-8", "backslashreplace")
    return {**shown, "ok": True}


def _message_fields(sent: Sent) -> dict[str, Any]:
    outcomes = {outcome.recipient: outcome for outcome in sent.outcomes}
    return {
        "message_id": sent.prepared.message_id,
        "reverse_path": sent.prepared.reverse_path,
        "size_bytes": len(sent.prepared.message),
        "queue_id": sent.queue_id or None,
        "remote_queue_id": sent.remote_queue_id or None,
        "recipients": {
            recipient: _recipient_fields(outcomes.get(recipient), queued=bool(sent.queue_id))
            for recipient in sent.prepared.recipients
        },
    }


def _recipient_fields(outcome: Outcome | None, *, queued: bool) -> dict[str, Any]:
    if outcome is None:
        return {
            "outcome": "queued" if queued else "not sent",
            "stage": None,
            "reply": None,
            "why": None,
            "remedy": None,
        }
    why, remedy = for_administrator_told(outcome.stage.value, outcome.reply, outcome.enhanced)
    return {
        "outcome": outcome.result.value,
        "stage": outcome.stage.value,
        "reply": outcome.reply,
        "why": why or None,
        "remedy": by_hand(remedy) or None,
    }
