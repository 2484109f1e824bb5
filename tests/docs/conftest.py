"""The world of the documentation, once for a process of the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.world import World, world


@pytest.fixture(scope="session")
def running() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="ucrmmail-docs-") as directory, world(Path(directory)) as made:
        yield made
