"""Every row against two passes in long double, and against statsmodels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pairlab.engine import PairEngine
from pairlab.schema import RowFlag, Stationary
from tests.engine import oracles, worlds

MOMENTS, TESTS = 1e-8, 1e-6


def rows_of(y, x, window, **settings):
    return oracles.observe(PairEngine(timeframe="1s", window=window, **settings), y, x)


def check_moments(y, x, window, beta=25.0, **given):
    rows = rows_of(y, x, window, hedge_ratio=beta, **given)
    want = oracles.moments(y, x, window, beta)
    runs = {name: oracles.runs(leg) >= window for name, leg in (("y", y), ("x", x))}
    for name in ("spread", "spread_mean", "spread_std"):
        oracles.assert_close(name, rows[name], want[name], MOMENTS)
    flat = rows["flags"] & RowFlag.FLAT_SPREAD > 0
    want["zscore"][flat] = np.nan
    want["correlation"][runs["y"] | runs["x"]] = np.nan
    for name in ("zscore", "correlation"):
        oracles.assert_close(name, rows[name], want[name], MOMENTS)
    assert_array_equal(rows["flags"] & RowFlag.FLAT_Y > 0, runs["y"])
    assert_array_equal(rows["flags"] & RowFlag.FLAT_X > 0, runs["x"])
    return rows


def check_ols(y, x, window, **given):
    rows = rows_of(y, x, window, hedge="ols", **given)
    beta, alpha, e = oracles.least_squares(y, x, window)
    flat = (oracles.runs(x) >= window)[window - 1 :]
    beta[flat] = alpha[flat] = e[flat] = np.nan
    still = (rows["flags"] & RowFlag.FLAT_SPREAD > 0)[window - 1 :] & ~flat
    std = np.sqrt((e * e).sum(axis=1) / (window - 1))
    # A spread is called flat for two reasons: y stood still, or its residual is the rounding of
    # the prices (4 units in the last place, or what two of them make of it).
    price = np.abs(oracles.windows(y, window)).max(axis=1)
    size = price + np.abs(beta * oracles.windows(x, window)[:, -1])
    assert (std[still] <= 5 * np.finfo(float).eps * size[still]).all()
    assert (std[~still & ~flat] > 3 * np.finfo(float).eps * size[~still & ~flat]).all()
    std[still], e[still, -1] = 0.0, 0.0
    with np.errstate(all="ignore"):
        z = np.where(still, np.nan, e[:, -1] / std)
    there = std[~np.isnan(std)]
    spread_scale = (np.median(there) or there.max()) if len(there) else None
    for name, value in (
        ("hedge_ratio", beta),
        ("intercept", alpha),
        ("spread", e[:, -1]),
        ("spread_std", std),
        ("zscore", z),
    ):
        # a residual may be zero by construction; its scale is the window's
        scale = {"spread": spread_scale, "zscore": 1.0}.get(name)
        value = oracles.padded(value, window)
        oracles.assert_close(name, rows[name], value, MOMENTS, scale=scale)
    return rows, e


def check_tests(rows, e, window, lags, constant):
    """Statistic, p-value and half-life against long double; NaN only where it is said why."""
    want = oracles.dickey_fuller(e, lags, constant)
    why = RowFlag.FLAT_SPREAD if constant else RowFlag.FLAT_SPREAD | RowFlag.FLAT_X
    flat = (rows["flags"] & why > 0)[window - 1 :]
    assert np.isnan(want[~flat].astype(float)).mean() < 0.03  # exact fits of rounded prices
    want[flat] = np.nan
    oracles.assert_close("adf_stat", rows["adf_stat"], oracles.padded(want, window), TESTS)
    p = oracles.mackinnon(rows["adf_stat"], 1 if constant else 2)
    oracles.assert_close("p_value", rows["p_value"], p, 1e-12, scale=1e-3)
    hl, gamma = oracles.half_life(e)
    hl[flat] = np.nan
    # γ of exactly 0 or −1, in rounded prices: rounding decides whether there is a half-life
    edge = np.minimum(np.abs(gamma), np.abs(1 + gamma)) < 1e-9
    assert edge[~flat].mean() < 0.03
    got = rows["half_life"][window - 1 :]
    oracles.assert_close("half_life", got[~edge], hl[~edge], TESTS)


WORLDS = {
    "random walks": lambda: worlds.random_walks(1, 1500),
    "cointegrated": lambda: worlds.cointegrated(2, 1500),
    "level shifts": lambda: (
        worlds.cointegrated(3, 1500)[0] + np.repeat([0, 4000, -9000], 500),
        worlds.cointegrated(3, 1500)[1],
    ),
    "rounded": lambda: tuple(np.round(leg, 0) for leg in worlds.cointegrated(4, 1500, step=0.05)),
}


@pytest.mark.parametrize("window", [10, 50, 300])
@pytest.mark.parametrize("world", WORLDS)
def test_moments_and_fixed_ratio_tests(world, window):
    y, x = WORLDS[world]()
    check_moments(y, x, window)
    spread = np.asarray(y, oracles.WIDE) - 25 * np.asarray(x, oracles.WIDE)
    for lags in (0, 1):
        rows = rows_of(y, x, window, hedge_ratio=25.0, adf_lags=lags)
        check_tests(rows, oracles.windows(spread, window), window, lags, constant=True)


@pytest.mark.parametrize("window", [10, 50, 300])
@pytest.mark.parametrize("world", WORLDS)
def test_least_squares_and_engle_granger(world, window):
    y, x = WORLDS[world]()
    for lags in (0, 1):
        rows, e = check_ols(y, x, window, adf_lags=lags)
        check_tests(rows, e, window, lags, constant=False)


@pytest.mark.parametrize("noise", [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("window", [10, 50, 300])
def test_tight_pairs_keep_their_digits(noise, window):
    y, x = worlds.cointegrated(5, 2000, noise=noise)
    for lags in (0, 1):
        rows, e = check_ols(y, x, window, adf_lags=lags)
        want = oracles.padded(oracles.dickey_fuller(e, lags, False), window)
        oracles.assert_close("adf_stat", rows["adf_stat"], want, 1e-7)
        rows = rows_of(y, x, window, adf_lags=lags)
        spread = np.asarray(y, oracles.WIDE) - 25 * np.asarray(x, oracles.WIDE)
        want = oracles.dickey_fuller(oracles.windows(spread, window), lags, True)
        oracles.assert_close("adf_stat", rows["adf_stat"], oracles.padded(want, window), 1e-7)


def statsmodels_says(y, x, window, at, lags):
    """ADF of the fixed spread and Engle-Granger of the window that ends at a row; None outside.

    Prices are taken from the window's first: a regression with a constant does not change by it,
    but where x moved by one cent, statsmodels on 2,500.00 ± 0.01 is off by up to 1e-4 itself.
    """
    from statsmodels.tsa.stattools import adfuller, coint

    wy, wx = (leg[at - window + 1 : at + 1] - leg[at - window + 1] for leg in (y, x))
    answers = []
    for call in (
        lambda: adfuller(wy - 25.0 * wx, maxlag=lags, autolag=None)[:2],
        lambda: coint(wy, wx, trend="c", maxlag=lags, autolag=None)[:2],
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*adfuller.*")
            try:
                answer = call()
            except (Warning, ValueError):
                answer = None
        answers.append(answer if answer is not None and np.isfinite(answer).all() else None)
    return answers


def check_statsmodels(y, x, window, every, lags=1, least_inside=0.9):
    ends = range(window - 1, len(y), every)
    fixed = rows_of(y, x, window, hedge_ratio=25.0, adf_lags=lags)
    ols = rows_of(y, x, window, hedge="ols", adf_lags=lags)
    inside = asked = 0
    got, want = [], []
    for at in ends:
        if oracles.runs(x)[at] >= window or oracles.runs(y)[at] >= window:
            continue
        ours = (fixed[at], ols[at])
        for row, answer in zip(ours, statsmodels_says(y, x, window, at, lags), strict=True):
            asked += 1
            # Exact fits and collinear regressors: −1e8 or a minimum-norm guess there, NaN here,
            # as `test_recorded_trades` asserts against long double for every row.
            if answer is not None and abs(answer[0]) < 1e4 and not np.isnan(row["adf_stat"]):
                inside += 1
                got.append([row["adf_stat"], row["p_value"]])
                want.append(answer)
    assert asked > 20
    assert inside >= least_inside * asked, f"{inside} of {asked} windows inside"
    got, want = np.array(got), np.array(want, float)
    oracles.assert_close("statistic", got[:, 0], want[:, 0], TESTS)
    oracles.assert_close("p-value", got[:, 1], want[:, 1], TESTS)


@pytest.mark.parametrize("lags", [0, 1])
@pytest.mark.parametrize("window", [10, 50, 300])
@pytest.mark.parametrize("world", ["random walks", "cointegrated"])
def test_statsmodels_agrees(world, window, lags):
    y, x = WORLDS[world]()
    check_statsmodels(y[:900], x[:900], window, 29, lags)


@pytest.fixture(scope="session")
def last_prices(recorded):
    """Prices of both legs at every recorded trade from where both have begun."""
    rows = PairEngine(hedge_ratio=25.0).update(worlds.recorded_trades(recorded))
    assert len(rows) > 35_000
    return rows["y"].copy(), rows["x"].copy()


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("window", [10, 50, 300])
def test_recorded_trades(last_prices, window):
    y, x = (leg[:9_000] for leg in last_prices)
    rows = check_moments(y, x, window)
    spread = np.asarray(y, oracles.WIDE) - 25 * np.asarray(x, oracles.WIDE)
    check_recorded(rows, oracles.windows(spread, window), window, constant=True)
    rows, e = check_ols(y, x, window)
    check_recorded(rows, e, window, constant=False)


def check_recorded(rows, e, window, constant):
    """Statistics where there are any; in ten or fifty ticks, many windows hold no regression."""
    want = oracles.dickey_fuller(e, 1, constant)
    flat = (rows["flags"][window - 1 :] & (RowFlag.FLAT_SPREAD | RowFlag.FLAT_X)) > 0
    want[flat & np.isnan(rows["adf_stat"][window - 1 :])] = np.nan
    got = rows["adf_stat"][window - 1 :]
    assert np.isfinite(got).mean() > {10: 0.25, 50: 0.7, 300: 0.99}[window]
    oracles.assert_close("adf_stat", got, want, TESTS)


@pytest.mark.data
@pytest.mark.parametrize(("window", "inside"), [(10, 0.55), (50, 0.85), (300, 0.95)])
def test_recorded_trades_by_statsmodels(last_prices, window, inside):
    y, x = (leg[5_000:15_000] for leg in last_prices)
    check_statsmodels(y, x, window, 53, least_inside=inside)


@pytest.mark.data
@pytest.mark.parametrize("window", [10, 50, 300])
def test_crude_oil(recorded, window):
    frame = worlds.crude(recorded)
    y, x = frame.iloc[:, 0].to_numpy(), frame.iloc[:, 1].to_numpy()
    check_moments(y, x, window, beta=1.0)
    rows, e = check_ols(y, x, window)
    check_tests(rows, e, window, 1, constant=False)
    check_statsmodels(y, x, window, 2, least_inside=0.99)


@pytest.mark.data
def test_crude_oil_is_cointegrated_in_logs(recorded):
    frame = worlds.crude(recorded)
    y, x = frame.iloc[:, 0].to_numpy(), frame.iloc[:, 1].to_numpy()
    last = rows_of(y, x, len(y), hedge="ols", price_scale="log")[-1]
    assert last["stationary"] == Stationary.YES
    assert last["p_value"] < 1e-3
    (_, answer) = statsmodels_says(np.log(y), np.log(x), len(y), len(y) - 1, 1)
    assert last["adf_stat"] == pytest.approx(answer[0], rel=1e-9)
    assert last["p_value"] == pytest.approx(answer[1], rel=1e-6)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    window=st.integers(10, 60),
    extra=st.integers(0, 150),
    scale=st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e9]),
    ties=st.sampled_from([0.0, 0.5, 0.95]),
    digits=st.sampled_from([None, 3, 5]),
)
def test_lengths_windows_scales_ties(seed, window, extra, scale, ties, digits):
    r = np.random.default_rng(seed)
    n = window + extra
    moves = r.normal(0, 1e-3, (2, n)) * (r.random((2, n)) >= ties)
    y, x = scale * np.exp(np.cumsum(moves, axis=1))
    if digits is not None:
        y, x = (np.round(leg / scale, digits) * scale for leg in (y, x))
    check_moments(y, x, window, beta=1.0)
    rows, e = check_ols(y, x, window)
    want = oracles.dickey_fuller(e, 1, False)
    want[(rows["flags"][window - 1 :] & (RowFlag.FLAT_SPREAD | RowFlag.FLAT_X)) > 0] = np.nan
    oracles.assert_close("adf_stat", rows["adf_stat"][window - 1 :], want, TESTS)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_correlation_of_returns(scale):
    y, x = worlds.random_walks(6, 800)
    y = np.round(y + 30 * x, 1)
    rows = rows_of(y, x, 50, hedge="ols", correlation_of="returns", price_scale=scale)
    wide = [np.asarray(leg, oracles.WIDE) for leg in (y, x)]
    if scale == "log":
        r = [np.diff(np.log(leg)) for leg in wide]
    else:
        r = [np.diff(leg) / leg[:-1] for leg in wide]
    want = oracles.correlation(oracles.windows(r[0], 49), oracles.windows(r[1], 49))
    oracles.assert_close("correlation", rows["correlation"], oracles.padded(want, 50), MOMENTS)


def test_log_prices_are_the_logarithms_of_prices_and_rows_show_prices():
    y, x = worlds.cointegrated(7, 600)
    rows = rows_of(y, x, 50, hedge="ols", price_scale="log")
    assert_array_equal(rows["y"], y)
    beta, alpha, e = oracles.least_squares(np.log(y), np.log(x), 50)
    oracles.assert_close("hedge_ratio", rows["hedge_ratio"], oracles.padded(beta, 50), MOMENTS)
    oracles.assert_close("intercept", rows["intercept"], oracles.padded(alpha, 50), MOMENTS)
    oracles.assert_close("spread", rows["spread"], oracles.padded(e[:, -1], 50), 1e-8)


def test_mackinnon_equals_statsmodels_on_its_whole_range():
    from statsmodels.tsa.adfvalues import mackinnonp

    t = np.concatenate([np.linspace(-20, 4, 2001), [-1.61, -2.62, -18.83, -18.86, 2.74, 0.92]])
    for variables in (1, 2):
        want = np.array([mackinnonp(v, "c", variables) for v in t])
        np.testing.assert_allclose(oracles.mackinnon(t, variables), want, rtol=1e-11, atol=1e-15)
