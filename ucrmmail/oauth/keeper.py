"""The account's token between runs: taken from the store while it is fresh, else renewed, by one process at a time.

    fresh in the store                                      used as it is
    stale, with a refresh token                             refreshed under the lock, and kept before it is used
    none or stale, of a client that needs no person         fetched under the lock, and kept
    none, or ended by the server                            "sign in again", without asking the server

The lock is the kernel's, and who waited for it reads the store again: of two processes one refreshes, since many
servers rotate refresh tokens and take the use of an old one for theft (RFC 6819 section 5.2.2.3). A crash between the
server's reply and the store loses a rotated refresh token, as it would for everybody: a person then signs in again.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from ucrmmail.credentials.find import delete_secret, find_secret, keep_secret, read_kept
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError
from ucrmmail.dataclass import dataclass
from ucrmmail.errors import ConfigError, UcrmmailError
from ucrmmail.files import Locked
from ucrmmail.oauth import machine
from ucrmmail.oauth.provider import (
    CLIENT_CREDENTIALS,
    SERVICE_ACCOUNT,
    WITHOUT_PERSON,
    Client,
    check_complete,
    choose_flow,
)
from ucrmmail.oauth.refresh import refresh
from ucrmmail.oauth.refusal import ENDS_SIGN_IN, GrantRefusedError, sign_in_ended
from ucrmmail.oauth.token import Token, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ucrmmail.clock import Clock
    from ucrmmail.credentials.find import Store

# A token as JSON is longer than a password may be: two tokens of 4 kB and their dates. Keyrings take it.
_LONGEST_BYTES = 32768
_UNLOCK = "unlock it; or keep the token in a file: `ucrmmail login --store file`"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are kept: the token, the client's secret, and the lock that guards the token."""

    token: Store
    client_secret: Store
    lock_path: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands: by which flow, in which source its sign-in (or the client's secret) is, and the token."""

    flow: str
    source: str
    token: Token

    @property
    def renewable(self) -> bool:
        """Whether a run gets the next token without a person."""
        return self.flow in WITHOUT_PERSON or bool(self.token.refresh)


class TokenKeeper:
    """Gives the access token to log in with; one for a run, used by all of its connections."""

    def __init__(self, client: Client, places: Places, environ: Mapping[str, str], clock: Clock) -> None:
        self._client = client
        self._places = places
        self._environ = environ
        self._clock = clock
        self._mutex = threading.Lock()
        self._used = Token()
        self._from_store = False
        self._why_none = ""

    def access_token(self) -> str:
        """Return a token that is good for some minutes.

        Raises TokenUnavailableError (75), SignInEndedError or GrantRefusedError (77), ConfigError (78), and what the
        store raises.
        """
        with self._mutex:
            if not self._used.is_fresh(self._clock.now(), self._client.mark):
                self._from_store = False
                found = self.stored()
                if found.is_fresh(self._clock.now(), self._client.mark):
                    self._used, self._from_store = found, True
                else:
                    self._used = self._renew(refused="")
            return self._used.access

    def after_refusal(self) -> str:
        """Return another token when the smarthost refused one that was kept; "" when it refused a new one.

        A token can end before its time: the password was changed, an administrator ended the sessions. Raises as
        ``access_token``.
        """
        with self._mutex:
            if not self._from_store:
                return ""
            self._from_store = False
            self._used = self._renew(refused=self._used.access)
            return self._used.access

    @property
    def expires_at(self) -> float:
        """When the token that is used ends, in seconds since the epoch."""
        return self._used.expires_at

    @property
    def from_store(self) -> bool:
        """Whether the token that is used was fetched by an earlier run."""
        return self._from_store

    def standing(self) -> Standing:
        """Return how the account stands, without asking the server.

        Raises ConfigError when there is nothing to get a token with, SignInEndedError, and what the store raises.
        """
        flow = self.flow()
        if flow not in WITHOUT_PERSON:
            token = self.stored()
            if not token.refresh:
                raise self._not_signed_in(token)
            return Standing(flow, self._places.token.source, token)
        if flow == SERVICE_ACCOUNT:
            machine.read_key_file(self._client.key_file)
            return Standing(flow, self._places.token.source, self.stored())
        source = find_secret(self._places.client_secret, self._environ).source
        return Standing(flow, source, self.stored())

    def stored(self) -> Token:
        """Return what is in the store, an empty token when there is nothing. Raises what the store raises."""
        if not self._is_kept:
            return Token()
        try:
            return from_json(read_kept(self._places.token, self._environ))
        except SecretMissingError as error:
            self._why_none = f"{error.what}{f': {error.why}' if error.why else ''}"
            return Token()
        except ValueError:
            # Somebody else's secret under our name: a sign-in writes it anew.
            self._why_none = f"what the {self._places.token.source} has for it is no token"
            return Token()
        except SecretUnavailableError as error:
            raise SecretUnavailableError(error.what, why=error.why, remedy=_UNLOCK) from None

    def keep(self, token: Token) -> None:
        """Put the token of a new sign-in into the store. Raises what the store raises."""
        with self._locked():
            self._save(token)

    def forget(self) -> bool:
        """Delete the token from the store; return whether there was one. Raises what the store raises."""
        if not self._is_kept:
            return False
        with self._locked():
            return delete_secret(self._places.token, self._environ)

    def client_secret(self) -> str:
        """Return the client's secret, "" when there is none: public clients have none. Raises what the store raises."""
        try:
            return find_secret(self._places.client_secret, self._environ).reveal()
        except SecretMissingError:
            return ""

    def flow(self) -> str:
        """Return the flow of this account. Raises ConfigError when nothing suits, and what the store raises."""
        return choose_flow(self._client, has_secret=bool(self._has_secret_to_choose()))

    def mark(self) -> str:
        """Return what changes when a person has changed something: a sign-in, the client's secret or key. It is secret.

        Raises what the store raises.
        """
        return f"{self.stored().signed_in_at if self._is_kept else 0} {self.client_secret()}{self._key()}"

    def _key(self) -> str:
        """Return the key of a service account, "" when there is none, or none that can be read."""
        if self._client.key_file:
            with suppress(UcrmmailError):
                return machine.read_key_file(self._client.key_file)["private_key"]
        return ""

    @property
    def _is_kept(self) -> bool:
        """Whether there is a place for tokens: a program that prints a secret keeps none of ours."""
        return self._places.token.source != "command"

    def _has_secret_to_choose(self) -> str:
        # A flow that is set needs no look into the store to be chosen.
        return "" if self._client.flow or self._client.key_file else self.client_secret()

    def _renew(self, *, refused: str) -> Token:
        """Return a new token, or the one that another process has just fetched; ``refused`` is one that is no good."""
        with self._locked():
            found = self.stored()
            if found.access != refused and found.is_fresh(self._clock.now(), self._client.mark):
                return found
            # Who turned to a flow without a person may have a refresh token left from before.
            if found.refresh and self._client.flow not in WITHOUT_PERSON:
                return self._refreshed(found)
            return self._without_person(found)

    def _refreshed(self, old: Token) -> Token:
        try:
            new = refresh(self._client, self.client_secret(), old, now=self._clock.now())
        except GrantRefusedError as error:
            if error.code not in ENDS_SIGN_IN:
                raise
            # Kept, so that the next runs need not ask: some servers lock out who asks again and again. Where it cannot
            # be kept, they ask.
            with suppress(UcrmmailError):
                self._save(old.ended_because(error.what))
            raise sign_in_ended(self._client.user, error.what) from None
        self._save(new)
        return new

    def _without_person(self, old: Token) -> Token:
        flow = self.flow()
        if flow not in WITHOUT_PERSON:
            raise self._not_signed_in(old)
        token = self.fetch_without_person(flow)
        if self._is_kept:
            # On a container's read-only disk each run fetches one of its own, and nothing is lost.
            with suppress(UcrmmailError):
                self._save(token)
        return token

    def _not_signed_in(self, token: Token) -> UcrmmailError:
        if token.ended:
            return sign_in_ended(self._client.user, token.ended)
        if not self._is_kept:
            return ConfigError(
                f"{self._client.user} cannot sign in",
                why="credentials.source is command, and a refresh token has to be kept somewhere",
                remedy="run `ucrmmail login --store keyring` or `--store file`; if the program prints an access token,"
                " unset oauth.client_id",
            )
        return ConfigError(
            f"{self._client.user} has not signed in yet",
            why=self._why_none,
            remedy="run `ucrmmail login`; with --store file where no keyring can be used",
        )

    def fetch_without_person(self, flow: str) -> Token:
        """Return a token of the client itself. Raises as ``access_token``."""
        secret = self.client_secret() if flow == CLIENT_CREDENTIALS else ""
        check_complete(self._client, flow, has_secret=bool(secret))
        now = self._clock.now()
        if flow == SERVICE_ACCOUNT:
            return machine.service_account(self._client, now=now)
        return machine.client_credentials(self._client, secret, now=now)

    def _save(self, token: Token) -> None:
        keep_secret(self._places.token, to_json(token), self._environ, longest_bytes=_LONGEST_BYTES)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._places.lock_path
        with ExitStack() as stack:
            try:
                # A sign-in may come before the first message, which makes the spool.
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                stack.enter_context(Locked(path))
            except OSError as error:
                raise SecretUnavailableError(
                    f"{path}, which guards the token, cannot be locked: {error.strerror}",
                    remedy="run the command as the user who flushes the queue",
                ) from None
            yield
