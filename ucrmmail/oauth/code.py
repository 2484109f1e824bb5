"""The authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636), for an installed program (RFC 8252).

The person agrees in a browser, which is sent back to a port of this machine; from a browser on another machine they
bring the address back by hand, which holds the same code.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import UsageError
from ucrmmail.oauth.endpoint import Endpoint
from ucrmmail.oauth.provider import AUTHORIZATION_CODE, GOOGLE
from ucrmmail.oauth.refusal import refused

if TYPE_CHECKING:
    from ucrmmail.oauth.provider import Client
    from ucrmmail.oauth.token import Token


@dataclass(frozen=True, slots=True)
class Question:
    """An open question to the person: the address to go to, and what the answer must prove."""

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def ask(client: Client, secret: str, port: int) -> Question:
    """Return the question for a redirect to this port. Raises ConfigError without the library."""
    redirect_uri = f"http://{client.provider.redirect_host}:{port}/"
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    more = {"login_hint": client.user}
    if client.provider.name == GOOGLE:
        # Without both Google gives a refresh token only the first time a person agrees.
        more |= {"access_type": "offline", "prompt": "consent"}
    url = Endpoint(client, secret, redirect_uri=redirect_uri).authorization_url(verifier, state, **more)
    return Question(url, redirect_uri, state, verifier)


def redeem(client: Client, secret: str, question: Question, answer: str, *, now: float) -> Token:
    """Return the token for the address that the browser was sent to.

    Raises UsageError when it is not the answer to this question, GrantRefusedError when the person declined, and as
    ``Endpoint.token``.
    """
    code = _code_in(client, question, answer)
    return Endpoint(client, secret, redirect_uri=question.redirect_uri).token(
        "authorization_code", now=now, flow=AUTHORIZATION_CODE, code=code, code_verifier=question.verifier
    )


def _code_in(client: Client, question: Question, answer: str) -> str:
    try:
        fields = parse_qs(urlsplit(answer.strip()).query)
    except ValueError:
        # No address at all: a bracket without its fellow.
        fields = {}
    # The state proves that the answer belongs to our question, not to one that somebody else has begun
    # (RFC 6749 section 10.12).
    if not secrets.compare_digest(fields.get("state", [""])[0].encode(), question.state.encode()):
        raise UsageError(
            "this address does not belong to this sign-in",
            remedy="paste the whole address that the browser shows after you agreed, or begin again",
        )
    if "error" in fields:
        raise refused(fields["error"][0], fields.get("error_description", [""])[0], client.provider.title)
    if not fields.get("code"):
        raise UsageError("this address holds no code", remedy="paste the whole address, or begin again")
    return fields["code"][0]
