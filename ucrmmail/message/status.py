"""The enhanced status codes of mail, all that IANA has registered, in words for people (RFC 3463, RFC 5248, RFC 7372).

Source: IANA, "Simple Mail Transfer Protocol (SMTP) Enhanced Status Codes Registry". The first number of a code says
only whether it is for good, so that 4.2.2 and 5.2.2 mean the same here.
"""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a code says, what the administrator can do about it, and what the writer of the message can; each may be "".

    The writer's is "" where the administrator is the one to ask.
    """

    what: str
    remedy: str = ""
    advice: str = ""


_ASK_ADDRESS = "check how it is spelt, or ask the person for the right one"
_SPELT = "check how the part behind the @ is spelt"
_OTHER_MEANS = "reach the person by other means"
_LATER = "send the message again later"
_SMALLER = "send less, or a link instead of the attachment"
_PLAINER = "send it as plain text with ordinary attachments"
_STARTTLS = "run `ucrmmail config set smtp.encryption starttls`"
_PASSWORD = "check smtp.username, and run `ucrmmail config set smtp.password` with the right one"  # noqa: S105
_SENDER = "check addresses.sender"
_CHECK_DNS = "run `ucrmmail check-dns`: it names the records to publish"
_OURS = "report it: the reply and the output of `ucrmmail test-connection --transcript`"

# By subject and detail. A row of the subject alone stands for details that have none of their own.
MEANINGS = {
    # Addresses
    "1": Meaning("the server did not take this address", "check the address", _ASK_ADDRESS),
    "1.1": Meaning(
        "there is no mailbox of this name",
        "check the address",
        "check how the part before the @ is spelt, or ask the person for the right address",
    ),
    "1.2": Meaning("there is no mail system of this name", "check the recipient's domain", _SPELT),
    "1.3": Meaning("the server finds the address malformed", "check the address", _ASK_ADDRESS),
    "1.4": Meaning("the address fits more than one mailbox", "ask for the full address", _ASK_ADDRESS),
    "1.5": Meaning("the address is valid"),
    "1.6": Meaning(
        "the mailbox has moved, and nobody said where to", "ask for the new address", "ask the person for the new one"
    ),
    "1.7": Meaning("the server finds the sender's address malformed", _SENDER),
    "1.8": Meaning("the domain of the sender's address does not exist, or takes no mail", _SENDER),
    "1.9": Meaning("the message went on to a mail system that reports nothing"),
    "1.10": Meaning(
        "this domain says that it receives no mail",
        "check the address",
        f"{_SPELT}, or ask the person for another address",
    ),
    # Mailboxes
    "2": Meaning("the mailbox could not take the message", "", f"try again later, or {_OTHER_MEANS}"),
    "2.1": Meaning("the mailbox is closed or not in use", "ask the recipient, by other means", _OTHER_MEANS),
    "2.2": Meaning(
        "the mailbox is full",
        "tell the recipient, by other means",
        "tell the person by other means, and send the message again later",
    ),
    "2.3": Meaning("the message is too large for this mailbox", "send less, or a link", _SMALLER),
    "2.4": Meaning("the mailing list could not be expanded", "ask its owner", "ask the owner of the list"),
    # Mail systems
    "3": Meaning("the mail system of the recipient has trouble of its own", "", _LATER),
    "3.1": Meaning("the server's disk is full", "", _LATER),
    "3.2": Meaning("the server takes no mail at the moment", "", _LATER),
    "3.3": Meaning("the server lacks something that the message needs", "", _PLAINER),
    "3.4": Meaning("the message is too large for this mail system", "send less, or a link", _SMALLER),
    "3.5": Meaning("the server is not set up to take this message", "ask who runs it"),
    "3.6": Meaning("the server changed the priority of the message"),
    # The network and the way
    "4": Meaning("the mail system of the recipient could not be reached", "", _LATER),
    "4.1": Meaning("the recipient's server does not answer", "", _LATER),
    "4.2": Meaning("the connection to the recipient's server broke", "", _LATER),
    "4.3": Meaning("a server that finds the way, such as DNS, has failed", "", _LATER),
    "4.4": Meaning("there is no way to the mail system of the recipient", "check the recipient's domain", _SPELT),
    "4.5": Meaning("the mail system is overloaded, or this sender has sent too much for now", "", _LATER),
    "4.6": Meaning(
        "the message runs in a loop", "look at its Received lines, and at forwards of the recipient", _OTHER_MEANS
    ),
    "4.7": Meaning(
        "it was tried again and again, until the time allowed for that was over",
        "",
        f"{_LATER}, or {_OTHER_MEANS}",
    ),
    # The dialogue
    "5": Meaning("the two mail systems did not understand each other", _OURS),
    "5.1": Meaning("the server does not know the command, or not here", _OURS),
    "5.2": Meaning("the server finds the command malformed", _OURS),
    "5.3": Meaning("the transaction has too many recipients", "nothing: the rest goes in a transaction of its own"),
    "5.4": Meaning("the server does not take a parameter of the command", _OURS),
    "5.5": Meaning("the server speaks another version of the protocol", _OURS),
    "5.6": Meaning("the login was too long for the server", "use a shorter password or token"),
    # The form of the message
    "6": Meaning(
        "a mail system on the way cannot handle the form of the message", "look at its headers and MIME parts", _PLAINER
    ),
    "6.1": Meaning("the recipient's system does not take this kind of attachment", "send another kind", _PLAINER),
    "6.2": Meaning("the message must be converted on its way, and that is forbidden", "", _PLAINER),
    "6.3": Meaning(
        "the server cannot take 8-bit text, and the message has it", "send it as quoted-printable or base64", _PLAINER
    ),
    "6.4": Meaning("the message lost something when it was converted on its way"),
    "6.5": Meaning("the message could not be converted on its way", "", _PLAINER),
    "6.6": Meaning("the server could not fetch what the message refers to", "", _LATER),
    "6.7": Meaning(
        "a mail system on the way cannot handle an address with letters outside a-z",
        "use an address in ASCII",
        "ask the person for an address without them",
    ),
    "6.8": Meaning("the server had to answer in letters outside ASCII, and may not", _OURS),
    "6.9": Meaning(
        "the recipient's system cannot take headers with letters outside ASCII",
        "send it without such addresses in the header",
        _PLAINER,
    ),
    "6.10": Meaning("the server had to answer in letters outside ASCII, and may not", _OURS),
    # Security and policy
    "7": Meaning(
        "the server refuses the message by its own rules: it may look like spam to it, or not come from whom it says",
        "the reply may say more",
    ),
    "7.0": Meaning("the server's policy forbids it", "the reply may say more"),
    "7.1": Meaning(
        "the server refuses the message by its own rules: this sender may not write to this recipient",
        "the reply may say more",
    ),
    "7.2": Meaning("this sender may not write to the mailing list", "ask its owner", "ask the owner of the list"),
    "7.3": Meaning("the message cannot be converted to the security that the server wants"),
    "7.4": Meaning(
        "the server lacks a security feature, or does not know this kind of login", "set smtp.authentication"
    ),
    "7.5": Meaning("the server could not decrypt or verify something", "try again; then ask who runs it"),
    "7.6": Meaning("the server does not know the cipher or the signature that was used"),
    "7.7": Meaning("the message was changed on its way", "look for a filter that rewrites mail"),
    "7.8": Meaning("user name or password is wrong", _PASSWORD),
    "7.9": Meaning("the server does not take this kind of login", "set smtp.authentication to one that it offers"),
    "7.10": Meaning("the server wants TLS", _STARTTLS),
    "7.11": Meaning("the server wants TLS for this login", _STARTTLS),
    "7.12": Meaning(
        "the password must be set anew before this kind of login works",
        "log in once with smtp.authentication plain, over TLS",
    ),
    "7.13": Meaning("the account is disabled", "ask the provider"),
    "7.14": Meaning("the server wants a trust relationship that does not exist", "ask who runs it"),
    "7.15": Meaning("the priority of the message is too low for now", "", _LATER),
    "7.16": Meaning("the message is too large for its priority", "send less, or a link", _SMALLER),
    "7.17": Meaning("the mailbox belongs to somebody else now", "ask for the new address", _ASK_ADDRESS),
    "7.18": Meaning("the recipient's domain belongs to somebody else now", "ask for the new address", _ASK_ADDRESS),
    "7.19": Meaning("the server could not find out since when the mailbox belongs to its owner"),
    "7.20": Meaning("the message has no DKIM signature that the server accepts", _CHECK_DNS),
    "7.21": Meaning("the message has no DKIM signature that is good enough for the server", _CHECK_DNS),
    "7.22": Meaning("no DKIM signature is of the domain in From", _CHECK_DNS),
    "7.23": Meaning("SPF does not allow our server to send for this domain", _CHECK_DNS),
    "7.24": Meaning("the SPF record of the sender's domain cannot be evaluated", _CHECK_DNS),
    "7.25": Meaning("the address that the mail comes from has no name in DNS (PTR) that fits it", _CHECK_DNS),
    "7.26": Meaning("the message failed the checks of SPF, DKIM or DMARC", _CHECK_DNS),
    "7.27": Meaning("the domain of the sender's address says that it takes no mail (null MX)", _SENDER),
    "7.28": Meaning("too much mail came at once, or too much that looks alike", "send less at a time", _LATER),
    "7.29": Meaning("the chain of ARC signatures of a forwarded message is broken", "ask who forwards it"),
    "7.30": Meaning("the message asks for TLS on the whole way, and the next server cannot do that"),
}  # fmt: skip

ASK = "ask the administrator named below"
UNKNOWN = Meaning(
    "the answer holds no code that tells more",
    "",
    "read the answer; if that does not help, ask the administrator named below",
)


def meaning_of(enhanced: str) -> Meaning:
    """Return what a status code such as 5.1.1 means; that of its subject for a detail that is not registered."""
    _class, _, rest = enhanced.partition(".")
    return MEANINGS.get(rest) or MEANINGS.get(rest.partition(".")[0]) or UNKNOWN
