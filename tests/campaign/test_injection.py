"""No byte of a message, an address, a file name or a setting becomes a command, a recipient, or an order to a terminal."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaign.strict import StrictError, read
from tests.campaign.wire_target import BETWEEN, BITS, SEEDS, Wire, mutated
from tests.campaign.world import LONG, World, dice
from tests.support.program import Program
from tests.support.sink import Sink
from tests.support.smtp_server import SmtpServer
from ucrmmail.delivery.log import log_line
from ucrmmail.errors import UcrmmailError
from ucrmmail.message.address import parse_mailbox
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.output.escape import visible

pytestmark = pytest.mark.timeout(7200)


@pytest.mark.requirement("R16", "S1", "S5")
@pytest.mark.parametrize("chunking", [False, True])
def test_mutated_submissions_arrive_as_what_was_accepted_or_not_at_all(*, chunking: bool) -> None:
    random = dice("wire")
    with Wire(chunking=chunking) as wire:
        for number in range(1000 if LONG else 20):
            inputs = [mutated(random) for _ in range(100)]
            try:
                wire.drive(inputs, pipelining=number % 2 == 0, pieces=(0, 1, 7, 8192)[number % 4])
            except StrictError as error:
                error.add_note(repr(inputs))
                raise
        print(f"mutations by {'BDAT' if chunking else 'DATA'}: {wire.sent} sent, {wire.refused} refused")
        assert wire.sent > 20 * 30
        assert wire.sent_by_chunks == (wire.sent if chunking else 0)
        assert wire.refused > 100


@pytest.mark.requirement("R16", "S1", "S5")
@settings(max_examples=2000 if LONG else 40, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda options, parts: options + BETWEEN.join(parts),
            st.sampled_from([bytes([n]) for n in range(16)]),
            st.lists(st.lists(st.sampled_from(BITS) | st.binary(max_size=4), max_size=8).map(b"".join), min_size=1, max_size=4),
        )
        | st.sampled_from(SEEDS),
        max_size=20,
    )
)  # fmt: skip
def test_any_submission_arrives_as_what_was_accepted_or_not_at_all(inputs: list[bytes]) -> None:
    with Wire() as wire:
        wire.drive(inputs)


@pytest.mark.parametrize(
    "wire",
    [
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nhi\n.\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nhi\r\n.\r\nsmuggled\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n.hi\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x> SIZE=1\r\nDATA\r\nhi\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>>\r\nDATA\r\nhi\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n\xff\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nhi\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" + b"x" * 1001 + b"\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\na\0b\r\n.\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 3 LAST\r\nhi\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 5 LAST\r\nhi\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 4\r\nhi\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 04 LAST\r\nhi\r\n",
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 3 LAST\r\nh\n\n",
        b"MAIL FROM:<a@x>\r\nBDAT 4 LAST\r\nhi\r\n",
    ],
)
def test_the_strict_reader_is_strict(wire: bytes) -> None:
    with pytest.raises(StrictError):
        read(wire)


def test_the_strict_reader_reads_both_ways_alike() -> None:
    envelope = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n"
    (by_data,) = read(envelope + b"DATA\r\nhi\r\n..\r\n.\r\nQUIT\r\n")
    (by_chunks,) = read(envelope + b"BDAT 4\r\nhi\r\nBDAT 3 LAST\r\n.\r\nQUIT\r\n")
    assert by_data == by_chunks
    assert by_data.content == b"hi\r\n.\r\n"


# --- addresses, the terminal, the log ------------------------------------------------------------------------------

HOSTILE = [
    "\x1b[2J", "\x1b]52;c;ZXZpbA==\x07", "\x1b]8;;http://eve.example\x1b\\x", "\r\n", "\n", "\r", "\0", "\x9b31m", "\x85", "\u2028",
    "\u202e", "\u2066", "\u200b", "\ufeff", "\udcff", "[red]", "[/]", "[link=http://eve.example]", "\x7f", "\x08", "\t", "\U000e0041",
]  # fmt: skip


def hostile(of: str) -> str:
    random = dice(of)
    return "".join(random.choice([*HOSTILE, "a", "@", " ", ">", "é"]) for _ in range(random.randint(1, 12)))


def orders(text: str) -> set[str]:
    """What in a text a terminal would obey or a reader could not see, but for line ends and blanks."""
    return {
        character
        for character in text
        if character not in "\n \u00a0"
        and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
    }


@pytest.mark.requirement("S10")
def test_what_is_made_visible_gives_no_orders_and_stays_on_its_line() -> None:
    for number in range(200_000 if LONG else 5_000):
        text = hostile(f"visible {number}")
        shown = visible(text)
        assert not orders(shown), (text, shown)
        assert "\n" not in shown
        outcome = Outcome(text, Result.FAILED, Stage.RCPT, text)
        line = log_line(0.0, "1-id", text, outcome)
        assert line.isascii()
        assert line.isprintable(), line


@pytest.mark.requirement("S6")
def test_an_address_is_taken_as_it_is_or_refused() -> None:
    random = dice("addresses")
    taken = 0
    parts = [
        "a",
        "b.c",
        "joe",
        "@example.com",
        "@example.com",
        "@b.example",
        "@",
        ".",
        '"',
        "\\",
        " ",
        ">",
        "<",
        ",",
        "@[192.0.2.1]",
    ]
    parts += ["é", "\r\n", "SIZE=1", "-", "\0", "(", ")", '"a b"', "\x1b[2J", "\u202e"]
    for _ in range(1_000_000 if LONG else 20_000):
        text = "".join(random.choice(parts) for _ in range(random.randint(1, 6)))
        try:
            mailbox = parse_mailbox(text)
        except UcrmmailError:
            continue
        taken += 1
        assert mailbox == text or not text.isascii(), text
        assert not orders(mailbox)
    assert taken > 100


@pytest.mark.requirement("S7")
def test_a_flush_starts_no_program_that_an_address_could_reach(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink)
    trace = tmp_path / "trace"
    world.program.run("enqueue", "--to", "-oQ/tmp@example.com", "-", stdin=b"Subject: x\n\nhi\n")
    world.traced(["-o", str(trace), "-e", "trace=execve"], "flush")
    assert [message.recipients for message in sink.messages] == [["-oQ/tmp@example.com"]]
    started = [line for line in trace.read_text().splitlines() if "execve(" in line and "ENOENT" not in line]
    assert len(started) == 1, started


@pytest.mark.requirement("S10")
def test_hostile_names_values_and_replies_reach_no_terminal_and_no_log(tmp_path: Path) -> None:
    program = Program(tmp_path / "home")
    for number in range(40 if LONG else 3):
        text = hostile(f"program {number}")
        argument = text.replace("\0", "") or "x"
        name = argument.replace("/", "")[:60]
        with SmtpServer(faults={"rcpt": ["550 5.1.1 " + text.replace("\n", " ").replace("\r", " ")]}) as server:
            program.configure(server.port)
            dropped = program.home / "spool" / "drop"
            program.run("enqueue", "--to", argument, "-", stdin=b"Subject: x\n\nhi\n", code=None)
            raw = argument.encode("utf-8", "surrogateescape")
            program.run(
                "enqueue", "--to", "joe@example.com", "-", stdin=b"Subject: " + raw + b"\nX: y\n\nhi\n", code=None
            )
            if dropped.is_dir():
                (dropped / f"{name}.eml").write_bytes(b"no message \0 at all")
            said = []
            for arguments in (
                ["flush", "-v"],
                ["queue", "list"],
                ["queue", "show", argument],
                ["config", "set", "smtp.username", argument],
                ["config", "set", argument, "x"],
                ["config", "show"],
                ["status"],
                ["enqueue", f"/nowhere/{argument}"],
                ["queue", "list", "--json"],
            ):
                run = program.run(*arguments, code=None)
                said += [run.stdout, run.stderr]
        log = program.home / "spool" / "delivery.log"
        said.append(log.read_text() if log.exists() else "")
        for shown in said:
            # A tab stands between the columns of a table only: within a value it is a blank.
            assert not orders(shown.replace("\t", "")), (text, shown)
