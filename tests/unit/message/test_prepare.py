"""Header and body of what is queued, rule by rule."""

from __future__ import annotations

import time

import pytest

from tests.support.injections import INJECTIONS
from tests.support.scratch import in_pieces
from tests.support.submission import NOW, UNIQUE, again, submit
from ucrmmail.errors import DataError, UcrmmailError
from ucrmmail.message.header import by_name, format_date, split, value_of
from ucrmmail.message.prepare import Addresses

COMPLETE = (
    "From: Billing <billing@isp.example>\r\n"
    "To: Joe <joe@example.com>\r\n"
    "Subject: Invoice\r\n"
    "Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    "Message-ID: <1@isp.example>\r\n"
    "\r\n"
    "Hello.\r\n"
)
SENDER = Addresses(sender="sender@isp.example")
ORGANIZATION = Addresses(organization="office@isp.example")
BOTH = Addresses(sender="sender@isp.example", organization="office@isp.example")


def values(message: bytes, name: str) -> list[str]:
    return [value_of(field) for field in by_name(split(message)[0]).get(name.lower(), ())]


def test_a_complete_message_is_not_touched() -> None:
    assert submit(COMPLETE).message == COMPLETE.encode()


# Sender


@pytest.mark.parametrize(
    ("addresses", "sender"),
    [
        (SENDER, ["sender@isp.example"]),
        (ORGANIZATION, ["office@isp.example"]),
        (BOTH, ["sender@isp.example"]),
        (Addresses(), []),
        (Addresses(support="s@isp.example", notification="n@isp.example"), []),
    ],
)
def test_sender_is_the_sender_address_else_the_organization_email_else_absent(
    addresses: Addresses, sender: list[str]
) -> None:
    assert values(submit(COMPLETE, addresses=addresses).message, "sender") == sender


def test_sender_is_written_also_when_it_is_the_only_from_mailbox() -> None:
    message = submit(COMPLETE, addresses=Addresses(sender="billing@isp.example")).message
    assert message == b"Sender: billing@isp.example\r\n" + COMPLETE.encode()


@pytest.mark.parametrize(
    "existing",
    ["Sender: eve@example.com", "sender : eve@example.com", "SENDER:\r\n eve@example.com", "Sender:", "Sender: not one",
     "Sender: eve@example.com\r\nSender: sender@isp.example", "Sender: sender@isp.example, eve@example.com"],
)  # fmt: skip
def test_another_sender_is_replaced(existing: str) -> None:
    message = submit(f"{existing}\r\n{COMPLETE}", addresses=SENDER).message
    assert message == b"Sender: sender@isp.example\r\n" + COMPLETE.encode()


@pytest.mark.parametrize(
    "existing",
    ["Sender: sender@isp.example", "sender:Billing <sender@ISP.example> (robot)", "Sender:\r\n sender@isp.example"],
)
def test_a_sender_that_is_right_already_keeps_its_bytes(existing: str) -> None:
    message = f"{existing}\r\n{COMPLETE}".encode()
    assert submit(message, addresses=SENDER).message == message


def test_the_application_keeps_its_sender_when_none_is_configured() -> None:
    message = f"Sender: robot@isp.example\r\n{COMPLETE}".encode()
    assert submit(message).message == message


# From, Date, Message-ID


def test_what_is_missing_is_added_at_the_top() -> None:
    prepared = submit("Subject: x\n\nhi\n", addresses=SENDER)
    assert prepared.message.decode().split("\r\n") == [
        f"Message-ID: <{UNIQUE}@isp.example>",
        f"Date: {format_date(NOW)}",
        "From: billing@isp.example",
        "Sender: sender@isp.example",
        "Subject: x",
        "",
        "hi",
        "",
    ]
    assert prepared.message_id == f"<{UNIQUE}@isp.example>"


def test_a_message_without_a_header_gets_one() -> None:
    prepared = submit("All is well\n")
    assert prepared.message.endswith(b"From: billing@isp.example\r\n\r\nAll is well\r\n")


@pytest.mark.parametrize("name", ["Date", "Message-ID", "From"])
@pytest.mark.parametrize("empty", ["{}:", "{}: ", "{} :\r\n ", "{}:\t"])
def test_an_empty_field_counts_as_missing(name: str, empty: str) -> None:
    lines = [line for line in COMPLETE.split("\r\n") if not line.startswith(name)]
    found = values(submit("\r\n".join([empty.format(name), *lines])).message, name)
    assert len(found) == 1
    assert found[0]


@pytest.mark.parametrize(
    ("reverse_path", "hostname", "domain"),
    [
        ("billing@isp.example", "web-1", "isp.example"),
        ("", "web-1.isp.example", "web-1.isp.example"),
        ("billing@[192.0.2.1]", "web-1", "web-1"),
        ("", "", "localhost"),
        ("", "bad host\r\n", "localhost"),
        ("", "w\u00e9b", "localhost"),
        ("jörg@xn--mnchen-3ya.example", "web-1", "xn--mnchen-3ya.example"),
    ],
)
def test_the_message_id_has_the_domain_of_the_reverse_path_else_the_hostname(
    reverse_path: str, hostname: str, domain: str
) -> None:
    prepared = submit("From: a@isp.example\n\n", reverse_path=reverse_path, hostname=hostname)
    assert prepared.message_id == f"<{UNIQUE}@{domain}>"


def test_the_message_id_of_the_application_is_kept() -> None:
    assert submit(COMPLETE).message_id == "<1@isp.example>"


@pytest.mark.parametrize(
    ("reverse_path", "addresses", "from_"),
    [
        ("billing@isp.example", SENDER, "billing@isp.example"),
        (None, BOTH, "sender@isp.example"),
        (None, ORGANIZATION, "office@isp.example"),
        ("", ORGANIZATION, "office@isp.example"),
        ("", Addresses(notification="noc@isp.example"), "noc@isp.example"),
        ("www-data", SENDER, "sender@isp.example"),
    ],
)
def test_a_missing_from_is_the_reverse_path_else_the_sender(
    reverse_path: str | None, addresses: Addresses, from_: str
) -> None:
    prepared = submit("Subject: x\n\n", reverse_path=reverse_path, addresses=addresses)
    assert values(prepared.message, "from") == [from_]


def test_without_anybody_to_be_from_the_message_is_refused_with_a_remedy() -> None:
    with pytest.raises(DataError, match="From") as caught:
        submit("Subject: x\n\n", reverse_path="")
    assert "addresses.sender" in caught.value.remedy


@pytest.mark.parametrize(
    ("full_name", "from_"),
    [
        ("Cron Daemon", '"Cron Daemon" <billing@isp.example>'),
        ('Joe "J" <eve@example.com>', '"Joe \\"J\\" <eve@example.com>" <billing@isp.example>'),
        ("Jiří", "=?utf-8?q?Ji=C5=99=C3=AD?= <billing@isp.example>"),
    ],
)
def test_the_full_name_is_for_a_from_that_is_added(full_name: str, from_: str) -> None:
    prepared = submit("Subject: x\n\n", full_name=full_name)
    assert values(prepared.message, "from") == [from_]
    assert not prepared.utf8
    assert submit(COMPLETE, full_name=full_name).message == COMPLETE.encode()


def test_a_full_name_of_any_length_is_folded() -> None:
    prepared = submit("Subject: x\n\n", full_name="ř" * 3000)
    assert max(len(line) for line in prepared.message.split(b"\r\n")) <= 998


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("full_name", INJECTIONS, ids=ascii)
def test_a_full_name_cannot_hold_another_header(full_name: str) -> None:
    with pytest.raises(DataError):
        submit("Subject: x\n\n", full_name=full_name)


@pytest.mark.parametrize(
    ("existing", "from_"),
    [
        ("root (Cron Daemon)", '"root" <billing@isp.example>'),
        ('"(Cron Daemon)" <root>', '"root" <billing@isp.example>'),
        ("www-data", '"www-data" <billing@isp.example>'),
    ],
)
def test_a_from_that_names_a_local_user_gets_an_address(existing: str, from_: str) -> None:
    prepared = submit(f"From: {existing}\nSubject: x\n\n")
    assert values(prepared.message, "from") == [from_]


@pytest.mark.parametrize(
    "existing", ["root, joe@example.com", "a@example.com <joe@example.com>", "not one", ",", "staff:;"]
)
def test_any_other_from_is_left_as_it_is(existing: str) -> None:
    assert values(submit(f"From: {existing}\n\n").message, "from") == [existing]


# Control characters

CONTROLS = [*(code for code in range(32) if chr(code) not in "\t\n\r"), *range(0x7F, 0xA0)]
FIELD_NAMES = ["From", "To", "Cc", "Subject", "Reply-To", "X-Mailer", "DKIM-Signature"]


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("code", CONTROLS, ids=hex)
def test_a_control_character_in_a_header_is_refused_and_the_header_named(code: int) -> None:
    for number, name in enumerate(FIELD_NAMES):
        before = "".join(f"X-{n}: fine\r\n é\r\n" for n in range(number))
        for value in (f"x{chr(code)}y", f"{chr(code)}", f"x\r\n\tsecond line {chr(code)}"):
            with pytest.raises(DataError) as refused:
                submit(f"{before}{name}: {value}\r\nComments: fine\r\n\r\nHello.\r\n")
            assert refused.value.what == f"the {name.title()} header holds the control character U+{code:04X}"


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("code", range(0x80, 0xA0), ids=hex)
def test_a_control_character_that_is_one_byte_is_refused_like_that_of_utf8(code: int) -> None:
    for joe in ("Joe <", "Jiří <"):
        raw = COMPLETE.replace("Joe <", joe).encode().replace(b"Invoice", b"x\r\n\t\xe9 " + bytes((code,)) + b"31m")
        with pytest.raises(DataError) as refused:
            submit(raw)
        assert refused.value.what == f"the Subject header holds the control character U+{code:04X} as one byte"


def test_letters_of_latin_1_are_no_control_characters() -> None:
    # The letters of UTF-8 hold bytes of C1 too: à is C3 A0, š is C5 A1, Ř is C5 98.
    raw = COMPLETE.replace("Joe <", "Řehoř <").encode().replace(b"Invoice", bytes(range(0xA0, 0x100)))
    assert submit(raw).message == raw


@pytest.mark.parametrize("letter", ["à", "–", "中", "😀"])
def test_a_letter_that_was_cut_in_two_is_no_control_character(letter: str) -> None:
    for size in range(1, len(letter.encode())):
        raw = COMPLETE.encode().replace(b"Invoice", b"cut " + letter.encode()[:size] + b"...")
        assert submit(raw).message == raw


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_what_an_application_lets_into_a_subject_becomes_no_header(text: str) -> None:
    """A line feed is the application's own, and what follows is what it wrote; no other character ends a line."""
    value = text.replace("\n", " ").encode("utf-8", "surrogatepass")
    raw = COMPLETE.encode().replace(b"\r\n", b"\n").replace(b"Invoice", value)
    if set(text) & {chr(code) for code in CONTROLS}:
        with pytest.raises(DataError, match="the Subject header holds the control character"):
            submit(raw)
    else:
        sent = submit(raw).message
        assert [name for name, _ in split(sent)[0]] == ["from", "to", "subject", "date", "message-id"]
        assert sent.endswith(b"\r\n\r\nHello.\r\n")


def test_a_control_character_in_the_body_is_none_of_ours() -> None:
    raw = COMPLETE.replace("Hello.", "Hello \x1b[1m\x07\x7f\x0c.")
    assert submit(raw).message == raw.encode()


# Bcc


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    "bcc",
    ["Bcc: eve@example.com", "BCC: eve@example.com", "bcc:eve@example.com", "Bcc : eve@example.com", "Bcc:",
     "Bcc: a@example.com,\r\n eve@example.com", "Bcc:\r\n\teve@example.com", "Bcc: eve@example.com\r\nBcc: bob@example.com",
     "Resent-Bcc: eve@example.com", "rESENT-bCC:\r\n eve@example.com,\r\n\tbob@example.com", "Bcc: not an address list <"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_bcc_is_never_sent(bcc: str, end: str) -> None:
    for raw in (f"{bcc}\r\n{COMPLETE}", COMPLETE.replace("Subject", f"{bcc}\r\nSubject")):
        assert submit(raw.replace("\r\n", end)).message == COMPLETE.encode()


@pytest.mark.requirement("R16", "S5")
@pytest.mark.parametrize("bcc", ["Bcc: eve@example.com", "rESENT-bCC :eve@example.com", "B\0cc: eve@example.com"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("To: joe@example.com\nno field\n{}\n\nhi\n", "no field"),
        ("To: joe@example.com\nno field\n{}", "no field"),
        ("To: joe@example.com\n: no name\nSubject: x\n{}\nX: y\n\nhi\n", ": no name"),
        ("\ufeffTo: joe@example.com\n{}\n\nhi\n", "\\ufeffTo: joe@example.com"),
        ("From billing Mon Nov 23 11:05:59 2026\n\ufeff{}\nTo: joe@example.com\n\nhi\n", "From billing Mon Nov 23"),
        ("To: joe@example.com\n\n{}\n\nhi\n", None),
        ("no header\n\n{}\n\nhi\n", None),
    ],
)
def test_bcc_below_a_line_that_is_no_field_is_not_sent_as_text(
    header: str, line: str | None, bcc: str, end: str
) -> None:
    raw = header.format(bcc).replace("\n", end).encode()
    for message in (raw, in_pieces(raw, 10, 100)):
        if line is None:
            assert submit(message).message.endswith(b"@example.com\r\n\r\nhi\r\n")
            continue
        with pytest.raises(DataError) as refused:
            submit(message)
        assert refused.value.what.startswith(f"the line '{line}")
        assert "is no field and ends the header" in refused.value.what
        assert refused.value.remedy


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["\n{}\n\nhi\n", "\n\n\nTo: joe@example.com\nSubject: x\n{}\n\nhi\n"])
@pytest.mark.parametrize("bcc", ["Bcc: eve@example.com", "resent-BCC : eve@example.com"])
def test_bcc_below_an_empty_line_in_front_is_not_sent_as_text(header: str, bcc: str, end: str) -> None:
    raw = header.format(bcc).replace("\n", end).encode()
    for message in (raw, in_pieces(raw, 10, 100)):
        with pytest.raises(DataError, match=r"an empty line in front of the header ends it, with .*Bcc in or below it"):
            submit(message)


def test_an_empty_line_in_front_ends_a_header_without_bcc_as_it_does_for_postfix() -> None:
    raw = b"\nTo: ann@example.com\nSubject: x\n\nhi\n"
    for message in (raw, in_pieces(raw, 10, 100)):
        prepared = submit(message)
        assert prepared.recipients == ("joe@example.com",)
        assert prepared.message.endswith(b"\r\n\r\nTo: ann@example.com\r\nSubject: x\r\n\r\nhi\r\n")


@pytest.mark.parametrize("name", ["S\0ubject", "\0From", "Subject\0", "Bcc\0"])
def test_a_field_that_a_nul_spoils_is_refused_and_not_made_text(name: str) -> None:
    for raw in (f"{name}: x\r\n{COMPLETE}", COMPLETE.replace("Subject", name)):
        with pytest.raises(DataError, match="is no field and ends the header") as refused:
            submit(raw)
        assert refused.value.why == "a NUL in it"


@pytest.mark.parametrize(
    "text",
    [
        "All is well.\n",
        "Warning: the disk is full\nplease look\n",
        "See below\nSubject: x\nTo: y\n",
        "\0\n",
        "\nBcc\n",
        "\n\nhi\n\nBcc: of a message\n",
        "a \0 in a text: two\n",
        "the Bcc: of a message\n  Bcc: indented\nBcc-List: x\nno Bcc\n",
    ],
)
def test_a_text_without_a_header_is_sent_as_text(text: str) -> None:
    assert submit(text).recipients == ("joe@example.com",)


def test_what_only_looks_like_bcc_is_not_removed() -> None:
    raw = f"X-Bcc: a\r\nBcc-List: b\r\n{COMPLETE}Bcc: c\r\n".encode()
    assert submit(raw).message == raw


# body


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b"a\n.\nb", b"a\r\n.\r\nb\r\n"), (b"a\n.\r\nb", b"a\r\n.\r\nb\r\n"), (b"a\r.\rb", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\nb", b"a\r\n.\r\nb\r\n"), (b"a\n.\rb", b"a\r\n.\r\nb\r\n"), (b"a\r.\r\nb", b"a\r\n.\r\nb\r\n"),
        (b"a\r\r\n.\r\r\nb", b"a\r\n\r\n.\r\n\r\nb\r\n"), (b".a\n", b".a\r\n"), (b"a\n.", b"a\r\n.\r\n"), (b".", b".\r\n"),
        (b"x" * 8191 + b"\r", None), (b"\r\n.\r\n", b"\r\n.\r\n"), (b"a\n\r\nb", b"a\r\n\r\nb\r\n"), (b"\n\n\n", b"\r\n\r\n\r\n"),
        (b"a", b"a\r\n"), (b"", b""), (b"a\r\nb\r\n", b"a\r\nb\r\n"),
    ],
)  # fmt: skip
def test_no_lone_cr_or_lf_reaches_the_wire(body: bytes, sent: bytes | None) -> None:
    header = COMPLETE.partition("\r\n\r\n")[0].encode()
    message = submit(header + b"\r\n\r\n" + body).message
    if sent is not None:
        assert message == header + b"\r\n\r\n" + sent
    assert b"\r\n".join(message.split(b"\r\n")).count(b"\r") == message.count(b"\n") == message.count(b"\r\n")


# priority


@pytest.mark.parametrize(
    ("header", "priority"),
    [
        ("", "normal"), ("Precedence: bulk", "bulk"), ("Precedence: junk", "bulk"), ("precedence: LIST", "bulk"),
        ("Precedence: first-class", "normal"), ("Priority: urgent", "urgent"), ("Priority: non-urgent", "bulk"),
        ("Priority: normal", "normal"), ("Importance: High", "urgent"), ("Importance: low", "bulk"),
        ("Importance: normal\r\nX-Priority: 1", "normal"), ("X-Priority: 1", "urgent"), ("X-Priority: 1 (Highest)", "urgent"),
        ("X-Priority: 2", "urgent"), ("X-Priority: 3", "normal"), ("X-Priority: 4", "bulk"), ("X-Priority: 5 (Lowest)", "bulk"),
        ("X-Priority: 10", "normal"), ("X-Priority: high", "normal"), ("X-MSMail-Priority: High", "urgent"),
        ("X-Priority: 1\r\nPrecedence: bulk", "bulk"), ("Priority: odd\r\nImportance: high", "urgent"),
        ("Importance: low\r\nPriority: urgent", "urgent"), ("Priority:", "normal"), ("Precedence:\r\n bulk", "bulk"),
    ],
)  # fmt: skip
def test_priority_comes_from_the_header(header: str, priority: str) -> None:
    raw = f"{header}\r\n{COMPLETE}" if header else COMPLETE
    assert submit(raw).priority == priority
    assert submit(raw, priority="urgent").priority == "urgent"


# what the server has to offer


@pytest.mark.parametrize(
    ("raw", "recipient", "eight_bit", "utf8"),
    [
        (COMPLETE.encode(), "joe@example.com", False, False),
        (COMPLETE.replace("Hello", "Hellö").encode(), "joe@example.com", True, False),
        (COMPLETE.replace("Invoice", "Rechnung für").encode(), "joe@example.com", True, True),
        (COMPLETE.replace("Invoice", "Rechnung für").encode("latin-1"), "joe@example.com", True, False),
        (COMPLETE.encode(), "jörg@example.com", False, True),
        (COMPLETE.encode(), "joe@münchen.example", False, False),
    ],
)
def test_8bitmime_and_smtputf8_are_asked_for_when_bytes_or_addresses_need_them(
    raw: bytes, recipient: str, eight_bit: bool, utf8: bool
) -> None:
    prepared = submit(raw, recipients=(recipient,))
    assert (prepared.eight_bit, prepared.utf8) == (eight_bit, utf8)
    assert prepared.message == raw


def test_a_reverse_path_outside_ascii_asks_for_smtputf8() -> None:
    assert submit(COMPLETE, reverse_path="jörg@isp.example").utf8


# size


def test_a_message_over_the_limit_is_refused_with_both_sizes() -> None:
    size = len(COMPLETE)
    assert submit(COMPLETE, max_size=size)
    with pytest.raises(DataError) as caught:
        submit(COMPLETE, max_size=size - 1)
    assert f"{size} bytes" in caught.value.what
    assert f"{size - 1} bytes" in caught.value.what


def test_the_limit_holds_for_what_encoding_makes_of_a_message() -> None:
    raw = COMPLETE.encode() + b"\xff" * 50_000
    with pytest.raises(DataError, match="limit"):
        submit(raw, max_size=60_000)


# all together


@pytest.mark.requirement("S5", "S6")
@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
@pytest.mark.parametrize("where", ["reverse_path", "recipient", "To", "Cc", "Bcc", "Resent-To"])
def test_nothing_in_an_address_reaches_the_envelope_or_begins_a_header(text: str, where: str) -> None:
    hostile = f"{text}@example.com" if "@" not in text else text
    raw = COMPLETE.encode()
    try:
        if where == "reverse_path":
            prepared = submit(raw, reverse_path=hostile)
        elif where == "recipient":
            prepared = submit(raw, recipients=("ann@example.com", hostile))
        else:
            field = f"{where}: ann@example.com, {hostile}\r\n".encode("utf-8", "surrogatepass")
            prepared = submit(field + raw, recipients=(), extract_recipients=True)
    except UcrmmailError:
        return
    # What a header field holds is the application's: a second line in it is a field, or the body, of its own.
    assert where not in ("reverse_path", "recipient"), "a hostile address was accepted"
    assert set(prepared.recipients) <= {"ann@example.com", "joe@example.com", "eve@example.com", "x@example.com"}
    if "\n" not in hostile:
        assert "eve@example.com" not in prepared.recipients
    assert again(prepared).message == prepared.message


@pytest.mark.requirement("R10")
def test_the_same_bytes_come_out_for_the_same_input() -> None:
    first, second = (submit("Subject: x\n\nhi\n", addresses=SENDER) for _ in range(2))
    assert first.message == second.message


@pytest.mark.parametrize(
    "raw",
    [
        b"A: " + b"b" * 1_000_000,
        b"A: b\n" * 50_000,
        b"A: b\n " + b"c\n " * 100_000,
        b"\r" * 1_000_000 + b"\n",
        b"A:" + b"\r" * 1_000_000 + b"\nB: c\n\n",
        b"From x\n" * 150_000,
        b"From x\r" * 150_000,
        b"A: " + b"b " * 500_000,
        b"A: b" + b" " * 1_000_000 + b"c\n\n",
        b"A: b\n\n" + b"\n" * 1_000_000,
        b"A: b\n\n" + b"\0" * 1_000_000,
        b"A: b\r\n\r\n" + b"\r" * 1_000_000,
    ],
    ids=lambda raw: ascii(raw[:12]),
)
def test_a_hostile_megabyte_costs_no_more_than_its_size(raw: bytes) -> None:
    start = time.process_time()
    try:
        submit(raw)
    except DataError as error:
        refused = error.what
    else:
        refused = ""
    assert len(refused) < 500
    # A second for the slowest here; anything quadratic would take minutes.
    assert time.process_time() - start < 6
