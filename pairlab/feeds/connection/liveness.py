"""Whether a stream is alive and, if not, whether the stream or this notebook is to blame."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pairlab.feeds.config import Timeouts

__all__ = ["LagGauge", "LoopGauge", "StreamRate"]

_MEMORY_S = 60.0  # over which a stream's rate is taken
_PATIENCE = 20.0  # mean intervals of silence that are still normal
_WINDOW_S = 10.0  # over which the loop's worst lag is shown


_NS_PER_MS: Final = 1e6
_ASKED_S: Final = 0.5  # the screen asks ten times a second


class LagGauge:
    """Quantiles of how late ticks arrive, worked out twice a second at the most."""

    def __init__(self) -> None:
        self._when_s = -1.0
        self._p50 = self._p99 = float("nan")

    def read(self, delays_ns: Sequence[deque[int]], offset_ns: int) -> tuple[float, float, float]:
        """Return the last lag, the median and the 99 % quantile, ms; NaN before the first tick.

        Parameters
        ----------
        delays_ns : sequence of deque of int
            Receive time minus event time of the last ticks, by connection.
        offset_ns : int
            This machine's clock minus the exchange's.
        """
        windows = [window for window in delays_ns if window]
        if not windows:
            return float("nan"), float("nan"), float("nan")
        now = time.monotonic()
        if now - self._when_s > _ASKED_S:
            arrays = [np.fromiter(w, dtype=np.int64, count=len(w)) for w in windows]
            p50, p99 = np.quantile(np.concatenate(arrays) - offset_ns, (0.5, 0.99)) / _NS_PER_MS
            self._when_s, self._p50, self._p99 = now, float(p50), float(p99)
        last = max(window[-1] for window in windows)
        return (last - offset_ns) / _NS_PER_MS, self._p50, self._p99


class LoopGauge:
    """Tells how late the loop wakes up, and counts time without what a cell took of it.

    A loop that a cell blocked for a minute has not waited a minute for data: the data is in the
    socket. So silence is measured in awake time.

    Parameters
    ----------
    period_s : float
        Seconds between two calls of `tick`, if the loop is free.
    blocked_s : float
        Lateness from which the loop counts as blocked.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        period_s: float,
        blocked_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_s = period_s
        self._blocked_s = blocked_s
        self._clock = clock
        self._last = clock()
        self._worst: deque[tuple[float, float]] = deque()  # falling lags: the first is the worst

    def tick(self) -> tuple[float, float]:
        """Note that the loop is awake.

        Returns
        -------
        awake_s : float
            Awake time since the last call.
        blocked_s : float
            How long the loop was blocked, 0 if it was not.
        """
        now = self._clock()
        passed = now - self._last
        self._last = now
        late = max(0.0, passed - self._period_s)
        while self._worst and self._worst[-1][1] <= late:
            self._worst.pop()
        self._worst.append((now, late))
        if late >= self._blocked_s:
            return self._period_s, late
        return passed, 0.0

    def lag_s(self) -> float:
        """Return the longest lateness of the last ten seconds, the one going on included."""
        now = self._clock()
        while self._worst and self._worst[0][0] < now - _WINDOW_S:
            self._worst.popleft()
        under_way = max(0.0, now - self._last - self._period_s)
        return max(under_way, self._worst[0][1] if self._worst else 0.0)


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
            keep = math.exp(-self._waited_s / _MEMORY_S)
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
