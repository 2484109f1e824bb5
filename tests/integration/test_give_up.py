"""Nothing is deleted silently: what failed for good, by a refusal or by its age, is kept until a person has decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S, Machine, MovedClock
from tests.support.program import Program
from tests.support.smtp_server import DROP, SmtpServer
from ucrmmail.config.schema import KEYS
from ucrmmail.spool import manage
from ucrmmail.spool.listing import QueuedMessage


def of_people(machine: Machine) -> list[QueuedMessage]:
    """The messages in the queue, without the reports of the machine itself."""
    return [message for message in machine.queue() if message.reverse_path]


@pytest.mark.requirement("R8")
@pytest.mark.parametrize(
    ("reply", "days", "said"),
    [
        ("450 4.2.1 full", (0.0, 1.0, 5.1), "given up after 5d; the last answer was: 450 4.2.1 full"),
        ("550 5.1.1 no such user", (0.0,), "550 5.1.1 no such user"),
    ],
    ids=["too-old", "refused"],
)
def test_what_failed_for_good_is_kept_with_what_was_said_until_a_person_retries_or_removes_it(
    tmp_path: Path, reply: str, days: tuple[float, ...], said: str
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    removed, retried = machine.put(2)
    with SmtpServer(faults={"rcpt": lambda line: reply if b"joe@" in line else None}) as server:
        for day in (*days, 6.0, 100.0, 1000.0):
            clock.offset = day * DAY_S
            machine.flush(machine.to(server))
        server.wait_until_idle()
        reports = [message for message in server.accepted if message.recipients == ["billing@isp.example"]]
    assert len(reports) == 2
    assert all(b"Final-Recipient: rfc822; joe@example.com" in report.content for report in reports)
    kept = of_people(machine)
    assert [message.state for message in kept] == ["failed", "failed"]
    for message in kept:
        (recipient,) = message.delivery.recipients
        assert (recipient.result, recipient.stage, recipient.reply) == ("failed", "rcpt", said)
        assert clock.now() - 1001 * DAY_S < recipient.at < clock.now()
    list(manage.remove(machine.directory, [kept[removed].queue_id]))
    list(manage.retry(machine.directory, [kept[retried].queue_id]))
    with SmtpServer() as server:
        machine.flush(machine.to(server))
        server.wait_until_idle()
    assert [b"Subject: number %d" % retried in message.content for message in server.accepted] == [True]
    assert machine.queue() == []


@pytest.mark.requirement("R8")
def test_how_long_it_is_tried_is_a_setting_of_five_days_when_nobody_says_otherwise() -> None:
    assert KEYS["retry.give_up_after"].default == "5d"


@pytest.mark.requirement("R11")
def test_who_may_have_the_message_is_told_so_when_it_is_given_up(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.put(1)
    with SmtpServer(faults={"final-dot": lambda raw: DROP if b"Subject: number 0" in raw[:30] else None}) as server:
        for day in (0.0, 1.0, 5.1, 6.0):
            clock.offset = day * DAY_S
            machine.flush(machine.to(server))
        server.wait_until_idle()
        (report,) = [message for message in server.accepted if message.recipients == ["billing@isp.example"]]
    words = b" ".join(report.content.split())
    assert b"Subject: Perhaps not delivered: your message to joe@example.com" in words
    assert b"The message below may have been delivered to this recipient, or not: that is not known." in words
    assert b"(after the final dot); the message may have been delivered" in words
    assert b"was not delivered" not in words


def test_a_report_bears_the_name_that_the_machine_gives_itself(program: Program) -> None:
    with SmtpServer(faults={"rcpt": lambda line: "550 5.1.1 no such user" if b"joe@" in line else None}) as server:
        program.configure(server.port, smtp='local_hostname = "out.isp.example"')
        program.sendmail("-t")
        program.run("flush")
        program.run("flush")
        server.wait_until_idle()
        (report,) = server.accepted
    assert b"\r\nReporting-MTA: dns; out.isp.example\r\n" in report.content
    assert b"This is the mail system on out.isp.example." in report.content
