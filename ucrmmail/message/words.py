"""What a reply says in words: its beginning, in lower case and without addresses; and whether it speaks of us at all.

An address is repeated in most refusals, and has any words in it: ``ptr-records@spf.example`` says nothing of either.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

# What a refusal means, its beginning says. A server may send 64 KiB of it for each of a thousand recipients.
_TELLING_CHARACTERS = 4096
# A page is named in brackets too, and that one tells something: Spamhaus, Google.
_BRACKETED = re.compile(r"<(?!https?:)[^<>]*>")
# A second server has spoken (Postfix's "host x said: ...", Exim's callout).
_PASSED_ON = re.compile(
    r"\bsaid:|\bin reply to\b|\bcall(out|back)\b|\bresponse:|\b(error|reply|response) from (the )?remote\b"
    r"|\bremote (mail )?(server|host|mta) (said|returned|answered|replied|responded|rejected)\b"
)
# An exception that nobody caught. aiosmtpd says 500 "Error: (OperationalError) database is locked" to any command then,
# and nodemailer's smtp-server the exception's words with 550 (535 to a login): "connect ECONNREFUSED 127.0.0.1:27017".
_FAILURE = re.compile(
    r"^error: (\(\w*(error|exception)\)( |$)|cannot describe error\b)"
    r"|^(connect|read|write|getaddrinfo|query\w*) "
    r"e(conn(refused|reset|aborted)|timedout|pipe|notfound|ai_again|(host|net)unreach)\b"
)
# A mailbox or a domain that does not exist, is malformed, has moved, or takes no mail (RFC 3463, RFC 7505).
_ADDRESS_STATUS = frozenset({".1.1", ".1.2", ".1.3", ".1.6", ".1.10"})


def without_addresses(text: str) -> str:
    """Return the words of a text that are no address, in brackets or not."""
    return " ".join([word for word in _BRACKETED.sub(" ", text).split() if "@" not in word])


# One reply is looked at for its scope, for its kind and for the explanation.
@lru_cache(maxsize=4)
def words_of(reply: Reply) -> str:
    """Return what a reply says, in lower case: the beginning of its text, without addresses."""
    return without_addresses(reply.text[:_TELLING_CHARACTERS].lower())


def is_of_others(reply: Reply) -> bool:
    """Return whether a reply tells what another server said, which knows the smarthost and not us; or of an address."""
    return reply.enhanced[1:] in _ADDRESS_STATUS or _PASSED_ON.search(words_of(reply)) is not None


def is_of_a_failure(reply: Reply) -> bool:
    """Return whether the program that answers has failed, whatever number it has for that: it says nothing of us."""
    return not reply.positive and _FAILURE.search(words_of(reply)) is not None
