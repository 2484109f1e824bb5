"""Single mailboxes: what is valid comes out as it goes on the wire, what is not is refused, and nothing is repaired."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.errors import NoUserError
from ucrmmail.message.address import folded, is_bare, needs_smtputf8, parse_mailbox, same_mailbox

LOCAL_64 = "l" * 64
LABEL_63 = "d" * 63
# 64 + @ + 189 = 254 bytes, the longest mailbox there is.
LONGEST = f"{LOCAL_64}@{'.'.join([LABEL_63, LABEL_63, 'd' * 57, 'com'])}"

VALID = [
    "joe@example.com",
    "Joe.Smith@Example.COM",
    "j@e",
    "joe@localhost",
    "root@web-1",
    "joe+tag@example.com",
    "joe-smith@example.co.uk",
    "joe_smith@example.com",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "a.b.c.d.e.f@example.com",
    "123@example.com",
    "-joe@example.com",
    "--@example.com",
    "-oQ/tmp@example.com",
    "0@0.example",
    "joe@1.example",
    "joe@123.com",
    "joe@192.0.2.example",
    "joe@1.2.3",
    "joe@a-b.example",
    "joe@a--b.example",
    "joe@xn--mnchen-3ya.example",
    "joe@XN--MNCHEN-3YA.example",
    "bounce=joe=example.com@lists.example",
    "SRS0=abc=TT=example.com=joe@relay.example",
    "prvs=123456789a=joe@example.com",
    "joe@example.museum",
    f"{LOCAL_64}@example.com",
    f"joe@{LABEL_63}.com",
    LONGEST,
    '"joe"@example.com',
    '""@example.com',
    '" "@example.com',
    '"joe smith"@example.com',
    '"joe@home"@example.com',
    '"joe\\"s"@example.com',
    '"joe\\\\"@example.com',
    '"joe\\ smith"@example.com',
    '"a.b..c."@example.com',
    '"(),:;<>[]"@example.com',
    '".joe"@example.com',
    '"much.more unusual"@example.com',
    "joe@[192.0.2.1]",
    "joe@[255.255.255.255]",
    "joe@[0.0.0.0]",
    "joe@[IPv6:2001:db8::1]",
    "joe@[IPv6:::1]",
    "joe@[ipv6:2001:DB8:0:0:0:0:0:1]",
    "joe@[IPv6:::ffff:192.0.2.1]",
    "jörg@example.com",
    "用户@example.com",
    "пример@example.com",
    "θσερ@example.com",
    "用户.名@example.com",
    '"jörg k"@example.com',
    "e\u0301@example.com",
    "joe\U0001f600@example.com",
    "عربي@example.com",
]

CONVERTED = [
    ("joe@münchen.example", "joe@xn--mnchen-3ya.example"),
    ("joe@MÜNCHEN.example", "joe@xn--mnchen-3ya.example"),
    ("joe@mu\u0308nchen.example", "joe@xn--mnchen-3ya.example"),
    ("joe@straße.example", "joe@xn--strae-oqa.example"),
    ("joe@例え.テスト", "joe@xn--r8jz45g.xn--zckzah"),
    ("joe@пример.example", "joe@xn--e1afmkfd.example"),
    ("jörg@münchen.example", "jörg@xn--mnchen-3ya.example"),
    ("joe@bücher.Example", "joe@xn--bcher-kva.example"),
    ("用户@例子.公益", "用户@xn--fsqu00a.xn--55qw42g"),
]

INVALID = [
    # nothing there, or not enough
    "", " ", "@", "joe", "joe@", "@example.com", "joe@.", "joe@..", ".", "..@example.com", "joe@ ", " @example.com",
    # dots and hyphens
    ".joe@example.com", "joe.@example.com", "joe..smith@example.com", "joe@.example.com", "joe@example.com.",
    "joe@example..com", "joe@-example.com", "joe@example-.com", "joe@example.-com", "joe@-", "joe@example.com-",
    # more than one @, or too little quoting
    "joe@smith@example.com", "joe@@example.com", "@joe@example.com", "joe smith@example.com", "joe @example.com",
    "joe@ example.com", "joe@example.com ", " joe@example.com", "joe@example .com", "joe\t@example.com",
    "joe,ann@example.com", "joe@example.com,ann@example.com", "joe@example.com;ann@example.com", "joe:x@example.com",
    "joe;x@example.com", "a(b)@example.com", "joe(comment)@example.com", "joe@example.com(comment)",
    "(comment)joe@example.com", "joe<x>@example.com", "a[b]@example.com", "a\\b@example.com", "joe\\@home@example.com",
    # what lenient parsers cut, join or reorder
    "<joe@example.com>", "<joe@example.com", "joe@example.com>", "Joe <joe@example.com>", '"Joe" <joe@example.com>',
    "joe@example.com> SIZE=1", "a@b>SIZE=1", "a@b> BODY=8BITMIME", "alice@x)bob@x", "alice@x(bob@x)", "alice@x,bob@x",
    "a@b,c@d", "a@b c@d", "a b@c", "@relay.example:joe@example.com", "<@relay.example:joe@example.com>",
    "joe%example.com@relay.example:", "mailto:joe@example.com", "joe@example.com?subject=x", "joe@example.com/x",
    "joe@example.com#x", "joe@example.com:25", "joe@user:pass@example.com", "joe@http://example.com", "joe@exam_ple.com",
    "joe@_dmarc.example.com", "joe@*.example.com", "joe@example.c*m", "joe@ex'ample.com", 'joe@"example".com',
    "joe@example.com|sh", "joe@`id`.example", "joe@$(id).example", "joe@example.com\\", "joe@example,com",
    "=?utf-8?q?joe?= <joe@example.com>", "joe@=?utf-8?q?example?=.com",
    # quotes
    '"joe@example.com', 'joe"@example.com', '"joe"smith@example.com', '"joe".smith@example.com',
    'joe."smith"@example.com', '"joe"x"@example.com', '"joe\\"@example.com', '"\\"@example.com', '"@example.com',
    '"joe" @example.com', '"joe"', '""', '"', '"joe\r\n"@example.com', '"joe\\\r"@example.com', '"joe\0"@example.com',
    '"joe\t"@example.com', '"joe\\\t"@example.com', '"joe\x7f"@example.com', '"joe\\ö"@example.com', '"a"b"c"@example.com',
    # address literals
    "joe@[]", "joe@[192.0.2]", "joe@[192.0.2.256]", "joe@[192.0.2.1", "joe@192.0.2.1]", "joe@[192.0.2.1].com",
    "joe@[192.0.2.1]x", "joe@[ 192.0.2.1]", "joe@[192.0.2.01]", "joe@[192.0.2.1.5]", "joe@[IPv6:]", "joe@[IPv6:1]",
    "joe@[2001:db8::1]", "joe@[IPv6:fe80::1%eth0]", "joe@[IPv6:2001:db8::1::2]", "joe@[IPv6:12345::]", "joe@[IPv6:g::]",
    "joe@[example.com]", "joe@[x:y]", "joe@[192.0.2.1\r\n]", "joe@[[192.0.2.1]]", "joe@[\u0661.2.3.4]", "joe@[",
    "joe@192.0.2.1", "joe@127.0.0.1",
    # too long
    f"{'l' * 65}@example.com", f"joe@{'d' * 64}.com", LONGEST.replace("com", "coms"), "joe@" + "a." * 200 + "com",
    "x" * 1_000_000 + "@example.com", "joe@" + "x" * 1_000_000, "ü" * 33 + "@example.com", "@" * 2000, '"' * 2000,
    "joe@" + "ü" * 300 + ".example", f'"{"x" * 63}"@example.com',
    # control characters, bytes that are not UTF-8
    "joe@example.com\n", "joe@example.com\r", "joe@example.com\r\n", "\njoe@example.com", "joe\n@example.com",
    "joe@exa\nmple.com", "joe\0@example.com", "joe@example.com\0", "joe@exam\0ple.com", "joe\x1b[31m@example.com",
    "joe\x7f@example.com", "joe\x80@example.com", "joe\x85@example.com", "joe\x9b31m@example.com", "joe@exam\x08ple.com",
    "joe@example.com\x0b", "joe@example.com\x0c", "joe\udcfc@example.com", "joe@m\udcfcnchen.example", "joe\ud800@example.com",
    # characters that hide or reorder
    "joe\u202e@example.com", "joe@example\u202e.com", "\u202ajoe@example.com", "joe\u2066@example.com", "joe\u200b@example.com",
    "joe@exam\u200bple.com", "joe\u200d@example.com", "joe@exam\u00adple.com", "joe\ufeff@example.com", "\ufeffjoe@example.com",
    "joe\u00a0@example.com", "joe\u2028@example.com", "joe\u2029@example.com", "joe\u2060@example.com", "joe\u061c@example.com",
    "joe\u034f@example.com", "joe\ufe0f@example.com", "joe\u3164@example.com", "joe\U000e0041@example.com",
    "joe\U000e0100@example.com", "joe\u3000@example.com", "joe\uffff@example.com", "joe\ue000@example.com", '"joe\u202e"@example.com',
    # domains that only look like others, or are no names
    "joe@ｅｘａｍｐｌｅ.com", "joe@example．com", "joe@example。com", "joe＠example.com", "joe@example.com／x",
    "joe@\u2488example.com", "joe@ex\u2100mple.com", "joe@\u2460.example", "joe@ﬁ.example", "joe@-ü.example", "joe@ü-.example",
    "joe@ü..example", "joe@ü_x.example", "joe@\u0301a.example", "joe@a\u05d0.example", "joe@xn--ü.example", "joe@K\u212a.example",
    "joe@" + "ü" * 60 + ".example", "joe@\U0001f600.example\u202e", "joe@ü .example", "joe@ab--ü.example",
]  # fmt: skip


@pytest.mark.requirement("S6")
def test_the_table_is_as_large_as_promised() -> None:
    assert len(VALID) + len(CONVERTED) + len(INVALID) >= 200
    assert len(set(VALID)) + len(set(INVALID)) == len(VALID) + len(INVALID)


@pytest.mark.requirement("S6")
@pytest.mark.parametrize("text", VALID)
def test_a_valid_mailbox_comes_out_as_it_is(text: str) -> None:
    assert parse_mailbox(text) == text


@pytest.mark.requirement("S6", "S14")
@pytest.mark.parametrize(("text", "wire"), CONVERTED)
def test_an_international_domain_becomes_its_a_label(text: str, wire: str) -> None:
    assert parse_mailbox(text) == wire
    assert parse_mailbox(wire) == wire


@pytest.mark.requirement("S6")
@pytest.mark.parametrize("text", INVALID, ids=lambda text: ascii(text[:40]))
def test_what_is_no_mailbox_is_refused_with_address_and_reason(text: str) -> None:
    with pytest.raises(NoUserError) as caught:
        parse_mailbox(text)
    told = f"{caught.value.what} {caught.value.why} {caught.value.remedy}"
    assert repr(text[:40])[1:-1] in caught.value.what.replace("\\'", "'") or repr(text[:40])[:-1] in caught.value.what
    assert caught.value.why
    assert len(told) < 1000
    assert told.isprintable(), "an error must not carry what it complains of to the terminal"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("joe", "no @"),
        ("joe@192.0.2.1", "[192.0.2.1]"),
        ("joe\n@example.com", "U+000A"),
        ("joe\u202e@example.com", "U+202E"),
        ("joe\udcfc@example.com", "not UTF-8"),
        ("a@b>SIZE=1", "'>'"),
        ("joe@ｅｘａｍｐｌｅ.com", "looks like 'example.com'"),
        ("joe@example.com.", "dot"),
        (f"{'l' * 65}@example.com", "64 bytes"),
        ('"joe@example.com', "quote"),
    ],
)
def test_the_reason_is_the_one_that_helps(text: str, why: str) -> None:
    with pytest.raises(NoUserError) as caught:
        parse_mailbox(text)
    assert why in caught.value.why


def test_smtputf8_is_needed_for_a_local_part_outside_ascii_only() -> None:
    assert needs_smtputf8("jörg@example.com")
    assert not needs_smtputf8(parse_mailbox("joe@münchen.example"))
    assert not needs_smtputf8("")


def test_domains_compare_without_case_and_local_parts_with_it() -> None:
    assert same_mailbox("joe@example.com", "joe@EXAMPLE.com")
    assert not same_mailbox("joe@example.com", "Joe@example.com")
    assert folded("root") == "root"


@pytest.mark.parametrize("name", ["root", "www-data", "joe.smith", "MAILER-DAEMON", "cron", "backup$", "j"])
def test_a_local_name_is_bare(name: str) -> None:
    assert is_bare(name)


@pytest.mark.parametrize(
    "name",
    ["", "joe@example.com", "a b", "root\n", ".root", "root.", "a..b", '"root"', "<root>", "ro\u0301ot", "x" * 65, "\0",
     "=?utf-8?q?Joe_=3Cjoe=40example.com=3E?="],
)  # fmt: skip
def test_what_is_no_local_name_is_not_bare(name: str) -> None:
    assert not is_bare(name)


ATOM = st.text(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=12)
LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True)


@given(st.lists(ATOM, min_size=1, max_size=4), st.lists(LABEL, min_size=1, max_size=3))
def test_whatever_the_grammar_makes_is_accepted_unchanged(atoms: list[str], labels: list[str]) -> None:
    mailbox = f"{'.'.join(atoms)}@x.{'.'.join(labels)}"
    assert parse_mailbox(mailbox) == mailbox


WIRE_SAFE = frozenset(string.ascii_letters + string.digits + "-.[]:")


@pytest.mark.requirement("S6")
@given(st.one_of(st.text(), st.from_regex(r'[ -~]{0,10}@[ -~]{0,12}|"[\x00-\x7f]{0,8}"@[a-z.]{1,5}', fullmatch=True)))
def test_what_is_accepted_is_one_mailbox_on_the_wire(text: str) -> None:
    try:
        mailbox = parse_mailbox(text)
    except NoUserError:
        return
    local, _, domain = mailbox.rpartition("@")
    assert set(domain) <= WIRE_SAFE
    assert mailbox.isprintable()
    assert len(mailbox.encode()) <= 254
    if not local.startswith('"'):
        assert not set(' <>()[],;:\\"@') & set(local)
    assert text.startswith(local + "@"), "a local part is never changed"
    assert parse_mailbox(mailbox) == mailbox
