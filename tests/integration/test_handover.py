"""A spool that belongs to another user: who may write into its drop directory hands mail over, envelope and all.

As root, since files change their owner here. With users who are not root it is tested in tests/packages/test_deb.py.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.sink import Sink, SinkController

NOBODY = 65534
MESSAGE = b"From: app@isp.example\nTo: seen@example.com\nBcc: unseen@example.com\nSubject: x\n\n.\nhi\n"


@pytest.fixture
def foreign(program: Program) -> Program:
    """A program whose spool belongs to somebody else, who takes mail from everybody."""
    if os.geteuid() != 0:
        pytest.fail("files are given to another user here; run the tests as root")
    program.configure(25)
    program.run("flush")
    for path in [program.spool, *program.spool.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    program.spool.chmod(0o711)
    (program.spool / "drop").chmod(0o1733)
    return program


def dropped(program: Program) -> list[Path]:
    return list((program.spool / "drop").iterdir())


def flushed_by_its_owner(program: Program) -> Sink:
    """Flush as the owner: everything but what was dropped is given back to us."""
    for path in [program.spool, *program.spool.rglob("*")]:
        if path.parent.name != "drop":
            os.chown(path, 0, 0)
    with SinkController(Sink()) as controller:
        program.configure(controller.sink.port)
        program.run("flush")
        return controller.sink


def test_the_envelope_comes_with_the_message(foreign: Program) -> None:
    foreign.sendmail("-i", "-f", "bounces@isp.example", "joe@example.com", "ann@example.com", message=MESSAGE)
    (path,) = dropped(foreign)
    assert path.name.endswith(".eml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    sink = flushed_by_its_owner(foreign)
    (sent,) = sink.messages
    assert (sent.reverse_path, sent.recipients) == ("bounces@isp.example", ["joe@example.com", "ann@example.com"])
    assert b"Bcc" not in sent.content
    assert sent.content.endswith(b"\r\n\r\n.\r\nhi\r\n")
    assert dropped(foreign) == []


def test_by_smtp_the_envelope_is_that_of_the_session(foreign: Program) -> None:
    line = b"a line of a large message\r\n"
    said = b"MAIL FROM:<bounces@isp.example>\nRCPT TO:<joe@example.com>\nDATA\n".replace(b"\n", b"\r\n")
    message = MESSAGE.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
    sent = foreign.sendmail(
        "-bs", message=said + message + b".\r\n" + said + message + line * 80_000 + b".\r\nQUIT\r\n"
    )
    assert sent.stdout.count("250 2.0.0 handed over to the owner of the queue") == 2
    assert len(dropped(foreign)) == 2
    small, large = sorted(flushed_by_its_owner(foreign).messages, key=lambda message: len(message.content))
    for received in (small, large):
        assert (received.reverse_path, received.recipients) == ("bounces@isp.example", ["joe@example.com"])
        assert b"Bcc" not in received.content
    assert small.content.endswith(b"\r\n\r\n.\r\nhi\r\n")
    assert large.content.endswith(b"\r\n.\r\nhi\r\n" + line * 80_000)


def test_recipients_are_taken_from_the_message_too(foreign: Program) -> None:
    foreign.sendmail("-t", message=MESSAGE)
    sink = flushed_by_its_owner(foreign)
    assert sorted(sink.messages[0].recipients) == ["seen@example.com", "unseen@example.com"]


@pytest.mark.requirement("R13")
def test_a_message_that_is_too_large_for_the_memory_is_handed_over_too(foreign: Program) -> None:
    body = b"a line of a large message\n" * 100_000
    foreign.sendmail("joe@example.com", message=MESSAGE.replace(b".\nhi\n", body))
    (path,) = dropped(foreign)
    assert path.name.endswith(".eml")
    sink = flushed_by_its_owner(foreign)
    (sent,) = sink.messages
    assert sent.content.endswith(b"Subject: x\r\n\r\n" + body.replace(b"\n", b"\r\n"))
    assert dropped(foreign) == []


def test_a_large_message_for_a_directory_that_is_closed_is_refused_like_a_small_one(foreign: Program) -> None:
    (foreign.spool / "drop").rmdir()
    small = foreign.sendmail("-t", message=MESSAGE, code=77)
    large = foreign.sendmail("-t", message=MESSAGE + b"hi\n" * 500_000, code=77)
    assert large == small


def test_names_tell_nobody_which_files_there_are(foreign: Program) -> None:
    foreign.sendmail("-t", message=MESSAGE)
    (path,) = dropped(foreign)
    assert len(path.name.split(".")[2]) == 32, "128 bits that nobody can guess"


def test_a_drop_directory_that_is_closed_takes_nothing(foreign: Program) -> None:
    (foreign.spool / "drop").rmdir()
    run = foreign.sendmail("-t", message=MESSAGE, code=77)
    assert "belongs to uid 65534" in run.stderr
    way = f"let its owner open {foreign.spool}/drop to you, see ucrmmail-queue(5), and submit with `ucrmmail-sendmail`"
    assert way in run.stderr
    assert way in foreign.run("enqueue", "-", stdin=MESSAGE, code=77).stderr


@pytest.mark.parametrize("arguments", [["flush"], ["flush", "--dry-run"], ["queue", "list"], ["status"]])
def test_whose_queue_it_is_comes_before_what_of_it_may_be_read(foreign: Program, arguments: list[str]) -> None:
    # Without the rights of root, which may read everything.
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *foreign.command(*arguments)],
        capture_output=True, text=True, env=foreign.env, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (77, "")
    assert done.stderr == (
        f"ucrmmail: the spool {foreign.spool} belongs to uid {NOBODY}, not to 0\n"
        "  remedy: run as its owner, or set spool.directory to a directory of your own\n"
    )


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-1], lambda raw: raw.replace(b"joe@", b"eve@")])
def test_what_was_changed_on_the_way_is_rejected_and_told(foreign: Program, spoil: object) -> None:
    assert callable(spoil)
    foreign.sendmail("joe@example.com", message=MESSAGE)
    (path,) = dropped(foreign)
    path.write_bytes(spoil(path.read_bytes()))
    sink = flushed_by_its_owner(foreign)
    assert [message for message in sink.messages if "joe@example.com" in message.recipients] == []
    assert "checksum" in (foreign.spool / "rejected" / f"{path.name}.reason").read_text()


def test_a_full_disk_is_a_not_accepted(foreign: Program) -> None:
    text = foreign.config.read_text().replace("[spool]", '[spool]\nmin_free_space = "999999GB"')
    foreign.config.write_text(text)
    run = foreign.sendmail("-t", message=MESSAGE, code=75)
    assert "was not accepted" in run.stderr
    assert dropped(foreign) == []


def test_a_configuration_that_is_closed_is_told_with_what_its_owner_has_to_do(foreign: Program) -> None:
    os.chown(foreign.config, NOBODY, NOBODY)
    # Without the rights of root, which may read everything.
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *foreign.command("-t", program="ucrmmail-sendmail")],
        input=MESSAGE, capture_output=True, env=foreign.env, check=False,
    )  # fmt: skip
    assert done.returncode == 77
    assert b"let its owner open it to you, as it holds no secret, and the queue: see ucrmmail-queue(5)" in done.stderr
    assert dropped(foreign) == []
