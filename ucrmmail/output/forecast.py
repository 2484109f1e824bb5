"""How a dry run looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.output import human, machine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ucrmmail.delivery.forecast import Forecast


def show_forecast(forecasts: Iterable[Forecast], *, as_json: bool) -> None:
    """Print what would go, in order."""
    found = list(forecasts)
    if as_json:
        machine.print_document(
            {
                "messages": [
                    {
                        "queue_id": one.queue_id,
                        "reverse_path": one.reverse_path,
                        "recipients": list(one.recipients),
                        "size_bytes": one.size_bytes,
                        "at": rfc3339(one.at),
                    }
                    for one in found
                ]
            }
        )
        return
    if not found:
        human.note("nothing is due")
        return
    # To the second, so that the line fits a terminal.
    times = [f"{rfc3339(one.at)[:19]}Z" for one in found]
    rows = [
        (one.queue_id, at, one.reverse_path or "<>", ", ".join(one.recipients[:3]))
        for one, at in zip(found, times, strict=True)
    ]
    human.print_table(("queue id", "would go at", "from", "to"), rows)
