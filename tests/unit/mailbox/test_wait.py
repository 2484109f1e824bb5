"""Waiting for a message, on a clock of its own."""

from __future__ import annotations

from ucrmmail.clock import Clock
from ucrmmail.errors import SmarthostUnavailableError
from ucrmmail.mailbox.imap import Found, LostError, Mailbox
from ucrmmail.mailbox.wait import Arrival, wait_for

FOUND = Found("INBOX", False, b"From: a@isp.example\r\n\r\n")


class Hours(Clock):
    """A clock on which a sleep takes no time."""

    def __init__(self) -> None:
        self.at = 100.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.at += seconds


class Scripted(Mailbox):
    """Answers each look with the next of these; an error is raised."""

    def __init__(self, *looks: Found | Exception | None) -> None:
        self.looks = list(looks)
        self.closed = False

    @property
    def folders(self) -> tuple[str, ...]:
        return ("INBOX", "Junk")

    def find(self, message_id: str) -> Found | None:
        look = self.looks.pop(0) if self.looks else None
        if isinstance(look, Exception):
            raise look
        return look

    def close(self) -> None:
        self.closed = True


def waited(clock: Hours, first: Mailbox, *others: Mailbox | Exception, wait_s: float = 60.0) -> Arrival:
    left = list(others)

    def reopen() -> Mailbox:
        other = left.pop(0)
        if isinstance(other, Exception):
            raise other
        return other

    return wait_for(
        "<1@isp.example>",
        first,
        reopen=reopen,
        clock=clock,
        since=clock.at,
        deadline=clock.at + wait_s,
        watch=lambda _seconds: None,
    )


def test_a_message_that_is_there_is_found_at_once() -> None:
    clock, mailbox = Hours(), Scripted(FOUND)
    assert waited(clock, mailbox) == Arrival(FOUND, 0.0, ("INBOX", "Junk"))
    assert clock.sleeps == []
    assert mailbox.closed


def test_looks_become_rarer_and_end_with_the_time() -> None:
    clock, mailbox = Hours(), Scripted()
    arrival = waited(clock, mailbox)
    assert (arrival.found, arrival.seconds, arrival.trouble) == (None, 60.0, "")
    assert clock.sleeps == sorted(clock.sleeps[:-1]) + clock.sleeps[-1:]
    assert max(clock.sleeps) == 5.0
    assert len(clock.sleeps) < 25
    assert mailbox.closed


def test_a_connection_that_breaks_is_opened_again() -> None:
    clock, broken, again = Hours(), Scripted(LostError("reset")), Scripted(None, FOUND)
    arrival = waited(clock, broken, SmarthostUnavailableError("down"), again)
    assert (arrival.found, arrival.trouble) == (FOUND, "")
    assert broken.closed
    assert again.closed


def test_what_the_last_look_failed_of_is_told() -> None:
    clock = Hours()
    arrival = waited(clock, Scripted(LostError("reset")), SmarthostUnavailableError("down"), wait_s=0.4)
    assert (arrival.found, arrival.trouble) == (None, "down")
