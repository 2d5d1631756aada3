"""One pair's ticks, from connections that other pairs may share."""

from __future__ import annotations

from pairlab.errors import DataError
from pairlab.feeds.base import Closes
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES, fetch_closes
from pairlab.feeds.symbols_feed import SymbolsFeed
from pairlab.feeds.trade_source import TradeSource
from pairlab.schema import Pair

__all__ = ["PairFeed"]


class PairFeed(SymbolsFeed):
    """One pair's ticks: decoded, in the order of their ids, each once, with gaps filled.

    `FeedGroup.pair` makes it; `BinanceFeed` is one with a group of its own.

    Parameters
    ----------
    source : TradeSource
        Whose connections bring the ticks.
    pair : Pair
        Symbols as the exchange writes them.

    Raises
    ------
    DataError
        For a pair of one symbol.
    """

    def __init__(self, source: TradeSource, pair: Pair) -> None:
        self.pair = Pair(*pair)
        if self.pair.y == self.pair.x:
            raise DataError(f"a pair needs two symbols, not {self.pair.y!r} twice")
        super().__init__(source, self.pair)

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of (y, x) at the symbols' tick sizes, None while unknown."""
        decimals = self.decimals()
        return None if decimals is None else (decimals[0], decimals[1])

    async def seed_closes(self, timeframe: str, count: int) -> Closes | None:
        """Return the last closed bars of both legs; None for timeframes without klines.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        if timeframe not in KLINE_TIMEFRAMES:
            return None
        async with self.rest_client() as rest:
            return await fetch_closes(rest, self.pair, timeframe, count)
