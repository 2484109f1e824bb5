"""What a refusal means to somebody who does not know mail: words for the status codes of RFC 3463 and RFC 7372."""

from __future__ import annotations

# By subject and detail of the enhanced status code: what it means, and what the writer of the message can do. A row for
# the subject alone stands for the details that have none of their own.
_MEANINGS = {
    "1": (
        "the server did not take this address",
        "check how it is spelt, or ask the person for the right one",
    ),
    "1.1": (
        "there is no mailbox of this name",
        "check how the part before the @ is spelt, or ask the person for the right address",
    ),
    "1.2": (
        "there is no mail system of this name",
        "check how the part behind the @ is spelt",
    ),
    "1.6": (
        "the mailbox has moved, and nobody said where to",
        "ask the person for the new address",
    ),
    "1.7": ("the server did not like the address that the message is from", "ask the administrator named below"),
    "1.8": ("the server did not like the address that the message is from", "ask the administrator named below"),
    "1.10": (
        "this domain says that it receives no mail",
        "check how the part behind the @ is spelt, or ask the person for another address",
    ),
    "2": ("the mailbox could not take the message", "try again later, or reach the person by other means"),
    "2.1": ("the mailbox is closed or not in use", "reach the person by other means"),
    "2.2": ("the mailbox is full", "tell the person by other means, and send the message again later"),
    "2.3": ("the message is too large for this mailbox", "send less, or a link instead of the attachment"),
    "3": ("the mail system of the recipient has trouble of its own", "send the message again later"),
    "3.4": ("the message is too large for this mail system", "send less, or a link instead of the attachment"),
    "4": ("the mail system of the recipient could not be reached", "send the message again later"),
    "4.4": (
        "there is no way to the mail system of the recipient",
        "check how the part behind the @ is spelt",
    ),
    "4.7": (
        "it was tried again and again, until the time allowed for that was over",
        "send the message again later, or reach the person by other means",
    ),
    "6": (
        "a mail system on the way cannot handle the form of the message",
        "send it as plain text with ordinary attachments",
    ),
    "6.7": (
        "a mail system on the way cannot handle an address with letters outside a-z",
        "ask the person for an address without them",
    ),
    "7": (
        "the server refuses the message by its own rules: it may look like spam to it, or not come from whom it says",
        "ask the administrator named below",
    ),
    "7.20": ("the message has no DKIM signature that the server accepts", "ask the administrator named below"),
    "7.23": ("SPF does not allow our server to send for this domain", "ask the administrator named below"),
    "7.25": ("our server has no name in the DNS that fits it", "ask the administrator named below"),
    "7.26": ("the message failed the checks of SPF, DKIM or DMARC", "ask the administrator named below"),
}
_UNKNOWN = (
    "the answer holds no code that tells more",
    "read the answer; if that does not help, ask the administrator named below",
)


def explain(enhanced: str) -> tuple[str, str]:
    """Return (what it means, what to do) for a status code such as 5.1.1; words that promise nothing for ""."""
    _class, _, rest = enhanced.partition(".")
    subject = rest.partition(".")[0]
    return _MEANINGS.get(rest) or _MEANINGS.get(subject) or _UNKNOWN
