"""Which of its workers a run sends home."""

from __future__ import annotations

from multiprocessing import Pipe
from multiprocessing.context import ForkProcess

from ucrmmail.delivery.crew import Crew, _Worker
from ucrmmail.delivery.worker import Connected


class Process(ForkProcess):
    """One that was never started, and counts how often it was asked to end."""

    asked = 0

    def terminate(self) -> None:
        self.asked += 1


def test_who_has_said_meanwhile_that_it_is_connected_is_not_dismissed() -> None:
    """It has taken the last message before the run has heard of it: that one waited for another run."""
    heard, notes = Pipe(duplex=False)
    crew, process = Crew.__new__(Crew), Process()
    crew._workers = [_Worker(process, heard)]
    with heard, notes:
        notes.send(Connected())
        crew._dismiss_silent()
        assert process.asked == 0
        heard.recv()
        crew._dismiss_silent()
        assert process.asked == 1
