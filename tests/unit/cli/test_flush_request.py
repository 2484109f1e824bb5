"""The usual forms of ``ucrmmail flush`` are read without Typer, and mean what Typer would read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import exceptions
from typer.main import get_command

from ucrmmail.cli.flush_request import FlushRequest, read_request, read_time_limit
from ucrmmail.cli.main import command_tree
from ucrmmail.errors import UsageError

FORMS = [
    ["flush"],
    ["flush", "--time-limit", "50s"],
    ["flush", "--time-limit=50s", "--no-wait"],
    ["--config", "/etc/a.toml", "flush", "--message-limit", "3"],
    ["--config=/etc/a.toml", "flush", "--message-limit=0", "--json"],
    ["flush", "-v"],
    ["flush", "--no-wait", "--wait", "--verbose"],
]
WORDS = st.sampled_from(
    ["flush", "--config", "--config=b", "--time-limit", "--time-limit=5s", "--message-limit", "--message-limit=-1",
     "--wait", "--no-wait", "--wait=1", "-v", "-vv", "--verbose", "--json", "--dry-run", "--help", "-h", "--", "-",
     "50s", "0s", "7", "07", "1_0", "٣", " 7", "x", "", "status", "--no-such"]
)  # fmt: skip


def by_typer(arguments: list[str]) -> dict[str, object] | None:
    """Return what Typer reads from these arguments; None for a usage error, for help, and for another command."""
    group = get_command(command_tree())
    try:
        with group.make_context("ucrmmail", list(arguments), resilient_parsing=False) as top:
            rest = [*top._protected_args, *top.args]
            if not rest or rest[0] != "flush":
                return None
            with group.commands["flush"].make_context("flush", rest[1:], parent=top) as context:  # type: ignore[attr-defined]
                found = dict(context.params)
        if found.pop("dry_run"):
            return None
        found["time_limit_s"] = read_time_limit(found.pop("time_limit"))
    except (exceptions.TyperException, UsageError, SystemExit, exceptions.Exit):
        return None
    return found | {"config_option": top.params["config"]}


def fields_of(request: FlushRequest) -> dict[str, object]:
    return {name: getattr(request, name) for name in FlushRequest.__slots__}


def test_an_empty_time_limit_is_a_mistake() -> None:
    assert read_request(["flush", "--time-limit", ""]) is None
    assert by_typer(["flush", "--time-limit", ""]) is None


@pytest.mark.parametrize("arguments", FORMS, ids=" ".join)
def test_the_usual_forms_do_not_need_typer(arguments: list[str]) -> None:
    request = read_request(arguments)
    assert request is not None
    assert fields_of(request) == by_typer(arguments)


@given(st.lists(WORDS, max_size=6))
def test_what_is_read_is_what_typer_reads(words: list[str]) -> None:
    request = read_request(words)
    if request is not None:
        assert fields_of(request) == by_typer(words)


@given(st.lists(WORDS, max_size=4))
def test_a_flush_that_begins_plainly_is_what_typer_reads(words: list[str]) -> None:
    request = read_request(["flush", *words])
    if request is not None:
        assert fields_of(request) == by_typer(["flush", *words])


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["flush", "--help"], ["flush", "--dry-run"], ["flush", "--time-limit", "soon"], ["flush", "--time-limit"],
        ["flush", "--time-limit", "0s"], ["flush", "--message-limit", "-1"], ["flush", "x"], ["status"],
        ["--version", "flush"], ["--config"], ["--config", "flush"], ["queue", "list", "flush"],
        ["--config", "", "flush"], ["--config=", "flush"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_everything_else_is_left_to_typer(arguments: list[str]) -> None:
    assert read_request(arguments) is None
