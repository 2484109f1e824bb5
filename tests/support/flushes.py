"""Runs of a machine's queue against a server that does something at some: what was taken, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.campaign.machine import Machine
from tests.support.smtp_server import EXTENSIONS, Action, Cut, SmtpServer
from tests.support.spools import put
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.spool.listing import QueuedMessage

ONE_BY_ONE = tuple(each for each in EXTENSIONS if each != "PIPELINING")
CHUNKS = (*EXTENSIONS, "CHUNKING")
WAYS = pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE, CHUNKS], ids=["group", "one by one", "chunks"])
RELAY = "554 5.7.1 <bad@example.com>: Relay access denied"
LOGIN = "530 5.7.1 authentication is required for this recipient"


def people(count: int, *bad: int) -> list[str]:
    return [("bad" if number in bad else "good") + f"{number}@example.com" for number in range(count)]


def at_the_bad(act: str | Action) -> Callable[[bytes], str | Action | None]:
    return lambda line: act if b"<bad" in line else None


def counting_errors(refusal: str, extensions: Sequence[str]) -> SmtpServer:
    """Postfix says 421 to everything behind smtpd_hard_error_limit, 20 errors, on a connection."""
    errors: dict[int, int] = {}

    def count(line: bytes) -> str | Action | None:
        number = next(at for at, each in enumerate(server.connections) if each.commands and each.commands[-1] is line)
        if errors.get(number, 0) >= 20:
            return Cut(b"421 4.7.0 mx.example.com Error: too many errors\r\n")
        if b"<bad" in line:
            errors[number] = errors.get(number, 0) + 1
            return refusal
        return None

    server = SmtpServer(extensions=extensions, faults={"rcpt": count, "data": count})
    return server


def run(machine: Machine, server: SmtpServer, *, connections: int = 1, **settings: object) -> RunReport:
    options = Options(wait=False, keep_messages=True, connections=connections)
    report = machine.flush(machine.to(server, **settings), options=options)
    server.wait_until_idle()
    return report


def taken(server: SmtpServer) -> list[str]:
    return [one for message in server.accepted for one in message.recipients if message.reverse_path]


def results(message: QueuedMessage) -> dict[str, str]:
    return {one.recipient: one.result for one in message.delivery.recipients}


def mail(machine: Machine, *recipients: str) -> str:
    return put(machine.directory, *recipients, now=machine.clock.now())


def queued(machine: Machine, queue_id: str) -> QueuedMessage:
    (message,) = [each for each in machine.queue() if each.queue_id == queue_id]
    return message
