"""The arguments of MAIL and RCPT (RFC 5321 sections 4.1.1.2, 4.1.1.3 and 4.1.1.11).

    FROM:<joe@example.com> SIZE=1024 BODY=8BITMIME        FROM:<>        TO:<"joe q"@example.com>        TO:<root>

As Postfix does, a blank behind the colon and an address without its angle brackets are taken, for a person who types.
Whether it is an address is not decided here.
"""

from __future__ import annotations

from ucrmmail.smtpd.reply import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PARAMETERS = ("SIZE", "BODY", "SMTPUTF8")
_BODIES = ("7BIT", "8BITMIME")
_MOST_DIGITS = 20


def parse_path(argument: str, keyword: str) -> tuple[str, list[str]]:
    """Return the path behind ``FROM:`` or ``TO:`` without its brackets, and the parameters behind it.

    A route (``<@relay.example:joe@example.com>``) is left out, as RFC 5321 appendix C wants it. Raises RefusedError.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise _wrong(f"{keyword}<address> is to stand here")
    written = argument[len(keyword) :].lstrip(" ")
    if written.startswith("<"):
        end = _end_of_path(written)
        path, behind = written[1:end], written[end + 1 :]
        if behind and not behind.startswith(" "):
            raise _wrong("a blank is to stand behind the >")
    else:
        path, _, behind = written.partition(" ")
        if not path:
            raise _wrong(f"{keyword}<address> is to stand here")
    if path.startswith("@"):
        path = path.partition(":")[2]
        if not path:
            # Of "<@example.com>" nothing is left, which would be the null reverse-path that nobody asked for.
            raise _wrong("an address is to stand behind the route")
    return path, behind.split()


def _end_of_path(written: str) -> int:
    """Return the index of the > that ends the path: one within quotes does not."""
    quoted = False
    at = 1
    while at < len(written):
        character = written[at]
        if quoted and character == "\\":
            at += 1
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return at
        at += 1
    raise _wrong("the closing > is missing")


def declared_size(parameters: Sequence[str]) -> int:
    """Return how many bytes the parameters of MAIL say that the message has, 0 when they do not say it.

    BODY (RFC 6152) and SMTPUTF8 (RFC 6531) change nothing: what a message needs is seen from its bytes. Raises
    RefusedError for a parameter that is wrong, or was not offered.
    """
    size_bytes = 0
    given = [parameter.partition("=") for parameter in parameters]
    names = [name.upper() for name, _equals, _value in given]
    for name, (_name, equals, value) in zip(names, given, strict=True):
        if name not in _PARAMETERS:
            raise RefusedError(555, "5.5.4", f"{name} is no parameter that was offered")
        if names.count(name) > 1:
            raise _wrong(f"{name} stands here twice")
        if name == "SIZE" and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
            size_bytes = int(value)
        elif not ((name == "BODY" and value.upper() in _BODIES) or (name == "SMTPUTF8" and not equals)):
            raise _wrong(f"{name} has no such value")
    return size_bytes


def refuse_parameters(parameters: Sequence[str]) -> None:
    """Raise RefusedError for a parameter of RCPT: none is offered."""
    if parameters:
        raise RefusedError(555, "5.5.4", f"{parameters[0].partition('=')[0]} is no parameter that was offered")


def _wrong(text: str) -> RefusedError:
    return RefusedError(501, "5.5.4", text)
