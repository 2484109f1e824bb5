"""What each run finds again, such as a disk that takes no drops, is told once an hour: cron mails what a run prints.

That it was told is an empty file in the spool, for which a full disk has room too:

    told-8f2c1a07      its name says which lines, its time when
"""

from __future__ import annotations

import os
import re
import zlib
from typing import TYPE_CHECKING

from ucrmmail.delivery.account import TOLD_AGAIN_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Collection

_PREFIX = "told-"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def were_told(directory: str, lines: Collection[str], *, now: float) -> bool:
    """Return whether a person was told these in the last hour; with other figures they are the same."""
    try:
        return _is_fresh(f"{directory}/{_mark_of(lines)}", now)
    except OSError:
        return False


def _is_fresh(path: str, now: float) -> bool:
    return 0.0 <= now - os.lstat(path).st_mtime < TOLD_AGAIN_AFTER_S


def remember(directory: str, lines: Collection[str], *, now: float) -> None:
    """Keep that a person was told these for an hour; without any, all is mended. Raises OSError.

    What was told before holds on beside them: each run may meet another part of what a full disk does.
    """
    for name in os.listdir(directory):
        if name.startswith(_PREFIX) and not (lines and _is_fresh(f"{directory}/{name}", now)):
            os.unlink(f"{directory}/{name}")
    if lines:
        mark = _mark_of(lines)
        os.close(os.open(f"{directory}/{mark}", _FLAGS, 0o600))
        # By our clock, not by that of a file server.
        os.utime(f"{directory}/{mark}", (now, now), follow_symlinks=False)


def _mark_of(lines: Collection[str]) -> str:
    # Of several connections, each may say the same with figures of its own.
    told = "\n".join(sorted({re.sub(r"[0-9.]+", "#", line) for line in lines}))
    return f"{_PREFIX}{zlib.crc32(told.encode('utf-8', 'backslashreplace')):08x}"
