"""What a lab's `feed=` means, and how it is opened."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.errors import SettingError
from pairlab.feeds.base import Feed, FeedInfo
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.venue import LIVE_URL, Venue
from pairlab.schema import Pair

if TYPE_CHECKING:
    from pairlab.local_exchange import Market, Recording

__all__ = ["DEFAULT_STREAM", "Source", "open_feed", "source_info", "source_key"]

Source: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Market | Feed"
"""What `PairLab` takes as its feed: a word, a URL, a path or several, a market or a `Feed`."""

DEFAULT_STREAM: Final = "aggTrade"

_EXPECTED: Final = (
    "'binance', 'demo', a ws:// or wss:// URL, a recording's path that exists, a market of "
    "pairlab.local_exchange, or an object with the members of pairlab.feeds.Feed"
)


def source_info(source: Source, stream: str | None = None) -> FeedInfo:
    """Return what is known of a source before it is open.

    Parameters
    ----------
    source : Source
        As given to the lab.
    stream : str, optional
        As given to the lab; a `Feed` has its own.

    Raises
    ------
    SettingError
        If `source` is none of the things a feed can be.
    DataError
        If it is a URL that is no WebSocket's.
    """
    stream = stream or DEFAULT_STREAM
    match source:
        case "binance":
            return Venue(stream, LIVE_URL).info
        case "demo":
            return FeedInfo("SIMULATED", False, stream)
        case str() if _is_url(source):
            return Venue(stream, source).info
        case str() | os.PathLike() | list() | tuple():
            return FeedInfo("RECORDING", False, stream)
        case Feed():
            return source.info
    # Only here does the lab import the local exchange: see the contracts in pyproject.toml.
    from pairlab.local_exchange import Recording, SyntheticMarket

    match source:
        case SyntheticMarket():
            return FeedInfo("SIMULATED", False, stream)
        case Recording():
            return FeedInfo("RECORDING", False, stream)
    raise SettingError("feed", source, _EXPECTED)


def source_key(source: Source) -> str:
    """Return what tells two sources apart, for replacing a lab when its cell is run again."""
    match source:
        case str() if source in ("binance", "demo") or _is_url(source):
            return source
        case str() | os.PathLike() | list() | tuple():
            return str([os.fspath(path) for path in _paths(source)])
    return f"object {id(source)}"


async def open_feed(
    source: Source,
    pair: Pair,
    stream: str | None,
    stack: contextlib.AsyncExitStack,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> Feed:
    """Return the feed of a source for a pair.

    Parameters
    ----------
    source : Source
        As given to the lab.
    pair : Pair
        The symbols.
    stream : str, optional
        What a tick is; by default what a recording holds, else ``aggTrade``.
    stack : AsyncExitStack
        Closes what the feed needs beside itself.
    clock : Clock
        Source of the time.

    Raises
    ------
    SettingError
        If `source` is none of the things a feed can be.
    DataError
        If a recording cannot be read.
    """
    name = source_info(source, stream).name
    match source:
        case "binance":
            return BinanceFeed(pair, stream=stream or DEFAULT_STREAM, clock=clock)
        case str() if _is_url(source):
            return BinanceFeed(pair, stream=stream or DEFAULT_STREAM, url=source, clock=clock)
        case Feed():
            return source
    from pairlab.local_exchange import LocalExchange, Recording, SyntheticMarket

    market: Market
    match source:
        case "demo":
            now_ns = clock.time_ns() // 1_000_000 * 1_000_000  # the exchange counts milliseconds
            market = SyntheticMarket(seed=7, symbols=(pair.y, pair.x), start_ns=now_ns)
        case str() | os.PathLike() | list() | tuple():
            market = await asyncio.to_thread(_recording, source)
        case SyntheticMarket() | Recording():
            market = source
        case _:
            raise SettingError("feed", source, _EXPECTED)
    exchange = await stack.enter_async_context(LocalExchange(market))
    if stream is None and isinstance(market, Recording):
        stream = _recorded_stream(market)
    return BinanceFeed(
        pair, stream=stream or DEFAULT_STREAM, url=exchange.url, name=name, clock=clock
    )


def _is_url(source: str) -> bool:
    return source.startswith(("ws://", "wss://"))


def _recorded_stream(recording: Recording) -> str | None:
    kinds = {name.partition("@")[2] for name in recording.streams}
    return next((kind for kind in (DEFAULT_STREAM, "trade", "bookTicker") if kind in kinds), None)


def _recording(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Recording:
    from pairlab.local_exchange import Recording

    paths = _paths(source)
    for path in paths:
        if not Path(path).exists():
            raise SettingError("feed", os.fspath(path), _EXPECTED)
    return Recording(paths, speed=1.0)


def _paths(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]]:
    return [source] if isinstance(source, str | os.PathLike) else list(source)
