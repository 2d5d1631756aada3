"""Fetches the bars that a lab has not seen: from before its first tick, and of gaps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pairlab.data.journal import Seeds
from pairlab.feeds.base import Feed
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES
from pairlab.lab.pipeline import Pipeline
from pairlab.schema import LogLevel

__all__ = ["KlineLoader"]

_LEAST_BARS: Final = 1_100  # a Kalman hedge is learnt from up to a thousand
_PAUSE_S: Final = 1.0  # between two requests, where bars make rows
_PAUSE_OTHER_TIMEFRAME_S: Final = 60.0
_FIRST_RETRY_S: Final = 5.0
_LAST_RETRY_S: Final = 300.0


class KlineLoader:
    """Loads klines into a pipeline when a feed begins, and again whenever bars are missing.

    Parameters
    ----------
    pipeline : Pipeline
        Where they go.
    log : callable
        Called with a level and a message.

    Attributes
    ----------
    retry_s : float
        Pause after a first failure; it doubles with each further one.
    """

    def __init__(self, pipeline: Pipeline, log: Callable[[LogLevel, str], None]) -> None:
        self._pipeline = pipeline
        self._log = log
        self.retry_s = _FIRST_RETRY_S
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()
        pipeline.candles_wanted = self.request

    def request(self) -> None:
        """Load again soon: bars are missing."""
        self._wanted.set()

    async def tried(self) -> None:
        """Wait until the first attempt of the run has ended, well or not."""
        await self._tried.wait()

    async def run(self, feed: Feed) -> None:
        """Load from a feed until cancelled; what fails is tried again."""
        failures = 0
        while True:
            self._wanted.clear()
            error = await self._load(feed)
            self._tried.set()
            if error is None:
                failures = 0
                own = self._pipeline.settings.timeframe in KLINE_TIMEFRAMES
                await asyncio.sleep(_PAUSE_S if own else _PAUSE_OTHER_TIMEFRAME_S)
                await self._wanted.wait()
            else:
                retry_s = min(self.retry_s * 2.0**failures, _LAST_RETRY_S)
                failures += 1
                self._log(
                    "warning",
                    f"could not load historical klines: {error} Bar timeframes fill from live "
                    f"ticks; next try in {retry_s:g} s",
                )
                await asyncio.sleep(retry_s)

    async def _load(self, feed: Feed) -> Exception | None:
        """Load every timeframe, the one in use first: any may be asked for later."""
        settings = self._pipeline.settings
        count = max(_LEAST_BARS, settings.window)
        try:
            for timeframe in sorted(KLINE_TIMEFRAMES, key=lambda name: name != settings.timeframe):
                closes = await feed.seed_closes(timeframe, count)
                if closes is not None:
                    self._pipeline.add_klines(timeframe, Seeds(*closes))
        except Exception as error:  # of any kind, from a feed of the user's: ticks come anyway
            return error
        return None
