"""The refresh of a token (RFC 6749 section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.oauth.endpoint import Endpoint

if TYPE_CHECKING:
    from ucrmmail.oauth.provider import Client
    from ucrmmail.oauth.token import Token


def refresh(client: Client, secret: str, old: Token, *, now: float) -> Token:
    """Return what the refresh token gives; it may have been replaced by another, and is then dead itself.

    Raises as ``Endpoint.token``: GrantRefusedError with the code ``invalid_grant`` when the sign-in has ended.
    """
    new = Endpoint(client, secret).token("refresh_token", now=now, flow="", refresh_token=old.refresh)
    return old.renewed_as(new)
