"""Ticks, first settings and journal decide the rows: replayed from these, they are equal."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab.data.journal import (
    EngineStarted,
    GapMarked,
    JournalEvent,
    Rebuilt,
    Seeds,
    SettingChanged,
)
from pairlab.engine import PairEngine, compile_kernel
from pairlab.errors import DataError, SettingError
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.rebuild_work import RebuildWork
from pairlab.lab.verification.journal_replay import JournalReplay
from pairlab.schema import Records, RowFlag
from pairlab.settings import SETTINGS, Settings
from tests.engine import worlds


def bars_of(ticks: Records) -> dict[str, Seeds]:
    """Return the closes that an exchange would have of these trades."""
    engine = PairEngine(hedge_ratio=25.0)
    engine.update(ticks)
    found = {}
    for timeframe in ("1s", "5s"):
        bars = engine.bars(timeframe)
        bars = bars[np.isfinite(bars["y_close"]) & np.isfinite(bars["x_close"])]
        found[timeframe] = Seeds(bars["time_ns"], bars["y_close"], bars["x_close"])
    return found


FIRST: dict[str, Any] = {"min_correlation": -1.0, "history_rows": 1_000, "ticks_held": 1_000}
TICKS = worlds.trades(3, 4_000)
BARS = bars_of(TICKS)
CHANGES = st.sampled_from(
    [
        ("entry_z", 1.0), ("entry_z", 2.5), ("exit_z", 0.1), ("fee_bps", 1.0), ("window", 20),
        ("window", 80), ("hedge", "ols"), ("hedge", "kalman"), ("hedge", "fixed"),
        ("timeframe", "1s"), ("timeframe", "tick"), ("hedge_ratio", 24.0), ("adf_lags", 0),
        ("timeframe", "5s"),
    ]
)  # fmt: skip
# Neither of a pair could be set alone where the other pair was set before.
TOGETHER = st.sampled_from(
    [
        {"exit_z": 1.5, "entry_z": 3.0},
        {"entry_z": 1.0, "exit_z": 0.1},
        {"hedge": "ols", "window": 40},
    ]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ticks"), st.integers(1, 700)),
        st.tuples(st.just("change"), CHANGES),
        st.tuples(st.just("together"), TOGETHER),
        st.tuples(st.just("gap"), st.tuples(st.integers(1, 9), st.integers(1, 3))),
        st.tuples(st.just("skip"), st.integers(1, 700)),
        st.tuples(st.just("klines"), st.integers(1, 9)),
        st.tuples(st.just("start"), st.none()),
        st.tuples(st.just("reset"), st.none()),
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
        self.taken: list[Records] = []

    def _wanted(self) -> None:
        if self._work is None:
            self._work = self.pipeline.rebuild_start()

    def finish(self) -> None:
        while self._work is not None:
            work, self._work = self._work, None
            self.pipeline.rebuild_finish(*Pipeline.rebuild_compute(work))
            if self.pipeline.needs_rebuild:
                self._wanted()

    def give(self, count: int) -> None:
        batch = TICKS[self.given : self.given + count]
        self.given += len(batch)
        if len(batch):
            self.pipeline.on_ticks(batch)
            self.taken.append(batch)

    def skip(self, count: int) -> None:
        """Lose ticks, and know it."""
        self.given = min(self.given + count, len(TICKS))
        self.pipeline.on_gap(None)

    def load_klines(self, share: int) -> None:
        """Bring some of the bars of seconds up to now, those of gaps included."""
        for timeframe in ("1s", "5s"):
            times, y, x = BARS[timeframe]
            until = np.searchsorted(times, TICKS["time_ns"][max(self.given - 1, 0)])
            first = until - until * share // 9
            self.pipeline.add_klines(
                timeframe, Seeds(times[first:until], y[first:until], x[first:until])
            )

    def ticks(self) -> Records:
        return np.concatenate([TICKS[:0], *self.taken])

    def step(self, what: str, value: Any) -> None:
        """Do one of `STEPS`."""
        match what:
            case "ticks":
                self.give(value)
            case "change":
                name, new = value
                with contextlib.suppress(SettingError):  # alone it may contradict another
                    self.settings.update(**{name: new})
            case "together":
                self.settings.update(**value)
            case "gap":
                self.pipeline.on_gap(*value)
            case "skip":
                self.skip(value)
            case "klines":
                self.load_klines(value)
            case "start":
                self.pipeline.start_engine()
            case "reset":
                self.pipeline.reset()
            case "finish":
                self.finish()


def replayed(ticks: Records, events: list[JournalEvent], piece: int = 4_000) -> Pipeline:
    """Return a pipeline that was given the ticks in pieces, and each event at its ordinal."""
    replay = JournalReplay(Settings(**FIRST).values(), events)
    for first in range(0, len(ticks), piece):
        replay.on_ticks(ticks[first : first + piece])
    replay.finish()
    return replay.pipeline


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


@settings(max_examples=60)
@given(STEPS, st.sampled_from([13, 250, 4_000]))
def test_the_journal_gives_the_rows_again(steps: list[tuple[str, Any]], piece: int) -> None:
    live = Live()
    for what, value in steps:
        live.step(what, value)
    live.finish()
    live.give(300)
    events = list(live.pipeline.journal)
    again = replayed(live.ticks(), events, piece)
    want, got = live.pipeline.rows, again.rows
    assert list(map(repr, again.journal)) == list(map(repr, events))
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


def _until_both_have_traded(ticks: Records) -> int:
    legs = ticks["leg"].tolist()
    return max(legs.index(0), legs.index(1))


def test_a_gap_at_the_present_tick_outlives_a_rebuild_and_the_start_of_the_engine() -> None:
    live = Live()
    live.give(300)
    live.pipeline.on_gap(3)
    live.pipeline.start_engine()
    before = len(live.pipeline.rows)
    live.give(10)
    flags = live.pipeline.rows.view()["flags"]
    assert np.flatnonzero(flags & RowFlag.GAP_BEFORE).tolist() == [before]
    assert len(flags) == before + 10 - _until_both_have_traded(TICKS[300:310])
    live.pipeline.on_gap(None)
    live.settings.window = 60
    live.finish()
    assert len(live.pipeline.rows) == len(flags)
    live.give(20)
    again = live.pipeline.rows.view()["flags"]
    assert np.flatnonzero(again & RowFlag.GAP_BEFORE).tolist() == [before, len(flags)]
    assert len(again) == len(flags) + 20 - _until_both_have_traded(TICKS[310:330])


def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: JournalEvent) -> None:
        raise KeyError("an observer's own fault")

    live = Live()
    stop = live.pipeline.journal.observe(broken)
    live.give(300)
    live.pipeline.start_engine()
    live.settings.update(entry_z=2.5, window=20)
    live.finish()
    live.pipeline.on_gap(2, 1 << int(TICKS["leg"][live.given]))
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
