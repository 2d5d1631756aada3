"""When recorded ticks are due: the recording's time, at a speed, from a moment on."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.clock import Clock
from pairlab.errors import SettingError
from pairlab.schema import NS_PER_S

__all__ = ["Pace", "PieceSize", "check_speed"]

_LATE_S: Final = 1.0
"""Ticks that are later than this by the wall clock are not caught up with."""

_HOLD_S: Final = 0.004
"""How long the loop is held for one piece; as much again for what listeners do."""

_LEAST, _MOST = 256, 20_000


def check_speed(speed: float) -> float:
    """Return a speed; raise SettingError if it is none."""
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not speed > 0:
        raise SettingError(
            "speed", speed, "expected a number above 0: 1 is real time, float('inf') without pauses"
        )
    return float(speed)


class Pace:
    """Maps this machine's monotonic time to the recording's.

    A loop that was blocked, or a speed that this machine does not reach, leaves ticks that are
    late; more than a second of that is dropped, not caught up with.

    Parameters
    ----------
    clock : Clock
        Whose monotonic seconds are read.
    speed : float
        Seconds of the recording per second; infinity: everything is due.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._speed = speed
        self._at_ns = 0
        self._since_s = clock.monotonic_s()
        self._held = False

    @property
    def speed(self) -> float:
        """Seconds of the recording per second."""
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Go on at another speed from the present moment."""
        self.go_to(self.now_ns)
        self._speed = speed

    def hold(self, held: bool) -> None:
        """Stand still at the present moment, or go on from it."""
        self.go_to(self.now_ns)
        self._held = held

    def go_to(self, time_ns: int) -> None:
        """Make a time of the recording the present moment."""
        self._at_ns, self._since_s = time_ns, self._clock.monotonic_s()

    @property
    def now_ns(self) -> int:
        """The present moment in the recording's receive time."""
        if self._held or math.isinf(self._speed):
            return self._at_ns
        return self._at_ns + int((self._clock.monotonic_s() - self._since_s) * self._speed * 1e9)

    def due(self, times_ns: NDArray[np.int64], at_most: int) -> int:
        """Return how many of the next ticks are due.

        Parameters
        ----------
        times_ns : numpy.ndarray
            Their receive times, ascending, shape (n,), n > 0.
        at_most : int
            No more than this.
        """
        if self._held:
            return 0
        if math.isinf(self._speed):
            self._at_ns = int(times_ns[min(at_most, len(times_ns)) - 1])
            return min(at_most, len(times_ns))
        first, now_ns = int(times_ns[0]), self.now_ns
        if now_ns - first > _LATE_S * self._speed * NS_PER_S:
            self.go_to(first)
            now_ns = first
        return int(np.searchsorted(times_ns[:at_most], now_ns, "right"))

    def delay_s(self, time_ns: int) -> float | None:
        """Return how long it is until a tick is due; None: for as long as it stands still."""
        if self._held:
            return None
        return max((time_ns - self.now_ns) / (self._speed * NS_PER_S), 0.0)


class PieceSize:
    """How many ticks to hand on at once, so that the loop is never held for long."""

    def __init__(self) -> None:
        self.ticks = 4096

    def took(self, ticks: int, seconds: float) -> None:
        """Learn from a piece."""
        if ticks < _LEAST:
            return  # what it took says little about ticks
        wanted = ticks * _HOLD_S / max(seconds, 1e-6)
        self.ticks = int(min(max(wanted, self.ticks / 2, _LEAST), self.ticks * 2, _MOST))
