"""The badge "stationary at 5 %" on pairs that are not: it must show about 5 % of the time."""

import warnings

import numpy as np
import pytest

from pairlab.engine import PairEngine
from pairlab.schema import Stationary
from tests.engine import oracles

PAIRS = 2_000


def walks(n):
    """2,000 pairs of independent random walks, one price of each per row."""
    r = np.random.default_rng(20_240_808 + n)
    return 1000 + np.cumsum(r.normal(0, 1, (2, PAIRS, n)), axis=2)


def decisions(y, x, **settings):
    n = y.shape[1]
    rows = [
        oracles.observe(PairEngine(timeframe="1s", window=n, **settings), y[k], x[k])[-1]
        for k in range(PAIRS)
    ]
    return np.array([row["stationary"] for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 300])
@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
def test_its_size_is_honest(hedge, n):
    y, x = walks(n)
    said = decisions(y, x, hedge=hedge, hedge_ratio=1.0)
    assert (said != Stationary.NOT_ENOUGH_DATA).all()
    share = (said == Stationary.YES).mean()
    assert 0.035 <= share <= 0.075, share
    if hedge == "kalman":
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*adfuller.*")
        theirs = [statsmodels_p(hedge, y[k], x[k]) <= 0.05 for k in range(PAIRS)]
    np.testing.assert_array_equal(said == Stationary.YES, theirs)


def statsmodels_p(hedge, y, x):
    from statsmodels.tsa.stattools import adfuller, coint

    if hedge == "fixed":
        return adfuller(y - x, maxlag=1, autolag=None)[1]
    return coint(y, x, trend="c", maxlag=1, autolag=None)[1]
