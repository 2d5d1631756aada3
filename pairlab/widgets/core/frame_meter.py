"""How often frames are painted, and how long painting one takes."""

from __future__ import annotations

import math
import time
from typing import Final

__all__ = ["FrameMeter"]

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
