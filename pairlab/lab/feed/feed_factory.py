"""What a lab's `feed=` means, and how it is opened."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.errors import SettingError
from pairlab.feeds.base import Feed, FeedInfo
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.venue import LIVE_URL, Venue
from pairlab.schema import Pair
from pairlab.storage.replay.frames import recorded_stream
from pairlab.storage.replay.replay import Replay

if TYPE_CHECKING:
    from pairlab.local_exchange import Market

__all__ = [
    "DEFAULT_STREAM",
    "Source",
    "as_source",
    "is_path",
    "open_feed",
    "require_path",
    "require_source",
    "source_info",
    "source_key",
]

Source: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Market | Feed"
"""What `PairLab` takes as its feed: a word, a URL, a path or several, a market or a `Feed`."""

DEFAULT_STREAM: Final = "aggTrade"

_EXPECTED: Final = (
    "expected 'binance', 'demo', a ws:// or wss:// URL, a recording's path that exists, a "
    "market of pairlab.local_exchange, or an object with the members of pairlab.feeds.Feed"
)


def as_source(source: Source, stream: str | None) -> Source:
    """Return the replay of a path or paths; any other source as it is."""
    if isinstance(source, str) and not is_path(source):
        return source
    if isinstance(source, str | os.PathLike | list | tuple):
        return Replay(_paths(source), stream=stream)
    return source


def source_info(source: Source, stream: str | None = None) -> FeedInfo:
    """Return what is known of a source before it is open.

    Parameters
    ----------
    source : Source
        As given to the lab, a path as `as_source` returns it.
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
        case str():
            return source
        case Replay():
            return str([os.fspath(path) for path in source.paths])
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
        case Replay():
            await source.open(pair, stream, clock)
            return source
        case Feed():
            return source
    from pairlab.local_exchange import LocalExchange, Recording, SyntheticMarket

    market: Market
    match source:
        case "demo":
            now_ns = clock.time_ns() // 1_000_000 * 1_000_000  # the exchange counts milliseconds
            market = SyntheticMarket(seed=7, symbols=(pair.y, pair.x), start_ns=now_ns)
        case SyntheticMarket() | Recording():
            market = source
        case _:
            raise SettingError("feed", source, _EXPECTED)
    exchange = await stack.enter_async_context(LocalExchange(market))
    if stream is None and isinstance(market, Recording):
        stream = recorded_stream(market)
    return BinanceFeed(
        pair, stream=stream or DEFAULT_STREAM, url=exchange.url, name=name, clock=clock
    )


def is_path(source: str) -> bool:
    """Return whether a feed given as text is a recording's path."""
    return source not in ("binance", "demo") and not _is_url(source)


def require_source(source: Source) -> None:
    """Raise SettingError for a text that is neither word, URL nor path, and say which it may mean.

    So that a slip is told where it was made, not after the start.
    """
    paths = _paths(source) if isinstance(source, str | os.PathLike | list | tuple) else []
    if isinstance(source, list | tuple) and not source:
        raise SettingError("feed", source, "expected one path of a recording at least")
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise SettingError("feed", source, _EXPECTED)
        text = os.fspath(path)
        if isinstance(source, str) and not is_path(source):
            return
        if not _is_there(text):
            close = difflib.get_close_matches(str(text).casefold(), ("binance", "demo"), cutoff=0.6)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise SettingError("feed", text, f"{hint}{_EXPECTED}")


def require_path(path: str | os.PathLike[str]) -> None:
    """Raise SettingError if nothing is at a recording's path."""
    if not _is_there(path):
        raise SettingError("feed", os.fspath(path), _EXPECTED)


def _is_there(path: str | os.PathLike[str]) -> bool:
    try:
        os.lstat(path)  # microseconds, on a running loop too; opening it comes later, in a thread
    except (OSError, ValueError):
        return False
    return True


def _is_url(source: str) -> bool:
    return source.startswith(("ws://", "wss://"))


def _paths(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]]:
    return [source] if isinstance(source, str | os.PathLike) else list(source)
