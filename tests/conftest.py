"""What every test stands on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Give the tested programs a Ctrl-C: a shell that starts the suite with ``&`` has it ignored, and all inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
