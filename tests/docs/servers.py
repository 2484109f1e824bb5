"""The servers of the world: ``python -m tests.docs.servers DIRECTORY``, in its network; ends with its standard input."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from tests.docs.places import ADDRESSES, CLIENT, PASSWORDS, ZONES
from tests.support.certificates import TestAuthority
from tests.support.nameserver import nsd
from tests.support.oauth_server import CLIENT_ID, OAuthServer
from tests.support.smtp_server import SmtpServer

_GREETING = {
    "smtp.gmail.com": "220 smtp.gmail.com ESMTP ready",
    "smtp.office365.com": "220 smtp.office365.com Microsoft ESMTP MAIL Service ready",
}


def main(directory: Path) -> None:
    """Run all of them, and say so on standard output."""
    authority = TestAuthority(directory / "ca")
    with contextlib.ExitStack() as stack:
        (directory / "dns").mkdir()
        stack.enter_context(nsd(directory / "dns", ZONES, address="127.0.0.1", port=53))
        oauth = stack.enter_context(OAuthServer(secret=PASSWORDS["client-secret"]))
        stack.enter_context(_https("login.microsoftonline.com", authority, oauth))
        for host, port, smtps in (
            ("smtp.gmail.com", 465, True),
            ("smtp.gmail.com", 587, False),
            ("smtp.office365.com", 587, False),
            ("mail.isp.example", 587, False),
            ("mail.isp.example", 465, True),
        ):
            stack.enter_context(_smarthost(host, port, authority, oauth, smtps=smtps))
        print("ready", flush=True)
        sys.stdin.read()


def _smarthost(host: str, port: int, authority: TestAuthority, oauth: OAuthServer, *, smtps: bool) -> SmtpServer:
    microsoft = host == "smtp.office365.com"
    return SmtpServer(
        host=ADDRESSES[host],
        port=port,
        smtps=smtps,
        tls=authority.server_context(host, days_left=60),
        logins={name: secret for name, secret in PASSWORDS.items() if "@" in name or name == "relay"},
        tokens=oauth.is_good if microsoft else None,
        mechanisms="LOGIN XOAUTH2" if microsoft else "PLAIN LOGIN XOAUTH2",
        faults={
            "greeting": _GREETING.get(host, f"220 {host} ESMTP Postfix"),
            "auth": _as_google if host == "smtp.gmail.com" else None,
            "rcpt": _recipient,
            "final-dot": "250 2.0.0 Ok: queued as 4Zx7Qv2kZ1z9v",
        },
    )


def _as_google(line: bytes) -> str | None:
    """Refuse a wrong password in Google's words."""
    user, password = base64.b64decode(line.split()[2]).decode().split("\0")[1:]
    if PASSWORDS.get(user) == password:
        return None
    return (
        "535-5.7.8 Username and Password not accepted. For more information, go to\n"
        "535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp"
    )


def _recipient(line: bytes) -> str | None:
    if b"<nobody@" in line:
        return "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown"
    if b"<later@" in line:
        return "450 4.2.0 <later@example.com>: Greylisted, please try again later"
    return None


@contextlib.contextmanager
def _https(host: str, authority: TestAuthority, oauth: OAuthServer) -> Iterator[None]:
    """Serve Microsoft's paths: /TENANT/oauth2/v2.0/token and /devicecode."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            # The authorization server of the tests knows one client, by a name that is no id of Microsoft's.
            if form.get("client_id") == CLIENT:
                form["client_id"] = CLIENT_ID
            path = {"token": "/token", "devicecode": "/device"}[self.path.rsplit("/", 1)[-1]]
            status, reply = oauth.answer(path, form)
            if "verification_uri" in reply:
                reply["verification_uri"] = "https://microsoft.com/devicelogin"
            sent = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer((ADDRESSES[host], 443), Handler)
    context: ssl.SSLContext = authority.server_context(host)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
