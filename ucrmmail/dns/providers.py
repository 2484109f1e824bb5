"""What a provider asks its customers to publish: the SPF include, and the names under which it signs.

An include is named only where mail leaves with the customer's own reverse-path: SES, SendGrid, Mailgun, Postmark,
Brevo, Mailjet and Resend use a bounce domain of theirs, or a subdomain that a CNAME gives them, and need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Provider:
    """What is known of a provider: ``includes`` for SPF, ``selectors`` for DKIM, where DKIM is switched on."""

    includes: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    dkim_steps: str = ""


# Consumer services sign as themselves and take no other From domain; they are not here.
PROVIDERS: dict[str, Provider] = {
    # support.google.com/a/answer/33786 (SPF), /a/answer/174124 (DKIM)
    "gmail": Provider(
        ("_spf.google.com",), ("google",), "Admin console, Apps, Google Workspace, Gmail, Authenticate email"
    ),
    # learn.microsoft.com: set up SPF, and DKIM with the CNAMEs selector1 and selector2
    "microsoft365": Provider(
        ("spf.protection.outlook.com",),
        ("selector1", "selector2"),
        "Defender portal, Email authentication settings, DKIM",
    ),
    # zoho.com/mail/help/adminconsole/spf-configuration.html
    "zoho": Provider(("zohomail.com",), ("zmail", "zoho"), "Zoho Mail admin console, Domains, DKIM"),
    # support.apple.com/102374
    "icloud": Provider(("icloud.com",), ("sig1",), "iCloud settings, Custom Email Domain"),
    # fastmail.help: manual DNS configuration
    "fastmail": Provider(("spf.messagingengine.com",), ("fm1", "fm2", "fm3"), "Settings, Domains"),
    # docs.aws.amazon.com/ses: Easy DKIM has three CNAMEs with names of its own for each domain
    "ses": Provider((), (), "SES console, Identities, DKIM: three CNAME records"),
    # docs.sendgrid.com: domain authentication
    "sendgrid": Provider((), ("s1", "s2"), "Settings, Sender Authentication"),
    # documentation.mailgun.com: domain verification
    "mailgun": Provider((), ("pic", "mailo", "k1", "smtp", "mx"), "Sending, Domains, DNS records"),
    # postmarkapp.com/support: the selector has the date in it
    "postmark": Provider((), (), "Sender Signatures, DNS Settings: the selector is shown there"),
    # help.brevo.com: authenticate your domain
    "brevo": Provider((), ("brevo1", "brevo2", "mail"), "Senders, Domains"),
    # support.smtp2go.com: verified senders
    "smtp2go": Provider((), (), "Sending, Verified Senders: three CNAME records"),
    # documentation.mailjet.com, on SPF and DKIM
    "mailjet": Provider((), ("mailjet",), "Account settings, Sender domains"),
    # resend.com/docs: domains
    "resend": Provider((), ("resend",), "Domains"),
}

# Selectors in common use, asked when none is known.
COMMON_SELECTORS = (
    "google", "selector1", "selector2", "s1", "s2", "k1", "k2", "k3", "mail", "default", "dkim", "zoho", "zmail",
    "fm1", "fm2", "fm3", "mandrill", "mailjet", "protonmail", "sig1", "smtp", "x",
)  # fmt: skip


def provider_of(transport: str) -> Provider:
    """Return what is known of the provider behind ``smtp.transport``; nothing for a smarthost of one's own."""
    return PROVIDERS.get(transport, Provider())


# What the exchanges and SPF includes of a domain end in, and under which selectors those services sign.
_HINTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("google.com", PROVIDERS["gmail"].selectors),
    ("googlemail.com", PROVIDERS["gmail"].selectors),
    ("protection.outlook.com", PROVIDERS["microsoft365"].selectors),
    ("mx.microsoft", PROVIDERS["microsoft365"].selectors),
    ("zoho.com", PROVIDERS["zoho"].selectors),
    ("zoho.eu", PROVIDERS["zoho"].selectors),
    ("zohomail.com", PROVIDERS["zoho"].selectors),
    ("messagingengine.com", PROVIDERS["fastmail"].selectors),
    ("icloud.com", PROVIDERS["icloud"].selectors),
    ("sendgrid.net", PROVIDERS["sendgrid"].selectors),
    ("mailgun.org", PROVIDERS["mailgun"].selectors),
    ("mailjet.com", PROVIDERS["mailjet"].selectors),
    ("brevo.com", PROVIDERS["brevo"].selectors),
    ("sendinblue.com", PROVIDERS["brevo"].selectors),
    ("mcsv.net", ("k1", "k2", "k3")),
    ("mandrillapp.com", ("mandrill", "mte1", "mte2")),
    ("protonmail.ch", ("protonmail", "protonmail2", "protonmail3")),
    ("migadu.com", ("key1", "key2", "key3")),
    ("mailbox.org", ("mbo0001", "mbo0002", "mbo0003", "mbo0004")),
    ("gandi.net", ("gm1", "gm2", "gm3")),
    ("pphosted.com", ("selector1", "selector2")),
    ("yandex.net", ("mail",)),
    ("hubspotemail.net", ("hs1", "hs2")),
    ("zendesk.com", ("zendesk1", "zendesk2")),
)


def selectors_of(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the selectors that the services behind these host names sign under; names in lower case."""
    found = [
        selector
        for host in hosts
        for end, selectors in _HINTS
        if host == end or host.endswith(f".{end}")
        for selector in selectors
    ]
    return tuple(dict.fromkeys(found))
