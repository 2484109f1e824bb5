"""What is allowed and yet probably not meant: said by ``config check``, and by ``config set`` for the key it set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.message.address import is_of_this_machine, is_this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.config.load import Config

_FILES = ("smtp.ca_file", "smtp.client_certificate", "smtp.client_key", "credentials.file", "oauth.key_file")


@dataclass(frozen=True, slots=True)
class Advice:
    """A remark on a key, and what to do."""

    key: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.what}" + (f" ({self.remedy})" if self.remedy else "")


def advice(config: Config) -> tuple[Advice, ...]:
    """Return the remarks on a configuration."""
    return (*_privacy(config), *_login(config), *_limits(config), *_reports(config), *_files(config))


def _privacy(config: Config) -> Iterator[Advice]:
    encryption, port = config.text("smtp.encryption"), config.integer("smtp.port")
    if encryption == "tls" and port in (25, 587):
        yield Advice("smtp.encryption", f"port {port} begins unencrypted", "use starttls, or port 465")
    if encryption == "starttls" and port == 465:
        yield Advice("smtp.encryption", "port 465 is encrypted from the first byte", "use tls, or port 587")
    if not config.text("smtp.host"):
        return
    if encryption == "none" and config.text("smtp.username") and not config.flag("smtp.allow_insecure_login"):
        yield Advice(
            "smtp.encryption", "without encryption the password is not sent, so the login fails", "use starttls or tls"
        )
        return
    # Nobody is in between, on the way to this machine itself.
    if is_this_machine(config.text("smtp.host")):
        return
    if encryption == "none":
        yield Advice("smtp.encryption", "mail and login can be read and changed on the way", "use starttls or tls")
    elif not config.flag("smtp.verify_certificate"):
        yield Advice(
            "smtp.verify_certificate",
            "anyone on the way can pass for the smarthost and read the password",
            "trust its authority with smtp.ca_file instead",
        )


def _login(config: Config) -> Iterator[Advice]:
    authentication = config.text("smtp.authentication")
    if config.text("smtp.username") and authentication == "none":
        yield Advice("smtp.authentication", "none: smtp.username is not used")
    if not config.text("smtp.username") and authentication not in ("auto", "none"):
        yield Advice("smtp.authentication", "is not used, since smtp.username is not set")
    if config.text("smtp.client_key") and not config.text("smtp.client_certificate"):
        yield Advice("smtp.client_key", "is not used, since smtp.client_certificate is not set")
    if config.text("credentials.source") == "command" and not config.words("credentials.command"):
        yield Advice(
            "credentials.command",
            "is not set, and the secret is to come from it",
            "ucrmmail config set credentials.command 'pass show smtp'",
        )


def _limits(config: Config) -> Iterator[Advice]:
    limits = config.preset.limits
    if limits is not None and not config.integer("throttler.message_limit"):
        yield Advice(
            "throttler.message_limit",
            f"is off, and {config.preset.title} takes {limits.message_limit} {limits.count} in {limits.duration}:"
            f" {limits.plan}",
            f"see `ucrmmail config presets {config.preset.name}`",
        )
    if config.seconds("smtp.final_timeout") < 600:
        yield Advice(
            "smtp.final_timeout", "below 10m a message may be sent twice, since it may have been accepted", "use 10m"
        )


def _reports(config: Config) -> Iterator[Advice]:
    if not config.text("addresses.notification"):
        yield Advice(
            "addresses.notification",
            "is not set, so nobody is told when mail to a local name or a bounce has nowhere to go",
            "ucrmmail config set addresses.notification admin@isp.example",
        )
    for key in ("addresses.notification", "addresses.support"):
        if is_of_this_machine(config.text(key)) and not is_this_machine(config.text("smtp.host")):
            yield Advice(
                key,
                "is an address of this machine, which the smarthost does not know, or takes for one of its own",
                f"ucrmmail config set {key} admin@isp.example",
            )


def _files(config: Config) -> Iterator[Advice]:
    for key in _FILES:
        path = config.text(key)
        if path and not os.access(path, os.R_OK):
            reason = "may not be read by this user" if os.path.exists(path) else "does not exist"
            yield Advice(key, f"{path} {reason}")
