"""Deflated Sharpe ratio and PBO: by the papers' own definitions, on noise and on an edge."""

import math
from itertools import combinations
from statistics import NormalDist, mean, median, stdev

import numpy as np
import pandas as pd
import pytest
from purgedcv import deflated_sharpe_ratio_full, probability_of_backtest_overfitting
from scipy.signal import lfilter

from pairlab import Costs, DataError, sweep
from pairlab.backtesting.sweeping.overfitting import deflated_sharpe, probability_of_overfitting

GAMMA = 0.5772156649015329


def plain_deflated(returns, sharpes):
    n, trials = len(returns), len(sharpes)
    sr = mean(returns) / stdev(returns)
    m = [sum((r - mean(returns)) ** k for r in returns) / n for k in range(5)]
    skew, kurtosis = m[3] / m[2] ** 1.5, m[4] / m[2] ** 2
    normal = NormalDist()
    best = stdev(sharpes) * (
        (1 - GAMMA) * normal.inv_cdf(1 - 1 / trials)
        + GAMMA * normal.inv_cdf(1 - 1 / (trials * math.e))
    )
    under = 1 - skew * sr + (kurtosis - 1) / 4 * sr**2
    return normal.cdf((sr - best) * math.sqrt(n - 1) / math.sqrt(under))


def plain_pbo(returns):
    """Every split by itself: rank of the best in sample among all, out of sample."""
    n, trials = len(returns), len(returns[0])
    blocks = [range(b * (n // 16), (b + 1) * (n // 16)) for b in range(16)]
    below = total = 0
    for chosen in combinations(range(16), 8):
        if total % 25:  # a sample of the splits
            total += 1
            continue
        total += 1
        inside = [k for b in chosen for k in blocks[b]]
        outside = [k for b in range(16) if b not in chosen for k in blocks[b]]
        score = [
            [mean(returns[k][t] for k in part) / stdev(returns[k][t] for k in part)
             for t in range(trials)]
            for part in (inside, outside)
        ]  # fmt: skip
        best = score[0].index(max(score[0]))
        below += score[1][best] < median(score[1])
        below += 0.5 * (score[1][best] == median(score[1]))
    return below / math.ceil(total / 25)


def sharpes(r):
    return r.mean(axis=0) / r.std(axis=0, ddof=1)


def test_the_deflated_sharpe_is_the_paper_s():
    r = np.random.default_rng(1)
    for trials in (2, 10, 100):
        returns = r.standard_t(4, (300, trials)) * 0.01 + 0.001
        best = returns[:, int(np.argmax(sharpes(returns)))]
        want = plain_deflated(best.tolist(), sharpes(returns).tolist())
        assert deflated_sharpe(best, sharpes(returns)) == pytest.approx(want, rel=1e-9)
    alone = r.normal(0.001, 0.01, 300)
    probabilistic = deflated_sharpe(alone, sharpes(alone[:, None]))
    assert probabilistic == pytest.approx(plain_deflated(alone.tolist(), [0.0, 0.0, 0.0]), rel=1e-9)
    assert math.isnan(deflated_sharpe(np.zeros(100), np.zeros(5)))


@pytest.mark.slow
def test_pbo_is_the_paper_s():
    """The plain one takes each 25th split: within three standard errors of a share."""
    for seed in range(2):
        returns = np.random.default_rng(seed).normal(0, 1, (64, 5))
        got, want = probability_of_overfitting(returns), plain_pbo(returns.tolist())
        assert got == pytest.approx(want, abs=3 * 0.5 / math.sqrt(12_870 / 25))


def test_the_deflated_sharpe_is_purgedcv_s():
    """Which divides by the standard deviation with ddof 0: at 512 returns 0.1 % of a ratio."""
    for seed in range(20):
        returns = np.random.default_rng(seed).standard_t(5, (512, 40)) * 0.01 + 0.001
        sr = sharpes(returns)
        best = returns[:, int(np.argmax(sr))]
        want = deflated_sharpe_ratio_full(best, 40, float(np.var(sr, ddof=1)))
        assert deflated_sharpe(best, sr) == pytest.approx(want.dsr, abs=2e-3)
        assert 0.01 < want.dsr < 0.999


@pytest.mark.slow
def test_pbo_is_purgedcv_s():
    """To the last split, where no set can lie on the median itself: an even number of them."""
    returns = np.random.default_rng(5).normal(0, 1, (32, 2))

    def quick_sharpe(r):  # but for a factor that all have in common: theirs takes six times as long
        m = r.mean()
        return m / math.sqrt(((r - m) ** 2).sum())

    want = probability_of_backtest_overfitting(returns.T, metric=quick_sharpe)
    assert want.n_combos == 12_870
    assert probability_of_overfitting(returns) == pytest.approx(want.pbo, abs=1e-12)


@pytest.mark.slow
def test_of_noise_the_best_is_luck():
    """200 seeds of 100 settings."""
    pbo, deflated = [], []
    for seed in range(200):
        returns = np.random.default_rng(seed).normal(0, 0.01, (512, 100))
        pbo.append(probability_of_overfitting(returns))
        sr = sharpes(returns)
        deflated.append(deflated_sharpe(returns[:, int(np.argmax(sr))], sr))
    assert np.mean(pbo) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(deflated) > 0.95) <= 0.05


@pytest.mark.slow
def test_of_a_planted_edge_the_best_is_none():
    deflated, pbo = [], []
    for seed in range(200):
        returns = np.random.default_rng(seed).normal(0, 0.01, (512, 100))
        returns[:, 17] += 0.003
        sr = sharpes(returns)
        deflated.append(deflated_sharpe(returns[:, int(np.argmax(sr))], sr))
        pbo.append(probability_of_overfitting(returns))
    assert np.mean(np.array(deflated) > 0.95) >= 0.8
    assert np.median(pbo) < 0.05


def swept(seed, *, edge):
    """A sweep of a hundred thresholds, without costs, over walks or over a spread that reverts."""
    random = np.random.default_rng([seed, 16])
    x = 3_000.0 * np.exp(np.cumsum(random.normal(0.0, 1e-3, 1_500)))
    noise = random.normal(0.0, 1e-3, len(x))
    if edge:
        y = 20.0 * x * np.exp(lfilter([1.0], [1.0, -0.9], noise))
    else:
        y = 60_000.0 * np.exp(np.cumsum(noise))
    minutes = pd.date_range("2024-08-08", periods=len(x), freq="min", tz="UTC")
    return sweep(
        (pd.Series(y, minutes), pd.Series(x, minutes)),
        {"entry_z": np.linspace(1.0, 2.8, 10), "exit_z": np.linspace(0.0, 0.9, 10)},
        n_jobs=1, objective="sharpe", hedge="ols", window=60, min_correlation=-1.0,
        costs=Costs(0.0),
    )  # fmt: skip


@pytest.mark.slow
def test_sweeps_of_noise_are_luck_and_of_an_edge_are_none():
    """200 seeds of 100 settings: decided, filled and judged as a user's are."""
    noise = [swept(seed, edge=False) for seed in range(200)]
    assert {found.n_trials for found in noise} == {100}
    assert np.mean([found.pbo for found in noise]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([found.deflated_sharpe > 0.95 for found in noise]) <= 0.05
    edge = [swept(seed, edge=True) for seed in range(40)]
    assert np.mean([found.deflated_sharpe > 0.95 for found in edge]) >= 0.8


def test_equal_trials_count_half_and_one_alone_is_not_known():
    same = np.repeat(np.random.default_rng(3).normal(0, 1, (64, 1)), 6, axis=1)
    assert probability_of_overfitting(same) == pytest.approx(0.5)
    assert math.isnan(probability_of_overfitting(same[:, :1]))
    assert probability_of_overfitting(np.zeros((64, 4))) == pytest.approx(0.5)
    with pytest.raises(DataError, match="31 returns: expected 32"):
        probability_of_overfitting(np.zeros((31, 2)))
