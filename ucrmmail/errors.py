"""Errors that end a command: what happened, why, what to do, and the exit code (sysexits).

    UcrmmailError                 70  a fault of ours
      CheckFailedError             1  what was checked does not hold
      UsageError                   2  the command line is wrong (64 in sendmail mode)
      DataError                   65  the message or its headers are wrong
        MessageTooLargeError      65  the message is larger than the limit
      NoInputError                66  the file to read is not there, or is not a file
      NoUserError                 67  an address is wrong or goes nowhere
      SmarthostUnavailableError   69  no connection, no TLS
      CannotCreateError           73  a file or directory cannot be made
      InputOutputError            74  the disk refused
      TemporaryError              75  try again later; nothing was lost
        NoRoomError               75  the disk is full
      PermissionDeniedError       77  not allowed: a file's mode, or a refused login
      ConfigError                 78  the configuration, or the secret, is wrong or missing

What concerns one message or one recipient is never raised: it is an ``Outcome``.
This module is loaded by every submission, so it imports nothing at its top.
"""

from __future__ import annotations

# What the system may have again by itself: room, descriptors, memory.
_TEMPORARY_ERRNOS = frozenset({"ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN"})


class UcrmmailError(Exception):
    """A failure that ends the command, told in three parts.

    ``what`` happened (with file, key, host or reply), ``why`` (may be ""), and the ``remedy`` (may be "").
    The texts may hold foreign bytes; ``output.escape`` makes them safe where they are printed. ``problems`` are
    further lines that belong to ``what``, such as each error of a file. ``by_server``: a server that was asked
    has refused, or did not answer, and no run is to ask it again each minute.
    """

    exit_code = 70
    problems: tuple[str, ...] = ()
    by_server = False

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """Let a worker process hand it to its run whole, whatever the constructor of a subclass asks for."""
        return _raised_again, (type(self), self.args), self.__dict__


def in_one_line(error: UcrmmailError) -> str:
    """Return what is told of an error where one line is all there is."""
    why = f": {error.why}" if error.why else ""
    remedy = f" ({error.remedy})" if error.remedy else ""
    return f"{error.what}{why}{remedy}"


def _raised_again(kind: type[UcrmmailError], args: tuple[object, ...]) -> UcrmmailError:
    return kind.__new__(kind, *args)


class CheckFailedError(UcrmmailError):
    """What was checked does not hold."""

    exit_code = 1


class UsageError(UcrmmailError):
    """The command line is wrong."""

    exit_code = 2


class DataError(UcrmmailError):
    """A message or its headers are wrong (EX_DATAERR)."""

    exit_code = 65


class MessageTooLargeError(DataError):
    """A message is larger than spool.max_message_size."""


class NoInputError(UcrmmailError):
    """A file to read is missing or is not a regular file (EX_NOINPUT)."""

    exit_code = 66


class NoUserError(UcrmmailError):
    """An address is malformed, or a local name leads nowhere (EX_NOUSER)."""

    exit_code = 67


class SmarthostUnavailableError(UcrmmailError):
    """The smarthost was not reached, or TLS with it failed (EX_UNAVAILABLE)."""

    exit_code = 69


class CannotCreateError(UcrmmailError):
    """A file or directory cannot be made (EX_CANTCREAT)."""

    exit_code = 73


class InputOutputError(UcrmmailError):
    """The disk refused to read or write (EX_IOERR)."""

    exit_code = 74


class TemporaryError(UcrmmailError):
    """It did not work now and may work later; nothing was lost (EX_TEMPFAIL)."""

    exit_code = 75


class NoRoomError(TemporaryError):
    """The disk is full, or would be too full."""


class PermissionDeniedError(UcrmmailError):
    """A file's mode or owner forbids it, or the login was refused (EX_NOPERM)."""

    exit_code = 77


class ConfigError(UcrmmailError):
    """The configuration or the secret is wrong or missing (EX_CONFIG)."""

    exit_code = 78

    def __init__(self, what: str, *, why: str = "", remedy: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.problems = problems


def from_os_error(error: OSError) -> UcrmmailError:
    """Return what a person is told of an error of the system: the file, why, and whether it may pass by itself."""
    import errno  # noqa: PLC0415 # few of those that load this module meet one

    name = errno.errorcode.get(error.errno or 0, "")
    kind = TemporaryError if name in _TEMPORARY_ERRNOS else InputOutputError
    where = f"{error.filename}: " if error.filename else ""
    remedy = getattr(error, "remedy", "mend this, then run the same command again")
    return kind(f"{where}{error.strerror or error}", remedy=remedy)
