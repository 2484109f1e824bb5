"""Which message may be to blame for what the server does to a connection: what is suspected, and what would prove it.

A server that refuses or hangs up at a message may mean the message, its sender, his domain, or the account. Only others
that are relayed tell: so a suspect is postponed, and what it meets once others went is its own.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Counts = list[int] | memoryview[int]

# What is relayed is counted in all, by sender and by his domain, in so many counts each: two senders in one count show
# nothing of each other. The last three counts are how much was relayed, and one more, when a message was found to be to
# blame last, how many were since as much was relayed, and a bit for each kind of answer that one was to blame for.
_SENDERS = 16384
# Most mail is of a few senders.
_REMEMBERED_SENDERS = 64
# So many messages of a sender, or senders of a domain, are refused in a row before the rest is left out of a run.
_MOST_REFUSED = 5
_BLAMED_AT = 1 + 2 * _SENDERS
_BLAMED = 2 + 2 * _SENDERS
_KINDS = 3 + 2 * _SENDERS
COUNTS = 4 + 2 * _SENDERS
# So many messages in a row are taken for one more of those that were to blame for a refusal, before it is the account.
_MOST_ALIKE = 5


@dataclass(frozen=True, slots=True)
class Known:
    """How much was relayed when a sender, or a domain, was suspected first.

    ``own`` is of his, and of others are ``others`` in all and ``others_here`` over this process's connections.
    """

    own: int
    others: int
    others_here: int


class Suspicion:
    """``relayed`` counts what was relayed in this run, by each process in ``COUNTS`` counts that it alone writes.

    ``in_trouble``: the last run ended in a trouble of the account. ``passes_over``: proof is looked for so many
    messages behind a suspect, since its like stand together in a queue. ``suspects`` may make the server refuse or hang
    up by themselves: the message at which the last run ended, and those at whose MAIL a connection of this one was
    lost. A suspected sender may be what the account is refused for: his messages show nothing while proof is awaited,
    and once two of a domain are suspected, nor do those of that domain. ``cleared`` are suspected senders of whom
    something was relayed, and ``had_turn`` those who were asked since all are. ``left_out`` are senders, and domains,
    that may send no more for now, and ``over_quota`` those who were refused in such words while others were relayed.
    """

    def __init__(self, relayed: Counts | None = None, number: int = 0) -> None:
        self._relayed = relayed if relayed is not None else [0] * COUNTS
        self._first = number * COUNTS
        self.in_trouble = False
        self.passes_over = 0
        self.suspects: set[str] = set()
        # Those of them at which a connection was lost: to ask again may take all the time that there is.
        self.lost: set[str] = set()
        self.cleared: set[str] = set()
        self.had_turn: set[str] = set()
        self.left_out: set[str] = set()
        self.over_quota: set[str] = set()
        # Those of earlier runs: of whom something is relayed is over it no more.
        self.was_over_quota: set[str] = set()
        # How many messages of a sender were refused since one of his was relayed.
        self._refused: dict[str, int] = {}
        # Which of his have ended a connection since then.
        self._closed: dict[str, set[str]] = {}
        # By sender or domain ("@isp.example").
        self._senders: dict[str, Known] = {}
        self._tells_domains_apart = self._tells_senders_apart = True
        # How much was relayed when other messages were let go first, in the same two ways.
        self._postponed: dict[str, int] = {}
        self._postponed_here: dict[str, int] = {}

    def share(self, relayed: Counts) -> None:
        """Count in these from now on, of which the first ``COUNTS`` are ours: each ``copy`` sees what others count."""
        for place, count in enumerate(self._relayed[:COUNTS]):
            relayed[place] = count
        self._relayed, self._first = relayed, 0

    def copy(self, number: int) -> Suspicion:
        """Return the same for another process, which has counts of its own if they are shared."""
        copy = Suspicion(self._relayed, number)
        copy.in_trouble, copy.passes_over = self.in_trouble, self.passes_over
        copy._tells_domains_apart = self._tells_domains_apart
        copy._tells_senders_apart = self._tells_senders_apart
        copy.was_over_quota, copy.lost = set(self.was_over_quota), set(self.lost)
        copy.suspects, copy.left_out, copy._postponed = set(self.suspects), set(self.left_out), dict(self._postponed)
        copy._senders = {
            key: Known(known.own, known.others, copy._of_others_here(key)) for key, known in self._senders.items()
        }
        here = copy._here
        copy._postponed_here = {queue_id: at if at < 0 else here for queue_id, at in self._postponed_here.items()}
        return copy

    @property
    def senders(self) -> dict[str, Known]:
        """The senders, and domains, that were suspected, and how much was relayed then."""
        return self._senders.copy()

    @property
    def refused_senders(self) -> list[str]:
        """Those who were suspected, and no domains, in the order in which they were."""
        return [key for key in self._senders if not _is_domain(key)]

    def take_over(self, senders: Mapping[str, Known], left_out: Collection[str]) -> None:
        """Suspect whom another process of the run has suspected, from then on, and leave out whom it has left out.

        Of two that have suspected one, the first has seen the proof that went before the other did.
        """
        for key, known in senders.items():
            ours = self._senders.setdefault(key, known)
            if known.own == ours.own and known.others < ours.others:
                self._senders[key] = replace(ours, others=known.others)
        self.left_out.update(left_out)

    def leave_out(self, sender: str) -> None:
        """Let no more of this sender, or his domain, leave in this run once some were refused for a quota in a row.

        Of one it may be said for its recipient, and others of a domain may be taken.
        """
        self.over_quota.add(sender)
        self._refused[sender] = self._refused.get(sender, 0) + 1
        counts = {sender: self._refused[sender]}
        if domain := _domain_of(sender):
            counts[domain] = _count_of(self._refused, domain)
        self.left_out.update(key for key, count in counts.items() if count >= _MOST_REFUSED and self._is_to_blame(key))
        self.over_quota |= self.left_out

    def count_closed(self, sender: str, queue_id: str) -> None:
        """Let no more of him leave in this run when some in a row have ended a connection, and others were relayed.

        Each costs a login, and servers count those.
        """
        # One message may do so at several of its recipients.
        self._closed.setdefault(sender, set()).add(queue_id)
        if len(self._closed[sender]) >= _MOST_REFUSED and self._of_others(sender):
            self.left_out.add(sender)

    def is_left_out(self, sender: str) -> bool:
        """Return whether nothing more of his is to leave."""
        return bool(self.left_out) and not self.left_out.isdisjoint(keys_of(sender))

    @property
    def progress(self) -> int:
        """How much was relayed in this run so far."""
        return sum(self._relayed[::COUNTS])

    @property
    def _here(self) -> int:
        return self._relayed[self._first]

    def count_relayed(self, sender: str) -> None:
        """Count one message more; who is not refused, is not what the account is refused for."""
        self._relayed[self._first] += 1
        self._refused.pop(sender, None)
        self._closed.pop(sender, None)
        for key in keys_of(sender):
            self._relayed[self._first + _place_of(key)] += 1
            self.over_quota.discard(key)
            if self._senders.pop(key, None) is not None or key in self.was_over_quota:
                self.cleared.add(key)

    def _of_others(self, key: str) -> int:
        """Return how much of other senders, or domains, was relayed in this run."""
        return self.progress - self._of(key)

    def _of_others_here(self, key: str) -> int:
        return self._here - self._relayed[self._first + _place_of(key)]

    def _of(self, key: str) -> int:
        return sum(self._relayed[_place_of(key) :: COUNTS])

    @property
    def awaits_proof(self) -> bool:
        """Whether nothing was relayed since a message was postponed, or a sender suspected: others show nothing."""
        # Another thread may clear one meanwhile.
        return self.progress in self._postponed.values() or any(map(self._shows_nothing, [*self._senders]))

    @property
    def prefers_untried(self) -> bool:
        """Whether what was never tried goes first: of what was, any may be the reason for the trouble."""
        return self.in_trouble and not self.progress

    def is_to_blame(self, queue_id: str, *, hung_up: bool = False) -> bool:
        """Return whether others were relayed since this message was postponed, or it was convicted.

        Of a server that ``hung_up``, which it may do now and then, no other connection shows whether it was for this.
        """
        if hung_up:
            return self._here > self._postponed_here.get(queue_id, inf)
        return self.progress > self._postponed.get(queue_id, inf)

    def suspect_sender(self, sender: str) -> None:
        """Let messages of others go before his, and show whether he is to blame; "" is nobody."""
        if not sender:
            return
        self._suspect(sender)
        domain = _domain_of(sender)
        if domain and not self._of(domain) and _count_of(self._senders, domain) > 1:
            self._suspect(domain)

    def _suspect(self, key: str) -> None:
        self._senders.setdefault(key, Known(self._of(key), self._of_others(key), self._of_others_here(key)))

    def _still_suspected(self, key: str) -> Known | None:
        """Return what is known of a sender or domain, unless something of it was relayed since, by any process."""
        known = self._senders.get(key)
        return known if known is not None and known.own == self._of(key) else None

    def was_suspected(self, sender: str) -> bool:
        """Return whether this sender, or his domain, was suspected and nothing of his was relayed since."""
        return bool(sender) and any(self._still_suspected(key) is not None for key in keys_of(sender))

    def suspects_only(self, sender: str) -> bool:
        """Return whether no sender but this one is suspected."""
        return not any(one != sender and not _is_domain(one) for one in [*self._senders])

    def is_suspected(self, sender: str) -> bool:
        """Return whether nothing of others was relayed since this sender, or his domain, was suspected."""
        return bool(self._senders and sender) and any(map(self._shows_nothing, keys_of(sender)))

    def _shows_nothing(self, key: str) -> bool:
        if not (self._tells_domains_apart if _is_domain(key) else self._tells_senders_apart):
            return False
        known = self._still_suspected(key)
        return known is not None and known.others == self._of_others(key)

    def gives_up(self) -> bool:
        """Tell domains apart no more, or then senders: no mail of others is there. False when that changes nothing."""
        if self.gives_up_domains():
            return True
        given_up = any(map(self._shows_nothing, self._senders))
        self._tells_senders_apart = False
        return given_up

    def gives_up_domains(self) -> bool:
        """Tell domains apart no more: mail of other senders is not there but of the same. False if that is so."""
        given_up = any(self._shows_nothing(key) for key in self._senders if _is_domain(key))
        self._tells_domains_apart = False
        return given_up

    def is_sender_to_blame(self, sender: str, *, hung_up: bool = False) -> bool:
        """Return whether mail of others was relayed since this sender, or his domain, was suspected.

        ``hung_up`` is as in `is_to_blame`.
        """
        return any(self._is_to_blame(key, hung_up=hung_up) for key in keys_of(sender))

    def _is_to_blame(self, key: str, *, hung_up: bool = False) -> bool:
        known = self._still_suspected(key)
        if known is None:
            return False
        return self._of_others_here(key) > known.others_here if hung_up else self._of_others(key) > known.others

    def blame(self, kind: str, *, is_proved: bool = True) -> None:
        """Remember that a message was found to be to blame for an answer of this kind, and not the account.

        Unless ``is_proved``, it was taken for one more of those, and shows nothing of what it met itself.
        """
        now, first = self.progress + 1, self._first
        self._relayed[first + _BLAMED] = 1 + self._relayed[first + _BLAMED] * (self._relayed[first + _BLAMED_AT] == now)
        self._relayed[first + _BLAMED_AT] = now
        self._relayed[first + _KINDS] |= _bit_of(kind) * is_proved

    def is_one_more(self, kind: str) -> bool:
        """Return whether a message that is refused now is one more of those: others were relayed since the last few.

        While nothing was relayed in this run, none shows anything of the others. Never where it would fail for that: it
        may be that the account was blocked meanwhile.
        """
        if not kind.startswith("4"):
            return False
        times = self._relayed[_BLAMED_AT::COUNTS]
        last = max(times)
        if not (last and self.progress):
            return False
        in_a_row = sum(count for at, count in zip(times, self._relayed[_BLAMED::COUNTS], strict=True) if at == last)
        return last <= self.progress or in_a_row < _MOST_ALIKE

    def is_next_to_one(self, kind: str) -> bool:
        """Return whether nothing was relayed since a message was to blame, or none was for an answer of this kind.

        Then it may be the account that is at its limit.
        """
        return not self.is_known(kind) or max(self._relayed[_BLAMED_AT::COUNTS]) > self.progress

    def is_known(self, kind: str) -> bool:
        """Return whether a message of this run was to blame for an answer of this kind."""
        return any(kinds & _bit_of(kind) for kinds in self._relayed[_KINDS::COUNTS])

    def convict(self, queue_id: str) -> None:
        """Let the next trouble that this message meets be its own."""
        self._postponed[queue_id] = self._postponed_here[queue_id] = -1

    def postpone(self, queue_ids: Collection[str]) -> None:
        """Let what is relayed from now on show whether these are to blame."""
        for queue_id in queue_ids:
            self._postponed.setdefault(queue_id, self.progress)
            self._postponed_here.setdefault(queue_id, self._here)


@lru_cache(_REMEMBERED_SENDERS)
def keys_of(sender: str) -> tuple[str, ...]:
    """Return whom a message of this sender may show to be refused: himself, and his domain."""
    domain = _domain_of(sender)
    return (sender, domain) if domain else (sender,)


def _domain_of(sender: str) -> str:
    """Return "@" and the domain; "" for the null reverse-path, and for what is a domain itself."""
    at = sender.rfind("@")
    return sender[at:].lower() if at > 0 else ""


def _count_of(senders: Collection[str], domain: str) -> int:
    return sum(_domain_of(one) == domain for one in senders)


def _is_domain(key: str) -> bool:
    return key.startswith("@")


@lru_cache(2 * _REMEMBERED_SENDERS)
def _place_of(key: str) -> int:
    half = _SENDERS if _is_domain(key) else 0
    return 1 + half + zlib.crc32(key.encode("utf-8", "surrogateescape")) % _SENDERS


def _bit_of(kind: str) -> int:
    return 1 << zlib.crc32(kind.encode("utf-8", "surrogateescape")) % 64
