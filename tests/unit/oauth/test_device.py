"""The device flow asks no more often than it is told, by a clock that is a number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oauth_server import CLIENT_ID, DEVICE_GRANT, OAuthServer
from ucrmmail.clock import Clock
from ucrmmail.oauth import device
from ucrmmail.oauth.device import Invitation
from ucrmmail.oauth.provider import Client, Provider
from ucrmmail.oauth.refusal import GrantRefusedError, TokenUnavailableError


class Ticking(Clock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return sum(self.slept)

    def now(self) -> float:
        return 1_800_000_000.0 + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def oauth() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        server.device_interval = 7
        yield server


def client_of(server: OAuthServer) -> Client:
    provider = Provider(
        token_endpoint=server.token_endpoint, device_endpoint=server.device_endpoint, user_scope="mail offline_access"
    )
    return Client(provider, CLIENT_ID, "billing@isp.example")


def test_the_interval_of_the_server_is_kept_and_grows_with_each_slow_down(oauth: OAuthServer) -> None:
    oauth.device_answers = ["authorization_pending", "slow_down", "slow_down", "authorization_pending"]
    clock, seen = Ticking(), list[Invitation]()
    token = device.sign_in(client_of(oauth), "", clock=clock, invite=seen.append)
    assert clock.slept == [7, 7, 12, 17, 17]
    assert token.refresh
    assert token.expires_at == clock.now() + 3600
    assert (seen[0].user_code, seen[0].life_s) == ("WDJB-MJHT", 900)
    assert "canary" not in repr(seen[0])
    assert oauth.requests[0]["scope"] == "mail offline_access"


def test_nobody_comes_before_the_code_ends(oauth: OAuthServer) -> None:
    oauth.device_answers = ["authorization_pending"] * 1000
    clock = Ticking()
    with pytest.raises(GrantRefusedError) as caught:
        device.sign_in(client_of(oauth), "", clock=clock, invite=lambda _: None)
    assert caught.value.code == "expired_token"
    assert 880 < clock.monotonic() < 900


def test_a_connection_that_fails_for_a_moment_does_not_end_it(oauth: OAuthServer) -> None:
    clock = Ticking()
    device.sign_in(client_of(oauth), "", clock=clock, invite=lambda _: oauth.fail_with(503))
    assert clock.slept == [7, 12]


def test_a_server_that_is_gone_ends_it(oauth: OAuthServer) -> None:
    def then_fail(_invitation: Invitation) -> None:
        for _ in range(50):
            oauth.fail_with(503)

    with pytest.raises(TokenUnavailableError):
        device.sign_in(client_of(oauth), "", clock=Ticking(), invite=then_fail)
    assert oauth.grants(DEVICE_GRANT) == 6
