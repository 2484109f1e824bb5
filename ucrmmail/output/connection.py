"""How ``test-connection`` looks: the stages, what the server offers and limits, and which ports take mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.output import human, machine
from ucrmmail.output.stages import error_fields, note_trouble, say_stages, stage_fields
from ucrmmail.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.probe import Probed
    from ucrmmail.smtp.stages import StageReport

# What an extension is for, in the words of an administrator (IANA, "Mail Parameters").
_MEANINGS = {
    "8BITMIME": "messages with 8-bit text",
    "AUTH": "the logins that it takes",
    "BINARYMIME": "binary messages; not used",
    "BURL": "messages fetched by reference; not used",
    "CHUNKING": "messages counted instead of ended by a dot",
    "DELIVERBY": "a time to deliver by; not used",
    "DSN": "delivery reports on request; not used",
    "ENHANCEDSTATUSCODES": "refusals with a precise reason",
    "ETRN": "a queue run on request; not used",
    "HELP": "the command HELP; not used",
    "LIMITS": "how much one session and one message may have",
    "PIPELINING": "commands in groups, which saves time",
    "REQUIRETLS": "TLS on the whole way; not used",
    "SIZE": "the largest message, in bytes",
    "SMTPUTF8": "addresses outside ASCII",
    "STARTTLS": "TLS on this connection",
    "VRFY": "the command VRFY; not used",
    "XCLIENT": "a proxy's word on the client; not used",
}


def show_connection(
    stages: Sequence[StageReport],
    troubles: Sequence[Trouble],
    offered: Capabilities | None,
    transcript: Sequence[str],
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Print what was seen; ``offered`` is None when there was no session."""
    if as_json:
        machine.print_document(_document(stages, troubles, offered, transcript))
        return
    say_stages(stages)
    if offered is not None:
        human.say_item("       limits                   ", _told_limits(offered))
    for line in transcript:
        human.say(line)
    if verbose and offered is not None:
        human.print_table(("Extension", "Parameters", "Meaning"), _extensions(offered), title="What it offers")
    for trouble in troubles:
        note_trouble(trouble)
    if not troubles:
        human.say("All holds: mail can go this way. Nothing was sent.")


def show_probe(
    probed: Sequence[Probed], settings: Sequence[tuple[str, str]], stages: Sequence[StageReport], *, as_json: bool
) -> None:
    """Print which ports take mail, and the command lines that choose the best."""
    lines = [f"ucrmmail config set {key} {value}" for key, value in settings]
    works = [each for each in probed if each.trouble is None]
    if as_json:
        shown = [_probed_fields(each) for each in probed]
        document = {"ok": bool(works), "stages": [stage_fields(stage) for stage in stages], "warnings": []}
        machine.print_document(
            {**document, "limits": None, "error": None, "transcript": [], "probes": shown, "settings": lines}
        )
        return
    for each in probed:
        mark = "ok    " if each.trouble is None else "FAILED"
        told = each.trouble.what if each.trouble is not None else _told_mechanisms(each.mechanisms)
        human.say_item(f"{mark} {each.port:<5} {each.encryption:<9} {each.seconds * 1000:6.0f} ms  ", told)
    if works:
        human.say("These settings work:")
        for line in lines:
            human.say(f"  {line}")
    else:
        human.note("ucrmmail: no usual port of the smarthost takes mail from here")
        human.note("  why:    each failed in its own way, see above")
        human.note("  remedy: check smtp.host; if every port gave no answer, ask who runs the firewall of this network")


def _told_mechanisms(mechanisms: Sequence[str]) -> str:
    return f"logins: {', '.join(mechanisms)}" if mechanisms else "no login is offered"


def _probed_fields(each: Probed) -> dict[str, Any]:
    return {
        "port": each.port,
        "encryption": each.encryption,
        "ok": each.trouble is None,
        "seconds": round(each.seconds, 6),
        "mechanisms": list(each.mechanisms),
        "detail": each.trouble.what if each.trouble is not None else _told_mechanisms(each.mechanisms),
        "remedy": (each.trouble.remedy or None) if each.trouble is not None else None,
    }


def _told_limits(offered: Capabilities) -> str:
    """Return what the server limits: SIZE (RFC 1870), RCPTMAX and MAILMAX (RFC 9422)."""
    told = []
    if offered.size_bytes:
        told.append(f"messages of {format_size(offered.size_bytes)} at the most")
    if offered.most_recipients:
        told.append(f"{offered.most_recipients} recipients a message")
    if offered.most_transactions:
        told.append(f"{offered.most_transactions} messages a session")
    return ", ".join(told) or "the server states none"


def _extensions(offered: Capabilities) -> list[tuple[str, str, str]]:
    rows = []
    for line in offered.keywords:
        keyword, _, parameters = line.replace("AUTH=", "AUTH ", 1).partition(" ")
        rows.append((keyword, parameters, _MEANINGS.get(keyword.upper(), "not used")))
    return rows


def _document(
    stages: Sequence[StageReport],
    troubles: Sequence[Trouble],
    offered: Capabilities | None,
    transcript: Sequence[str],
) -> dict[str, Any]:
    return {
        "ok": not troubles,
        "stages": [stage_fields(stage) for stage in stages],
        "warnings": [stage.warning for stage in stages if stage.warning],
        "limits": {
            "max_size_bytes": offered.size_bytes or None,
            "max_recipients": offered.most_recipients or None,
            "max_transactions": offered.most_transactions or None,
        }
        if offered is not None
        else None,
        "error": error_fields(troubles[0] if troubles else None),
        "transcript": list(transcript),
        "probes": [],
        "settings": [],
    }
