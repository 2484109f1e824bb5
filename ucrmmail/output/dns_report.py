"""How the check of the DNS looks: a verdict a line, what is wrong with the offending part marked, and what to publish.

On a terminal verdicts are coloured; through a pipe, or with ``--plain``, the same lines come without. Records are
written by strangers: every text passes through ``escape.visible``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.dns.finding import Finding, Severity
from ucrmmail.dns.panel import panel_of, steps
from ucrmmail.output import human, machine
from ucrmmail.output.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ucrmmail.dns.check import DomainReport
    from ucrmmail.dns.finding import Mark, Proposal
    from ucrmmail.dns.panel import Panel
    from ucrmmail.dns.spf_tree import Node

_COLOURS = {
    Severity.PASS: "green",
    Severity.INFO: "cyan",
    Severity.WARN: "yellow",
    Severity.FAIL: "bold red",
    Severity.ERROR: "magenta",
}
_WIDTH = 9
# Around an offending part so much of a long record is shown, of the part itself, and of a sentence about it.
_CONTEXT = 60
_LONGEST_PART = 160
_LONGEST_SENTENCE = 400
_MOST_LOOKUPS = 10
_STATES = {True: "yes", False: "NO", None: "not known"}
# Longer TXT data is split into strings of at most this many bytes (RFC 1035 section 3.3.14).
_LONGEST_STRING = 255


def show_reports(reports: Sequence[DomainReport], *, panel: Panel | None, plain: bool, quiet: bool) -> None:
    """Print the findings of each domain, then one summary when there are several.

    ``quiet`` leaves out what passes, a domain too, unless something is gone there: cron mails what is printed.

    ``panel`` is where records are typed in; None: the one that the zone's nameservers belong to.
    """
    told = [report for report in reports if not quiet or report.gone or report.verdict is not Severity.PASS]
    for number, report in enumerate(told):
        if number:
            human.say()
        _show(report, panel, plain=plain, quiet=quiet)
    if len(told) > 1:
        human.say()
        rows = [(report.domain, report.verdict.value, _codes(report)) for report in told]
        human.print_table(("domain", "verdict", "what is wrong"), rows)


def _codes(report: DomainReport) -> str:
    wrong = {finding.code for finding in report.findings if finding.severity in (Severity.FAIL, Severity.ERROR)}
    return ", ".join(sorted(wrong)) or "-"


def _readable(domain: str) -> str:
    """Return a name as the DNS has it, with what people see beside it."""
    if "xn--" not in domain:
        return domain
    from ucrmmail.message.homograph import in_unicode  # noqa: PLC0415 # idna, for few names

    readable = in_unicode(domain)
    return f"{domain} ({readable})" if readable != domain else domain


def _show(report: DomainReport, panel: Panel | None, *, plain: bool, quiet: bool) -> None:
    _line(report.verdict, _readable(report.domain), plain=plain)
    for finding in report.findings:
        if quiet and finding.severity in (Severity.PASS, Severity.INFO):
            continue
        _line(finding.severity, f"{finding.code}  {finding.subject}: {finding.what}", plain=plain, indent=2)
        for line in _details(finding):
            human.say(f"{'':<{_WIDTH + 4}}{line}")
    for gone in report.gone:
        human.say(f"  {'gone':<{_WIDTH}}{gone}")
    if report.spf is not None and report.spf.tree is not None and not quiet:
        human.say(f"  SPF lookups of {report.domain}: {report.spf.lookups} of {_MOST_LOOKUPS}")
        for line in _tree(report.spf.tree, "    "):
            human.say(line)
    if report.requirements and not quiet:
        human.say("  what receivers ask of senders:")
        for rule in report.requirements:
            human.say(f"    {_STATES[rule.state]:<10}{rule.receiver}, {rule.senders}: {rule.rule}")
    if quiet and report.verdict is Severity.PASS:
        return
    if report.proposals:
        human.say("  to publish:")
    shown_panel = panel or panel_of(report.zone.nameservers)
    for proposal in report.proposals:
        human.say(f"    {proposal.name}  {proposal.rdtype}  {proposal.value}")
        human.say(f"      {_cut(proposal.why)}" + ("; it replaces what stands there" if proposal.replaces else ""))
        if shown_panel is not None:
            for step in steps(proposal, report.zone.name or report.domain, shown_panel):
                human.say(f"      - {step}")


def _line(severity: Severity, text: str, *, plain: bool, indent: int = 0) -> None:
    if plain or not human.on_terminal():
        human.say(f"{'':<{indent}}{severity.value:<{_WIDTH}}{text}")
        return
    from rich.text import Text  # noqa: PLC0415 # only a terminal needs it

    line = Text(" " * indent)
    line.append(f"{severity.value:<{_WIDTH}}", style=_COLOURS[severity])
    line.append(visible(text))
    human.console().print(line, soft_wrap=True)


def _details(finding: Finding) -> Iterator[str]:
    if finding.severity is Severity.PASS:
        return
    if finding.mark is not None:
        yield from _marked(finding.mark)
    for name, text in (("why:    ", finding.why), ("remedy: ", finding.remedy)):
        if text:
            yield name + _cut(text)


def _cut(text: str) -> str:
    """Return a sentence without the length that a hostile record gives it."""
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[:_LONGEST_SENTENCE]}..."


def _marked(mark: Mark) -> Iterator[str]:
    """Yield the published text around the offending part, and a line that points to it."""
    start = max(0, mark.start - _CONTEXT)
    part_end = min(mark.end, mark.start + _LONGEST_PART)
    end = min(len(mark.text), part_end + _CONTEXT)
    before, part = visible(mark.text[start : mark.start]), visible(mark.text[mark.start : part_end])
    lead = "..." if start else ""
    tail = "..." if end < len(mark.text) else ""
    yield f"{lead}{before}{part}{visible(mark.text[part_end:end])}{tail}"
    yield " " * len(lead + before) + "^" * max(1, len(part))


def _tree(node: Node, lead: str) -> Iterator[str]:
    beyond = "  <- beyond the limit" if node.position > _MOST_LOOKUPS else ""
    again = " (again)" if node.repeated else ""
    problem = f"  !! {_cut(node.problem)}" if node.problem else ""
    name = f"{node.position}. {node.via}" if node.via else node.domain
    plural = "" if node.lookups == 1 else "s"
    yield f"{lead}{name}{again}: {node.lookups} lookup{plural}{problem}{beyond}"
    for child in node.children:
        yield from _tree(child, lead + "  ")


def show_document(reports: Sequence[DomainReport], panel: Panel | None = None) -> None:
    """Print the JSON document of ucrmmail-check-dns(1)."""
    machine.print_document({"domains": [domain_document(report, panel) for report in reports]})


def domain_document(report: DomainReport, panel: Panel | None = None) -> dict[str, Any]:
    """Return the JSON fields of one domain."""
    shown_panel = panel or panel_of(report.zone.nameservers)
    return {
        "domain": report.domain,
        "verdict": report.verdict.value,
        "findings": [_finding_document(finding) for finding in report.findings],
        "proposals": [
            {
                "name": proposal.name,
                "type": proposal.rdtype,
                "value": proposal.value,
                "why": proposal.why,
                "replaces": proposal.replaces or None,
                "steps": list(steps(proposal, report.zone.name or report.domain, shown_panel)),
            }
            for proposal in report.proposals
        ],
        "requirements": [
            {"receiver": rule.receiver, "senders": rule.senders, "rule": rule.rule, "holds": rule.state}
            for rule in report.requirements
        ],
        "gone": list(report.gone),
        "zone": report.zone.name or None,
        "panel": shown_panel.key if shown_panel is not None else None,
        "spf": _spf_document(report),
        "dkim": _dkim_document(report),
        "dmarc": _dmarc_document(report),
        "align": _align_document(report),
    }


def _finding_document(finding: Finding) -> dict[str, Any]:
    mark = finding.mark
    return {
        "check": finding.check,
        "code": finding.code,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "what": finding.what,
        "why": finding.why or None,
        "remedy": finding.remedy or None,
        "rfc": finding.rfc or None,
        "record": mark.text if mark is not None else None,
        "part": mark.text[mark.start : mark.end] if mark is not None else None,
    }


def _spf_document(report: DomainReport) -> dict[str, Any] | None:
    spf = report.spf
    if spf is None:
        return None
    return {
        "record": spf.record or None,
        "lookups": spf.lookups,
        "void_lookups": spf.void_lookups,
        "result": str(spf.result) or None,
        "explanation": spf.explanation or None,
        "addresses": [
            {"address": str(each.address), "result": str(each.evaluation.result), "lookups": each.evaluation.lookups}
            for each in spf.addresses
        ],
    }


def _dkim_document(report: DomainReport) -> dict[str, Any] | None:
    if report.dkim is None:
        return None
    return {
        "selectors": [
            {
                "selector": result.selector,
                "state": result.state,
                "record": result.record or None,
                "algorithm": result.algorithm or None,
                "bits": result.bits or None,
                "testing": result.testing,
                "aliases": list(result.aliases),
            }
            for result in report.dkim.selectors
        ]
    }


def _dmarc_document(report: DomainReport) -> dict[str, Any] | None:
    audit, aligned = report.dmarc, report.align
    if audit is None and aligned is None:
        return None
    conclusion = aligned.result if aligned is not None else None
    return {
        "record": (audit.record if audit is not None else conclusion.record if conclusion is not None else "") or None,
        "record_domain": (
            audit.record_domain if audit is not None else conclusion.record_domain if conclusion is not None else ""
        )
        or None,
        "result": conclusion.result if conclusion is not None else audit.result if audit is not None else None,
        "policy": (audit.policy if audit is not None else conclusion.policy if conclusion is not None else "") or None,
        "org_domain": (
            audit.org_domain if audit is not None else conclusion.org_domain if conclusion is not None else ""
        )
        or None,
        "spf_aligned": list(conclusion.spf_aligned) if conclusion is not None else [],
        "dkim_aligned": list(conclusion.dkim_aligned) if conclusion is not None else [],
    }


def _align_document(report: DomainReport) -> dict[str, Any] | None:
    align = report.align
    if align is None:
        return None
    return {
        "aligned": align.aligned,
        "from": align.header_from or None,
        "reverse_path": align.envelope_domain or None,
        "reverse_path_aligned": bool(align.result.spf_aligned),
        "sender": align.sender_domain or None,
        "sender_aligned": align.sender_aligns,
    }


def show_zone(reports: Sequence[DomainReport]) -> None:
    """Print the proposed records as lines of a zone file (RFC 1035 section 5)."""
    for report in reports:
        for proposal in report.proposals:
            human.say(f"; {proposal.why}")
            if proposal.replaces:
                human.say(f"; instead of: {proposal.replaces}")
            # What belongs into another's zone spoils this one: servers refuse to load it.
            human.say(
                ("" if _is_within(proposal.name, report.zone.name or report.domain) else "; ") + zone_line(proposal)
            )


def _is_within(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def zone_line(proposal: Proposal) -> str:
    """Return a record as a zone file has it; long TXT data is parted into strings, which readers join."""
    value = proposal.value
    if proposal.rdtype == "TXT":
        data = value.encode()
        parts = [data[start : start + _LONGEST_STRING] for start in range(0, len(data), _LONGEST_STRING)]
        value = " ".join(f'"{_quoted(part)}"' for part in parts)
    return f"{proposal.name}. 3600 IN {proposal.rdtype} {value}"


def _quoted(part: bytes) -> str:
    return "".join(
        f"\\{byte:03d}" if not 0x20 <= byte < 0x7F else f"\\{chr(byte)}" if byte in b'"\\' else chr(byte)
        for byte in part
    )
