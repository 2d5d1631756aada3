"""Closes of bars that a board has not seen: each symbol is asked for once, however many pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.board.pair_pipeline import PairPipeline
from pairlab.board.symbol_tasks import SymbolTasks
from pairlab.data.journal import Seeds
from pairlab.errors import PairlabError
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES
from pairlab.schema import LogLevel, Pair

__all__ = ["BoardKlines", "SymbolCloses"]

SymbolCloses = tuple[NDArray[np.int64], NDArray[np.float64]]

_LEAST_BARS: Final = 1_100  # as a lab loads
_FRESH_S: Final = 1.0  # what was fetched so recently is not asked for again
_AT_ONCE: Final = 4


class BoardKlines:
    """Loads closes for pairs at bar timeframes: at the start, and after each gap.

    Parameters
    ----------
    tasks : SymbolTasks
        Whose feeds are asked.
    log : callable
        Takes a level and a message.
    """

    def __init__(self, tasks: SymbolTasks, log: Callable[[LogLevel, str], None]) -> None:
        self._tasks = tasks
        self._log = log
        self._known: dict[tuple[str, str], tuple[float, asyncio.Task[SymbolCloses | None]]] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def load(self, pair: Pair, pipeline: PairPipeline) -> None:
        """Load a pair's closes at its timeframe; what fails is told, and ticks fill the bars."""
        timeframe = pipeline.settings.timeframe
        if timeframe not in KLINE_TIMEFRAMES:
            return
        count = max(_LEAST_BARS, pipeline.settings.window)
        try:
            legs = [await self.closes(symbol, timeframe, count) for symbol in pair]
            y, x = legs
            if y is None or x is None:
                return
            times, in_y, in_x = np.intersect1d(y[0], x[0], return_indices=True)
            pipeline.add_klines(timeframe, Seeds(times, y[1][in_y], x[1][in_x]))
        except PairlabError as error:
            self._log(
                "warning",
                f"{pair.y} / {pair.x}: could not load historical klines: {error} Its bars fill "
                "from live ticks",
            )

    async def closes(self, symbol: str, timeframe: str, count: int) -> SymbolCloses | None:
        """Return the closes of a symbol's last bars; None without klines.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        now_s = asyncio.get_running_loop().time()
        known = self._known.get((symbol, timeframe))
        if known is None or (known[1].done() and now_s - known[0] > _FRESH_S):
            task = asyncio.create_task(
                self._fetch(symbol, timeframe, count), name=f"pairlab klines {symbol}"
            )
            known = self._known[(symbol, timeframe)] = now_s, task
        return await known[1]

    async def _fetch(self, symbol: str, timeframe: str, count: int) -> SymbolCloses | None:
        feed = self._tasks.feed(symbol)
        if feed is None:
            return None
        async with self._limit:
            return await feed.seed_closes(timeframe, count)

    async def close(self) -> None:
        """End what is being asked."""
        tasks = [task for _, task in self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._known.clear()
