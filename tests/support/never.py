"""How long something waits that must not be waited for: the time limit of the test (pytest-timeout) comes first."""

from __future__ import annotations

NEVER_S = 3600.0
