"""How urgent a message is, as its header says: the queue sends urgent mail before normal, and that before bulk."""

from __future__ import annotations

from ucrmmail.message.header import value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ucrmmail.message.header import FieldsByName

URGENT = "urgent"
NORMAL = "normal"
BULK = "bulk"

# In this order; the first field with a known word decides. Precedence is sendmail's, Priority and Importance are
# those of RFC 2156 (they came from X.400), X-Priority and X-MSMail-Priority are Eudora's and Microsoft's.
_FIELDS = (
    ("precedence", {"bulk": BULK, "junk": BULK, "list": BULK}),
    ("priority", {"urgent": URGENT, "normal": NORMAL, "non-urgent": BULK}),
    ("importance", {"high": URGENT, "normal": NORMAL, "low": BULK}),
    ("x-priority", {"1": URGENT, "2": URGENT, "3": NORMAL, "4": BULK, "5": BULK}),
    ("x-msmail-priority", {"high": URGENT, "normal": NORMAL, "low": BULK}),
)


def priority_in(known: FieldsByName) -> str:
    """Return "urgent", "normal" or "bulk" for the fields of a header (by name in lower case)."""
    for name, words in _FIELDS:
        if name in known:
            # "1 (Highest)" is a common way to write it.
            word = value_of(known[name][0]).lower().partition(" ")[0]
            if word in words:
                return words[word]
    return NORMAL
