"""The session with a queue that is a list: which replies come, and what is handed to the queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scratch import cut
from ucrmmail.errors import (
    CannotCreateError,
    ConfigError,
    DataError,
    InputOutputError,
    NoRoomError,
    NoUserError,
    PermissionDeniedError,
    TemporaryError,
    UcrmmailError,
)
from ucrmmail.message.envelope import Addresses
from ucrmmail.smtpd.lines import CutOffError, Lines
from ucrmmail.smtpd.session import Session

BEGIN = "MAIL FROM:<app@isp.example>\r\nRCPT TO:<joe@example.com>\r\nDATA\r\n"
MESSAGE = BEGIN + "Subject: x\r\n\r\nhi\r\n.\r\n"


@dataclass
class Queue:
    """Keeps what it is given; ``refuses`` is raised instead, once the message is read."""

    addresses: Addresses = field(default_factory=lambda: Addresses(notification="admin@isp.example"))
    max_message_size: int = 1000
    refuses: Exception | None = None
    accepted: list[tuple[str | None, list[str], bytes]] = field(default_factory=list)

    def accept(self, pieces: Iterable[bytes], *, reverse_path: str | None, recipients: Sequence[str]) -> str:
        if self.refuses:
            raise self.refuses
        self.accepted.append((reverse_path, list(recipients), b"".join(pieces)))
        return f"1-{len(self.accepted)}"


@dataclass
class Dialogue:
    """One session: what the client said, and what came back."""

    queue: Queue = field(default_factory=Queue)
    said: list[str] = field(default_factory=list)
    opened: int = 0
    ended_by: Exception | None = None
    mute_after: int = 1000
    broken: UcrmmailError | None = None
    breaks_at: int = 0

    def write(self, reply: bytes) -> None:
        if len(self.said) >= self.mute_after:
            raise InputOutputError("standard output: Broken pipe", remedy="read all replies")
        self.said += reply.decode("ascii").splitlines()

    def open(self) -> Queue:
        self.opened += 1
        if self.broken and self.opened > self.breaks_at:
            raise self.broken
        return self.queue

    def with_client(self, text: str | bytes, piece_bytes: int = 0) -> list[str]:
        """Return the codes of the replies behind the greeting.

        The client writes pieces of this size, whatever is answered, or (0) waits behind each line.
        """
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        pieces = cut(raw, piece_bytes) if piece_bytes else iter(raw.splitlines(keepends=True))
        try:
            Session(Lines(lambda: next(pieces, b"")), self.write, self.open, host="web-1").run()
        except Exception as error:  # noqa: BLE001 # the tests look at it
            self.ended_by = error
        return [line.split(" ")[0] for line in self.said[1:] if line[3] == " "]


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 10_000])
def test_messages_follow_one_another_however_the_pipe_cuts_them(piece_bytes: int) -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client("EHLO [127.0.0.1]\r\n" + MESSAGE * 2 + "QUIT\r\n", piece_bytes)
    assert codes == ["250", *["250", "250", "354", "250"] * 2, "221"]
    assert dialogue.said[0] == "220 web-1 ESMTP ucrmmail"
    assert [line for line in dialogue.said if "queued" in line] == [
        "250 2.0.0 Ok: queued as 1-1", "250 2.0.0 Ok: queued as 1-2",
    ]  # fmt: skip
    assert dialogue.queue.accepted == [("app@isp.example", ["joe@example.com"], b"Subject: x\r\n\r\nhi\r\n")] * 2
    assert dialogue.ended_by is None


def test_the_configuration_is_that_of_the_message() -> None:
    dialogue = Dialogue()
    dialogue.with_client("EHLO x\r\n" + MESSAGE * 3)
    assert dialogue.opened == 4


def test_what_is_offered_is_told() -> None:
    dialogue = Dialogue()
    dialogue.with_client("EHLO x\r\nHELO x\r\n")
    assert dialogue.said[1:] == [
        "250-web-1", "250-PIPELINING", "250-SIZE 1000", "250-8BITMIME", "250-SMTPUTF8", "250-ENHANCEDSTATUSCODES",
        "250 HELP", "250 web-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("NOOP and more", "250 2.0.0 ok"),
        ("rset", "250 2.0.0 ok"),
        ("VRFY joe", "252 2.1.5 RCPT tells"),
        ("HELP", "214 2.0.0 see RFC 5321, and ucrmmail-sendmail(1)"),
        ("EHLO", "501 5.5.4 a name is to stand behind EHLO"),
        ("HELO ", "501 5.5.4 a name is to stand behind HELO"),
        ("AUTH PLAIN AGEAYg==", "502 5.5.1 AUTH is not offered here"),
        ("STARTTLS", "502 5.5.1 STARTTLS is not offered here"),
        ("EXPN staff", "502 5.5.1 EXPN is not offered here"),
        ("", "500 5.5.2 '' is no command; HELP lists them"),
        ("Subject: hello", "500 5.5.2 'SUBJECT:' is no command; HELP lists them"),
        ("\udcffMAIL", r"500 5.5.2 '\udcffMAIL' is no command; HELP lists them"),
        ("NO\0OP", "500 5.5.2 the line holds a control character"),
        ("MAIL FROM:<a\rb@example.com>", "500 5.5.2 the line holds a control character"),
        ("RCPT TO:<joe@example.com>", "503 5.5.1 MAIL comes first"),
        ("DATA", "503 5.5.1 MAIL comes first"),
        ("DATA now", "501 5.5.4 nothing is to stand behind DATA"),
        ("MAIL TO:<joe@example.com>", "501 5.5.4 FROM:<address> is to stand here"),
        ("MAIL FROM:<a@example.com> SIZE=1001", "552 5.3.4 the limit is 1kB"),
        ("MAIL FROM:<a@example.com> SIZE=1000", "250 2.1.0 ok"),
        ("MAIL FROM:<a@example.com> X=1", "555 5.5.4 X is no parameter that was offered"),
        ("MAIL FROM:<>", "250 2.1.0 ok"),
        ("MAIL FROM:<www-data>", "250 2.1.0 ok"),
        ("MAIL FROM:<j\u00f6rg@example.com>", "250 2.1.0 ok"),
        (
            "MAIL FROM:<joe@>",
            (
                "553 5.1.7 'joe@' is not an address: behind @, a dot must stand between two names "
                "(write it as joe@example.com)"
            ),
        ),
    ],
)
def test_a_command_is_answered(line: str, reply: str) -> None:
    dialogue = Dialogue()
    dialogue.with_client(f"{line}\r\nQUIT\r\n")
    assert dialogue.said[-2:] == [reply, "221 2.0.0 bye"]


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("joe@example.com", "250 2.1.5 ok"),
        ("root", "250 2.1.5 ok"),
        ("m\u00fcnchen@m\u00fcnchen.example", "250 2.1.5 ok"),
        ("support", "250 2.1.5 ok"),
        ("", "553 5.1.3 '' is not an address: it has no @ and domain (write it as joe@example.com)"),
        (
            "j\udcfc@example.com",
            (
                r"553 5.1.3 'j\udcfc@example.com' is not an address: it holds bytes that are not UTF-8 "
                "(write it as joe@example.com)"
            ),
        ),
    ],
)
def test_a_recipient_is_taken_or_refused_at_once(path: str, reply: str) -> None:
    dialogue = Dialogue()
    dialogue.with_client(f"MAIL FROM:<>\r\nRCPT TO:<{path}>\r\n")
    assert dialogue.said[-1] == reply


def test_a_local_name_that_leads_nowhere_is_refused_with_the_remedy() -> None:
    dialogue = Dialogue(Queue(addresses=Addresses()))
    dialogue.with_client("MAIL FROM:<>\r\nRCPT TO:<root>\r\n")
    assert dialogue.said[-1] == (
        "550 5.1.1 mail to the local name 'root' leads nowhere: addresses.notification is not set "
        "(ucrmmail config set addresses.notification you@example.com)"
    )


def test_a_recipient_that_is_refused_does_not_stop_the_others() -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client(
        "MAIL FROM:<>\r\nRCPT TO:<joe@>\r\nRCPT TO:<root>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\nhi\r\n.\r\n"
    )
    assert codes == ["250", "553", "250", "250", "354", "250"]
    assert dialogue.queue.accepted == [("", ["admin@isp.example", "ann@example.com"], b"hi\r\n")]


def test_data_behind_recipients_that_were_all_refused_is_refused() -> None:
    codes = Dialogue().with_client("MAIL FROM:<>\r\nRCPT TO:<joe@>\r\nDATA\r\nRSET\r\n")
    assert codes == ["250", "553", "554", "250"]


@pytest.mark.parametrize("command", ["RSET", "EHLO x", "HELO x"])
def test_a_message_under_way_is_forgotten(command: str) -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client(
        f"MAIL FROM:<>\r\nRCPT TO:<root>\r\nMAIL FROM:<>\r\n{command}\r\nDATA\r\nMAIL FROM:<a@example.com>\r\n"
        "RCPT TO:<joe@example.com>\r\nDATA\r\nhi\r\n.\r\n"
    )
    assert codes == ["250", "250", "503", "250", "503", "250", "250", "354", "250"]
    assert [accepted[:2] for accepted in dialogue.queue.accepted] == [("a@example.com", ["joe@example.com"])]


def test_neither_recipients_nor_reverse_path_go_on_to_the_next_message() -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client(MESSAGE + "RCPT TO:<ann@example.com>\r\nDATA\r\nQUIT\r\n")
    assert codes[-3:] == ["503", "503", "221"]


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (DataError("bad", why="because", remedy="mend it"), "554 5.6.0 bad: because (mend it)"),
        (NoUserError("no one", remedy="name one"), "550 5.1.3 no one (name one)"),
        (NoRoomError("full", remedy="make room"), "452 4.3.1 full (make room)"),
        (TemporaryError("not now"), "451 4.3.0 not now"),
        (InputOutputError("the disk", remedy="mend it"), "451 4.3.0 the disk (mend it)"),
        (CannotCreateError("no spool", remedy="make it"), "451 4.3.5 no spool (make it)"),
        (ConfigError("wrong\r\n250 ok", remedy="edit"), r"451 4.3.5 wrong\x0d\x0a250 ok (edit)"),
        (PermissionDeniedError("not yours", remedy="ask"), "451 4.3.5 not yours (ask)"),
    ],
)
def test_a_message_that_was_not_accepted_is_read_to_its_end_and_answered(error: UcrmmailError, reply: str) -> None:
    dialogue = Dialogue(Queue(refuses=error))
    codes = dialogue.with_client(BEGIN + "MAIL FROM:<eve@example.com>\r\n..\r\n.\r\nNOOP\r\n")
    assert dialogue.said[-2:] == [reply, "250 2.0.0 ok"]
    assert codes[-3] == "354"
    assert dialogue.ended_by is None


def test_a_message_that_is_too_large_is_read_to_its_end_and_refused() -> None:
    dialogue = Dialogue()
    dialogue.with_client(BEGIN + "x" * 999 + "\r\n.\r\n" + MESSAGE, piece_bytes=100)
    assert [line[:9] for line in dialogue.said[4:]] == ["552 5.3.4", "250 2.1.0", "250 2.1.5", "354 go on", "250 2.0.0"]
    assert len(dialogue.queue.accepted) == 1


@pytest.mark.requirement("R16", "S1")
def test_a_text_that_cannot_be_read_for_a_moment_is_not_taken_for_commands() -> None:
    """As of a pipe that who started us has made non-blocking: there is more in it a moment later."""
    pieces = iter([(BEGIN + "hi\r\n").encode(), b"", ("RSET\r\n" + MESSAGE).encode()])

    def read() -> bytes:
        if piece := next(pieces, b"QUIT\r\n"):
            return piece
        raise InputOutputError("standard input: Resource temporarily unavailable", remedy="submit the message again")

    dialogue = Dialogue()
    with pytest.raises(InputOutputError):
        Session(Lines(read), dialogue.write, dialogue.open, host="web-1").run()
    assert dialogue.said[-1].startswith("421 4.3.0 standard input: Resource temporarily unavailable")
    assert [line[:3] for line in dialogue.said] == ["220", "250", "250", "354", "421"]
    assert dialogue.queue.accepted == []


def test_a_message_that_was_handed_over_has_no_queue_id() -> None:
    class Foreign(Queue):
        def accept(self, pieces: Iterable[bytes], *, reverse_path: str | None, recipients: Sequence[str]) -> str:
            super().accept(pieces, reverse_path=reverse_path, recipients=recipients)
            return ""

    dialogue = Dialogue(Foreign())
    dialogue.with_client(MESSAGE)
    assert dialogue.said[-1] == "250 2.0.0 handed over to the owner of the queue"


def test_a_configuration_that_is_broken_from_the_start_is_the_greeting() -> None:
    dialogue = Dialogue(broken=ConfigError("no such file", remedy="make it"))
    dialogue.with_client(MESSAGE)
    assert dialogue.said == ["421 4.3.5 no such file (make it)"]
    assert dialogue.ended_by is dialogue.broken


def test_a_configuration_that_breaks_later_refuses_messages_and_no_session() -> None:
    dialogue = Dialogue(broken=ConfigError("no such file", remedy="make it"), breaks_at=2)
    codes = dialogue.with_client(MESSAGE + "MAIL FROM:<>\r\nRCPT TO:<root>\r\nQUIT\r\n")
    assert codes == ["250", "250", "354", "250", "451", "503", "221"]
    assert dialogue.ended_by is None


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), ImportError("no module"), KeyError("x"), MemoryError()]
)
def test_what_nobody_expected_is_answered_and_ends_the_session(error: Exception) -> None:
    dialogue = Dialogue(Queue(refuses=error))
    dialogue.with_client(BEGIN + "hi\r\n.\r\nNOOP\r\n")
    assert dialogue.said[-1] == f"421 4.3.0 internal error: {type(error).__name__}: {error}".rstrip(": ")
    assert dialogue.ended_by is error


@pytest.mark.requirement("R16", "S1")
@pytest.mark.parametrize("refused", ["MAIL FROM:<joe@>", "RCPT TO:<joe@>", "RCPT TO:<joe@example.com> X=1", "DATA x"])
def test_a_text_behind_data_that_was_refused_is_not_taken_for_commands(refused: str) -> None:
    """Of a script that waits for no answer, with a message of a stranger."""
    lines = [refused if refused.startswith(line.split(" ")[0]) else line for line in BEGIN.split("\r\n")[:-1]]
    dialogue = Dialogue()
    codes = dialogue.with_client("\r\n".join(lines) + "\r\n" + MESSAGE, piece_bytes=10_000)
    assert codes[-1] == "421"
    assert "354" not in codes
    assert isinstance(dialogue.ended_by, CutOffError)
    assert dialogue.queue.accepted == []


@pytest.mark.requirement("R16", "S1")
@pytest.mark.parametrize("begins", ["Subject: x", "", "hi", "a\0b", "x" * 5000])
def test_a_text_that_comes_some_time_after_data_was_refused_is_not_taken_for_commands(begins: str) -> None:
    """As from ``(echo DATA; make-mail; echo .) | sendmail -bs``: the refusal may be quicker than the text."""
    dialogue = Dialogue()
    codes = dialogue.with_client(f"MAIL FROM:<>\r\nRCPT TO:<joe@>\r\nDATA\r\n{begins}\r\nRSET\r\n{MESSAGE}")
    assert codes == ["250", "553", "554", "500", "421"]
    assert isinstance(dialogue.ended_by, CutOffError)


def test_what_is_no_command_does_not_end_a_session_that_went_on_after_data_was_refused() -> None:
    codes = Dialogue().with_client("MAIL FROM:<>\r\nDATA\r\nRSET\r\nFOO\r\nQUIT\r\n")
    assert codes == ["250", "554", "250", "500", "221"]


def test_a_message_has_as_many_recipients_as_the_queue_has_room_for() -> None:
    dialogue = Dialogue(mute_after=200_000)
    recipients = "RCPT TO:<joe@example.com>\r\n" * 100_000
    codes = dialogue.with_client(
        "MAIL FROM:<>\r\n" + recipients + "RCPT TO:<ann@example.com>\r\nDATA\r\n.\r\n" + MESSAGE
    )
    assert codes[-7:] == ["452", "354", "250", "250", "250", "354", "250"]
    assert [len(recipients) for _from, recipients, _text in dialogue.queue.accepted] == [100_000, 1]


def test_a_parameter_of_a_recipient_is_refused() -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client("MAIL FROM:<>\r\nRCPT TO:<root> NOTIFY=NEVER\r\nDATA\r\nQUIT\r\n")
    assert codes == ["250", "555", "554", "221"]


@pytest.mark.parametrize("message", ["To: joe@example.com\n\nhi\n", "Subject: a\r\n\r\nb\r\n"])
def test_a_message_without_smtp_is_no_session_that_ended_well(message: str) -> None:
    dialogue = Dialogue()
    dialogue.with_client(message)
    assert isinstance(dialogue.ended_by, CutOffError)
    assert dialogue.said[-1].startswith("421 4.5.0 the input ended behind commands that were wrong")


@pytest.mark.parametrize("beginning", ["", "MAIL FROM:<>\r\n", "MAIL FROM:<>\r\nRCPT TO:<root>\r\nDAT", "QUIT"])
def test_the_end_of_the_input_between_messages_is_a_good_end(beginning: str) -> None:
    dialogue = Dialogue()
    dialogue.with_client(beginning)
    assert dialogue.ended_by is None


def test_the_end_of_the_input_within_a_message_is_told() -> None:
    dialogue = Dialogue()
    dialogue.with_client(BEGIN + "hi\r\n")
    assert isinstance(dialogue.ended_by, CutOffError)
    assert dialogue.said[-1].startswith("421 4.5.0 the input ended before the message did")
    assert dialogue.queue.accepted == []


def test_nothing_behind_quit_is_read() -> None:
    dialogue = Dialogue()
    assert dialogue.with_client("QUIT\r\n" + MESSAGE) == ["221"]


def test_mistakes_end_the_session_when_there_are_too_many() -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client("GET / HTTP/1.1\r\n" * 30)
    assert codes == [*["500"] * 21, "421"]
    assert isinstance(dialogue.ended_by, CutOffError)


def test_mistakes_before_a_message_and_addresses_that_are_refused_end_no_session() -> None:
    mistakes = "FOO\r\n" * 15
    codes = Dialogue().with_client(
        mistakes + MESSAGE + mistakes + "MAIL FROM:<>\r\n" + "RCPT TO:<joe@>\r\n" * 50 + "QUIT\r\n"
    )
    assert codes[-52:] == ["250", *["553"] * 50, "221"]


def test_recipients_that_were_written_behind_a_refused_sender_end_no_session() -> None:
    codes = Dialogue().with_client(
        "MAIL FROM:<joe@>\r\n" + "RCPT TO:<joe@example.com>\r\n" * 50 + "DATA\r\nRSET\r\n" + MESSAGE
    )
    assert codes == ["553", *["503"] * 51, "250", "250", "250", "354", "250"]


def test_a_line_that_is_too_long_is_answered_and_left() -> None:
    codes = Dialogue().with_client("NOOP " + "x" * 5000 + "\r\nQUIT\r\n", piece_bytes=1000)
    assert codes == ["500", "221"]


def test_nothing_behind_a_line_with_the_other_line_end_is_obeyed() -> None:
    dialogue = Dialogue()
    codes = dialogue.with_client("MAIL FROM:<>\r\nRCPT TO:<joe@example.com\nRCPT TO:<eve@example.com>\r\n")
    assert codes == ["250", "421"]
    assert isinstance(dialogue.ended_by, CutOffError)


def test_an_answer_that_cannot_be_written_says_what_was_accepted() -> None:
    dialogue = Dialogue(mute_after=4)
    dialogue.with_client(MESSAGE + MESSAGE)
    assert len(dialogue.queue.accepted) == 1
    assert isinstance(dialogue.ended_by, InputOutputError)
    assert dialogue.ended_by.what == "the message was queued as 1-1, but standard output: Broken pipe"
    assert dialogue.ended_by.remedy == "do not submit it again"


_SAID = st.lists(
    st.sampled_from([
        b"EHLO x", b"MAIL FROM:<a@example.com>", b"RCPT TO:<joe@example.com>", b"RCPT TO:<", b"DATA", b"RSET", b"QUIT",
        b"hi", b".", b"..", b" ", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"x" * 3000,
    ])
    | st.binary(max_size=5)
).map(b"".join)  # fmt: skip


@given(_SAID, st.sampled_from([b"", MESSAGE.encode()]), st.integers(0, 50))
def test_whatever_comes_is_answered_in_the_words_of_smtp(said: bytes, before: bytes, piece_bytes: int) -> None:
    dialogue = Dialogue()
    dialogue.with_client(before + said, piece_bytes)
    assert dialogue.ended_by is None or isinstance(dialogue.ended_by, CutOffError)
    assert all(line[:3].isdigit() and line[3] in " -" for line in dialogue.said)
    assert len([line for line in dialogue.said if "queued as" in line]) == len(dialogue.queue.accepted)
    assert all(recipients == ["joe@example.com"] * len(recipients) for _, recipients, _ in dialogue.queue.accepted)
