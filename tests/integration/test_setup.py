"""``setup``: the guide at a terminal and in scripts, against real servers for mail and names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import TestAuthority
from tests.support.nameserver import nsd
from tests.support.program import Program
from tests.support.secret_service import secret_service
from tests.support.smtp_server import HANG, SmtpServer
from tests.support.terminal import Terminal

SECRET = "canary-5521"
LOGINS = {"billing@isp.example": SECRET}
HEAD = "$ORIGIN isp.example.\n$TTL 300\n@ SOA ns admin 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


@pytest.fixture
def account(program: Program, authority: TestAuthority) -> Program:
    """A program whose configuration says only what a test needs: whom to trust, and where the queue is."""
    write(program, authority)
    return program


def write(program: Program, authority: TestAuthority, nameserver: str = "127.0.0.1:9", more: str = "") -> None:
    program.config.write_text(
        f'# written by hand\n[smtp]\nca_file = "{authority.ca_file}" # ours\n{more}\n'
        f'[dns]\nnameservers = ["{nameserver}"]\n\n[spool]\ndirectory = "{program.spool}"\n'
    )  # fmt: skip
    program.config.chmod(0o600)


@contextmanager
def smarthost(authority: TestAuthority, **options: Any) -> Iterator[SmtpServer]:
    """Run a server with STARTTLS that takes the login."""
    with SmtpServer(tls=authority.server_context(), **{"logins": LOGINS, **options}) as server:
        yield server


def settings(program: Program) -> dict[str, Any]:
    return tomllib.loads(program.config.read_text())


def script(program: Program, server: SmtpServer, *arguments: str, **options: Any) -> Any:
    """Run the guide as a script does: with the password on standard input."""
    given = ("billing@isp.example", "--host", "localhost", "--port", str(server.port), "--password-stdin")
    return program.run("setup", *given, *arguments, stdin=SECRET + "\n", **options)


# --- at a terminal ----------------------------------------------------------------------------------------------------


def test_a_newcomer_is_led_from_the_address_to_a_message_that_was_sent(
    account: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    with smarthost(authority) as server:
        zone = f"{HEAD}_submission._tcp SRV 0 1 {server.port} localhost.\n"
        with nsd(tmp_path, {"isp.example": zone}) as nameserver:
            write(account, authority, str(nameserver))
            with Terminal(account, "setup") as terminal:
                terminal.answer("Address that mail is sent from: ", "billing")
                terminal.sees("billing")
                terminal.answer("Address that mail is sent from: ", "billing@isp.example")
                terminal.answer("names localhost as its submission server, which belongs to another domain.", "y")
                terminal.answer(f"isp.example names localhost:{server.port} as its submission server. Send", "")
                terminal.answer("User name [billing@isp.example]: ", "")
                terminal.answer_hidden("Password of billing@isp.example: ", SECRET)
                terminal.sees("ok     rcpt")
                terminal.sees("No usable keyring is here.")
                terminal.answer("secrets.toml, readable by you alone?", "y")
                terminal.sees("smtp.host = localhost")
                terminal.sees("credentials.source = file")
                assert "host" not in account.config.read_text()
                terminal.answer("Write this? [Y/n]: ", "")
                terminal.sees("was written")
                terminal.sees(f"ucrmmail --config {account.config} flush --time-limit 50s")
                terminal.answer("Send a test message to billing@isp.example? [Y/n]: ", "y")
                terminal.sees("ok     final-dot")
                assert terminal.ends() == 0, terminal.text
                assert SECRET not in terminal.text
        server.wait_until_idle()
    assert [message.recipients for message in server.messages] == [["billing@isp.example"]]
    assert settings(account)["smtp"] == {
        "ca_file": str(authority.ca_file), "host": "localhost", "port": server.port, "encryption": "starttls",
        "username": "billing@isp.example",
    }  # fmt: skip
    assert settings(account)["addresses"] == {
        "sender": "billing@isp.example", "notification": "billing@isp.example",
    }  # fmt: skip
    text = account.config.read_text()
    assert text.startswith("# written by hand\n")
    assert " # ours" in text
    assert SECRET not in text
    assert account.run("credentials", "status", "--json").json["as_cron"]["found"] is True


QUESTIONS = [
    "Address that mail is sent from: ",
    "User name [billing@isp.example]: ",
    "Password of billing@isp.example: ",
    "readable by you alone? [Y/n]: ",
    "Write this? [Y/n]: ",
]
ANSWERS = ["billing@isp.example", "", SECRET, "y", "y"]


@pytest.mark.parametrize("key", [b"\x03", b"\x04"], ids=["Ctrl-C", "end of file"])
@pytest.mark.parametrize("left_at", range(len(QUESTIONS)), ids=["address", "user", "password", "store", "write"])
def test_leaving_at_any_question_leaves_nothing_behind(
    account: Program, authority: TestAuthority, left_at: int, key: bytes
) -> None:
    before = account.config.read_bytes()
    with (
        smarthost(authority) as server,
        Terminal(account, "setup", "--host", "localhost", "--port", str(server.port)) as terminal,
    ):
        for question, line in zip(QUESTIONS[:left_at], ANSWERS, strict=False):
            type_line = terminal.answer_hidden if question.startswith("Password") else terminal.answer
            type_line(question, line)
        terminal.press(QUESTIONS[left_at], key)
        assert terminal.ends() == 130, terminal.text
        assert "nothing was changed" in terminal.text
    assert account.config.read_bytes() == before
    assert [path.name for path in account.home.iterdir()] == ["config.toml"]


def test_a_wrong_password_may_be_typed_again_and_is_never_written(account: Program, authority: TestAuthority) -> None:
    with (
        smarthost(authority) as server,
        Terminal(account, "setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port),
                 "--store", "file") as terminal,
    ):  # fmt: skip
        terminal.answer("User name [billing@isp.example]: ", "")
        terminal.answer_hidden("Password of billing@isp.example: ", "wrong")
        terminal.sees("535 5.7.8")
        terminal.answer("Try another user name or password? [Y/n]: ", "y")
        terminal.answer("User name [billing@isp.example]: ", "")
        terminal.answer_hidden("Password of billing@isp.example: ", SECRET)
        terminal.answer("Write this? [Y/n]: ", "y")
        terminal.answer("Send a test message", "n")
        assert terminal.ends() == 0, terminal.text
    assert account.run("credentials", "status", "--here", "--json").json["found"] is True
    assert "wrong" not in (account.home / "secrets.toml").read_text()


def test_who_gives_up_after_a_refusal_leaves_nothing(account: Program, authority: TestAuthority) -> None:
    before = account.config.read_bytes()
    with (
        smarthost(authority) as server,
        Terminal(
            account, "setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port)
        ) as terminal,
    ):
        terminal.answer("User name", "")
        terminal.answer_hidden("Password", "wrong")
        terminal.answer("Try another user name or password?", "n")
        assert terminal.ends() == 77, terminal.text
        assert "Nothing was written" in terminal.text
    assert account.config.read_bytes() == before


def test_leaving_at_the_test_message_keeps_what_was_written(account: Program, authority: TestAuthority) -> None:
    with (
        smarthost(authority) as server,
        Terminal(account, "setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port),
                 "--store", "file") as terminal,
    ):  # fmt: skip
        terminal.answer("User name", "")
        terminal.answer_hidden("Password", SECRET)
        terminal.answer("Write this?", "y")
        terminal.press("Send a test message", b"\x03")
        terminal.sees("The settings are kept.")
        assert terminal.ends() == 130
    assert settings(account)["smtp"]["host"] == "localhost"
    assert server.messages == []


@pytest.mark.parametrize(
    ("exchange", "title", "host", "note"),
    [
        ("aspmx.l.google.com.", "Gmail and Google Workspace", "smtp.gmail.com", "needs an app password"),
        ("isp-example.mail.protection.outlook.com.", "Microsoft 365", "smtp.office365.com", "ucrmmail login"),
        ("mx2.zoho.eu.", "Zoho Mail", "smtppro.zoho.eu", "Password of"),
    ],
)
def test_the_provider_is_proposed_by_the_mx_records_with_what_it_wants(
    program: Program, authority: TestAuthority, tmp_path: Path, exchange: str, title: str, host: str, note: str
) -> None:
    with nsd(tmp_path, {"isp.example": f"{HEAD}@ MX 20 mail.isp.example.\n@ MX 10 {exchange}\n"}) as nameserver:
        write(program, authority, str(nameserver))
        with Terminal(program, "setup", "billing@isp.example", "--no-test") as terminal:
            terminal.sees(f"{title}")
            terminal.sees(f"receives the mail of isp.example (MX {exchange[:-1]}). ")
            terminal.answer(f"Send through {host}? [Y/n]: ", "")
            terminal.answer("User name [billing@isp.example]: ", "")
            terminal.sees(note)
            terminal.press(": ", b"\x03")
            assert terminal.ends() == 130


def test_the_limits_of_the_provider_are_proposed_and_written_when_agreed_to(
    program: Program, authority: TestAuthority
) -> None:
    write(program, authority)
    with Terminal(program, "setup", "you@gmail.com", "--no-test", "--store", "file") as terminal:
        terminal.answer("gmail.com is Gmail and Google Workspace. Send through it? [Y/n]: ", "")
        terminal.answer("User name [you@gmail.com]: ", "")
        terminal.answer_hidden("Password of you@gmail.com: ", "abcd efgh ijkl mnop")
        terminal.answer("takes 500 recipients in 24h", "y")
        terminal.answer("Write this?", "y")
        assert terminal.ends() == 0, terminal.text
    assert settings(program)["smtp"] == {
        "ca_file": str(authority.ca_file), "transport": "gmail", "username": "you@gmail.com",
    }  # fmt: skip
    assert settings(program)["throttler"] == {
        "message_limit": 500, "duration": "24h", "window": "sliding", "count": "recipients",
    }  # fmt: skip
    assert "abcdefghijklmnop" in (program.home / "secrets.toml").read_text()


def test_without_a_known_provider_the_host_is_asked_and_its_ports_are_tried(
    account: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    with smarthost(authority) as server, nsd(tmp_path, {"isp.example": HEAD}) as nameserver:
        # The port that is configured is one of those that are tried.
        write(account, authority, str(nameserver), more=f"port = {server.port}")
        with Terminal(account, "setup", "billing@isp.example", "--store", "file") as terminal:
            terminal.sees("No provider is known for isp.example.")
            terminal.answer("Smarthost (a host name, or one of gmail, ", "no host")
            terminal.sees("'no host'")
            terminal.answer("Smarthost (a host name", "ses")
            terminal.sees("ses has no host of its own")
            terminal.answer("Smarthost (a host name", "localhost")
            terminal.sees("Trying localhost: 465 tls, 587 starttls")
            terminal.answer("User name", "")
            terminal.answer_hidden("Password", SECRET)
            terminal.answer("Write this?", "y")
            terminal.answer("Send a test message", "n")
            assert terminal.ends() == 0, terminal.text
    assert (settings(account)["smtp"]["port"], settings(account)["smtp"]["encryption"]) == (server.port, "starttls")


def test_a_server_without_a_login_is_not_asked_for_one(account: Program, authority: TestAuthority) -> None:
    with (
        smarthost(authority, logins=None) as server,
        Terminal(
            account, "setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port)
        ) as terminal,
    ):
        terminal.sees("It offers no login, so none is set up.")
        terminal.answer("Write this?", "y")
        terminal.answer("Send a test message", "n")
        assert terminal.ends() == 0, terminal.text
    assert "username" not in settings(account)["smtp"]
    assert "credentials" not in settings(account)


def test_what_somebody_wrote_is_shown_beside_what_replaces_it(program: Program, authority: TestAuthority) -> None:
    with smarthost(authority) as server:
        write(program, authority, more='host = "old.isp.example"\nusername = "old"\n')
        before = program.config.read_bytes()
        given = ("setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port), "--store", "file")
        with Terminal(program, *given) as terminal:
            terminal.answer("User name [old]: ", "billing@isp.example")
            terminal.answer_hidden("Password", SECRET)
            terminal.sees("smtp.host = localhost  (replaces old.isp.example)")
            terminal.sees("smtp.username = billing@isp.example  (replaces old)")
            terminal.answer("Write this? [Y/n]: ", "n")
            assert terminal.ends() == 130, terminal.text
    assert program.config.read_bytes() == before


def test_a_provider_that_wants_a_sign_in_is_set_up_without_a_password(
    account: Program, authority: TestAuthority
) -> None:
    given = ("setup", "billing@isp.example", "--transport", "microsoft365", "--host", "localhost", "--no-limits")
    with smarthost(authority) as server, Terminal(account, *given, "--port", str(server.port)) as terminal:
        terminal.answer("User name", "")
        terminal.sees("Authenticated SMTP must be enabled for the mailbox; passwords are being withdrawn")
        terminal.answer_hidden("(Enter: sign in with `ucrmmail login` later): ", "")
        terminal.sees("ok     tls")
        terminal.sees("the login is not tested: sign in with `ucrmmail login`")
        terminal.answer("Write this?", "y")
        assert terminal.ends() == 0, terminal.text
    assert settings(account)["smtp"]["transport"] == "microsoft365"
    assert "credentials" not in settings(account)
    # Where no password is taken at all, none is asked for; a script says that it does without a test.
    account.run("setup", "you@outlook.com", "--no-test", "--yes")
    assert settings(account)["smtp"] == {
        "ca_file": str(authority.ca_file), "transport": "outlook", "username": "you@outlook.com",
    }  # fmt: skip


def test_an_account_that_is_set_up_stays_as_it_is_when_all_is_confirmed(
    account: Program, authority: TestAuthority
) -> None:
    with smarthost(authority) as server:
        script(account, server, "--store", "file")
        before = account.config.read_bytes()
        with Terminal(account, "setup", "--host", "localhost", "--port", str(server.port)) as terminal:
            terminal.answer("Address that mail is sent from [billing@isp.example]: ", "")
            terminal.answer("User name [billing@isp.example]: ", "")
            terminal.answer_hidden("(Enter keeps the one that is there): ", "")
            terminal.sees("says all of this already")
            terminal.answer("Send a test message", "n")
            assert terminal.ends() == 0, terminal.text
        assert account.config.read_bytes() == before
        account.run("test-connection")


def test_an_empty_password_and_a_dead_host_are_asked_for_again(account: Program, authority: TestAuthority) -> None:
    with (
        smarthost(authority) as server,
        Terminal(account, "setup", "billing@isp.example", "--host", "127.0.0.2", "--port", str(server.port),
                 "--store", "file") as terminal,
    ):  # fmt: skip
        terminal.sees("127.0.0.2 takes no mail from here")
        terminal.press("Smarthost (a host name", b"\x03")
        assert terminal.ends() == 130
    with (
        smarthost(authority) as server,
        Terminal(account, "setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port),
                 "--store", "file") as terminal,
    ):  # fmt: skip
        terminal.answer("User name", "")
        terminal.answer_hidden("Password of billing@isp.example: ", "")
        terminal.sees("The password is empty.")
        terminal.answer_hidden("Password of billing@isp.example: ", SECRET)
        terminal.answer("Write this?", "y")
        terminal.answer("Send a test message", "n")
        assert terminal.ends() == 0, terminal.text


def test_a_provider_with_a_host_for_each_region_is_asked_for_it(account: Program) -> None:
    with Terminal(account, "setup", "a@isp.example", "--transport", "ses", "--no-test", "--store", "file") as terminal:
        terminal.answer("Smarthost (a host name): ", "email-smtp.eu-central-1.amazonaws.com")
        terminal.answer("User name", "AKIAIOSFODNN7EXAMPLE")
        terminal.answer_hidden("Password", SECRET)
        terminal.answer("Amazon SES takes 200 recipients in 24h", "n")
        terminal.sees("no limit is set: `ucrmmail config presets ses`")
        terminal.answer("Write this?", "y")
        assert terminal.ends() == 0, terminal.text
    assert settings(account)["smtp"]["host"] == "email-smtp.eu-central-1.amazonaws.com"
    assert "throttler" not in settings(account)


def test_a_test_message_that_is_refused_does_not_undo_the_settings(account: Program, authority: TestAuthority) -> None:
    with (
        smarthost(authority, faults={"data": "554 5.7.1 not today"}) as server,
        Terminal(account, "setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port),
                 "--store", "file") as terminal,
    ):  # fmt: skip
        terminal.answer("User name", "")
        terminal.answer_hidden("Password", SECRET)
        terminal.answer("Write this?", "y")
        terminal.answer("Send a test message", "y")
        terminal.sees("not today")
        terminal.sees("The settings are kept.")
        assert terminal.ends() == 1
    assert settings(account)["smtp"]["host"] == "localhost"


# --- in scripts -------------------------------------------------------------------------------------------------------


def test_a_script_sets_an_account_up_with_flags_alone(account: Program, authority: TestAuthority) -> None:
    with smarthost(authority) as server:
        run = script(account, server, "--store", "file", "--json")
        again = script(account, server, "--store", "file", "--json")
        program = account.run("test-connection")
    document = run.json
    assert document["ok"] is document["written"] is True
    assert (document["found_by"], document["transport"]) == ("given", "smtp")
    assert {"key": "smtp.host", "before": None, "after": "localhost"} in document["settings"]
    assert [stage["stage"] for stage in document["stages"]][-4:] == ["mail", "rcpt", "rset", "quit"]
    assert document["secret"] == {"source": "file", "account": "billing@isp.example"}
    assert document["crontab"].startswith("* * * * * ")
    assert SECRET not in run.stdout + run.stderr
    assert again.json["settings"] == []
    assert "All holds" in program.stdout


def test_a_file_that_is_not_there_is_made_for_its_owner_alone(program: Program) -> None:
    with SmtpServer(logins=LOGINS) as server:
        run = script(program, server, "--encryption", "none", "--store", "file", "--no-test")
    assert "was written" in run.stdout
    assert program.config.stat().st_mode & 0o777 == 0o600
    assert settings(program)["smtp"]["encryption"] == "none"


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ((), "ADDRESS is missing"),
        (("billing@isp.example",), "--host or --transport is missing"),
        (("you@gmail.com",), "--password-stdin is missing"),
        (("billing@isp.example", "--transport", "ses"), "--host is missing"),
    ],
)
def test_a_script_is_told_which_flag_is_missing(account: Program, arguments: tuple[str, ...], missing: str) -> None:
    before = account.config.read_bytes()
    for more in ((), ("--json",)):
        run = account.run("setup", *arguments, *more, code=2)
        assert missing in run.stderr
        assert "no terminal to ask on" in run.stderr
    assert account.config.read_bytes() == before


def test_a_script_is_told_what_the_dns_did_not_say(account: Program) -> None:
    account.run("config", "set", "dns.nameservers", "127.0.0.1:9")
    run = account.run("setup", "billing@isp.example", code=2)
    assert "why:    The DNS did not answer all of it: " in run.stderr
    assert "No provider is known for isp.example." in run.stderr


def test_json_asks_nothing_on_a_terminal_either(account: Program) -> None:
    with Terminal(account, "setup", "--json") as terminal:
        assert terminal.ends() == 2
        assert "ADDRESS is missing" in terminal.text


def test_a_login_that_a_server_offers_must_be_given_or_declined(account: Program, authority: TestAuthority) -> None:
    with smarthost(authority) as server:
        given = ("setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port))
        run = account.run(*given, code=2)
        assert "--password-stdin is missing" in run.stderr
        assert '--username ""' in run.stderr
        assert "Authentication required" in account.run(*given, "--username", "", code=77).stderr
        account.run(*given, "--username", "", "--no-test", "--encryption", "starttls")
    assert "username" not in settings(account)["smtp"]


def test_a_script_replaces_nothing_without_having_said_so(program: Program, authority: TestAuthority) -> None:
    with smarthost(authority) as server:
        write(program, authority, more='host = "old.isp.example"\n')
        run = script(program, server, "--store", "file", code=2)
        assert "says otherwise of smtp.host" in run.stderr
        assert "--yes" in run.stderr
        assert not any(line.startswith(b"AUTH") for line in server.commands)
        script(program, server, "--store", "file", "--yes")
    assert settings(program)["smtp"]["host"] == "localhost"


def test_a_preset_takes_the_keys_out_that_would_go_before_it(program: Program, authority: TestAuthority) -> None:
    write(program, authority, more='host = "old.isp.example"\nport = 26\nauthentication = "xoauth2"\n')
    given = (
        "setup",
        "you@gmail.com",
        "--transport",
        "gmail",
        "--password-stdin",
        "--store",
        "file",
        "--no-test",
        "--yes",
    )
    run = program.run(*given, "--no-limits", stdin=SECRET)
    assert "smtp.host = (taken out)  (replaces old.isp.example)" in run.stdout
    assert settings(program)["smtp"] == {
        "ca_file": str(authority.ca_file), "transport": "gmail", "username": "you@gmail.com",
    }  # fmt: skip
    assert "throttler" not in settings(program)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ({"logins": {"billing@isp.example": "another"}}, 77, "535 5.7.8"),
        ({"faults": {"mail": "553 5.7.1 not owned by user"}}, 1, "not owned by user"),
        ({"faults": {"greeting": "554 5.7.1 go away"}}, 69, "go away"),
    ],
)
def test_nothing_is_written_before_the_test_holds(
    account: Program, authority: TestAuthority, options: dict[str, Any], code: int, told: str
) -> None:
    before = account.config.read_bytes()
    with smarthost(authority, **options) as server:
        run = script(account, server, "--store", "file", code=code)
        assert told in run.stderr
        script(account, server, "--store", "file", "--json", code=code)
        assert account.config.read_bytes() == before
        assert not (account.home / "secrets.toml").exists()
        run = script(account, server, "--store", "file", "--no-test", "--encryption", "starttls")
    assert settings(account)["smtp"]["host"] == "localhost"


def test_a_refusal_is_told_to_a_program_too(account: Program, authority: TestAuthority) -> None:
    with smarthost(authority, logins={"billing@isp.example": "another"}) as server:
        document = script(account, server, "--store", "file", "--json", code=77).json
    assert document["ok"] is document["written"] is False
    assert "config set smtp.password" in document["error"]["remedy"]
    assert document["secret"] is None
    assert document["stages"][-1]["stage"] == "auth"


def test_dead_servers_end_in_time_and_are_told(account: Program, authority: TestAuthority) -> None:
    with smarthost(authority, faults={"greeting": HANG}) as server:
        run = script(account, server, code=69)
    assert "localhost takes no mail from here" in run.stderr
    run = account.run("setup", "billing@isp.example", "--host", "localhost", "--port", "1", code=69)
    assert "nothing listens on this port" in run.stderr


def test_a_certificate_that_is_not_trusted_is_what_is_told_and_not_a_wrong_port(
    account: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    """A smarthost of one's own has one of one's own: `setup` had advised to look at the firewall."""
    other = TestAuthority(tmp_path / "other")
    with smarthost(other) as server:
        run = script(account, server, code=69)
        assert (
            f"the certificate of localhost:{server.port} was issued by an authority that is not trusted" in run.stderr
        )
        assert "config set smtp.ca_file FILE" in run.stderr
        assert "firewall" not in run.stderr


def test_a_domain_that_names_a_host_of_others_needs_a_word(
    account: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    with smarthost(authority) as server:
        zone = f"{HEAD}_submission._tcp SRV 0 1 {server.port} localhost.\n_submissions._tcp SRV 0 0 0 .\n"
        with nsd(tmp_path, {"isp.example": zone}) as nameserver:
            write(account, authority, str(nameserver))
            given = ("setup", "billing@isp.example", "--password-stdin", "--store", "file")
            run = account.run(*given, stdin=SECRET, code=2)
            assert "names localhost as its submission server, which belongs to another domain" in run.stderr
            assert "--host localhost" in run.stderr
            document = account.run(*given, "--yes", "--json", stdin=SECRET).json
    assert document["found_by"] == "srv"
    assert settings(account)["smtp"]["port"] == server.port


def test_a_keyring_that_works_is_taken_and_its_item_undone_when_the_file_cannot_be_written(
    account: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    with smarthost(authority) as server, secret_service(tmp_path / "session") as session:
        # Somebody else's lock directory stands where the lock file should be made.
        lock = account.home / "config.toml.lock"
        lock.mkdir()
        script(account, server, env=session.env, code=None)
        lock.rmdir()
        assert "host" not in settings(account)["smtp"]
        probe = account.run("credentials", "status", "--here", "--json", env=session.env, code=None)
        assert probe.json["found"] is False
        run = script(account, server, env=session.env)
        assert settings(account)["credentials"] == {"source": "keyring"}
        assert account.run("test-connection", env=session.env).code == 0
    assert "the keyring now has the secret of billing@isp.example" in run.stdout
    assert "warning: cron would not find the password" in run.stderr


def test_an_earlier_secret_is_back_when_the_file_cannot_be_written(account: Program, authority: TestAuthority) -> None:
    with smarthost(authority) as server:
        script(account, server, "--store", "file")
        account.run("config", "unset", "smtp.host")
        (account.home / "config.toml.lock").unlink()
        (account.home / "config.toml.lock").mkdir()
        given = ("setup", "billing@isp.example", "--host", "localhost", "--port", str(server.port), "--no-test")
        account.run(*given, "--encryption", "starttls", "--password-stdin", stdin="new", code=None)
    assert SECRET in (account.home / "secrets.toml").read_text()
    assert "new" not in (account.home / "secrets.toml").read_text()


def test_without_a_keyring_a_script_must_name_the_store(account: Program, authority: TestAuthority) -> None:
    before = account.config.read_bytes()
    with smarthost(authority) as server:
        run = script(account, server, code=2)
    assert "--store is missing" in run.stderr
    assert "--store file" in run.stderr
    assert account.config.read_bytes() == before


def test_a_program_that_prints_the_secret_is_used_as_it_is(account: Program, authority: TestAuthority) -> None:
    given = ("setup", "billing@isp.example", "--host", "localhost", "--store", "command")
    with smarthost(authority) as server:
        run = account.run(*given, "--port", str(server.port), "--username", "billing@isp.example", code=2)
        assert "credentials.command is not set" in run.stderr
        account.run("config", "set", "credentials.command", "echo", SECRET)
        account.run(*given, "--port", str(server.port), "--username", "billing@isp.example")
        account.run("test-connection")
    assert settings(account)["credentials"] == {"command": ["echo", SECRET], "source": "command"}


def test_what_the_command_line_says_wrongly_is_told(account: Program) -> None:
    for arguments, told in (
        (("a@isp.example", "--address", "b@isp.example"), "two addresses"),
        (("--store", "pocket"), "--store"),
        (("--encryption", "rot13"), "--encryption"),
        (("a@isp.example", "--transport", "gmial"), "--transport"),
        (("a@isp.example", "--host", "no host"), "'no host'"),
        (("a@isp.example", "--transport", "gmail", "--password-stdin"), "holds no password"),
    ):
        assert told in account.run("setup", *arguments, code=2).stderr
    given = ("setup", "a@isp.example", "--transport", "gmail", "--password-stdin")
    assert "not UTF-8" in account.run(*given, stdin=b"\xff\xfe", code=2).stderr
    assert "control character" in account.run(*given, stdin=b"a\x00b", code=2).stderr
    assert os.listdir(account.home) == ["config.toml"]
