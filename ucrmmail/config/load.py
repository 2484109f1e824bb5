"""The configuration as the program uses it: each key with its value, where that comes from, and typed access.

A value is, in this order: what the file says; what the preset of ``smtp.transport`` says; the default. The defaults of
port and encryption go with each other, so that setting one of the two is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ucrmmail.config.lines import key_lines
from ucrmmail.config.presets import preset
from ucrmmail.config.schema import KEYS
from ucrmmail.config.source import NotTomlError, parse, read_file
from ucrmmail.config.validate import Problem, validate
from ucrmmail.dataclass import dataclass
from ucrmmail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.config.kinds import Value, Written
    from ucrmmail.config.location import Location
    from ucrmmail.config.presets import Preset
    from ucrmmail.config.validate import Setting

T = TypeVar("T")

_PORTS = {"tls": 465, "starttls": 587, "none": 25}


class Config:
    """A checked configuration. Access is by key; asking for the wrong type is a fault of ours, not the user's."""

    __slots__ = ("_defaults", "_location", "_settings", "_text")

    def __init__(self, location: Location, settings: Mapping[str, Setting], text: str) -> None:
        self._location = location
        self._settings = settings
        self._text = text
        self._defaults = _defaults(settings, location)

    @property
    def path(self) -> str:
        """The file it was read from, whether it exists or not."""
        return self._location.path

    @property
    def location(self) -> Location:
        """Which file that is, and why."""
        return self._location

    @property
    def preset(self) -> Preset:
        """The provider, or plain ``smtp``."""
        return preset(self.text("smtp.transport"))

    def text(self, key: str) -> str:
        """Return a text, choice, address or path; "" when there is none."""
        return self._typed(key, str)

    def integer(self, key: str) -> int:
        """Return a whole number."""
        return self._typed(key, int)

    def flag(self, key: str) -> bool:
        """Return yes or no."""
        return self._typed(key, bool)

    def seconds(self, key: str) -> float:
        """Return a duration in seconds."""
        return self._typed(key, float)

    def size_bytes(self, key: str) -> int:
        """Return a size in bytes."""
        return self.integer(key)

    def words(self, key: str) -> tuple[str, ...]:
        """Return a list, or a command with its arguments; empty when there is none."""
        return self._typed(key, tuple)

    def values_in(self, *tables: str) -> list[tuple[str, Value]]:
        """Return each key of these tables with its value, secrets apart."""
        return [(key.path, self._value(key.path)) for key in KEYS.values() if key.table in tables and not key.secret]

    def _typed(self, key: str, kind: type[T]) -> T:
        value = self._value(key)
        if not isinstance(value, kind):
            raise TypeError(f"{key} is {type(value).__name__}, not {kind.__name__}")
        return value

    def _value(self, key: str) -> Value:
        setting = self._settings.get(key)
        return setting.value if setting is not None else KEYS[key].kind.check(self._default(key)[0])

    def _default(self, key: str) -> tuple[Written, str]:
        return self._defaults.get(key, (KEYS[key].default, "default"))

    def written(self, key: str) -> object:
        """Return the value as the file would have it: for people, who wrote ``24h`` and not 86400."""
        setting = self._settings.get(key)
        return setting.written if setting is not None else self._default(key)[0]

    def default(self, key: str) -> Written:
        """Return what applies when the key is not set, written as in the file."""
        return self._default(key)[0]

    def origin(self, key: str) -> str:
        """Return where the value comes from: ``default``, ``preset gmail``, or ``file:/etc/.../config.toml:3``."""
        if key not in self._settings:
            return self._default(key)[1]
        line = key_lines(self._text).get(key, 0)
        return f"file:{self.path}:{line}" if line else f"file:{self.path}"

    def is_set(self, key: str) -> bool:
        """Return whether the file sets the key."""
        return key in self._settings

    def smarthost_problem(self) -> ConfigError | None:
        """Return why mail cannot be sent with this configuration, None when the smarthost is known well enough."""
        if not self.text("smtp.host"):
            return self._no_host()
        if self.preset.name != "smtp" and not self.text("smtp.username"):
            return ConfigError(
                "smtp.username is not set",
                why=f"{self.preset.title} takes mail only after a login",
                remedy=f"`ucrmmail config set smtp.username {self.preset.login}`, then"
                " `ucrmmail config set smtp.password`",
            )
        return None

    def _no_host(self) -> ConfigError:
        if self.preset.name == "ses":
            return ConfigError(
                "smtp.host is not set",
                why="Amazon SES has a host for each region, and the account lives in one of them",
                remedy="`ucrmmail config set smtp.host email-smtp.eu-central-1.amazonaws.com`, with your region",
            )
        there = "smtp.host is not set" if self._location.exists else "the file does not exist yet"
        return ConfigError(
            "no smarthost is configured",
            why=f"{self.path}: {there}",
            remedy="`ucrmmail setup`; or `ucrmmail config set smtp.transport gmail` (see `ucrmmail config presets`), or"
            " `ucrmmail config set smtp.host mail.isp.example`",
        )


def _defaults(settings: Mapping[str, Setting], location: Location) -> dict[str, tuple[Written, str]]:
    """Return the defaults that are not those of the schema, by key, each with its origin."""
    defaults: dict[str, tuple[Written, str]] = {
        "spool.directory": (location.spool_directory, "default"),
    }
    transport = settings.get("smtp.transport")
    found = preset(str(transport.value) if transport is not None else "smtp")
    origin = f"preset {found.name}" if found.name != "smtp" else "default"
    for key, value in (("smtp.host", found.host), ("smtp.username", found.username)):
        if value:
            defaults[key] = (value, origin)
    if found.authentication != "auto":
        defaults["smtp.authentication"] = (found.authentication, origin)
    defaults["smtp.encryption"], defaults["smtp.port"] = _encryption_and_port(settings, found, origin)
    return defaults


def _encryption_and_port(
    settings: Mapping[str, Setting], found: Preset, origin: str
) -> tuple[tuple[str, str], tuple[int, str]]:
    """Return the defaults of the two, each with its origin: who sets one of them need not set the other."""
    encryption, port = (found.encryption, origin), (found.port, origin)
    if "smtp.port" in settings and settings["smtp.port"].value != found.port:
        tls = settings["smtp.port"].value == _PORTS["tls"]
        encryption = ("tls" if tls else "starttls", "default")
    if "smtp.encryption" in settings and settings["smtp.encryption"].value != found.encryption:
        port = (_PORTS[str(settings["smtp.encryption"].value)], "default")
    return encryption, port


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a file: the configuration of what is right in it, and the problems."""

    config: Config
    problems: tuple[Problem, ...]


def examine(location: Location) -> Examination:
    """Read the file and return all that is wrong in it, syntax included; no file is an empty one.

    Raises PermissionDeniedError, ConfigError or InputOutputError when it cannot be read or trusted at all.
    """
    return examine_bytes(read_file(location.path, location.euid) or b"", location)


def examine_bytes(data: bytes, location: Location) -> Examination:
    """Return what is right and wrong in the content of a configuration file."""
    try:
        document = parse(data, location.path)
    except NotTomlError as error:
        problem = Problem(location.path, error.line, "", error.reason, column=error.column)
        return Examination(Config(location, {}, ""), (problem,))
    text = data.decode("utf-8")
    settings, problems = validate(document, text, location.path)
    return Examination(Config(location, settings, text), problems)


def load(location: Location) -> Config:
    """Return the configuration; a missing file means defaults.

    Raises ConfigError that shows all problems of the file together, and what ``examine`` raises.
    """
    found = examine(location)
    if found.problems:
        raise problems_error(location.path, found.problems)
    return found.config


def problems_error(path: str, problems: tuple[Problem, ...]) -> ConfigError:
    """Return the error that shows the problems of a file, one line each."""
    lines = tuple(str(problem) for problem in problems)
    if len(lines) == 1:
        return ConfigError(lines[0], remedy="`ucrmmail config edit`")
    return ConfigError(
        f"{path} has {len(lines)} errors",
        problems=lines,
        remedy="mend them with `ucrmmail config edit`; `ucrmmail config check` shows what is left",
    )
