"""When a relayed message is logged, counted and on the disk: a feed over a real spool, a real connection, a real log."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import pytest

from tests.support.faults import fails_at
from tests.support.smtp_client import connect
from tests.support.smtp_server import SmtpServer
from tests.support.spools import NOW, StillClock, claim, new_spool, put
from ucrmmail.dataclass import replace
from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.feed import QueueFeed
from ucrmmail.delivery.lessons import Lessons
from ucrmmail.delivery.log import DeliveryLog
from ucrmmail.delivery.notices import Reporter
from ucrmmail.delivery.report import HELD_BACK, MessageReport
from ucrmmail.delivery.run import Run, Window
from ucrmmail.delivery.schedule import Retry
from ucrmmail.delivery.stop import Stop
from ucrmmail.errors import TemporaryError
from ucrmmail.limits.ledger import Ledger
from ucrmmail.limits.rules import rules_from
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.smtp.transaction import Transaction
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.records import recorded


@dataclass
class World:
    """A spool of three messages and a feed over it; the clock stands until it is moved."""

    path: Path
    clock: StillClock = field(default_factory=StillClock)
    counted: list[MessageReport] = field(default_factory=list)
    concerns: Concerns = field(default_factory=Concerns)

    def __post_init__(self) -> None:
        self.directory = new_spool(self.path)
        self.ids = [put(self.directory, now=NOW + number) for number in range(3)]
        self.log = DeliveryLog(str(self.path / "delivery.log"))
        self.ledger = Ledger(f"{self.directory}/ledger", rules_from(), NOW, "boot")
        self.spool = Spool(self.directory, clock=self.clock)

    def feed(
        self, source: Iterator[str] | None = None, accept: Callable[[str, str, bytes, str], str] = lambda *_: ""
    ) -> QueueFeed:
        return QueueFeed(
            spool=self.spool,
            ledger=self.ledger,
            reporter=Reporter(accept=accept, notification="", hostname="app1.isp.example"),
            log=self.log,
            retry=Retry(),
            clock=self.clock,
            left_s=lambda: inf,
            message_limit=0,
            on_settled=self.counted.append,
            concerns=self.concerns,
            due=(lambda: source) if source is not None else None,
        )

    @property
    def logged(self) -> list[str]:
        return [line.split()[1] for line in (self.path / "delivery.log").read_text().splitlines()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def begin(feed: QueueFeed) -> Transaction:
    transaction = feed.ready()
    assert transaction is not None
    return transaction


def relay(feed: QueueFeed, transaction: Transaction) -> None:
    feed.settle(
        transaction,
        tuple(Outcome(each, Result.RELAYED, Stage.FINAL_DOT, "250 Ok", "2.0.0") for each in transaction.recipients),
    )


def test_what_was_relayed_before_the_queue_failed_is_logged_and_counted(world: World) -> None:
    def one_and_no_more() -> Iterator[str]:
        yield world.ids[0]
        raise OSError(errno.EIO, "the directory cannot be read")

    with SmtpServer() as server, closing(Stop()) as stop:
        run = Run(
            world.feed(one_and_no_more()),
            connect=lambda _within_s: connect(server),
            fetch_secret=str,
            clock=world.clock,
            stop=stop,
            window=Window(inf, inf),
            on_wait=lambda _until: None,
        )
        with pytest.raises(OSError, match="cannot be read"):
            run.drive(1, Lessons())
        assert len(server.accepted) == 1
    world.log.close()
    assert world.logged == [world.ids[0]]
    assert [message.queue_id for message in world.counted] == [world.ids[0]]


def test_a_message_whose_turn_comes_late_does_not_wait_for_the_next_body_to_be_logged(world: World) -> None:
    feed = world.feed()
    first = begin(feed)
    world.clock.move(0.2)
    relay(feed, first)
    begin(feed)
    assert world.logged == [first.queue_id], "its body may take minutes"
    assert not Path(world.directory, "queue", first.queue_id).exists()


def test_what_is_relayed_in_quick_succession_is_counted_while_the_server_works(world: World) -> None:
    feed = world.feed()
    first = begin(feed)
    world.clock.move(0.01)
    relay(feed, first)
    assert world.counted == []
    second = begin(feed)
    feed.idle()
    assert [message.queue_id for message in world.counted] == [first.queue_id]
    world.clock.move(0.06)
    relay(feed, second)
    assert world.logged == [message.queue_id for message in world.counted] == [first.queue_id, second.queue_id]


@pytest.mark.requirement("R4")
def test_a_message_is_not_sent_again_because_the_disk_refused_to_sync_while_it_was_sent(world: World) -> None:
    feed = world.feed()
    first, second = begin(feed), begin(feed)
    world.clock.move(0.06)
    with fails_at(1, errno.EIO, names=("fdatasync",)), pytest.raises(OSError, match="Input/output"):
        relay(feed, first)
    with pytest.raises(OSError, match="earlier sync failed"):
        relay(feed, second)
    # What the next run goes by: relayed to everyone, both.
    assert recorded(world.directory) == {first.queue_id: None, second.queue_id: None}


@pytest.mark.requirement("R4", "R11")
@pytest.mark.parametrize("is_removed", [True, False])
def test_what_was_relayed_and_could_not_be_recorded_is_logged_and_counted(world: World, is_removed: bool) -> None:
    feed = world.feed()
    relay(feed, begin(feed))
    last = begin(feed)
    refused = ("pwrite",) if is_removed else ("pwrite", "unlink")
    with fails_at(1, errno.EIO, names=refused, and_later=True), pytest.raises(OSError, match=last.queue_id):
        relay(feed, last)
    world.log.close()
    assert world.logged == [message.queue_id for message in world.counted] == world.ids[:2]
    assert world.counted[-1].result == ("relayed" if is_removed else HELD_BACK)
    assert world.counted[-1].uncertain is not is_removed
    doubt = "" if is_removed else " may-be-delivered-twice"
    line = (world.path / "delivery.log").read_text().splitlines()[-1]
    assert line.endswith(f'relayed final-dot{doubt} "250 Ok"')


@pytest.mark.requirement("R4")
def test_what_was_recorded_is_logged_though_it_could_not_be_counted_under_the_limits(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ledger = Ledger(f"{world.directory}/ledger2", rules_from(message_limit=9), NOW, "boot")
    feed = world.feed()
    first = begin(feed)
    with fails_at(2, errno.EIO, names=("pwrite",)), pytest.raises(OSError, match="Input/output"):
        relay(feed, first)
    assert recorded(world.directory) == {first.queue_id: None}
    world.log.close()
    assert world.logged == [message.queue_id for message in world.counted] == [first.queue_id]
    assert not world.counted[0].uncertain


@pytest.mark.requirement("R4", "R11")
def test_of_what_could_not_be_kept_only_who_has_it_is_in_doubt(world: World) -> None:
    feed = world.feed()
    last = begin(feed)
    (joe,) = last.recipients
    with fails_at(1, errno.EIO, names=("pwrite",), and_later=True), pytest.raises(OSError, match="is tried again"):
        feed.settle(last, (Outcome(joe, Result.DEFERRED, Stage.RCPT, "450 4.2.1 later", "4.2.1"),))
    assert [(message.result, message.uncertain) for message in world.counted] == [(HELD_BACK, False)]


def test_before_a_pause_all_that_was_settled_is_brought_to_the_disk(world: World) -> None:
    feed = world.feed()
    relay(feed, begin(feed))
    with fails_at(1, errno.EIO, names=("fdatasync",)), pytest.raises(OSError, match="Input/output"):
        feed.put_back()
    # Once: a sync that failed is not tried again as if it had not.
    feed.put_back()


def test_a_failure_that_cannot_be_reported_now_is_logged_and_counted(world: World) -> None:
    def full(*_: object) -> str:
        raise TemporaryError("the disk is full")

    feed = world.feed(accept=full)
    refused = begin(feed)
    reply = Outcome(refused.recipients[0], Result.FAILED, Stage.RCPT, "550 5.1.1 no such user", "5.1.1")
    feed.settle(refused, (reply,))
    # The others go on, and the report stays owed.
    relay(feed, begin(feed))
    feed.put_back()
    world.log.close()
    assert world.logged == [message.queue_id for message in world.counted]
    assert [message.result for message in world.counted] == ["failed", "relayed"]
    assert world.concerns.exit_code == TemporaryError.exit_code
    failure = f"{refused.queue_id} to {refused.recipients[0]} failed: 550 5.1.1 no such user"
    owed = "the report of that could not be queued, the next run tries again: the disk is full"
    assert world.concerns.lines == [f"{failure}; {owed}"]
    state = recorded(world.directory)[refused.queue_id]
    assert state is not None
    assert state.unreported


@pytest.mark.requirement("S19", "R22")
def test_a_suspect_that_another_connection_takes_at_once_does_not_stand_for_the_account(world: World) -> None:
    feed = world.feed()
    feed.suspect(world.ids[:1])
    # Refused, given back, and taken by another connection, before the first one could say who refused it.
    for _ in range(2):
        refused = begin(feed)
        assert refused.queue_id == world.ids[0]
        feed.unused(refused)
    assert feed.postpone(world.ids[0])
    assert feed.postpone(world.ids[0]), "nobody has tried another message so far"
    assert not feed.suspicion.is_to_blame(refused.queue_id)
    other = begin(feed)
    assert other.queue_id == world.ids[1]
    # Nor may it come back while the other one is on its way, whoever forgets what is next.
    feed.put_back()
    last = begin(feed)
    assert last.queue_id == world.ids[2]
    assert feed.ready() is None
    relay(feed, other)
    assert begin(feed).queue_id == world.ids[0]
    assert feed.suspicion.is_to_blame(refused.queue_id)


@pytest.mark.requirement("S19")
def test_a_suspect_comes_when_no_other_message_could_show_anything(world: World) -> None:
    feed = world.feed()
    feed.suspect(world.ids[:2])
    feed.unused(begin(feed))
    assert feed.postpone(world.ids[0])
    other = begin(feed)
    assert other.queue_id == world.ids[2]
    greylisted = Outcome(other.recipients[0], Result.DEFERRED, Stage.RCPT, "450 4.7.1 later", "4.7.1")
    feed.settle(other, (greylisted,))
    # All have been tried, and nothing was relayed.
    suspect = begin(feed)
    assert suspect.queue_id in world.ids[:2]
    feed.unused(suspect)
    assert not feed.postpone(suspect.queue_id)


def let_others_go_first(spool: Spool, queue_id: str) -> None:
    """Leave the message as an attempt does that found the server slow with it a moment ago."""
    claimed = claim(spool, queue_id)
    state = replace(claimed.state, late=True)
    spool.settle(claimed, replace(state, recipients=tuple(replace(one, at=NOW - 5.0) for one in state.recipients)))


def test_the_queue_is_not_listed_for_each_message_that_lets_others_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand of them took 9 s of the CPU, and four times as many sixteen times as long."""
    listed: list[float] = []
    due = Spool.due

    def counted(spool: Spool) -> Iterator[str]:
        listed.append(world.clock.monotonic())
        return due(spool)

    monkeypatch.setattr(Spool, "due", counted)
    urgent = [put(world.directory, now=NOW + 10 + number, priority="urgent") for number in range(40)]
    normal = [put(world.directory, now=NOW + 10 + number) for number in range(40)]
    for queue_id in (*urgent, *normal):
        let_others_go_first(world.spool, queue_id)
    feed = world.feed()
    for expected in (*urgent, *world.ids, *normal[:30]):
        transaction = begin(feed)
        assert transaction.queue_id == expected
        relay(feed, transaction)
    assert len(listed) <= 3
    # What comes meanwhile waits for half a second, not for all of them.
    world.clock.move(0.5)
    came = put(world.directory, now=NOW + 99)
    assert begin(feed).queue_id == came
    assert len(listed) <= 4


# --- a full disk ------------------------------------------------------------------------------------------------------

MANY = [f"{number}@example.com" for number in range(500)]


@contextmanager
def room_for(journal: Path, size_bytes: int, number: int = errno.ENOSPC) -> Iterator[None]:
    """Let no process of ours have a journal that is longer: the kernel refuses, as a full disk does, or `ulimit -f`."""
    real = os.posix_fallocate

    def fallocate(fd: int, offset: int, length: int) -> None:
        if offset + length > size_bytes and os.path.samestat(os.fstat(fd), journal.stat()):
            raise OSError(number, os.strerror(number))
        real(fd, offset, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fallocate)
        yield


@pytest.mark.requirement("R26", "S19")
@pytest.mark.parametrize(
    ("mailings", "number", "so", "needed"),
    [
        (1, errno.ENOSPC, "for room on the disk", "3.3MB"),
        (3, errno.EDQUOT, "for room on the disk", "3.3MB"),
        (1, errno.EFBIG, "for a process that may write more", "3.3MB, see `ulimit -f`"),
    ],
)
def test_a_mailing_that_finds_no_room_for_its_record_lets_the_others_go(
    world: World, mailings: int, number: int, so: str, needed: str
) -> None:
    large = [put(world.directory, *MANY, now=NOW - 10 + number) for number in range(mailings)]
    feed = world.feed()
    with room_for(Path(world.directory, "journal"), 1 << 20, number):
        sent = []
        while (transaction := feed.ready()) is not None:
            relay(feed, transaction)
            sent.append(transaction.queue_id)
        assert not feed.has_work(), "it is left out for the whole run"
    assert sent == world.ids
    world.spool.finish()
    feed.conclude()
    assert world.concerns.lines == [
        f"{queue_id} waits {so}: to record what becomes of its 500 recipients may take {needed}" for queue_id in large
    ]
    assert world.concerns.exit_code == TemporaryError.exit_code
    assert world.concerns.hourly == world.concerns.lines, "each run finds the same until there is room"
    assert list(Spool(world.directory).due()) == large


@pytest.mark.requirement("R26")
def test_a_disk_without_room_for_any_record_ends_the_run_before_a_message_leaves(world: World) -> None:
    put(world.directory, *MANY, now=NOW - 10)
    feed = world.feed()
    with room_for(Path(world.directory, "journal"), 0), pytest.raises(OSError, match="No space left"):
        feed.ready()


@pytest.mark.requirement("R26")
def test_mailings_without_room_are_not_passed_over_without_end(world: World) -> None:
    for number in range(101):
        put(world.directory, *MANY[:20], now=NOW - 1000 + number)
    with room_for(Path(world.directory, "journal"), 1 << 16), pytest.raises(OSError, match="No space left"):
        world.feed().ready()
