"""A trade stamped ahead cannot move the market's clock; a market played fast is left alone."""

from __future__ import annotations

import asyncio
import logging
import math

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab import PairLab
from pairlab.feeds.base import FeedHealth, FeedInfo, TickSink
from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.sequencing.clock_guard import MAX_AHEAD_S, ClockGuard
from pairlab.schema import NS_PER_S, TICK, Records
from tests.feeds.scripted import agg, local, nothing_more, playing, quick, row, running, wait_until

Items = list[TickTuple | ConsumedId]
DAY_S = 86_400
NOW = 1_700_000_000 * NS_PER_S
OFFSET = 3 * NS_PER_S  # this machine's clock is ahead


def trade(at_s: float, ahead_s: float = 0.0, delay_s: float = 0.05) -> TickTuple:
    time_ns = NOW + int((at_s + ahead_s) * 1e9)
    received_ns = NOW + int((at_s + delay_s) * 1e9) + OFFSET
    return (time_ns, received_ns, int(at_s * 10), 0, 1.0, 1.0, False)


def seconds(items: Items) -> list[float]:
    return [(item[0] - NOW) / 1e9 for item in items]


FEEDS: list[object] = []  # kept: the log tells feeds apart by identity


@pytest.fixture
def guard() -> ClockGuard:
    FEEDS.append(object())
    guard = ClockGuard(FEEDS[-1])
    guard.set_offset(OFFSET)
    return guard


@pytest.mark.parametrize("ahead_s", [MAX_AHEAD_S + 1, 3_600, DAY_S, 365 * DAY_S])
@pytest.mark.parametrize("many", [1, 2])
@pytest.mark.parametrize("in_one_frame", [True, False])
def test_a_time_ahead_becomes_the_newest_one_seen(
    guard: ClockGuard,
    ahead_s: float,
    many: int,
    in_one_frame: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "pairlab.feeds"):
        for k in range(100):
            guard.corrected([trade(k / 10)])
        items: Items = [*(trade(10 + k / 10, ahead_s) for k in range(many)), trade(10.5)]
        batches = [items] if in_one_frame else [[item] for item in items]
        got = [item for batch in batches for item in guard.corrected(batch)]
        assert seconds(got) == [*[9.9] * many, 10.5]
        assert [item[2] for item in got] == [item[2] for item in items]
        assert guard.count == many
        assert f"{ahead_s:,.0f} s ahead" in caplog.records[0].message
    # Again, hours later; and as an id that is no trade.
    guard.corrected([trade(7_200)])
    assert guard.corrected([ConsumedId(*trade(7_201, ahead_s)[:4])]) == []
    assert seconds(guard.corrected([trade(7_202)])) == [7_200, 7_202]
    assert guard.count == many + 1


def test_what_is_within_the_bound_is_left_as_it_is(guard: ClockGuard) -> None:
    items: Items = [
        trade(0), trade(1, MAX_AHEAD_S - 1), trade(2, delay_s=600), trade(3, -3_000),
    ]  # fmt: skip
    assert guard.corrected(list(items)) == items
    assert guard.count == 0


def test_a_first_trade_ahead_counts_at_the_clock(guard: ClockGuard) -> None:
    assert guard.corrected([trade(5, DAY_S, delay_s=0.0)]) == []
    assert seconds(guard.corrected([trade(6)])) == [5, 6]


def test_what_waits_at_the_end_is_not_lost(guard: ClockGuard) -> None:
    guard.corrected([trade(1)])
    assert guard.corrected([trade(2, DAY_S)]) == []
    assert seconds(guard.flush()) == [1]
    assert guard.flush() == []


def test_without_an_offset_nothing_is_judged() -> None:
    guard = ClockGuard(object())
    items: Items = [trade(0), trade(1, DAY_S)]
    assert guard.corrected(list(items)) == items


@pytest.mark.parametrize("speed", [1.5, 5.0, 60.0, 1e6])
@pytest.mark.parametrize("per_frame", [1, 2, 7])
def test_a_market_whose_clock_is_another_is_left_alone(
    guard: ClockGuard, speed: float, per_frame: int
) -> None:
    items: Items = [trade(k / 10, ahead_s=k / 10 * (speed - 1)) for k in range(700)]
    got: Items = []
    for start in range(0, len(items), per_frame):
        got += guard.corrected(items[start : start + per_frame])
    assert got == items
    assert guard.count == 0


def test_a_clock_that_was_set_back_is_no_fault_of_the_trades(guard: ClockGuard) -> None:
    items: Items = [trade(20 + k, ahead_s=60.0) for k in range(10)]
    guard.corrected([trade(1)])
    assert [item for one in items for item in guard.corrected([one])] == items
    assert guard.count == 0


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize("timeframe", ["tick", "1s"])
async def test_rows_ages_and_bars_go_on(timeframe: str) -> None:
    known = asyncio.Event()

    async def trades(ws: ServerConnection) -> None:
        await known.wait()
        for id_ in range(1, 401):
            ms = 20 * id_ + (DAY_S * 1_000 if id_ == 200 else 0)
            await ws.send(agg(id_ % 2, (id_ + 1) // 2, ms=ms))
        await nothing_more(ws)

    async with (
        playing(trades) as script,
        PairLab(
            feed=local(script, timeouts=quick(idle_min_s=90.0, idle_busy_s=99.0)),
            timeframe=timeframe,
            window=10,
        ) as lab,
    ):
        async with asyncio.timeout(60):
            while (feed := lab._runner._feed) is None or math.isnan(  # noqa: ASYNC110
                feed.health().clock_offset_ms
            ):
                await asyncio.sleep(0.01)
        news = asyncio.Event()
        lab.on_update(news.set)
        known.set()
        # Every trade, and its row: the engine may start after them, and the second bar to the last
        # is complete before the last trades are here.
        rows_made = 399 if timeframe == "tick" else 8
        await wait_until(
            lambda: (lab.health().ticks, lab.health().rows) == (400, rows_made),
            news, lambda: repr(lab.health()),
        )  # fmt: skip
        rows = lab.rows.view().copy()
        times = (rows["time_ns"] - rows["time_ns"][0]) / 1e9
        assert times[-1] < 9
        assert (np.diff(times) <= (0.05 if timeframe == "tick" else 1.0)).all()
        assert max(rows["y_age_s"].max(), rows["x_age_s"].max()) < 1.5
        assert lab.health().dropped == {"stamped ahead": 1}
        (told,) = [entry for entry in lab.event_log if "stamped" in entry.message]
        assert told.level == "warning"
        assert len(lab.ticks()) == 400


def page(*aheads_s: float) -> list[TickTuple]:
    return [trade(k, ahead_s) for k, ahead_s in enumerate(aheads_s)]


@pytest.mark.parametrize(
    ("aheads_s", "want"),
    [
        ((0, 0, DAY_S, 0), [0, 1, 1, 3]),
        ((DAY_S, 0, 0), [1, 1, 2]),
        ((0, DAY_S, 2 * DAY_S), [0, 0, 0]),
        ((0, DAY_S, DAY_S, DAY_S, 0), [0, 1 + DAY_S, 2 + DAY_S, 3 + DAY_S, 4]),
        ((0, 5, 9), [0, 6, 11]),
    ],
)
def test_trades_that_rest_brings_are_judged_too(
    guard: ClockGuard, aheads_s: tuple[float, ...], want: list[float]
) -> None:
    trades = page(*aheads_s)
    got = guard.corrected_page(trades)
    assert seconds([*got]) == want
    assert [t[1:] for t in got] == [t[1:] for t in trades]
    assert guard.count == sum(a[0] != b[0] for a, b in zip(got, trades, strict=True))


async def test_a_trade_of_a_gap_that_is_stamped_ahead_moves_no_clock() -> None:
    known = asyncio.Event()

    async def gapped(ws: ServerConnection) -> None:
        await known.wait()
        for id_ in (1, 2, 3, 8, 9):
            for leg in (0, 1):
                if leg == 0 or id_ < 8:
                    await ws.send(agg(leg, id_, ms=100 * id_))
        await nothing_more(ws)

    async with playing(gapped) as script:
        for id_ in range(1, 10):
            late_ms = DAY_S * 1_000 if id_ == 6 else 0
            script.trades["BTCUSDT"].append(row(id_, ms=100 * id_ + late_ms))
        feed = local(script)
        async with running(feed) as catcher:
            async with asyncio.timeout(60):
                while math.isnan(feed.health().clock_offset_ms):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            known.set()
            await catcher.until(lambda: catcher.ids(0) == [*range(1, 10)])
    of_y = catcher.ticks[catcher.ticks["leg"] == 0]
    assert np.diff(of_y["time_ns"]).max() <= 2 * 100_000_000
    assert feed.health().dropped == {"stamped ahead": 1}


class OwnFeed:
    """A feed of the user's own that checks nothing."""

    info = FeedInfo("OWN", real_money=False, stream="trade")

    def __init__(self, ticks: Records, offset_ms: float = math.nan) -> None:
        self.ticks, self.offset_ms = ticks, offset_ms

    async def run(self, sink: TickSink) -> None:
        for batch in np.array_split(self.ticks, 150):
            sink.on_ticks(batch)
            await asyncio.sleep(0)
        sink.on_gap(1)

    def health(self) -> FeedHealth:
        return FeedHealth("live", "as told", clock_offset_ms=self.offset_ms)

    def price_decimals(self) -> None:
        return None

    async def seed_closes(self, timeframe: str, count: int) -> None:
        return None


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("offset_ms", [math.nan, 3_000.0])
async def test_a_feed_of_the_users_own_is_judged_too(last: bool, offset_ms: float) -> None:
    ticks: Records = np.zeros(300, TICK)
    at = np.arange(300)
    ticks["id"], ticks["leg"] = at // 2 + 1, at % 2
    ticks["time_ns"] = NOW + at * 20_000_000
    ticks["received_ns"] = ticks["time_ns"] + 1_000_000
    if offset_ms > 0:
        ticks["received_ns"] += int(offset_ms * 1e6)
    ticks["price"] = 100.0 + at % 7
    wrong = 299 if last else 200
    ticks["time_ns"][wrong] += DAY_S * NS_PER_S
    async with PairLab(feed=OwnFeed(ticks, offset_ms), window=10, hedge_ratio=1.0) as lab:
        await lab._runner.wait_closed()
        rows = lab.rows.view().copy()
        assert len(rows) == 299
        assert len(lab.ticks()) == 300
        assert rows["time_ns"][-1] - NOW <= 299 * 20_000_000
        assert lab.health().dropped == {"stamped ahead": 1}
        assert sum("stamped" in entry.message for entry in lab.event_log) == 1


async def test_ticks_of_an_own_feed_without_a_receive_time_are_not_judged() -> None:
    ticks: Records = np.zeros(10, TICK)
    ticks["time_ns"], ticks["leg"] = NOW + np.arange(10), np.arange(10) % 2
    ticks["price"] = 1.0
    async with PairLab(feed=OwnFeed(ticks), window=10, hedge_ratio=1.0) as lab:
        await lab._runner.wait_closed()
        assert lab.rows.view()["time_ns"].tolist() == ticks["time_ns"][1:].tolist()
        assert lab.health().dropped == {}
