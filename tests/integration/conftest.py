"""What the integration tests share: a program with a home of its own, and a real SMTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.sink import Sink, SinkController


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Program:
    program = Program(tmp_path / "home")
    if request.node.get_closest_marker("watched"):
        program.watched()
    return program


@pytest.fixture
def sink() -> Iterator[Sink]:
    with SinkController(Sink()) as controller:
        yield controller.sink
