"""The grants that need no person: client credentials (RFC 6749 section 4.4), and a service account's JWT (RFC 7523).

    {"type": "service_account", "client_email": "...", "private_key": "-----BEGIN PRIVATE KEY-----...",
     "private_key_id": "...", "token_uri": "https://oauth2.googleapis.com/token"}

is the key file of a Google service account. It is a secret, so it is read only when it is ours alone.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ucrmmail.errors import ConfigError, PermissionDeniedError
from ucrmmail.files import DistrustError, open_untrusted, read_all
from ucrmmail.jsontext import read_json
from ucrmmail.oauth.endpoint import Endpoint, missing_extra
from ucrmmail.oauth.provider import CLIENT_CREDENTIALS, SERVICE_ACCOUNT

if TYPE_CHECKING:
    from ucrmmail.oauth.provider import Client
    from ucrmmail.oauth.token import Token

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LARGEST_KEY_FILE = 1 << 16
# Google takes no assertion that is valid for longer than an hour.
_ASSERTION_LIFE_S = 600


def client_credentials(client: Client, secret: str, *, now: float) -> Token:
    """Return the token of the application itself. Raises as ``Endpoint.token``."""
    return Endpoint(client, secret).token("client_credentials", now=now, flow=CLIENT_CREDENTIALS)


def service_account(client: Client, *, now: float) -> Token:
    """Return a token for the mailbox of ``client.user``, by domain-wide delegation.

    Raises ConfigError or PermissionDeniedError for the key file, and as ``Endpoint.token``.
    """
    key = read_key_file(client.key_file)
    url = client.provider.token_endpoint or key["token_uri"]
    try:
        from authlib.oauth2.rfc7523.assertion import sign_jwt_bearer_assertion  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415 # what Authlib signs with
        from joserfc.jwk import RSAKey  # noqa: PLC0415
    except ImportError:
        raise missing_extra() from None
    try:
        assertion = sign_jwt_bearer_assertion(
            RSAKey.import_key(key["private_key"]),
            issuer=key["client_email"],
            audience=url,
            subject=client.user,
            issued_at=int(now),
            expires_in=_ASSERTION_LIFE_S,
            claims={"scope": client.scope_for(SERVICE_ACCOUNT)},
            header={"alg": "RS256", "typ": "JWT", **({"kid": key["private_key_id"]} if key["private_key_id"] else {})},
        )
    except (ValueError, JoseError):
        # The library's own words could quote the key.
        raise ConfigError(f"{client.key_file}: its private_key cannot be read", remedy=_DOWNLOAD) from None
    return Endpoint(client, "").token(_JWT_BEARER, now=now, flow=SERVICE_ACCOUNT, url=url, assertion=assertion)


_DOWNLOAD = "make a new key of the type JSON (Google Cloud console, IAM, Service accounts, Keys)"


def read_key_file(path: str) -> dict[str, str]:
    """Return the fields of a service account's key that are needed. Raises ConfigError, PermissionDeniedError."""
    try:
        fd = open_untrusted(path)
        try:
            if os.fstat(fd).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise PermissionDeniedError(
                    f"the key file {path} is open to other users",
                    remedy=f"run `chmod 600 {path}`, and replace the key: it may be known",
                )
            raw = read_all(fd, _LARGEST_KEY_FILE)
        finally:
            os.close(fd)
    except DistrustError as error:
        raise PermissionDeniedError(
            f"oauth.key_file is not used: {error}", remedy="name a plain file of your own"
        ) from None
    except OSError as error:
        raise ConfigError(f"oauth.key_file: {path}: {error.strerror}", remedy=_DOWNLOAD) from None
    try:
        found = read_json(raw)
        key = {name: found[name] for name in ("client_email", "private_key", "token_uri")}
        key["private_key_id"] = found.get("private_key_id", "")
    except (ValueError, KeyError, TypeError):
        key = {}
    if not key or not all(isinstance(text, str) for text in key.values()):
        raise ConfigError(f"{path} is not the JSON key of a service account", remedy=_DOWNLOAD)
    return key
