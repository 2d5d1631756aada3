"""The badge "stationary at 5 %" on pairs that are not: it must show about 5 % of the time."""

import warnings

import numpy as np
import pytest

from pairlab.engine import PairEngine
from pairlab.schema import Stationary
from tests.engine import oracles


def walks(pairs, n):
    """Pairs of independent random walks, one price of each per row."""
    r = np.random.default_rng(20_240_808 + n)
    return 1000 + np.cumsum(r.normal(0, 1, (2, pairs, n)), axis=2)


def last_rows(y, x, **settings):
    """The row of each pair whose window is the pair."""
    n = y.shape[1]
    if settings["hedge"] != "kalman":  # a full window knows nothing of what was before it
        engine = PairEngine(timeframe="1s", window=n, bars=False, **settings)
        return oracles.observe(engine, y.ravel(), x.ravel())[n - 1 :: n]
    values = PairEngine(timeframe="1s", window=n, **settings).values
    return np.concatenate(
        [
            oracles.observe(PairEngine(values=values, bars=False), *pair)[-1:]
            for pair in zip(y, x, strict=True)
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 50, 300])
@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
@pytest.mark.parametrize("lags", [0, 1])
def test_its_size_is_honest(hedge, n, lags):
    y, x = walks(8_000 if n <= 20 and hedge != "kalman" else 3_000, n)
    rows = last_rows(y, x, hedge=hedge, hedge_ratio=1.0, adf_lags=lags)
    if hedge == "kalman" and n == 10:  # Kalman's column is the Engle-Granger test of the window
        rows = rows[rows["stationary"] != Stationary.NOT_ENOUGH_DATA]
    said = rows["stationary"]
    assert (said != Stationary.NOT_ENOUGH_DATA).all()
    share = (said == Stationary.YES).mean()
    assert 0.035 <= share <= 0.065, share
    if n == 10:
        assert (rows["p_value"] <= 0.05).mean() > 0.08, "the asymptotic p-value would say so"
    if hedge == "kalman":
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*adfuller.*")
        some = range(300)
        theirs = [statsmodels_says(hedge, y[k], x[k], lags) for k in some]
    np.testing.assert_array_equal((said == Stationary.YES)[some], theirs)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.01, 0.1, 0.2])
@pytest.mark.parametrize("n", [10, 50])
@pytest.mark.parametrize("hedge", ["fixed", "ols"])
def test_its_size_is_what_was_asked_for(hedge, n, level):
    y, x = walks(8_000, n)
    rows = last_rows(y, x, hedge=hedge, hedge_ratio=1.0, adf_lags=0, max_p_value=level)
    share = (rows["stationary"] == Stationary.YES).mean()
    assert 0.75 * level <= share <= 1.25 * level, share


def statsmodels_says(hedge, y, x, lags):
    """Whether their statistic is at or below their own critical value of 5 %."""
    from statsmodels.tsa.stattools import adfuller, coint

    if hedge == "fixed":
        statistic, _, _, _, critical = adfuller(y - x, maxlag=lags, autolag=None)
        return statistic <= critical["5%"]
    statistic, _, critical = coint(y, x, trend="c", maxlag=lags, autolag=None)
    return statistic <= critical[1]
