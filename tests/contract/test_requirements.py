"""The least releases of what we depend on: below them are faults that a stranger can reach."""

from __future__ import annotations

from importlib.metadata import requires

import pytest


@pytest.mark.requirement("S11")
@pytest.mark.parametrize(
    ("name", "least"),
    [
        # CVE-2023-29483: an answer of somebody else ended the question; 2.6.0 mended it with a regression.
        ("dnspython", (2, 6, 1)),
        # CVE-2024-3651: a name that took quadratic time.
        ("idna", (3, 7)),
    ],
)
def test_no_release_with_a_known_fault_is_accepted(name: str, least: tuple[int, ...]) -> None:
    (wanted,) = [line for line in requires("ucrmmail") or () if line.startswith(name) and "extra ==" not in line]
    _, _, version = wanted.partition(">=")
    assert tuple(int(part) for part in version.split(",")[0].strip(" )").split(".")) >= least
