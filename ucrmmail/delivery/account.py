"""The account between runs: when may the next one try again, while the smarthost refuses us.

A refused login, a "too many", or a smarthost that is down concerns the account, not a message: no message loses an
attempt, and cron, which starts a run every minute, must not hammer. So a trouble of the account is written down with
the time before which no run connects, and the pause doubles from ``first_delay_s`` up to ``max_delay_s`` until
something is sent again.

A login that was refused is not tried again before its pause is over, since providers lock accounts; but when the
settings or the secret have changed since, or a person asks for it (`queue retry`), there is no reason to wait.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from typing import TYPE_CHECKING

from ucrmmail.dataclass import asdict, dataclass, replace
from ucrmmail.files import DistrustError, Naming, is_there, open_untrusted, read_all
from ucrmmail.journal import FULL, replace_making_room
from ucrmmail.jsontext import read_json, typed
from ucrmmail.message.words import without_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ucrmmail.message.outcome import Trouble

_LARGEST_FILE = 1 << 20
TOLD_AGAIN_AFTER_S = 3600.0
TRUSTED_AGAIN_AFTER_S = 7 * 86400.0
_CODE = re.compile(r"[245]\d\d|[245]\.\d{1,3}\.\d{1,3}")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class AccountState:
    """What the last runs learnt of the account; all of it is empty while it works.

    ``failures`` counts the runs that ended in a trouble of the account since one in which the server took something, or
    spoke of messages alone; ``searched`` does so whether the pause grew with it or not. ``not_before`` is in seconds
    since the epoch. ``settings_mark`` and ``secret_mark`` tell whether something was changed since: see
    ``secret_mark()``. ``suspect`` are the messages at which it came since a run had no trouble, with blanks between:
    should it come there again, and not at others, they are to blame. ``senders`` are those of messages at which it came
    for good, or at which a connection was lost, one a line. ``lost`` are those at whose MAIL the connection was lost,
    or the time of the run: others go first. ``pipelining_failed_at`` and ``chunking_failed_at`` are when the server was
    found not to understand what it offers, 0.0 when it was not; ``doubted`` is an extension that the last run was not
    sure of, ``guessed`` one that it lost a connection with, and sent its mail without: at the second time that is no
    accident. ``over_quota`` are senders, and domains, that were refused for a quota while others were relayed, one a
    line. ``told_at`` is when a run has printed this trouble, 0.0 when none has.
    """

    failures: int = 0
    searched: int = 0
    not_before: float = 0.0
    failed_at: float = 0.0
    stage: str = ""
    what: str = ""
    why: str = ""
    remedy: str = ""
    exit_code: int = 0
    settings_mark: str = ""
    secret_mark: str = ""
    suspect: str = ""
    senders: str = ""
    lost: str = ""
    pipelining_failed_at: float = 0.0
    chunking_failed_at: float = 0.0
    doubted: str = ""
    guessed: str = ""
    over_quota: str = ""
    told_at: float = 0.0

    @property
    def deferred(self) -> bool:
        """Whether the last run ended in a trouble of the account."""
        return self.failures > 0


def after_trouble(
    state: AccountState,
    trouble: Trouble,
    *,
    now: float,
    first_delay_s: float,
    max_delay_s: float,
    settings_mark: str,
    secret_mark: str,
    suspect: str = "",
    senders: str = "",
    lost: str = "",
    grows: bool = True,
    told_at: float,
) -> AccountState:
    """Return the state after a run that ended in ``trouble``: one more failure, and a longer pause if it ``grows``.

    With other settings it is the first one: what the smarthost before has done says nothing of this one.
    """
    known = state if state.settings_mark == settings_mark else AccountState()
    failures = known.failures + 1 if grows else max(known.failures, 1)
    # 2 ** 40 steps of a second are beyond every max_delay: the bound keeps the number small.
    delay_s = min(first_delay_s * 2 ** (min(failures - 1, 40) if grows else 0), max_delay_s)
    return replace(
        _still(state, settings_mark),
        failures=failures,
        searched=known.searched + 1,
        not_before=now + delay_s,
        failed_at=now,
        stage=trouble.stage.value,
        what=said_of(trouble),
        why=trouble.why,
        remedy=trouble.remedy,
        exit_code=trouble.exit_code,
        settings_mark=settings_mark,
        secret_mark=secret_mark,
        suspect=suspect,
        senders=senders,
        lost=lost,
        told_at=told_at,
    )


def without(
    state: AccountState, lies: Collection[str], doubted: str, *, guessed: str = "", now: float, settings_mark: str
) -> AccountState:
    """Return the state after a run that found the server not to understand ``lies``, and doubts ``doubted``.

    Of the server of other settings nothing is kept.
    """
    if state.settings_mark != settings_mark:
        state = AccountState()
    return replace(
        state,
        settings_mark=settings_mark,
        pipelining_failed_at=now if "PIPELINING" in lies else state.pipelining_failed_at,
        chunking_failed_at=now if "CHUNKING" in lies else state.chunking_failed_at,
        doubted=doubted,
        guessed=guessed,
    )


def works(state: AccountState) -> AccountState:
    """Return the state of an account without troubles: all that is kept is what was found out about the server."""
    found = state.pipelining_failed_at or state.chunking_failed_at or state.doubted or state.guessed or state.over_quota
    kept = state.settings_mark if found else ""
    return replace(_still(state, state.settings_mark), settings_mark=kept)


def distrusted(state: AccountState, *, now: float, settings_mark: str) -> frozenset[str]:
    """Return which extensions are not to be used: a week after they failed, unless the settings have changed since."""
    if state.settings_mark != settings_mark:
        return frozenset()
    failed_at = {"PIPELINING": state.pipelining_failed_at, "CHUNKING": state.chunking_failed_at}
    return frozenset(extension for extension, at in failed_at.items() if 0.0 <= now - at < TRUSTED_AGAIN_AFTER_S)


def after_error(state: AccountState, trouble: Trouble, *, now: float, settings_mark: str) -> AccountState:
    """Return the state after a run that had no secret, or no login where one is missing. There is no pause.

    The server was not asked to log us in, or it has nothing against us. It has shown nothing of those suspected before.
    """
    known = state if state.settings_mark == settings_mark else AccountState()
    return replace(
        _still(state, settings_mark),
        suspect=known.suspect,
        senders=known.senders,
        lost=known.lost,
        searched=known.searched,
        failures=max(known.failures, 1),
        failed_at=now,
        stage=trouble.stage.value,
        what=said_of(trouble),
        why=trouble.why,
        remedy=trouble.remedy,
        exit_code=trouble.exit_code,
        settings_mark=settings_mark,
    )


def _still(state: AccountState, settings_mark: str) -> AccountState:
    """Return nothing but what was found out about the server, and its quotas, if it was the same server."""
    if state.settings_mark != settings_mark:
        return AccountState()
    return AccountState(
        pipelining_failed_at=state.pipelining_failed_at,
        chunking_failed_at=state.chunking_failed_at,
        doubted=state.doubted,
        guessed=state.guessed,
        over_quota=state.over_quota,
    )


def said_of(trouble: Trouble) -> str:
    """Return what is kept, and shown later, of a trouble: with what the server said."""
    return trouble.what if trouble.reply is None else f"{trouble.what}: {trouble.reply}"


def was_told(state: AccountState, what: str, exit_code: int, *, now: float) -> bool:
    """Return whether a run of the last hour has told a person the same: cron mails what each run prints.

    A reply that names another recipient is the same, and one with another id or time.
    """
    same = (_telling_words(state.what), state.exit_code) == (_telling_words(what), exit_code)
    return same and 0.0 <= now - state.told_at < TOLD_AGAIN_AFTER_S


def _telling_words(what: str) -> list[str]:
    # Gmail, Microsoft and others end each reply with an id of the session, which has digits in it.
    return [word for word in without_addresses(what).split() if not _DIGIT.search(word) or _CODE.fullmatch(word)]


def remember_told(path: str, trouble: Trouble, *, now: float, owner: int) -> None:
    """Keep that a person was told of this trouble: what nobody could read is said by the next run. Raises OSError.

    Another run may have met another trouble meanwhile, or none.
    """
    state = load_account(path, owner=owner)
    if state.deferred and state.what == said_of(trouble):
        save_account(path, replace(state, told_at=now))


def may_connect_at(state: AccountState, *, now: float, max_delay_s: float, settings_mark: str) -> float:
    """Return the earliest time at which a run may connect; ``now`` or earlier means at once.

    Changed settings end the pause. So does a clock that was set back: a pause is never longer than ``max_delay_s``.
    """
    if not state.deferred or state.settings_mark != settings_mark:
        return now
    if state.not_before - now > max_delay_s or state.failed_at > now:
        return now
    return state.not_before


def secret_mark(salt: str, secret: str) -> str:
    """Return four hexadecimal digits that change when the secret changes.

    Enough to notice a new password, far too little to find one: of all candidates, one in 65,536 fits.
    """
    import hmac  # noqa: PLC0415 # OpenSSL, only for an account in trouble

    return hmac.new(salt.encode(), secret.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:4]


def settings_mark(*settings: object) -> str:
    """Return a short text that changes when one of the settings of the smarthost changes. It holds no secret."""
    return f"{zlib.crc32(repr(settings).encode('utf-8', 'backslashreplace')):08x}"


def load_account(path: str, *, owner: int) -> AccountState:
    """Return the state that is kept at ``path``; none, or one that no run has left, is an account without troubles.

    What is lost with it is a pause, not mail. Raises OSError.
    """
    try:
        with Naming(path), open(open_untrusted(path, owner=owner), "rb") as file:
            raw = read_all(file.fileno(), _LARGEST_FILE)
    except (FileNotFoundError, DistrustError):
        return AccountState()
    try:
        return AccountState(**typed(read_json(raw), asdict(AccountState())))
    except (ValueError, TypeError, KeyError, AttributeError):
        return AccountState()


def lift_pause(path: str, *, owner: int) -> bool:
    """Let the next run connect at once: a person asks for it. Return whether there was a pause.

    What is known of the trouble stays, so that the next pause is longer still if it was not mended. Raises OSError.
    """
    state = load_account(path, owner=owner)
    if not state.not_before:
        return False
    try:
        # The file that is replaced is the room: a full disk keeps nobody from trying.
        save_account(path, replace(state, not_before=0.0), make_room=lambda: os.unlink(path))
    except OSError as error:
        if error.errno not in FULL or is_there(path):
            raise
        # All that was known of the trouble went with the pause.
    return True


def save_account(path: str, state: AccountState, *, make_room: Callable[[], None] = lambda: None) -> None:
    """Keep the state for the next run; ``make_room`` is as in ``Journal``. Raises OSError."""
    # Else each run would try a login that was refused, and providers lock accounts.
    replace_making_room(path, json.dumps(asdict(state)).encode() + b"\n", make_room)
