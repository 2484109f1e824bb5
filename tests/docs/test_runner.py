"""The runner of the documentation sees what it is there to see: a page that says something else than what comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Command, File, read_page
from tests.docs.not_run import NOT_RUN
from tests.docs.output import comparable, matches, plain
from tests.support.command_lines import mistake_in, names_the_program

PAGE = """\
<!-- test: account -->
# Title

<!-- test: types secret | yes -->
<!-- test: exits 77 -->
```console
$ printf 'a
> b' | wc
shown
# also shown
```

<!-- test: file notes.txt -->
```text
inside
```

```sh
one --with \\
  two
# a remark
three
```

```toml
not = "run"
```
"""


def page(directory: Path, text: str) -> Path:
    path = directory / "page.md"
    path.write_text(text)
    return path


def test_a_page_is_read_as_it_is_meant(tmp_path: Path) -> None:
    read = read_page(page(tmp_path, PAGE))
    assert read.needs == ["account"]
    first, file, second, third = read.steps
    assert isinstance(first, Command)
    assert first.text == "printf 'a\nb' | wc"
    assert first.shows == ["shown", "# also shown"]
    assert (first.exit_code, first.types, first.root) == (77, ("secret", "yes"), False)
    assert file == File(15, "notes.txt", "inside\n")
    assert isinstance(second, Command)
    assert second.text == "one --with \\\n  two"
    assert isinstance(third, Command)
    assert (third.text, third.shows) == ("three", None)


def test_a_block_that_begins_with_the_sign_of_root_is_typed_by_root(tmp_path: Path) -> None:
    commands = read_page(page(tmp_path, "```console\n# id -u\n0\n```\n")).commands
    assert [(command.text, command.root) for command in commands] == [("id -u", True)]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- test: exits 1 -->\nwords between\n\n```console\n$ true\n```\n",
        "<!-- test: exits 1 -->\n```toml\na = 1\n```\n",
        "```console\nno command\n```\n",
        "```sh\n# nothing but a remark\n```\n",
    ],
)
def test_a_page_that_would_run_otherwise_than_it_reads_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md|output before"):
        read_page(page(tmp_path, text))


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        (["ok     auth   12 ms  as relay"], ["ok     auth    0 ms  as relay"]),
        (["1-20261123T110559.123456-k3x9qa"], ["2-20301224T000000.000000-aaaaaa"]),
        (["at 2026-11-23T11:05:59.123Z"], ["at 2031-01-01T00:00:00Z"]),
        (["first", "...", "last"], ["first", "second", "third", "last"]),
        (["first", "..."], ["first"]),
        (["a long line that ..."], ["a long line that goes on"]),
        (["", "same"], ["same", ""]),
    ],
)
def test_times_ids_and_dots_stand_for_any(shown: list[str], came: list[str]) -> None:
    assert matches(shown, came)


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        (["ok     auth"], ["FAILED auth"]),
        (["first"], ["first", "second"]),
        (["first", "second"], ["first"]),
        (["...", "last"], ["last", "not last"]),
        (["535 5.7.8 refused"], ["535 5.7.9 refused"]),
        (["waiting: 1"], ["waiting: 2"]),
        (["30 messages in 1m"], ["40 messages in 1m"]),
        (["joe@example.com"], ["ann@example.com"]),
    ],
)
def test_anything_else_is_a_difference(shown: list[str], came: list[str]) -> None:
    assert not matches(shown, came)


def test_what_a_bar_wrote_over_is_gone() -> None:
    seen = "first\r\n\x1b[?25lsending 1/2\r\x1b[2Ksending 2/2\r\n\x1b[?25h\r\x1b[1A\x1b[2Kdone\r\n"
    assert plain(seen) == ["first", "done"]
    assert comparable("a\t b") == "a b"
    assert comparable("Date: Tue, 24 Nov 2026 08:00:00 +0000") == comparable("Date: Fri, 1 Jan 2027 23:59:59 -0130")
    assert comparable("2 root 40 Nov 24 00:40 drop") == comparable("2 root 40 Jan  1  2027 drop")


@pytest.mark.parametrize(
    "line",
    [
        "ucrmmail flush --no-such-option",
        "ucrmmail flsh",
        "ucrmmail config set smtp.hots x",
        "true && ucrmmail queue show",
        "cat x | /opt/bin/ucrmmail frobnicate",
        "ucrmmail status; ucrmmail statos",
    ],
)
def test_a_line_that_cannot_be_typed_is_seen(line: str) -> None:
    assert names_the_program(line)
    assert mistake_in(line) != ""


def test_every_reason_for_not_running_a_command_is_a_sentence() -> None:
    assert all(len(reason.split()) >= 3 for reason in NOT_RUN.values())
