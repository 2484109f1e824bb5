"""What the integration tests share: a program with a home of its own, and a real SMTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.sink import Sink, SinkController


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "home")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with SinkController(Sink()) as controller:
        yield controller.sink
