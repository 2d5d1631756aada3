"""Gauges of liveness: lag of ticks, lateness of the event loop, usual rate of a stream."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from pairlab.feeds.config import Timeouts

__all__ = ["LagGauge", "LoopGauge", "StreamRate"]

_RATE_MEMORY_S: Final = 60.0  # over which a stream's rate is taken
_PATIENCE: Final = 20.0  # mean intervals of silence that are still normal
_WINDOW_S: Final = 10.0  # over which the loop's worst lag, and a block, are shown
_LAG_REFRESH_S: Final = 0.5  # the screen asks ten times a second
_NS_PER_MS: Final = 1e6


class LagGauge:
    """Quantiles of how late ticks arrive, computed twice a second at most."""

    def __init__(self) -> None:
        self._computed_s = -math.inf
        self._p50 = self._p99 = math.nan

    def read(
        self, delays_ns: Sequence[deque[int]], offset_ns: int, now_s: float
    ) -> tuple[float, float, float]:
        """Return the last lag, the median and the 99 % quantile, ms; NaN before the first tick.

        Parameters
        ----------
        delays_ns : sequence of deque of int
            Receive time minus event time of the last ticks, by connection.
        offset_ns : int
            This machine's clock minus the exchange's.
        now_s : float
            Monotonic seconds.
        """
        windows = [window for window in delays_ns if window]
        if not windows:
            return math.nan, math.nan, math.nan
        if now_s - self._computed_s > _LAG_REFRESH_S:
            arrays = [np.fromiter(w, dtype=np.int64, count=len(w)) for w in windows]
            p50, p99 = np.quantile(np.concatenate(arrays) - offset_ns, (0.5, 0.99)) / _NS_PER_MS
            self._computed_s, self._p50, self._p99 = now_s, float(p50), float(p99)
        last = max(window[-1] for window in windows)
        return (last - offset_ns) / _NS_PER_MS, self._p50, self._p99


class LoopGauge:
    """Measures how late the loop wakes up, and counts time without what a cell took of it.

    A loop that a cell blocked for a minute has not waited a minute for data: the data is in the
    socket. So silence is measured in awake time.

    Parameters
    ----------
    period_s : float
        Seconds between two calls of `tick`, if the loop is free.
    blocked_s : float
        Lateness from which the loop counts as blocked.
    now_s : float
        Monotonic seconds.
    """

    def __init__(self, period_s: float, blocked_s: float, *, now_s: float) -> None:
        self._period_s = period_s
        self._blocked_s = blocked_s
        self._last_s = now_s
        self._worst: deque[tuple[float, float]] = deque()  # falling lags: the first is the worst
        self._block: tuple[float, float] | None = None  # (when it ended, how long it was)

    def tick(self, now_s: float) -> tuple[float, float]:
        """Note that the loop is awake.

        Returns
        -------
        awake_s : float
            Awake time since the last call.
        blocked_s : float
            How long the loop was blocked, 0 if it was not.
        """
        passed_s = now_s - self._last_s
        self._last_s = now_s
        late_s = max(0.0, passed_s - self._period_s)
        while self._worst and self._worst[-1][1] <= late_s:
            self._worst.pop()
        self._worst.append((now_s, late_s))
        if late_s >= self._blocked_s:
            self._block = now_s, late_s
            return self._period_s, late_s
        return passed_s, 0.0

    def lag_max_s(self, now_s: float) -> float:
        """Return the longest lateness of the last ten seconds, the one going on included."""
        while self._worst and self._worst[0][0] < now_s - _WINDOW_S:
            self._worst.popleft()
        under_way_s = max(0.0, now_s - self._last_s - self._period_s)
        return max(under_way_s, self._worst[0][1] if self._worst else 0.0)

    def recent_block_s(self, now_s: float) -> float:
        """Return how long the loop was blocked within the last ten seconds, 0 if it was not."""
        if self._block is None or now_s - self._block[0] > _WINDOW_S:
            return 0.0
        return self._block[1]


class StreamRate:
    """Learns how often a stream speaks, and so how long it may be silent.

    Parameters
    ----------
    timeouts : Timeouts
        The limits of that silence.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        # One message a second, until the stream shows its own rate.
        self._messages = 1.0
        self._seconds = 1.0
        self._waited_s = 0.0

    def learn(self, messages: int, awake_s: float) -> None:
        """Take what arrived in a stretch of awake time."""
        self._waited_s += awake_s
        if messages:
            # Silence counts only once it has ended: a dead stream must not look like a slow one.
            keep = math.exp(-self._waited_s / _RATE_MEMORY_S)
            self._messages = self._messages * keep + messages
            self._seconds = self._seconds * keep + self._waited_s
            self._waited_s = 0.0

    @property
    def per_s(self) -> float:
        """Messages a second, over about the last minute in which there were any."""
        return self._messages / self._seconds

    @property
    def idle_limit_s(self) -> float:
        """Awake seconds of silence from which the stream counts as stalled."""
        limits = self._timeouts
        most = limits.idle_busy_s if self.per_s > 1.0 else limits.idle_max_s
        return min(max(_PATIENCE / self.per_s, limits.idle_min_s), most)
