"""The login (RFC 4954): PLAIN, LOGIN, CRAM-MD5, XOAUTH2 and OAUTHBEARER, chosen from what the server offers."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.smtp.trouble import account_trouble, classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.wire import Wire

_IN_TLS = ("PLAIN", "LOGIN", "CRAM-MD5")
# Without TLS the one that does not show the password comes first.
_IN_CLEAR = ("CRAM-MD5", "PLAIN", "LOGIN")


class LoginError(Exception):
    """The login did not happen; ``trouble`` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


def choose_mechanism(smarthost: Smarthost, capabilities: Capabilities, *, in_tls: bool) -> str:
    """Return the mechanism to use. Raises LoginError when none may be used."""
    if not in_tls and not smarthost.is_loopback and not smarthost.allow_insecure_login:
        raise LoginError(
            account_trouble(
                Stage.AUTH,
                f"no password is sent to {smarthost.name} without TLS",
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
    raise LoginError(
        account_trouble(
            Stage.AUTH,
            f"{smarthost.name} offers no login that is configured",
            why=f"it offers {', '.join(offered) or 'none'}; usable here: {', '.join(wanted)}",
            remedy="set smtp.authentication, or unset smtp.username when the smarthost needs no login",
            exit_code=77,
        )
    )


def log_in(wire: Wire, smarthost: Smarthost, mechanism: str, secret: Callable[[], str]) -> Reply:
    """Log in and return the server's reply. Raises LoginError; ConnectionLostError and ProtocolError from the wire."""
    user, password = smarthost.username, secret()
    first, answer = _exchange(mechanism, smarthost, user, password)
    wire.hide(*_forms(password.encode()), *_forms(first or b""))
    timeout_s = smarthost.timeout_s
    command = f"AUTH {mechanism}" + (f" {_b64(first)}" if first is not None else "")
    wire.send(command.encode() + b"\r\n", timeout_s, secret=first is not None)
    reply = wire.read_reply(timeout_s)
    told = ""
    # LOGIN asks twice, the others once at the most; a server that goes on asking gets no more.
    for _ in range(3):
        if reply.code != 334:
            break
        challenge = _decoded(reply)
        if mechanism in ("XOAUTH2", "OAUTHBEARER"):
            told = _oauth_error(challenge)
        response = answer(challenge)
        if response not in (b"", b"\1"):
            wire.hide(*_forms(response))
        wire.send(_b64(response).encode() + b"\r\n", timeout_s, secret=True)
        reply = wire.read_reply(timeout_s)
    if reply.code == 235:
        return reply
    trouble = classify(Stage.AUTH, reply)
    if told:
        trouble = account_trouble(
            Stage.AUTH, f"{trouble.what}: {reply}", why=f"the token was refused: {told}",
            remedy="let credentials.command print a fresh token", exit_code=trouble.exit_code,
        )  # fmt: skip
    raise LoginError(trouble)


def _exchange(
    mechanism: str, smarthost: Smarthost, user: str, password: str
) -> tuple[bytes | None, Callable[[bytes], bytes]]:
    """Return the initial response (None: there is none) and what answers a challenge."""
    name, word = user.encode(), password.encode()
    if mechanism == "PLAIN":
        return b"\0" + name + b"\0" + word, lambda _challenge: b""
    if mechanism == "LOGIN":
        answers = iter((name, word))
        return None, lambda _challenge: next(answers, b"")
    if mechanism == "CRAM-MD5":
        return None, lambda challenge: name + b" " + hmac.new(word, challenge, "md5").hexdigest().encode()
    if mechanism == "XOAUTH2":
        return b"user=" + name + b"\1auth=Bearer " + word + b"\1\1", lambda _challenge: b""
    # RFC 7628 section 3.1; after an error the client answers with a single ^A.
    head = f"n,a={user.replace('=', '=3D').replace(',', '=2C')},\1host={smarthost.host}\1port={smarthost.port}\1"
    return head.encode() + b"auth=Bearer " + word + b"\1\1", lambda _challenge: b"\1"


def _forms(secret: bytes) -> tuple[bytes, ...]:
    """Return a secret in the forms in which a server might echo it: as it is, and in base64."""
    encoded = base64.b64encode(secret)
    return secret, encoded, encoded.rstrip(b"=")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.text.encode("utf-8", "surrogateescape"), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _oauth_error(challenge: bytes) -> str:
    """Return what the error challenge of a refused token says (RFC 7628 section 3.2.2), capped."""
    try:
        found = json.loads(challenge)
        return ", ".join(f"{key} {value}" for key, value in found.items())[:300]
    except (ValueError, AttributeError):
        return ""
