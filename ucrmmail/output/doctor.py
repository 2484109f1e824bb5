"""How ``doctor`` looks: a table on a terminal, a line a check through a pipe, and below what is to be done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ucrmmail.doctor.check import Check, Verdict, worst
from ucrmmail.output import human, machine
from ucrmmail.output.escape import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {
    Verdict.OK: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.UNKNOWN: "cyan",
    Verdict.SKIPPED: "dim",
}
_WRONG = (Verdict.FAIL, Verdict.WARN)


def show_checks(checks: Sequence[Check], *, quiet: bool, as_json: bool) -> None:
    """Print the checks; ``quiet`` leaves out what is well, and all when all is."""
    if as_json:
        machine.print_document(_document(checks))
        return
    shown = [check for check in checks if check.verdict in _WRONG or not quiet]
    if human.on_terminal():
        _table(shown)
        _what_to_do(shown)
    else:
        for check in shown:
            human.say(f"{check.verdict.value:<8}{_name(check):<12} {check.detail}")
            if check.remedy and check.verdict is not Verdict.OK:
                human.say(f"{'':<8}{'':<12} remedy: {check.remedy}")
    if shown and not quiet:
        human.say(_summary(checks))


def _name(check: Check) -> str:
    return f"{check.name} {check.subject}".rstrip()


def _table(checks: Sequence[Check]) -> None:
    from rich.table import Table  # noqa: PLC0415 # 95 ms that only a terminal needs
    from rich.text import Text  # noqa: PLC0415

    if not checks:
        return
    table = Table()
    table.add_column("Check", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("What was found", overflow="fold")
    for check in checks:
        verdict = Text(check.verdict.value, style=_COLOURS[check.verdict])
        table.add_row(Text(visible(_name(check))), verdict, Text(visible(check.detail)))
    human.console().print(table)


def _what_to_do(checks: Sequence[Check]) -> None:
    """Print the remedies below the table, where a command is not broken by its frame."""
    remedies = [check for check in checks if check.remedy and check.verdict is not Verdict.OK]
    if remedies:
        human.say("What to do:")
    for check in remedies:
        human.say(f"  {_name(check)}: {check.remedy}")


def _summary(checks: Sequence[Check]) -> str:
    counts = Counter(check.verdict for check in checks)
    if not any(counts[verdict] for verdict in _WRONG):
        unknown = f"; {counts[Verdict.UNKNOWN]} cannot be told here" if counts[Verdict.UNKNOWN] else ""
        return f"Nothing is wrong: {counts[Verdict.OK]} checks hold{unknown}."
    return f"{counts[Verdict.FAIL]} failed, {counts[Verdict.WARN]} warned, {counts[Verdict.OK]} hold."


def _document(checks: Sequence[Check]) -> dict[str, Any]:
    counts = Counter(check.verdict for check in checks)
    verdict = worst(checks)
    return {
        "ok": verdict is not Verdict.FAIL,
        "verdict": verdict.value,
        "counts": {each.value: counts[each] for each in Verdict},
        "checks": [
            {
                "check": check.name,
                "subject": check.subject or None,
                "verdict": check.verdict.value,
                "detail": check.detail,
                "remedy": check.remedy or None,
                "facts": dict(check.facts),
            }
            for check in checks
        ],
    }
