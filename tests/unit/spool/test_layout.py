"""Queue ids are the sending order; the spool is the owner's alone."""

from __future__ import annotations

import calendar
import errno
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.faults import fails_at
from ucrmmail.errors import CannotCreateError, PermissionDeniedError
from ucrmmail.spool.layout import (
    NEXT_ID_S,
    PRIORITIES,
    accepted_at,
    bucket_of,
    check_root,
    epoch_of,
    hour_of,
    is_bucket,
    is_hour,
    is_minute,
    is_queue_id,
    make_spool,
    minute_of,
    new_queue_id,
    priority_of,
)

# Until the year 2106: a double tells the microseconds apart.
MICROSECONDS = st.integers(0, (1 << 32) * 1_000_000).map(lambda micros: micros / 1_000_000)
ID = "1-20261123T110559.123456-k3x9qa"


@given(MICROSECONDS, st.sampled_from(PRIORITIES))
def test_an_id_tells_time_and_priority(now: float, priority: str) -> None:
    queue_id = new_queue_id(now, priority)
    assert is_queue_id(queue_id)
    assert priority_of(queue_id) == priority
    assert abs(accepted_at(queue_id) - now) <= 1e-6
    assert is_bucket(bucket_of(queue_id))
    assert queue_id.startswith(bucket_of(queue_id))
    assert bucket_of(queue_id)[2:] == minute_of(accepted_at(queue_id))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4_000_000_000_000_000)), unique=True))
def test_order_of_ids_is_priority_then_age(arrivals: list[tuple[int, int]]) -> None:
    ids = [new_queue_id(micros / 1_000_000, PRIORITIES[priority]) for priority, micros in arrivals]
    in_order = [queue_id for _, queue_id in sorted(zip(arrivals, ids, strict=True))]
    assert sorted(ids) == in_order


@given(st.integers(0, 253_402_300_799))
def test_times_in_names_are_utc(at: int) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at))
    assert epoch_of(stamp) == calendar.timegm(time.gmtime(at))
    assert epoch_of(minute_of(at)) == at - at % 60
    assert epoch_of(hour_of(at)) == at - at % 3600
    assert is_minute(minute_of(at))
    assert is_hour(hour_of(at))


NO_IDS = [
    "", ".", "..", "../" + ID, ID + "\n", "\n" + ID, ID[:-1], ID + "a", ID.upper(), ID.replace("T", "t"),
    "3" + ID[1:], "-" + ID[1:], ID[:10] + "/" + ID[11:], ID[:-1] + "/", ID[:-1] + "\0", ID[:-1] + "-",
    "1-20261323T110559.123456-k3x9qa", "1-20261100T110559.123456-k3x9qa", "1-20261123T240559.123456-k3x9qa",
    "1-20261123T116059.123456-k3x9qa", "1-20261123T110560.123456-k3x9qa", "1-19691123T110559.123456-k3x9qa",
    "1-20261123T110559,123456-k3x9qa", "1-20261123T110559.12345x-k3x9qa", "1-2026112\u0663T110559.123456-k3x9qa",
    "1-20261123T110559.123456-k3x9q\u00e4", "1-20261123T110559.123456-k3x9q\x1b", ID + ".state", ID + ".eml",
]  # fmt: skip


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("name", NO_IDS)
def test_no_other_name_is_an_id(name: str) -> None:
    assert not is_queue_id(name)


def test_ids_of_one_microsecond_differ() -> None:
    # 30 random bits: of a thousand two would be the same once in two thousand runs.
    assert len({new_queue_id(1.0, "bulk") for _ in range(30)}) == 30


@pytest.mark.requirement("S16")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_every_directory_is_owner_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_spool(str(tmp_path / "var" / "spool"))
    finally:
        os.umask(before)
    made = [path for path in (tmp_path / "var").rglob("*") if path.is_dir()]
    assert len(made) == 11
    assert {stat.S_IMODE(path.stat().st_mode) for path in [*made, tmp_path / "var"]} == {0o700}


def test_a_spool_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    make_spool(f"{directory}/")
    (directory / "drop").chmod(0o1730)
    (directory / "held").rmdir()
    make_spool(str(directory))
    assert stat.S_IMODE((directory / "drop").stat().st_mode) == 0o1730
    assert (directory / "held").is_dir()


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777, 0o770, 0o720, 0o704])
def test_a_spool_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    make_spool(str(tmp_path / "spool"))
    (tmp_path / "spool").chmod(mode)
    with pytest.raises(PermissionDeniedError) as caught:
        make_spool(str(tmp_path / "spool"))
    assert f"{mode:04o}" in caught.value.what
    assert "chmod 700" in caught.value.remedy


def test_the_right_to_pass_through_is_the_administrators(tmp_path: Path) -> None:
    make_spool(str(tmp_path / "spool"))
    (tmp_path / "spool").chmod(0o711)
    check_root(str(tmp_path / "spool"))


@pytest.mark.requirement("S15")
def test_a_linked_spool_is_refused(tmp_path: Path) -> None:
    make_spool(str(tmp_path / "real"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for path in (tmp_path / "link", f"{tmp_path / 'link'}/"):
        with pytest.raises(PermissionDeniedError, match="symbolic link"):
            make_spool(str(path))


@pytest.mark.requirement("S15")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_spool_of_another_user_is_refused(tmp_path: Path) -> None:
    make_spool(str(tmp_path / "spool"))
    os.chown(tmp_path / "spool", 12345, 12345)
    with pytest.raises(PermissionDeniedError, match="uid 12345"):
        make_spool(str(tmp_path / "spool"))


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(CannotCreateError, match="not a directory"):
        make_spool(str(tmp_path / "spool"))


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("place", ["queue", "tmp", "drop", "state"])
def test_a_link_in_the_place_of_a_directory_is_refused(tmp_path: Path, place: str) -> None:
    make_spool(str(tmp_path / "spool"))
    (tmp_path / "spool" / place).rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool" / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionDeniedError, match="not a directory"):
        make_spool(str(tmp_path / "spool"))


def test_a_queue_that_others_can_read_is_refused(tmp_path: Path) -> None:
    make_spool(str(tmp_path / "spool"))
    (tmp_path / "spool" / "queue").chmod(0o755)
    with pytest.raises(PermissionDeniedError, match="queue is open"):
        make_spool(str(tmp_path / "spool"))


def test_a_spool_that_cannot_be_made_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateError) as caught:
        make_spool(str(tmp_path / "file" / "spool"))
    assert "file/spool" in caught.value.what


@pytest.mark.parametrize("step", [2, 3])
def test_a_spool_that_cannot_be_looked_at_is_not_called_one_that_cannot_be_made(tmp_path: Path, step: int) -> None:
    """The one is a matter of the disk (74, 75), the other of the setting (73)."""
    make_spool(str(tmp_path / "spool"))
    with fails_at(step, errno.EIO, names=("lstat",)), pytest.raises(OSError, match="Input/output"):
        make_spool(str(tmp_path / "spool"))


@given(st.floats(1_700_000_000.0, 4_000_000_000.0))
def test_ids_in_a_row_keep_their_order(now: float) -> None:
    ids = []
    for _ in range(20):
        ids.append(new_queue_id(now, "normal"))
        now += NEXT_ID_S
    assert len({queue_id[:25] for queue_id in ids}) == 20
    assert ids == sorted(ids)
