"""Rolling Dickey-Fuller and Engle-Granger tests with MacKinnon's p-values, in O(1).

For e = w − a − b·v (Engle-Granger; b = 0 for a fixed ratio) every sum of the regression
Δe_t = c + γ e_{t−1} + φ Δe_{t−1} + ε is a quadratic in b of the rolling sums, less what belongs
to the window's first and last observations. Sums of a level times its own difference telescope:
Σ e_{t−1} Δe_t = ½ (e_last² − e_first² − Σ Δe²).
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from pairlab.engine.jit import jit_internal
from pairlab.engine.state import FIXED
from pairlab.limits.stationarity import asymptotic_p

__all__ = ["adf_statistic", "half_life", "mackinnon_p", "spread_tests"]

_CLOSE = 1e-5
_NOTHING = 1e-8
"""A share of a sum of squares below this is rounding: no spread explains itself so well."""


mackinnon_p = jit_internal(asymptotic_p)
"""`pairlab.limits.stationarity.asymptotic_p`, compiled."""


@jit_internal
def half_life(gamma: float) -> float:
    """Return the half-life of a mean-reverting spread, in observations.

    Parameters
    ----------
    gamma : float
        Slope of Δs on s₋₁, per observation.

    Returns
    -------
    float
        −ln 2 / ln(1 + gamma), in observations; NaN unless −1 < gamma < 0. A gamma within 1e-12 of
        zero is rounding.

    Notes
    -----
    The discrete Ornstein-Uhlenbeck half-life, Chan (2013), ch. 2.

    Examples
    --------
    >>> half_life.py_func(-0.5)
    1.0
    """
    if gamma > -1.0 and gamma < -1e-12:
        return -math.log(2.0) / math.log1p(gamma)
    return math.nan


@jit_internal
def adf_statistic(
    m: int, constants: int, lags: int, a: float, c: float, h: float, f: float, e: float, g: float
) -> tuple[float, bool]:
    """Return the Dickey-Fuller t-value of γ in Δe_t = γ e_{t−1} (+ φ Δe_{t−1}).

    Solved from the normal equations.

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
    tuple[float, bool]
        The t-value, and whether it is delicate: so near to collinear regressors or to an exact
        fit that it takes more digits out of the sums than rolling ones have. It is NaN where they
        are collinear, or leave nothing to explain: a spread that jumped once and then stood still
        fits exactly, and its −∞ would read "stationary".
    """
    if not (a > 0.0 and c > 0.0):
        return math.nan, True
    # Everything is multiplied by the determinant: one division and one root are left.
    if lags == 0:
        whole = det = a
        gamma = h
        rest = c * det - gamma * h
    else:
        whole = a * f
        det = whole - e * e
        gamma = h * f - e * g
        rest = c * det - gamma * h - (a * g - e * h) * g
    delicate = det < 1e-2 * whole or rest < 1e-3 * c * det
    if not (det > _NOTHING * whole and rest > _NOTHING * c * det):
        return math.nan, True
    if lags != 0:
        rest *= f
    return gamma * math.sqrt((m - 1 - lags - constants) / rest), delicate


@jit_internal
def spread_tests(s: Any, p: Any, ring: NDArray[Any], a: float) -> tuple[float, float]:
    """Test the spread of a full window, e = w − a − b·v, for stationarity.

    Parameters
    ----------
    s, p, ring
        State with its sums centred (Σ e² above zero), parameters, and the full window,
        newest observation included: ``s.head`` is the oldest.
    a : float
        Window mean of w − b·v, b the slope left on the anchor's.

    Returns
    -------
    tuple[float, float]
        The test statistic, and γ of Δe = c + γ e₋₁ for the half-life.
    """
    n = p.window
    constants = 1 if p.hedge == FIXED else 0
    i0 = s.head
    i1 = i0 + 1 if i0 + 1 < n else 0
    j1 = i0 - 1 if i0 > 0 else n - 1
    j2 = j1 - 1 if j1 > 0 else n - 1
    first = residual(s, ring, i0, a)
    second = residual(s, ring, i1, a)
    before = residual(s, ring, j2, a)
    last = residual(s, ring, j1, a)

    b = s.slope
    c_all = s.dd - b * (2.0 * s.dg - b * s.gg)
    # half-life: always with a constant and no lag
    a0 = s.s_ee - last * last
    h0 = 0.5 * ((last - first) * (last + first) - c_all)
    m = n - 1
    level = -last * p.inv_n1
    step = (last - first) * p.inv_n1
    a_half = a0 - m * level * level
    gamma = (h0 - m * level * step) / a_half
    if p.adf_lags == 0:
        aa, cc, hh = a0, c_all, h0
        ff = c_all
        ee = gg = 0.0
        lagged = 0.0
    else:
        m = n - 2
        aa = a0 - first * first
        cc = c_all - (second - first) * (second - first)
        ff = c_all - (last - before) * (last - before)
        gg = s.dd1 - b * (s.dg1 - b * s.gg1)
        hh = 0.5 * ((last - second) * (last + second) - cc)
        ee = 0.5 * ((before - first) * (before + first) + ff)
        level = -(first + last) * p.inv_n2
        step = (last - second) * p.inv_n2
        lagged = (before - first) * p.inv_n2
    if constants != 0:
        aa -= m * level * level
        cc -= m * step * step
        ff -= m * lagged * lagged
        hh -= m * level * step
        ee -= m * level * lagged
        gg -= m * step * lagged
    statistic, delicate = adf_statistic(m, constants, p.adf_lags, aa, cc, hh, ff, ee, gg)
    if delicate or min(aa, a_half) < _CLOSE * s.s_ee or min(cc, ff) < _CLOSE * c_all:
        # Or an edge of the window holds nearly all of a sum that it was to be taken out of.
        statistic, _ = direct_tests(s, p, ring, a, p.adf_lags, constants)
        _, gamma = direct_tests(s, p, ring, a, 0, 1)
    return statistic, gamma


@jit_internal
def residual(s: Any, ring: NDArray[Any], slot: int, a: float) -> float:
    """Return the residual of one observation of the window."""
    v = ring[slot, 1] - s.x0
    e: float = (ring[slot, 0] - s.y0) - s.b0 * v - (a + s.slope * v)
    return e


@jit_internal
def direct_tests(
    s: Any, p: Any, ring: NDArray[Any], a: float, lags: int, constants: int
) -> tuple[float, float]:
    """Return the statistic and γ computed from the window itself, by successive projections.

    The normal equations square what is lost to nearly collinear regressors; projections do not
    (Frisch-Waugh). Four passes: means, the lagged difference's share, γ, the residual.
    """
    n = p.window
    m = n - 1 - lags
    level_mean = step_mean = lagged_mean = 0.0
    level_share = step_share = gamma = whole_level = whole_step = own_level = 0.0
    for stage in range(4):
        one = two = three = four = five = 0.0
        slot = s.head
        e1 = e2 = 0.0
        for k in range(n):
            e0 = residual(s, ring, slot, a)
            if k > lags:
                lagged = (e1 - e2) - lagged_mean if lags != 0 else 0.0
                level = (e1 - level_mean) - level_share * lagged
                step = (e0 - e1 - step_mean) - step_share * lagged
                if stage == 0:
                    one += level
                    two += step
                    three += lagged
                elif stage == 3:
                    one += (step - gamma * level) * (step - gamma * level)
                else:
                    one += level * level
                    two += step * step
                    three += lagged * lagged
                    four += level * (lagged if stage == 1 else step)
                    five += step * lagged
            e2 = e1
            e1 = e0
            slot = slot + 1 if slot + 1 < n else 0
        if stage == 0 and constants != 0:
            level_mean, step_mean, lagged_mean = one / m, two / m, three / m
        elif stage == 1:
            if one <= s.floor or two <= s.floor or (lags != 0 and three <= s.floor):
                return math.nan, math.nan
            whole_level, whole_step = one, two
            if lags != 0:
                level_share, step_share = four / three, five / three
        elif stage == 2:
            if one <= _NOTHING * whole_level:
                return math.nan, math.nan
            own_level = one
            gamma = four / one
        elif stage == 3 and one > _NOTHING * whole_step:
            deviation = math.sqrt(one / ((m - 1 - lags - constants) * own_level))
            return gamma / deviation, gamma
    return math.nan, gamma
