"""Authentication-Results as receivers write them, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.mailbox.authresults import AuthResults, MethodResult, read_auth_results


def results(value: str) -> list[tuple[str, str]]:
    return [(one.method, one.result) for one in read_auth_results(value).results]


def test_opendkim_and_opendmarc_are_read() -> None:
    found = read_auth_results(
        "mx.example.com;\tdkim=pass (1024-bit key; unprotected) header.d=isp.example header.i=@isp.example "
        "header.a=rsa-sha256 header.s=s1 header.b=Vt3xVR8k;\tdkim-atps=neutral"
    )
    properties = {
        "header.d": "isp.example", "header.i": "@isp.example", "header.a": "rsa-sha256", "header.s": "s1",
        "header.b": "Vt3xVR8k",
    }  # fmt: skip
    assert found == AuthResults(
        "mx.example.com", (MethodResult("dkim", "pass", properties), MethodResult("dkim-atps", "neutral"))
    )
    assert results("mx.example.com; dmarc=fail (p=none dis=none) header.from=forged.example") == [("dmarc", "fail")]


def test_gmail_is_read() -> None:
    value = (
        "mx.google.com;       dkim=pass header.i=@isp.example header.s=s1 header.b=abc;       spf=pass (google.com: "
        "domain of a@isp.example designates 192.0.2.25 as permitted sender) smtp.mailfrom=a@isp.example;       "
        "dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=isp.example"
    )
    assert results(value) == [("dkim", "pass"), ("spf", "pass"), ("dmarc", "pass")]
    assert read_auth_results(value).results[1].properties == {"smtp.mailfrom": "a@isp.example"}


def test_microsoft_leaves_its_name_out() -> None:
    found = read_auth_results(
        "spf=pass (sender IP is 192.0.2.25) smtp.mailfrom=isp.example; dkim=pass (signature was verified) "
        "header.d=isp.example;dmarc=pass action=none header.from=isp.example;compauth=pass reason=100"
    )
    assert found.authserv_id == ""
    assert [one.method for one in found.results] == ["spf", "dkim", "dmarc", "compauth"]
    assert found.results[3].reason == "100"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("example.org 1; none", []),
        ("example.org; none", []),
        ("example.com; spf=fail smtp.mailfrom=example.net", [("spf", "fail")]),
        (("foo.example.net (foobar) 1 (baz); dkim (Because I like it) / 1 (One yay) = (wait for it) fail "
         "policy (A dot can go here) . (like that) expired (this surprised me) = (as I wasn't expecting it) 1362471462"),
         [("dkim", "fail")]),
        ('example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; dkim=FAIL reason="bad; signature"',
         [("auth", "pass"), ("dkim", "fail")]),
        ('"quoted.example"; SPF=Pass', [("spf", "pass")]),
        ("example.com; =pass; dkim=; spf", []),
        ("", []),
    ],
)  # fmt: skip
def test_forms_of_the_standard_and_beyond_it(value: str, found: list[tuple[str, str]]) -> None:
    assert results(value) == found


def test_a_reason_may_hold_what_separates_results() -> None:
    (result,) = read_auth_results('a.example; dkim=fail reason="bad; spf=pass" header.d=isp.example').results
    assert result == MethodResult("dkim", "fail", {"header.d": "isp.example"}, "bad; spf=pass")


@given(st.text(alphabet='();"\\= spfdkim.pass/1', max_size=200))
def test_no_field_is_a_crash(value: str) -> None:
    read_auth_results(value)
