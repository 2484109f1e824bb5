"""A real Secret Service in a private session: dbus-daemon and gnome-keyring-daemon, both ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

# No service directories: what is not started here is not there, and no prompter comes up on anybody's screen.
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
PASSWORD = b"unlock"


@dataclass(slots=True)
class SecretService:
    """The session's environment, and its keyring daemon. ``directory`` is the runtime directory, with the bus."""

    directory: Path
    env: dict[str, str]
    daemon: subprocess.Popen[bytes]
    bus: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return self.env["DBUS_SESSION_BUS_ADDRESS"]

    def freeze(self) -> None:
        """Stop the daemon's processor time: it holds the bus name and answers nothing."""
        os.kill(self.daemon.pid, signal.SIGSTOP)

    def hang_up(self) -> None:
        """End the bus: whoever waits for an answer gets none."""
        _end(self.bus)

    def lock(self) -> None:
        """Lock the collection, as a desktop does when its user is away."""
        import secretstorage
        from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped] # it has no types

        with closing(open_dbus_connection(bus=self.address)) as bus:
            secretstorage.Collection(bus).lock()

    def restart(self, password: bytes = b"") -> None:
        """Start the daemon anew, as after a reboot; without a password nobody unlocks it."""
        _end(self.daemon)
        self.daemon = _start_daemon(self.directory, self.env, password)


@contextmanager
def secret_service(directory: Path, password: bytes = PASSWORD) -> Iterator[SecretService]:
    """Run a Secret Service below ``directory``; unlocked, unless the password is empty."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = directory / "bus.conf"
    config.write_text(_BUS.format(path=directory / "bus"))
    session = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={directory}/bus",
        "XDG_RUNTIME_DIR": str(directory),
    }
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address=1"],
        env={"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert bus.stdout is not None
        bus.stdout.readline()
        service = SecretService(directory, session, _start_daemon(directory, session, password), bus)
        try:
            yield service
        finally:
            _end(service.daemon)
    finally:
        _end(bus)


def _start_daemon(directory: Path, session: dict[str, str], password: bytes) -> subprocess.Popen[bytes]:
    daemon = subprocess.Popen(
        ["gnome-keyring-daemon", "--foreground", "--components=secrets", *(["--unlock"] if password else [])],
        env={"HOME": str(directory), "XDG_DATA_HOME": str(directory / "data"), "PATH": "/usr/bin:/bin", **session},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    daemon.stdin.write(password)
    daemon.stdin.close()
    # It says where its control socket is once it serves.
    daemon.stdout.readline()
    return daemon


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
