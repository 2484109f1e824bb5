"""The part of a delivery status notification that a person reads: what happened, why, and what to do."""

from __future__ import annotations

from email.header import decode_header, make_header
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.message.explain import for_writer
from ucrmmail.message.header import format_date, value_of
from ucrmmail.message.homograph import in_unicode, mixed_scripts
from ucrmmail.message.plain import visible, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ucrmmail.message.header import FieldsByName

_LONGEST_SUBJECT = 200
_LONGEST_VALUE = 2000

MAY_BE_DELIVERED = "the message may have been delivered"
_UNCERTAIN = (
    f"{MAY_BE_DELIVERED}: the mail server got all of it, and did not say whether it took it",
    "ask the recipient whether it has arrived, perhaps more than once, before you send it again",
)


@dataclass(frozen=True, slots=True)
class FailedRecipient:
    """A recipient who did not get the message (or not yet), the status code (RFC 3463, "" when unknown), the reply.

    ``at`` is when it was tried last, in seconds since the epoch.
    ``reply`` is the server's, or our own words when it said nothing; ``stage`` is where in the dialogue that was.
    ``uncertain``: the last dot left and no reply came, so that the recipient may have the message (RFC 1047). For
    programs that is a failure too, since RFC 3464 has no action for it.
    """

    recipient: str
    enhanced: str
    reply: str
    stage: str = ""
    uncertain: bool = False
    at: float = 0.0


def report_text(
    *,
    to: str,
    queue_id: str,
    reverse_path: str,
    accepted_at: float,
    failed: Sequence[FailedRecipient],
    original: FieldsByName,
    hostname: str,
    retry_until: float,
) -> str:
    """Return the text, its lines ended by LF; for the parameters see ``dsn.build_dsn``."""
    lines = [f"This is the mail system on {hostname}.", "", wrapped(_opening(failed, retry_until))]
    if to != reverse_path:
        lines += ["", wrapped(_why_you(reverse_path))]
    lines += ["", *_about(original, accepted_at, queue_id)]
    for one in failed:
        lines += ["", *_about_recipient(one)]
    lines += [
        "",
        wrapped(
            f"If you need help, forward this whole report to the administrator of {hostname}. There, "
            f"`ucrmmail queue show {queue_id}` tells more, and `ucrmmail check-dns` shows whether others can trust "
            "mail from there."
        ),
    ]
    return "\n".join(lines)


def _opening(failed: Sequence[FailedRecipient], retry_until: float) -> str:
    few = len(failed) == 1
    these = "this recipient" if few else "these recipients"
    if retry_until:
        return (
            f"The message below has not reached {'its recipient' if few else 'these recipients'} yet. There is nothing "
            f"to do: it is tried again until {format_date(retry_until)}. Do not send it again; they would get it twice."
        )
    if all(one.uncertain for one in failed):
        what = f"may have been delivered to {these}, or not: that is not known. It"
    elif any(one.uncertain for one in failed):
        what = "was not delivered to all of these recipients, and may have been to some, as is told below. It"
    else:
        what = f"was not delivered to {these}, and"
    return (
        f"The message below {what} is not tried again for them. Its other recipients, if it has any, are not affected."
    )


def _why_you(reverse_path: str) -> str:
    if reverse_path:
        return f"You are told in place of {reverse_path}."
    return (
        "The message had no return address, as automatic reports have none, so that you are told: this is the system "
        "notification address."
    )


def _about(original: FieldsByName, accepted_at: float, queue_id: str) -> Iterator[str]:
    if "subject" in original:
        yield f"    Subject:    {_decoded(value_of(original['subject'][0]))}"
    if "from" in original:
        yield f"    From:       {_decoded(value_of(original['from'][0]))}"
    yield f"    Submitted:  {format_date(accepted_at)}"
    yield f"    Queue id:   {visible(queue_id)}"


def _about_recipient(one: FailedRecipient) -> Iterator[str]:
    domain = one.recipient.rpartition("@")[2]
    readable = in_unicode(domain)
    yield f"<{one.recipient}>" + (f"  (in letters: {visible(readable)})" if readable != domain else "")
    meaning, advice = _UNCERTAIN if one.uncertain else for_writer(one.enhanced, one.reply)
    yield wrapped(f"Answer: {visible(one.reply) or 'none'}", "    ")
    yield wrapped(f"This means: {meaning}.", "    ")
    yield wrapped(f"What to do: {advice}.", "    ")
    scripts = mixed_scripts(domain)
    if scripts:
        yield wrapped(
            f"Look closely: the name mixes {' and '.join(scripts)} letters, which can look the same. Was it typed, or "
            "copied from somewhere?",
            "    ",
        )


def _decoded(value: str) -> str:
    """Return a header value with its encoded words (RFC 2047) in plain letters, as far as they can be read."""
    value = value[:_LONGEST_VALUE]
    try:
        text = str(make_header(decode_header(value)))
    except Exception:  # noqa: BLE001 # whatever the email package makes of hostile words: they are shown undecoded
        text = value
    text = visible(text)
    return text if len(text) <= _LONGEST_SUBJECT else text[: _LONGEST_SUBJECT - 3] + "..."
