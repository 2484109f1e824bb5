"""The ledger on a real file: the worked tables of the rules, restarts, power cuts, damage, full disks, threads."""

from __future__ import annotations

import errno
import itertools
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.faults import cannot_be_looked_at, dies_at, fails_at
from tests.support.limits_world import World, room
from tests.unit.limits.test_adapt import UNITS
from ucrmmail.files import DistrustError
from ucrmmail.journal import journal_of
from ucrmmail.limits.ledger import Ledger, Reservation, TooEarlyError, read_boot_id
from ucrmmail.limits.records import state_record
from ucrmmail.limits.recovery import BLOCK_LASTS_S
from ucrmmail.limits.rules import Flood, Rules, Throttle, rules_from
from ucrmmail.limits.tally import empty_tally
from ucrmmail.limits.view import read_tally, view_limits

THROTTLE_3_IN_60 = Rules((Throttle(3, 60.0),))
FLOOD_2_PAUSE_60 = Rules(flood=Flood(2, 60.0))
START = 1_800_000_000.0
BOOT = "boot-1"


def nothing(_world: World) -> None:
    """Let the run go on."""


def restarted(world: World) -> None:
    """End the run and begin another."""
    world.restart()


def killed(world: World) -> None:
    """Kill the run and begin another."""
    world.kill()
    world.open()


BETWEEN = pytest.mark.parametrize("between", [nothing, restarted, killed])
Between = Callable[[World], None]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def open_ledger(path: str, rules: Rules = THROTTLE_3_IN_60, now: float = START, boot_id: str = BOOT) -> Ledger:
    return Ledger(path, rules, now, boot_id)


def send(ledger: Ledger, now: float, recipients: int = 1) -> None:
    assert ledger.earliest(now, recipients) == now
    ledger.confirm(ledger.reserve(now, recipients), now)


def used(path: str, rules: Rules = THROTTLE_3_IN_60, now: float = START, boot_id: str = BOOT) -> int:
    return view_limits(read_tally(path, rules, now, boot_id), now).throttles[0].used


def at(world: World, moment: float) -> None:
    world.real = START + moment


def opens_at(world: World) -> float:
    return world.ledger.earliest(world.now) - START


@BETWEEN
def test_the_table_of_the_throttler(path: str, between: Between) -> None:
    with World(path, THROTTLE_3_IN_60, start=START) as world:
        for moment, waits_until in [(0.0, None), (10.0, None), (59.0, None), (59.9, 60.0), (60.0, None), (61.0, None)]:
            at(world, moment)
            between(world)
            if waits_until is None:
                assert world.send(), f"t={moment}"
            else:
                assert opens_at(world) == waits_until
                assert not world.send()
        between(world)
        view = view_limits(read_tally(path, THROTTLE_3_IN_60, world.now, BOOT), world.now)
        assert view.throttles[0].used == 2, "a new window opened at 60"
        assert view.throttles[0].resets_at == START + 120.0


@BETWEEN
def test_idle_time_opens_no_window(path: str, between: Between) -> None:
    with World(path, THROTTLE_3_IN_60, start=START) as world:
        for _ in range(3):
            assert world.send()
        for moment in (200.0, 210.0, 259.0):
            at(world, moment)
            between(world)
            assert world.send()
        between(world)
        at(world, 259.5)
        assert opens_at(world) == 260.0


@BETWEEN
def test_the_table_of_antiflood(path: str, between: Between) -> None:
    with World(path, FLOOD_2_PAUSE_60, start=START) as world:
        for moment, waits_until, count in [
            (0.0, None, 1),
            (5.0, None, 2),
            (6.0, 65.0, 2),
            (65.0, None, 1),
            (66.0, None, 2),
            (200.0, None, 1),
            (201.0, None, 2),
        ]:
            at(world, moment)
            between(world)
            if waits_until is None:
                assert world.send(), f"t={moment}"
            else:
                assert opens_at(world) == waits_until
                assert not world.send()
            between(world)
            flood = view_limits(read_tally(path, FLOOD_2_PAUSE_60, world.now, BOOT), world.now).flood
            assert flood is not None
            assert flood.count == count, f"t={moment}"


@BETWEEN
def test_a_sliding_window_lets_one_through_for_each_that_left_it(path: str, between: Between) -> None:
    with World(path, Rules((Throttle(3, 60.0, sliding=True),)), start=START) as world:
        for moment in (0.0, 10.0, 59.0):
            at(world, moment)
            between(world)
            assert world.send()
        for moment, opens in [(59.5, 60.0), (60.0, 70.0), (70.0, 119.0)]:
            at(world, moment)
            if moment != 59.5:
                assert world.send()
            between(world)
            assert opens_at(world) == opens


def test_several_limits_hold_together_and_the_last_to_open_is_named(path: str) -> None:
    ledger = open_ledger(path, rules_from(message_limit=3, duration_s=60.0, activation_threshold=2, pause_s=10.0))
    send(ledger, START)
    assert ledger.in_the_way(START) == ""
    send(ledger, START)
    assert ledger.in_the_way(START) == "antiflood"
    assert ledger.earliest(START) == START + 10.0
    send(ledger, START + 10.0)
    assert ledger.in_the_way(START + 11.0) == "throttler"
    assert ledger.earliest(START + 11.0) == START + 60.0
    ledger.close(START + 12.0)


def test_recipients_wait_until_all_of_them_fit(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(5, 60.0, unit="recipients"),)))
    assert ledger.largest_amount == 5
    send(ledger, START, 3)
    assert room(ledger, START) == 2
    assert ledger.earliest(START + 1.0, 2) == START + 1.0
    assert ledger.earliest(START + 1.0, 3) == START + 60.0
    assert ledger.earliest(START + 1.0, 50) == START + 60.0, "a part of five"
    ledger.close(START)


def test_more_recipients_than_a_limit_go_in_parts(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(5, 60.0, unit="recipients"),)))
    assert ledger.earliest(START, 12) == START
    with pytest.raises(TooEarlyError):
        ledger.reserve(START, 12)
    send(ledger, START, 5)
    ledger.close(START)


@pytest.mark.requirement("R22")
def test_only_the_recipients_that_were_accepted_count(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(5, 60.0, unit="recipients"),)))
    ledger.confirm(ledger.reserve(START, 5), START, 2)
    assert room(ledger, START) == 3
    ledger.close(START)


def test_a_message_to_many_recipients_is_one_message(path: str) -> None:
    ledger = open_ledger(path)
    for _ in range(3):
        send(ledger, START, 500)
    assert ledger.earliest(START) == START + 60.0
    assert room(ledger, START) == 0
    ledger.close(START)


def test_room_is_without_bound_while_no_limit_counts_recipients(path: str) -> None:
    ledger = open_ledger(path)
    assert ledger.part(START, 10_000) == 10_000
    ledger.close(START)


def test_nothing_can_be_reserved_before_its_time(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(1, 60.0),)))
    send(ledger, START)
    with pytest.raises(TooEarlyError):
        ledger.reserve(START + 59.9)
    ledger.close(START)


def test_a_reservation_is_settled_once(path: str) -> None:
    ledger = open_ledger(path)
    reservation = ledger.reserve(START)
    ledger.refund(reservation)
    with pytest.raises(KeyError):
        ledger.confirm(reservation, START)
    ledger.close(START)
    assert used(path) == 0, "and the file does not say that it was settled twice"


def test_without_limits_no_file_is_touched(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path / "missing" / "ledger"), Rules())
    assert ledger.earliest(START, 100) == START
    assert ledger.part(START, 10_000) == 10_000
    assert ledger.in_the_way(START) == ""
    ledger.confirm(ledger.reserve(START, 100), START)
    ledger.refund(ledger.reserve(START))
    ledger.sync()
    ledger.close(START)
    assert os.listdir(tmp_path) == []


@pytest.mark.requirement("R19")
def test_a_reservation_that_a_crash_left_open_counts_as_sent(path: str) -> None:
    with World(path, THROTTLE_3_IN_60, start=START) as world:
        world.reserve()
        world.kill()
        world.open()
        assert used(path) == 1
        at(world, 30.0)
        assert world.send()
        assert world.send()
        assert opens_at(world) == 90.0, "it may never have been accepted: the window starts with the next"


def test_a_message_lost_in_a_crash_long_ago_does_not_start_a_window_now(path: str) -> None:
    with World(path, Rules((Throttle(1, 86_400.0),)), start=START) as world:
        world.reserve()
        world.kill()
        at(world, 50_000.0)
        world.open()
        assert opens_at(world) == 3600.0 + 86_400.0, "an hour is as long as it may have been on its way"


def test_looking_at_the_limits_again_and_again_changes_nothing(path: str) -> None:
    with World(path, Rules((Throttle(1, 60.0),)), start=START) as world:
        world.reserve()
        world.kill()
        before = Path(path).read_bytes()
        late = START + 4000.0
        views = [view_limits(read_tally(path, world.rules, now, BOOT), now) for now in (late, late, late + 1.0)]
        assert Path(path).read_bytes() == before
        assert views[0] == views[1]
        assert {view.throttles[0].used for view in views} == {0}
        assert used(path, world.rules, START + 3650.0) == 1
        world.open()


def test_a_power_cut_costs_no_more_than_a_tenth_of_a_limit(path: str) -> None:
    with World(path, Rules((Throttle(100, 60.0),)), start=START) as world:
        world.send()
        world.cut_power(0.0)
        world.open()
        assert used(path, world.rules, boot_id="boot-2") == 10


@pytest.mark.requirement("R19")
def test_after_a_power_cut_the_limit_holds_for_what_the_disk_forgot(path: str) -> None:
    with World(path, Rules((Throttle(20, 60.0),)), start=START) as world:
        for _ in range(20):
            assert world.send()
        world.cut_power(0.0)
        at(world, 1.0)
        world.open()
        assert opens_at(world) >= 60.0


def test_what_was_synced_by_hand_survives_a_power_cut(path: str) -> None:
    with World(path, Rules((Throttle(100, 60.0),)), start=START) as world:
        for _ in range(7):
            world.send()
        world.ledger.sync()
        world.cut_power(0.0)
        world.open()
        assert used(path, world.rules, boot_id="boot-2") == 10, "the seven, and what was left of the block of ten"


def test_after_a_mere_kill_the_exact_count_is_known(path: str) -> None:
    with World(path, Rules((Throttle(100, 60.0),)), start=START) as world:
        for _ in range(7):
            world.send()
        world.kill()
        world.open()
        assert used(path, world.rules) == 7


def test_a_run_that_ended_well_leaves_nothing_to_a_power_cut(path: str) -> None:
    with World(path, Rules((Throttle(100, 60.0),)), start=START) as world:
        world.send()
        world.restart()
        world.cut_power(0.0)
        world.open()
        assert used(path, world.rules, boot_id="boot-2") == 1


def test_where_the_boot_is_not_known_every_crash_counts_as_a_power_cut(path: str) -> None:
    rules = Rules((Throttle(100, 60.0),))
    ledger = open_ledger(path, rules, boot_id="")
    send(ledger, START)
    assert used(path, rules, boot_id="") == 10
    ledger.close(START)
    assert used(path, rules, boot_id="") == 1


def test_a_block_is_announced_anew_each_minute(path: str) -> None:
    """So that a power cut does not leave the time of what it took unknown."""
    ledger = open_ledger(path, Rules((Throttle(1000, 86_400.0),)))
    for seconds in (0.0, 1.0, BLOCK_LASTS_S, BLOCK_LASTS_S + 1.0):
        send(ledger, START + seconds)
    assert Path(path).read_bytes().count(b" block ") == 2
    ledger.close(START)


@pytest.mark.requirement("R3", "R19")
def test_the_file_is_made_durable_before_the_first_message_leaves(path: str) -> None:
    with fails_at(1, errno.EIO, names=("fsync",)), pytest.raises(OSError, match="Input/output"):
        open_ledger(path)
    ledger = open_ledger(path)
    with fails_at(1, errno.EIO, names=("fdatasync",)), pytest.raises(OSError, match="Input/output"):
        ledger.reserve(START)
    with pytest.raises(OSError, match="earlier sync failed"):
        ledger.reserve(START)


@pytest.mark.requirement("R26")
def test_a_new_ledger_on_a_full_disk_takes_the_room_that_is_held_for_that(path: str) -> None:
    given: list[int] = []
    with fails_at(1, errno.ENOSPC, names=("write",)):
        ledger = Ledger(path, THROTTLE_3_IN_60, START, BOOT, make_room=lambda: given.append(1))
    assert given == [1]
    send(ledger, START)
    ledger.close(START)
    with fails_at(1, errno.EIO, names=("write",)), pytest.raises(OSError, match="Input/output"):
        Ledger(path + "2", THROTTLE_3_IN_60, START, BOOT, make_room=lambda: given.append(2))
    assert given == [1]


@pytest.mark.requirement("R26")
def test_a_full_disk_is_noticed_before_the_message_leaves(path: str) -> None:
    ledger = open_ledger(path)
    with fails_at(1, errno.ENOSPC, names=("pwrite",)), pytest.raises(OSError, match="No space"):
        ledger.reserve(START)
    for _ in range(3):
        send(ledger, START)
    assert ledger.earliest(START) == START + 60.0, "the one that could not be recorded did not leave"
    ledger.close(START)
    assert used(path) == 3


@pytest.mark.requirement("R26")
def test_the_settlement_of_a_message_that_left_needs_no_new_block_of_the_disk(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(100_000, 60.0),)))
    pending = [ledger.reserve(START) for _ in range(5000)]
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",)):
        for reservation in pending:
            ledger.confirm(reservation, START)
    ledger.close(START)


def test_without_a_file_nothing_was_sent_and_a_new_one_is_never_empty(path: str) -> None:
    for step in range(1, 20):
        dies_at(step, lambda _say: open_ledger(path).close(START))
        assert not Path(path).exists() or Path(path).read_bytes().strip(b"\0")
        ledger = open_ledger(path)
        assert (ledger.damaged, ledger.earliest(START)) == (False, START)
        ledger.close(START)
        Path(path).unlink()


@pytest.mark.parametrize("content", [b"", b"\0" * 9000, b"hello\n", b"\0\0x", b"1234abcd state {}\n", b"\xff" * 5000])
def test_an_unreadable_ledger_counts_as_full_for_one_window_and_no_longer(path: str, content: bytes) -> None:
    rules = Rules((Throttle(3, 60.0), Throttle(5, 600.0, sliding=True)), Flood(2, 30.0))
    Path(path).write_bytes(content)
    ledger = open_ledger(path, rules)
    assert ledger.damaged
    assert ledger.earliest(START) == START + 600.0
    ledger.close(START)
    ledger = open_ledger(path, rules, START + 100.0)
    assert not ledger.damaged
    assert ledger.earliest(START + 100.0) == START + 600.0
    send(ledger, START + 600.0)
    ledger.close(START + 600.0)


def test_of_a_damaged_ledger_the_whole_records_count(path: str) -> None:
    with World(path, THROTTLE_3_IN_60, start=START) as world:
        world.send()
        world.send()
        world.kill()
        world.tear(b"12345678 reserve 3 1800")
        world.open()
        assert not world.ledger.damaged
        assert world.send()
        assert not world.send()


@pytest.mark.requirement("R19", "R30")
def test_a_record_that_was_damaged_in_front_of_others_never_lets_more_leave_than_a_limit_allows(path: str) -> None:
    rules = Rules((Throttle(4, 3600.0),))
    ledger = open_ledger(path, rules)
    for _ in range(4):
        send(ledger, START)
    ledger.close(START)
    content = Path(path).read_bytes()
    lines = content.rstrip(b"\0").splitlines(keepends=True)
    assert len(lines) > 8
    for number in range(len(lines)):
        Path(path).write_bytes(b"".join([*lines[:number], b"X" + lines[number][1:], *lines[number + 1 :]]))
        for boot_id in (BOOT, "boot-2", ""):
            assert used(path, rules, boot_id=boot_id) == 4, lines[number]
        ledger = open_ledger(path, rules)
        assert ledger.damaged
        assert ledger.earliest(START + 1.0) > START + 1.0
        ledger.close(START + 1.0)
        ledger = open_ledger(path, rules)
        assert not ledger.damaged, "what was found is kept, so that it is told once"
        ledger.close(START + 1.0)


@pytest.mark.requirement("R19", "R26")
def test_damage_is_not_forgotten_when_the_disk_is_full_or_the_process_dies_as_it_is_found(path: str) -> None:
    rules = Rules((Throttle(10, 3600.0),))
    ledger = open_ledger(path, rules)
    for _ in range(8):
        send(ledger, START)
    content = bytearray(Path(path).read_bytes())
    content[content.find(b"reserve 3 ")] ^= 0x40
    for step in range(1, 20):
        Path(path).write_bytes(content)
        with fails_at(step, errno.ENOSPC), suppress(OSError):
            open_ledger(path, rules)
        assert used(path, rules) == 10


@pytest.mark.requirement("R19")
def test_a_power_cut_that_keeps_later_pages_of_a_block_costs_no_more_than_the_block(path: str) -> None:
    rules = Rules((Throttle(100, 60.0),))
    ledger = open_ledger(path, rules)
    for _ in range(4):
        send(ledger, START)
    lines = Path(path).read_bytes().rstrip(b"\0").splitlines(keepends=True)
    ledger.close(START)
    (block,) = [number for number, line in enumerate(lines) if b" block " in line]
    lost = b"\0" * (len(lines[block + 1]) - 1) + b"\n"
    Path(path).write_bytes(b"".join([*lines[: block + 1], lost, *lines[block + 2 :]]))
    assert used(path, rules, boot_id="boot-2") == 10
    assert used(path, rules) == 100, "in the same boot nothing explains it"


def test_every_truncation_of_a_ledger_is_read_without_an_error(path: str) -> None:
    ledger = open_ledger(path)
    for _ in range(3):
        send(ledger, START)
    ledger.close(START)
    content = Path(path).read_bytes()
    for length in range(len(content)):
        Path(path).write_bytes(content[:length])
        assert 0 <= used(path, boot_id="boot-2") <= 6


@pytest.mark.requirement("R4", "R19")
def test_a_disk_that_does_not_say_whether_there_is_a_ledger_has_not_said_that_there_is_none(path: str) -> None:
    send(open_ledger(path), START)
    before = Path(path).read_bytes()
    with cannot_be_looked_at(path, errno.EIO, once=True), pytest.raises(OSError, match="Input/output"):
        open_ledger(path)
    assert Path(path).read_bytes() == before


def test_a_link_in_place_of_the_ledger_is_not_followed(path: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious\n")
    os.symlink(target, path)
    with pytest.raises(DistrustError):
        open_ledger(path)
    os.unlink(path)
    os.link(target, path)
    with pytest.raises(DistrustError):
        open_ledger(path)
    assert target.read_bytes() == b"precious\n"


@pytest.mark.requirement("R21")
def test_a_clock_set_back_by_years_holds_mail_for_one_window_from_when_it_is_noticed(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(1, 60.0),), Flood(1, 30.0)))
    send(ledger, START)
    ledger.close(START)
    past = START - 315_360_000.0
    ledger = open_ledger(path, Rules((Throttle(1, 60.0),), Flood(1, 30.0)), past)
    assert ledger.earliest(past) == past + 60.0
    ledger.close(past)
    ledger = open_ledger(path, Rules((Throttle(1, 60.0),), Flood(1, 30.0)), past + 20.0)
    assert ledger.earliest(past + 20.0) == past + 60.0, "what was noticed stays so"
    ledger.close(past)


def test_a_clock_set_back_is_seen_by_who_only_looks(path: str) -> None:
    ledger = open_ledger(path)
    send(ledger, START)
    ledger.close(START)
    past = START - 3600.0
    view = view_limits(read_tally(path, THROTTLE_3_IN_60, past, BOOT), past)
    assert view.throttles[0].resets_at == past + 60.0


@pytest.mark.requirement("R21")
def test_a_clock_set_back_during_a_run_is_noticed_and_kept(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(1, 60.0),)))
    send(ledger, START)
    assert ledger.earliest(START - 3600.0) == START - 3600.0 + 60.0
    ledger.close(START - 3600.0)
    assert used(path, now=START - 3550.0) == 1
    assert used(path, now=START - 3540.0) == 0


def test_a_thread_that_was_overtaken_does_not_shorten_a_window(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(1, 60.0),)))
    send(ledger, START)
    assert ledger.earliest(START - 0.01) == START + 60.0
    ledger.close(START)


def test_connections_that_share_a_ledger_never_exceed_it_together(path: str) -> None:
    ledger = open_ledger(path, Rules((Throttle(200, 60.0),)))
    taken: list[Reservation] = []
    turns = itertools.count(1)

    def take() -> None:
        while True:
            try:
                reservation = ledger.reserve(START)
            except TooEarlyError:
                return
            if next(turns) % 7:
                ledger.confirm(reservation, START)
                taken.append(reservation)
            else:
                ledger.refund(reservation)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 200
    ledger.close(START)
    assert used(path, Rules((Throttle(200, 60.0),))) == 200


def test_another_unit_knows_what_was_sent_before_a_restart_and_a_power_cut(path: str) -> None:
    messages, recipients = (Rules((Throttle(100, 60.0, unit=unit),)) for unit in UNITS)
    ledger = open_ledger(path, messages)
    send(ledger, START, 7)
    ledger.confirm(ledger.reserve(START, 5), START, 2)
    ledger.close(START + 1.0)
    assert view_limits(read_tally(path, recipients, START + 2.0, BOOT), START + 2.0).throttles[0].used == 9
    ledger = open_ledger(path, messages, START + 2.0)
    send(ledger, START + 2.0, 30)
    used = view_limits(read_tally(path, recipients, START + 3.0, "boot-2"), START + 3.0).throttles[0].used
    assert 39 <= used <= 100


def test_the_ledger_of_an_older_version_learns_to_count_in_the_other_unit(path: str) -> None:
    """It had written 1 for the recipients of each message."""
    messages, recipients = (Rules((Throttle(100, 60.0, unit=unit),)) for unit in UNITS)
    state = json.loads(state_record(empty_tally(messages)).removeprefix(b"state "))
    del state["throttles"][0]["twin"]
    records = [b"state " + json.dumps(state).encode(), b"reserve 1 %a 1" % START, b"accepted 1 %a 1" % START]
    Path(path).write_bytes(journal_of(records))
    assert read_tally(path, recipients, START + 1.0, BOOT).opens(START + 1.0, 1) == START + 60.0
    ledger = open_ledger(path, messages, START + 1.0)
    send(ledger, START + 60.0, 9)
    ledger.close(START + 61.0)
    assert view_limits(read_tally(path, recipients, START + 62.0, BOOT), START + 62.0).throttles[0].used == 9


def test_changed_rules_take_over_what_was_counted(path: str) -> None:
    ledger = open_ledger(path)
    send(ledger, START)
    ledger.close(START)
    ledger = open_ledger(path, Rules((Throttle(2, 60.0),)))
    send(ledger, START + 1.0)
    assert ledger.earliest(START + 2.0) == START + 60.0
    ledger.close(START + 2.0)


def test_a_long_ledger_is_written_afresh_at_the_end_of_a_run(path: str) -> None:
    rules = Rules((Throttle(100_000, 86_400.0), Throttle(50, 1.0, sliding=True)))
    ledger = open_ledger(path, rules)
    for number in range(2000):
        send(ledger, START + number)
    assert os.path.getsize(path) > 100_000
    ledger.close(START + 2000.0)
    assert os.path.getsize(path) < 2000
    assert os.listdir(os.path.dirname(path)) == ["ledger"]
    assert used(path, rules, START + 2000.0) == 2000


def test_a_ledger_grows_no_further_in_a_run_that_goes_on_and_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ucrmmail.limits.ledger._VERY_LONG_BYTES", 5000)
    rules = Rules((Throttle(100_000, 86_400.0),))
    ledger = open_ledger(path, rules)
    on_its_way = ledger.reserve(START)
    for number in range(1000):
        send(ledger, START + number)
    ledger.refund(on_its_way)
    assert Path(path).read_bytes().count(b" reserve ") < 300
    ledger.close(START + 1000.0)
    assert used(path, rules, START + 1000.0) == 1000


def test_a_ledger_that_cannot_be_written_afresh_stays_as_it_is(path: str) -> None:
    rules = Rules((Throttle(100_000, 86_400.0),))
    ledger = open_ledger(path, rules)
    for number in range(1000):
        send(ledger, START + number)
    with fails_at(1, errno.ENOSPC, names=("write",)):
        ledger.close(START + 1000.0)
    assert used(path, rules, START + 1000.0) == 1000


def test_the_boot_of_this_machine_is_known() -> None:
    assert read_boot_id() == read_boot_id() != ""
    assert read_boot_id("/proc/missing") == ""
