"""Dickey-Fuller and Engle-Granger on the window, and MacKinnon's p-values, in O(1).

For e = w − a − b·v (Engle-Granger; b = 0 for a fixed ratio) every sum of the regression
Δe_t = c + γ e_{t−1} + φ Δe_{t−1} + ε is a quadratic in b of the rolling sums, less what belongs
to the window's first and last observations. Sums of a level times its own difference telescope:
Σ e_{t−1} Δe_t = ½ (e_last² − e_first² − Σ Δe²).
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from pairlab.engine.compiled import piece
from pairlab.engine.layout import FIXED

__all__ = ["adf_statistic", "half_life", "mackinnon_p", "spread_tests"]

_SQRT_HALF = math.sqrt(0.5)
_CLOSE = 1e-5


@piece
def mackinnon_p(statistic: float, variables: int) -> float:
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
    return 0.5 * math.erfc(-z * _SQRT_HALF)


@piece
def half_life(gamma: float) -> float:
    """Return the observations until a deviation of the spread has halved.

    Parameters
    ----------
    gamma : float
        Slope of Δs on s₋₁, per observation.

    Returns
    -------
    float
        −ln 2 / ln(1 + gamma), in observations; NaN unless −1 < gamma < 0.

    Notes
    -----
    The discrete Ornstein-Uhlenbeck half-life, Chan (2013), ch. 2.

    Examples
    --------
    >>> half_life(-0.5)
    1.0
    """
    if gamma > -1.0 and gamma < 0.0:
        return -math.log(2.0) / math.log1p(gamma)
    return math.nan


@piece
def adf_statistic(
    m: int, constants: int, lags: int, a: float, c: float, h: float, f: float, e: float, g: float
) -> float:
    """Return the t-value of γ in Δe_t = γ e_{t−1} (+ φ Δe_{t−1}) from its normal equations.

    Parameters
    ----------
    m : int
        Observations in the regression.
    constants : int
        1 if a constant was taken out of the sums, else 0: it costs a degree of freedom.
    lags : int
        0 or 1 lagged differences.
    a, c, h : float
        Σ e_{t−1}², Σ Δe_t², Σ e_{t−1} Δe_t.
    f, e, g : float
        Σ Δe_{t−1}², Σ e_{t−1} Δe_{t−1}, Σ Δe_t Δe_{t−1}; read with one lag only.

    Returns
    -------
    float
        NaN where the regressors are collinear or nothing is left to explain.
    """
    if not a > 0.0:
        return math.nan
    # Everything is multiplied by the determinant: one division and one root are left.
    if lags == 0:
        rest = c * a - h * h
        if not rest > 0.0:
            return math.nan
        return h * math.sqrt((m - 1 - constants) / rest)
    det = a * f - e * e
    if not det > 1e-13 * a * f:
        return math.nan
    gamma = h * f - e * g
    phi = a * g - e * h
    rest = (c * det - gamma * h - phi * g) * f
    if not rest > 0.0:
        return math.nan
    return gamma * math.sqrt((m - 2 - constants) / rest)


@piece
def spread_tests(s: Any, p: Any, ring: NDArray[Any], a: float) -> tuple[float, float]:
    """Test the window's spread e = w − a − b·v for stationarity.

    Parameters
    ----------
    s, p, ring
        State with its sums centred (Σ e² above zero), setup, and the full window, newest
        observation included: ``s.head`` is the oldest.
    a : float
        Window mean of w − b·v, b the slope left on the anchor's.

    Returns
    -------
    tuple[float, float]
        The test statistic, and γ of Δe = c + γ e₋₁ for the half-life.
    """
    n = p.window
    with_constant = p.hedge == FIXED
    i0 = s.head
    i1 = i0 + 1 if i0 + 1 < n else 0
    j1 = i0 - 1 if i0 > 0 else n - 1
    j2 = j1 - 1 if j1 > 0 else n - 1
    b = s.slope
    slope = s.b0
    v = ring[i0, 1] - s.x0
    first = (ring[i0, 0] - s.y0) - slope * v - (a + b * v)
    v = ring[i1, 1] - s.x0
    second = (ring[i1, 0] - s.y0) - slope * v - (a + b * v)
    v = ring[j2, 1] - s.x0
    before = (ring[j2, 0] - s.y0) - slope * v - (a + b * v)
    v = ring[j1, 1] - s.x0
    last = (ring[j1, 0] - s.y0) - slope * v - (a + b * v)

    c_all = s.dd - b * (2.0 * s.dg - b * s.gg)
    a0 = s.s_ee - last * last
    h0 = 0.5 * ((last - first) * (last + first) - c_all)
    # half-life: always with a constant and no lag
    m = n - 1
    level = -last * p.inv_n1
    step = (last - first) * p.inv_n1
    a0_c = a0 - m * level * level
    h0_c = h0 - m * level * step
    gamma = h0_c / a0_c if a0_c > 0.0 else math.nan

    if p.lags == 0:
        if with_constant:
            statistic = adf_statistic(m, 1, 0, a0_c, c_all - m * step * step, h0_c, 0.0, 0.0, 0.0)
        else:
            statistic = adf_statistic(m, 0, 0, a0, c_all, h0, 0.0, 0.0, 0.0)
        return statistic, gamma

    m = n - 2
    a1 = a0 - first * first
    newest = (last - before) * (last - before)
    oldest = (second - first) * (second - first)
    c1 = c_all - oldest
    f1 = c_all - newest
    if a1 < _CLOSE * s.s_ee or c1 < _CLOSE * c_all or f1 < _CLOSE * c_all:
        # One edge holds nearly all of a sum that it is to be taken out of.
        return _direct_statistic(s, p, ring, a, b), gamma
    g1 = s.dd1 - b * (s.dg1 - b * s.gg1)
    h1 = 0.5 * ((last - second) * (last + second) - c1)
    e1 = 0.5 * ((before - first) * (before + first) + f1)
    if with_constant:
        level = -(first + last) * p.inv_n2
        step = (last - second) * p.inv_n2
        lagged = (before - first) * p.inv_n2
        a1 -= m * level * level
        c1 -= m * step * step
        f1 -= m * lagged * lagged
        h1 -= m * level * step
        e1 -= m * level * lagged
        g1 -= m * step * lagged
        return adf_statistic(m, 1, 1, a1, c1, h1, f1, e1, g1), gamma
    return adf_statistic(m, 0, 1, a1, c1, h1, f1, e1, g1), gamma


@piece
def _direct_statistic(s: Any, p: Any, ring: NDArray[Any], a: float, b: float) -> float:
    """Return the statistic with one lag, summed over the window: after a jump at its edge."""
    n = p.window
    m = n - 2
    level = step = lagged = 0.0
    for again in range(2):
        aa = cc = hh = ff = ee = gg = 0.0
        sum_level = sum_step = sum_lagged = 0.0
        slot = s.head
        e1 = e2 = 0.0
        for k in range(n):
            v = ring[slot, 1] - s.x0
            e0 = (ring[slot, 0] - s.y0) - s.b0 * v - (a + b * v)
            if k > 1:
                x_level = e1 - level
                x_step = (e0 - e1) - step
                x_lagged = (e1 - e2) - lagged
                aa += x_level * x_level
                cc += x_step * x_step
                ff += x_lagged * x_lagged
                hh += x_level * x_step
                ee += x_level * x_lagged
                gg += x_step * x_lagged
                sum_level += x_level
                sum_step += x_step
                sum_lagged += x_lagged
            e2 = e1
            e1 = e0
            slot = slot + 1 if slot + 1 < n else 0
        if p.hedge != FIXED:
            return adf_statistic(m, 0, 1, aa, cc, hh, ff, ee, gg)
        if again == 0:
            level = sum_level / m
            step = sum_step / m
            lagged = sum_lagged / m
    return adf_statistic(m, 1, 1, aa, cc, hh, ff, ee, gg)
