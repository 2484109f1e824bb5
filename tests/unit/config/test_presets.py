"""Presets, the remarks of ``config check``, and the sample file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ucrmmail.config import texts
from ucrmmail.config.advice import advice
from ucrmmail.config.load import Config, examine_bytes
from ucrmmail.config.location import Location
from ucrmmail.config.presets import PRESETS, Preset
from ucrmmail.config.sample import sample
from ucrmmail.config.schema import KEYS
from ucrmmail.output.settings import preset_commands

NAMES = "gmail microsoft365 outlook zoho yahoo icloud fastmail ses sendgrid mailgun postmark brevo smtp2go mailjet resend smtp"


def config(text: str) -> Config:
    location = Location("/c.toml", "", exists=True, euid=0, spool_directory="/spool", log_directory="/log")
    found = examine_bytes(text.encode(), location)
    assert found.problems == ()
    return found.config


def remarks(text: str) -> dict[str, str]:
    return {item.key: item.what for item in advice(config(text))}


def test_every_provider_of_the_issue_is_there() -> None:
    assert {preset.name for preset in PRESETS} == set(NAMES.split())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_what_a_preset_says_to_type_is_a_valid_configuration(preset: Preset) -> None:
    lines: dict[str, list[str]] = {}
    for command in preset_commands(preset):
        if command == "ucrmmail login":
            assert preset.authentication == "xoauth2"
            continue
        path, _, typed = command.removeprefix("ucrmmail config set ").partition(" ")
        if not KEYS[path].secret:
            KEYS[path].kind.check(KEYS[path].kind.read([typed]))
            lines[path] = [typed]
    assert config(f'[smtp]\ntransport = "{preset.name}"\n').text("smtp.host") == preset.host
    if preset.host:
        assert texts.host(preset.host) == preset.host
        assert (preset.encryption, preset.port) in (("tls", 465), ("starttls", 587))
    else:
        assert "smtp.host" in lines


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[smtp]\nhost = 'a.example'\nencryption = 'tls'\nport = 587\n", "smtp.encryption"),
        ("[smtp]\nhost = 'a.example'\nencryption = 'starttls'\nport = 465\n", "smtp.encryption"),
        ("[smtp]\nhost = 'a.example'\nencryption = 'none'\n", "smtp.encryption"),
        ("[smtp]\nhost = 'a.example'\nencryption = 'none'\nusername = 'u'\n", "smtp.encryption"),
        ("[smtp]\nhost = 'a.example'\nverify_certificate = false\n", "smtp.verify_certificate"),
        ("[smtp]\nauthentication = 'none'\nusername = 'u'\n", "smtp.authentication"),
        ("[smtp]\nauthentication = 'plain'\n", "smtp.authentication"),
        ("[smtp]\nclient_key = '/nowhere'\n", "smtp.client_key"),
        ("[smtp]\nca_file = '/nowhere'\n", "smtp.ca_file"),
        ("[smtp]\nfinal_timeout = '30s'\n", "smtp.final_timeout"),
        ("[smtp]\ntransport = 'gmail'\n", "throttler.message_limit"),
        ("[credentials]\nsource = 'command'\n", "credentials.command"),
        ("", "addresses.notification"),
        ("[addresses]\nnotification = 'root@localhost'\n", "addresses.notification"),
        ("[addresses]\nsupport = 'help@Localhost.localdomain'\n", "addresses.support"),
    ],
)
def test_what_is_probably_not_meant_is_remarked(text: str, key: str) -> None:
    assert remarks(text)[key]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_smarthost_on_this_machine_needs_no_encryption(host: str) -> None:
    text = f"[smtp]\nhost = '{host}'\nencryption = 'none'\n"
    assert set(remarks(text)) == {"addresses.notification"}
    # But for a login: any user of the machine may listen on a port.
    assert "smtp.encryption" in remarks(text + "username = 'u'\n")
    assert set(remarks(text + "username = 'u'\nallow_insecure_login = true\n")) == {"addresses.notification"}


def test_a_complete_configuration_has_no_remarks() -> None:
    text = "[smtp]\nhost = 'a.example'\n[addresses]\nnotification = 'a@isp.example'\n"
    assert remarks(text) == {}
    # It may be the mail system of this very machine.
    assert remarks(text.replace("a@isp.example", "a@localhost").replace("a.example", "localhost")) == {}


def test_the_sample_sets_nothing_and_shows_every_key() -> None:
    text = sample()
    assert all(table == {} for table in tomllib.loads(text).values())
    switched_on = "".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines(keepends=True)
    )
    found = tomllib.loads(switched_on)
    assert {f"{table}.{name}" for table, keys in found.items() for name in keys} == {
        path for path, key in KEYS.items() if not key.secret
    }
    assert max(len(line) for line in text.splitlines()) <= 110


def test_the_sample_survives_being_saved(tmp_path: Path) -> None:
    assert config(sample()).smarthost_problem() is not None
