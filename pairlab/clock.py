"""Time as an argument: what reads a clock is given one, so that tests and replays set the time."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where the time is read."""

    def monotonic_s(self) -> float:
        """Return seconds that never step back, for time-outs and rates."""

    def time_ns(self) -> int:
        """Return the wall clock, ns since 1970 UTC, for time stamps and lags."""


class SystemClock:
    """The clocks of the machine."""

    def monotonic_s(self) -> float:
        """Return `time.monotonic`."""
        return time.monotonic()

    def time_ns(self) -> int:
        """Return `time.time_ns`."""
        return time.time_ns()
