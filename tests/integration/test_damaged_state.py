"""What a run leaves for ``status`` and ``doctor``, damaged: it is as if it was not there, and no command fails at it."""

from __future__ import annotations

import pytest

from tests.support.program import Program
from tests.support.sink import Sink

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
