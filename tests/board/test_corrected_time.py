"""A trade stamped ahead of the clock is marked in a board's rows as it is in a lab's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab import Board, PairLab
from pairlab.board.core import BoardCore
from pairlab.clock import SYSTEM_CLOCK
from pairlab.data.journal import TimeCorrected
from pairlab.engine import compile_kernel
from pairlab.feeds import FeedGroup
from pairlab.feeds.sequencing.clock_guard import LegGuards
from pairlab.lab.pipeline import Pipeline
from pairlab.schema import NS_PER_S, TIME_CORRECTED, Pair, Records, RowFlag
from pairlab.settings import Settings
from tests.engine import worlds
from tests.feeds.scripted import PAIR, agg, nothing_more, playing, quick, row

pytestmark = pytest.mark.usefixtures("no_task_left")

AHEAD_MS = 3_600_000
FEED = object()  # kept: the log tells feeds apart by identity
GIVEN = {"hedge": "ols", "window": 10, "min_correlation": -1.0, "entry_z": 1.0}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


async def until(news: asyncio.Event, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            news.clear()
            await news.wait()


async def clock_known(group: FeedGroup, labs: list[PairLab]) -> None:
    """Wait until every feed knows the exchange's clock, and so what is ahead of it."""
    async with asyncio.timeout(20):
        while not all(  # noqa: ASYNC110 - nothing tells it
            feed is not None and feed.decimals() and math.isfinite(feed.health().clock_offset_ms)
            for feed in (*map(group.symbol, PAIR), *(lab._runner._feed for lab in labs))
        ):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def released(*events: asyncio.Event) -> AsyncIterator[None]:
    """Let the server's handler end, whatever the test does."""
    try:
        yield
    finally:
        for event in events:
            event.set()


def flagged(rows: Records) -> int:
    return int((rows["flags"] & RowFlag.TIME_CORRECTED != 0).sum())


def same(ours: Records, theirs: Records) -> None:
    assert len(ours) == len(theirs) > 0
    for name in ours.dtype.names or ():
        assert ours[name].tobytes() == theirs[name].tobytes(), name


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
async def test_live_added_and_rebuilt_rows_are_those_of_a_lab(timeframe: str) -> None:
    known, more = asyncio.Event(), asyncio.Event()
    ahead = {(10, 1), (15, 0), (16, 0), (70, 1), (75, 0)}
    count = 90

    async def trades(ws: ServerConnection) -> None:
        r = np.random.default_rng(3)
        await known.wait()
        for id_ in range(1, count + 1):
            if id_ == 60:
                await more.wait()
            # one leg trades more often while a trade of the other waits for its next
            for leg in (0, 1) if id_ % 3 else (1, 0):
                ms = 100 * id_ + 7 * leg + (AHEAD_MS if (id_, leg) in ahead else 0)
                await ws.send(agg(leg, id_, ms=ms, price=f"{100 + r.normal():.2f}"))
        await nothing_more(ws)

    given = {**GIVEN, "timeframe": timeframe}
    async with playing(trades) as script:
        group = FeedGroup(url=script.url, timeouts=quick(idle_min_s=90.0, idle_busy_s=99.0))
        board = Board([PAIR], feed=group, **given)
        turned = Pair(PAIR.x, PAIR.y)
        labs = [PairLab(*pair, feed=group.pair(*pair), **given) for pair in (PAIR, turned)]
        news = asyncio.Event()
        for one in (board, *labs):
            one.on_update(news.set)
        async with board, labs[0], labs[1], released(known, more):
            await clock_known(group, labs)
            known.set()
            first = board[PAIR].pipeline
            await until(news, lambda: first.next_tick == labs[0]._pipeline.next_tick == 2 * 59)
            added = board.add(turned)  # its first rows are made of ticks that are held
            await until(news, lambda: added.pipeline.engine is not None)
            more.set()
            # The last tick of each pair is here: no trade is stamped ahead at the end.
            for at in (first, added.pipeline, *(lab._pipeline for lab in labs)):
                await until(news, lambda at=at: at.next_tick == 2 * count)  # type: ignore[misc]
            pairs = [(board[PAIR], labs[0]), (added, labs[1])]
            for ours, lab in pairs:
                same(ours.rows.view(), lab.rows.view())
                assert flagged(ours.rows.view()) == (5 if timeframe == "tick" else 2)
                assert ours.pipeline.gaps == lab._pipeline.gaps
                assert len(ours.pipeline.gaps) == 5
                assert ours.ticks()["time_corrected"].sum() == 5
            for ours, lab in pairs:
                for settings in (ours.settings, lab.settings):
                    settings.window = 12
                await until(news, lambda ours=ours: ours.pipeline.fits_settings())  # type: ignore[misc]
                await until(news, lambda lab=lab: lab._pipeline.fits_settings())  # type: ignore[misc]
                same(ours.rows.view(), lab.rows.view())
                assert flagged(ours.rows.view()) == (5 if timeframe == "tick" else 2)
            marks = [e.tick for e in labs[0].journal if isinstance(e, TimeCorrected)]
            assert [e.tick for e in first.journal if isinstance(e, TimeCorrected)] == marks


async def test_a_trade_of_a_gap_that_rest_brings_is_marked_among_what_was_held_back() -> None:
    known = asyncio.Event()

    async def trades(ws: ServerConnection) -> None:
        await known.wait()
        for id_ in [*range(1, 20), *range(25, 60)]:  # five are to be fetched
            for leg in (0, 1):
                ahead_ms = AHEAD_MS if (id_, leg) == (40, 1) else 0
                await ws.send(agg(leg, id_, ms=100 * id_ + ahead_ms))
        await nothing_more(ws)

    async with playing(trades) as script:
        for id_ in range(1, 60):
            for leg in (0, 1):
                ahead_ms = AHEAD_MS if (id_, leg) == (22, 0) else 0
                script.trades[PAIR[leg]].append(row(id_, ms=100 * id_ + ahead_ms))
        group = FeedGroup(url=script.url, timeouts=quick(idle_min_s=90.0, idle_busy_s=99.0))
        board = Board([PAIR], feed=group, **GIVEN)
        lab = PairLab(*PAIR, feed=group.pair(*PAIR), **GIVEN)
        news = asyncio.Event()
        board.on_update(news.set)
        lab.on_update(news.set)
        async with board, lab, released(known):
            await clock_known(group, [lab])
            known.set()
            ours = board[PAIR].pipeline
            await until(news, lambda: ours.next_tick == lab._pipeline.next_tick == 2 * 59)
            got, want = board[PAIR].ticks(), lab.ticks()
            marked = want[want["time_corrected"]]
            assert [*zip(marked["symbol"], marked["id"], strict=True)] == [
                ("BTCUSDT", 22), ("ETHUSDT", 40),
            ]  # fmt: skip
            rows, theirs = ours.rows.view(), lab.rows.view()
            for name in rows.dtype.names or ():
                if name != "received_ns":  # REST answers are stamped each
                    assert rows[name].tobytes() == theirs[name].tobytes(), name
            assert flagged(rows) == 2
            assert got["time_corrected"].tolist() == want["time_corrected"].tolist()


def test_what_was_held_back_keeps_its_marks_through_a_rebuild_and_what_was_forgotten_none() -> None:
    pair, other = Pair("AUSDT", "BUSDT"), Pair("BUSDT", "AUSDT")
    core = BoardCore(1_000, SYSTEM_CLOCK)
    made = core.add(pair, Settings(hedge="ols", window=20), lambda: None)
    own = Pipeline(Settings(hedge="ols", window=20), lambda: None)
    core.begin()
    core.start_engine(pair)
    own.start_engine()
    ticks = worlds.trades(1, 600)
    ticks["time_ns"] = np.sort(ticks["time_ns"])
    ticks["received_ns"] = int(ticks["received_ns"].min()) + np.arange(len(ticks))

    def give(part: Records, corrected: int | None = None) -> None:
        for at in range(len(part)):
            core.on_ticks(int(part["leg"][at]), part[at : at + 1], corrected=at == corrected)
        core.flush()

    give(ticks[:200], 150)
    own.on_ticks(ticks[:150])
    own.on_corrected_time()
    own.on_ticks(ticks[150:200])
    during = ticks[200:300]
    core.on_wait(0, int(during["received_ns"][0]))
    give(during, 60)
    core.on_resume(0, int(during["received_ns"][-1]))
    core.flush()
    order = np.lexsort((during["leg"], during["time_ns"]))
    place = int(np.flatnonzero(order == 60)[0])
    own.on_ticks(during[order][:place])
    own.on_corrected_time()
    own.on_ticks(during[order][place:])
    same(made.rows.view(), own.rows.view())
    assert made.gaps == own.gaps
    for pipeline in (made, own):
        pipeline.settings.window = 30
        pipeline.rebuild_finish(*pipeline.rebuild_compute(pipeline.rebuild_start()))
    same(made.rows.view(), own.rows.view())
    assert flagged(made.rows.view()) == 2
    assert [gap.legs for gap in core.add(other, Settings(hedge="ols"), lambda: None).gaps] == [
        TIME_CORRECTED, TIME_CORRECTED,
    ]  # fmt: skip
    give(worlds.trades(2, 3_000))  # the ticks that are held are others
    third = core.add(Pair("AUSDT", "CUSDT"), Settings(hedge="ols"), lambda: None)
    assert third.gaps == ()


def test_what_becomes_of_a_trade_ahead_depends_on_its_own_symbol_alone() -> None:
    def trade(at_s: float, leg: int, ahead_s: float = 0.0) -> tuple:
        received_ns = NS_PER_S * 1_000 + int(at_s * NS_PER_S)
        time_ns = received_ns + int(ahead_s * NS_PER_S)
        return (time_ns, received_ns, int(at_s * 10), leg, 1.0, 1.0, False)

    r = np.random.default_rng(7)
    for _ in range(200):
        items = [
            trade(k / 10, int(r.random() < 0.4), 60.0 if r.random() < 0.15 else 0.0)
            for k in range(1, 60)
        ]
        both = LegGuards(FEED, 2)
        alone = [LegGuards(FEED, 1) for _ in (0, 1)]
        for guard in (both, *alone):
            guard.set_offset(0)
        got: list[tuple] = []
        want: list[list[tuple]] = [[], []]
        at = 0
        while at < len(items):
            batch = items[at : at + int(r.integers(1, 6))]
            at += len(batch)
            got += both.corrected(list(batch))
            for leg in (0, 1):
                want[leg] += alone[leg].corrected([item for item in batch if item[3] == leg])
        got += both.flush()
        for leg in (0, 1):
            want[leg] += alone[leg].flush()
            assert [item for item in got if item[3] == leg] == want[leg]
            assert both.limit_ns(leg) == alone[leg].limit_ns(0)
        assert both.count == sum(guard.count for guard in alone)
