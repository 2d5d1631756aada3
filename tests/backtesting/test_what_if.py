"""What-if: the same trades and money as a backtest of the same rows, beside the loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pairlab import PairLab, backtest
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
