"""Ticks to rows: one engine, the ticks and rows held, the alerts, and the journal of the rest."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import SettingChange
from pairlab.clock import Clock, SystemClock
from pairlab.data.alert_log import AlertLog
from pairlab.data.gap_list import GapList
from pairlab.data.journal import (
    EngineStarted,
    GapFilled,
    GapMarked,
    Journal,
    Rebuilt,
    Reset,
    Seeds,
    SettingChanged,
    TimeCorrected,
)
from pairlab.data.klines import merge_closes, require_closes
from pairlab.data.position_history import PositionHistory
from pairlab.data.ring import Ring
from pairlab.data.row_store import RowStore
from pairlab.engine import PairEngine
from pairlab.engine.gaps import Gap, numbered_from, update_over_gaps
from pairlab.engine.state import BAR
from pairlab.errors import PairlabError
from pairlab.health import RecentQuantiles
from pairlab.lab.rebuild_work import RebuildWork
from pairlab.lab.record.pipeline_tap import PipelineTap
from pairlab.schema import (
    BOTH_LEGS,
    NO_TIME_NS,
    ROW,
    TICK,
    TIME_CORRECTED,
    Records,
    RowFlag,
    Snapshot,
)  # fmt: skip
from pairlab.settings import METRIC_SETTINGS, Settings, SettingValues

__all__ = ["Pipeline"]

_KLINES_KEPT = 10_000


class Pipeline:
    """Turns ticks into rows and alerts; knows no event loop.

    Until `start_engine` is called ticks are only held (the kernel may still be compiling); then the
    engine catches up with them, and every later batch becomes rows at once. Given the ticks, the
    settings at the start and the journal, the rows are the same to the last bit.

    Parameters
    ----------
    settings : Settings
        Watched: thresholds apply from the next tick; for a setting that defines a metric,
        `rebuild_wanted` is called.
    rebuild_wanted : callable
        Answers by calling `rebuild_start`, `rebuild_compute` (on any thread) and `rebuild_finish`.
    clock : Clock, optional
        Read for latencies alone: no row depends on it.
    rows, ticks : RowStore and Ring, optional
        Where they are held; by default in memory of its own.

    Attributes
    ----------
    measures_latency : bool
        Whether receive times are of `clock`; those of a replay are not.
    """

    def __init__(
        self,
        settings: Settings,
        rebuild_wanted: Callable[[], None],
        clock: Clock | None = None,
        rows: RowStore | None = None,
        ticks: Ring | None = None,
    ) -> None:
        self.settings = settings
        self.journal = Journal()
        self.taps: tuple[PipelineTap, ...] = ()
        self.session: Final = uuid.uuid4().hex  # one series of ordinals
        self._clock = clock or SystemClock()
        self.rows = RowStore(settings.history_rows) if rows is None else rows
        self.ticks = Ring(TICK, settings.ticks_held) if ticks is None else ticks
        self.alert_log = AlertLog()
        self.latency_ms = RecentQuantiles()
        self.row_count = 0  # rows since the start or reset, whatever the history still holds
        self.measures_latency = True
        self.engine: PairEngine | None = None
        self.klines: dict[str, Seeds] = {}  # by timeframe, as the exchange has them
        self._last_seeds: Seeds | None = None
        self.candles_wanted: Callable[[], None] = lambda: None  # bars are missing before a row
        self._rebuild_wanted = rebuild_wanted
        self._gaps = GapList()
        self._has_new_candles = False  # klines of bars that no row has
        self._positions = PositionHistory()
        settings.observe(self._on_setting)

    def on_ticks(self, ticks: Records) -> None:
        """Hold `ticks`, shape (n,) of `pairlab.TICK`, and make rows of them."""
        first = self.ticks.total
        self.ticks.append(ticks)
        for tap in self.taps:
            tap.on_ticks(first, ticks)
        if self.engine is not None:
            self._advance(self.engine, ticks)

    @property
    def next_tick(self) -> int:
        """Ordinal that the next tick will get."""
        return self.ticks.total

    def start_engine(self) -> None:
        """Make the engine (its kernel is compiled by now) and catch up with the ticks held."""
        if self.engine is not None:
            return
        ticks = self.ticks.view()
        first_tick = self.next_tick - len(ticks)
        gaps = self._gaps.between(first_tick, self.next_tick)
        self.begin(
            EngineStarted(
                self.next_tick, first_tick, self.settings.values(), self._seeds(None, ticks), gaps,
                self._candles(gaps),
            )
        )  # fmt: skip

    def begin(self, event: EngineStarted) -> None:
        """Make the engine as an event says, of a journal's or of `start_engine`'s."""
        engine = self._new_engine(event.values)
        self.journal.add(event)
        if event.seeds is not None:
            self._append(engine.seed(*event.seeds))
        self.engine = engine
        ticks = self.ticks.view(self.next_tick - event.first_tick)
        gaps = numbered_from(event.first_tick, event.gaps)
        self._take(engine, update_over_gaps(engine, ticks, gaps, event.candles))

    def _new_engine(self, values: SettingValues) -> PairEngine:
        return PairEngine(values=values)

    def _own_bars(self, engine: PairEngine | None, timeframe: str) -> Records:
        return np.empty(0, BAR) if engine is None else engine.bars(timeframe)

    def reset(self, klines: Mapping[str, Seeds] = MappingProxyType({})) -> None:
        """Forget ticks, rows, alerts, gaps and klines, and begin anew with the present settings.

        Ordinals of ticks and numbers of alerts go on; a rebuild that is under way is discarded.

        Parameters
        ----------
        klines : Mapping[str, Seeds]
            By timeframe: closes of bars from before the ticks that come next.
        """
        self.journal.add(Reset(self.next_tick))
        self.ticks = self.ticks.emptied()
        self.rows.replace(self.rows.view(0))
        self.alert_log.clear()
        self.latency_ms = RecentQuantiles()
        self.row_count = 0
        self.klines = dict(klines)
        self._gaps = GapList()
        self._positions = PositionHistory()
        self._has_new_candles = False
        if self.engine is not None:
            self.engine = None
            self.start_engine()

    def on_gap(self, missing: int | None, legs: int = BOTH_LEGS) -> None:
        """Mark that trades are missing before the next tick.

        Parameters
        ----------
        missing : int or None
            How many; None: nobody knows.
        legs : int
            Whose: 1 y, 2 x, 3 both.
        """
        self.journal.add(GapMarked(self.next_tick, missing, legs))
        self._mark_gap(self.engine, Gap(self.next_tick, legs))

    def on_corrected_time(self) -> None:
        """Mark that the next tick's time was corrected: it was stamped ahead of the clock."""
        self.journal.add(TimeCorrected(self.next_tick))
        self._mark_gap(self.engine, Gap(self.next_tick, TIME_CORRECTED))

    def _mark_gap(self, engine: PairEngine | None, gap: Gap) -> None:
        if engine is not None:
            engine.mark_gap(gap.legs)
        self._gaps.mark(gap)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The newest gaps, numbered by the ordinals of the ticks after them."""
        return tuple(self._gaps)

    @property
    def position_changes(self) -> tuple[tuple[int, int], ...]:
        """Time (ns) and new position of the newest changes, oldest first."""
        return tuple(self._positions)

    def restore_past(
        self, gaps: Iterable[Gap], position_changes: Iterable[tuple[int, int]]
    ) -> None:
        """Take gaps and changes of the position from an earlier life of this session."""
        self._gaps = GapList(gaps)
        self._positions = PositionHistory(position_changes)

    def ticks_and_gap_legs(self) -> tuple[Records, NDArray[np.int8]]:
        """Return the ticks held, and before each what `Gap.legs` says; 0 nothing."""
        while True:  # any thread may call it: both must be of one moment
            end, ticks = self.next_tick, self.ticks.view()
            legs = self._gaps.legs_before(end - len(ticks), end)
            if end == self.next_tick:
                return ticks, legs

    def add_klines(self, timeframe: str, closes: Seeds) -> None:
        """Keep closes of bars that the exchange has: from before the first tick, or of a gap.

        At the timeframe of the rows they are observed where a bar is missing: at once if no tick
        has come since, else by a rebuild.

        Raises
        ------
        DataError
            If the engine could not be seeded with them.
        """
        require_closes(timeframe, closes)
        if timeframe in self.klines:
            closes = merge_closes(closes, self.klines[timeframe], _KLINES_KEPT)
        self.klines[timeframe] = closes
        if timeframe == self.settings.timeframe and self.engine is not None:
            self._fill_present_gap()
            made = self.rows.view()["time_ns"]
            wanted = closes.time_ns[closes.time_ns <= self.newest_ns]
            if len(made) and not np.isin(wanted[wanted > made[0]], made).all():
                self._has_new_candles = True
                self._rebuild_wanted()

    def _fill_present_gap(self) -> None:
        """Fill a gap after which no tick has come yet, if that is where the rows end."""
        candles = self.klines.get(self.settings.timeframe)
        gap = self._gaps.last
        present = gap is not None and gap.is_gap and gap.tick == self.next_tick
        if candles is not None and present and self.fits_settings():
            self.fill_gap(candles)

    def fill_gap(self, candles: Seeds) -> None:
        """Observe bars of the gap before the next tick, as far as no row was made of them."""
        rows = None if self.engine is None else self.engine.fill_gap(*candles)
        if rows is not None and len(rows):
            self.journal.add(GapFilled(self.next_tick, candles))
            self._append(rows)

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick; `NO_TIME_NS` before the first."""
        last = self.ticks.view(1)
        return int(last[0]["time_ns"]) if len(last) else NO_TIME_NS

    def latest(self) -> Snapshot | None:
        """Return the newest row.

        Returns
        -------
        Snapshot or None
            At bar timeframes the forming bar, provisional; None before the first.
        """
        forming = None if self.engine is None else self.engine.provisional()
        if forming is not None:
            return Snapshot.of(forming[0], provisional=True)
        last = self.rows.view(1)
        return Snapshot.of(last[0]) if len(last) else None

    def dropped(self) -> dict[str, int]:
        """Return the ticks that the engine refused, by reason."""
        counts = {} if self.engine is None else self.engine.dropped
        return {reason: count for reason, count in counts.items() if count}

    def warnings(self) -> tuple[str, ...]:
        """Return what a person should know about the numbers."""
        warning = None if self.engine is None else self.engine.kalman_warning
        return () if warning is None else (warning,)

    def values(self) -> SettingValues:
        """Return every setting by name: as they are now, but the metrics' as the rows have them."""
        values = self.settings.values()
        if self.engine is not None:
            metric = {name: getattr(self.engine.values, name) for name in METRIC_SETTINGS}
            values = replace(values, **metric)
        return values

    def fits_settings(self) -> bool:
        """Tell whether the engine's metrics are the ones that the settings ask for."""
        if self.engine is None:
            return True
        return all(
            getattr(self.engine.values, n) == getattr(self.settings, n) for n in METRIC_SETTINGS
        )

    @property
    def needs_rebuild(self) -> bool:
        """Whether the rows lack bars that are known by now, or are of other metrics."""
        return self._has_new_candles or not self.fits_settings()

    # -- a metric is redefined ---------------------------------------------------------------

    def rebuild_start(self) -> RebuildWork:
        """Return what `rebuild_compute` needs, frozen at this moment."""
        if self.engine is None:
            raise PairlabError("there is nothing to rebuild before start_engine()")
        ticks = self.ticks.view()
        seeds = self._seeds(self.engine, ticks)
        tick = self.next_tick
        gaps = self._gaps.between(tick - len(ticks), tick - 1)
        self._has_new_candles = False
        return RebuildWork(
            self.engine, self.settings.values(), ticks, seeds, tick, gaps, self._candles(gaps)
        )

    @staticmethod
    def rebuild_compute(work: RebuildWork) -> tuple[RebuildWork, PairEngine, Records]:
        """Run the ticks through a fresh engine; touches nothing else, so any thread will do."""
        gaps = numbered_from(work.asked_tick - len(work.ticks), work.gaps)
        fresh, rows = work.engine.rebuilt(work.values, work.ticks, work.seeds, gaps, work.candles)
        return work, fresh, rows.copy()

    def _candles(self, gaps: tuple[Gap, ...]) -> Seeds | None:
        """Return the bars that may lie within these gaps."""
        known = self.klines.get(self.settings.timeframe)
        return known if any(gap.is_gap for gap in gaps) else None

    def _seeds(self, engine: PairEngine | None, ticks: Records) -> Seeds | None:
        """Return the closes from before the first tick held: klines, then bars of this session."""
        timeframe = self.settings.timeframe
        if timeframe == "tick":
            return None
        bars = self._own_bars(engine, timeframe)
        bars = bars[np.isfinite(bars["y_close"]) & np.isfinite(bars["x_close"])]
        times, y, x = found = Seeds(bars["time_ns"], bars["y_close"], bars["x_close"])
        if timeframe in self.klines:
            times, y, x = merge_closes(found, self.klines[timeframe])
        if len(ticks):
            before = times <= ticks["time_ns"][0]
            times, y, x = times[before], y[before], x[before]
        return self._shared(Seeds(times, y, x)) if len(times) else None

    def _shared(self, seeds: Seeds) -> Seeds:
        """Return the last seeds if they are equal: the journal then holds them once."""
        last = self._last_seeds
        if last is None or not all(map(np.array_equal, last, seeds)):
            self._last_seeds = last = seeds
        return last

    def rebuild_finish(self, work: RebuildWork, fresh: PairEngine, rows: Records) -> None:
        """Put the fresh engine and its rows in place of the old ones, without a new alert.

        Ticks that came during the computation were decided by the old engine: the fresh one
        catches up with them in silence and takes over position, locks and limits.
        """
        old = self.engine
        if old is not work.engine:
            return  # reset meanwhile: these rows are of ticks that are gone
        first_tick = work.asked_tick - len(work.ticks)
        since = self.next_tick - work.asked_tick
        resumed_tick = max(work.asked_tick, self.next_tick - len(self.ticks))
        self.journal.add(
            Rebuilt(
                work.asked_tick, self.next_tick, first_tick, resumed_tick, work.values, work.seeds,
                work.gaps, work.candles,
            )
        )  # fmt: skip
        if resumed_tick > work.asked_tick:  # more ticks than are held came meanwhile
            self._mark_gap(None, Gap(resumed_tick))
        gaps = self._gaps.between(resumed_tick, self.next_tick)
        later = self.ticks.view(since)
        rest = update_over_gaps(fresh, later, numbered_from(resumed_tick, gaps), work.candles)
        rows = np.concatenate([rows, rest])
        if old is not None:
            fresh.adopt_signal(old)
        self._positions.keep(rows, self.rows.view())
        self.engine = fresh
        fresh.apply(self.values())
        self.rows.replace(rows)
        for tap in self.taps:
            tap.on_rebuilt(self.rows.epoch, self.next_tick, len(rows), self.rows.view())
        self._fill_present_gap()

    # -- one batch, one setting -----------------------------------------------------------------

    def _advance(self, engine: PairEngine, ticks: Records) -> None:
        self._take(engine, engine.update(ticks))
        if self.measures_latency:
            self.latency_ms.add((self._clock.time_ns() - ticks["received_ns"]) / 1e6)

    def _append(self, rows: Records) -> None:
        first = self.rows.end
        self.rows.append(rows)
        self.row_count += len(rows)
        self._tell_rows(first, rows)

    def _tell_rows(self, first: int, rows: Records) -> None:
        if self.taps and len(rows):
            # The engine writes to its rows again. A view of the store's would keep its whole buffer
            # and the next would come page by page from the system. As bytes: numpy copies records
            # field by field, 7 µs instead of 0.3 for a few.
            kept = np.frombuffer(rows.tobytes(), ROW)
            for tap in self.taps:
                tap.on_rows(self.rows.epoch, first, kept)

    def _take(self, engine: PairEngine, rows: Records) -> None:
        """Take rows that an engine has made, and what it decided on them."""
        if len(rows):
            self._append(rows)
            if not engine.per_tick and (rows["flags"] & RowFlag.GAP_BEFORE).any():
                self.candles_wanted()
            if len(engine.events):
                self._positions.add(rows[engine.events["row"]])
                self.alert_log.add(engine.events, rows, engine.values)
                for tap in self.taps:
                    tap.on_alerts(self.alert_log)

    def _on_setting(self, change: Any) -> None:
        last = self.rows.view(1)
        at_ns = int(last["time_ns"][0]) if len(last) else NO_TIME_NS
        tick = self.next_tick
        self.journal.add(SettingChanged(tick, change.name, change.old, change.new))
        self.alert_log.changed(SettingChange(at_ns, change.name, change.old, change.new, tick))
        if change.name == "history_rows":
            self.rows.resize(change.new)
        elif change.name == "ticks_held":
            self.ticks = self.ticks.resized(change.new)
        if self.engine is None:
            return
        if change.name in METRIC_SETTINGS:
            self._rebuild_wanted()
        else:
            self.engine.apply(self.values())
