"""From the configuration to the real things: smarthost, limits, spool, secret, the way messages are prepared.

Below this module nobody reads the configuration; they are given values.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.config.load import Config
    from ucrmmail.credentials.secret import Secret
    from ucrmmail.delivery.concerns import Concerns
    from ucrmmail.delivery.flush import Account, Options, Watcher
    from ucrmmail.delivery.overdue import Warner
    from ucrmmail.delivery.report import RunReport
    from ucrmmail.delivery.schedule import Retry
    from ucrmmail.delivery.stop import Stop
    from ucrmmail.limits.rules import Rules
    from ucrmmail.message.prepare import Addresses, Prepared
    from ucrmmail.smtp.connect import Address
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.spool.queue import Spool


def smarthost_of(config: Config) -> Smarthost:
    """Return how the smarthost is reached. Raises ConfigError when the configuration does not say enough."""
    from ucrmmail.smtp.smarthost import Smarthost

    problem = config.smarthost_problem()
    if problem is not None:
        raise problem
    return Smarthost(
        host=config.text("smtp.host"),
        port=config.integer("smtp.port"),
        encryption=config.text("smtp.encryption"),
        username=config.text("smtp.username"),
        authentication=config.text("smtp.authentication"),
        verify_certificate=config.flag("smtp.verify_certificate"),
        ca_file=config.text("smtp.ca_file"),
        client_certificate=config.text("smtp.client_certificate"),
        client_key=config.text("smtp.client_key"),
        timeout_s=config.seconds("smtp.timeout"),
        final_timeout_s=config.seconds("smtp.final_timeout"),
        local_hostname=ehlo_name(config),
        pipelining=config.flag("smtp.pipelining"),
        chunking=config.flag("smtp.chunking"),
        allow_insecure_login=config.flag("smtp.allow_insecure_login"),
    )


def unattended(smarthost: Smarthost, config: Config) -> Smarthost:
    """Return the smarthost with the patience of a run that nobody waits for: what RFC 5321 asks for, unless set."""

    def seconds(key: str) -> float:
        return config.seconds(key if config.is_set(key) or not config.is_set("smtp.timeout") else "smtp.timeout")

    return replace(
        smarthost,
        greeting_timeout_s=seconds("smtp.greeting_timeout"),
        envelope_timeout_s=seconds("smtp.envelope_timeout"),
        data_timeout_s=seconds("smtp.data_timeout"),
        block_timeout_s=seconds("smtp.block_timeout"),
    )


def rules_of(config: Config) -> Rules:
    """Return the Throttler and the AntiFlood."""
    from ucrmmail.limits.rules import rules_from

    return rules_from(
        message_limit=config.integer("throttler.message_limit"),
        duration_s=config.seconds("throttler.duration"),
        window=config.text("throttler.window"),
        count=config.text("throttler.count"),
        additional_limits=config.words("throttler.additional_limits"),
        activation_threshold=config.integer("antiflood.activation_threshold"),
        pause_s=config.seconds("antiflood.pause_time"),
    )


def retry_of(config: Config) -> Retry:
    """Return when deferred messages come back."""
    from ucrmmail.delivery.schedule import Retry

    return Retry(
        first_delay_s=config.seconds("retry.first_delay"),
        max_delay_s=config.seconds("retry.max_delay"),
        give_up_after_s=config.seconds("retry.give_up_after"),
    )


def addresses_of(config: Config) -> Addresses:
    """Return the addresses that decide Sender, reverse-path and local names."""
    from ucrmmail.message.prepare import Addresses

    return Addresses(
        sender=config.text("addresses.sender"),
        organization=config.text("addresses.organization"),
        support=config.text("addresses.support"),
        notification=config.text("addresses.notification"),
        smarthost=config.text("smtp.host"),
    )


def ehlo_name(config: Config, machine: str = "") -> str:
    """Return what we call ourselves in EHLO; "" for the address of the connection (RFC 5321 section 4.1.4).

    The name of the ``machine`` is often no full one, as in a container: servers refuse that at every recipient ("need
    fully-qualified hostname"). An address in brackets (section 4.1.3) they take.
    """
    name = machine or os.uname().nodename
    return config.text("smtp.local_hostname") or (name if "." in name.strip(".") else "")


def _own_name(config: Config) -> str:
    """Return what we call ourselves as the Reporting-MTA of a report."""
    return config.text("smtp.local_hostname") or os.uname().nodename


def sender_of(config: Config) -> str:
    """Return the address that our own messages come from: sender, organization, or a user name that is one; or ""."""
    addresses, username = addresses_of(config), config.text("smtp.username")
    return addresses.sending or (username if "@" in username else "")


def preparer_of(config: Config) -> Callable[..., Prepared]:
    """Return the function that makes a message from the drop directory ready for the queue."""
    from ucrmmail.message.prepare import prepare

    addresses = addresses_of(config)
    hostname = os.uname().nodename
    max_size = config.size_bytes("spool.max_message_size")

    def ready_for_queue(raw: bytes, reverse_path: str | None = None, recipients: tuple[str, ...] = ()) -> Prepared:
        return prepare(
            raw,
            reverse_path=reverse_path,
            recipients=recipients,
            extract_recipients=not recipients,
            addresses=addresses,
            priority=None,
            now=time.time(),
            hostname=hostname,
            unique=os.urandom(12).hex(),
            max_size=max_size,
        )

    return ready_for_queue


@dataclass(frozen=True, slots=True)
class Login:
    """What the account logs in with: each is a function, called only when it is needed.

    ``secret`` returns the password or the access token, "" when none is used. ``after_refusal`` returns another token
    when a kept one was refused, "" when there is none. ``mark`` returns what changes when a person has changed the
    secret, or has signed in anew. They raise ConfigError when there is no secret, TemporaryError when it is locked, or
    when no token can be had now; PermissionDeniedError when a person must sign in again.
    """

    secret: Callable[[], str]
    after_refusal: Callable[[], str]
    mark: Callable[[], str]


def login_of(config: Config) -> Login:
    """Return what the account logs in with; a secret is fetched once, when it is first asked for."""
    if not config.text("smtp.username") or config.text("smtp.authentication") == "none":
        return Login(str, str, str)
    from ucrmmail.cli.oauth import keeper_of, uses_oauth

    if uses_oauth(config):
        keeper = keeper_of(config)
        return Login(keeper.access_token, keeper.after_refusal, keeper.mark)
    found: list[Secret] = []

    def secret() -> str:
        if not found:
            found.append(find_secret_of(config))
        return found[0].reveal()

    return Login(secret, str, secret)


def find_secret_of(config: Config) -> Secret:
    """Return the account's secret and its source. Raises ConfigError, TemporaryError, PermissionDeniedError."""
    from ucrmmail.cli.store import store_of
    from ucrmmail.credentials.find import find_secret

    return find_secret(store_of(config), os.environ)


@dataclass(slots=True)
class FlushParts:
    """Everything a flush works with, opened and recovered; the caller holds the flush lock."""

    spool: Spool
    concerns: Concerns
    run: Callable[[Watcher], RunReport]


def delivery_log_path(config: Config) -> str:
    """Return where the delivery log is: a spool in a place of its own keeps it there, so that two never share one."""
    own = config.is_set("spool.directory")
    return f"{config.text('spool.directory') if own else config.location.log_directory}/delivery.log"


def flush_parts(config: Config, options: Options, *, set_back: bool) -> FlushParts:
    """Open the spool, repair what a crash left, take the drop directory, and return the run that is ready to start.

    ``set_back``: the clock was, since the last run. Raises UcrmmailError or OSError.
    """
    import math

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.concerns import Concerns
    from ucrmmail.delivery.drops import Drops
    from ucrmmail.delivery.flush import flush
    from ucrmmail.delivery.log import open_log
    from ucrmmail.delivery.notices import Reporter
    from ucrmmail.delivery.opening import open_queue
    from ucrmmail.delivery.stop import Stop
    from ucrmmail.delivery.untold import NAME, Untold
    from ucrmmail.limits.ledger import Ledger, read_boot_id
    from ucrmmail.spool.queue import Spool

    directory = config.text("spool.directory")
    clock = Clock()
    started = clock.monotonic()
    stop = Stop()
    stop.on_signals()
    retry = retry_of(config)
    min_free_bytes = config.size_bytes("spool.min_free_space")
    concerns = Concerns(untold=Untold(f"{directory}/{NAME}"))
    spool = Spool(
        directory,
        sync_each=config.text("spool.sync") == "each",
        keep_sent_s=config.seconds("spool.keep_sent"),
        clock=clock,
        telling=concerns.telling,
    )
    reporter = Reporter(
        accept=report_acceptor(directory, min_free_bytes),
        notification=config.text("addresses.notification"),
        hostname=_own_name(config),
    )
    drops = Drops(
        directory,
        prepare=preparer_of(config),
        max_size_bytes=config.size_bytes("spool.max_message_size"),
        min_free_bytes=min_free_bytes,
        clock=clock,
        concerns=concerns,
        stopping=lambda: stop.requested,
        # However much is dropped, each run sends too.
        takes_until=started + options.time_limit_s / 2 if options.time_limit_s else math.inf,
    )
    open_queue(
        spool,
        drops=drops,
        reporter=reporter,
        retry=retry,
        clock=clock,
        sleep=stop.sleep,
        stopping=lambda: stop.requested,
        set_back=set_back,
        concerns=concerns,
    )
    ledger = Ledger(f"{directory}/ledger", rules_of(config), clock.now(), read_boot_id(), make_room=spool.make_room)
    log = open_log(delivery_log_path(config))

    def run(watcher: Watcher) -> RunReport:
        try:
            return flush(
                spool=spool,
                drops=drops,
                ledger=ledger,
                account=account_of(config, clock, stop),
                reporter=reporter,
                log=log,
                retry=retry,
                clock=clock,
                stop=stop,
                started=started,
                options=options,
                watcher=watcher,
                concerns=concerns,
            )
        finally:
            log.close()

    return FlushParts(spool, concerns, run)


def warner_of(config: Config) -> Warner | None:
    """Return who tells the system notification address of a queue that is too old; None when there is no address."""
    address = config.text("addresses.notification")
    if not address:
        return None
    from ucrmmail.delivery.overdue import Notice, Waiting, Warner

    directory = config.text("spool.directory")
    accept = report_acceptor(directory, config.size_bytes("spool.min_free_space"))

    def send(notice: Notice) -> None:
        from ucrmmail.message.notice import build_notice

        message = build_notice(
            from_=sender_of(config) or address,
            to=address,
            subject=notice.subject,
            paragraphs=notice.paragraphs,
            now=time.time(),
            hostname=os.uname().nodename,
            unique=os.urandom(12).hex(),
        )
        accept("", address, message, "")

    def waiting() -> Waiting:
        from ucrmmail.spool.listing import counts

        found = counts(directory)
        return Waiting(found.waiting + found.deferred, found.oldest_to_send_at)

    return Warner(
        accept=send,
        waiting=waiting,
        smarthost=config.text("smtp.host"),
        warn_after_s=config.seconds("retry.warn_after"),
        kept_at=f"{directory}/notices.json",
        owner=os.geteuid(),
    )


def account_of(config: Config, clock: Clock, stop: Stop) -> Account:
    """Return how the smarthost is reached, and what tells that the settings changed."""
    from ucrmmail.delivery.flush import Account
    from ucrmmail.smtp.opening import open_session
    from ucrmmail.smtp.session import Session

    login = login_of(config)
    silent: set[Address] = set()

    def connect(within_s: float) -> Session:
        return open_session(
            unattended(smarthost_of(config), config),
            secret=login.secret,
            after_refusal=login.after_refusal,
            clock=clock,
            within_s=within_s,
            stop=stop,
            silent=silent,
        )

    def fetch_secret() -> str:
        # What keeps a run from connecting at all is told first: the secret may go to another smarthost then.
        smarthost_of(config)
        return login.secret()

    return Account(
        connect=connect,
        fetch_secret=fetch_secret,
        secret=login.mark,
        settings_mark=settings_mark_of(config),
        state_path=account_path(config),
    )


def account_path(config: Config) -> str:
    """Return where is kept what the last runs learnt of the account."""
    return f"{config.text('spool.directory')}/account.json"


def settings_mark_of(config: Config) -> str:
    """Return what changes when a setting changes that may have mended a session: whatever a remedy names."""
    from ucrmmail.delivery.account import settings_mark

    return settings_mark(config.values_in("smtp", "oauth"))


def account_opens_at(config: Config, now: float) -> float:
    """Return when the next run may connect: ``now``, or the end of a pause. The secret is asked for only in a pause.

    Raises OSError.
    """
    from ucrmmail.delivery.account import load_account, may_connect_at, secret_mark
    from ucrmmail.errors import UcrmmailError

    state = load_account(account_path(config), owner=os.geteuid())
    mark = settings_mark_of(config)
    opens_at = may_connect_at(state, now=now, max_delay_s=config.seconds("retry.max_delay"), settings_mark=mark)
    if opens_at > now and state.secret_mark:
        try:
            if secret_mark(mark, login_of(config).mark()) != state.secret_mark:
                return now
        except UcrmmailError:
            pass  # the run says what is wrong with the secret
    return max(now, opens_at)


def report_acceptor(directory: str, min_free_bytes: int) -> Callable[[str, str, bytes, str], str]:
    """Return the function that puts our own messages into the queue; one with a queue id unless it is there."""
    from ucrmmail.spool.accept import accept
    from ucrmmail.spool.moves import find

    def accept_report(reverse_path: str, recipient: str, message: bytes, queue_id: str) -> str:
        if queue_id and find(directory, queue_id) is not None:
            return queue_id
        return accept(
            directory,
            reverse_path=reverse_path,
            recipients=(recipient,),
            message=message,
            priority="normal",
            eight_bit=not message.isascii(),
            utf8=not recipient.isascii(),
            now=time.time(),
            # A report is owed for mail that was accepted: it may use the space that is kept free for this.
            min_free_bytes=min(min_free_bytes, 1_000_000),
            min_free_files=10,
            queue_id=queue_id,
        )

    return accept_report
