"""Which file systems other hosts may reach, and when two hosts are one."""

from __future__ import annotations

import errno
import os
import posix
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.faults import CHANGING, at_each_call, fails_at, in_a_child
from tests.support.spools import new_spool
from ucrmmail.errors import ConfigError
from ucrmmail.spool import host
from ucrmmail.spool.host import Host, claim_host, read_host, this_host
from ucrmmail.spool.mounts import is_shared, mount_in

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:25 / /run rw shared:2 - tmpfs tmpfs rw
31 22 8:2 / /var/spool\\040x rw - xfs /dev/sda2 rw
32 22 8:3 / /var rw - btrfs /dev/sda3 rw
40 22 0:44 / /home rw,relatime shared:9 - nfs4 nas.example.com:/home rw,vers=4.2,local_lock=none,addr=192.0.2.1
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/etc", ("/", "ext4")), ("/run/x", ("/run", "tmpfs")), ("/running", ("/", "ext4")),
        ("/var/spool x/y", ("/var/spool x", "xfs")), ("/var/spool", ("/var", "btrfs")),
        ("/home/joe/.local/state/ucrmmail/spool", ("/home", "nfs4")),
    ],
)  # fmt: skip
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, found: tuple[str, str]) -> None:
    assert mount_in(MOUNTS, path) == found


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse", "fuse.sshfs"])
def test_other_hosts_may_reach_a_network_file_system(kind: str) -> None:
    assert is_shared(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "f2fs", ""])
def test_a_disk_is_of_one_host(kind: str) -> None:
    assert not is_shared(kind)


@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Host("m1", "b1", "a"), Host("m1", "b2", "z"), True),  # rebooted, renamed
        (Host("m1", "b1", "a"), Host("m2", "b1", "z"), True),  # containers of one kernel
        (Host("m1", "b1", "a"), Host("m2", "b2", "a"), False),  # two machines of one name
        (Host("-", "b1", "a"), Host("m2", "b2", "a"), True),  # no machine id: the name must do
        (Host("-", "-", "a"), Host("-", "-", "z"), False),
    ],
)
def test_hosts_are_told_apart(one: Host, other: Host, same: bool) -> None:
    assert one.is_same(other) is same
    assert other.is_same(one) is same


def test_this_host_has_a_name_and_a_boot() -> None:
    here = this_host()
    assert here.is_same(here)
    assert here.name
    assert here.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_the_machine_id_itself_is_not_written_down() -> None:
    assert this_host().machine != Path("/etc/machine-id").read_text().strip()


def test_a_record_that_was_cut_short_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("3f9a41c2")
    found = read_host(str(tmp_path))
    assert found == Host("3f9a41c2", "-", "")
    assert not this_host().is_same(found)


def test_an_empty_record_is_none(tmp_path: Path) -> None:
    (tmp_path / "host").touch()
    assert read_host(str(tmp_path)) is None


def test_a_record_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "host").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="symbolic link"):
        read_host(str(tmp_path))


def test_a_host_that_hides_what_the_kernel_tells_is_known_by_its_name(tmp_path: Path) -> None:
    """Some containers hide /proc, and have no id of their own: an odd place, and no reason to fail."""
    hidden = (
        "mount -t tmpfs none /proc && mount --bind /dev/null /etc/machine-id || exit 9\n"
        'exec "$0" -c "from ucrmmail.spool.host import this_host; from ucrmmail.spool.mounts import mount_of\n'
        "here = this_host(); print(here.machine, here.boot, here.name, mount_of('/'))\""
    )
    run = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", hidden, sys.executable],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout == f"- - {os.uname().nodename} ('', '')\n"


@contextmanager
def on_a_shared_file_system(directory: str) -> Iterator[Path]:
    """Give the file of the host, in a real FUSE mount over the spool."""
    subprocess.run(["bindfs", directory, directory], check=True)
    try:
        yield Path(directory, "host")
    finally:
        subprocess.run(["umount", directory], check=True)


CHANGING_WITH_LINKS = (*CHANGING, "link")


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_host_that_dies_while_it_writes_itself_down_goes_on_later(tmp_path: Path, *, links: bool) -> None:
    directory = new_spool(tmp_path)

    def claim_and_die_at(number: int) -> Callable[[Callable[[str], None]], None]:
        def die(at: int, name: str) -> None:
            if at == number:
                posix._exit(86)
            if name == "link" and not links:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        def work(_say: Callable[[str], None]) -> None:
            with at_each_call(die, CHANGING_WITH_LINKS):
                claim_host(directory)

        return work

    with on_a_shared_file_system(directory) as record:
        died, step = True, 0
        while died:
            step += 1
            died, _ = in_a_child(claim_and_die_at(step))
            claim_host(directory)
            assert read_host(directory) == this_host()
            for path in (record, *record.parent.glob("host.*.tmp")):
                path.unlink(missing_ok=True)
    assert step > 8


@pytest.mark.requirement("R24", "R4")
@pytest.mark.parametrize("names", [("open", "write", "fsync", "link"), ("write",)], ids=["any", "write"])
def test_a_full_disk_leaves_no_record_of_nobody(tmp_path: Path, names: tuple[str, ...]) -> None:
    directory = new_spool(tmp_path)
    with on_a_shared_file_system(directory) as record:
        step, called = 0, [""]
        while len(called) >= step:
            step += 1
            with fails_at(step, errno.ENOSPC, names) as called, suppress(OSError):
                claim_host(directory)
            assert not record.exists() or read_host(directory) == this_host()
            claim_host(directory)
            record.unlink()
    assert step > 1


def test_an_empty_record_that_somebody_left_is_replaced(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    with on_a_shared_file_system(directory) as record:
        record.touch(mode=0o600)
        claim_host(directory)
        assert read_host(directory) == this_host()


def test_of_two_hosts_that_begin_at_once_only_one_goes_on(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    record = Path(directory) / "host"

    def another_host_is_quicker(number: int, _name: str) -> None:
        if number == 2:  # the first has found none
            record.write_text("machine-2 boot-2 billing2\n")

    with on_a_shared_file_system(directory):
        with at_each_call(another_host_is_quicker, ("open",)), pytest.raises(ConfigError, match="host, billing2"):
            claim_host(directory)
        assert record.read_text() == "machine-2 boot-2 billing2\n"


def refuse_links(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refused)


def test_where_a_file_has_one_name_the_first_host_is_written_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch, errno.EOPNOTSUPP)
    path = str(tmp_path / "host")
    assert host._write_first(path, b"first\n")
    assert not host._write_first(path, b"second\n")
    assert Path(path).read_bytes() == b"first\n"
    assert os.listdir(tmp_path) == ["host"]


@pytest.mark.parametrize("name", ["write", "fsync"])
def test_where_a_file_has_one_name_nothing_is_left_of_one_that_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    refuse_links(monkeypatch, errno.EPERM)
    calls: list[int] = []
    real = getattr(os, name)

    def full_the_second_time(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, name, full_the_second_time)
    with pytest.raises(OSError, match="No space"):
        host._write_first(str(tmp_path / "host"), b"first\n")
    assert os.listdir(tmp_path) == []


def test_a_link_that_the_disk_refuses_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        host._write_first(str(tmp_path / "host"), b"first\n")
    assert os.listdir(tmp_path) == []
