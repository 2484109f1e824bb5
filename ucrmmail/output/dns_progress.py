"""A bar on standard error while many domains are checked: on a terminal only, and gone when the results come."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ucrmmail.output import human
from ucrmmail.output.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ucrmmail.dns.check import DomainReport


@contextmanager
def domains_done(total: int, *, shown: bool) -> Iterator[Callable[[DomainReport], None]]:
    """Give what is to be called with each report that is ready; a single domain shows no bar."""
    if not shown or total < 2 or not human.on_terminal(stderr=True):
        yield lambda _report: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 # 120 ms

    columns = (
        TextColumn("checking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=human.console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total)
        yield lambda report: progress.update(bar, advance=1, description=visible(report.domain))
