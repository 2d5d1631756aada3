"""Ticks with time between them that nobody saw: rows go on after it, and none lies within."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.state import LEGS
from pairlab.schema import BOTH_LEGS, EVENT, TIME_CORRECTED, TIMEFRAMES_NS, Records

if TYPE_CHECKING:
    from pairlab.engine.pair_engine import PairEngine

__all__ = [
    "Candles",
    "Gap",
    "candles_within",
    "mark",
    "numbered_from",
    "pieces_over_gaps",
    "update_over_gaps",
]

Candles: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Close times of bars (ns since 1970 UTC, ascending), closes of y, closes of x."""


class Gap(NamedTuple):
    """Trades that are missing before a tick, or what else is to be known of it.

    Attributes
    ----------
    tick : int
        Number of the first tick after them.
    legs : int
        Whose: 1 y, 2 x, 3 both. `TIME_CORRECTED` is a bit of its own: the tick was stamped ahead
        of the clock and has another time than the exchange gave it.
    """

    tick: int
    legs: int = BOTH_LEGS

    @property
    def is_gap(self) -> bool:
        """Whether trades are missing."""
        return self.legs & BOTH_LEGS != 0


def numbered_from(first_tick: int, gaps: Iterable[Gap]) -> list[Gap]:
    """Return gaps numbered from a tick's ordinal instead of 0."""
    return [Gap(gap.tick - first_tick, gap.legs) for gap in gaps]


def mark(state: Records, bar_clock: Records | None, legs: int) -> None:
    """Mark in an engine's state what a `Gap` says of the next tick."""
    if legs & TIME_CORRECTED:
        state["next_corrected"] = 1
    missing = legs & BOTH_LEGS
    if missing == 0:
        return
    state["gap"] = 1
    state["corrected"] &= ~missing  # the row to come is not made of what they traded before
    for leg, seen in enumerate(("y_seen", "x_seen")):
        if missing >> leg & 1:
            state[seen] = 0
    if bar_clock is not None:
        bar_clock["unseen"] |= missing


def update_over_gaps(
    engine: PairEngine, ticks: Records, gaps: Iterable[Gap], candles: Candles | None = None
) -> Records:
    """Update an engine with ticks that have gaps.

    Parameters
    ----------
    engine : PairEngine
        Its `events` are those of all rows afterwards.
    ticks : numpy.ndarray
        `pairlab.schema.TICK` records.
    gaps : iterable of Gap
        In order; a tick's number counts in `ticks`. One at its end is marked, too.
    candles : tuple of numpy.ndarray, optional
        Bars that are known from elsewhere: those in the gaps are observed, without a decision.

    Returns
    -------
    numpy.ndarray
        `pairlab.schema.ROW` records.
    """
    row_parts: list[Records] = []
    event_parts: list[Records] = []
    row_count = start = 0
    for gap in (*gaps, None):
        stop = len(ticks) if gap is None else gap.tick
        rows = engine.update(ticks[start:stop])
        if gap is None and not row_parts:
            return rows
        row_parts.append(rows.copy())
        events = engine.events.copy()
        events["row"] += row_count
        event_parts.append(events)
        row_count += len(rows)
        start = stop
        if gap is not None:
            engine.mark_gap(gap.legs)
            bars = TIMEFRAMES_NS[engine.values.timeframe] > 0
            if candles is not None and bars and gap.is_gap:
                filled = engine.fill_gap(*candles_within(candles, ticks[stop:], gap.legs))
                row_parts.append(filled)
                row_count += len(filled)
    engine.events = np.concatenate([np.zeros(0, EVENT), *event_parts])
    return np.concatenate(row_parts)


def pieces_over_gaps(
    engine: PairEngine, ticks: Records, gaps: Iterable[Gap], length: int
) -> Iterator[tuple[Records, Records]]:
    """Do as `update_over_gaps`, and yield at most `length` ticks and their rows at a time.

    Rows may be a view that the next piece overwrites; the engine's `events` are their own.
    """
    start = 0
    for gap in (*gaps, None):
        stop = len(ticks) if gap is None else gap.tick
        for first in range(start, stop, length):
            piece = ticks[first : min(first + length, stop)]
            yield piece, engine.update(piece)
        start = stop
        if gap is not None:
            engine.mark_gap(gap.legs)


def candles_within(candles: Candles, ticks: Records, legs: int) -> Candles:
    """Return the candles that have closed before the legs of a gap, before these ticks, traded."""
    count = 0
    for leg in range(LEGS):
        if legs >> leg & 1:
            after = np.flatnonzero((ticks["leg"] == leg) & (ticks["price"] > 0.0))
            count = max(count, int(after[0]) + 1 if len(after) else len(ticks))
    times, y, x = candles
    end = np.searchsorted(times, ticks["time_ns"][:count].max(), "right") if count else 0
    return times[:end], y[:end], x[:end]
