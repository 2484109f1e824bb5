"""What the measures of the tests look at: the figures themselves are those of `make unit` and `make mutation` (R31)."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.support.manual import ROOT

# The rooms whose tests are to notice whatever is changed in them, and what `make mutation` leaves out of them so far.
ROOMS = ("limits", "spool", "smtp")
NOT_MUTATED = {
    "accept", "closer", "handover", "host", "intake", "listing", "mounts", "order", "quiet", "reserve", "scratch",
    "aftermath", "asking", "auth", "certificate", "connect", "content", "exchange", "instep", "intercept", "look", "opening", "probe", "rehearse", "session", "sevenbit", "smarthost", "stages", "submit", "tls",
    "token_refusals", "transaction", "transcript",
}  # fmt: skip


@pytest.fixture
def tools() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


@pytest.mark.requirement("R31")
def test_branches_are_covered_in_every_room_and_in_what_the_program_starts(tools: Any) -> None:
    run = tools["coverage"]["run"]
    assert run["branch"]
    assert run["source"] == ["ucrmmail.spool", "ucrmmail.smtp", "ucrmmail.limits", "ucrmmail.journal"]
    assert "subprocess" in run["patch"]
    assert "omit" not in run
    assert "omit" not in tools["coverage"]["report"]


@pytest.mark.requirement("R31")
def test_a_module_of_the_queue_of_the_limits_or_of_smtp_is_mutated_or_known_not_to_be(tools: Any) -> None:
    patterns = tools["mutmut"]["only_mutate"]
    modules = [path for room in ROOMS for path in sorted((ROOT / "ucrmmail" / room).glob("[!_]*.py"))]
    mutated = {path for path in modules if any(fnmatch(str(path.relative_to(ROOT)), each) for each in patterns)}
    assert {path.stem for path in modules if path not in mutated} == NOT_MUTATED
    assert all(list(ROOT.glob(each)) for each in patterns), "a pattern that fits nothing measures nothing"
