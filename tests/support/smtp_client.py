"""The SMTP client as tests use it: a feed that is a list, and a session with a bad server in one call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from tests.support.smtp_server import SmtpServer
from ucrmmail.clock import Clock
from ucrmmail.dataclass import replace
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.message.outcome import Outcome, Result
from ucrmmail.smtp.opening import open_session
from ucrmmail.smtp.session import Session
from ucrmmail.smtp.smarthost import Smarthost
from ucrmmail.smtp.stages import StageReport
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transaction import NO_MARKS, End, Marks, Transaction

JOE, ANN, BOB = "joe@example.com", "ann@example.com", "bob@example.com"
BODY = b"From: billing@isp.example\r\nSubject: invoice\r\n\r\nPlease pay.\r\n"
SECRET = "canary-4711-correct-horse"
USER = "billing@isp.example"


def transaction(
    queue_id: str = "1",
    *recipients: str,
    body: bytes = BODY,
    pieces: int = 0,
    reverse_path: str = "billing@isp.example",
    eight_bit: bool = False,
    utf8: bool = False,
) -> Transaction:
    """A transaction; ``pieces`` is the size of the chunks that the message comes in (0: one)."""

    def chunks() -> Iterator[bytes]:
        size = pieces or len(body) or 1
        for at in range(0, len(body), size):
            yield body[at : at + size]

    return Transaction(queue_id, reverse_path, recipients or (JOE,), len(body), eight_bit, utf8, chunks)


@dataclass
class ListFeed:
    """Hands out transactions in order, and keeps what comes back. Every one must come back exactly once."""

    transactions: list[Transaction]
    settled: dict[str, tuple[Outcome, ...]] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    suspicion: Suspicion = field(default_factory=Suspicion)
    parts: dict[str, list[Outcome]] = field(default_factory=dict)
    has_others: bool = False
    awaits_proof: bool = False

    def ready(self) -> Transaction | None:
        if not self.transactions:
            return None
        found = self.transactions.pop(0)
        self.events.append(f"ready {found.queue_id}")
        return found

    def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...], marks: Marks = NO_MARKS) -> None:
        told = [outcome.recipient for outcome in outcomes]
        if (marks.alone or marks.denied) and not told:
            self.unused(transaction)
            return
        assert told
        assert told == [recipient for recipient in transaction.recipients if recipient in told]
        if any(outcome.result is Result.RELAYED for outcome in outcomes):
            self.suspicion.count_relayed(transaction.sender)
        self.events.append(f"settle {transaction.queue_id}" + (" late" if marks.late else ""))
        self.parts.setdefault(transaction.queue_id, []).extend(outcomes)
        if rest := tuple(recipient for recipient in transaction.recipients if recipient not in told):
            # As the queue does: it goes on with the others.
            self.transactions.insert(0, replace(transaction, recipients=rest))
            return
        self._once(transaction)
        self.settled[transaction.queue_id] = tuple(self.parts[transaction.queue_id])

    def unused(self, transaction: Transaction) -> None:
        self._once(transaction)
        self.events.append(f"unused {transaction.queue_id}")
        self.returned.append(transaction.queue_id)

    def left_s(self) -> float:
        return inf

    def idle(self) -> None:
        self.events.append("idle")

    def _once(self, transaction: Transaction) -> None:
        assert transaction.queue_id not in self.settled
        assert transaction.queue_id not in self.returned
        assert f"ready {transaction.queue_id}" in self.events

    def results(self, queue_id: str) -> dict[str, str]:
        """What became of each recipient: relayed, deferred, failed, or uncertain."""
        return {
            outcome.recipient: "uncertain" if outcome.uncertain else outcome.result.value
            for outcome in self.parts[queue_id]
        }

    @property
    def summary(self) -> dict[str, str]:
        """For each message of one recipient what became of it; "returned" when it was not to blame."""
        found = {queue_id: next(iter(self.results(queue_id).values())) for queue_id in self.settled}
        return found | dict.fromkeys(self.returned, "returned")


@dataclass
class Stages:
    """A watcher that keeps the reports."""

    reports: list[StageReport] = field(default_factory=list)

    def stage(self, report: StageReport) -> None:
        self.reports.append(report)

    @property
    def names(self) -> list[str]:
        return [report.stage.value for report in self.reports]


class Listens(Protocol):
    """A server of whatever kind on a port of loopback."""

    @property
    def port(self) -> int: ...


def smarthost(server: Listens, **settings: Any) -> Smarthost:
    """The settings for a test server: no TLS, not for a login either, and little patience."""
    defaults: dict[str, Any] = {
        "encryption": "none", "allow_insecure_login": True, "timeout_s": 2.0, "final_timeout_s": 2.0,
    }  # fmt: skip
    return Smarthost(settings.pop("host", "127.0.0.1"), server.port, **defaults | settings)


def connect(
    server: SmtpServer,
    *,
    stop: Any = None,
    observer: Any = None,
    watcher: Any = None,
    silent: Any = None,
    within_s: Any = inf,
    **settings: Any,
) -> Session:
    return open_session(
        smarthost(server, **settings),
        secret=lambda: SECRET,
        clock=Clock(),
        stop=stop,
        observer=observer,
        watcher=watcher,
        silent=silent,
        within_s=within_s,
    )


def deliver(server: SmtpServer, *transactions: Transaction, **settings: Any) -> tuple[End, ListFeed]:
    """Send these on one session; say QUIT when it is still alive."""
    feed = ListFeed(list(transactions or (transaction(),)))
    session = connect(server, **settings)
    end = submit(session, feed)
    if end.alive:
        session.quit()
    else:
        session.close()
    server.wait_until_idle(0.5)
    return end, feed
