"""A machine in this process: a real spool, ledger and flush, with a clock that a campaign can move.

What ``ucrmmail flush`` does, but for the configuration: a hundred runs cost no hundred starts of the interpreter.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.support.smtp_client import SECRET, Listens, smarthost
from ucrmmail.clock import Clock
from ucrmmail.delivery.account import remember_told
from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.drops import Drops
from ucrmmail.delivery.flush import Account, Options, Watcher, flush
from ucrmmail.delivery.log import DeliveryLog
from ucrmmail.delivery.notices import Reporter
from ucrmmail.delivery.opening import open_queue
from ucrmmail.delivery.report import RunReport
from ucrmmail.delivery.schedule import Retry
from ucrmmail.delivery.stop import Stop
from ucrmmail.limits.ledger import Ledger
from ucrmmail.limits.rules import Rules
from ucrmmail.message.prepare import Prepared
from ucrmmail.smtp.opening import open_session
from ucrmmail.smtp.session import Session
from ucrmmail.spool.accept import accept
from ucrmmail.spool.layout import make_spool
from ucrmmail.spool.listing import QueuedMessage, messages
from ucrmmail.spool.moves import find
from ucrmmail.spool.queue import Spool

DAY_S = 86_400.0


class MovedClock(Clock):
    """The real clock, set to another time of day: deadlines on the network stay real."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return super().now() + self.offset


class OurStop(Stop):
    """A stop whose sleeps may be numbers: ``sleeping`` is then called in their place."""

    sleeping: Callable[[float], None] | None = None

    def __del__(self) -> None:
        self.close()

    def sleep(self, seconds: float) -> None:
        if self.sleeping is None:
            super().sleep(seconds)
        elif seconds > 0:
            self.sleeping(seconds)


class Machine:
    """One spool and one account. ``boot_id`` changes when the machine starts anew.

    ``sync_each`` and ``keep_sent_s`` are as in `Spool`, and may be others in each run.
    """

    def __init__(self, home: Path, *, clock: Clock | None = None, rules: Rules | None = None) -> None:
        self.directory = str(home / "spool")
        make_spool(self.directory)
        self.clock = clock or MovedClock()
        self.rules = rules or Rules()
        self.retry = Retry(first_delay_s=60.0, max_delay_s=3600.0, give_up_after_s=5 * DAY_S)
        self.boot_id = "first"
        self.sync_each = False
        self.keep_sent_s = 0.0
        self.secret: Callable[[], str] = str
        self.stop = OurStop()
        self.prepare: Callable[..., Prepared] = _nothing_was_dropped
        self._number = 0

    def accept(self, reverse_path: str, recipient: str, message: bytes, queue_id: str = "") -> str:
        if queue_id and find(self.directory, queue_id) is not None:
            return queue_id
        return accept(
            self.directory,
            reverse_path=reverse_path,
            recipients=(recipient,),
            message=message,
            priority="normal",
            eight_bit=False,
            utf8=False,
            now=self.clock.now(),
            min_free_bytes=0,
            queue_id=queue_id,
        )

    def put(self, count: int, *, bodies: dict[int, bytes] | None = None) -> list[int]:
        """Accept so many messages, each with its number as the subject; returns the numbers."""
        first = self._number
        self._number += count
        for number in range(first, self._number):
            body = (bodies or {}).get(number, b"Please pay.\r\n")
            self.accept("billing@isp.example", "joe@example.com", b"Subject: number %d\r\n\r\n" % number + body)
        return list(range(first, self._number))

    def flush(self, connect: Callable[[float], Session], *, options: Options | None = None) -> RunReport:
        """Run the flush as the command does, in its order."""

        concerns = Concerns()
        started = self.clock.monotonic()
        reporter = Reporter(accept=self.accept, notification="admin@isp.example", hostname="app1.isp.example")
        spool = Spool(self.directory, sync_each=self.sync_each, keep_sent_s=self.keep_sent_s, clock=self.clock)
        drops = Drops(
            self.directory,
            prepare=self.prepare,
            max_size_bytes=1 << 26,
            min_free_bytes=0,
            clock=self.clock,
            concerns=concerns,
            stopping=lambda: self.stop.requested,
        )
        open_queue(
            spool,
            drops=drops,
            reporter=reporter,
            retry=self.retry,
            clock=self.clock,
            sleep=self.stop.sleep,
            stopping=lambda: self.stop.requested,
            concerns=concerns,
        )
        with closing(DeliveryLog(f"{self.directory}/delivery.log")) as log:
            report = flush(
                spool=spool,
                drops=drops,
                ledger=Ledger(
                    f"{self.directory}/ledger", self.rules, self.clock.now(), self.boot_id, make_room=spool.make_room
                ),
                account=Account(connect, str, self.secret, "settings", f"{self.directory}/account.json"),
                reporter=reporter,
                log=log,
                retry=self.retry,
                clock=self.clock,
                stop=self.stop,
                started=started,
                options=options or Options(wait=False, keep_messages=True),
                watcher=Watcher(),
                concerns=concerns,
            )
        if report.trouble is not None and not report.told:
            account = f"{self.directory}/account.json"
            remember_told(account, report.trouble, now=self.clock.now(), owner=os.geteuid())
        return report

    def queue(self) -> list[QueuedMessage]:
        """All that waits, or has failed for good."""
        return list(messages(self.directory))

    def to(self, server: Listens, **settings: object) -> Callable[[float], Session]:
        """The way to connect to this server."""
        return lambda within_s: open_session(
            smarthost(server, **settings), secret=lambda: SECRET, clock=Clock(), within_s=within_s, stop=self.stop
        )


def _nothing_was_dropped(raw: bytes) -> Prepared:
    raise AssertionError(f"nothing was dropped: {raw[:80]!r}")


def number_in(content: bytes) -> int:
    """The number of a message of ours; -1 when it is a report of the machine itself."""
    head = content.partition(b"\r\n\r\n")[0]
    lines = [line for line in head.split(b"\r\n") if line.startswith(b"Subject: number ")]
    return int(lines[0][16:]) if lines else -1
