"""The conversation with an authorization server: requests to its endpoints, and its replies as tokens or errors.

The only module that knows the library: Authlib, over requests. It is imported when a token must be fetched, which is
once an hour; without the extra ``ucrmmail[oauth]`` that is an error which names the command to install it.

Nothing is sent but over TLS (the configuration allows plain HTTP on loopback only), no redirect is followed, which
could carry a secret elsewhere, and replies are bounded in size and time.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ucrmmail.errors import ConfigError
from ucrmmail.oauth.provider import AUTHORIZATION_CODE, DEVICE_CODE
from ucrmmail.oauth.refusal import TokenUnavailableError, refused
from ucrmmail.oauth.token import Token, granted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authlib.integrations.requests_client import OAuth2Session
    from requests import Response

    from ucrmmail.errors import UcrmmailError
    from ucrmmail.oauth.provider import Client

_TIMEOUT_S = 20.0
_LARGEST_REPLY = 1 << 16
_NOT_NOW = "nothing was lost: a later run tries again"


class Endpoint:
    """The authorization server, as one client with its secret ("" for a public client) talks to it."""

    def __init__(self, client: Client, secret: str, *, redirect_uri: str = "") -> None:
        self._client = client
        self._session = _session(client, secret, redirect_uri)
        # What a server may repeat in its description of an error, and nobody is to see.
        self._secrets = {secret}

    def token(self, grant_type: str, *, now: float, flow: str, url: str = "", **fields: str) -> Token:
        """Return the token for a grant (RFC 6749 section 4); ``fields`` are those of the grant.

        Raises GrantRefusedError, ClientRefusedError, TokenUnavailableError.
        """
        url = url or self._client.provider.token_endpoint
        self._secrets.update(fields.values())
        # A code has its scope already.
        if flow not in (AUTHORIZATION_CODE, DEVICE_CODE):
            fields["scope"] = self._client.scope_for(flow)
        with self._told(url):
            reply = self._session.fetch_token(url, grant_type=grant_type, allow_redirects=False, **fields)
            return granted(reply, now=now, settings=self._client.mark)

    def ask(self, url: str, **fields: str) -> dict[str, object]:
        """Return the reply of another endpoint to a form (RFC 8628 section 3.1). Raises as ``token``."""
        with self._told(url):
            response = self._session.post(url, data=fields, withhold_token=True, allow_redirects=False)
            reply = response.json()
            if not isinstance(reply, dict):
                raise ValueError("not an object")  # noqa: TRY004 # as for what is no JSON
            if "error" in reply:
                raise self._refused(reply["error"], reply.get("error_description"))
            response.raise_for_status()
            return reply

    def authorization_url(self, verifier: str, state: str, **more: str) -> str:
        """Return where the person is to go, with PKCE (RFC 7636)."""
        url, _ = self._session.create_authorization_url(
            self._client.provider.authorization_endpoint, state=state, code_verifier=verifier, **more
        )
        return str(url)

    def _refused(self, code: object, description: object) -> UcrmmailError:
        said = str(description or "")
        for secret in self._secrets - {""}:
            said = said.replace(secret, "[redacted]")
        return refused(str(code), said, self._client.provider.title)

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Turn what the library raises into errors of ours. Its texts are not shown: one may hold what was sent."""
        from authlib.integrations.base_client import OAuthError  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415
        from requests.exceptions import ConnectionError as NoConnectionError  # noqa: PLC0415
        from requests.exceptions import HTTPError, JSONDecodeError, SSLError, Timeout  # noqa: PLC0415

        host = urlsplit(url).netloc
        try:
            yield
        except OAuthError as error:
            raise self._refused(error.error, error.description) from None
        except SSLError:
            raise TokenUnavailableError(
                f"{host}: TLS failed", why="its certificate is not trusted, or somebody is in between", remedy=_NOT_NOW
            ) from None
        except (Timeout, TimeoutError):
            raise TokenUnavailableError(f"{host} did not answer within {_TIMEOUT_S:.0f} s", remedy=_NOT_NOW) from None
        except HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise TokenUnavailableError(f"{host} answered with HTTP {status}", remedy=_NOT_NOW) from None
        except (JSONDecodeError, ValueError):
            raise TokenUnavailableError(
                f"{host} answered with something that is no OAuth reply",
                remedy="check oauth.token_endpoint and oauth.device_endpoint; a later run tries again",
            ) from None
        except NoConnectionError:
            raise TokenUnavailableError(f"{host} was not reached", remedy=_NOT_NOW) from None
        except RequestException as error:
            raise TokenUnavailableError(f"{host}: {type(error).__name__}", remedy=_NOT_NOW) from None
        finally:
            self._session.close()


def _session(client: Client, secret: str, redirect_uri: str) -> OAuth2Session:
    try:
        from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415 # 350 ms, once an hour
    except ImportError:
        raise missing_extra() from None
    session = OAuth2Session(
        client_id=client.client_id or None,
        client_secret=secret or None,
        # Both ways are common (RFC 6749 section 2.3.1); this one spares an encoding that servers disagree about.
        token_endpoint_auth_method="client_secret_post" if secret else "none",  # a method, not a secret
        # For the address that a person is sent to; a request for a token says its scope itself.
        scope=client.provider.user_scope if redirect_uri else None,
        redirect_uri=redirect_uri or None,
        code_challenge_method="S256",
        default_timeout=_TIMEOUT_S,
    )
    session.stream = True
    session.hooks["response"].append(_bounded)
    return session


def _bounded(response: Response, **_options: Any) -> Response:
    """Read the body within bounds: the time limit of requests starts anew with each byte."""
    from requests.exceptions import ConnectionError as NoConnectionError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    ends_at = time.monotonic() + _TIMEOUT_S
    body = b""
    try:
        while part := response.raw.read1(4096, decode_content=True):
            body += part
            if len(body) > _LARGEST_REPLY:
                raise ValueError("the reply is too large")
            if time.monotonic() > ends_at:
                raise TimeoutError
    except HTTPError as error:
        raise NoConnectionError(type(error).__name__) from None
    finally:
        response.raw.close()
    response.raw = BytesIO(body)
    return response


def missing_extra() -> ConfigError:
    """Return the error of an installation without the library."""
    return ConfigError(
        "signing in with OAuth needs more than is installed here",
        why="the libraries Authlib and requests are missing",
        remedy="run `pip install 'ucrmmail[oauth]'` in the environment that ucrmmail is installed in",
    )
