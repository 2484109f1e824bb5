"""The settings of a smarthost: how long it may take at each stage, and how it and we are called."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.smarthost import Smarthost


def test_each_stage_has_its_own_time_or_that_of_a_command() -> None:
    own = Smarthost(
        "mx.example.net",
        587,
        timeout_s=1.0,
        greeting_timeout_s=2.0,
        envelope_timeout_s=3.0,
        data_timeout_s=4.0,
        block_timeout_s=5.0,
        final_timeout_s=6.0,
    )
    expected = {
        Stage.GREETING: 2.0, Stage.MAIL: 3.0, Stage.RCPT: 3.0, Stage.DATA: 4.0, Stage.BODY: 5.0, Stage.FINAL_DOT: 6.0,
    }  # fmt: skip
    assert {stage: own.patience_s(stage) for stage in Stage} == dict.fromkeys(Stage, 1.0) | expected
    none = Smarthost("mx.example.net", 587, timeout_s=1.0, final_timeout_s=6.0)
    assert {none.patience_s(stage) for stage in Stage if stage is not Stage.FINAL_DOT} == {1.0}


@pytest.mark.parametrize(
    ("host", "name"), [("mx.example.net", "mx.example.net:587"), ("192.0.2.1", "192.0.2.1:587"), ("::1", "[::1]:587")]
)
def test_it_is_called_by_its_host_and_its_port(host: str, name: str) -> None:
    assert Smarthost(host, 587).name == name


@pytest.mark.parametrize(
    ("username", "authentication", "logs_in"), [("u", "auto", True), ("u", "none", False), ("", "auto", False)]
)
def test_an_account_logs_in_that_has_a_user_and_may(username: str, authentication: str, logs_in: bool) -> None:
    assert Smarthost("mx.example.net", 587, username=username, authentication=authentication).logs_in is logs_in
