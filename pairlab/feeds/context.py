"""What every part of a feed needs to know, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pairlab.clock import Clock
from pairlab.feeds.config import FeedConfig, Limits, Retry, Timeouts
from pairlab.feeds.rate_limit import ConnectThrottle

__all__ = ["FeedContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedContext:
    """Timeouts, limits, retry policy, connection throttle and clock of a group of feeds.

    Attributes
    ----------
    timeouts, limits, retry : Timeouts, Limits, Retry
        As configured.
    throttle : ConnectThrottle
        Of connection attempts; shared by all connections, and outlives them.
    clock : Clock
        Source of the time.
    """

    timeouts: Timeouts
    limits: Limits
    retry: Retry
    throttle: ConnectThrottle
    clock: Clock

    @classmethod
    def of(cls, config: FeedConfig) -> Self:
        """Return the context for a configuration, with a throttle of its own."""
        return cls(
            timeouts=config.timeouts,
            limits=config.limits,
            retry=config.retry,
            throttle=ConnectThrottle(config.limits.attempts_per_5_min, clock=config.clock),
            clock=config.clock,
        )
