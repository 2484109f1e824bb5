"""What a submission needs of the configuration, read without the schema, so that it costs a tenth of a full load.

The keys, defaults and checks are those of ``schema``; a test holds the two together. What is wrong in keys that a
submission does not use is left to ``flush`` and ``config check``: mail is still accepted and waits.
"""

from __future__ import annotations

from ucrmmail.config.location import spool_directory
from ucrmmail.config.source import parse, read_file
from ucrmmail.errors import ConfigError, NoUserError
from ucrmmail.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.config.location import Location

MAX_MESSAGE_SIZE = "50MB"
MIN_FREE_SPACE = "50MB"


class SubmissionSettings:
    """The spool (a directory and two sizes in bytes) and the four addresses, "" when unset."""

    __slots__ = (
        "max_message_size",
        "min_free_space",
        "notification",
        "organization",
        "sender",
        "spool_directory",
        "support",
    )

    def __init__(self, spool: _Table, addresses: _Table, default_spool: str) -> None:
        self.spool_directory = spool.directory("directory", default_spool)
        self.max_message_size = spool.size("max_message_size", MAX_MESSAGE_SIZE, smallest=1)
        self.min_free_space = spool.size("min_free_space", MIN_FREE_SPACE, smallest=0)
        self.sender = addresses.mailbox("sender")
        self.organization = addresses.mailbox("organization")
        self.support = addresses.mailbox("support")
        self.notification = addresses.mailbox("notification")


def read_submission_settings(
    path: str | None, environ: Mapping[str, str], euid: int, *, to_submit: bool = False
) -> SubmissionSettings:
    """Return the settings from the file at ``path``; defaults when it is None or there is no such file.

    ``to_submit`` takes those of the user who sends for the whole system, too: see ``read_file``.

    Raises ConfigError when it is not TOML or a value is wrong, PermissionDeniedError when it cannot be trusted.
    """
    data = read_file(path, euid, to_submit=to_submit) if path is not None else None
    document = parse(data, path) if data is not None and path is not None else {}
    return SubmissionSettings(
        _Table(document, "spool", path or ""),
        _Table(document, "addresses", path or ""),
        spool_directory(environ, euid),
    )


def refuse_missing(location: Location) -> None:
    """Raise ConfigError when the file that a person named is not there: the queue would be another one."""
    if location.named and not location.exists:
        raise ConfigError(
            f"{location.path}: there is no such configuration file",
            why=f"it was {location.reason}",
            remedy="correct the name, or make the file with `ucrmmail config set`",
        )


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
        return value.rstrip("/") or "/"

    def size(self, key: str, default: str, *, smallest: int) -> int:
        """Return a size in bytes; an integer in the file is bytes too."""
        value = self._values.get(key, default)
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise self._wrong(key, "is not a size, such as 50MB")
        try:
            size_bytes = parse_size(str(value))
        except (ValueError, OverflowError) as error:
            raise self._wrong(key, str(error)) from None
        if size_bytes < smallest:
            raise self._wrong(key, f"{value!r} is too small")
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
