"""What a board's `feed=` means: one group of feeds for all of its symbols."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from pairlab.clock import Clock
from pairlab.errors import SettingError
from pairlab.feeds.base import FeedInfo
from pairlab.feeds.binance.venue import LIVE_URL, Venue
from pairlab.feeds.group import FeedGroup
from pairlab.lab.feed.feed_factory import DEFAULT_STREAM

if TYPE_CHECKING:
    from pairlab.local_exchange import Market

__all__ = ["DEMO_SYMBOLS", "BoardSource", "group_info", "open_group", "require_group_source"]

BoardSource: TypeAlias = "str | Market | FeedGroup"
"""What a `Board` takes as its feed: a word, a URL, a market of the local exchange, or a group."""

DEMO_SYMBOLS: Final = (
    "BTCUSDT", "ETHUSDT", "SOLUSDT", "AVAXUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT",
    "LTCUSDT", "BCHUSDT", "LINKUSDT", "UNIUSDT", "ATOMUSDT", "NEARUSDT", "DOGEUSDT", "TRXUSDT",
)  # fmt: skip
"""The demo's market: each two of these that stand together have a spread that reverts."""

_DEMO_RATE_PER_S: Final = 20.0
_DEMO_HISTORY_S: Final = 2 * 86_400.0
_EXPECTED: Final = (
    "expected 'binance', 'demo', a ws:// or wss:// URL, a market of pairlab.local_exchange, or a "
    "pairlab.feeds.FeedGroup; recordings are played by a PairLab"
)


def require_group_source(source: object) -> None:
    """Raise SettingError for what is no board's feed."""
    if isinstance(source, str):
        if source in ("binance", "demo") or source.startswith(("ws://", "wss://")):
            return
    elif isinstance(source, FeedGroup):
        return
    else:
        from pairlab.local_exchange import MarketGroup, Recording, SyntheticMarket

        if isinstance(source, MarketGroup | Recording | SyntheticMarket):
            return
    raise SettingError("feed", source, _EXPECTED)


def group_info(source: BoardSource, stream: str | None) -> FeedInfo:
    """Return what the feed is, known before it runs."""
    stream = stream or DEFAULT_STREAM
    if isinstance(source, FeedGroup):
        return source.venue.info
    if isinstance(source, str) and source != "demo":
        return Venue(stream, LIVE_URL if source == "binance" else source).info
    from pairlab.local_exchange import Recording

    return FeedInfo("RECORDING" if isinstance(source, Recording) else "SIMULATED", False, stream)


async def open_group(
    source: BoardSource,
    symbols: Iterable[str],
    stream: str | None,
    stack: contextlib.AsyncExitStack,
    clock: Clock,
) -> FeedGroup:
    """Return the group of feeds of a source.

    Parameters
    ----------
    source : BoardSource
        As given to the board.
    symbols : iterable of str
        What the demo's market has, beside `DEMO_SYMBOLS`.
    stream : str, optional
        What a tick is.
    stack : AsyncExitStack
        Closes what the group needs beside itself.
    clock : Clock
        Source of the time.
    """
    stream = stream or DEFAULT_STREAM
    if isinstance(source, FeedGroup):
        return source
    info = group_info(source, stream)
    if source == "binance":
        return FeedGroup(stream=stream, clock=clock)
    if isinstance(source, str) and source != "demo":
        return FeedGroup(stream=stream, url=source, clock=clock)
    from pairlab.local_exchange import LocalExchange

    market = demo_market(symbols, clock) if isinstance(source, str) else source
    exchange = await stack.enter_async_context(LocalExchange(market))
    return FeedGroup(stream=stream, url=exchange.url, name=info.name, clock=clock)


def demo_market(symbols: Iterable[str], clock: Clock) -> Market:
    """Return a market of cointegrated pairs that has these symbols, too."""
    from pairlab.local_exchange import MarketGroup, SyntheticMarket

    names = list(dict.fromkeys([*DEMO_SYMBOLS, *symbols]))
    if len(names) % 2:
        names.append("SPAREUSDT")
    now_ns = clock.time_ns() // 1_000_000 * 1_000_000  # the exchange counts milliseconds
    return MarketGroup(
        [
            SyntheticMarket(
                seed=7 + at, symbols=(names[at], names[at + 1]), start_ns=now_ns,
                rate_per_s=_DEMO_RATE_PER_S, history_s=_DEMO_HISTORY_S,
            )
            for at in range(0, len(names), 2)
        ]
    )  # fmt: skip
