"""A change touches its own key and nothing else."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.faults import dies_at
from ucrmmail.config.edit import _with_key, _without_key, replace_text, set_value, unset_value
from ucrmmail.config.load import load
from ucrmmail.config.location import Location
from ucrmmail.errors import ConfigError, PermissionDeniedError, TemporaryError, UsageError


def at(path: Path, euid: int | None = None) -> Location:
    return Location(
        str(path),
        "given with --config",
        exists=path.exists(),
        euid=os.geteuid() if euid is None else euid,
        spool_directory="/spool",
        log_directory="/log",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def put(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    path.chmod(0o600)
    return path


COMMENTED = """\
# ours, see the wiki

[smtp]
host = "a.example"   # the old one

# about addresses

[addresses]
sender = "a@isp.example"
"""


# --- the text ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S16")
@pytest.mark.parametrize(
    ("table", "name", "written", "old", "new"),
    [
        ("smtp", "host", "b.example", '"a.example" ', '"b.example" '),
        ("smtp", "port", 25, "# the old one\n", "# the old one\nport = 25\n"),
        ("addresses", "support", "s@isp.example", '"a@isp.example"\n', '"a@isp.example"\nsupport = "s@isp.example"\n'),
    ],
)
def test_only_the_line_of_the_key_changes(table: str, name: str, written: str | int, old: str, new: str) -> None:
    assert _with_key(COMMENTED, table, name, written) == COMMENTED.replace(old, new)


def test_a_new_table_goes_to_the_end() -> None:
    after = _with_key(COMMENTED, "spool", "sync", "each")
    assert after == COMMENTED + '\n[spool]\nsync = "each"\n'
    assert _without_key(after, "spool", "sync") == COMMENTED


def test_a_file_without_a_final_line_end_is_no_trap() -> None:
    assert _with_key("[smtp]\nport = 1", "spool", "sync", "each") == '[smtp]\nport = 1\n\n[spool]\nsync = "each"\n'
    assert tomllib.loads(_with_key("[smtp]\nport = 1", "smtp", "host", "a")) == {"smtp": {"port": 1, "host": "a"}}


def test_unset_takes_the_line_and_its_comment() -> None:
    assert _without_key(COMMENTED, "smtp", "host") == COMMENTED.replace('host = "a.example"   # the old one\n', "")


def test_a_key_goes_below_the_header_of_an_empty_table() -> None:
    assert _with_key("[smtp]\n# nothing yet\n\n[spool]\n", "smtp", "port", 25) == (
        "[smtp]\nport = 25\n# nothing yet\n\n[spool]\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        'smtp.host = "a"\nsmtp.port = 2\n# end\n',
        'smtp = {host = "a", port = 2} # inline\n',
        'smtp = {port = 2, host = "a"}\n',
        "[smtp]\nhost = '''\na\n'''\nport = 2\n[smtp.sub]\nx = 1\n",
        '[smtp.sub]\nx = 1\n[spool]\n[smtp]\nhost = "a"\nport = 2\n',
        '[smtp]\n"host" = "a"\nport = 2\n',
        '[ smtp ]\nhost = [\n  "a", # one\n]\nport = 2\n',
    ],
)
def test_toml_in_other_clothes_is_changed_too(text: str) -> None:
    def expected(**change: object) -> dict[str, object]:
        document = tomllib.loads(text)
        document["smtp"] = {key: value for key, value in {**document["smtp"], **change}.items() if value is not None}
        return document

    assert tomllib.loads(_with_key(text, "smtp", "host", "b")) == expected(host="b")
    assert tomllib.loads(_with_key(text, "smtp", "timeout", "1s")) == expected(timeout="1s")
    assert tomllib.loads(_without_key(text, "smtp", "host")) == expected(host=None)


NAMES = ["host", "port", "timeout", "username"]
TABLES = ["smtp", "spool", "dns"]
COMMENTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=6).map(lambda text: "#" + text)
SPACES = st.sampled_from(["", " ", "\t", "  "])
VALUES = st.sampled_from(
    [
        '"a"',
        "'b'",
        "1",
        "true",
        "1.5",
        '["a", "b"]',
        '[\n  "a", # one\n  "b",\n]',
        '"""x\n[smtp]\nhost = 1"""',
        '"ö"',
        "{a = 1}",
    ]
)


# A document in parts: what each line, or value of several lines, belongs to ("smtp", "smtp.host" or ""), and its text.
Parts = list[tuple[str, str]]


@st.composite
def documents(draw: st.DrawFn) -> Parts:
    """A document of several tables with comments, blank lines and values of several lines."""
    parts: Parts = []

    def trivia() -> None:
        parts.extend(("", line + "\n") for line in draw(st.lists(st.one_of(SPACES, COMMENTS), max_size=2)))

    trivia()
    for table in draw(st.lists(st.sampled_from(TABLES), unique=True, max_size=3)):
        parts.append((table, f"{draw(SPACES)}[{table}]{draw(st.one_of(SPACES, COMMENTS))}\n"))
        trivia()
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4)):
            end = draw(SPACES) + draw(st.one_of(st.just(""), COMMENTS))
            parts.append((f"{table}.{name}", f"{draw(SPACES)}{name} = {draw(VALUES)}{end}\n"))
            trivia()
    return parts


def text_of(parts: Parts) -> str:
    return "".join(text for _, text in parts)


@given(documents(), st.sampled_from(TABLES), st.sampled_from(NAMES), st.sampled_from(["v", 7, True, ["x", "y"]]))
def test_every_other_line_stays_as_it_is(parts: Parts, table: str, name: str, written: str | int | list[str]) -> None:
    text = text_of(parts)
    if not text.strip():
        return
    owners = [owner for owner, _ in parts]
    key = f"{table}.{name}"
    after = _with_key(text, table, name, written)
    assert tomllib.loads(after)[table][name] == written
    if key in owners:
        place = owners.index(key)
        before, behind = text_of(parts[:place]), text_of(parts[place + 1 :])
        assert after.startswith(before)
        assert after.endswith(behind)
        taken = _without_key(text, table, name)
        assert taken == before + behind or not tomllib.loads(before + behind)[table]
    elif table in owners:
        place = max(place for place, owner in enumerate(owners) if owner.partition(".")[0] == table) + 1
        before, behind = text_of(parts[:place]), text_of(parts[place:])
        assert after.startswith(before)
        assert after.removeprefix(before).lstrip(" \t").startswith(f"{name} = ")
        assert after.endswith("\n" + behind)
        assert _without_key(after, table, name) == text or not tomllib.loads(text)[table]
    else:
        assert after.startswith(f"{text}\n[{table}]\n{name} = ")
        assert _without_key(after, table, name) == text


# --- the file ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S16")
def test_a_new_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.toml"
    os.umask(0o022)
    assert set_value(at(path), "smtp.host", "a.example").changed
    assert path.read_text() == '[smtp]\nhost = "a.example"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.requirement("S16")
def test_mode_and_link_are_kept(path: Path, tmp_path: Path) -> None:
    real = put(tmp_path / "real.toml", "# mine\n[smtp]\n")
    real.chmod(0o640)
    path.symlink_to(real)
    set_value(at(path), "smtp.port", 25)
    assert path.is_symlink()
    assert real.read_text() == "# mine\n[smtp]\nport = 25\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_edits_what_belongs_to_others_and_leaves_it_theirs(path: Path) -> None:
    put(path, "[smtp]\n")
    os.chown(path, 1234, 1234)
    set_value(at(path), "smtp.port", 25)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234)
    with pytest.raises(PermissionDeniedError):
        load(at(path))


def test_a_directory_that_may_not_be_written_is_told_with_a_way_out(path: Path) -> None:
    put(path, "[smtp]\n")
    path.parent.chmod(0o500)
    location, me = at(path), os.geteuid()
    try:
        # Root may write everywhere.
        os.seteuid(me or 65534)
        with pytest.raises(PermissionDeniedError) as caught:
            set_value(location, "smtp.port", 25)
    finally:
        os.seteuid(me)
        path.parent.chmod(0o700)
    assert str(path) in caught.value.why
    assert "--config" in caught.value.remedy


def test_line_ends_stay_those_of_windows(path: Path) -> None:
    put(path, "[smtp]\r\nhost = 'a'\r\n\r\n[spool]\r\n")
    set_value(at(path), "smtp.port", 25)
    set_value(at(path), "dns.domains", ["a.example"])
    assert path.read_bytes().startswith(b"[smtp]\r\nhost = 'a'\r\nport = 25\r\n\r\n[spool]\r\n\r\n[dns]\r\n")
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")


def test_the_same_value_again_leaves_the_file_alone(path: Path) -> None:
    put(path, "[smtp]\nport = 25\n")
    before = path.stat()
    assert not set_value(at(path), "smtp.port", 25).changed
    assert not unset_value(at(path), "smtp.host").changed
    assert path.stat().st_ino == before.st_ino


def test_errors_elsewhere_do_not_hinder_and_are_told(path: Path) -> None:
    put(path, '[smtp]\nport = 0\nhost = "a"\n[nonsense]\n')
    change = set_value(at(path), "smtp.timeout", "5s")
    assert [problem.key for problem in change.found.problems] == ["smtp.port", "nonsense"]
    assert unset_value(at(path), "smtp.port").changed
    assert set_value(at(path), "smtp.port", 25).changed


@pytest.mark.parametrize(
    ("key", "written"), [("smtp.port", 0), ("smtp.port", "25"), ("addresses.sender", "a"), ("retry.first_delay", "9h")]
)
def test_a_change_that_is_not_valid_is_refused(path: Path, key: str, written: str | int) -> None:
    put(path, "[smtp]\n")
    with pytest.raises(UsageError) as caught:
        set_value(at(path), key, written)
    assert key in caught.value.what
    assert path.read_text() == "[smtp]\n"


def test_a_file_that_is_not_toml_is_not_touched(path: Path) -> None:
    put(path, "[smtp\n")
    with pytest.raises(ConfigError) as caught:
        set_value(at(path), "smtp.port", 25)
    assert caught.value.what.startswith(f"{path}:1:6: ")
    assert path.read_text() == "[smtp\n"


@pytest.mark.parametrize("text", ["smtp = 1\n", "[[smtp]]\n"])
def test_a_table_that_is_none_is_left_to_the_user(path: Path, text: str) -> None:
    put(path, text)
    with pytest.raises(ConfigError, match="key by key") as caught:
        set_value(at(path), "smtp.port", 25)
    assert "config edit" in caught.value.remedy
    with pytest.raises(ConfigError, match="key by key"):
        unset_value(at(path), "smtp.port")
    assert path.read_text() == text


def test_what_an_editor_of_toml_gets_wrong_does_not_reach_the_file(path: Path) -> None:
    text = '[smtp]\nhost.x = 2\nport = [\n 1, # c\n]\nsmtp."a b".c = 1'
    put(path, text)
    with pytest.raises(ConfigError, match="key by key"):
        _with_key(text, "smtp", "host", "v")


def test_a_secret_is_never_written(path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        set_value(at(path), "smtp.password", "hunter2")
    assert "hunter2" not in str(caught.value.what)
    assert not path.exists()


def test_a_secret_that_someone_wrote_can_be_taken_out(path: Path) -> None:
    put(path, '[smtp]\nport = 25\npassword = "hunter2"\n')
    assert unset_value(at(path), "smtp.password").found.problems == ()
    assert path.read_text() == "[smtp]\nport = 25\n"


def test_a_whole_text_is_checked_before_it_replaces_the_file(path: Path) -> None:
    put(path, "[smtp]\n")
    with pytest.raises(ConfigError) as caught:
        replace_text(at(path), b"[smtp]\nport = 0\nhots = 'a'\n", b"[smtp]\n")
    assert len(caught.value.problems) == 2
    assert path.read_text() == "[smtp]\n"
    replace_text(at(path), b"# new\n", b"[smtp]\n")
    assert path.read_text() == "# new\n"


def test_a_text_does_not_replace_what_another_command_wrote_meanwhile(path: Path) -> None:
    put(path, "[smtp]\nport = 25\n")
    with pytest.raises(TemporaryError):
        replace_text(at(path), b"# new\n", b"[smtp]\n")
    assert path.read_text() == "[smtp]\nport = 25\n"


def test_what_a_killed_change_left_is_removed_by_the_next(path: Path) -> None:
    put(path, '[smtp]\nhost = "a.example"\n')
    link = path.parent / "link.toml"
    link.symlink_to(path)
    others = [path.parent / name for name in ("config.toml.tmp", "other.toml.4711.0badcafe.tmp")]
    for other in others:
        other.write_text("somebody's own")

    def change(_say: object) -> None:
        set_value(at(path), "smtp.host", "b.example")

    step, died = 0, True
    while died:
        step += 1
        died, _ = dies_at(step, change)
        set_value(at(link), "smtp.host", "a.example")
        set_value(at(link), "smtp.port", 1000 + step)
        assert set(path.parent.iterdir()) - {link} == {path, *others, Path(f"{path}.lock")}
    assert step > 5


def test_no_change_makes_a_file_that_is_too_large_to_be_read(path: Path) -> None:
    put(path, COMMENTED)
    with pytest.raises(UsageError, match="larger than"):
        set_value(at(path), "smtp.username", "x" * (1 << 20))
    with pytest.raises(ConfigError, match="larger than"):
        replace_text(at(path), b"#" * ((1 << 20) + 1), COMMENTED.encode())
    assert path.read_text() == COMMENTED
    replace_text(at(path), b"#" * (1 << 20), COMMENTED.encode())
    load(at(path))


def test_what_is_no_file_gets_no_lock_beside_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="not a regular file"):
        set_value(at(tmp_path / "fifo"), "smtp.port", 25)
    assert os.listdir(tmp_path) == ["fifo"]
