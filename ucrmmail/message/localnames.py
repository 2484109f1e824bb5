"""Names of local users in a header, as cron and its like write them: what is sent in their place.

    To: root                       To: "root" <admin@isp.example>        where addresses.notification leads to
    Cc: Ops <ops>, joe@a.example   Cc: Ops <admin@isp.example>, joe@a.example
    To:                            left out

Such a name is an address on this machine only. Other mail systems put their domain behind it; without one Amazon SES
refuses the message, whatever its envelope says ("554 Transaction failed: Missing final '@domain'"). So do SES and GMX
where To is empty, as PHP writes it for a message to Bcc alone: RFC 5322 section 3.6.3 has no such field.

From has rules of its own: see ``prepare``.
"""

from __future__ import annotations

from ucrmmail.errors import NoUserError
from ucrmmail.message.addresslist import with_addresses
from ucrmmail.message.envelope import destination
from ucrmmail.message.header import CRLF, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ucrmmail.message.envelope import Addresses
    from ucrmmail.message.header import Fields

_NAMES = ("to", "cc", "reply-to", "resent-to", "resent-cc")
# Who writes to local users writes to a few; the lists of newsletters are not read once more. It is so much of all the
# fields: a name of one letter becomes two hundred, and a header that anyone may hand over must not fill the memory.
_LONGEST_LISTS_BYTES = 10_000


def without_local_names(fields: Fields, addresses: Addresses) -> Fields:
    """Return the fields with addresses in place of local names, and without those of addresses that are empty.

    One that is no address list, or has a name that leads nowhere, stays as it is: only readers see it.
    """
    result: Fields = []
    left = _LONGEST_LISTS_BYTES
    for name, field in fields:
        if name not in _NAMES or len(field) > left:
            result.append((name, field))
            continue
        left -= len(field)
        if value := value_of(field):
            result.append((name, _led(field, value, addresses)))
    return result


def _led(field: bytes, value: str, addresses: Addresses) -> bytes:
    try:
        led = with_addresses(value, lambda name: destination(name, addresses))
    except NoUserError:
        return field
    if led == value:
        return field
    return field.partition(b":")[0] + b": " + led.encode("utf-8", "surrogateescape") + CRLF
