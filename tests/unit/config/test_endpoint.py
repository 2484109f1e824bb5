"""An endpoint is encrypted, or on this machine."""

from __future__ import annotations

import pytest

from ucrmmail.config.texts import endpoint


@pytest.mark.parametrize(
    "text",
    [
        "https://login.microsoftonline.com/isp.example/oauth2/v2.0/token",
        "https://auth.isp.example:8443/token?tenant=1",
        "http://127.0.0.1:8080/token",
        "http://localhost/token",
        "http://[::1]:80/token",
    ],
)
def test_an_encrypted_address_or_one_on_this_machine_is_taken(text: str) -> None:
    assert endpoint(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://auth.isp.example/token", "not encrypted"),
        ("http://localhost.isp.example/token", "not encrypted"),
        ("http://127.0.0.1@isp.example/token", "more than the address"),
        ("https://user:word@isp.example/token", "more than the address"),
        ("https://isp.example/token#x", "more than the address"),
        ("ftp://isp.example/", "https://"),
        ("isp.example/token", "https://"),
        ("https:///token", "https://"),
        ("https://isp.example:99999/", "not an address"),
        ("https://[isp.example/", "not an address"),
        ("https://isp.example/a b", "https://"),
        ("https://isp.example/\n", "control character|not an address"),
    ],
)
def test_another_address_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        endpoint(text)
