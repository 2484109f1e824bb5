"""What the measures of the tests look at (R31).

The figures themselves are those of `make unit`, `make mutation` and `make mutation-sample`.
"""

from __future__ import annotations

import math
import re
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.support.manual import ROOT
from tests.tools.sampled_mutants import Mutant, Score, bound

# The rooms whose tests are to notice whatever is changed in them, and what `make mutation` leaves out of them so far.
ROOMS = ("limits", "spool", "smtp")
NOT_MUTATED = {
    "accept", "closer", "handover", "host", "intake", "listing", "mounts", "order", "quiet", "reserve", "scratch",
    "aftermath", "asking", "auth", "certificate", "connect", "content", "exchange", "instep", "intercept", "look", "opening", "probe", "rehearse", "session", "sevenbit", "smarthost", "stages", "submit", "tls",
    "token_refusals", "transaction", "transcript",
}  # fmt: skip
# Only a program runs it, in a network of its own, and a sample of mutants does not reach a program.
NOT_SAMPLED = {"intercept"}


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


@pytest.mark.requirement("R31")
def test_what_is_not_mutated_of_smtp_is_sampled_or_known_not_to_be() -> None:
    found = re.search(r"^SAMPLED = ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    sampled = set(found[1].replace("\\", " ").split())
    modules = {path.stem for path in (ROOT / "ucrmmail" / "smtp").glob("[!_]*.py")}
    assert NOT_MUTATED & modules == sampled | NOT_SAMPLED


def test_a_sample_stands_for_its_module_and_one_that_is_whole_has_no_error() -> None:
    survivor = Mutant("ucrmmail/smtp/auth.py", "", "", "log_in", range(1), "")
    whole, half = Score(10, 10, [survivor] * 5), Score(90, 30, [survivor] * 3)
    assert bound([whole]) == (0.5, 0.0)
    share, error = bound([whole, half])
    assert share == pytest.approx(0.1 * 0.5 + 0.9 * 0.9)
    assert error == pytest.approx(1.96 * 0.9 * math.sqrt(0.9 * 0.1 / 30 * (1 - 30 / 90)))
