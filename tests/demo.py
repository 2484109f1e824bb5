"""``make demo``: the main job on a fresh machine, with real parts, in a minute.

A local SMTP server with STARTTLS and a login, the secret in a keyring (a Secret Service of its own, in a private
session), real messages of several kinds, and a Throttler and an AntiFlood that are seen to act. Every command is the
one that a user types. The demo ends with exit code 1 when something did not hold.
"""

from __future__ import annotations

import base64
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from pathlib import Path

from tests.support.certificates import TestAuthority
from tests.support.secret_service import secret_service
from tests.support.sink import Sink, SinkController

BIN = Path(sys.executable).parent
USER, SECRET = "billing@isp.example", "demo: correct horse battery staple"
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class Demo:
    """A user's shell: prints each command, runs it, shows what it prints."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.env = env
        self.problems: list[str] = []

    def title(self, text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if COLOUR else f"\n== {text}", flush=True)

    def run(self, command: str, *, stdin: bytes = b"", shown_stdin: str = "") -> str:
        pipe = f"{shown_stdin} | " if shown_stdin else ""
        print(f"$ {pipe}{command}", flush=True)
        words = shlex.split(command)
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            input=stdin,
            env=self.env,
            cwd=self.home,
            stdout=subprocess.PIPE,
            check=False,
        )
        sys.stdout.write(done.stdout.decode())
        sys.stdout.flush()
        if done.returncode:
            self.problems.append(f"{command}: exit code {done.returncode}")
        return done.stdout.decode()

    def expect(self, holds: bool, what: str) -> None:
        print(f"  {'ok' if holds else 'NOT SO'}: {what}", flush=True)
        if not holds:
            self.problems.append(what)


def html_with_attachment() -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = (
        "Billing <billing@isp.example>",
        "ann@customer.example",
        "Invoice 2026-11",
    )
    message.set_content("Your invoice is attached.")
    message.add_alternative("<p>Your <b>invoice</b> is attached.</p>", subtype="html")
    message.add_attachment(b"%PDF-1.4 demo\n" * 400, maintype="application", subtype="pdf", filename="invoice.pdf")
    return message.as_bytes()


def five_megabytes() -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ops@isp.example", "archive@customer.example", "Traffic report"
    message.set_content("The report is attached.")
    message.add_attachment(
        base64.b64encode(os.urandom(1024)) * 2750, maintype="application", subtype="octet-stream", filename="report.bin"
    )
    return message.as_bytes()


PLAIN = b"From: Billing <billing@isp.example>\nTo: joe@customer.example\nSubject: Your payment arrived\n\nThank you.\n"
UTF8 = "From: Zoë Müller <zoe@isp.example>\nTo: jürgen@customer.example\nSubject: Grüße und Rechnung – 12 €\nContent-Type: text/plain; charset=utf-8\n\nSchöne Grüße\n".encode().replace(
    "jürgen".encode(), b"juergen"
)
MANY = (
    b"From: news@isp.example\nTo: "
    + b", ".join(b"customer%d@customer.example" % n for n in range(100))
    + b"\nSubject: Maintenance tonight\nPrecedence: bulk\n\nFrom 02:00 to 03:00.\n"
)
BCC = b"From: billing@isp.example\nTo: eve@customer.example\nBcc: accounting@isp.example\nSubject: Reminder\n\nPlease pay.\n"
URGENT = b"From: ops@isp.example\nTo: oncall@customer.example\nX-Priority: 1\nSubject: Link down\n\nUplink 3.\n"


@contextmanager
def keyring_session(directory: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the environment of a session with a keyring, and the store to use; without one, a file is the store."""
    if not (shutil.which("gnome-keyring-daemon") and shutil.which("dbus-daemon")):
        print("(no gnome-keyring on this machine: the secret goes to an owner-only file)")
        yield {}, "file"
        return
    with secret_service(directory) as session:
        yield session.env, "keyring"


def main() -> int:
    """Run the demo; return 0 when everything that it claims was seen."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ucrmmail-demo-")))
        home = root / "home"
        home.mkdir(mode=0o700)
        authority = TestAuthority(root / "ca")
        sink = Sink(logins={USER: SECRET})
        stack.enter_context(SinkController(sink, tls=authority.server_context("localhost")))
        session_env, store = stack.enter_context(keyring_session(root / "session"))
        env = {
            "HOME": str(home),
            "UCRMMAIL_CONFIG": str(home / "config.toml"),
            "PATH": os.environ["PATH"],
            "TERM": os.environ.get("TERM", "dumb"),
            **session_env,
        }
        return _tour(Demo(home, env), sink, authority, store)


def _tour(demo: Demo, sink: Sink, authority: TestAuthority, store: str) -> int:
    demo.title("1. Configure an account; the secret goes into the keyring")
    for key, value in {
        "smtp.host": "localhost",
        "smtp.port": str(sink.port),
        "smtp.username": USER,
        "smtp.ca_file": str(authority.ca_file),
        "spool.directory": str(demo.home / "spool"),
        "addresses.sender": "billing@isp.example",
        "addresses.notification": "admin@isp.example",
    }.items():
        demo.run(f"ucrmmail config set {key} {shlex.quote(value)}")
    demo.run(
        f"ucrmmail config set smtp.password --stdin --store {store}",
        stdin=SECRET.encode(),
        shown_stdin="pass show smtp",
    )
    demo.run("ucrmmail credentials status")
    config = (demo.home / "config.toml").read_text()
    demo.expect(SECRET not in config, "the configuration file holds no secret")

    demo.title("2. Prove that the connection works")
    demo.run("ucrmmail test-send admin@isp.example")
    demo.expect(len(sink.messages) == 1, "the test message arrived")
    sink.messages.clear()

    demo.title("3. Say what the provider allows")
    # From here on each message counts, a test message too.
    for key, value in {
        "throttler.message_limit": "5",
        "throttler.duration": "12s",
        "antiflood.activation_threshold": "2",
        "antiflood.pause_time": "2s",
    }.items():
        demo.run(f"ucrmmail config set {key} {value}")

    demo.title("4. Applications hand over mail")
    for name, message in {
        "plain": PLAIN,
        "html": html_with_attachment(),
        "utf8": UTF8,
        "5MB": five_megabytes(),
        "bcc": BCC,
    }.items():
        demo.run("ucrmmail-sendmail -t -i", stdin=message, shown_stdin=f"cat {name}.eml")
    (demo.home / "many.eml").write_bytes(MANY)
    demo.run("ucrmmail enqueue many.eml")
    drop = demo.home / "spool/drop"
    (drop / "urgent.eml").write_bytes(URGENT)
    print(f"$ cp urgent.eml {drop}/")
    demo.run("ucrmmail status")
    demo.run("ucrmmail queue list")

    demo.title("5. Flush: AntiFlood pauses after 2 messages, the Throttler lets 5 go in 12 seconds")
    demo.run("ucrmmail flush -v --time-limit 8s")
    demo.expect(len(sink.messages) == 5, f"5 messages were sent, the rest is held back (sent: {len(sink.messages)})")
    demo.run("ucrmmail status")
    demo.run("ucrmmail flush --time-limit 30s")
    demo.run("ucrmmail status")

    demo.title("6. What the server saw")
    times = [received.at for received in sink.messages]
    for received in sink.messages:
        subject = next((line for line in received.content.split(b"\r\n") if line.startswith(b"Subject:")), b"")
        print(
            f"  +{received.at - times[0]:5.1f} s  {len(received.content):8d} bytes  {len(received.recipients):3d} recipients  {subject.decode()}"
        )
    demo.expect(len(sink.messages) == 7, "all 7 messages arrived, each once")
    demo.expect(b"Link down" in sink.messages[0].content, "the urgent message went first")
    demo.expect(b"Maintenance" in sink.messages[-1].content, "the bulk message went last")
    pauses = [times[2] - times[1], times[4] - times[3]] if len(times) > 4 else [0.0]
    demo.expect(min(pauses) >= 1.95, "AntiFlood: at least 2 s after the second and the fourth message")
    demo.expect(
        len(times) > 5 and times[5] - times[0] >= 11.95, "Throttler: the sixth message left when the window was over"
    )
    bcc = next(received for received in sink.messages if b"Reminder" in received.content)
    demo.expect(
        b"accounting" not in bcc.content and "accounting@isp.example" in bcc.recipients, "Bcc was used and not sent"
    )
    if demo.problems:
        print("\nThe demo failed:", *demo.problems, sep="\n  ")
        return 1
    print("\nThe demo is over: everything it claims was seen.")
    return 0


if __name__ == "__main__":
    # The server of the demo warns of its own past.
    logging.getLogger("mail").setLevel(logging.ERROR)
    started = time.monotonic()
    code = main()
    print(f"({time.monotonic() - started:.0f} s)")
    sys.exit(code)
