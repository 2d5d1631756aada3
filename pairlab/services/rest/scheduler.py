"""Room for ticks between requests: asyncio itself serves whoever is ready, however many."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["RenderLock", "RequestScheduler"]

_AT_ONCE: Final = 4
"""Requests served between two looks at the sockets that ticks come on: about a millisecond."""


class RequestScheduler:
    """Lets a few requests pass each time that the loop comes round; the others queue in order.

    Without it, fifty clients that ask at once are all served before the next tick is: a tick
    needs the loop to come round two or three times on its way from the socket to its row.
    """

    def __init__(self) -> None:
        self._left = _AT_ONCE
        self._queue: deque[asyncio.Future[None]] = deque()
        self._coming = False

    async def pass_on(self) -> None:
        """Wait for this request's place, if there is a queue."""
        loop = asyncio.get_running_loop()
        if not self._coming:
            self._coming = True
            loop.call_soon(self._come_round, loop)
        if self._left > 0:
            self._left -= 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._queue.append(place)
        await place

    def _come_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = _AT_ONCE
        while self._queue and self._left:
            place = self._queue.popleft()
            if not place.done():  # its client may have left
                place.set_result(None)
                self._left -= 1
        self._coming = self._left < _AT_ONCE
        if self._coming:
            loop.call_soon(self._come_round, loop)


class RenderLock(asyncio.Lock):
    """Lets one large answer at a time render a piece, and ticks in between."""

    async def take(self) -> None:
        """Wait for this answer's turn."""
        async with self:
            await asyncio.sleep(0)
