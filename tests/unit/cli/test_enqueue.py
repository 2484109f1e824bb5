"""What `enqueue` makes of files; what it prints is in tests/integration/test_spool_commands.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.faults import cannot_be_opened
from tests.support.spools import new_spool
from ucrmmail.cli.enqueue import Enqueued, Envelope, enqueue_files
from ucrmmail.config.submission import read_submission_settings
from ucrmmail.errors import DataError, TemporaryError
from ucrmmail.spool import batch, queuefile


def enqueue(tmp_path: Path, *files: bytes) -> Enqueued:
    config = tmp_path / "config.toml"
    config.write_text(f'[spool]\ndirectory = "{new_spool(tmp_path)}"\nmin_free_space = "0"\n')
    config.chmod(0o600)
    names = []
    for number, data in enumerate(files):
        (tmp_path / f"{number}.eml").write_bytes(data)
        names.append(str(tmp_path / f"{number}.eml"))
    settings = read_submission_settings(str(config), {}, 0)
    return enqueue_files(names, Envelope("a@isp.example", (), None), settings, quiet=True)


def test_a_message_that_is_too_large_for_the_queue_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queuefile, "LARGEST_ENVELOPE_BYTES", 200)
    many = ", ".join(f"joe{number}@example.com" for number in range(20))
    done = enqueue(tmp_path, f"To: {many}\n\nhi\n".encode(), b"To: ann@example.com\n\nhi\n")
    assert [Path(file).name for _, file in done.queued] == ["1.eml"]
    assert [(Path(file).name, type(error)) for file, error in done.errors] == [("0.eml", DataError)]
    assert done.exit_code == 65


@pytest.mark.requirement("R4")
def test_a_process_that_can_open_no_more_files_is_told_to_try_again(tmp_path: Path) -> None:
    with cannot_be_opened(str(tmp_path / "0.eml"), errno.EMFILE):
        done = enqueue(tmp_path, b"To: ann@example.com\n\nhi\n")
    ((_, error),) = done.errors
    assert isinstance(error, TemporaryError)
    assert error.what == f"{tmp_path}/0.eml: Too many open files"
    assert done.exit_code == 75


@pytest.mark.requirement("R4", "R26")
def test_what_there_was_room_for_before_is_accepted(tmp_path: Path) -> None:
    with cannot_be_opened(str(tmp_path / "2.eml"), errno.EMFILE):
        done = enqueue(tmp_path, *[b"To: ann@example.com\n\nhi\n"] * 4)
    assert [Path(file).name for _, file in done.queued] == ["0.eml", "1.eml"]
    assert [Path(file).name for file, _ in done.errors] == ["2.eml", "3.eml"]
    assert done.exit_code == 75


@pytest.mark.requirement("R4", "R26")
def test_nothing_is_accepted_that_cannot_be_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_directory: str, _queue_ids: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(batch, "enter_queue", no_room)
    with cannot_be_opened(str(tmp_path / "2.eml"), errno.EMFILE):
        done = enqueue(tmp_path, *[b"To: ann@example.com\n\nhi\n"] * 4)
    assert done.queued == []
    assert [Path(file).name for file, _ in done.errors] == ["0.eml", "1.eml", "2.eml", "3.eml"]
