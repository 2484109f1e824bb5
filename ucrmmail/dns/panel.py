"""Where records are typed in: the panels of common DNS hosts, known by the zone's nameservers, and their ways.

What goes wrong between a right record and the DNS is mostly here: a panel that adds the domain to a name that has it,
that takes quotation marks for text, or that cuts off what is longer than a string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ucrmmail.dns.finding import Proposal

# What a TXT string can hold (RFC 1035 section 3.3.14); a longer text is several.
_LONGEST_STRING = 255


@dataclass(frozen=True, slots=True)
class Panel:
    """One host's panel.

    ``way`` leads to the form. ``apex`` is what stands for the domain itself in the field that is called
    ``name_field``; ``takes_long`` says whether a text of more than 255 characters is typed in one piece, else it is
    typed as several quoted strings.
    """

    key: str
    title: str
    nameservers: tuple[str, ...]
    way: str
    name_field: str = "Name"
    value_field: str = "Value"
    apex: str = "@"
    is_absolute: bool = False
    takes_long: bool = True


# Ends of the names of nameservers, as these hosts give them to their customers.
PANELS: tuple[Panel, ...] = (
    Panel(
        "cloudflare",
        "Cloudflare",
        ("ns.cloudflare.com",),
        "your domain, DNS, Records, Add record",
        value_field="Content",
    ),
    Panel(
        "route53",
        "Amazon Route 53",
        (".awsdns-",),
        "Hosted zones, your domain, Create record",
        "Record name",
        apex="",
        takes_long=False,
    ),
    Panel("godaddy", "GoDaddy", ("domaincontrol.com",), "My Products, Domains, DNS, Add New Record"),
    Panel(
        "namecheap",
        "Namecheap",
        ("registrar-servers.com",),
        "Domain List, Manage, Advanced DNS, Add New Record",
        "Host",
    ),
    Panel(
        "hetzner",
        "Hetzner",
        ("ns.hetzner.com", "ns.hetzner.de", "second-ns.com", "second-ns.de"),
        "DNS, your zone, Add record",
    ),
    Panel(
        "ovh",
        "OVHcloud",
        ("ovh.net", "ovh.ca", "anycast.me"),
        "Domain names, your domain, DNS zone, Add an entry",
        "Sub-domain",
        apex="",
    ),
    Panel(
        "ionos",
        "IONOS",
        ("ui-dns.com", "ui-dns.de", "ui-dns.org", "ui-dns.biz"),
        "Domains & SSL, your domain, DNS, Add record",
        "Hostname",
    ),
    Panel("gandi", "Gandi", ("gandi.net",), "Domain, your domain, DNS Records, Add", value_field="Text value"),
    Panel(
        "digitalocean",
        "DigitalOcean",
        ("digitalocean.com",),
        "Networking, Domains, your domain, Create new record",
        "Hostname",
    ),
    Panel("linode", "Akamai (Linode)", ("linode.com",), "Domains, your domain, Add a record", "Hostname", apex=""),
    Panel(
        "google-cloud",
        "Google Cloud DNS",
        ("googledomains.com",),
        "Network services, Cloud DNS, your zone, Add standard",
        "DNS name",
        "TXT data",
        apex="",
        takes_long=False,
    ),
    Panel("azure", "Azure DNS", (".azure-dns.",), "DNS zones, your zone, Record sets, Add"),
    Panel(
        "squarespace",
        "Squarespace Domains",
        ("squarespacedns.com",),
        "Domains, your domain, DNS, Add record",
        "Host",
        "Data",
    ),
    Panel("dnsimple", "DNSimple", ("dnsimple.com", "dnsimple-edge"), "your domain, DNS, Manage, Add", apex=""),
    Panel("inwx", "INWX", ("inwx.de", "inwx.eu", "inwx.net"), "Nameserver, your domain, Add record", apex=""),
    Panel("cpanel", "cPanel", (), "Zone Editor, Manage, Add Record", value_field="Record", is_absolute=True),
    Panel(
        "plesk",
        "Plesk",
        (),
        "Websites & Domains, your domain, DNS Settings, Add Record",
        "Domain name",
        "TXT record",
        apex="",
    ),
    Panel("directadmin", "DirectAdmin", (), "Account Manager, DNS Management, Add Record", is_absolute=True),
)
_GENERIC = Panel("other", "your DNS host", (), "the form for a new record")


def panel_of(nameservers: Iterable[str]) -> Panel | None:
    """Return the panel of the host whose nameservers these are; None when it is not known.

    cPanel, Plesk and DirectAdmin stand before anybody's nameservers, and are never found this way.
    """
    names = [f".{name.lower().removesuffix('.')}" for name in nameservers]
    for panel in PANELS:
        for mark in panel.nameservers:
            # A mark that begins with a dot stands anywhere in the name, the others at its end.
            if any(mark in name if mark.startswith(".") else name.endswith(f".{mark}") for name in names):
                return panel
    return None


def panel_named(key: str) -> Panel | None:
    """Return the panel that is called so on the command line."""
    return next((panel for panel in PANELS if panel.key == key), None)


def steps(proposal: Proposal, zone: str, panel: Panel | None) -> tuple[str, ...]:
    """Return how a record is typed in: the way to the form, each field, and what to take care of.

    ``zone`` is the zone's name, which most panels add to what is typed.
    """
    chosen = panel or _GENERIC
    relative = _relative(proposal.name, zone)
    if relative is None:
        # The record belongs into somebody else's zone, whose panel is not known.
        where = f"this record stands in another zone than {zone}: whoever runs that one publishes it"
        return (where, f"Type: {proposal.rdtype}", f"Name: {proposal.name}", f"Value: {proposal.value}")
    name = f"{proposal.name}." if chosen.is_absolute else relative or chosen.apex
    told_name = f"{chosen.name_field}: {name}" if name else f"{chosen.name_field}: leave it empty"
    verb = "edit the record that stands there" if proposal.replaces else "add a record"
    told = [f"{chosen.title}: {chosen.way}; {verb}", f"Type: {proposal.rdtype}", told_name]
    value = proposal.value
    if proposal.rdtype == "TXT" and len(value) > _LONGEST_STRING and not chosen.takes_long:
        value = " ".join(f'"{value[at : at + _LONGEST_STRING]}"' for at in range(0, len(value), _LONGEST_STRING))
        told.append(f"{chosen.value_field} (strings of at most 255 characters, which receivers join): {value}")
    else:
        told.append(f"{chosen.value_field}: {value}")
        if proposal.rdtype == "TXT":
            told.append("without quotation marks, in one piece, nothing escaped")
    if relative and not chosen.is_absolute:
        told.append(f"most panels add {zone} by themselves: the whole name is then {proposal.name}")
    return tuple(told)


def _relative(name: str, zone: str) -> str | None:
    """Return the name without its zone, "" for the zone itself; None when it stands elsewhere."""
    if name == zone:
        return ""
    return name.removesuffix(f".{zone}") if name.endswith(f".{zone}") else None
