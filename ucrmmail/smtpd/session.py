"""The session: what each command does and is answered (RFC 5321), for the applications that start `sendmail -bs`.

    greeting -> MAIL -> RCPT ... -> DATA -> 250 with the queue id: the message is durable
                 ^------ RSET, EHLO, HELO, the end of a message ------'

Symfony Mailer, Laravel and SwiftMailer keep the process: one message after the other, RSET behind one that was
refused, NOOP behind a pause, QUIT after a hundred, or when they end. So:

- The configuration is read anew for each message: a change of it reaches a worker that has run for weeks.
- Nobody is sent away for being silent. A peer that is gone closes the pipe, which a lost connection does not; and
  SwiftMailer, which asks for no sign of life, loses its next message to a "421 timeout exceeded".
- A reply tells the reason, as the application's log shows nothing else.
- What is no mistake of the client, and not known to pass, ends the session with 421: the next one has a new process,
  with the modules of today.

HELO is not asked for: nothing depends on what it says. There is no login either: who can start the program may submit.
"""

from __future__ import annotations

from ucrmmail.errors import (
    CannotCreateError,
    ConfigError,
    DataError,
    InputOutputError,
    MessageTooLargeError,
    NoRoomError,
    NoUserError,
    PermissionDeniedError,
    UcrmmailError,
    in_one_line,
)
from ucrmmail.message.address import is_bare, parse_mailbox
from ucrmmail.message.envelope import MOST_RECIPIENTS, resolved
from ucrmmail.message.prepare import within
from ucrmmail.smtpd.arguments import declared_size, parse_path, refuse_parameters
from ucrmmail.smtpd.lines import LONGEST_LINE_BYTES, CutOffError, TooLongError
from ucrmmail.smtpd.reply import RefusedError, encode_reply
from ucrmmail.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Protocol

    from ucrmmail.message.envelope import Addresses
    from ucrmmail.smtpd.lines import Lines

    class Queue(Protocol):
        """Where messages go: read from the configuration, and good for one message."""

        @property
        def addresses(self) -> Addresses:
            """Where mail to local names goes."""

        @property
        def max_message_size(self) -> int:
            """In bytes."""

        def accept(self, pieces: Iterable[bytes], *, reverse_path: str | None, recipients: Sequence[str]) -> str:
            """Return the queue id of a message that is durable now, "" when its owner will give it one.

            Raises UcrmmailError; nothing was accepted then.
            """


# How the errors of a message are told: the first that fits. An operator's mistake never bounces a user's mail.
_REPLIES: tuple[tuple[type[UcrmmailError], int, str], ...] = (
    (MessageTooLargeError, 552, "5.3.4"),
    (NoUserError, 550, "5.1.3"),
    (DataError, 554, "5.6.0"),
    (NoRoomError, 452, "4.3.1"),
    (ConfigError, 451, "4.3.5"),
    (PermissionDeniedError, 451, "4.3.5"),
    (CannotCreateError, 451, "4.3.5"),
    (UcrmmailError, 451, "4.3.0"),
)
# Replies that mean that the client does not speak SMTP as we do, and how many of them come before a message. Not 503:
# a client that waits for no answer (RFC 2920) gets it for all that stands behind a MAIL that was refused.
_MISTAKES = (500, 501, 502, 555)
_MOST_MISTAKES = 20
_NO_COMMAND = 500
_ELSEWHERE = ("AUTH", "STARTTLS", "EXPN", "ETRN", "BDAT")


class Session:
    """One session: ``lines`` come in, ``write`` takes replies, and ``open_queue`` returns the queue as it is now."""

    __slots__ = (
        "_commands",
        "_host",
        "_is_open",
        "_lines",
        "_mistakes",
        "_open_queue",
        "_queue",
        "_recipients",
        "_reverse_path",
        "_text_was_refused",
        "_write",
    )

    def __init__(
        self, lines: Lines, write: Callable[[bytes], None], open_queue: Callable[[], Queue], *, host: str
    ) -> None:
        self._lines = lines
        self._write = write
        self._open_queue = open_queue
        self._host = host
        self._is_open = True
        self._mistakes = 0
        # Of the message under way; without one there is no reverse-path.
        self._reverse_path: str | None = None
        self._recipients: list[str] = []
        # Since DATA was refused no command has come.
        self._text_was_refused = False
        self._commands: dict[str, Callable[[str], None]] = {
            "DATA": self._data,
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "HELP": self._help,
            "MAIL": self._mail,
            "NOOP": self._noop,
            "QUIT": self._quit,
            "RCPT": self._rcpt,
            "RSET": self._rset,
            "VRFY": self._vrfy,
        }

    def run(self) -> None:
        """Speak until QUIT or the end of the input. Raises what ended the session else; the client was told."""
        try:
            self._queue = self._open_queue()
            self._say(220, "", f"{self._host} ESMTP ucrmmail")
            while self._is_open and (line := self._next_line()) is not None:
                self._answer(line)
            if self._is_open and self._mistakes:
                # Such as a message without any SMTP: who sent it must not take the exit code for a yes.
                raise CutOffError(
                    "the input ended behind commands that were wrong",
                    remedy="submit what was not answered with 250 again; `sendmail -t` takes a message without SMTP",
                )
        except Exception as error:  # its log has nothing but the replies; what is raised goes on to the boundary
            self._say_last(error)
            raise

    def _next_line(self) -> bytes | None:
        while True:
            try:
                return self._lines.command()
            except TooLongError:
                self._refuse(RefusedError(_NO_COMMAND, "5.5.2", f"the line has more than {LONGEST_LINE_BYTES} bytes"))

    def _answer(self, line: bytes) -> None:
        text = line.decode("utf-8", "surrogateescape")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        try:
            if any(character < " " or character == "\x7f" for character in text):
                raise RefusedError(_NO_COMMAND, "5.5.2", "the line holds a control character")
            if verb in _ELSEWHERE:
                raise RefusedError(502, "5.5.1", f"{verb} is not offered here")
            command = self._commands.get(verb)
            if command is None:
                raise RefusedError(_NO_COMMAND, "5.5.2", f"{verb[:40]!r} is no command; HELP lists them")
            self._text_was_refused = False
            command(argument.strip(" "))
        except RefusedError as refused:
            self._refuse(refused)

    def _refuse(self, refused: RefusedError) -> None:
        self._say(refused.code, refused.status, refused.text)
        self._mistakes += refused.code in _MISTAKES
        if refused.code == _NO_COMMAND and self._text_was_refused:
            raise _text_came_anyway()
        if self._mistakes > _MOST_MISTAKES:
            raise CutOffError("too many commands were wrong", remedy="see RFC 5321, or use `sendmail -t`")

    # --- commands ---------------------------------------------------------------------------------------------------

    def _ehlo(self, name: str) -> None:
        self._begin_anew(name, "EHLO")
        offered = ("PIPELINING", f"SIZE {self._queue.max_message_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
        self._say(250, "", self._host, *offered, "HELP")

    def _helo(self, name: str) -> None:
        self._begin_anew(name, "HELO")
        self._say(250, "", self._host)

    def _begin_anew(self, name: str, verb: str) -> None:
        if not name:
            raise RefusedError(501, "5.5.4", f"a name is to stand behind {verb}")
        self._forget_message()

    def _mail(self, argument: str) -> None:
        if self._reverse_path is not None:
            raise RefusedError(503, "5.5.1", "a message is under way; RSET forgets it")
        path, parameters = parse_path(argument, "FROM:")
        size_bytes = declared_size(parameters)
        if path and not is_bare(path):
            path = _checked(path, "5.1.7")
        try:
            self._queue = self._open_queue()
        except UcrmmailError as error:
            raise _refused(error) from error
        if size_bytes > self._queue.max_message_size:
            raise RefusedError(552, "5.3.4", f"the limit is {format_size(self._queue.max_message_size)}")
        self._reverse_path = path
        self._say(250, "2.1.0", "ok")

    def _rcpt(self, argument: str) -> None:
        if self._reverse_path is None:
            raise RefusedError(503, "5.5.1", "MAIL comes first")
        path, parameters = parse_path(argument, "TO:")
        refuse_parameters(parameters)
        if len(self._recipients) == MOST_RECIPIENTS:
            raise RefusedError(
                452, "4.5.3", f"the message has {MOST_RECIPIENTS} recipients; send it to the others apart"
            )
        try:
            self._recipients += resolved([path], self._queue.addresses)
        except NoUserError as error:
            code, status = (550, "5.1.1") if is_bare(path) else (553, "5.1.3")
            raise RefusedError(code, status, in_one_line(error)) from error
        self._say(250, "2.1.5", "ok")

    def _data(self, argument: str) -> None:
        if refused := self._why_no_text(argument):
            self._refuse(refused)
            self._text_was_refused = True
            if self._lines.has_more():
                # DATA is the last thing that is written without waiting (RFC 2920 section 3.1): a script has gone on.
                raise _text_came_anyway()
            return
        self._say(354, "", "go on; a line that is a single dot ends the message")
        try:
            queue_id = self._take_text()
        except UcrmmailError as error:
            if self._lines.within_text:
                # The input ended, or could not be read: what it may still give is no command.
                raise
            raise _refused(error) from error
        finally:
            self._forget_message()
        self._mistakes = 0
        self._say_accepted(queue_id)

    def _why_no_text(self, argument: str) -> RefusedError | None:
        if argument:
            return RefusedError(501, "5.5.4", "nothing is to stand behind DATA")
        if self._reverse_path is None:
            return RefusedError(503, "5.5.1", "MAIL comes first")
        if not self._recipients:
            # Behind recipients that were refused, no mistake of a client that waits for no answer to each.
            return RefusedError(554, "5.5.1", "no recipient was accepted")
        return None

    def _say_accepted(self, queue_id: str) -> None:
        accepted = f"queued as {queue_id}" if queue_id else "handed over to the owner of the queue"
        try:
            # In Postfix's words: Symfony Mailer takes what stands behind "Ok: queued as" for the id of what was sent.
            self._say(250, "2.0.0", f"Ok: {accepted}" if queue_id else accepted)
        except InputOutputError as error:
            told = f"the message was {accepted}, but {error.what}"
            raise InputOutputError(told, remedy="do not submit it again") from error

    def _take_text(self) -> str:
        text = self._lines.text()
        pieces = within(text, self._queue.max_message_size)
        try:
            return self._queue.accept(pieces, reverse_path=self._reverse_path, recipients=self._recipients)
        except Exception:
            # The client reads no answer before it has written all; and nothing of a message is ever taken for commands.
            _drain(text)
            raise

    def _rset(self, _argument: str) -> None:
        self._forget_message()
        self._say(250, "2.0.0", "ok")

    def _noop(self, _argument: str) -> None:
        self._say(250, "2.0.0", "ok")

    def _vrfy(self, _argument: str) -> None:
        self._say(252, "2.1.5", "RCPT tells")

    def _help(self, _argument: str) -> None:
        self._say(214, "2.0.0", " ".join(self._commands), "see RFC 5321, and ucrmmail-sendmail(1)")

    def _quit(self, _argument: str) -> None:
        self._is_open = False
        self._say(221, "2.0.0", "bye")

    # --- what they share --------------------------------------------------------------------------------------------

    def _forget_message(self) -> None:
        self._reverse_path = None
        self._recipients = []

    def _say(self, code: int, status: str, *texts: str) -> None:
        self._write(encode_reply(code, status, *texts))

    def _say_last(self, error: Exception) -> None:
        status, text = "4.3.0", f"internal error: {type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, UcrmmailError):
            status = "4.5.0" if isinstance(error, CutOffError) else _refused(error).status
            text = in_one_line(error)
        try:
            self._say(421, status, text)
        except UcrmmailError:
            pass  # nobody listens, which may be what ended it


def _checked(path: str, status: str) -> str:
    try:
        return parse_mailbox(path)
    except NoUserError as error:
        raise RefusedError(553, status, in_one_line(error)) from error


def _refused(error: UcrmmailError) -> RefusedError:
    code, status = next((code, status) for kind, code, status in _REPLIES if isinstance(error, kind))
    return RefusedError(code, status, in_one_line(error))


def _text_came_anyway() -> CutOffError:
    return CutOffError(
        "DATA was refused, and a text came behind it",
        why="it would be taken for commands",
        remedy="wait for 354, or use `sendmail -t`",
    )


def _drain(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        pass
