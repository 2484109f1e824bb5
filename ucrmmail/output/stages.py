"""How a test of the connection looks: a line a stage, then the verdict, and the transcript when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.output import human, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.outcome import Outcome, Trouble
    from ucrmmail.smtp.session import StageReport


def show_test(
    stages: Sequence[StageReport],
    trouble: Trouble | None,
    outcomes: Sequence[Outcome],
    transcript: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Print what was seen of a test message."""
    if as_json:
        machine.print_document(_document(stages, trouble, outcomes, transcript))
        return
    say_stages(stages)
    for outcome in outcomes:
        mark = "ok    " if outcome.result.value == "relayed" else "FAILED"
        human.say(f"{mark} {outcome.stage.value:<13} {outcome.recipient}: {outcome.reply}")
    for line in transcript:
        human.say(line)
    if trouble is not None:
        note_trouble(trouble)


def say_stages(stages: Sequence[StageReport]) -> None:
    """Print a line for each stage, and its warning below it."""
    for stage in stages:
        mark = "FAILED" if not stage.ok else "ok    "
        human.say(f"{mark} {stage.stage.value:<13} {stage.seconds * 1000:6.0f} ms  {stage.detail}")
        if stage.warning:
            human.say(f"warn   {stage.stage.value:<13}            {stage.warning}")


def note_trouble(trouble: Trouble) -> None:
    """Print what went wrong, why, and what to do, on standard error."""
    said = f": {trouble.reply}" if trouble.reply is not None else ""
    human.note(f"ucrmmail: {trouble.what}{said}")
    human.note_advice(trouble.why, trouble.remedy)


def stage_fields(stage: StageReport) -> dict[str, Any]:
    """Return a stage as a program reads it."""
    return {
        "stage": stage.stage.value,
        "ok": stage.ok,
        "seconds": round(stage.seconds, 6),
        "detail": stage.detail,
        "reply": stage.reply or None,
        "remedy": stage.remedy or None,
        "warning": stage.warning or None,
        "facts": dict(stage.facts),
    }


def error_fields(trouble: Trouble | None) -> dict[str, str] | None:
    """Return a trouble as a program reads it; None when there is none."""
    return {"what": trouble.what, "why": trouble.why, "remedy": trouble.remedy} if trouble is not None else None


def _document(
    stages: Sequence[StageReport], trouble: Trouble | None, outcomes: Sequence[Outcome], transcript: Sequence[str]
) -> dict[str, Any]:
    relayed = [outcome for outcome in outcomes if outcome.result.value == "relayed"]
    shown = [stage_fields(stage) for stage in stages]
    if trouble is not None and all(stage["ok"] for stage in shown):
        shown.append(
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
    return {
        "ok": trouble is None and len(relayed) == len(outcomes) > 0,
        "reply": outcomes[-1].reply if outcomes else None,
        "stages": shown,
        "recipients": {
            outcome.recipient: {
                "outcome": outcome.result.value,
                "stage": outcome.stage.value,
                "reply": outcome.reply,
            }
            for outcome in outcomes
        },
        "error": error_fields(trouble),
        "transcript": list(transcript),
    }
