"""Coroutines that wait for rows."""

from __future__ import annotations

import asyncio
import numbers
from collections.abc import Callable

from pairlab.errors import SettingError

__all__ = ["RowWaiters", "check_wait"]


def check_wait(rows: object, timeout_s: object) -> None:
    """Refuse what cannot be waited for, before any loop hears of it.

    Raises
    ------
    SettingError
        For `rows` that are no whole number, or a `timeout_s` that is no number of seconds.
    """
    if not isinstance(rows, numbers.Integral) or isinstance(rows, bool):
        raise SettingError("rows", rows, "expected a whole number of rows")
    known = isinstance(timeout_s, numbers.Real) and not isinstance(timeout_s, bool)
    if not known or not timeout_s >= 0:  # type: ignore[operator]  # NaN, too
        raise SettingError("timeout_s", timeout_s, "expected a number of seconds, 0 or more")


class RowWaiters:
    """Futures that end when so many rows have been made.

    Parameters
    ----------
    row_count : callable
        Returns how many there are.
    """

    def __init__(self, row_count: Callable[[], int]) -> None:
        self._row_count = row_count
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, rows: int, timeout_s: float) -> None:
        """Return once `wake` was called with that many; raise TimeoutError, or what `fail` gave."""
        # Who asks from another loop has seen a count that may be old by now: a batch that came
        # meanwhile has woken those who waited then.
        if self._row_count() >= rows:
            return
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
