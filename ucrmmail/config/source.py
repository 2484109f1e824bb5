"""The configuration file as it is read: whether it can be trusted, and whether it is TOML.

The file decides who gets the password and which program is run to fetch it. So nobody else may be able to change it:
it belongs to the user or to root, and is writable by its owner only. Reading it is no secret, since it holds none.
Loaded by every submission; tomllib is loaded only for a file that is not plain (see ``simple``).
"""

from __future__ import annotations

import os
import stat
from errno import ELOOP, ENAMETOOLONG, ENODEV, ENXIO

from ucrmmail.config.location import SYSTEM_CONFIG
from ucrmmail.config.simple import parse_simple
from ucrmmail.errors import ConfigError, InputOutputError, PermissionDeniedError, from_os_error
from ucrmmail.files import DistrustError, Naming, read_all

# A hundred times what anyone writes by hand.
LIMIT_BYTES = 1 << 20
# What leads to no file: links in a circle, a name that is too long, a socket, a device without a driver.
_NO_FILE = (ELOOP, ENAMETOOLONG, ENXIO, ENODEV)


class NotTomlError(ConfigError):
    """The text is not TOML: the reason, and where (0 when it is not known)."""

    def __init__(self, path: str, reason: str, line: int = 0, column: int = 0) -> None:
        where = f":{line}:{column}" if line else ""
        super().__init__(f"{path}{where}: {reason}", remedy="mend it with `ucrmmail config edit`")
        self.reason = reason
        self.line = line
        self.column = column


def read_file(path: str, euid: int, *, any_owner: bool = False, to_submit: bool = False) -> bytes | None:
    """Return the content of the file, None when there is none; a symbolic link is followed.

    Raises PermissionDeniedError when we may not read it or others could have written it, ConfigError when it is not a
    file, InputOutputError when the disk refuses, TemporaryError when the system has no descriptor or memory left.
    ``any_owner`` is for editing as root what belongs to someone else. ``to_submit`` is for handing mail over to the
    user who sends for the whole system: nothing is run then, no secret is read, and no file but a message is made.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        remedy = "run the command as its owner, or name another file with --config or UCRMMAIL_CONFIG"
        if to_submit:
            remedy = "let its owner open it to you, as it holds no secret, and the queue: see ucrmmail-queue(5)"
        raise PermissionDeniedError(
            f"{path}: permission denied", why="this user may not read the configuration file", remedy=remedy
        ) from None
    except OSError as error:
        if error.errno in _NO_FILE:
            raise ConfigError(
                f"{path}: cannot be opened: {error.strerror}", remedy="see `ucrmmail config path`"
            ) from None
        # Nothing is wrong with the file: a caller that submits is to try again.
        raise from_os_error(error) from None
    try:
        found = os.fstat(fd)
        _check_trust(path, found, euid, any_owner=any_owner or (to_submit and _is_of_the_system(path, found.st_uid)))
        return read_all(fd, LIMIT_BYTES)
    except DistrustError as error:
        raise ConfigError(f"{path}: {error}", remedy="is this the right file? see `ucrmmail config path`") from None
    except OSError as error:
        raise InputOutputError(
            f"{path}: {error.strerror}", remedy="look at the disk, then run the same command again"
        ) from None
    finally:
        with Naming(path):
            os.close(fd)


def _check_trust(path: str, found: os.stat_result, euid: int, *, any_owner: bool) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path}: is a directory", remedy=f"name the file in it, such as {path}/config.toml")
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is not a regular file", remedy="see `ucrmmail config path`")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionDeniedError(
            f"{path}: others can change it (mode {stat.S_IMODE(found.st_mode):04o})",
            why="who writes this file decides where the mail and the password go",
            remedy=f"chmod go-w {path}",
        )
    if found.st_uid not in (0, euid) and not any_owner:
        raise PermissionDeniedError(
            f"{path}: belongs to another user (uid {found.st_uid})",
            why="who writes this file decides where the mail and the password go",
            remedy=f"chown {euid} {path}, or run the command as its owner",
        )


def _is_of_the_system(path: str, owner: int) -> bool:
    """Return whether root has given the system's own place to this user, as the Debian package does.

    The user who sends for all has its configuration there. Whoever owns the directory could put any file into it.
    """
    place = os.path.dirname(SYSTEM_CONFIG)
    if path != SYSTEM_CONFIG:
        return False
    given, above = os.stat(place), os.stat(os.path.dirname(place))
    return given.st_uid == owner and not given.st_mode & 0o022 and above.st_uid == 0 and not above.st_mode & 0o022


def belongs_to_another(path: str, euid: int) -> bool:
    """Return whether neither root nor we have written the file; False when there is none. Raises OSError."""
    try:
        return os.stat(path).st_uid not in (0, euid)
    except FileNotFoundError:
        return False


def parse(data: bytes, path: str) -> dict[str, object]:
    """Return the TOML document as nested dictionaries. Raises NotTomlError with line and column."""
    document = parse_simple(data)
    return document if document is not None else _parse_fully(data, path)


def _parse_fully(data: bytes, path: str) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 # 15 ms that a plain file spares each submission

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise NotTomlError(path, "is not UTF-8 text", line, column) from None
    if text.startswith("\ufeff"):
        raise NotTomlError(path, "begins with a byte order mark; save it as UTF-8 without one", 1, 1)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise NotTomlError(path, "is nested too deep") from None
    except ValueError as error:
        reason, line, column = _place(str(error), text)
        raise NotTomlError(path, reason, line, column) from None


def _place(message: str, text: str) -> tuple[str, int, int]:
    """Split what tomllib says, ``Invalid value (at line 3, column 8)``, into reason, line and column."""
    reason, _, place = message.rpartition(" (at ")
    digits = place.rstrip(")").removeprefix("line ").split(", column ")
    if len(digits) == 2 and digits[0].isdecimal() and digits[1].isdecimal():
        line, column = int(digits[0]), int(digits[1])
    elif place == "end of document)":
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    else:
        reason, line, column = message, 0, 0
    return f"is not TOML: {reason[:1].lower()}{reason[1:]}", line, column
