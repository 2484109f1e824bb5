"""How the proof of ``test-send --verify-imap`` looks: where the message fell, its way, and what the receiver found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ucrmmail.dataclass import dataclass
from ucrmmail.mailbox.verdict import METHODS
from ucrmmail.output import human
from ucrmmail.units import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ucrmmail.mailbox.trace import Hop
    from ucrmmail.mailbox.verdict import Finding, Verdict
    from ucrmmail.mailbox.wait import Arrival

_NAMES = {"spf": "SPF", "dkim": "DKIM", "dmarc": "DMARC"}
_ALIGNED = {
    True: "aligned with From",
    False: "not aligned with From",
    None: "of the same organization as From, it seems",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the message arrived, and what its header proves; ``verdict`` is None when it did not."""

    mailbox: str
    arrival: Arrival
    verdict: Verdict | None

    @property
    def ok(self) -> bool:
        """Whether it is in the inbox, and the receiver says pass to SPF, DKIM and DMARC."""
        found = self.arrival.found
        return found is not None and not found.junk and self.verdict is not None and self.verdict.believed

    def problems(self) -> list[tuple[str, str]]:
        """Return what does not hold, each with its remedy."""
        found, verdict = self.arrival.found, self.verdict
        if found is None or verdict is None:
            trouble = f"; the last look failed: {self.arrival.trouble}" if self.arrival.trouble else ""
            return [
                (
                    (
                        f"the message did not arrive in {' or '.join(self.arrival.folders)} within "
                        f"{format_duration(round(self.arrival.seconds))}{trouble}"
                    ),
                    "give it more time (--wait 10m); look whether a bounce came, and whether a rule moves it elsewhere",
                )
            ]
        problems = []
        if found.junk:
            problems.append(
                (
                    f"the message fell into the folder for junk: {found.folder}",
                    "run `ucrmmail check-dns`; mark it as no junk, and see whether the next one is believed",
                )
            )
        if not verdict.findings:
            return [
                *problems,
                (
                    "the receiver says nothing of SPF, DKIM and DMARC (no Authentication-Results of its own)",
                    "send to a mailbox at a provider that does, such as Gmail, or run `ucrmmail check-dns`",
                ),
            ]
        failed = [_NAMES[method] for method in METHODS if not verdict.passes(method)]
        if failed:
            names = " and ".join(filter(None, (", ".join(failed[:-1]), failed[-1])))
            verb = "does" if len(failed) == 1 else "do"
            problems.append(
                (
                    f"{names} {verb} not pass for mail from {verdict.from_domain}",
                    f"run `ucrmmail check-dns {verdict.from_domain}`",
                )
            )
        return problems


def show_proof(proof: Proof) -> None:
    """Print the proof for a person."""
    found, verdict = proof.arrival.found, proof.verdict
    if found is not None and verdict is not None:
        mark = "FAILED" if found.junk else "ok    "
        what = "in the folder for junk: " if found.junk else "in "
        human.say(
            f"{mark} {'arrived':<13} {what}{found.folder} of {proof.mailbox}, after {proof.arrival.seconds:.1f} s"
        )
        for hop in reversed(verdict.hops):
            _show_hop(hop)
        for finding in verdict.findings:
            _show_finding(finding, verdict)
    for what, remedy in proof.problems():
        human.note(f"ucrmmail: {what}")
        human.note_advice("", remedy)
    if proof.ok:
        human.say("All holds: the receiver believes mail from this account.")


def _show_hop(hop: Hop) -> None:
    mark = "warn  " if hop.tls is False else "ok    "
    protocol = f" with {hop.protocol}" if hop.protocol else ""
    human.say_item(f"{mark} {'hop':<13} ", f"from {hop.from_ or '?'} by {hop.by or '?'}{protocol}: {hop.told_tls}")


def _show_finding(finding: Finding, verdict: Verdict) -> None:
    mark = "ok    " if finding.passes else "warn  " if verdict.passes(finding.method) else "FAILED"
    about = f" for {finding.domain}" if finding.domain else ""
    alignment = f", {_ALIGNED[finding.aligned]}" if finding.domain and finding.method != "dmarc" else ""
    server = verdict.authserv_id or "the receiver"
    human.say_item(f"{mark} {finding.method:<13} ", f"{finding.result}{about}{alignment} (says {server})")


def document(proof: Proof) -> dict[str, Any]:
    """Return the JSON fields of the proof."""
    found, verdict = proof.arrival.found, proof.verdict
    return {
        "ok": proof.ok,
        "arrived": found is not None,
        "seconds": round(proof.arrival.seconds, 3),
        "folder": found.folder if found is not None else None,
        "junk": found.junk if found is not None else None,
        "from_domain": verdict.from_domain if verdict is not None else None,
        "hops": [
            {
                "from": hop.from_ or None,
                "by": hop.by or None,
                "protocol": hop.protocol or None,
                "tls": hop.tls,
                "version": hop.version or None,
                "cipher": hop.cipher or None,
            }
            for hop in (verdict.hops if verdict is not None else ())
        ],
        "authserv_id": (verdict.authserv_id or None) if verdict is not None else None,
        "results": [
            {
                "method": finding.method,
                "result": finding.result,
                "domain": finding.domain or None,
                "aligned": finding.aligned,
            }
            for finding in (verdict.findings if verdict is not None else ())
        ],
        "problems": [{"what": what, "remedy": remedy} for what, remedy in proof.problems()],
    }


class WaitProgress:
    """A line on the terminal that says how long the message is on its way."""

    def __init__(self, mailbox: str, wait_s: float) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=human.console(stderr=True),
            transient=True,
        )
        self._task: TaskID = self._progress.add_task(f"waiting for the message in {mailbox}", total=wait_s)

    def __enter__(self) -> Self:
        """Show the line."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._progress.stop()

    def looked(self, seconds: float) -> None:
        """Say that so many seconds have passed."""
        self._progress.update(self._task, completed=seconds)
