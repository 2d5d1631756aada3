"""`walk_forward` against whole backtests of its stretches, and what it must not know."""

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, SettingError, backtest, walk_forward
from pairlab.data.frames import ticks_frame
from tests.backtesting.test_inputs import PAIR
from tests.engine import worlds

GRID = {"entry_z": [1.0, 1.5, 2.0], "window": [30, 60]}
FIXED = {"hedge": "ols", "min_correlation": -1.0, "max_leg_age_s": 1e6, "fee_bps": 0.2}
SPANS = {"train": "1D", "test": "12h"}


@pytest.fixture(scope="module")
def prices():
    y, x = worlds.cointegrated(3, 4_000, noise=60.0)
    minutes = pd.date_range("2024-08-08 07:00", periods=len(y), freq="min", tz="UTC")
    return pd.Series(y, minutes), pd.Series(x, minutes)


@pytest.fixture(scope="module")
def found(prices):
    return walk_forward(prices, GRID, **SPANS, **FIXED)


def part(prices, start, end):
    return tuple(leg[(leg.index >= start) & (leg.index < end)] for leg in prices)


def test_every_fold_is_chosen_on_what_lies_before_its_embargo(prices, found):
    assert len(found.frame) == 4  # 66 h 40 min less a day, in half days
    for _, fold in found.frame.iterrows():
        assert fold["test_start"] - fold["train_start"] == pd.Timedelta("1D")
        assert fold["test_start"] - fold["train_end"] == pd.Timedelta(fold["embargo_s"], "s")
        trained = part(prices, fold["train_start"], fold["train_end"])
        profits, longest = {}, {}
        for entry in GRID["entry_z"]:
            for window in GRID["window"]:
                trades = backtest(trained, entry_z=entry, window=window, **FIXED).trades
                longest[entry, window] = trades["held_s"].max()
                trades = trades[trades["reason"] != "open"]  # it spans the border: purged
                profits[entry, window] = trades["net"].sum()
        best = max(profits, key=profits.__getitem__)
        assert (fold["entry_z"], fold["window"]) == best
        assert fold["train_profit"] == pytest.approx(profits[best], abs=1e-6)
        assert fold["embargo_s"] >= 60 * 60 + longest[best]


def test_every_test_is_a_backtest_that_was_warmed_up_in_the_embargo(prices, found):
    for number, fold in found.frame.iterrows():
        chosen = {"entry_z": fold["entry_z"], "window": int(fold["window"])}
        whole = backtest(
            part(prices, fold["train_end"], prices[0].index[-1] + pd.Timedelta("1s")),
            **chosen, **FIXED,
        ).trades  # fmt: skip
        within = (whole["entry_decided"] >= fold["test_start"]) & (
            whole["entry_decided"] < fold["test_end"]
        )
        own = found.trades[found.trades["fold"] == number]
        assert len(own) == fold["trades"] > 3
        for name in ("entry_decided", "exit_decided", "y_entry_price", "net", "reason"):
            assert own[name].tolist() == whole[within][name].tolist(), (number, name)


def test_the_curve_is_the_tests_alone_and_ends_with_what_was_made(prices, found):
    equity = found.equity["equity"]
    assert equity.index.is_monotonic_increasing
    assert equity.index[0] == found.frame["test_start"][0]
    assert equity.index[-1] == prices[0].index[-1]
    assert equity.iloc[0] == 10_000.0
    assert equity.iloc[-1] - 10_000.0 == pytest.approx(found.trades["net"].sum(), abs=1e-6)
    assert found.metrics.net_profit == pytest.approx(found.trades["net"].sum(), abs=1e-6)
    assert found.frame["net_profit"].sum() == pytest.approx(found.metrics.net_profit, abs=1e-6)
    assert found.metrics.trades == (found.trades["reason"] != "open").sum()
    # A trade that ends in the next test is in the curve until it ends.
    spilled = found.trades[
        found.trades["exit_y_time"] >= found.frame["test_end"][found.trades["fold"]].to_numpy()
    ]
    assert len(spilled)
    bought = found.trades["y_quantity"].abs() @ found.trades["y_entry_price"]
    assert found.metrics.turnover > 2 * bought / 10_000.0
    assert "4 folds, " in repr(found)
    assert "in training on average" in repr(found)


def test_no_fold_knows_what_comes_after_it(prices, found):
    border = found.frame["test_start"][2]
    shaken = tuple(leg.copy() for leg in prices)
    later = shaken[0].index >= border
    shaken[0][later] *= np.random.default_rng(1).uniform(0.9, 1.1, later.sum())
    other = walk_forward(shaken, GRID, **SPANS, **FIXED)
    choice = ["train_end", "embargo_s", *GRID, "train_profit", "deflated_sharpe", "pbo"]
    pd.testing.assert_frame_equal(other.frame[choice][:3], found.frame[choice][:3])
    before = found.equity["equity"][found.equity.index < border]
    pd.testing.assert_series_equal(other.equity["equity"][: len(before)], before)
    assert other.metrics.net_profit != found.metrics.net_profit


def test_ticks_are_walked_through_as_well():
    frame = ticks_frame(worlds.trades(4, 4_000, silence=0.0), PAIR)
    span = (frame.index[-1] - frame.index[0]).total_seconds()
    found = walk_forward(
        frame, {"entry_z": [1.2, 1.8]}, train=span / 3, test=span / 5, window=20, hedge="ols",
        min_correlation=-1.0, max_hold_s=span / 60,
    )  # fmt: skip
    assert len(found.frame) == 4
    assert (found.frame["embargo_s"] > span / 60).all()
    assert found.metrics.trades > 10
    assert (found.trades["held_s"] < span / 30).all()


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"train": "a while"}, SettingError, "train = 'a while' is invalid"),
        ({"test": 0}, SettingError, "test = 0 is invalid"),
        ({"train": "4D"}, DataError, "the data span 2 days"),
        ({"train": "1h"}, DataError, "expected train to be longer"),
        ({"embargo": "30min"}, SettingError, "embargo = .* expected at least"),
        ({"test": 10.0}, SettingError, "test = .* folds"),
        ({"objective": "luck"}, SettingError, "objective"),
        ({"grid": {"entri_z": [1.0]}}, SettingError, "entry_z"),
        ({"grid": {"min_edge_bps": [9_000.0, 9_500.0]}}, DataError, "no set of the grid traded"),
    ],
)
def test_what_cannot_be_walked_is_refused(prices, given, error, says):
    with pytest.raises(error, match=says):
        walk_forward(prices, given.pop("grid", GRID), **{**SPANS, **given}, **FIXED)


def test_a_longer_embargo_is_kept(prices):
    found = walk_forward(prices, {"entry_z": [1.5]}, **SPANS, embargo="10h", **FIXED)
    assert set(found.frame["embargo_s"]) == {36_000.0}
