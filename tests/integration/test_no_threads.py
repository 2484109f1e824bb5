"""A user, or a service, that has as many processes and threads as it may: what needs no thread is done without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import PLAIN, Program
from tests.support.smtp_server import SmtpServer, Wait

# What the kernel says beyond RLIMIT_NPROC to all but root, and to a whole service beyond TasksMax.
_SITE = """
import threading
start, left = threading.Thread.start, [{count}]
def start_or_not(thread):
    left[0] -= 1
    if left[0] < 0:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = start_or_not
"""


def threads(tmp_path: Path, count: int) -> dict[str, str]:
    """Return the environment of programs of which no process can start more threads than these."""
    site = tmp_path / f"{count} threads"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE.format(count=count))
    return {"PYTHONPATH": str(site)}


def files(tmp_path: Path, count: int) -> list[str]:
    paths = [tmp_path / f"{number}.eml" for number in range(count)]
    for path in paths:
        path.write_bytes(PLAIN)
    return [str(path) for path in paths]


def test_files_are_enqueued_without_a_thread(program: Program, tmp_path: Path) -> None:
    program.configure(25)
    run = program.run("enqueue", *files(tmp_path, 3), env=threads(tmp_path, 0))
    assert (len(run.lines), run.stderr) == (3, "")
    assert len(program.queue()) == 3


def test_a_flush_that_cannot_look_up_the_smarthost_keeps_the_mail_and_says_why(
    program: Program, tmp_path: Path
) -> None:
    env = threads(tmp_path, 0)
    with SmtpServer() as server:
        program.configure(server.port)
        program.run("enqueue", *files(tmp_path, 1))
        (program.spool / "drop" / "1.eml").write_bytes(PLAIN)
        run = program.run("flush", code=75, env=env)
        assert "no thread can be started" in run.stderr
        assert "ulimit -u" in run.stderr
        assert "internal" not in run.stderr
        assert [message["state"] for message in program.queue()] == ["waiting"] * 2
        assert program.run("flush", code=75, env=env).stderr == ""  # told a minute ago
        # There is no pause: nobody outside has anything against us.
        program.run("flush")
        server.wait_until_idle()
        assert len(server.accepted) == 2


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("limits", ["", "throttler"], ids=["no limit", "limit"])
def test_connections_that_cannot_be_made_are_left_to_the_first(
    program: Program, tmp_path: Path, limits: str, count: int
) -> None:
    throttler = 'message_limit = 1000\nduration = "1h"' if limits else ""
    with SmtpServer(faults={"final-dot": [Wait(0.05)] * 99}) as server:
        program.configure(server.port, smtp="connections = 3", throttler=throttler)
        program.run("enqueue", *files(tmp_path, 20))
        run = program.run("flush", "--json", env=threads(tmp_path, count))
        server.wait_until_idle()
        assert len(server.accepted) == 20
    assert (run.json["relayed"], run.json["error"]) == (20, None)
