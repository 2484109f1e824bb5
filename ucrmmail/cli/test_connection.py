"""``ucrmmail test-connection``: every stage from the configuration to RCPT, without sending anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.invocation import Invocation
from ucrmmail.dataclass import dataclass, field

if TYPE_CHECKING:
    from ucrmmail.cli.runtime import Login
    from ucrmmail.config.load import Config
    from ucrmmail.errors import UcrmmailError
    from ucrmmail.message.outcome import Stage, Trouble
    from ucrmmail.oauth.keeper import TokenKeeper
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.stages import StageReport

EXAMPLES = """\b
Examples:
  ucrmmail test-connection
  ucrmmail test-connection --transcript --recipient joe@example.com
  ucrmmail test-connection --probe"""


def test_connection(
    context: typer.Context,
    recipient: Annotated[
        str, typer.Option("--recipient", metavar="ADDRESS", help="Ask for this recipient, not for the sender.")
    ] = "",
    probe: Annotated[
        bool, typer.Option("--probe", help="Try the usual ports without a login, and propose settings.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when there is a warning.")] = False,
    transcript: Annotated[bool, typer.Option("--transcript", help="Show the dialogue, without secrets.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what the server offers, as a table.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Test each stage of a session, and send nothing.

    Exits 0 when all holds, 1 when the sender or the recipient was refused; 69, 75, 77 or 78 when there was no session.
    """
    from ucrmmail.cli.address_option import mailbox_in
    from ucrmmail.errors import UsageError
    from ucrmmail.output.connection import show_connection

    if probe and (recipient or strict or transcript or verbose):
        raise UsageError("--probe goes only with --json", remedy="run the command twice, first with --probe alone")
    recipient = mailbox_in("--recipient", recipient) if recipient else ""
    test = _Test()
    configured = test.configured(invocation(context))
    if probe and configured is not None:
        _probe(test, configured[1], as_json=as_json)
        return
    if configured is not None:
        test.run(*configured, recipient)
    show_connection(
        test.stages,
        test.troubles,
        test.offered,
        test.transcript if transcript else [],
        verbose=verbose,
        as_json=as_json,
    )
    if test.troubles:
        raise typer.Exit(_exit_code(test.troubles[0]))
    if strict and any(stage.warning for stage in test.stages):
        raise typer.Exit(1)


def _exit_code(trouble: Trouble) -> int:
    """Return what a refused address or a trouble of the account means to a script."""
    return trouble.exit_code if trouble.scope.value == "account" else 1


def _probe(test: _Test, smarthost: Smarthost, *, as_json: bool) -> None:
    from ucrmmail.clock import Clock
    from ucrmmail.errors import SmarthostUnavailableError
    from ucrmmail.output.connection import show_probe
    from ucrmmail.smtp.probe import combinations_for, probe, settings_for

    probed = probe(smarthost, combinations_for(smarthost), clock=Clock())
    show_probe(probed, settings_for(smarthost, probed), test.stages, as_json=as_json)
    if all(each.trouble is not None for each in probed):
        raise typer.Exit(SmarthostUnavailableError.exit_code)


@dataclass(slots=True)
class _Test:
    """What was seen so far: it is the session's watcher too. The first of the ``troubles`` decides the exit code."""

    stages: list[StageReport] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    offered: Capabilities | None = None
    transcript: list[str] = field(default_factory=list)

    def stage(self, report: StageReport) -> None:
        self.stages.append(report)

    def configured(self, called: Invocation) -> tuple[Config, Smarthost] | None:
        """Return the configuration and the smarthost in it; None when it does not say enough."""
        from ucrmmail.cli.runtime import smarthost_of
        from ucrmmail.errors import UcrmmailError
        from ucrmmail.message.outcome import Stage

        began = time.monotonic()
        try:
            config = called.config()
            smarthost = smarthost_of(config)
        except UcrmmailError as error:
            self._failed(Stage.CONFIGURATION, error, began)
            return None
        login = f"login as {smarthost.username}" if smarthost.logs_in else "no login"
        self._well(
            Stage.CONFIGURATION, f"{config.path}: {smarthost.name}, encryption {smarthost.encryption}, {login}", began
        )
        return config, smarthost

    def run(self, config: Config, smarthost: Smarthost, recipient: str) -> None:
        """Go from the secret to RSET, as far as it makes sense."""
        from ucrmmail.clock import Clock
        from ucrmmail.errors import UcrmmailError
        from ucrmmail.message.outcome import Stage
        from ucrmmail.smtp.intercept import PORT, look_for_proxy
        from ucrmmail.smtp.opening import SessionError, open_session
        from ucrmmail.smtp.transcript import Transcript

        login = self._login(config, smarthost)
        transcript = Transcript()
        began = time.monotonic()
        try:
            session = open_session(
                smarthost,
                secret=login.secret,
                after_refusal=login.after_refusal,
                clock=Clock(),
                observer=transcript,
                watcher=self,
            )
        except SessionError as error:
            self.troubles.append(error.trouble)
        except UcrmmailError as error:
            # The kept token was refused, and there was no other.
            self._failed(Stage.AUTH, error, began)
        except _NoSecretError:
            # Told already; what comes before the login was tested all the same.
            pass
        else:
            self.offered = session.capabilities
            self._rehearse(session, config, recipient)
        if smarthost.port == PORT and any(stage.stage is Stage.CONNECT and stage.ok for stage in self.stages):
            self.stage(look_for_proxy(Clock()))
        self.transcript = transcript.lines

    def _rehearse(self, session: Session, config: Config, recipient: str) -> None:
        """Ask for the sender and the recipient, then say good-bye."""
        from ucrmmail.cli.runtime import sender_of
        from ucrmmail.message.outcome import Scope, Stage
        from ucrmmail.smtp.rehearse import rehearse
        from ucrmmail.smtp.stages import StageReport

        sender = sender_of(config)
        if not sender:
            self.stage(
                StageReport(
                    Stage.MAIL,
                    True,
                    0.0,
                    "not asked: there is no address to send from",
                    warning="no sender is configured: run `ucrmmail config set addresses.sender you@example.com`",
                )
            )
        else:
            trouble = rehearse(session, sender, recipient or sender)
            if trouble is not None:
                self.troubles.append(trouble)
                if trouble.scope is Scope.ACCOUNT:
                    session.close()
                    return
        session.quit()

    def _login(self, config: Config, smarthost: Smarthost) -> Login:
        """Return what gives the session the secret; it is looked for now, and only for an account that logs in."""
        from ucrmmail.cli.oauth import keeper_of, uses_oauth
        from ucrmmail.cli.runtime import Login, find_secret_of
        from ucrmmail.errors import UcrmmailError
        from ucrmmail.message.outcome import Stage

        began = time.monotonic()
        if not smarthost.logs_in:
            self._well(Stage.SECRET, "none is needed: the account does not log in", began)
            return Login(str, str, str)
        try:
            if uses_oauth(config):
                keeper = keeper_of(config)
                keeper.access_token()
                self._well(Stage.SECRET, _told_token(keeper), began, config.text("credentials.source"))
                return Login(keeper.access_token, keeper.after_refusal, keeper.mark)
            secret = find_secret_of(config)
        except UcrmmailError as error:
            self._failed(Stage.SECRET, error, began)
            return Login(_no_secret, str, str)
        self._well(Stage.SECRET, f"found in {_SOURCES.get(secret.source, secret.source)}", began, secret.source)
        return Login(secret.reveal, str, secret.reveal)

    def _well(self, stage: Stage, detail: str, began: float, source: str = "") -> None:
        from ucrmmail.smtp.stages import StageReport

        facts = {"source": source} if source else {}
        self.stage(StageReport(stage, True, time.monotonic() - began, detail, facts=facts))

    def _failed(self, stage: Stage, error: UcrmmailError, began: float) -> None:
        from ucrmmail.smtp.stages import StageReport
        from ucrmmail.smtp.trouble import account_trouble

        what = "; ".join((error.what, *error.problems))
        self.troubles.append(
            account_trouble(stage, what, why=error.why, remedy=error.remedy, exit_code=error.exit_code)
        )
        self.stage(StageReport(stage, False, time.monotonic() - began, what, remedy=error.remedy))


class _NoSecretError(Exception):
    """The session has come to the login, and there is no secret."""


def _no_secret() -> str:
    raise _NoSecretError


def _told_token(keeper: TokenKeeper) -> str:
    from ucrmmail.clock import rfc3339

    came = "kept from before" if keeper.from_store else "fetched now"
    return f"access token {came}, good until {rfc3339(keeper.expires_at)}"


_SOURCES = {
    "systemd": "the credentials of systemd",
    "environment": "the environment (UCRMMAIL_SMTP_PASSWORD)",
    "keyring": "the keyring",
    "file": "the file for secrets",
    "command": "the output of credentials.command",
}
