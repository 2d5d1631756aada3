"""Rate of ticks, lateness of the event loop, and uptime of a lab."""

from __future__ import annotations

from collections import deque
from typing import Final

from pairlab.clock import Clock

__all__ = ["LoadMeter"]

_RATE_OVER_S: Final = 2.0


class LoadMeter:
    """Measures while a lab runs; sampled at a fixed interval.

    Parameters
    ----------
    clock : Clock
        Whose monotonic time is read.
    interval_s : float
        Between two calls of `sample`, on a loop that is never late.

    Attributes
    ----------
    loop_lag_s : float
        How late the last sample was taken.
    """

    def __init__(self, clock: Clock, interval_s: float) -> None:
        self.loop_lag_s = 0.0
        self._clock = clock
        self._interval_s = interval_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(_RATE_OVER_S / interval_s) + 1)
        self._started_s = float("nan")

    def start(self, ticks: int) -> None:
        """Begin to measure, with so many ticks taken before."""
        self._started_s = self._clock.monotonic_s()
        self._samples.clear()
        self._samples.append((self._started_s, ticks))

    def sample(self, ticks: int, slept_since_s: float) -> float:
        """Note how many ticks there are after a sleep of the interval; return the monotonic time.

        `slept_since_s` is when the sleep began, by the same clock.
        """
        now_s = self._clock.monotonic_s()
        self.loop_lag_s = max(0.0, now_s - slept_since_s - self._interval_s)
        self._samples.append((now_s, ticks))
        return now_s

    @property
    def ticks_per_s(self) -> float:
        """Over the last two seconds; 0 before the second sample."""
        if len(self._samples) < 2:
            return 0.0
        (t0, n0), (t1, n1) = self._samples[0], self._samples[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0

    @property
    def uptime_s(self) -> float:
        """Seconds since `start`."""
        return self._clock.monotonic_s() - self._started_s
