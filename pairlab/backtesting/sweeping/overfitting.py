"""How much of the best of many trials is luck: the deflated Sharpe ratio, and PBO."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError

__all__ = ["BLOCKS", "deflated_sharpe", "probability_of_overfitting"]

BLOCKS: Final = 16
"""Blocks of time that are split into halves: 12,870 ways."""

_EULER: Final = 0.5772156649015329

_Floats = NDArray[np.float64]


def deflated_sharpe(returns: _Floats, trial_sharpes: _Floats) -> float:
    """Return the probability that a Sharpe ratio is above what the best of so many has by luck.

    Bailey & López de Prado (2014), "The Deflated Sharpe Ratio". All Sharpe ratios are per
    observation, none is annualised; the kurtosis is that of a normal distribution plus 3.

    Parameters
    ----------
    returns : array of float, shape (n,)
        Of the trial that was chosen.
    trial_sharpes : array of float, shape (trials,)
        Sharpe ratios of all that were tried, per observation; NaN (nothing was traded) counts as 0.

    Returns
    -------
    float
        Φ((SR − SR*)·√(n − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)), where
        SR* = √V[SR] · ((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))); NaN where returns do not vary.
    """
    from statistics import NormalDist

    normal = NormalDist()
    n = len(returns)
    spread = float(np.std(returns, ddof=1)) if n > 2 else 0.0
    if spread == 0.0 or not math.isfinite(spread):
        return math.nan
    sharpe = float(np.mean(returns)) / spread
    centred = returns - np.mean(returns)
    variance = float(np.mean(centred**2))
    skew = float(np.mean(centred**3)) / variance**1.5
    kurtosis = float(np.mean(centred**4)) / variance**2
    trials = len(trial_sharpes)
    least = 0.0
    if trials > 1:
        deviation = float(np.std(np.nan_to_num(trial_sharpes), ddof=1))
        least = deviation * (
            (1.0 - _EULER) * normal.inv_cdf(1.0 - 1.0 / trials)
            + _EULER * normal.inv_cdf(1.0 - 1.0 / (trials * math.e))
        )
    of_estimate = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return normal.cdf((sharpe - least) * math.sqrt(n - 1) / math.sqrt(of_estimate))


def probability_of_overfitting(returns: _Floats) -> float:
    """Return the share of splits in which the best in sample is below the median out of sample.

    Bailey, Borwein, López de Prado & Zhu (2015), "The Probability of Backtest Overfitting": the
    time is cut into 16 blocks, every 8 of them are once the sample on which the best Sharpe ratio
    is chosen, and the other 8 are what it is worth. Sums over blocks are all that it takes.

    Parameters
    ----------
    returns : array of float, shape (n, trials)
        Of every trial at the same n times, 32 at least; what is left over of n / 16 is not used.

    Returns
    -------
    float
        0 to 1; NaN below two trials. A tie with the median counts half.

    Raises
    ------
    DataError
        For fewer than 32 times.
    """
    n, trials = returns.shape
    if n < 2 * BLOCKS:
        raise DataError(f"{n} returns: expected {2 * BLOCKS} or more, two for each of 16 blocks")
    if trials < 2:
        return math.nan
    length = n // BLOCKS
    blocks = returns[: length * BLOCKS].reshape(BLOCKS, length, trials)
    sums, squares = blocks.sum(axis=1), (blocks**2).sum(axis=1)
    from pairlab.backtesting.trade_kernels import split_kernel  # numba is slow to import

    # The sums over half of the blocks are those over some of the first 8 and some of the last 8.
    parts = []
    for first in (0, BLOCKS // 2):
        for of_block in (sums, squares):
            subsets = np.zeros((1 << BLOCKS // 2, trials))
            for block in range(BLOCKS // 2):
                with_it = 1 << block
                subsets[with_it : 2 * with_it] = subsets[:with_it] + of_block[first + block]
            parts.append(subsets)
    below_twice, _ = split_kernel()(*parts, length * BLOCKS // 2)
    return below_twice / (2.0 * math.comb(BLOCKS, BLOCKS // 2))
