"""The fixed window against a server whose clock and moment of acceptance we do not know, played many times at random."""

from __future__ import annotations

import random

import pytest

from tests.support.limits_oracle import most_in_fixed_windows
from ucrmmail.limits.rules import Rules, Throttle
from ucrmmail.limits.tally import Tally, empty_tally


class Play:
    """A server and a client with several connections; every choice is drawn from the seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.rule = Throttle(self.draw.randint(1, 4), self.draw.choice([2.0, 4.0, 7.0]))
        self.tally: Tally = empty_tally(Rules((self.rule,)))
        self.now = 1000.0
        self.reserved: dict[int, bool] = {}
        self.accepted: list[tuple[float, int]] = []
        # How hurried the client is, and how slow the server, differs from play to play.
        self.moves = [self.reserve, self.accept, self.reply, self.no_reply, self.die, self.tick]
        self.weights = [self.draw.choice([1, 3, 9]) for _ in self.moves]
        self.weights[4] = self.draw.choice([0, 0, 1])
        self.weights[3] = self.draw.choice([0, 1, 2])

    def reserve(self) -> None:
        if self.tally.opens(self.now, 1) <= self.now:
            self.reserved[self.tally.reserve(self.now, 1)] = False

    def accept(self) -> None:
        waiting = [number for number, accepted in self.reserved.items() if not accepted]
        if waiting:
            self.reserved[self.draw.choice(waiting)] = True
            self.accepted.append((self.now, 1))

    def reply(self) -> None:
        if self.reserved:
            number = self.draw.choice(list(self.reserved))
            if self.reserved.pop(number):
                self.tally.settle(number, self.now, 1, certain=True)
            else:
                self.tally.give_back(number)

    def no_reply(self) -> None:
        if self.reserved:
            number = self.draw.choice(list(self.reserved))
            del self.reserved[number]
            self.tally.settle(number, self.now, 1, certain=False)

    def die(self) -> None:
        while self.reserved:
            self.no_reply()

    def tick(self) -> None:
        self.now += self.draw.choice([0.5, 0.5, 1.0, 2.5])

    def run(self, moves: int) -> int:
        """Return the most messages that the server found in a window of its own."""
        for move in self.draw.choices(self.moves, self.weights, k=moves):
            move()
        return most_in_fixed_windows(self.accepted, self.rule.duration_s)


@pytest.mark.requirement("R19")
@pytest.mark.parametrize("part", range(4))
def test_no_play_of_a_slow_server_brings_more_than_the_limit_into_a_window(part: int) -> None:
    for seed in range(part * 500, part * 500 + 500):
        play = Play(seed)
        assert play.run(300) <= play.rule.limit, f"Play({seed})"
