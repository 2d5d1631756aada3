"""What the stationarity test of a window says: asymptotic p-values, finite-sample decisions.

The p-value of a row is MacKinnon's (1994), which is asymptotic: at a window of 10 it is at most
0.05 for more than one in ten pairs of independent random walks. Decisions are therefore taken by
his critical values of 2010, which depend on the number of observations.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["asymptotic_p", "critical_value", "largest_p"]

_SQRT_HALF: Final = math.sqrt(0.5)

_LEVELS: Final = (0.01, 0.05, 0.10)

_SURFACES: Final = {
    1: (
        (-3.43035, -6.5393, -16.786, -79.433),
        (-2.86154, -2.8903, -4.234, -40.040),
        (-2.56677, -1.5384, -2.809, 0.0),
    ),
    2: (
        # -22.527 as the paper prints it; statsmodels 0.14 has -33.527, which simulations refute
        (-3.89644, -10.9519, -22.527, 0.0),
        (-3.33613, -6.1101, -6.823, 0.0),
        (-3.04445, -4.2412, -2.720, 0.0),
    ),
}
"""MacKinnon (2010), table 2, N = 1 and 2: coefficients of 1, 1/T, 1/T² and 1/T³ by level."""


def asymptotic_p(statistic: float, variables: int) -> float:
    """Return MacKinnon's approximate p-value of a Dickey-Fuller statistic with a constant.

    Parameters
    ----------
    statistic : float
        The t-value of γ.
    variables : int
        Series in the cointegrating regression: 1 for a plain Dickey-Fuller test, 2 for
        Engle-Granger on a pair.

    Returns
    -------
    float
        NaN for a NaN statistic.

    Notes
    -----
    MacKinnon (1994), the coefficients that ``statsmodels.tsa.adfvalues.mackinnonp`` uses for
    ``regression="c"`` and N = 1, 2.
    """
    t = statistic
    if math.isnan(t):
        return math.nan
    if variables == 1:
        if t > 2.74:
            return 1.0
        if t < -18.83:
            return 0.0
        if t <= -1.61:
            z = 2.1659 + t * (1.4412 + t * 0.038269)
        else:
            z = 1.7339 + t * (0.93202 + t * (-0.12745 + t * -0.010368))
    else:
        if t > 0.92:
            return 1.0
        if t < -18.86:
            return 0.0
        if t <= -2.62:
            z = 2.92 + t * (1.5012 + t * 0.039796)
        else:
            z = 2.1945 + t * (0.64695 + t * (-0.29198 + t * -0.042377))
    if not -4.0 < z < 4.0:
        return 0.5 * math.erfc(-z * _SQRT_HALF)
    # The normal distribution function, from its Taylor series about the nearest eighth: `erfc` is
    # a seventh of the time that the engine takes for a row. Terms in pairs, for shorter chains.
    nearest = math.floor(8.0 * z + 0.5)
    k = int(nearest) + 32
    h = z - 0.125 * nearest
    h2 = h * h
    low = (_NORMAL[k, 0] + h * _NORMAL[k, 1]) + h2 * (_NORMAL[k, 2] + h * _NORMAL[k, 3])
    high = (_NORMAL[k, 4] + h * _NORMAL[k, 5]) + h2 * (_NORMAL[k, 6] + h * _NORMAL[k, 7])
    rest = _NORMAL[k, 8] + h * _NORMAL[k, 9]
    h4 = h2 * h2
    return float(low + h4 * (high + h4 * rest))


def _normal_series() -> NDArray[np.float64]:
    """Return Taylor coefficients 0 to 9 of the normal distribution function about k/8 − 4."""
    table = np.empty((65, 10))
    for k in range(65):
        z = 0.125 * k - 4.0
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        table[k, 0] = 0.5 * math.erfc(-z * _SQRT_HALF)
        before, hermite, factorial = 0.0, 1.0, 1.0
        for n in range(1, 10):
            # dⁿΦ/dzⁿ = (−1)ⁿ⁻¹ Heₙ₋₁(z) φ(z); He by its recurrence
            factorial *= n
            table[k, n] = (1.0 if n % 2 else -1.0) * hermite * density / factorial
            before, hermite = hermite, z * hermite - (n - 1) * before
    return table


_NORMAL: Final = _normal_series()


def critical_value(level: float, variables: int, observations: int) -> float:
    """Return the statistic at or below which the test of this size rejects a unit root.

    Parameters
    ----------
    level : float
        Size of the test, above 0 to 1.
    variables : int
        As for `asymptotic_p`.
    observations : int
        T of the response surface.

    Returns
    -------
    float
        Infinity at level 1.

    Notes
    -----
    MacKinnon (2010) at 1 %, 5 % and 10 %. Between and beyond these levels a straight line in the
    normal quantile of the level: within 0.1 of simulated quantiles from 0.1 % to 20 % at windows
    from 50 on, within 0.15 from 1 % to 20 % at shorter ones.

    Examples
    --------
    >>> round(critical_value(0.05, 2, 49), 3)
    -3.464
    """
    if level >= 1.0:
        return math.inf
    quantile = NormalDist().inv_cdf
    low, middle, high = (
        sum((c / float(observations) ** k for k, c in enumerate(surface)), 0.0)
        for surface in _SURFACES[variables]
    )
    if level <= _LEVELS[1]:
        (p0, v0), (p1, v1) = (_LEVELS[0], low), (_LEVELS[1], middle)
    else:
        (p0, v0), (p1, v1) = (_LEVELS[1], middle), (_LEVELS[2], high)
    share = (quantile(level) - quantile(p0)) / (quantile(p1) - quantile(p0))
    return v0 + share * (v1 - v0)


class _Values(Protocol):
    """The settings that are read; `pairlab.settings.SettingValues` has them."""

    @property
    def max_p_value(self) -> float: ...
    @property
    def hedge(self) -> str: ...
    @property
    def window(self) -> int: ...
    @property
    def adf_lags(self) -> int: ...


def largest_p(values: _Values) -> float:
    """Return the largest p-value of a row that counts as stationary at these settings.

    It is what `asymptotic_p` gives for the critical value of ``max_p_value`` at this window, and
    so below ``max_p_value`` where the window is short.

    Parameters
    ----------
    values : SettingValues
        Window, hedge, lags and level are read.
    """
    return _largest_p(values.max_p_value, values.hedge == "fixed", values.window, values.adf_lags)


@functools.lru_cache(maxsize=256)
def _largest_p(level: float, fixed: bool, window: int, lags: int) -> float:
    # T as statsmodels counts it: adfuller takes the regression's observations, coint all but one.
    variables, observations = (1, window - 1 - lags) if fixed else (2, window - 1)
    return asymptotic_p(critical_value(level, variables, observations), variables)
