"""What a header proves: the receiver's words count, others' do not."""

from __future__ import annotations

import pytest

from ucrmmail.mailbox.verdict import Verdict, read_header

ALL = "spf=pass smtp.mailfrom={0}; dkim=pass header.d={0}; dmarc=pass header.from={0}"
GOOD = ALL.format("isp.example")


def verdict(*fields: str, names: tuple[str, ...] = ("imap.example.com", "example.com")) -> Verdict:
    header = "\r\n".join([*fields, "From: Billing <billing@isp.example>", "", ""])
    return read_header(header.encode(), mailbox_names=names)


def test_all_three_from_the_receiver_are_believed() -> None:
    found = verdict(f"Authentication-Results: mx.example.com; {GOOD}", "Received: from a by mx.example.com with ESMTPS")
    assert found.believed
    assert found.authserv_id == "mx.example.com"
    assert [finding.aligned for finding in found.findings] == [True, True, True]


def test_gmail_writes_below_its_own_line() -> None:
    found = verdict(
        "Delivered-To: me@gmail.com",
        "Received: by 2002:a05:6402 with SMTP id 1; now",
        "Received: from smtp.isp.example by mx.google.com with ESMTPS id 1; now",
        f"Authentication-Results: mx.google.com; {GOOD}",
        "Received: from app by smtp.isp.example with ESMTPSA; now",
        names=("imap.gmail.com", "gmail.com"),
    )
    assert found.believed
    assert len(found.hops) == 3


def test_microsoft_without_a_name_is_believed_in_its_own_mailboxes_only() -> None:
    fields = ("Received: from a by DB9.eurprd02.prod.outlook.com with HTTPS; now", f"Authentication-Results: {GOOD}")
    assert verdict(*fields, names=("outlook.office365.com", "example.com")).believed
    other = ("Received: from a by mx.example.com with ESMTPS; now", f"Authentication-Results: {GOOD}")
    assert not verdict(*other).findings


def test_what_the_senders_side_has_written_does_not_count() -> None:
    found = verdict(
        "Received: from smtp.isp.example by mx.example.com with ESMTPS; now",
        f"Authentication-Results: smtp.isp.example; {GOOD}",
        "Received: from app by smtp.isp.example with ESMTPSA; now",
    )
    assert found.findings == ()
    assert not found.believed


def test_the_same_name_further_down_is_not_the_receivers() -> None:
    found = verdict(
        "Authentication-Results: mx.example.com; spf=fail smtp.mailfrom=isp.example",
        "Received: from smtp.isp.example by mx.example.com with ESMTPS; now",
        f"Authentication-Results: mx.example.com; {GOOD}",
    )
    assert [finding.result for finding in found.findings] == ["fail"]


def test_one_good_signature_of_several_is_enough() -> None:
    found = verdict(
        "Authentication-Results: mx.example.com; dkim=fail header.d=list.example; dkim=pass header.d=isp.example;"
        " spf=pass smtp.mailfrom=isp.example; dmarc=pass header.from=isp.example"
    )
    assert found.believed


@pytest.mark.parametrize("missing", ["spf", "dkim", "dmarc"])
def test_a_method_that_is_missing_or_fails_is_not_believed(missing: str) -> None:
    without = "; ".join(part for part in GOOD.split("; ") if not part.startswith(missing))
    assert not verdict(f"Authentication-Results: mx.example.com; {without}").believed
    failing = GOOD.replace(f"{missing}=pass", f"{missing}=softfail")
    assert not verdict(f"Authentication-Results: mx.example.com; {failing}").believed


@pytest.mark.parametrize(
    ("domain", "aligned"),
    [
        ("isp.example", True),
        ("bounce.isp.example", True),
        ("ISP.example", True),
        ("mailprovider.example", False),
        ("notisp.example", False),
        ("", False),
    ],
)
def test_alignment_is_told_as_far_as_names_tell(domain: str, aligned: bool) -> None:
    found = verdict(f"Authentication-Results: mx.example.com; spf=pass smtp.mailfrom={domain}")
    assert [finding.aligned for finding in found.findings] == [aligned]


def test_two_names_below_one_organization_may_align() -> None:
    header = (
        "Authentication-Results: mx.example.com; dkim=pass header.d=mail.isp.example\r\nFrom: a@app.isp.example\r\n\r\n"
    )
    (finding,) = read_header(header.encode(), mailbox_names=("mx.example.com",)).findings
    assert finding.aligned is None


@pytest.mark.parametrize(
    ("authserv_id", "name", "believed"),
    [
        ("mx.example.com", "imap.example.com", True),
        ("mx1.provider.co.uk", "imap.provider.co.uk", True),
        ("mx.evil.co.uk", "imap.provider.co.uk", False),
        ("example.com", "example.com", True),
        ("com", "example.com", False),
        ("other.example", "example.com", False),
    ],
)
def test_the_receiver_is_known_by_its_name(authserv_id: str, name: str, believed: bool) -> None:
    found = verdict(f"Authentication-Results: {authserv_id}; {GOOD}", names=(name,))
    assert bool(found.findings) is believed


def test_hostile_headers_have_no_end_but_the_verdict_has() -> None:
    found = verdict(*["Received: from a by b.example with ESMTPS; now"] * 500)
    assert len(found.hops) == 50
    assert verdict("Authentication-Results: " + "(" * 100_000).findings == ()
    assert read_header(b"", mailbox_names=()).from_domain == ""
