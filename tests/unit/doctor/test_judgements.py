"""What the facts mean: each verdict at its border."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ucrmmail.doctor.check import Check, Verdict, worst
from ucrmmail.doctor.job import Job
from ucrmmail.doctor.machine import (
    ClockSigns,
    TlsLibrary,
    judge_clock,
    judge_python,
    judge_tls,
    look_at_clock,
    look_at_tls,
)
from ucrmmail.doctor.schedule import LastFlush, Whose, cron_runs, flush_runs, judge_flush, judge_schedule
from ucrmmail.doctor.spool import Disk, judge_queue, judge_space, told_age
from ucrmmail.spool.listing import Counts

NOW = 1795431959.0
WHOSE = Whose("joe", "/home/joe/c.toml", "/home/joe/c.toml", "* * * * * /usr/bin/ucrmmail flush")
NEVER = LastFlush(None)
WORKS = Job("the crontab of joe, line 1", "joe", "/bin/true", gap_s=60.0)


def schedule(*jobs: Job, last: LastFlush = NEVER, cron_running: bool | None = True) -> Check:
    return judge_schedule(jobs, WHOSE, last, NOW, cron_running=cron_running)


def test_the_worst_decides_and_what_is_unknown_does_not() -> None:
    def of(*verdicts: Verdict) -> Verdict:
        return worst(Check("x", verdict, "") for verdict in verdicts)

    assert of() is Verdict.OK
    assert of(Verdict.OK, Verdict.UNKNOWN, Verdict.SKIPPED) is Verdict.OK
    assert of(Verdict.OK, Verdict.WARN) is Verdict.WARN
    assert of(Verdict.FAIL, Verdict.WARN) is Verdict.FAIL


def test_a_job_that_works_is_enough_beside_one_that_does_not() -> None:
    broken = Job("the crontab of joe, line 2", "joe", "/nowhere/ucrmmail")
    assert schedule(broken, WORKS).verdict is Verdict.OK
    assert schedule(broken).verdict is Verdict.FAIL


def test_a_job_of_another_user_does_not_serve_this_queue() -> None:
    found = schedule(Job("/etc/crontab, line 3", "root", "/bin/true", gap_s=60.0))
    assert found.verdict is Verdict.FAIL
    assert found.detail == "/etc/crontab, line 3 runs as root, and this queue belongs to joe"


def test_a_job_that_reads_another_configuration_does_not_serve_this_one() -> None:
    found = schedule(Job("x", "joe", "/bin/true", config="/etc/other.toml"))
    assert found.detail == "x reads /etc/other.toml, not /home/joe/c.toml"


def test_a_cron_that_is_not_seen_is_believed_when_a_flush_has_run() -> None:
    assert schedule(WORKS, cron_running=False).verdict is Verdict.FAIL
    assert schedule(WORKS, last=LastFlush(NOW - 30), cron_running=False).verdict is Verdict.OK


def test_the_line_to_paste_survives_the_shell() -> None:
    whose = Whose("joe", "/c", "/c", "* * * * * '/opt/my mail/ucrmmail' flush")
    assert whose.remedy.count("'\\''") == 2


@pytest.mark.parametrize(
    ("age_s", "gap_s", "verdict"),
    [(599, None, Verdict.OK), (601, None, Verdict.FAIL), (601, 300.0, Verdict.OK), (901, 300.0, Verdict.FAIL)],
)
def test_a_flush_may_be_as_late_as_its_schedule_allows(age_s: float, gap_s: float | None, verdict: Verdict) -> None:
    assert judge_flush(LastFlush(NOW - age_s), gap_s, 0, NOW).verdict is verdict


def test_cron_is_recognised_by_the_name_of_its_process(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    for number, name in (("1", "init"), ("77", "crond"), ("self", "cron")):
        (proc / number).mkdir(parents=True)
        (proc / number / "comm").write_text(f"{name}\n")
    (proc / "78").mkdir()
    assert cron_runs(str(tmp_path)) is True
    (proc / "77" / "comm").write_text("crowd\n")
    assert cron_runs(str(tmp_path)) is False


def test_a_cron_that_may_be_hidden_or_needs_no_process_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "proc" / "4711").mkdir(parents=True)
    assert cron_runs(str(tmp_path)) is None
    assert schedule(WORKS, cron_running=None).verdict is Verdict.OK
    generator = tmp_path / "usr" / "lib" / "systemd" / "system-generators" / "systemd-crontab-generator"
    generator.parent.mkdir(parents=True)
    generator.write_text("")
    assert cron_runs(str(tmp_path)) is True


def test_a_lock_is_found_without_being_touched(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert flush_runs(str(lock)) is False
    lock.write_text("")
    inode = lock.stat().st_ino
    locks = tmp_path / "locks"
    locks.write_text(
        f"1: FLOCK  ADVISORY  WRITE 4711 08:01:{inode}9 0 EOF\n2: POSIX  ADVISORY  READ 1 08:01:{inode} 0 EOF\nx\n"
    )
    assert flush_runs(str(lock), str(locks)) is False
    locks.write_text(f"2: -> FLOCK  ADVISORY  WRITE 4711 08:01:{inode} 0 EOF\n")
    assert flush_runs(str(lock), str(locks)) is True


@pytest.mark.parametrize(
    ("free_bytes", "free_files", "verdict"),
    [
        (100, 10**6, Verdict.OK), (100, None, Verdict.OK), (99, 10**6, Verdict.WARN), (49, 10**6, Verdict.FAIL),
        (100, 9_999, Verdict.WARN), (100, 100, Verdict.WARN), (100, 99, Verdict.FAIL), (100, 0, Verdict.FAIL),
    ],
)  # fmt: skip
def test_space_is_judged_by_bytes_and_by_files(free_bytes: int, free_files: int | None, verdict: Verdict) -> None:
    assert judge_space(Disk(free_bytes, free_files), "/spool", 50).verdict is verdict


@pytest.mark.parametrize(
    ("age_s", "verdict"),
    [(0, Verdict.OK), (3600, Verdict.OK), (3601, Verdict.WARN), (86400, Verdict.WARN), (86401, Verdict.FAIL)],
)
def test_the_oldest_message_decides(age_s: float, verdict: Verdict) -> None:
    assert judge_queue(Counts(waiting=1, oldest_accepted_at=NOW - age_s), NOW).verdict is verdict


def test_mail_that_a_person_holds_is_let_go_by_a_person() -> None:
    found = judge_queue(Counts(held=2, oldest_accepted_at=NOW - 7200), NOW)
    assert (found.detail, found.remedy) == (
        "2 held by a person; the oldest was accepted 2 h ago",
        "`ucrmmail queue release --all` lets them go",
    )


def test_an_age_is_told_in_its_largest_unit() -> None:
    assert [told_age(s) for s in (-5, 5, 65, 7200, 200000)] == ["0 s", "5 s", "1 min", "2 h", "2 d"]


@pytest.mark.parametrize(
    ("signs", "verdict"),
    [
        (ClockSigns(True, in_container=False, newest=None), Verdict.OK),
        (ClockSigns(False, in_container=False, newest=None), Verdict.WARN),
        (ClockSigns(False, in_container=True, newest=None), Verdict.UNKNOWN),
        (ClockSigns(None, in_container=False, newest=None), Verdict.UNKNOWN),
        (ClockSigns(True, in_container=True, newest=("/f", NOW + 59)), Verdict.OK),
        (ClockSigns(True, in_container=True, newest=("/f", NOW + 61)), Verdict.FAIL),
    ],
)
def test_the_clock_is_judged_by_the_kernel_and_by_our_files(signs: ClockSigns, verdict: Verdict) -> None:
    assert judge_clock(signs, NOW).verdict is verdict


def test_the_newest_file_counts_and_missing_ones_do_not(tmp_path: Path) -> None:
    for name, at in (("old", 1000), ("new", 2000)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (at, at))
    signs = look_at_clock([f"{tmp_path}/{name}" for name in ("old", "new", "missing")])
    assert signs.newest == (f"{tmp_path}/new", 2000.0)
    assert look_at_clock([]).newest is None


def test_a_python_without_security_fixes_is_a_warning() -> None:
    assert judge_python((3, 11, 7), 1825027199).verdict is Verdict.OK
    found = judge_python((3, 11, 7), 1825027200)
    assert (found.verdict, found.detail) == (
        Verdict.WARN,
        "Python 3.11.7 has had no security fixes since 2027-11-01",
    )
    assert judge_python((3, 99, 0), 4e9).verdict is Verdict.OK


def test_a_tls_library_is_judged_by_its_age_and_its_authorities(tmp_path: Path) -> None:
    new, old = (3, 0, 2), (1, 1, 1)
    assert judge_tls(TlsLibrary("OpenSSL 3", new, authorities=True), "").verdict is Verdict.OK
    assert judge_tls(TlsLibrary("OpenSSL 3", new, authorities=False), "").verdict is Verdict.FAIL
    assert judge_tls(TlsLibrary("OpenSSL 3", new, authorities=False), "/ca.pem").verdict is Verdict.OK
    assert judge_tls(TlsLibrary("OpenSSL 1.1.1", old, authorities=True), "").verdict is Verdict.WARN
    nothing = {"SSL_CERT_FILE": f"{tmp_path}/no", "SSL_CERT_DIR": str(tmp_path)}
    assert look_at_tls(nothing).authorities is False
    (tmp_path / "ca.pem").write_text("x")
    assert look_at_tls(nothing).authorities is True
