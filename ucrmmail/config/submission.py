"""What a submission needs of the configuration, read without the schema, so that it costs a tenth of a full load.

The keys, defaults and checks are those of ``schema``; a test holds the two together. A wrong value in the tables that a
submission does not use is left to ``flush`` and ``config check``: mail is still accepted and waits. A name that nobody
knows, and that may have been meant for the spool or an address, is refused: the mail would wait in another queue.
"""

from __future__ import annotations

from ucrmmail.config.location import refuse_another_file_elsewhere, spool_directory, submission_directory
from ucrmmail.config.source import parse, read_file
from ucrmmail.config.spool_values import LARGEST_MESSAGE_BYTES, MAX_MESSAGE_SIZE, MIN_FREE_SPACE, SYNC
from ucrmmail.errors import ConfigError, NoUserError
from ucrmmail.units import parse_duration, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.config.location import Location

TABLES = ("smtp", "addresses", "throttler", "antiflood", "spool", "retry", "dns", "credentials", "oauth", "imap")
# All keys of the tables that are read here; no key of another table has one of these names.
OURS = {
    "addresses": ("sender", "organization", "support", "notification"),
    "spool": ("directory", "sync", "keep_sent", "max_message_size", "min_free_space"),
}


class SubmissionSettings:
    """The spool (a directory and two sizes in bytes), the four addresses and the smarthost, "" when unset."""

    __slots__ = (
        "max_message_size",
        "min_free_space",
        "notification",
        "organization",
        "sender",
        "smarthost",
        "spool_directory",
        "support",
    )

    def __init__(self, spool: _Table, addresses: _Table, default_spool: str, smtp: object) -> None:
        self.spool_directory = spool.directory("directory", default_spool)
        self.max_message_size = spool.size(
            "max_message_size", MAX_MESSAGE_SIZE, smallest=1, largest=LARGEST_MESSAGE_BYTES
        )
        self.min_free_space = spool.size("min_free_space", MIN_FREE_SPACE, smallest=0)
        self.sender = addresses.mailbox("sender")
        self.organization = addresses.mailbox("organization")
        self.support = addresses.mailbox("support")
        self.notification = addresses.mailbox("notification")
        # Of use where it is this machine; one that is wrong is left to others.
        self.smarthost = str(smtp.get("host", "")) if isinstance(smtp, dict) else ""


def read_submission_settings(
    path: str | None, environ: Mapping[str, str], euid: int, *, to_submit: bool = False
) -> SubmissionSettings:
    """Return the settings from the file at ``path``; defaults when it is None or there is no such file.

    ``to_submit`` takes those of the user who sends for the whole system, too: see ``read_file``, and for the queue that
    mail is then submitted to ``submission_directory``.

    Raises ConfigError when it is not TOML or a name or value is wrong, PermissionDeniedError when it cannot be trusted.
    """
    data = read_file(path, euid, to_submit=to_submit) if path is not None else None
    document = parse(data, path) if data is not None and path is not None else {}
    for name, table in document.items():
        if _is_doubtful(name, table):
            _refuse_what_is_wrong(document, data or b"", path or "")
            break
    default = submission_directory(path, environ, euid) if path and to_submit else spool_directory(environ, euid)
    spool, addresses = (_Table(document, name, path or "") for name in ("spool", "addresses"))
    return SubmissionSettings(spool, addresses, default, document.get("smtp"))


def refuse_missing(location: Location) -> None:
    """Raise ConfigError when the file that a person named is not there: the queue would be another one."""
    if location.named and not location.exists:
        raise ConfigError(
            f"{location.path}: there is no such configuration file",
            why=f"it was {location.reason}",
            remedy="correct the name, or make the file with `ucrmmail config set`",
        )


def _is_doubtful(name: str, table: object) -> bool:
    """Return whether the full load should look at a table: at its name, its keys, or the values not read here."""
    if name not in TABLES:
        return True
    if not isinstance(table, dict):
        return False
    if name not in OURS:
        # As when the line [spool] is missing above it.
        return any(key in keys for keys in OURS.values() for key in table)
    return any(key not in OURS[name] for key in table) or (
        name == "spool" and not (table.get("sync", SYNC[0]) in SYNC and _is_duration(table.get("keep_sent", "0")))
    )


def _is_duration(written: object) -> bool:
    try:
        parse_duration(str(written))
    except ValueError:
        return False
    return True


def _refuse_what_is_wrong(document: dict[str, object], data: bytes, path: str) -> None:
    """Raise ConfigError with the first problem that the full load finds, if mail could go astray by it."""
    from ucrmmail.config.validate import validate  # noqa: PLC0415 # all of the schema, for a mistake only

    for problem in validate(document, data.decode("utf-8"), path)[1]:
        table, _, key = problem.key.partition(".")
        if table not in TABLES or table in OURS or any(key in keys for keys in OURS.values()):
            raise ConfigError(str(problem), remedy="`ucrmmail config edit`, then `ucrmmail config check`")


class _Table:
    """One table of the file, and how its values are checked."""

    __slots__ = ("_name", "_path", "_values")

    def __init__(self, document: dict[str, object], name: str, path: str) -> None:
        values = document.get(name, {})
        self._name = name
        self._path = path
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {name}: is not a table", remedy=f"write [{name}] on a line of its own")
        self._values: dict[str, object] = values

    def _wrong(self, key: str, problem: str) -> ConfigError:
        return ConfigError(
            f"{self._path}: {self._name}.{key}: {problem}",
            remedy=f"`ucrmmail config set {self._name}.{key} VALUE`, then `ucrmmail config check`",
        )

    def _text(self, key: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(key, "is not text in quotes")
        return value

    def directory(self, key: str, default: str) -> str:
        """Return an absolute path without a slash at its end."""
        value = self._text(key)
        if not value:
            return default
        if not value.startswith("/") or not value.isprintable():
            raise self._wrong(key, f"{value!r} is not an absolute path")
        try:
            refuse_another_file_elsewhere(value)
        except ValueError as error:
            raise self._wrong(key, str(error)) from None
        return value.rstrip("/") or "/"

    def size(self, key: str, default: str, *, smallest: int, largest: int = 0) -> int:
        """Return a size in bytes; an integer in the file is bytes too. ``largest`` 0 is none."""
        value = self._values.get(key, default)
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise self._wrong(key, "is not a size, such as 50MB")
        try:
            size_bytes = parse_size(str(value))
        except (ValueError, OverflowError) as error:
            raise self._wrong(key, str(error)) from None
        if size_bytes < smallest:
            raise self._wrong(key, f"{value!r} is too small")
        if largest and size_bytes > largest:
            raise self._wrong(key, f"{value!r} is too large")
        return size_bytes

    def mailbox(self, key: str) -> str:
        """Return an address as it goes on the wire."""
        value = self._text(key)
        if not value:
            return ""
        from ucrmmail.message.address import parse_mailbox  # noqa: PLC0415 # a config without addresses has no use for it

        try:
            return parse_mailbox(value)
        except NoUserError as error:
            raise self._wrong(key, f"{error.what}: {error.why}") from None
