"""From the values of the configuration to rules."""

from __future__ import annotations

import pytest

from ucrmmail.limits.rules import Flood, Rules, Throttle, rules_from

DAY = 86_400.0


def test_defaults_limit_nothing() -> None:
    rules = rules_from()
    assert rules == Rules()
    assert not rules.any
    assert rules.largest_transaction is None


def test_additional_limits_hold_beside_the_main_one_and_count_what_it_counts() -> None:
    rules = rules_from(message_limit=500, window="sliding", count="recipients", additional_limits=["30/1m", "10000/7d"])
    assert rules.throttles == (
        Throttle(500, DAY, sliding=True, unit="recipients"),
        Throttle(30, 60.0, sliding=True, unit="recipients"),
        Throttle(10_000, 7 * DAY, sliding=True, unit="recipients"),
    )
    assert rules.largest_transaction == 30


def test_without_the_main_limit_the_additional_ones_still_hold() -> None:
    assert rules_from(message_limit=0, additional_limits=["30/1m"]).throttles == (Throttle(30, 60.0),)


def test_antiflood_needs_both_a_threshold_and_a_pause() -> None:
    assert rules_from(activation_threshold=10, pause_s=60.0).flood == Flood(10, 60.0)
    assert rules_from(activation_threshold=0, pause_s=60.0).flood is None
    assert rules_from(activation_threshold=10, pause_s=0.0).flood is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"window": "rolling"}, "write fixed or sliding"),
        ({"count": "bytes"}, "write messages or recipients"),
        ({"additional_limits": ["30 a minute"]}, "30/1m"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rules_from(**values)  # type: ignore[arg-type] # wrong on purpose


def test_a_transaction_takes_what_the_limit_counts() -> None:
    assert Throttle(5, 60.0).units(7) == 1
    assert Throttle(5, 60.0, unit="recipients").units(7) == 7
