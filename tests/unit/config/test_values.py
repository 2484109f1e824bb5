"""What each kind of value takes, from the command line and from the file, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.config import kinds, texts
from ucrmmail.config.kinds import Kind


@pytest.mark.parametrize(
    ("kind", "arguments", "written", "value"),
    [
        (kinds.text("text"), ["a b"], "a b", "a b"),
        (kinds.choice("starttls", "tls"), ["TLS"], "tls", "tls"),
        (kinds.integer(1, 65535), [" 587 "], 587, 587),
        (kinds.flag(), ["Yes"], True, True),
        (kinds.flag(), ["on"], True, True),
        (kinds.flag(), ["0"], False, False),
        (kinds.duration(), ["1h30m"], "1h30m", 5400.0),
        (kinds.duration(), ["0"], "0", 0.0),
        (kinds.size(), ["10MB"], "10MB", 10_000_000),
        (kinds.size(), ["4096"], "4096", 4096),
        (kinds.words("domains", texts.domain), ["a.example, b.example"], ["a.example", "b.example"], ("a.example", "b.example")),
        (kinds.words("domains", texts.domain), ["a.example", "b.example"], ["a.example", "b.example"], ("a.example", "b.example")),
        (kinds.words("domains", texts.domain), [""], [], ()),
        (kinds.words("domains", texts.domain), ['["a.example", "b.example"]'], ["a.example", "b.example"], ("a.example", "b.example")),
        (kinds.words("domains", texts.domain), ["[]"], [], ()),
        (kinds.words("servers", texts.plain), ["[::1]:53"], ["[::1]:53"], ("[::1]:53",)),
        (kinds.words("texts", texts.plain), ["[" * 5000], ["[" * 5000], ("[" * 5000,)),
        (kinds.words("texts", texts.plain), ["[1]"], ["[1]"], ("[1]",)),
        (kinds.words("texts", texts.plain), ['["a"]\nb="c"'], ['["a"]', 'b="c"'], ('["a"]', 'b="c"')),
        (kinds.command(), ["pass show 'my smtp'"], ["pass", "show", "my smtp"], ("pass", "show", "my smtp")),
        (kinds.command(), ["pass", "show", "my smtp"], ["pass", "show", "my smtp"], ("pass", "show", "my smtp")),
        (kinds.command(), [' ["pass", "show", "my smtp"]'], ["pass", "show", "my smtp"], ("pass", "show", "my smtp")),
        (kinds.command(), ["[ -r /etc/secret ]"], ["[", "-r", "/etc/secret", "]"], ("[", "-r", "/etc/secret", "]")),
    ],
)  # fmt: skip
def test_what_is_typed_becomes_what_is_written_and_used(
    kind: Kind, arguments: list[str], written: object, value: object
) -> None:
    assert kind.read(arguments) == written
    assert kind.check(written) == value


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (kinds.text("text"), ["a", "b"]),
        (kinds.text("text"), []),
        (kinds.choice("starttls", "tls"), ["ssl"]),
        (kinds.integer(1, 65535), ["0x10"]),
        (kinds.integer(1, 65535), ["\u0661"]),
        (kinds.integer(1, 65535), ["9" * 5000]),
        (kinds.flag(), ["maybe"]),
        (kinds.command(), ["pass 'show"]),
    ],
)
def test_what_makes_no_sense_at_the_shell_is_refused(kind: Kind, arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        kind.read(arguments)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (kinds.text("text"), 5),
        (kinds.text("text"), "a\nb"),
        (kinds.text("text"), "a\x9bb"),
        (kinds.choice("a"), True),
        (kinds.integer(1, 5), 6),
        (kinds.integer(0, 5), True),
        (kinds.integer(0, 5), "5"),
        (kinds.integer(0, 5), 1.0),
        (kinds.flag(), "true"),
        (kinds.flag(), 1),
        (kinds.duration(), 60),
        (kinds.duration(), "60"),
        (kinds.duration(), False),
        (kinds.duration(1), "500ms"),
        (kinds.size(), "-1"),
        (kinds.size(), -1),
        (kinds.size(), True),
        (kinds.size(), "9" * 400),
        (kinds.size(1), 0),
        (kinds.size(1, 5), 6),
        (kinds.words("domains", texts.domain), "a.example"),
        (kinds.words("domains", texts.domain), ["a.example", 5]),
        (kinds.words("domains", texts.domain), ["a.example", ""]),
        (kinds.command(), ["", "x"]),
        (kinds.command(), ["x\0"]),
        (kinds.secret(), "hunter2"),
    ],
)
def test_what_may_not_stand_in_the_file_is_refused(kind: Kind, written: object) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        kind.check(written)
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_choice_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="'gmial' is not known, did you mean gmail"):
        kinds.choice("gmail", "zoho").check("gmial")


@pytest.mark.parametrize(
    ("given", "proper"),
    [
        ("mail.ISP.example.", "mail.isp.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8::0:1", "2001:db8::1"),
    ],
)
def test_a_host_gets_its_proper_form(given: str, proper: str) -> None:
    assert texts.host(given) == proper


@pytest.mark.parametrize(
    "wrong",
    ["a b", "-a.example", "a..b", "smtp://a.example", "a.example:25", "300.1.1.1", "1.2.3", "a" * 64, "a." * 130, "\u200b", "[::1"],
)  # fmt: skip
def test_what_is_no_host_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        texts.host(wrong)


def test_a_port_in_the_host_is_told_where_it_belongs() -> None:
    with pytest.raises(ValueError, match=r"smtp\.port"):
        texts.host("mail.isp.example:587")


@pytest.mark.parametrize(
    ("check", "given", "proper"),
    [
        (texts.nameserver, "192.0.2.53", "192.0.2.53"),
        (texts.nameserver, "192.0.2.53:5353", "192.0.2.53:5353"),
        (texts.nameserver, "ns.example:53", "ns.example:53"),
        (texts.nameserver, "2001:db8::53", "2001:db8::53"),
        (texts.nameserver, "[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        (texts.network, "192.0.2.25", "192.0.2.25"),
        (texts.network, "192.0.2.7/24", "192.0.2.0/24"),
        (texts.network, "2001:db8::/32", "2001:db8::/32"),
        (texts.selector, "S1._x", "s1._x"),
        (texts.selector, "s1._domainkey.isp.example", "s1"),
        (texts.rate, "30/1m", "30/1m"),
        (texts.path, "/a/b/", "/a/b"),
        (texts.path, "/", "/"),
        (texts.mailbox, "a@B\u00fccher.example", "a@xn--bcher-kva.example"),
    ],
)
def test_other_texts_get_their_proper_form(check: Callable[[str], str], given: str, proper: str) -> None:
    assert check(given) == proper


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (texts.nameserver, "192.0.2.53:0"),
        (texts.nameserver, "192.0.2.53:65536"),
        (texts.nameserver, "192.0.2.53:dns"),
        (texts.network, "192.0.2.0/33"),
        (texts.network, "isp.example"),
        (texts.selector, "s 1"),
        (texts.rate, "30"),
        (texts.rate, "0/1m"),
        (texts.path, "relative"),
        (texts.path, "~/x"),
        (texts.path, "/a\nb"),
        (texts.mailbox, "nobody"),
        (texts.mailbox, "a@b.example\r\nBcc: c@d.example"),
    ],
)
def test_other_texts_that_are_wrong_are_refused(check: Callable[[str], str], wrong: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check(wrong)


TEXT_CHECKS = [
    texts.host,
    texts.nameserver,
    texts.network,
    texts.selector,
    texts.rate,
    texts.path,
    texts.mailbox,
    texts.domain,
]
HOSTILE = st.one_of(
    st.text(max_size=20),
    st.text("a1.:[]/@%-_ \r\n\0\u200b\u0661ö", max_size=20),
    st.text("0123456789abcdef.:/[]", max_size=30),
)


@pytest.mark.requirement("S5")
@given(HOSTILE)
def test_no_text_gets_through_with_a_control_character_or_breaks_the_check(text: str) -> None:
    for check in TEXT_CHECKS:
        try:
            proper = check(text)
        except ValueError:
            continue
        assert texts.plain(proper) == proper
        assert check(proper) == proper
