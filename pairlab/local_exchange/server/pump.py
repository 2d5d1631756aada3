"""Moves messages from a market to the hub when the market's clock says they are due."""

from __future__ import annotations

import asyncio
from typing import Final

from pairlab.local_exchange.market.market import Market, is_met
from pairlab.local_exchange.server.hub import Hub
from pairlab.schema import NS_PER_S

__all__ = ["ENDED", "MarketClock", "MarketPump"]

ENDED: Final = "recording ended"
"""Reason of the close frame, code 1000, that follows a recording's last message."""

_MIN_SLEEP_S: Final = 0.01
_MAX_SLEEP_S: Final = 1.0
_CHUNK_MESSAGES: Final = 512


class MarketClock:
    """Time on a market: wall-clock time since the start, times the market's speed.

    Parameters
    ----------
    market : Market
        Provides speed, start and position.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._origin: tuple[asyncio.AbstractEventLoop, float, int] | None = None

    def start(self) -> None:
        """Start at the market's first time."""
        loop = asyncio.get_running_loop()
        self._origin = (loop, loop.time(), self._market.start_ns)

    def reset(self) -> None:
        """Go back to before the start."""
        self._origin = None

    def now_ns(self) -> int:
        """Return the time, ns since 1970 UTC."""
        market = self._market
        if market.speed is None or market.next_ns() is None:
            return market.position_ns
        if self._origin is None:
            return market.start_ns
        loop, started_s, start_ns = self._origin
        return start_ns + int((loop.time() - started_s) * market.speed * NS_PER_S)


class MarketPump:
    """Delivers a market's messages when they are due, until the market ends.

    Parameters
    ----------
    market : Market
        Source of the messages.
    hub : Hub
        Delivers them.
    clock : MarketClock
        Started when the market's start condition is met.
    ended : asyncio.Event
        Set after the market's last message.
    close_at_end : bool
        Whether to close all connections then.
    """

    def __init__(
        self,
        market: Market,
        hub: Hub,
        clock: MarketClock,
        ended: asyncio.Event,
        *,
        close_at_end: bool,
    ) -> None:
        self._market = market
        self._hub = hub
        self._clock = clock
        self._ended = ended
        self._close_at_end = close_at_end

    async def run(self) -> None:
        """Deliver until the market ends; if it raises, close all connections with 1011."""
        try:
            await self._deliver_all()
            self._ended.set()
            if self._close_at_end:
                self._hub.close_all(1000, ENDED)
        except Exception:
            self._hub.close_all(1011, "the market failed")
            raise

    async def _deliver_all(self) -> None:
        market, hub = self._market, self._hub
        await hub.wait_for_subscribers(lambda streams: is_met(market.start_condition, streams))
        self._clock.start()
        while (next_ns := market.next_ns()) is not None:
            if market.speed is None:
                await hub.wait_for_subscribers(bool)
                hub.deliver(market.take(None, hub.subscribers, _CHUNK_MESSAGES))
                await hub.drain()
                continue
            now_ns = self._clock.now_ns()
            if next_ns > now_ns:
                due_s = (next_ns - now_ns) / (market.speed * NS_PER_S)
                await asyncio.sleep(min(max(_MIN_SLEEP_S, due_s), _MAX_SLEEP_S))
                continue
            hub.deliver(market.take(now_ns, hub.subscribers, _CHUNK_MESSAGES))
            await asyncio.sleep(0)
