"""What the ledger on the disk means now: after a crash, a power cut, a clock set back, a changed configuration.

    found on the disk                        then
    no file                                  nothing was sent yet
    an open reservation                      the process died before it knew: counts as settled, uncertain
    a block left open, another boot          power cut: what is left of it counts as used
    a block left open, the same boot         the process was killed: every reservation was read, the rest was not used
    a time in the future                     the clock was set back: it counts as now
    other rules, or a state without twins    see ``adapt``
    a torn last record                       it was never relied upon
    a torn record in a block, another boot   power cut, which may keep later pages: as above, from there on
    an unreadable record with its line end   every limit counts as used up, from now on: what was counted there, or
                                             behind it, is not known
    a file whose first record is unreadable  the same
    a whole record that makes no sense       the same: a time or a count that cannot be, another version's words
    an empty file, or one of zeros           the same: a new ledger has its first record from the start

The last four can hold mail back for one window, once. The other choice could have the provider block the account;
and who knows better removes the file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.files import open_untrusted
from ucrmmail.journal import read_journal, read_past_damage
from ucrmmail.limits.adapt import adapted
from ucrmmail.limits.records import replay, state_record
from ucrmmail.limits.tally import empty_tally, full_tally

if TYPE_CHECKING:
    from ucrmmail.limits.records import Block
    from ucrmmail.limits.rules import Rules
    from ucrmmail.limits.tally import Tally

# A block is used for so long at the most: after a power cut it bounds the time at which its reservations were made.
BLOCK_LASTS_S = 60.0
# A time that is earlier by less than this is not a clock set back, but a thread that was overtaken by another.
OVERTAKEN_S = 1.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """The tally as it is now, and the records that bring the file to the same state."""

    tally: Tally
    changes: tuple[bytes, ...]
    damaged: bool = False


def recover(path: str, rules: Rules, now: float, boot_id: str) -> Recovered:
    """Return what the ledger at ``path`` means under ``rules``; nothing is written.

    ``boot_id`` tells this boot of the machine from others; "" when that is not known. Raises DistrustError or OSError.
    """
    records = read_journal(path)[0]
    found = replay(records)
    behind, places = read_past_damage(path)
    if places and found is not None and not _is_power_cut(found[1], behind[len(records) :], boot_id):
        found = None
    if found is None:
        damaged = _is_there(path)
        tally = full_tally(rules, now) if damaged else empty_tally(rules)
        return Recovered(tally, (state_record(tally),), damaged)
    tally, block = found
    changes: list[bytes] = []
    if now < tally.latest - OVERTAKEN_S:
        tally.set_back(now)
        block.at = min(block.at, now)
        changes.append(b"clock %a" % now)
    now = max(now, tally.latest)
    for number, (reserved_at, recipients) in list(tally.pending.items()):
        at = tally.lost_at(now, reserved_at)
        tally.settle(number, at, recipients, certain=False)
        changes.append(b"uncertain %d %a %d" % (number, at, recipients))
    if block.messages > 0:
        if not boot_id or boot_id != block.boot_id:
            changes.append(_lose_block(tally, block, now))
        changes.append(b"end")
    suited = adapted(tally, rules)
    if suited is not tally:
        changes = [state_record(suited)]
    return Recovered(suited, tuple(changes))


def _is_power_cut(block: Block, behind: list[bytes], boot_id: str) -> bool:
    """Return whether a power cut explains that records stand ``behind`` one that is not whole.

    Until the next block is announced nothing is synced: the disk may have the pages of a block in any order.
    """
    announced = any(record.startswith((b"block ", b"state ")) for record in behind)
    return block.messages > 0 and block.boot_id != boot_id and not announced


def _lose_block(tally: Tally, block: Block, now: float) -> bytes:
    at = tally.lost_at(now, block.at + BLOCK_LASTS_S)
    messages, recipients = block.messages, max(block.recipients, block.messages)
    tally.lose(block.at, at, messages, recipients)
    return b"lost %a %a %d %d" % (block.at, at, messages, recipients)


def _is_there(path: str) -> bool:
    try:
        fd = open_untrusted(path, owner=os.geteuid())
    except FileNotFoundError:
        return False
    os.close(fd)
    return True
