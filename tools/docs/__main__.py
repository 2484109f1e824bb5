"""``python -m tools.docs``: write man/, completions/, docs/reference/ and docs/pictures/ anew."""

from __future__ import annotations

from tools.docs.completions import completions
from tools.docs.pages import pages
from tools.docs.pictures import write_pictures
from tools.docs.reference import reference
from tools.docs.release import ROOT


def main() -> None:
    """Write every file, and remove the pages of commands that are gone."""
    made = {ROOT / "man" / name: text for name, text in pages().items()}
    for old in (ROOT / "man").glob("*.[1-8]"):
        if old not in made:
            old.unlink()
    made |= {ROOT / "completions" / name: text for name, text in completions().items()}
    made |= {ROOT / "docs" / "reference" / name: text for name, text in reference().items()}
    write_pictures(ROOT / "docs" / "pictures")
    for path, text in made.items():
        path.write_text(text)


main()
