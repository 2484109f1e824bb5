"""A word that is none of those allowed: the error that says which was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def not_allowed(what: str, given: str, allowed: Iterable[str], *, remedy: str = "") -> UsageError:
    """Return the error: ``what`` happened, the word that is nearest, and all that are allowed.

    ``remedy`` is what else there is to do.
    """
    from difflib import get_close_matches

    words = list(allowed)
    near = get_close_matches(given.lower(), words, 1)
    meant = [f"did you mean {near[0]}?"] if near else []
    return UsageError(what, remedy=" ".join([*meant, f"allowed: {', '.join(words)}", *filter(None, [remedy])]))
