"""A trade stamped ahead of the clock is marked in its row: live, rebuilt, replayed, analyzed."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab import PairEngine, PairLab, Replay, analyze, verify
from pairlab.backtesting.inputs import source_of
from pairlab.data.journal import GapMarked, TimeCorrected
from pairlab.engine.gaps import Gap, update_over_gaps
from pairlab.feeds.base import FeedHealth, FeedInfo, TickSink
from pairlab.schema import BOTH_LEGS, NS_PER_S, TICK, TIME_CORRECTED, Records, RowFlag
from tests.feeds.scripted import agg, local, nothing_more, playing, quick, row
from tests.storage.replay.files import frames

NOW = 1_700_000_000 * NS_PER_S
STEP_NS = 250_000_000
GAPS = (60, 148)
AHEAD = (61, 150, 151, 290)  # of these ticks
CHOSEN: dict[str, Any] = {"window": 10, "hedge_ratio": 1.0, "entry_z": 1.0, "min_correlation": -1.0}


def market(count: int = 300, ahead: tuple[int, ...] = AHEAD) -> Records:
    ticks: Records = np.zeros(count, TICK)
    at = np.arange(count)
    ticks["id"], ticks["leg"] = at // 2 + 1, at % 2
    ticks["time_ns"] = NOW + at * STEP_NS
    ticks["received_ns"] = ticks["time_ns"] + 1_000_000
    ticks["price"] = 100.0 + np.random.default_rng(4).normal(size=count).cumsum() / 10
    ticks["quantity"] = 1.0
    ticks["time_ns"][list(ahead)] += 3_600 * NS_PER_S
    return ticks


class OwnFeed:
    """A feed that checks no time, and misses a few trades before one that is stamped ahead."""

    info = FeedInfo("OWN", real_money=False, stream="aggTrade")

    def __init__(self, ticks: Records, ended: asyncio.Event) -> None:
        self.ticks, self.ended, self.goes_on = ticks, ended, asyncio.Event()

    async def run(self, sink: TickSink) -> None:
        for start in range(0, len(self.ticks), 4):
            if start == 80:
                await self.goes_on.wait()
            if start in GAPS:
                sink.on_gap(3)
            sink.on_ticks(self.ticks[start : start + 4].copy())
            await asyncio.sleep(0)
        await self.ended.wait()

    def health(self) -> FeedHealth:
        return FeedHealth("live", "as told", clock_offset_ms=math.nan)

    def price_decimals(self) -> None:
        return None

    async def seed_closes(self, timeframe: str, count: int) -> None:
        return None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def expected(timeframe: str) -> list[int]:
    """Times (ns) of the rows made of the trades stamped ahead: each at the newest time before."""
    before = [NOW + at * STEP_NS for at in (60, 149, 149, 289)]
    if timeframe == "tick":
        return before
    return sorted({(time // NS_PER_S + 1) * NS_PER_S for time in before})


def flagged(rows: Records) -> list[int]:
    """Times of the rows that are flagged."""
    return rows["time_ns"][(rows["flags"] & RowFlag.TIME_CORRECTED) != 0].tolist()


async def replayed(path: Path, given: dict[str, Any]) -> Records:
    again = PairLab(feed=Replay(path, math.inf), **given).start()
    await again.wait_closed()
    health = again.health()
    assert (health.state, health.gaps, health.missing) == ("stopped", len(GAPS), 3 * len(GAPS))
    return again.rows.view().copy()


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize("timeframe", ["tick", "1s"])
async def test_live_rebuild_replay_verify_and_analyze_agree(timeframe: str, tmp_path: Path) -> None:
    ended = asyncio.Event()
    given = {**CHOSEN, "timeframe": timeframe}
    feed = OwnFeed(market(), ended)
    async with PairLab(feed=feed, **given) as lab:
        await lab.record(tmp_path / "r").wait_opened()
        await until(lambda: len(lab.rows) > 10)  # caught up; from now on row by row
        feed.goes_on.set()
        await until(lambda: lab._pipeline.next_tick == 300 and len(lab.rows) > 70)
        assert [e.tick for e in lab.journal if isinstance(e, TimeCorrected)] == list(AHEAD)
        assert [e.tick for e in lab.journal if isinstance(e, GapMarked)] == list(GAPS)
        rows, ticks, history = lab.rows.view().copy(), lab.ticks(), lab.history()
        await lab.save_async(tmp_path / "s.pairlab")
        lab.settings.window = 12
        await until(lambda: lab._pipeline.fits_settings())
        assert flagged(lab.rows.view()) == expected(timeframe)
        lab.settings.window = 10
        await until(lambda: lab._pipeline.fits_settings())
        again = lab.rows.view()
        for name in set(rows.dtype.names) - {"position"}:  # what was decided stays
            assert again[name].tobytes() == rows[name].tobytes(), name
        ended.set()
        await lab.wait_closed()
    assert flagged(rows) == expected(timeframe)
    assert (history["flags"] & int(RowFlag.TIME_CORRECTED) > 0).sum() == len(expected(timeframe))
    assert ticks["time_corrected"].to_numpy().nonzero()[0].tolist() == list(AHEAD)
    assert ticks["gap_before"].to_numpy().nonzero()[0].tolist() == list(GAPS)
    assert ticks["gap_before"].max() == BOTH_LEGS

    found = await asyncio.to_thread(verify, tmp_path / "r")
    assert (found.equal, found.gaps, found.rebuilds) == (True, len(GAPS), 2)
    for path in (tmp_path / "r", tmp_path / "s.pairlab"):
        assert (await replayed(path, given)).tobytes() == rows.tobytes(), path
    frame = (await asyncio.to_thread(source_of, tmp_path / "r", None)).given.ticks
    for exported in (ticks, frame, from_csv(ticks)):
        got = analyze(exported, pair=lab.pair, **given)
        pd.testing.assert_frame_equal(got, history, check_exact=True, check_freq=False)


def from_csv(ticks: pd.DataFrame) -> pd.DataFrame:
    read = pd.read_csv(
        io.StringIO(ticks.to_csv()), index_col="time", parse_dates=["time", "received"]
    )
    return read.astype({"symbol": ticks["symbol"].dtype})


@pytest.mark.usefixtures("no_task_left")
async def test_a_trade_of_a_stream_and_one_that_rest_brings_are_marked() -> None:
    known = asyncio.Event()

    async def trades(ws: ServerConnection) -> None:
        await known.wait()
        for id_ in [*range(1, 20), *range(25, 40)]:  # five are to be fetched
            for leg in (0, 1):
                if leg == 0 or id_ < 20 or id_ > 24:
                    ahead_ms = 3_600_000 if (id_, leg) == (10, 1) else 0
                    await ws.send(agg(leg, id_, ms=100 * id_ + ahead_ms))
        await nothing_more(ws)

    async with playing(trades) as script:
        for id_ in range(1, 40):
            ahead_ms = 3_600_000 if id_ == 22 else 0
            script.trades["BTCUSDT"].append(row(id_, ms=100 * id_ + ahead_ms))
            script.trades["ETHUSDT"].append(row(id_, ms=100 * id_))
        feed = local(script, timeouts=quick(idle_min_s=90.0, idle_busy_s=99.0))
        async with PairLab(feed=feed, **CHOSEN) as lab:
            await until(lambda: math.isfinite(feed.health().clock_offset_ms))
            known.set()
            await until(lambda: lab.health().ticks == 78 and len(lab.rows) == 77)
            ticks = lab.ticks()
            marked = ticks[ticks["time_corrected"]]
            assert [*zip(marked["symbol"], marked["id"], strict=True)] == [
                ("ETHUSDT", 10), ("BTCUSDT", 22),
            ]  # fmt: skip
            flags = lab.rows.view()["flags"]
            at = np.flatnonzero(flags & RowFlag.TIME_CORRECTED) + 1  # the first tick makes no row
            assert ticks["time_corrected"].to_numpy().nonzero()[0].tolist() == at.tolist()
            assert not (flags & RowFlag.GAP_BEFORE).any()


def test_what_is_no_row_takes_no_mark() -> None:
    ticks = market(40, ())
    ticks["price"][20] = math.nan  # counted and dropped: the tick after it is as good as any
    rows = update_over_gaps(PairEngine(**CHOSEN), ticks, [Gap(20, TIME_CORRECTED)])
    assert flagged(rows) == []
    # Before a gap it is a price that no later row is made of.
    bars = PairEngine(**CHOSEN, timeframe="1s")
    got = update_over_gaps(bars, market(40, ()), [Gap(21, TIME_CORRECTED), Gap(22)])
    assert flagged(got) == []
    assert (got["flags"] & RowFlag.GAP_BEFORE != 0).sum() == 1
    # Its own bar is flagged, not the one that it closes.
    bars = PairEngine(**CHOSEN, timeframe="1s")
    got = update_over_gaps(bars, market(40, ()), [Gap(20, TIME_CORRECTED)])
    assert flagged(got) == [NOW + 6 * NS_PER_S]


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize("shuffled", [False, True])
async def test_a_trade_stamped_ahead_in_recorded_frames_moves_no_clock(
    shuffled: bool, tmp_path: Path
) -> None:
    path = frames(tmp_path / "recorded.txt", market())
    lines = path.read_text().splitlines(keepends=True)
    if shuffled:  # two of one leg in the wrong order, as two connections bring them
        lines[200], lines[202] = lines[202], lines[200]
    path.write_text("".join(lines))
    lab = PairLab(feed=Replay(path, math.inf), **CHOSEN).start()
    await lab.wait_closed()
    rows, health = lab.rows.view().copy(), lab.health()
    assert (health.state, health.gaps, len(rows)) == ("stopped", 0, 299), health.detail
    # Each comes before the next of its leg, as live: its row is at the newest time of either.
    assert flagged(rows) == [NOW + at * STEP_NS for at in (62, 149, 152, 291)]
    assert (np.diff(rows["time_ns"]) <= 3 * STEP_NS).all()
    assert sum("4 stamped ahead" in entry.message for entry in lab.event_log) == 1
