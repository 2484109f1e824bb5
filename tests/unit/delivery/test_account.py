"""The account between runs: pauses that grow, and what ends them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.support.faults import fails_at
from ucrmmail.dataclass import replace
from ucrmmail.delivery.account import (
    AccountState,
    after_error,
    after_trouble,
    distrusted,
    lift_pause,
    load_account,
    may_connect_at,
    remember_told,
    save_account,
    secret_mark,
    settings_mark,
    was_told,
    without,
)
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.trouble import account_trouble

NOW = 1_800_000_000.0
FIRST_S, MAX_S = 300.0, 14_400.0


def trouble(exit_code: int = 75) -> Trouble:
    return Trouble(
        scope=Scope.ACCOUNT,
        kind=Kind.TRANSIENT,
        stage=Stage.AUTH,
        what="smarthost refused",
        reply=Reply(421, "4.7.0", ("slow down",)),
        exit_code=exit_code,
    )


def failed(state: AccountState, exit_code: int = 75, now: float = NOW) -> AccountState:
    return after_trouble(
        state,
        trouble(exit_code),
        now=now,
        first_delay_s=FIRST_S,
        max_delay_s=MAX_S,
        settings_mark="s",
        secret_mark="",
        told_at=now,
    )


def pause_of(state: AccountState, now: float = NOW, mark: str = "s") -> float:
    return may_connect_at(state, now=now, max_delay_s=MAX_S, settings_mark=mark) - now


def test_an_account_without_troubles_may_connect_at_once() -> None:
    assert pause_of(AccountState()) == 0


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("code", [69, 75, 77])
def test_each_failure_doubles_the_pause_up_to_the_longest(code: int) -> None:
    state, pauses = AccountState(), []
    for _ in range(9):
        state = failed(state, code)
        pauses.append(pause_of(state))
    assert pauses == [300, 600, 1200, 2400, 4800, 9600, 14400, 14400, 14400]


def test_a_thousand_failures_are_no_overflow() -> None:
    state = AccountState(failures=5000, settings_mark="s")
    assert pause_of(failed(state)) == MAX_S


def test_changed_settings_end_the_pause() -> None:
    state = failed(AccountState())
    assert pause_of(state, mark="other") == 0


@pytest.mark.requirement("R9")
def test_the_pauses_with_other_settings_are_as_brief_as_if_there_had_been_none_before() -> None:
    before = AccountState(failures=9, searched=9, settings_mark="before")
    assert pause_of(failed(before)) == 300
    # Its user has no secret at first.
    unknown = after_error(before, trouble(78), now=NOW, settings_mark="s")
    assert pause_of(failed(unknown)) == 600
    assert pause_of(failed(replace(before, settings_mark="s"))) == MAX_S


@pytest.mark.requirement("R21")
def test_a_clock_that_was_set_back_ends_the_pause() -> None:
    state = failed(AccountState())
    assert pause_of(state, now=NOW - 86400) == 0


def test_a_pause_survives_until_it_is_over() -> None:
    state = failed(AccountState())
    assert pause_of(state, now=NOW + 299) == 1
    assert may_connect_at(state, now=NOW + 301, max_delay_s=MAX_S, settings_mark="s") <= NOW + 301


@pytest.mark.requirement("R9")
def test_the_state_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "account.json")
    assert load_account(path, owner=os.geteuid()) == AccountState()
    state = failed(failed(AccountState()))
    save_account(path, state)
    assert load_account(path, owner=os.geteuid()) == state
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert "421 4.7.0 slow down" in state.what


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"failures": "many"}', '{"unknown": 1}', '{"failures": true}', '{"not_before": []}', "\0"],
)
def test_a_damaged_state_is_an_account_without_troubles(tmp_path: Path, content: str) -> None:
    path = tmp_path / "account.json"
    path.write_text(content)
    assert load_account(str(path), owner=os.geteuid()) == AccountState()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(json.dumps({"failures": 3}))
    (tmp_path / "account.json").symlink_to(tmp_path / "elsewhere")
    assert load_account(str(tmp_path / "account.json"), owner=os.geteuid()) == AccountState()


def test_the_mark_of_a_secret_changes_with_it_and_tells_next_to_nothing() -> None:
    assert secret_mark("salt", "old") == secret_mark("salt", "old")
    assert secret_mark("salt", "old") != secret_mark("salt", "new")
    assert secret_mark("salt", "old") != secret_mark("other", "old")
    assert len(secret_mark("salt", "old")) == 4


def test_the_mark_of_settings_changes_with_each() -> None:
    assert settings_mark("host", 587) != settings_mark("host", 465)
    assert settings_mark("host", 587) == settings_mark("host", 587)


def test_the_same_error_is_told_once_an_hour() -> None:
    error = account_trouble(Stage.SECRET, "no secret", remedy="set it", exit_code=78)
    state = replace(after_error(AccountState(), error, now=NOW, settings_mark="mark"), told_at=NOW)
    assert was_told(state, "no secret", 78, now=NOW + 3599)
    assert not was_told(state, "no secret", 78, now=NOW + 3600)
    assert not was_told(state, "no secret", 78, now=NOW - 1), "the clock was set back"
    assert not was_told(state, "another", 78, now=NOW)
    assert not was_told(state, "no secret", 75, now=NOW)
    assert not was_told(AccountState(), "no secret", 78, now=NOW)


def test_an_error_makes_no_pause() -> None:
    error = account_trouble(Stage.SECRET, "no secret", exit_code=78)
    state = after_error(AccountState(), error, now=NOW, settings_mark="mark")
    assert state.deferred
    assert may_connect_at(state, now=NOW + 1, max_delay_s=100.0, settings_mark="mark") <= NOW + 1


@pytest.mark.parametrize(
    ("before", "now_said", "same"),
    [
        (
            "refused: 535 5.7.8 Not accepted a640c23a62f3a-b5g - gsmtp",
            "refused: 535 5.7.8 Not accepted 98e67ed59e1d1 - gsmtp",
            True,
        ),
        (
            "refused: 451 4.7.500 Busy [AM6EUR05FT0.eurprd04 2026-11-27T18:45:34Z 08DC]",
            "refused: 451 4.7.500 Busy [DB8EUR05FT1.eurprd04 2026-11-27T18:50:34Z 08DE]",
            True,
        ),
        ("refused: 535 5.7.8 Not accepted", "refused: 534 5.7.9 Not accepted", False),
        ("refused: 535 5.7.8 Not accepted", "refused: 535 5.7.8 Application-specific password required", False),
    ],
    ids=["Gmail's id", "Microsoft's id and time", "another code", "other words"],
)
def test_a_reply_with_another_id_was_told_and_another_refusal_was_not(before: str, now_said: str, same: bool) -> None:
    state = replace(AccountState(), what=before, exit_code=77, told_at=NOW)
    assert was_told(state, now_said, 77, now=NOW + 300.0) is same


def test_an_outage_is_told_again_an_hour_after_it_was_told_and_not_after_it_was_seen() -> None:
    trouble = account_trouble(Stage.CONNECT, "no connection")
    state, told = AccountState(), []
    for minute in range(0, 180, 30):
        now = NOW + 60 * minute
        known = was_told(state, "no connection", 69, now=now)
        state = after_trouble(
            state,
            trouble,
            now=now,
            first_delay_s=1.0,
            max_delay_s=1.0,
            settings_mark="m",
            secret_mark="",
            told_at=state.told_at if known else now,
        )
        told += [] if known else [minute]
    assert told == [0, 60, 120]


def test_only_the_trouble_that_is_kept_counts_as_told(tmp_path: Path) -> None:
    path = str(tmp_path / "account.json")
    trouble, other = (account_trouble(Stage.SECRET, what, exit_code=78) for what in ("no secret", "no keyring"))
    save_account(path, after_error(AccountState(), trouble, now=NOW, settings_mark="m"))
    remember_told(path, other, now=NOW, owner=os.geteuid())
    assert not was_told(load_account(path, owner=os.geteuid()), "no secret", 78, now=NOW)
    remember_told(path, trouble, now=NOW, owner=os.geteuid())
    assert was_told(load_account(path, owner=os.geteuid()), "no secret", 78, now=NOW)
    save_account(path, AccountState())
    remember_told(path, trouble, now=NOW, owner=os.geteuid())
    assert load_account(path, owner=os.geteuid()) == AccountState()


def test_what_was_learnt_of_another_server_is_not_taken_along() -> None:
    old = without(AccountState(), {"CHUNKING"}, "", now=NOW, settings_mark="old")
    new = without(old, (), "PIPELINING", now=NOW, settings_mark="new")
    assert distrusted(new, now=NOW, settings_mark="new") == frozenset()
    assert new.doubted == "PIPELINING"


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("for_good", [False, True])
def test_a_person_ends_a_pause_on_a_full_disk(tmp_path: Path, *, for_good: bool) -> None:
    path = str(tmp_path / "account.json")
    save_account(path, replace(AccountState(), failures=2, not_before=NOW, suspect="x"))
    with fails_at(1, errno.ENOSPC, names=("write",), and_later=for_good):
        assert lift_pause(path, owner=os.geteuid())
    left = load_account(path, owner=os.geteuid())
    assert (left.not_before, left.suspect) == (0.0, "" if for_good else "x")


@pytest.mark.requirement("R4")
def test_a_pause_that_a_broken_disk_keeps_is_not_told_to_be_over(tmp_path: Path) -> None:
    path = str(tmp_path / "account.json")
    save_account(path, replace(AccountState(), failures=2, not_before=NOW))
    with fails_at(1, errno.EIO, names=("write",)), pytest.raises(OSError, match="Input/output"):
        lift_pause(path, owner=os.geteuid())
    assert load_account(path, owner=os.geteuid()).not_before == NOW
