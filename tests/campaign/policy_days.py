"""The days of a world of ``policy_worlds``: its mail, its runs, and what the provider and the queue say behind each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.campaign.machine import DAY_S, Machine, MovedClock
from tests.campaign.policy_worlds import World
from tests.support.provider import WORDS, Mail, Provider
from tests.support.smtp_server import SmtpServer
from tests.support.spools import everything_in, put
from ucrmmail.delivery.account import load_account
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.spool.state import RecipientState

_DAYS_S = 1.5 * DAY_S
_MOST_RUNS = 90
# Between what the program counts and what the server does pass some seconds on a busy machine; limits are of minutes.
SLACK_S = 5.0


class Days:
    """Runs of a machine, made whenever the one before says that there is something to do.

    ``taken`` counts how often each message, by its Message-ID, was taken for each recipient, and ``doubts`` how often
    that was told as uncertain; a report of the machine itself has "" for its Message-ID there. ``report`` is that of the
    last run, ``connections`` and ``refusals`` what it cost.
    """

    # Cron makes a run each minute. The long tail of what is refused for ever needs no more than one an hour.
    runs_by_the_minute = 16

    def __init__(self, world: World, home: Path) -> None:
        self.world = world
        self.clock = MovedClock()
        self.machine = Machine(home, clock=self.clock, rules=world.rules)
        self.machine.retry = world.retry
        self.provider = Provider(world.policies, self.clock.now, world.pace_s)
        self.began = self.clock.now()
        self.accepted: dict[str, Mail] = {}
        self.taken: Counter[tuple[str, str]] = Counter()
        self.doubts: Counter[tuple[str, str]] = Counter()
        self.report = RunReport()
        self.runs = self.connections = self.refusals = 0

    @property
    def age_s(self) -> float:
        return self.clock.now() - self.began

    def live(self, wrong: Callable[[Days], Iterable[str]]) -> list[str]:
        """Make runs until nothing waits, or the days are over; return what was wrong behind the first where anything was."""
        words = WORDS[self.world.words]
        with SmtpServer(faults=self.provider.faults, words=words, extensions=self.world.extensions) as server:
            while self.runs < _MOST_RUNS and self.age_s < _DAYS_S:
                self._accept()
                self._run(server)
                found = list(wrong(self))
                if found:
                    return found
                if self.runs > max(self.world.later.values(), default=0) and not self._is_waiting:
                    break
                self._wait()
        return []

    def queue(self) -> dict[str, dict[str, RecipientState]]:
        """Return what the queue has of the messages of the world, by Message-ID and recipient."""
        return {
            self.accepted[message.queue_id].message_id: {one.recipient: one for one in message.delivery.recipients}
            for message in self.machine.queue()
            if message.queue_id in self.accepted
        }

    def left(self) -> list[str]:
        """Return what stands in ``queue/``: what was due, and had no turn."""
        return [path for path in everything_in(self.machine.directory) if path.startswith("queue/")]

    @property
    def _is_waiting(self) -> bool:
        return any(one.is_pending for recipients in self.queue().values() for one in recipients.values())

    def _accept(self) -> None:
        """Accept what comes before the next run."""
        for mail in self.world.mails:
            if self.world.later.get(mail.number, 0) == self.runs:
                queue_id = put(
                    self.machine.directory,
                    *mail.recipients,
                    now=self.clock.now() + mail.number / 1e4,
                    reverse_path=mail.sender,
                    priority=self.world.priorities[mail.number],
                    message=b"From: a@isp.example\r\nMessage-ID: %s\r\n\r\nhi\r\n" % mail.message_id.encode(),
                )
                self.accepted[queue_id] = mail

    def _run(self, server: SmtpServer) -> None:
        connections, refusals = len(server.connections), len(self.provider.refusals)
        self.report = self._flush(server)
        server.wait_until_idle()
        self.runs += 1
        self.connections = len(server.connections) - connections
        self.refusals = len(self.provider.refusals) - refusals
        self.taken = Counter(
            (one.message_id, recipient) for one in self.provider.accepted for recipient in one.mail.recipients
        )
        for message in self.report.messages:
            mail = self._mail_of(message.queue_id)
            for outcome in message.outcomes:
                self.doubts[mail.message_id if mail else "", outcome.recipient] += outcome.uncertain

    def _flush(self, server: SmtpServer) -> RunReport:
        return self.machine.flush(
            # Nobody is silent here: what takes long is a busy machine.
            self.machine.to(server, timeout_s=60.0, final_timeout_s=60.0),
            options=self._options(),
        )

    def _options(self) -> Options:
        return Options(wait=False, keep_messages=True, connections=self.world.connections)

    def _mail_of(self, queue_id: str) -> Mail | None:
        return self.accepted.get(queue_id)

    def _wait(self) -> None:
        """Let the time pass until the next run has something to do, a minute at least."""
        now = self.clock.now()
        account = load_account(self.machine.directory + "/account.json", owner=os.geteuid())
        opens_at = account.not_before if account.failures else self.report.next_at
        least_s = min(60.0 * 2 ** max(0, self.runs - self.runs_by_the_minute), 3600.0)
        self.clock.offset += max(now + least_s, opens_at + SLACK_S) - now
