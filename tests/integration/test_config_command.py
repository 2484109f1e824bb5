"""``ucrmmail config`` as a user runs it: real processes, real files, real editors."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import stat
import subprocess
import sys
import time
import tomllib

import pytest

from tests.support.program import PLAIN, Program, Run


def configured(program: Program, **tables: str) -> Program:
    program.config.write_text("".join(f"[{table}]\n{lines}\n" for table, lines in tables.items()))
    program.config.chmod(0o600)
    return program


def one_error(run: Run) -> str:
    """Return what standard error says in its first line, which must be followed by nothing but why and remedy."""
    lines = run.stderr.splitlines()
    assert lines[0].startswith("ucrmmail: ")
    assert all(line.startswith(("  why:    ", "  remedy: ")) for line in lines[1:]), run.stderr
    assert any(line.startswith("  remedy: ") for line in lines), run.stderr
    return lines[0].removeprefix("ucrmmail: ")


# --- set, get, unset, list --------------------------------------------------------------------------------------


def test_two_commands_configure_gmail(program: Program) -> None:
    run = program.run("config", "set", "smtp.transport", "gmail")
    assert run.stdout == f"smtp.transport = gmail  ({program.config})\n"
    assert "ucrmmail config set throttler.message_limit 500" in run.stderr
    program.run("config", "set", "smtp.username", "me@gmail.com")
    keys = program.run("config", "list", "--json").json["keys"]
    assert keys["smtp.host"] == {"value": "smtp.gmail.com", "default": "smtp.gmail.com", "origin": "preset gmail"}
    assert keys["smtp.username"] == {"value": "me@gmail.com", "default": "", "origin": f"file:{program.config}:3"}
    assert keys["throttler.message_limit"] == {"value": 0, "default": 0, "origin": "default"}
    assert program.run("config", "check").stdout.endswith(f"{program.config}: no errors\n")


def test_mail_that_a_new_directory_leaves_behind_is_told_with_the_way_out(program: Program) -> None:
    program.configure(1)
    new, old = program.home / "new", program.spool
    assert program.run("config", "set", "spool.directory", str(old)).stderr == ""
    program.sendmail("-t")
    told = program.run("config", "set", "spool.directory", str(new)).stderr
    assert told == (
        f"warning: mail is queued in {old} (1), and no run looks there any more; `mv {old} {new}` takes it along, while no "
        "run is at work and before a message is submitted\n"
    )
    old.rename(new)
    assert len(program.queue("--state", "waiting")) == 1
    old.mkdir()
    told = program.run("config", "set", "spool.directory", str(old)).stderr
    assert told.endswith(f"; `ucrmmail config set spool.directory {new}` lets it be sent first\n")


def test_another_name_of_the_same_directory_leaves_nothing_behind(program: Program) -> None:
    program.configure(1)
    program.sendmail("-t")
    (program.home / "link").symlink_to(program.home)
    for name in (program.home / "link" / "spool", program.spool):
        assert program.run("config", "set", "spool.directory", str(name)).stderr == ""


def test_a_file_that_was_dropped_there_is_left_behind_too(program: Program) -> None:
    program.configure(1)
    program.run("flush")
    (program.spool / "drop" / "one.eml").write_bytes(PLAIN)
    told = program.run("config", "set", "spool.directory", str(program.home / "new")).stderr
    assert f"warning: mail is queued in {program.spool} (1)" in told


def test_mail_is_left_behind_by_an_editor_and_by_the_default_too(program: Program) -> None:
    program.configure(1)
    own, other = program.home / "a queue", program.home / "other"
    program.run("config", "set", "spool.directory", str(own))
    program.sendmail("-t")
    edit = {"EDITOR": f"sed -i 's,{own},{other},'"}
    told = program.run("config", "edit", env=edit).stderr
    assert f"warning: mail is queued in {own} (1)" in told
    assert f"`mv '{own}' {other}`" in told
    own.rename(other)
    told = program.run("config", "unset", "spool.directory").stderr
    assert f"warning: mail is queued in {other} (1)" in told


def test_a_directory_of_which_nothing_is_known_hinders_no_other(program: Program) -> None:
    program.configure(1)
    program.run("config", "set", "spool.directory", str(program.home / "1"))
    program.spool.mkdir()
    (program.home / "1").symlink_to(program.spool)
    assert program.run("config", "set", "spool.directory", str(program.home / "2")).stderr == ""
    program.config.write_text("[spool]\ndirectory = 3\n")
    assert program.run("config", "set", "spool.directory", str(program.home / "4")).stderr == ""


@pytest.mark.requirement("S16")
def test_a_new_file_and_its_directory_are_the_users_alone(program: Program) -> None:
    home = {"HOME": str(program.home), "UCRMMAIL_CONFIG": "", "XDG_CONFIG_HOME": f"{program.home}/xdg"}
    path = program.home / "elsewhere" / "config.toml"
    command = ["--config", str(path), "config", "set", "smtp.host", "mail.isp.example"]
    umasked = subprocess.run(
        ["/bin/sh", "-c", f"umask 000; exec {shlex.join(program.command(*command))}"],
        env={**program.env, **home},
        capture_output=True,
        check=False,
    )
    assert umasked.returncode == 0, umasked.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("key", "typed", "written", "printed"),
    [
        ("smtp.port", ["2525"], 2525, "2525\n"),
        ("smtp.pipelining", ["off"], False, "false\n"),
        ("smtp.encryption", ["TLS"], "tls", "tls\n"),
        ("throttler.duration", ["1h30m"], "1h30m", "1h30m\n"),
        ("spool.max_message_size", ["10MB"], "10MB", "10MB\n"),
        ("dns.domains", ["a.example,b.example"], ["a.example", "b.example"], "a.example\nb.example\n"),
        ("dns.domains", ["a.example", "b.example"], ["a.example", "b.example"], "a.example\nb.example\n"),
        (
            "credentials.command",
            ["sh", "-c", "cat 'my file'"],
            ["sh", "-c", "cat 'my file'"],
            "sh\n-c\ncat 'my file'\n",
        ),
        ("credentials.command", ["pass show 'my smtp'"], ["pass", "show", "my smtp"], "pass\nshow\nmy smtp\n"),
        ("throttler.additional_limits", ["30/1m", "10000/24h"], ["30/1m", "10000/24h"], "30/1m\n10000/24h\n"),
    ],
)
def test_what_is_set_is_written_read_back_and_taken_away(
    program: Program, key: str, typed: list[str], written: object, printed: str
) -> None:
    configured(program, smtp="# mine\nhost = 'a.example'")
    before = program.config.read_text()
    program.run("config", "set", key, *typed)
    table, _, name = key.partition(".")
    assert tomllib.loads(program.config.read_text())[table][name] == written
    assert program.run("config", "get", key).stdout == printed
    assert program.run("config", "get", key, "--json").json["value"] == written
    program.run("config", "unset", key)
    assert program.config.read_text() == before
    assert program.run("config", "unset", key).stdout == f"{key} was not set in {program.config}\n"


def test_long_values_are_read_from_standard_input(program: Program) -> None:
    program.run("config", "set", "dns.domains", "--stdin", stdin="a.example\nb.example\n\n")
    program.run("config", "set", "smtp.username", "--stdin", stdin="grüße\n")
    assert program.run("config", "get", "dns.domains").lines == ["a.example", "b.example"]
    assert program.run("config", "get", "smtp.username").stdout == "grüße\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "smtp.hots", "x"], "there is no key 'smtp.hots'"),
        (["get", "smtp.hots"], "there is no key 'smtp.hots'"),
        (["unset", "smtp.hots"], "there is no key 'smtp.hots'"),
        (["set", "smtp.host", "--typo", "x"], "no such option: --typo"),
        (["set", "smtp.port", "99999"], "smtp.port: 99999 is out of range; allowed: 1-65535"),
        (["set", "smtp.encryption", "ssl"], "smtp.encryption: 'ssl' is not known; allowed: starttls, tls, none"),
        (["set", "throttler.duration", "24"], "throttler.duration: '24' is not a duration; allowed: "),
        (["set", "addresses.sender", "a@b@c"], "addresses.sender: "),
        (["set", "addresses.sender", "a@isp.example\nBcc: x@y.example"], "addresses.sender: "),
        (["set", "smtp.ca_file", "ca.pem"], "smtp.ca_file: 'ca.pem' is not an absolute path"),
        (["set", "smtp.host", "a.example", "b.example"], "smtp.host: 2 values were given"),
        (["set", "smtp.host"], "smtp.host needs a value"),
        (["set", "smtp.host", "x", "--stdin"], "a value was given and --stdin too"),
        (["set", "smtp.host", "x", "--store", "file"], "--store is for secrets"),
        (["get", "smtp.password"], "smtp.password is a secret"),
        (["presets", "gmial"], "there is no preset 'gmial'"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_to_type(
    program: Program, arguments: list[str], said: str
) -> None:
    run = program.run("config", *arguments, code=2)
    assert one_error(run).startswith(said)
    assert not program.config.exists()


# A shell whose file names are not UTF-8, without a locale that has to be installed for it.
_NOT_UTF_8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("program_name", ["ucrmmail-sendmail", "ucrmmail"])
def test_a_queue_whose_name_is_another_one_in_this_locale_is_refused(program: Program, program_name: str) -> None:
    spool = program.home / "spöl"
    program.config.write_text(f'[addresses]\nsender = "a@isp.example"\n[spool]\ndirectory = "{spool}"\n', "utf-8")
    program.config.chmod(0o600)
    arguments = ("b@there.example",) if program_name == "ucrmmail-sendmail" else ("queue", "list")
    run = program.run(*arguments, program=program_name, stdin="hello\n", env=_NOT_UTF_8, code=78)
    assert "is another file in this locale (ascii) than in cron's, which is UTF-8" in run.stderr
    assert not spool.exists()
    program.run(*arguments, program=program_name, stdin="hello\n")


def test_an_unknown_key_is_answered_with_the_nearest(program: Program) -> None:
    assert "did you mean smtp.host?" in program.run("config", "set", "smtp.hots", "x", code=2).stderr
    assert "did you mean addresses.sender?" in program.run("config", "get", "sender address", code=2).stderr


def test_errors_of_other_keys_do_not_hinder_and_are_told(program: Program) -> None:
    configured(program, smtp="port = 0\nhots = 1")
    run = program.run("config", "set", "smtp.timeout", "5s")
    assert "smtp.port" in run.stderr
    assert "smtp.hots" in run.stderr
    program.run("config", "list", code=78)
    program.run("config", "set", "smtp.port", "25")
    assert "smtp.hots" in program.run("config", "check", code=78).stdout


def test_a_key_that_goes_before_the_preset_is_remarked(program: Program) -> None:
    configured(program, smtp="host = 'old.example'")
    run = program.run("config", "set", "smtp.transport", "fastmail")
    assert "smtp.host is set to old.example and goes before the preset" in run.stderr


def test_the_table_for_people_shows_what_the_document_does(program: Program) -> None:
    configured(program, smtp='host = "a.example"')
    document = program.run("config", "list", "--json").json
    rows = [line.split("\t") for line in program.run("config", "list").lines]
    assert rows[0] == ["key", "value", "default", "origin"]
    assert [row[0] for row in rows[1:]] == list(document["keys"])
    assert rows[2] == ["smtp.host", "a.example", "", f"{program.config}:2"]
    assert document["schema_version"] == 1


# --- secrets ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S8")
def test_a_secret_given_as_an_argument_is_refused_with_the_reason_and_goes_nowhere(program: Program) -> None:
    run = program.run("config", "set", "smtp.password", "hunter2-canary", code=2)
    assert one_error(run) == "smtp.password: a secret is not taken from the command line"
    assert "why:" in run.stderr
    assert "canary" not in run.stdout + run.stderr
    assert not any("canary" in file.read_text() for file in program.home.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], "", "smtp.password: there is no terminal to ask on"),
        (["--stdin"], "", "smtp.password: the secret is empty"),
        (["--stdin"], "\nsecond line\n", "smtp.password: the secret is empty"),
        (["--stdin", "--store", "vault"], "x", "--store: what is given is no store"),
        (["--stdin", "--store", "fille"], "x", "--store: 'fille' is not known"),
    ],
)
def test_a_secret_that_is_not_there_is_told(program: Program, arguments: list[str], stdin: str, said: str) -> None:
    run = program.run("config", "set", "smtp.password", *arguments, stdin=stdin, code=2)
    assert run.stderr.startswith(f"ucrmmail: {said}")


def test_a_secret_in_the_file_is_refused_not_shown_and_can_be_taken_out(program: Program) -> None:
    configured(program, smtp='password = "hunter2-canary"')
    for command in (["list"], ["check"], ["list", "--json"], ["get", "smtp.host"], ["check", "--json"]):
        run = program.run("config", *command, code=78)
        assert "smtp.password" in run.stdout + run.stderr
        assert "canary" not in run.stdout + run.stderr
    program.run("config", "unset", "smtp.password")
    assert "canary" not in program.config.read_text()


def test_of_a_secret_only_whether_it_is_stored_is_shown(program: Program) -> None:
    assert program.run("config", "get", "smtp.password", "--json").json["value"] is None
    entry = program.run("config", "list", "--json").json["keys"]["smtp.password"]
    assert (entry["value"], entry["default"], entry["stored"]) == (None, None, False)


# --- path, check, presets ---------------------------------------------------------------------------------------


def test_path_says_which_and_why(program: Program) -> None:
    run = program.run("config", "path")
    assert run.stdout == f"{program.config}\n"
    assert "UCRMMAIL_CONFIG" in run.stderr
    named = program.run("--config", "/named.toml", "config", "path", "--json").json
    assert (named["path"], named["reason"], named["exists"]) == ("/named.toml", "given with --config", False)
    own = program.run("config", "path", "--json", env={"UCRMMAIL_CONFIG": "", "XDG_CONFIG_HOME": "/xdg"}).json
    assert own["path"] in ("/xdg/ucrmmail/config.toml", "/etc/ucrmmail/config.toml")


def test_check_shows_all_problems_and_remarks(program: Program) -> None:
    configured(program, smtp="port = 0\nhost = 'a.example'\nverify_certificate = false", nonsense="x = 1")
    run = program.run("config", "check", code=78)
    assert run.lines[0] == f"{program.config}:2: smtp.port: 0 is out of range; allowed: 1-65535"
    assert run.lines[1].startswith(f"{program.config}:5: nonsense: there is no such table")
    assert any(line.startswith("warning: smtp.verify_certificate: ") for line in run.lines)
    document = program.run("config", "check", "--json", code=78).json
    assert document["ok"] is False
    assert [(item["key"], item["line"]) for item in document["problems"]] == [("smtp.port", 2), ("nonsense", 5)]


def test_check_of_a_file_that_cannot_send_says_what_is_missing(program: Program) -> None:
    assert "no smarthost is configured" in program.run("config", "check", code=78).stdout
    configured(program, smtp="transport = 'ses'")
    assert "email-smtp." in program.run("config", "check", code=78).stdout


@pytest.mark.parametrize(
    ("prepare", "code", "said"),
    [
        (lambda path: path.mkdir(), 78, "is a directory"),
        (os.mkfifo, 78, "is not a regular file"),
        (lambda path: (path.write_text(""), path.chmod(0o666)), 77, "others can change it (mode 0666)"),
        (lambda path: path.write_text("[smtp\n"), 78, "is not TOML"),
        (lambda path: path.write_bytes(b"\xff"), 78, "is not UTF-8"),
        (lambda path: path.symlink_to(path), 78, "cannot be opened"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line_with_a_remedy(
    program: Program, prepare: object, code: int, said: str
) -> None:
    assert callable(prepare)
    prepare(program.config)
    for command in (["config", "list"], ["config", "set", "smtp.port", "25"]):
        line = one_error(program.run(*command, code=code))
        assert line.startswith(f"{program.config}:")
        assert said in line
    document = json.loads(program.run("config", "check", "--json", code=None).stdout)
    assert document["ok"] is False


@pytest.mark.requirement("S10")
def test_what_the_file_holds_cannot_reach_the_terminal(program: Program) -> None:
    configured(program, smtp='"\\u001b]0;x\\u0007" = 1\nencryption = "\\u001b[2J\\u202e"')
    for command in (["check"], ["list"]):
        run = program.run("config", *command, code=78)
        assert "\x1b" not in run.stdout + run.stderr
        assert "\u202e" not in run.stdout + run.stderr


def test_presets_are_listed_with_what_to_type(program: Program) -> None:
    presets = {preset["name"]: preset for preset in program.run("config", "presets", "--json").json["presets"]}
    assert presets["gmail"]["limits"]["message_limit"] == 500
    assert "ucrmmail config set smtp.transport gmail" in presets["gmail"]["commands"]
    assert len(program.run("config", "presets").lines) == len(presets) + 1
    for line in program.run("config", "presets", "mailjet").lines:
        if line.startswith("ucrmmail ") and "smtp.password" not in line:
            program.run(*shlex.split(line)[1:])
    program.run("config", "check")


def test_every_command_has_help_with_an_example(program: Program) -> None:
    for command in ("set", "get", "unset", "list", "edit", "path", "check", "presets"):
        text = program.run("config", command, "--help").stdout
        assert f"ucrmmail config {command}" in text.partition("Example")[2], command


# --- edit -------------------------------------------------------------------------------------------------------


def editor(program: Program, script: str) -> dict[str, str]:
    """Return the environment of an editor that is a shell script; "$1" is the draft."""
    path = program.home / "my editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"VISUAL": f"'{path}'"}


def left_over(program: Program) -> list[str]:
    return sorted(path.name for path in program.home.iterdir() if path.name.startswith((".config-", "config.toml.")))


def test_edit_replaces_the_file_when_the_text_is_valid(program: Program) -> None:
    configured(program, smtp="port = 25")
    program.config.chmod(0o640)
    run = program.run("config", "edit", env=editor(program, 'echo "# more" >> "$1"'))
    assert run.stdout == f"{program.config} was changed\n"
    assert program.config.read_text() == "[smtp]\nport = 25\n# more\n"
    assert stat.S_IMODE(program.config.stat().st_mode) == 0o640
    assert left_over(program) == ["config.toml.lock"]


def test_edit_of_a_new_file_starts_from_a_sample_of_every_key(program: Program) -> None:
    run = program.run("config", "edit", env=editor(program, 'cp "$1" seen; stat -c %a "$1" > mode'))
    assert run.stdout == "nothing was changed\n"
    assert "#message_limit = 0" in (program.home / "seen").read_text()
    assert (program.home / "mode").read_text() == "600\n"
    assert not program.config.exists()
    program.run("config", "edit", env=editor(program, 'sed -i s/^#host.*/host=\\"a.example\\"/ "$1"'))
    assert program.run("config", "get", "smtp.host").stdout == "a.example\n"


def test_edit_keeps_the_old_file_and_the_rejected_text(program: Program) -> None:
    configured(program, smtp="port = 25")
    before = program.config.read_text()
    run = program.run("config", "edit", env=editor(program, 'echo "hots = 1" >> "$1"'), code=78)
    assert "smtp.hots: there is no such key; did you mean smtp.host?" in run.stderr
    kept = program.home / "config.toml.rejected"
    assert str(kept) in run.stderr
    assert program.config.read_text() == before
    assert kept.read_text() == before + "hots = 1\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_command_is_shown_as_it_can_be_typed_again(program: Program) -> None:
    said = program.run("config", "set", "credentials.command", "sh", "-c", "cat 'my file'").stdout
    shown = said.removeprefix("credentials.command = ").split("  (")[0]
    program.run("config", "set", "credentials.command", shown)
    assert program.run("config", "get", "credentials.command").lines == ["sh", "-c", "cat 'my file'"]


def test_the_editor_does_not_get_the_secret(program: Program) -> None:
    environment = editor(program, "env > seen") | {"UCRMMAIL_SMTP_PASSWORD": "canary-4711", "MARK": "there"}
    program.run("config", "edit", env=environment)
    seen = (program.home / "seen").read_text()
    assert "MARK=there" in seen
    assert "canary-4711" not in seen


@pytest.mark.parametrize("environment", [{"EDITOR": "/nowhere/editor"}, {"EDITOR": "false"}, {"EDITOR": "'"}])
def test_edit_without_a_working_editor_changes_nothing(program: Program, environment: dict[str, str]) -> None:
    configured(program, smtp="port = 25")
    program.run("config", "edit", env=environment, code=2)
    assert program.config.read_text() == "[smtp]\nport = 25\n"
    assert left_over(program) == []


@pytest.mark.parametrize("environment", [{}, {"VISUAL": "", "EDITOR": " "}])
def test_edit_without_a_terminal_and_an_editor_that_was_named_is_refused(
    program: Program, environment: dict[str, str]
) -> None:
    """What a system usually has waited for a terminal, from cron or over ssh, for ever."""
    configured(program, smtp="port = 25")
    usual = program.home / "bin" / "sensible-editor"
    usual.parent.mkdir()
    usual.write_text(f"#!/bin/sh\n: > '{program.home}/started'\nexec sleep 5\n")
    usual.chmod(0o700)
    path = {"PATH": f"{usual.parent}:{os.environ['PATH']}"}
    run = program.run("config", "edit", env=path | environment, code=2)
    assert one_error(run) == "there is no terminal to edit on"
    assert "`ucrmmail config set`" in run.stderr
    assert not (program.home / "started").exists()
    assert left_over(program) == []


def test_edit_does_not_overwrite_what_was_set_meanwhile(program: Program) -> None:
    configured(program, smtp="port = 25")
    other = shlex.join(program.command("config", "set", "smtp.timeout", "5s"))
    run = program.run("config", "edit", env=editor(program, f'{other}; echo "# lost" >> "$1"'), code=75)
    assert "config.toml.rejected" in run.stderr
    assert program.config.read_text() == '[smtp]\nport = 25\ntimeout = "5s"\n'


def test_edit_on_a_terminal_offers_to_edit_again(program: Program) -> None:
    configured(program, smtp="port = 25")
    env = editor(program, 'if grep -q hots "$1"; then sed -i s/hots/host/ "$1"; else echo "hots = \'a\'" >> "$1"; fi')
    master, slave = pty.openpty()
    with subprocess.Popen(
        program.command("config", "edit"),
        stdin=slave, stdout=slave, stderr=slave, env={**program.env, **env}, cwd=program.home,
    ) as process:  # fmt: skip
        os.close(slave)
        os.write(master, b"y\n")
        seen = b""
        while process.poll() is None or b"was changed" not in seen:
            try:
                seen += os.read(master, 4096)
            except OSError:
                break
        assert process.wait(10) == 0, seen
    os.close(master)
    assert b"Edit again?" in seen
    assert program.config.read_text() == "[smtp]\nport = 25\nhost = 'a'\n"


# --- several at once, and killed --------------------------------------------------------------------------------

SETTER = """\
import os, sys
from ucrmmail.config.edit import set_value
from ucrmmail.config.location import locate
location = locate(sys.argv[1], os.environ, os.geteuid())
for number in range(1, int(sys.argv[3]) + 1):
    set_value(location, sys.argv[2], number)
"""
COUNTED = ["smtp.port", "smtp.connections", "throttler.message_limit", "antiflood.activation_threshold"]


def setter(program: Program, key: str, times: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SETTER, str(program.config), key, str(times)], env=program.env)


def test_several_config_set_at_once_lose_nothing(program: Program) -> None:
    configured(program, smtp="# mine\nhost = 'a.example' # kept")
    running = [setter(program, key, 25) for key in COUNTED]
    while any(process.poll() is None for process in running):
        tomllib.loads(program.config.read_text())
        time.sleep(0.01)
    assert [process.returncode for process in running] == [0] * len(COUNTED)
    keys = program.run("config", "list", "--json").json["keys"]
    assert [keys[key]["value"] for key in COUNTED] == [25] * len(COUNTED)
    assert program.config.read_text().startswith("[smtp]\n# mine\nhost = 'a.example' # kept\n")


@pytest.mark.requirement("S16")
def test_a_killed_config_set_leaves_the_old_file_or_the_new_one(program: Program) -> None:
    configured(program, smtp="host = 'a.example'")
    for attempt in range(4):
        process = setter(program, "smtp.port", 60_000)
        time.sleep(0.4 + attempt / 50)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = tomllib.loads(program.config.read_text())
        assert found["smtp"]["host"] == "a.example"
    # The lock went with the process that held it.
    program.run("config", "set", "smtp.port", "25", timeout=10)
    assert program.run("config", "get", "smtp.port").stdout == "25\n"
