"""Output as it is compared: what differs from run to run stands for any, and a line of three dots for any lines."""

from __future__ import annotations

import re

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# The more special first: a queue id has a time in it.
_ANY = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    (re.compile(r"\b\d-\d{8}T\d{6}\.\d{6}-[0-9a-z]{6}\b"), "QUEUE-ID"),
    (re.compile(r"\b\d{8}T\d{4}\b"), "MINUTE"),
    (re.compile(r"<[0-9a-f.-]{8,}@"), "<MESSAGE-ID@"),
    (re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z| UTC)?"), "TIME"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}\b"), "DATE"),
    # A header field's, and that of `ls -l`.
    (re.compile(r"\b[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}"), "DATE"),
    (re.compile(rf"\b({_MONTHS}) [ \d]\d (\d{{2}}:\d{{2}}| \d{{4}})(?!\d)"), "DATE"),
    (re.compile(r"room for \d+ files"), "room for NUMBER files"),
    (re.compile(r"OpenSSL \d\S* \d+ \w+ \d+"), "OpenSSL VERSION"),
    (re.compile(r"\b\d{2}:\d{2}(:\d{2})?( UTC)?\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min|h|d)\b"), "DURATION"),
    (re.compile(r"(?<=[\s(])\d+(\.\d+)?(ms|s)\b"), "DURATION"),
    (re.compile(r"\b\d+(\.\d+)? ?[kMGT]?B\b"), "SIZE"),
    # A narrow terminal breaks the line behind it.
    (re.compile(r"\bfrom (ucrmmail tests|Example Trust Services), good for"), "from AUTHORITY, good for"),
    (re.compile(r"\b[0-9A-F]{9,12}\b"), "QUEUE-ID-OF-POSTFIX"),
    (re.compile(r"by \S+ with LMTP"), "by HOST with LMTP"),
    (re.compile(r"\b\d+ days( left)?\b"), "DAYS"),
    (re.compile(r"(\"[a-z_]*(seconds|_s|bytes|_ms)\": )[\d.]+"), r"\1NUMBER"),
    (re.compile(r"[─━═┏┓┗┛┡┩┌┐└┘├┤┬┴┼╇╈┳┻╋╍-]{3,}"), "---"),
    (re.compile(r"[ \t]+"), " "),
)
DOTS = "..."


def plain(text: str) -> list[str]:
    """Return the lines of output that a terminal showed: what was written over is gone."""
    # What a bar leaves behind, and takes back: one line up, and that line erased.
    text = re.sub(r"[^\n]*\n?(\r|\x1b\[\?25[lh])*\x1b\[1A(\x1b\[2K)?", "", text.replace("\r\n", "\n"))
    lines = text.split("\n")
    return [_as_shown(line) for line in "\n".join(lines).rstrip("\n").split("\n")] if text.strip() else []


def _as_shown(line: str) -> str:
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)
    return [part for part in shown.split("\r") if part.strip()][-1].rstrip() if shown.strip() else ""


def comparable(line: str) -> str:
    """Return a line with every time, id, size and duration as the same word, and one blank for several."""
    for pattern, word in _ANY:
        line = pattern.sub(word, line)
    return line.strip()


def matches(shown: list[str], came: list[str]) -> bool:
    """Return whether output is what a page shows."""
    return _matches(
        [_wanted(line) for line in shown if line.strip()], [comparable(line) for line in came if line.strip()]
    )


def _wanted(line: str) -> str:
    return DOTS if line.strip() == DOTS else comparable(line)


def _matches(shown: list[str], came: list[str]) -> bool:
    if not shown:
        return not came
    if shown[0] == DOTS:
        return any(_matches(shown[1:], came[skipped:]) for skipped in range(len(came) + 1))
    return bool(came) and _fits(shown[0], came[0]) and _matches(shown[1:], came[1:])


def _fits(shown: str, came: str) -> bool:
    """A line may end in three dots too."""
    return came.startswith(shown[: -len(DOTS)].rstrip()) if shown.endswith(" " + DOTS) else shown == came
