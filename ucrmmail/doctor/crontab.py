"""Lines of crontab(5) that run the flush, and how often they do.

MAILTO=admin@isp.example
* * * * *  ucrmmail flush --time-limit 50s          a user's own table
*/5 * * * *  root  ucrmmail flush                   /etc/crontab and /etc/cron.d have the user before the command
"""

from __future__ import annotations

import re

from ucrmmail.doctor.job import CRON_PATH, Job, find_flush

_DAY_MIN = 1440
_SETTING = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*\Z")
_NICKNAMES = {
    "@hourly": 3600.0,
    "@daily": 86400.0,
    "@midnight": 86400.0,
    "@weekly": 7 * 86400.0,
    "@monthly": 31 * 86400.0,
    "@yearly": 366 * 86400.0,
    "@annually": 366 * 86400.0,
}
_END_OF_COMMAND = re.compile(r"(?<!\\)%")


def jobs_in_crontab(text: str, place: str, user: str = "") -> tuple[Job, ...]:
    """Return the jobs in a table. Without a ``user`` it is one of the system, whose lines name theirs."""
    jobs = []
    settings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        setting = _SETTING.fullmatch(line)
        if setting:
            settings[setting[1]] = setting[2].strip("'\"")
            continue
        job = _job(line, f"{place}, line {number}", user, settings)
        if job is not None:
            jobs.append(job)
    return tuple(jobs)


def _job(line: str, place: str, user: str, settings: dict[str, str]) -> Job | None:
    nickname = line.lstrip().startswith("@")
    before = (1 if nickname else 5) + (0 if user else 1)
    words = line.split(None, before)
    if len(words) <= before:
        return None
    call = find_flush(_END_OF_COMMAND.split(words[-1])[0].replace("\\%", "%"))
    if call is None:
        return None
    once = words[0] == "@reboot"
    return Job(
        place=place,
        user=user or words[before - 1],
        program=call.program,
        search_path=settings.get("PATH", CRON_PATH),
        config=call.config or settings.get("UCRMMAIL_CONFIG", ""),
        gap_s=_NICKNAMES.get(words[0]) if nickname else longest_gap_s(words[:5]),
        off="it runs once, when the machine starts" if once else "",
    )


def longest_gap_s(fields: list[str]) -> float | None:
    """Return the longest time between two runs, in seconds; None when a field is not understood."""
    minutes, hours = _values(fields[0], 59), _values(fields[1], 23)
    if not minutes or not hours:
        return None
    times = sorted(60 * hour + minute for hour in hours for minute in minutes)
    gap_min = max(later - earlier for earlier, later in zip(times, [*times[1:], times[0] + _DAY_MIN], strict=True))
    # Not on every day: the gap is a day at the least, and how many need not be known.
    every_day = all(field.startswith("*") for field in fields[2:5])
    return 60.0 * (gap_min if every_day else max(gap_min, _DAY_MIN))


def _values(field: str, last: int) -> set[int]:
    """Return what a field of minutes or hours stands for; nothing when it is not understood."""
    found: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
        if match is None:
            return set()
        step = int(match[4] or 1)
        first = int(match[2] or 0)
        end = last if match[1] == "*" or (match[4] and not match[3]) else int(match[3] or first)
        if step == 0 or end > last:
            return set()
        found |= set(range(first, end + 1, step))
    return found
