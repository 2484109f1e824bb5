"""Whether something runs the flush: the jobs of cron and systemd that say so, and the last run that proves it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.dataclass import dataclass
from ucrmmail.doctor.check import Check, Verdict
from ucrmmail.doctor.crontab import jobs_in_crontab
from ucrmmail.doctor.spool import told_age
from ucrmmail.doctor.units import Manager, jobs_in_units
from ucrmmail.units import format_duration

if TYPE_CHECKING:
    from ucrmmail.doctor.job import Job

# cron may be late, a run may take its time: three times are missed before it counts.
_MISSED = 3
_PATIENCE_S = 600.0
_SELDOM_S = 3600.0
_SYSTEM_TABLES = ("/etc/crontab",)
_SYSTEM_TABLE_DIRECTORY = "/etc/cron.d"
_SYSTEM_UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER_UNITS = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
_LINGER = "/var/lib/systemd/linger"
_CRON_DAEMONS = ("cron", "crond", "fcron", "dcron", "mcron", "bcron-sched")
_SYSTEMD_CRON = "/usr/lib/systemd/system-generators/systemd-crontab-generator"
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose flush is looked for: the ``user``, and the ``config`` that it reads.

    ``default_config`` is what a job reads that names none; ``line`` is the line of a crontab that runs it.
    """

    user: str
    config: str
    default_config: str
    line: str

    @property
    def remedy(self) -> str:
        """What puts the line into the user's crontab."""
        quoted = self.line.replace("'", "'\\''")
        return f"(crontab -l 2>/dev/null; echo '{quoted}') | crontab -"


@dataclass(frozen=True, slots=True)
class LastFlush:
    """When the last flush ended (s since the epoch; None: there was none), its exit code, and whether one runs now."""

    at: float | None
    exit_code: int = 0
    running: bool = False


def jobs_of_system(root: str = "") -> tuple[Job, ...]:
    """Return the jobs in the tables and units of the system; ``root`` is put before every path."""
    jobs: list[Job] = []
    directory = f"{root}{_SYSTEM_TABLE_DIRECTORY}"
    try:
        # cron itself passes over names with a dot, such as a package manager's leftovers.
        names = sorted(name for name in os.listdir(directory) if "." not in name)
    except OSError:
        names = []
    for path in (*(f"{root}{table}" for table in _SYSTEM_TABLES), *(f"{directory}/{name}" for name in names)):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                jobs += jobs_in_crontab(file.read(_LARGEST), path.removeprefix(root))
        except OSError:
            continue
    return (*jobs, *jobs_in_units(Manager(tuple(f"{root}{path}" for path in _SYSTEM_UNITS), "root", of_user=False)))


def jobs_of_user(user: str, config_home: str, crontab: str, root: str = "") -> tuple[Job, ...]:
    """Return the jobs of one user: ``crontab`` is what ``crontab -l`` prints, ``config_home`` where their units are."""
    manager = Manager((f"{config_home}/systemd/user", *(f"{root}{path}" for path in _USER_UNITS)), user, of_user=True)
    return (*jobs_in_crontab(crontab, f"the crontab of {user}", user), *_lingering(jobs_in_units(manager), user, root))


def _lingering(jobs: tuple[Job, ...], user: str, root: str) -> tuple[Job, ...]:
    """Return the jobs; those of a user who does not linger stop when that user logs out."""
    from ucrmmail.dataclass import replace  # noqa: PLC0415 # only where a user's unit was found

    if user == "root" or os.path.exists(f"{root}{_LINGER}/{user}"):
        return jobs
    why = f"it stops when {user} logs out, since {user} does not linger"
    return tuple(job if job.off else replace(job, off=why, remedy=f"`loginctl enable-linger {user}`") for job in jobs)


def cron_runs(root: str = "") -> bool | None:
    """Return whether a cron daemon is running; None when the processes of others cannot be seen (hidepid, proc(5))."""
    if os.path.exists(f"{root}{_SYSTEMD_CRON}"):
        # It makes timers of all tables when the machine starts, and no process of its own is there afterwards.
        return True
    for process in os.listdir(f"{root}/proc"):
        if not process.isdigit():
            continue
        try:
            with open(f"{root}/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
                if file.read().strip() in _CRON_DAEMONS:
                    return True
        except OSError:
            continue
    return False if os.path.exists(f"{root}/proc/1") else None


def flush_runs(lock: str, locks: str = "/proc/locks") -> bool:
    """Return whether a flush holds its lock now. The lock itself is not touched: that could keep a flush from starting.

    1: FLOCK  ADVISORY  WRITE 4711 08:01:131337 0 EOF
    """
    try:
        inode = str(os.stat(lock).st_ino)
        with open(locks, encoding="utf-8", errors="replace") as file:
            held = [line.split() for line in file.read(_LARGEST).splitlines()]
    except OSError:
        return False
    return any("FLOCK" in words and words[-3].rpartition(":")[2] == inode for words in held if len(words) >= 8)


def judge_schedule(
    jobs: tuple[Job, ...], whose: Whose, last: LastFlush, now: float, *, cron_running: bool | None
) -> Check:
    """Judge whether a job runs this user's flush with this configuration, and can."""
    facts: dict[str, object] = {"jobs": [job.place for job in jobs]}
    recent = last.running or (last.at is not None and now - last.at < _PATIENCE_S)

    def fail(detail: str, remedy: str) -> Check:
        return Check("schedule", Verdict.FAIL, detail, remedy, facts=facts)

    if not jobs:
        if recent:
            detail = "no cron entry or timer was found, but a flush ran a short while ago: by hand, or by a script"
            return Check("schedule", Verdict.UNKNOWN, detail, facts=facts)
        return fail("no cron entry and no timer runs `ucrmmail flush`", whose.remedy)
    own = [job for job in jobs if job.user == whose.user]
    if not own:
        return fail(f"{jobs[0].place} runs as {jobs[0].user}, and this queue belongs to {whose.user}", whose.remedy)
    meant = [
        job for job in own if os.path.realpath(job.config or whose.default_config) == os.path.realpath(whose.config)
    ]
    if not meant:
        reads = own[0].config or whose.default_config
        return fail(f"{own[0].place} reads {reads}, not {whose.config}", whose.remedy)
    troubles = [(job, job.off or job.problem()) for job in meant]
    works = [job for job, trouble in troubles if not trouble]
    if not works:
        job, trouble = troubles[0]
        if job.off:
            return fail(f"{job.place}: {trouble}", job.remedy or whose.remedy)
        return fail(f"{job.place}: {trouble}", f"write the whole path there: `{whose.line}`")
    best = min(works, key=lambda job: job.gap_s if job.gap_s is not None else _SELDOM_S)
    facts["gap_s"] = best.gap_s
    if best.by_cron and cron_running is False and not recent:
        return fail(f"{best.place}, but no cron is running", "`systemctl enable --now cron`, or `service cron start`")
    often = f", every {format_duration(best.gap_s)}" if best.gap_s is not None else ""
    if best.gap_s is not None and best.gap_s >= _SELDOM_S:
        detail = f"{best.place}{often}: mail waits so long"
        return Check("schedule", Verdict.WARN, detail, f"run it each minute: `{whose.line}`", facts=facts)
    return Check("schedule", Verdict.OK, f"{best.place}{often}", facts=facts)


def judge_flush(last: LastFlush, gap_s: float | None, waiting: int, now: float) -> Check:
    """Judge when the flush last ran; ``gap_s`` is the time between two runs by the schedule, None when not known."""
    waits = f", and {waiting} wait" if waiting else ""
    facts = {"at": rfc3339(last.at) if last.at is not None else None, "exit_code": last.exit_code}
    if last.running:
        return Check("flush", Verdict.OK, f"one is running now{waits}", facts=facts)
    if last.at is None:
        detail = f"it has never run{waits}"
        return Check("flush", Verdict.FAIL if waiting else Verdict.WARN, detail, "`ucrmmail flush -v`", facts=facts)
    age_s = now - last.at
    allowed_s = max(_PATIENCE_S, _MISSED * (gap_s or 0.0))
    if age_s > allowed_s:
        detail = f"the last run was {told_age(age_s)} ago{waits}; it should be {format_duration(allowed_s)} at the most"
        return Check("flush", Verdict.FAIL, detail, "`ucrmmail flush -v` shows what it does", facts=facts)
    if last.exit_code:
        detail = f"the last run, {told_age(age_s)} ago, ended with exit code {last.exit_code}"
        return Check("flush", Verdict.WARN, detail, "`ucrmmail status` says why", facts=facts)
    return Check("flush", Verdict.OK, f"the last run was {told_age(age_s)} ago", facts=facts)
