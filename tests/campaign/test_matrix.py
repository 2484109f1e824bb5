"""Every fault at every stage of a whole flush, over one connection and over several: each message ends in its right state.

Fault by fault in one session is tests/integration/test_smtp_faults.py. Here a real run meets it, with a queue, a limit
and up to four sessions at once; then the fault is over, and the queue must go out.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.world import LONG, dice
from tests.integration.test_smtp_faults import FAULTS
from tests.support.program import Program, Run
from tests.support.smtp_server import EXTENSIONS, Action, SmtpServer

pytestmark = pytest.mark.timeout(7200)

MESSAGES = 6
STAGES = ["greeting", "ehlo", "mail", "rcpt", "data", "body", "final-dot", "rset", "quit"]
WAYS = {
    "one connection": ("", EXTENSIONS),
    "four connections": ("connections = 4", EXTENSIONS),
    "four, one by one": ("connections = 4\npipelining = false", EXTENSIONS),
    "four, in chunks": ("connections = 4", (*EXTENSIONS, "CHUNKING")),
}
ALL = [
    (way, stage, fault)
    for way in WAYS
    for stage in STAGES
    for fault, what in FAULTS.items()
    # Where no reply is due there is none to be wrong; and a chunked message has no DATA.
    if not (stage == "body" and isinstance(what, str)) and not (stage == "data" and "chunks" in way)
]
CASES = ALL if LONG else dice().sample(ALL, 24)


def numbers(server: SmtpServer) -> Counter[int]:
    """How often the server took each message."""
    subjects = [message.content.split(b"Subject: ")[1].split()[0] for message in server.accepted]
    return Counter(int(subject) for subject in subjects if subject.isdigit())


def enqueue(program: Program) -> None:
    names = []
    for number in range(MESSAGES):
        path = program.home / f"{number}.eml"
        path.write_bytes(b"From: a@isp.example\nTo: b@example.com\nSubject: %d\n\nhi\n" % number)
        names.append(str(path))
    program.run("enqueue", *names)


def flush(program: Program) -> Run:
    """Flush as cron does; whatever the server says, the words are for a person, and the code is a known one."""
    run = program.run("flush", "--json", code=None, timeout=120)
    assert run.code in {0, 1, 69, 75, 77, 78}, run
    assert "\x1b" not in run.stdout + run.stderr
    return run


@pytest.mark.requirement("R15", "S19")
@pytest.mark.parametrize(("way", "stage", "fault"), CASES, ids=lambda value: value.replace(" ", "-"))
def test_a_fault_leaves_every_message_in_its_right_state(tmp_path: Path, way: str, stage: str, fault: str) -> None:
    keys, extensions = WAYS[way]
    wanted = FAULTS[fault]
    assert wanted is None or isinstance(wanted, (str, Action))
    program = Program(tmp_path / "home")
    # RSET comes only behind a refused message.
    refused = {"rcpt": ["550 5.1.1 no such user"]} if stage == "rset" else {}
    with SmtpServer(faults={**refused, stage: [None, wanted, wanted]}, extensions=extensions) as server:
        program.configure(
            server.port,
            smtp=f'timeout = "1s"\nfinal_timeout = "1s"\n{keys}',
            retry='first_delay = "1s"\nmax_delay = "1s"',
            throttler='message_limit = 1000\nduration = "1h"',
        )
        enqueue(program)
        first = flush(program)
        server.faults.clear()
        taken = numbers(server)
        # Reports of failures are messages too; they have no reverse-path.
        waiting = [message for message in program.queue() if message["reverse_path"]]
        failed = [message for message in waiting if message["state"] == "failed"]
        for _ in range(5):
            program.run("queue", "retry", "--all", "--yes", code=None)
            flush(program)
            left = program.queue()
            if not left:
                break
            time.sleep(1.0)  # the account pauses for a second after a trouble of its own
        server.wait_until_idle()
        total = numbers(server)
    assert all(count == 1 for count in taken.values()), f"twice in one run: {taken}"
    # What is gone from the queue was taken by the server. What was taken and still waits is in doubt.
    gone = MESSAGES - len(waiting)
    assert gone <= len(taken), first
    # Only a 5yz to MAIL, RCPT, DATA or the dot fails anything for good.
    assert failed == [] or stage == "rset" or (fault == "5yz" and stage in {"mail", "rcpt", "data", "final-dot"}), first
    assert left == [], first
    assert set(total) == set(range(MESSAGES)), "lost"
    assert sum(total.values()) - MESSAGES <= len(taken) - gone, f"sent twice without an excuse: {total}"
