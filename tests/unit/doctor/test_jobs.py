"""Where a flush is started from: lines of crontabs and unit files, as they are written in the wild."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.doctor.crontab import jobs_in_crontab, longest_gap_s
from ucrmmail.doctor.job import FlushCall, Job, find_flush
from ucrmmail.doctor.schedule import jobs_of_system, jobs_of_user


@pytest.mark.parametrize(
    ("command", "program", "config"),
    [
        ("ucrmmail flush", "ucrmmail", ""),
        ("/usr/bin/ucrmmail flush --time-limit 50s", "/usr/bin/ucrmmail", ""),
        ("ucrmmail --config /etc/x.toml flush >/dev/null 2>&1", "ucrmmail", "/etc/x.toml"),
        ("ucrmmail --config=/etc/x.toml flush", "ucrmmail", "/etc/x.toml"),
        ("UCRMMAIL_CONFIG=/etc/x.toml ucrmmail flush", "ucrmmail", "/etc/x.toml"),
        ("cd / && [ -x /usr/bin/ucrmmail ] && /usr/bin/ucrmmail flush; true", "/usr/bin/ucrmmail", ""),
        ("sh -c 'sleep 5; ucrmmail flush;'", "ucrmmail", ""),
        ("flock -n /run/x ucrmmail flush", "ucrmmail", ""),
        ("/opt/venv/bin/python3 -P -m ucrmmail flush", "/opt/venv/bin/python3", ""),
        ("ucrmmail flush 'an open quote", "ucrmmail", ""),
    ],
)
def test_a_call_of_the_flush_is_found(command: str, program: str, config: str) -> None:
    if "'an open" in command:
        command = command.replace("'an", "don't")
    assert find_flush(command) == FlushCall(program, config)


@pytest.mark.parametrize(
    "command", ["", "ucrmmail status", "ucrmmail", "echo flush ucrmmail", "myucrmmail flush", "ucrmmail --config flush"]
)
def test_what_is_no_call_of_the_flush_is_passed_over(command: str) -> None:
    assert find_flush(command) is None


@given(st.text())
def test_no_command_line_is_too_odd(command: str) -> None:
    find_flush(command)


def test_a_users_table_is_read_with_its_settings() -> None:
    table = (
        '# ucrmmail flush\n\nMAILTO=a@isp.example\nPATH = "/opt/bin:/usr/bin"\nUCRMMAIL_CONFIG=/etc/x.toml\n'
        "*/5 * * * *  ucrmmail flush --time-limit 50s%and its input\n"
        "@hourly ucrmmail --config /etc/y.toml flush\n"
        "* * * * * ucrmmail status\n"
        "@reboot\n"
    )  # fmt: skip
    assert jobs_in_crontab(table, "the crontab of joe", "joe") == (
        Job("the crontab of joe, line 6", "joe", "ucrmmail", "/opt/bin:/usr/bin", "/etc/x.toml", 300.0),
        Job("the crontab of joe, line 7", "joe", "ucrmmail", "/opt/bin:/usr/bin", "/etc/y.toml", 3600.0),
    )


def test_a_table_of_the_system_names_the_user() -> None:
    (job,) = jobs_in_crontab("* * * * * mail /usr/bin/ucrmmail flush\n* * * * * ucrmmail flush\n", "/etc/cron.d/m")
    assert (job.user, job.program, job.gap_s) == ("mail", "/usr/bin/ucrmmail", 60.0)


@pytest.mark.parametrize(
    ("fields", "gap_s"),
    [
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("0,10,20 * * * *", 2400),
        ("0-59/15 * * * *", 900),
        ("7 * * * *", 3600),
        ("* 8-17 * * *", 14 * 3600 + 60),
        ("30 4 * * *", 86400),
        ("* * * * 1-5", 86400),
        ("5/20 * * * *", 1200),
        ("x * * * *", None),
        ("*/0 * * * *", None),
        ("61 * * * *", None),
    ],
)
def test_the_longest_time_between_two_runs(fields: str, gap_s: float | None) -> None:
    assert longest_gap_s(fields.split()) == gap_s


@given(st.sets(st.integers(0, 59), min_size=1), st.sets(st.integers(0, 23), min_size=1))
def test_the_longest_gap_is_that_of_a_day_minute_by_minute(minutes: set[int], hours: set[int]) -> None:
    fields = [",".join(map(str, minutes)), ",".join(map(str, hours)), "*", "*", "*"]
    runs = [minute for minute in range(2880) if minute % 60 in minutes and minute // 60 % 24 in hours]
    longest = max((later - earlier for earlier, later in pairwise(runs)), default=1440)
    assert longest_gap_s(fields) == 60 * longest


@given(st.text())
def test_no_table_is_too_odd(table: str) -> None:
    jobs_in_crontab(table, "x", "joe")
    jobs_in_crontab(table, "x")


def system(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_the_tables_of_the_system_are_found_as_cron_finds_them(tmp_path: Path) -> None:
    line = "* * * * * root ucrmmail flush\n"
    files = {"etc/crontab": line, "etc/cron.d/mail": line, "etc/cron.d/mail.dpkg-old": line}
    assert [job.place for job in jobs_of_system(system(tmp_path, files))] == [
        "/etc/crontab, line 1",
        "/etc/cron.d/mail, line 1",
    ]


def test_a_timer_of_the_system_is_found_with_its_user_and_its_settings(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        {
            "etc/systemd/system/mail.service": (
                "[Unit]\nDescription=x\n[Service]\nUser=mail\nEnvironment=PATH=/opt/bin UCRMMAIL_CONFIG=/etc/x.toml\n"
                "ExecStart=/bin/old\nExecStart=\nExecStart=-/usr/bin/ucrmmail \\\n  flush --time-limit 50s\n"
            ),
            "etc/systemd/system/every-minute.timer": "[Timer]\n# a remark=1\nOnCalendar=*:0/5\nUnit=mail.service\n",
            "etc/systemd/system/timers.target.wants/every-minute.timer": "",
            "usr/lib/systemd/system/mail.service": "[Service]\nExecStart=/usr/bin/ucrmmail flush\n",
            "usr/lib/systemd/system/other.service": "[Service]\nExecStart=/bin/true\n",
        },
    )
    (job,) = jobs_of_system(root)
    assert (job.place, job.user, job.program) == ("every-minute.timer", "mail", "/usr/bin/ucrmmail")
    assert (job.search_path, job.config, job.gap_s, job.off) == ("/opt/bin", "/etc/x.toml", 300.0, "")
    assert job.by_cron is False


@pytest.mark.parametrize(
    ("when", "gap_s"),
    [
        ("OnCalendar=minutely", 60), ("OnCalendar=*-*-* *:*:00", 60), ("OnCalendar=hourly", 3600),
        ("OnUnitActiveSec=90", 90), ("OnUnitActiveSec=2min", 120), ("OnUnitInactiveSec=1h", 3600),
        ("OnCalendar=Mon..Fri 22:30", None), ("OnBootSec=1min\nOnUnitActiveSec=1min", 60),
    ],
)  # fmt: skip
def test_the_interval_of_a_timer(tmp_path: Path, when: str, gap_s: float | None) -> None:
    files = {"u.service": "[Service]\nExecStart=ucrmmail flush\n", "u.timer": f"[Timer]\n{when}\n"}
    root = system(tmp_path, {f"etc/systemd/system/{name}": text for name, text in files.items()})
    (job,) = jobs_of_system(root)
    assert job.gap_s == gap_s
    assert job.off == "u.timer is not enabled"
    assert job.remedy == "`systemctl daemon-reload && systemctl enable --now u.timer`"


def test_a_timer_of_a_user_needs_one_who_lingers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    units = home / "systemd" / "user"
    system(
        units,
        {
            "m.service": "[Service]\nExecStart=ucrmmail flush\n",
            "m.timer": "[Timer]\nOnCalendar=minutely\n",
            "timers.target.wants/m.timer": "",
        },
    )
    (job,) = jobs_of_user("joe", str(home), "", str(tmp_path))
    assert (job.off, job.remedy) == (
        "it stops when joe logs out, since joe does not linger",
        "`loginctl enable-linger joe`",
    )
    system(tmp_path, {"var/lib/systemd/linger/joe": ""})
    (job,) = jobs_of_user("joe", str(home), "", str(tmp_path))
    assert (job.off, job.user) == ("", "joe")


def test_a_program_that_only_a_shell_could_find_is_believed() -> None:
    assert Job("x", "joe", "$HOME/bin/ucrmmail").problem() == ""
    assert Job("x", "joe", "~/bin/ucrmmail").problem() == ""
    assert Job("x", "joe", sys.executable).problem() == ""
    assert "is not found in the PATH" in Job("x", "joe", "ucrmmail", "/nowhere").problem()
    assert "is not there" in Job("x", "joe", "/nowhere/ucrmmail").problem()
