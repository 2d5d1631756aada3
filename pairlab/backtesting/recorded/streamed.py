"""A recording run through the engine as it is read: its ticks are never all in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pairlab.data.journal import GapMarked, TimeCorrected
from pairlab.engine import PairEngine
from pairlab.engine.gaps import Gap, pieces_over_gaps
from pairlab.research.past import PIECE_TICKS, Past, TakeRows, require_fine_steps
from pairlab.schema import ROW, TICK, TIME_CORRECTED, Pair, Records
from pairlab.settings import Settings
from pairlab.storage.recording.recorded_session import RecordedSession

__all__ = ["marked_ticks", "streamed_past"]


def marked_ticks(
    session: RecordedSession, pair: Pair, *, block: int = PIECE_TICKS
) -> Iterator[tuple[Records, list[Gap]]]:
    """Go through the ticks of a recording, and what is known of them.

    Parameters
    ----------
    session : RecordedSession
        The recording.
    pair : Pair
        Its symbols, in the order in which they are legs.
    block : int
        Most ticks of an item.

    Yields
    ------
    numpy.ndarray
        `pairlab.TICK` records.
    list of Gap
        In order, one a tick; a tick's number counts in these.
    """
    events = [e for e in session.events() if isinstance(e, GapMarked | TimeCorrected)]
    swapped = pair != session.pair
    at = 0
    for first, ticks in session.ticks(block=block):
        legs: dict[int, int] = {}
        while at < len(events) and events[at].tick < first + len(ticks):
            event = events[at]
            at += 1
            # Where ticks are left out, a gap is marked at the next one that is there.
            number = max(event.tick - first, 0)
            if isinstance(event, GapMarked):
                legs[number] = legs.get(number, 0) | _legs(event.legs, swapped)
            elif event.tick >= first:
                legs[number] = legs.get(number, 0) | TIME_CORRECTED
        if swapped:
            ticks = ticks.copy()
            ticks["leg"] ^= 1
        yield ticks, [Gap(number, legs[number]) for number in sorted(legs)]


def _legs(legs: int, swapped: bool) -> int:
    return (legs & 1) << 1 | legs >> 1 if swapped else legs


def streamed_past(session: RecordedSession, pair: Pair, settings: Settings, take: TakeRows) -> Past:
    """Run the engine over a recording; as `pairlab.research.past.past_of`, piece by piece.

    Raises
    ------
    DataError, SettingError
        As `analyze` does.
    """
    engine = PairEngine(values=settings.values(), bars=False)
    timeframe = engine.values.timeframe
    count = 0
    for ticks, gaps in marked_ticks(session, pair):
        if not count and timeframe != "tick":
            for leg in (0, 1):
                times = np.unique(ticks["time_ns"][ticks["leg"] == leg])
                require_fine_steps(timeframe, times, "yx"[leg])
        ticks = ticks.copy()
        ticks["received_ns"] = np.arange(count, count + len(ticks))  # which only rows take over
        count += len(ticks)
        for piece, rows in pieces_over_gaps(engine, ticks, gaps, PIECE_TICKS):
            take(piece, rows, engine.events)
    return Past(engine, np.zeros(0, ROW), np.zeros(0, TICK), None, count)
