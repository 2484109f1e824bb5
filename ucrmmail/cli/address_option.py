"""An address on the command line: the option is named when it is none."""

from __future__ import annotations

from ucrmmail.errors import NoUserError, UsageError
from ucrmmail.message.address import parse_mailbox
from ucrmmail.output import human


def mailbox_in(option: str, text: str) -> str:
    """Return the mailbox that was given for this option.

    Raises UsageError for characters that no address can have, NoUserError for anything else that is none.
    """
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise UsageError(
            f"{option}: {text!r} has a control character in it", remedy="an address has none: name it without"
        )
    try:
        mailbox = parse_mailbox(text)
    except NoUserError as error:
        several = any(separator in text for separator in ",; ")
        hint = f"one {option} for each address" if several and option == "--to" else ""
        raise NoUserError(f"{option}: {error.what}", why=error.why, remedy=hint or error.remedy) from None
    if mailbox.startswith("-"):
        human.note(f"ucrmmail: {option}: {mailbox} begins with a hyphen; it is taken as an address, not as an option")
    return mailbox
