"""When a file that another program writes is complete: nobody writes to it, and nobody did a moment ago.

A read lease (Linux, fcntl(2)) is refused while anyone has the file open for writing: this is the only way to know. It
is given only for one's own files, or to root; for the files of others there is no more than a longer silence.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

# A program may write, close, and open again to add a line.
QUIET_S = 0.25
QUIET_WITHOUT_LEASE_S = 5.0
# Whoever has had a file open for so long without a byte has forgotten it, or hangs.
FORGOTTEN_S = 600.0
# A change in the future shows that the clock was set back.
_AHEAD_S = 5.0


def quiet_in(fd: int, now: float) -> float:
    """Return in how many seconds the file may be complete if nobody touches it meanwhile; 0.0 when it is now."""
    # The time of the last change of any kind, which no program can set.
    silence_s = now - os.fstat(fd).st_ctime
    being_written = _is_being_written(fd)
    if silence_s < -_AHEAD_S:
        return FORGOTTEN_S if being_written else 0.0
    if being_written is None:
        return max(0.0, QUIET_WITHOUT_LEASE_S - silence_s)
    if being_written:
        return max(0.0, FORGOTTEN_S - silence_s)
    return max(0.0, QUIET_S - silence_s)


def _is_being_written(fd: int) -> bool | None:
    """Return whether anyone has the file open for writing; None when this cannot be known."""
    try:
        # Whoever opens it for writing meanwhile breaks the lease, of which we are told by a signal. The usual one,
        # SIGIO, would end this process; SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
