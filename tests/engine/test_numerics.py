"""What a rolling sum forgets, and what it must not: bad ticks, shifts, silence, growth."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pairlab.engine import PairEngine
from pairlab.schema import RowFlag, Stationary
from tests.engine import oracles, worlds


def fresh(y, x, window, hedge):
    """What every window gives by itself, in long double."""
    beta, alpha, e = oracles.least_squares(y, x, window)
    if hedge == "fixed":
        want = oracles.moments(y, x, window, 25.0)
        e = oracles.windows(np.asarray(y, oracles.WIDE) - 25 * np.asarray(x, oracles.WIDE), window)
    else:
        std = np.sqrt((e * e).sum(axis=1) / (window - 1))
        want = {
            "hedge_ratio": beta,
            "intercept": alpha,
            "spread_std": std,
            "zscore": e[:, -1] / std,
        }
        want = {name: oracles.padded(value, window) for name, value in want.items()}
    want["adf_stat"] = oracles.padded(oracles.dickey_fuller(e, 1, hedge == "fixed"), window)
    return want


@pytest.mark.parametrize("hedge", ["fixed", "ols"])
@pytest.mark.parametrize("window", [50, 300])
def test_every_row_after_a_bad_tick_is_as_if_it_had_never_been(hedge, window):
    y, x = worlds.cointegrated(11, 4000)
    for at, leg, price in ((1013, y, 1e9), (1427, x, 1e9), (1811, y, 1e-6), (2338, y, 1e6)):
        leg[at] = price
    rows = oracles.observe(
        PairEngine(timeframe="1s", window=window, hedge=hedge, hedge_ratio=25.0), y, x
    )
    inside = np.zeros(len(y), bool)
    for at in (1013, 1427, 1811, 2338):
        inside[at : at + window] = True
    clean = np.flatnonzero(~inside)[window - 1 :]
    for name, value in fresh(y, x, window, hedge).items():
        oracles.assert_close(name, rows[name][clean], value[clean], 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("hedge", ["fixed", "ols"])
def test_twenty_million_ticks(hedge):
    chunk, chunks, window = 2_000_000, 10, 50
    y, x = worlds.cointegrated(12, chunk // 2)
    y += np.repeat([0.0, 900.0, -4000.0, 250.0], chunk // 8)
    ticks = oracles.ticks_of(y, x)
    engine = PairEngine(window=window, hedge=hedge, hedge_ratio=25.0)
    for _ in range(chunks - 1):
        engine.update(ticks)
        ticks["time_ns"] += 10**15
    y[chunk // 2 - 60_013] = 1e9
    rows = engine.update(oracles.ticks_of(y, x))
    assert len(rows) == chunk
    bad = np.flatnonzero(rows["y"] == 1e9)
    assert len(bad) == 2  # its own row, and that of the x tick after it
    rows = rows[bad[-1] + 1 :]
    assert len(rows) > 100_000
    full = slice(window - 1, None)  # from the row on which the bad tick has left the window
    # Right after it, and 100,000 rows later: the windows in between take as long as the ticks.
    for part in (rows[:20_000], rows[-20_000:]):
        for name, value in fresh(part["y"], part["x"], window, hedge).items():
            oracles.assert_close(name, part[name][full], value[full], 1e-9)


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
def test_flat_prices_are_nan_with_their_reason_and_never_alert(hedge):
    y, x = worlds.cointegrated(13, 600)
    y[100:400], x[150:450] = y[100], x[150]
    times = oracles.T0 + np.arange(600) * 10**9
    engine = PairEngine(window=50, hedge=hedge, hedge_ratio=25.0, min_correlation=-1.0)
    rows = engine.observe(times, y, x, times, times)
    both = (oracles.runs(y) >= 50) & (oracles.runs(x) >= 50)
    assert both.sum() > 150
    for name in ("zscore", "correlation", "adf_stat", "p_value", "half_life"):
        assert np.isnan(rows[name][both]).all(), name
        assert not np.isinf(rows[name]).any(), name
    assert (rows["flags"][both] & RowFlag.FLAT_SPREAD > 0).all()
    assert_array_equal(rows["flags"] & RowFlag.FLAT_Y > 0, oracles.runs(y) >= 50)
    assert_array_equal(rows["flags"] & RowFlag.FLAT_X > 0, oracles.runs(x) >= 50)
    assert (rows["stationary"][both] == Stationary.NOT_ENOUGH_DATA).all()
    assert not both[engine.events["row"]].any()
    if hedge == "ols":
        no_slope = oracles.runs(x) >= 50
        assert np.isnan(rows["hedge_ratio"][no_slope]).all()
        assert np.isfinite(rows["zscore"][~no_slope & (oracles.runs(y) < 50)][50:]).all()


@pytest.mark.parametrize("hedge", ["fixed", "ols"])
def test_an_exact_multiple_is_a_flat_spread_not_a_picture_of_rounding(hedge):
    _, x = worlds.cointegrated(14, 400)
    x = np.round(x, 2)
    engine = PairEngine(window=50, hedge=hedge, hedge_ratio=25.0)
    times = oracles.T0 + np.arange(400) * 10**9
    rows = engine.observe(times, 25.0 * x, x, times, times)
    full = rows[49:]
    assert (full["flags"] & RowFlag.FLAT_SPREAD > 0).all()
    assert np.isnan(full["zscore"]).all()
    assert (full["spread_std"] == 0.0).all()
    assert np.isnan(full["p_value"]).all()
    assert not len(engine.events)


def test_a_spread_that_jumped_once_and_stood_still_is_not_called_stationary():
    x = np.full(200, 3000.0)
    y = np.where(np.arange(200) < 100, 75_000.0, 75_003.0)
    for lags in (0, 1):
        rows = oracles.observe(
            PairEngine(timeframe="1s", window=50, hedge_ratio=25.0, adf_lags=lags), y, x
        )
        e = oracles.windows(np.asarray(y, oracles.WIDE) - 25 * np.asarray(x, oracles.WIDE), 50)
        want = oracles.dickey_fuller(e, lags, True)
        oracles.assert_close("adf_stat", rows["adf_stat"][49:], want, 1e-9)
        jumped = rows["flags"] & RowFlag.FLAT_SPREAD == 0
        exact = jumped[49:] & np.isnan(want.astype(float))
        assert exact.any()  # statsmodels' −inf, or −1e8, and p = 0
        assert (rows["stationary"][49:][exact] == Stationary.NOT_ENOUGH_DATA).all()


@pytest.mark.parametrize("hedge", ["fixed", "ols"])
@pytest.mark.parametrize("window", [10, 50, 50_000])
def test_the_first_full_window_needs_no_past(hedge, window):
    y, x = worlds.cointegrated(15, window + 20, half_life=5)
    rows = oracles.observe(
        PairEngine(timeframe="1s", window=window, hedge=hedge, hedge_ratio=25.0), y, x
    )
    assert (rows["filled"] == np.minimum(np.arange(len(y)) + 1, window)).all()
    assert np.isnan(rows["zscore"][: window - 1]).all()
    assert np.isfinite(rows["zscore"][window - 1 :]).all()
    assert (rows["stationary"][: window - 1] == Stationary.NOT_ENOUGH_DATA).all()
    assert (rows["stationary"][window - 1 :] != Stationary.NOT_ENOUGH_DATA).all()
    assert ((rows["flags"] & RowFlag.WARMING > 0) == (rows["filled"] < window)).all()
    assert np.isfinite(rows["spread"]).all() == (hedge == "fixed")
