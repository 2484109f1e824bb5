"""Who is suspected, what would prove it, and what is given up when nothing can."""

from __future__ import annotations

import pytest

from ucrmmail.delivery import suspicion as suspicion_module
from ucrmmail.delivery.suspicion import COUNTS, Suspicion

A, B, OTHER, FAR = "a@isp.example", "b@ISP.example", "other@isp.example", "x@far.example"
KIND = "421 4.7.0 rcpt"


def test_a_suspected_sender_shows_nothing_until_mail_of_others_was_relayed() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    assert (suspicion.is_suspected(A), suspicion.is_suspected(OTHER), suspicion.awaits_proof) == (True, False, True)
    assert not suspicion.is_sender_to_blame(A)
    suspicion.count_relayed(OTHER)
    assert (suspicion.is_suspected(A), suspicion.awaits_proof) == (False, False)
    assert suspicion.is_sender_to_blame(A)
    assert not suspicion.is_sender_to_blame(OTHER)


def test_one_of_whom_something_was_relayed_is_cleared() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    suspicion.count_relayed(A)
    assert (suspicion.is_suspected(A), suspicion.cleared) == (False, {A})


@pytest.mark.requirement("S19")
def test_a_domain_is_suspected_with_the_second_of_its_senders() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    assert not suspicion.is_suspected(OTHER)
    suspicion.suspect_sender(B)
    assert suspicion.is_suspected(OTHER)
    suspicion.count_relayed(FAR)
    assert suspicion.is_sender_to_blame(OTHER)
    assert not suspicion.is_sender_to_blame(FAR)


def test_a_domain_of_which_something_was_relayed_is_not_what_is_refused() -> None:
    suspicion = Suspicion()
    suspicion.count_relayed(OTHER)
    suspicion.suspect_sender(A)
    suspicion.suspect_sender(B)
    assert suspicion.is_suspected(A)
    assert not suspicion.is_suspected(OTHER)
    # Nor is one that was suspected before.
    before = Suspicion()
    before.suspect_sender(A)
    before.suspect_sender(B)
    before.count_relayed(OTHER)
    assert not before.is_suspected(OTHER)


def test_domains_are_given_up_before_senders() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    suspicion.suspect_sender(B)
    assert suspicion.gives_up()
    assert (suspicion.is_suspected(OTHER), suspicion.is_suspected(A)) == (False, True)
    assert suspicion.gives_up()
    assert not suspicion.is_suspected(A)
    assert not suspicion.gives_up()


def test_the_null_reverse_path_has_no_domain_and_nobody_is_not_suspected() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender("")
    assert not suspicion.awaits_proof
    suspicion.suspect_sender("<>")
    suspicion.suspect_sender(A)
    assert (suspicion.is_suspected("<>"), suspicion.is_suspected(OTHER), suspicion.is_suspected("")) == (
        True,
        False,
        False,
    )


def test_processes_see_what_others_relay_but_of_a_hang_up_only_their_own() -> None:
    counts = [0] * (3 * COUNTS)
    run = Suspicion()
    run.suspect_sender(A)
    run.postpone(["id"])
    run.share(counts)
    one, two = run.copy(1), run.copy(2)
    two.count_relayed(FAR)
    assert one.progress == 1
    assert (one.is_sender_to_blame(A), one.is_sender_to_blame(A, hung_up=True)) == (True, False)
    assert (one.is_to_blame("id"), one.is_to_blame("id", hung_up=True)) == (True, False)
    one.count_relayed(FAR)
    assert one.is_sender_to_blame(A, hung_up=True)
    assert one.is_to_blame("id", hung_up=True)


def test_what_another_process_relays_of_a_suspect_clears_him_here_too() -> None:
    """One process set all of a domain aside that the others relayed, and kept it to itself."""
    counts = [0] * (3 * COUNTS)
    run = Suspicion()
    run.suspect_sender(A)
    run.suspect_sender(B)
    run.share(counts)
    one, two = run.copy(1), run.copy(2)
    assert one.is_suspected(OTHER)
    two.count_relayed(OTHER)
    assert (one.is_suspected(OTHER), one.is_suspected(A)) == (False, False)
    assert not one.is_sender_to_blame(OTHER)
    assert one.is_sender_to_blame(A)


def test_whom_another_process_suspects_is_suspected_from_then_on() -> None:
    """What was relayed meanwhile shows that it is his, and not the account's."""
    run, worker = Suspicion(), Suspicion()
    worker.suspect_sender(A)
    run.count_relayed(OTHER)
    run.take_over(worker.senders, worker.left_out)
    assert run.is_sender_to_blame(A)
    assert not run.is_sender_to_blame(OTHER)


@pytest.mark.parametrize("late_first", [True, False])
def test_of_two_processes_that_suspect_one_the_first_has_seen_the_proof(late_first: bool) -> None:
    run, early, late = Suspicion(), Suspicion(), Suspicion()
    early.suspect_sender(A)
    for one in (run, late):
        one.count_relayed(OTHER)
    late.suspect_sender(A)
    for one in (late, early) if late_first else (early, late):
        run.take_over(one.senders, ())
    assert run.is_sender_to_blame(A)


def test_what_was_relayed_of_him_since_the_first_suspected_him_clears_him_of_that() -> None:
    run, early, late = Suspicion(), Suspicion(), Suspicion()
    early.suspect_sender(A)
    for one in (run, late):
        one.count_relayed(OTHER)
        one.count_relayed(A)
    late.suspect_sender(A)
    for one in (late, early):
        run.take_over(one.senders, ())
    assert (run.was_suspected(A), run.is_sender_to_blame(A)) == (True, False)


def test_one_who_was_given_up_is_still_one_who_was_suspected() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    assert suspicion.gives_up()
    assert (suspicion.is_suspected(A), suspicion.was_suspected(A), suspicion.was_suspected(OTHER)) == (
        False,
        True,
        False,
    )
    suspicion.count_relayed(A)
    assert not suspicion.was_suspected(A)
    assert not suspicion.was_suspected("")


@pytest.mark.requirement("R22")
def test_a_sender_is_left_out_behind_some_of_his_messages_in_a_row() -> None:
    """What is said of one may be meant for its recipient."""
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    for _ in range(9):
        suspicion.leave_out(A)
    assert not suspicion.is_left_out(A), "nothing of others shows that it is not the account"
    suspicion.count_relayed(FAR)
    suspicion.leave_out(A)
    assert (suspicion.is_left_out(A), suspicion.copy(0).is_left_out(A), suspicion.is_left_out(OTHER)) == (
        True,
        True,
        False,
    )
    other = Suspicion()
    for _ in range(3):
        other.suspect_sender(A)
        other.count_relayed(FAR)
        for _ in range(4):
            other.leave_out(A)
        other.count_relayed(A)
    assert not other.is_left_out(A)


def test_a_domain_is_left_out_behind_several_of_its_senders() -> None:
    """Two may be over quotas of their own, and others of the domain not."""
    suspicion = Suspicion()
    senders = [f"user{number}@isp.example" for number in range(5)]
    for sender in senders:
        suspicion.suspect_sender(sender)
    suspicion.count_relayed(FAR)
    for sender in senders:
        assert not suspicion.is_left_out(OTHER)
        suspicion.leave_out(sender)
    assert suspicion.is_left_out(OTHER)
    assert not suspicion.is_left_out(FAR)


def test_one_alone_is_told_from_several_who_are_suspected() -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender(A)
    assert (suspicion.suspects_only(A), suspicion.suspects_only(B)) == (True, False)
    suspicion.suspect_sender(B)
    assert not suspicion.suspects_only(A)


@pytest.mark.requirement("S19")
def test_behind_a_message_that_was_to_blame_another_is_one_more_once_others_went_over_any_connection() -> None:
    counts = [0] * (3 * COUNTS)
    run = Suspicion()
    run.share(counts)
    one, two = run.copy(1), run.copy(2)
    one.count_relayed(FAR)
    assert (one.is_one_more(KIND), two.is_one_more(KIND)) == (False, False)
    one.blame(KIND)
    assert (one.is_one_more(KIND), two.is_one_more(KIND)) == (True, True)
    two.count_relayed(FAR)
    for _ in range(4):
        two.blame(KIND)
    assert (one.is_one_more(KIND), two.is_one_more(KIND)) == (True, True)
    one.blame(KIND)
    # Nothing was relayed since the last five: it may be the account after all.
    assert (one.is_one_more(KIND), two.is_one_more(KIND)) == (False, False)
    one.count_relayed(FAR)
    assert (one.is_one_more(KIND), two.is_one_more(KIND)) == (True, True)


def test_what_was_to_blame_shows_something_of_others_once_something_was_relayed() -> None:
    suspicion = Suspicion()
    suspicion.blame(KIND)
    assert not suspicion.is_one_more(KIND)
    suspicion.count_relayed(FAR)
    assert suspicion.is_one_more(KIND)
    assert not suspicion.is_one_more(f"5{KIND[1:]}"), "it would fail for it"


def test_of_what_none_was_to_blame_for_so_far_it_is_open_whether_it_is_the_account() -> None:
    suspicion = Suspicion()
    suspicion.blame(KIND)
    assert suspicion.is_next_to_one(KIND)
    suspicion.count_relayed(FAR)
    assert not suspicion.is_next_to_one(KIND)
    assert suspicion.is_next_to_one("450 4.7.1 mail")
    suspicion.blame("450 4.7.1 mail", is_proved=False)
    suspicion.count_relayed(FAR)
    # One that was taken for one more of them shows nothing of what it met.
    assert suspicion.is_next_to_one("450 4.7.1 mail")
    suspicion.blame("450 4.7.1 mail")
    suspicion.count_relayed(FAR)
    # The first kind is not forgotten for the second.
    assert not suspicion.is_next_to_one("450 4.7.1 mail")
    assert not suspicion.is_next_to_one(KIND)


def test_who_has_ended_some_connections_in_a_row_is_left_out_if_others_were_relayed() -> None:
    suspicion = Suspicion()
    for number in range(9):
        suspicion.count_closed(A, str(number))
    assert not suspicion.is_left_out(A)
    suspicion.count_relayed(FAR)
    suspicion.count_closed(A, "1")
    assert suspicion.is_left_out(A)
    assert not suspicion.is_left_out(B)
    for number in (1, 2, 3, 4, 4, 4):
        suspicion.count_closed(B, str(number))
    assert not suspicion.is_left_out(B)
    # One of his that is relayed begins the count anew.
    suspicion.count_relayed(B)
    suspicion.count_relayed(FAR)
    suspicion.count_closed(B, "5")
    assert not suspicion.is_left_out(B)


@pytest.mark.requirement("S19")
def test_one_who_is_cleared_over_another_connection_meanwhile_ends_no_look_at_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under a limit connections are threads: the run could end there with an internal error."""
    suspicion = Suspicion()

    def clear(*asked: object) -> bool:
        suspicion._senders.pop(A, None)
        return asked == (A,)

    suspicion.suspect_sender(A)
    suspicion.suspect_sender(FAR)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Suspicion, "_shows_nothing", clear)
        assert not suspicion.awaits_proof
    suspicion.suspect_sender(A)
    monkeypatch.setattr(suspicion_module, "_is_domain", clear)
    assert suspicion.suspects_only(FAR)
