"""Looking into a mailbox over IMAP (RFC 3501), with TLS and bounded in every respect: time, bytes, folders.

Nothing in the mailbox is changed: folders are opened with EXAMINE, and messages are fetched with PEEK. Certificates are
verified, and no password is sent without TLS.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import ConfigError, PermissionDeniedError, SmarthostUnavailableError

if TYPE_CHECKING:
    from ucrmmail.clock import Clock

# A header has no more than this; a server that sends more is cut off.
_LARGEST_HEADER = 200_000
_LARGEST_LITERAL = 1 << 20
_LONGEST_LINE = 100_000
# What a server may send in all, until the connection is given up.
_MOST_BYTES = 1 << 24
_MOST_FOLDERS = 1000
_MOST_SHOWN = 200
# Without a special use (RFC 6154): how the folder is called by servers and programs, in lower case.
_JUNK_NAMES = frozenset(
    {"junk", "spam", "junk e-mail", "junk email", "junk mail", "junk-e-mail", "bulk mail", "bulk", "spamverdacht"}
)
_LIST_LINE = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?P<separator>\\?.)"|NIL) (?P<name>.+)', re.DOTALL | re.IGNORECASE)


_REMEDY = (
    "check imap.username, and run `ucrmmail config set imap.password`; Gmail, Yahoo and iCloud want an app password"
)
_REMEDY_OAUTH = (
    "the token of the account was used: it must be good for IMAP too (Microsoft 365: add"
    " https://outlook.office.com/IMAP.AccessAsUser.All to oauth.scope and run `ucrmmail login`); else run"
    " `ucrmmail config set imap.password`"
)


@dataclass(frozen=True, slots=True)
class Mailserver:
    """How the mailbox is reached. ``encryption`` is "tls" or "starttls"; ``ca_file`` "" is the system's authorities."""

    host: str
    port: int
    username: str
    encryption: str = "tls"
    ca_file: str = ""
    timeout_s: float = 30.0

    @property
    def name(self) -> str:
        """The server, for people."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """The message is there: in which folder, whether that is for junk, and its header."""

    folder: str
    junk: bool
    header: bytes


class LostError(Exception):
    """The connection broke, or the server said what makes no sense."""


class Mailbox:
    """An open mailbox; ``close`` ends it."""

    def __init__(self, connection: _Bounded, junk: tuple[str, ...]) -> None:
        self._connection = connection
        self._folders = (("INBOX", False), *((name, True) for name in junk))

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that are looked into."""
        return tuple(name for name, _junk in self._folders)

    def find(self, message_id: str) -> Found | None:
        """Return the message with this Message-ID, None when it is not there yet. Raises LostError."""
        self._connection.bounds.renew()
        try:
            for folder, junk in self._folders:
                header = self._header(folder, message_id)
                if header is not None:
                    return Found(_shown_folder(folder), junk, header)
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            raise LostError(_words(error)) from error
        return None

    def _header(self, folder: str, message_id: str) -> bytes | None:
        connection = self._connection
        if connection.select(_quoted(folder), readonly=True)[0] != "OK":
            return None
        kind, found = connection.uid("SEARCH", "HEADER", "Message-ID", _quoted(message_id))
        numbers = found[0].split() if kind == "OK" and found and found[0] else []
        if not numbers:
            return None
        _kind, parts = connection.uid("FETCH", numbers[-1].decode("ascii"), f"(BODY.PEEK[HEADER]<0.{_LARGEST_HEADER}>)")
        return next((bytes(part[1]) for part in parts if isinstance(part, tuple)), None)

    def close(self) -> None:
        """Say good-bye, as far as that is possible."""
        self._connection.bounds.renew()
        try:
            self._connection.logout()
        except (imaplib.IMAP4.error, OSError, ValueError):
            self._connection.shutdown()


def open_mailbox(server: Mailserver, secret: str, *, clock: Clock, is_token: bool = False) -> Mailbox:
    """Log in, with a password or an access token of OAuth 2.0, and find the junk folders.

    Raises SmarthostUnavailableError (69) when the server is not reached or TLS fails, PermissionDeniedError (77) when
    it refuses the login, ConfigError when ``ca_file`` cannot be used.
    """
    context = _context(server)
    try:
        connection = _connected(server, context, clock)
    except ssl.SSLCertVerificationError as error:
        raise SmarthostUnavailableError(
            f"the certificate of {server.name} is not trusted: {error.verify_message}",
            why="without a valid certificate of this name no password is sent",
            remedy="name the host as its certificate does; for an authority of your own set imap.ca_file",
        ) from error
    except (imaplib.IMAP4.error, OSError, ValueError) as error:
        raise SmarthostUnavailableError(
            f"the mailbox server {server.name} was not reached over IMAP: {_words(error)}",
            remedy="check HOST:PORT of --verify-imap and imap.encryption (tls: port 993, starttls: port 143)",
        ) from error
    try:
        (_log_in_with_token if is_token else _log_in)(connection, server.username, secret)
        return Mailbox(connection, _junk_folders(connection))
    except (imaplib.IMAP4.abort, OSError) as error:
        connection.shutdown()
        raise SmarthostUnavailableError(
            f"the connection to {server.name} broke: {_words(error)}", remedy="try again later"
        ) from None
    except (imaplib.IMAP4.error, ValueError) as error:
        connection.shutdown()
        said = _words(error).replace(secret, "[redacted]") if secret else _words(error)
        raise PermissionDeniedError(
            f"{server.name} refused the login of {server.username}: {said}",
            remedy=_REMEDY_OAUTH if is_token else _REMEDY,
        ) from None


def _context(server: Mailserver) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.ca_file:
        try:
            context.load_verify_locations(cafile=server.ca_file)
        except OSError as error:
            raise ConfigError(
                f"imap.ca_file: {server.ca_file} cannot be used: {error.strerror or 'it holds no certificate'}",
                remedy="name a PEM file of authorities",
            ) from None
    return context


def _connected(server: Mailserver, context: ssl.SSLContext, clock: Clock) -> _Bounded:
    if server.encryption == "tls":
        return _BoundedTls(server, context, clock)
    connection = _Bounded(server, clock)
    try:
        connection.starttls(context)
    except BaseException:
        connection.shutdown()
        raise
    return connection


class _Bounds:
    """Lets no look take longer than the timeout, however slowly the server answers, and nothing grow without end."""

    def __init__(self, server: Mailserver, clock: Clock) -> None:
        self._timeout_s, self._clock = server.timeout_s, clock
        self.renew()

    def renew(self) -> None:
        """Begin the next look."""
        self._deadline = self._clock.monotonic() + self._timeout_s
        self._left_bytes = _MOST_BYTES

    def left_s(self) -> float:
        """Return how long the next wait may be. Raises TimeoutError when the time is over."""
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def took(self, data: bytes) -> bytes:
        """Return the bytes, and count them. Raises an error of IMAP when they were too many."""
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise imaplib.IMAP4.abort("the server sends without end")
        return data


class _Bounded(imaplib.IMAP4):
    """A connection whose reading is bounded; its TLS comes with STARTTLS."""

    def __init__(self, server: Mailserver, clock: Clock) -> None:
        self.bounds = _Bounds(server, clock)
        super().__init__(server.host, server.port, timeout=self.bounds.left_s())

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes: a literal."""
        if size > _LARGEST_LITERAL:
            raise self.abort(f"the server sends {size} bytes at once")
        self.sock.settimeout(self.bounds.left_s())
        return self.bounds.took(super().read(size))

    def readline(self) -> bytes:
        """Return the next line with its end."""
        self.sock.settimeout(self.bounds.left_s())
        line = self.bounds.took(super().readline())
        if len(line) > _LONGEST_LINE:
            raise self.abort("the server sends a line without end")
        return line


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    """The same, with TLS from the first byte."""

    def __init__(self, server: Mailserver, context: ssl.SSLContext, clock: Clock) -> None:
        self.bounds = _Bounds(server, clock)
        imaplib.IMAP4_SSL.__init__(self, server.host, server.port, ssl_context=context, timeout=self.bounds.left_s())


def _log_in(connection: imaplib.IMAP4, username: str, password: str) -> None:
    """Log in with PLAIN (RFC 4616), which carries any letters; with LOGIN where that is not offered."""
    if "AUTH=PLAIN" in connection.capabilities:
        connection.authenticate("PLAIN", lambda _challenge: f"\0{username}\0{password}".encode())
    else:
        connection.login(_quoted(username), password)


def _log_in_with_token(connection: imaplib.IMAP4, username: str, token: str) -> None:
    """Log in with XOAUTH2, as Google and Microsoft take it; a challenge tells of a refusal, and is confirmed."""
    answers = iter((f"user={username}\1auth=Bearer {token}\1\1".encode(),))
    connection.authenticate("XOAUTH2", lambda _challenge: next(answers, b""))


def _junk_folders(connection: imaplib.IMAP4) -> tuple[str, ...]:
    r"""Return the folders for junk: those with the special use \Junk (RFC 6154), else those that are called like it."""
    # What a server can do is more after the login.
    _kind, said = connection.capability()
    offered = bytes(said[-1] or b"").upper().split() if said else []
    extended = b"LIST-EXTENDED" in offered and b"SPECIAL-USE" in offered
    pattern = '"*" RETURN (SPECIAL-USE)' if extended else '"*"'
    kind, lines = connection.list('""', pattern)
    marked: list[str] = []
    named: list[str] = []
    for line in (lines if kind == "OK" else [])[:_MOST_FOLDERS]:
        raw = b"".join(line) if isinstance(line, tuple) else line
        found = _LIST_LINE.fullmatch(raw) if isinstance(raw, bytes) else None
        if found is None:
            continue
        name = _unquoted(found["name"])
        separator = (found["separator"] or b"").decode("ascii", "replace")
        flags = found["flags"].lower().split()
        if b"\\junk" in flags:
            marked.append(name)
        elif (
            name.rpartition(separator)[2] if separator else name
        ).lower() in _JUNK_NAMES and b"\\noselect" not in flags:
            named.append(name)
    return tuple(marked or named)


def _quoted(text: str) -> str:
    """Return a quoted string (RFC 3501 section 4.3); a name of a folder is in modified UTF-7 already."""
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("a control character cannot be sent")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape").strip()
    # A literal: its length stands before it.
    if text.startswith("{"):
        return text.partition("}")[2].lstrip("\r\n")
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text


def _shown_folder(name: str) -> str:
    """Return a folder's name as people write it: decoded from modified UTF-7 (RFC 3501 section 5.1.3)."""

    def decoded(found: re.Match[str]) -> str:
        coded = found[1].replace(",", "/")
        return f"+{coded}-".encode("ascii").decode("utf-7") if coded else "&"

    try:
        return re.sub(r"&([A-Za-z0-9+,]*)-", decoded, name)
    except UnicodeDecodeError:
        return name


def _words(error: Exception) -> str:
    """Return what an error says; imaplib's are the server's bytes, sometimes as they look in Python."""
    if isinstance(error, ssl.SSLError) and error.reason:
        # As test-connection has it, without the place in Python's own source.
        return f"TLS: {error.reason.replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = error.args[0] if error.args else ""
    text = first.decode("utf-8", "surrogateescape") if isinstance(first, bytes) else str(error)
    return (text or type(error).__name__)[:_MOST_SHOWN]
