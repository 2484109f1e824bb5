"""Whether the secret is found: here, and in the environment that cron gives, where other rules hold.

cron knows no session: no bus address, no runtime directory, a short PATH, no terminal. What works in the shell may
fail there, at night. So the look is taken in a process of its own that has exactly cron's environment.
"""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING

from ucrmmail.cli.own import own_command
from ucrmmail.dataclass import dataclass
from ucrmmail.errors import UcrmmailError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location
    from ucrmmail.oauth.keeper import Standing

# The child itself gives a keyring or a command ten.
_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look for the secret found: the source that answers, or should; the error, None when it was found.

    ``token`` is what is known of an OAuth token, as JSON shows it; None for an account that has none of ours.
    """

    source: str
    account: str
    error: UcrmmailError | None
    exit_code: int
    token: dict[str, object] | None = None

    @property
    def found(self) -> bool:
        """Whether the secret is there."""
        return self.error is None

    def document(self) -> dict[str, object]:
        """Return the fields that JSON shows."""
        return {
            "source": self.source or None,
            "found": self.found,
            "account": self.account,
            "token": self.token,
            "error": self.error.what if self.error else None,
            "why": (self.error.why or None) if self.error else None,
            "remedy": (self.error.remedy or None) if self.error else None,
        }


def look_here(config: Config, environ: Mapping[str, str]) -> Look:
    """Look in this environment."""
    from ucrmmail.cli.oauth import keeper_of, uses_oauth
    from ucrmmail.cli.store import store_of
    from ucrmmail.credentials.find import find_secret

    store = store_of(config)
    try:
        if uses_oauth(config):
            standing = keeper_of(config).standing()
            return Look(standing.source, store.account, None, 0, _token_fields(standing))
        source = find_secret(store, environ).source
    except UcrmmailError as error:
        return Look(store.source, store.account, error, error.exit_code)
    return Look(source, store.account, None, 0)


def _token_fields(standing: Standing) -> dict[str, object]:
    from ucrmmail.clock import rfc3339

    token = standing.token
    return {
        "flow": standing.flow,
        "expires_at": rfc3339(token.expires_at) if token.access else None,
        "renewable": standing.renewable,
        "signed_in_at": rfc3339(token.signed_in_at) if token.signed_in_at else None,
        "sign_in_expires_at": rfc3339(token.sign_in_ends_at) if token.sign_in_ends_at else None,
    }


def look_as_cron(location: Location) -> Look:
    """Look as a line of the user's crontab would that names this configuration file."""
    from ucrmmail.credentials.child import run

    environment = cron_environment(location.euid, os.environ)
    home = environment["HOME"]
    argv = [*own_command(), "--config", location.path, "credentials", "status", "--here", "--json"]
    try:
        ended = run(argv, environment, _DEADLINE_S, cwd=home if os.path.isdir(home) else "/")
    except TimeoutError:
        return _failed(f"no answer within {_DEADLINE_S:.0f} s", exit_code=75)
    except OSError as error:
        return _failed(f"{argv[0]}: {error.strerror}", exit_code=75)
    try:
        found = json.loads(ended.out)
        problem = None
        if not found["found"]:
            problem = UcrmmailError(found["error"], why=found["why"] or "", remedy=found["remedy"] or "")
        return Look(found["source"] or "", found["account"], problem, ended.returncode, found["token"])
    except (ValueError, KeyError):
        # It came to no answer, as with a configuration that is wrong: its own words say why.
        said = ended.err.decode("utf-8", "backslashreplace").strip().split("\n")[0]
        return _failed(said.removeprefix("ucrmmail: ") or f"exit {ended.returncode}", exit_code=ended.returncode or 70)


def _failed(what: str, *, exit_code: int) -> Look:
    return Look("", "", UcrmmailError(what), exit_code)


def cron_environment(euid: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what cron gives the commands in a user's crontab (crontab(5))."""
    try:
        user = pwd.getpwuid(euid)
        home, name = user.pw_dir, user.pw_name
    except KeyError:
        # A container's nameless user.
        home, name = environ.get("HOME", "/"), str(euid)
    return {"HOME": home, "LOGNAME": name, "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}


def other_config_of_cron(location: Location) -> str:
    """Return which configuration file cron takes when the crontab names none; "" when it is this one."""
    from ucrmmail.config.location import locate

    other = locate(None, cron_environment(location.euid, os.environ), location.euid).path
    return "" if os.path.realpath(other) == os.path.realpath(location.path) else other
