"""A server for each campaign."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sink import Sink, SinkController


@pytest.fixture
def sink() -> Iterator[Sink]:
    with SinkController(Sink()) as controller:
        yield controller.sink
