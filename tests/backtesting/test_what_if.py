"""What-if: the same trades and money as a backtest of the same rows, beside the loop."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pairlab import PairLab, backtest
from pairlab.backtesting.sweeping.column_rows import decide_kernel
from pairlab.backtesting.trade_kernels import fill_kernel, leg_kernel
from pairlab.backtesting.what_if import held_rows, map_of, outcome_of
from pairlab.engine import PairEngine
from pairlab.schema import TICK, Pair, RowFlag
from pairlab.settings import Settings
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")


def ticks(n: int = 4_000) -> np.ndarray:
    """Return ticks of both legs in turn, one each 100 ms."""
    y, x = worlds.cointegrated(3, n // 2, noise=60.0)
    made = np.zeros(n, TICK)
    made["time_ns"] = 1_723_075_200_000_000_000 + np.arange(n) * 100_000_000
    made["leg"] = np.arange(n) % 2
    made["price"] = np.where(made["leg"] == 0, np.repeat(y, 2), np.repeat(x, 2))
    made["id"], made["quantity"] = np.arange(n), 1.0
    return made


def frame(of: np.ndarray) -> pd.DataFrame:
    index = pd.DatetimeIndex(of["time_ns"].view("M8[ns]"), name="time").tz_localize("UTC")
    symbol = pd.Categorical.from_codes(of["leg"], categories=list(PAIR))
    return pd.DataFrame({"symbol": symbol, "price": of["price"], "id": of["id"]}, index)


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
@pytest.mark.parametrize(("entry_z", "stop_z"), [(1.5, None), (2.0, 3.0)])
def test_it_is_the_backtest_of_the_same_rows(
    timeframe: str, entry_z: float, stop_z: float | None
) -> None:
    of, common = ticks(), {"timeframe": timeframe, "window": 40, "min_correlation": -1.0}
    engine = PairEngine(Settings(**common))
    rows = engine.update(of)
    values = replace(engine.values, entry_z=entry_z, stop_z=stop_z, fee_bps=2.0)
    got = outcome_of(held_rows(rows, engine.values, of), values, 1, 1)
    assert got.at_trades
    want = backtest(
        frame(of), pair=PAIR, entry_z=entry_z, stop_z=stop_z, fee_bps=2.0,
        **common,
    )  # fmt: skip
    trades = want.trades
    assert len(trades) > 5
    decided = trades["entry_decided"].astype("int64").to_numpy()
    np.testing.assert_array_equal(got.entry_ns, decided)
    assert got.net == pytest.approx(trades["net"].sum(), abs=1e-6)
    assert got.costs == pytest.approx(trades["fees"].sum(), abs=1e-6)
    first, last = want.data_report.start.value, want.data_report.end.value
    late = decided >= first + (last - first) * 2 // 3
    assert got.last_trades == late.sum()
    assert got.last_net == pytest.approx(trades["net"][late].sum(), abs=1e-6)
    if timeframe == "tick":
        return
    # Where the trades of some rows are not held any more, the next bar stands for the next trade.
    for held in (None, of[:0], of[len(of) // 2 :]):
        other = outcome_of(held_rows(rows, engine.values, held), values, 1, 1)
        assert not other.at_trades
        assert set(other.entry_ns) >= set(decided[:-1])
        assert other.net != got.net


def test_nothing_is_decided_on_seeds() -> None:
    of = ticks()
    closes = np.arange(1, 41) * 1_000_000_000 + of["time_ns"][0] - 41_000_000_000
    y, x = worlds.cointegrated(4, 40, noise=60.0)
    engine = PairEngine(timeframe="1s", window=20, min_correlation=-1.0, bars=False)
    seeds = engine.seed(closes, y, x)
    rows = np.concatenate([seeds, engine.update(of)])
    values = replace(engine.values, entry_z=0.6)
    got = outcome_of(held_rows(rows, engine.values, of), values, 1, 1)
    assert got.at_trades
    assert got.trades > 5
    assert (got.entry_ns >= of["time_ns"][0]).all()
    entered = got.entry_ns[2]
    rows["flags"][rows["time_ns"] == entered] |= int(RowFlag.SEEDED)  # as those that fill a gap
    again = outcome_of(held_rows(rows, engine.values, of), values, 1, 1)
    assert entered not in again.entry_ns


def test_the_map_has_a_backtest_in_each_cell() -> None:
    of = frame(ticks())
    values = Settings(window=40, min_correlation=-1.0, stop_z=3.0, fee_bps=1.0).values()
    made = map_of(of, PAIR, values, 1)
    assert made.net.shape == (len(made.timeframes), len(made.entry_z))
    one = backtest(
        of, pair=PAIR, timeframe="1s", entry_z=2.0, window=40, min_correlation=-1.0, stop_z=3.0,
        fee_bps=1.0,
    )  # fmt: skip
    at = made.timeframes.index("1s"), made.entry_z.tolist().index(2.0)
    assert made.net[at] == pytest.approx(one.metrics.net_profit, abs=1e-6)
    assert made.trades[at] == one.metrics.trades > 0
    assert np.isnan(made.net[0, made.entry_z >= 3.0]).all()  # not below the stop
    assert not made.trades[made.timeframes.index("15m")].any()  # no full window


def test_a_lab_that_never_ran_has_nothing_to_try() -> None:
    lab = PairLab(feed="demo")
    lab.what_if._ask()
    while lab.what_if._busy:
        pass
    assert lab.what_if.outcome is None
    assert not list(lab.event_log)


KERNELS = (decide_kernel, fill_kernel, leg_kernel)


def done(lab: PairLab) -> None:
    for thread in threading.enumerate():
        if thread.name == "pairlab what-if":
            thread.join(60)
    assert not lab.what_if._busy


def test_what_a_first_drag_needs_is_compiled_before_it() -> None:
    for kernel in KERNELS:
        kernel.cache_clear()
    lab = PairLab(feed="demo")
    lab.what_if.prepare()
    done(lab)
    assert [kernel.cache_info().currsize for kernel in KERNELS] == [1, 1, 1]
    assert lab.what_if.outcome is None
    assert lab.what_if._tried == set()  # nobody tried anything
    assert not list(lab.event_log)
    threads = threading.active_count()
    lab.what_if.prepare()
    assert threading.active_count() == threads


def test_who_moves_a_threshold_while_it_compiles_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    of = ticks()
    engine = PairEngine(Settings(window=40, min_correlation=-1.0))
    lab = PairLab(feed="demo", window=40, min_correlation=-1.0)
    lab.rows.append(engine.update(of))
    monkeypatch.setattr("pairlab.backtesting.what_if._FIRST_FRAMES_S", 60.0)
    lab.what_if.prepare()
    lab.settings.entry_z = 1.7  # and it does not wait any longer for frames
    done(lab)
    assert lab.what_if.outcome.values.entry_z == 1.7


def test_a_compiler_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    lab = PairLab(feed="demo")
    monkeypatch.setattr("pairlab.backtesting.what_if.outcome_of", broken)
    lab.what_if.prepare()
    done(lab)
    (told,) = lab.event_log
    assert told.message == "what-if failed: RuntimeError: no compiler"


DASHBOARD = """
import asyncio, threading
from pairlab import PairLab
from pairlab.backtesting.sweeping.column_rows import decide_kernel
from pairlab.backtesting.trade_kernels import fill_kernel, leg_kernel

async def main():
    async with PairLab(feed="demo") as lab:
        screen = lab.dashboard().render_loop
        await lab.wait_async(rows=1, timeout_s=400)
        screen.paint(due=True)
        (thread,) = [t for t in threading.enumerate() if t.name == "pairlab what-if"]
        await asyncio.to_thread(thread.join, 200)
        kernels = decide_kernel, fill_kernel, leg_kernel
        assert [kernel.cache_info().currsize for kernel in kernels] == [1, 1, 1]
        assert not [entry for entry in lab.event_log if entry.level == "error"]

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.parametrize("writable", [True, False])
def test_it_is_compiled_once_a_dashboard_shows_rows(tmp_path: Path, writable: bool) -> None:
    folder = tmp_path if writable else "/proc/nowhere"
    done = subprocess.run(
        [sys.executable, "-c", DASHBOARD],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        capture_output=True, text=True, check=False, timeout=420,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1_000:]
    assert bool(list(tmp_path.rglob("*.nbc"))) == writable
