"""What the fuzzers drive: bytes become a submission, the submission a session, and the strict reader has the last word.

Run as a program it is coverage-guided (atheris, by `make campaign`):

    python -m tests.campaign.wire_target -seed=1 -runs=100000
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Self

from tests.campaign.strict import StrictError, read
from tests.support.smtp_client import ListFeed, connect
from tests.support.smtp_server import EXTENSIONS, SmtpServer
from tests.support.submission import submit as submission
from ucrmmail.errors import UcrmmailError
from ucrmmail.message.prepare import Addresses, Prepared
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transaction import Transaction

ADDRESSES = Addresses(sender="sender@isp.example", notification="noc@isp.example")
BETWEEN = b"\xf7"
SEEDS = [
    BETWEEN.join([b"\x00a@isp.example", b"joe@example.com", b"Subject: x\r\n\r\nhi\r\n.\r\nMAIL FROM:<eve@example.com>\r\n"]),
    BETWEEN.join([b"\x01a@isp.example", b"root", b'To: joe@example.com, "x y"@example.com\nBcc: e@example.net\n\n.\n..\n']),
    BETWEEN.join([b"\x02", b"a@b>SIZE=1", b"From: a\r\rSubject: \r.\r\n\n.\r\r\n"]),
    BETWEEN.join([b"\x03a@x", b"a@b.example\r\nRCPT TO:<eve@example.com>", b"X: \xe4\xf6\n\n\xff\n"]),
    BETWEEN.join([b'\x05"a>b"@x.example', "jörg@münchen.example".encode(), "Subject: hé\n\nhé\n".encode()]),
    BETWEEN.join([b"\x07a@[192.0.2.1]", b'"a\\"b"@example.com', b"Content-Transfer-Encoding: 8bit\n\n" + b"x" * 1200]),
]  # fmt: skip
BITS = [
    b"\r", b"\n", b"\r\n", b"\n\r", b".", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\0", b"\x1b", b"\xff", b"\x85", b">", b"<", b'"',
    b"\\", b" ", b"@", b",", b";", b":", b"(", b")", b"\t", BETWEEN, b"RSET\r\n", b"DATA\r\n", b"QUIT\r\n", b"Bcc: e@example.net\r\n",
    b"MAIL FROM:<eve@example.com>\r\n", b"RCPT TO:<eve@example.com>\r\n", b"From: ", b"To: ", b"=?utf-8?q?=0d=0a?=", b"x" * 998,
    b"x" * 8191, "\u2028".encode(), "\u202e".encode(), b"Content-Transfer-Encoding: base64\r\n", b"BDAT 3 LAST\r\n",
]  # fmt: skip


def mutated(random: Random) -> bytes:
    """One hostile input: a seed in which pieces were put in, taken out, doubled and turned."""
    seed = random.choice(SEEDS)
    # Every other input keeps its envelope, so that it gets as far as the wire.
    envelope, between, message = seed.rpartition(BETWEEN) if random.random() < 0.5 else (b"", b"", seed)
    data = bytearray(message)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0 | 1:
                data[at:at] = random.choice(BITS)
            case 2:
                del data[at : at + random.randint(1, 6)]
            case 3:
                data[at:at] = data[at : at + random.randint(1, 60)]
            case _:
                data[at : at + 1] = bytes([random.randrange(256)])
    return envelope + between + bytes(data)


def prepared_from(data: bytes) -> Prepared | None:
    """Hand the input in as an application would; None when it is refused."""
    options, (*parts, message) = data[:1], data[1:].split(BETWEEN)
    texts = [part.decode("utf-8", "surrogateescape") for part in parts] or ["a@isp.example"]
    flags = options[0] if options else 0
    try:
        return submission(
            message,
            reverse_path=None if flags & 8 else texts[0],
            recipients=texts[1:],
            extract_recipients=bool(flags & 1),
            addresses=ADDRESSES if flags & 2 else Addresses(),
        )
    except UcrmmailError:
        return None


class Wire:
    """Sends inputs, a session for each batch, with or without pipelining; ``chunking``: to a server that offers it."""

    def __init__(self, *, chunking: bool = False) -> None:
        self._server = SmtpServer(extensions=(*EXTENSIONS, "CHUNKING")) if chunking else SmtpServer()
        self.sent = self.sent_by_chunks = self.refused = 0

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def drive(self, inputs: list[bytes], *, pipelining: bool = True, pieces: int = 0) -> None:
        """Send what is accepted of these in one session. Raises StrictError when what arrives is something else."""
        accepted = [prepared for prepared in map(prepared_from, inputs) if prepared is not None]
        self.refused += len(inputs) - len(accepted)
        self._server.connections.clear()
        session = connect(self._server, pipelining=pipelining)
        feed = ListFeed([_transaction(number, one, pieces) for number, one in enumerate(accepted)])
        submit(session, feed)
        session.quit()
        self._server.wait_until_idle()
        self.sent_by_chunks += sum(message.by_chunks for message in self._server.messages)
        self._server.messages.clear()
        expected = [_expected(one) for n, one in enumerate(accepted) if feed.summary[str(n)] == "relayed"]
        found = read(self._server.received)
        if [(mail.reverse_path, mail.recipients, mail.content) for mail in found] != expected:
            raise StrictError("what arrived is not what was accepted")
        self.sent += len(expected)


def _transaction(number: int, one: Prepared, pieces: int) -> Transaction:
    size = pieces or len(one.message)
    return Transaction(
        str(number),
        one.reverse_path,
        one.recipients,
        len(one.message),
        one.eight_bit,
        one.utf8,
        lambda: (one.message[at : at + size] for at in range(0, len(one.message), size)),
    )


def _expected(one: Prepared) -> tuple[bytes, list[bytes], bytes]:
    return one.reverse_path.encode(), [recipient.encode() for recipient in one.recipients], one.message


def main(fuzz: Callable[[Callable[[bytes], None]], None]) -> None:
    with Wire() as wire:
        fuzz(lambda data: wire.drive([data]))


if __name__ == "__main__":
    import atheris

    def guided(target: Callable[[bytes], None]) -> None:
        atheris.instrument_all()
        corpus = tempfile.mkdtemp()
        for number, seed in enumerate(SEEDS):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], target)
        atheris.Fuzz()

    main(guided)
