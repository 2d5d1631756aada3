"""Trade times of any feed against the receive clock, before a sink takes them."""

from __future__ import annotations

import math

import numpy as np

from pairlab.feeds.base import BOTH_LEGS, CorrectedTimeSink, Feed, LegGapSink
from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.sequencing.clock_guard import ClockGuard, split_at_corrected
from pairlab.schema import TICK, Records

__all__ = ["GuardedSink"]

_NS_PER_MS = 1e6


class GuardedSink:
    """Hands ticks on with no time ahead of the clock, as `ClockGuard` corrects them.

    For feeds that do not see to it by themselves. A batch in which no time is ahead costs one
    comparison of arrays; ticks without a receive time are handed on as they are.

    Parameters
    ----------
    sink : LegGapSink
        Where ticks and gaps go.
    feed : Feed
        Whose clock offset is read, and who is named in the log.
    """

    def __init__(self, sink: LegGapSink, feed: Feed) -> None:
        self._sink = sink
        self._feed = feed
        self._guard = ClockGuard(feed)
        self._guard.set_offset(0)

    @property
    def count(self) -> int:
        """Times corrected so far."""
        return self._guard.count

    def on_ticks(self, ticks: Records) -> None:
        """Take the next ticks; one that is ahead is handed on with those after it."""
        guard = self._guard
        ahead = ticks["time_ns"] - ticks["received_ns"] > guard.limit_ns
        if not (guard.waiting or ahead.any()) or not (ticks["received_ns"] > 0).all():
            self._sink.on_ticks(ticks)
            if len(ticks):
                guard.note(int(ticks["time_ns"][-1]))
            return
        if not guard.waiting:
            offset_ms = self._feed.health().clock_offset_ms
            if math.isfinite(offset_ms):
                guard.set_offset(round(offset_ms * _NS_PER_MS))
        self._hand_on(guard.corrected(ticks.tolist()))

    def on_gap(self, missing: int) -> None:
        """Note that trades are missing before the first of the next ticks."""
        self.on_leg_gap(missing, BOTH_LEGS)

    def on_leg_gap(self, missing: int, legs: int) -> None:
        """Note that trades of these legs are missing before the first of the next ticks."""
        self.flush()
        self._sink.on_leg_gap(missing, legs)

    def flush(self) -> None:
        """Hand on what waits."""
        self._hand_on(self._guard.flush())

    def _hand_on(self, items: list[TickTuple | ConsumedId]) -> None:
        for corrected, part in split_at_corrected(items):
            if corrected and isinstance(self._sink, CorrectedTimeSink):
                self._sink.on_corrected_time()
            self._sink.on_ticks(np.array(part, TICK))
