"""Providers by name: what ``smtp.transport = "gmail"`` stands for, and which limits the provider publishes.

A preset takes the place of the defaults of ``smtp.host``, ``port``, ``encryption``, ``username`` and
``authentication``; a key that is set goes before it. TLS from the first byte (port 465) is taken where the provider
offers it: nothing can be stripped from it on the way (RFC 8314 section 3).

Limits are proposed, never applied by themselves: they differ by plan and change, and a limit that nobody set could not
be found by the one who wonders why mail waits. Each has its source; figures were looked up in November 2026.
"""

from __future__ import annotations

from ucrmmail.dataclass import dataclass

ADDRESS = "you@example.com"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider lets through, in the words of the Throttler, and for which plan."""

    message_limit: int
    duration: str
    plan: str
    count: str = "messages"
    additional: tuple[str, ...] = ()

    def settings(self) -> tuple[tuple[str, str], ...]:
        """Return the keys and values to set, as they are typed. Providers count in any span, so windows slide."""
        pairs = [
            ("throttler.message_limit", str(self.message_limit)),
            ("throttler.duration", self.duration),
            ("throttler.window", "sliding"),
        ]
        if self.count != "messages":
            pairs.append(("throttler.count", self.count))
        if self.additional:
            pairs.append(("throttler.additional_limits", ",".join(self.additional)))
        return tuple(pairs)


@dataclass(frozen=True, slots=True)
class Preset:
    """How a provider's submission service is reached; ``username`` is set where it is the same for everyone.

    ``login`` says what to give as the username, ``note`` what a newcomer stumbles over, and ``app_page`` where an
    app password is made.
    """

    name: str
    title: str
    host: str
    port: int = 465
    encryption: str = "tls"
    username: str = ""
    authentication: str = "auto"
    login: str = ADDRESS
    limits: Limits | None = None
    note: str = ""
    app_page: str = ""


PRESETS: tuple[Preset, ...] = (
    Preset(
        "gmail",
        "Gmail and Google Workspace",
        "smtp.gmail.com",
        # https://support.google.com/mail/answer/22839 (500 recipients in 24 hours; Workspace 2,000:
        # https://support.google.com/a/answer/166852)
        limits=Limits(500, "24h", "a free account; Google Workspace allows 2000", count="recipients"),
        login="you@gmail.com",
        note="needs an app password (the account needs 2-Step Verification) or `ucrmmail login`",
        app_page="https://myaccount.google.com/apppasswords",
    ),
    Preset(
        "microsoft365",
        "Microsoft 365 (Exchange Online)",
        "smtp.office365.com",
        # Client submission is offered with STARTTLS only.
        port=587,
        encryption="starttls",
        # https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits
        limits=Limits(30, "1m", "every plan; 10000 recipients a day too", additional=("10000/24h",)),
        note="Authenticated SMTP must be enabled for the mailbox; passwords are being withdrawn: see `ucrmmail login`",
    ),
    Preset(
        "outlook",
        "Outlook.com, Hotmail, Live",
        "smtp-mail.outlook.com",
        port=587,
        encryption="starttls",
        # Personal accounts take tokens only, since September 2024.
        authentication="xoauth2",
        login="you@outlook.com",
        # https://support.microsoft.com/office/sending-limits-in-outlook-com: figures for paying subscribers only.
        note="takes OAuth tokens only: see `ucrmmail login`; limits of free accounts are not published",
    ),
    Preset(
        "zoho",
        "Zoho Mail",
        "smtp.zoho.com",
        # https://www.zoho.com/mail/help/adminconsole/rates-and-limits.html (50 to 500 an hour, by reputation)
        limits=Limits(50, "1h", "a new account; up to 500 an hour with reputation"),
        note="the host is that of your region: smtp.zoho.eu, smtp.zoho.in ...; smtppro.zoho.com for own domains",
    ),
    Preset(
        "yahoo",
        "Yahoo Mail",
        "smtp.mail.yahoo.com",
        # https://help.yahoo.com/kb/SLN17518.html (each recipient counts)
        limits=Limits(500, "24h", "every account", count="recipients"),
        login="you@yahoo.com",
        note="needs an app password",
    ),
    Preset(
        "icloud",
        "iCloud Mail",
        "smtp.mail.me.com",
        # Apple documents port 587 with STARTTLS only: https://support.apple.com/102525
        port=587,
        encryption="starttls",
        # https://support.apple.com/102198 (1000 messages and 1000 recipients a day)
        limits=Limits(1000, "24h", "every account", count="recipients"),
        login="you@icloud.com",
        note="needs an app-specific password",
        # https://support.apple.com/102654
        app_page="https://account.apple.com, Sign-In and Security",
    ),
    Preset(
        "fastmail",
        "Fastmail",
        "smtp.fastmail.com",
        login="you@fastmail.com",
        # https://www.fastmail.com/help/account/limits.html: by plan.
        note="needs an app password; limits depend on the plan",
    ),
    Preset(
        "ses",
        "Amazon SES",
        # A host for each region, and the account lives in one of them: there is nothing to guess.
        "",
        login="AKIAIOSFODNN7EXAMPLE",
        # https://docs.aws.amazon.com/ses/latest/dg/quotas.html (sandbox: 200 recipients in 24 hours, 1 a second)
        limits=Limits(200, "24h", "the sandbox; the console shows yours", count="recipients", additional=("1/1s",)),
        note="set smtp.host to email-smtp.REGION.amazonaws.com; the login is made under SMTP settings, not IAM",
    ),
    Preset(
        "sendgrid",
        "Twilio SendGrid",
        "smtp.sendgrid.net",
        # https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api
        username="apikey",
        note="the password is an API key; limits depend on the plan",
    ),
    Preset(
        "mailgun",
        "Mailgun",
        "smtp.mailgun.org",
        login="postmaster@mg.example.com",
        note="for the EU region set smtp.host to smtp.eu.mailgun.org; limits depend on the plan",
    ),
    Preset(
        "postmark",
        "Postmark",
        "smtp.postmarkapp.com",
        # No port with TLS from the first byte: https://postmarkapp.com/support/article/811
        port=587,
        encryption="starttls",
        login="ACCESS_KEY",
        note="make an SMTP token: the access key is the username, the secret key the password",
    ),
    Preset(
        "brevo",
        "Brevo",
        "smtp-relay.brevo.com",
        # https://www.brevo.com/pricing (300 a day)
        limits=Limits(300, "24h", "the free plan"),
        note="the password is an SMTP key, not an API key",
    ),
    Preset(
        "smtp2go",
        "SMTP2GO",
        "mail.smtp2go.com",
        login="SMTP_USER",
        # https://www.smtp2go.com/pricing (200 a day, 1000 a month)
        limits=Limits(200, "24h", "the free plan", additional=("1000/30d",)),
    ),
    Preset(
        "mailjet",
        "Mailjet",
        "in-v3.mailjet.com",
        login="API_KEY",
        # https://www.mailjet.com/pricing (200 a day, 6000 a month)
        limits=Limits(200, "24h", "the free plan", additional=("6000/30d",)),
        note="the username is the API key, the password the secret key",
    ),
    Preset(
        "resend",
        "Resend",
        "smtp.resend.com",
        username="resend",
        # https://resend.com/docs/knowledge-base/account-quotas-and-limits (each recipient counts)
        limits=Limits(100, "24h", "the free plan", count="recipients", additional=("3000/30d",)),
        note="the password is an API key",
    ),
    Preset(
        "smtp",
        "any other smarthost",
        "",
        port=587,
        encryption="starttls",
        login="USER",
        note="set smtp.host, and smtp.username when it asks for a login",
    ),
)

_BY_NAME = {preset.name: preset for preset in PRESETS}
NAMES = tuple(_BY_NAME)


def preset(name: str) -> Preset:
    """Return the preset of a known name (``NAMES``)."""
    return _BY_NAME[name]
