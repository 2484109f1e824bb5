"""A run that the system ends in the middle has a report of what it sent: in its document, and in ``status``."""

from __future__ import annotations

import resource

import pytest

from tests.support.program import Program, Run
from tests.support.sink import Sink
from tests.support.spools import put

MANY = 300


def flush_with_few_files(program: Program, sink: Sink, *arguments: str) -> Run:
    """A run that may have so few files open that it cannot hold on to what it sends within a moment, however slow.

    It has looked at its limit before: one that knows of it holds on to fewer.
    """
    flush = program.start("flush", *arguments)

    def lower(_address: str) -> None:
        resource.prlimit(flush.pid, resource.RLIMIT_NOFILE, (14, 14))

    sink.on_rcpt = lower
    stdout, stderr = flush.communicate(timeout=60)
    sink.on_rcpt = lambda _address: None
    return Run(flush.returncode, stdout.decode(), stderr.decode())


@pytest.mark.requirement("R4")
def test_what_was_sent_before_an_error_of_the_system_is_told(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.run("flush")
    for _ in range(MANY):
        put(str(program.spool))
    cut = flush_with_few_files(program, sink, "--json")
    report = cut.json
    sent = len(sink.messages)
    assert 0 < sent < MANY
    assert cut.code == 75
    assert (report["relayed"], report["held_back"], len(report["messages"])) == (sent, MANY - sent, sent)
    assert (report["error"]["stage"], report["error"]["reply"]) == ("queue", None)
    assert report["error"]["what"].endswith("Too many open files")
    last = program.run("status", "--json").json["last_flush"]
    assert (last["relayed"], last["held_back"], last["exit_code"]) == (sent, MANY - sent, 75)
    again = flush_with_few_files(program, sink)
    assert (again.code, again.stdout) == (75, "")
    told = again.stderr.splitlines()
    assert told[0].endswith("Too many open files")
    assert told[1:] == ["  remedy: mend this, then run the same command again"]
    assert len(sink.messages) > sent
    # What it had recorded is not sent again.
    program.run("flush")
    assert len(sink.messages) == MANY
