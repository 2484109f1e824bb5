"""A real Secret Service in a private session: dbus-daemon and gnome-keyring-daemon, both ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SecretService:
    """The session's environment, and its keyring daemon."""

    env: dict[str, str]
    daemon: subprocess.Popen[bytes]

    def freeze(self) -> None:
        """Stop the daemon's processor time: it holds the bus name and answers nothing."""
        os.kill(self.daemon.pid, signal.SIGSTOP)


@contextmanager
def secret_service(directory: Path) -> Iterator[SecretService]:
    """Run an unlocked Secret Service below ``directory``."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    env = {
        "HOME": str(directory),
        "XDG_DATA_HOME": str(directory / "data"),
        "XDG_RUNTIME_DIR": str(directory),
        "PATH": "/usr/bin:/bin",
    }
    address = f"unix:path={directory}/bus"
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}", "--print-address=1"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert bus.stdout is not None
    bus.stdout.readline()
    session = {"DBUS_SESSION_BUS_ADDRESS": address, "XDG_RUNTIME_DIR": str(directory)}
    daemon = subprocess.Popen(
        ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
        env={**env, **session},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    daemon.stdin.write(b"unlock")
    daemon.stdin.close()
    daemon.stdout.readline()
    try:
        yield SecretService(session, daemon)
    finally:
        for process in (daemon, bus):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
