"""How far a published record has come, a line for each server of the zone whenever it changes; and as JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ucrmmail.output import human, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.propagation import Propagation, Sight


def show_look(seen: Propagation) -> None:
    """Print what each server of a zone shows."""
    if not seen.sights:
        human.say(f"{seen.domain}: no server of its zone was found")
        return
    human.say(f"{seen.domain}, zone {seen.zone}:")
    for sight in seen.sights:
        human.say(f"  {sight.report.verdict.value:<9}{sight.host} ({sight.server}): {_told(seen, sight)}")
    # The next look may be long in coming, and who reads this through a pipe waits for it.
    sys.stdout.flush()


def _told(seen: Propagation, sight: Sight) -> str:
    missing = seen.missing(sight)
    parts = [*sight.codes, *(f"does not show {text!r}" for text in missing)]
    others = {record for other in seen.sights for record in other.records}
    if sight.records != others and not sight.codes:
        parts.append("shows other records than its fellows")
    return "; ".join(parts) or "good"


def show_end(seen: Sequence[Propagation], *, strict: bool) -> None:
    """Print how it ended for each domain."""
    for each in seen:
        count = len(each.sights)
        if each.is_settled(strict=strict):
            servers = "the server" if count == 1 else f"all {count} servers"
            same = "shows good records" if count == 1 else "show the same records, and they are good"
            human.say(f"{each.domain}: {servers} of {each.zone} {same}")
            human.say("  resolvers that asked before may remember the old ones until their time to live is over")
        else:
            human.say(f"{each.domain}: not everywhere yet")


def show_document(seen: Sequence[Propagation], *, strict: bool) -> None:
    """Print the JSON document of ``check-dns --watch``."""
    machine.print_document({"propagation": [_document(each, strict=strict) for each in seen]})


def _document(each: Propagation, *, strict: bool) -> dict[str, object]:
    return {
        "domain": each.domain,
        "zone": each.zone or None,
        "settled": each.is_settled(strict=strict),
        "servers": [
            {
                "host": sight.host,
                "address": str(sight.server),
                "verdict": sight.report.verdict.value,
                "codes": list(sight.codes),
                "records": sorted(sight.records),
                "missing": list(each.missing(sight)),
            }
            for sight in each.sights
        ],
    }
