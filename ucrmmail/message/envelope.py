"""The envelope of a submission: whom it goes to, and where bounces go.

The envelope is stored apart from the header and never read from it again: what a header says later on, or what it
seems to say to another parser, changes no recipient. Loaded by every submission, hence a plain class.
"""

from __future__ import annotations

from ucrmmail.errors import DataError, NoUserError
from ucrmmail.message.address import folded, is_bare, is_of_this_machine, is_this_machine, parse_mailbox
from ucrmmail.message.addresslist import parse_address_list
from ucrmmail.message.header import value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ucrmmail.message.header import FieldsByName

# Of one message. They are in memory some times over, with every attempt.
MOST_RECIPIENTS = 100_000
_RECIPIENT_FIELDS = ("to", "cc", "bcc")
_RESENT_FIELDS = ("resent-to", "resent-cc", "resent-bcc")


class Addresses:
    """The configured addresses: valid mailboxes, "" when unset. A plain class, since dataclasses cost start-up time.

    ``smarthost`` is the host that the mail goes to: one on this machine knows the users of this machine.
    """

    __slots__ = ("notification", "organization", "sender", "smarthost", "support")

    def __init__(
        self,
        *,
        sender: str = "",
        organization: str = "",
        support: str = "",
        notification: str = "",
        smarthost: str = "",
    ) -> None:
        self.sender = sender
        self.smarthost = smarthost
        self.organization = organization
        self.support = support
        self.notification = notification

    @property
    def sending(self) -> str:
        """Whom mail is from: the sender address, else the organization email, else ""."""
        return self.sender or self.organization


def recipients_in(known: FieldsByName) -> Iterator[str]:
    """Yield the mailboxes and local names in To, Cc and Bcc; of a message that was resent, those it was resent to.

    Raises NoUserError, naming the field, for one that is no address list (RFC 5322 sections 3.6.3 and 3.6.6).
    """
    names = _RESENT_FIELDS if any(name in known for name in _RESENT_FIELDS) else _RECIPIENT_FIELDS
    for name in names:
        for field in known.get(name, ()):
            try:
                yield from parse_address_list(value_of(field))
            except NoUserError as error:
                raise NoUserError(f"{name.title()}: {error.what}", why=error.why, remedy=error.remedy) from None


def resolved(names: Iterable[str], addresses: Addresses) -> tuple[str, ...]:
    """Return the mailboxes, local names led to where their mail goes, each once and in order.

    Raises NoUserError for a name that is no address, or leads nowhere, and when there is none at all.
    """
    found: dict[str, str] = {}
    for name in names:
        mailbox = destination(name, addresses) if is_bare(name) else _led(parse_mailbox(name), addresses)
        found.setdefault(folded(mailbox), mailbox)
    if not found:
        raise NoUserError(
            "the message has no recipients",
            remedy="name them on the command line, or in a To, Cc or Bcc header that is read",
        )
    return tuple(found.values())


def _led(mailbox: str, addresses: Addresses) -> str:
    """Return where mail to a mailbox goes: root@localhost, as fail2ban and Nagios write, is root, if that leads on.

    A smarthost on this machine has that root, and joe, whose mail is for nobody else.
    """
    if not is_of_this_machine(mailbox) or is_this_machine(addresses.smarthost):
        return mailbox
    try:
        return destination(mailbox.rpartition("@")[0], addresses)
    except NoUserError:
        return mailbox


def destination(name: str, addresses: Addresses) -> str:
    """Return where mail to a local name goes: ``support`` to the support address, all others to notification.

    Raises NoUserError when that is not set.
    """
    support = name.lower() == "support"
    if support and addresses.support:
        return addresses.support
    if addresses.notification:
        return addresses.notification
    key = "addresses.support" if support else "addresses.notification"
    raise NoUserError(
        f"mail to the local name {name!r} leads nowhere",
        why=f"{key} is not set",
        remedy=f"ucrmmail config set {key} you@example.com",
    )


def reverse_path_for(given: str | None, addresses: Addresses, known: FieldsByName) -> str:
    """Return where bounces go: what the submitter gave, else the sender address, organization email, or From.

    ``given`` is "" for the null reverse-path and None when there is none. A local name, as in ``-f www-data``, gives no
    address that the world could answer to, so it counts as none; when cron is "From: root" and nothing else is known,
    bounces go where mail to root goes.

    Raises NoUserError for an address that is wrong, DataError when nothing names one.
    """
    if given is not None and not is_bare(given):
        return parse_mailbox(given) if given else ""
    if addresses.sending:
        return addresses.sending
    for mailbox in mailboxes_of(known, "from"):
        if not is_bare(mailbox):
            return mailbox
    if addresses.notification:
        return addresses.notification
    raise DataError(
        "the message has no address for bounces to go to",
        why="none was given, none is configured, and From names none",
        remedy="ucrmmail config set addresses.sender you@example.com",
    )


def mailboxes_of(known: FieldsByName, name: str) -> list[str]:
    """Return what the fields of a name hold; nothing when they are no address lists, since only readers see them."""
    try:
        return [mailbox for field in known.get(name, ()) for mailbox in parse_address_list(value_of(field))]
    except NoUserError:
        return []
