"""Rate limits: request weights, connection attempts, and the delays between attempts."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator

from pairlab.clock import SYSTEM_CLOCK, Clock

__all__ = ["ConnectThrottle", "SlidingWindowLimiter", "full_jitter"]


def full_jitter(
    *, first_s: float = 1.0, factor: float = 2.0, most_s: float = 30.0
) -> Iterator[float]:
    """Yield delays between attempts: exponential, capped, each drawn from zero to its limit.

    Parameters
    ----------
    first_s, factor, most_s : float
        Limit of the first delay, its growth, and its cap.

    Yields
    ------
    float
        Seconds.

    Notes
    -----
    "Full jitter" of M. Brooker, *Exponential Backoff And Jitter* (AWS, 2015): clients that were
    cut off together do not come back together.
    """
    limit_s = first_s
    while True:
        yield random.uniform(0.0, limit_s)  # noqa: S311 - spreads load, guards nothing
        limit_s = min(limit_s * factor, most_s)


class SlidingWindowLimiter:
    """Sliding-window limiter for Binance request weights.

    Stricter than a token bucket, which lets twice its size pass around a refill.

    Parameters
    ----------
    limit : int
        Weight allowed in any window.
    window_s : float
        Length of the window in seconds.
    clock : Clock
        Source of the time.

    Examples
    --------
    >>> limiter = SlidingWindowLimiter(2, 60.0)
    >>> limiter.take(1), limiter.take(1), limiter.take(1)
    (True, True, False)
    """

    def __init__(self, limit: int, window_s: float, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limit = limit
        self.window_s = window_s
        self._clock = clock
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def wait_s(self, weight: int, reserve: int = 0) -> float:
        """Return the seconds until `weight` may be spent with `reserve` left over; 0 if now."""
        now = self._clock.monotonic_s()
        while self._spent and self._spent[0][0] <= now - self.window_s:
            self._sum -= self._spent.popleft()[1]
        excess = self._sum + weight + reserve - self.limit
        if excess <= 0 or not self._spent:
            return 0.0
        for when, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return max(0.0, when + self.window_s - now)
        return max(0.0, self._spent[-1][0] + self.window_s - now)

    def take(self, weight: int, reserve: int = 0) -> bool:
        """Spend `weight` if it is available, and return whether it was."""
        if self.wait_s(weight, reserve) > 0:
            return False
        self._spent.append((self._clock.monotonic_s(), weight))
        self._sum += weight
        return True

    def learn(self, spent: int) -> None:
        """Adopt the exchange's own count of this window: other programs share the address."""
        if spent > self._sum:
            self._spent.append((self._clock.monotonic_s(), spent - self._sum))
            self._sum = spent

    async def spend(self, weight: int, reserve: int = 0) -> None:
        """Wait until `weight` may be spent with `reserve` left over, then spend it."""
        while not self.take(weight, reserve):  # noqa: ASYNC110 - it sleeps as long as it must
            await asyncio.sleep(self.wait_s(weight, reserve))


class ConnectThrottle:
    """Limits connection attempts of all connections together: they share one IP address.

    Parameters
    ----------
    attempts_per_5_min : int
        Of all connections together.
    clock : Clock
        Source of the time.

    Attributes
    ----------
    limiter : SlidingWindowLimiter
        Of attempts.
    """

    def __init__(self, attempts_per_5_min: int, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limiter = SlidingWindowLimiter(attempts_per_5_min, 300.0, clock=clock)
        self._clock = clock
        self._not_before_s = 0.0

    def pause(self, seconds: float) -> None:
        """Allow no attempt for so long: the exchange asked for it."""
        self._not_before_s = self._clock.monotonic_s() + seconds

    def wait_s(self) -> float:
        """Return the seconds until a connection may be tried; 0 if now."""
        pause_s = self._not_before_s - self._clock.monotonic_s()
        return max(self.limiter.wait_s(1), pause_s, 0.0)
