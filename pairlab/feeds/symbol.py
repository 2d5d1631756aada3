"""One symbol's ticks, for who combines many symbols itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES, exchange_ns, fetch_symbol_closes
from pairlab.feeds.symbols_feed import SymbolsFeed
from pairlab.feeds.trade_source import TradeSource

__all__ = ["SymbolFeed"]


class SymbolFeed(SymbolsFeed):
    """One symbol's ticks: decoded, in the order of their ids, each once, with gaps filled.

    `FeedGroup.symbol` makes it. While it `waits`, the trades of other symbols come before some of
    its own: who combines them holds them back until it has gone on, as a `PairFeed` does for its
    two legs.

    Parameters
    ----------
    source : TradeSource
        Whose connections bring the ticks.
    symbol : str
        As the exchange writes it.
    """

    def __init__(self, source: TradeSource, symbol: str) -> None:
        self.symbol = symbol
        super().__init__(source, (symbol,))

    async def seed_closes(
        self, timeframe: str, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Return close times (ns) and closes of the last bars; None for timeframes without klines.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        if timeframe not in KLINE_TIMEFRAMES:
            return None
        async with self.rest_client() as rest:
            now_ns = await exchange_ns(rest)
            return await fetch_symbol_closes(
                rest, self.symbol, timeframe, count, now_ns, can_wait=True
            )
