"""Timers of systemd that run the flush, read from their unit files (systemd.unit(5)), so that it works without a bus.

ucrmmail.service    [Service] ExecStart=/usr/bin/ucrmmail flush --time-limit 50s
ucrmmail.timer      [Timer] OnCalendar=minutely
timers.target.wants/ucrmmail.timer    it is switched on
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.doctor.job import Job, find_flush

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LARGEST = 1 << 16
# systemd's own PATH for services.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CALENDAR = {
    "minutely": 60.0,
    "*:*": 60.0,
    "*-*-* *:*:00": 60.0,
    "hourly": 3600.0,
    "daily": 86400.0,
    "weekly": 7 * 86400.0,
}
_EVERY_MINUTES = re.compile(r"(?:\*-\*-\* )?\*:(?:00?|\*)/(\d+)(?::00)?")
_SPAN = re.compile(r"(\d+)\s*(s|sec|seconds?|m|min|minutes?|h|hr|hours?)?")


@dataclass(frozen=True, slots=True)
class Manager:
    """One of systemd's two kinds: the system's, whose services run as root by default, or the user's own.

    ``directories`` hold unit files, the first goes before the others.
    """

    directories: tuple[str, ...]
    user: str
    of_user: bool


def jobs_in_units(manager: Manager) -> tuple[Job, ...]:
    """Return the jobs in the unit files of a manager, those that are switched off too."""
    jobs = []
    units = _units(manager.directories)
    timers = {name: path for name, path in units.items() if name.endswith(".timer")}
    enabled = _enabled(manager.directories)
    for name, path in units.items():
        if not name.endswith(".service"):
            continue
        service = _read(path)
        call = next(
            (found for line in service.get("execstart", []) if (found := find_flush(line.lstrip("@-:+!")))), None
        )
        if call is None:
            continue
        own = f"{name.removesuffix('.service')}.timer"
        timer = next(
            (
                each
                for each, at in timers.items()
                if _read(at).get("unit", [own if each == own else ""])[-1] in (name, own)
            ),
            "",
        )
        jobs.append(
            Job(
                place=timer or name,
                user=service.get("user", [manager.user])[-1],
                program=call.program,
                search_path=_variable(service, "PATH") or _PATH,
                config=call.config or _variable(service, "UCRMMAIL_CONFIG"),
                gap_s=_gap_s(_read(timers[timer])) if timer else None,
                by_cron=False,
                off=_off(name, timer, enabled),
                remedy=_remedy(manager, timer),
            )
        )
    return tuple(jobs)


def _off(service: str, timer: str, enabled: set[str]) -> str:
    if not timer:
        return f"no timer starts {service}"
    return "" if timer in enabled else f"{timer} is not enabled"


def _remedy(manager: Manager, timer: str) -> str:
    user = "--user " if manager.of_user else ""
    if not timer:
        return "make a timer for it with OnCalendar=minutely, see `man 7 ucrmmail`"
    return f"`systemctl {user}daemon-reload && systemctl {user}enable --now {timer}`"


def _units(directories: Sequence[str]) -> dict[str, str]:
    """Return the services and timers by name, each from the first directory that has it."""
    found: dict[str, str] = {}
    for directory in directories:
        for name in _listed(directory):
            if name.endswith((".service", ".timer")):
                found.setdefault(name, f"{directory}/{name}")
    return found


def _enabled(directories: Iterable[str]) -> set[str]:
    """Return the units that another one wants."""
    wants = (f"{directory}/{name}" for directory in directories for name in _listed(directory))
    return {unit for path in wants if path.endswith((".wants", ".requires")) for unit in _listed(path)}


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(path: str) -> dict[str, list[str]]:
    """Return the values in a unit file by key, in lower case; an empty one resets what was before."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(_LARGEST)
    except OSError:
        return {}
    values: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        key, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith(("#", ";")):
            continue
        key = key.strip().lower()
        values[key] = [*values.get(key, []), value.strip()] if value.strip() else []
    return {key: found for key, found in values.items() if found}


def _variable(service: dict[str, list[str]], name: str) -> str:
    found = re.findall(rf'(?:^|[\s"]){name}=([^\s"]*)', "\n".join(service.get("environment", [])))
    return found[-1] if found else ""


def _gap_s(timer: dict[str, list[str]]) -> float | None:
    """Return the time between two runs; None when it is written in a way that is not understood."""
    gaps = []
    for calendar in timer.get("oncalendar", []):
        every = _EVERY_MINUTES.fullmatch(calendar)
        gaps.append(60.0 * int(every[1]) if every else _CALENDAR.get(calendar))
    for span in (*timer.get("onunitactivesec", []), *timer.get("onunitinactivesec", [])):
        match = _SPAN.fullmatch(span)
        gaps.append(int(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[(match[2] or "s")[0]] if match else None)
    known = [gap for gap in gaps if gap is not None]
    return min(known, default=None)
