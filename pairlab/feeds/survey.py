"""What REST tells a feed besides trades: symbols, price steps, the exchange's clock."""

from __future__ import annotations

import asyncio
from typing import Final

from pairlab.errors import FeedError
from pairlab.feeds.delivery import Journal
from pairlab.feeds.limits import Retry, Timeouts
from pairlab.feeds.rest import ClockOffset, RestClient
from pairlab.ticks import Pair

__all__ = ["Survey"]

_NS_PER_MS: Final = 1e6
_QUIET_MARGIN_MS: Final = 1000.0


class Survey:
    """Checks the symbols once, and looks at the clock again and again.

    Parameters
    ----------
    pair : Pair
        The symbols.
    rest : RestClient
        What is asked.
    journal : Journal
        Told when REST does not answer; the stream goes on without.
    timeouts : Timeouts
        How often the clock is looked at.
    retry : Retry
        When to ask again, and which errors are final.

    Attributes
    ----------
    decimals : tuple of (int, int) or None
        Of y's and x's tick sizes; None while unknown.
    clock : ClockOffset or None
        None while unknown.
    """

    def __init__(
        self, pair: Pair, rest: RestClient, journal: Journal, timeouts: Timeouts, retry: Retry
    ) -> None:
        self.decimals: tuple[int, int] | None = None
        self.clock: ClockOffset | None = None
        self._pair = pair
        self._rest = rest
        self._journal = journal
        self._timeouts = timeouts
        self._retry = retry
        self._checked = False
        self._done = False
        self._again = asyncio.Event()

    def again(self) -> None:
        """Look at the clock soon: a connection is new, and laptops sleep meanwhile."""
        self._again.set()

    async def look(self) -> None:
        """Check the symbols, unless that is done, and read the clock.

        Raises
        ------
        FeedError
            One that is final, such as `UnknownSymbolError`.
        """
        self._done = False
        try:
            if not self._checked:
                info = await self._rest.exchange_info()
                info.check(self._pair)
                y, x = (info.decimals(symbol) for symbol in self._pair)
                self.decimals = None if y is None or x is None else (y, x)
                self._checked = True
            self.clock = await self._rest.clock_offset()
            self._done = True
        except FeedError as error:
            if self._retry.is_final(error):
                raise
            self._journal.say("warning", f"{error} The stream goes on without.", kind="survey")

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

    async def is_quiet(self, leg: int, since_ns: int) -> bool:
        """Return whether REST knows of no trade of a leg since a moment of this machine's clock."""
        if self.clock is None:
            return False
        try:
            newest = await self._rest.agg_trades(self._pair[leg], limit=1)
        except FeedError:
            return False  # the other route will tell
        since_ms = (since_ns - self.clock.offset_ns) / _NS_PER_MS
        return not newest or newest[-1].T - since_ms < _QUIET_MARGIN_MS
