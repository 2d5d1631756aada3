"""What a result says of itself, and what it writes."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, Pair, backtest
from pairlab.backtesting.inputs import source_of
from pairlab.backtesting.market import market_of
from pairlab.backtesting.run import run_of
from pairlab.data.frames import ticks_frame
from pairlab.research import past
from tests.engine import worlds


@pytest.fixture(scope="module")
def prices():
    y, x = worlds.cointegrated(3, 900, noise=60.0)
    minutes = pd.date_range("2024-08-08", periods=len(y), freq="min", tz="UTC")
    return pd.Series(y, minutes, name="BTCUSDT"), pd.Series(x, minutes, name="ETHUSDT")


@pytest.fixture(scope="module")
def result(prices):
    return backtest(prices, window=30, entry_z=1.5, max_wait_s=30.0, latency_s=40.0)


def test_it_is_frozen_and_says_what_was_not_counted(result):
    with pytest.raises(FrozenInstanceError):
        result.trades = None
    assert "Backtest of BTCUSDT/ETHUSDT" in repr(result)
    assert "funding not counted" in repr(result)
    assert "funding not counted" in result._repr_html_()
    assert result.funding_known is False
    assert result.capital == 10_000.0
    assert result.data_report.warm_up_rows == 29
    assert result.data_report.rows == len(result.equity) == 900 - 29
    assert result.data_report.days == 1


def test_a_test_on_the_period_that_it_was_chosen_on_says_so(prices):
    inside = backtest(prices, window=30, selected_on=("2024-08-01", "2024-08-08 01:00"))
    assert "in sample: what is tested was chosen on 2024-08-01 to 2024-08-08" in repr(inside)
    outside = backtest(prices, window=30, selected_on=("2024-07-01", "2024-08-01"))
    assert "in sample" not in repr(outside)
    assert "in sample" not in repr(backtest(prices, window=30))


def test_its_tables_come_back_from_csv(result, tmp_path):
    paths = result.to_csv(tmp_path / "out")
    assert {p.name for p in paths} == {
        "trades.csv", "equity.csv", "daily.csv", "missed.csv", "metrics.csv", "settings.csv"
    }  # fmt: skip
    trades = pd.read_csv(tmp_path / "out" / "trades.csv", index_col="trade")
    assert trades["net"].tolist() == result.trades["net"].tolist()
    equity = pd.read_csv(tmp_path / "out" / "equity.csv", index_col=0, parse_dates=True)
    np.testing.assert_array_equal(equity["equity"], result.equity["equity"])
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv", index_col="name")
    assert metrics["value"]["fees"] == result.metrics.fees
    settings = pd.read_csv(tmp_path / "out" / "settings.csv", index_col="name")
    assert settings["value"]["entry_z"] == "1.5"
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        result.to_csv(tmp_path / "file")


def test_its_figures_are_json(result):
    read = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert read["metrics"]["trades"] == result.metrics.trades
    assert read["metrics"]["sharpe"] is None
    assert read["settings"]["entry_z"] == 1.5
    assert read["data"]["rows"] == len(result.equity)
    assert read["costs"]["latency_s"] == 40.0
    assert sum(read["missed"].values()) == len(result.missed)


@pytest.mark.parametrize("timeframe", ["tick", "1s", "series"])
def test_rows_in_pieces_decide_as_rows_in_one_and_come_again_when_asked(
    prices, timeframe, monkeypatch
):
    given = {"window": 12, "entry_z": 1.2, "min_correlation": -1.0, "hedge": "ols"}
    data = prices
    if timeframe != "series":
        gaps = np.zeros(6_000, np.int8)
        gaps[[50, 1_234, 5_999]] = 1, 3, 2
        pair = Pair("BTCUSDT", "ETHUSDT")
        data = ticks_frame(worlds.trades(4, 6_000, silence=0.005)[:6_000], pair, gaps)
        given["timeframe"] = timeframe
    whole = market_of(run_of(source_of(data, None), None, None, given))
    in_one = backtest(data, max_silence=None, **given)
    monkeypatch.setattr(past, "PIECE_TICKS", 7)
    result = backtest(data, max_silence=None, **given)
    assert len(result.events) > 20
    np.testing.assert_array_equal(result.events, whole.events)
    pd.testing.assert_frame_equal(result.trades, in_one.trades, check_exact=True)
    pd.testing.assert_frame_equal(result.equity, in_one.equity, check_exact=True)
    assert result.data_report == in_one.data_report
    monkeypatch.undo()
    assert len(result.rows) == len(result.equity)
    np.testing.assert_array_equal(result.rows["zscore"], whole.rows["zscore"])


def test_rows_of_data_that_were_changed_are_refused(prices):
    y, x = (leg.copy() for leg in prices)
    result = backtest((y, x), window=30, entry_z=1.5)
    values = y.to_numpy(copy=False)
    values.flags.writeable = True
    values[400:] *= 1.01
    with pytest.raises(DataError, match="have been changed since"):
        _ = result.rows
