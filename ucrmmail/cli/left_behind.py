"""Mail in a queue that the configuration names no more: no run looks there, and nothing else would tell."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ucrmmail.errors import UcrmmailError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.config.location import Location

_KEY = "spool.directory"


@contextmanager
def remarking_mail_left_behind(location: Location, key: str = _KEY) -> Iterator[None]:
    """Say behind a change, of this key alone, that mail waits in the queue as it was before, and how it gets sent."""
    before = _queue_of(location) if key == _KEY else ""
    yield
    now = _queue_of(location) if before else ""
    if now and now != before and not _is_same(before, now):
        _remark_mail_in(before, now)


def _queue_of(location: Location) -> str:
    """Return where the queue is by the file as it stands, "" when that cannot be read."""
    from ucrmmail.config.submission import read_submission_settings

    try:
        directory = read_submission_settings(location.path, os.environ, location.euid).spool_directory
    except (UcrmmailError, OSError):
        return ""
    return directory.rstrip("/")


def _is_same(before: str, now: str) -> bool:
    """Return whether two names lead to one queue, such as one that goes over a link."""
    try:
        return os.path.samefile(before, now)
    except OSError:
        return False


def _remark_mail_in(before: str, now: str) -> None:
    from ucrmmail.spool.intake import count_drops
    from ucrmmail.spool.listing import counts

    try:
        found = counts(before)
        left = found.waiting + found.deferred + found.held + count_drops(before)
    except (UcrmmailError, OSError):
        return
    if left:
        how = (
            f"`{shlex.join(['mv', before, now])}` takes it along, while no run is at work and before a message is "
            "submitted"
        )
        if os.path.lexists(now):
            how = f"`{shlex.join(['ucrmmail', 'config', 'set', _KEY, before])}` lets it be sent first"
        human.note(f"warning: mail is queued in {before} ({left}), and no run looks there any more; {how}")
