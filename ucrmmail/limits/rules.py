"""The limits as the operator set them: what may leave in which time. Nothing here counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.units import parse_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

Unit = Literal["messages", "recipients"]


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most ``limit`` units in ``duration_s``, as a provider states its quota.

    A fixed window starts with the first message in it; ``sliding`` holds in any span of that length.
    """

    limit: int
    duration_s: float
    sliding: bool = False
    unit: Unit = "messages"

    def units(self, recipients: int) -> int:
        """Return what a transaction to so many recipients takes."""
        return recipients if self.unit == "recipients" else 1

    @property
    def twin(self) -> Throttle:
        """The same throttle in the other unit."""
        return replace(self, unit="messages" if self.unit == "recipients" else "recipients")


@dataclass(frozen=True, slots=True)
class Flood:
    """AntiFlood: after ``threshold`` messages in a row, ``pause_s`` without one."""

    threshold: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """All limits of an account; they hold together. The main throttle is the first, the additional ones follow."""

    throttles: tuple[Throttle, ...] = ()
    flood: Flood | None = None

    @property
    def any(self) -> bool:
        """Whether anything is limited at all."""
        return bool(self.throttles) or self.flood is not None

    @property
    def largest_transaction(self) -> int | None:
        """The most recipients that one transaction may have, None when no limit counts them.

        A message with more must go in parts: it would wait for ever to fit whole.
        """
        return min((throttle.limit for throttle in self.throttles if throttle.unit == "recipients"), default=None)


def rules_from(
    *,
    message_limit: int = 0,
    duration_s: float = 86_400.0,
    window: str = "fixed",
    count: str = "messages",
    additional_limits: Sequence[str] = (),
    activation_threshold: int = 0,
    pause_s: float = 60.0,
) -> Rules:
    """Return the rules for the values of the configuration keys ``throttler.*`` and ``antiflood.*``.

    0 turns the main throttle, or AntiFlood, off; additional limits (``30/1m``) hold without the main one too. They
    count what the main one counts, in windows of the same kind. Raises ValueError, with a sentence that says what is
    allowed.
    """
    if window not in ("fixed", "sliding"):
        raise ValueError(f"{window!r} is not a kind of window; write fixed or sliding")
    unit: Unit
    match count:
        case "messages":
            unit = "messages"
        case "recipients":
            unit = "recipients"
        case _:
            raise ValueError(f"{count!r} cannot be counted; write messages or recipients")
    rates = [(message_limit, duration_s), *(parse_rate(text) for text in additional_limits)]
    return Rules(
        throttles=tuple(
            Throttle(limit, seconds, sliding=window == "sliding", unit=unit)
            for limit, seconds in rates
            if limit > 0 and seconds > 0
        ),
        flood=Flood(activation_threshold, pause_s) if activation_threshold > 0 and pause_s > 0 else None,
    )
