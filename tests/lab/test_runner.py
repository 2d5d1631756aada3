"""Start, stop, failure and replacement, with a feed that does as it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from pairlab import DataError, FeedError, PairLab, PairlabError, SettingError
from pairlab.feeds.base import FeedHealth, FeedInfo, TickSink
from pairlab.local_exchange import LocalExchange
from pairlab.schema import NS_PER_S, TICK, RowFlag
from tests.ahead import Ahead
from tests.engine.worlds import moving_ratio

pytestmark = pytest.mark.usefixtures("no_task_left")


def some_ticks(count: int, start: int = 0, step_ns: int = 1_000_000) -> Any:
    """Alternating trades of a pair, one a step."""
    number = np.arange(start, start + count)
    ticks = np.zeros(count, TICK)
    ticks["time_ns"] = 1_700_000_000 * NS_PER_S + number * step_ns
    ticks["id"], ticks["leg"], ticks["quantity"] = number, number % 2, 1.0
    x = 2_400 + np.sin(number / 40)
    noise = np.sin(number * 1.7) + np.sin(number / 9)
    ticks["price"] = np.where(number % 2 == 0, 25 * x + noise, x)
    return ticks


class ScriptedFeed:
    """Hands on what the test gives it; may fail, end, or take its time to close."""

    info = FeedInfo("SCRIPT", real_money=False, stream="bookTicker")

    def __init__(self, *, fails: int = 0, closes_slowly: bool = False) -> None:
        self.fails, self.closes_slowly = fails, closes_slowly
        self.runs, self.closed = 0, 0
        self.sink: TickSink | None = None
        self.opened, self.ended = asyncio.Event(), asyncio.Event()

    async def run(self, sink: TickSink) -> None:
        self.runs += 1
        if self.runs <= self.fails:
            raise FeedError("told to fail")
        self.sink = sink
        self.opened.set()
        try:
            await self.ended.wait()
        finally:
            for _ in range(50 if self.closes_slowly else 0):
                await asyncio.sleep(0)
            self.closed += 1

    def health(self) -> FeedHealth:
        return FeedHealth("live", "as told")

    def price_decimals(self) -> None:
        return None

    async def seed_closes(self, timeframe: str, count: int) -> None:
        return None

    async def give(self, ticks: Any) -> None:
        await self.opened.wait()
        assert self.sink is not None
        self.sink.on_ticks(ticks)


async def test_a_start_during_a_stop_runs() -> None:
    feed = ScriptedFeed(closes_slowly=True)
    lab = PairLab(feed=feed).start()
    await feed.opened.wait()
    stopping = asyncio.create_task(lab.stop())
    await asyncio.sleep(0)
    feed.opened.clear()
    lab.start()
    await stopping
    await feed.give(some_ticks(200))
    await lab.wait_async(100, 60)
    assert lab.health().state == "live"
    assert feed.closed == 1
    await lab.stop()
    assert lab.health().state == "stopped"
    assert lab.health().stream == "bookTicker"


async def test_every_replaced_lab_ends_even_if_its_successor_never_ran() -> None:
    feed = ScriptedFeed(closes_slowly=True)
    labs = [PairLab(feed=feed) for _ in range(3)]
    labs[0].start()
    await feed.opened.wait()
    with pytest.raises(ValueError, match="in the block"):
        async with labs[1]:
            raise ValueError("in the block")
    assert feed.closed == 1
    assert labs[0].health().state == "stopped"
    feed.opened.clear()
    labs[0].start()
    await feed.opened.wait()
    feed.opened.clear()
    labs[1].start()
    labs[2].start()
    await feed.opened.wait()
    assert [lab.health().state for lab in labs] == ["stopped", "stopped", "live"]
    assert feed.closed == 2
    await labs[2].stop()


async def test_a_failed_lab_starts_again_and_makes_each_row_once() -> None:
    feed = ScriptedFeed(fails=1)
    lab = PairLab(feed=feed).start()
    with pytest.raises(FeedError, match="told to fail"):
        await lab.wait_async(1, 60)
    assert lab.health().state == "failed"
    with pytest.raises(FeedError, match="told to fail"):
        await lab.wait_async(1, 60)
    lab.start()
    await feed.give(some_ticks(1_500))
    await lab.wait_async(1_499, 60)
    await feed.give(some_ticks(1, start=1_500))
    assert len(lab.history()) == 1_500
    assert lab.history().index.is_monotonic_increasing
    names = [t.get_name() for t in asyncio.all_tasks() if "heartbeat" in t.get_name()]
    assert len(names) == 1
    await lab.stop()


async def test_a_feed_that_has_no_klines_to_give_gives_its_ticks() -> None:
    class WithoutKlines(ScriptedFeed):
        async def seed_closes(self, timeframe: str, count: int) -> None:
            raise ZeroDivisionError(f"no {timeframe} klines")

    feed = WithoutKlines()
    async with PairLab(feed=feed, timeframe="1m") as lab:
        await feed.give(some_ticks(300, step_ns=NS_PER_S))
        await lab.wait_async(4, 60)
        (told,) = [e.message for e in lab.event_log if "klines" in e.message]
        assert "no 1m klines" in told
        assert lab.health().state == "live"


async def test_who_waits_for_rows_that_cannot_come_is_told() -> None:
    feed = ScriptedFeed()
    lab = PairLab(feed=feed).start()
    waiting = asyncio.create_task(lab.wait_async(10, 60))
    await feed.opened.wait()
    await lab.stop()
    with pytest.raises(PairlabError, match="no more rows"):
        await waiting
    feed = ScriptedFeed()
    feed.ended.set()
    lab = PairLab(feed=feed).start()
    with pytest.raises(PairlabError, match="no more rows"):
        await lab.wait_async(10, 60)
    await lab.stop()


async def test_a_failing_engine_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(progress: Any) -> None:
        raise MemoryError("no room to compile")

    monkeypatch.setattr("pairlab.lab.runner.compile_kernel", broken)
    lab = PairLab(feed=ScriptedFeed()).start()
    with pytest.raises(FeedError, match="no room to compile"):
        await lab.wait_async(1, 60)
    assert lab.health().state == "failed"
    await lab.stop()


async def test_a_restart_marks_the_gap_and_a_stop_ends_a_rebuild() -> None:
    feed = ScriptedFeed()
    lab = PairLab(feed=feed).start()
    await feed.give(some_ticks(300))
    await lab.wait_async(299, 60)
    lab.settings.hedge = "ols"
    await lab.stop()
    assert lab._pipeline.fits_settings()
    assert np.isfinite(lab.history()["p_value"].iloc[-1])
    feed.opened.clear()
    lab.start()
    await feed.give(some_ticks(100, start=400))
    rows = lab.rows.view()
    assert np.flatnonzero(rows["flags"] & RowFlag.GAP_BEFORE).tolist() == [299]
    lab.settings.hedge = "fixed"
    await lab.stop()
    assert np.flatnonzero(lab.rows.view()["flags"] & RowFlag.GAP_BEFORE).tolist() == [299]


async def test_positions_are_what_they_were_after_any_change_of_timeframe() -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed, min_correlation=-1.0, entry_z=1.0) as lab:
        await feed.give(some_ticks(4_000, step_ns=20_000_000))
        await lab.wait_async(3_999, 60)
        before = lab.history()["position"].copy()
        assert set(before.unique()) == {-1, 0, 1}
        for timeframe in ("1h", "tick", "1s", "tick"):
            lab.settings.timeframe = timeframe
            assert lab._runner._rebuilder.task is not None
            await lab._runner._rebuilder.task
        assert (lab.history()["position"].to_numpy() == before.to_numpy()).all()
        count = len(lab.alert_log.alerts())
    assert count == len({(a.time_ns, a.kind) for a in lab.alert_log.alerts()})


async def test_a_tick_of_no_leg_breaks_nothing() -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed) as lab:
        stray = some_ticks(1)
        stray["leg"] = 2
        await feed.give(np.concatenate([some_ticks(100), stray, some_ticks(100, start=101)]))
        await lab.wait_async(150, 60)
        assert lab.ticks()["symbol"].isna().sum() == 1
        assert lab.health().dropped == {"unknown leg": 1}


async def test_a_kalman_hedge_that_eats_the_spread_is_told_once() -> None:
    feed = ScriptedFeed()
    y, x, _, _ = moving_ratio(5, 12_000)
    ticks = some_ticks(24_000, step_ns=NS_PER_S // 2)
    ticks["price"] = np.ravel([y, x], order="F")
    options = {"timeframe": "1s", "hedge": "kalman", "window": 300, "kalman_half_life": 15}
    async with PairLab(feed=feed, **options) as lab:
        await feed.give(ticks)
        await lab.wait_async(11_990, 60)
        assert any("kalman_half_life" in warning for warning in lab.health().warnings)
        for now_s in (1_000.0, 1_000.25, 1_030.0, 1_085.0):
            lab._runner._log_warnings(now_s)
        told = [e for e in lab.event_log if "kalman_half_life" in e.message]
        assert len(told) == 1
        assert told[0].level == "warning"


def test_what_is_no_feed_is_refused_at_once() -> None:
    with pytest.raises(SettingError, match="Feed"):
        PairLab(feed=123)
    with pytest.raises(DataError, match="'ws://'"):
        PairLab(feed="ws://")


async def test_a_listener_that_raises_costs_no_tick() -> None:
    heard: list[int] = []

    def broken() -> None:
        raise RuntimeError("a listener's own fault")

    market = Ahead(300, seed=3, rate_per_s=2_000)
    async with LocalExchange(market) as exchange, PairLab(feed=exchange.url) as lab:
        lab.listen(broken)
        lab.listen(lambda: heard.append(lab.health().rows))
        await lab.wait_async(300, 60)
        health, held = lab.health(), len(lab.ticks())
        assert lab.latest() is not None
    assert health.dropped.get("not processed", 0) == 0
    assert health.ticks == held
    assert heard  # the listeners after it are called, too
    assert any("a listener's own fault" in entry.message for entry in lab.event_log)
