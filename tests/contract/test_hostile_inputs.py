"""How many hostile inputs there are, by kind: a table that shrinks is noticed (R27)."""

from __future__ import annotations

import pytest

from tests.integration.test_smtp_faults import MATRIX
from tests.integration.test_smtp_smuggling import AROUND_A_DOT, PATTERNS
from tests.support.injections import INJECTIONS
from tests.support.mistakes import mistakes
from tests.unit.message.test_address import INVALID
from tests.unit.spool.test_intake import ODD_NAMES
from tests.unit.spool.test_layout import NO_IDS
from tests.unit.spool.test_queue import KINDS

# Each line of INJECTIONS goes through the writers of a field, of a display name and of an encoded word; each fault of
# MATRIX is met pipelined and one by one.
COUNTS = {
    "addresses": (len(set(INVALID)), 200),
    "headers": (len(set(INJECTIONS)) * 3, 80),
    "bodies": (len(set(PATTERNS.values()) | set(AROUND_A_DOT)), 40),
    "DNS records": (len(mistakes()), 80),
    "replies": (len(MATRIX) * 2, 367),
    "file names and kinds of files": (len(NO_IDS) + len(ODD_NAMES) + len(KINDS), 40),
}


@pytest.mark.requirement("R27")
@pytest.mark.parametrize("kind", COUNTS)
def test_there_are_as_many_hostile_inputs_of_this_kind_as_promised(kind: str) -> None:
    found, promised = COUNTS[kind]
    assert found >= promised


@pytest.mark.requirement("R27")
def test_there_are_more_than_five_hundred_hostile_inputs() -> None:
    assert sum(found for found, _ in COUNTS.values()) >= 500
