"""Ticks to rows: one engine, the ticks and rows held, the alerts, and the journal of the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pairlab.alerts import AlertLog, SettingChange
from pairlab.clock import Clock, SystemClock
from pairlab.data.ring import Ring
from pairlab.data.row_store import RowStore
from pairlab.engine import PairEngine
from pairlab.errors import DataError, PairlabError
from pairlab.health import RecentQuantiles
from pairlab.lab.journal import EngineStarted, GapMarked, Journal, Rebuilt, Seeds, SettingChanged
from pairlab.schema import TICK, TIMEFRAMES_NS, Records, RowFlag, Snapshot
from pairlab.settings import METRIC_SETTINGS, Settings, SettingValues

__all__ = ["Pipeline", "RebuildWork"]


class RebuildWork(NamedTuple):
    """What a rebuild computes from, frozen when it was asked for.

    `asked_tick` is the ordinal of the first tick after that.
    """

    engine: PairEngine
    values: SettingValues
    ticks: Records
    seeds: Seeds | None
    asked_tick: int


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
        Called without arguments; answers by calling `rebuild_start`, `rebuild_compute` (on
        another thread, if it likes) and `rebuild_finish`.
    clock : Clock, optional
        Read for latencies alone: no row depends on it.
    """

    def __init__(
        self,
        settings: Settings,
        rebuild_wanted: Callable[[], None],
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.journal = Journal()
        self._clock = clock or SystemClock()
        self.rows = RowStore(settings.history_rows)
        self.ticks = Ring(TICK, settings.ticks_held)
        self.alert_log = AlertLog()
        self.latency_ms = RecentQuantiles()
        self.row_count = 0  # rows since the start, whatever the history still holds
        self.engine: PairEngine | None = None
        self.klines: dict[str, Seeds] = {}  # by timeframe, fetched at start
        self._last_seeds: Seeds | None = None
        self._rebuild_wanted = rebuild_wanted
        self._gaps: deque[int] = deque(maxlen=10_000)  # number of the first tick after each
        self._moves: deque[tuple[int, int]] = deque(maxlen=100_000)  # (time, position) changes
        settings.observe(self._on_setting)

    def on_ticks(self, ticks: Records) -> None:
        """Hold `ticks`, shape (n,) of `pairlab.TICK`, and make rows of them."""
        self.ticks.append(ticks)
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
        engine = PairEngine(self.settings)
        ticks = self.ticks.view()
        seeds = self._seeds(engine, ticks)
        first_tick = self.next_tick - len(ticks)
        self.journal.add(EngineStarted(self.next_tick, first_tick, engine.values, seeds))
        if seeds is not None:
            self.rows.append(engine.seed(*seeds))
            self.row_count = len(self.rows)
        self.engine = engine
        if len(ticks):
            self._advance(engine, ticks)
        self._repeat_gap(engine)
        if len(ticks):
            self.latency_ms = RecentQuantiles()  # they waited for the compiler, not for the engine
        if len(self.rows):
            rows = self.rows.view().copy()
            self._flag_gaps(rows)
            self.rows.replace(rows)

    def on_gap(self, missing: int | None) -> None:
        """Mark that trades are missing before the next tick; None: nobody knows how many."""
        self.journal.add(GapMarked(self.next_tick, missing))
        self._mark_gap(self.engine, self.next_tick)

    def _mark_gap(self, engine: PairEngine | None, tick: int) -> None:
        if engine is not None:
            engine.mark_gap()
        self._gaps.append(tick)

    def _repeat_gap(self, engine: PairEngine) -> None:
        """Mark the gap before the next tick in an engine that was made after it."""
        if self._gaps and self._gaps[-1] == self.next_tick:
            engine.mark_gap()

    def add_klines(self, timeframe: str, closes: Seeds) -> None:
        """Keep closes from before the first tick, for a start or a rebuild at a timeframe.

        Raises
        ------
        DataError
            If the engine could not be seeded with them.
        """
        times, y, x = closes
        length_ns = TIMEFRAMES_NS[timeframe]
        usable = (
            len(times) == len(y) == len(x)
            and not (times % length_ns).any()
            and bool((np.diff(times) > 0).all())
            and all(bool((np.isfinite(leg) & (leg > 0)).all()) for leg in (y, x))
        )
        if not usable:
            raise DataError(
                f"klines of {timeframe}: close times must ascend by multiples of {timeframe}, "
                "closes must be finite and above 0, one of each per bar"
            )
        self.klines[timeframe] = closes

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick; 0 before the first."""
        last = self.ticks.view(1)
        return int(last[0]["time_ns"]) if len(last) else 0

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

    # -- a metric is redefined ---------------------------------------------------------------

    def rebuild_start(self) -> RebuildWork:
        """Return what `rebuild_compute` needs, frozen at this moment."""
        if self.engine is None:
            raise PairlabError("there is nothing to rebuild before start_engine()")
        ticks = self.ticks.view()
        seeds = self._seeds(self.engine, ticks)
        return RebuildWork(self.engine, self.settings.values(), ticks, seeds, self.next_tick)

    @staticmethod
    def rebuild_compute(work: RebuildWork) -> tuple[RebuildWork, PairEngine, Records]:
        """Run the ticks through a fresh engine; touches nothing else, so any thread will do."""
        fresh, rows = work.engine.rebuilt(work.values, work.ticks, work.seeds)
        return work, fresh, rows.copy()

    def _seeds(self, engine: PairEngine, ticks: Records) -> Seeds | None:
        """Return the closes from before the first tick held: klines, then bars of this session."""
        timeframe = self.settings.timeframe
        if timeframe == "tick":
            return None
        bars = engine.bars(timeframe)
        bars = bars[np.isfinite(bars["y_close"]) & np.isfinite(bars["x_close"])]
        times, y, x = bars["time_ns"], bars["y_close"], bars["x_close"]
        if timeframe in self.klines:
            kline_times, kline_y, kline_x = self.klines[timeframe]
            older = kline_times < times[0] if len(times) else np.ones(len(kline_times), bool)
            times = np.concatenate([kline_times[older], times])
            y, x = np.concatenate([kline_y[older], y]), np.concatenate([kline_x[older], x])
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
        first_tick = work.asked_tick - len(work.ticks)
        since = self.next_tick - work.asked_tick
        resumed_tick = max(work.asked_tick, self.next_tick - len(self.ticks))
        self.journal.add(
            Rebuilt(
                work.asked_tick, self.next_tick, first_tick, resumed_tick, work.values, work.seeds
            )
        )
        if resumed_tick > work.asked_tick:  # more ticks than are held came meanwhile
            self._mark_gap(fresh, resumed_tick)
        if since:
            rows = np.concatenate([rows, fresh.update(self.ticks.view(since))])
        if old is not None:
            fresh.adopt_signal(old)
        self._repeat_gap(fresh)
        self._keep_positions(rows)
        self._flag_gaps(rows)
        self.engine = fresh
        fresh.apply(self.values())
        self.rows.replace(rows)

    def _keep_positions(self, rows: Records) -> None:
        """Give rows recomputed the positions that were really held at their times."""
        was = self.rows.view()
        moves = np.array(self._moves, np.int64).reshape(-1, 2)
        at = np.searchsorted(moves[:, 0], rows["time_ns"], side="right") - 1
        rows["position"] = np.where(at >= 0, moves[at, 1], 0) if len(moves) else 0
        both = min(len(was), len(rows))
        if both and np.array_equal(was["time_ns"][-both:], rows["time_ns"][-both:]):
            rows["position"][-both:] = was["position"][-both:]

    def _flag_gaps(self, rows: Records) -> None:
        """Mark gaps again on rows that were recomputed from the ticks held."""
        ticks = self.ticks.view()
        first = self.ticks.total - len(ticks)
        for number in self._gaps:
            if not first < number < self.ticks.total:
                continue
            if self.settings.timeframe == "tick":
                at = len(rows) - (self.ticks.total - number)  # one row a tick, to the last one
            else:
                at = np.searchsorted(rows["time_ns"], ticks["time_ns"][number - first], "right")
            if 0 <= at < len(rows):
                rows["flags"][at] |= RowFlag.GAP_BEFORE

    # -- one batch, one setting -----------------------------------------------------------------

    def _advance(self, engine: PairEngine, ticks: Records) -> None:
        rows = engine.update(ticks)
        if len(rows):
            self.rows.append(rows)
            self.row_count += len(rows)
            if len(engine.events):
                changes = rows[engine.events["row"]]
                self._moves.extend(
                    zip(changes["time_ns"].tolist(), changes["position"].tolist(), strict=True)
                )
                self.alert_log.add(engine.events, rows, engine.values)
        self.latency_ms.add((self._clock.time_ns() - ticks["received_ns"]) / 1e6)

    def _on_setting(self, change: Any) -> None:
        last = self.rows.view(1)
        at_ns = int(last["time_ns"][0]) if len(last) else 0
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
