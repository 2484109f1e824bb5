"""``python -m tools.docs``: write man/ and completions/ anew."""

from __future__ import annotations

from tools.docs.pages import pages
from tools.docs.release import ROOT


def main() -> None:
    """Write every file, and remove pages of commands that are gone."""
    made = {f"man/{name}": text for name, text in pages().items()}
    for old in (ROOT / "man").glob("*.[1-8]"):
        if f"man/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        (ROOT / name).write_text(text)


main()
