"""The login (RFC 4954): PLAIN, LOGIN, CRAM-MD5, XOAUTH2 and OAUTHBEARER, chosen from what the server offers.

Whatever is sent here is hidden from the transcript, and taken out of what the server answers, for the whole session:
some servers repeat what they refuse, and replies are logged.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.errors import UcrmmailError
from ucrmmail.jsontext import read_json
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.token_refusals import token_advice
from ucrmmail.smtp.trouble import RefusedError, account_trouble, classify
from ucrmmail.smtp.wire import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.message.outcome import Trouble
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.wire import Wire

_IN_TLS = ("PLAIN", "LOGIN", "CRAM-MD5")
# Without TLS the one that does not show the password comes first.
_IN_CLEAR = ("CRAM-MD5", "PLAIN", "LOGIN")
_WITH_TOKEN = frozenset({"XOAUTH2", "OAUTHBEARER"})
# LOGIN is asked twice, the others once; a server that goes on asking gets no more.
_MOST_CHALLENGES = 2
_SECRET = b"[redacted]"


def choose_mechanism(smarthost: Smarthost, capabilities: Capabilities, *, in_tls: bool) -> str:
    """Return the mechanism to log in with. Raises RefusedError when none may or can be used."""
    if not in_tls and not smarthost.allow_insecure_login:
        raise RefusedError(
            account_trouble(
                Stage.AUTH,
                f"no password is sent to {smarthost.name} without TLS",
                why="anybody in between, or who listens there in its place, could read it",
                remedy="run `ucrmmail config set smtp.encryption starttls`, or accept the risk with "
                "`ucrmmail config set smtp.allow_insecure_login true`",
                exit_code=78,
            )
        )
    offered = capabilities.mechanisms
    wanted: tuple[str, ...] = _IN_TLS if in_tls else _IN_CLEAR
    if smarthost.authentication != "auto":
        wanted = (smarthost.authentication.upper(),)
    for mechanism in wanted:
        if mechanism in offered:
            return mechanism
    raise RefusedError(_nothing_in_common(smarthost, offered, wanted))


def _nothing_in_common(smarthost: Smarthost, offered: tuple[str, ...], wanted: tuple[str, ...]) -> Trouble:
    remedy = "run `ucrmmail config set smtp.authentication auto`"
    if not offered:
        remedy = (
            "check smtp.port and smtp.encryption, or run `ucrmmail config unset smtp.username` if it needs no login"
        )
    elif smarthost.authentication == "auto":
        tokens = sorted(_WITH_TOKEN.intersection(offered))
        remedy = f"run `ucrmmail config set smtp.authentication {tokens[0].lower()}`" if tokens else "ask the provider"
    return account_trouble(
        Stage.AUTH,
        f"{smarthost.name} offers no login that can be used here",
        why=f"it offers {', '.join(offered) or 'none'}; we would use {' or '.join(wanted)}",
        remedy=remedy,
        exit_code=77,
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the secret comes from: ``secret()`` is asked for it only when the server takes a login.

    ``after_refusal()`` returns another token when one was refused that was kept for too long, "" when there is none.
    """

    secret: Callable[[], str]
    after_refusal: Callable[[], str] = str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The server's reply to the login; ``renewed`` when it was to a second token."""

    reply: Reply
    renewed: bool = False


def log_in(wire: Wire, smarthost: Smarthost, mechanism: str, credentials: Credentials) -> LoggedIn:
    """Log in. With a token there may be a second try, once, on the same connection (RFC 4954 section 4).

    Raises RefusedError; ConnectionLostError, ProtocolError and StoppedError from the wire; what ``credentials`` raises,
    but behind a refusal only what a server has caused.
    """
    try:
        return LoggedIn(_try(wire, smarthost, mechanism, credentials.secret()))
    except RefusedError as error:
        reply = error.trouble.reply
        if mechanism not in _WITH_TOKEN or reply is None or reply.code != 535:
            raise
        try:
            other = credentials.after_refusal()
        except UcrmmailError as problem:
            if problem.by_server:
                raise
            # The login was refused, whatever is wrong on this machine: who comes back each minute gets locked out.
            raise RefusedError(_without_another(error.trouble, problem)) from problem
        if not other:
            raise
    return LoggedIn(_try(wire, smarthost, mechanism, other), renewed=True)


def _without_another(refused: Trouble, problem: UcrmmailError) -> Trouble:
    why = filter(None, (refused.why, f"no other token could be had: {problem.what}", problem.why))
    return replace(refused, why="; ".join(why), remedy=problem.remedy or refused.remedy)


def _try(wire: Wire, smarthost: Smarthost, mechanism: str, word: str) -> Reply:
    _refuse_control_characters(smarthost, word)
    # A server may repeat our answers as we encoded them, or the secret alone or in any of the three ways it can fall.
    wire.hide(word.encode(), *_encoded_within(word.encode()))
    initial, answer = _exchange(mechanism, smarthost, word)
    command = f"AUTH {mechanism}".encode()
    if initial is None:
        reply = _say(wire, smarthost, command, shown=command)
    else:
        reply = _say(wire, smarthost, command + b" " + _hidden(wire, initial), shown=command + b" " + _SECRET)
    told = ""
    for _ in range(_MOST_CHALLENGES):
        if reply.code != 334:
            break
        challenge = _decoded(reply)
        if mechanism in _WITH_TOKEN:
            told = _oauth_error(challenge)
        reply = _say(wire, smarthost, _hidden(wire, answer(challenge)), shown=_SECRET)
    if reply.code == 235:
        return reply
    if reply.positive:
        raise ProtocolError(f"the server answered the login with {reply}")
    trouble = classify(Stage.AUTH, reply)
    if mechanism in _WITH_TOKEN and not trouble.quota:
        why, remedy = token_advice(reply)
        trouble = replace(trouble, why=f"{why} ({told})" if told else why, remedy=remedy)
    raise RefusedError(trouble)


def _say(wire: Wire, smarthost: Smarthost, line: bytes, *, shown: bytes) -> Reply:
    wire.send(line + b"\r\n", smarthost.timeout_s, shown=shown + b"\r\n")
    return wire.read_reply(smarthost.timeout_s)


def _exchange(mechanism: str, smarthost: Smarthost, secret: str) -> tuple[bytes | None, Callable[[bytes], bytes]]:
    """Return the initial response (None: the server speaks first) and what answers a challenge."""
    user, word = smarthost.username.encode(), secret.encode()
    if mechanism == "PLAIN":
        return b"\0" + user + b"\0" + word, lambda _challenge: b""
    if mechanism == "LOGIN":
        answers = iter((user, word))
        return None, lambda _challenge: next(answers)
    if mechanism == "CRAM-MD5":
        import hmac  # noqa: PLC0415 # OpenSSL, for what few servers ask for

        return None, lambda challenge: user + b" " + hmac.new(word, challenge, "md5").hexdigest().encode()
    # A refused token is explained in a challenge; an empty answer (XOAUTH2) or ^A (RFC 7628 section 3.2.3) lets the
    # server go on to its real reply.
    if mechanism == "XOAUTH2":
        return b"user=" + user + b"\1auth=Bearer " + word + b"\1\1", lambda _challenge: b""
    name = smarthost.username.replace("=", "=3D").replace(",", "=2C").encode()
    where = f"host={smarthost.host}\1port={smarthost.port}\1".encode()
    return b"n,a=" + name + b",\1" + where + b"auth=Bearer " + word + b"\1\1", lambda _challenge: b"\1"


def _refuse_control_characters(smarthost: Smarthost, secret: str) -> None:
    """Raise RefusedError for what would end a field of the login early and begin another."""
    for key, text in (("smtp.username", smarthost.username), ("smtp.password", secret)):
        wrong = next((character for character in text if not character.isprintable()), "")
        if wrong:
            is_control = wrong < " " or "\x7f" <= wrong <= "\x9f"
            kind = "a control character" if is_control else "an invisible character, or a blank that is no plain one,"
            raise RefusedError(
                account_trouble(
                    Stage.AUTH,
                    f"{key} has {kind} in it (U+{ord(wrong):04X})",
                    why="what is copied from a web page or a document may hold one",
                    remedy=f"run `ucrmmail config set {key}` again, and type it by hand",
                    exit_code=78,
                )
            )


def _hidden(wire: Wire, answer: bytes) -> bytes:
    """Return an answer as it goes to the server, having told the wire to hide it."""
    encoded = base64.b64encode(answer)
    wire.hide(encoded)
    return encoded


def _encoded_within(secret: bytes) -> tuple[bytes, ...]:
    """Return what base64 makes of the secret alone, and within a longer text: one form for each alignment."""
    forms = [base64.b64encode(secret)]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).rstrip(b"=")
        # The first and the last character also depend on what stands before and behind.
        forms.append(encoded[before + 1 if before else 0 : -1])
    return tuple(forms)


def _decoded(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.text.encode("utf-8", "surrogateescape"), validate=True)
    except binascii.Error:
        return b""


def _oauth_error(challenge: bytes) -> str:
    """Return what the error challenge of a refused token says (RFC 7628 section 3.2.2), "" when it says nothing.

    {"status":"invalid_token","schemes":"bearer","scope":"https://mail.google.com/"}
    """
    try:
        found = read_json(challenge)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    return ", ".join(f"{key}: {value}" for key, value in found.items())[:300]
