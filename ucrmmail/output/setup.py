"""How the guide for the first time looks: what would be written and what it replaces; and the result as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.output import human, machine
from ucrmmail.output.settings import shown
from ucrmmail.output.stages import error_fields, stage_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.config.plan import Setting
    from ucrmmail.doctor.connection import Seen


def say_settings(path: str, settings: Sequence[Setting]) -> None:
    """Print what would be written, key by key; what somebody else has written is shown beside it."""
    human.say(f"This will be in {path}:")
    for setting in settings:
        after = shown(setting.key, setting.after) if setting.after is not None else "(taken out)"
        before = f"  (replaces {shown(setting.key, setting.before)})" if setting.before is not None else ""
        human.say(f"  {setting.key} = {after}{before}")


def show_document(
    *,
    path: str,
    address: str,
    found_by: str,
    transport: str,
    settings: Sequence[Setting],
    seen: Seen | None,
    warnings: Sequence[str],
    secret: tuple[str, str] | None,
    crontab: str,
    written: bool,
) -> None:
    """Print the result for a program; ``secret`` is (source, account) of one that was kept."""
    trouble = seen.trouble if seen is not None else None
    machine.print_document(
        {
            "ok": written,
            "written": written,
            "path": path,
            "address": address,
            "found_by": found_by,
            "transport": transport,
            "settings": [
                {"key": setting.key, "before": setting.before, "after": setting.after} for setting in settings
            ],
            "stages": [stage_fields(stage) for stage in seen.stages] if seen is not None else [],
            "warnings": list(warnings),
            "error": error_fields(trouble),
            "secret": {"source": secret[0], "account": secret[1]} if secret is not None else None,
            "crontab": crontab,
        }
    )
