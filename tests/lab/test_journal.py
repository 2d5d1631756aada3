"""Ticks, first settings and journal decide the rows: replayed from these, they are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab.engine import compile_kernel
from pairlab.errors import DataError
from pairlab.lab.journal import (
    EngineStarted,
    GapMarked,
    JournalEvent,
    Rebuilt,
    Seeds,
    SettingChanged,
)
from pairlab.lab.pipeline import Pipeline, RebuildWork
from pairlab.schema import Records, RowFlag
from pairlab.settings import SETTINGS, Settings
from tests.engine import worlds

FIRST: dict[str, Any] = {"min_correlation": -1.0, "history_rows": 1_000, "ticks_held": 1_000}
TICKS = worlds.trades(3, 4_000)
CHANGES = st.sampled_from(
    [
        ("entry_z", 1.0), ("entry_z", 2.5), ("exit_z", 0.1), ("fee_bps", 1.0), ("window", 20),
        ("window", 80), ("hedge", "ols"), ("hedge", "kalman"), ("hedge", "fixed"),
        ("timeframe", "1s"), ("timeframe", "tick"), ("hedge_ratio", 24.0), ("adf_lags", 0),
    ]
)  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ticks"), st.integers(1, 700)),
        st.tuples(st.just("change"), CHANGES),
        st.tuples(st.just("gap"), st.integers(1, 9)),
        st.tuples(st.just("start"), st.none()),
        st.tuples(st.just("finish"), st.none()),
    ),
    min_size=3,
    max_size=25,
)


class Live:
    """A pipeline whose rebuilds take as long as the test says: ticks race them."""

    def __init__(self) -> None:
        self.settings = Settings(**FIRST)
        self.pipeline = Pipeline(self.settings, self._wanted)
        self._work: RebuildWork | None = None
        self.given = 0

    def _wanted(self) -> None:
        if self._work is None:
            self._work = self.pipeline.rebuild_start()

    def finish(self) -> None:
        while self._work is not None:
            work, self._work = self._work, None
            self.pipeline.rebuild_finish(*Pipeline.rebuild_compute(work))
            if not self.pipeline.fits_settings():
                self._wanted()

    def give(self, count: int) -> None:
        batch = TICKS[self.given : self.given + count]
        self.given += len(batch)
        if len(batch):
            self.pipeline.on_ticks(batch)


def replayed(ticks: Records, events: list[JournalEvent]) -> Pipeline:
    """Return a pipeline that was given the ticks one by one, and each event at its ordinal."""
    chosen = Settings(**FIRST)
    pipeline = Pipeline(chosen, lambda: None)
    asked: dict[int, RebuildWork] = {}
    starts = [event.asked_tick for event in events if isinstance(event, Rebuilt)]
    at, due = 0, list(events)

    def advance_to(tick: int) -> int:
        if tick > at:
            pipeline.on_ticks(ticks[at:tick])
        return tick

    for event in due:
        for start in sorted(s for s in starts if at < s <= event.tick and s not in asked):
            at = advance_to(start)
        at = advance_to(event.tick)
        match event:
            case EngineStarted():
                pipeline.start_engine()
            case GapMarked():
                pipeline.on_gap(event.missing)
            case SettingChanged():
                setattr(chosen, event.name, event.new)
            case Rebuilt():
                engine = pipeline.engine
                assert engine is not None
                first, stop = event.first_tick, event.asked_tick
                work = RebuildWork(engine, event.values, ticks[first:stop], event.seeds, stop)
                pipeline.rebuild_finish(*Pipeline.rebuild_compute(work))
    advance_to(len(ticks))
    return pipeline


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


@settings(max_examples=60)
@given(STEPS)
def test_the_journal_gives_the_rows_again(steps: list[tuple[str, Any]]) -> None:
    live = Live()
    for what, value in steps:
        match what:
            case "ticks":
                live.give(value)
            case "change":
                name, new = value
                if name == "exit_z" and new >= live.settings.entry_z:
                    continue
                live.settings.update(**{name: new})
            case "gap":
                live.pipeline.on_gap(value)
            case "start":
                live.pipeline.start_engine()
            case "finish":
                live.finish()
    live.finish()
    live.give(300)
    events = list(live.pipeline.journal)
    again = replayed(TICKS[: live.given], events)
    want, got = live.pipeline.rows, again.rows
    assert (got.epoch, got.end) == (want.epoch, want.end)
    assert got.view().tobytes() == want.view().tobytes()
    assert again.alert_log.frame().equals(live.pipeline.alert_log.frame())


def test_each_event_carries_its_ordinals() -> None:
    live = Live()
    live.give(700)
    live.pipeline.start_engine()
    live.settings.entry_z = 1.5
    live.give(100)
    live.settings.window = 20
    live.give(250)
    live.finish()
    live.pipeline.on_gap(3)
    live.give(1)
    started, threshold, window, rebuilt, gap = live.pipeline.journal
    assert (started.tick, started.first_tick) == (700, 0)  # type: ignore[union-attr]
    assert threshold == SettingChanged(700, "entry_z", SETTINGS["entry_z"].default, 1.5)
    assert window == SettingChanged(800, "window", 50, 20)
    assert isinstance(rebuilt, Rebuilt)
    assert (rebuilt.asked_tick, rebuilt.tick, rebuilt.first_tick) == (800, 1_050, 0)
    assert rebuilt.values.window == 20
    assert gap == GapMarked(1_050, 3)
    changes = [entry for entry in live.pipeline.alert_log if hasattr(entry, "old")]
    assert [change.tick for change in changes] == [700, 800]


def test_a_gap_at_the_present_tick_outlives_a_rebuild_and_the_start_of_the_engine() -> None:
    live = Live()
    live.give(300)
    live.pipeline.on_gap(3)
    live.pipeline.start_engine()
    live.give(10)
    flags = live.pipeline.rows.view()["flags"]
    assert np.flatnonzero(flags & RowFlag.GAP_BEFORE).tolist() == [len(flags) - 10]
    live.pipeline.on_gap(None)
    live.settings.window = 60
    live.finish()
    live.give(5)
    flags = live.pipeline.rows.view()["flags"]
    marked = np.flatnonzero(flags & RowFlag.GAP_BEFORE).tolist()
    assert marked == [len(flags) - 15, len(flags) - 5]


def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: JournalEvent) -> None:
        raise KeyError("an observer's own fault")

    live = Live()
    stop = live.pipeline.journal.observe(broken)
    live.give(300)
    live.pipeline.start_engine()
    live.settings.update(entry_z=2.5, window=20)
    live.finish()
    live.pipeline.on_gap(2)
    live.give(1)
    assert live.pipeline.engine is not None
    assert (live.pipeline.engine.values.entry_z, live.pipeline.engine.values.window) == (2.5, 20)
    assert live.pipeline.rows.view(1)["flags"][0] & RowFlag.GAP_BEFORE
    assert len(live.pipeline.journal) == 5
    assert len([r for r in caplog.records if "journal observer" in r.message]) == 5
    stop()
    stop()
    live.pipeline.on_gap(1)
    assert len([r for r in caplog.records if "journal observer" in r.message]) == 5


def test_klines_that_cannot_seed_are_refused() -> None:
    pipeline, minute_ns = Live().pipeline, 60_000_000_000
    good = Seeds(np.array([1, 2]) * minute_ns, np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    pipeline.add_klines("1m", good)
    for bad in (
        good._replace(time_ns=good.time_ns + 1),
        good._replace(time_ns=good.time_ns[::-1]),
        good._replace(y=np.array([1.0, np.nan])),
        good._replace(x=np.array([0.0, 1.0])),
        good._replace(x=np.array([1.0])),
    ):
        with pytest.raises(DataError, match="klines of 1m"):
            pipeline.add_klines("1m", bad)
    assert pipeline.klines["1m"] is good


def test_a_rebuild_says_where_it_went_on() -> None:
    live = Live()
    live.give(500)
    live.pipeline.start_engine()
    live.settings.window = 20
    live.give(1_800)  # more than are held
    live.finish()
    rebuilt = list(live.pipeline.journal)[-1]
    assert isinstance(rebuilt, Rebuilt)
    assert (rebuilt.asked_tick, rebuilt.resumed_tick, rebuilt.tick) == (500, 1_300, 2_300)


def test_seeds_are_in_the_journal_whole() -> None:
    live = Live()
    live.settings.timeframe = "1m"
    start_ns = int(TICKS["time_ns"][0]) // 60_000_000_000 * 60_000_000_000
    times = start_ns - np.arange(80, 0, -1) * 60_000_000_000
    y, x = np.linspace(61_000, 61_100, 80), np.linspace(2_440, 2_445, 80)
    live.pipeline.klines["1m"] = Seeds(times, y, x)
    live.give(100)
    live.pipeline.start_engine()
    (_, started) = live.pipeline.journal
    assert isinstance(started, EngineStarted)
    assert started.seeds is not None
    assert started.seeds.time_ns.tolist() == times.tolist()
    assert (started.seeds.y == y).all()
