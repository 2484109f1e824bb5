"""A queue that is older than it should be is told to the system notification address, by real runs."""

from __future__ import annotations

import os
import time
from email import message_from_bytes
from email.policy import default

import pytest

from tests.support.program import Program
from tests.support.sink import Sink, SinkController


def old_enough(seconds: float = 1.0) -> None:
    """The oldest message waits for longer than that, and so does the look at the queue before."""
    time.sleep(seconds + 0.1)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_that_the_account_cannot_log_in_is_told_once_and_arrives_when_it_can(program: Program) -> None:
    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        sink = controller.sink
        program.configure(sink.port, smtp='username = "user"', retry='warn_after = "1h"')
        program.sendmail("-t")
        wrong = {"UCRMMAIL_SMTP_PASSWORD": "wrong-canary"}
        program.run("flush", env=wrong, code=77)
        assert len(program.queue()) == 1, "it is not old so far"
        program.configure(sink.port, smtp='username = "user"', retry='warn_after = "1s"')
        for _ in range(2):
            old_enough()
            program.run("flush", env=wrong, code=75)
        waiting = program.queue()
        assert [message["reverse_path"] for message in waiting[1:]] == [""]
        assert waiting[1]["recipients"] == ["admin@isp.example"]
        program.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "right"})
        assert [message.recipients for message in sink.messages] == [["joe@example.com"], ["admin@isp.example"]]
        notice = message_from_bytes(sink.messages[1].content, policy=default)
    assert notice["Subject"].startswith("The account cannot log in, mail waits since ")
    assert notice["Auto-Submitted"] == "auto-generated"
    text = notice.get_content()
    assert "1 message waits" in text
    assert "535" in text
    assert "wrong-canary" not in text


def test_mail_that_a_server_defers_is_told_and_held_mail_is_not(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "450 4.2.0 greylisted" if address == "joe@example.com" else None
    program.configure(sink.port, retry='warn_after = "1s"')
    program.sendmail("-t")
    program.run("queue", "hold", "--all", "--yes")
    old_enough()
    program.sendmail("gone@example.com")
    program.run("flush")
    assert len(program.queue()) == 1, "a person wants it to wait"
    program.run("queue", "release", "--all", "--yes")
    old_enough()
    program.run("flush")
    program.run("flush")
    assert [message.recipients for message in sink.messages] == [["gone@example.com"], ["admin@isp.example"]]


def test_mail_that_is_deferred_for_hours_is_noticed_by_runs_without_work(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "450 4.2.0 greylisted" if address == "joe@example.com" else None
    program.configure(sink.port, retry='warn_after = "4s"')
    program.sendmail("-t")
    program.run("flush")
    assert len(program.queue()) == 1, "it is not old so far"
    old_enough(4)
    long_since = time.time() - 601
    os.utime(program.spool / "checked-config", (long_since, long_since))
    program.run("flush")
    assert [message["recipients"] for message in program.queue("--state", "waiting")] == [["admin@isp.example"]]


def test_nobody_is_told_without_an_address_or_a_time(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda _address: "450 4.2.0 greylisted"
    program.configure(sink.port, retry='warn_after = "0"\nfirst_delay = "1s"')
    program.sendmail("-t")
    for _ in range(2):
        program.run("flush")
        old_enough()
    assert len(program.queue()) == 1
    program.run("config", "set", "retry.warn_after", "1s")
    program.run("config", "unset", "addresses.notification")
    program.run("flush")
    assert len(program.queue()) == 1
