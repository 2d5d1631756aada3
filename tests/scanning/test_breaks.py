"""CUSUM monitoring against statsmodels' recursive residuals, on nulls, and on breaks."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.diagnostic import recursive_olsresiduals

from pairlab import DataError, SettingError, monitor_break, scan
from pairlab.scanning.breaks import BREAKS, boundary_level, pair_breaks

ROWS = 400


def pairs_of(phi: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Walks x and spreads of autocorrelation `phi`, shape (count, rows)."""
    rng = np.random.default_rng(seed)
    x = 1_000.0 + rng.normal(size=(count, ROWS)).cumsum(axis=1)
    spread, shocks = np.zeros((count, ROWS)), rng.normal(size=(count, ROWS))
    for t in range(1, ROWS):
        spread[:, t] = phi * spread[:, t - 1] + shocks[:, t]
    return x, spread


def monitored(y: np.ndarray, x: np.ndarray) -> pd.DataFrame:
    count = len(x)
    table = np.ascontiguousarray(np.concatenate([y, x]))
    pairs = np.stack([np.arange(count), count + np.arange(count)], axis=1)
    results = np.empty((count, 4))
    pair_breaks(table, pairs, 1 / 3, boundary_level(0.05), results)
    return pd.DataFrame(results, columns=list(BREAKS))


def test_the_sums_are_those_of_statsmodels_recursive_residuals() -> None:
    xs, spreads = pairs_of(0.7, 1, 3)
    x, y = pd.Series(xs[0]), pd.Series(1.5 * xs[0] + spreads[0])
    report = monitor_break(y, x)
    first = ROWS - ROWS // 3
    slope, intercept = np.polyfit(x[:first], y[:first], 1)
    e = (y - slope * x - intercept).to_numpy()
    z, dx = np.diff(e)[1:], np.diff(x)[1:]
    design = np.column_stack([np.ones(len(z)), e[1:-1], np.diff(e)[:-1], dx])
    w = recursive_olsresiduals(OLS(z, design).fit(), skip=4)[4][4:]
    history = first - 6
    m = np.arange(1, len(w) + 1)[history:]
    boundary = np.sqrt(m * (boundary_level(0.05) + np.log(m / history)))
    for name, terms in (("cusum", w), ("drift", w * dx[4:])):
        scale = math.sqrt((terms[:history] ** 2).mean())
        want = terms.cumsum()[history:] / scale / boundary
        np.testing.assert_allclose(report.frame[name], want, atol=2e-3)
    assert list(report.frame.index) == list(range(first, ROWS))


@pytest.mark.parametrize("phi", [0.0, 0.8, 0.95])
def test_of_pairs_that_stay_as_they_were_at_most_one_in_twenty_is_reported(phi: float) -> None:
    x, spread = pairs_of(phi, 1_000, 1)
    found = monitored(1.5 * x + spread, x)
    bound = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1_000)
    for name in ("break_ratio", "drift_ratio"):
        alarms = (found[name] >= 1.0).mean()
        assert 0.0 < alarms <= bound, name
        assert (found[name] >= 1.0).eq(found[name.replace("ratio", "row")].notna()).all()


def test_a_shift_of_the_mean_and_a_drift_of_the_hedge_ratio_are_told_apart() -> None:
    x, spread = pairs_of(0.5, 300, 2)
    at = int(0.75 * ROWS)
    shifted = 1.5 * x + spread
    shifted[:, at:] += 5.0 * spread.std()
    found = monitored(shifted, x)
    assert (found["break_ratio"] >= 1.0).mean() > 0.8
    assert (found["drift_ratio"] >= 1.0).mean() < 0.1
    assert (found["break_row"].dropna() >= at).mean() > 0.98
    ratio = np.where(np.arange(ROWS) < at, 1.5, 3.5)
    steps = np.diff(x, axis=1, prepend=x[:, :1]) * ratio
    found = monitored(1.5 * x[:, :1] + steps.cumsum(axis=1) + spread, x)
    assert (found["drift_ratio"] >= 1.0).mean() > 0.9


def test_a_scan_has_both_as_columns_and_filters_by_them() -> None:
    xs, spreads = pairs_of(0.5, 3, 5)
    prices = pd.DataFrame(xs.T, columns=list("ABC"))
    for number, name in enumerate("abc"):
        prices[name] = 1.5 * xs[number] + spreads[number]
    prices.loc[prices.index[300:], "b"] += 12.0
    found = scan(prices, placebo=0, fee_bps=0.1)
    rows = found.frame.set_index(["y", "x"])
    broken = found.pair("b", "B")
    assert broken["break_ratio"] >= 1.0
    assert found.pair("a", "A")["break_ratio"] < 1.0
    assert "structural break" in set(rows["verdict"]) or broken["p_last"] > 0.05
    kept = scan(prices, placebo=0, filters={"break_ratio": (0.0, 0.999)}).frame
    assert 0 < len(kept) < len(rows)
    assert {"b", "B"} not in [{y, x} for y, x in zip(kept["y"], kept["x"], strict=True)]


def test_what_cannot_be_monitored_is_told() -> None:
    short = pd.Series(np.arange(20.0) + 1)
    with pytest.raises(DataError, match="20 rows with both prices"):
        monitor_break(short, short**2)
    with pytest.raises(SettingError, match=r"split = 0\.9 is invalid"):
        monitor_break(short, short, split=0.9)
    with pytest.raises(SettingError, match="false_alarm_rate = 2 is invalid"):
        monitor_break(short, short, false_alarm_rate=2)
