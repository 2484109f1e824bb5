"""``ucrmmail login``: sign in with OAuth, by the flow that suits the account, and keep what renews the token."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.invocation import Invocation
from ucrmmail.cli.mistyped import no_such_store
from ucrmmail.errors import UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.oauth.device import Invitation
    from ucrmmail.oauth.keeper import TokenKeeper
    from ucrmmail.oauth.provider import Client
    from ucrmmail.oauth.token import Token

EXAMPLES = """\b
Examples:
  ucrmmail login                             # by the flow that suits it
  ucrmmail login --flow client-credentials   # Microsoft 365, no user
  ucrmmail login --no-browser                # on a server: paste the URL

\b
Before the first time, the application is registered with the provider, and
  ucrmmail config set oauth.client_id ID
  ucrmmail config set oauth.client_secret
`man ucrmmail-login` says how, for Microsoft and Google."""

_STORES = ("keyring", "file")
# A code of Google's or Microsoft's is good for some minutes; a person who has not come back by then has gone.
_LONGEST_WAIT_S = 900.0
_LONGEST_ADDRESS = 16384


def login(
    context: typer.Context,
    flow: Annotated[
        str,
        typer.Option(
            "--flow",
            metavar="FLOW",
            help="client-credentials, device-code, authorization-code or service-account; it is recorded.",
        ),
    ] = "",
    store: Annotated[
        str, typer.Option("--store", metavar="STORE", help="Where the token is kept: keyring or file.")
    ] = "",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Open no browser: take the address on standard input.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign in with OAuth 2.0, to send without a password.

    What renews the access token is kept in the credential store; later runs renew it by themselves.
    """
    from ucrmmail.cli.credentials import usable_source
    from ucrmmail.oauth.provider import FLOWS, WITHOUT_PERSON, check_complete

    if flow and flow not in FLOWS:
        raise not_allowed(f"--flow: {flow!r} is not known", flow, FLOWS)
    if store and store not in _STORES:
        raise no_such_store(store, _STORES)
    called = invocation(context)
    signing = _SignIn(called, flow, store)
    check_complete(signing.client, signing.flow, has_secret=bool(signing.secret))
    if signing.flow not in WITHOUT_PERSON and signing.source == "command":
        raise UsageError(
            "a refresh token has to be kept, and credentials.source is command", remedy="say --store keyring or file"
        )
    if not signing.source:
        # Found out before the person goes through it all.
        signing.source = usable_source(signing.config, "login")
    token = signing.token(browser=not no_browser)
    signing.record(token)
    signing.report(token, as_json=as_json)


class _SignIn:
    """One sign-in: how, for which client, and where its token goes (``source`` "" when nobody has chosen yet)."""

    def __init__(self, called: Invocation, flow: str, store: str) -> None:
        from ucrmmail.cli.oauth import client_of, keeper_of

        self._called = called
        self.config: Config = called.config()
        self._given_flow = flow
        self._before = self.config.text("credentials.source") if self.config.is_set("credentials.source") else ""
        self.source = store or self._before
        self.client: Client = client_of(self.config, flow)
        keeper: TokenKeeper = keeper_of(self.config, flow=flow)
        # A service account has its key; everybody else may have a secret, which also decides on the flow.
        self.secret = "" if self.client.key_file and not flow else keeper.client_secret()
        self.flow = keeper.flow()

    def token(self, *, browser: bool) -> Token:
        """Go through the flow. Raises GrantRefusedError, ClientRefusedError, TokenUnavailableError, UsageError."""
        from ucrmmail.clock import Clock
        from ucrmmail.oauth import device
        from ucrmmail.oauth.provider import AUTHORIZATION_CODE, DEVICE_CODE

        if self.flow == DEVICE_CODE:
            return device.sign_in(self.client, self.secret, clock=Clock(), invite=_invite)
        if self.flow == AUTHORIZATION_CODE:
            return _by_browser(self.client, self.secret, browser=browser)
        return self._keeper().fetch_without_person(self.flow)

    def _keeper(self) -> TokenKeeper:
        from ucrmmail.cli.oauth import keeper_of

        return keeper_of(self.config, flow=self._given_flow, source=self.source)

    def record(self, token: Token) -> None:
        """Keep the token, and write down what the next runs need to know."""
        from ucrmmail.cli.oauth import WITH_TOKEN
        from ucrmmail.cli.store import store_of
        from ucrmmail.config.edit import set_value
        from ucrmmail.credentials.environment import override
        from ucrmmail.credentials.find import keep_secret
        from ucrmmail.oauth.provider import WITHOUT_PERSON
        from ucrmmail.oauth.refusal import GrantRefusedError

        if not token.refresh and self.flow not in WITHOUT_PERSON:
            raise GrantRefusedError(
                "no_refresh_token",
                "the server gave no refresh token, so nothing could be renewed after an hour",
                why="the scope does not ask for one, or the server wants to be asked for it in another way",
                remedy="add offline_access to oauth.scope, if the provider has it",
            )
        if self.source != "command":
            if self.secret and self.source != self._before and not override(os.environ, "oauth.client_secret"):
                # One account has one source: the client's secret goes where the token goes.
                keep_secret(store_of(self.config, self.source, "oauth.client_secret"), self.secret, os.environ)
            self._keeper().keep(token)
        location = self._called.location()
        set_value(location, "credentials.source", self.source)
        if self._given_flow:
            set_value(location, "oauth.flow", self._given_flow)
        if self.config.text("smtp.authentication") not in WITH_TOKEN:
            set_value(location, "smtp.authentication", "xoauth2")

    def report(self, token: Token, *, as_json: bool) -> None:
        """Say what was stored where, and how long it holds."""
        from ucrmmail.cli.credentials import remark
        from ucrmmail.cli.store import store_of
        from ucrmmail.clock import rfc3339
        from ucrmmail.output import machine

        ends_at = rfc3339(token.sign_in_ends_at) if token.sign_in_ends_at else None
        if as_json:
            machine.print_document(
                {
                    "account": self.client.user,
                    "flow": self.flow,
                    "provider": self.client.provider.name or None,
                    "source": self.source,
                    "expires_at": rfc3339(token.expires_at),
                    "renewable": True,
                    "sign_in_expires_at": ends_at,
                }
            )
            return
        chosen = store_of(self.config, self.source, "oauth.client_secret")
        place = {"file": chosen.file, "keyring": "the keyring"}.get(self.source, "nothing: each run fetches its own")
        human.say(f"{self.client.user} is signed in ({self.flow}); what renews its token is kept in {place}")
        human.say(f"the access token is good until {rfc3339(token.expires_at)}, and is renewed by itself")
        if ends_at:
            human.note(
                f"warning: this sign-in ends at {ends_at}: Google gives 7 days to a client whose publishing status is"
                " Testing"
            )
            human.note("  remedy: publish it (Google Auth platform, Audience), or make it Internal; then sign in again")
        if self.source != "command":
            remark(self._called.location(), chosen, self._before)


def _invite(invitation: Invitation) -> None:
    human.note(f"Open {invitation.url} in any browser, sign in as the sending account, and enter the code:")
    human.note(f"  {invitation.user_code}")
    human.note(f"It is good for {invitation.life_s / 60:.0f} minutes; waiting for you ...")


def _by_browser(client: Client, secret: str, *, browser: bool) -> Token:
    from ucrmmail.clock import Clock
    from ucrmmail.oauth.code import ask, redeem
    from ucrmmail.oauth.loopback import Loopback

    clock = Clock()
    with Loopback() as loopback:
        question = ask(client, secret, loopback.port)
        human.note("Open this address in a browser, and agree as the sending account:")
        human.note(f"  {question.url}")
        if not browser:
            answer = _pasted()
        else:
            _open_browser(question.url)
            human.note("Waiting for the browser; from another machine, paste the address that it ends at here.")
            terminal = sys.stdin.fileno() if sys.stdin.isatty() else -1
            answer = loopback.answer(question.state, clock=clock, life_s=_LONGEST_WAIT_S, other=terminal)
            if not answer and terminal >= 0:
                answer = _pasted()
        return redeem(client, secret, question, answer, now=clock.now())


def _pasted() -> str:
    """Return the line that was pasted: the page cannot be reached from another machine, but its address is enough."""
    human.note("The browser ends at a page that does not load. Paste its address here:")
    line = sys.stdin.readline(_LONGEST_ADDRESS).strip()
    if not line:
        raise UsageError("no address was given", remedy="run the command again, and paste the address")
    return line


def _open_browser(url: str) -> None:
    """Open a browser where there is a screen; one in this terminal would only be in the way."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin":
        import webbrowser

        webbrowser.open(url)
