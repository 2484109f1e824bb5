"""How the stages of a session look, and what went wrong in it: for ``test-connection`` and ``test-send``.

These send at once, or nothing: a remedy promises no later run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.message.explain import by_hand
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.stages import StageReport


def say_stages(stages: Sequence[StageReport]) -> None:
    """Print a line for each stage, and its warning below it."""
    for stage in stages:
        mark = "FAILED" if not stage.ok else "ok    "
        human.say_item(f"{mark} {stage.stage.value:<13} {stage.seconds * 1000:6.0f} ms  ", stage.detail)
        if stage.warning:
            human.say_item(f"warn   {stage.stage.value:<13}            ", stage.warning)


def note_trouble(trouble: Trouble) -> None:
    """Print what went wrong, why, and what to do, on standard error."""
    said = f": {trouble.reply}" if trouble.reply is not None else ""
    human.note(f"ucrmmail: {trouble.what}{said}")
    human.note_advice(trouble.why, by_hand(trouble.remedy))


def stage_fields(stage: StageReport) -> dict[str, Any]:
    """Return a stage as a program reads it."""
    return {
        "stage": stage.stage.value,
        "ok": stage.ok,
        "seconds": round(stage.seconds, 6),
        "detail": stage.detail,
        "reply": stage.reply or None,
        "remedy": by_hand(stage.remedy) or None,
        "warning": stage.warning or None,
        "facts": dict(stage.facts),
    }


def error_fields(trouble: Trouble | None) -> dict[str, str] | None:
    """Return a trouble as a program reads it; None when there is none."""
    if trouble is None:
        return None
    return {"what": trouble.what, "why": trouble.why, "remedy": by_hand(trouble.remedy)}
