"""``enqueue`` and ``queue`` as they are run: what they print, what they change, how they end."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.program import PLAIN, Program
from tests.support.sink import Sink
from tests.support.spools import MAX_DELAY_S, NOW, after, claim, place_of, put, reported, settle
from ucrmmail.dataclass import replace
from ucrmmail.spool.layout import bucket_of, is_queue_id
from ucrmmail.spool.queue import Spool

pytestmark = pytest.mark.watched

UNKNOWN = "1-20261123T110559.123456-k3x9qa"
FIELDS = {
    "queue_id", "message_id", "state", "reverse_path", "recipients", "size_bytes", "priority", "accepted_at",
    "attempts", "next_attempt_at", "reason",
}  # fmt: skip


@pytest.fixture
def queue(program: Program) -> Program:
    program.configure(25)
    return program


def enqueue(program: Program, *arguments: str, message: bytes = PLAIN) -> str:
    (queue_id,) = program.run("enqueue", *arguments, "-", stdin=message).lines
    assert is_queue_id(queue_id)
    return queue_id


def one_in_each_state(program: Program) -> dict[str, str]:
    ids = {state: enqueue(program, "--priority", "normal") for state in ("waiting", "deferred", "held", "failed")}
    spool = Spool(str(program.spool))
    claimed = claim(spool, ids["deferred"])
    spool.settle(claimed, after(claimed.state, "deferred", next_attempt_at=float(int(time.time()) + 600)))
    state = settle(spool, ids["failed"], "failed")
    spool.update_state(ids["failed"], reported(state))
    spool.finish()
    program.run("queue", "hold", ids["held"])
    return ids


# --- enqueue ------------------------------------------------------------------------------------------------------------


def test_a_bad_file_is_told_and_the_others_go_on(queue: Program, tmp_path: Path) -> None:
    good, bad, torn = tmp_path / "good.eml", tmp_path / "bad.eml", tmp_path / "none.eml"
    good.write_bytes(PLAIN)
    bad.write_bytes(b"From: a@b.example\nSubject: nobody\n\nhi\n")
    run = queue.run("enqueue", str(good), str(bad), str(torn), str(tmp_path), str(good), code=67)
    assert len(run.lines) == 2
    assert all(map(is_queue_id, run.lines))
    for name in ("bad.eml", "none.eml", str(tmp_path)):
        assert name in run.stderr
    assert "remedy" in run.stderr
    assert len(queue.queue()) == 2


def test_many_files_are_accepted_by_a_process_that_may_open_few(queue: Program, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.eml").write_bytes(PLAIN)
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *queue.command("enqueue", *map(str, tmp_path.glob("*.eml")))],
        env=queue.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(queue.queue()) == 60


@pytest.mark.requirement("S15")
def test_what_is_no_file_is_refused_at_once_and_the_others_go_on(queue: Program, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.eml")
    (tmp_path / "good.eml").write_bytes(PLAIN)
    (tmp_path / "directory").mkdir()
    files = [str(tmp_path / "fifo.eml"), "/dev/zero", str(tmp_path / "directory"), str(tmp_path / "good.eml")]
    run = queue.run("enqueue", *files, code=66, timeout=20)
    assert len(run.lines) == 1
    for file in files[:2]:
        assert f"ucrmmail: {file}: is not a regular file" in run.stderr
    assert f"{files[2]}: Is a directory" in run.stderr


def test_a_pipe_that_the_caller_has_opened_is_read(queue: Program) -> None:
    for file in ("-", "/dev/stdin", "/dev/fd/0"):
        assert len(queue.run("enqueue", file, stdin=PLAIN).lines) == 1


@pytest.mark.requirement("S7")
@pytest.mark.parametrize("arguments", [("--", "-oQ/tmp@example.com"), ("-f", "-oQ/tmp@example.com", "joe@example.com")])
def test_sendmail_says_that_an_address_looks_like_an_option(program: Program, arguments: tuple[str, ...]) -> None:
    program.configure(25)
    said = "ucrmmail-sendmail: -oQ/tmp@example.com begins with a hyphen; it is taken as an address\n"
    assert program.sendmail(*arguments).stderr == said
    assert len(program.queue()) == 1


def test_nothing_at_all_is_no_message_for_enqueue_and_an_empty_text_for_sendmail(
    queue: Program, tmp_path: Path
) -> None:
    (tmp_path / "empty.eml").touch()
    for file in ("-", str(tmp_path / "empty.eml")):
        run = queue.run("enqueue", "--to", "joe@example.com", file, code=65)
        assert "is empty, not a message" in run.stderr
        assert run.stdout == ""
    assert queue.queue() == []
    queue.sendmail("joe@example.com", message=b"")
    assert "recipients" in queue.sendmail("-t", message=b"", code=67).stderr
    assert len(queue.queue()) == 1


@pytest.mark.requirement("R16")
def test_bcc_that_a_broken_header_would_give_away_is_refused_wherever_mail_comes_in(queue: Program) -> None:
    broken = b"From: billing@isp.example\nTo: joe@example.com\nno field\nBcc: eve@example.com\n\nhi\n"
    for run in (queue.run("enqueue", "-", stdin=broken, code=65), queue.sendmail("-t", message=broken, code=65)):
        assert "the line 'no field' is no field and ends the header, with Bcc in or below it" in run.stderr
    below = b"\nTo: joe@example.com\nBcc: eve@example.com\n\nhi\n"
    for run in (
        queue.run("enqueue", "--to", "joe@example.com", "-", stdin=below, code=65),
        queue.sendmail("-e", "q", "joe@example.com", message=below, code=65),
    ):
        assert "an empty line in front of the header ends it, with Bcc in or below it" in run.stderr
    assert queue.queue() == []


def test_the_json_of_enqueue(queue: Program, tmp_path: Path) -> None:
    (tmp_path / "good.eml").write_bytes(PLAIN)
    document = queue.run("enqueue", "--json", str(tmp_path / "good.eml"), "/nowhere", code=66).json
    assert document["schema_version"] == 1
    (queued,) = document["queued"]
    assert queued["file"] == str(tmp_path / "good.eml")
    assert is_queue_id(queued["queue_id"])
    (error,) = document["errors"]
    assert error["file"] == "/nowhere"
    assert os.strerror(errno.ENOENT) in error["error"]


def test_options_make_the_envelope(queue: Program) -> None:
    enqueue(queue, "--from", "<>", "--to", "Ann@Example.com", "--to", "root", "--priority", "urgent")
    (message,) = queue.queue()
    assert message["reverse_path"] == ""
    assert message["recipients"] == ["Ann@Example.com", "admin@isp.example"]
    assert message["priority"] == "urgent"


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["enqueue"], 2, "FILE... is missing"),
        (["enqueue", "--priority", "soon", "-"], 2, "urgent, normal, bulk"),
        (["enqueue", "--from", "not an address", "-"], 67, "not an address"),
        (["enqueue", "--to", "a@b\nRCPT TO:<x@y>", "-"], 2, "--to: 'a@b"),
        (["enqueue", "--from", "a@b.example\x9b", "-"], 2, "--from: 'a@b"),
        (
            ["enqueue", "--to", "joe@example.com", "--to", "a@b.example, c@d.example", "-"],
            67,
            "one --to for each address",
        ),
        (["queue", "list", "--state", "lost"], 2, "waiting, deferred, held, failed"),
        (["queue", "remove"], 2, "--all"),
        (["queue", "hold", UNKNOWN, "--all"], 2, "leave out"),
        (["queue", "show"], 2, "QUEUE_ID is missing"),
        (["queue", "show", UNKNOWN], 66, "is not in the queue"),
        (["queue", "list", UNKNOWN], 66, "is not in the queue"),
        (["queue", "remove", UNKNOWN], 66, "is not in the queue\n  remedy: see `ucrmmail queue list`"),
        (["queue", "retry", "../../etc/passwd"], 66, "../../etc/passwd is not"),
        (["queue", "show", "\x1b[31mred"], 66, "\\x1b[31mred"),
    ],
    ids=lambda value: " ".join(value).replace("\n", " ") if isinstance(value, list) else None,
)
def test_a_wrong_command_line_is_one_clear_error(queue: Program, arguments: list[str], code: int, says: str) -> None:
    run = queue.run(*arguments, stdin=PLAIN, code=code)
    assert says in run.stderr
    assert "\x1b" not in run.stderr
    assert queue.queue() == []


@pytest.mark.parametrize(
    ("name", "option", "remedy"),
    [("mailq", "-bp", "`ucrmmail queue list`"), ("newaliases", "-bi", "no alias database")],
)
def test_a_name_that_means_a_mode_is_refused_like_the_option(
    program: Program, name: str, option: str, remedy: str
) -> None:
    """Both had said "no recipients"."""
    link = program.home / name
    link.symlink_to(Path(sys.executable).with_name("ucrmmail-sendmail"))
    for arguments in ([], ["-v"], ["joe@example.com"]):
        run = subprocess.run([str(link), *arguments], input=b"", env=program.env, capture_output=True, check=False)
        assert (run.returncode, run.stdout) == (64, b"")
        assert run.stderr.decode().startswith(f"ucrmmail-sendmail: {name} is not for this program (")
        assert remedy in run.stderr.decode()
    assert program.sendmail(option, code=64).stderr == run.stderr.decode().replace(name, option)


@pytest.mark.requirement("R26")
def test_a_full_disk_accepts_nothing_and_says_so_once(queue: Program, tmp_path: Path) -> None:
    queue.configure(25, spool='min_free_space = "900000GB"')
    files = []
    for number in range(5):
        (tmp_path / f"{number}.eml").write_bytes(PLAIN)
        files.append(str(tmp_path / f"{number}.eml"))
    run = queue.run("enqueue", *files, code=75)
    assert run.stdout == ""
    assert run.stderr.count("remedy") == 1
    assert "0.eml and 4 more" in run.stderr
    document = queue.run("enqueue", "--json", *files, code=75).json
    assert [error["file"] for error in document["errors"]] == files
    assert queue.queue() == []


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("program_name", ["ucrmmail-sendmail", "ucrmmail"])
def test_a_spool_open_to_others_is_refused(queue: Program, program_name: str) -> None:
    enqueue(queue)
    queue.spool.chmod(0o777)
    arguments = ["-t"] if program_name == "ucrmmail-sendmail" else ["enqueue", "-"]
    run = queue.run(*arguments, program=program_name, stdin=PLAIN, code=77)
    assert "chmod 700" in run.stderr
    assert "chmod 700" in queue.run("queue", "list", code=77).stderr


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("place", ["spool", "spool/below"])
def test_a_spool_that_cannot_be_made_is_told_with_one_code_by_all(queue: Program, place: str) -> None:
    queue.spool.write_text("a file")
    queue.config.write_text(f'[spool]\ndirectory = "{queue.home / place}"\n[smtp]\nhost = "127.0.0.1"\n')
    enqueued = queue.run("enqueue", "-", stdin=PLAIN, code=73)
    submitted = queue.sendmail("-t", code=73)
    for run in (enqueued, submitted, queue.run("flush", code=73)):
        assert "the spool cannot be made" in run.stderr
        assert "spool.directory" in run.stderr
    assert enqueued.stdout == ""
    assert len(submitted.stderr.splitlines()) == 1


# --- queue -------------------------------------------------------------------------------------------------------------


def test_the_json_of_the_list_is_the_contract(queue: Program) -> None:
    ids = one_in_each_state(queue)
    messages = queue.queue()
    assert {message["state"]: message["queue_id"] for message in messages} == ids
    assert all(set(message) >= FIELDS for message in messages)
    deferred = next(message for message in messages if message["state"] == "deferred")
    assert (deferred["attempts"], deferred["reason"], deferred["priority"]) == (1, "said deferred", "normal")
    assert deferred["next_attempt_at"].endswith(".000Z")
    assert deferred["message_id"].startswith("<")
    assert deferred["accepted_at"][:16].replace("-", "").replace(":", "") == deferred["queue_id"][2:15]
    waiting = next(message for message in messages if message["state"] == "waiting")
    assert (waiting["attempts"], waiting["next_attempt_at"], waiting["reason"]) == (0, None, "")
    for state, queue_id in ids.items():
        assert [message["queue_id"] for message in queue.queue("--state", state)] == [queue_id]


def test_the_list_is_filtered(queue: Program) -> None:
    one = enqueue(queue, "--from", "a@one.example", "--to", "joe@example.com")
    two = enqueue(queue, "--from", "b@two.example", "--to", "ann@example.net", "--to", "bob@example.org")
    for arguments, expected in (
        (["--sender", "a@one.example"], [one]),
        (["--sender", "<B@TWO.example>"], [two]),
        (["--recipient", "@example.org"], [two]),
        (["--recipient", "example.org"], []),
        (["--sender", "@one.example", "--recipient", "joe@example.com"], [one]),
        ([two], [two]),
        ([two, one], [two, one]),
        ([], [one, two]),
    ):
        assert [message["queue_id"] for message in queue.queue(*arguments)] == expected


def test_an_international_domain_is_found_as_it_was_written(queue: Program) -> None:
    """The envelope has its A-label, which nobody types: ``queue hold`` had let such mail go, and said nothing."""
    queue_id = enqueue(queue, "--from", "billing@bücher.example", "--to", "joe@münchen.example")
    for asked in (
        ("--recipient", "@münchen.example"),
        ("--recipient", "<JOE@MÜNCHEN.example>"),
        ("--recipient", "@xn--mnchen-3ya.example"),
        ("--sender", "billing@bücher.example"),
    ):
        assert [message["queue_id"] for message in queue.queue(*asked)] == [queue_id]
    for asked in (("--recipient", "@münchen.example."), ("--recipient", "@\u200b.example"), ("--sender", "@münchen")):
        assert queue.queue(*asked) == []
    assert queue.run("queue", "hold", "--recipient", "@münchen.example").lines == ["1 message changed"]


def test_the_list_through_a_pipe_is_lines_of_fields(queue: Program) -> None:
    queue_id = enqueue(queue, "--to", "joe@example.com", "--to", "ann@example.com")
    header, line = queue.run("queue", "list").lines
    assert header.split("\t")[:2] == ["queue id", "state"]
    fields = line.split("\t")
    assert fields[:2] == [queue_id, "waiting"]
    assert "<joe@example.com> and 1 more" in fields


def test_a_message_is_shown_without_harm(queue: Program) -> None:
    queue_id = enqueue(
        queue,
        message=b"From: a@b.example\nTo: joe@example.com\nSubject: \xe9\x9b31m\nComments: \xe2\x80\xaeevil\n\nbody \x1b[31m\xff\n",
    )
    run = queue.run("queue", "show", queue_id)
    assert not set(run.stdout) & set("\x1b\x9b\u202e\udc9b")
    assert "\\xe9\\x9b31m" in run.stdout
    assert "evil" in run.stdout
    assert "body \\x1b[31m\\xff" in run.stdout
    assert "not tried yet" in run.stdout
    document = queue.run("queue", "show", queue_id, "--json").json
    assert document["outcomes"] == {
        "joe@example.com": {
            "outcome": "pending", "stage": "", "reply": "", "why": None, "remedy": None, "at": None,
            "uncertain": False, "reported": False,
        }
    }  # fmt: skip
    assert {"name": "To", "value": "joe@example.com"} in document["headers"]
    assert document["body_lines"][0].startswith("body ")


@pytest.mark.requirement("R8")
def test_what_became_of_each_recipient_is_shown(queue: Program) -> None:
    ids = one_in_each_state(queue)
    assert "failed" in queue.run("queue", "show", ids["failed"]).stdout
    shown = queue.run("queue", "show", ids["deferred"]).stdout
    assert "said deferred" in shown
    assert "next:" in shown
    assert "attempts:  1" in shown


@pytest.mark.requirement("R8")
def test_hold_release_retry_remove(queue: Program) -> None:
    ids = one_in_each_state(queue)
    spool = str(queue.spool)
    assert queue.run("queue", "hold", ids["waiting"]).lines == [f"{ids['waiting']} is held"]
    assert queue.run("queue", "hold", ids["waiting"]).lines == [f"{ids['waiting']} is already held"]
    assert queue.run("queue", "release", "--all").lines == ["2 messages changed"]
    assert place_of(spool, ids["held"]) == "queue"
    changed = queue.run("queue", "retry", "--all", "--yes", "--json").json["changed"]
    assert changed == [
        {"queue_id": ids["deferred"], "before": "deferred", "after": "waiting"},
        {"queue_id": ids["failed"], "before": "failed", "after": "waiting"},
    ]
    assert {message["state"] for message in queue.queue()} == {"waiting"}
    assert queue.run("queue", "hold", "--state", "deferred").lines == ["0 messages changed"]
    assert queue.run("queue", "remove", ids["failed"]).lines == [f"{ids['failed']} is removed"]
    run = queue.run("queue", "remove", ids["failed"], ids["held"], code=66)
    assert run.lines == [f"{ids['held']} is removed"]
    assert "is not in the queue" in run.stderr
    assert len(queue.queue()) == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_changed_before_the_disk_refused_is_told(queue: Program, *, as_json: bool) -> None:
    enqueue(queue)
    ids = [put(str(queue.spool), now=NOW + 3600 * number) for number in range(2)]
    queue.run("queue", "hold", *ids)
    (queue.spool / "queue" / bucket_of(ids[1])).touch()
    run = queue.run("queue", "release", *ids, *(["--json"] if as_json else []), code=74)
    if as_json:
        assert run.json["changed"] == [{"queue_id": ids[0], "before": "held", "after": "waiting"}]
    else:
        assert run.lines == [f"{ids[0]} is waiting"]
    assert "Not a directory" in run.stderr
    assert place_of(str(queue.spool), ids[1]) == "held"


@pytest.mark.requirement("R8")
def test_removing_many_wants_a_yes(queue: Program) -> None:
    one_in_each_state(queue)
    run = queue.run("queue", "remove", "--all", code=2)
    assert "--yes" in run.stderr
    assert len(queue.queue()) == 4
    assert queue.run("queue", "remove", "--state", "failed", "--yes").lines == ["1 message changed"]
    assert queue.run("queue", "remove", "--all", "--yes").lines == ["3 messages changed"]
    assert queue.queue() == []


@pytest.mark.requirement("R8")
def test_messages_are_chosen_by_sender_and_recipient(queue: Program) -> None:
    shop = enqueue(queue, "--from", "orders@shop.example", "--to", "ann@example.com", "--to", "bob@example.org")
    other = enqueue(queue, "--from", "office@isp.example", "--to", "ann@example.com")
    bounce = enqueue(queue, "--from", "<>", "--to", "bob@example.org")

    def held() -> set[str]:
        return {message["queue_id"] for message in queue.queue("--state", "held")}

    queue.run("queue", "hold", "--sender", "@SHOP.example")
    assert held() == {shop}
    queue.run("queue", "hold", "--recipient", "<Ann@example.com>")
    assert held() == {shop, other}
    queue.run("queue", "hold", "--sender", "<>", "--recipient", "bob@example.org")
    assert held() == {shop, other, bounce}
    # Filters hold together, and with the state.
    assert queue.run("queue", "release", "--sender", "<>", "--recipient", "ann@example.com").lines == [
        "0 messages changed"
    ]
    assert queue.run("queue", "release", "--all", "--sender", "@shop.example").lines == ["1 message changed"]
    assert held() == {other, bounce}
    assert queue.run("queue", "remove", "--state", "waiting", "--sender", "<>", "--yes").lines == ["0 messages changed"]
    assert queue.run("queue", "retry", "--recipient", "@example.com").lines == ["0 messages changed"]
    # What somebody else waits for is not taken from him.
    run = queue.run("queue", "remove", "--recipient", "@example.com", code=2)
    assert "this removes 1 messages" in run.stderr
    assert "left where they are: 1, which others wait for" in run.stderr
    assert queue.run("queue", "remove", "--recipient", "@example.com", "--yes").lines == ["1 message changed"]
    assert {message["queue_id"] for message in queue.queue()} == {shop, bounce}
    assert "leave out one" in queue.run("queue", "remove", bounce, "--sender", "@x.example", code=2).stderr


@pytest.mark.requirement("R7", "R8")
def test_a_recipient_who_has_the_message_is_none_that_it_goes_to(queue: Program) -> None:
    queue_id = enqueue(queue, "--to", "ann@example.com", "--to", "bob@example.org")
    spool = Spool(str(queue.spool))
    claimed = claim(spool, queue_id)
    ann, bob = claimed.state.recipients
    later = replace(bob, result="deferred", reply="450 later")
    spool.settle(
        claimed, replace(claimed.state, recipients=(replace(ann, result="relayed"), later), next_attempt_at=9e9)
    )
    spool.finish()
    for command in (("hold",), ("retry",), ("remove", "--yes")):
        run = queue.run("queue", *command, "--recipient", "ann@example.com")
        assert (run.lines, run.stderr) == (["0 messages changed"], "")
    # A list shows whom it was for.
    assert [each["queue_id"] for each in queue.queue("--recipient", "ann@example.com")] == [queue_id]
    assert queue.run("queue", "remove", "--recipient", "bob@example.org", "--yes").lines == ["1 message changed"]
    assert queue.queue() == []


@pytest.mark.requirement("R7", "R8")
@pytest.mark.parametrize(("reported", "left"), [(True, 0), (False, 1)], ids=["reported", "to be reported"])
def test_who_has_failed_and_was_reported_waits_for_nothing(queue: Program, *, reported: bool, left: int) -> None:
    enqueue(queue, "--to", "ann@example.com", "--to", "bob@example.org", "--to", "eve@example.net")
    spool = Spool(str(queue.spool))
    claimed = claim(spool, queue.queue()[0]["queue_id"])
    first, second, third = claimed.state.recipients
    recipients = (
        replace(first, result="relayed", reply="250 ok"),
        replace(second, result="failed", reply="550 5.1.1 no", reported=reported),
        replace(third, result="deferred", reply="450 later"),
    )
    spool.settle(claimed, replace(claimed.state, recipients=recipients, next_attempt_at=9e9))
    spool.finish()
    # Eve waits for it.
    run = queue.run("queue", "remove", "--recipient", "bob@example.org", "--yes")
    assert run.lines == ["0 messages changed"]
    assert "left where they are: 1, which others wait for" in run.stderr
    run = queue.run("queue", "remove", "--recipient", "eve@example.net", "--yes")
    assert run.stderr.count("left where they are") == left
    assert len(queue.queue()) == left


@pytest.mark.requirement("R8")
def test_a_failed_message_is_removed_by_each_who_is_asked_for(queue: Program) -> None:
    enqueue(queue, "--to", "ann@example.com", "--to", "bob@example.org")
    spool = Spool(str(queue.spool))
    claimed = claim(spool, queue.queue()[0]["queue_id"])
    recipients = tuple(replace(one, result="failed", reply="550 no", reported=True) for one in claimed.state.recipients)
    spool.settle(claimed, replace(claimed.state, recipients=recipients))
    spool.finish()
    assert queue.run("queue", "remove", "--recipient", "ann@example.com", "--yes").lines == ["1 message changed"]
    assert queue.queue() == []


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 130, 1), (b"y\n", 0, 0)])
def test_on_a_terminal_removing_many_asks(queue: Program, answer: bytes, code: int, left: int) -> None:
    enqueue(queue)
    terminal, theirs = pty.openpty()
    try:
        command = subprocess.Popen(
            queue.command("queue", "remove", "--all"),
            stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=queue.env,
        )  # fmt: skip
        os.write(terminal, answer)
        _, stderr = command.communicate(timeout=30)
    finally:
        os.close(terminal)
        os.close(theirs)
    assert b"Remove 1 messages for good?" in stderr
    assert command.returncode == code
    assert len(queue.queue()) == left


def test_a_message_on_the_wire_is_left_alone(queue: Program) -> None:
    queue_id = enqueue(queue)
    claimed = claim(Spool(str(queue.spool)), queue_id)
    for command in ("hold", "remove"):
        run = queue.run("queue", command, queue_id, code=75)
        assert "is being sent at this moment" in run.stderr
    assert queue.run("queue", "hold", "--all", "--json", code=75).json["errors"] == [
        {"queue_id": queue_id, "error": "is being sent at this moment"}
    ]
    claimed.close()
    queue.run("queue", "remove", queue_id)


def test_commands_work_on_a_spool_that_was_never_used(queue: Program) -> None:
    assert queue.queue() == []
    assert queue.run("queue", "hold", "--all").lines == ["0 messages changed"]
    assert not queue.spool.exists()


def test_a_queue_is_read_with_a_configuration_that_a_flush_would_refuse(queue: Program) -> None:
    enqueue(queue)
    queue.configure(25, dns='domains = "wrong type"')
    assert len(queue.queue()) == 1


def test_a_retried_message_is_sent_at_once(queue: Program) -> None:
    ids = one_in_each_state(queue)
    queue.run("queue", "retry", ids["deferred"])
    spool = Spool(str(queue.spool))
    spool.promote_due(time.time(), MAX_DELAY_S)
    assert ids["deferred"] in list(spool.due())


def test_mail_is_not_put_into_another_queue_because_the_configuration_was_misnamed(program: Program) -> None:
    for command in (
        ("enqueue", "--to", "joe@example.com", "-"),
        ("--config", f"{program.config}.typo", "enqueue", "-"),
    ):
        if command[0] == "enqueue":
            program.env["UCRMMAIL_CONFIG"] = f"{program.config}.typo"
        run = program.run(*command, stdin="Subject: x\n\nhi\n", code=78)
        assert "there is no such configuration file" in run.stderr
        assert run.stdout == ""
    assert program.sendmail("-t", code=78).stderr.count("config.toml.typo") == 1


def test_no_other_queue_is_shown_or_changed_because_the_configuration_was_misnamed(program: Program) -> None:
    for command in (("status",), ("queue", "list"), ("queue", "remove", "--all", "--yes"), ("queue", "hold", "--all")):
        run = program.run("--config", f"{program.config}.typo", *command, code=78)
        assert "config.toml.typo: there is no such configuration file" in run.stderr
        assert run.stdout == ""


def test_no_other_queue_is_sent_because_the_configuration_has_gone(program: Program, sink: Sink) -> None:
    """Cron must hear of it: the mail of the right queue would wait in silence, and dropped files be rejected."""
    program.configure(sink.port)
    program.run("flush")
    program.sendmail("-t")
    program.env["UCRMMAIL_CONFIG"] = str(program.config)
    program.config.rename(f"{program.config}.away")
    for arguments in ((), ("--time-limit", "50s"), ("-v",), ("--dry-run",)):
        run = program.run("flush", *arguments, code=78)
        assert "config.toml: there is no such configuration file" in run.stderr
        assert run.stdout == ""
    assert program.run("flush", "--json", code=78).json["error"]["what"].endswith("no such configuration file")
    assert sink.messages == []


def test_what_keeps_a_command_from_its_document_is_a_document(program: Program) -> None:
    program.configure(25)
    program.sendmail("-t")
    (program.spool).chmod(0o777)
    for command in (("queue", "list"), ("queue", "show", "1-20261123T110559.123456-k3x9qa"), ("status",), ("flush",)):
        error = program.run(*command, "--json", code=77).json["error"]
        assert "is open to other users" in error["what"]
        assert error["remedy"] == f"run `chmod 700 {program.spool}`"


def test_a_place_of_the_spool_that_belongs_to_another_names_the_way_to_take_it_back(program: Program) -> None:
    program.configure(25)
    program.sendmail("-t")
    os.chown(program.spool / "queue", 12345, -1)
    run = program.run("flush", code=77)
    assert "belongs to uid 12345" in run.stderr
    assert f"chown {os.geteuid()} {program.spool}/queue" in run.stderr


def test_a_message_that_has_failed_cannot_be_held_or_released_and_is_told_so_in_one_line(queue: Program) -> None:
    ids = one_in_each_state(queue)
    run = queue.run("queue", "retry", ids["held"], code=1)
    assert (
        run.stderr == f"ucrmmail: {ids['held']} is held and cannot be tried: `ucrmmail queue release` lets it be sent\n"
    )
    for command, done in (("hold", "held"), ("release", "released")):
        run = queue.run("queue", command, ids["failed"], code=1)
        assert run.stdout == ""
        (line,) = run.stderr.splitlines()
        assert line == (
            f"ucrmmail: {ids['failed']} has failed and cannot be {done}: `ucrmmail queue retry` tries it again, "
            "`ucrmmail queue remove` removes it"
        )
    assert place_of(str(queue.spool), ids["failed"]) == "failed"
    document = queue.run("queue", "hold", ids["failed"], ids["waiting"], "--json", code=1).json
    assert document["changed"] == [{"queue_id": ids["waiting"], "before": "waiting", "after": "held"}]
    assert [error["queue_id"] for error in document["errors"]] == [ids["failed"]]
    # What is not there at all is the greater mistake.
    run = queue.run("queue", "hold", ids["failed"], UNKNOWN, code=66)
    assert "is not in the queue" in run.stderr
    assert queue.run("queue", "hold", "--all").code == 0


@pytest.mark.requirement("S15")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_spool_of_another_user_is_refused_whatever_is_in_it(queue: Program) -> None:
    """By a run that has nothing to send as well: root's crontab would take the queue over with its first message."""
    queue.run("flush")
    assert queue.run("flush").code == 0
    os.chown(queue.spool, 12345, -1)
    for command in (("flush",), ("flush", "--json"), ("flush", "-v"), ("queue", "list"), ("queue", "list", "--json")):
        run = queue.run(*command, code=77)
        assert run.stderr.startswith(f"ucrmmail: the spool {queue.spool} belongs to uid 12345, not to 0\n")
        # No heading stands over a list that could not be read.
        assert "queue id" not in run.stdout
    os.chown(queue.spool, 0, -1)
    queue.spool.chmod(0o777)
    assert "is open to other users" in queue.run("flush", code=77).stderr


@pytest.mark.parametrize("name", ["directroy", "max_mesage_size"])
def test_mail_is_not_put_into_another_queue_because_a_key_was_misspelt(program: Program, name: str) -> None:
    program.config.write_text(f'[spool]\n{name} = "{program.spool}"\n')
    program.config.chmod(0o600)
    says = f"config.toml:2: spool.{name}: there is no such key; did you mean spool."
    assert says in program.run("enqueue", "--to", "joe@example.com", "-", stdin=PLAIN, code=78).stderr
    (line,) = program.sendmail("joe@example.com", code=78).stderr.splitlines()
    assert says in line
    assert "ucrmmail config edit" in line
    assert says in program.run("flush", code=78).stderr
    assert [path.name for path in program.home.rglob("*")] == ["config.toml"]


def test_status_keeps_what_a_run_did_apart_from_those_behind_it_that_had_nothing_to_do(
    program: Program, sink: Sink
) -> None:
    """It had been shown as if each of them had sent it again."""
    program.configure(sink.port)
    program.sendmail("-t")
    program.run("flush")
    sent = program.run("status", "--json").json["last_flush"]
    assert sent["at"] == sent["ended_at"]
    assert f"last flush: {sent['at']}: 1 relayed\n" in program.run("status").stdout
    program.run("flush")
    looked = program.run("status", "--json").json["last_flush"]
    assert looked["at"] > sent["at"]
    assert {**looked, "at": ""} == {**sent, "at": ""}
    shown = program.run("status").stdout
    assert shown.endswith(f"last flush: {looked['at']}: nothing was due\n  before:   {sent['at']}: 1 relayed\n")


def test_status_tells_of_what_was_dropped_and_is_not_accepted_yet(queue: Program) -> None:
    queue.run("flush")
    assert "dropped" not in queue.run("status").stdout
    assert queue.run("status", "--json").json["dropped"] == 0
    (queue.spool / "drop" / "now.eml").write_bytes(PLAIN)
    (queue.spool / "drop" / ".hidden").write_bytes(PLAIN)
    # Taken by a run that had no room to accept it.
    (queue.spool / "tmp" / "1-20261126T101500.000000-aaaaaa.eml").write_bytes(PLAIN)
    assert "dropped:    2 in drop/, for the next flush to take" in queue.run("status").lines
    assert queue.run("status", "--json").json["dropped"] == 2
