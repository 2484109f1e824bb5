"""A server that is down is asked for the whole queue at once, and not each minute, however many messages wait (R9).

One connection for each pause. A first failure may be a hiccup: the next run tries again, and the pauses begin behind that
(``delivery.account``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.world import LONG
from tests.support.program import Program
from tests.support.smtp_server import DROP, Fault, SmtpServer

pytestmark = pytest.mark.timeout(600)

MESSAGES = 10_000 if LONG else 300
MINUTES = 20 if LONG else 3


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("fault", [DROP, "554 5.3.2 no service", "421 4.3.2 down"])
def test_a_server_that_is_down_is_asked_once_in_each_step_of_the_back_off(
    tmp_path: Path, fault: Fault, connections: int
) -> None:
    program = Program(tmp_path)
    with SmtpServer(faults={"greeting": fault}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        mail = tmp_path / "mail"
        mail.write_bytes(b"From: a@isp.example\nTo: joe@example.com\n\nhi\n")
        program.run("enqueue", *[str(mail)] * MESSAGES)
        for _ in range(MINUTES):
            program.run("flush", code=None)
        seen = len(server.connections)
        assert len(program.queue()) == MESSAGES
    print(f"{MESSAGES} messages, {connections} connections, {fault}: {MINUTES} flushes, {seen} connections seen")
    assert seen == 1


@pytest.mark.requirement("R9", "R11")
@pytest.mark.parametrize("fault", [DROP, "221 2.0.0 bye"], ids=["hangs-up", "good-bye"])
def test_a_server_that_loses_each_message_behind_its_dot_is_not_sent_all_of_them(tmp_path: Path, fault: Fault) -> None:
    program = Program(tmp_path)
    with SmtpServer(faults={"final-dot": fault}) as server:
        program.configure(server.port)
        for _ in range(12):
            program.sendmail("-t")
        report = program.run("flush", "--json", code=69).json
        assert (report["uncertain"], report["deferred"], report["held_back"]) == (2, 2, 10)
        assert len(server.connections) == 2
