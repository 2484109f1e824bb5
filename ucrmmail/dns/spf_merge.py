"""One good SPF record out of what is published and what this sender needs.

The others' terms are kept in their order, slips are corrected, nothing is asked of the DNS. Whether the outcome stays
within the limits is for the caller to evaluate, as for any record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.spf_record import Record, Term, parse_record, shown
from ucrmmail.dns.spf_slips import slip_of_term, slips_of_faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STRICTNESS = {"-": 2, "~": 1}
_MAX_ROUNDS = 4  # a correction may bring forth two terms, each with a slip of its own


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to be: mechanisms in order, the closing ``all`` ("" when a redirect closes), and modifiers.

    ``dropped`` are terms that nobody could read; ``changes`` says in words what was changed.
    """

    mechanisms: tuple[str, ...] = ()
    closing: str = "~all"
    modifiers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The record as it is published."""
        closing = (self.closing,) if self.closing else ()
        return " ".join(("v=spf1", *self.mechanisms, *closing, *self.modifiers))

    def adding(self, terms: Sequence[str], *, first: bool = False) -> Draft:
        """Return the draft with these mechanisms before its end, or, with ``first``, before all others."""
        new = tuple(dict.fromkeys(terms))
        if not new:
            return self
        folded = {term.lower() for term in new}
        others = tuple(term for term in self.mechanisms if term.lower() not in folded)
        mechanisms = (*new, *others) if first else (*others, *new)
        return replace(self, mechanisms=mechanisms, changes=(*self.changes, f"adds {' '.join(new)}"))

    def without(self, terms: Mapping[str, str]) -> Draft:
        """Return the draft without these terms (as written), each with the reason why."""
        gone = [term for term in (*self.mechanisms, *self.modifiers) if term in terms]
        if not gone:
            return self
        return replace(
            self,
            mechanisms=tuple(term for term in self.mechanisms if term not in terms),
            modifiers=tuple(term for term in self.modifiers if term not in terms),
            # A redirect that is gone leaves the record without an end.
            closing=self.closing or ("~all" if any(term.startswith("redirect=") for term in gone) else ""),
            changes=(*self.changes, *(f"leaves out {term}: {terms[term]}" for term in gone)),
        )


def merged(records: Sequence[Record]) -> Draft:
    """Return one draft of all records that a domain publishes; without any, an empty one that ends in ~all."""
    mechanisms: dict[str, str] = {}
    modifiers: dict[str, str] = {}
    redirects: list[str] = []
    dropped: list[str] = []
    closings: list[str] = []
    changes: list[str] = [f"merges {len(records)} records into one"] if len(records) > 1 else []
    for record in records:
        good, lost, corrected = _corrected(record)
        dropped += lost
        changes += corrected
        ended = False
        for term in good:
            if term.name == "all" and term.qualifier:
                if not ended:
                    closings.append(term.qualifier)
                ended = True
            elif term.name == "redirect":
                if term.target in redirects:
                    changes.append(f"leaves out the second {shown(term.text)}")
                else:
                    redirects.append(term.target)
            elif term.qualifier:
                if _key(term) in mechanisms:
                    if len(records) == 1:
                        changes.append(f"leaves out the second {shown(term.text)}")
                    continue
                mechanisms[_key(term)] = shown(term.text)
                if ended:
                    changes.append(f"moves {shown(term.text)} before all")
            else:
                modifiers.setdefault(term.name, shown(term.text))
    closing, more = _closing(closings, redirects, len(records))
    changes += more
    if redirects and not closing:
        modifiers = {"redirect": f"redirect={redirects[0]}", **modifiers}
        for target in redirects[1:]:
            mechanisms.setdefault(f"include:{target}", f"include:{target}")
    elif redirects and len(records) > 1:
        # Each record stood for servers; in one record with an end, an include speaks for them.
        for target in redirects:
            mechanisms.setdefault(f"include:{target}", f"include:{target}")
    if dropped:
        changes.append(f"leaves out {' '.join(dropped)}, which cannot be read")
    return Draft(tuple(mechanisms.values()), closing, tuple(modifiers.values()), tuple(dropped), tuple(changes))


def _key(term: Term) -> str:
    """Return what makes two terms the same, whatever their qualifier: the first one decides."""
    if term.network is not None:
        return f"{term.name}:{term.network}"
    return shown(term.text).lower().lstrip("+-?~")


def _closing(closings: list[str], redirects: list[str], records: int) -> tuple[str, list[str]]:
    strict = [qualifier for qualifier in closings if qualifier in _STRICTNESS]
    if strict:
        closing = max(strict, key=_STRICTNESS.__getitem__) + "all"
        return closing, [f"leaves out redirect={target}: all decides" for target in redirects if records == 1]
    if closings:
        return "~all", [f"ends in ~all instead of {closings[0]}all"]
    if redirects:
        return "", []
    return "~all", ["ends in ~all"] if records else []


def _corrected(record: Record) -> tuple[list[Term], list[str], list[str]]:
    """Return the terms of a record in its order with slips corrected, the words lost, and what was corrected."""
    text = record.text
    changes: list[str] = []
    for _ in range(_MAX_ROUNDS):
        replacements = _replacements(parse_record(text.encode("utf-8", "surrogateescape")))
        if not replacements:
            break
        pieces, at = [], 0
        for start, end, meant in sorted(replacements):
            pieces += [text[at:start], meant]
            at = end
            changes.append(f"writes {meant.strip() or 'nothing'} for {shown(text[start:end])}")
        text = "".join(pieces) + text[at:]
    read = parse_record(text.encode("utf-8", "surrogateescape"))
    repeated = {term.start for term in read.modifiers}
    lost = [shown(read.text[fault.start : fault.end]) for fault in read.faults if fault.start not in repeated]
    return sorted((*read.mechanisms, *read.modifiers), key=lambda term: term.start), lost, changes


def _replacements(record: Record) -> list[tuple[int, int, str]]:
    slips = slips_of_faults(record, len(record.faults))
    slips += [slip for term in (*record.mechanisms, *record.modifiers) if (slip := slip_of_term(term))]
    return [
        (slip.start, slip.end, slip.meant)
        for slip in slips
        if slip.meant is not None and slip.meant != record.text[slip.start : slip.end]
    ]
