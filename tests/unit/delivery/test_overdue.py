"""When the operator is told of a queue that is too old: once for each time that it becomes so."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.spools import NOW
from ucrmmail.dataclass import replace
from ucrmmail.delivery.overdue import Notice, Told, Waiting, Warner, after_look, may_look, notice_of
from ucrmmail.errors import TemporaryError
from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.trouble import account_trouble

HOUR = 3600.0
REFUSED = replace(
    account_trouble(
        Stage.AUTH, "the smarthost refused the login", why="it is wrong", remedy="set it anew", exit_code=77
    ),
    reply=Reply(535, "5.7.8", ("Username and Password not accepted",)),
)


@pytest.mark.parametrize(
    ("ages_h", "at"),
    [
        ([1.0, 4.0], []),
        ([4.1, 5.0, 6.0], [0]),
        ([5.0, 3.0, 5.0], [0, 2]),
        ([5.0, 0.0, 5.0], [0, 2]),
        ([-1.0, 5.0], [1]),
    ],
    ids=["in time", "once", "it was over", "the queue was empty", "the clock was set back"],
)
def test_it_is_told_once_until_no_message_is_as_old(ages_h: list[float], at: list[int]) -> None:
    told, found = Told(), []
    for number, age_h in enumerate(ages_h):
        now = NOW + number * HOUR
        waiting = Waiting(2, now - age_h * HOUR) if age_h else Waiting(0, 0.0)
        told, tells = after_look(told, waiting, None, warn_after_s=4 * HOUR, now=now)
        found += [number] * tells
    assert found == at


def test_a_trouble_of_the_account_is_told_once_though_old_mail_waits_for_other_reasons() -> None:
    told, found = Told(), []
    for number, trouble in enumerate([None, None, REFUSED, REFUSED, None, REFUSED]):
        now = NOW + number * HOUR
        told, tells = after_look(told, Waiting(1, NOW - 5 * HOUR), trouble, warn_after_s=4 * HOUR, now=now)
        found += [number] * tells
    assert found == [0, 2]


@pytest.mark.parametrize(
    ("looked_ago_s", "warn_after_s", "may"),
    [
        (599.0, 4 * HOUR, False),
        (600.0, 4 * HOUR, True),
        (-5.0, 4 * HOUR, True),
        (5.0, 5.0, True),
        (4.0, 5.0, False),
        (1e9, 0.0, False),
    ],
    ids=["just now", "ten minutes ago", "the clock was set back", "a short time", "a moment ago", "never"],
)
def test_the_queue_is_listed_every_ten_minutes_at_the_most(looked_ago_s: float, warn_after_s: float, may: bool) -> None:
    told = Told(looked_at=NOW - looked_ago_s)
    assert may_look(told, warn_after_s=warn_after_s, now=NOW) is may


def test_the_notice_says_how_many_since_when_and_what_is_in_the_way() -> None:
    waiting = Waiting(3, NOW - 5 * HOUR)
    notice = notice_of(waiting, REFUSED, smarthost="smtp.example.net", now=NOW)
    text = "\n".join(notice.paragraphs)
    assert notice.subject.startswith("The account cannot log in, mail waits since ")
    for words in ("3 messages wait", "smtp.example.net", "535 5.7.8 Username", "it is wrong", "To do: set it anew"):
        assert words in text
    listed = account_trouble(Stage.MAIL, "the smarthost refused this machine", exit_code=77)
    subject = notice_of(waiting, listed, smarthost="smtp.example.net", now=NOW).subject
    assert subject.startswith("The account does not work, mail waits since ")
    down = account_trouble(Stage.CONNECT, "the smarthost cannot be reached", exit_code=69)
    assert notice_of(waiting, down, smarthost="smtp.example.net", now=NOW).subject.startswith("Mail waits since ")
    quiet = notice_of(Waiting(1, NOW - 5 * HOUR), None, smarthost="smtp.example.net", now=NOW)
    assert "1 message waits" in quiet.paragraphs[0]
    assert "`ucrmmail queue list`" in quiet.paragraphs[1]


@dataclass
class Desk:
    """Where notices come in, unless the disk is full."""

    path: Path
    notices: list[Notice] = field(default_factory=list)
    full: bool = False

    def after_a_run(self, trouble: Trouble | None = None, *, now: float = NOW) -> int:
        """Return how many notices came."""
        self.notices.clear()
        Warner(
            accept=self.accept,
            waiting=lambda: Waiting(1, NOW - 10 * HOUR),
            smarthost="smtp.example.net",
            warn_after_s=4 * HOUR,
            kept_at=str(self.path / "notices.json"),
            owner=os.geteuid(),
        ).look(trouble, now=now)
        return len(self.notices)

    def accept(self, notice: Notice) -> None:
        if self.full:
            raise TemporaryError("the disk is full")
        self.notices.append(notice)


def test_what_was_told_is_kept_from_run_to_run(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert [desk.after_a_run(REFUSED, now=NOW + at) for at in (0, 60, 700, 2 * HOUR)] == [1, 0, 0, 0]


def test_where_nothing_can_be_kept_nothing_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "gone")
    assert [desk.after_a_run(), desk.after_a_run()] == [0, 0]


def test_what_finds_no_room_is_told_by_the_next_run(tmp_path: Path) -> None:
    desk = Desk(tmp_path, full=True)
    assert desk.after_a_run() == 0
    desk.full = False
    assert desk.after_a_run() == 1


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"{",
        b"[]",
        b'{"overdue_at": 1' + b"0" * 400 + b"}",
        b'{"looked_at": {}}',
        b'{"looked_at": "x"}',
        b"x" * 5000,
    ],
)
def test_a_damaged_record_repeats_a_notice_at_the_most(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "notices.json").write_bytes(kept)
    desk = Desk(tmp_path)
    assert [desk.after_a_run(), desk.after_a_run()] == [1, 0]
