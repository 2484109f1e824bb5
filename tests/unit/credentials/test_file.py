"""The owner-only file: what it keeps, and what is not trusted."""

from __future__ import annotations

import os
import socket
import stat
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.faults import dies_at
from ucrmmail.credentials import file
from ucrmmail.credentials.secret import SecretMissingError
from ucrmmail.errors import CannotCreateError, ConfigError, PermissionDeniedError, UcrmmailError

CANARY = "canary-7719"
NAMES = ("user", "/etc/ucrmmail/config.toml")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.toml"


def kept(path: Path) -> Path:
    file.write(str(path), "user", CANARY)
    return path


def test_what_is_written_is_read_and_open_to_its_owner_alone(path: Path) -> None:
    kept(path)
    assert file.read(str(path), NAMES) == CANARY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["secrets.toml", "secrets.toml.lock"]


@pytest.mark.requirement("S16")
def test_the_umask_makes_no_difference(path: Path) -> None:
    before = os.umask(0)
    try:
        kept(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_directory_that_is_missing_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    kept(tmp_path / "new" / "secrets.toml")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_secrets_of_other_accounts_stay(path: Path) -> None:
    kept(path)
    file.write(str(path), "other", "second")
    file.write(str(path), "user", "third")
    assert (file.read(str(path), ("other",)), file.read(str(path), ("user",))) == ("second", "third")
    assert file.delete(str(path), ("user",)) is True
    assert file.read(str(path), ("other",)) == "second"


def test_the_first_name_that_has_a_secret_counts(path: Path) -> None:
    file.write(str(path), NAMES[1], "early")
    assert file.read(str(path), NAMES) == "early"
    kept(path)
    assert file.read(str(path), NAMES) == CANARY


def test_deleting_takes_the_secret_under_every_name(path: Path) -> None:
    assert file.delete(str(path), NAMES) is False
    for name in NAMES:
        file.write(str(path), name, CANARY)
    assert file.delete(str(path), NAMES) is True
    assert file.delete(str(path), NAMES) is False
    assert CANARY not in path.read_text()
    with pytest.raises(SecretMissingError):
        file.read(str(path), NAMES)


def test_two_that_write_at_once_lose_nothing(path: Path) -> None:
    names = [f"user{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: file.write(str(path), name, name), names))
    assert [file.read(str(path), (name,)) for name in names] == names


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(WORDS, WORDS, min_size=1, max_size=4))
def test_any_secret_under_any_name_comes_back(
    tmp_path_factory: pytest.TempPathFactory, secrets: dict[str, str]
) -> None:
    path = str(tmp_path_factory.mktemp("any") / "secrets.toml")
    for name, secret in secrets.items():
        file.write(path, name, secret)
    assert {name: file.read(path, (name,)) for name in secrets} == secrets


def symbolic_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def hard_link(path: Path) -> None:
    os.link(path, path.with_name("second"))


def replaced_by(make: str, path: Path) -> None:
    path.unlink()
    if make == "directory":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            before = Path.cwd()
            # A socket's name may be no longer than 108 bytes.
            os.chdir(path.parent)
            server.bind(path.name)
            os.chdir(before)


ATTACKS: dict[str, Callable[[Path], None]] = {
    "a symbolic link": symbolic_link,
    "a dangling link": dangling_link,
    "a hard link": hard_link,
    "a directory": lambda path: replaced_by("directory", path),
    "a fifo": lambda path: replaced_by("fifo", path),
    "a socket": lambda path: replaced_by("socket", path),
    "read by the group": lambda path: path.chmod(0o640),
    "read by others": lambda path: path.chmod(0o604),
    "written by the group": lambda path: path.chmod(0o620),
    "written by others": lambda path: path.chmod(0o602),
}


@pytest.mark.requirement("S16")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_cannot_be_trusted_is_neither_read_nor_written(path: Path, attack: str) -> None:
    kept(path)
    ATTACKS[attack](path)
    for use in (
        lambda: file.read(str(path), NAMES),
        lambda: file.write(str(path), "user", "second"),
        lambda: file.delete(str(path), NAMES),
    ):
        with pytest.raises(PermissionDeniedError) as caught:
            use()
        assert caught.value.remedy
    assert not path.with_name("nowhere").exists()


@as_root
def test_a_file_of_somebody_else_is_not_used(path: Path) -> None:
    kept(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(PermissionDeniedError, match="belongs to uid 65534"):
        file.read(str(path), NAMES)
    with pytest.raises(PermissionDeniedError):
        file.write(str(path), "user", "second")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_no_secret_is_put_where_others_can_change_what_is_there(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(PermissionDeniedError, match="others can change"):
        file.write(str(directory / "secrets.toml"), "user", CANARY)
    assert list(directory.iterdir()) == []


@as_root
def test_no_secret_is_put_into_a_directory_of_somebody_else(tmp_path: Path) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with pytest.raises(PermissionDeniedError, match="others can change"):
        file.write(str(directory / "secrets.toml"), "user", CANARY)


@pytest.mark.parametrize(
    "text",
    [
        f'[secrets]\nuser = "{CANARY}',
        f'[secrets]\nuser = {CANARY}\n"other" = "x"\n',
        "[secrets]\nuser = 1234\n",
        f'[secrets]\na.b = "{CANARY}"\n',
        f'secrets = "{CANARY}"\n',
        f'secrets = ["{CANARY}"]\n',
        "\ufeff[secrets]\n",
        "x = " + "[" * 5000,
    ],
)
def test_what_is_no_file_of_secrets_is_refused_without_quoting_it(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        file.read(str(path), NAMES)
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caught.value.remedy


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\0" * 10, b"#" * ((1 << 20) + 1)])
def test_binary_or_endless_files_are_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        file.read(str(path), NAMES)


@pytest.mark.parametrize("text", ["", "[secrets]\n", '[secrets]\nuser = ""\n', '[other]\nuser = "x"\n'])
def test_a_file_without_the_account_has_no_secret(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SecretMissingError):
        file.read(str(path), NAMES)


def test_a_file_cut_short_anywhere_is_an_error_and_never_another_secret(path: Path) -> None:
    kept(path)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UcrmmailError):
            file.read(str(path), NAMES)


def test_a_place_that_is_no_directory_cannot_hold_it(path: Path) -> None:
    path.write_text("")
    with pytest.raises(SecretMissingError):
        file.read(str(path / "secrets.toml"), NAMES)
    with pytest.raises(CannotCreateError):
        file.write(str(path / "secrets.toml"), "user", CANARY)


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    left = tmp_path / "secrets.toml.4711.0badcafe.tmp"
    left.write_text("[secrets]")
    other = tmp_path / "other.tmp"
    other.write_text("not ours")
    file.write(str(path), "user", "word")
    assert not left.exists()
    assert other.exists()


@pytest.mark.requirement("S8")
@pytest.mark.parametrize("kept", [True, False])
def test_what_a_killed_writer_left_is_forgotten_with_the_secret(tmp_path: Path, *, kept: bool) -> None:
    path = tmp_path / "secrets.toml"
    if kept:
        file.write(str(path), "somebody else", "word")

    def write(_say: object) -> None:
        file.write(str(path), "user", CANARY)

    step, died = 0, True
    while died:
        step += 1
        died, _ = dies_at(step, write)
        file.delete(str(path), ("user",))
        assert not [each for each in tmp_path.iterdir() if CANARY in each.read_text()]
        assert path.exists() or not kept
    assert step > 5
    if kept:
        assert file.read(str(path), ("somebody else",)) == "word"
