"""Which feed a lab's `feed=` means, and how to open it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pairlab.errors import SettingError
from pairlab.feeds.base import Feed
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.schema import Pair

if TYPE_CHECKING:
    from pairlab.local_exchange import Recording

__all__ = ["Source", "open_feed", "source_key", "source_name"]

Source = Any
"""What `PairLab` takes as its feed: a word, a URL, a path or several, a market or a `Feed`."""

DEFAULT_STREAM: Final = "aggTrade"


_FEEDS: Final = (
    "expected 'binance', 'demo', a ws:// or wss:// URL, a recording's path that exists, a market "
    "of pairlab.local_exchange, or a Feed"
)


def source_name(source: Source) -> tuple[str, bool]:
    """Return the name for the screen and whether it is the live market, before it is open."""
    if isinstance(source, Feed):
        return source.name, source.real_money
    if source == "binance":
        return "BINANCE", True
    if source == "demo":
        return "SIMULATED", False
    if isinstance(source, str) and source.startswith(("ws://", "wss://")):
        feed = BinanceFeed(Pair("", " "), url=source)
        return feed.name, feed.real_money
    market = hasattr(source, "symbols") and hasattr(source, "take")
    if not (market or isinstance(source, str | os.PathLike | list | tuple)):
        raise SettingError("feed", source, _FEEDS)
    return ("SIMULATED" if hasattr(source, "seed") else "RECORDING"), False


def source_key(source: Source) -> str:
    """Return what tells two sources apart, for replacing a lab when its cell is run again."""
    if isinstance(source, str) and (source in ("binance", "demo") or "://" in source):
        return source
    if isinstance(source, str | os.PathLike | list | tuple):
        return str([os.fspath(path) for path in _paths(source)])
    return f"object {id(source)}"


async def open_feed(
    source: Source, pair: Pair, stream: str | None, stack: contextlib.AsyncExitStack
) -> Feed:
    """Open `source` for `pair`; what it needs beside itself lives on `stack`.

    Raises
    ------
    SettingError
        If `source` is none of the things a feed can be.
    DataError
        If a recording cannot be read.
    """
    if isinstance(source, Feed):
        return source
    if source == "binance":
        return BinanceFeed(pair, stream=stream or DEFAULT_STREAM)
    if isinstance(source, str) and source.startswith(("ws://", "wss://")):
        return BinanceFeed(pair, stream=stream or DEFAULT_STREAM, url=source)
    # Only here does the house open the exchange on localhost: see the contracts in pyproject.toml.
    from pairlab.local_exchange import LocalExchange, Recording, SyntheticMarket

    if source == "demo":
        now_ns = time.time_ns() // 1_000_000 * 1_000_000  # the exchange counts milliseconds
        market = SyntheticMarket(seed=7, symbols=(pair.y, pair.x), start_ns=now_ns)
        exchange = await stack.enter_async_context(LocalExchange(market))
        stream = stream or DEFAULT_STREAM
        return BinanceFeed(pair, stream=stream, url=exchange.url, name="SIMULATED")
    if not isinstance(source, SyntheticMarket | Recording):
        source = await asyncio.to_thread(_recording, source)
    exchange = await stack.enter_async_context(LocalExchange(source))
    if stream is None and isinstance(source, Recording):
        kinds = {name.partition("@")[2] for name in source.streams}
        stream = next(
            (kind for kind in (DEFAULT_STREAM, "trade", "bookTicker") if kind in kinds), None
        )
    stream = stream or DEFAULT_STREAM
    name, _ = source_name(source)
    return BinanceFeed(pair, stream=stream, url=exchange.url, name=name)


def _recording(source: Source) -> Recording:
    from pairlab.local_exchange import Recording

    paths = _paths(source)
    for path in paths:
        if not Path(path).exists():
            raise SettingError(
                "feed",
                os.fspath(path),
                _FEEDS,
            )
    return Recording(paths, speed=1.0)


def _paths(source: Source) -> list[str | os.PathLike[str]]:
    return [source] if isinstance(source, str | os.PathLike) else list(source)
