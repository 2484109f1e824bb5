"""The delivery log: one line an outcome, which no reply can forge."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.faults import fails_at
from ucrmmail.delivery.log import DeliveryLog, log_line, open_log
from ucrmmail.files import DistrustError
from ucrmmail.message.outcome import Outcome, Result, Stage

ID = "1-20261123T110559.123456-k3x9qa"


def outcome(reply: str = "250 2.0.0 Ok", *, uncertain: bool = False) -> Outcome:
    return Outcome("b@example.com", Result.RELAYED, Stage.FINAL_DOT, reply, "2.0.0", uncertain)


def test_a_line_names_time_id_envelope_outcome_and_reply() -> None:
    line = log_line(1795431959.123, ID, "a@isp.example", outcome())
    assert line == (
        f'2026-11-23T11:05:59.123Z {ID} from=<a@isp.example> to=<b@example.com> relayed final-dot "250 2.0.0 Ok"'
    )


@pytest.mark.requirement("R11")
def test_an_uncertain_outcome_is_marked() -> None:
    assert "may-be-delivered-twice" in log_line(0, ID, "", outcome(uncertain=True))


@pytest.mark.requirement("S10")
def test_a_byte_that_is_not_utf8_is_written_as_it_is_shown_elsewhere() -> None:
    assert r'"550 caf\xe9"' in log_line(0, ID, "a@isp.example", outcome("550 caf\udce9"))


@pytest.mark.requirement("S10")
@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[2J", "\x00", "\u202e", "\udcff", "\x85", "ü\x7f"])
def test_no_reply_can_forge_a_line_or_reach_a_terminal_raw(text: str) -> None:
    line = log_line(0, ID, "a@isp.example", outcome(text))
    assert line.isascii()
    assert line.isprintable()


def test_lines_are_appended_and_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "log" / "delivery.log"
    for _ in range(2):
        log = DeliveryLog(str(path))
        log.add(0, ID, "a@isp.example", outcome())
        log.close()
    assert len(path.read_text().splitlines()) == 2
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_fifo_in_place_of_the_log_is_refused_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "delivery.log")
    with pytest.raises((DistrustError, OSError)):
        DeliveryLog(str(tmp_path / "delivery.log"))


def test_a_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "delivery.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):  # noqa: PT011 # ELOOP
        DeliveryLog(str(tmp_path / "delivery.log"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_refusal_that_is_known_has_its_cause_and_remedy_behind_it() -> None:
    refused = Outcome("b@example.com", Result.FAILED, Stage.FINAL_DOT, "550 5.7.515 Access denied", "5.7.515")
    line = log_line(0, ID, "a@isp.example", refused)
    assert '"550 5.7.515 Access denied" why="Outlook.com wants SPF, DKIM and DMARC' in line
    assert 'remedy="run `ucrmmail check-dns`' in line


def test_lines_that_cannot_be_written_are_counted_and_the_next_ones_stand_on_their_own(tmp_path: Path) -> None:
    path = tmp_path / "delivery.log"
    log = DeliveryLog(str(path))
    log.add(0.0, "first", "a@x", outcome())
    log.write()
    with fails_at(1, errno.ENOSPC, names=("write",)):
        log.add(0.0, "second", "a@x", outcome())
        log.add(0.0, "third", "a@x", outcome())
        log.write()
    log.add(0.0, "fourth", "a@x", outcome())
    log.close()
    assert [line.split()[1] for line in path.read_text().splitlines() if line] == ["first", "fourth"]
    assert log.complaint == f"{path}: No space left on device: 2 lines of the delivery log could not be written"


@pytest.mark.requirement("R4")
def test_a_log_that_cannot_be_opened_says_how_many_lines_are_missing_and_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the directory should be")
    log = open_log(f"{tmp_path}/log/delivery.log")
    log.write()
    assert log.complaint == "", "nothing is missing so far"
    for _ in range(2):
        log.add(0, ID, "a@isp.example", outcome())
        log.write()
    assert log.complaint == (
        f"{tmp_path}/log/delivery.log: Not a directory: 2 lines of the delivery log could not be written"
    )
    log.close()


def test_a_log_that_is_not_trusted_is_named_once_and_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "delivery.log"
    os.mkfifo(path)
    # With a reader it can be opened, and is still no log.
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = open_log(str(path))
    log.add(0, ID, "a@isp.example", outcome())
    log.close()
    assert os.read(reader, 100) == b""
    os.close(reader)
    assert log.complaint == f"{path} is not a regular file: 1 lines of the delivery log could not be written"
