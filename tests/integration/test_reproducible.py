"""Two builds of the wheel are the same bytes, wherever and from whichever file times they are made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("ucrmmail", "man", "completions", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")


def wheel(source: Path, modified_at: int) -> bytes:
    """The wheel of a copy of this tree in ``source``, whose files all carry one time."""
    source.mkdir(parents=True)
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    for path in source.rglob("*"):
        os.utime(path, (modified_at, modified_at))
    target = source.parent / "dist"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(source)]
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})
    (built,) = target.glob("*.whl")
    return built.read_bytes()


def test_two_builds_from_different_directories_are_the_same_bytes(tmp_path: Path) -> None:
    first = wheel(tmp_path / "a" / "ucrmmail", 1_600_000_000)
    assert wheel(tmp_path / "elsewhere" / "deeper" / "checkout", 1_650_000_000) == first
