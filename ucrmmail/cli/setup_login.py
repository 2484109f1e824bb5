"""Who logs in, with which secret, and where that is kept: asked only where it cannot be known."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ucrmmail.cli.dialogue import nobody_to_ask
from ucrmmail.config.presets import preset
from ucrmmail.dataclass import dataclass, field, replace
from ucrmmail.errors import UcrmmailError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.cli.dialogue import Dialogue
    from ucrmmail.cli.setup_search import Found
    from ucrmmail.config.kinds import Written
    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location
    from ucrmmail.config.presets import Preset
    from ucrmmail.credentials.find import Store

# Providers that want a sign-in instead of a password, wholly or soon.
_SIGN_IN = ("microsoft365", "outlook")
_TOKENS = ("xoauth2", "oauthbearer")
_OVERRIDES = ("UCRMMAIL_SMTP_PASSWORD", "CREDENTIALS_DIRECTORY")


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in ("": nobody) and with which secret; ``is_new`` when it is not kept anywhere yet."""

    username: str
    secret: str = field(default="", repr=False)
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Logins:
    """What is known of the login before anything is asked; ``username`` is None when the flags do not say."""

    config: Config
    talk: Dialogue
    username: str | None
    store: str
    password_stdin: bool
    test: bool

    @property
    def recorded(self) -> str:
        """The source that the configuration names, "" when it names none."""
        return self.config.text("credentials.source") if self.config.is_set("credentials.source") else ""

    def login(self, address: str, found: Found) -> Login:
        """Return user name and secret; none where the server offers no login. Raises UsageError, and as the source."""
        chosen = preset(found.transport)
        said = self.username is not None or self.password_stdin
        own = found.transport == "smtp"
        if self.username == "" or (own and not said and found.offers_login is False):
            self.talk.say("No login is set up." if self.username == "" else "It offers no login, so none is set up.")
            return Login("")
        if own and not said and not self.talk.asks:
            if found.offers_login is None:
                return Login("")
            raise UsageError(
                "--password-stdin is missing, and there is no terminal to ask on",
                why=f"{found.host} offers a login",
                remedy='say --username "" to go without one',
            )
        name = self.username or chosen.username
        if not name:
            # A user name that was written for another address is not this one's.
            same_account = self.config.text("addresses.sender") in ("", address)
            default = (self.config.text("smtp.username") if same_account else "") or address
            name = self.talk.ask("User name", str, default=default, missing="--username") if self.talk.asks else default
        return self._with_secret(name, chosen)

    def _with_secret(self, name: str, chosen: Preset) -> Login:
        if self.password_stdin:
            return Login(name, _from_stdin(chosen), is_new=True)
        store = self._store_for(name, self.store or self.recorded)
        if store is not None and store.source == "command":
            from ucrmmail.credentials.find import find_secret

            self.talk.say(f"The password of {name} comes from {store.command[0]}.")
            return Login(name, find_secret(store, os.environ).reveal())
        kept = _kept(store, os.environ) if store is not None else ""
        if chosen.authentication in _TOKENS:
            self.talk.say(f"{chosen.title} takes no password: sign in with `ucrmmail login` afterwards.")
            return Login(name, kept)
        signs_in = chosen.name in _SIGN_IN
        if not self.talk.asks:
            if not kept and not (signs_in and not self.test):
                raise nobody_to_ask("--password-stdin")
            return Login(name, kept)
        return self._asked(name, chosen, kept, signs_in=signs_in)

    def _asked(self, name: str, chosen: Preset, kept: str, *, signs_in: bool) -> Login:
        if chosen.note and chosen.name != "smtp":
            self.talk.say(f"{chosen.title}: {chosen.note}.")
        if chosen.app_page:
            self.talk.say(f"It is made at {chosen.app_page}.")
        hint = ""
        if kept:
            hint = " (Enter keeps the one that is there)"
        elif signs_in:
            hint = " (Enter: sign in with `ucrmmail login` later)"
        while True:
            secret = _as_meant(self.talk.ask_secret(f"Password of {name}{hint}"), chosen)
            if secret or hint:
                return Login(name, secret or kept, is_new=bool(secret))
            self.talk.say("The password is empty.")

    # --- where it is kept ---------------------------------------------------------------------------------------------

    def store_of_new(self, login: Login) -> Store:
        """Return where a new secret goes: as said, as recorded, a keyring that works now, or a file that is agreed to.

        Raises UsageError.
        """
        from ucrmmail.credentials import keyring

        chosen = self._store_for(login.username, self.store or self.recorded)
        if chosen is not None:
            return chosen
        try:
            keyring.probe(os.environ)
        except UcrmmailError as error:
            self.talk.say(f"{error.what[:1].upper()}{error.what[1:]}.")
            file = self._named(login.username, "file")
            if self.talk.agrees(f"Keep the password in {file.file}, readable by you alone?"):
                return file
            raise UsageError(
                f"--store is missing: {error.what}", why=error.why, remedy="say --store file (an owner-only file)"
            ) from None
        return self._named(login.username, "keyring")

    def _store_for(self, name: str, source: str) -> Store | None:
        """Return where the secret of this user name is kept by this source; None when no source is chosen."""
        if not source:
            return None
        store = self._named(name, source)
        if source == "command" and not store.command:
            raise UsageError(
                "--store command: credentials.command is not set",
                remedy="`ucrmmail config set credentials.command 'pass show smtp'`, then this again",
            )
        return store

    def _named(self, name: str, source: str) -> Store:
        from ucrmmail.cli.store import store_of

        return replace(store_of(self.config, source), names=(name, os.path.realpath(self.config.path)))


def keep_both(location: Location, values: Mapping[str, Written | None], store: Store, secret: str) -> None:
    """Keep the secret and change the file; when the second fails, or is interrupted, the first is taken back.

    Raises what either of them raises.
    """
    from ucrmmail.config.edit import change_values
    from ucrmmail.credentials.find import delete_secret, keep_secret

    # What goes before the store here is no earlier content of the store.
    environ = {name: value for name, value in os.environ.items() if name not in _OVERRIDES}
    before = _kept(store, environ)
    try:
        keep_secret(store, secret, environ)
        change_values(location, values)
    except BaseException:
        if before and store.source != "command":
            keep_secret(store, before, environ)
        elif store.source != "command":
            delete_secret(store, environ)
        raise


def _kept(store: Store, environ: Mapping[str, str]) -> str:
    """Return the secret that is there already, "" when there is none or it cannot be read."""
    from ucrmmail.credentials.find import find_secret

    try:
        return find_secret(store, environ).reveal()
    except UcrmmailError:
        return ""


def _from_stdin(chosen: Preset) -> str:
    """Return the first line of standard input. Raises UsageError."""
    from ucrmmail.credentials.secret import LONGEST_BYTES, checked

    try:
        line = sys.stdin.buffer.readline(LONGEST_BYTES + 2).decode()
    except UnicodeDecodeError:
        raise UsageError("standard input is not UTF-8 text", remedy="convert it with iconv(1)") from None
    secret = checked(line.removesuffix("\n").removesuffix("\r"), "the password")
    if not secret:
        raise UsageError("standard input holds no password", remedy="pipe it in, as one line")
    return _as_meant(secret, chosen)


def _as_meant(secret: str, chosen: Preset) -> str:
    """Return a password as it is meant: Google shows the 16 letters of an app password in four groups."""
    joined = "".join(secret.split())
    shown_in_groups = chosen.name == "gmail" and len(joined) == 16 and joined.isascii() and joined.isalpha()
    return joined if shown_in_groups else secret
