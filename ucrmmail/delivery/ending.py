"""Why a run ended, and what it has found out: its connections share it, and the next run is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.delivery.suspicion import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ucrmmail.delivery.suspicion import Suspicion
    from ucrmmail.message.outcome import Trouble

# So many connections in a row may end for what is on them, a recipient who does not exist or a message that is to
# blame. While nothing was relayed in the run, blame is in doubt, and `judgement.MOST_IN_DOUBT` holds.
EXCUSED_CONNECTIONS = 20
EX_UNAVAILABLE = 69
EX_TEMPFAIL = 75


@dataclass(slots=True)
class Ending:
    """Why a run ended: a trouble of the account, or a limit in the way; shared by its connections.

    ``refused`` is the message at which the trouble came last, "" when it came at none, and ``sender`` who it may be
    that is refused with all his messages. ``in_doubt``: it may be the message's own, since it came there in an earlier
    run too, or each time that the server hung up. ``suspects`` are the messages at which one came that may be their
    own, and ``senders`` those of whom it may be; ``cleared`` are suspected ones of whom something was relayed,
    ``had_turn`` those who were asked since all are suspected, and ``over_quota`` those that were refused for a quota
    of their own, as it seems.

    ``unconnected`` is why a connection ended that had worked before, or that was not the first one: nothing is wrong
    with the account while others go on. ``relayed``: the server took a message, or a part of one. ``denied`` is a
    refusal to relay that a login may mend, and ``let_in_late`` that the server let the run in behind its time limit.

    ``unresolved`` are the messages at whose MAIL a connection was lost, and no time was left to see who is to blame.

    ``distrusted`` are the extensions that are not used whatever the server offers: those found not to work, ``lies``,
    in this run or an earlier one, and one that is ``doubted``, of which that is still open. ``refuted`` are those of
    which it was and that are not to blame. ``guessed`` is one that a connection was lost with, by whatever chance, and
    ``guessed_before`` that of the last run.
    """

    trouble: Trouble | None = None
    reason: str = ""
    next_at: float = 0.0
    refused: str = ""
    sender: str = ""
    in_doubt: bool = False
    suspects: dict[str, None] = field(default_factory=dict)
    senders: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)
    had_turn: set[str] = field(default_factory=set)
    over_quota: set[str] = field(default_factory=set)
    unconnected: Trouble | None = None
    relayed: bool = False
    denied: Trouble | None = None
    let_in_late: Trouble | None = None
    unresolved: set[str] = field(default_factory=set)
    distrusted: set[str] = field(default_factory=set)
    lies: set[str] = field(default_factory=set)
    doubted: str = ""
    guessed: str = ""
    guessed_before: str = ""
    refuted: set[str] = field(default_factory=set)
    _excused: set[str] = field(default_factory=set)

    def because_of(self, trouble: Trouble, refused: str = "", *, sender: str = "", in_doubt: bool = False) -> None:
        """Remember the first trouble; one beyond doubt rather than one in doubt."""
        if self.trouble is None or (self.in_doubt and not in_doubt):
            self.trouble, self.refused, self.sender, self.in_doubt = trouble, refused, sender, in_doubt

    def go_without(self, distrusted: Collection[str], doubted: str) -> None:
        """Go without what was found not to work, or is doubted to."""
        self.distrusted.update(distrusted, {doubted} - {""})
        self.doubted = doubted

    def take_over(self, other: Ending) -> None:
        """Take in what another process of the run has met, over its own connection."""
        if other.trouble is not None:
            self.because_of(other.trouble, other.refused, sender=other.sender, in_doubt=other.in_doubt)
        self.unconnected = other.unconnected or self.unconnected
        self.relayed |= other.relayed
        self.denied = other.denied or self.denied
        self.let_in_late = other.let_in_late or self.let_in_late
        self.suspects.update(other.suspects)
        self.senders |= other.senders
        self.cleared |= other.cleared
        self.had_turn |= other.had_turn
        self.over_quota |= other.over_quota
        self.unresolved |= other.unresolved
        self.lies |= other.lies
        self.guessed = other.guessed or self.guessed
        self.refuted |= other.refuted
        doubted = other.doubted or self.doubted
        # What one process has settled is open for none.
        self.go_without(other.distrusted, "" if doubted in self.lies | self.refuted else doubted)
        self.distrusted -= self.refuted - self.lies

    @property
    def lacks_connections(self) -> bool:
        """Whether there is no other reason for the end than that a connection could not go on."""
        return self.unconnected is not None and self.trouble is None and not self.reason

    def resolve_unconnected(self, has_work: Callable[[], bool]) -> None:
        """Take it for a trouble of the account that the last connection could not be made anew, if it ``has_work``."""
        if self.lacks_connections and self.unconnected is not None and has_work():
            self.because_of(self.unconnected)

    def excused(self, suspicion: Suspicion) -> bool:
        """Take a trouble in doubt back if the run has relayed others: should it come again, the message is to blame.

        Returns whether it was so; never twice for the same message, sender or domain, nor many times. What was relayed
        before shows nothing of an account that was blocked during the run, and the next message would be no other.
        """
        whose = {self.refused, *keys_of(self.sender)} - {""}
        if not (self.in_doubt and suspicion.progress) or whose & self._excused:
            return False
        if len(self._excused) >= EXCUSED_CONNECTIONS:
            return False
        self._excused |= whose
        if self.refused and self.trouble is not None and self.trouble.exit_code == EX_UNAVAILABLE:
            self.unresolved.add(self.refused)
        suspicion.convict(self.refused)
        self.trouble, self.refused, self.sender, self.in_doubt = None, "", "", False
        return True
