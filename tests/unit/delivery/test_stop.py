"""A request to end a run, and what only wakes those who wait."""

from __future__ import annotations

import select
import signal
from contextlib import closing

from ucrmmail.delivery.stop import Stop


def ends_waits(stop: Stop) -> bool:
    poll = select.poll()
    poll.register(stop.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def test_who_is_woken_was_not_asked_to_end_and_waits_again_after_a_rest() -> None:
    with closing(Stop()) as stop:
        stop.rest()
        stop.wake()
        assert ends_waits(stop)
        assert not stop.requested
        stop.rest()
        assert not ends_waits(stop)


def test_no_rest_takes_a_request_back() -> None:
    with closing(Stop()) as stop:
        stop.wake()
        stop.request(signal.SIGTERM)
        stop.rest()
        assert ends_waits(stop)
        assert stop.requested
