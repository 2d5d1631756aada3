"""`sweep` against a loop of whole backtests, and what it says of its own best."""

import numpy as np
import pandas as pd
import pytest

from pairlab import Costs, DataError, LotRule, SettingError, backtest, sweep
from pairlab.backtesting.sweeping.score import PERIODS, Scorer
from pairlab.settings import SETTINGS
from tests.engine import worlds

GRID = {
    "window": [20, 40],
    "entry_z": [1.0, 1.5, 2.0],
    "exit_z": [0.0, 0.5, 1.2],
    "max_hold_s": [None, 900.0],
}
TERMS = {
    "costs": Costs(0.5, 0.2), "latency_s": 30.0, "max_wait_s": 200.0,
    "lots": (LotRule(0.001), LotRule(0.01)),
}  # fmt: skip
FIXED = {"hedge": "ols", "min_correlation": -1.0, "max_leg_age_s": 1e6}


@pytest.fixture(scope="module")
def prices():
    y, x = worlds.cointegrated(3, 1_500, noise=60.0)
    minutes = pd.date_range("2024-08-08", periods=len(y), freq="min", tz="UTC")
    keep = np.random.default_rng(1).random((2, len(y))) < 0.9
    return tuple(pd.Series(leg, minutes)[k] for leg, k in zip((y, x), keep, strict=True))


@pytest.fixture(scope="module")
def found(prices):
    return sweep(prices, GRID, n_jobs=2, **TERMS, **FIXED)


def test_every_set_is_a_whole_backtest(prices, found):
    assert len(found.frame) == found.n_trials == 32
    assert found.skipped == 4, "an exit above the entry"
    assert found.complete
    assert list(found.frame.columns[:4]) == list(GRID)
    assert (found.frame["trades"] > 3).all()
    for number, row in found.frame.iterrows():
        point = {name: row[name] for name in GRID}
        point["max_hold_s"] = None if pd.isna(point["max_hold_s"]) else point["max_hold_s"]
        m = backtest(prices, **TERMS, **FIXED, **{**point, "window": int(point["window"])}).metrics
        for name in ("net_profit", "gross", "fees", "slippage", "funding", "expectancy"):
            assert row[name] == pytest.approx(getattr(m, name), abs=1e-6), (number, name)
        assert (row["trades"], row["missed_entries"]) == (m.trades, m.missed_entries)
        assert row["win_rate"] == m.win_rate
        assert 0 >= row["max_drawdown"] >= m.max_drawdown - 1e-12


def test_returns_are_of_equal_stretches_and_sum_to_the_profit(prices):
    scores = []
    real = Scorer.score

    def keep(self, values):
        scores.append((values, real(self, values)))
        return scores[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "score", keep)
        sweep(prices, {"entry_z": [1.5]}, n_jobs=1, window=40, **TERMS, **FIXED)
    ((_, score),) = scores
    whole = backtest(prices, window=40, entry_z=1.5, **TERMS, **FIXED)
    equity = whole.equity["equity"]
    index = equity.index.as_unit("ns").asi8
    ends = np.linspace(index[0], index[-1], PERIODS + 1)[1:].astype(np.int64)
    at = np.searchsorted(index, ends, side="right") - 1
    at[-1] = len(index) - 1
    want = np.diff(np.concatenate([[10_000.0], equity.to_numpy()[at]])) / 10_000.0
    np.testing.assert_allclose(score.returns, want, atol=1e-12)
    assert score.returns.sum() * 10_000.0 == pytest.approx(score.net_profit)


def test_the_best_is_the_largest_and_its_backtest_says_where_it_was_chosen(prices, found):
    top = found.frame["net_profit"].idxmax()
    assert found.best == {
        name: None if pd.isna(found.frame[name][top]) else found.frame[name][top] for name in GRID
    }
    best = found.backtest()
    assert best.metrics.net_profit == pytest.approx(found.frame["net_profit"][top])
    assert "in sample" in repr(best)
    seventh = found.backtest(7)
    assert seventh.metrics.net_profit == pytest.approx(found.frame["net_profit"][7])
    with pytest.raises(DataError, match="no set 32"):
        found.backtest(32)
    text = repr(found)
    for words in ("32 sets tried", "4 contradictory", "no luck", "PBO", "in sample"):
        assert words in text
    assert 0.0 <= found.pbo <= 1.0
    assert 0.0 <= found.deflated_sharpe <= 1.0


def test_any_number_of_threads_gives_the_same_bytes(prices, found):
    again = sweep(prices, GRID, n_jobs=1, **TERMS, **FIXED)
    pd.testing.assert_frame_equal(found.frame, again.frame, check_exact=True)
    assert (found.pbo, found.deflated_sharpe) == (again.pbo, again.deflated_sharpe)


def test_a_draw_is_part_of_the_grid_and_the_seed_s(prices, found):
    some = sweep(prices, GRID, max_tries=9, seed=4, **TERMS, **FIXED)
    assert some.n_trials + some.skipped == 9
    key = list(GRID)
    whole = found.frame.merge(some.frame[key], on=key)
    pd.testing.assert_frame_equal(whole, some.frame, check_dtype=False)
    same = sweep(prices, GRID, max_tries=9, seed=4, **TERMS, **FIXED)
    pd.testing.assert_frame_equal(some.frame, same.frame)
    other = sweep(prices, GRID, max_tries=9, seed=5, **TERMS, **FIXED)
    assert not some.frame[key].equals(other.frame[key])


def test_a_constraint_leaves_sets_out(prices):
    found = sweep(
        prices, GRID, constraint=lambda s: s["exit_z"] < 0.3 and s["window"] == 40, **TERMS, **FIXED
    )
    assert found.n_trials == 6
    assert set(found.frame["window"]) == {40}
    with pytest.raises(DataError, match="constraint"):
        sweep(prices, GRID, constraint=lambda s: False)


def test_an_interrupt_keeps_what_is_done(prices, monkeypatch):
    done, real = [], Scorer.score

    def interrupted(self, values):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(values)
        return real(self, values)

    monkeypatch.setattr(Scorer, "score", interrupted)
    found = sweep(prices, GRID, n_jobs=1, **TERMS, **FIXED)
    assert not found.complete
    assert found.n_trials == len(found.frame) == 5
    assert "(interrupted)" in repr(found)


def test_the_table_comes_back_from_csv(found, tmp_path):
    path = found.to_csv(tmp_path / "sets.csv")
    read = pd.read_csv(path, index_col="set")
    assert read["net_profit"].tolist() == found.frame["net_profit"].tolist()
    with pytest.raises(DataError, match="nowhere"):
        found.to_csv(tmp_path / "nowhere" / "sets.csv")


@pytest.mark.parametrize(
    ("grid", "more", "error", "says"),
    [
        ({"entri_z": [1.0]}, {}, SettingError, "entry_z"),
        ({"entry_z": [1.0, -1.0]}, {}, SettingError, "entry_z"),
        ({"entry_z": [0.4], "exit_z": [0.5]}, {}, SettingError, "exit_z|entry_z"),
        ({"entry_z": []}, {}, DataError, "empty"),
        ({"entry_z": 2.0}, {}, DataError, "several values"),
        ({}, {}, DataError, "grid"),
        ({"entry_z": [2.0]}, {"objective": "luck"}, SettingError, "objective"),
        ({"entry_z": [2.0]}, {"n_jobs": 0}, SettingError, "n_jobs"),
        ({"entry_z": [2.0]}, {"max_tries": 0}, SettingError, "max_tries"),
        ({"entry_z": [2.0]}, {"capital": -1.0}, SettingError, "capital"),
        ({"entry_z": [2.0]}, {"constraint": "entry_z > 1"}, SettingError, "constraint = "),
        ({"entry_z": [2.0]}, {"seed": None}, SettingError, "seed = None"),
        (
            {"entry_z": np.linspace(2, 3, 1_001), "stop_z": np.linspace(4, 5, 1_000)}, {},
            SettingError, "1,001,000 sets",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused(prices, grid, more, error, says):
    with pytest.raises(error, match=says):
        sweep(prices, grid, **FIXED, **more)


def test_no_data_and_no_trades_have_no_best(prices):
    none = sweep(tuple(leg.iloc[:0] for leg in prices), {"entry_z": [1.5, 2.0]}, **FIXED)
    quiet = sweep(prices, {"min_edge_bps": [9_000.0, 9_500.0]}, hedge="ols")
    for found in (none, quiet):
        assert found.n_trials == 2
        assert found.best == {}
        assert np.isnan(found.pbo)
        assert "none of them traded" in repr(found)
        with pytest.raises(DataError, match="no best"):
            found.backtest()
    assert {"window", "entry_z"} <= set(SETTINGS)


def test_a_set_whose_window_is_never_full_has_no_trades_and_the_others_go_on(prices):
    found = sweep(prices, {"window": [20, 4_999]}, **TERMS, **FIXED)
    assert found.frame["trades"].tolist()[1] == 0
    assert found.best == {"window": 20}
    assert len(prices[0]) < 4_999
