"""An MTA-STS policy, read as senders read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.findings import assert_explained
from ucrmmail.dns import mta_sts
from ucrmmail.dns.mta_sts_policy import matches, parse_policy, policy_id, policy_text

GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mail.d.example\r\nmx: *.d.example\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("\r", ""), GOOD.strip(), GOOD + "\r\n", GOOD.replace(": ", ":")])
def test_a_policy_is_read_whatever_its_line_ends(text: str) -> None:
    policy = parse_policy(text)
    assert (policy.version, policy.mode, policy.max_age_s) == ("STSv1", "enforce", 604_800)
    assert policy.patterns == ("mail.d.example", "*.d.example")
    assert policy.wrong_lines == policy.repeated == policy.wrong_patterns == ()


def test_the_order_of_fields_is_free() -> None:
    assert parse_policy("\n".join(reversed(GOOD.split("\r\n")))).mode == "enforce"


@pytest.mark.parametrize(
    ("changed", "to", "field"),
    [
        ("STSv1", "STSv2", "version"),
        ("STSv1", "stsv1", "version"),
        ("version", "\ufeffversion", "version"),
        ("enforce", "Enforce", "mode"),
        ("enforce", "report", "mode"),
        ("mode: ", "mode ", "mode"),
    ],
)
def test_a_wrong_value_is_none(changed: str, to: str, field: str) -> None:
    assert getattr(parse_policy(GOOD.replace(changed, to)), field) == ""


@pytest.mark.parametrize("age", ["", "-1", "1.5", "31557601", "1e6", "9" * 5000, "٣", "one week"])
def test_a_wrong_age_is_none(age: str) -> None:
    assert parse_policy(GOOD.replace("604800", age)).max_age_s is None


@pytest.mark.parametrize("age", [0, 86_400, 31_557_600])
def test_an_age_may_be_from_nothing_to_a_year(age: int) -> None:
    assert parse_policy(GOOD.replace("604800", str(age))).max_age_s == age


def test_only_the_first_of_a_field_counts() -> None:
    policy = parse_policy(GOOD + "mode: none\r\nmode: testing\r\n")
    assert (policy.mode, policy.repeated) == ("enforce", ("mode",))


def test_patterns_that_match_nothing_are_told() -> None:
    policy = parse_policy(GOOD + "mx: .d.example\nmx: *\nmx: mail.*.example\nmx: 192.0.2.1\nmx: a@d.example\nmx:\n")
    assert policy.patterns == ("mail.d.example", "*.d.example")
    assert policy.wrong_patterns == (".d.example", "*", "mail.*.example", "192.0.2.1", "a@d.example", "")


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("mail.d.example", "mail.d.example", True),
        ("mail.d.example", "MAIL.d.example", True),
        ("mail.d.example", "a.mail.d.example", False),
        ("*.d.example", "mail.d.example", True),
        ("*.d.example", "a.mail.d.example", False),
        ("*.d.example", "d.example", False),
        ("*.d.example", "mail.xd.example", False),
    ],
)
def test_an_asterisk_stands_for_exactly_one_label(pattern: str, host: str, covered: bool) -> None:
    assert matches(pattern, host) is covered


@given(st.text(alphabet=st.sampled_from("mxodeversion: *.\r\n\tSTSv1\x0cé0123"), max_size=300) | st.text(max_size=300))
def test_no_text_disturbs_the_reader(text: str) -> None:
    policy = parse_policy(text)
    assert policy.mode in ("", "enforce", "testing", "none")


def test_a_policy_without_end_is_bounded() -> None:
    assert len(parse_policy("mx: a.example\n" * 10_000).written) <= 200


def test_what_is_proposed_is_read_back_and_its_id_changes_with_it() -> None:
    text = policy_text("testing", ("a.example", "b.example"), 604_800)
    policy = parse_policy(text)
    assert (policy.mode, policy.patterns, policy.max_age_s) == ("testing", ("a.example", "b.example"), 604_800)
    assert policy_id(text) != policy_id(policy_text("enforce", ("a.example", "b.example"), 604_800))


def test_every_code_is_explained() -> None:
    assert_explained({code.replace("mta-sts", "mta"): text for code, text in mta_sts.CODES.items()})
