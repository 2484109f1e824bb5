"""The machine: whether its clock can be believed, and whether Python and its TLS library are still looked after.

A clock is not compared with a server on the network: its time would be as foreign as the mail. The kernel knows whether
something keeps the clock right (adjtimex(2)), and files that were written here tell when it was set back.
"""

from __future__ import annotations

import ctypes
import os
import ssl
import sys
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.dataclass import dataclass
from ucrmmail.doctor.check import Check, Verdict
from ucrmmail.doctor.spool import told_age

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SYNCHRONIZED = "/run/systemd/timesync/synchronized"
# Where container engines leave their mark.
_CONTAINER_MARKS = ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")
# Files of a network file system may be dated by its server.
_AHEAD_S = 60.0
_STA_UNSYNC = 0x0040
# https://devguide.python.org/versions: the first day without security fixes (seconds since the epoch).
_PYTHON_ENDS = {(3, 11): 1825027200, (3, 12): 1856649600, (3, 13): 1888185600, (3, 14): 1919721600}


@dataclass(frozen=True, slots=True)
class ClockSigns:
    """What tells about the clock: ``synchronized`` by the kernel's word (None: it does not say), and the newest file.

    ``in_container`` means that the clock is the host's to keep. ``newest`` is (path, time), of files written here.
    """

    synchronized: bool | None
    in_container: bool
    newest: tuple[str, float] | None


def look_at_clock(paths: Iterable[str]) -> ClockSigns:
    """Return the signs; ``paths`` are files that were written on this machine, of which some may be missing."""
    times = []
    for path in paths:
        try:
            times.append((path, os.stat(path).st_mtime))
        except OSError:
            continue
    synchronized = True if os.path.exists(_SYNCHRONIZED) else _kernel_says()
    in_container = any(map(os.path.exists, _CONTAINER_MARKS))
    return ClockSigns(synchronized, in_container, max(times, key=lambda found: found[1], default=None))


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the kernel fills more than is read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def _kernel_says() -> bool | None:
    """Return whether the kernel was told that the clock is right: chrony, ntpd and timesyncd all do."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    timex = _Timex()
    # modes 0 only asks, so that no privilege is needed; a sandbox may forbid it all the same.
    if adjtimex is None or adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _STA_UNSYNC


def judge_clock(signs: ClockSigns, now: float) -> Check:
    """Judge the clock: times of mail, limits and certificates all rest on it."""
    facts = {"synchronized": signs.synchronized}
    remedy = "`timedatectl set-ntp true`, or `apt install systemd-timesyncd`"
    if signs.newest is not None and signs.newest[1] - now > _AHEAD_S:
        path, at = signs.newest
        detail = f"was set back: {path} was written at {rfc3339(at)}, {told_age(at - now)} ahead of now"
        return Check("clock", Verdict.FAIL, detail, f"see `date`; then {remedy}", facts=facts)
    if signs.synchronized:
        return Check("clock", Verdict.OK, "kept right by the network (NTP)", facts=facts)
    if signs.synchronized is None:
        return Check("clock", Verdict.UNKNOWN, "the kernel does not say whether it is right", facts=facts)
    if signs.in_container:
        detail = "not kept right by this system; in a container that is the host's to do"
        return Check("clock", Verdict.UNKNOWN, detail, facts=facts)
    return Check("clock", Verdict.WARN, "nothing keeps it right: the kernel knows of no NTP", remedy, facts=facts)


def judge_python(version: tuple[int, int, int], now: float) -> Check:
    """Judge the version of Python: whether it still gets security fixes."""
    told = ".".join(map(str, version))
    facts = {"version": told}
    ends = _PYTHON_ENDS.get(version[:2])
    if ends is not None and now >= ends:
        detail = f"Python {told} has had no security fixes since {rfc3339(ends)[:10]}"
        return Check("python", Verdict.WARN, detail, "install ucrmmail with a newer Python", facts=facts)
    return Check("python", Verdict.OK, f"Python {told} in {sys.prefix}", facts=facts)


@dataclass(frozen=True, slots=True)
class TlsLibrary:
    """The TLS library: its ``name`` with version, that as numbers, and whether there are authorities it would trust."""

    name: str
    version: tuple[int, int, int]
    authorities: bool


def look_at_tls(environ: Mapping[str, str]) -> TlsLibrary:
    """Return the library that this Python is linked with, and whether the system's authorities are there."""
    paths = ssl.get_default_verify_paths()
    file = environ.get(paths.openssl_cafile_env) or paths.openssl_cafile
    directory = environ.get(paths.openssl_capath_env) or paths.openssl_capath
    return TlsLibrary(ssl.OPENSSL_VERSION, ssl.OPENSSL_VERSION_INFO[:3], _has_content(file) or _has_content(directory))


def _has_content(path: str) -> bool:
    try:
        return bool(os.listdir(path)) if os.path.isdir(path) else os.stat(path).st_size > 0
    except OSError:
        return False


def judge_tls(library: TlsLibrary, ca_file: str) -> Check:
    """Judge the library, and whether any certificate can be trusted; ``ca_file`` is that of smtp.ca_file or ""."""
    facts = {"library": library.name}
    if not library.authorities and not ca_file:
        detail = f"{library.name}; no certificate authorities are installed, so no server is trusted"
        return Check("tls", Verdict.FAIL, detail, "`apt install ca-certificates`", facts=facts)
    if library.version < (3, 0, 0):
        detail = f"{library.name} gets no security fixes any more"
        return Check("tls", Verdict.WARN, detail, "install ucrmmail with a Python that uses OpenSSL 3", facts=facts)
    return Check("tls", Verdict.OK, library.name, facts=facts)
