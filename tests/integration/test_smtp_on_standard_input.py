"""``sendmail -bs``: applications that speak SMTP to a program, from their first command to the server that gets the mail."""

from __future__ import annotations

import os
import re
import resource
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.faults import dies_at
from tests.support.program import Program, Run, killed_at_last
from tests.support.runs import Say, recovered
from tests.support.sink import Sink
from tests.support.spools import claim, content, new_spool
from tests.support.submission import submit
from ucrmmail.message.prepare import Addresses
from ucrmmail.sendmail import speak_smtp

ENVELOPE = b"MAIL FROM:<app@isp.example>\r\nRCPT TO:<joe@example.com>\r\n"
HEADER = (
    b"From: app@isp.example\r\nTo: joe@example.com\r\nDate: Fri, 27 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@isp.example>\r\nSubject: x\r\n\r\n"
)
SECOND = b"MAIL FROM:<eve@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhi\r\n"


@pytest.fixture
def ready(program: Program) -> Program:
    program.configure(25)
    return program


class Client(smtplib.SMTP):
    """Python's own client at the other end of the standard input and output of a program."""

    def __init__(self, program: Program, *options: str) -> None:
        self.end, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                program.command("-bs", *options, program="ucrmmail-sendmail"),
                stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE, env=program.env, cwd=program.home,
            )  # fmt: skip
        super().__init__("localhost", 25, local_hostname="[127.0.0.1]")

    def _get_socket(self, *_: object) -> socket.socket:
        return self.end

    def gone(self) -> tuple[int, bytes]:
        """Return how the program ended, and what it said on standard error."""
        _nothing, said = self.process.communicate()
        return self.process.returncode, said


@contextmanager
def client(program: Program, *options: str) -> Iterator[Client]:
    found = Client(program, *options)
    with killed_at_last(found.process):
        yield found
        found.end.close()


def session(program: Program, said: bytes, code: int = 0, *options: str) -> Run:
    return program.run("-bs", *options, program="ucrmmail-sendmail", stdin=said, code=code)


def doubled(text: bytes, line_end: bytes = b"\r\n") -> bytes:
    """Return a text as a client writes it that doubles the dots behind its own line ends, with the end behind it."""
    text = (line_end + text).replace(line_end + b".", line_end + b"..").removeprefix(line_end)
    return text + (b"" if text.endswith(line_end) else line_end) + b"." + line_end


def queued(program: Program) -> list[bytes]:
    """Return the queued messages, the oldest first: what stands behind the envelope."""
    paths = sorted((program.spool / "queue").glob("*/*"), key=lambda path: path.name)
    return [path.read_bytes().split(b"\n\n", 1)[1] for path in paths]


# --- from the application to the server ---------------------------------------------------------------------------------


def test_an_application_sends_several_messages_and_they_arrive(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    with client(program, "-i") as app:
        app.ehlo()
        assert app.has_extn("8bitmime")
        assert app.has_extn("pipelining")
        app.sendmail("app@isp.example", ["joe@example.com", "root"], HEADER + b".\r\n..\r\n.x\r\nM\xc3\xbcnchen\r\n")
        app.sendmail("", ["ann@example.com"], HEADER.replace(b"Subject", b"Bcc: unseen@example.com\r\nSubject") + b"2")
        app.noop()
        app.sendmail("app@isp.example", ["bob@example.com"], HEADER + b"a line of a large message\r\n" * 120_000)
        assert app.quit() == (221, b"2.0.0 bye")
        assert app.gone() == (0, b"")
    program.run("flush")
    sent = {message.recipients[0]: message for message in sink.messages}
    assert set(sent) == {"joe@example.com", "ann@example.com", "bob@example.com"}
    joe, ann, bob = sent["joe@example.com"], sent["ann@example.com"], sent["bob@example.com"]
    assert (joe.reverse_path, joe.recipients) == ("app@isp.example", ["joe@example.com", "admin@isp.example"])
    assert joe.content.endswith(b"\r\n\r\n.\r\n..\r\n.x\r\nM\xc3\xbcnchen\r\n")
    assert (ann.reverse_path, ann.recipients) == ("", ["ann@example.com"])
    assert b"unseen" not in ann.content
    assert bob.content.endswith(b"\r\n\r\n" + b"a line of a large message\r\n" * 120_000)


def test_the_reply_names_the_queue_id_when_the_message_is_in_the_queue(ready: Program) -> None:
    run = session(ready, ENVELOPE + b"DATA\r\n" + doubled(HEADER + b"hi") + b"QUIT\r\n")
    (entry,) = ready.queue()
    assert run.lines[-2:] == [f"250 2.0.0 Ok: queued as {entry['queue_id']}", "221 2.0.0 bye"]
    assert entry["reverse_path"] == "app@isp.example"


def test_an_address_outside_ascii_asks_for_smtputf8(ready: Program) -> None:
    session(ready, "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<jörg@example.com>\r\nDATA\r\nhi\r\n.\r\n".encode())
    (path,) = (ready.spool / "queue").glob("*/*")
    assert "\nto jörg@example.com\nflags utf8\n".encode() in path.read_bytes()


def test_a_person_who_types_has_line_feeds(ready: Program) -> None:
    run = session(ready, b"mail from:<>\nrcpt to: root\ndata\nSubject: typed\n\n..hi\n.\nquit\n")
    assert [line[:3] for line in run.lines] == ["220", "250", "250", "354", "250", "221"]
    (message,) = queued(ready)
    assert message.endswith(b"Subject: typed\r\n\r\n.hi\r\n")


def test_options_of_the_ordinary_way_mean_nothing(ready: Program) -> None:
    run = session(ready, b"QUIT\r\n", 0, "-i", "-f", "nobody@isp.example", "-F", "Nobody")
    assert [line[:3] for line in run.lines] == ["220", "221"]


@pytest.mark.parametrize("others", [["-t"], ["joe@example.com"], ["-t", "-i", "--", "joe@example.com"]])
def test_recipients_come_from_the_session_alone(ready: Program, others: list[str]) -> None:
    run = session(ready, ENVELOPE, 64, *others)
    assert run.stdout == ""
    assert "-bs takes its recipients from RCPT" in run.stderr


# --- the end of a message ------------------------------------------------------------------------------------------------

_ENDS = [b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"\0", b"\r\0\n"]
AROUND_A_DOT = [HEADER + b"a" + before + b"." + behind + SECOND for before in _ENDS for behind in _ENDS]
ADDRESSES = Addresses(sender="billing@isp.example", notification="admin@isp.example")


@pytest.mark.requirement("R16", "S1")
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_no_pair_of_line_ends_around_a_dot_makes_two_messages_of_one(ready: Program, line_end: bytes) -> None:
    """And each is what the ordinary way takes from the same text."""
    texts = [text if text.endswith(line_end) else text + line_end for text in AROUND_A_DOT]
    envelope = (ENVELOPE + b"DATA\r\n").replace(b"\r\n", line_end)
    run = session(ready, b"".join(envelope + doubled(text, line_end) for text in texts) + b"QUIT" + line_end)
    assert [line[:3] for line in run.lines] == ["220", *["250", "250", "354", "250"] * len(texts), "221"]
    ids = [line.rpartition(" ")[2] for line in run.lines if "queued as" in line]
    found = {path.name: path.read_bytes().split(b"\n\n", 1)[1] for path in (ready.spool / "queue").glob("*/*")}
    expected = [submit(text, reverse_path="app@isp.example", addresses=ADDRESSES).message for text in texts]
    assert [found[queue_id] for queue_id in ids] == expected
    assert len(found) == len(texts)


@pytest.mark.parametrize("text", [b"", b"hi\r\n", b"hi\n.\n", b"x" * 2_000_000 + b"\r\n", b"hi\r\n.\r"])
def test_a_message_that_is_cut_off_is_not_accepted(ready: Program, text: bytes) -> None:
    run = session(ready, ENVELOPE + b"DATA\r\n" + text, 65)
    assert run.lines[-1].startswith("421 4.5.0 the input ended before the message did")
    assert "the input ended before the message did" in run.stderr
    assert ready.queue() == []
    assert list((ready.spool / "tmp").glob("*")) == []


@pytest.mark.requirement("R16", "S1")
def test_a_script_that_waits_for_no_answer_has_no_text_taken_for_commands(ready: Program) -> None:
    run = session(
        ready, b"MAIL FROM:<app@isp.example>\nRCPT TO:<joe@>\nDATA\n" + SECOND.replace(b"\r\n", b"\n") + b".\n", 65
    )
    assert [line[:3] for line in run.lines] == ["220", "250", "553", "554", "421"]
    assert ready.queue() == []


def test_a_message_without_smtp_is_not_taken_for_accepted(ready: Program) -> None:
    """As where sendmail_path of PHP, which writes messages, was given -bs."""
    run = session(ready, b"To: joe@example.com\nSubject: x\n\nhi\n", 65)
    assert "the input ended behind commands that were wrong" in run.stderr
    assert ready.queue() == []


def test_an_application_that_ends_between_two_messages_is_no_error(ready: Program) -> None:
    with client(ready) as app:
        app.sendmail("app@isp.example", ["joe@example.com"], HEADER)
        app.mail("app@isp.example")
        app.close()
        assert app.gone() == (0, b"")
    assert len(ready.queue()) == 1


# --- what goes wrong -----------------------------------------------------------------------------------------------------


def test_a_broken_configuration_is_the_greeting(ready: Program) -> None:
    ready.config.write_text("[addresses]\nsender = 'nobody'\n")
    run = session(ready, ENVELOPE, 78)
    (line,) = run.lines
    assert re.match(r"421 4\.3\.5 .*config\.toml: addresses\.sender: ", line)
    assert line.partition("config.toml")[2] == run.stderr.strip().partition("config.toml")[2]


def test_a_configuration_that_changes_holds_from_the_next_message_on(ready: Program) -> None:
    whole = ready.config.read_text()
    with client(ready) as app:
        app.sendmail("a@isp.example", ["root"], HEADER)
        ready.config.write_text("[spool")
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            app.sendmail("a@isp.example", ["root"], HEADER)
        assert caught.value.smtp_code == 451
        ready.config.write_text(whole.replace("admin@", "boss@"))
        app.sendmail("a@isp.example", ["root"], HEADER)
        app.quit()
        assert app.gone() == (0, b"")
    assert [entry["recipients"] for entry in ready.queue()] == [["admin@isp.example"], ["boss@isp.example"]]


def test_a_full_disk_is_told_and_later_mail_is_accepted(ready: Program) -> None:
    whole = ready.config.read_text()
    with client(ready) as app:
        for size in (10, 2_000_000):
            ready.config.write_text(whole + 'min_free_space = "900000000GB"\n')
            with pytest.raises(smtplib.SMTPDataError, match=r"452.*4\.3\.1 .* free: the message was not accepted"):
                app.sendmail("a@isp.example", ["joe@example.com"], HEADER + b"x\r\n" * size)
            ready.config.write_text(whole)
            app.sendmail("a@isp.example", ["joe@example.com"], HEADER + b"x\r\n" * size)
        app.quit()
    assert len(ready.queue()) == 2


def test_a_message_that_is_too_large_is_refused_before_and_after_it_came(ready: Program) -> None:
    ready.config.write_text(ready.config.read_text() + 'max_message_size = "3MB"\n')
    large = HEADER + b"a line of a large message\r\n" * 120_000
    with client(ready) as app:
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            app.sendmail("a@isp.example", ["joe@example.com"], large)
        assert (caught.value.smtp_code, caught.value.smtp_error) == (552, b"5.3.4 the limit is 3MB")
        app.mail("a@isp.example")
        app.rcpt("joe@example.com")
        code, told = app.data(large)
        assert (code, told.partition(b" (")[0]) == (552, b"5.3.4 the message is larger than 3MB")
        app.sendmail("a@isp.example", ["joe@example.com"], HEADER)
        app.quit()
    assert len(ready.queue()) == 1


def test_a_message_that_cannot_be_sent_is_refused_for_good(ready: Program) -> None:
    run = session(ready, ENVELOPE + b"DATA\r\nSubject: a\x01b\r\n\r\nhi\r\n.\r\nQUIT\r\n")
    assert run.lines[-2].startswith("554 5.6.0 ")
    assert ready.queue() == []


def test_a_session_that_runs_out_of_memory_says_so(ready: Program) -> None:
    # What measures the coverage has no memory left either, and says more.
    ready.env = {name: value for name, value in ready.env.items() if not name.startswith("COVERAGE_")}
    with client(ready) as app:
        app.mail("a@isp.example")
        status = Path(f"/proc/{app.process.pid}/status").read_text()
        (size_kib,) = re.findall(r"VmSize:\s+(\d+) kB", status)
        most_bytes = int(size_kib) * 1024 + (1 << 20)
        resource.prlimit(app.process.pid, resource.RLIMIT_AS, (most_bytes, most_bytes))
        # The memory may be missing for reading the next command, too.
        with suppress(smtplib.SMTPServerDisconnected):
            while app.rcpt("x" * 60 + "@example.com")[0] == 250:
                pass
        assert app.gone() == (75, b"ucrmmail-sendmail: the message was not accepted: out of memory\n")
    assert ready.queue() == []


def test_many_large_messages_leave_nothing_open(ready: Program) -> None:
    large = HEADER + b"a line of a large message\r\n" * 60_000
    with client(ready) as app:
        found = []
        for _ in range(3):
            app.sendmail("a@isp.example", ["joe@example.com"], large)
            found.append(len(os.listdir(f"/proc/{app.process.pid}/fd")))
        app.quit()
    assert found == [found[0]] * 3
    assert len(ready.queue()) == 3


# --- the streams ---------------------------------------------------------------------------------------------------------


def test_a_reader_that_has_gone_ends_the_session_before_anything_is_accepted(ready: Program) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = ready.command("-bs", program="ucrmmail-sendmail")
    done = subprocess.run(
        command,
        input=ENVELOPE + b"DATA\r\nhi\r\n.\r\n",
        stdout=writer,
        stderr=subprocess.PIPE,
        env=ready.env,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (
        74, b"ucrmmail-sendmail: standard output: Broken pipe (read all replies)\n",
    )  # fmt: skip
    assert ready.queue() == []


def test_a_connection_of_the_network_is_refused(ready: Program) -> None:
    """As an inetd.conf of old has it, with a link of ours where sendmail was: an open relay."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        theirs, _address = server.accept()
        with theirs:
            peer.sendall(ENVELOPE + b"DATA\r\nhi\r\n.\r\nQUIT\r\n")
            done = subprocess.run(
                ready.command("-bs", program="ucrmmail-sendmail"),
                stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE, env=ready.env, check=False,
            )  # fmt: skip
    assert done.returncode == 77
    assert b"standard input is a connection of the network" in done.stderr
    assert ready.queue() == []


def test_an_answer_that_nobody_reads_is_no_reason_to_submit_again(ready: Program) -> None:
    with client(ready) as app:
        app.helo()
        app.mail("a@isp.example")
        app.rcpt("joe@example.com")
        app.docmd("DATA")
        # The other end can be written to, and no more be read from.
        app.end.shutdown(socket.SHUT_RD)
        app.send(doubled(HEADER))
        code, said = app.gone()
    (entry,) = ready.queue()
    assert code == 74
    assert said.decode() == (
        f"ucrmmail-sendmail: the message was queued as {entry['queue_id']}, but standard output: Broken pipe "
        "(do not submit it again)\n"
    )


@pytest.mark.parametrize(("redirection", "code"), [("<&-", 74), ("> /dev/full", 74), (">&-", 0), ("2>&-", 0)])
def test_streams_that_are_closed_or_full_leave_no_trace_of_a_fault(ready: Program, redirection: str, code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *ready.command("-bs", program="ucrmmail-sendmail")],
        input=ENVELOPE + b"DATA\r\nhi\r\n.\r\nQUIT\r\n", env=ready.env, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert len(ready.queue()) == (code == 0)


# --- kills ---------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R5", "R6")
@pytest.mark.parametrize("body", [b"hi\r\n", b"a line of a large message\r\n" * 60_000], ids=["small", "large"])
def test_a_session_killed_at_any_step_has_queued_what_it_said_yes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    said = tmp_path / "said"
    said.write_bytes((ENVELOPE + b"DATA\r\n" + doubled(HEADER + body)) * 2 + b"QUIT\r\n")
    config = tmp_path / "config.toml"
    monkeypatch.setenv("UCRMMAIL_CONFIG", str(config))
    step, died = 0, True
    while died:
        step += 1
        room = tmp_path / str(step)
        room.mkdir()
        directory = new_spool(room)
        config.write_text(f'[spool]\ndirectory = "{directory}"\nmin_free_space = 0\n')
        config.chmod(0o600)

        def work(say: Say, room: Path = room) -> None:
            replies = os.open(room / "replies", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
            speak_smtp(os.open(said, os.O_RDONLY | os.O_CLOEXEC), replies)
            say("done")

        died, _said = dies_at(step, work)
        replies = (room / "replies").read_text() if (room / "replies").exists() else ""
        told = re.findall("^250 2.0.0 Ok: queued as (.*)$", replies, re.MULTILINE)
        spool = recovered(directory)
        found = list(spool.due())
        assert all(content(claim(spool, queue_id)).endswith(HEADER + body) for queue_id in found), f"step {step}"
        assert set(told) <= set(found), f"step {step}"
        assert len(found) <= len(told) + 1, f"step {step}"
        assert os.listdir(f"{directory}/tmp") == [], f"step {step}"
    assert len(found) == 2
    assert step > 20
