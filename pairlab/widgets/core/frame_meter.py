"""How often frames are painted, how long painting one takes, and when the next is due."""

from __future__ import annotations

import math
import time
from typing import Final

__all__ = ["FrameMeter", "next_frame_s"]

_EVERY_S: Final = 1.0


class FrameMeter:
    """Measures frames, afresh each second.

    Attributes
    ----------
    painted : int
        Frames since the beginning.
    frames_per_s : float
        Over the last second; NaN before the first is over.
    frame_p50_ms : float
        Median time that the kernel spent on one; NaN before the first.
    """

    def __init__(self) -> None:
        self.painted = 0
        self.frames_per_s = math.nan
        self.frame_p50_ms = math.nan
        self._since_s = time.monotonic()
        self._spent_s: list[float] = []

    def measure(self, spent_s: float | None) -> None:
        """Count a turn of the clock: what it spent on a frame, or None if it painted none."""
        if spent_s is not None:
            self._spent_s.append(spent_s)
        elapsed_s = time.monotonic() - self._since_s
        if elapsed_s >= _EVERY_S:
            self.frames_per_s = len(self._spent_s) / elapsed_s
            if self._spent_s:
                self.frame_p50_ms = 1e3 * sorted(self._spent_s)[len(self._spent_s) // 2]
            self._spent_s.clear()
            self._since_s = time.monotonic()


def next_frame_s(
    due_s: float, now_s: float, spent_s: float, frames_per_s: float, busy: float
) -> float:
    """Return when the next frame is due, on the loop's clock.

    It is a beat from when this one was due: neither painting nor a busy loop lowers the rate.

    Parameters
    ----------
    due_s : float
        When this one was due.
    now_s : float
        The time after it was painted.
    spent_s : float
        How long that took.
    frames_per_s : float
        The rate.
    busy : float
        How many times as long as it took to paint the loop is left to others.
    """
    return max(due_s + 1 / frames_per_s, now_s + busy * spent_s)
