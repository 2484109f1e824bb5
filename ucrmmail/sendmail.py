"""``ucrmmail-sendmail``: the sendmail-compatible way in, for cron, PHP, and whatever pipes mail to ``sendmail -t``.

Its start-up is its cost, paid for each message, so it reads its options by hand and imports neither typer nor rich
nor smtplib, ssl, email, keyring, dnspython, nor dataclasses, typing or re: only a message over 1 MiB, or one that SMTP
cannot carry as it is, asks for more. It accepts the message into the spool and says yes (exit 0) only when it is
durable; everything else is for ``ucrmmail flush``.

Options are those that callers of sendmail, Postfix and Exim use. What only tunes a daemon is taken and ignored, as all
of them do; what would ask for another program (a daemon, the queue) is refused. ``-bs`` is a session of SMTP: see
``smtpd``, which is loaded for it only.
"""

from __future__ import annotations

import os
import stat
import sys
import time

from ucrmmail.config.location import locate
from ucrmmail.config.source import belongs_to_another
from ucrmmail.config.submission import read_submission_settings, refuse_missing
from ucrmmail.errors import (
    InputOutputError,
    PermissionDeniedError,
    TemporaryError,
    UcrmmailError,
    UsageError,
    in_one_line,
)
from ucrmmail.files import write_all
from ucrmmail.message.addresslist import parse_address_list
from ucrmmail.message.prepare import Addresses, gather, prepare, within
from ucrmmail.output.escape import visible
from ucrmmail.spool.accept import accept
from ucrmmail.spool.handover import hand_over, takes_from_others
from ucrmmail.streams import complain, leave, open_what_is_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ucrmmail.message.prepare import Prepared
    from ucrmmail.spool.scratch import Scratch

EX_USAGE = 64

# Options that take a value, either joined (-fjoe@example.com) or as the next argument.
_WITH_VALUE = "ABCDFLNOQRVXefhopr"
_IGNORED_MODES = ("m",)
_POINTERS = {
    "p": "see the queue with `ucrmmail queue list`",
    "i": "ucrmmail has no alias database; set addresses.notification for local names",
    "d": "ucrmmail has no daemon; run `ucrmmail flush` from cron",
}
# The names of sendmail that mean a mode, where somebody has put a link.
_MODES_BY_NAME = {"mailq": "p", "newaliases": "i"}

USAGE = """\
usage: ucrmmail-sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [--] [RECIPIENT...] < message
       ucrmmail-sendmail -bs

Accepts a message from standard input into the spool; `ucrmmail flush` sends it.

  -t          take the recipients from To, Cc and Bcc too (Bcc is removed), or from
              Resent-To, -Cc and -Bcc where the message has one of them
  -i, -oi     a line with a single dot does not end the message
  -f ADDRESS  the reverse-path, where bounces go ("<>" for none); -r is the same;
              a name without a domain counts as not given
  -F NAME     the full name, for a From header that has to be added
  -bs         speak SMTP on standard input and output, as Symfony Mailer and Laravel want it
  --          what follows are recipients

The configuration is that of ucrmmail (UCRMMAIL_CONFIG, or see `ucrmmail config path`).

example:
  printf 'Subject: backup done\\n\\nAll is well.\\n' | ucrmmail-sendmail -t root
"""


class Options:
    """What the command line asks for."""

    __slots__ = (
        "dot_ends",
        "extract_recipients",
        "full_name",
        "help",
        "recipients",
        "reverse_path",
        "speaks_smtp",
    )

    def __init__(self) -> None:
        self.extract_recipients = False
        self.dot_ends = True
        self.reverse_path: str | None = None
        self.full_name = ""
        self.recipients: list[str] = []
        self.help = False
        self.speaks_smtp = False


def parse_arguments(arguments: Sequence[str]) -> Options:
    """Return what the arguments say, the way sendmail reads them. Raises UsageError."""
    options = Options()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            options.recipients += rest
            break
        if argument == "--help":
            options.help = True
        elif argument.startswith("-") and argument != "-":
            _read_flags(argument[1:], rest, options)
        else:
            options.recipients.append(argument)
    if options.speaks_smtp and (options.recipients or options.extract_recipients):
        raise UsageError("-bs takes its recipients from RCPT", remedy="leave out -t and the recipients, or -bs")
    return options


def _read_flags(flags: str, rest: list[str], options: Options) -> None:
    """Read one argument of joined flags, such as ``ti`` or ``fjoe@example.com``."""
    while flags:
        flag, flags = flags[0], flags[1:]
        if flag in _WITH_VALUE:
            if not flags and not rest:
                raise UsageError(f"-{flag} needs a value", remedy="see `ucrmmail-sendmail --help`")
            _set_value(flag, flags or rest.pop(0), options)
            return
        if flag == "b":
            _set_mode(flags, options)
            return
        if flag == "q":
            raise UsageError("the queue is not run by sendmail", remedy="run `ucrmmail flush`")
        if flag == "t":
            options.extract_recipients = True
        elif flag == "i":
            options.dot_ends = False
        elif flag not in "GUmnv":
            raise UsageError(f"unknown option -{flag}", remedy="see `ucrmmail-sendmail --help`")


def _set_value(flag: str, value: str, options: Options) -> None:
    if flag in "fr":
        # "<>" is how callers write the null reverse-path.
        options.reverse_path = value[1:-1] if value.startswith("<") and value.endswith(">") else value
    elif flag == "F":
        options.full_name = value
    elif flag == "o" and value == "i":
        options.dot_ends = False


def _set_mode(mode: str, options: Options) -> None:
    options.speaks_smtp = mode == "s"
    if mode != "s" and mode not in _IGNORED_MODES:
        raise _not_for_this(f"-b{mode}", mode)


def check_name(name: str) -> None:
    """Raise UsageError when the program is called by a name that means another of its modes."""
    mode = _MODES_BY_NAME.get(name)
    if mode is not None:
        raise _not_for_this(name, mode)


def _not_for_this(typed: str, mode: str) -> UsageError:
    return UsageError(f"{typed} is not for this program", remedy=_POINTERS.get(mode, "leave it out"))


def read_message(fd: int, limit: int, *, dot_ends: bool) -> Iterator[bytes]:
    """Return the pieces of a message from a descriptor, up to its end or to a line that is a single dot (``dot_ends``).

    They raise MessageTooLargeError when it has more than ``limit`` bytes, InputOutputError when reading fails.
    """
    pieces = within(iter(lambda: read_piece(fd), b""), limit)
    return up_to_dot(pieces) if dot_ends else pieces


def read_piece(fd: int) -> bytes:
    """Return what comes next on a descriptor, b"" at its end. Raises InputOutputError."""
    try:
        return os.read(fd, 1 << 18)
    except OSError as error:
        raise InputOutputError(f"standard input: {error.strerror}", remedy="submit the message again") from error


def up_to_dot(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what comes before a line that is a single dot. All is read, so that who writes it meets no closed pipe."""
    # A line end that did not come, for a dot at the very beginning.
    held, not_ours = b"\n", 1
    for piece in pieces:
        data = held + piece
        ends = [end for end in (data.find(b"\n.\n"), data.find(b"\n.\r\n")) if end >= 0]
        if ends:
            yield data[not_ours : min(ends) + 1]
            for _ in pieces:
                pass
            return
        # The next piece may make a line of a single dot of it.
        end = len(data) - next(size for size in (3, 2, 1, 0) if data.endswith(b"\n.\r"[:size]))
        if end:
            yield data[not_ours:end]
            held, not_ours = data[end:], 0
        else:
            held = data
    left = held[not_ours:]
    yield left[:-1] if held == b"\n." else left


class Entrance:
    """The way into the queue that the configuration names, ours or that of another user, as it is when this is made.

    Raises ConfigError, and PermissionDeniedError when the queue is not open to us.
    """

    __slots__ = ("_is_foreign", "_settings", "addresses", "max_message_size")

    def __init__(self) -> None:
        location = locate(None, os.environ, os.geteuid())
        refuse_missing(location)
        settings = read_submission_settings(location.path, os.environ, os.geteuid(), to_submit=True)
        self._is_foreign = takes_from_others(settings.spool_directory)
        if not self._is_foreign and belongs_to_another(location.path, os.geteuid()):
            raise PermissionDeniedError(
                f"{location.path} belongs to another user, who takes no mail from others",
                remedy=f"let that user open the queue: see {settings.spool_directory}/drop in ucrmmail-queue(5)",
            )
        self._settings = settings
        self.max_message_size = settings.max_message_size
        self.addresses = Addresses(
            sender=settings.sender,
            organization=settings.organization,
            support=settings.support,
            notification=settings.notification,
            smarthost=settings.smarthost,
        )

    def accept(
        self,
        pieces: Iterable[bytes],
        *,
        reverse_path: str | None,
        recipients: Sequence[str],
        extract_recipients: bool = False,
        full_name: str = "",
    ) -> str:
        """Accept a message and return its queue id, "" when it was handed over: it is durable. Raises UcrmmailError."""
        scratches: list[Scratch] = []

        def scratch() -> Scratch:
            from ucrmmail.spool.scratch import Scratch  # noqa: PLC0415 # most messages are small

            directory, min_free_bytes = self._settings.spool_directory, self._settings.min_free_space
            scratches.append(Scratch(directory, min_free_bytes=min_free_bytes, handed_over=self._is_foreign))
            return scratches[-1]

        now = time.time()
        try:
            prepared = prepare(
                gather(pieces, scratch),
                reverse_path=reverse_path,
                recipients=recipients,
                extract_recipients=extract_recipients,
                addresses=self.addresses,
                priority=None,
                now=now,
                hostname=os.uname().nodename,
                unique=os.urandom(12).hex(),
                full_name=full_name,
                max_size=self.max_message_size,
            )
            return self._put(prepared, now)
        finally:
            for each in scratches:
                each.keep(None)

    def _put(self, prepared: Prepared, now: float) -> str:
        return (hand_over if self._is_foreign else accept)(
            self._settings.spool_directory,
            reverse_path=prepared.reverse_path,
            recipients=prepared.recipients,
            message=prepared.content,
            priority=prepared.priority,
            eight_bit=prepared.eight_bit,
            utf8=prepared.utf8,
            now=now,
            min_free_bytes=self._settings.min_free_space,
        )


def submit(options: Options, fd: int) -> None:
    """Accept the message on ``fd`` into the spool, or hand it over to the spool's owner. Raises UcrmmailError."""
    entrance = Entrance()
    if not options.recipients and not options.extract_recipients:
        raise UsageError("no recipients", remedy="name them, or use -t to take them from the message")
    # Whoever writes it is not to be met by a broken pipe, whatever is wrong with the addresses.
    content = read_message(fd, entrance.max_message_size, dot_ends=options.dot_ends)
    # cron's MAILTO may hold several addresses, and hands them over as one argument.
    recipients = [mailbox for given in options.recipients for mailbox in parse_address_list(given)]
    for mailbox in (options.reverse_path or "", *recipients):
        if mailbox.startswith("-"):
            # Somebody may have slipped it in as an option, through a form of a web page.
            complain(visible(f"ucrmmail-sendmail: {mailbox} begins with a hyphen; it is taken as an address"))
    entrance.accept(
        content,
        reverse_path=options.reverse_path,
        recipients=recipients,
        extract_recipients=options.extract_recipients,
        full_name=options.full_name,
    )


def speak_smtp(read_fd: int, write_fd: int) -> None:
    """Accept messages by SMTP until the client says QUIT or closes its end. Raises what ended the session else."""
    _refuse_network(read_fd)
    from ucrmmail.smtpd.lines import Lines  # noqa: PLC0415 # most callers hand over one message
    from ucrmmail.smtpd.session import Session  # noqa: PLC0415

    def write(reply: bytes) -> None:
        try:
            write_all(write_fd, reply)
        except OSError as error:
            raise InputOutputError(f"standard output: {error.strerror}", remedy="read all replies") from error

    Session(Lines(lambda: read_piece(read_fd)), write, Entrance, host=os.uname().nodename).run()


def _refuse_network(fd: int) -> None:
    """Raise PermissionDeniedError for a connection of another machine, as inetd hands one to `sendmail -bs`."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return
    import socket  # noqa: PLC0415 # most clients have a pipe

    with socket.socket(fileno=os.dup(fd)) as end:
        if end.family != socket.AF_UNIX:
            raise PermissionDeniedError(
                "standard input is a connection of the network",
                why="there is no login: whoever connects could send mail to everybody",
                remedy="let the applications start the program themselves, and no inetd",
            )


def main() -> int:
    """Accept what comes on standard input; return 0 when it is durable, else the code of sysexits."""
    os.umask(0o077)
    open_what_is_closed()
    try:
        check_name(sys.argv[0].rpartition("/")[2])
        options = parse_arguments(sys.argv[1:])
        if options.help:
            sys.stdout.write(USAGE)
            return 0
        if options.speaks_smtp:
            speak_smtp(0, 1)
        else:
            submit(options, 0)
    except UsageError as error:
        _tell(error)
        return EX_USAGE
    except UcrmmailError as error:
        _tell(error)
        return error.exit_code
    except (OSError, MemoryError, ImportError) as error:
        # Nothing was acknowledged, so the caller may try again. A module that is loaded late may be what has no file.
        _tell(TemporaryError(f"the message was not accepted: {str(error) or 'out of memory'}"))
        return TemporaryError.exit_code
    except KeyboardInterrupt:
        return TemporaryError.exit_code
    except Exception as error:  # noqa: BLE001 # the boundary: the caller keeps its message and sees no traceback
        _tell(UcrmmailError(f"internal error: {type(error).__name__}: {error}"))
        return UcrmmailError.exit_code
    return 0


def _tell(error: UcrmmailError) -> None:
    complain(visible(f"ucrmmail-sendmail: {in_one_line(error)}"))


if __name__ == "__main__":
    leave(main())
