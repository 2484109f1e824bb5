"""docs/pictures: pages of the documentation as a terminal shows them, for readers who look before they read.

A picture is made of the ``console`` blocks of a page. A test runs these against real servers, so a picture shows what
came; it is drawn by rich's own export, and the same on every machine. Colours are those of the program.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tools.docs.release import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_WIDTH = 100
# The page, and the picture of each of its console blocks ("" for none).
_PICTURES = {"docs/tutorial/tour.md": ("doctor.svg", "queue.svg", "dns.svg")}
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COLOURS = {"pass": "green", "ok": "green", "info": "blue", "warn": "yellow", "fail": "bold red", "error": "bold red"}
_VERDICT = re.compile(r"^ {0,2}(pass|info|warn|fail|error)(?= )|(?<=│ )(ok|warn|fail)(?= +│)")
# rich's own names a font on the web; a picture should ask nobody.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
  <style>
    .{unique_id}-matrix {{
      font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
      font-size: {char_height}px; line-height: {line_height}px;
    }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix" xml:space="preserve">
    {matrix}
    </g>
  </g>
</svg>
"""


def pictures() -> dict[str, str]:
    """Return the text of each file in docs/pictures. Raises ValueError when a page has other blocks than pictures."""
    made: dict[str, str] = {}
    for page, names in _PICTURES.items():
        blocks = _BLOCK.findall((ROOT / page).read_text())
        made |= {name: _picture(name, block) for name, block in zip(names, blocks, strict=True)}
    return made


def write_pictures(directory: Path) -> None:
    """Write them, and remove those that are made no more."""
    directory.mkdir(exist_ok=True)
    made = pictures()
    for path in directory.glob("*.svg"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (directory / name).write_text(text)


def _picture(name: str, block: str) -> str:
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), highlight=False, color_system="truecolor")
    for line in block.rstrip("\n").split("\n"):
        console.print(_styled(line), overflow="fold", soft_wrap=False)
    identity = name.partition(".")[0]
    svg = console.export_svg(title="ucrmmail", code_format=_SVG, unique_id=identity)
    # Blanks at the ends of lines differ between releases of rich, and mean nothing.
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def _styled(line: str) -> Text:
    if line.startswith(("$ ", "# ")):
        return Text.assemble((line[:2], "green"), (line[2:], "bold"))
    text = Text(line)
    for found in _VERDICT.finditer(line):
        group = 1 if found[1] else 2
        text.stylize(_COLOURS[found[group]], *found.span(group))
    return text
