"""Coroutines that wait for rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["RowWaiters"]


class RowWaiters:
    """Futures that end when so many rows have been made."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, rows: int, timeout_s: float) -> None:
        """Return once `wake` was called with that many; raise TimeoutError, or what `fail` gave."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (rows, waiter)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def wake(self, row_count: int) -> None:
        """End the waiting of all who want no more rows than there are."""
        for entry in [entry for entry in self._waiting if row_count >= entry[0]]:
            self._waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """End all waiting with an error."""
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(make_error())
        self._waiting.clear()
