"""What the last flush left behind for ``status``, ``doctor`` and the next flush."""

from __future__ import annotations

import os
from typing import Any

from ucrmmail.clock import rfc3339
from ucrmmail.config.location import LAST_FLUSH
from ucrmmail.files import DistrustError, open_untrusted, read_all
from ucrmmail.jsontext import read_json

_LARGEST_FILE = 1 << 17
_DOUBTFUL = "doubtful"


def last_flush(directory: str) -> dict[str, Any] | None:
    """Return what the last run left, and when it was; None when there was none.

    One with nothing to do leaves only its time: ``ended_at`` is when the one ended that has left the rest.
    """
    fields, looked_at = _read(directory)
    if not fields:
        return None
    at = rfc3339(looked_at)
    ended_at = fields.get("ended_at")
    if not isinstance(ended_at, str):
        ended_at = at
    # A file system may keep whole seconds.
    last = {"at": max(at, ended_at)} | {name: fields[name] for name in fields if name != _DOUBTFUL}
    return last | {"ended_at": ended_at}


def doubtful_in(directory: str) -> list[str]:
    """Return the ids of messages that earlier runs left in doubt and that still are: they may be delivered twice."""
    found = _read(directory)[0].get(_DOUBTFUL)
    return [each for each in found if _still(directory, each)] if isinstance(found, list) else []


def _still(directory: str, queue_id: object) -> bool:
    """Return whether it is still in doubt; one that cannot be looked at now is."""
    from ucrmmail.spool.listing import is_doubtful

    try:
        return is_doubtful(directory, queue_id)
    except OSError:
        return True


def _read(directory: str) -> tuple[dict[str, Any], float]:
    """Return what is in the file and when it was written; nothing when it cannot be read: no mail depends on it."""
    try:
        with open(open_untrusted(f"{directory}/{LAST_FLUSH}", owner=os.geteuid()), "rb") as file:
            fields = read_json(read_all(file.fileno(), _LARGEST_FILE))
            return (fields if _is_note(fields) else {}), os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError, DistrustError):
        return {}, 0.0


def _is_note(found: object) -> bool:
    """Return whether it is what a run leaves: texts and numbers, and the list of what is in doubt."""
    return isinstance(found, dict) and not any(
        isinstance(value, (dict, list)) for name, value in found.items() if name != _DOUBTFUL
    )
