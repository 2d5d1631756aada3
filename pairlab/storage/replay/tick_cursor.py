"""Where in a source a replay is: the ticks that come next, and the gaps before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.feeds.base import CorrectedTimeSink, ReplaySink
from pairlab.schema import BOTH_LEGS, TICK, TIME_CORRECTED
from pairlab.storage.replay.read_ahead import ReadAhead
from pairlab.storage.replay.tick_source import Block

__all__ = ["HandedOn", "TickCursor"]

_NO_TICKS: Final = np.zeros(0, TICK)


class HandedOn(NamedTuple):
    """What went to a sink.

    Attributes
    ----------
    newest_ns : int
        Latest exchange time among the ticks.
    gaps, missing : int
        Gaps before them, and trades in those.
    """

    newest_ns: int
    gaps: int
    missing: int


class TickCursor:
    """Hands on the ticks of a source, piece by piece.

    Parameters
    ----------
    blocks : iterator of Block
        Read in threads, ahead.
    """

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._reader = ReadAhead(blocks)
        self._block = Block(_NO_TICKS)
        self._due: NDArray[np.int64] = _NO_TICKS["received_ns"]  # as far as they ascend
        self._at = self._next_gap = self._next_bars = 0

    async def has_ticks(self) -> bool:
        """Return whether there is a tick to hand on; read the next block if this one is over.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        while self._at >= len(self._due):
            last_ns = self._due[-1:]
            block = await self._reader.next()
            if block is None:
                return False
            self._block, self._at = block, 0
            self._next_gap = self._next_bars = 0
            self._due = np.maximum.accumulate(block.ticks["received_ns"])
            if len(last_ns):
                self._due = np.maximum(self._due, last_ns[0])
        return True

    @property
    def due_ns(self) -> NDArray[np.int64]:
        """Receive times of the ticks of this block that come next, ascending."""
        return self._due[self._at :]

    def before(self, time_ns: int) -> tuple[int, int]:
        """Return how many of this block's next ticks are before an exchange time, and the first's.

        Times count by their running maximum.
        """
        times = np.maximum.accumulate(self._block.ticks["time_ns"][self._at :])
        return int(np.searchsorted(times, time_ns)), int(times[0])

    def hand_on(self, sink: ReplaySink, count: int, *, warm_up: bool = False) -> HandedOn:
        """Give a sink the next ticks of this block; gaps and their bars before the tick after."""
        ticks, gaps, bars = self._block
        give = sink.on_warm_up if warm_up else sink.on_ticks
        begin, stop = self._at, self._at + count
        found = missing = 0
        while self._at < stop:
            until = stop
            while self._next_gap < len(gaps) and gaps[self._next_gap].at <= self._at:
                gap = gaps[self._next_gap]
                self._next_gap += 1
                if gap.legs & BOTH_LEGS:
                    sink.on_leg_gap(gap.missing, gap.legs & BOTH_LEGS)
                    found, missing = found + 1, missing + gap.missing
                if gap.legs & TIME_CORRECTED and isinstance(sink, CorrectedTimeSink):
                    sink.on_corrected_time()
            if self._next_gap < len(gaps):
                until = min(stop, gaps[self._next_gap].at)
            while self._next_bars < len(bars) and bars[self._next_bars].at <= self._at:
                mark = bars[self._next_bars]
                self._next_bars += 1
                sink.on_closes(mark.timeframe, mark.closes)
            if self._next_bars < len(bars):
                until = min(until, bars[self._next_bars].at)
            piece = ticks[self._at : until]
            self._at = until  # before it is given: a sink that raises is not given it again
            give(piece)
        return HandedOn(int(ticks["time_ns"][begin:stop].max()), found, missing)

    async def close(self) -> None:
        """Stop reading."""
        await self._reader.close()
