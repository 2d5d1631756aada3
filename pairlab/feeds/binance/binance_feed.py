"""Ticks of two symbols from Binance USDⓈ-M Futures, or from anything that speaks its protocol."""

from __future__ import annotations

from typing import Unpack

from pairlab.feeds.binance.venue import LIVE_URL, TESTNET_URL
from pairlab.feeds.config import FeedOptions
from pairlab.feeds.group import FeedGroup
from pairlab.feeds.pair import PairFeed
from pairlab.schema import Pair

__all__ = ["LIVE_URL", "TESTNET_URL", "BinanceFeed"]


class BinanceFeed(PairFeed):
    """One pair's ticks: decoded, in the order of their ids, each once, with gaps filled.

    It has a connection of its own; the feeds of a `pairlab.feeds.FeedGroup` share theirs.

    Parameters
    ----------
    pair : Pair
        Symbols as the exchange writes them, e.g. ``Pair("BTCUSDT", "ETHUSDT")``.
    **options
        Any field of `pairlab.feeds.FeedConfig`: `stream`, `url`, `rest_url`, `routes`, `name`,
        `align_s`, `timeouts`, `limits`, `retry`, `clock`.

    Raises
    ------
    DataError
        For an unknown stream, a pair of one symbol, or a URL that is no WebSocket's.
    """

    def __init__(self, pair: Pair, **options: Unpack[FeedOptions]) -> None:
        super().__init__(FeedGroup(**options), pair)
