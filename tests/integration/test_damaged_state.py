"""What a run leaves for ``status`` and ``doctor``, damaged: it is as if it was not there, and no command fails at it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program
from tests.support.sink import Sink
from ucrmmail.journal import journal_of, read_journal

DAMAGED = [
    '{"relayed": NaN}', '{"relayed": -1e999}', '{"relayed": 1e400}', '{"reason": {"deep": Infinity}}', "[" * 3000,
    '{"relayed":' + "[" * 100_000, '{"doubtful":' + "[" * 3000, '{"relayed": ' + "9" * 5000 + "}", "[1]", "\udcff", "",
    '{"relayed": ' + "[" * 900 + "]" * 900 + "}", '{"exit_code": {"a": 1}}',
]  # fmt: skip


@pytest.mark.requirement("R29")
@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:24]))
def test_a_damaged_note_of_the_last_run_is_no_note(program: Program, sink: Sink, content: str) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    program.run("flush")
    note = program.spool / "last-flush.json"
    note.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert program.run("status", "--json").json["last_flush"] is None
    assert "last flush: none" in program.run("status").stdout
    assert program.run("doctor", "--json", "--skip", "dns", code=None).code in (0, 1)
    program.sendmail("-t")
    assert program.run("flush", "--json").json["relayed"] == 1
    assert program.run("status", "--json").json["last_flush"]["relayed"] == 1


@pytest.mark.parametrize("ended", ['"ended_at": 7, ', ""])
def test_a_note_that_does_not_say_when_its_run_ended_is_of_the_last_look(program: Program, ended: str) -> None:
    program.configure(25)
    program.run("flush")
    (program.spool / "last-flush.json").write_text(f'{{{ended}"relayed": 5}}\n')
    last = program.run("status", "--json").json["last_flush"]
    assert (last["ended_at"], last["relayed"]) == (last["at"], 5)
    assert "5 relayed" in program.run("status").stdout


@pytest.mark.requirement("R29")
@pytest.mark.parametrize("at", ["NaN", "1e999", "-1e999", "1e300", "-1.0", "1" + "0" * 400, "[" * 3000])
def test_a_damaged_state_of_the_account_is_an_account_without_troubles(program: Program, sink: Sink, at: str) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    program.run("flush")
    state = program.spool / "account.json"
    for name in ("not_before", "failed_at"):
        state.write_text(f'{{"failures": 1, "what": "x", "exit_code": 77, "{name}": {at}}}')
        assert program.run("status", "--json").json["account"]["deferred"] is False
        assert program.run("status").code == 0
        assert program.run("doctor", "--json", "--skip", "dns", code=None).code in (0, 1)
    program.sendmail("-t")
    (program.spool / "notices.json").write_text(at)
    assert program.run("flush", "--json").json["relayed"] == 1


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("name", ["journal", "ledger", "lock"])
def test_what_lets_no_run_begin_is_mailed_by_cron_once_an_hour(program: Program, sink: Sink, name: str) -> None:
    program.configure(sink.port, throttler="message_limit = 100")
    program.sendmail("-t")
    program.run("flush")
    path, aside = program.spool / name, program.home / "aside"
    for number in (2, 3):
        program.sendmail("-t")
        path.rename(aside)
        path.mkdir()
        told = [program.run("flush", code=74).stderr for _ in range(3)]
        assert f"ucrmmail: {path}" in told[0]
        assert "remedy:" in told[0]
        assert told[1:] == ["", ""]
        for watched in ("-v", "--json"):
            assert str(path) in program.run("flush", watched, code=74).stderr
        path.rmdir()
        aside.rename(path)
        # It is mended, and told anew should it come again.
        assert program.run("flush").stderr == ""
        assert len(sink.messages) == number


@pytest.mark.requirement("R18")
def test_that_the_lines_for_a_person_cannot_be_read_is_mailed_by_cron_once_an_hour(
    program: Program, sink: Sink
) -> None:
    program.configure(sink.port)
    (program.spool / "untold").mkdir(parents=True)
    program.spool.chmod(0o700)
    program.sendmail("-t")
    told = [program.run("flush").stderr for _ in range(3)]
    assert "it keeps lines for a person" in told[0]
    assert told[1:] == ["", ""]
    assert "it keeps lines for a person" in program.run("flush", "--json").json["needs_person"][0]
    assert len(sink.messages) == 1


def fifo(path: Path) -> None:
    os.mkfifo(path)


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("make", [fifo, huge, link])
@pytest.mark.parametrize("name", ["checked-config", "account.json", "last-flush.json", "notices.json"])
def test_no_run_waits_for_what_no_run_has_left(
    program: Program, sink: Sink, name: str, make: Callable[[Path], None]
) -> None:
    program.configure(sink.port)
    program.run("flush")
    note = program.spool / name
    for sent in (1, 2):
        note.unlink(missing_ok=True)
        make(note)
        # What waited would wait for ever.
        assert program.run("flush", timeout=20).stderr == ""
        assert program.run("status", timeout=20).code == 0
        assert program.run("queue", "retry", "--all", timeout=20).code == 0
        program.sendmail("-t")
        assert program.run("flush", timeout=20).stderr == ""
        assert len(sink.messages) == sent


@pytest.mark.requirement("S15", "R29")
@pytest.mark.parametrize("make", [fifo, huge, link, lambda path: path.write_bytes(b"[" * 3000)])
def test_what_stands_in_the_place_of_what_was_not_told_is_told_once(
    program: Program, sink: Sink, make: Callable[[Path], None]
) -> None:
    program.configure(sink.port)
    program.run("flush")
    make(program.spool / "untold")
    program.sendmail("-t")
    (line,) = program.run("flush", timeout=20).stderr.splitlines()
    assert line.startswith(f"ucrmmail: {program.spool}/untold")
    assert len(sink.messages) == 1
    program.sendmail("-t")
    assert program.run("flush", timeout=20).stderr == ""


def state_in(ledger: Path) -> Any:
    return json.loads(read_journal(str(ledger))[0][0].removeprefix(b"state "))


@pytest.mark.requirement("R29")
@pytest.mark.parametrize(
    "change",
    [
        {"latest": "x"}, {"latest": None}, {"latest": float("nan")}, {"next_id": "x"}, {"antiflood": "x"},
        {"antiflood": {"rule": {"threshold": 3, "pause_s": 60.0}, "count": 0, "last_at": "x"}},
        {"pending": [[1, float("nan"), 1]]}, {"throttles": [{"rule": {}}]}, {"count": -1000}, {"start": float("nan")},
    ],
    ids=repr,
)  # fmt: skip
def test_a_ledger_whose_whole_records_make_no_sense_counts_as_used_up(
    program: Program, sink: Sink, change: dict[str, Any]
) -> None:
    program.configure(
        sink.port, throttler="message_limit = 5", antiflood='activation_threshold = 3\npause_time = "60s"'
    )
    program.sendmail("-t")
    program.run("flush")
    ledger = program.spool / "ledger"
    state = state_in(ledger)
    window = state["throttles"][0]["window"]
    window.update({name: value for name, value in change.items() if name in window})
    state.update({name: value for name, value in change.items() if name not in window})
    ledger.write_bytes(journal_of([b"state " + json.dumps(state).encode()]))
    assert program.run("status", "--json").json["throttler"][0]["used"] == 5
    program.sendmail("-t")
    assert "could not be read" in program.run("flush").stderr
    assert len(sink.messages) == 1


@pytest.mark.requirement("R29")
@pytest.mark.parametrize("change", [{"next_attempt_at": 1e300}, {"at": 1e300}, {"at": -1e18}, {"attempts": -5}])
def test_a_state_whose_times_cannot_be_is_a_lost_one(program: Program, sink: Sink, change: dict[str, Any]) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    [message] = program.queue()
    recipient = {"recipient": "joe@example.com", "result": "deferred", "at": change.get("at", 1.0)}
    document = {"recipients": [recipient], **{name: value for name, value in change.items() if name != "at"}}
    # A state is written as a record of the journal is.
    state = program.spool / "state" / message["queue_id"]
    state.write_bytes(journal_of([json.dumps(document).encode()]))
    state.chmod(0o600)
    assert program.queue()[0]["attempts"] == 0
    assert program.run("queue", "show", message["queue_id"], "--json").json["queue_id"] == message["queue_id"]
    assert "joe@example.com" in program.run("queue", "show", message["queue_id"]).stdout
    program.run("flush")
    assert len(sink.messages) == 1
