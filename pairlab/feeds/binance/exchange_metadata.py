"""Exchange metadata: symbols, tick sizes, server time offset."""

from __future__ import annotations

import asyncio
from typing import Final

from pairlab.errors import FeedError
from pairlab.feeds.binance.exchange_info import ExchangeInfo
from pairlab.feeds.binance.rest_client import ClockOffset, RestClient

__all__ = ["ExchangeMetadata"]

_NS_PER_MS: Final = 1e6
_QUIET_MARGIN_MS: Final = 1000.0


class ExchangeMetadata:
    """Reads the exchange's clock whenever it is refreshed; the listed symbols once, and on request.

    Parameters
    ----------
    rest : RestClient
        Open while it is refreshed.

    Attributes
    ----------
    info : ExchangeInfo or None
        The listed symbols; None while unknown.
    ready : asyncio.Event
        Set once they are known.
    clock_offset : ClockOffset or None
        None while unknown.
    """

    def __init__(self, rest: RestClient) -> None:
        self.info: ExchangeInfo | None = None
        self.ready = asyncio.Event()
        self.clock_offset: ClockOffset | None = None
        self._rest = rest
        self._refresh_requested = asyncio.Event()
        self._info_requested = False

    def request_refresh(self) -> None:
        """Ask for a refresh soon: a connection is new, and laptops sleep meanwhile."""
        self._refresh_requested.set()

    async def refresh_due(self, within_s: float) -> None:
        """Wait until a refresh is requested, or for so long."""
        try:
            async with asyncio.timeout(within_s):
                await self._refresh_requested.wait()
        except TimeoutError:
            pass
        self._refresh_requested.clear()

    async def refresh(self, *, status: bool = False) -> None:
        """Read the clock, and the listed symbols unless they are known and nobody asks for them.

        Parameters
        ----------
        status : bool
            Read the symbols' status even if they are known.

        Raises
        ------
        FeedError
            If the exchange did not answer; what was known stays.
        """
        problem: FeedError | None = None
        if self.info is None or self._info_requested or status:
            try:
                self.info = await self._rest.exchange_info()
                self.ready.set()
                self._info_requested = False
            except FeedError as error:
                problem = error  # the clock does not depend on it
        self.clock_offset = await self._rest.clock_offset()
        if problem is not None:
            raise problem

    def request_status(self) -> None:
        """Ask for the symbols' status soon: one of them is silent."""
        self._info_requested = True
        self._refresh_requested.set()

    def not_trading(self, symbol: str) -> str:
        """Return in a sentence why a symbol does not trade; empty if it does, as far as known."""
        return "" if self.info is None else self.info.not_trading(symbol)

    async def check(self, symbols: tuple[str, ...]) -> ExchangeInfo:
        """Wait until the listed symbols are known, and return them if these are among them.

        Raises
        ------
        UnknownSymbolError
            For the first that is not.
        FeedError
            If it is not, and REST does not say whether it is new.
        """
        await self.ready.wait()
        info = self.info
        if info is None or not info.lists(symbols):
            # It may have been listed since.
            info = self.info = await self._rest.exchange_info()
            info.check(symbols)
        return info

    async def is_quiet(self, symbol: str, since_ns: int) -> bool:
        """Return whether REST knows of no trade since a moment of this machine's clock."""
        if self.not_trading(symbol):
            return True
        if self.clock_offset is None:
            return False
        try:
            newest = await self._rest.agg_trades(symbol, limit=1, can_wait=True)
        except FeedError:
            return False  # the other route will tell
        since_ms = (since_ns - self.clock_offset.offset_ns) / _NS_PER_MS
        return not newest or newest[-1].T - since_ms < _QUIET_MARGIN_MS
