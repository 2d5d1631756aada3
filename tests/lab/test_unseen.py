"""Time that a lab has not seen: stopped, disconnected, before its first tick, over a rebuild."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import PairLab, analyze
from pairlab.data.frames import rows_frame
from pairlab.engine import PairEngine, compile_kernel
from pairlab.errors import FeedError
from pairlab.feeds.base import Closes, FeedHealth, FeedInfo, TickSink
from pairlab.schema import TIMEFRAMES_NS, AlertKind, Records, RowFlag
from tests.engine import worlds

pytestmark = pytest.mark.usefixtures("no_task_left")

MINUTE = TIMEFRAMES_NS["1m"]
GIVEN: dict[str, Any] = {"hedge_ratio": 25.0, "window": 20, "min_correlation": -1.0}
METRICS = ["y", "x", "spread", "spread_mean", "spread_std", "zscore", "correlation", "p_value"]


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


def market(seed: int, trades: int = 30_000) -> Records:
    """Trades over some hours, in order of time."""
    ticks = worlds.trades(seed, trades, silence=0)
    begin = ticks["time_ns"][0]
    ticks["time_ns"] += (ticks["time_ns"] - begin) * 2
    ticks = ticks[np.argsort(ticks["time_ns"], kind="stable")]
    ticks["id"] = np.arange(trades)
    return ticks


class Exchange:
    """A feed of a market: brings the trades of the minutes it is told to, and candles up to now."""

    info = FeedInfo("SCRIPT", real_money=False, stream="trade")

    def __init__(self, ticks: Records, *, klines: bool = True) -> None:
        self.ticks, self.klines = ticks, klines
        self.begin_ns = int(ticks["time_ns"][0]) // MINUTE * MINUTE
        self.now_ns = self.begin_ns
        self.asked = 0
        self.broken = 0
        self.sink: TickSink | None = None
        self.opened, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()
        engine = PairEngine(hedge_ratio=25.0)
        engine.update(ticks)
        self.bars = {name: engine.bars(name) for name in ("1m", "5m", "15m", "1h")}

    async def run(self, sink: TickSink) -> None:
        self.sink = sink
        self.opened.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.sink = None
            self.opened.clear()

    def health(self) -> FeedHealth:
        return FeedHealth("live", "as told")

    def price_decimals(self) -> None:
        return None

    async def seed_closes(self, timeframe: str, count: int) -> Closes | None:
        self.asked += 1
        await self.answers.wait()
        if self.broken:
            self.broken -= 1
            raise FeedError("told to fail.")
        if not self.klines or timeframe not in self.bars:
            return None
        bars = self.bars[timeframe]
        bars = bars[np.isfinite(bars["y_close"] + bars["x_close"])]
        bars = bars[bars["time_ns"] <= self.now_ns]
        return bars["time_ns"], bars["y_close"], bars["x_close"]

    def minutes(self, count: float) -> Records:
        """Let time pass; return the trades of it."""
        before, self.now_ns = self.now_ns, self.now_ns + int(count * MINUTE)
        times = self.ticks["time_ns"]
        return self.ticks[(times >= before) & (times < self.now_ns)]

    async def bring(self, count: float) -> None:
        await self.opened.wait()
        assert self.sink is not None
        for batch in np.array_split(self.minutes(count), 7):
            if len(batch):
                self.sink.on_ticks(batch)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def settled(lab: PairLab) -> None:
    """Wait until klines have come and a rebuild, if there is one, is done."""
    await until(lambda: lab._pipeline.engine is not None)
    await until(lambda: not lab._pipeline.needs_rebuild)
    task = lab._runner._rebuilder.task
    if task is not None:
        await task


def truth(ticks: Records, **given: Any) -> pd.DataFrame:
    return rows_frame(PairEngine(**given).update(ticks))


def marked(lab: PairLab, flag: RowFlag) -> list[int]:
    return np.flatnonzero(lab.rows.view()["flags"] & flag).tolist()


@pytest.mark.parametrize("hedge", ["fixed", "ols"])
@pytest.mark.parametrize("klines_late", [False, True])
async def test_twenty_minutes_between_stop_and_start_are_the_candles(
    hedge: str, klines_late: bool
) -> None:
    exchange = Exchange(market(11))
    given = {**GIVEN, "timeframe": "1m", "hedge": hedge}
    want = truth(exchange.ticks, **given)
    lab = PairLab(feed=exchange, **given).start()
    await exchange.opened.wait()
    await settled(lab)
    await exchange.bring(35.5)
    await settled(lab)
    stopped_ns = exchange.now_ns
    await lab.stop()
    exchange.minutes(20)
    if klines_late:
        exchange.answers.clear()
    lab.start()
    await exchange.opened.wait()
    if klines_late:
        await exchange.bring(1.7)  # the first row is made before they come
        assert len(marked(lab, RowFlag.GAP_BEFORE)) == 1
        exchange.answers.set()
    await until(lambda: bool(marked(lab, RowFlag.SEEDED)))
    await exchange.bring(2.7)
    await settled(lab)
    history = lab.history()
    times = history.index.as_unit("ns").asi8
    assert (np.diff(times) == MINUTE).all()
    assert times[-1] == exchange.now_ns // MINUTE * MINUTE
    both = want.loc[history.index]
    # A rebuild begins its window with the first row of this history: from a full one on, all equal.
    pd.testing.assert_frame_equal(history[METRICS][20:], both[METRICS][20:], rtol=1e-9)
    inside = (times > stopped_ns) & (times <= stopped_ns + 20 * MINUTE)
    assert inside.sum() == 20
    assert marked(lab, RowFlag.SEEDED) == np.flatnonzero(inside).tolist()
    assert marked(lab, RowFlag.GAP_BEFORE) == [int(np.flatnonzero(inside)[-1]) + 1]
    await lab.stop()


async def test_without_candles_there_are_no_rows_of_the_time_between() -> None:
    exchange = Exchange(market(12), klines=False)
    lab = PairLab(feed=exchange, **GIVEN, timeframe="1m").start()
    await exchange.bring(35.5)
    await settled(lab)
    await lab.stop()
    stopped_ns = exchange.now_ns
    exchange.minutes(20)
    lab.start()
    await exchange.bring(4.7)
    await lab.stop()
    times = lab.rows.view()["time_ns"]
    assert not ((times > stopped_ns) & (times <= stopped_ns + 20 * MINUTE)).any()
    (at,) = marked(lab, RowFlag.GAP_BEFORE)
    assert times[at] - times[at - 1] == 21 * MINUTE
    assert (np.delete(np.diff(times), at - 1) == MINUTE).all()


@pytest.mark.parametrize("timeframe", ["tick", "1s", "5s", "1m"])
@pytest.mark.parametrize("how", ["gap", "stop"])
async def test_nothing_is_decided_over_a_gap_with_an_open_position(
    timeframe: str, how: str
) -> None:
    ticks = market(13, 12_000)
    seen_open = 0
    for minute in range(25, 40, 2):
        exchange = Exchange(ticks, klines=False)
        given = {**GIVEN, "timeframe": timeframe, "entry_z": 0.6, "exit_z": 0.5, "stop_z": 3.0}
        lab = PairLab(feed=exchange, **given).start()
        await exchange.bring(minute)
        await settled(lab)
        before_ns = lab._pipeline.newest_ns
        open_before = bool(lab.rows.view(1)["position"][0])
        seen_open += open_before
        if how == "stop":
            await lab.stop()
            exchange.minutes(10)
            lab.start()
            await exchange.opened.wait()
        else:
            exchange.minutes(10)
            assert exchange.sink is not None
            exchange.sink.on_gap(1_000)
        after = exchange.minutes(3)
        after_ns = max(after["time_ns"][np.argmax(after["leg"] == leg)] for leg in (0, 1))
        assert exchange.sink is not None
        exchange.sink.on_ticks(after)
        await lab.stop()
        times = lab.rows.view()["time_ns"]
        assert not ((times > before_ns) & (times < after_ns)).any()
        (at,) = marked(lab, RowFlag.GAP_BEFORE)
        assert times[at] >= after_ns > before_ns >= times[at - 1]
        for alert in lab.alert_log.alerts():
            assert not before_ns < alert.time_ns < after_ns
            assert alert.time_ns <= before_ns or alert.at.y_age_s + alert.at.x_age_s < 120
        again = analyze(lab.ticks(), **given)
        pd.testing.assert_frame_equal(again, lab.history())
    assert seen_open >= 1
    assert {AlertKind.EXIT, AlertKind.ENTRY} <= {alert.kind for alert in lab.alert_log.alerts()}


async def test_a_rebuild_over_a_gap_makes_no_row_of_it() -> None:
    exchange = Exchange(market(14), klines=False)
    lab = PairLab(feed=exchange, **GIVEN).start()
    await exchange.bring(30.5)
    await settled(lab)
    before_ns = exchange.now_ns
    exchange.minutes(45)
    assert exchange.sink is not None
    exchange.sink.on_gap(5_000)
    await exchange.bring(30)
    for timeframe in ("1s", "1m", "5m", "tick"):
        lab.settings.timeframe = timeframe
        await settled(lab)
        times = lab.rows.view()["time_ns"]
        assert not ((times > before_ns) & (times < before_ns + 45 * MINUTE)).any()
        assert len(marked(lab, RowFlag.GAP_BEFORE)) == 1
        again = analyze(lab.ticks(), **GIVEN, timeframe=timeframe).drop(columns="position")
        pd.testing.assert_frame_equal(again, lab.history().drop(columns="position"))
    bars = lab.bars("1m")
    unseen = (bars.index.asi8 > before_ns) & (bars.index.asi8 <= before_ns + 45 * MINUTE)
    assert unseen.sum() == 45
    assert bars.loc[unseen, ["y_close", "x_close"]].isna().all(axis=None)
    await lab.stop()


async def test_candles_are_fetched_again_after_a_gap_and_until_they_come() -> None:
    exchange = Exchange(market(15))
    lab = PairLab(feed=exchange, **GIVEN, timeframe="1m").start()
    await exchange.bring(30.5)
    await settled(lab)
    exchange.minutes(10)
    assert exchange.sink is not None
    lab._runner._klines.retry_s = 0.01
    exchange.broken = 2
    exchange.sink.on_gap(77)
    await exchange.bring(1)
    await until(lambda: len(marked(lab, RowFlag.SEEDED)) == 10)
    await settled(lab)
    assert (np.diff(lab.rows.view()["time_ns"]) == MINUTE).all()
    told = [entry for entry in lab.event_log if "klines" in entry.message]
    assert [entry.level for entry in told] == ["warning", "warning"]
    assert "told to fail" in told[0].message
    # A later timeframe has the bars of the gap, too.
    lab.settings.timeframe = "5m"
    await settled(lab)
    assert (np.diff(lab.rows.view()["time_ns"]) == 5 * MINUTE).all()
    await lab.stop()
