"""Many pairs on a few connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self, Unpack

from pairlab.errors import FeedError
from pairlab.feeds.base import FeedHealth, FeedState
from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.config import FeedConfig, FeedOptions
from pairlab.feeds.connection.connection_health import ConnectionHealth
from pairlab.feeds.connection.liveness import LagGauge
from pairlab.feeds.connection.session import Session, StreamSlot
from pairlab.feeds.context import FeedContext
from pairlab.feeds.pair import PairFeed
from pairlab.feeds.symbol import SymbolFeed
from pairlab.feeds.symbols_feed import SymbolsFeed
from pairlab.schema import Pair

__all__ = ["FeedGroup"]

_WORST_FIRST: Final[tuple[FeedState, ...]] = (
    "failed",
    "stalled",
    "reconnecting",
    "connecting",
    "live",
    "stopped",
)


class FeedGroup:
    """Feeds of many pairs that share connections, the REST budget and the exchange's clock.

    Each symbol is subscribed once, however many pairs have it, and at most 200 streams share a
    connection; further ones get connections of their own. A fault of one connection concerns only
    the pairs with a leg on it: all others continue, and none of their connections is reopened.

    Every pair's feed is a `pairlab.feeds.base.Feed`: its ticks come in the same order and with the
    same repair of gaps as those of a `BinanceFeed`. Connections open when the first feed runs and
    close when no feed needs them any more; pairs come and go meanwhile.

    Parameters
    ----------
    **options
        Any field of `FeedConfig`; they hold for every pair.

    Attributes
    ----------
    config : FeedConfig
        As it was given.
    context : FeedContext
        Timeouts, limits, retry policy, throttle and clock, as its parts share them.
    venue : Venue
        The exchange and the stream.

    Raises
    ------
    DataError
        For an unknown stream, or a URL that is no WebSocket's.

    Examples
    --------
    Two labs that receive BTCUSDT once::

        group = FeedGroup()
        labs = [
            PairLab(y, "BTCUSDT", feed=group.pair(y, "BTCUSDT"), hedge="ols").start()
            for y in ("ETHUSDT", "SOLUSDT")
        ]
        …
        await group.close()
    """

    def __init__(self, **options: Unpack[FeedOptions]) -> None:
        self.config = config = FeedConfig.from_options(options)
        self.venue = Venue(config.stream, config.url, config.rest_url, config.routes, config.name)
        self.context = FeedContext.of(config)
        self._pairs: dict[Pair, PairFeed] = {}
        self._symbols: dict[str, SymbolFeed] = {}
        self._session: Session | None = None
        self._lags = LagGauge()

    def pair(self, y: str, x: str) -> PairFeed:
        """Return the feed of a pair, the same one each time.

        Raises
        ------
        DataError
            For one symbol twice.
        """
        pair = Pair(y, x)
        if pair not in self._pairs:
            self._pairs[pair] = PairFeed(self, pair)
        return self._pairs[pair]

    def symbol(self, symbol: str) -> SymbolFeed:
        """Return the feed of one symbol, the same one each time: for who combines many."""
        if symbol not in self._symbols:
            self._symbols[symbol] = SymbolFeed(self, symbol)
        return self._symbols[symbol]

    def _feeds(self) -> list[SymbolsFeed]:
        return [*self._pairs.values(), *self._symbols.values()]

    # -- health ----------------------------------------------------------------------------------

    def health(self) -> FeedHealth:
        """Return the worst state of any feed that runs, and the counters of all together.

        A connection's counters (bad frames, reconnects, attempts) are those since it is needed.
        """
        feeds = [feed for feed in self._feeds() if feed.running]
        healths = [feed.health(with_lag=False) for feed in feeds]
        session = self._session
        connections = list(session.connections) if session else []
        counts = [*(feed.dropped for feed in feeds), *(c.dropped for c in connections)]
        dropped: Counter[str] = sum(counts, Counter())
        offset = session.metadata.clock_offset if session else None
        offset_ns = offset.offset_ns if offset else 0
        lag_ms, p50, p99 = self._lags.read(
            [connection.delays_ns for connection in connections],
            offset_ns,
            self.config.clock.monotonic_s(),
        )
        state, detail = self._state(dict(zip(feeds, healths, strict=True)))
        return FeedHealth(
            state=state,
            detail=detail,
            ticks=sum(health.ticks for health in healths),
            dropped=MappingProxyType(dict(dropped)),
            reconnects=sum(connection.reconnects for connection in connections),
            gaps=sum(health.gaps for health in healths),
            missing=sum(health.missing for health in healths),
            lag_ms=lag_ms,
            bad_frames=tuple(bad for connection in connections for bad in connection.decoder.bad),
            lag_p50_ms=p50,
            lag_p99_ms=p99,
            clock_offset_ms=offset_ns / 1e6 if offset else float("nan"),
            loop_lag_max_ms=max((health.loop_lag_max_ms for health in healths), default=0.0),
            held=sum(health.held for health in healths),
            repaired=sum(health.repaired for health in healths),
            attempts=sum(connection.attempts for connection in connections),
        )

    @staticmethod
    def _state(healths: Mapping[SymbolsFeed, FeedHealth]) -> tuple[FeedState, str]:
        if not healths:
            return "stopped", "no pair runs"
        feed, worst = min(healths.items(), key=lambda item: _WORST_FIRST.index(item[1].state))
        alike = sum(health.state == worst.state for health in healths.values())
        what = "pair" if any(len(feed.symbols) > 1 for feed in healths) else "symbol"
        if worst.state == "live":
            return "live", f"{alike:,} {what}s are live" if alike > 1 else f"one {what} is live"
        return worst.state, (
            f"{alike:,} of {len(healths):,} {what}s are {worst.state}; "
            f"{'/'.join(feed.symbols)}: {worst.detail}"
        )

    def connections(self) -> tuple[ConnectionHealth, ...]:
        """Return how each connection is."""
        connections = self._session.connections if self._session else {}
        return tuple(connection.health() for connection in connections)

    # -- membership ------------------------------------------------------------------------------

    def enter(self, feed: SymbolsFeed) -> Session:
        """Let a feed take part, and begin if it is the first.

        Raises
        ------
        FeedError
            If the others run on another event loop.
        """
        if self._session is None:
            self._session = Session(self.venue, self.context)
        elif self._session.loop is not asyncio.get_running_loop():
            raise FeedError("the feeds of a group must run on one event loop")
        self._session.subscribers.append(feed)
        return self._session

    async def leave(
        self, feed: SymbolsFeed, session: Session, places: tuple[StreamSlot, ...]
    ) -> None:
        """Release a feed, and end what no other feed needs."""
        session.subscribers.remove(feed)
        if session.subscribers:
            await session.release(feed, feed.symbols, places)
            return
        if self._session is session:
            self._session = None  # a feed that enters from now on gets a new one
        await session.close()

    async def close(self) -> None:
        """Let the `run` of every feed return, and wait until the last connection is closed."""
        await asyncio.gather(*(feed.close() for feed in self._feeds()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
