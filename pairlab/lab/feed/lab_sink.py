"""Where a lab's feed delivers: ticks, gaps, and the resets of a replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pairlab.data.journal import Seeds
from pairlab.data.warm_up import warm_up_need
from pairlab.feeds.base import Closes
from pairlab.lab.feed.stalled_legs import StalledLegs
from pairlab.lab.listeners import Listeners
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.waiters import RowWaiters
from pairlab.schema import Records

__all__ = ["LabSink"]


class LabSink:
    """Gives what a feed brings to the pipeline, and then to those who wait for rows or listen.

    A `pairlab.feeds.ReplaySink` and a `pairlab.feeds.CorrectedTimeSink`.

    Parameters
    ----------
    pipeline : Pipeline
        Takes ticks and gaps.
    stalled : StalledLegs
        Asked before each batch while a leg is stalled.
    waiters : RowWaiters
        Woken by rows.
    listeners : Listeners
        Notified of each batch, and given the alerts.
    klines_wanted : callable
        Called after a gap: bars of it may be had.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        stalled: StalledLegs,
        waiters: RowWaiters,
        listeners: Listeners,
        klines_wanted: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._stalled = stalled
        self._waiters = waiters
        self._listeners = listeners
        self._klines_wanted = klines_wanted

    def on_ticks(self, ticks: Records) -> None:
        """Take a batch of the feed's, in order."""
        if self._stalled.active:
            self._stalled.before_ticks(ticks)
        self._pipeline.on_ticks(ticks)
        self.tell()

    def on_gap(self, missing: int) -> None:
        """Mark that the feed could not fill a gap before its next tick."""
        self._pipeline.on_gap(missing)
        self._klines_wanted()

    def on_leg_gap(self, missing: int, legs: int) -> None:
        """Mark whose trades (1 y, 2 x, 3 both) the feed could not get before its next tick."""
        self._pipeline.on_gap(missing, legs)
        self._klines_wanted()

    def on_corrected_time(self) -> None:
        """Mark that the next tick's time was corrected."""
        self._pipeline.on_corrected_time()

    @property
    def row_count(self) -> int:
        """Rows since the start or reset."""
        return self._pipeline.row_count

    def warm_up_need(self) -> tuple[int, int]:
        """Return how many ticks, and how many ns, before a time make rows warm there."""
        return warm_up_need(self._pipeline.settings)

    def on_reset(self, closes: Mapping[str, Closes]) -> None:
        """Forget ticks, rows and alerts: a replay begins, or goes on at another time."""
        if self._pipeline.next_tick:
            self._pipeline.reset({name: Seeds(*bars) for name, bars in closes.items()})
            self.tell()

    def on_closes(self, timeframe: str, closes: Closes) -> None:
        """Take bars of a gap that were recorded with it."""
        self._pipeline.add_klines(timeframe, Seeds(*closes))

    def on_warm_up(self, ticks: Records) -> None:
        """Take ticks from before the time that is played; their alerts are not delivered."""
        self._pipeline.on_ticks(ticks)
        for tap in self._pipeline.taps:
            tap.on_warm()
        self._waiters.wake(self._pipeline.row_count)
        self._listeners.skip(self._pipeline.alert_log)
        self._listeners.notify()

    def tell(self) -> None:
        """Wake who waits for rows, notify listeners, deliver alerts."""
        if self._waiters:
            self._waiters.wake(self._pipeline.row_count)
        self._listeners.notify()
        self._listeners.deliver(self._pipeline.alert_log)
