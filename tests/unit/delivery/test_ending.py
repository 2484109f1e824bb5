"""What the connections of a run put together: the first trouble, what several processes found, and second thoughts."""

from __future__ import annotations

from ucrmmail.delivery.ending import EX_UNAVAILABLE, EXCUSED_CONNECTIONS, Ending
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.trouble import account_trouble

FIRST = account_trouble(Stage.MAIL, "first", exit_code=75)
SECOND = account_trouble(Stage.MAIL, "second", exit_code=75)
UNREACHED = account_trouble(Stage.CONNECT, "no connection", exit_code=EX_UNAVAILABLE)


def relayed(count: int) -> Suspicion:
    suspicion = Suspicion()
    for _ in range(count):
        suspicion.count_relayed("x@isp.example")
    return suspicion


def test_the_first_trouble_counts_and_one_beyond_doubt_before_one_in_doubt() -> None:
    ending = Ending()
    ending.because_of(FIRST, "a", sender="x@isp.example", in_doubt=True)
    ending.because_of(SECOND, "b", in_doubt=True)
    assert (ending.trouble, ending.refused) == (FIRST, "a")
    ending.because_of(SECOND, "b")
    ending.because_of(FIRST, "a")
    assert (ending.trouble, ending.refused, ending.sender, ending.in_doubt) == (SECOND, "b", "", False)


def test_what_another_process_has_met_is_taken_over() -> None:
    ending = Ending(suspects={"a": None}, senders={"a@isp.example"})
    other = Ending(suspects={"b": None}, senders={"b@isp.example"}, relayed=True, unresolved={"c"}, denied=SECOND)
    other.because_of(FIRST, "b", sender="b@isp.example", in_doubt=True)
    ending.take_over(other)
    assert (ending.trouble, ending.refused, ending.sender, ending.in_doubt) == (FIRST, "b", "b@isp.example", True)
    assert (list(ending.suspects), ending.senders) == (["a", "b"], {"a@isp.example", "b@isp.example"})
    assert (ending.relayed, ending.unresolved, ending.denied) == (True, {"c"}, SECOND)


def test_what_one_process_has_settled_about_an_extension_is_open_for_none() -> None:
    ending = Ending()
    ending.go_without(["CHUNKING"], "PIPELINING")
    ending.take_over(Ending(distrusted={"CHUNKING"}, refuted={"PIPELINING"}))
    assert (ending.doubted, ending.distrusted) == ("", {"CHUNKING"})
    ending.take_over(Ending(distrusted={"CHUNKING", "PIPELINING"}, doubted="PIPELINING"))
    assert (ending.doubted, ending.distrusted) == ("", {"CHUNKING"})


def test_an_extension_that_was_found_to_be_a_lie_is_not_refuted_by_another_process() -> None:
    ending = Ending()
    ending.take_over(Ending(lies={"PIPELINING"}, distrusted={"PIPELINING"}))
    ending.take_over(Ending(refuted={"PIPELINING"}))
    assert (ending.doubted, ending.distrusted) == ("", {"PIPELINING"})


def test_the_last_connection_that_cannot_be_made_anew_is_a_trouble_only_while_there_is_mail() -> None:
    for has_work, trouble in ((True, UNREACHED), (False, None)):
        ending = Ending(unconnected=UNREACHED)
        ending.resolve_unconnected(lambda has_work=has_work: has_work)  # type: ignore[misc]
        assert ending.trouble == trouble
    stopped = Ending(unconnected=UNREACHED, reason="stopped")
    stopped.resolve_unconnected(lambda: True)
    assert stopped.trouble is None


def test_a_trouble_in_doubt_is_taken_back_once_for_each_message_when_others_were_relayed() -> None:
    ending, suspicion = Ending(), relayed(1)
    for queue_id in "ab":
        ending.because_of(FIRST, queue_id, in_doubt=True)
        assert ending.excused(suspicion)
        assert ending.trouble is None
        assert suspicion.is_to_blame(queue_id)
    ending.because_of(FIRST, "a", in_doubt=True)
    assert not ending.excused(suspicion)
    assert ending.trouble is FIRST


def test_a_trouble_beyond_doubt_or_of_a_run_that_relayed_nothing_is_not_taken_back() -> None:
    beyond = Ending()
    beyond.because_of(FIRST, "a")
    assert not beyond.excused(relayed(1))
    nothing = Ending()
    nothing.because_of(FIRST, "a", in_doubt=True)
    assert not nothing.excused(relayed(0))


def test_not_for_ever_are_troubles_taken_back() -> None:
    ending, suspicion = Ending(), relayed(1)
    taken_back = 0
    for number in range(100):
        ending.because_of(FIRST, str(number), in_doubt=True)
        taken_back += ending.excused(suspicion)
    assert taken_back == EXCUSED_CONNECTIONS


def test_a_lost_connection_that_is_taken_back_leaves_its_message_for_the_end_of_the_next_run() -> None:
    ending = Ending()
    ending.because_of(UNREACHED, "a", in_doubt=True)
    assert ending.excused(relayed(1))
    assert ending.unresolved == {"a"}
