"""A token is read from any reply, kept and read back, and shows itself to nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ucrmmail.oauth.token import Token, from_json, granted, to_json

NOW = 1_800_000_000.0
REPLY = {"access_token": "ya29.a", "token_type": "Bearer", "expires_in": 3599, "refresh_token": "1//r"}

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


def test_a_reply_becomes_a_token() -> None:
    token = granted(REPLY, now=NOW, settings="s")
    assert token == Token("ya29.a", "1//r", NOW + 3599, NOW, NOW, 0.0, "s")


@pytest.mark.parametrize("expires_in", [None, "soon", -1, 0, True, [], float("nan")])
def test_an_end_that_nobody_tells_is_in_an_hour(expires_in: object) -> None:
    assert granted({**REPLY, "expires_in": expires_in}, now=NOW, settings="").expires_at == NOW + 3600


@pytest.mark.parametrize(("expires_in", "life_s"), [("3599", 3599), (86400.5, 86400.5), (1e300, 366 * 86400)])
def test_an_end_may_be_written_in_any_way(expires_in: object, life_s: float) -> None:
    assert granted({**REPLY, "expires_in": expires_in}, now=NOW, settings="").expires_at == NOW + life_s


@pytest.mark.parametrize("access", [None, "", 5, "a b", "a\r\nb", "a\1b", "é"])
def test_what_cannot_go_into_a_login_is_no_token(access: object) -> None:
    with pytest.raises(ValueError, match="no access token"):
        granted({**REPLY, "access_token": access}, now=NOW, settings="")


@example({**REPLY, "expires_in": 1e-200})
@given(st.dictionaries(st.sampled_from([*REPLY, "refresh_token_expires_in", "scope"]), values))
def test_any_reply_is_a_token_or_a_value_error(reply: dict[str, Any]) -> None:
    try:
        token = granted(reply, now=NOW, settings="s")
    except ValueError:
        return
    assert NOW < token.expires_at <= NOW + 366 * 86400
    assert from_json(to_json(token)) == token


@given(st.dictionaries(st.sampled_from([*Token.__slots__, "more"]), values) | values)
def test_anything_that_is_kept_is_a_token_or_a_value_error(kept: object) -> None:
    try:
        token = from_json(json.dumps(kept))
    except ValueError:
        return
    assert isinstance(token.access, str)
    assert isinstance(token.expires_at, float)


@pytest.mark.parametrize(
    ("life_s", "age_s", "fresh"),
    [(3600, 0, True), (3600, 3299, True), (3600, 3300, False), (3600, 9999, False), (60, 29, True), (60, 30, False)],
)
def test_a_token_is_renewed_five_minutes_before_its_end_or_at_half_a_short_life(
    life_s: float, age_s: float, fresh: bool
) -> None:
    token = granted({**REPLY, "expires_in": life_s}, now=NOW, settings="s")
    assert token.is_fresh(NOW + age_s, "s") is fresh
    assert not token.is_fresh(NOW + age_s, "other")


def test_a_renewal_keeps_what_it_does_not_bring() -> None:
    old = granted({**REPLY, "refresh_token_expires_in": 604799}, now=NOW, settings="s")
    same = old.renewed_as(granted({"access_token": "b"}, now=NOW + 3000, settings="s"))
    assert (same.access, same.refresh, same.signed_in_at) == ("b", "1//r", NOW)
    assert same.sign_in_ends_at == NOW + 604799
    rotated = old.renewed_as(granted({"access_token": "b", "refresh_token": "2"}, now=NOW, settings="s"))
    assert rotated.refresh == "2"


def test_a_sign_in_that_ended_keeps_neither_token() -> None:
    ended = granted(REPLY, now=NOW, settings="s").ended_because("revoked")
    assert (ended.access, ended.refresh, ended.ended) == ("", "", "revoked")
    assert not ended.is_fresh(NOW, "s")


def test_a_token_does_not_show_itself() -> None:
    token = granted(REPLY, now=NOW, settings="s")
    assert "ya29" not in f"{token!r} {token}"
    assert "1//r" not in f"{token!r} {token}"
