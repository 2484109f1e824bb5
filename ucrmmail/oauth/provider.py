"""Who grants tokens, and where: the endpoints and scopes of Microsoft and Google, and of anyone by explicit keys.

Sources: learn.microsoft.com, "Authenticate an IMAP, POP or SMTP connection using OAuth" (scopes, and .default for
applications) and "OAuth 2.0 device authorization grant"; developers.google.com, "OAuth 2.0 for Mobile & Desktop Apps",
"Using OAuth 2.0 for Server to Server Applications" and "XOAUTH2 Protocol" (the one scope for SMTP).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_CREDENTIALS = "client-credentials"
DEVICE_CODE = "device-code"
AUTHORIZATION_CODE = "authorization-code"
SERVICE_ACCOUNT = "service-account"
FLOWS = (CLIENT_CREDENTIALS, DEVICE_CODE, AUTHORIZATION_CODE, SERVICE_ACCOUNT)
# These need no person: the client itself is granted the token, whenever it asks.
WITHOUT_PERSON = frozenset({CLIENT_CREDENTIALS, SERVICE_ACCOUNT})

MICROSOFT, GOOGLE = "microsoft", "google"


@dataclass(frozen=True, slots=True)
class Provider:
    """An authorization server: its endpoints, "" where it has none, and the scope to ask for in each flow.

    ``redirect_host`` is the name of this machine in a redirect to a loopback port: Microsoft registers
    ``http://localhost``, Google takes the address (RFC 8252 section 7.3 prefers it).
    """

    name: str = ""
    title: str = "the authorization server"
    token_endpoint: str = ""
    authorization_endpoint: str = ""
    device_endpoint: str = ""
    user_scope: str = ""
    application_scope: str = ""
    redirect_host: str = "127.0.0.1"


def provider_for(transport: str, tenant: str) -> Provider:
    """Return the provider behind ``smtp.transport``; ``tenant`` is Microsoft's, a domain or an id, "" for any.

    An unknown one has no endpoints: they are to be set.
    """
    if transport in ("microsoft365", "outlook"):
        # "consumers" are the accounts of Outlook.com, "organizations" those of any company.
        base = f"https://login.microsoftonline.com/{tenant or _ANY_TENANT[transport]}/oauth2/v2.0"
        return Provider(
            name=MICROSOFT,
            title="Microsoft",
            token_endpoint=f"{base}/token",
            authorization_endpoint=f"{base}/authorize",
            device_endpoint=f"{base}/devicecode",
            user_scope="https://outlook.office.com/SMTP.Send offline_access",
            application_scope="https://outlook.office365.com/.default",
            redirect_host="localhost",
        )
    if transport == "gmail":
        return Provider(
            name=GOOGLE,
            title="Google",
            token_endpoint="https://oauth2.googleapis.com/token",  # noqa: S106 # an address, not a token
            authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
            # Google's device flow has no scope for mail: https://developers.google.com/identity/protocols/oauth2/limited-input-device
            user_scope="https://mail.google.com/",
            application_scope="https://mail.google.com/",
        )
    return Provider()


_ANY_TENANT = {"microsoft365": "organizations", "outlook": "consumers"}


def with_endpoints(provider: Provider, endpoints: Mapping[str, str], scope: str) -> Provider:
    """Return the provider with those endpoints and the scope that are set; "" leaves what is known."""
    known = replace(provider, **{name: url for name, url in endpoints.items() if url})
    return replace(known, user_scope=scope, application_scope=scope) if scope else known


@dataclass(frozen=True, slots=True)
class Client:
    """What we are to the authorization server (RFC 6749 section 2), and whose mail we send.

    ``flow`` is one of FLOWS, "" when it is to be chosen. ``user`` is the mailbox, ``key_file`` the key of a service
    account; ``tenant`` is "" when any will do.
    """

    provider: Provider
    client_id: str
    user: str
    flow: str = ""
    tenant: str = ""
    key_file: str = ""

    @property
    def mark(self) -> str:
        """A short text that changes with the settings: a token of other ones is not used. It holds no secret."""
        return hashlib.sha256(repr(self).encode("utf-8", "backslashreplace")).hexdigest()[:16]

    def scope_for(self, flow: str) -> str:
        """Return the scope to ask for."""
        return self.provider.application_scope if flow in WITHOUT_PERSON else self.provider.user_scope


def choose_flow(client: Client, *, has_secret: bool) -> str:
    """Return the flow that suits the account: the one that is set, else by provider and by what is set.

    ``has_secret`` tells whether there is a client secret. Raises ConfigError when nothing suits.
    """
    provider = client.provider
    if client.flow:
        return client.flow
    if client.key_file:
        return SERVICE_ACCOUNT
    if provider.name == MICROSOFT:
        # Only an application with a secret may act without a user; Microsoft's public clients have none.
        return CLIENT_CREDENTIALS if has_secret else DEVICE_CODE
    if provider.device_endpoint:
        return DEVICE_CODE
    if provider.authorization_endpoint:
        return AUTHORIZATION_CODE
    if provider.token_endpoint and has_secret:
        return CLIENT_CREDENTIALS
    raise ConfigError(
        "no way to sign in is configured",
        why="ucrmmail knows the endpoints of Microsoft and Google only, by smtp.transport",
        remedy="set oauth.token_endpoint, and oauth.device_endpoint or oauth.authorization_endpoint, as your provider"
        " documents them",
    )


def check_complete(client: Client, flow: str, *, has_secret: bool) -> None:
    """Raise ConfigError, with the command to run, when something is missing for the flow."""
    missing = ""
    if not client.user:
        missing = "smtp.username"
    elif flow != SERVICE_ACCOUNT and not client.client_id:
        missing = "oauth.client_id"
    elif flow == SERVICE_ACCOUNT and not client.key_file:
        missing = "oauth.key_file"
    elif flow == CLIENT_CREDENTIALS and not has_secret:
        missing = "oauth.client_secret"
    elif flow == CLIENT_CREDENTIALS and client.provider.name == MICROSOFT and not client.tenant:
        missing = "oauth.tenant"
    else:
        for needed, key in _NEEDED[flow]:
            if not getattr(client.provider, needed):
                missing = missing or key
    if missing:
        raise ConfigError(
            f"{missing} is not set, and the flow {flow} needs it",
            why=_WHY.get(missing, ""),
            remedy=f"run `ucrmmail config set {missing}`; `man ucrmmail-login` says where to find it",
        )


_NEEDED: dict[str, tuple[tuple[str, str], ...]] = {
    CLIENT_CREDENTIALS: (("token_endpoint", "oauth.token_endpoint"),),
    DEVICE_CODE: (("token_endpoint", "oauth.token_endpoint"), ("device_endpoint", "oauth.device_endpoint")),
    AUTHORIZATION_CODE: (
        ("token_endpoint", "oauth.token_endpoint"),
        ("authorization_endpoint", "oauth.authorization_endpoint"),
    ),
    # Google's key file names the endpoint.
    SERVICE_ACCOUNT: (),
}
_WHY = {
    "oauth.client_id": "the provider wants to know which application asks; it is registered once, with the provider",
    "oauth.tenant": "an application is granted tokens by its own tenant only",
    "oauth.device_endpoint": "Google's device code flow cannot grant mail; other providers document theirs",
}
