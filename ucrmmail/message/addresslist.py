"""Lists of addresses, as To, Cc, Bcc and From have them (RFC 5322 sections 3.4 and 4.4).

    Joe Q. Public <joe@example.com>, "Smith, Ann" <ann@example.com> (sales), staff: root, bob@example.com;

One pass over the text, so that a hostile field of a megabyte costs no more than an honest one of that size. What the
grammar does not allow is refused: wherever readers disagree about where an address ends, somebody receives mail that
was not meant for them (CVE-2023-27043). So an @ in a display name needs quotes, and addresses need commas. But where an
address is its own name, as many programs write it, all read the same: ``joe@example.com <joe@example.com>``.
"""

from __future__ import annotations

from ucrmmail.errors import NoUserError
from ucrmmail.message.address import is_bare, parse_mailbox, refused, same_mailbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Its kind ("atom", "quoted", "literal", or one of < > @ , : ; . itself), its text, and where it begins.
    Token = tuple[str, str, int]

_AT_IN_A_NAME = "'@' in a name needs quotes around the name"
_WORDS = ("atom", "quoted")
_ROUTE = ("@", ",", ".", "atom", "literal")
_ENDS_AN_ATOM = frozenset(' \t"(),.:;<>@[\\]')
_NEEDS_THE_GRAMMAR = frozenset(' \t"(),:;<>[\\]')


def parse_address_list(value: str) -> list[str]:
    """Return the mailboxes of an unfolded field value in their order, without display names, comments and groups.

    Local names without a domain (``root``) are returned as they are; the caller knows where they lead. An empty list
    and ``undisclosed-recipients:;`` name nobody. Raises NoUserError with the reason.
    """
    if value and _NEEDS_THE_GRAMMAR.isdisjoint(value):
        return [_checked(value)]
    if not value.isprintable():
        _refuse_controls(value)
    return _List(value).mailboxes()


def with_addresses(value: str, address_of: Callable[[str], str]) -> str:
    """Return the value with ``address_of`` each local name in its place, and the name as its display name.

    Raises NoUserError when it is no address list, and what ``address_of`` raises.
    """
    found = _List(value)
    found.mailboxes()
    if not found.local_names:
        return value
    from ucrmmail.message.phrase import phrase  # noqa: PLC0415 # most messages have none

    parts: list[str] = []
    at = 0
    for start, name, in_angle in found.local_names:
        address = address_of(name)
        parts += (value[at:start], address if in_angle else f"{phrase(name)} <{address}>")
        at = start + len(name)
    return "".join((*parts, value[at:]))


def _checked(address: str) -> str:
    return address if is_bare(address) else parse_mailbox(address)


def _refuse_controls(value: str) -> None:
    for character in value:
        if (character < " " and character != "\t") or "\x7f" <= character <= "\x9f":
            raise refused(value, f"it holds the control character U+{ord(character):04X}")


class _List:
    """The state of one pass over the tokens of a list."""

    __slots__ = ("_angle", "_ended", "_found", "_in_angle", "_in_group", "_named", "_value", "_words", "local_names")

    def __init__(self, value: str) -> None:
        # Where each begins, the name, and whether it stands between "<" and ">".
        self.local_names: list[tuple[int, str, bool]] = []
        self._value = value
        self._found: list[str] = []
        self._words: list[Token] = []  # tokens of the member before a "<"
        self._angle: list[Token] = []  # tokens between "<" and ">"
        self._named = ""  # the address that this member has for a name
        self._in_angle = False
        self._in_group = False
        self._ended = False  # a ">" or ";" was read: only a separator may follow

    def mailboxes(self) -> list[str]:
        """Return what the list names."""
        for token in _tokens(self._value):
            if self._in_angle:
                self._read_in_angle(token)
            else:
                self._read(token)
        if self._in_angle:
            raise self._refused("the closing > is missing")
        if self._in_group:
            raise self._refused("the ; that ends the group is missing")
        self._end_member()
        return self._found

    def _read(self, token: Token) -> None:
        kind = token[0]
        if kind == ",":
            self._end_member()
        elif kind == ";":
            if not self._in_group:
                raise self._refused("addresses are separated by a comma, not by a semicolon")
            self._end_member()
            self._in_group, self._ended = False, True
        elif self._ended:
            raise self._refused("a comma is missing between two addresses")
        elif kind == "<":
            if any(word[0] == "@" for word in self._words):
                self._named = self._address_for_a_name()
            else:
                self._check_phrase()
            self._in_angle = True
        elif kind == ":":
            if self._in_group or not self._words:
                raise self._refused("a colon must stand behind the name of a group, or in quotes")
            self._check_phrase()
            self._words, self._in_group = [], True
        else:
            self._words.append(token)

    def _read_in_angle(self, token: Token) -> None:
        kind = token[0]
        if kind == ">":
            address = self._address(_without_route(self._angle))
            if self._named and not same_mailbox(self._named, address):
                raise self._refused(_AT_IN_A_NAME)
            self._found.append(address)
            self._words, self._angle, self._named = [], [], ""
            self._in_angle, self._ended = False, True
        elif kind in ("<", ";"):
            raise self._refused("the closing > is missing")
        else:
            self._angle.append(token)

    def _end_member(self) -> None:
        # Nothing between two commas is allowed (RFC 5322 section 4.4).
        if self._words:
            self._found.append(self._address(self._words))
        self._words, self._ended = [], False

    def _check_phrase(self) -> None:
        for kind, text, _at in self._words:
            if kind not in _WORDS and kind != ".":
                raise self._refused(f"{text!r} in a name needs quotes around the name")

    def _address_for_a_name(self) -> str:
        try:
            return self._address(self._words)
        except NoUserError:
            raise self._refused(_AT_IN_A_NAME) from None

    def _address(self, tokens: list[Token]) -> str:
        """Return the mailbox of an addr-spec; blanks and comments may stand around its dots and its @."""
        before = ""
        for kind, _text, _at in tokens:
            if kind in _WORDS and before in _WORDS:
                raise self._refused("a comma is missing between two addresses, or < and > around one")
            before = kind
        if not tokens:
            raise self._refused("nothing stands between < and >")
        address = "".join(text for _kind, text, _at in tokens)
        if is_bare(address):
            if tokens[-1][2] - tokens[0][2] + len(tokens[-1][1]) > len(address):
                # "J. Smith" alone is a name without an address, not the local user "J.Smith".
                raise self._refused("it has no @ and domain")
            self.local_names.append((tokens[0][2], address, self._in_angle))
        return _checked(address)

    def _refused(self, why: str) -> NoUserError:
        return refused(self._value, why)


def _without_route(tokens: list[Token]) -> list[Token]:
    """Leave out an obsolete route: ``<@relay.example,@other.example:joe@example.com>`` means joe@example.com."""
    if tokens and tokens[0][0] in ("@", ","):
        for at, (kind, _text, _start) in enumerate(tokens):
            if kind == ":":
                return tokens[at + 1 :]
            if kind not in _ROUTE:
                break
    return tokens


def _tokens(value: str) -> Iterator[Token]:
    """Yield the tokens of a list; blanks and comments are skipped."""
    at = 0
    while at < len(value):
        start, character = at, value[at]
        at += 1
        if character in " \t":
            continue
        if character == "(":
            at = _end_of_comment(value, at)
        elif character == '"':
            at = _end_of(value, at, '"', "the closing quote is missing")
            yield "quoted", value[start:at], start
        elif character == "[":
            at = _end_of(value, at, "]", "the closing ] is missing")
            yield "literal", value[start:at], start
        elif character in "<>@,:;.":
            yield character, character, start
        elif character in _ENDS_AN_ATOM:
            raise refused(value, f"{character!r} must not stand there; a name with it needs quotes")
        else:
            while at < len(value) and value[at] not in _ENDS_AN_ATOM:
                at += 1
            yield "atom", value[start:at], start


def _end_of(value: str, start: int, closing: str, why: str) -> int:
    """Return the index behind the closing character; a backslash takes the next character's meaning away."""
    at = start
    while at < len(value):
        if value[at] == "\\":
            at += 1
        elif value[at] == closing:
            return at + 1
        at += 1
    raise refused(value, why)


def _end_of_comment(value: str, start: int) -> int:
    """Return the index behind a comment; comments nest."""
    depth, at = 1, start
    while at < len(value):
        character = value[at]
        if character == "\\":
            at += 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    raise refused(value, "the closing parenthesis is missing")
