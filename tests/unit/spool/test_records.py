"""Records of several journals: whatever their order, the newest word on a message counts."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from tests.support.spools import JOE, NOW, after, claim, new_spool, put
from ucrmmail.dataclass import replace
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.records import newest, relayed_record, state_record


def test_the_order_of_the_journals_does_not_matter(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    queue_id, other = put(directory, JOE), put(directory, JOE)
    state = claim(Spool(directory), queue_id).state
    deferred = replace(after(state, "deferred", next_attempt_at=NOW + 60), revision=1)
    failed = replace(after(state, "failed"), revision=2)
    for records in permutations([state_record(queue_id, deferred), state_record(queue_id, failed)]):
        assert newest(records) == {queue_id: failed}
    for records in permutations(
        [state_record(queue_id, deferred), relayed_record(queue_id), state_record(queue_id, failed)]
    ):
        assert newest(records) == {queue_id: None}, "nothing comes after relayed"
    assert newest([state_record(other, failed), relayed_record(queue_id)]) == {other: failed, queue_id: None}


def test_what_is_no_record_does_not_hide_those_behind_it(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    queue_id = put(directory, JOE)
    assert newest([b"relayed \xff", b"state ../x {}", relayed_record(queue_id)]) == {queue_id: None}


def test_a_state_in_which_everybody_has_the_message_is_relayed(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    queue_id = put(directory, JOE)
    state = after(claim(Spool(directory), queue_id).state, "relayed")
    assert newest([state_record(queue_id, state)]) == {queue_id: None}
