"""A resolver that counts round trips without a clock: what is asked while others wait is answered together with them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from tests.support.zones import Zone
from ucrmmail.dns.answer import Answer

T = TypeVar("T")
# More turns of the event loop than lie between one answer and the questions that follow from it.
_TURNS = 200


class Rounds:
    """Answers from a zone; a question asked twice costs once, as with the real resolver."""

    def __init__(self, zone: Zone) -> None:
        self.count = 0
        self._zone = zone
        self._asked: dict[tuple[str, str], asyncio.Future[Answer]] = {}
        self._waiting: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        key = (name.lower().rstrip("."), rdtype)
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
            self._waiting.append(key)
        return await asyncio.shield(self._asked[key])

    async def run(self, work: Coroutine[object, object, T]) -> T:
        """Return the result of ``work``; ``count`` is then the round trips that it took."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            waiting, self._waiting = self._waiting, []
            self.count += bool(waiting)
            for name, rdtype in waiting:
                self._asked[name, rdtype].set_result(await self._zone.query(name, rdtype))
        return task.result()
