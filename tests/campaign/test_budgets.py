"""Fixed budgets of random input for each reader of foreign text (R29): it returns or refuses, and never takes a second.

The time is that of the processor, so that a busy machine does not matter.
"""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType

import pytest

from tests.campaign.world import LONG, dice
from ucrmmail.config.load import examine_bytes
from ucrmmail.config.location import Location
from ucrmmail.dns import dkim_key, dmarc_record, mta_sts_policy, spf_record
from ucrmmail.smtp.wire import ProtocolError, parse_reply
from ucrmmail.spool.queuefile import DamagedError, encode_head, read_checked, read_unchecked

pytestmark = pytest.mark.timeout(7200)

LONGEST_S = 1.0
BUDGETS = {"replies": 10_000_000, "records": 10_000_000, "queue files": 1_000_000, "configuration": 1_000_000}
SHORT = 2_000
MOST_BYTES = 4_096

Reader = Callable[[bytes, Random], bool]


def read_reply(data: bytes, _: Random) -> bool:
    """Let the wire's reader have these lines."""
    try:
        reply = parse_reply(data.split(b"\n"))
    except ProtocolError:
        return False
    assert 200 <= reply.code <= 599
    return True


def read_record(data: bytes, random: Random) -> bool:
    """Let one of the readers of TXT records have it, as the checks do: each is told by its beginning, or named."""
    text = data.decode("utf-8", "surrogateescape")
    match random.randrange(4):
        case 0:
            return not spf_record.parse_record(data).faults
        case 1:
            return dkim_key.parse_key(text).is_usable
        case 2:
            return dmarc_record.parse_record(text).is_usable
        case _:
            return not mta_sts_policy.parse_policy(text).wrong_lines


class QueueFiles:
    """Reads from one file in memory; every other input gets the checksum that it would need to be whole."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("queue-file")

    def read(self, data: bytes, random: Random) -> bool:
        """Let both readers have it."""
        if random.random() < 0.5:
            _, _, rest = data.partition(b"\n")
            data = b"ucrmmail-queue 1 %08x %d\n" % (zlib.crc32(rest), len(rest)) + rest
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, data, 0)
        whole = False
        for reader in (read_checked, read_unchecked):
            try:
                file, _ = reader(self.fd, len(data))
            except DamagedError:
                continue
            whole = True
            assert file.recipients
            assert not any(set(address) & set("\r\n\0") for address in (file.reverse_path, *file.recipients))
        return whole


LOCATION = Location(
    "/etc/ucrmmail/config.toml",
    "",
    exists=True,
    euid=0,
    spool_directory="/var/spool/ucrmmail",
    log_directory="/var/log",
)


def read_configuration(data: bytes, _: Random) -> bool:
    """Let the whole reader have it: syntax, keys and values."""
    return not examine_bytes(data, LOCATION).problems


MESSAGE = b"Subject: hello\r\n\r\nHi.\r\n"
SEEDS: dict[str, list[bytes]] = {
    "replies": [
        b"250 2.1.0 ok", b"250-a.example\n250-SIZE 1000\n250-AUTH PLAIN LOGIN\n250 PIPELINING", b"421 4.7.0 later",
        b"550-5.1.1 no\n550 5.1.1 such user", b"334 VXNlcm5hbWU6", b"250", b"554 5.7.1 \xff\x1b[2J",
    ],
    "records": [
        b"v=spf1 ip4:192.0.2.0/24 include:_spf.isp.example a:%{d1r}.x.example/24//64 mx ptr exists:%{ir}.x -all",
        b"v=spf1 redirect=_spf.%{d} exp=e.isp.example", b"v=DKIM1; k=rsa; t=s:y; h=sha256; s=email; p=MIGfMA0GCSqGSIb3DQEB",
        b"k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", b"v=DKIM1; p=",
        b"v=DMARC1; p=reject; sp=none; np=quarantine; psd=n; adkim=s; rua=mailto:d@isp.example!10m,mailto:e@x; t=y",
        b"version: STSv1\nmode: enforce\nmx: *.isp.example\nmax_age: 604800\n",
    ],
    "queue files": [
        encode_head("a@isp.example", ["joe@example.com"], MESSAGE, eight_bit=False, utf8=False) + MESSAGE,
        encode_head("", ["joe@example.com", "j\u00f6rg@x.example"], MESSAGE, eight_bit=True, utf8=True) + MESSAGE,
    ],
    "configuration": [
        b'[smtp]\nhost = "mail.isp.example"\nport = 587\nencryption = "starttls"\nusername = "a"\nconnections = 4\n',
        b'[throttler]\nmessage_limit = 100\nduration = "1h"\nwindow = "sliding"\n[antiflood]\npause_time = "5s"\n',
        b"# kept\n[addresses]\nsender = 'b@isp.example'\n[retry]\n[dns]\n[a.b]\nx = {y = [1, 2.5, true]}\n",
    ],
}  # fmt: skip
BITS = [
    b"", b" ", b"-", b";", b"=", b":", b"/", b"%", b"%{", b"}", b"\n", b"\r", b"\t", b"\0", b"\x1b", b"\xff", b"\xb2",
    b"\xe2\x80\xae", b'"', b"'", b'"""', b"[", b"]", b"[[", b"#", b"\\", b"\\u0000", b"0", b"-1", b"1e400", b"9" * 40,
    b"2.0.0", b"999", b"p=", b"v=", b"all", b"ip6:::/0", b"include:", b"from ", b"to ", b"flags ", b"\n\n", b"true",
    b"1979-05-27", b"0x", b"a." * 80, b"A" * 300, b"=" * 30,
]  # fmt: skip


def mutated(seeds: list[bytes], random: Random) -> bytes:
    """Return a seed with a few bits flipped, pieces put in, taken out, doubled or cut off, or nothing but dice."""
    data = bytearray(random.choice(seeds)) if random.random() < 0.95 else bytearray(random.randbytes(60))
    for _ in range(int(random.random() * 5)):
        at = int(random.random() * (len(data) + 1))
        match int(random.random() * 6):
            case 0 if data:
                data[at - 1] ^= 1 << int(random.random() * 8)
            case 1:
                data[at:at] = random.choice(BITS)
            case 2:
                del data[at : at + 1 + int(random.random() * 8)]
            case 3:
                data[at:at] = data[at : at + 60]
            case 4:
                del data[at:]
            case _:
                data[at:at] = random.choice(seeds)[:40]
    return bytes(data[:MOST_BYTES])


def too_long(_number: int, _frame: FrameType | None) -> None:
    raise AssertionError("an input took more than a second")


@pytest.mark.requirement("R29")
@pytest.mark.parametrize("of", BUDGETS)
def test_no_input_of_the_budget_is_too_much_for_its_reader(of: str) -> None:
    readers: dict[str, Reader] = {
        "replies": read_reply,
        "records": read_record,
        "queue files": QueueFiles().read,
        "configuration": read_configuration,
    }
    random, seeds, reader = dice(of), SEEDS[of], readers[of]
    budget = BUDGETS[of] if LONG else SHORT
    read = 0
    before = signal.signal(signal.SIGVTALRM, too_long)
    try:
        for _ in range(budget):
            data = mutated(seeds, random)
            signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
            try:
                read += reader(data, random)
            except BaseException as error:
                error.add_note(f"the input was {data!r}")
                raise
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    print(f"{of}: {budget} inputs, {read} of them right, 0 faults")
    assert 0 < read < budget


@pytest.mark.requirement("R6", "R30")
@pytest.mark.parametrize("seed", SEEDS["queue files"])
def test_a_queue_file_cut_or_flipped_anywhere_is_damaged(tmp_path: Path, seed: bytes) -> None:
    path = tmp_path / "file"
    for at in range(len(seed)):
        for data in (seed[:at], seed[:at] + bytes([seed[at] ^ 1]) + seed[at + 1 :]):
            path.write_bytes(data)
            fd = os.open(path, os.O_RDONLY)
            with pytest.raises(DamagedError):
                read_checked(fd, len(data))
            os.close(fd)
