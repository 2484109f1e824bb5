"""``doctor``: every check is made to fail for real, and what a person reads then is asserted."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_check_dns import ABOVE, REVERSE
from tests.integration.test_check_dns import ZONE as GOOD_ZONE
from tests.support.certificates import TestAuthority
from tests.support.nameserver import nsd
from tests.support.program import BIN, PLAIN, Program, Run
from tests.support.secret_service import secret_service
from tests.support.smtp_server import HANG, SmtpServer
from ucrmmail.doctor.check import CHECKS
from ucrmmail.files import Locked

USER = pwd.getpwuid(os.geteuid()).pw_name
SECRET = "canary-8123"
LOGINS = {"user": SECRET}
UCRMMAIL = BIN / "ucrmmail"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


def configure(program: Program, authority: TestAuthority, port: int, **more: str) -> None:
    """Write the configuration of an account that logs in with TLS and has its secret in the file."""
    tables = {
        "smtp": f'host = "localhost"\nport = {port}\nusername = "user"\nca_file = "{authority.ca_file}"\ntimeout = "2s"',
        "addresses": 'sender = "billing@isp.example"\nnotification = "admin@isp.example"',
        "spool": f'directory = "{program.spool}"',
        "credentials": 'source = "file"',
        "dns": 'nameservers = ["127.0.0.1:9"]',
    }
    for table, lines in more.items():
        tables[table] = f"{tables.get(table, '')}\n{lines}"
    program.config.write_text("".join(f"[{table}]\n{lines}\n\n" for table, lines in tables.items()))
    program.config.chmod(0o600)
    keep_secret(program, SECRET)


def keep_secret(program: Program, secret: str) -> None:
    program.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=secret)


def crontab(program: Program, text: str) -> None:
    """Put a ``crontab`` on the PATH that prints this table: the machine's own is not to be touched."""
    directory = program.home / "bin"
    directory.mkdir(exist_ok=True)
    (directory / "table").write_text(text)
    (directory / "crontab").write_text(f'#!/bin/sh\ntest "$1" = -l && exec cat "{directory}/table"\nexit 1\n')
    (directory / "crontab").chmod(0o755)
    program.env["PATH"] = f"{directory}:/usr/bin:/bin"


@pytest.fixture(autouse=True)
def empty_crontab(program: Program) -> None:
    """Keep the crontab of whoever runs the tests out of them."""
    crontab(program, "")


@contextlib.contextmanager
def running_cron(directory: Path) -> Iterator[None]:
    """Run a process that the kernel calls ``cron``."""
    copy = directory / "cron"
    shutil.copy("/bin/sleep", copy)
    with subprocess.Popen([copy, "600"]) as process:
        try:
            yield
        finally:
            process.kill()


def check(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in run.json["checks"] if each["check"] == name)
    return found


def only(program: Program, name: str, *, code: int = 0) -> dict[str, Any]:
    """Run one check alone and return it."""
    run = program.run("doctor", "--only", name, "--json", code=code)
    assert [each["check"] for each in run.json["checks"]] == [name]
    return check(run, name)


def test_an_account_where_all_is_well(program: Program, authority: TestAuthority, tmp_path: Path) -> None:
    zones = {"isp.example": GOOD_ZONE, "example": ABOVE, "2.0.192.in-addr.arpa": REVERSE}
    with (
        SmtpServer(tls=authority.server_context(), logins=LOGINS) as server,
        nsd(tmp_path, zones) as nameserver,
        running_cron(tmp_path),
    ):
        dns = f'nameservers = ["{nameserver}"]\nsending_addresses = ["192.0.2.25"]\ndkim_selectors = ["s1"]'
        configure(program, authority, server.port)
        program.config.write_text(program.config.read_text().replace('nameservers = ["127.0.0.1:9"]', dns))
        crontab(program, f"* * * * *  {UCRMMAIL} --config {program.config} flush --time-limit 50s\n")
        program.sendmail("-t")
        program.run("flush")
        run = program.run("doctor", "--strict", "--json")
        quiet = program.run("doctor", "-q", "--strict")
        person = program.run("doctor")
        server.wait_until_idle()
    assert run.json["ok"] is True
    assert run.json["verdict"] == "ok"
    assert [each["check"] for each in run.json["checks"]] == list(CHECKS)
    verdicts = {each["check"]: each["verdict"] for each in run.json["checks"]}
    # Whether this machine's clock is kept right is not the test's to say.
    assert {verdict for name, verdict in verdicts.items() if name != "clock"} == {"ok"}, run.stdout
    assert check(run, "dns")["subject"] == "isp.example"
    assert check(run, "connection")["facts"]["days_left"] == 29
    assert check(run, "login")["facts"] == {"mechanism": "PLAIN"}
    assert check(run, "secret")["facts"] == {"source": "file"}
    assert check(run, "schedule")["facts"]["gap_s"] == 60
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert any(line.startswith("ok      login") for line in person.lines)
    assert person.lines[-1].startswith("Nothing is wrong")
    # The flush has sent one; the doctor none.
    assert len(server.messages) == 1
    assert SECRET not in run.stdout + person.stdout


def test_nothing_is_changed_by_a_look(program: Program, authority: TestAuthority) -> None:
    configure(program, authority, 1)
    before = sorted(program.home.rglob("*"))
    program.run("doctor", "--json", code=1)
    assert sorted(program.home.rglob("*")) == before


def test_without_a_configuration_the_first_step_is_told(program: Program) -> None:
    run = program.run("doctor", code=1)
    assert "no smarthost is configured" in run.lines[0]
    assert "config set smtp.transport gmail" in run.lines[1]
    assert "skipped login" in run.stdout


def test_a_configuration_that_is_wrong_is_told_with_file_and_line(program: Program) -> None:
    program.configure(25, smtp='hots = "127.0.0.1"')
    found = only(program, "config", code=1)
    assert f"{program.config}:" in found["detail"]
    assert "hots" in found["detail"]
    assert found["remedy"] == "`ucrmmail config edit`"
    assert check(program.run("doctor", "--json", code=1), "login")["verdict"] == "skipped"


def test_a_configuration_that_others_can_change_is_a_failure_with_its_chmod(program: Program) -> None:
    program.configure(25)
    program.config.chmod(0o666)
    found = only(program, "config", code=1)
    assert "others can change it (mode 0666)" in found["detail"]
    assert found["remedy"] == f"chmod go-w {program.config}"


def test_what_is_probably_not_meant_is_a_warning_that_only_strict_counts(program: Program) -> None:
    program.configure(25, smtp='final_timeout = "5s"')
    found = only(program, "config")
    assert found["verdict"] == "warn"
    assert "smtp.final_timeout below 10m a message may be sent twice" in found["detail"]
    program.run("doctor", "--only", "config", "--strict", code=1)


def test_a_missing_secret_is_told_and_the_connection_tested_all_the_same(
    program: Program, authority: TestAuthority
) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS) as server:
        configure(program, authority, server.port)
        program.run("credentials", "delete", "--yes")
        run = program.run("doctor", "--json", code=1)
    assert "has no secret for 'user'" in check(run, "secret")["detail"]
    assert "config set smtp.password --store file" in check(run, "secret")["remedy"]
    assert check(run, "cron-secret")["detail"].startswith("cron would not find it: ")
    assert check(run, "connection")["verdict"] == "ok"
    assert check(run, "login") | {"facts": {}} == {
        "check": "login", "subject": None, "verdict": "skipped", "detail": "there is no secret to log in with",
        "remedy": None, "facts": {},
    }  # fmt: skip
    assert check(run, "sender")["verdict"] == "skipped"


def test_a_secret_that_only_this_shell_has_fails_for_cron(program: Program, authority: TestAuthority) -> None:
    configure(program, authority, 1)
    program.run("credentials", "delete", "--yes")
    program.env["UCRMMAIL_SMTP_PASSWORD"] = SECRET
    assert only(program, "secret")["facts"] == {"source": "environment"}
    assert "cron would not find it: " in only(program, "cron-secret", code=1)["detail"]


def test_a_keyring_that_cron_does_not_reach_and_one_that_is_locked(
    program: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    configure(program, authority, 1)
    with secret_service(tmp_path / "session") as session:
        program.env.update(session.env)
        program.run("config", "set", "smtp.password", "--stdin", "--store", "keyring", stdin=SECRET)
        run = program.run("doctor", "--only", "secret,cron-secret", "--json", code=1)
        assert check(run, "secret")["facts"] == {"source": "keyring"}
        assert check(run, "cron-secret")["verdict"] == "fail"
        assert check(run, "cron-secret")["detail"].startswith("cron would not find it: ")
        assert check(run, "cron-secret")["remedy"]
        session.lock()
        assert "locked" in only(program, "secret", code=1)["detail"]


def test_a_server_that_is_not_there_is_told_with_the_port(program: Program, authority: TestAuthority) -> None:
    configure(program, authority, 1)
    run = program.run("doctor", "--only", "connection,login,sender", code=1)
    assert "fail    connection   no connection to localhost:1" in run.stdout
    assert "refused: nothing listens on this port" in run.stdout
    assert "skipped login        there is no connection to log in on" in run.stdout
    assert "remedy: check smtp.host and smtp.port" in run.stdout
    assert "`ucrmmail test-connection --probe` tries the other ports" in run.stdout
    program.run("config", "set", "smtp.host", "no-such-host.invalid")
    assert "the name no-such-host.invalid was not found" in only(program, "connection", code=1)["detail"]


def test_dead_servers_cost_seconds_not_minutes(program: Program, authority: TestAuthority) -> None:
    with (
        SmtpServer(faults={"greeting": HANG}) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
    ):
        silent.bind(("127.0.0.1", 0))
        configure(program, authority, server.port, smtp="", dns="")
        text = program.config.read_text().replace('timeout = "2s"', 'timeout = "10m"')
        program.config.write_text(text.replace("127.0.0.1:9", f"127.0.0.1:{silent.getsockname()[1]}"))
        # The program itself gives up: were it to wait for the ten minutes of the configuration, the test would not.
        run = program.run("doctor", "--timeout", "1s", "--json", code=1, timeout=60)
    assert "did not" in check(run, "connection")["detail"] or "no answer" in check(run, "connection")["detail"]
    dns = check(run, "dns")
    assert dns["verdict"] == "unknown"
    assert dns["remedy"] == "see /etc/resolv.conf, or set dns.nameservers"


def test_a_certificate_that_ends_soon_is_a_warning(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(days_left=5), logins=LOGINS) as server:
        configure(program, authority, server.port)
        found = only(program, "connection")
    assert found["verdict"] == "warn"
    assert found["facts"]["days_left"] == 4
    assert "the certificate expires on" in found["detail"]


def test_a_refused_login_is_told_with_the_reply(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins={"user": "another"}) as server:
        configure(program, authority, server.port)
        run = program.run("doctor", "--only", "login,sender", "--json", code=1)
    login = check(run, "login")
    assert "535 5.7.8" in login["detail"]
    assert login["facts"]["stage"] == "auth"
    assert "config set smtp.password" in login["remedy"]
    assert check(run, "sender")["verdict"] == "skipped"


def test_a_login_that_the_flush_found_refused_is_not_hammered(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS) as server:
        configure(program, authority, server.port)
        keep_secret(program, "wrong")
        program.sendmail("-t")
        program.run("flush", code=77)
        tried = sum(line.startswith(b"AUTH") for line in server.commands)
        run = program.run("doctor", "--json", code=1)
        server.wait_until_idle()
        assert sum(line.startswith(b"AUTH") for line in server.commands) == tried
        assert "not tried again before" in check(run, "login")["detail"]
        assert "535 5.7.8" in check(run, "account")["detail"]
        assert "no run tries before" in check(run, "account")["detail"]
        assert check(run, "connection")["verdict"] == "ok"
        # With another secret there is no reason to wait, and what the last run found is over.
        keep_secret(program, SECRET)
        run = program.run("doctor", "--only", "connection,login,account", "--json")
        assert check(run, "login")["verdict"] == "ok"
        assert check(run, "account")["verdict"] == "warn"
        assert check(run, "account")["detail"].startswith("it works now; the last run had trouble: ")


def test_a_sender_that_the_server_refuses_is_told(program: Program, authority: TestAuthority) -> None:
    faults = {"mail": "553 5.7.1 Sender address rejected: not owned by user"}
    with SmtpServer(tls=authority.server_context(), logins=LOGINS, faults=faults) as server:
        configure(program, authority, server.port)
        run = program.run("doctor", "--only", "login,sender", "--json", code=1)
    assert check(run, "login")["verdict"] == "ok"
    assert "not owned by user" in check(run, "sender")["detail"]
    assert check(run, "sender")["facts"]["reply"].startswith("553 5.7.1")


def test_an_account_without_a_sender_is_warned(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS) as server:
        configure(program, authority, server.port)
        program.run("config", "unset", "addresses.sender")
        found = only(program, "sender")
        assert only(program, "dns")["verdict"] == "skipped"
    assert found["verdict"] == "warn"
    assert "config set addresses.sender" in found["remedy"]


def test_records_that_are_wrong_are_named_with_their_codes(
    program: Program, authority: TestAuthority, tmp_path: Path
) -> None:
    zone = '$ORIGIN isp.example.\n$TTL 300\n@ SOA ns admin 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n@ TXT "v=spf1 +all"\n'
    with nsd(tmp_path, {"isp.example": zone, "example": ABOVE}) as nameserver:
        configure(program, authority, 1)
        program.config.write_text(program.config.read_text().replace("127.0.0.1:9", str(nameserver)))
        found = only(program, "dns", code=1)
    assert found["subject"] == "isp.example"
    assert any(code.startswith("spf-") for code in found["facts"]["codes"])
    assert found["remedy"] == "`ucrmmail check-dns isp.example` says what to publish"


def test_a_spool_that_others_can_read_is_a_failure_with_its_chmod(program: Program, authority: TestAuthority) -> None:
    configure(program, authority, 1)
    program.sendmail("-t")
    program.spool.chmod(0o755)
    found = only(program, "spool", code=1)
    assert "is open to other users (mode 0755)" in found["detail"]
    assert found["remedy"] == f"run `chmod 700 {program.spool}`"
    run = program.run("doctor", "--only", "queue,failed", "--json")
    assert [each["verdict"] for each in run.json["checks"]] == ["skipped", "skipped"]
    program.spool.chmod(0o700)
    (program.spool / "queue").chmod(0o777)
    assert only(program, "spool", code=1)["remedy"] == f"run `chmod 700 {program.spool}/queue` as its owner"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["lock", "ledger", "journal", "drop", "delivery.log"])
def test_what_another_user_has_made_in_the_spool_is_a_failure_with_its_chown(
    program: Program, authority: TestAuthority, name: str
) -> None:
    """As after a command that root has run there: each flush ended with 74, and the doctor had said that all is well."""
    configure(program, authority, 1)
    program.sendmail("-t")
    path = program.spool / name
    path.touch()
    path.chmod(0o600)
    os.chown(path, 65534, 65534)
    # Without the rights of root, which may write to everything.
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*bare, *program.command("doctor", "--only", "spool,limits", "--json")],
        capture_output=True, text=True, env=program.env, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)["checks"][0]
    assert (done.returncode, found["check"], found["verdict"]) == (1, "spool", "fail")
    assert found["remedy"] == f"run `chown 0 {path}` as root, if you trust what is in it"


def test_a_part_of_the_spool_that_cannot_be_read_is_a_failure(program: Program, authority: TestAuthority) -> None:
    configure(program, authority, 1)
    program.sendmail("-t")
    (program.spool / "ledger").mkdir()
    run = program.run("doctor", "--only", "spool,limits,account", "--json", code=1)
    assert [each["verdict"] for each in run.json["checks"]] == ["ok", "fail", "skipped"]
    assert "not a regular file" in check(run, "limits")["detail"]


def test_a_spool_below_a_directory_that_others_can_write_to_is_a_warning(
    program: Program, authority: TestAuthority
) -> None:
    configure(program, authority, 1)
    program.sendmail("-t")
    program.home.chmod(0o777)
    found = only(program, "spool")
    assert (found["verdict"], found["remedy"].split(",")[0]) == ("warn", f"run `chmod go-w {program.home}`")


def test_a_spool_in_memory_is_a_warning(program: Program) -> None:
    directory = Path("/dev/shm") / f"ucrmmail-test-{os.getpid()}"
    program.configure(25, spool=f'directory = "{directory}"')
    program.config.write_text(program.config.read_text().replace(f'directory = "{program.spool}"\n', "", 1))
    try:
        program.sendmail("-t")
        found = only(program, "spool")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert found["verdict"] == "warn"
    assert "a reboot loses all mail that waits" in found["detail"]
    assert found["facts"] == {"file_system": "tmpfs"}


def test_a_spool_that_is_not_made_yet_is_no_trouble(program: Program) -> None:
    program.configure(25)
    assert "is made when the first message comes" in only(program, "spool")["detail"]


def test_too_little_space_is_told_before_and_when_it_refuses_mail(program: Program) -> None:
    free = shutil.disk_usage(program.home).free
    for wanted, verdict, code in ((free * 2, "fail", 1), (free * 2 // 3, "warn", 0)):
        program.configure(25, spool=f'min_free_space = "{wanted}"')
        found = only(program, "space", code=code)
        assert found["verdict"] == verdict
        assert "no message is accepted" in found["detail"]
        assert "df -h" in found["remedy"]
        assert found["facts"]["min_free_bytes"] == wanted


def age(program: Program, hours: float) -> None:
    """Make the only message that waits so much older: its age is in its name."""
    (path,) = (program.spool / "queue").glob("*/*")
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() - 3600 * hours))
    bucket = path.parent.parent / f"{path.name[:2]}{stamp[:13]}"
    bucket.mkdir(mode=0o700)
    path.rename(bucket / f"{path.name[:2]}{stamp}{path.name[17:]}")


@pytest.mark.parametrize(
    ("hours", "verdict", "told"), [(0, "ok", "s ago"), (5, "warn", "5 h ago"), (50, "fail", "2 d ago")]
)
def test_the_age_of_the_queue_decides(program: Program, hours: float, verdict: str, told: str) -> None:
    program.configure(25)
    program.sendmail("-t")
    if hours:
        age(program, hours)
    found = only(program, "queue", code=1 if verdict == "fail" else 0)
    assert found["verdict"] == verdict
    assert found["detail"].startswith("1 waiting; the oldest was accepted ")
    assert found["detail"].endswith(told)
    assert (found["remedy"] is None) == (verdict == "ok")


def test_mail_that_waits_for_a_limit_is_a_warning_with_the_time(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port, throttler='message_limit = 1\nduration = "1h"')
        assert only(program, "limits")["detail"] == "0 of 1 messages in 1h"
        program.sendmail("-t")
        program.sendmail("-t")
        program.run("flush", "--no-wait")
        found = only(program, "limits")
        program.run("queue", "remove", "--all", "--yes")
        assert only(program, "limits")["verdict"] == "ok"
    assert found["verdict"] == "warn"
    assert found["detail"].startswith("1 of 1 messages in 1h: used up until ")
    assert found["detail"].endswith("and 1 wait for it")
    assert found["facts"]["opens_at"].endswith("Z")
    assert "flush --dry-run" in found["remedy"]


def test_what_failed_was_damaged_or_rejected_waits_for_a_person(program: Program) -> None:
    faults = {"rcpt": "550 5.1.1 No such user"}
    with SmtpServer(faults=faults) as server:
        program.configure(server.port)
        program.run("enqueue", "--from", "", "--to", "joe@example.com", "-", stdin=PLAIN)
        program.run("flush", code=None)
    found = only(program, "failed")
    assert found["verdict"] == "warn"
    assert "failed for good" in found["detail"]
    assert "queue list --state failed" in found["remedy"]
    (program.spool / "drop" / "bad.eml").write_bytes(b"no header at all\n")
    os.utime(program.spool / "drop" / "bad.eml", (0, 0))
    program.sendmail("-t")
    (path,) = (program.spool / "queue").glob("*/*")
    path.write_bytes(b"garbage")
    program.run("flush", code=None)
    found = only(program, "failed", code=1)
    assert found["detail"].startswith("1 set aside in corrupt/, 1 rejected from the drop directory, ")
    assert f"{program.spool}/corrupt" in found["remedy"]
    assert found["facts"]["corrupt"] == 1


def test_a_flush_that_runs_no_more_is_told(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        assert only(program, "flush")["detail"] == "it has never run"
        program.sendmail("-t")
        assert only(program, "flush", code=1)["detail"] == "it has never run, and 1 wait"
        program.run("flush")
    assert "the last run was" in only(program, "flush")["detail"]
    os.utime(program.spool / "last-flush.json", (0, time.time() - 7200))
    program.sendmail("-t")
    found = only(program, "flush", code=1)
    assert found["detail"] == "the last run was 2 h ago, and 1 wait; it should be 10m at the most"


def test_a_flush_that_takes_hours_is_not_taken_for_one_that_is_missing(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        program.sendmail("-t")
        program.run("flush")
        program.sendmail("-t")
        os.utime(program.spool / "last-flush.json", (0, time.time() - 7200))
        with Locked(str(program.spool / "lock")):
            assert only(program, "flush")["detail"] == "one is running now, and 1 wait"
            assert only(program, "schedule")["verdict"] == "unknown"
        only(program, "flush", code=1)


def test_a_last_run_that_went_wrong_is_a_warning(program: Program) -> None:
    program.configure(1)
    program.sendmail("-t")
    program.run("flush", code=69)
    found = only(program, "flush")
    assert (found["verdict"], found["facts"]["exit_code"]) == ("warn", 69)


def test_without_a_job_the_line_to_add_is_told_and_works_when_pasted(program: Program, tmp_path: Path) -> None:
    program.configure(25)
    crontab(program, "")
    run = program.run("doctor", "--only", "schedule", "--json", code=1)
    found = check(run, "schedule")
    assert found["detail"] == "no cron entry and no timer runs `ucrmmail flush`"
    # A crontab that takes a new table on standard input.
    tool = program.home / "bin" / "crontab"
    tool.write_text(
        f'#!/bin/sh\ntable="{tool.parent}/table"\ntest "$1" = - && exec cat > "$table"\nexec cat "$table"\n'
    )
    subprocess.run(["sh", "-c", found["remedy"]], env=program.env, check=True)
    with running_cron(tmp_path):
        run = program.run("doctor", "--only", "schedule", "--json")
    assert check(run, "schedule")["detail"] == f"the crontab of {USER}, line 1, every 1m"


@pytest.mark.parametrize(
    ("line", "detail", "remedy"),
    [
        ("* * * * * ucrmmail --config CONFIG flush", "ucrmmail is not found in the PATH that it runs with", "whole path"),
        ("* * * * * /nowhere/ucrmmail --config CONFIG flush", "/nowhere/ucrmmail is not there", "whole path"),
        ("* * * * * UCRMMAIL flush", "not CONFIG", "crontab -"),
        ("@reboot UCRMMAIL --config CONFIG flush", "it runs once, when the machine starts", "crontab -"),
    ],
)  # fmt: skip
def test_a_line_that_will_not_work_is_told_with_its_place(
    program: Program, line: str, detail: str, remedy: str
) -> None:
    program.configure(25)
    crontab(
        program,
        "MAILTO=admin@isp.example\n" + line.replace("UCRMMAIL", str(UCRMMAIL)).replace("CONFIG", str(program.config)),
    )
    found = only(program, "schedule", code=1)
    assert f"the crontab of {USER}, line 2" in found["detail"]
    assert detail.replace("CONFIG", str(program.config)) in found["detail"]
    assert remedy in found["remedy"]


def test_a_line_that_runs_once_a_day_is_a_warning(program: Program, tmp_path: Path) -> None:
    program.configure(25)
    crontab(program, f"17 3 * * * {UCRMMAIL} --config {program.config} flush")
    with running_cron(tmp_path):
        found = only(program, "schedule")
    assert found["verdict"] == "warn"
    assert "every 1d: mail waits so long" in found["detail"]


def test_a_timer_of_the_user_is_found_and_must_be_enabled(program: Program) -> None:
    program.configure(25)
    units = program.home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "mail.service").write_text(f"[Service]\nExecStart={UCRMMAIL} --config {program.config} flush\n")
    assert "no timer starts mail.service" in only(program, "schedule", code=1)["detail"]
    (units / "mail.timer").write_text("[Timer]\nOnCalendar=minutely\n")
    found = only(program, "schedule", code=1)
    assert "mail.timer is not enabled" in found["detail"]
    assert "systemctl --user enable --now mail.timer" in found["remedy"]
    (units / "timers.target.wants").mkdir()
    (units / "timers.target.wants" / "mail.timer").symlink_to(units / "mail.timer")
    if USER == "root":
        assert only(program, "schedule")["detail"] == "mail.timer, every 1m"
    else:
        assert "loginctl enable-linger" in only(program, "schedule", code=1)["remedy"]


def test_a_flush_that_ran_without_a_known_job_is_not_a_failure(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        program.sendmail("-t")
        program.run("flush")
    assert only(program, "schedule")["verdict"] == "unknown"


def test_a_clock_that_was_set_back_is_told_by_our_own_files(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        program.sendmail("-t")
        program.run("flush")
    os.utime(program.spool / "last-flush.json", (0, time.time() + 7200))
    found = only(program, "clock", code=1)
    assert found["detail"].startswith(f"was set back: {program.spool}/last-flush.json was written at ")
    assert found["detail"].endswith("2 h ahead of now")


def test_without_authorities_nothing_can_be_trusted(program: Program, authority: TestAuthority) -> None:
    program.configure(25)
    program.env.update({"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere"})
    found = only(program, "tls", code=1)
    assert "no certificate authorities are installed, so no server is trusted" in found["detail"]
    assert found["remedy"] == "`apt install ca-certificates`"
    configure(program, authority, 1)
    assert only(program, "tls")["verdict"] == "ok"


def test_checks_can_be_chosen_and_a_wrong_name_is_told(program: Program) -> None:
    program.configure(25)
    run = program.run("doctor", "--only", "queue,space", "--only", "python", "--skip", "space", "--json")
    assert [each["check"] for each in run.json["checks"]] == ["queue", "python"]
    assert run.json["counts"] == {"ok": 2, "warn": 0, "fail": 0, "unknown": 0, "skipped": 0}
    assert "did you mean queue?" in program.run("doctor", "--only", "queeu", code=2).stderr
    assert "no check is left" in program.run("doctor", "--only", "queue", "--skip", "queue", code=2).stderr
    assert "--timeout" in program.run("doctor", "--timeout", "soon", code=2).stderr
    assert "--timeout" in program.run("doctor", "--timeout", "1h", code=2).stderr


def test_a_name_that_would_drive_the_terminal_is_shown_as_an_escape(program: Program, authority: TestAuthority) -> None:
    faults = {"mail": "553 5.7.1 \x1b]0;owned\x07 no"}
    with SmtpServer(tls=authority.server_context(), logins=LOGINS, faults=faults) as server:
        configure(program, authority, server.port)
        run = program.run("doctor", "--only", "sender", code=1)
        document = program.run("doctor", "--only", "sender", "--json", code=1)
    assert "\\x1b]0;owned\\x07 no" in run.stdout
    assert "\x1b" not in run.stdout + document.stdout
    assert json.loads(document.stdout)["ok"] is False
