"""How a dry run looks."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.output import human, machine
from ucrmmail.output.queue import tell_unread, unread_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ucrmmail.delivery.forecast import Forecast
    from ucrmmail.spool.unread import Unread


def show_forecast(
    forecasts: Iterable[Forecast], unread: Sequence[Unread], *, deferred_until: float, dropped: int, as_json: bool
) -> None:
    """Print what would go, in order, each as soon as it is known: a long queue needs no memory.

    ``unread`` is what could not be read, when the forecasts have come to their end.
    ``deferred_until`` is when the account's pause ends, 0.0 when there is none; ``dropped`` files in drop/ come too.
    """
    if as_json:
        listed = _Listed()
        machine.print_listing(
            "messages",
            map(listed.document, forecasts),
            lambda: {
                **listed.as_of_a_run(),
                "deferred_until": rfc3339(deferred_until) if deferred_until else None,
                "dropped": dropped,
                "errors": unread_documents(unread),
            },
        )
        tell_unread(unread)
        return
    found = iter(forecasts)
    first = list(islice(found, 1))
    if deferred_until:
        human.note(f"the account is deferred until {rfc3339(deferred_until)[:19]}Z: nothing goes before, see `status`")
    if dropped:
        files = "1 file waits" if dropped == 1 else f"{dropped} files wait"
        human.note(f"{files} in drop/, which a run takes first; what follows is without")
    if first:
        human.print_table(("queue id", "would go at", "from", "to"), map(_row, chain(first, found)))
    else:
        human.note("nothing else is due" if dropped or unread else "nothing is due")
    tell_unread(unread)


class _Listed:
    """How many messages were listed, and when the first of them would go: what a run says, a dry one says as well."""

    def __init__(self) -> None:
        self._count = 0
        self._next_at: str | None = None

    def document(self, one: Forecast) -> dict[str, object]:
        at = rfc3339(one.at)
        self._count += 1
        self._next_at = self._next_at or at
        return {
            "queue_id": one.queue_id,
            "reverse_path": one.reverse_path,
            "recipients": list(one.recipients),
            "size_bytes": one.size_bytes,
            "at": at,
        }

    def as_of_a_run(self) -> dict[str, object]:
        return {
            "relayed": 0,
            "deferred": 0,
            "failed": 0,
            "held_back": self._count,
            "reason": "dry run",
            "next_at": self._next_at,
        }


def _row(one: Forecast) -> tuple[str, ...]:
    # To the second, so that the line fits a terminal.
    return one.queue_id, f"{rfc3339(one.at)[:19]}Z", one.reverse_path or "<>", ", ".join(one.recipients[:3])
