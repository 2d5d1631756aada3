"""Ids that start again while nobody listens, and have passed the old ones by the next trade.

The stream then shows a gap like any other, and REST fills it with trades of another series. So
after an interruption the exchange is first asked for the last trade held: it must be that trade.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.sequencing.sequencer import Sequencer

__all__ = ["CheckedSequencer"]


class CheckedSequencer(Sequencer):
    """A sequencer whose series may have been replaced during an interruption.

    A gap that is noted after an interruption is `Gap.unverified`, until `note_same_series` or
    `begin_anew` is called.
    """

    arrived_ns = 0
    """Receive time of the last item, or of the last interruption, that was no plain next one."""

    def note_interruption(self, legs: Iterable[int] = (0, 1)) -> None:
        """Do as `Sequencer.note_interruption`."""
        self.arrived_ns = self._clock.time_ns()
        super().note_interruption(legs)

    def _accept_slowly(self, item: TickTuple | ConsumedId, leg: int, id_: int) -> None:
        self.arrived_ns = item[1]
        super()._accept_slowly(item, leg, id_)

    @property
    def waits(self) -> bool:
        """Whether a trade may be on its way that other trades must wait for."""
        return any(self._waits(leg) for leg in (0, 1))

    def last_held(self, leg: int) -> TickTuple | None:
        """Return the trade right before the next id, None where that is not known."""
        last = self._last[leg]
        if isinstance(last, ConsumedId) or last[2] != self._next[leg] - 1:
            return None
        return last

    def note_same_series(self, leg: int) -> None:
        """Note that the exchange knows the last trade held: the gaps of a leg can be filled."""
        for gap in self._legs[leg].gaps:
            gap.unverified = False

    def is_old_series(self, leg: int, ticks: Collection[TickTuple]) -> bool:
        """Return whether what was fetched for a new series is all of the one before it."""
        old_ns = self._legs[leg].old_series_ns
        return old_ns is not None and all(tick[0] <= old_ns for tick in ticks)

    def begin_anew(self, leg: int, ticks: Iterable[TickTuple]) -> None:
        """Go on with another series, of which REST has returned these trades.

        What the stream brought since the interruption belongs to it, too. Its trades before the
        first one that is known become a gap, of fewer than ``max_gap_trades``, so that they are
        fetched, if they can be.
        """
        state = self._legs[leg]
        while state.gaps and not state.gaps[0].unverified:
            self._give_up(leg)
            self._advance(leg)
        state.gaps.clear()
        found = {tick[2]: tick for tick in ticks}
        self.repaired += len(found.keys() - state.buffered.keys())
        items = found | state.buffered
        state.buffered = {}
        self._begin_series(leg, [items[id_] for id_ in sorted(items)], missing=0)
        self._release()
