"""What an authorization server's refusal means: the policy, the cause in a sentence, and what to do.

    temporarily_unavailable, no connection, 5yz      75   try again; nothing was lost
    invalid_grant, access_denied, invalid_client     77   like a refused login: a person must act
    unauthorized_client, invalid_scope ...           78   the registration, or our settings, are wrong

All are troubles of the account: no message pays for them. The codes are those of RFC 6749 section 5.2 and RFC 8628
section 3.5; AADSTS numbers are from learn.microsoft.com, "Microsoft Entra authentication and authorization error
codes".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ucrmmail.errors import ConfigError, PermissionDeniedError, TemporaryError

_SIGN_IN = "sign in again: run `ucrmmail login`"
_SET_SECRET = "make a new client secret with the provider and run `ucrmmail config set oauth.client_secret`"  # noqa: S105
_LONGEST_DESCRIPTION = 300


class TokenUnavailableError(TemporaryError):
    """The server gives no token now; it may later (75)."""

    by_server = True


class GrantRefusedError(PermissionDeniedError):
    """The sign-in, or the client's secret, is not accepted (77); ``code`` is the server's word for it."""

    by_server = True

    def __init__(self, code: str, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.code = code


class ClientRefusedError(ConfigError):
    """The client's registration does not allow what is asked for (78); ``code`` is the server's word for it."""

    by_server = True

    def __init__(self, code: str, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.code = code


class SignInEndedError(GrantRefusedError):
    """The refresh token is no longer accepted: a person must sign in again (77)."""


class _Known(NamedTuple):
    why: str
    remedy: str


_BY_AADSTS = {
    "53003": _Known(
        "Conditional Access of this tenant blocks this kind of sign-in; many tenants block device code",
        "let the server sign in as an application: `ucrmmail login --flow client-credentials` (see man ucrmmail-login),"
        " or ask the tenant's administrator for an exception",
    ),
    "50076": _Known("the tenant asks for a second factor", _SIGN_IN),
    "50079": _Known("the tenant asks for a second factor to be set up", _SIGN_IN),
    "50173": _Known("the password was changed, or the sessions of this user were ended", _SIGN_IN),
    "70043": _Known("the tenant's rule on the sign-in frequency ended it", _SIGN_IN),
    "700082": _Known("the refresh token was not used for too long", _SIGN_IN),
    "50034": _Known("the account does not exist in this tenant", "check smtp.username and oauth.tenant"),
    "65001": _Known(
        "nobody has consented to the permission yet",
        "let an administrator grant consent: Entra admin center, App registrations, API permissions",
    ),
    "90002": _Known("there is no such tenant", "check oauth.tenant: the directory id, or a domain of it"),
    "700016": _Known(
        "this tenant does not know the application", "check oauth.client_id and oauth.tenant (App registrations)"
    ),
    "7000215": _Known(
        "the client secret is wrong; often the secret's id was taken for its value",
        "copy the Value, not the Secret ID, and run `ucrmmail config set oauth.client_secret`",
    ),
    "7000222": _Known("the client secret has expired", _SET_SECRET),
    "7000218": _Known(
        "the application is not registered as a public client",
        "set Allow public client flows to Yes (App registrations, Authentication)",
    ),
    "70011": _Known("the scope is not one that it knows", "check oauth.scope, or unset it"),
    "1002012": _Known(
        "an application is granted only what ends in /.default",
        "run `ucrmmail config unset oauth.scope`",
    ),
    "50011": _Known(
        "the redirect address is not registered",
        "add http://localhost as a Mobile and desktop redirect URI (App registrations, Authentication)",
    ),
}
_BY_CODE = {
    "access_denied": _Known("the question was answered with no", _SIGN_IN),
    "authorization_declined": _Known("the question was answered with no", _SIGN_IN),
    "expired_token": _Known("nobody entered the code in time", _SIGN_IN),
    "invalid_grant": _Known(
        "the sign-in was revoked or has expired; at Google, that of a client in Testing ends after 7 days", _SIGN_IN
    ),
    "invalid_client": _Known("the client id or its secret is wrong", "check oauth.client_id; " + _SET_SECRET),
    "unauthorized_client": _Known(
        "the client is not registered for this kind of sign-in",
        "check oauth.client_id, and what the provider has registered for it; for a Google service account, its"
        " domain-wide delegation with the scope https://mail.google.com/",
    ),
    "invalid_scope": _Known("the scope is not one that it grants", "check oauth.scope, or unset it"),
    "redirect_uri_mismatch": _Known(
        "the client is not one for this kind of sign-in", "make a client of the type Desktop app"
    ),
}
_TEMPORARY = frozenset({"temporarily_unavailable", "server_error"})
_OF_THE_GRANT = frozenset(
    {
        "invalid_grant", "access_denied", "authorization_declined", "expired_token", "invalid_client",
        "interaction_required", "authorization_pending", "slow_down",
    }
)  # fmt: skip
# A refresh token that is answered so will never work again (RFC 6749 section 5.2; OpenID Connect Core 3.1.2.6).
ENDS_SIGN_IN = frozenset({"invalid_grant", "interaction_required"})


def refused(code: str, description: str, title: str) -> GrantRefusedError | ClientRefusedError | TokenUnavailableError:
    """Return the error that a refusal means; ``title`` names the server."""
    said = _shortened(description)
    what = f"{title} grants no token: {code}{f': {said}' if said else ''}"
    if code in _TEMPORARY:
        return TokenUnavailableError(what, remedy="nothing: a later run tries again")
    number = re.search(r"AADSTS(\d{5,7})", description)
    known = _BY_AADSTS.get(number[1]) if number else None
    known = known or _BY_CODE.get(code) or _Known("", "check the keys of the table oauth: `ucrmmail config list`")
    kind = GrantRefusedError if code in _OF_THE_GRANT else ClientRefusedError
    return kind(code, what, why=known.why, remedy=known.remedy)


def sign_in_ended(user: str, reason: str) -> SignInEndedError:
    """Return the error of a sign-in that the server has ended, which it said with ``reason``."""
    return SignInEndedError(
        "invalid_grant",
        f"the sign-in of {user} is no longer accepted",
        why=reason,
        remedy=_SIGN_IN,
    )


def _shortened(description: str) -> str:
    """Return the first line of what Microsoft makes several of, without its trace ids."""
    line = re.split(r"[\r\n]| Trace ID:", description.strip(), maxsplit=1)[0].strip()
    return line[:_LONGEST_DESCRIPTION]
