"""What becomes of each of many recipients: only who was put off is asked again, and nobody gets a message twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S, Machine, MovedClock
from tests.support.smtp_server import SmtpServer
from tests.support.spools import put


def taken_by(server: SmtpServer) -> list[str]:
    """Whom the server has accepted the message for; a report of a failure is not the message."""
    server.wait_until_idle()
    return [recipient for message in server.accepted for recipient in message.recipients if "user" in recipient]


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("most", [0, 3], ids=["any-number", "three-a-transaction"])
@pytest.mark.parametrize(
    ("reply", "state"), [("450 4.2.1 later", "deferred"), ("550 5.1.1 no such user", "failed")], ids=["4yz", "5yz"]
)
@pytest.mark.parametrize("count", [1, 2, 100, 1000])
def test_of_many_recipients_the_refused_one_alone_is_tried_again_or_fails(
    tmp_path: Path, count: int, reply: str, state: str, most: int
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    recipients = [f"user{number}@example.com" for number in range(count)]
    odd = recipients[count // 2]
    others = [recipient for recipient in recipients if recipient != odd]
    queue_id = put(machine.directory, *recipients, now=clock.now())
    refusing = {"rcpt": lambda line: reply if b"<%b>" % odd.encode() in line else None}
    with SmtpServer(faults=refusing, most_recipients=most) as server:
        machine.flush(machine.to(server))
        assert sorted(taken_by(server)) == sorted(others)
        assert max((len(message.recipients) for message in server.accepted), default=0) <= (most or count)
    (left,) = [message for message in machine.queue() if message.queue_id == queue_id]
    assert left.state == state
    results = {recipient.recipient: recipient.result for recipient in left.delivery.recipients}
    assert results == {**dict.fromkeys(others, "relayed"), odd: state}
    clock.offset += DAY_S
    with SmtpServer(most_recipients=most) as server:
        machine.flush(machine.to(server))
        assert taken_by(server) == ([odd] if state == "deferred" else [])
    assert [message.state for message in machine.queue() if message.queue_id == queue_id] == (
        [] if state == "deferred" else ["failed"]
    )
