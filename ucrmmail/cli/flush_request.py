"""What a command line asks of ``ucrmmail flush``, and a reader of its usual forms that does without Typer.

Cron starts a flush each minute, and Typer costs it five times the interpreter's own start. So the forms that cron,
scripts and people use are read here; for anything else, mistakes and ``--help`` included, the answer is None, never a
guess: then Typer decides, and knows what to say.
"""

from __future__ import annotations

from ucrmmail.errors import UsageError
from ucrmmail.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class FlushRequest:
    """What is asked of one run. ``time_limit_s`` 0.0 is none, ``message_limit`` 0 is none.

    A plain class, since dataclasses cost a run that finds nothing as much as the interpreter.
    """

    __slots__ = ("as_json", "config_option", "message_limit", "time_limit_s", "verbose", "wait")

    def __init__(
        self,
        config_option: str | None = None,
        *,
        time_limit_s: float = 0.0,
        message_limit: int = 0,
        wait: bool = True,
        verbose: bool = False,
        as_json: bool = False,
    ) -> None:
        self.config_option = config_option
        self.time_limit_s = time_limit_s
        self.message_limit = message_limit
        self.wait = wait
        self.verbose = verbose
        self.as_json = as_json


def read_request(arguments: Sequence[str]) -> FlushRequest | None:
    """Return what these arguments ask of a flush; None when they are no plain ``flush``."""
    if "flush" not in arguments[:3]:
        return None
    request = FlushRequest()
    rest = list(arguments)
    try:
        while (argument := rest.pop(0)) != "flush":
            name, equals, value = argument.partition("=")
            if name != "--config":
                return None
            request.config_option = value if equals else rest.pop(0)
            if not request.config_option:
                return None
        while rest:
            name, equals, value = rest.pop(0).partition("=")
            if name in ("--time-limit", "--message-limit"):
                _set_limit(request, name, value if equals else rest.pop(0))
            elif equals or not _set_flag(request, name):
                return None
    except (IndexError, UsageError, ValueError):
        return None
    return request


def _set_limit(request: FlushRequest, name: str, value: str) -> None:
    if name == "--time-limit":
        request.time_limit_s = read_time_limit(value)
        return
    if not (value.isascii() and value.isdigit()):
        raise ValueError(value)
    request.message_limit = int(value)


def _set_flag(request: FlushRequest, name: str) -> bool:
    """Return whether it is known."""
    if name in ("--wait", "--no-wait"):
        request.wait = name == "--wait"
    elif name in ("-v", "--verbose"):
        request.verbose = True
    elif name == "--json":
        request.as_json = True
    else:
        return False
    return True


def read_time_limit(text: str | None) -> float:
    """Return the seconds of ``--time-limit``, 0.0 when it was not given.

    Raises UsageError, also for "": a variable that is not set in a script is no wish for a run without end.
    """
    if text is None:
        return 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--time-limit: {error}", remedy="such as --time-limit 50s") from None
    if seconds <= 0:
        raise UsageError("--time-limit: must be more than 0", remedy="leave it out for no limit")
    return seconds
