"""How much of the past makes rows warm."""

from __future__ import annotations

from typing import Final

from pairlab.schema import TIMEFRAMES_NS, kalman_rows
from pairlab.settings import Settings

__all__ = ["warm_up_need"]

_WARM_TICKS: Final = 20_000  # of rows per tick: what charts show is there, too


def warm_up_need(settings: Settings) -> tuple[int, int]:
    """Return how many ticks, and nanoseconds, before a time make rows warm there."""
    rows = settings.window + settings.adf_lags + 1
    if settings.hedge == "kalman":
        rows += kalman_rows(settings.kalman_half_life)
    length_ns = TIMEFRAMES_NS[settings.timeframe]
    # A tick of a leg that has not traded yet makes no row; a bar that began earlier is cut.
    return (max(2 * rows, _WARM_TICKS), 0) if not length_ns else (1_000, (rows + 1) * length_ns)
