"""Domain names that look like others."""

from __future__ import annotations

import pytest

from ucrmmail.message.address import parse_mailbox
from ucrmmail.message.homograph import in_unicode, mixed_scripts


@pytest.mark.requirement("S14")
@pytest.mark.parametrize(
    ("shown", "wire", "scripts"),
    [
        ("p\u0430ypal.com", "xn--pypal-4ve.com", ("Cyrillic", "Latin")),
        ("g\u03bfogle.com", "xn--gogle-rce.com", ("Greek", "Latin")),
        ("\u0430\u0440\u0440\u04cf\u0435.com", "xn--80ak6aa92e.com", ()),
        ("münchen.example", "xn--mnchen-3ya.example", ()),
        ("mail.p\u0430ypal.com", "mail.xn--pypal-4ve.com", ("Cyrillic", "Latin")),
        ("東京タワーofひかり.example", None, ()),
        ("서울taxi.example", None, ()),
        ("\u0440\u0443\u0441\u0441\u043a\u0438\u0439-\u03b5.example", None, ("Cyrillic", "Greek")),
        ("\u05d0\u05d1\u05d2.example", None, ()),
        ("a1-b2.example", "a1-b2.example", ()),
        ("\u02bbokina.example", "xn--okina-51c.example", ()),
    ],
    ids=ascii,
)
def test_names_on_the_wire_and_for_the_eye(shown: str, wire: str | None, scripts: tuple[str, ...]) -> None:
    on_the_wire = parse_mailbox(f"joe@{shown}").partition("@")[2]
    assert wire is None or on_the_wire == wire
    assert on_the_wire.isascii()
    assert in_unicode(on_the_wire) == shown
    assert mixed_scripts(on_the_wire) == scripts


@pytest.mark.parametrize("domain", ["xn--", "xn--a", "xn--\u00fc", "XN--0", "[192.0.2.1]", ""])
def test_what_is_no_a_label_is_shown_as_it_is(domain: str) -> None:
    assert in_unicode(domain) == domain
