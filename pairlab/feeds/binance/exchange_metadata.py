"""What REST tells a feed besides trades: symbols, price steps, the exchange's clock."""

from __future__ import annotations

import asyncio
from typing import Final

from pairlab.errors import FeedError
from pairlab.feeds.binance.rest_client import ClockOffset, ExchangeInfo, RestClient
from pairlab.feeds.config import Retry, Timeouts
from pairlab.feeds.log import Announcer

__all__ = ["ExchangeMetadata"]

_NS_PER_MS: Final = 1e6
_QUIET_MARGIN_MS: Final = 1000.0


class ExchangeMetadata:
    """Reads the listed symbols once, and looks at the clock again and again.

    Parameters
    ----------
    rest : RestClient
        What is asked.
    journal : Announcer
        Told when REST does not answer; the stream goes on without.
    timeouts : Timeouts
        How often the clock is looked at.
    retry : Retry
        When to ask again, and which errors are final.

    Attributes
    ----------
    info : ExchangeInfo or None
        The listed symbols; None while unknown.
    informed : asyncio.Event
        Set once they are known.
    clock : ClockOffset or None
        None while unknown.
    """

    def __init__(
        self, rest: RestClient, journal: Announcer, timeouts: Timeouts, retry: Retry
    ) -> None:
        self.info: ExchangeInfo | None = None
        self.informed = asyncio.Event()
        self.clock: ClockOffset | None = None
        self._rest = rest
        self._journal = journal
        self._timeouts = timeouts
        self._retry = retry
        self._done = False
        self._again = asyncio.Event()

    def again(self) -> None:
        """Look at the clock soon: a connection is new, and laptops sleep meanwhile."""
        self._again.set()

    async def look(self) -> None:
        """Read the listed symbols, unless that is done, and the clock.

        Raises
        ------
        FeedError
            One that is final, such as `GeoBlockedError`.
        """
        self._done = False
        try:
            if self.info is None:
                self.info = await self._rest.exchange_info()
                self.informed.set()
            self.clock = await self._rest.clock_offset()
            self._done = True
        except FeedError as error:
            if self._retry.is_final(error):
                raise
            self._journal.say("warning", f"{error} The stream goes on without.", kind="survey")

    async def check(self, symbols: tuple[str, ...]) -> ExchangeInfo:
        """Wait until the listed symbols are known, and return them if these are among them.

        Raises
        ------
        UnknownSymbolError
            For the first that is not.
        FeedError
            If it is not, and REST does not say whether it is new.
        """
        await self.informed.wait()
        info = self.info
        if info is None or not info.lists(symbols):
            # It may have been listed since.
            info = self.info = await self._rest.exchange_info()
            info.check(symbols)
        return info

    async def run(self) -> None:
        """Look again when it is time, until cancelled."""
        delays = self._retry.delays()
        while True:
            if self._done:
                delays = self._retry.delays()
                wait_s = self._timeouts.clock_refresh_s
            else:
                wait_s = next(delays, self._timeouts.clock_refresh_s)
            try:
                async with asyncio.timeout(wait_s):
                    await self._again.wait()
            except TimeoutError:
                pass
            self._again.clear()
            await self.look()

    async def is_quiet(self, symbol: str, since_ns: int) -> bool:
        """Return whether REST knows of no trade since a moment of this machine's clock."""
        if self.clock is None:
            return False
        try:
            newest = await self._rest.agg_trades(symbol, limit=1, can_wait=True)
        except FeedError:
            return False  # the other route will tell
        since_ms = (since_ns - self.clock.offset_ns) / _NS_PER_MS
        return not newest or newest[-1].T - since_ms < _QUIET_MARGIN_MS
