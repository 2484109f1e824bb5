"""Which ports of the smarthost take mail: the usual combinations of port and encryption, all at once, without a login.

Port 465 speaks TLS from the first byte, 587 and 25 begin in clear and go on with STARTTLS (RFC 8314, RFC 6409); 2525
and 8465 are what providers offer where networks block the others. Plain text is never proposed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.smtp.auth import choose_mechanism
from ucrmmail.smtp.opening import SessionError, open_session
from ucrmmail.smtp.trouble import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.clock import Clock
    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.smarthost import Smarthost

# The best first: nothing can be stripped from TLS that is there from the first byte.
USUAL = ((465, "tls"), (587, "starttls"), (8465, "tls"), (2525, "starttls"), (25, "starttls"))
LONGEST_S = 5.0


@dataclass(frozen=True, slots=True)
class Probed:
    """What one combination gave: None as ``trouble`` means that mail can go this way."""

    port: int
    encryption: str
    seconds: float
    mechanisms: tuple[str, ...]
    trouble: Trouble | None


def combinations_for(smarthost: Smarthost) -> tuple[tuple[int, str], ...]:
    """Return what to try: the usual ones, then the port that is configured with TLS either way."""
    return tuple(dict.fromkeys((*USUAL, (smarthost.port, "tls"), (smarthost.port, "starttls"))))


def probe(smarthost: Smarthost, combinations: Sequence[tuple[int, str]], *, clock: Clock) -> tuple[Probed, ...]:
    """Try each (port, encryption) at the same time, and return what each gave, in the order given.

    An account that logs in also needs a login that the server offers there; none is made.
    """

    def one(combination: tuple[int, str]) -> Probed:
        port, encryption = combination
        return _probe(replace(smarthost, port=port, encryption=encryption), clock)

    with ThreadPoolExecutor(max_workers=len(combinations)) as pool:
        return tuple(pool.map(one, combinations))


def _probe(smarthost: Smarthost, clock: Clock) -> Probed:
    began = clock.monotonic()
    mechanisms: tuple[str, ...] = ()
    trouble: Trouble | None = None
    nobody = replace(smarthost, username="", timeout_s=min(smarthost.timeout_s, LONGEST_S))
    try:
        session = open_session(nobody, secret=str, clock=clock)
        mechanisms = session.capabilities.mechanisms
        session.quit()
        if smarthost.logs_in:
            choose_mechanism(smarthost, session.capabilities, in_tls=True)
    except (SessionError, RefusedError) as error:
        trouble = error.trouble
    return Probed(smarthost.port, smarthost.encryption, clock.monotonic() - began, mechanisms, trouble)


def settings_for(smarthost: Smarthost, probed: Sequence[Probed]) -> tuple[tuple[str, str], ...]:
    """Return the keys and values of a combination that works: the configured one, else the best; () when none does."""
    works = [(each.port, each.encryption) for each in probed if each.trouble is None]
    if not works:
        return ()
    configured = (smarthost.port, smarthost.encryption)
    port, encryption = configured if configured in works else works[0]
    return (("smtp.port", str(port)), ("smtp.encryption", encryption))
