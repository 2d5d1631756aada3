"""Bars of the exchange that a recording has beside its ticks: from before them, and of gaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from pairlab.data.journal import EngineStarted, GapFilled, JournalEvent, Rebuilt, Seeds
from pairlab.schema import TIMEFRAMES_NS

__all__ = ["GapBars", "closed_by", "gap_bars", "recorded_seeds", "seeds_before"]

_STALE_BARS: Final = 2


class GapBars(NamedTuple):
    """Bars known of a gap.

    Attributes
    ----------
    tick : int
        Ordinal of the first tick after it.
    timeframe : str
        Of the bars.
    closes : Seeds
        What was known, maybe more than the gap's.
    until_tick : bool
        They came after that tick: only bars that had closed before it count.
    """

    tick: int
    timeframe: str
    closes: Seeds
    until_tick: bool


def seeds_before(timeframe: str, closes: Seeds, first_ns: int) -> Seeds | None:
    """Return the bars that had closed when the first tick came; None if the last is long past."""
    before = closes.time_ns <= first_ns
    if not before.any():
        return None
    found = Seeds(closes.time_ns[before], closes.y[before], closes.x[before])
    stale_ns = _STALE_BARS * TIMEFRAMES_NS[timeframe]
    return found if first_ns - int(found.time_ns[-1]) <= stale_ns else None


def recorded_seeds(events: Iterable[JournalEvent], first_ns: int) -> dict[str, Seeds]:
    """Return, by timeframe, what engines were warmed with from before the first tick.

    Parameters
    ----------
    events : iterable of JournalEvent
        Of one recording, in order; the first of a timeframe counts.
    first_ns : int
        Time of the first tick, ns since 1970 UTC.
    """
    found: dict[str, Seeds] = {}
    for event in events:
        if isinstance(event, EngineStarted | Rebuilt) and event.seeds is not None:
            timeframe = event.values.timeframe
            seeds = seeds_before(timeframe, event.seeds, first_ns)
            if seeds is not None:
                found.setdefault(timeframe, seeds)
    return found


def gap_bars(events: Iterable[JournalEvent]) -> list[GapBars]:
    """Return the bars that were known of gaps, by the tick after the gap, in order."""
    found: dict[tuple[int, str], GapBars] = {}
    timeframe = "tick"
    for event in events:
        if isinstance(event, EngineStarted | Rebuilt):
            timeframe = event.values.timeframe
            if event.candles is None:
                continue
            for gap in event.gaps:
                if not gap.is_gap:
                    continue
                key = gap.tick, timeframe
                found.setdefault(key, GapBars(*key, event.candles, until_tick=True))
        elif isinstance(event, GapFilled):
            key = event.tick, timeframe
            found[key] = GapBars(*key, event.candles, until_tick=False)
    return sorted(found.values(), key=lambda bars: bars.tick)


def closed_by(closes: Seeds, time_ns: int) -> Seeds:
    """Return the bars that had closed at a time."""
    end = int(np.searchsorted(closes.time_ns, time_ns, side="right"))
    return Seeds(closes.time_ns[:end], closes.y[:end], closes.x[:end])
