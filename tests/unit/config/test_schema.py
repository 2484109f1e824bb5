"""Each key is declared once, completely, and found by the words that people use."""

from __future__ import annotations

import shlex

import pytest

from ucrmmail.config.schema import KEYS, TABLES, nearest, nearest_table

DESIGN = {
    "smtp": "transport host port encryption username password authentication verify_certificate ca_file"
    " client_certificate client_key timeout final_timeout local_hostname connections pipelining allow_insecure_login",
    "addresses": "sender organization support notification",
    "throttler": "message_limit duration window count additional_limits",
    "antiflood": "activation_threshold pause_time",
    "spool": "directory sync keep_sent max_message_size min_free_space",
    "retry": "first_delay max_delay give_up_after",
    "dns": "domains dkim_selectors nameservers sending_addresses",
    "credentials": "source command file",
}


@pytest.mark.requirement("R17")
def test_the_wait_behind_the_final_dot_is_ten_minutes_when_nobody_says_otherwise() -> None:
    """RFC 5321 section 4.5.3.2.6: a shorter one makes duplicates."""
    assert KEYS["smtp.final_timeout"].default == "10m"


@pytest.mark.requirement("R17")
def test_each_wait_is_a_setting_with_the_time_that_the_standard_asks_for() -> None:
    """RFC 5321 sections 4.5.3.2.1 to 4.5.3.2.5; a message and a session have an end of their own (test_smtp_submit)."""
    asked_for = {"greeting": "5m", "envelope": "5m", "data": "2m", "block": "3m"}
    assert {name: KEYS[f"smtp.{name}_timeout"].default for name in asked_for} == asked_for


def test_every_key_of_the_design_is_there() -> None:
    assert {f"{table}.{name}" for table, names in DESIGN.items() for name in names.split()} <= set(KEYS)
    assert set(TABLES) >= set(DESIGN)


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
def test_default_and_example_are_allowed(key: object) -> None:
    from ucrmmail.config.schema import Key

    assert isinstance(key, Key)
    if key.secret:
        assert (key.default, key.example) == ("", "")
        return
    key.kind.check(key.default)
    key.kind.check(key.kind.read(shlex.split(key.example)))


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
def test_help_is_sentences(key: object) -> None:
    from ucrmmail.config.schema import Key

    assert isinstance(key, Key)
    assert key.help[0].isupper() or key.help.startswith("$")
    assert key.help.endswith(".")
    assert key.allowed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("smtp.hots", "smtp.host"),
        ("host", "smtp.host"),
        ("stmp.port", "smtp.port"),
        ("smtp-port", "smtp.port"),
        ("message_limit", "throttler.message_limit"),
        ("throttle.message_limit", "throttler.message_limit"),
        ("sender address", "addresses.sender"),
        ("organization email", "addresses.organization"),
        ("support email address", "addresses.support"),
        ("system notification address", "addresses.notification"),
        ("activation threshold", "antiflood.activation_threshold"),
        ("pause_time", "antiflood.pause_time"),
        ("transport type", "smtp.transport"),
        ("password", "smtp.password"),
        ("nothing of the kind", ""),
        ("zzz", ""),
    ],
)
def test_the_nearest_key_is_found(typed: str, meant: str) -> None:
    assert nearest(typed) == meant


def test_the_nearest_table_is_found() -> None:
    assert nearest_table("throttle") == "throttler"
    assert nearest_table("zzz") == ""
