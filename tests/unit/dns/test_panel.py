"""The steps of DNS panels: the right field for the name, and nothing that a panel would spoil."""

from __future__ import annotations

import pytest

from ucrmmail.dns.finding import Proposal
from ucrmmail.dns.panel import PANELS, Panel, panel_named, panel_of, steps

SPF = Proposal("isp.example", "TXT", "v=spf1 mx -all", "why")
DMARC = Proposal("_dmarc.isp.example", "TXT", "v=DMARC1; p=none", "why", replaces="v=DMARC1; p=nono")
LONG = Proposal("s1._domainkey.isp.example", "TXT", "v=DKIM1; p=" + "A" * 400, "why")


def named(key: str) -> Panel:
    panel = panel_named(key)
    assert panel is not None
    return panel


@pytest.mark.parametrize(
    ("nameserver", "key"),
    [
        ("ada.ns.cloudflare.com", "cloudflare"),
        ("NS-1.awsdns-00.co.uk.", "route53"),
        ("ns01.domaincontrol.com", "godaddy"),
        ("dns1.registrar-servers.com", "namecheap"),
        ("helium.ns.hetzner.de", "hetzner"),
        ("dns19.ovh.net", "ovh"),
        ("ns1-01.azure-dns.com", "azure"),
        ("ns-cloud-a1.googledomains.com", "google-cloud"),
    ],
)
def test_a_panel_is_known_by_the_nameservers(nameserver: str, key: str) -> None:
    assert panel_of(["ns1.elsewhere.example", nameserver]) is named(key)


@pytest.mark.parametrize("nameserver", ["ns1.isp.example", "cloudflare.com.isp.example", "notovh.net", ""])
def test_strangers_nameservers_belong_to_no_panel(nameserver: str) -> None:
    assert panel_of([nameserver]) is None
    assert panel_named("nobody") is None


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.key)
def test_every_panel_leads_to_the_form_and_names_every_field(panel: Panel) -> None:
    told = steps(DMARC, "isp.example", panel)
    assert told[0].startswith(f"{panel.title}: {panel.way}; edit")
    assert told[1] == "Type: TXT"
    assert told[2] == f"{panel.name_field}: " + ("_dmarc.isp.example." if panel.is_absolute else "_dmarc")
    assert told[3].endswith("v=DMARC1; p=none")


def test_the_domain_itself_is_written_as_the_panel_has_it() -> None:
    assert steps(SPF, "isp.example", named("cloudflare"))[2] == "Name: @"
    assert steps(SPF, "isp.example", named("route53"))[2] == "Record name: leave it empty"
    assert steps(SPF, "isp.example", named("cpanel"))[2] == "Name: isp.example."
    assert steps(SPF, "example", named("cloudflare"))[2] == "Name: isp"


def test_a_long_text_is_parted_only_where_the_panel_wants_it() -> None:
    whole = steps(LONG, "isp.example", named("cloudflare"))
    assert whole[3] == f"Content: {LONG.value}"
    parted = steps(LONG, "isp.example", named("route53"))[3]
    strings = parted.partition(": ")[2].split('" "')
    assert "".join(strings).strip('"') == LONG.value
    assert max(len(part.strip('"')) for part in strings) == 255


def test_a_record_of_another_zone_is_left_to_whoever_runs_it() -> None:
    foreign = Proposal("isp.example._report._dmarc.reports.example", "TXT", "v=DMARC1;", "why")
    told = steps(foreign, "isp.example", named("cloudflare"))
    assert "another zone" in told[0]
    assert told[2] == "Name: isp.example._report._dmarc.reports.example"
    assert steps(SPF, "isp.example", None)[0].startswith("your DNS host")
