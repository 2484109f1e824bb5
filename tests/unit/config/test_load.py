"""From a file to values, with the origin of each; and all that is wrong at once."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.faults import close_fails
from ucrmmail.cli.runtime import smarthost_of, unattended
from ucrmmail.config.load import Config, examine_bytes, load
from ucrmmail.config.location import Location
from ucrmmail.config.schema import KEYS
from ucrmmail.config.source import read_file
from ucrmmail.errors import ConfigError, PermissionDeniedError, UcrmmailError
from ucrmmail.message.outcome import Stage


def at(path: Path | str, euid: int | None = None) -> Location:
    return Location(
        str(path),
        "given with --config",
        exists=os.path.exists(path),
        euid=os.geteuid() if euid is None else euid,
        spool_directory="/spool",
        log_directory="/log",
    )


def config(text: str) -> Config:
    found = examine_bytes(text.encode(), at("/etc/config.toml"))
    assert found.problems == ()
    return found.config


def problems(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in examine_bytes(data, at("F")).problems]


def refusal(path: Path, euid: int | None = None) -> UcrmmailError:
    with pytest.raises(UcrmmailError) as caught:
        load(at(path, euid))
    assert caught.value.remedy
    assert caught.value.what.startswith(f"{path}: ")
    return caught.value


# --- values -----------------------------------------------------------------------------------------------------


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    found = load(at(tmp_path / "none.toml"))
    assert found.path == str(tmp_path / "none.toml")
    assert {found.origin(key) for key in KEYS} == {"default"}
    assert not any(found.is_set(key) for key in KEYS)
    assert (found.integer("smtp.port"), found.text("smtp.encryption")) == (587, "starttls")
    assert found.text("spool.directory") == "/spool"
    assert found.seconds("throttler.duration") == 86400.0
    assert found.words("dns.domains") == ()


def test_values_have_types_and_origins() -> None:
    found = config(
        '# c\n[smtp]\nhost = "Mail.ISP.example"\npipelining = false\ntimeout = "1m30s"\n'
        '[spool]\nmax_message_size = "1MB"\n[dns]\ndomains = ["a.example"]\n[credentials]\ncommand = ["pass", "x y"]\n'
    )
    assert found.text("smtp.host") == "mail.isp.example"
    assert found.written("smtp.host") == "Mail.ISP.example"
    assert found.flag("smtp.pipelining") is False
    assert found.seconds("smtp.timeout") == 90.0
    assert found.size_bytes("spool.max_message_size") == 1_000_000
    assert found.words("dns.domains") == ("a.example",)
    assert found.words("credentials.command") == ("pass", "x y")
    assert found.origin("smtp.timeout") == "file:/etc/config.toml:5"
    assert found.origin("dns.domains") == "file:/etc/config.toml:9"
    assert found.is_set("smtp.host")


def test_asking_for_the_wrong_type_is_a_fault() -> None:
    with pytest.raises(TypeError, match=r"smtp\.port"):
        config("").text("smtp.port")


def test_a_preset_takes_the_place_of_defaults_and_set_keys_go_before_it() -> None:
    found = config('[smtp]\ntransport = "gmail"\n')
    assert (found.text("smtp.host"), found.integer("smtp.port"), found.text("smtp.encryption")) == (
        "smtp.gmail.com", 465, "tls"
    )  # fmt: skip
    assert found.origin("smtp.host") == "preset gmail"
    assert found.default("smtp.port") == 465
    assert found.integer("throttler.message_limit") == 0
    own = config('[smtp]\ntransport = "gmail"\nhost = "relay.example"\n')
    assert (own.text("smtp.host"), own.default("smtp.host")) == ("relay.example", "smtp.gmail.com")
    assert config('[smtp]\ntransport = "sendgrid"\n').text("smtp.username") == "apikey"
    assert config('[smtp]\ntransport = "outlook"\n').text("smtp.authentication") == "xoauth2"


@pytest.mark.parametrize(
    ("lines", "encryption", "port"),
    [
        ("", "starttls", 587),
        ("port = 465", "tls", 465),
        ("port = 2525", "starttls", 2525),
        ('encryption = "tls"', "tls", 465),
        ('encryption = "none"', "none", 25),
        ('encryption = "none"\nport = 465', "none", 465),
        ('transport = "gmail"', "tls", 465),
        ('transport = "gmail"\nport = 587', "starttls", 587),
        ('transport = "gmail"\nencryption = "starttls"', "starttls", 587),
        ('transport = "postmark"\nencryption = "starttls"\nport = 2525', "starttls", 2525),
    ],
)
def test_port_and_encryption_go_with_each_other(lines: str, encryption: str, port: int) -> None:
    found = config(f"[smtp]\n{lines}\n")
    assert (found.text("smtp.encryption"), found.integer("smtp.port")) == (encryption, port)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "ucrmmail config set smtp.transport gmail"),
        ('transport = "ses"\nusername = "x"', "ucrmmail config set smtp.host email-smtp."),
        ('transport = "gmail"', "ucrmmail config set smtp.username you@gmail.com"),
    ],
)
def test_a_smarthost_that_is_not_known_well_enough_is_told_with_the_command_to_type(lines: str, said: str) -> None:
    problem = config(f"[smtp]\n{lines}\n").smarthost_problem()
    assert problem is not None
    assert said in problem.remedy
    assert problem.exit_code == 78


@pytest.mark.parametrize(
    "lines", ['host = "a.example"', 'transport = "gmail"\nusername = "a@gmail.com"', 'transport = "resend"']
)
def test_a_smarthost_that_is_known_is_no_problem(lines: str) -> None:
    assert config(f"[smtp]\n{lines}\n").smarthost_problem() is None


# --- what is wrong ----------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        "[smtp]\nport = 99999\nhots = 'a'\nencryption = \"ssl\"\n\n[throttle]\nx = 1\n[antiflood]\npause_time = 60\n"
    )
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load(at(path))
    assert caught.value.what == f"{path} has 5 errors"
    assert list(caught.value.problems) == [
        f"{path}:2: smtp.port: 99999 is out of range; allowed: 1-65535",
        f"{path}:3: smtp.hots: there is no such key; did you mean smtp.host?",
        f"{path}:4: smtp.encryption: 'ssl' is not known; allowed: starttls, tls, none",
        (
            f"{path}:6: throttle: there is no such table; did you mean [throttler]?; allowed: smtp, addresses, throttler,"
            " antiflood, spool, retry, dns, credentials, oauth, imap"
        ),
        (
            f"{path}:9: antiflood.pause_time: 60 is not text in quotes; allowed: a number and a unit (s, m, h, d, w), such"
            " as 90s, 24h or 1h30m"
        ),
    ]
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[smtp\n", "F:1:6: is not TOML: expected "),
        ("[smtp]\nhost =\n", "F:2:7: is not TOML: invalid value"),
        ('[smtp]\nhost = """\n', "F:3:1: is not TOML: "),
        ("[smtp]\nport = 1\nport = 2\n", "F:3:9: is not TOML: "),
        ("a = " + "[" * 5000, "F: is nested too deep"),
        ("a = " + "9" * 5000, "F: is not TOML: "),
        (b"[smtp]\nhost = '\xff'\n", "F:2:9: is not UTF-8 text"),
        (b"\xef\xbb\xbf[smtp]\n", "F:1:1: begins with a byte order mark"),
    ],
)
def test_what_is_not_toml_is_told_with_line_and_column(text: str | bytes, said: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host = 'a'\n", "F:1: host: there is no such key; did you mean smtp.host?"),
        ("'smtp.host' = 'a'\n", "F:1: smtp.host: is written as host = ... below a line [smtp]"),
        ("smtp = 'a'\n", "F:1: smtp: is a table: write [smtp] on a line of its own, and its keys below"),
        ("[[smtp]]\n", "F:1: smtp: is a table: write [smtp] on a line of its own, and its keys below"),
        ("[smtp.host]\n", "F:1: smtp.host: a table is not text in quotes; allowed: a host name or an IP address"),
        ("smtp = {port = 0}\n", "F:1: smtp.port: 0 is out of range; allowed: 1-65535"),
        ("# c\nsmtp.port = 0\n", "F:2: smtp.port: 0 is out of range; allowed: 1-65535"),
        (
            "[dns]\ndomains = [\n  'a.example',\n  5,\n]\n",
            "F:2: dns.domains: 5 in the list is not text in quotes; allowed: a list of domain names",
        ),
        (
            "[retry]\nfirst_delay = '9h'\n",
            (
                "F:2: retry.first_delay: the first delay is longer than the longest; allowed: retry.first_delay up to"
                " retry.max_delay"
            ),
        ),
        (
            "[smtp]\nusername = '''\n[smtp]\nport = 0\n'''\ntimeout = '0s'\n",
            (
                "F:6: smtp.timeout: '0s' is too short; allowed: a number and a unit (s, m, h, d, w), such as 90s, 24h or"
                " 1h30m, at least 1s"
            ),
        ),
    ],
)
def test_a_wrong_key_is_told_with_its_line(text: str, said: str) -> None:
    assert said in problems(text)


@pytest.mark.requirement("S16")
def test_a_secret_in_the_file_is_refused_and_not_repeated() -> None:
    found = problems('[smtp]\npassword = "hunter2"\n')
    assert found == [
        (
            "F:2: smtp.password: a secret must not stand in this file; delete the line and run"
            " `ucrmmail config set smtp.password`"
        )
    ]


@pytest.mark.requirement("R29")
@given(st.binary(max_size=60) | st.text("[]=\"'#\n\\{},.ab1 -smtphost", max_size=60).map(str.encode))
def test_no_content_breaks_the_reader(data: bytes) -> None:
    found = examine_bytes(data, at("F"))
    for problem in found.problems:
        assert str(problem).startswith("F")
    assert found.config.integer("smtp.port") > 0


# --- whether it can be trusted ----------------------------------------------------------------------------------


@pytest.mark.requirement("S16")
@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_file_that_others_can_write_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    path.chmod(mode)
    error = refusal(path)
    assert error.exit_code == 77
    assert error.remedy == f"chmod go-w {path}"


def test_a_file_that_others_can_read_is_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[smtp]\n")
    path.chmod(0o644)
    load(at(path))


def test_a_file_of_another_user_is_refused_and_one_of_root_is_not(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    path.chmod(0o644)
    if path.stat().st_uid == 0:
        load(at(path, euid=1234))
        os.chown(path, 1234, 1234)
    assert refusal(path, euid=4321).exit_code == 77


def test_a_directory_a_fifo_and_a_socket_are_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for name in ("directory", "fifo"):
        assert isinstance(refusal(tmp_path / name), ConfigError)
    with pytest.raises(ConfigError):
        load(at(tmp_path / "socket"))


def test_a_file_that_is_far_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"#" * (2 << 20))
    path.chmod(0o600)
    assert isinstance(refusal(path), ConfigError)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    path.chmod(0)
    me = os.geteuid()
    try:
        # Root may read everything.
        os.seteuid(me or 65534)
        error = refusal(path)
    finally:
        os.seteuid(me)
    assert isinstance(error, PermissionDeniedError)


@pytest.mark.requirement("R17")
def test_a_timeout_that_is_set_holds_for_the_waits_that_are_not() -> None:
    def waits(text: str) -> list[float]:
        found = config(f"[smtp]\nhost = 'mail.isp.example'\n{text}")
        smarthost = unattended(smarthost_of(found), found)
        stages = (Stage.EHLO, Stage.GREETING, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY, Stage.FINAL_DOT)
        return [smarthost.patience_s(stage) for stage in stages]

    assert waits("") == [60, 300, 300, 300, 120, 180, 600]
    assert waits("timeout = '5s'") == [5, 5, 5, 5, 5, 5, 600]
    assert waits("timeout = '5s'\nenvelope_timeout = '9s'\nfinal_timeout = '11m'") == [5, 5, 9, 9, 5, 5, 660]
    assert waits("block_timeout = '7s'") == [60, 300, 300, 300, 120, 7, 600]


@pytest.mark.requirement("R4")
def test_a_file_that_cannot_be_closed_is_named(tmp_path: Path) -> None:
    """The error of the call knows no path: it had read "[Errno 28] No space left on device"."""
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0o600)
    with close_fails(str(path), errno.ENOSPC), pytest.raises(OSError, match="No space left") as caught:
        read_file(str(path), os.geteuid())
    assert caught.value.filename == str(path)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize(("number", "code"), [(errno.EMFILE, 75), (errno.ENOMEM, 75), (errno.EIO, 74)])
def test_what_the_machine_is_short_of_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """It had ended a submission with 78, behind which nobody tries again."""
    path = tmp_path / "config.toml"

    def refuse(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UcrmmailError, match=os.strerror(number)) as caught:
        read_file(str(path), os.geteuid())
    assert caught.value.exit_code == code
