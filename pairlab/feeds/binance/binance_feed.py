"""Ticks of two symbols from Binance USDⓈ-M Futures, or from anything that speaks like it."""

from __future__ import annotations

from collections.abc import Mapping

from pairlab.feeds.binance.venue import LIVE_URL, TESTNET_URL
from pairlab.feeds.config import Limits, Retry, Timeouts
from pairlab.feeds.group import FeedGroup
from pairlab.feeds.pair import PairFeed
from pairlab.schema import Pair

__all__ = ["LIVE_URL", "TESTNET_URL", "BinanceFeed"]


class BinanceFeed(PairFeed):
    """One pair's ticks: decoded, in the order of their ids, each once, with holes filled.

    It has a connection of its own; the feeds of a `pairlab.feeds.FeedGroup` share theirs.

    Parameters
    ----------
    pair : Pair
        Symbols as the exchange writes them, e.g. ``Pair("BTCUSDT", "ETHUSDT")``.
    stream : {"aggTrade", "trade", "bookTicker"}
        Aggregated trades (the default, and the only stream whose holes REST can fill), raw trades,
        or mid prices of the best quotes.
    url : str
        ``wss://fstream.binance.com``, the testnet's, or ``ws://host:port`` of a local exchange.
    rest_url : str, optional
        Where REST is asked; follows from `url`: http on the same host and port for a local one.
    routes : mapping of str to str, optional
        The category of a stream where it is not the usual one, e.g. ``{"trade": "market"}``.
    name : str, optional
        What the screen shows; follows from `url`.
    align_s : float
        Hold each tick until the other leg has passed its time, at most so long: rows then do not
        depend on which leg's trade arrived first. 0, the default, hands ticks on as they arrive.
    timeouts, limits, retry : Timeouts, Limits, Retry
        How long to wait, how much to hold, when to try again.

    Raises
    ------
    DataError
        For an unknown stream, a pair of one symbol, or a URL that is no WebSocket's.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        stream: str = "aggTrade",
        url: str = LIVE_URL,
        rest_url: str | None = None,
        routes: Mapping[str, str] | None = None,
        name: str | None = None,
        align_s: float = 0.0,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        retry: Retry | None = None,
    ) -> None:
        group = FeedGroup(
            stream=stream,
            url=url,
            rest_url=rest_url,
            routes=routes,
            name=name,
            align_s=align_s,
            timeouts=timeouts,
            limits=limits,
            retry=retry,
        )
        super().__init__(group, pair)
