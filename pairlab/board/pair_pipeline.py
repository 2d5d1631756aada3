"""The pipeline of one pair of a board: another pair's but for where its memory is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.board.slot_rows import SlotRows
from pairlab.board.tick_store import PairTicks, SymbolGap, TickStore, merged, share_of
from pairlab.clock import Clock
from pairlab.data.gap_list import GapList
from pairlab.data.journal import GapMarked, Seeds, TimeCorrected
from pairlab.engine import PairEngine
from pairlab.engine.gaps import Gap, candles_within
from pairlab.engine.many.many_pairs import ManyPairs
from pairlab.engine.state import BAR
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.rebuild_work import RebuildWork
from pairlab.lab.record.pipeline_tap import PipelineTap
from pairlab.schema import BOTH_LEGS, ROW, TIME_CORRECTED, Records, opaque
from pairlab.settings import Settings, SettingValues

__all__ = ["PairPipeline"]


class PairPipeline(Pipeline):
    """Turns a pair's share of the ticks into rows; in a batch, the board's kernel does it for it.

    Parameters
    ----------
    settings : Settings
        Of the pair.
    rebuild_wanted : callable
        As `Pipeline` takes it.
    clock : Clock
        Read for latencies alone.
    many : ManyPairs
        Where its state is.
    store : TickStore
        Where its ticks are.
    y, x : int
        Numbers of its symbols.

    Attributes
    ----------
    on_alerts : callable
        Called with it after new alerts.
    on_taps : callable
        Called with it when something begins or ceases to listen to its ticks and rows.
    """

    rows: SlotRows

    def __init__(
        self,
        settings: Settings,
        rebuild_wanted: Callable[[], None],
        clock: Clock,
        many: ManyPairs,
        store: TickStore,
        y: int,
        x: int,
    ) -> None:
        self._many = many
        self.slot: Final = many.add(y, x)
        self.symbols: Final = (y, x)
        self._store = store
        self._engine: PairEngine | None = None
        self._taps: tuple[PipelineTap, ...] = ()
        self._told = 0  # rows that were handed on to the taps
        self.pair_ticks: Final = PairTicks(store, y, x)
        self._gaps_held: list[SymbolGap] = []
        self.on_alerts: Callable[[PairPipeline], None] = lambda _: None
        self.on_taps: Callable[[PairPipeline], None] = lambda _: None
        rows = SlotRows(many, self.slot, settings.history_rows)
        super().__init__(settings, rebuild_wanted, clock, rows=rows, ticks=self.pair_ticks)
        self._gaps = GapList(self.pair_ticks.gaps())
        for tick, legs in self._gaps:
            if legs & BOTH_LEGS:
                self.journal.add(GapMarked(tick, None, legs & BOTH_LEGS))
            if legs & TIME_CORRECTED:
                self.journal.add(TimeCorrected(tick))

    # -- where its memory is ------------------------------------------------------------------

    @property
    def engine(self) -> PairEngine | None:
        """The engine of the pair's slot; None until the kernel is compiled."""
        return self._engine

    @engine.setter
    def engine(self, engine: PairEngine | None) -> None:
        self._engine = engine
        if engine is not None:
            self._many.bind(self.slot, engine)
        self._many.activate(self.slot, engine is not None and not self.held)

    @property
    def row_count(self) -> int:
        """Rows since the start, whatever the history still holds."""
        return self.rows.made

    @row_count.setter
    def row_count(self, count: int) -> None:
        self.rows.made = count

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick of either leg; `NO_TIME_NS` before the first."""
        return int(self._store.newest_ns[list(self.symbols)].max())

    def _new_engine(self, values: SettingValues) -> PairEngine:
        return PairEngine(values=values, bars=False)

    def _own_bars(self, engine: PairEngine | None, timeframe: str) -> Records:
        return np.empty(0, BAR)

    def close(self) -> None:
        """Give the slot back; the rows stay."""
        self._engine = None
        self.rows.leave()
        self._many.remove(self.slot)

    # -- who listens --------------------------------------------------------------------------

    @property
    def taps(self) -> tuple[PipelineTap, ...]:
        """What listens to its ticks, rows and alerts."""
        return self._taps

    @taps.setter
    def taps(self, taps: tuple[PipelineTap, ...]) -> None:
        self._taps = taps
        if taps:
            self._told = self.rows.end
            self.on_taps(self)
        elif hasattr(self, "rows"):
            self.on_taps(self)

    def hand_on_ticks(self, first: int, batch: Records) -> None:
        """Hand its share of a batch on to the taps; the first of it has this ordinal."""
        ticks, _ = share_of(batch, *self.symbols)
        if len(ticks):
            for tap in self._taps:
                tap.on_ticks(first, ticks)

    def hand_on_rows(self) -> None:
        """Hand on to the taps what the kernel has written since the last time."""
        if self._taps:
            self._tell_rows(self._told, self.rows.written(self._told, self.rows.end))
            self._told = self.rows.end

    def _append(self, rows: Records) -> None:
        super()._append(rows)
        self._told = self.rows.end

    def rebuild_finish(self, work: RebuildWork, fresh: PairEngine, rows: Records) -> None:
        """Do as `Pipeline.rebuild_finish`."""
        super().rebuild_finish(work, fresh, rows)
        self._told = self.rows.end

    # -- what the kernel did ------------------------------------------------------------------

    def take_events(self, events: Records) -> None:
        """Log what the kernel decided; ``row`` is the number of a row."""
        engine = self.engine
        if engine is None:
            return
        numbers = events["row"].tolist()
        first = min(numbers)
        rows = self.rows.written(first, max(numbers) + 1)
        rows = opaque(rows)[[number - first for number in numbers]].view(ROW)
        events = events.copy()
        events["row"] = np.arange(len(events))
        self._positions.add(rows)
        self.alert_log.add(events, rows, engine.values)
        for tap in self._taps:
            tap.on_alerts(self.alert_log)
        self.on_alerts(self)

    # -- ticks that are held back -------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether its ticks are held back: older ones of a leg may still come."""
        return self.pair_ticks.held_at is not None

    def hold(self) -> None:
        """Hold back its ticks from now on."""
        if not self.held:
            self.pair_ticks.hold()
            self._many.activate(self.slot, False)

    def mark(self, gap: SymbolGap) -> None:
        """Mark that trades of a leg are missing before its next tick, or that it is corrected."""
        if self.held:
            self._gaps_held.append(gap)
        elif gap.corrected:
            self.on_corrected_time()
        else:
            self.on_gap(None, gap.legs(self.symbols[1]))

    def release(self) -> None:
        """Make rows of what was held back, in the order of time."""
        if not self.held:
            return
        ticks, ordinals = self.pair_ticks.waiting()
        order = merged(ticks)
        ticks, ordinals = ticks[order], ordinals[order]
        alerts, start = self.alert_log.total, 0
        for at, legs in sorted(self._marks_among(ticks, ordinals).items()):
            self._come_out(ticks[start:at])
            self._mark_among(legs, ticks[at:])
            start = at
        self._come_out(ticks[start:])
        self.pair_ticks.release()
        if self.engine is not None:
            self._many.activate(self.slot)
        if self.alert_log.total != alerts:
            self.on_alerts(self)

    def _marks_among(self, ticks: Records, ordinals: NDArray[np.int64]) -> dict[int, int]:
        """Return where among ticks that come out something was marked: `Gap.legs` by number."""
        found: dict[int, int] = {}
        for gap in self._gaps_held:
            if gap.corrected:
                after = ordinals == gap.tick
            else:
                leg = int(gap.symbol == self.symbols[1])
                own = (ticks["leg"] == leg) & (ordinals >= gap.tick)
                after = own | ((ticks["leg"] != leg) & (ticks["time_ns"] > gap.since_ns))
            at = int(after.argmax()) if after.any() else len(ticks)
            found[at] = found.get(at, 0) | gap.legs(self.symbols[1])
        self._gaps_held.clear()
        return found

    def _mark_among(self, legs: int, later: Records) -> None:
        """Mark what a gap says before these ticks; bars that are known of it are observed."""
        if legs & TIME_CORRECTED:
            self.on_corrected_time()
        missing = legs & BOTH_LEGS
        if not missing:
            return
        self.on_gap(None, missing)
        candles = self._candles((Gap(self.next_tick, missing),))
        if candles is not None and self.engine is not None and not self.engine.per_tick:
            self.fill_gap(Seeds(*candles_within(candles, later, missing)))

    def _come_out(self, ticks: Records) -> None:
        """Take ticks that were held back as the next ones."""
        if not len(ticks):
            return
        first = self.next_tick
        self.pair_ticks.come_out(len(ticks))
        for tap in self._taps:
            tap.on_ticks(first, ticks)
        if self.engine is not None:
            self._take(self.engine, self.engine.update(ticks))
