"""How long a feed waits, how much it holds and how often it tries: every number, all finite."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from pairlab.errors import DataError, FeedError, GeoBlockedError, UnknownSymbolError

__all__ = [
    "ConnectThrottle",
    "Limits",
    "Retry",
    "SlidingWindowLimiter",
    "Timeouts",
    "full_jitter",
    "is_final",
]

_STREAMS_ALLOWED: Final = 1024  # on one connection, by Binance


def _check_positive(group: object, *, zero_is_fine: tuple[str, ...] = ()) -> None:
    for knob in fields(group):  # type: ignore[arg-type]
        value = getattr(group, knob.name)
        low_enough = value >= 0 if knob.name in zero_is_fine else value > 0
        if isinstance(value, bool) or not low_enough or not math.isfinite(value):
            least = "0 or more" if knob.name in zero_is_fine else "more than 0"
            raise DataError(f"{knob.name} = {value!r} is invalid: expected finite, {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a feed waits for each thing, in seconds of an unblocked loop.

    Attributes
    ----------
    open_s, close_s : float
        For a connection to open, handshake included, and to close.
    first_data_s : float
        For the first data of a stream after its connection opened; then it is looked into.
    idle_min_s, idle_busy_s, idle_max_s : float
        A stream may stay silent for 20 times its own mean interval, within these limits;
        `idle_busy_s` is the most for a stream above one message a second.
    ping_after_s, pong_s : float
        Silence of a whole connection before it is pinged, and how long the answer may take.
    healthy_after_s : float
        A connection with data must have lived for so long before the back-off starts anew.
    rest_s : float
        For one REST answer.
    repair_grace_s : float
        A hole in the ids may fill by itself (two connections overlap, say) before REST is asked.
    repair_s : float
        How long a hole may hold back what follows it, before it is marked and passed over. The
        time in which the REST budget allows one page of every stream is added: one second for a
        pair, about two minutes for 200 streams.
    rotate_after_s : float
        Age at which a connection is replaced; Binance ends it at 24 h.
    clock_refresh_s : float
        Between two looks at the exchange's clock.
    firewall_s : float
        Between two attempts after an HTTP 403.
    blocked_s : float
        A loop that wakes up later than this was blocked by a cell.
    """

    open_s: float = 10.0
    close_s: float = 1.0
    first_data_s: float = 15.0
    idle_min_s: float = 5.0
    idle_busy_s: float = 10.0
    idle_max_s: float = 300.0
    ping_after_s: float = 3.0
    pong_s: float = 5.0
    healthy_after_s: float = 5.0
    rest_s: float = 10.0
    repair_grace_s: float = 0.05
    repair_s: float = 30.0
    rotate_after_s: float = 23 * 3600.0
    clock_refresh_s: float = 600.0
    firewall_s: float = 60.0
    blocked_s: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(self, zero_is_fine=("healthy_after_s", "repair_grace_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a feed holds, and how often it may ask.

    Attributes
    ----------
    max_frame_bytes : int
        A longer frame closes the connection; below it, garbage of any length is only counted.
    max_queue_frames : int
        Frames read from the socket and not yet decoded, before TCP is left to wait.
    max_batch_ticks : int
        Ticks handed on at once.
    max_held_ticks : int
        Ticks held back behind a hole; what comes beyond is dropped, counted, and fetched later.
    max_gap_trades : int
        A jump in the ids beyond this is a series that started anew.
    max_bad_frames : int
        Bad frames kept for inspection.
    attempts_per_5_min : int
        Connection attempts, where Binance allows 300.
    firewall_attempts : int
        HTTP 403 answers in a row before the feed gives up.
    max_streams : int
        Streams on one connection, where Binance allows 1,024: fewer have less to fetch when it
        breaks.
    """

    max_frame_bytes: int = 4 * 2**20
    max_queue_frames: int = 1024
    max_batch_ticks: int = 4096
    max_held_ticks: int = 100_000
    max_gap_trades: int = 100_000
    max_bad_frames: int = 8
    attempts_per_5_min: int = 290
    firewall_attempts: int = 3
    max_streams: int = 200

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.max_streams > _STREAMS_ALLOWED:
            raise DataError(
                f"max_streams = {self.max_streams!r} is invalid: expected 1 to {_STREAMS_ALLOWED}"
            )


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


def is_final(error: BaseException) -> bool:
    """Return whether trying again cannot help: a geo-block, or a symbol that is not listed."""
    return isinstance(error, GeoBlockedError | UnknownSymbolError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When and whether to try again.

    Attributes
    ----------
    delays : callable
        Returns a fresh iterator of delays in seconds, taken up anew after healthy data.
    is_final : callable
        Whether an error ends the feed; `is_final` by default.
    """

    delays: Callable[[], Iterator[float]] = full_jitter
    is_final: Callable[[FeedError], bool] = is_final


class SlidingWindowLimiter:
    """At most so much weight in any stretch of time, as exchanges ration it.

    A sliding window, stricter than a token bucket, which lets twice its size pass around a refill.

    Parameters
    ----------
    limit : int
        Weight allowed in any window.
    window_s : float
        Length of the window in seconds.
    clock : callable
        Monotonic seconds.

    Examples
    --------
    >>> budget = RateBudget(2, 60.0, clock=lambda: 0.0)
    >>> [budget.wait_s(1) for _ in range(3) if budget.take(1) or True]
    [0.0, 60.0, 60.0]
    """

    def __init__(
        self, limit: int, window_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._clock = clock
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def wait_s(self, weight: int, spare: int = 0) -> float:
        """Return the seconds until `weight` may be spent and leave `spare`; 0 if now."""
        now = self._clock()
        while self._spent and self._spent[0][0] <= now - self.window_s:
            self._sum -= self._spent.popleft()[1]
        excess = self._sum + weight + spare - self.limit
        if excess <= 0 or not self._spent:
            return 0.0
        for when, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return max(0.0, when + self.window_s - now)
        return max(0.0, self._spent[-1][0] + self.window_s - now)

    def take(self, weight: int, spare: int = 0) -> bool:
        """Spend `weight` if it is there, and return whether it was."""
        if self.wait_s(weight, spare) > 0:
            return False
        self._spent.append((self._clock(), weight))
        self._sum += weight
        return True

    def learn(self, spent: int) -> None:
        """Adopt the exchange's own count of this window: other programs share the address."""
        if spent > self._sum:
            self._spent.append((self._clock(), spent - self._sum))
            self._sum = spent

    async def spend(self, weight: int, spare: int = 0) -> None:
        """Wait until `weight` may be spent and `spare` is left to others, then spend it."""
        while not self.take(weight, spare):  # noqa: ASYNC110 - it sleeps exactly as long as it must
            await asyncio.sleep(self.wait_s(weight, spare))


class ConnectThrottle:
    """When the next connection may be tried, whichever of several it is: they share an address.

    Parameters
    ----------
    attempts_per_5_min : int
        Of all connections together.

    Attributes
    ----------
    budget : SlidingWindowLimiter
        Of attempts.
    not_before_s : float
        What the exchange asked for with its last refusal, monotonic seconds.
    """

    def __init__(self, attempts_per_5_min: int) -> None:
        self.budget = SlidingWindowLimiter(attempts_per_5_min, 300.0)
        self.not_before_s = 0.0

    def wait_s(self) -> float:
        """Return the seconds until a connection may be tried; 0 if now."""
        return max(self.budget.wait_s(1), self.not_before_s - time.monotonic(), 0.0)
