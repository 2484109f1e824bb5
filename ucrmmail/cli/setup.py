"""``ucrmmail setup``: the guide for the first time. It asks only what it cannot know, and writes only what was tested.

    address -> provider (MX), its own word (SRV), or a name from a person -> user name and password
            -> tested -> shown, with what it replaces -> written in one step, with the secret -> a test message

Up to the writing nothing is kept: leaving at any question leaves nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.mistyped import no_such_store
from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import NoUserError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from ucrmmail.cli.dialogue import Dialogue
    from ucrmmail.cli.setup_login import Login, Logins
    from ucrmmail.cli.setup_search import Found
    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location
    from ucrmmail.config.plan import Setting
    from ucrmmail.credentials.find import Store
    from ucrmmail.doctor.connection import Seen

EXAMPLES = """\b
Examples:
  ucrmmail setup
  ucrmmail setup billing@isp.example
  pass show smtp | ucrmmail setup you@gmail.com --password-stdin --yes
  ucrmmail setup relay@isp.example --host mail.isp.example --username relay"""

_STORES = ("keyring", "file", "command")
_ENCRYPTIONS = ("tls", "starttls", "none")
_MOST_LOGINS = 3
_NOPERM = 77
_INTERRUPTED = 130
# The groups of its options in --help.
_ACCOUNT = "The account"
_KEPT = "The secret"
_RUN = "How it goes"


def setup(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="The address that mail is sent from.", show_default=False)
    ] = "",
    address_option: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="The same, as an option.", rich_help_panel=_ACCOUNT)
    ] = "",
    transport: Annotated[
        str,
        typer.Option(
            "--transport",
            metavar="PRESET",
            help="The provider, see `ucrmmail config presets`.",
            rich_help_panel=_ACCOUNT,
        ),
    ] = "",
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The smarthost.", rich_help_panel=_ACCOUNT)] = "",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=1,
            max=65535,
            help="Its port; without one the usual are tried.",
            rich_help_panel=_ACCOUNT,
        ),
    ] = None,
    encryption: Annotated[
        str, typer.Option("--encryption", metavar="ENCRYPTION", help="tls, starttls or none.", rich_help_panel=_ACCOUNT)
    ] = "",
    username: Annotated[
        str | None,
        typer.Option(
            "--username",
            metavar="NAME",
            help='The user name, the address by default; "" for no login.',
            rich_help_panel=_ACCOUNT,
        ),
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin", help="Read the password from the first line of standard input.", rich_help_panel=_KEPT
        ),
    ] = False,
    store: Annotated[
        str,
        typer.Option(
            "--store", metavar="STORE", help="Where it is kept: keyring, file or command.", rich_help_panel=_KEPT
        ),
    ] = "",
    limits: Annotated[
        bool | None,
        typer.Option(
            "--limits/--no-limits", help="Set the limits that the provider publishes, or not.", rich_help_panel=_RUN
        ),
    ] = None,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Write the settings without a test.", rich_help_panel=_RUN)
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Answer yes to every question but those for a value.", rich_help_panel=_RUN)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set up the account, asking only what cannot be known.

    Finds the provider by the address, tests the login, shows what it would write, and writes then.
    Asks on a terminal only; a script gives flags, and is told which is missing (exit code 2). Nothing is written before
    the test holds.
    """
    from ucrmmail.cli.dialogue import dialogue
    from ucrmmail.cli.setup_login import Logins
    from ucrmmail.cli.setup_search import Given, host_name, search

    if address and address_option and address != address_option:
        raise UsageError("two addresses were given", remedy="leave out one of them")
    if store and store not in _STORES:
        raise no_such_store(store, _STORES)
    if encryption and encryption not in _ENCRYPTIONS:
        raise not_allowed(f"--encryption: {encryption!r} is not known", encryption, _ENCRYPTIONS)
    location = invocation(context).location()
    config = invocation(context).config()
    talk = dialogue(yes=yes, as_json=as_json)
    talk.say(f"The configuration is {location.path}. Nothing is written before you agree; Ctrl-C leaves.")
    sender = _address(address or address_option, config, talk)
    given = Given(transport, host_name(host) if host else "", port or 0, encryption)
    guide = _Guide(
        config=config,
        talk=talk,
        logins=Logins(config, talk, username, store, password_stdin=password_stdin, test=not no_test),
        address=sender,
        found=search(sender, given, config, talk, test=not no_test),
        test=not no_test,
        limits=limits,
        as_json=as_json,
    )
    guide.run()
    try:
        guide.show_result()
        guide.offer_message(context)
    except (KeyboardInterrupt, typer.Abort):
        human.note("The settings are kept.")
        raise typer.Exit(_INTERRUPTED) from None


def _address(given: str, config: Config, talk: Dialogue) -> str:
    from ucrmmail.message.address import parse_mailbox

    if given:
        if "@" not in given:
            # Not repeated: it may be the password, typed behind --password-stdin.
            raise NoUserError("ADDRESS has no @ and domain", remedy="write it as joe@example.com")
        return parse_mailbox(given)
    default = config.text("addresses.sender")
    return talk.ask("Address that mail is sent from", parse_mailbox, default=default, missing="ADDRESS")


@dataclass(slots=True)
class _Guide:
    """One run of the guide from the login on, and what it has found out so far."""

    config: Config
    talk: Dialogue
    logins: Logins
    address: str
    found: Found
    test: bool
    limits: bool | None
    as_json: bool
    seen: Seen | None = None
    settings: tuple[Setting, ...] = ()
    kept_in: Store | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def location(self) -> Location:
        return self.config.location

    def run(self) -> None:
        """Go from the login to the written file."""
        login = self.logins.login(self.address, self.found)
        for attempt in range(_MOST_LOGINS):
            preview = self._preview(login)
            self._refuse_silence()
            if not self.test or self._holds(preview, login):
                break
            if attempt + 1 == _MOST_LOGINS or not self._tries_again():
                self._end_without_writing()
            login = self.logins.login(self.address, self.found)
        self._propose_limits()
        store = self.logins.store_of_new(login) if login.is_new else None
        self.settings = (*self._plan(login), *self._source(login, store))
        self._agree()
        self._write(login, store)

    # --- what is tested -----------------------------------------------------------------------------------------------

    def _plan(self, login: Login) -> tuple[Setting, ...]:
        from ucrmmail.config.plan import Account, plan

        account = Account(
            address=self.address,
            transport=self.found.transport,
            host=self.found.host,
            port=self.found.port,
            encryption=self.found.encryption,
            username=login.username,
            with_password=bool(login.secret),
            limits=bool(self.limits),
        )
        return plan(self.config, account)

    def _source(self, login: Login, store: Store | None) -> tuple[Setting, ...]:
        """Return the change of the secret's source: where it is kept now, or where a person says that it is."""
        from ucrmmail.config.plan import Setting

        source = store.source if store is not None else self.logins.store
        if not login.username or not source or source == self.logins.recorded:
            return ()
        return (Setting("credentials.source", self.logins.recorded or None, source),)

    def _preview(self, login: Login) -> Config:
        """Return the configuration as it would be. Raises ConfigError when mail could not go with it."""
        from ucrmmail.config.edit import preview_values
        from ucrmmail.config.plan import values_of

        self.settings = self._plan(login)
        preview = preview_values(self.location, values_of(self.settings))
        problem = preview.smarthost_problem()
        if problem is not None:
            raise problem
        return preview

    def _holds(self, preview: Config, login: Login) -> bool:
        """Test the connection with what would be written, and show each stage."""
        from ucrmmail.cli.runtime import smarthost_of
        from ucrmmail.clock import Clock
        from ucrmmail.doctor.connection import NoSecretError, try_session
        from ucrmmail.output.stages import note_trouble, say_stages

        smarthost = smarthost_of(preview)

        def secret() -> str:
            if not login.secret:
                raise NoSecretError
            return login.secret

        self.talk.say(f"Testing {smarthost.name} ...")
        self.seen = seen = try_session(smarthost, secret=secret, sender=self.address, clock=Clock())
        if not self.as_json:
            say_stages(seen.stages)
            if seen.trouble is not None:
                note_trouble(seen.trouble)
        self.warnings = [stage.warning for stage in seen.stages if stage.warning]
        if seen.without_secret:
            self._warn("the login is not tested: sign in with `ucrmmail login`, then run `ucrmmail test-connection`")
        return seen.trouble is None

    def _tries_again(self) -> bool:
        """Return whether a refused login is tried with another name or password; a script does not guess."""
        trouble = self.seen.trouble if self.seen is not None else None
        refused = trouble is not None and trouble.stage.value == "auth" and trouble.exit_code == _NOPERM
        can_ask = self.talk.asks and not self.logins.password_stdin
        return refused and can_ask and self.talk.agrees("Try another user name or password?")

    def _end_without_writing(self) -> None:
        """End the command with the code of what failed."""
        trouble = self.seen.trouble if self.seen is not None else None
        if self.as_json:
            self._print(written=False)
        else:
            human.note("Nothing was written. --no-test writes the settings all the same.")
        of_account = trouble is not None and trouble.scope.value == "account"
        raise typer.Exit(trouble.exit_code if trouble is not None and of_account else 1)

    # --- what is written ----------------------------------------------------------------------------------------------

    def _propose_limits(self) -> None:
        """Propose the limits that the provider publishes, unless somebody has set others."""
        from ucrmmail.config.presets import preset

        chosen = preset(self.found.transport)
        if self.limits is not None or chosen.limits is None or self.config.is_set("throttler.message_limit"):
            return
        proposed = chosen.limits
        question = (
            f"{chosen.title} takes {proposed.message_limit} {proposed.count} in {proposed.duration} ({proposed.plan})."
            " Set this limit?"
        )
        self.limits = self.talk.agrees(question)
        if not self.limits:
            self._warn(f"no limit is set: `ucrmmail config presets {chosen.name}` shows those of {chosen.title}")

    def _agree(self) -> None:
        """Show what would be written and what it replaces, and ask. Raises UsageError, Abort."""
        from ucrmmail.output.setup import say_settings

        self._refuse_silence()
        if not self.as_json and self.settings:
            say_settings(self.location.path, self.settings)
        if self.settings and not self.talk.agrees("Write this?", unasked=True):
            raise typer.Abort

    def _refuse_silence(self) -> None:
        """Let no script replace what somebody has written without having said so. Raises UsageError."""
        replaced = [setting.key for setting in self.settings if setting.replaces]
        if replaced and not self.talk.asks and not self.talk.yes:
            raise UsageError(
                f"{self.location.path} says otherwise of {', '.join(replaced)}",
                remedy="say --yes to replace it, or change the keys with `ucrmmail config set`",
            )

    def _write(self, login: Login, store: Store | None) -> None:
        """Keep the secret and write the file: both, or none of them."""
        from ucrmmail.cli.setup_login import keep_both
        from ucrmmail.config.edit import change_values
        from ucrmmail.config.plan import values_of

        if store is None:
            if self.settings:
                change_values(self.location, values_of(self.settings))
            return
        keep_both(self.location, values_of(self.settings), store, login.secret)
        self.kept_in = store

    def _warn_of_cron(self) -> None:
        """Say that cron cannot read the secret, before it is found out at night."""
        from ucrmmail.cli.as_cron import look_as_cron

        look = look_as_cron(self.location)
        if look.error is not None:
            remedy = f" ({look.error.remedy})" if look.error.remedy else ""
            self._warn(f"cron would not find the password: {look.error.what}{remedy}")

    # --- what is told -------------------------------------------------------------------------------------------------

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        if not self.as_json:
            human.note(f"warning: {text}")

    def show_result(self) -> None:
        """Tell what was done, and what is left to do."""
        from ucrmmail.cli.cron_line import cron_line

        if self.kept_in is not None:
            self._warn_of_cron()
        if self.as_json:
            self._print(written=True)
            return
        if self.kept_in is not None:
            place = self.kept_in.file if self.kept_in.source == "file" else "the keyring"
            human.say(f"{place} now has the secret of {self.kept_in.account}")
        done = "was written" if self.settings else "says all of this already"
        human.say(f"{self.location.path} {done}")
        human.say("Let cron send what is queued (`crontab -e`):")
        human.say(f"  {cron_line(self.location)}")

    def _print(self, *, written: bool) -> None:
        from ucrmmail.cli.cron_line import cron_line
        from ucrmmail.output.setup import show_document

        show_document(
            path=self.location.path,
            address=self.address,
            found_by=self.found.by,
            transport=self.found.transport,
            settings=self.settings,
            seen=self.seen,
            warnings=self.warnings,
            secret=(self.kept_in.source, self.kept_in.account) if self.kept_in is not None else None,
            crontab=cron_line(self.location),
            written=written,
        )

    def offer_message(self, context: typer.Context) -> None:
        """Offer a test message; what happens to it changes nothing of what was written."""
        if not self.talk.asks or not self.test or (self.seen is not None and self.seen.without_secret):
            return
        try:
            if typer.confirm(f"Send a test message to {self.address}?", default=True, err=True):
                from ucrmmail.cli.test_send import test_send

                test_send(context, [self.address])
        except typer.Exit:
            human.note("The settings are kept.")
            raise
        human.note("`ucrmmail doctor` checks all of it at any time.")
