"""From the configuration to the account's OAuth client, and to the secret that it logs in with, token or password."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.cli.store import store_of

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.oauth.keeper import TokenKeeper
    from ucrmmail.oauth.provider import Client

WITH_TOKEN = ("xoauth2", "oauthbearer")
# What the token is kept under, behind the account's name.
_TOKEN = "oauth.token"  # noqa: S105 # a name
LOCK = "oauth.lock"


def uses_oauth(config: Config) -> bool:
    """Return whether ucrmmail itself fetches the token; else credentials.command, or a person, brings it.

    A password in the environment goes before it, as it does before every source.
    """
    if config.text("smtp.authentication") not in WITH_TOKEN or not is_configured(config):
        return False
    from ucrmmail.credentials.environment import override
    from ucrmmail.errors import UcrmmailError

    try:
        return not override(os.environ)
    except UcrmmailError:
        # One that cannot be read is told where the secret is asked for.
        return False


def is_configured(config: Config) -> bool:
    """Return whether there is a client to sign in with."""
    return bool(config.text("oauth.client_id") or config.text("oauth.key_file"))


def client_of(config: Config, flow: str = "") -> Client:
    """Return what the account is to the authorization server; ``flow`` goes before the one that is configured."""
    from ucrmmail.oauth.provider import Client, provider_for, with_endpoints

    tenant = config.text("oauth.tenant")
    names = ("token_endpoint", "authorization_endpoint", "device_endpoint")
    configured = config.text("oauth.flow")
    return Client(
        provider=with_endpoints(
            provider_for(config.text("smtp.transport"), tenant),
            {name: config.text(f"oauth.{name}") for name in names},
            config.text("oauth.scope"),
        ),
        client_id=config.text("oauth.client_id"),
        user=config.text("smtp.username"),
        flow=flow or ("" if configured == "auto" else configured),
        tenant=tenant,
        key_file=config.text("oauth.key_file"),
    )


def keeper_of(config: Config, *, flow: str = "", source: str = "") -> TokenKeeper:
    """Return the keeper of the account's token; ``source`` is where the token is kept, "" where it is configured."""
    from ucrmmail.clock import Clock
    from ucrmmail.oauth.keeper import Places, TokenKeeper

    places = Places(
        token=store_of(config, source, _TOKEN),
        client_secret=store_of(config, key="oauth.client_secret"),
        lock_path=f"{config.text('spool.directory')}/{LOCK}",
    )
    return TokenKeeper(client_of(config, flow), places, os.environ, Clock())
