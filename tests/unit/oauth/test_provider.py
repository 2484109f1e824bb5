"""Which flow, which endpoints and which scope an account gets."""

from __future__ import annotations

import pytest

from ucrmmail.config.schema import KEYS
from ucrmmail.dataclass import replace
from ucrmmail.errors import ConfigError
from ucrmmail.oauth.provider import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    FLOWS,
    SERVICE_ACCOUNT,
    Client,
    check_complete,
    choose_flow,
    provider_for,
    with_endpoints,
)


def client(transport: str, tenant: str = "", **endpoints: str) -> Client:
    provider = with_endpoints(provider_for(transport, tenant), endpoints, "")
    return Client(provider, "id", "billing@isp.example", tenant=tenant)


@pytest.mark.parametrize(
    ("account", "has_secret", "flow"),
    [
        (client("microsoft365"), False, DEVICE_CODE),
        (client("microsoft365", "isp.example"), True, CLIENT_CREDENTIALS),
        (client("outlook"), False, DEVICE_CODE),
        (client("gmail"), True, AUTHORIZATION_CODE),
        (replace(client("gmail"), key_file="/key.json"), False, SERVICE_ACCOUNT),
        (replace(client("gmail"), flow=DEVICE_CODE), True, DEVICE_CODE),
        (client("smtp", token_endpoint="https://a/t", device_endpoint="https://a/d"), False, DEVICE_CODE),
        (client("smtp", token_endpoint="https://a/t", authorization_endpoint="https://a/a"), True, AUTHORIZATION_CODE),
        (client("smtp", token_endpoint="https://a/t"), True, CLIENT_CREDENTIALS),
    ],
)
def test_the_flow_suits_the_account(account: Client, has_secret: bool, flow: str) -> None:
    assert choose_flow(account, has_secret=has_secret) == flow


def test_microsofts_endpoints_are_those_of_the_tenant() -> None:
    assert client("microsoft365", "isp.example").provider.token_endpoint == (
        "https://login.microsoftonline.com/isp.example/oauth2/v2.0/token"
    )
    assert "/organizations/" in client("microsoft365").provider.device_endpoint
    assert "/consumers/" in client("outlook").provider.device_endpoint


def test_an_application_asks_for_another_scope_than_a_user() -> None:
    account = client("microsoft365")
    assert account.scope_for(CLIENT_CREDENTIALS) == "https://outlook.office365.com/.default"
    assert account.scope_for(DEVICE_CODE) == "https://outlook.office.com/SMTP.Send offline_access"


def test_an_application_of_microsofts_needs_its_tenant() -> None:
    with pytest.raises(ConfigError, match=r"oauth\.tenant is not set"):
        check_complete(client("microsoft365"), CLIENT_CREDENTIALS, has_secret=True)
    check_complete(client("microsoft365", "isp.example"), CLIENT_CREDENTIALS, has_secret=True)


def test_every_flow_is_a_value_of_its_key() -> None:
    assert KEYS["oauth.flow"].kind.choices == ("auto", *FLOWS)


def test_a_changed_setting_changes_the_mark() -> None:
    account = client("microsoft365", "isp.example")
    others = [
        replace(account, client_id="2"),
        replace(account, user="b@isp.example"),
        client("microsoft365", "b.example"),
    ]
    assert len({one.mark for one in (account, *others)}) == 4
    assert account.mark == client("microsoft365", "isp.example").mark
