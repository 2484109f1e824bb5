"""What is written is read back to the last bit, and nothing is built on what cannot be understood."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.limits.test_adapt import sent, under
from ucrmmail.limits.records import Block, replay, state_record
from ucrmmail.limits.rules import Flood, Rules, Throttle
from ucrmmail.limits.tally import empty_tally

RULES = Rules(
    (Throttle(3, 60.0), Throttle(7, 90.5, sliding=True, unit="recipients"), Throttle(100, 86_400.0)), Flood(4, 30.0)
)
STATE = state_record(sent(RULES, 1_800_000_000.123456))


@given(st.lists(st.tuples(st.floats(0.0, 200.0), st.integers(0, 3), st.booleans()), max_size=30))
def test_a_state_is_read_back_as_it_was(happenings: list[tuple[float, int, bool]]) -> None:
    tally = empty_tally(RULES)
    now = 1_800_000_000.1
    for gap, choice, certain in happenings:
        now += gap
        if choice and tally.opens(now, 1) <= now:
            tally.reserve(now, 1)
        elif tally.pending:
            number = list(tally.pending)[choice % len(tally.pending)]
            tally.settle(number, now, 1, certain=certain)
    assert replay([state_record(tally)]) == (tally, Block())


def test_records_add_up_to_what_was_done() -> None:
    done = sent(RULES, 10.0)
    number = done.reserve(11.5, 2)
    done.settle(number, 12.25, 2, certain=False)
    done.give_back(done.reserve(13.0, 1))
    done.set_back(5.0)
    done.lose(4.0, 6.0, 2, 2)
    told = replay(
        [
            state_record(sent(RULES, 10.0)),
            b"block 11.0 4 9 this-boot",
            b"reserve 2 11.5 2",
            b"uncertain 2 12.25 2",
            b"reserve 3 13.0 1",
            b"refund 3",
            b"clock 5.0",
            b"lost 4.0 6.0 2 2",
        ]
    )
    assert told == (done, Block("this-boot", 5.0, 2, 6))


def test_the_end_of_a_run_gives_the_block_back() -> None:
    told = replay([STATE, b"block 11.0 4 9 this-boot", b"end"])
    assert told is not None
    assert told[1].messages == 0


def test_a_later_state_replaces_an_earlier_one() -> None:
    other = sent(under(Throttle(9, 10.0)), 1.0)
    told = replay([STATE, b"block 11.0 4 9 this-boot", state_record(other)])
    assert told == (other, Block())


def test_a_state_of_a_version_without_twins_is_read() -> None:
    document = json.loads(STATE.removeprefix(b"state "))
    for throttle in document["throttles"]:
        del throttle["twin"]
    told = replay([b"state " + json.dumps(document).encode(), b"reserve 2 1800000001.5 1"])
    assert told is not None
    assert [window.used(1_800_000_002.0) for window in told[0].windows] == [1, 1, 1]
    assert told[0].twins == []


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b"reserve 1 2.0 1"],
        [b"state"],
        [b"state {}"],
        [b"state []"],
        [STATE.replace(b'"version":1', b'"version":2')],
        [STATE.replace(b'"sliding"', b'"rolling"')],
        [STATE.replace(b'"sliding":false', b'"sliding":0', 1)],
        [STATE.replace(b'"antiflood":{', b'"antiflood":"x","x":{')],
        [STATE.replace(b'"antiflood":{', b'"antiflood":[1],"x":{')],
        *[
            [re.sub(rb'"%b":[0-9.]+' % name, b'"%b":%b' % (name, value), STATE, count=1)]
            for name in (b"next_id", b"latest", b"limit", b"duration_s", b"start", b"count", b"threshold", b"last_at")
            for value in (b'"1"', b"null", b"true", b"-1", b"NaN", b"-1e999", b"[" * 3000)
        ],
        *[
            [STATE.replace(b'"pending":[]', b'"pending":[[%b]]' % pending)]
            for pending in (b"1,NaN,1", b"1,1e300,1", b"1,2.0,-1", b'"1",2.0,1', b"1,2.0")
        ],
        *[
            [re.sub(rb'"window":\[\[[0-9.]+,[0-9]+\]', b'"window":[[%b]' % entry, STATE)]
            for entry in (b"NaN,1", b"1e300,1", b"2.0,-1", b'"2.0",1')
        ],
        *[
            [STATE, b"block 1.0 4 4 boot", b"reserve 2 2.0 1", record]
            for at in (b"nan", b"inf", b"1e300", b"-1.0", b"soon")
            for record in (b"reserve 3 %b 1", b"accepted 2 %b 1", b"clock %b", b"block %b 4 4 boot", b"lost 1.0 %b 1 1")
            for record in (record % at,)
        ],
        [STATE, b"reserve 2 2.0 -1"],
        [STATE, b"block 2.0 -1 1 boot"],
        [STATE, b"lost 1.0 2.0 1 -1"],
        [STATE, b"reserve 7 2.0 1"],
        [STATE, b"reserve one 2.0 1"],
        [STATE, b"accepted 99 2.0 1"],
        [STATE, b"refund 99"],
        [STATE, b"settled 1"],
        [STATE, b""],
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_not_built_upon(payloads: list[bytes]) -> None:
    assert replay(payloads) is None


def test_a_time_behind_the_latest_counts_as_the_latest() -> None:
    told = replay([re.sub(rb'"(start|last_at)":[0-9.]+', rb'"\1":9999999999.0', STATE)])
    assert told == replay([STATE])


def test_a_person_can_read_the_state() -> None:
    document = json.loads(STATE.removeprefix(b"state "))
    assert document["throttles"][0]["rule"] == {"limit": 3, "duration_s": 60.0, "sliding": False, "unit": "messages"}
    assert document["throttles"][0]["window"]["count"] == 1
    assert document["antiflood"]["rule"] == {"threshold": 4, "pause_s": 30.0}
