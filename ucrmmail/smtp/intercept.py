"""Whether somebody on the way answers in place of every server: what some networks do with port 25.

A connection to an address that no host on the Internet has (RFC 5737) must fail. When it is answered, what answers is a
proxy of the network, and it answered for the smarthost too.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.stages import StageReport

if TYPE_CHECKING:
    from ucrmmail.clock import Clock

PORT = 25
NOBODY = "203.0.113.1"
_WAIT_S = 2.0


def look_for_proxy(clock: Clock) -> StageReport:
    """Return what became of a connection to port 25 of an address that nobody has; a warning when it was answered."""
    began = clock.monotonic()
    try:
        socket.create_connection((NOBODY, PORT), _WAIT_S).close()
    except OSError:
        detail, warning = f"nobody answers at {NOBODY}:{PORT}, an address that no host has: nothing is intercepted", ""
    else:
        detail = f"{NOBODY}:{PORT} answers, an address that no host has"
        warning = (
            "this network answers on port 25 in place of every server, so that what is above may not be the smarthost: "
            "set smtp.port to 587 or 465"
        )
    return StageReport(Stage.CONNECT, True, clock.monotonic() - began, detail, warning=warning)
