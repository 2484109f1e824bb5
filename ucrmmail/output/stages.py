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
    """Print what was seen."""
    if as_json:
        machine.print_document(_document(stages, trouble, outcomes, transcript))
        return
    for stage in stages:
        mark = "ok    " if stage.ok else "FAILED"
        human.say(f"{mark} {stage.stage.value:<10} {stage.seconds * 1000:6.0f} ms  {stage.detail}")
    for outcome in outcomes:
        mark = "ok    " if outcome.result.value == "relayed" else "FAILED"
        human.say(f"{mark} {outcome.stage.value:<10} {outcome.recipient}: {outcome.reply}")
    for line in transcript:
        human.say(line)
    if trouble is not None:
        said = f": {trouble.reply}" if trouble.reply is not None else ""
        human.note(f"ucrmmail: {trouble.what}{said}")
        for name, text in (("why:   ", trouble.why), ("remedy:", trouble.remedy)):
            if text:
                human.note(f"  {name} {text}")


def _document(
    stages: Sequence[StageReport], trouble: Trouble | None, outcomes: Sequence[Outcome], transcript: Sequence[str]
) -> dict[str, Any]:
    relayed = [outcome for outcome in outcomes if outcome.result.value == "relayed"]
    shown: list[dict[str, Any]] = [
        {
            "stage": stage.stage.value,
            "ok": stage.ok,
            "seconds": round(stage.seconds, 6),
            "detail": stage.detail,
            "reply": stage.reply or None,
            "remedy": stage.remedy or None,
        }
        for stage in stages
    ]
    if trouble is not None and all(stage["ok"] for stage in shown):
        reply = str(trouble.reply) if trouble.reply is not None else None
        shown.append(
            {
                "stage": trouble.stage.value,
                "ok": False,
                "seconds": 0.0,
                "detail": trouble.what,
                "reply": reply,
                "remedy": trouble.remedy or None,
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
        "error": {"what": trouble.what, "why": trouble.why, "remedy": trouble.remedy} if trouble is not None else None,
        "transcript": list(transcript),
    }
