"""Two evaluators of SPF over the same generated zones: where pyspf disagrees, the RFC is quoted that decides.

pyspf is the reference of the openspf suite; it is asked through its own lookup function, with the zone in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
import spf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.spf import check_host

NAMES = ("a.example", "b.example", "c.example", "d.example")
HOSTS = {
    ("h1.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("h2.example", "A"): "192.0.2.130",
    ("h2.example", "AAAA"): "2001:db8::2",
    ("h3.example", "AAAA"): "2001:db8::3",
    ("m.example", "MX"): [(10, "h1.example"), (20, "h3.example")],
    ("many.example", "MX"): [(n, "h2.example") for n in range(11)],
    ("text.example", "TXT"): "nothing to do with SPF",
    ("slow.example", "TXT"): Status.TIMEOUT,
    ("slow.example", "A"): Status.SERVFAIL,
    ("alias.example", "CNAME"): "h1.example",
    ("1.2.0.192.in-addr.arpa", "PTR"): "h1.example",
    ("130.2.0.192.in-addr.arpa", "PTR"): ["liar.example", "h2.example"],
    ("liar.example", "A"): "198.51.100.1",
    ("192.0.2.1.l.example", "A"): "127.0.0.2",
    ("user._spf.example", "A"): "127.0.0.2",
}
CLIENTS = ("192.0.2.1", "192.0.2.130", "198.51.100.9", "2001:db8::2", "2001:db8:ffff::1")

hosts = st.sampled_from(["h1.example", "h2.example", "h3.example", "alias.example", "gone.example", "slow.example"])
domains = st.sampled_from([*NAMES, "text.example", "gone.example", "slow.example"])
cidr = st.sampled_from(["", "/24", "/32", "/0", "/33", "//64", "/24//64", "//129", "/024", "/"])
macro = st.sampled_from(["%{i}.l.example", "%{l}._spf.example", "%{d2}", "%{ir}.l.example", "%{d}", "%{x}", "%{s}", "%",
                         "%{o1r-}", "%%.example", "%{d0}", "%{p}.example", "%{v}.example", "%{h}"])  # fmt: skip
mechanism = st.one_of(
    st.just("all"),
    st.builds("a{}".format, cidr),
    st.builds("a:{}{}".format, hosts, cidr),
    st.builds("mx:{}{}".format, st.sampled_from(["m.example", "many.example", "gone.example", "h1.example"]), cidr),
    st.builds("include:{}".format, domains),
    st.builds("exists:{}".format, st.one_of(hosts, macro)),
    st.builds("ip4:192.0.2.{}{}".format, st.sampled_from(["1", "128", "256", "0"]), cidr),
    st.builds(
        "ip6:2001:db8::{}{}".format, st.sampled_from(["2", "0", "g"]), st.sampled_from(["", "/32", "/128", "/129"])
    ),
    st.sampled_from(["ptr", "ptr:example", "ptr:h2.example", "unknown", "include", "ip4", "a:", "mx:", "exists:", "-"]),
)
qualified = st.builds("{}{}".format, st.sampled_from(["", "+", "-", "~", "?"]), mechanism)
modifier = st.one_of(
    st.builds("redirect={}".format, domains),
    st.builds("redirect={}".format, macro),
    st.builds("exp={}".format, hosts),
    st.sampled_from(["x-other=a", "redirect=", "op=%{z}", "1x=a"]),
)
record = st.builds(
    lambda begin, terms, space: begin + space.join(["", *terms]),
    st.sampled_from(["v=spf1"] * 12 + ["V=SPF1", "v=spf10", "v=spf1 ", "spf1"]),
    st.lists(st.one_of(qualified, qualified, qualified, modifier), max_size=5),
    st.sampled_from([" "] * 5 + ["  "]),
)
zones = st.fixed_dictionaries(
    {
        "a.example": st.lists(record, min_size=1, max_size=1),
        "b.example": st.lists(record, max_size=1),
        "c.example": st.lists(record, max_size=1),
        "d.example": st.lists(record, max_size=2),
    }
)


def lookup(zone: Zone, name: str, rdtype: str) -> Iterator[tuple[tuple[str, str], Any]]:
    """Answer as pyspf's own lookup does; raise its error where the DNS does not answer."""
    answer = asyncio.run(zone.query(name, rdtype))
    if not answer.status.is_known:
        raise spf.TempError("DNS")
    for text in answer.texts:
        yield (name, rdtype), text.strings
    for address in answer.addresses:
        yield (name, rdtype), str(address)
    for exchange in answer.exchanges:
        yield (name, rdtype), (exchange.preference, exchange.exchange)
    for host in answer.hosts:
        yield (name, rdtype), host


def theirs(zone: Zone, client: str, sender: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spf, "DNSLookup", lambda name, rdtype, *_: list(lookup(zone, name, rdtype)))
        return str(spf.check2(i=client, s=sender, h="h1.example", querytime=0)[0])


def ours(zone: Zone, client: str, sender: str) -> str:
    checked = check_host(ip_address(client), "a.example", sender, "h1.example", zone, now=0.0)
    return str(asyncio.run(checked).result)


def why_ours(published: dict[str, list[str]], mine: str, peer: str) -> str:
    """Return what of the RFC decides against the peer; "" when nothing does."""
    terms = [text.split() for texts in published.values() for text in texts]
    if peer == "permerror" and any(each.count("x-other=a") > 1 for each in terms):
        # "Unrecognized modifiers MUST be ignored no matter where, or how often, they appear": only redirect and exp
        # may not come twice.
        return "RFC 7208 section 6"
    if mine == "permerror" and any("op=%{z}" in each for each in terms):
        # unknown-modifier = name "=" macro-string, and z is no macro letter: a syntax error anywhere in the record is
        # permerror before anything is evaluated (section 4.6).
        return "RFC 7208 section 12"
    if peer == "permerror" and any({"all", "+all", "-all", "~all", "?all"} & {*each} for each in terms):
        # "Mechanisms listed after all MUST be ignored. Any redirect modifier MUST be ignored when there is an all
        # mechanism in the record": the peer follows both.
        return "RFC 7208 section 5.1"
    if mine == "permerror" and any("%{d0}" in term for each in terms for term in each):
        # "If the DIGIT is specified, it MUST be nonzero."
        return "RFC 7208 section 7.3"
    return ""


@settings(max_examples=400, deadline=None, derandomize=True)
@given(zones, st.sampled_from(CLIENTS), st.sampled_from(["user@a.example", "o'b+c@a.example"]))
@example({"a.example": ["v=spf1 x-other=a x-other=a"]}, "192.0.2.1", "user@a.example")
@example(
    {"a.example": ["v=spf1 ?all exp=h1.example ?include:a.example redirect=a.example all"]},
    CLIENTS[0],
    "user@a.example",
)
@example({"a.example": ["v=spf1 op=%{z}"]}, "192.0.2.1", "user@a.example")
def test_two_evaluators_agree_but_for_what_the_rfc_decides(
    published: dict[str, list[str]], client: str, sender: str
) -> None:
    records: dict[tuple[str, str], object] = dict(HOSTS)
    records |= {(name, "TXT"): texts for name, texts in published.items() if texts}
    zone = Zone(records)
    mine, peer = ours(zone, client, sender), theirs(zone, client, sender)
    assert mine == peer or why_ours(published, mine, peer), (mine, peer)


@pytest.mark.parametrize(
    ("record", "mine", "peer"),
    [
        ("v=spf1 x-other=a x-other=a", "neutral", "permerror"),
        ("v=spf1 op=%{z}", "permerror", "neutral"),
        ("v=spf1 exists:%{d0}", "permerror", "neutral"),
        ("v=spf1 ?all exp=h1.example ?include:a.example redirect=a.example all", "neutral", "permerror"),
    ],
)
def test_each_disagreement_that_is_allowed_is_there(record: str, mine: str, peer: str) -> None:
    zone = Zone({("a.example", "TXT"): record})
    asked = (zone, "192.0.2.1", "user@a.example")
    assert (ours(*asked), theirs(*asked)) == (mine, peer)
