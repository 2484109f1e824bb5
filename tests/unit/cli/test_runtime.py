"""What the settings mean for a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucrmmail.cli.runtime import ehlo_name, settings_mark_of
from ucrmmail.config.load import Config, examine_bytes
from ucrmmail.config.location import Location
from ucrmmail.config.schema import KEYS

CHANGED = {
    "smtp.transport": '"gmail"',
    "smtp.host": '"mail.isp.example"',
    "smtp.port": "2525",
    "smtp.encryption": '"tls"',
    "smtp.username": '"user"',
    "smtp.authentication": '"login"',
    "smtp.verify_certificate": "false",
    "smtp.ca_file": '"/etc/ca.pem"',
    "smtp.client_certificate": '"/etc/client.pem"',
    "smtp.client_key": '"/etc/client.key"',
    "smtp.timeout": '"61s"',
    "smtp.greeting_timeout": '"61s"',
    "smtp.envelope_timeout": '"61s"',
    "smtp.data_timeout": '"61s"',
    "smtp.block_timeout": '"61s"',
    "smtp.final_timeout": '"61s"',
    "smtp.local_hostname": '"app1.isp.example"',
    "smtp.connections": "2",
    "smtp.pipelining": "false",
    "smtp.chunking": "false",
    "smtp.allow_insecure_login": "true",
    "oauth.flow": '"device-code"',
    "oauth.client_id": '"ours"',
    "oauth.tenant": '"isp.example"',
    "oauth.key_file": '"/etc/key.json"',
    "oauth.token_endpoint": '"https://login.isp.example/token"',
    "oauth.authorization_endpoint": '"https://login.isp.example/authorize"',
    "oauth.device_endpoint": '"https://login.isp.example/device"',
    "oauth.scope": '"mail"',
}


def config_of(text: str, home: Path) -> Config:
    location = Location(str(home / "config.toml"), "", exists=True, spool_directory="", log_directory="", euid=0)
    found = examine_bytes(text.encode(), location)
    assert found.problems == ()
    return found.config


def test_there_is_no_other_setting_that_shapes_a_session() -> None:
    assert set(CHANGED) == {key.path for key in KEYS.values() if key.table in ("smtp", "oauth") and not key.secret}


@pytest.mark.parametrize("key", CHANGED)
def test_the_mark_of_the_settings_changes_with_each_that_shapes_a_session(key: str, tmp_path: Path) -> None:
    table, _, name = key.partition(".")
    changed = config_of(f"[{table}]\n{name} = {CHANGED[key]}\n", tmp_path)
    assert settings_mark_of(changed) != settings_mark_of(config_of("", tmp_path))


def test_the_mark_of_the_settings_is_the_same_however_they_are_written(tmp_path: Path) -> None:
    written = config_of('[smtp]\ntimeout = "1m"\nconnections = 1\n[throttler]\nmessage_limit = 9\n', tmp_path)
    assert settings_mark_of(written) == settings_mark_of(config_of("", tmp_path))


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("app1.isp.example", "app1.isp.example"),
        ("app1", ""),
        ("app1.", ""),
        ("3f2a9c1b7d60", ""),
        ("localhost", ""),
    ],
)
def test_the_name_of_the_machine_is_given_when_it_is_a_full_one(machine: str, name: str, tmp_path: Path) -> None:
    assert ehlo_name(config_of("", tmp_path), machine) == name


@pytest.mark.parametrize("name", ["app1", "out.isp.example"])
def test_a_name_that_is_set_is_given_as_it_is(name: str, tmp_path: Path) -> None:
    assert ehlo_name(config_of(f'[smtp]\nlocal_hostname = "{name}"\n', tmp_path), "app1.isp.example") == name
