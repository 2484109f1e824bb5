"""What a guide would change in a configuration that somebody has written: key by key, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ucrmmail.config.presets import preset
from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.config.kinds import Written
    from ucrmmail.config.load import Config

_TOKENS = ("xoauth2", "oauthbearer")


@dataclass(frozen=True, slots=True)
class Account:
    """What was found out of an account. ``username`` "" is one that does not log in.

    ``host`` and ``port`` "" and 0 are those of the preset; ``with_password`` tells that a password was given.
    """

    address: str
    transport: str
    host: str = ""
    port: int = 0
    encryption: str = ""
    username: str = ""
    with_password: bool = False
    limits: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that would be changed; None is a key that is not set."""

    key: str
    before: Written | None
    after: Written | None

    @property
    def replaces(self) -> bool:
        """Whether somebody has written another value."""
        return self.before is not None


def plan(config: Config, account: Account) -> tuple[Setting, ...]:
    """Return the keys that must change so that ``config`` describes ``account``; the others stay as they are."""
    found = []
    for key, after in _wanted(config, account).items():
        before = cast("Written", config.written(key)) if config.is_set(key) else None
        if before != after:
            found.append(Setting(key, before, after))
    return tuple(found)


def values_of(settings: tuple[Setting, ...]) -> dict[str, Written | None]:
    """Return what is to be written."""
    return {setting.key: setting.after for setting in settings}


def _wanted(config: Config, account: Account) -> Mapping[str, Written | None]:
    """Return the value of each key that the guide speaks of; None where the default, or the preset's value, will do."""
    chosen = preset(account.transport)
    own = account.transport == "smtp"
    wanted: dict[str, Written | None] = {
        "smtp.transport": None if own else account.transport,
        "smtp.host": account.host if account.host and account.host != chosen.host else None,
        # For a host of one's own both are written, so that the file says all of it.
        "smtp.port": account.port if account.port and (own or account.port != chosen.port) else None,
        "smtp.encryption": account.encryption
        if account.encryption and (own or account.encryption != chosen.encryption)
        else None,
        "smtp.username": account.username if account.username and account.username != chosen.username else None,
    }
    if account.with_password and config.is_set("smtp.authentication"):
        # A token was used until now, or no login at all: a password needs another mechanism.
        kept = config.text("smtp.authentication")
        wanted["smtp.authentication"] = None if kept in (*_TOKENS, "none") else kept
    wanted["addresses.sender"] = account.address
    if not config.is_set("addresses.notification"):
        wanted["addresses.notification"] = account.address
    if account.limits and chosen.limits is not None:
        limits = chosen.limits
        wanted["throttler.message_limit"] = limits.message_limit
        wanted["throttler.duration"] = limits.duration
        wanted["throttler.window"] = "sliding"
        if limits.count != "messages":
            wanted["throttler.count"] = limits.count
        if limits.additional:
            wanted["throttler.additional_limits"] = list(limits.additional)
    return wanted
