"""Domains with the mistakes that administrators make, each told by its code, through the command line."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from tests.support.mistakes import Mistake, mistakes, published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.program import Program

MISTAKES = mistakes()


def _group(one: Mistake) -> tuple[str, str]:
    return one.check, one.address


GROUPS = [(key, list(domains)) for key, domains in groupby(sorted(MISTAKES, key=_group), key=_group)]


async def _told(program: Program, check: str, address: str, domains: list[Mistake]) -> dict[str, dict[str, str]]:
    """Return what is said of each domain: severities by code."""
    program.configure(25, dns=f'sending_addresses = ["{address}"]' if address else "")
    (program.home / "domains").write_text("".join(f"{one.domain}\n" for one in domains))
    async with published(domains) as server:
        arguments = ["--file", "domains", "--only", check, "--json", "--nameserver", str(server)]
        if check == "dkim":
            arguments += ["--selector", "s1"]
        run = await asyncio.to_thread(program.run, "check-dns", *arguments, code=None)
    assert run.code in (0, 1, 75), run.stderr
    told: dict[str, dict[str, str]] = {}
    for report in run.json["domains"]:
        told[report["domain"]] = {one["code"]: one["severity"] for one in report["findings"]}
    return told


def _as_expected(told: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Say whether all that must be told is, and no failure, warning or error besides."""
    serious = {code for code, severity in told.items() if severity in ("fail", "warn", "error")}
    return serious <= set(found) and all(told.get(code) == severity for code, severity in found.items())


@pytest.mark.parametrize(("key", "domains"), GROUPS, ids=[" ".join(filter(None, key)) for key, _ in GROUPS])
def test_a_mistake_is_told_by_its_code_and_nothing_else_is(
    program: Program, key: tuple[str, str], domains: list[Mistake]
) -> None:
    told = asyncio.run(_told(program, *key, domains))
    wrong = {one.name: told[one.domain] for one in domains if not _as_expected(told[one.domain], one.found)}
    assert wrong == {}


def test_a_hundred_mistakes_are_known_and_every_one_is_told_of() -> None:
    assert len(MISTAKES) >= 100
    assert all(one.found for one in MISTAKES)
