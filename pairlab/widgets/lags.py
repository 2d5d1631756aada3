"""How long rows wait for the screen: the last stretch of the way from the exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pairlab.health import RecentQuantiles
from pairlab.ticks import RowFlag

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["ScreenLag"]

_AT_MOST: Final = 4096


class ScreenLag:
    """From the receipt of a row's tick until the frame that first shows the row has been sent.

    What the browser needs to get and draw the frame comes on top: the kernel does not see it.
    """

    def __init__(self) -> None:
        self._lags_ms = RecentQuantiles(_AT_MOST)
        self._seen: tuple[int, int] | None = None

    def painted(self, lab: PairLab, now_ns: int) -> None:
        """Count the rows that came since the last frame as shown now."""
        rows, before = lab.rows, self._seen
        self._seen = (lab.generation, rows.total)
        if before is None or before[0] != lab.generation:
            return  # rows made anew, or of before there was a screen, waited for other things
        new = rows.view(min(rows.total - before[1], _AT_MOST))
        new = new[new["flags"] & RowFlag.SEEDED == 0]
        if len(new):
            self._lags_ms.add((now_ns - new["received_ns"]) / 1e6)

    def rest(self) -> None:
        """Forget since when rows wait: nobody looks."""
        self._seen = None

    def p50_p99_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile over the newest 4,096 rows; NaN before the first."""
        return self._lags_ms.p50_p99()
