"""Limits how much REST work the event loop does between two ticks."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["RenderLock", "RequestScheduler"]

_REQUESTS_PER_ITERATION: Final = 4
"""Requests admitted per iteration of the event loop: about a millisecond of work."""


class RequestScheduler:
    """Admits a few requests per iteration of the event loop; the others wait in order.

    Without it, asyncio would serve fifty simultaneous requests before the next tick: a tick needs
    two or three iterations of the loop on its way from the socket to its row.
    """

    def __init__(self) -> None:
        self._remaining = _REQUESTS_PER_ITERATION
        self._queue: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def admit(self) -> None:
        """Wait until this request may be served."""
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next_iteration, loop)
        if self._remaining > 0:
            self._remaining -= 1
            return
        admitted: asyncio.Future[None] = loop.create_future()
        self._queue.append(admitted)
        await admitted

    def _next_iteration(self, loop: asyncio.AbstractEventLoop) -> None:
        self._remaining = _REQUESTS_PER_ITERATION
        while self._queue and self._remaining:
            admitted = self._queue.popleft()
            if not admitted.done():  # its client may have disconnected
                admitted.set_result(None)
                self._remaining -= 1
        self._scheduled = self._remaining < _REQUESTS_PER_ITERATION
        if self._scheduled:
            loop.call_soon(self._next_iteration, loop)


class RenderLock(asyncio.Lock):
    """Lets large responses render one piece at a time, with an iteration of the loop between."""

    async def wait_turn(self) -> None:
        """Wait until this response may render its next piece."""
        async with self:
            await asyncio.sleep(0)
