"""The SPF check: what is found in a record, what a sending address gets, and what is proposed."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Finding, Severity
from ucrmmail.dns.spf_check import CODES, SpfReport, check_spf

Records = dict[tuple[str, str], object]
PROVIDER: Records = {
    ("also.example", "TXT"): "v=spf1 ip4:203.0.113.128/25 ~all",
    ("_spf.provider.example", "TXT"): "v=spf1 ip4:203.0.113.0/24 ~all",
    ("mail.example", "A"): "192.0.2.25",
    ("d.example", "MX"): (10, "mail.example"),
}


def report(
    record: object = None, more: Records | None = None, *, ips: tuple[str, ...] = (), includes: tuple[str, ...] = ()
) -> SpfReport:
    zone: Records = PROVIDER | (more or {})
    if record is not None:
        zone["d.example", "TXT"] = record
    checked = check_spf(
        "d.example",
        Zone(zone),
        sending_addresses=[ip_address(ip) for ip in ips],
        expected_includes=includes,
        now=1_700_000_000.0,
    )
    result = asyncio.run(checked)
    for finding in result.findings:
        assert finding.code in CODES
        assert finding.check == "spf"
        assert finding.why
        assert finding.remedy
    return result


def codes(result: SpfReport) -> set[str]:
    return {finding.code for finding in result.findings}


def found(result: SpfReport, code: str) -> Finding:
    return next(finding for finding in result.findings if finding.code == code)


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 mx\u00a0-all",
        "v=spf1 mx;-all",
        "v=spf1 include:_spf.provider.example-all",
        "v=spf1 redirect:_spf.provider.example",
    ],
)
def test_end_that_is_hidden_in_another_mistake_is_not_called_missing(record: str) -> None:
    assert "spf-no-all" not in codes(report(record))


def test_good_record_gets_one_verdict_and_no_proposal() -> None:
    good = report("v=spf1 mx include:_spf.provider.example -all")
    assert [(finding.code, finding.severity) for finding in good.findings] == [("spf-valid", Severity.PASS)]
    assert (good.lookups, good.void_lookups, good.result) == (2, 0, "")
    assert good.proposals == ()


LINT = [
    ("v=spf1 mx +all", "spf-plus-all", "+all"),
    ("v=spf1 mx all", "spf-plus-all", "all"),
    ("v=spf1 mx ?all", "spf-neutral-all", "?all"),
    ("v=spf1 mx", "spf-no-all", None),
    ("v=spf1 mx -all a:mail.example", "spf-after-all", "a:mail.example"),
    ("v=spf1 mx redirect=_spf.provider.example -all", "spf-redirect-beside-all", "redirect=_spf.provider.example"),
    ("v=spf1 ptr -all", "spf-ptr", "ptr"),
    ("v=spf1 exists:mail.example -all", "spf-exists-fixed", "exists:mail.example"),
    ("v=spf1 ip4:0.0.0.0/0 -all", "spf-huge-range", "ip4:0.0.0.0/0"),
    ("v=spf1 ip4:192.0.0.0/4 -all", "spf-huge-range", "ip4:192.0.0.0/4"),
    ("v=spf1 ip6:2001::/12 -all", "spf-huge-range", "ip6:2001::/12"),
    ("v=spf1 a:mail.example/0 -all", "spf-huge-range", "a:mail.example/0"),
    ("v=spf1 a:mail.example//0 -all", "spf-huge-range", "a:mail.example//0"),
    ("v=spf1 ip4:52.96.0.0/12 -all", "spf-large-range", "ip4:52.96.0.0/12"),
    ("v=spf1 ip4:10.1.2.3 -all", "spf-private-address", "ip4:10.1.2.3"),
    ("v=spf1 ip6:fe80::1 -all", "spf-private-address", "ip6:fe80::1"),
    ("v=spf1 ip4:127.0.0.1 -all", "spf-private-address", "ip4:127.0.0.1"),
    ("v=spf1 ip4:224.0.0.9 -all", "spf-private-address", "ip4:224.0.0.9"),
    ("v=spf1 ip4:192.0.2.77/24 -all", "spf-host-bits", "ip4:192.0.2.77/24"),
    ("v=spf1 ip4:192.0.2.1 ip4:192.0.2.1 -all", "spf-duplicate-term", "ip4:192.0.2.1"),
    ("v=spf1 ip4:192.0.2.1 ip4:192.0.2.1/32 -all", "spf-duplicate-term", "ip4:192.0.2.1/32"),
    ("v=spf1 mx mx:d.example -all", "spf-duplicate-term", "mx:d.example"),
    ("v=spf1 a:mail.example a:MAIL.example. -all", "spf-duplicate-term", "a:MAIL.example."),
    ("v=spf1 ip4:192.0.2.0/24 ip4:192.0.2.1 -all", "spf-overlapping-ranges", "ip4:192.0.2.1"),
    ("v=spf1 ip4:192.0.2.1 ip4:192.0.2.0/24 -all", "spf-overlapping-ranges", "ip4:192.0.2.1"),
    ("v=spf1 ip4:192.0.2.0/24 -ip4:192.0.2.1 ~all", "spf-unreachable-term", "-ip4:192.0.2.1"),
    ("v=spf1 mx\u00a0-all", "spf-non-ascii", "mx\u00a0-all"),
    ("v=spf1 mx \u2013all", "spf-non-ascii", "\u2013all"),
    ("v=spf1 \u201cmx\u201d -all", "spf-non-ascii", "\u201cmx\u201d"),
    (b"v=spf1 mx \x96all", "spf-non-ascii", "\\x96all"),
    ("v=spf1 ip4:192.0.2.1include:_spf.provider.example -all", "spf-missing-space", None),
    ("v=spf1 ip4:192.0.2.1-all", "spf-missing-space", "ip4:192.0.2.1-all"),
    ("v=spf1 include:_spf.provider.example~all", "spf-missing-space", None),
    ("v=spf1 include:_spf.provider.example-all", "spf-missing-space", None),
    ("v=spf1 mx, -all", "spf-wrong-separator", "mx,"),
    ("v=spf1 mx;-all", "spf-wrong-separator", "mx;-all"),
    ("v=spf1 mx\t-all", "spf-wrong-separator", "mx\t-all"),
    ("v=spf1 include=_spf.provider.example -all", "spf-equals-for-colon", "include=_spf.provider.example"),
    ("v=spf1 ip4=192.0.2.1 -all", "spf-equals-for-colon", "ip4=192.0.2.1"),
    ("v=spf1 redirect:_spf.provider.example", "spf-colon-for-equals", "redirect:_spf.provider.example"),
    ("v=spf1 ip:192.0.2.1 -all", "spf-unknown-mechanism", "ip:192.0.2.1"),
    ("v=spf1 ipv6:2001:db8::1 -all", "spf-unknown-mechanism", "ipv6:2001:db8::1"),
    ("v=spf1 spf.provider.example -all", "spf-unknown-mechanism", "spf.provider.example"),
    ("v=spf1 ip4: 192.0.2.1 -all", "spf-space-inside", "ip4: 192.0.2.1"),
    ("v=spf1 include _spf.provider.example -all", "spf-space-inside", "include _spf.provider.example"),
    ("v=spf1 mx - all", "spf-space-inside", "- all"),
    ("v=spf1 ip4:192.0.2.0 /24 -all", "spf-space-inside", " /24"),
    ("v=spf1 mx-all", "spf-missing-space", "mx-all"),
    ("v=spf1 mx all=-", "spf-equals-for-colon", "all=-"),
    ("v=spf1 192.0.2.1 -all", "spf-unknown-mechanism", "192.0.2.1"),
    ("v=spf1 mx foo=bar -all", "spf-unknown-modifier", "foo=bar"),
    ("v=spf1 mx -all v=spf1 a -all", "spf-unknown-modifier", "v=spf1"),
    ("v=spf1 a:192.0.2.1 -all", "spf-address-in-a", "a:192.0.2.1"),
    ("v=spf1 mx:192.0.2.0/24 -all", "spf-address-in-a", "mx:192.0.2.0/24"),
    ("v=spf1 ip4:mail.example -all", "spf-name-in-ip", "ip4:mail.example"),
    ("v=spf1 ip4:2001:db8::1 -all", "spf-wrong-family", "ip4:2001:db8::1"),
    ("v=spf1 ip6:192.0.2.1 -all", "spf-wrong-family", "ip6:192.0.2.1"),
    ("v=spf1 a/24:mail.example -all", "spf-misplaced-cidr", "a/24:mail.example"),
    ("v=spf1 include:_spf.provider.example/24 -all", "spf-misplaced-cidr", "include:_spf.provider.example/24"),
    ("v=spf1 ip4:192.0.2.300 -all", "spf-syntax", "ip4:192.0.2.300"),
    ("v=spf1 ip4:192.0.2.1/33 -all", "spf-syntax", "ip4:192.0.2.1/33"),
    ('v=spf1 "mx" -all', "spf-syntax", '"mx"'),
    ("v=spf1 mx exp=a.example exp=b.example -all", "spf-syntax", "exp=b.example"),
    ("v=spf1 a:%{x}.example -all", "spf-syntax", "a:%{x}.example"),
    ("v=spf1 mx include:_spf.provider.example " + "ip4:192.0.2.100 " * 30 + "-all", "spf-long-record", None),
]


@pytest.mark.parametrize(("record", "code", "marked"), LINT)
def test_mistake_has_its_code_and_the_place_is_marked(record: object, code: str, marked: str | None) -> None:
    result = report(record)
    finding = found(result, code)
    assert "spf-valid" not in codes(result) or finding.severity is Severity.INFO
    if marked is not None:
        assert finding.mark is not None
        assert finding.mark.text[finding.mark.start : finding.mark.end] == marked
        assert finding.mark.text == result.record


@pytest.mark.parametrize(
    ("record", "proposed"),
    [
        ("v=spf1 mx +all", "v=spf1 mx ~all"),
        ("v=spf1 mx ?all", "v=spf1 mx ~all"),
        ("v=spf1 mx", "v=spf1 mx ~all"),
        ("v=spf1 mx -all a:mail.example", "v=spf1 mx a:mail.example -all"),
        ("v=spf1 mx redirect=_spf.provider.example -all", "v=spf1 mx -all"),
        ("v=spf1 mx mx -all", "v=spf1 mx -all"),
        ("v=spf1 mx\u00a0-all", "v=spf1 mx -all"),
        ("v=spf1 mx \u2013all", "v=spf1 mx -all"),
        ("v=spf1 \u201cmx\u201d -all", "v=spf1 mx -all"),
        (
            "v=spf1 ip4:192.0.2.1include:_spf.provider.example~all",
            "v=spf1 ip4:192.0.2.1 include:_spf.provider.example ~all",
        ),
        ("v=spf1 include:_spf.provider.example-all", "v=spf1 include:_spf.provider.example -all"),
        ("v=spf1 mx, a:mail.example; -all", "v=spf1 mx a:mail.example -all"),
        ("v=spf1 include=_spf.provider.example -all", "v=spf1 include:_spf.provider.example -all"),
        ("v=spf1 redirect:_spf.provider.example", "v=spf1 redirect=_spf.provider.example"),
        ("v=spf1 ip:192.0.2.1 ipv6:2001:db8::1 -all", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all"),
        (
            "v=spf1 a:192.0.2.1 ip4:mail.example ip6:192.0.2.2 -all",
            "v=spf1 ip4:192.0.2.1 a:mail.example ip4:192.0.2.2 -all",
        ),
        ("v=spf1 a/24:mail.example -all", "v=spf1 a:mail.example/24 -all"),
        ("v=spf1 mx nonsense -all", "v=spf1 mx -all"),
        ("v=spf1 mx -all v=spf1 a:mail.example -all", "v=spf1 mx a:mail.example -all"),
        ("v=spf1 mx include:gone.example -all", "v=spf1 mx -all"),
        (
            ["v=spf1 mx ~all", "v=spf1 include:_spf.provider.example -all"],
            "v=spf1 mx include:_spf.provider.example -all",
        ),
        (["v=spf1 mx ~all", "v=spf1 redirect=_spf.provider.example"], "v=spf1 mx include:_spf.provider.example ~all"),
        ("v=spf1; mx -all", "v=spf1 mx -all"),
        (
            "v=spf1 ip4: 192.0.2.1 include _spf.provider.example redirect _spf.provider.example",
            "v=spf1 ip4:192.0.2.1 include:_spf.provider.example redirect=_spf.provider.example",
        ),
        ("v=spf1 mx - all", "v=spf1 mx -all"),
        ("v=spf1 mx -al", "v=spf1 mx -all"),
        ("v=spf1 mx ~all.", "v=spf1 mx ~all"),
        ("v=spf1 mx-all", "v=spf1 mx -all"),
        ("v=spf1 mx all=-", "v=spf1 mx ~all"),
        ("v=spf1 inlcude:_spf.provider.example -all", "v=spf1 include:_spf.provider.example -all"),
        ("v=spf1 ip4:192.0.2.0/255.255.255.0 -all", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("v=spf1 ip4:192.0.2.0 /24 -all", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("v=spf1 ip4:192.0.2.* -all", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("v=spf1 ip4:192.0.2.1:25 ip4:192.0.2.02 -all", "v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 -all"),
        ("v=spf1 ip4:192.0.2.1,192.0.2.2 -all", "v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 -all"),
        ("v=spf1 a:https://mail.example/ -all", "v=spf1 a:mail.example -all"),
        (
            "v=spf1 redirect=_spf.provider.example redirect=_spf.provider.example",
            "v=spf1 redirect=_spf.provider.example",
        ),
        ("v=spf2 mx -all", "v=spf1 mx -all"),
        (
            ["v=spf1 redirect=_spf.provider.example", "v=spf1 mx redirect=also.example"],
            "v=spf1 mx include:also.example redirect=_spf.provider.example",
        ),
        ("spf1 mx -all", "v=spf1 mx -all"),
    ],
)
def test_slip_is_corrected_in_one_record_that_keeps_the_rest(record: object, proposed: str) -> None:
    (proposal,) = report(record).proposals
    assert (proposal.name, proposal.rdtype, proposal.value) == ("d.example", "TXT", proposed)
    again = report(proposed)
    assert not {finding.severity for finding in again.findings} & {Severity.FAIL, Severity.ERROR}
    assert again.proposals == ()


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1; mx -all", "v=spf1, mx -all", "v=spf1: mx -all", "v=spf1.", "spf1 mx -all", "v = spf1 mx -all", '"v=spf1 mx -all"',
        " v=spf1 mx -all", "v=spf1\u00a0mx -all", "v=spf 1 mx -all", "v=spf-1 mx -all", "v=spfl mx -all", "v=spf1mx -all",
        "v=spf mx -all", "\ufeffv=spf1 mx -all", "\u201cv=spf1 mx -all\u201d", "v:spf1 mx -all", "v=spf1\tmx -all",
    ],
)  # fmt: skip
def test_text_that_is_almost_spf_is_told(text: str) -> None:
    result = report(text)
    assert {"spf-near-miss", "spf-no-record"} <= codes(result)
    assert result.result == "none"


@pytest.mark.parametrize(
    "text",
    [
        "google-site-verification=x",
        "spf",
        "v=DMARC1; p=none",
        "v=DKIM1; p=",
        "v=spf2.0/pra",
        "v=STSv1; id=1",
        "spf1 is nice",
        "v=spf12",
    ],
)
def test_other_text_is_not_taken_for_spf(text: str) -> None:
    assert "spf-near-miss" not in codes(report(text))


def test_near_miss_beside_a_good_record_is_a_warning() -> None:
    assert found(report(["v=spf1 mx -all", "v=spf1; a -all"]), "spf-near-miss").severity is Severity.WARN


def test_absent_record_is_a_failure_and_a_question_not_answered_is_not() -> None:
    assert codes(report()) == {"spf-no-record"}
    unknown = report(Status.SERVFAIL)
    assert [(finding.code, finding.severity) for finding in unknown.findings] == [("spf-dns-error", Severity.ERROR)]
    assert unknown.result == "temperror"
    assert unknown.proposals == ()


def test_several_records_are_shown_and_merged() -> None:
    result = report(["v=spf1 mx -all", "v=spf1 a -all"])
    assert "v=spf1 a -all" in found(result, "spf-multiple-records").what
    assert result.result == "permerror"
    assert len(result.proposals) == 1
    assert result.proposals[0].replaces == "v=spf1 mx -all; v=spf1 a -all"


def test_sender_id_and_the_obsolete_type_are_told() -> None:
    result = report(["v=spf1 mx -all", "spf2.0/pra mx -all"], {("d.example", "SPF"): "v=spf1 a -all"})
    assert codes(result) == {"spf-sender-id", "spf-type-99"}
    assert "differs" in found(result, "spf-type-99").what


@pytest.mark.parametrize("name", ["_spf.d.example", "spf.d.example", "d.example.d.example", "_dmarc.d.example"])
def test_record_at_the_wrong_name_is_found(name: str) -> None:
    result = report(None, {(name, "TXT"): "v=spf1 mx -all"})
    assert found(result, "spf-wrong-name").subject == name


@pytest.mark.requirement("S13")
def test_strings_that_join_without_a_space_are_told() -> None:
    grown = report(("v=spf1 mx include:_spf.provider.example", "ip4:192.0.2.1 -all"))
    assert "spf-missing-space" in codes(grown)
    bare = report(("v=spf1 a:mail.example", "mx -all"), {("mail.examplemx", "A"): "192.0.2.1"})
    assert "spf-missing-space" in codes(bare)
    cut = report(("v=spf1 include:_spf.prov", "ider.example -all"))
    assert codes(cut) == {"spf-valid"}


def test_explanation_that_leads_nowhere_is_told() -> None:
    assert "spf-explanation-missing" in codes(report("v=spf1 mx exp=why.example -all"))
    assert codes(report("v=spf1 mx exp=why.example -all", {("why.example", "TXT"): "no"})) == {"spf-valid"}


# --- what a record leads to ---


def test_tree_counts_lookups_at_each_branch() -> None:
    result = report(
        "v=spf1 mx include:a.example include:b.example -all",
        {
            ("a.example", "TXT"): "v=spf1 a:mail.example include:c.example ~all",
            ("b.example", "TXT"): "v=spf1 redirect=_spf.provider.example",
            ("c.example", "TXT"): "v=spf1 ip4:192.0.2.0/24 ~all",
        },
    )
    assert result.lookups == 6
    assert result.tree is not None
    a, b = result.tree.children
    assert (result.tree.domain, result.tree.lookups, result.tree.position) == ("d.example", 6, 0)
    assert (a.domain, a.via, a.position, a.lookups) == ("a.example", "include:a.example", 2, 2)
    assert (b.domain, b.position, b.lookups, b.children[0].via) == (
        "b.example",
        5,
        1,
        "redirect=_spf.provider.example",
    )
    assert a.children[0].record == "v=spf1 ip4:192.0.2.0/24 ~all"


def test_include_that_depends_on_the_message_is_drawn_and_counted() -> None:
    result = report("v=spf1 include:%{i}._spf.example mx -all")
    assert result.tree is not None
    (child,) = result.tree.children
    assert (child.domain, child.via, child.position) == ("%{i}._spf.example", "include:%{i}._spf.example", 1)
    assert "depends on the message" in child.problem
    assert result.lookups == 2


def test_include_of_an_impossible_name_leads_to_no_record() -> None:
    assert found(report("v=spf1 include:a..example -all"), "spf-include-without-record").subject == "d.example"


def chain(number: int) -> Records:
    records: Records = {(f"n{number - 1}.example", "TXT"): "v=spf1 ip4:192.0.2.99 ~all"}
    for index in range(number - 1):
        records[f"n{index}.example", "TXT"] = f"v=spf1 include:n{index + 1}.example ~all"
    return records


@pytest.mark.requirement("S12")
def test_eleventh_lookup_is_named_and_an_address_before_it_passes() -> None:
    record = "v=spf1 ip4:192.0.2.1 include:n0.example a:mail.example mx -all"
    result = report(record, chain(9), ips=("192.0.2.1", "198.51.100.1"))
    assert result.lookups == 11
    assert "11 of 10" in found(result, "spf-too-many-lookups").what
    assert [finding.what for finding in result.findings if finding.code == "spf-over-limit-term"] == ["mx is lookup 11"]
    assert found(result, "spf-address-pass").what.startswith("192.0.2.1 passes")
    assert "198.51.100.1" in found(result, "spf-address-permerror").what


def test_eight_lookups_leave_no_room() -> None:
    assert "spf-many-lookups" in codes(report("v=spf1 include:n0.example -all", chain(8)))
    assert "spf-many-lookups" not in codes(report("v=spf1 include:n0.example -all", chain(7)))


@pytest.mark.requirement("S12")
def test_void_lookups_are_named_and_two_families_of_one_host_are_one() -> None:
    record = "v=spf1 a:gone.example a:away.example mx:lost.example a:mail.example -all"
    result = report(record)
    assert result.void_lookups == 3
    assert [probe.name for probe in result.voids] == ["gone.example", "away.example", "lost.example"]
    assert "3 lookups find nothing" in found(result, "spf-too-many-void-lookups").what
    assert result.proposals[0].value == "v=spf1 a:mail.example -all"


def test_lookup_that_fails_is_an_error_and_not_void() -> None:
    result = report("v=spf1 a:mail.example a:broken.example -all", {("broken.example", "A"): Status.TIMEOUT})
    assert found(result, "spf-lookup-dns-error").severity is Severity.ERROR
    assert result.void_lookups == 0


@pytest.mark.parametrize(
    ("published", "code"),
    [
        (None, "spf-include-without-record"),
        ("not spf", "spf-include-without-record"),
        ("v=spf1 nonsense -all", "spf-include-invalid"),
        (["v=spf1 -all", "v=spf1 ~all"], "spf-include-invalid"),
        (Status.SERVFAIL, "spf-include-dns-error"),
        ("v=spf1 +all", "spf-include-passes-all"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "spf-include-passes-all"),
        ("v=spf1 include:d.example ~all", "spf-include-loop"),
        ("v=spf1 exists:%{i}.any.example ~all", "spf-passes-anyone"),
    ],
)
def test_included_domain_is_judged(published: object, code: str) -> None:
    more: Records = {} if published is None else {("other.example", "TXT"): published}
    more |= {(f"{ip}.any.example", "A"): "127.0.0.2" for ip in ("240.0.0.1",)}
    result = report("v=spf1 include:other.example -all", more)
    assert code in codes(result)


def test_domain_included_on_two_ways_is_told() -> None:
    more: Records = {("a.example", "TXT"): "v=spf1 include:_spf.provider.example ~all"}
    result = report("v=spf1 include:a.example include:_spf.provider.example -all", more)
    assert found(result, "spf-include-twice").subject == "_spf.provider.example"
    assert result.lookups == 3


@pytest.mark.requirement("S12")
def test_too_many_mail_exchanges_are_told() -> None:
    more: Records = {("many.example", "MX"): [(10, f"mx{number}.example") for number in range(11)]}
    assert "spf-too-many-mx" in codes(report("v=spf1 mx:many.example -all", more))


# --- this sender ---


def test_each_sending_address_gets_its_verdict() -> None:
    result = report("v=spf1 mx -all", ips=("192.0.2.25", "198.51.100.9"))
    assert found(result, "spf-address-pass").what == "192.0.2.25 passes by mx in the record of d.example"
    assert found(result, "spf-address-not-authorized").what == "198.51.100.9: fail by -all in the record of d.example"
    assert result.result == "fail"
    (proposal,) = result.proposals
    assert proposal.value == "v=spf1 ip4:198.51.100.9 mx -all"
    assert proposal.replaces == "v=spf1 mx -all"
    assert "1 of 10 lookups" in proposal.why


def test_address_that_the_dns_leaves_open_is_an_error_and_is_not_added() -> None:
    result = report("v=spf1 a:broken.example -all", {("broken.example", "A"): Status.SERVFAIL}, ips=("192.0.2.25",))
    assert found(result, "spf-address-temperror").severity is Severity.ERROR
    assert result.result == "temperror"
    assert result.proposals == ()


def test_explanation_of_a_failure_is_reported() -> None:
    more: Records = {("why.example", "TXT"): "%{i} is not ours"}
    assert report("v=spf1 exp=why.example -all", more, ips=("192.0.2.8",)).explanation == "192.0.2.8 is not ours"


def test_private_sending_address_is_told_and_not_published() -> None:
    result = report("v=spf1 mx -all", ips=("10.0.0.9",))
    assert "10.0.0.9" in found(result, "spf-private-address").what
    assert result.proposals == ()


def test_address_that_an_earlier_term_refuses_comes_before_it() -> None:
    result = report("v=spf1 -ip4:192.0.2.0/24 ip4:192.0.2.1 -all", ips=("192.0.2.1",))
    assert result.proposals[0].value == "v=spf1 ip4:192.0.2.1 -ip4:192.0.2.0/24 -all"


def test_proposal_that_cannot_help_says_so() -> None:
    checked = check_spf("localhost", Zone({}), sending_addresses=[ip_address("192.0.2.1")], now=0.0)
    (proposal,) = asyncio.run(checked).proposals
    assert "does not yet let 192.0.2.1 pass" in proposal.why


def test_expected_include_is_added_before_all_and_makes_its_addresses_pass() -> None:
    result = report("v=spf1 mx -all", ips=("203.0.113.7",), includes=("_spf.provider.example",))
    assert found(result, "spf-expected-include-missing").severity is Severity.FAIL
    assert result.proposals[0].value == "v=spf1 mx include:_spf.provider.example -all"


def test_expected_include_that_is_reached_through_another_is_there() -> None:
    more: Records = {("a.example", "TXT"): "v=spf1 include:_spf.provider.example ~all"}
    assert codes(report("v=spf1 include:a.example -all", more, includes=("_spf.provider.example",))) == {"spf-valid"}


def test_address_given_twice_or_inside_ipv6_is_one() -> None:
    result = report("v=spf1 mx -all", ips=("192.0.2.77", "::ffff:192.0.2.77", "192.0.2.77"))
    assert [str(each.address) for each in result.addresses] == ["192.0.2.77"]
    assert result.proposals[0].value == "v=spf1 ip4:192.0.2.77 mx -all"


def test_new_record_is_proposed_where_there_is_none() -> None:
    result = report(None, ips=("192.0.2.1", "2001:db8::1"), includes=("_spf.provider.example",))
    assert result.result == "none"
    assert result.proposals[0].value == "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 include:_spf.provider.example ~all"
    assert result.proposals[0].replaces == ""


def test_address_is_proposed_where_it_passes_though_the_limit_is_exceeded() -> None:
    result = report("v=spf1 include:n0.example a:mail.example mx -all", chain(9), ips=("198.51.100.1",))
    (proposal,) = result.proposals
    assert proposal.value.startswith("v=spf1 ip4:198.51.100.1 include:")
    assert "needs 11 lookups of 10" in proposal.why
    assert "does not yet" not in proposal.why


# --- hostile zones ---


@pytest.mark.requirement("S12")
def test_include_bomb_is_bounded() -> None:
    bomb: Records = {
        (f"b{depth}x{number}.example", "TXT"): "v=spf1 "
        + " ".join(f"include:b{depth + 1}x{index}.example" for index in range(40))
        + " -all"
        for depth in range(12)
        for number in range(40)
    }
    result = report("v=spf1 include:b0x0.example -all", bomb, ips=("192.0.2.1",))
    assert result.lookups > 10
    assert result.result == "permerror"
    assert len(result.findings) < 100


def test_chain_without_end_is_followed_no_deeper_than_the_limit() -> None:
    zone = Zone({("d.example", "TXT"): "v=spf1 include:n0.example -all"} | chain(50))
    result = asyncio.run(check_spf("d.example", zone, sending_addresses=[], now=0.0))
    assert result.lookups > 10
    assert len({name for name, rdtype in zone.asked if rdtype == "TXT"}) <= 12
    assert "spf-too-many-lookups" in codes(result)


@pytest.mark.requirement("S12")
def test_loops_end() -> None:
    more: Records = {("a.example", "TXT"): "v=spf1 include:a.example include:d.example -all"}
    result = report("v=spf1 redirect=a.example", more, ips=("192.0.2.1",))
    assert "spf-include-loop" in codes(result)
    assert result.result == "permerror"
    assert "spf-include-loop" in codes(report("v=spf1 redirect=d.example"))


@pytest.mark.requirement("S12")
@pytest.mark.parametrize(
    "term",
    [
        "ip4:192.0.2.1",
        "include:x",
        "\u00a0",
        "a:%{s}%{s}",
        "%{",
        "a:" + "b" * 200 + "/24/",
        "ip4:1.2.3.4/",
        "-all",
        "v=spf1",
        "x=%{i}",
    ],
)
def test_record_of_64_kilobytes_takes_no_time(term: str) -> None:
    text = "v=spf1 " + " ".join([term] * (65000 // (len(term.encode()) + 1)))
    result = report(text, ips=("198.51.100.1",))
    assert max(len(finding.what) + len(finding.remedy) for finding in result.findings) <= 1000
    assert max(len(each.evaluation.problem) for each in result.addresses) <= 500
    assert max(sum(1 for finding in result.findings if finding.code == code) for code in codes(result)) <= 10


def test_every_code_is_explained_with_its_section() -> None:
    for code, text in CODES.items():
        assert code.startswith("spf-")
        assert "RFC 7208 section" in text
        assert text.count(". ") >= 2, code


def test_the_advice_on_a_missing_exchange_fits_how_mx_was_written() -> None:
    none: Records = {("d.example", "MX"): Status.NO_DATA}
    assert "publish one" in found(report("v=spf1 mx -all", none), "spf-void-lookup").remedy
    other: Records = {("host.example", "A"): "192.0.2.9"}
    assert "write a:" in found(report("v=spf1 mx:host.example -all", other), "spf-void-lookup").remedy


def test_a_term_that_leads_back_is_not_proposed_again() -> None:
    (proposal,) = report("v=spf1 include:d.example ip4:203.0.113.9 -all", ips=("203.0.113.9",)).proposals
    assert proposal.value == "v=spf1 ip4:203.0.113.9 -all"
    assert "leads back" in proposal.why
