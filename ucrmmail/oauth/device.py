"""The device authorization grant (RFC 8628): a person enters a short code in any browser, also on another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.oauth.endpoint import Endpoint
from ucrmmail.oauth.provider import DEVICE_CODE
from ucrmmail.oauth.refusal import GrantRefusedError, TokenUnavailableError, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.oauth.provider import Client
    from ucrmmail.oauth.token import Token

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# RFC 8628 section 3.2: when the server says nothing of an interval; and section 3.5 for slow_down.
_USUAL_INTERVAL_S = 5.0
_SLOWER_S = 5.0
_USUAL_LIFE_S = 900.0
_MOST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the person is to do: go there and enter the code, within that time."""

    url: str
    user_code: str
    life_s: float
    interval_s: float
    device_code: str = field(repr=False)


def sign_in(client: Client, secret: str, *, clock: Clock, invite: Callable[[Invitation], None]) -> Token:
    """Show the invitation and return the token when the person has accepted it.

    Raises GrantRefusedError when they declined or took too long, ClientRefusedError, TokenUnavailableError.
    """
    endpoint = Endpoint(client, secret)
    invitation = _invitation(endpoint, client)
    invite(invitation)
    ends_at = clock.monotonic() + invitation.life_s
    interval_s = invitation.interval_s
    failures = 0
    while clock.monotonic() + interval_s < ends_at:
        clock.sleep(interval_s)
        try:
            return endpoint.token(_GRANT, now=clock.now(), flow=DEVICE_CODE, device_code=invitation.device_code)
        except GrantRefusedError as error:
            if error.code == "slow_down":
                interval_s += _SLOWER_S
            elif error.code != "authorization_pending":
                raise
            failures = 0
        except TokenUnavailableError:
            # The person is busy typing: a connection that fails for a moment does not end it, but to ask less often is
            # right (section 3.5).
            failures += 1
            if failures > _MOST_FAILURES:
                raise
            interval_s += _SLOWER_S
    raise refused("expired_token", "", client.provider.title)


def _invitation(endpoint: Endpoint, client: Client) -> Invitation:
    """Ask for a code (section 3.1).

    {"device_code": "...", "user_code": "WDJB-MJHT", "verification_uri": "https://...", "expires_in": 900,
     "interval": 5}
    """
    url = client.provider.device_endpoint
    reply = endpoint.ask(url, client_id=client.client_id, scope=client.scope_for(DEVICE_CODE))
    # Google calls it verification_url, from before the RFC.
    where = reply.get("verification_uri") or reply.get("verification_url")
    code, device_code = reply.get("user_code"), reply.get("device_code")
    if not (isinstance(where, str) and isinstance(code, str) and isinstance(device_code, str)):
        raise TokenUnavailableError(f"{url} answered without a code to enter", remedy="check oauth.device_endpoint")
    return Invitation(
        url=where,
        user_code=code,
        life_s=_number(reply.get("expires_in"), _USUAL_LIFE_S),
        interval_s=_number(reply.get("interval"), _USUAL_INTERVAL_S),
        device_code=device_code,
    )


def _number(value: object, usual: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 86400:
        return usual
    return float(value)
