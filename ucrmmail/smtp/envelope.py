"""The commands of an envelope: MAIL and RCPT with their parameters, and what a server cannot take.

Pure: from a transaction and what the server offers to bytes, or to the reason why not (RFC 5321; SIZE: RFC 1870;
8BITMIME: RFC 6152; SMTPUTF8: RFC 6531).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Outcome, Result, Stage

_MARKS = frozenset(' <>"')
_BEYOND_ASCII = Outcome(
    "", Result.DEFERRED, Stage.MAIL, "an address is outside ASCII, and the smarthost does not offer SMTPUTF8", "4.6.7"
)

if TYPE_CHECKING:
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.transaction import Transaction


def mail_command(transaction: Transaction, offered: Capabilities) -> bytes:
    """Return ``MAIL FROM:<billing@isp.example> SIZE=5120 BODY=8BITMIME`` with its line end."""
    parameters = ""
    if offered.size:
        parameters += f" SIZE={transaction.size_bytes}"
    if transaction.eight_bit and offered.eight_bit:
        parameters += " BODY=8BITMIME"
    # UTF-8 in headers alone is no reason to fail where SMTPUTF8 is not offered: 8BITMIME carries it in practice.
    if transaction.utf8 and offered.utf8:
        parameters += " SMTPUTF8"
    return f"MAIL FROM:<{transaction.reverse_path}>{parameters}\r\n".encode()


def rcpt_command(recipient: str) -> bytes:
    """Return ``RCPT TO:<joe@example.com>`` with its line end."""
    return f"RCPT TO:<{recipient}>\r\n".encode()


def beyond_server(transaction: Transaction, offered: Capabilities) -> Outcome | None:
    """Return what becomes of a message that needs what the server does not offer; None when it may go.

    One that is too large has failed: the server has said so (RFC 1870 section 6.1). An extension that is missing may be
    back tomorrow: a firewall takes them out, and a server that has its troubles refuses EHLO. So such a message waits,
    and is given up like any other. The outcome's recipient is left "": it holds for all of them.
    """
    if not all(map(_is_harmless, (transaction.reverse_path, *transaction.recipients))):
        return _failed("5.1.3", "an address of the envelope has characters that would end the command")
    if offered.size_bytes and transaction.size_bytes > offered.size_bytes:
        return _failed(
            "5.3.4", f"the message has {transaction.size_bytes} bytes, and the smarthost takes {offered.size_bytes}"
        )
    if not (offered.utf8 or transaction.reverse_path.isascii()):
        return _BEYOND_ASCII
    if transaction.eight_bit and not offered.eight_bit:
        why = "the message has 8-bit text, and the smarthost does not offer 8BITMIME"
        return Outcome("", Result.DEFERRED, Stage.MAIL, why, "4.6.3")
    return None


def recipients_beyond_server(transaction: Transaction, offered: Capabilities) -> tuple[tuple[str, ...], Outcome]:
    """Return the recipients that need what the server does not offer, and what becomes of them; others may go."""
    beyond = () if offered.utf8 else tuple([one for one in transaction.recipients if not one.isascii()])
    return beyond, _BEYOND_ASCII


def _is_harmless(address: str) -> bool:
    """Return whether an address stays one address on the wire.

    Addresses were checked when the message was accepted; a queue file that was tampered with must still not become a
    second command or a parameter.
    """
    if not address.isprintable():
        return False
    local, _, domain = address.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        # Within quotes all is allowed that does not end them (RFC 5321 section 4.1.2, Quoted-string).
        inner = local[1:-1].replace("\\\\", "").replace('\\"', "")
        return not ('"' in inner or inner.endswith("\\")) and _MARKS.isdisjoint(domain)
    return _MARKS.isdisjoint(address)


def _failed(enhanced: str, why: str) -> Outcome:
    return Outcome("", Result.FAILED, Stage.MAIL, why, enhanced)
