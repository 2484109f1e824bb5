"""``ucrmmail enqueue``: message files into the queue, many at once; a queue id is printed when it is durable."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import DataError, InputOutputError, NoInputError, NoUserError, TemporaryError, UcrmmailError
from ucrmmail.output import human
from ucrmmail.streams import discard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ucrmmail.config.submission import SubmissionSettings
    from ucrmmail.message.prepare import Prepared
    from ucrmmail.spool.scratch import Scratch

EXAMPLES = """\b
Examples:
  ucrmmail enqueue invoices/*.eml
  ucrmmail enqueue --priority bulk --from news@isp.example newsletter/*.eml
  generate-mail | ucrmmail enqueue --to joe@example.com -"""

STANDARD_INPUT = "-"
# What the caller has opened for us, as the shell does for <(command): pipes are welcome there.
_DESCRIPTORS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the options say of the envelope: None, and no recipients, when it is left to the header."""

    reverse_path: str | None
    recipients: tuple[str, ...]
    priority: str | None


@dataclass(slots=True)
class Enqueued:
    """What became of the files: (queue id, file), and (file, error) for those that were not accepted."""

    queued: list[tuple[str, str]] = field(default_factory=list)
    errors: list[tuple[str, UcrmmailError]] = field(default_factory=list)
    unprinted: OSError | None = None

    @property
    def exit_code(self) -> int:
        """The highest of the exit codes: 75 (try again) before 65 (this one is wrong)."""
        return max((error.exit_code for _, error in self.errors), default=0)

    def accept(self, files: Sequence[str], queue_ids: Sequence[str], *, quiet: bool) -> None:
        """Note, and print, ids that are durable now."""
        for queue_id, file in zip(queue_ids, files, strict=True):
            self.queued.append((queue_id, file))
        if quiet or self.unprinted:
            return
        try:
            for queue_id in queue_ids:
                human.say(queue_id)
            sys.stdout.flush()
        except OSError as error:
            # The files that are left are accepted all the same: who listens to the ids decides nothing about them.
            discard(sys.stdout)
            self.unprinted = error

    def print_json(self) -> None:
        """Print the whole result as one document."""
        from ucrmmail.output.machine import print_document

        try:
            print_document(
                {
                    "queued": [{"queue_id": queue_id, "file": file} for queue_id, file in self.queued],
                    "errors": [{"file": file, "error": error.what, "why": error.why} for file, error in self.errors],
                }
            )
            sys.stdout.flush()
        except OSError as error:
            discard(sys.stdout)
            self.unprinted = error

    def fail(self, files: Sequence[str], error: UcrmmailError) -> None:
        """Note files that were not accepted, and tell why."""
        self.errors += [(file, error) for file in files]
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        human.note(f"{files[0]}{more}: not accepted")
        human.print_error(error)


def enqueue(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Message files; - is standard input.", show_default=False),
    ],
    *,
    sender: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS", help='Where bounces go ("<>": nowhere).', show_default=False),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="ADDRESS", help="Send to this address, not to those in the header; repeatable."),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option("--priority", metavar="PRIORITY", help="urgent, normal or bulk; else what the header says."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Queue message files, and print a queue id for each.

    The ids are in the order of the files. An id that is printed is durable. A file that cannot be accepted is
    reported, and the others go on.
    """
    from ucrmmail.config.submission import read_submission_settings, refuse_missing

    envelope = _envelope(sender, to or (), priority)
    location = invocation(context).location()
    refuse_missing(location)
    settings = read_submission_settings(location.path, os.environ, os.geteuid())
    result = enqueue_files(files, envelope, settings, quiet=as_json)
    if as_json:
        result.print_json()
    # A reader that has gone (head) has seen enough.
    if result.unprinted and not isinstance(result.unprinted, BrokenPipeError):
        # Never "try again": who obeys sends everything twice.
        raise InputOutputError(
            f"{len(result.queued)} accepted, but their queue ids could not be written to standard output: "
            f"{result.unprinted.strerror}",
            remedy="do not submit them again; `ucrmmail queue list` shows them",
        )
    if result.errors:
        raise typer.Exit(result.exit_code)


def _envelope(sender: str | None, to: Sequence[str], priority: str | None) -> Envelope:
    """Return the envelope of the options, checked once for all files. Raises NoUserError, UsageError."""
    from ucrmmail.cli.address_option import mailbox_in
    from ucrmmail.message.address import is_bare
    from ucrmmail.spool.layout import PRIORITIES

    if priority is not None and priority not in PRIORITIES:
        raise not_allowed(f"--priority {priority}: there is no such priority", priority, PRIORITIES)
    if sender is not None:
        # "<>" and "" are how callers write the null reverse-path.
        sender = sender[1:-1] if sender.startswith("<") and sender.endswith(">") else sender
        sender = mailbox_in("--from", sender) if sender else ""
    return Envelope(sender, tuple(each if is_bare(each) else mailbox_in("--to", each) for each in to), priority)


def enqueue_files(
    files: Sequence[str], envelope: Envelope, settings: SubmissionSettings, *, quiet: bool = False
) -> Enqueued:
    """Accept the files, in batches; unless ``quiet``, print the ids of a batch as soon as it is durable.

    What is wrong with one file concerns no other. When the spool fails (a full disk), the rest is not tried, and what
    there was room for before is accepted.
    """
    from ucrmmail.spool.batch import Batch
    from ucrmmail.spool.layout import NEXT_ID_S, new_queue_id
    from ucrmmail.spool.scratch import Scratch

    result = Enqueued()
    arriving: list[str] = []
    done = 0
    latest = 0.0
    with Batch(settings.spool_directory, min_free_bytes=settings.min_free_space) as batch:
        try:
            for file in files:
                done += 1
                arriving.append(file)
                with Scratch(settings.spool_directory, min_free_bytes=settings.min_free_space) as scratch:
                    try:
                        prepared = _prepared(file, envelope, settings, scratch)
                        # Ids are sending order: the order of the files.
                        latest = max(time.time(), latest + NEXT_ID_S)
                        batch.add(
                            new_queue_id(latest, prepared.priority),
                            reverse_path=prepared.reverse_path,
                            recipients=prepared.recipients,
                            message=prepared.content,
                            eight_bit=prepared.eight_bit,
                            utf8=prepared.utf8,
                        )
                    except (DataError, NoUserError, NoInputError) as error:
                        result.fail((arriving.pop(),), error)
                        continue
                if batch.is_full:
                    result.accept(arriving, batch.commit(), quiet=quiet)
                    arriving.clear()
            result.accept(arriving, batch.commit(), quiet=quiet)
        except UcrmmailError as error:
            added = len(batch)
            with suppress(UcrmmailError):
                result.accept(arriving[:added], batch.commit(), quiet=quiet)
                del arriving[:added]
            result.fail((*arriving, *files[done:]), error)
    return result


def _prepared(file: str, envelope: Envelope, settings: SubmissionSettings, scratch: Scratch) -> Prepared:
    """Return the message of a file, ready for the queue.

    Raises DataError, NoUserError, NoInputError; TemporaryError, and what a scratch file raises when the spool fails.
    """
    from ucrmmail.message.prepare import Addresses, gather, prepare

    message = gather(_pieces(file, settings.max_message_size + 1), lambda: scratch)
    if not len(message):
        # sendmail takes an empty text; here it is what a program leaves that has failed.
        raise DataError(
            f"{_name(file)}: is empty, not a message", remedy="see what became of the program that makes it"
        )
    return prepare(
        message,
        reverse_path=envelope.reverse_path,
        recipients=envelope.recipients,
        extract_recipients=not envelope.recipients,
        addresses=Addresses(
            sender=settings.sender,
            organization=settings.organization,
            support=settings.support,
            notification=settings.notification,
            smarthost=settings.smarthost,
        ),
        priority=envelope.priority,
        now=time.time(),
        hostname=os.uname().nodename,
        unique=os.urandom(12).hex(),
        max_size=settings.max_message_size,
    )


def read_input(file: str, most: int) -> bytes:
    """Return what is in a file, or in a pipe, up to ``most`` bytes. Raises as ``_pieces`` does."""
    return b"".join(_pieces(file, most))


def _pieces(file: str, most: int) -> Iterator[bytes]:
    """Yield what is in a file, or in a pipe, up to ``most`` bytes.

    Raises NoInputError, TemporaryError when no file can be opened at all.
    """
    from ucrmmail.spool.unread import is_of_all

    try:
        fd = 0 if file == STANDARD_INPUT else _open(file)
        try:
            while most > 0 and (part := os.read(fd, min(most, 1 << 20))):
                most -= len(part)
                yield part
        finally:
            if fd:
                os.close(fd)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and is_of_all(error):
            raise TemporaryError(
                f"{_name(file)}: {error.strerror}", remedy="mend this, then submit it again"
            ) from error
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoInputError(f"{_name(file)}: {why}", remedy="name files that you may read") from error


def _open(file: str) -> int:
    """Open a file; a named pipe or a device is none, since neither has an end. Raises OSError, NoInputError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
    if file.startswith(_DESCRIPTORS):
        return os.open(file, flags)
    fd = os.open(file, flags | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    # Reading a directory says itself what it is.
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        os.close(fd)
        raise NoInputError(f"{file}: is not a regular file", remedy="to read a pipe, name - and redirect it")
    return fd


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file
