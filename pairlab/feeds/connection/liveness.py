"""Gauges of liveness: lag of ticks, lateness of the event loop, usual rate of a stream."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pairlab.feeds.config import Timeouts

__all__ = ["LagGauge", "LoopGauge", "StreamRate", "SuspendGauge", "why_blocked"]

_RATE_MEMORY_S: Final = 60.0  # over which a stream's rate is taken
_PATIENCE: Final = 20.0  # mean intervals of silence that are still normal
_CATCH_UP_S: Final = 60.0  # after a silence, in which what was missed is fetched and computed
_WINDOW_S: Final = 10.0  # over which the loop's worst lag, and a block, are shown
_LAG_REFRESH_S: Final = 0.5  # the screen asks ten times a second
_NS_PER_MS: Final = 1e6
_IDLE_SHARE: Final = 0.1  # of the processor, below which nothing ran but what reads the socket
_SUSPENDED_S: Final = 1.0  # the clocks are not read at the same moment


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

    Attributes
    ----------
    idle_block : bool
        In the last block the process used next to no processor time, and no cell is known to have
        run: it was stopped, or something waited in it.
    """

    def __init__(self, period_s: float, blocked_s: float, *, now_s: float) -> None:
        self._period_s = period_s
        self._blocked_s = blocked_s
        self._last_s = now_s
        self._asleep_s: float | None = now_s  # since when it waits for its next tick
        self._worst: deque[tuple[float, float]] = deque()  # falling lags: the first is the worst
        self._block: tuple[float, float] | None = None  # (when it ended, how long it was)
        self._rest_cpu_s = 0.0
        self._cells: int | None = None
        self.idle_block = False

    def rest(self, now_s: float, cpu_s: float = 0.0) -> None:
        """Note that the wait for the next tick begins: what the caller awaited before is no block.

        A connection whose peer does not answer may take seconds to be written to or closed; the
        loop is free meanwhile. `cpu_s` is the processor time that the process has used.
        """
        self._asleep_s, self._rest_cpu_s, self._cells = now_s, cpu_s, cells_run()

    def tick(self, now_s: float, cpu_s: float = math.inf) -> tuple[float, float]:
        """Note that the loop is awake, after a wait that began with `rest`.

        Returns
        -------
        awake_s : float
            Awake time since the last call.
        blocked_s : float
            How long the loop was blocked, 0 if it was not.
        """
        last_s = self._last_s
        passed_s = now_s - last_s
        asleep_s = last_s if self._asleep_s is None else self._asleep_s
        late_s = max(0.0, now_s - asleep_s - self._period_s)
        self._last_s, self._asleep_s = now_s, None
        while self._worst and self._worst[-1][1] <= late_s:
            self._worst.pop()
        self._worst.append((now_s, late_s))
        if late_s >= self._blocked_s:
            self._block = now_s, late_s
            used_s = cpu_s - self._rest_cpu_s
            self.idle_block = used_s < _IDLE_SHARE * late_s and cells_run() == self._cells
            return asleep_s - last_s + self._period_s, late_s
        return passed_s, 0.0

    def lag_max_s(self, now_s: float) -> float:
        """Return the longest lateness of the last ten seconds, the one going on included."""
        while self._worst and self._worst[0][0] < now_s - _WINDOW_S:
            self._worst.popleft()
        asleep_s = self._last_s if self._asleep_s is None else self._asleep_s
        under_way_s = max(0.0, now_s - asleep_s - self._period_s)
        return max(under_way_s, self._worst[0][1] if self._worst else 0.0)

    def recent_block_s(self, now_s: float) -> float:
        """Return how long the loop was blocked within the last ten seconds, 0 if it was not."""
        if self._block is None or now_s - self._block[0] > _WINDOW_S:
            return 0.0
        return self._block[1]


class SuspendGauge:
    """Tells that the machine was suspended: its monotonic clock stands still meanwhile.

    On Linux, where another clock goes on; elsewhere it never tells anything.

    Parameters
    ----------
    total_s : callable, optional
        Returns the seconds that the machine has been suspended, since any moment.
    """

    def __init__(self, total_s: Callable[[], float] | None = None) -> None:
        self._total_s = total_s or suspended_s
        self._before_s = self._total_s()

    def read(self) -> float:
        """Return how long the machine was suspended since the last call, seconds."""
        now_s = self._total_s()
        gone_s, self._before_s = now_s - self._before_s, now_s
        return gone_s if gone_s >= _SUSPENDED_S else 0.0


def suspended_s() -> float:
    """Return for how long this machine has been suspended since it started, as far as known."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    if boot is None:
        return 0.0
    return time.clock_gettime(boot) - time.clock_gettime(time.CLOCK_MONOTONIC)


def cells_run() -> int | None:
    """Return how many cells IPython has run; None outside it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "execution_count", None)


def why_blocked(blocked_s: float, since_silence_s: float, *, idle: bool = False) -> str:
    """Return in words what kept the loop: soon after a silence it is the catching up, no cell.

    An `idle` block is one of `LoopGauge.idle_block`.
    """
    if idle:
        return (
            f"nothing ran in this process for {blocked_s:.1f} s: it was stopped (SIGSTOP, a "
            "debugger), or a call waited (time.sleep)"
        )
    if since_silence_s < _CATCH_UP_S:
        return (
            "the exchange or the network had stood still; to catch up kept the event loop busy "
            f"for {blocked_s:.1f} s"
        )
    return f"a cell kept the notebook busy for {blocked_s:.1f} s"


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
