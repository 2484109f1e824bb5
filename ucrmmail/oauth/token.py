"""The token of an account: what an authorization server grants, and how it is kept in the credential store.

    {"access": "ya29...", "refresh": "1//0g...", "expires_at": 1795446000.0, ...}

One JSON document in the place of one secret, so that access and refresh token are replaced together.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ucrmmail.dataclass import asdict, dataclass, field, replace
from ucrmmail.jsontext import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

# A token is renewed when it would end so soon: a run that begins now may still log in with it.
RENEW_BEFORE_S = 300.0
# RFC 6749 section 5.1 only recommends expires_in. An hour is what all use; a token that ends sooner is refused by the
# smarthost, and then renewed.
_USUAL_LIFE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what renews it; times are in seconds since the epoch, 0.0 when not known or not yet.

    ``refresh`` is "" where the account signs in without a person. ``sign_in_ends_at`` is when the refresh token ends,
    where the server says so. ``settings`` tells of which settings it is (``Client.mark``). ``ended`` is why the server
    no longer renews it, "" while it does. ``repr`` shows neither of the two tokens.
    """

    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    expires_at: float = 0.0
    fetched_at: float = 0.0
    signed_in_at: float = 0.0
    sign_in_ends_at: float = 0.0
    settings: str = ""
    ended: str = ""

    def is_fresh(self, now: float, settings: str) -> bool:
        """Return whether to log in with it now; one of other settings is not used."""
        life_s = self.expires_at - self.fetched_at
        # Of a token that lives for minutes only, the first half is used.
        return (
            bool(self.access) and self.settings == settings and now < self.expires_at - min(RENEW_BEFORE_S, life_s / 2)
        )

    def renewed_as(self, other: Token) -> Token:
        """Return the token that a refresh gave, which may have brought a new refresh token or none (section 6)."""
        return replace(
            other,
            refresh=other.refresh or self.refresh,
            signed_in_at=self.signed_in_at,
            sign_in_ends_at=other.sign_in_ends_at or self.sign_in_ends_at,
        )

    def ended_because(self, reason: str) -> Token:
        """Return what is left of a sign-in that the server has ended: no run asks again."""
        return replace(self, access="", refresh="", expires_at=0.0, ended=reason)


def granted(reply: Mapping[str, object], *, now: float, settings: str) -> Token:
    """Return the token in a reply of the token endpoint (RFC 6749 section 5.1).

        {"access_token": "...", "token_type": "Bearer", "expires_in": 3599, "refresh_token": "..."}

    Google adds ``refresh_token_expires_in`` where the sign-in itself has an end. Raises ValueError when there is no
    access token in it.
    """
    access = reply.get("access_token")
    if not isinstance(access, str) or not access or not access.isascii() or not access.isprintable() or " " in access:
        raise ValueError("there is no access token in the reply")
    refresh = reply.get("refresh_token")
    sign_in_s = _seconds(reply.get("refresh_token_expires_in"))
    return Token(
        access=access,
        refresh=refresh if isinstance(refresh, str) else "",
        expires_at=now + (_seconds(reply.get("expires_in")) or _USUAL_LIFE_S),
        fetched_at=now,
        signed_in_at=now,
        sign_in_ends_at=now + sign_in_s if sign_in_s else 0.0,
        settings=settings,
    )


def _seconds(value: object) -> float:
    """Return a number of seconds, one at the least, which some servers write as text; 0.0 when it is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return 0.0
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return 0.0
    # A year is longer than any token lives: it keeps a silly number out of dates.
    return min(seconds, 366 * 86400.0) if seconds >= 1 else 0.0


def to_json(token: Token) -> str:
    """Return the token as it is kept: one line."""
    return json.dumps(asdict(token))


def from_json(text: str) -> Token:
    """Return the token that was kept. Raises ValueError for anything else."""
    fields = read_json(text)
    if not isinstance(fields, dict):
        raise ValueError("not a token")  # noqa: TRY004 # the text is wrong, whatever is in it
    kept = {}
    for name, usual in asdict(Token()).items():
        value = fields.get(name, usual)
        if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(usual):
            raise ValueError(f"not a token: {name}")
        kept[name] = value
    return Token(**kept)
