"""`PairLab.paper_trade`: on a live stream and on what was recorded, what a backtest makes of it."""

from __future__ import annotations

import math
from asyncio import to_thread
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pairlab import PairLab, Replay, backtest
from pairlab.engine import compile_kernel
from pairlab.local_exchange import LocalExchange
from tests.ahead import Ahead

SETTINGS: dict[str, Any] = {
    "window": 60, "entry_z": 0.8, "exit_z": 0.2, "min_correlation": -1.0, "hedge": "ols",
}  # fmt: skip
UNSEEN = ["mae", "mfe", "rows"]


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


def same(paper: Any, want: Any) -> None:
    """Compare what was left: what is held at the end is valued at other prices."""
    got, expected = paper.trades(), want.trades.drop(columns=UNSEEN)
    left = (expected["reason"] != "open").to_numpy()
    assert left.sum() > 5
    pd.testing.assert_frame_equal(got[: left.sum()], expected[left], check_exact=True)
    assert paper.money.trades in (left.sum(), left.sum() + 1)  # the last row may not know of one
    cents = expected["net"][left].sum()
    assert paper.trades()["net"][: left.sum()].sum() == cents


async def test_a_live_session_is_its_recording_s_backtest(tmp_path: Path) -> None:
    market = Ahead(2_000, seed=5, speed=20.0)
    async with LocalExchange(market) as exchange:
        lab = PairLab(feed=exchange.url, **SETTINGS)
        paper = lab.paper_trade(capital=25_000.0, latency_s=0.05)
        async with lab:
            recording = lab.record(tmp_path / "r")
            await lab.wait_async(2_000, 60)
        assert recording.error == ""
    want = await to_thread(backtest, tmp_path / "r", capital=25_000.0, latency_s=0.05)
    same(paper, want)
    again = PairLab(feed=await to_thread(Replay, tmp_path / "r", math.inf), **SETTINGS)
    twin = again.paper_trade(capital=25_000.0, latency_s=0.05)
    async with again:
        await again.wait_closed()
    same(twin, want)
    # Sent to another time, what it is warmed up with is not traded.
    target = int(again.ticks().index.asi8[1_200])
    assert again.playback is not None
    again.playback.seek(target)
    again.playback.play()
    await again.wait_closed()
    decided = twin.trades()["entry_decided"].astype("int64")
    assert len(decided) > 5
    assert decided.min() >= target
    assert twin.since_ns is not None
    assert twin.since_ns >= target
    paper.stop()
    twin.stop()


@pytest.mark.slow
@pytest.mark.parametrize("timeframe", ["tick", "1s"])
async def test_over_recorded_trades_it_is_the_backtest_to_the_cent(
    recorded: Path, timeframe: str
) -> None:
    folder = recorded / "binance-usdm-trade-20240808"
    settings = {**SETTINGS, "timeframe": timeframe, "entry_z": 1.0}
    lab = PairLab(feed=await to_thread(Replay, folder, math.inf), **settings, history_rows=1_000)
    paper = lab.paper_trade(capital=10_000.0)
    async with lab:
        await lab.wait_closed()
    ticks = PairLab(
        feed=await to_thread(Replay, folder, math.inf), **settings, ticks_held=2_000_000
    )
    async with ticks:
        await ticks.wait_closed()
    want = await to_thread(backtest, ticks.ticks(), max_silence=None, **settings)
    same(paper, want)
