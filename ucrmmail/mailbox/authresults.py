"""What a receiver found out about a message: Authentication-Results (RFC 8601 section 2.2).

    Authentication-Results: mx.example.com; spf=pass smtp.mailfrom=isp.example;
        dkim=pass (2048-bit key) header.d=isp.example header.s=s1

is ``("mx.example.com", (MethodResult("spf", "pass", {"smtp.mailfrom": "isp.example"}), ...))``. Microsoft leaves the
name of the server out: then it is "".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.mailbox.words import split_comments, split_quoted, unquoted

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_RESULTS = 50
# Comments, and so blanks, may stand anywhere: "dkim / 1 = fail policy . expired = 1".
_BLANKS = re.compile(r" ?(=) ?| (/) | (\.) ")


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method, such as spf, its result, such as pass, and what it was about, such as ``smtp.mailfrom``."""

    method: str
    result: str
    properties: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AuthResults:
    """One field: the authserv-id of the server that wrote it, in lower case, and its results in order."""

    authserv_id: str
    results: tuple[MethodResult, ...]


def read_auth_results(value: str) -> AuthResults:
    """Return what a field says; a part that cannot be read is left out."""
    plain, _comments = split_comments(value)
    head, *parts = split_quoted(plain, ";")
    words = head.split()
    authserv_id = unquoted(words[0]).lower() if words else ""
    if "=" in head:
        authserv_id, parts = "", [head, *parts]
    found = (_read_result(part) for part in parts[:_MOST_RESULTS])
    return AuthResults(authserv_id, tuple(result for result in found if result is not None))


def _read_result(part: str) -> MethodResult | None:
    """Return one ``method=result reason=... ptype.property=value``; None for ``none`` and what is none."""
    pairs = [pair.partition("=") for pair in split_quoted(_tight(part), " ") if "=" in pair]
    if not pairs:
        return None
    (method, _, result), *rest = pairs
    values = {name.lower(): unquoted(value) for name, _, value in rest}
    method = method.partition("/")[0].lower()
    if not method or not result:
        return None
    return MethodResult(method, result.lower(), values, values.pop("reason", ""))


def _tight(part: str) -> str:
    """Return the part with one blank between words, and none around what holds the words of a pair together."""
    return _BLANKS.sub(lambda found: found[0].strip(), " ".join(part.split()))
