"""The equity of a session as a curve of bounded length."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.schema import NS_PER_S

__all__ = ["EquityCurve"]

_POINTS: Final = 8_192


class EquityCurve:
    """Points at ever longer intervals, a second at first: the whole session is always there.

    Parameters
    ----------
    capital : float
        Equity at the start.

    Attributes
    ----------
    drawdown : float
        Largest fall from a peak, of all that was added, in the quote currency; at least 0.
    """

    def __init__(self, capital: float) -> None:
        self._times = np.empty(_POINTS, np.int64)
        self._equity = np.empty(_POINTS)
        self._count = 0
        self._step_ns = NS_PER_S
        self._peak = capital
        self.drawdown = 0.0

    def add(self, time_ns: int, equity: float) -> None:
        """Add the equity of a moment, not before the one that was added last; NaN is left out."""
        if equity != equity:
            return
        self._peak = max(self._peak, equity)
        self.drawdown = max(self.drawdown, self._peak - equity)
        newest = self._count - 1
        # The newest point moves along until it is a step away from the one before it.
        far = newest < 1 or self._times[newest] - self._times[newest - 1] >= self._step_ns
        if newest < 0 or (far and time_ns > self._times[newest]):
            if self._count == _POINTS:
                self._thin_out()
            newest = self._count
            self._count += 1
        self._times[newest], self._equity[newest] = time_ns, equity

    def _thin_out(self) -> None:
        """Leave out every other point, but the newest, and go on at twice the step."""
        kept = np.append(np.arange(0, _POINTS - 1, 2), _POINTS - 1)
        self._count = len(kept)
        self._times[: self._count] = self._times[kept]
        self._equity[: self._count] = self._equity[kept]
        self._step_ns *= 2

    def points(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return copies of times (ns since 1970 UTC) and equity, oldest first."""
        return self._times[: self._count].copy(), self._equity[: self._count].copy()
