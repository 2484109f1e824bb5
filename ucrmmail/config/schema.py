"""Every key that may be set: one declaration each, for validation, help, the man page and completion.

A default that depends on something else is said in ``default_note`` and decided in ``load``. Help is written for one
who knows mail but not this program; the first sentence stands alone in lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.config import presets, spool_values, texts
from ucrmmail.config.kinds import choice, command, duration, flag, integer, secret, size, text, words
from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.config.kinds import Kind, Written


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its path (``table.name``), kind, default, help, and an example as it is typed after the key.

    ``unit`` is what an integer counts, ``known_as`` what people call the thing. A secret never stands in the file and
    is never shown.
    """

    path: str
    kind: Kind
    default: Written
    help: str
    example: str
    unit: str = ""
    default_note: str = ""
    known_as: str = ""

    @property
    def table(self) -> str:
        """The table of the file that it stands in."""
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        """The name within its table."""
        return self.path.partition(".")[2]

    @property
    def secret(self) -> bool:
        """Whether it is kept in the credential store."""
        return self.kind.name == "secret"

    @property
    def allowed(self) -> str:
        """What may be written, in a few words."""
        return f"{self.kind.allowed} {self.unit}".rstrip()


_HOST = text("a host name or an IP address", texts.host, "host")
_MAILBOX = text("an address such as billing@isp.example", texts.mailbox, "address")
_PATH = text("an absolute path", texts.path, "path")
_ENDPOINT = text("an address that begins with https://", texts.endpoint)
_MOST = 1_000_000_000

_SMTP = (
    Key(
        "smtp.transport",
        choice(*presets.NAMES),
        "smtp",
        "Who takes the mail: a provider by name, or smtp for any other smarthost. A name fills in host, port,"
        " encryption and what is known of the login; keys that are set go before it. See `ucrmmail config presets`.",
        "gmail",
        known_as="transport type",
    ),
    Key(
        "smtp.host",
        _HOST,
        "",
        "The smarthost that takes the mail.",
        "mail.isp.example",
        default_note="the provider's, by smtp.transport",
    ),
    Key(
        "smtp.port",
        integer(1, 65535),
        587,
        "The port of the smarthost.",
        "587",
        default_note="the provider's, by smtp.transport; else 587 with starttls, 465 with tls, 25 with none",
    ),
    Key(
        "smtp.encryption",
        choice("starttls", "tls", "none"),
        "starttls",
        "How the connection is made private. tls is encrypted from the first byte (port 465), starttls after a"
        " greeting (port 587); without a valid certificate nothing is sent.",
        "tls",
        default_note="the provider's, by smtp.transport; tls when smtp.port is 465",
    ),
    Key(
        "smtp.username",
        text("the name of the login"),
        "",
        "The name to log in with, often the whole address. Unset: no login.",
        "billing@isp.example",
        default_note="the provider's, by smtp.transport, where it is the same for everyone",
    ),
    Key(
        "smtp.password",
        secret(),
        "",
        "The password, app password, API key or token of the login. It is asked for without echo or read with"
        " --stdin, and kept in the credential store, never in the file.",
        "",
    ),
    Key(
        "smtp.authentication",
        choice("auto", "plain", "login", "cram-md5", "xoauth2", "oauthbearer", "none"),
        "auto",
        "How the login is made. auto takes the best that the server offers and that suits the secret.",
        "xoauth2",
        default_note="the provider's, by smtp.transport, where only one works",
    ),
    Key(
        "smtp.verify_certificate",
        flag(),
        True,
        "Whether the certificate of the smarthost must be valid and bear its name. Without it anyone on the way can"
        " read the password.",
        "true",
    ),
    Key(
        "smtp.ca_file",
        _PATH,
        "",
        "A PEM file of certificate authorities to trust instead of the system's.",
        "/etc/ucrmmail/ca.pem",
    ),
    Key(
        "smtp.client_certificate",
        _PATH,
        "",
        "A PEM file with the certificate that proves who we are to the smarthost.",
        "/etc/ucrmmail/client.pem",
    ),
    Key(
        "smtp.client_key",
        _PATH,
        "",
        "The PEM file with the private key of smtp.client_certificate, if it is not in the same file.",
        "/etc/ucrmmail/client.key",
    ),
    Key(
        "smtp.timeout",
        duration(1.0),
        "60s",
        "How long the smarthost may take for each step. Once it is set, it holds for the four below that are not, too.",
        "60s",
    ),
    Key(
        "smtp.greeting_timeout",
        duration(1.0),
        "5m",
        "How long it may take to greet us, once it is connected (RFC 5321 section 4.5.3.2.1).",
        "5m",
        default_note="smtp.timeout, once that is set",
    ),
    Key(
        "smtp.envelope_timeout",
        duration(1.0),
        "5m",
        "How long it may take to answer MAIL, and each RCPT (RFC 5321 sections 4.5.3.2.2 and 4.5.3.2.3).",
        "5m",
        default_note="smtp.timeout, once that is set",
    ),
    Key(
        "smtp.data_timeout",
        duration(1.0),
        "2m",
        "How long it may take to answer DATA (RFC 5321 section 4.5.3.2.4).",
        "2m",
        default_note="smtp.timeout, once that is set",
    ),
    Key(
        "smtp.block_timeout",
        duration(1.0),
        "3m",
        "How long it may take to read a part of a message (RFC 5321 section 4.5.3.2.5).",
        "3m",
        default_note="smtp.timeout, once that is set",
    ),
    Key(
        "smtp.final_timeout",
        duration(1.0),
        "10m",
        "How long the smarthost may take to accept a message that was sent completely. A shorter time makes"
        " duplicates: the message may have been accepted (RFC 5321 section 4.5.3.2.6).",
        "10m",
    ),
    Key(
        "smtp.local_hostname",
        _HOST,
        "",
        "The name that this machine gives in EHLO, and in its reports to senders. Servers that look at it want a full"
        " name that DNS knows: a name without a dot is given only when it is set here (RFC 5321 section 4.1.4).",
        "app1.isp.example",
        default_note="the name of this machine; in EHLO its address in brackets when that name has no dot",
    ),
    Key(
        "smtp.connections",
        integer(1, 50),
        1,
        "How many connections are used at a time, each a process of its own when there is no limit. Limits hold "
        "for all of them together.",
        "4",
        unit="connections",
    ),
    Key(
        "smtp.pipelining",
        flag(),
        True,
        "Whether commands are sent without waiting for each reply, when the smarthost offers it (RFC 2920).",
        "false",
    ),
    Key(
        "smtp.chunking",
        flag(),
        True,
        "Whether messages are sent in counted chunks (BDAT), when the smarthost offers it (RFC 3030).",
        "false",
    ),
    Key(
        "smtp.allow_insecure_login",
        flag(),
        False,
        "Whether the password may be sent unencrypted, to this machine itself too: any user can listen on a port.",
        "false",
    ),
)

_ADDRESSES = (
    Key(
        "addresses.sender",
        _MAILBOX,
        "",
        "The sender address: the Sender header of each message, and where bounces go when the submitter names"
        " nothing else.",
        "billing@isp.example",
        known_as="sender address",
    ),
    Key(
        "addresses.organization",
        _MAILBOX,
        "",
        "The organization email: takes the place of the sender address when that is not set.",
        "office@isp.example",
        known_as="organization email",
    ),
    Key(
        "addresses.support",
        _MAILBOX,
        "",
        "The support email address: gets mail to the bare local name support.",
        "support@isp.example",
        known_as="support email address",
    ),
    Key(
        "addresses.notification",
        _MAILBOX,
        "",
        "The system notification address: gets reports of failures that no sender can be told of, a notice when mail"
        " waits for too long, and mail to root, postmaster and other bare local names.",
        "admin@isp.example",
        known_as="system notification address",
    ),
)

_THROTTLER = (
    Key(
        "throttler.message_limit",
        integer(0, _MOST),
        0,
        "How many messages may be sent in throttler.duration; 0 turns the Throttler off.",
        "500",
        unit="messages",
    ),
    Key(
        "throttler.duration",
        duration(0.001),
        "24h",
        "The time in which throttler.message_limit holds. It starts with the first message sent.",
        "24h",
    ),
    Key(
        "throttler.window",
        choice("fixed", "sliding"),
        "fixed",
        "How the time is counted. fixed starts anew when the duration has passed since its first message; sliding"
        " holds in any span of that length, as providers count.",
        "sliding",
    ),
    Key(
        "throttler.count",
        choice("messages", "recipients"),
        "messages",
        "What counts against the limit. Changed, it counts what was sent before in the new unit too.",
        "recipients",
    ),
    Key(
        "throttler.additional_limits",
        words("rates such as 30/1m", texts.rate),
        [],
        "Further limits that hold together with the main one.",
        "30/1m,10000/24h",
    ),
)

_ANTIFLOOD = (
    Key(
        "antiflood.activation_threshold",
        integer(0, _MOST),
        0,
        "After how many messages in a row a pause is made; 0 turns AntiFlood off.",
        "100",
        unit="messages",
    ),
    Key("antiflood.pause_time", duration(), "60s", "How long that pause is.", "60s"),
)

_SPOOL = (
    Key(
        "spool.directory",
        _PATH,
        "",
        "Where mail is queued. It belongs to the user who flushes and is closed to others.",
        "/var/spool/ucrmmail",
        default_note="/var/spool/ucrmmail for root, $XDG_STATE_HOME/ucrmmail/spool for others",
    ),
    Key(
        "spool.sync",
        choice(*spool_values.SYNC),
        spool_values.SYNC[0],
        "When outcomes are forced to the disk: together a few times a second, or each at once. A power cut can repeat"
        " what was not; accepted mail is always on the disk.",
        "each",
    ),
    Key("spool.keep_sent", duration(), "0", "How long relayed messages are kept in sent/; 0: not at all.", "7d"),
    Key(
        "spool.max_message_size",
        size(1, spool_values.LARGEST_MESSAGE_BYTES),
        spool_values.MAX_MESSAGE_SIZE,
        "The largest message that is accepted.",
        "25MB",
    ),
    Key(
        "spool.min_free_space",
        size(),
        spool_values.MIN_FREE_SPACE,
        "What must stay free on the disk: below it no mail is accepted, and what is queued can still be sent.",
        "100MB",
    ),
)

_RETRY = (
    Key(
        "retry.first_delay",
        duration(1.0),
        "5m",
        "How long a deferred message waits after its first attempt; the time doubles with each further one.",
        "15m",
    ),
    Key("retry.max_delay", duration(1.0), "4h", "The longest time between two attempts.", "4h"),
    Key(
        "retry.give_up_after",
        duration(),
        "5d",
        "How long after its first attempt a message that is still deferred has failed, and is reported.",
        "3d",
    ),
    Key(
        "retry.warn_after",
        duration(),
        "4h",
        "How long mail may wait before the system notification address is told, once, and what is in the way; 0 never"
        " tells.",
        "1d",
    ),
)

_DNS = (
    Key(
        "dns.domains",
        words("domain names", texts.domain),
        [],
        "The domains that `ucrmmail check-dns` looks at when none is named.",
        "isp.example,shop.example",
        default_note="the domains of the addresses",
    ),
    Key(
        "dns.dkim_selectors",
        words("DKIM selectors", texts.selector),
        [],
        "The DKIM selectors that sign our mail: they cannot be found out by asking.",
        "s1,s2",
    ),
    Key(
        "dns.nameservers",
        words("servers such as 192.0.2.53 or 192.0.2.53:5353", texts.nameserver),
        [],
        "The name servers to ask.",
        "192.0.2.53",
        default_note="those of the system",
    ),
    Key(
        "dns.sending_addresses",
        words("IP addresses or networks such as 192.0.2.0/24", texts.network),
        [],
        "The IP addresses that our mail leaves from, as receivers see them.",
        "192.0.2.25",
    ),
)

_CREDENTIALS = (
    Key(
        "credentials.source",
        choice("keyring", "file", "command"),
        "keyring",
        "Where the secret comes from. `ucrmmail config set smtp.password` records it.",
        "file",
    ),
    Key(
        "credentials.command",
        command(),
        [],
        "The program that prints the secret on its first line, when the source is command. No shell is involved.",
        "'pass show smtp'",
    ),
    Key(
        "credentials.file",
        _PATH,
        "",
        "The file that holds the secret, when the source is file; readable by its owner only.",
        "/etc/ucrmmail/secrets.toml",
        default_note="secrets.toml beside the configuration file",
    ),
)

_OAUTH = (
    Key(
        "oauth.flow",
        choice("auto", "client-credentials", "device-code", "authorization-code", "service-account"),
        "auto",
        "How the account gets its token. auto takes what suits the provider and the keys that are set;"
        " `ucrmmail login --flow` records another.",
        "client-credentials",
        known_as="oauth grant",
    ),
    Key(
        "oauth.client_id",
        text("the id of a client"),
        "",
        "The id of the application as it is registered with the provider.",
        "11112222-3333-4444-5555-666677778888",
    ),
    Key(
        "oauth.client_secret",
        secret(),
        "",
        "The secret of that application, where it has one. It is asked for without echo or read with --stdin, and kept"
        " in the credential store, never in the file.",
        "",
    ),
    Key(
        "oauth.tenant",
        text("a domain or a directory id", texts.tenant),
        "",
        "The Microsoft tenant that the application and the mailbox belong to.",
        "isp.example",
        default_note="any organization; with smtp.transport outlook any personal account",
    ),
    Key(
        "oauth.key_file",
        _PATH,
        "",
        "The JSON key of a Google service account with domain-wide delegation; readable by its owner only.",
        "/etc/ucrmmail/service-account.json",
    ),
    Key(
        "oauth.token_endpoint",
        _ENDPOINT,
        "",
        "Where tokens are granted.",
        "https://auth.isp.example/token",
        default_note="the provider's, by smtp.transport",
    ),
    Key(
        "oauth.authorization_endpoint",
        _ENDPOINT,
        "",
        "Where a person agrees in a browser.",
        "https://auth.isp.example/authorize",
        default_note="the provider's, by smtp.transport",
    ),
    Key(
        "oauth.device_endpoint",
        _ENDPOINT,
        "",
        "Where a code is given out that a person enters in a browser (RFC 8628).",
        "https://auth.isp.example/device",
        default_note="the provider's, by smtp.transport",
    ),
    Key(
        "oauth.scope",
        text("words with blanks between them"),
        "",
        "What the token is for, in the provider's words.",
        "'https://auth.isp.example/smtp offline_access'",
        default_note="the provider's scope for SMTP, by smtp.transport",
    ),
)

_IMAP = (
    Key(
        "imap.username",
        text("the name of the login"),
        "",
        "The name to log in with at the mailbox in which `ucrmmail test-send --verify-imap` looks for its message.",
        "me@example.com",
        default_note="the first address that the test message goes to",
    ),
    Key(
        "imap.password",
        secret(),
        "",
        "The password of that mailbox. It is asked for without echo or read with --stdin, and kept where smtp.password"
        " is kept; in the file for secrets when a command prints that one.",
        "",
    ),
    Key(
        "imap.encryption",
        choice("tls", "starttls"),
        "tls",
        "How the connection to the mailbox is made private: from the first byte (port 993) or with STARTTLS (port 143)."
        " Without a valid certificate no password is sent.",
        "starttls",
    ),
    Key(
        "imap.ca_file",
        _PATH,
        "",
        "A PEM file of certificate authorities to trust for the mailbox instead of the system's.",
        "/etc/ucrmmail/ca.pem",
    ),
)

_DECLARED = (*_SMTP, *_ADDRESSES, *_THROTTLER, *_ANTIFLOOD, *_SPOOL, *_RETRY, *_DNS, *_CREDENTIALS, *_OAUTH, *_IMAP)

KEYS: dict[str, Key] = {key.path: key for key in _DECLARED}
TABLES: tuple[str, ...] = tuple(dict.fromkeys(key.table for key in _DECLARED))


def nearest(name: str) -> str:
    """Return the key that was probably meant by an unknown one, "" when none is near.

    ``host`` finds smtp.host, ``sender address`` finds addresses.sender.
    """
    wanted = _underlined(name)
    return _nearest(wanted, {key.path: (key.path, key.name, _underlined(key.known_as)) for key in KEYS.values()})


def _underlined(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def nearest_table(name: str) -> str:
    """Return the table that was probably meant by an unknown one, "" when none is near."""
    return _nearest(name.lower(), {table: (table,) for table in TABLES})


def _nearest(wanted: str, names: dict[str, tuple[str, ...]]) -> str:
    def likeness(path: str) -> float:
        return max(_likeness(wanted, alias) for alias in names[path])

    best = max(names, key=likeness)
    return best if likeness(best) >= 0.6 else ""


def _likeness(wanted: str, alias: str) -> float:
    """Return 0 to 1; words in common count for more than letters in common."""
    from difflib import SequenceMatcher  # noqa: PLC0415 # only for a mistake

    words, alias_words = set(wanted.replace(".", "_").split("_")), set(alias.replace(".", "_").split("_"))
    shared = 2 * len(words & alias_words) / (len(words) + len(alias_words))
    return max(shared, SequenceMatcher(a=wanted, b=alias, autojunk=False).ratio())
