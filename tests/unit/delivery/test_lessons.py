"""From the ending of a run to what the next one is told: who is suspected, who no longer, and how long it waits."""

from __future__ import annotations

import pytest

from ucrmmail.dataclass import replace
from ucrmmail.delivery.account import AccountState, after_error
from ucrmmail.delivery.ending import EX_UNAVAILABLE, Ending
from ucrmmail.delivery.lessons import Lessons, after_calm_run, after_troubled_run, lessons_of
from ucrmmail.delivery.schedule import Retry
from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.smtp.trouble import account_trouble

NOW = 1_800_000_000.0
MARK = "settings"
REFUSED = account_trouble(Stage.MAIL, "the smarthost refused the account", exit_code=75)
LOST = account_trouble(Stage.MAIL, "one connection after the other was lost", exit_code=EX_UNAVAILABLE)


def troubled(state: AccountState, ending: Ending, trouble: Trouble = REFUSED) -> AccountState:
    return after_troubled_run(
        state,
        ending,
        trouble,
        now=NOW,
        retry=Retry(first_delay_s=300.0, max_delay_s=14_400.0, give_up_after_s=432_000.0),
        settings_mark=MARK,
        secret_mark="",
        told_at=NOW,
    )


def calm(state: AccountState, ending: Ending, *, relayed: bool = True, answered: bool = False) -> AccountState:
    return after_calm_run(state, ending, relayed=relayed, answered=answered, now=NOW, settings_mark=MARK)


def told(state: AccountState, mark: str = MARK) -> Lessons:
    return lessons_of(state, now=NOW, settings_mark=mark)


def test_a_run_without_anything_to_learn_leaves_the_same_state() -> None:
    state = AccountState()
    assert calm(state, Ending(relayed=True)) is state
    assert told(state) == Lessons(suspects=[], senders=[], lost=[], distrusted=frozenset())


def test_only_a_run_that_did_not_get_its_secret_has_the_next_one_look_for_it_first() -> None:
    missing = account_trouble(Stage.SECRET, "no token", exit_code=75)
    state = troubled(AccountState(), Ending(), missing)
    assert told(state).secret_first
    assert told(state, "other settings").secret_first, "nor does another server want to be troubled"
    assert not told(troubled(state, Ending())).secret_first
    assert not told(calm(state, Ending(relayed=True))).secret_first
    assert told(after_error(AccountState(), missing, now=NOW, settings_mark=MARK)).secret_first


def test_the_message_at_which_the_account_was_refused_is_suspected_and_its_sender() -> None:
    state = troubled(AccountState(), Ending(refused="b", suspects={"a": None}, senders={"x@isp.example"}))
    lessons = told(state)
    assert (lessons.suspects, lessons.senders, lessons.lost) == (["a", "b"], ["x@isp.example"], [])
    assert lessons.in_trouble


def test_the_message_at_which_a_connection_was_lost_comes_last() -> None:
    lessons = told(troubled(AccountState(), Ending(refused="b", unresolved={"a"}), LOST))
    assert (lessons.suspects, lessons.lost) == ([], ["a", "b"])


@pytest.mark.requirement("S19")
def test_who_is_suspected_stays_so_from_run_to_run_until_one_has_no_trouble() -> None:
    state = AccountState()
    for queue_id in "abca":
        state = troubled(state, Ending(refused=queue_id, senders={f"{queue_id}@isp.example"}))
    assert told(state).suspects == ["a", "b", "c"]
    # The one who was refused last has his turn behind the others.
    assert told(state).senders == ["b@isp.example", "c@isp.example", "a@isp.example"]
    assert told(calm(state, Ending(relayed=True))).suspects == []


@pytest.mark.requirement("S19", "R9")
def test_who_was_asked_although_he_is_suspected_comes_behind_those_who_were_not() -> None:
    """Whatever became of that: where it was known of his message, he was the first to be asked in each run."""
    state = troubled(AccountState(), Ending(senders={f"{name}@isp.example" for name in "abcd"}))
    state = troubled(state, Ending(senders={"c@isp.example"}, had_turn={f"{name}@isp.example" for name in "acx"}))
    assert told(state).senders == ["b@isp.example", "d@isp.example", "a@isp.example", "c@isp.example"]
    state = troubled(state, Ending(cleared={"b@isp.example"}, had_turn={"b@isp.example"}, relayed=True))
    assert told(state).senders == ["d@isp.example", "a@isp.example", "c@isp.example"]


def test_of_very_many_suspects_the_last_ones_are_remembered() -> None:
    state = troubled(AccountState(), Ending(suspects=dict.fromkeys(str(number) for number in range(150))))
    assert told(state).suspects == [str(number) for number in range(50, 150)]


@pytest.mark.requirement("R9")
def test_a_run_that_has_relayed_something_begins_the_pauses_anew_and_keeps_the_suspects() -> None:
    state = AccountState()
    for _ in range(4):
        state = troubled(state, Ending(refused="a", senders={"x@isp.example"}))
    assert state.not_before == NOW + 2400
    state = troubled(state, Ending(refused="b", relayed=True))
    assert (state.failures, state.not_before) == (1, NOW + 300)
    assert (told(state).suspects, told(state).senders) == (["a", "b"], ["x@isp.example"])


def test_an_answer_to_a_message_ends_the_trouble_and_a_run_that_reached_nobody_does_not() -> None:
    state = troubled(AccountState(), Ending(refused="a"))
    assert not calm(state, Ending(), relayed=False, answered=True).deferred
    assert calm(state, Ending(reason="stopped"), relayed=False) is state


def test_whose_connection_was_lost_is_forgotten_once_others_were_relayed() -> None:
    state = troubled(AccountState(), Ending(refused="a"), LOST)
    assert told(calm(state, Ending(), relayed=False)).lost == ["a"]
    assert told(calm(state, Ending(relayed=True, unresolved={"b"}))).lost == ["b"]
    assert told(calm(state, Ending(relayed=True))).lost == []


@pytest.mark.parametrize("trouble", [None, REFUSED], ids=["calm", "troubled"])
def test_what_the_server_does_not_understand_is_known_for_its_settings_alone(trouble: Trouble | None) -> None:
    ending = Ending(lies={"PIPELINING"}, relayed=True)
    state = calm(AccountState(), ending) if trouble is None else troubled(AccountState(), ending, trouble)
    assert told(state).distrusted == {"PIPELINING"}
    assert told(state, "others").distrusted == frozenset()


def test_a_doubt_is_handed_on_until_it_is_settled() -> None:
    state = calm(AccountState(), Ending(doubted="PIPELINING"), relayed=False)
    assert (told(state).doubted, told(state, "others").doubted) == ("PIPELINING", "")
    assert told(calm(state, Ending(relayed=True))).doubted == ""
    settled = calm(state, Ending(relayed=True, doubted="PIPELINING", lies={"PIPELINING"}))
    assert (told(settled).doubted, told(settled).distrusted) == ("", {"PIPELINING"})


def test_what_a_connection_was_lost_with_is_remembered_until_mail_has_gone_with_it() -> None:
    state = calm(AccountState(), Ending(relayed=True, guessed="PIPELINING"))
    assert told(state).guessed == "PIPELINING"
    assert told(state, "other settings").guessed == ""
    assert told(calm(state, Ending(), relayed=False)).guessed == "PIPELINING", "nothing went that shows anything"
    assert told(calm(state, Ending(relayed=True))).guessed == ""
    assert told(calm(AccountState(), Ending(guessed="PIPELINING"), relayed=False)).guessed == ""


@pytest.mark.requirement("R9", "R22")
def test_who_is_over_his_quota_makes_no_pause_longer_until_something_of_his_was_relayed() -> None:
    quota = replace(REFUSED, quota=True)
    over = calm(AccountState(), Ending(over_quota={"news@isp.example"}))
    assert told(over).over_quota == ["news@isp.example"]
    first = troubled(over, Ending(sender="news@isp.example"), quota)
    again = troubled(first, Ending(sender="news@isp.example"), quota)
    assert again.not_before - again.failed_at == first.not_before - first.failed_at
    other = troubled(again, Ending(sender="bill@isp.example"), quota)
    assert other.not_before - other.failed_at > first.not_before - first.failed_at
    assert told(calm(over, Ending(cleared={"news@isp.example"}))).over_quota == []
    # Proof is looked for further back all the same: his may be the whole head of the queue.
    state, reached = over, []
    for number in range(4):
        state = troubled(state, Ending(refused=f"m{number}", sender="news@isp.example"), quota)
        reached.append(told(state).passes_over)
    assert reached == [0, 15, 255, 1023]
    assert told(after_error(state, REFUSED, now=NOW, settings_mark=MARK)).passes_over == 1023
    assert told(troubled(state, Ending(refused="m5", relayed=True))).passes_over == 0


@pytest.mark.requirement("R9")
def test_a_quota_is_of_its_settings_alone_and_keeps_nothing_else_of_the_old_ones() -> None:
    before = replace(troubled(AccountState(), Ending()), settings_mark="old", over_quota="news@isp.example")
    after = calm(before, Ending(), relayed=False)
    assert after.settings_mark == "old"
    assert told(after).over_quota == ()
    after = calm(before, Ending(over_quota={"bill@isp.example"}), relayed=False)
    assert (after.settings_mark, after.not_before, after.over_quota) == (MARK, 0.0, "bill@isp.example")


@pytest.mark.requirement("S19")
def test_proof_is_looked_for_further_back_behind_each_run_that_a_message_has_ended() -> None:
    state, reached = AccountState(), []
    for number in range(8):
        reached.append(told(state).passes_over)
        state = troubled(state, Ending(refused=f"m{number}"))
    assert reached == [0, 0, 15, 255, 1023, 1023, 1023, 1023]
    # One that had nothing to do with a message begins at the head again.
    assert told(troubled(AccountState(failures=5), Ending())).passes_over == 0
