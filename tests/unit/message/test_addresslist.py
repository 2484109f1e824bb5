"""Lists of addresses as headers have them."""

from __future__ import annotations

import contextlib
import time
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.errors import NoUserError
from ucrmmail.message.address import is_bare, parse_mailbox
from ucrmmail.message.addresslist import parse_address_list

J, A, B = "joe@example.com", "ann@example.com", "bob@example.com"

VALID: list[tuple[str, list[str]]] = [
    # plain and with names
    (J, [J]),
    (f"  {J}\t", [J]),
    (f"<{J}>", [J]),
    (f"< {J} >", [J]),
    (f"Joe <{J}>", [J]),
    (f"Joe<{J}>", [J]),
    (f"Joe Q. Public <{J}>", [J]),
    (f"Joe O'Brien & Sons <{J}>", [J]),
    (f'"Smith, Joe" <{J}>', [J]),
    (f'"Joe \\"the\\" Smith" <{J}>', [J]),
    (f'"<ann@example.com>" <{J}>', [J]),
    (f'"ann@example.com" <{J}>', [J]),
    (f'"a" "b" c <{J}>', [J]),
    (f"=?utf-8?q?J=C3=B6rg?= <{J}>", [J]),
    (f"=?utf-8?b?PGV2aWxAZXhhbXBsZS5jb20+?= <{J}>", [J]),
    (f"Jörg <{J}>", [J]),
    (f"J\udcf6rg <{J}>", [J]),
    (f'"J\udcf6rg, k" <{J}>', [J]),
    # an address that is its own name
    (f"{J} <{J}>", [J]),
    (f"{J}<{J}>, {A} <{A}>", [J, A]),
    (f"joe@EXAMPLE.com <{J}> (Joe)", [J]),
    (f"{J} <@relay.example:{J}>", [J]),
    ('"joe smith"@example.com <"joe smith"@example.com>', ['"joe smith"@example.com']),
    ("joe@münchen.example <joe@xn--mnchen-3ya.example>", ["joe@xn--mnchen-3ya.example"]),
    (f"staff: {J} <{J}>, {A};", [J, A]),
    # lists
    (f"{J}, {A}", [J, A]),
    (f"{J},{A},{B}", [J, A, B]),
    (f"Joe <{J}>, Ann <{A}>", [J, A]),
    (f",{J},, {A},", [J, A]),
    (f"{J}, {J}", [J, J]),
    ("", []),
    (" ", []),
    (",", []),
    # comments
    (f"{J} (Joe)", [J]),
    (f"(Joe) {J}", [J]),
    ("joe(comment)@(comment)example.com", [J]),
    (f"Joe (is (deeply) nested) <{J}> (end)", [J]),
    (f"{J} (a \\) b, <{A}>)", [J]),
    (f'{J} (,;:<>@"), {A}', [J, A]),
    ("(nothing)", []),
    # groups
    ("undisclosed-recipients:;", []),
    ("undisclosed-recipients: ;", []),
    ("Undisclosed recipients:;", []),
    (f"staff: {J}, Ann <{A}>;", [J, A]),
    (f"staff: {J};, {B}", [J, B]),
    (f'{B}, "the staff": root, {J};', [B, "root", J]),
    ("a:;,b:;", []),
    # local names
    ("root", ["root"]),
    ("root, postmaster", ["root", "postmaster"]),
    ("root (Cron Daemon)", ["root"]),
    ('"(Cron Daemon)" <root>', ["root"]),
    # obsolete forms (RFC 5322 section 4.4)
    (f"<@relay.example:{J}>", [J]),
    (f"<@relay.example,@other.example:{J}>", [J]),
    (f"Joe <@[192.0.2.1] , @b : {J}>", [J]),
    (f"<,@relay.example:{J}>", [J]),
    ("joe . smith @ example . com", ["joe.smith@example.com"]),
    # what mailboxes can be
    ('"joe smith"@example.com', ['"joe smith"@example.com']),
    ('"a,b"@example.com, <"c>d"@example.com>', ['"a,b"@example.com', '"c>d"@example.com']),
    ("joe@[192.0.2.1], ann@[IPv6:2001:db8::1]", ["joe@[192.0.2.1]", "ann@[IPv6:2001:db8::1]"]),
    ("Jörg <jörg@münchen.example>", ["jörg@xn--mnchen-3ya.example"]),
]

INVALID = [
    # commas missing, or something else in their place
    f"{J} {A}", f"Joe <{J}> Ann <{A}>", f"<{J}><{A}>", f"<{J}> {A}", f"{J}; {A}", f"Joe <{J}>; {A}", f"{J} Joe",
    f"<{J}> Joe", "root postmaster", "a b@example.com", "joe smith", f'"Joe" {J}', f'"Joe"{J}',
    # an address in a name (CVE-2023-27043 and its kin)
    f"{A} <{J}>", f"JOE@example.com <{J}>", f"{J} <{J}> <{A}>", f"{J} <joe>", f"{J} {A} <{A}>", f"Joe {J} <{J}>",
    f"{J}, {A} <{J}>", f"{J} <{J}", f"{J} <>", f"joe@ <{J}>", f"@example.com <{J}>", f"{A}, {B} <", f"alice@example.com)<{J}>", f"alice@example.com]<{J}>", f"alice@example.com(<{J}>",
    f"ann@example.com,<{J}", f"ann:{J}", "alice@x)bob@x", "alice@x\\bob@x", f"{J}<{A}>", f"Joe <{J} <{A}>>", f"a: b: {J};;",
    # brackets, quotes and comments that do not match
    f"<{J}", f"{J}>", f"Joe <{J}", f"Joe {J}>", f'"Joe <{J}>', f'Joe" <{J}>', f"(Joe {J}", f"Joe) {J}", f"Joe (a(b) <{J}>",
    "joe@[192.0.2.1", "[Joe] <joe@example.com>", f"Joe\\ <{J}>", "<joe@[192.0.2.1>", f"Joe <{J},{A}>", f"Joe <{J};>",
    # groups
    "staff:", f"staff: {J}", f": {J};", f"staff: {J};;", f"{J};", ";", ":;", f"a: b: {J};", f"staff: {J}; {A}", "<a:;>",
    f"<joe@example.com>:{A};",
    # nothing where something must be
    "<>", "Joe <>", "@", "@example.com", "joe@", ".", "joe..smith@example.com", "joe.@example.com", "<.joe@example.com>",
    f"Joe <@relay.example {J}>", "<@relay.example:>", "<@:joe>x", "joe@@example.com", "joe@smith@example.com",
    f'<@"relay":{J}>', f"<relay.example:{J}>",
    "J. Smith", "joe .smith", "joe(x).smith", "<joe. smith>",
    # encoded words hide no address
    "=?utf-8?b?Sm9lIDxqb2VAZXhhbXBsZS5jb20+?=", "=?utf-8?q?joe=40example.com?=",
    # control characters anywhere
    f"{J}\r\n", f"{J}\nBcc: {A}", f"Joe\r <{J}>", f'"Joe\n" <{J}>', f"(Joe\0) {J}", f"Joe\x1b[31m <{J}>", "joe\x7f@example.com",
    "joe\x9b@example.com", f"{J},\x00{A}",
    # hostile mailboxes
    "joe\udcf6@example.com", "joe\u202e@example.com", "<joe@exam_ple.com>", "joe@example.com>SIZE=1", '"a"."b"@example.com',
]  # fmt: skip


@pytest.mark.parametrize(("value", "mailboxes"), VALID, ids=lambda value: ascii(value)[:60])
def test_a_list_gives_its_mailboxes_in_order(value: str, mailboxes: list[str]) -> None:
    assert parse_address_list(value) == mailboxes


@pytest.mark.parametrize("value", INVALID, ids=lambda value: ascii(value)[:60])
def test_what_is_no_address_list_is_refused_with_the_reason(value: str) -> None:
    with pytest.raises(NoUserError) as caught:
        parse_address_list(value)
    assert caught.value.why
    assert f"{caught.value.what}{caught.value.why}".isprintable()


@pytest.mark.parametrize("value", [f"{A} <{J}>", f"'{J}' <{J}>", f"Joe {J} <{J}>", f"joe@ <{J}>"])
def test_an_address_in_a_name_is_told_to_be_in_the_name(value: str) -> None:
    with pytest.raises(NoUserError, match="is not an address") as caught:
        parse_address_list(value)
    assert caught.value.why == "'@' in a name needs quotes around the name"
    assert value in caught.value.what.replace('"', "")


N = 50_000


@pytest.mark.parametrize(
    "value",
    [
        "(" * 4 * N, ")" * N, "(" * N + ")" * N + J, '"' * (N + 1), '"\\' * N, "<" * N, ">" * N, "<@a:" * N,
        "[" * N, "\\" * N, "," * N, ";" * N, "a:;," * N, ":" * N, "@" * N, "a " * N, "a. " * N + "@b", "a@b," * N, "(a)" * N,
        f"<{'@a,' * N}:{J}>", "a" * 4 * N, "ü" * N, "\x00" * N, '"a"' * N, "a\\" * N, "joe@[" * N, "=?" * N,
        f"{'(' * 50_000}{')' * 49_999}, {J}",
    ],
    ids=lambda value: ascii(value)[:20],
)  # fmt: skip
def test_a_hostile_list_costs_no_more_than_its_size(value: str) -> None:
    start = time.process_time()
    with contextlib.suppress(NoUserError):
        assert all("@" in address or is_bare(address) for address in parse_address_list(value))
    # A quarter of a second for the slowest here; anything quadratic would take minutes.
    assert time.process_time() - start < 5


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
MAILBOXES = st.sampled_from([J, A, B, '"a b"@example.com', "x@[192.0.2.1]", "jörg@example.com", "root"])
MEMBERS = st.one_of(
    MAILBOXES,
    st.builds(lambda name, box: '"' + name.replace("\\", "\\\\").replace('"', '\\"') + f'" <{box}>', NAMES, MAILBOXES),
    st.builds(lambda box: f"(a (nested) comment) {box} ()", MAILBOXES),
)


@given(st.lists(st.tuples(MEMBERS, st.sampled_from([", ", ",", " ,\t", ",,"])), max_size=6))
def test_a_list_that_is_written_is_read_back(members: list[tuple[str, str]]) -> None:
    value = "".join(member + comma for member, comma in members)
    found = parse_address_list(value)
    assert len(found) == len(members)
    for mailbox, (member, _comma) in zip(found, members, strict=True):
        assert mailbox in member


@given(st.text(st.sampled_from('ab@.,:;<>()[]"\\ \t=?\r\n\0é'), max_size=40))
def test_whatever_is_found_is_valid_and_stands_in_the_text(value: str) -> None:
    try:
        found = parse_address_list(value)
    except NoUserError:
        return
    assert not set("\r\n\0") & set(value)
    for address in found:
        assert is_bare(address) or parse_mailbox(address) == address


@given(st.text(st.sampled_from('ab@., <>"'), max_size=24))
def test_where_the_strict_parser_of_the_library_agrees_it_names_the_same_mailboxes(value: str) -> None:
    try:
        found = parse_address_list(value)
    except NoUserError:
        return
    theirs = [address for _name, address in getaddresses([value]) if address]
    if theirs and all(parse_or_none(address) for address in theirs):
        assert found == theirs


def parse_or_none(address: str) -> str:
    try:
        return address if is_bare(address) else parse_mailbox(address)
    except NoUserError:
        return ""
