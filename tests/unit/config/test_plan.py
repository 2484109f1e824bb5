"""What the guide would change: only what must change, and what somebody wrote is known beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucrmmail.config.edit import change_values, preview_values
from ucrmmail.config.load import Config, load
from ucrmmail.config.location import locate
from ucrmmail.config.plan import Account, Setting, plan, values_of
from ucrmmail.config.presets import PRESETS
from ucrmmail.errors import ConfigError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def config(path: Path, text: str = "") -> Config:
    path.write_text(text)
    path.chmod(0o600)
    return load(locate(str(path), {}, path.stat().st_uid))


GMAIL = Account("you@gmail.com", "gmail", username="you@gmail.com", with_password=True)
OWN = Account("a@isp.example", "smtp", "mail.isp.example", 465, "tls", "a@isp.example", with_password=True)


def test_a_preset_says_most_of_it(path: Path) -> None:
    assert values_of(plan(config(path), GMAIL)) == {
        "smtp.transport": "gmail",
        "smtp.username": "you@gmail.com",
        "addresses.sender": "you@gmail.com",
        "addresses.notification": "you@gmail.com",
    }


def test_a_host_of_ones_own_is_written_with_port_and_encryption(path: Path) -> None:
    found = values_of(plan(config(path), OWN))
    assert (found["smtp.host"], found["smtp.port"], found["smtp.encryption"]) == ("mail.isp.example", 465, "tls")
    assert "smtp.transport" not in found


def test_what_would_go_before_the_preset_is_taken_out(path: Path) -> None:
    found = plan(config(path, '[smtp]\nhost = "old"\nport = 26\nauthentication = "xoauth2"\nca_file = "/c"\n'), GMAIL)
    assert Setting("smtp.host", "old", None) in found
    assert Setting("smtp.port", 26, None) in found
    assert Setting("smtp.authentication", "xoauth2", None) in found
    assert "smtp.ca_file" not in values_of(found)
    assert [each.key for each in found if each.replaces] == ["smtp.host", "smtp.port", "smtp.authentication"]


def test_a_mechanism_for_passwords_stays(path: Path) -> None:
    assert "smtp.authentication" not in values_of(plan(config(path, '[smtp]\nauthentication = "login"\n'), OWN))


def test_who_gets_reports_stays_and_limits_come_when_asked_for(path: Path) -> None:
    from ucrmmail.dataclass import replace

    before = config(path, '[addresses]\nnotification = "admin@isp.example"\n')
    assert "addresses.notification" not in values_of(plan(before, GMAIL))
    assert not any(key.startswith("throttler") for key in values_of(plan(before, GMAIL)))
    assert values_of(plan(before, replace(GMAIL, limits=True)))["throttler.message_limit"] == 500


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset.host], ids=lambda preset: preset.name)
def test_what_is_planned_for_a_preset_is_valid_and_leaves_nothing_to_plan(path: Path, preset: object) -> None:
    account = Account("you@isp.example", getattr(preset, "name", ""), username="you@isp.example", limits=True)
    before = config(path, '# mine\n[smtp]\nhost = "old"\n')
    settings = values_of(plan(before, account))
    previewed = preview_values(before.location, settings)
    assert path.read_text() == '# mine\n[smtp]\nhost = "old"\n'
    assert previewed.smarthost_problem() is None
    assert change_values(before.location, settings).changed
    after = load(before.location)
    assert path.read_text().startswith("# mine\n")
    assert plan(after, account) == ()
    assert after.text("smtp.host") == previewed.text("smtp.host") == getattr(preset, "host", "")


def test_several_keys_change_together_or_not_at_all(path: Path) -> None:
    before = config(path, '[smtp]\nhost = "old"\n')
    with pytest.raises(UsageError):
        change_values(before.location, {"smtp.host": "new", "smtp.port": 99999})
    with pytest.raises(ConfigError):
        preview_values(before.location, {"smtp.port": 99999})
    assert path.read_text() == '[smtp]\nhost = "old"\n'


def test_a_preview_of_a_file_that_is_not_there_makes_none(path: Path) -> None:
    location = locate(str(path), {}, 0)
    assert preview_values(location, {"smtp.host": "new", "smtp.port": 26}).integer("smtp.port") == 26
    assert not path.exists()
