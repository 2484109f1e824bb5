"""The version and its date, as the newest entry of CHANGELOG.md has them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]

_ENTRY = re.compile(r"^## (\S+) \((\d{4}-\d{2}-\d{2})\)$", re.MULTILINE)


def newest_release() -> tuple[str, date]:
    """Return version and date. Raises ValueError when the changelog has no entry such as ``## 1.2.0 (2026-11-23)``."""
    found = _ENTRY.search((ROOT / "CHANGELOG.md").read_text())
    if found is None:
        raise ValueError("CHANGELOG.md has no entry with a version and a date")
    return found[1], date.fromisoformat(found[2])
