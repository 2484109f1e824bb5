"""The main job through its front door: applications submit, cron flushes, the smarthost gets each message once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import zlib
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.program import PLAIN, Program, Run
from tests.support.sink import Received, Sink, SinkController
from tests.support.smtp_server import DROP, SmtpServer
from tests.support.spools import everything_in
from ucrmmail.files import Locked
from ucrmmail.spool.layout import path_in_queue


def parsed(received: Received) -> EmailMessage:
    message = message_from_bytes(received.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def numbered(number: int, to: str = "joe@example.com", headers: str = "") -> bytes:
    return f"From: a@isp.example\nTo: {to}\nSubject: number {number}\n{headers}\nBody {number}.\n".encode()


def subjects(sink: Sink) -> list[str]:
    return [str(parsed(received)["Subject"]) for received in sink.messages]


# --- accepting and sending ------------------------------------------------------------------------------------


@pytest.mark.requirement("R18")
def test_a_submitted_message_is_flushed_in_silence(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-t", "-i")
    run = program.run("flush")
    assert (run.stdout, run.stderr) == ("", "")
    assert len(sink.messages) == 1
    received = sink.messages[0]
    assert received.reverse_path == "billing@isp.example"
    assert received.recipients == ["joe@example.com"]
    assert received.content.endswith(b"\r\n\r\nPlease pay.\r\n")
    assert program.queue() == []


def test_missing_headers_are_added_and_the_rest_is_untouched(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-t", message=PLAIN)
    program.run("flush")
    content = sink.messages[0].content
    message = parsed(sink.messages[0])
    assert message["Sender"] == "billing@isp.example"
    assert message["Date"]
    assert message["Message-ID"]
    for line in PLAIN.split(b"\r\n")[:3]:
        assert line + b"\r\n" in content


@pytest.mark.requirement("R16")
def test_bcc_is_used_and_never_sent(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail(
        "-t",
        message=b"From: a@isp.example\nTo: b@example.com\nBcc: secret@example.com,\n second@example.com\nSubject: x\n\nhi\n",
    )
    program.run("flush")
    assert sorted(sink.messages[0].recipients) == ["b@example.com", "second@example.com", "secret@example.com"]
    assert b"secret" not in sink.messages[0].content
    assert b"second" not in sink.messages[0].content


def test_several_addresses_in_one_argument_are_several_recipients(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-i", "a@example.com,b@example.com", "root", message=PLAIN)
    program.run("flush")
    assert sink.messages[0].recipients == ["a@example.com", "b@example.com", "admin@isp.example"]


@pytest.mark.requirement("R18", "S6")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("-t", "-Z"), 64), ((), 64), (("-bs", "-t"), 64), (("-f",), 64), (("no spaces@x",), 67), (("a@b>SIZE=1",), 67)],
)
def test_a_wrong_submission_is_refused_with_its_code(program: Program, arguments: tuple[str, ...], code: int) -> None:
    program.configure(25)
    run = program.sendmail(*arguments, code=code)
    assert run.stderr.startswith("ucrmmail-sendmail: ")
    assert len(run.stderr.splitlines()) == 1
    assert program.queue() == []


def test_enqueue_prints_one_queue_id_a_message(program: Program, sink: Sink, tmp_path: Path) -> None:
    program.configure(sink.port)
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.eml"
        path.write_bytes(numbered(number))
        files.append(str(path))
    run = program.run("enqueue", *files)
    assert len(run.lines) == 3
    assert len(set(run.lines)) == 3
    assert [message["queue_id"] for message in program.queue()] == run.lines
    program.run("flush")
    assert subjects(sink) == ["number 0", "number 1", "number 2"]


def test_enqueue_takes_envelope_from_its_options(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    document = program.run(
        "enqueue",
        "--from",
        "x@isp.example",
        "--to",
        "y@example.com",
        "--to",
        "z@example.com",
        "--json",
        "-",
        stdin=PLAIN,
    ).json
    assert document["schema_version"] == 1
    assert list(document["queued"][0]) >= ["queue_id", "file"]
    program.run("flush")
    assert sink.messages[0].reverse_path == "x@isp.example"
    assert sink.messages[0].recipients == ["y@example.com", "z@example.com"]


def test_a_file_in_the_drop_directory_is_sent_and_removed(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.run("flush")
    drop = program.spool / "drop"
    (drop / "one.eml").write_bytes(numbered(1))
    (drop / "not-a-message.txt").write_bytes(numbered(2))
    program.run("flush")
    assert subjects(sink) == ["number 1"]
    assert sorted(path.name for path in drop.iterdir()) == ["not-a-message.txt"]


@pytest.mark.requirement("R18", "R26")
def test_a_disk_that_takes_no_drops_is_told_once_an_hour_and_ends_no_run_with_0(program: Program, sink: Sink) -> None:
    """Each run had ended with 0, and cron had mailed the same line each minute."""
    program.configure(sink.port)
    program.run("enqueue", "--to", "joe@example.com", "-", stdin=numbered(1))
    drop = program.spool / "drop"
    (drop / "one.eml").write_bytes(numbered(2))
    program.run("config", "set", "spool.min_free_space", "900000GB")
    run = program.run("flush", code=75)
    assert "the drop directory waits" in run.stderr
    assert "spool.min_free_space keeps" in run.stderr
    assert subjects(sink) == ["number 1"], "what is queued goes"
    assert program.run("flush", code=75).stderr == ""
    assert "the drop directory waits" in program.run("flush", "--json", code=75).json["needs_person"][0]
    (mark,) = program.spool.glob("told-*")
    os.utime(mark, (0, 0))
    assert "the drop directory waits" in program.run("flush", code=75).stderr
    program.run("config", "set", "spool.min_free_space", "1MB")
    assert program.run("flush").stderr == ""
    assert subjects(sink) == ["number 1", "number 2"]
    assert not list(program.spool.glob("told-*"))


@pytest.mark.requirement("S15")
def test_hostile_drop_files_are_not_followed(program: Program, sink: Sink, tmp_path: Path) -> None:
    program.configure(sink.port)
    program.run("flush")
    secret = tmp_path / "secret"
    secret.write_bytes(b"To: thief@example.com\n\ntop secret\n")
    drop = program.spool / "drop"
    (drop / "link.eml").symlink_to(secret)
    os.link(secret, drop / "hard.eml")
    os.mkfifo(drop / "fifo.eml")
    (drop / "broken.eml").write_bytes(b"From: a@isp.example\nSubject: nobody to send it to\n\nhi\n")
    (drop / "good.eml").write_bytes(numbered(7))
    run = program.run("flush", timeout=20)
    assert "broken.eml" in run.stderr or any("broken.eml" in subject for subject in subjects(sink))
    assert "number 7" in subjects(sink)
    assert not any(b"top secret" in received.content for received in sink.messages)
    assert secret.read_bytes() == b"To: thief@example.com\n\ntop secret\n"
    assert (program.spool / "rejected" / "broken.eml").exists()


def test_large_messages_and_many_recipients(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    body = b"".join(b"%064d\r\n" % number for number in range(80_000))
    program.sendmail("-t", message=PLAIN + body)
    many = ", ".join(f"user{number}@example.com" for number in range(200))
    program.sendmail("-t", message=numbered(1, to=many))
    program.run("flush")
    assert sink.messages[0].content.endswith(body)
    assert len(sink.messages[1].recipients) == 200


# --- order and limits -----------------------------------------------------------------------------------------


def test_urgent_mail_goes_first_and_bulk_last(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1, headers="Precedence: bulk\n"))
    program.sendmail("-t", message=numbered(2))
    program.sendmail("-t", message=numbered(3, headers="X-Priority: 1\n"))
    program.sendmail("-t", message=numbered(4))
    program.run("flush")
    assert subjects(sink) == ["number 3", "number 2", "number 4", "number 1"]


@pytest.mark.requirement("R19")
def test_throttler_holds_back_the_rest_across_runs(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 3\nduration = "1h"')
    for number in range(5):
        program.sendmail("-t", message=numbered(number))
    report = program.run("flush", "--json").json
    assert (report["relayed"], report["held_back"], report["reason"]) == (3, 2, "throttler")
    assert report["next_at"] is not None
    again = program.run("flush", "--json").json
    assert (again["relayed"], again["held_back"]) == (0, 2)
    assert len(sink.messages) == 3
    status = program.run("status", "--json").json
    assert status["waiting"] == 2
    throttle = status["throttler"][0]
    assert (throttle["limit"], throttle["used"], throttle["duration_s"]) == (3, 3, 3600)
    assert throttle["resets_at"]


def test_a_new_window_opens_when_the_duration_has_passed(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 2\nduration = "2s"')
    for number in range(5):
        program.sendmail("-t", message=numbered(number))
    program.run("flush", "--time-limit", "20s", timeout=40)
    times = [received.at for received in sink.messages]
    assert len(times) == 5
    assert times[2] - times[0] >= 1.95
    assert times[4] - times[2] >= 1.95


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(("duration", "sent"), [("5s", 2), ("20s", 1)], ids=["just behind the end", "long after it"])
def test_a_limit_that_opens_within_a_few_seconds_after_the_end_is_waited_for(
    program: Program, sink: Sink, duration: str, sent: int
) -> None:
    program.configure(sink.port, throttler=f'message_limit = 1\nduration = "{duration}"')
    for number in range(3):
        program.sendmail("-t", message=numbered(number))
    program.run("flush", "--time-limit", "4s", timeout=40)
    assert len(sink.messages) == sent


def test_a_ledger_that_cannot_be_read_is_told_and_counts_as_full(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 3\nduration = "1h"')
    program.sendmail("-t")
    program.run("flush")
    (program.spool / "ledger").write_bytes(b"not a ledger\n")
    program.sendmail("-t")
    run = program.run("flush")
    assert "the record of what was sent (ledger) could not be read" in run.stderr
    assert len(sink.messages) == 1
    assert program.run("flush").stderr == "", "told once"


def test_a_damaged_journal_is_told_once_and_only_what_it_said_there_is_sent_again(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    for number in range(3):
        program.sendmail("-t", message=numbered(number))
    ids = [message["queue_id"] for message in program.queue()]
    program.run("flush", "--message-limit", "1")
    journal = program.spool / "journal"
    records = [b"relayed " + queue_id.encode() for queue_id in ids]
    lines = [b"%08x %b\n" % (zlib.crc32(record), record) for record in records]
    journal.write_bytes(lines[0] + b"x" + lines[1] + lines[2])
    run = program.run("flush")
    assert run.stderr.startswith(f"ucrmmail: {journal} was damaged in one place: ")
    assert len(run.stderr.splitlines()) == 1
    assert subjects(sink) == ["number 0", "number 1"]
    assert program.run("flush").stderr == ""


@pytest.mark.requirement("R20")
def test_antiflood_pauses_after_the_threshold(program: Program, sink: Sink) -> None:
    program.configure(sink.port, antiflood='activation_threshold = 2\npause_time = "1s"')
    for number in range(5):
        program.sendmail("-t", message=numbered(number))
    program.run("flush", "--time-limit", "30s", timeout=40)
    times = [received.at for received in sink.messages]
    assert len(times) == 5
    assert times[2] - times[1] >= 0.95
    assert times[4] - times[3] >= 0.95


def test_no_wait_leaves_at_once(program: Program, sink: Sink) -> None:
    program.configure(sink.port, antiflood='activation_threshold = 1\npause_time = "5s"')
    for number in range(2):
        program.sendmail("-t", message=numbered(number))
    report = program.run("flush", "--no-wait", "--json").json
    assert (report["relayed"], report["held_back"], report["reason"]) == (1, 1, "antiflood")


@pytest.mark.requirement("R22")
def test_a_refused_message_gives_its_reservation_back(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("nobody") else None
    program.configure(
        sink.port, throttler='message_limit = 2\nduration = "1h"', addresses='organization = "o@isp.example"'
    )
    program.sendmail("-f", "<>", "nobody@example.com", message=numbered(0))
    for number in (1, 2):
        program.sendmail("-t", message=numbered(number))
    program.run("flush")
    assert subjects(sink) == ["number 1", "number 2"]
    (throttle,) = program.run("status", "--json").json["throttler"]
    assert throttle["used"] == 2


def test_message_limit_and_dry_run(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    for number in range(3):
        program.sendmail("-t", message=numbered(number))
    plan = program.run("flush", "--dry-run")
    assert len(sink.messages) == 0
    ids = [message["queue_id"] for message in program.queue()]
    assert all(queue_id in plan.stdout for queue_id in ids)
    report = program.run("flush", "--message-limit", "2", "--json").json
    assert (report["relayed"], report["held_back"], report["reason"]) == (2, 1, "message limit")


@pytest.mark.parametrize(
    ("tables", "takes"),
    [({"throttler": 'count = "recipients"\nmessage_limit = 2\nduration = "1s"'}, 100), ({}, 2)],
    ids=["a limit lets two recipients go", "the server takes two recipients"],
)
def test_a_message_in_parts_counts_once_for_the_message_limit(
    program: Program, sink: Sink, tables: dict[str, str], takes: int
) -> None:
    program.configure(sink.port, **tables)
    taken: list[str] = []
    sink.on_mail = lambda _address: taken.clear()
    sink.on_rcpt = lambda address: "452 4.5.3 Too many recipients" if len(taken) == takes else taken.append(address)
    to = ", ".join(f"r{number}@example.com" for number in range(6)).encode()
    program.sendmail("-t", message=b"From: a@isp.example\nTo: " + to + b"\n\nhi\n")
    program.sendmail("-t", message=numbered(1))
    report = program.run("flush", "--message-limit", "1", "--json").json
    assert (report["relayed"], report["held_back"], report["reason"]) == (1, 1, "message limit")
    assert [len(received.recipients) for received in sink.messages] == [2, 2, 2]
    program.run("flush", "--message-limit", "1")
    assert program.queue() == []


def test_a_run_that_is_stopped_in_a_pause_says_when_it_may_go_on(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 1\nduration = "30s"')
    for number in range(2):
        program.sendmail("-t", message=numbered(number))
    begun = time.time()
    flush = program.start("flush", "--json")
    while not sink.messages:
        time.sleep(0.005)
    time.sleep(0.5)
    flush.send_signal(signal.SIGTERM)
    report = json.loads(flush.communicate(timeout=60)[0])
    assert (report["relayed"], report["held_back"], report["reason"]) == (1, 1, "stopped")
    next_at = datetime.fromisoformat(report["next_at"]).timestamp()
    assert begun + 29 < next_at < time.time() + 31


def planned(program: Program) -> list[tuple[str, list[str]]]:
    messages = program.run("flush", "--dry-run", "--json").json["messages"]
    return [(message["queue_id"], message["recipients"]) for message in messages]


def test_a_dry_run_shows_what_the_run_does(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "450 4.2.0 Later" if address == "ann@example.com" else None
    program.configure(sink.port, retry='first_delay = "1s"\nmax_delay = "1s"')
    program.sendmail("joe@example.com", "ann@example.com", message=numbered(1))
    deferred = program.queue()[0]["queue_id"]
    assert planned(program) == [(deferred, ["joe@example.com", "ann@example.com"])]
    program.run("flush")
    while not planned(program):
        time.sleep(0.1)
    program.sendmail("-t", message=numbered(2))
    waiting = next(message["queue_id"] for message in program.queue() if message["queue_id"] != deferred)
    # Joe has it already.
    expected = [(deferred, ["ann@example.com"]), (waiting, ["joe@example.com"])]
    before = everything_in(str(program.spool))
    assert planned(program) == expected
    assert everything_in(str(program.spool)) == before
    report = program.run("flush", "--json").json
    assert [(message["queue_id"], list(message["recipients"])) for message in report["messages"]] == expected


def test_a_dry_run_tells_of_what_was_dropped_and_leaves_it_there(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.run("flush")
    for name in ("1.eml", "2.eml", ".hidden.eml", "readme"):
        (program.spool / "drop" / name).write_bytes(numbered(1))
    assert program.run("flush", "--dry-run", "--json").json["dropped"] == 2
    assert "2 files wait in drop/, which a run takes first" in program.run("flush", "--dry-run").stderr
    assert len(os.listdir(program.spool / "drop")) == 4


def test_a_dry_run_has_the_fields_of_a_run(program: Program) -> None:
    program.configure(25, throttler='message_limit = 1\nduration = "1h"')
    names = ("relayed", "deferred", "failed", "held_back", "reason", "next_at")
    empty = program.run("flush", "--dry-run", "--json").json
    assert [empty[name] for name in names] == [0, 0, 0, 0, "dry run", None]
    for number in (1, 2):
        program.sendmail("-t", message=numbered(number))
    plan = program.run("flush", "--dry-run", "--json").json
    assert [plan[name] for name in names] == [0, 0, 0, 2, "dry run", plan["messages"][0]["at"]]


def test_a_dry_run_begins_when_the_pause_of_the_account_ends(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 1\nduration = "1h"')
    program.sendmail("-t", message=numbered(1))
    assert program.run("flush", "--dry-run", "--json").json["deferred_until"] is None
    sink.on_mail = lambda _address: "421 4.7.0 too many messages, slow down"
    program.run("flush", code=75)
    program.sendmail("-t", message=numbered(2))
    opens_at = program.run("status", "--json").json["account"]["not_before"]
    plan = program.run("flush", "--dry-run", "--json").json
    assert plan["deferred_until"] == plan["messages"][0]["at"] == opens_at
    assert plan["messages"][1]["at"] > opens_at
    assert "the account is deferred until" in program.run("flush", "--dry-run").stderr
    program.run("queue", "retry", "--all")
    assert program.run("flush", "--dry-run", "--json").json["messages"][0]["at"] < opens_at


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_dry_run_knows_that_a_new_password_ends_the_pause_of_the_account(program: Program) -> None:
    def deferred_until(password: str) -> object:
        env = {"UCRMMAIL_SMTP_PASSWORD": password} if password else None
        return program.run("flush", "--dry-run", "--json", env=env).json["deferred_until"]

    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        program.configure(controller.sink.port, smtp='username = "user"')
        program.sendmail("-t", message=numbered(1))
        program.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "wrong"}, code=77)
        opens_at = program.run("status", "--json").json["account"]["not_before"]
        assert [deferred_until("wrong"), deferred_until("")] == [opens_at, opens_at]
        assert deferred_until("right") is None
        assert controller.sink.login_attempts == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_the_status_knows_that_a_new_password_or_setting_ends_the_pause_of_the_account(program: Program) -> None:
    def said(password: str) -> tuple[bool, object, bool]:
        env = {"UCRMMAIL_SMTP_PASSWORD": password}
        account = program.run("status", "--json", env=env).json["account"]
        text = program.run("status", env=env).stdout
        assert ("deferred until" in text) is (account["not_before"] is not None)
        return account["deferred"], account["not_before"], "the next run tries again: the smarthost refused" in text

    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        program.configure(controller.sink.port, smtp='username = "user"')
        program.sendmail("-t", message=numbered(1))
        next_at = program.run("flush", "--json", env={"UCRMMAIL_SMTP_PASSWORD": "wrong"}, code=77).json["next_at"]
        assert said("wrong") == (True, next_at, False)
        assert said("right") == (True, None, True)
        program.run("config", "set", "smtp.timeout", "30s")
        assert said("wrong") == (True, None, True)
        assert controller.sink.login_attempts == 1


# --- refusals: outcomes are for each recipient ---------------------------------------------------------------------


@pytest.mark.requirement("R7")
def test_each_recipient_has_an_outcome_of_its_own(program: Program, sink: Sink) -> None:
    replies = {"bad@example.com": "550 5.1.1 no such user", "later@example.com": "450 4.2.1 greylisted"}
    sink.on_rcpt = replies.get
    program.configure(sink.port)
    program.sendmail(
        "-f", "app@isp.example", "good@example.com", "bad@example.com", "later@example.com", message=numbered(1)
    )
    report = program.run("flush", "--json").json
    outcomes = next(m["recipients"] for m in report["messages"] if len(m["recipients"]) == 3)
    assert outcomes["good@example.com"]["outcome"] == "relayed"
    assert outcomes["bad@example.com"]["outcome"] == "failed"
    assert outcomes["bad@example.com"]["reply"].startswith("550")
    assert outcomes["later@example.com"]["outcome"] == "deferred"
    assert sink.messages[0].recipients == ["good@example.com"]
    dsn = next(received for received in sink.messages if received.recipients == ["app@isp.example"])
    assert dsn.reverse_path == ""
    assert parsed(dsn).get_content_type() == "multipart/report"
    assert b"bad@example.com" in dsn.content
    replies.clear()
    program.run("queue", "retry", "--all", "--yes")
    program.run("flush")
    assert [received.recipients for received in sink.messages[2:]] == [["later@example.com"]]
    assert [message["state"] for message in program.queue()] in ([], ["failed"])


@pytest.mark.requirement("R8", "S19")
def test_one_refused_message_does_not_stop_the_others(program: Program, sink: Sink) -> None:
    sink.on_data = lambda envelope: (
        "554 5.7.1 spam" if b"number 1" in (envelope.original_content or b"")[:400] else None
    )
    program.configure(sink.port)
    for number in range(4):
        program.sendmail("-t", message=numbered(number))
    report = program.run("flush", "--json").json
    assert report["failed"] == 1
    assert [subject for subject in subjects(sink) if subject.startswith("number")] == [
        "number 0",
        "number 2",
        "number 3",
    ]
    failed = program.queue("--state", "failed")
    assert len(failed) == 1
    assert "554" in failed[0]["reason"]


@pytest.mark.requirement("R8")
def test_a_failure_of_a_null_reverse_path_is_told_to_the_notification_address(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if address == "gone@example.com" else None
    program.configure(sink.port)
    program.sendmail("-f", "<>", "gone@example.com", message=numbered(1))
    program.run("flush")
    assert [received.recipients for received in sink.messages] == [["admin@isp.example"]]


@pytest.mark.requirement("R8")
@pytest.mark.parametrize("said", [True, False], ids=["SIZE", "552"])
def test_the_report_of_a_message_that_is_too_large_is_not_too_large_itself(program: Program, *, said: bool) -> None:
    most_bytes = 6_000
    sink = Sink(
        on_data=lambda envelope: "552 5.3.4 too big" if len(envelope.original_content or b"") > most_bytes else None
    )
    with SinkController(sink, data_size_limit=most_bytes if said else 0) as controller:
        program.configure(controller.sink.port)
        program.sendmail("-f", "app@isp.example", "joe@example.com", message=numbered(1) + b"a line of it\n" * 500)
        assert program.run("flush", "--json").json["failed"] == 1
    assert [(one.recipients, one.reverse_path) for one in sink.messages] == [(["app@isp.example"], "")]
    assert b"Subject: number 1" in sink.messages[0].content
    assert b"a line of it" not in sink.messages[0].content


@pytest.mark.requirement("R8")
def test_the_report_of_a_message_that_a_filter_refused_passes_that_filter(program: Program, sink: Sink) -> None:
    sink.on_data = lambda envelope: "554 5.7.1 virus" if b"EICAR" in (envelope.original_content or b"") else None
    program.configure(sink.port)
    program.sendmail("-f", "app@isp.example", "joe@example.com", message=numbered(1) + b"EICAR\n")
    assert program.run("flush", "--json").json["failed"] == 1
    assert [(one.recipients, one.reverse_path) for one in sink.messages] == [(["app@isp.example"], "")]
    assert b"Subject: number 1" in sink.messages[0].content


@pytest.mark.requirement("R8")
def test_a_report_that_fails_is_told_to_the_notification_address_and_one_to_that_to_whoever_reads(
    program: Program, sink: Sink
) -> None:
    refused = {"gone@example.com", "app@isp.example"}
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if address in refused else None
    program.configure(sink.port)
    program.sendmail("-f", "app@isp.example", "gone@example.com", message=numbered(1))
    for _ in range(3):
        assert program.run("flush").stderr == ""
    assert [received.recipients for received in sink.messages] == [["admin@isp.example"]]
    refused.add("admin@isp.example")
    program.sendmail("-f", "app@isp.example", "gone@example.com", message=numbered(2))
    (told,) = [text for text in [program.run("flush").stderr for _ in range(4)] if text]
    assert len(sink.messages) == 1
    assert "to admin@isp.example failed: 550 5.1.1 no such user" in told


@pytest.mark.requirement("R8")
@pytest.mark.parametrize("most", [1, 50])
def test_what_no_report_can_tell_is_told_by_name(program: Program, sink: Sink, most: int) -> None:
    """Many providers take no null reverse-path: each report fails, and the one of that."""
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("gone") else None
    program.configure(sink.port)
    names = [f"gone{number}@example.com" for number in range(most)]
    program.sendmail("-f", "app@isp.example", *names, message=numbered(1))
    (queued,) = program.queue()
    sink.on_mail = lambda address: None if "@" in address else "550 Sender address is not allowed"
    told = [text for text in [program.run("flush").stderr for _ in range(4)] if text]
    about = f"{queued['queue_id']} to gone0@example.com{' and 49 more' if most > 1 else ''} failed"
    assert len(told) == 1
    assert f"; it was to report that {about}: see `ucrmmail queue show {queued['queue_id']}`" in told[0]


@pytest.mark.requirement("R8")
def test_a_report_of_another_host_that_fails_is_not_taken_for_one_of_ours(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if "gone" in address or "admin" in address else None
    program.configure(sink.port)
    theirs = "1-20261124T004033.182841-chdzh5"
    foreign = b"X-Ucrmmail-Report: %b\r\nFinal-Recipient: rfc822; x@example.com\r\n" % theirs.encode()
    program.sendmail("-f", "", "gone@example.com", message=numbered(1).replace(b"\r\n", b"\r\n" + foreign, 1))
    (queued,) = program.queue()
    (told,) = [text for text in [program.run("flush").stderr for _ in range(4)] if text]
    assert theirs not in told
    assert f"{queued['queue_id']} to gone@example.com" in told


def test_what_is_kept_after_sending_goes_though_nothing_is_sent_any_more(program: Program, sink: Sink) -> None:
    program.configure(sink.port, spool='keep_sent = "1h"')
    program.sendmail("-t")
    program.run("flush")
    kept = program.spool / "sent"
    (hour,) = kept.iterdir()
    long_ago = kept / "20250101T00"
    hour.rename(long_ago)
    program.run("flush")
    assert long_ago.exists(), "a run without work looks every ten minutes"
    long_since = time.time() - 601
    os.utime(program.spool / "checked-config", (long_since, long_since))
    program.run("flush")
    assert list(kept.iterdir()) == []


@pytest.mark.requirement("R9")
def test_deferred_mail_waits_for_its_time(program: Program, sink: Sink) -> None:
    sink.on_data = lambda _envelope: "451 4.3.0 try again"
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1))
    assert program.run("flush", "--json").json["deferred"] == 1
    message = program.queue()[0]
    assert (message["state"], message["attempts"]) == ("deferred", 1)
    assert "451" in message["reason"]
    assert message["next_attempt_at"]
    sink.on_data = lambda _envelope: None
    assert program.run("flush", "--json").json["relayed"] == 0
    program.run("queue", "retry", message["queue_id"])
    assert program.run("flush", "--json").json["relayed"] == 1


@pytest.mark.requirement("R10")
def test_a_message_that_comes_again_is_the_same_to_the_byte(program: Program) -> None:
    with SmtpServer(faults={"final-dot": ["451 4.3.0 later", "451 4.3.0 later"]}) as server:
        program.configure(server.port)
        program.sendmail("-t", message=b"To: joe@example.com\nBcc: ann@example.com\n\nno date, no id\n")
        for _ in range(3):
            program.run("flush")
            program.run("queue", "retry", "--all")
        server.wait_until_idle()
    assert len(server.messages) == 3
    assert len(server.accepted) == 1
    assert len({message.raw for message in server.messages}) == 1
    assert b"\r\nMessage-ID: <" in b"\r\n" + server.messages[0].raw
    assert b"\r\nDate: " in b"\r\n" + server.messages[0].raw


@pytest.mark.requirement("R11")
def test_what_may_be_delivered_twice_is_told_so_in_the_log_in_the_queue_and_to_programs(program: Program) -> None:
    with SmtpServer(faults={"final-dot": [DROP]}) as server:
        program.configure(server.port)
        program.sendmail("-t", message=numbered(1))
        (told,) = program.run("flush", "--json").json["messages"]
        assert told["recipients"]["joe@example.com"]["uncertain"] is True
        (message,) = program.queue()
        assert "final-dot, may be delivered twice" in program.run("queue", "show", message["queue_id"]).stdout
        assert "final-dot may-be-delivered-twice" in (program.spool / "delivery.log").read_text()
        assert ": 1 deferred, 1 may be delivered twice" in program.run("status").stdout
        assert program.run("status", "--json").json["last_flush"]["uncertain"] == 1
        # Not only until the next run: as long as it is so.
        program.sendmail("-t", message=numbered(2))
        program.run("flush")
        assert "in doubt:   1 may be delivered twice" in program.run("status").stdout
        status = program.run("status", "--json").json
        assert (status["uncertain"], status["last_flush"]["uncertain"]) == (1, 0)
        assert [message["uncertain"] for message in program.queue()] == [True]
        program.run("queue", "retry", "--all")
        program.run("flush")
        server.wait_until_idle()
        assert ": 1 relayed\n" in program.run("status").stdout
        assert "in doubt" not in program.run("status").stdout
    assert len(server.messages) == 3
    assert server.messages[0].raw == server.messages[2].raw
    assert program.queue() == []


@pytest.mark.requirement("S10")
def test_a_reply_that_is_not_text_is_spelled_out_in_every_document(program: Program) -> None:
    shown = "4.3.0 later \\xff\\xfe"
    with SmtpServer(faults={"final-dot": ["451 4.3.0 later \udcff\udcfe"], "mail": [None, "421 \udcff"]}) as server:
        program.configure(server.port)
        program.sendmail("-t", message=PLAIN.replace(b"invoice", b"\xff"))
        documents = [program.run("flush", "--json")]
        (queue_id,) = [message["queue_id"] for message in program.queue()]
        documents += [program.run("queue", "show", queue_id, "--json"), program.run("queue", "list", "--json")]
        for run in documents:
            assert shown in json.dumps(run.json, ensure_ascii=False).replace("\\\\", "\\")
        program.run("queue", "retry", queue_id)
        documents += [program.run("flush", "--json", code=None), program.run("status", "--json")]
        assert "421 \\xff" in documents[-1].json["account"]["what"]
    for run in documents:
        # What a reader that is strict does: no half of a character is text.
        json.dumps(run.json, ensure_ascii=False).encode("utf-8")


@pytest.mark.requirement("R11")
def test_a_doubt_on_one_of_several_connections_is_counted(program: Program) -> None:
    with SmtpServer(faults={"final-dot": [DROP]}) as server:
        program.configure(server.port, smtp="connections = 2")
        for number in range(5):
            program.sendmail("-t", message=numbered(number))
        program.run("flush")
        server.wait_until_idle()
    assert ": 4 relayed, 1 deferred, 1 may be delivered twice\n" in program.run("status").stdout


@pytest.mark.requirement("R21")
def test_a_clock_that_was_set_back_makes_nothing_wait_for_the_time_that_it_has_seen(program: Program) -> None:
    with SmtpServer(faults={"rcpt": ["450 4.7.1 not now"] * 3}) as server:
        program.configure(server.port)
        program.sendmail("-t", message=numbered(1))
        program.run("flush")
        program.run("flush")
        assert program.queue()[0]["attempts"] == 1, "it waits for its time"
        # The last run was an hour ahead of what the clock shows now.
        hour_ahead = time.time() + 3600
        os.utime(program.spool / "last-flush.json", (hour_ahead, hour_ahead))
        program.run("flush")
        assert program.queue()[0]["attempts"] == 2
        program.run("flush")
        assert program.queue()[0]["attempts"] == 2, "once for each step"


def test_what_is_given_up_has_failed_wherever_it_is_told(program: Program) -> None:
    with SmtpServer(faults={"rcpt": "450 4.7.1 not now"}) as server:
        program.configure(server.port, retry='first_delay = "1s"\nmax_delay = "1s"\ngive_up_after = "1s"')
        program.sendmail("-t", message=b"From: <>\nTo: joe@example.com\nSubject: x\n\nhi\n")
        program.run("flush")
        time.sleep(1.5)
        messages = program.run("flush", "--json").json["messages"]
    told = next(message for message in messages if "joe@example.com" in message["recipients"])
    outcome = told["recipients"]["joe@example.com"]
    assert (told["result"], outcome["outcome"]) == ("failed", "failed")
    assert outcome["reply"] == "given up after 1s; the last answer was: 450 4.7.1 not now"
    words = [line.split() for line in (program.spool / "delivery.log").read_text().splitlines()]
    assert [each[4] for each in words if each[1] == told["queue_id"]] == ["deferred", "failed"]
    failed = next(message for message in program.queue() if message["queue_id"] == told["queue_id"])
    assert failed["reason"] == outcome["reply"]


def test_a_message_that_a_limit_lets_go_in_parts_is_one_message(program: Program, sink: Sink) -> None:
    to = b", ".join(b"r%d@example.com" % number for number in range(6))
    program.configure(sink.port, throttler='count = "recipients"\nmessage_limit = 4\nduration = "2s"')
    program.sendmail("-t", message=b"From: a@isp.example\nTo: " + to + b"\n\nhi\n")
    first = program.run("flush", "--json", "--no-wait").json
    assert (first["relayed"], first["deferred"], first["held_back"]) == (0, 0, 1)
    (told,) = first["messages"]
    assert (told["result"], len(told["recipients"])) == ("held back", 4)
    (message,) = program.queue()
    assert (message["state"], message["attempts"]) == ("waiting", 0)
    second = program.run("flush", "--json").json
    assert (second["relayed"], second["deferred"], second["held_back"]) == (1, 0, 0)
    assert [len(received.recipients) for received in sink.messages] == [4, 2]

    program.sendmail("-t", message=b"From: a@isp.example\nTo: " + to + b"\n\nhi\n")
    both = program.run("flush", "--json").json
    assert (both["relayed"], both["deferred"], both["held_back"]) == (1, 0, 0)
    (told,) = both["messages"]
    assert [each["outcome"] for each in told["recipients"].values()] == ["relayed"] * 6


# --- account troubles never cost a message anything ---------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.requirement("R18", "S19")
def test_a_smarthost_that_is_down_keeps_the_queue(program: Program) -> None:
    port = free_port()
    program.configure(port)
    program.sendmail("-t", message=numbered(1))
    run = program.run("flush", code=69)
    assert str(port) in run.stderr
    assert "remedy" in run.stderr
    assert [(m["state"], m["attempts"]) for m in program.queue()] == [("waiting", 0)]
    with SinkController(Sink(), port=port) as controller:
        program.run("flush", code=75)
        assert controller.sink.sessions == 0, "the first step of the back-off is five minutes (R9)"
        program.run("queue", "retry", "--all")
        program.run("flush")
        assert subjects(controller.sink) == ["number 1"]


@pytest.mark.requirement("R18")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_program_that_looks_on_does_not_take_the_news_from_the_person(program: Program) -> None:
    wrong = {"UCRMMAIL_SMTP_PASSWORD": "wrong"}
    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        program.configure(controller.sink.port, smtp='username = "user"')
        program.sendmail("-t", message=numbered(1))
        report = program.run("flush", "--json", env=wrong, code=77)
        assert (report.stderr, report.json["error"]["reply"]) == ("", "535 5.7.8 Authentication credentials invalid")
        told = [program.run("flush", env=wrong, code=75).stderr for _ in range(2)]
        assert "535" in told[0]
        assert told[1] == ""


@pytest.mark.requirement("R18", "S19")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_refused_login_is_told_once_and_costs_no_attempt(program: Program) -> None:
    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        program.configure(controller.sink.port, smtp='username = "user"')
        for number in range(3):
            program.sendmail("-t", message=numbered(number))
        run = program.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "wrong-canary"}, code=77)
        assert "535" in run.stderr
        assert "wrong-canary" not in run.stdout + run.stderr
        assert controller.sink.login_attempts == 1
        assert [m["attempts"] for m in program.queue()] == [0, 0, 0]
        program.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "wrong-canary"}, code=75)
        assert controller.sink.login_attempts == 1
        program.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "right"})
        assert subjects(controller.sink) == ["number 0", "number 1", "number 2"]
        assert controller.sink.messages[0].login == "user"


@pytest.mark.requirement("R9", "R22")
def test_too_many_defers_the_account_not_the_message(program: Program, sink: Sink) -> None:
    sink.on_mail = lambda _address: "421 4.7.0 too many messages, slow down"
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1))
    report = program.run("flush", "--json", code=75).json
    assert (report["held_back"], report["deferred"], report["failed"]) == (1, 0, 0)
    assert report["next_at"] is not None
    assert program.queue()[0]["attempts"] == 0
    sessions = sink.sessions
    program.run("flush", code=75)
    assert sink.sessions == sessions


def test_a_person_ends_the_pause_of_the_account(program: Program, sink: Sink) -> None:
    sink.on_mail = lambda _address: "421 4.7.0 too many messages, slow down"
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1))
    first = program.run("flush", "--json", code=75).json["next_at"]
    assert "sooner:   ucrmmail queue retry --state deferred" in program.run("status").stdout
    mistyped = program.run("queue", "retry", "1-20260101T000000.000000-abcdef", "--json", code=66).json
    assert mistyped["pause_lifted"] is False
    assert program.run("queue", "retry", "--all").stdout == (
        "the pause of the account is over: the next flush connects\n0 messages changed\n"
    )
    status = program.run("status").stdout
    assert "421" in status
    assert "sooner" not in status
    assert program.run("queue", "retry", "--all").stdout == "0 messages changed\n"
    sessions = sink.sessions
    second = program.run("flush", "--json", code=75).json["next_at"]
    assert sink.sessions == sessions + 1
    assert second > first, "the pause grows when nothing was mended"
    assert program.run("queue", "retry", "--all", "--json").json["pause_lifted"] is True
    assert program.run("queue", "retry", "--all", "--json").json["pause_lifted"] is False
    sink.on_mail = lambda _address: None
    program.run("flush")
    assert subjects(sink) == ["number 1"]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_the_setting_that_the_remedy_names_ends_the_pause_of_the_account(program: Program) -> None:
    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        program.env["UCRMMAIL_SMTP_PASSWORD"] = "right"
        program.configure(controller.sink.port, smtp='username = "user"\nallow_insecure_login = false')
        program.sendmail("-t", message=numbered(1))
        error = program.run("flush", "--json", code=None).json["error"]
        assert "smtp.allow_insecure_login" in error["remedy"]
        program.run("config", "set", "smtp.allow_insecure_login", "true")
        program.run("flush")
        assert subjects(controller.sink) == ["number 1"]


def test_a_pause_that_an_older_release_has_left_is_over(program: Program, sink: Sink) -> None:
    sink.on_mail = lambda _address: "421 4.7.0 too many messages, slow down"
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1))
    program.run("flush", code=75)
    kept = program.spool / "account.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"settings_mark": "0123456789abcdef"}))
    sink.on_mail = lambda _address: None
    program.run("flush")
    assert subjects(sink) == ["number 1"]


def test_one_message_shows_that_the_account_works_again(program: Program, sink: Sink) -> None:
    sink.on_mail = lambda _address: "421 4.7.0 too many messages, slow down"
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1))
    program.run("flush", code=75)
    program.run("queue", "retry", "--all")
    sink.on_mail = lambda _address: None
    program.run("flush")
    assert subjects(sink) == ["number 1"]
    assert "421" not in program.run("status").stdout


@pytest.mark.requirement("R18")
def test_a_missing_secret_keeps_the_queue(program: Program, sink: Sink) -> None:
    program.configure(sink.port, smtp='username = "user"')
    program.sendmail("-t", message=numbered(1))
    run = program.run("flush", code=78)
    assert "config set smtp.password" in run.stderr
    assert len(program.queue()) == 1
    assert sink.sessions <= 1
    assert program.run("flush", code=78).stderr == "", "cron mails it once, not every minute"
    assert program.run("flush", "--json", code=78).json["error"]["remedy"]
    assert "secret" in program.run("status").stdout
    program.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "word"}, code=None)
    assert sink.sessions >= 1, "a secret ends it at once"


# --- crashes and company --------------------------------------------------------------------------------------------


@pytest.mark.requirement("R1", "S17")
def test_a_killed_flush_loses_nothing(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    sink.on_rcpt = lambda _address: time.sleep(0.002)
    for number in range(60):
        program.sendmail("-t", message=numbered(number))
    kills = 0
    for attempt in range(40):
        flush = program.start("flush")
        time.sleep(0.25 + 0.011 * attempt)
        if flush.poll() is None:
            flush.send_signal(signal.SIGKILL)
            kills += 1
        flush.communicate()
        if not program.queue():
            break
    program.run("flush")
    got = subjects(sink)
    assert set(got) == {f"number {number}" for number in range(60)}
    assert len(got) - 60 <= kills
    assert program.queue() == []


@pytest.mark.requirement("R2")
def test_a_terminated_flush_sends_nothing_twice(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    sink.on_rcpt = lambda _address: time.sleep(0.005)
    for number in range(60):
        program.sendmail("-t", message=numbered(number))
    for attempt in range(8):
        flush = program.start("flush")
        time.sleep(0.2 + 0.02 * attempt)
        flush.send_signal(signal.SIGTERM)
        flush.communicate(timeout=10)
    program.run("flush")
    assert sorted(subjects(sink)) == sorted(f"number {number}" for number in range(60))


@pytest.mark.requirement("R2")
def test_a_run_that_may_use_no_more_of_the_processor_ends_in_good_order(program: Program, sink: Sink) -> None:
    """The soft limit of `ulimit -t` is a signal; what comes at the hard one nobody can heed."""
    program.configure(sink.port)
    sink.on_rcpt = lambda _address: time.sleep(0.02)
    for each in range(30):
        program.sendmail("-t", message=numbered(each))
    flush = program.start("flush", "--json")
    while not sink.messages:
        time.sleep(0.005)
    flush.send_signal(signal.SIGXCPU)
    report = json.loads(flush.communicate(timeout=60)[0])
    assert (flush.returncode, report["reason"], report["relayed"]) == (0, "stopped", len(sink.messages))
    program.run("flush")
    assert sorted(subjects(sink)) == sorted(f"number {each}" for each in range(30))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_when_the_run_began_does_not_end_it(
    program: Program, sink: Sink, number: signal.Signals
) -> None:
    program.configure(sink.port)
    sink.on_rcpt = lambda _address: time.sleep(0.02)
    for each in range(30):
        program.sendmail("-t", message=numbered(each))
    ignoring = ["/bin/sh", "-c", f'trap "" {number.name[3:]}; exec "$@"', "sh"]
    flush = subprocess.Popen([*ignoring, *program.command("flush", "--json")], env=program.env, stdout=subprocess.PIPE)
    while not sink.messages:
        time.sleep(0.005)
    assert len(sink.messages) < 20
    flush.send_signal(number)
    report = json.loads(flush.communicate(timeout=60)[0])
    assert (flush.returncode, report["relayed"], report["reason"]) == (0, 30, "")


def test_a_run_that_is_terminated_while_it_takes_what_was_dropped_leaves_the_rest(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.run("flush")
    for number in range(2000):
        (program.spool / "drop" / f"{number:04d}.eml").write_bytes(numbered(number))
    flush = program.start("flush", "--json")
    while not os.listdir(program.spool / "queue"):
        time.sleep(0.005)
    flush.send_signal(signal.SIGTERM)
    report = json.loads(flush.communicate(timeout=60)[0])
    left = os.listdir(program.spool / "drop")
    assert (report["reason"], len(left) > 0, len(sink.messages)) == ("stopped", True, 0)
    assert program.run("status", "--json").json["waiting"] == report["held_back"] == 2000 - len(left)


def test_a_dropped_file_over_the_limit_of_the_process_does_not_stop_smaller_ones(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.run("flush")
    limited = ["prlimit", "--fsize=300000"]
    large = numbered(1) + b"A line of an invoice.\r\n" * 20_000
    (program.spool / "drop" / "1.eml").write_bytes(large)
    (program.spool / "drop" / "2.eml").write_bytes(numbered(2))
    for told in ("it is larger than this process may write, see `ulimit -f`; smaller ones are taken", ""):
        run = subprocess.run(
            [*limited, *program.command("flush")], env=program.env, capture_output=True, text=True, check=False
        )
        assert (run.returncode, subjects(sink)) == (74, ["number 2"])
        assert told in run.stderr
        assert bool(run.stderr) == bool(told)
    refused = subprocess.run(
        [*limited, *program.command("-t", program="ucrmmail-sendmail")],
        input=large, env=program.env, capture_output=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 75
    assert b"File too large: the message was not accepted (raise the limit of the process" in refused.stderr
    program.run("flush")
    assert subjects(sink) == ["number 2", "number 1"]


def test_the_time_limit_holds_for_what_was_dropped_too(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.run("flush")
    for number in range(500):
        (program.spool / "drop" / f"{number:04d}.eml").write_bytes(numbered(number))
    # Let in when no time is left to send anything, it says so.
    assert program.run("flush", "--time-limit", "50ms", code=None).code in {0, 75}
    assert os.listdir(program.spool / "drop")
    program.run("flush")
    assert sorted(subjects(sink)) == sorted(f"number {number}" for number in range(500))


@pytest.mark.requirement("R4")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("connections", [1, 2])
def test_what_was_relayed_is_in_the_log_though_the_run_ends_by_an_error_of_the_disk(
    program: Program, sink: Sink, connections: int
) -> None:
    program.configure(sink.port, smtp=f"connections = {connections}")
    sink.on_rcpt = lambda _address: time.sleep(0.03)
    for number in range(8):
        program.sendmail("-t", message=numbered(number))
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO",
         *program.command("flush")],
        env=program.env, cwd=program.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert 0 < len(sink.messages) < 8
    log = (program.spool / "delivery.log").read_text()
    assert log.count(" relayed ") == len(sink.messages), log


@pytest.mark.requirement("R4", "R11")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("refused", ["pwrite64", "pwrite64,unlink,unlinkat"])
def test_what_was_relayed_and_could_not_be_recorded_goes_once_or_is_told_as_in_doubt(
    program: Program, sink: Sink, connections: int, refused: str
) -> None:
    program.configure(sink.port, smtp=f"connections = {connections}")
    program.sendmail("-t", message=numbered(1))
    (queue_id,) = [message["queue_id"] for message in program.queue()]
    spool = program.spool
    paths = [f"-P{path}" for path in (spool / "journal", spool / "journal.1", path_in_queue(str(spool), queue_id))]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *paths,
         "-e", f"trace={refused}", "-e", f"inject={refused}:error=EIO",
         *program.command("flush")],
        env=program.env, cwd=program.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert f"{spool}/journal" in done.stderr
    assert queue_id in done.stderr
    log = (spool / "delivery.log").read_text()
    is_removed = refused == "pwrite64"
    assert log.count(" relayed final-dot ") == 1
    assert ("may-be-delivered-twice" in log) is not is_removed
    told = ": 1 relayed (exit code 74)\n" if is_removed else ": 1 held back, 1 may be delivered twice (exit code 74)\n"
    assert told in program.run("status").stdout
    program.run("flush")
    assert len(sink.messages) == (1 if is_removed else 2)


@pytest.mark.requirement("R23", "S17")
def test_a_second_flush_leaves_at_once(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    sink.on_rcpt = lambda _address: time.sleep(1.5)
    program.sendmail("-t", message=numbered(1))
    first = program.start("flush")
    try:
        deadline = time.monotonic() + 10
        while sink.sessions == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        second = program.run("flush", "--json")
        assert second.json["reason"] == "another flush is running"
    finally:
        first.communicate(timeout=20)
    assert len(sink.messages) == 1


def imported_by(run: Run) -> set[str]:
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("options", [[], ["--time-limit", "50s"], ["--json"]], ids=["cron", "limit", "json"])
def test_a_second_flush_leaves_before_what_sends_is_imported(program: Program, sink: Sink, options: list[str]) -> None:
    program.configure(sink.port)
    program.run("flush")  # the configuration is checked then
    program.sendmail("-t", message=numbered(1))
    with Locked(str(program.spool / "lock")):
        run = program.run("flush", *options, env={"PYTHONPROFILEIMPORTTIME": "1"})
        heavy = {"typer", "ssl", "ucrmmail.config.schema", "ucrmmail.delivery.flush", "ucrmmail.delivery.report"}
        assert imported_by(run) & heavy == set()
        if "--json" in options:
            assert run.json["reason"] == "another flush is running"
        else:
            assert run.stdout == ""
        assert len(program.queue()) == 1
    run = program.run("flush", *options, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "ucrmmail.delivery.flush" in imported_by(run), "this is how it would show"
    assert len(sink.messages) == 1


def test_a_flush_that_sends_imports_nothing_for_command_lines_failures_or_a_person(
    program: Program, sink: Sink
) -> None:
    program.configure(sink.port)
    program.sendmail("-t", message=numbered(1))
    run = program.run("flush", "--time-limit", "50s", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert len(sink.messages) == 1
    assert imported_by(run) & {"typer", "rich", "email", "idna", "keyring", "dns", "concurrent", "difflib"} == set()


@pytest.mark.parametrize("name", ["{}", "{}/", "{}/../spool"])
def test_a_flush_of_cron_is_not_in_its_own_way_however_the_spool_is_named(
    program: Program, sink: Sink, name: str
) -> None:
    program.configure(sink.port)
    text = program.config.read_text().replace(str(program.spool), name.format(program.spool))
    program.config.write_text(text)
    program.run("flush")
    for number in range(3):
        program.sendmail("-t", message=numbered(number))
        program.run("flush")
    assert subjects(sink) == [f"number {number}" for number in range(3)]


@pytest.mark.requirement("R19")
def test_no_window_is_exceeded_over_kills_and_restarts(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 4\nduration = "3s"')
    for number in range(12):
        program.sendmail("-t", message=numbered(number))
    end = time.monotonic() + 60
    attempts = 0
    while program.queue() and time.monotonic() < end:
        flush = program.start("flush", "--time-limit", "1s")
        # On a busy machine the start alone may take longer than the shortest of these.
        time.sleep(0.35 + 0.15 * (attempts % 4))
        attempts += 1
        if flush.poll() is None:
            flush.kill()
        flush.communicate()
    times = sorted(received.at for received in sink.messages)
    assert set(subjects(sink)) == {f"number {number}" for number in range(12)}
    start = times[0]
    count = 0
    for at in times:
        if at >= start + 3 - 0.05:
            start, count = at, 0
        count += 1
        assert count <= 4


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[smtp\nhost = 1", "config.toml"),
        ('[smtp]\nport = "many"\n', "smtp.port"),
        ("[smtp]\nprot = 25\n", "port"),
        ('[smtp]\npassword = "in the open"\n', "smtp.password"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(program: Program, content: str, says: str) -> None:
    program.config.write_text(content)
    program.config.chmod(0o600)
    run = program.run("flush", code=78)
    assert says in run.stderr
    assert "in the open" not in run.stderr
    run = program.run("status", code=78)
    assert says in run.stderr
