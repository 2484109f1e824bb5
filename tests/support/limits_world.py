"""A machine that sends under limits, with everything that can happen to it: a clock that steps, kills, power cuts.

The ledger and its file are real. Only time is a number, and the disk forgets on a power cut what was not synced.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from unittest import mock

from tests.support.limits_oracle import Events
from ucrmmail.limits.ledger import Ledger, Reservation
from ucrmmail.limits.rules import Rules

_SMALL_LEAP_S = 60.0


def room(ledger: Ledger, now: float) -> int:
    """Return to how many recipients one transaction may leave at ``now``, under a limit of recipients or messages."""
    most = ledger.largest_amount or 1
    return max((amount for amount in range(1, most + 1) if ledger.earliest(now, amount) == now), default=0)


@dataclass(slots=True)
class InFlight:
    """A message on its way: our reservation, and whether the server has accepted it, which we may not know."""

    reservation: Reservation
    recipients: int
    accepted: bool = False


class World:
    """One machine and one server. ``real`` is the true time; the machine's clock may differ from it."""

    def __init__(self, path: str, rules: Rules, *, start: float = 1_800_000_000.0) -> None:
        self.path = path
        self.rules = rules
        self.real = start
        self.offset = 0.0
        self.leapt = 0.0
        self.set_back = False
        self.boots = 1
        self.in_flight: list[InFlight] = []
        self.accepted: list[tuple[float, int]] = []
        self._durable = b""
        self._patches = [mock.patch.object(os, name, self._synced) for name in ("fdatasync", "fsync")]
        self.ledger: Ledger

    def __enter__(self) -> Self:
        for patch in self._patches:
            patch.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for patch in self._patches:
            patch.stop()

    @property
    def now(self) -> float:
        """What the machine believes the time to be."""
        return self.real + self.offset

    @property
    def server_now(self) -> float:
        """The server's clock; it leaps forward with ours, since such a leap is excused, and never back."""
        return self.real + self.leapt

    def open(self) -> None:
        self.ledger = Ledger(self.path, self.rules, self.now, f"boot-{self.boots}")

    def reserve(self, recipients: int = 1) -> InFlight | None:
        """Take a place if the ledger allows one now."""
        recipients = min(recipients, self.ledger.largest_amount or recipients)
        if self.ledger.earliest(self.now, recipients) > self.now:
            return None
        work = InFlight(self.ledger.reserve(self.now, recipients), recipients)
        self.in_flight.append(work)
        return work

    def accept(self, work: InFlight) -> None:
        """Have the server accept a message, at most once."""
        if not work.accepted:
            work.accepted = True
            self.accepted.append((self.server_now, work.recipients))

    def settle(self, work: InFlight, *, uncertain: bool = False) -> None:
        """Have us read the reply: accepted, refused, or none at all."""
        self.in_flight.remove(work)
        if work.accepted or uncertain:
            self.ledger.confirm(work.reservation, self.now, work.recipients, uncertain=uncertain)
        else:
            self.ledger.refund(work.reservation)

    def send(self, recipients: int = 1) -> bool:
        """Send a message that takes no time, if a limit allows it now."""
        work = self.reserve(recipients)
        if work is None:
            return False
        self.accept(work)
        self.settle(work)
        return True

    def wait(self, seconds: float) -> None:
        self.real += seconds

    def wait_until_open(self, recipients: int = 1) -> None:
        """Wait as long as the ledger says, then it must allow a message."""
        recipients = min(recipients, self.ledger.largest_amount or recipients)
        opens_at = self.ledger.earliest(self.now, recipients)
        if opens_at > self.now:
            assert self.in_flight or opens_at - self.now <= self.longest_wait_s
            self.real = max(self.real, opens_at - self.offset)
            if not self.in_flight:
                assert self.ledger.earliest(self.now, recipients) == self.now, "it said that it would be open by now"

    def step_clock(self, seconds: float) -> None:
        """Set the clock. It does not leap far ahead while a message is on its way.

        After a crash that message would look long past, and one window may pass, once: no clock that survives a
        reboot could tell.
        """
        if seconds > _SMALL_LEAP_S and self.in_flight:
            return
        self.offset += seconds
        self.leapt += max(0.0, seconds)
        self.set_back = self.set_back or seconds < 0

    def restart(self) -> None:
        """End the run in good order and begin another."""
        for work in list(self.in_flight):
            self.settle(work)
        self.ledger.close(self.now)
        self.open()

    def kill(self) -> None:
        """Kill the process: what it has on its way it can no longer settle."""
        self.in_flight.clear()
        if self.ledger._journal is not None:
            os.close(self.ledger._journal._fd)
            self.ledger._journal = None

    def tear(self, torn: bytes) -> None:
        """Leave the beginning of a record behind the last one: its writer was killed before the write returned."""
        with open(self.path, "r+b") as file:
            file.seek(len(file.read().rstrip(b"\0")))
            file.write(torn)

    def cut_power(self, kept: float) -> None:
        """Kill the machine: of what was not synced, a part of the given share is on the disk."""
        self.kill()
        with open(self.path, "rb") as file:
            content = file.read().rstrip(b"\0")
        if content.startswith(self._durable):
            content = content[: len(self._durable) + int(kept * (len(content) - len(self._durable)))]
        else:
            content = self._durable
        with open(self.path, "wb") as file:
            file.write(content + b"\0" * 100)
        self.boots += 1

    @property
    def longest_wait_s(self) -> float:
        """One duration or pause, and the second by which threads may overtake one another."""
        spans = [throttle.duration_s for throttle in self.rules.throttles]
        if self.rules.flood is not None:
            spans.append(self.rules.flood.pause_s)
        return max(spans, default=0.0) + 1.0

    def events(self, unit: str = "messages") -> Events:
        """What the server counted."""
        return [(at, recipients if unit == "recipients" else 1) for at, recipients in self.accepted]

    def _synced(self, fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            # A new ledger is written beside its place, by who cannot read it.
            with open(f"/proc/self/fd/{fd}", "rb") as file:
                self._durable = file.read().rstrip(b"\0")


Step = tuple[str, float, int]


def perform(world: World, step: Step) -> None:
    """Let one thing happen. A step that makes no sense right now does nothing."""
    name, number, choice = step
    chosen = world.in_flight[choice % len(world.in_flight)] if world.in_flight else None

    def with_chosen(act: Callable[[InFlight], None]) -> None:
        if chosen is not None:
            act(chosen)

    match name:
        case "send":
            world.send(choice)
        case "burst":
            while choice > 0 and world.send(1):
                choice -= 1
        case "reserve":
            world.reserve(choice)
        case "accept":
            with_chosen(world.accept)
        case "settle":
            with_chosen(world.settle)
        case "no reply":
            with_chosen(lambda work: world.settle(work, uncertain=True))
        case "wait":
            world.wait(number)
        case "wait until open":
            world.wait_until_open(choice)
        case "clock":
            world.step_clock(number)
        case "restart":
            world.restart()
        case "kill":
            for work in world.in_flight[: choice % 3]:
                world.accept(work)
            world.kill()
            if choice % 2:
                world.tear(random.Random(choice).choice([b"1", b"deadbeef", b"deadbeef reserve 17 180000"]))
            world.wait(number)
            world.open()
        case "power":
            for work in world.in_flight[: choice % 3]:
                world.accept(work)
            world.cut_power((choice % 8) / 7)
            world.wait(number)
            world.open()
        case _:
            raise AssertionError(name)
    if not world.in_flight:
        assert world.ledger.earliest(world.now) - world.now <= world.longest_wait_s
