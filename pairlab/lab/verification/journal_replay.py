"""Rows made again from ticks, the settings at the start and the journal."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.data.journal import (
    EngineStarted,
    GapFilled,
    GapMarked,
    JournalEvent,
    Rebuilt,
    Reset,
    SettingChanged,
    TimeCorrected,
)
from pairlab.data.ring import Ring
from pairlab.data.row_store import RowStore
from pairlab.errors import DataError, SettingError
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.rebuild_work import RebuildWork
from pairlab.schema import TICK, Records
from pairlab.settings import Settings, SettingValues

__all__ = ["JournalReplay"]


class JournalReplay:
    """Feeds a pipeline with ticks, and with each event before the tick that it took effect at.

    The pipeline makes the same rows and alerts as the one that wrote the journal, to the last bit:
    whatever a thread decided there (when a rebuild was done) is an ordinal here.

    Parameters
    ----------
    values : SettingValues
        The settings before the first event.
    events : sequence of JournalEvent
        In order.
    first_tick : int
        Ordinal of the first tick that will be given.
    rows : RowStore, optional
        Where the pipeline puts its rows, empty; by default one as large as the settings say.
    clock : Clock, optional
        Read for latencies alone.

    Attributes
    ----------
    pipeline : Pipeline
        Which makes the rows.
    """

    def __init__(
        self,
        values: SettingValues,
        events: Sequence[JournalEvent],
        first_tick: int = 0,
        rows: RowStore | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        names = values.__dataclass_fields__
        self._settings = Settings(**{name: getattr(values, name) for name in names})
        self.pipeline = Pipeline(self._settings, lambda: None, clock)
        self.pipeline.ticks = Ring(TICK, values.ticks_held, first_tick)
        if rows is not None:
            self.pipeline.rows = rows
        self._events = list(events)
        self._at = 0  # of the next event
        # A rebuild computes from the ticks that were held when it was asked for.
        self._asked = sorted({e.asked_tick for e in events if isinstance(e, Rebuilt)})
        self._held: dict[int, Records] = {}
        due = [event.tick for event in events]
        if due != sorted(due):
            raise DataError("the journal's events are not in the order of their ticks")

    def on_ticks(self, ticks: Records) -> None:
        """Give the next ticks, shape (n,) of `pairlab.TICK`, and the events before each."""
        first = self.pipeline.next_tick
        end = first + len(ticks)
        while True:
            at = self.pipeline.next_tick
            self._freeze(at)
            self._take_events(at)
            until = min(end, self._next_stop(at))
            if until == at:
                return
            self.pipeline.on_ticks(ticks[at - first : until - first])

    def finish(self) -> None:
        """Apply the events after the last tick.

        Raises
        ------
        DataError
            If events are left that belong to ticks which never came.
        """
        at = self.pipeline.next_tick
        self._freeze(at)
        self._take_events(at)
        if self._at < len(self._events):
            event = self._events[self._at]
            raise DataError(f"{type(event).__name__} before tick {event.tick}, of {at} ticks")

    def _next_stop(self, at: int) -> int:
        """Return the ordinal at which something other than a tick is due next."""
        stops = []
        if self._at < len(self._events):
            stops.append(self._events[self._at].tick)
        after = bisect.bisect_right(self._asked, at)
        stops += self._asked[after : after + 1]
        return min(stops, default=np.iinfo(np.int64).max)

    def _freeze(self, at: int) -> None:
        """Keep the ticks held if a rebuild was asked for at this ordinal."""
        index = bisect.bisect_left(self._asked, at)
        if index < len(self._asked) and self._asked[index] == at:
            self._held.setdefault(at, self.pipeline.ticks.view())

    def _take_events(self, at: int) -> None:
        while self._at < len(self._events) and self._events[self._at].tick <= at:
            event = self._events[self._at]
            if isinstance(event, SettingChanged):
                self._change_settings(event.tick)
                continue
            self._at += 1
            match event:
                case EngineStarted():
                    self.pipeline.begin(event)
                case GapMarked():
                    self.pipeline.on_gap(event.missing, event.legs)
                case TimeCorrected():
                    self.pipeline.on_corrected_time()
                case GapFilled():
                    self.pipeline.fill_gap(event.candles)
                case Rebuilt():
                    self._rebuild(event)
                case Reset():
                    self.pipeline.engine = None  # its start comes next, where there was one
                    self.pipeline.reset()
                    self._held.pop(at, None)  # asked for after it: of what it has left
                    self._freeze(at)

    def _change_settings(self, tick: int) -> None:
        """Change a setting, and with it those of the same tick without which it is refused.

        Changes made by one `Settings.update` may each contradict the values before.
        """
        changes: dict[str, Any] = {}
        refused: SettingError | None = None
        for event in itertools.islice(self._events, self._at, None):
            if not isinstance(event, SettingChanged) or event.tick != tick:
                break
            changes[event.name] = event.new
            try:
                self._settings.update(**changes)
            except SettingError as error:
                refused = refused or error
            else:
                self._at += len(changes)
                return
        raise DataError(f"the settings before tick {tick} cannot be set: {refused}")

    def _rebuild(self, event: Rebuilt) -> None:
        held = self._held[event.asked_tick]
        for past in [tick for tick in self._held if tick < event.asked_tick]:
            del self._held[past]  # rebuilds are asked for in order, several maybe at one tick
        wanted = event.asked_tick - event.first_tick
        if self.pipeline.engine is None or not 0 <= wanted <= len(held):
            raise DataError(
                f"the rebuild before tick {event.tick} began with tick {event.first_tick}: "
                f"{wanted} ticks are wanted, {len(held)} are held"
            )
        work = RebuildWork(
            self.pipeline.engine, event.values, held[len(held) - wanted :], event.seeds,
            event.asked_tick, event.gaps, event.candles,
        )  # fmt: skip
        self.pipeline.rebuild_finish(*Pipeline.rebuild_compute(work))
