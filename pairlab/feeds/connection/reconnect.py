"""Opens connections: when the next may be tried, on which route, and what a refusal means."""

from __future__ import annotations

import asyncio
from typing import Final

from pairlab.errors import FeedError, FirewallError, RateLimitedError
from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.connection.connection import Connection
from pairlab.feeds.connection.fanout import Fanout
from pairlab.feeds.context import FeedContext
from pairlab.feeds.log import concerning, feed_logger

__all__ = ["Dialer"]

_logger: Final = feed_logger(__name__)


class Dialer:
    """Opens the connections for the streams of a fan-out.

    Parameters
    ----------
    venue : Venue
        Where to connect.
    context : FeedContext
        Timeouts, limits, retry policy, throttle and clock.
    fanout : Fanout
        The streams that are wanted, and the feeds that a failed attempt concerns.

    Attributes
    ----------
    attempts, opened : int
        Connections tried, and opened.
    """

    def __init__(self, venue: Venue, context: FeedContext, fanout: Fanout) -> None:
        self._cause = "connecting"
        self._next_try_s: float | None = None  # monotonic, while it waits for the next attempt
        self.attempts = 0
        self.opened = 0
        self._venue = venue
        self._context = context
        self._fanout = fanout
        self._delays = context.retry.delays()
        self._firewalled = 0

    @property
    def detail(self) -> str:
        """Why there is no connection, and what comes next, as of now."""
        if self._next_try_s is None:
            return self._cause
        left_s = max(0.0, self._next_try_s - self._context.clock.monotonic_s())
        return f"{self._cause}; trying again in {left_s:.1f} s"

    async def dial_persistently(self, route: str) -> Connection:
        """Try until a connection is open.

        Raises
        ------
        FeedError
            One that is final.
        """
        throttle, retry = self._context.throttle, self._context.retry
        wait_s = 0.0 if self.attempts == 0 else self._next_delay_s()
        while True:
            self._warn_if_throttled(wait_s)
            while (wait_s := max(wait_s, throttle.wait_s())) > 0:
                self._next_try_s = self._context.clock.monotonic_s() + wait_s
                await asyncio.sleep(wait_s)
                wait_s = 0.0  # unless another connection was refused meanwhile
            self._next_try_s = None
            try:
                return await self.dial(route)
            except FeedError as error:
                self.note_refusal(error)
                firewalled = self._firewalled >= self._context.limits.firewall_attempts
                if retry.is_final(error) or firewalled:
                    raise
                self._cause = str(error).rstrip(".")
                _logger.warning(
                    f"{self._cause}; retrying automatically",
                    extra=concerning(self._fanout.subscribers(), kind="open"),
                )
            wait_s = self._next_delay_s()

    def _warn_if_throttled(self, wait_s: float) -> None:
        limiter = self._context.throttle.limiter
        if (throttled_s := limiter.wait_s(1)) > wait_s:
            _logger.warning(
                f"{limiter.limit} connections were tried in five minutes; the next attempt in "
                f"{throttled_s:.0f} s, automatically; check this machine's network",
                extra=concerning(self._fanout.subscribers(), kind="throttled"),
            )

    def _next_delay_s(self) -> float:
        delay_s = next(self._delays, None)
        if delay_s is None:
            raise FeedError(f"{self._cause}: no more attempts are left")
        return delay_s

    async def dial(self, route: str) -> Connection:
        """Try once.

        Raises
        ------
        FeedError
            If that fails.
        """
        await self._context.throttle.limiter.spend(1)
        self.attempts += 1
        url, streams = self._venue.address(route, self._fanout.streams())
        connection = await Connection.open(
            url, self._context, number=self.attempts, route=route, streams=streams
        )
        self.opened += 1
        self._firewalled = 0
        return connection

    def note_refusal(self, error: FeedError) -> None:
        """Remember how long to stay away."""
        if isinstance(error, FirewallError):
            self._firewalled += 1
            self._context.throttle.pause(self._context.timeouts.firewall_s)
        elif isinstance(error, RateLimitedError):
            self._context.throttle.pause(error.retry_after_s)

    def note_end(self, why: str, *, healthy: bool) -> None:
        """Note why a connection ended; after a healthy one the delays are reset."""
        self._cause = why
        if healthy:
            self._delays = self._context.retry.delays()
