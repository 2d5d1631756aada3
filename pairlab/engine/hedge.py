"""Hedge ratio estimators: rolling least squares and a Kalman filter."""

from __future__ import annotations

import math
from typing import Any

from pairlab.engine.jit import jit_internal

__all__ = ["add_legs", "kalman_start", "kalman_step", "ols"]

_R_FLOOR = 1e-24
"""A share of the price, squared: noise below it is the rounding of the prices."""

_DIFFUSE = 1e40
"""Prior variance of level and slope, in units of R: in the factors below it costs no digits."""

_NOT_PREDICTED = 1e8
"""An innovation of such a variance, in units of R, was no prediction: most of it is the prior's."""

_SLOPE_KNOWN = 0.25
"""Largest variance of a slope that is known, in units of (y's price / x's price) squared."""

_MOVES = 30
"""Of y, before its noise is known: rows between them add little."""

_R_POWER = 3.0
"""Until R has the hedge's memory, the weight of the k-th innovation in it grows as k to the power
of this less one: the first ones, small because the hedge was fitted to them, are soon forgotten."""

_R_LAG = (_R_POWER + 1.0) / _R_POWER
"""While the hedge's memory grows, the variance of innovations of a spread that wanders grows with
it, as k, and their mean under the weights above is less than the next one's by this factor."""


@jit_internal
def ols(s: Any, p: Any) -> tuple[float, float]:
    """Return the OLS hedge ratio and intercept of y on x over a full window."""
    a = (s.w - s.slope * s.v) * p.inv_n
    # y = c0 + b0·x + w: neither c0 nor the rest loses digits to the size of the prices
    return s.b0 + s.slope, s.c0 + (a - s.slope * s.x0)


@jit_internal
def kalman_start(s: Any, p: Any, y: float, x: float) -> None:
    """Initialise the filter at the first observation; it knows nothing of level and slope."""
    s.k_y = y
    s.k_x = x
    if p.log_prices != 0:
        s.k_unit = s.k_scale_y = s.k_scale_x = 1.0
        s.k_origin = x
    else:
        s.k_unit = y
        s.k_scale_y = 1.0 / y
        s.k_scale_x = 1.0 / x
        s.k_origin = 1.0
    s.k_level = 0.0
    s.k_beta = 1.0
    s.k_d0 = s.k_d1 = _DIFFUSE
    s.k_share = p.kalman_q / (_DIFFUSE + p.kalman_q)
    s.k_u = 0.0
    s.k_r = 0.0
    s.k_last = 0.0
    s.kalman_seen = s.kalman_moves = 0
    s.kalman_learnt = 0


@jit_internal
def kalman_step(s: Any, p: Any, y: float, x: float, still: bool) -> tuple[float, float]:
    """Advance the filter by one observation: predict y, update state and noise.

    Parameters
    ----------
    s, p
        State and parameters.
    y, x : float
        The observation.
    still : bool
        Neither price has moved for a whole window: R is left alone, or silence would shrink it
        until the first move after it looked enormous.

    Returns
    -------
    tuple[float, float]
        The innovation and its standard deviation before the update, both in units of y.

    Notes
    -----
    The model is y = α + βx + noise of variance R, with α and β random walks of variance qR per
    observation, prices in units of their first (logarithms as they are), and a diffuse prior. The
    covariance is kept in units of R, so that the gain follows from the memory and the prices
    alone, and a wrong guess of R at the start costs no hedge. The k-th innovation e of variance
    size · R changes R by weight · (e² / size − R), from 3 half-lives / ln 2 innovations on; before,
    by min(3 / k, 1) · (4/3 · e² / size − R): the spread that a hedge leaves grows with its memory.
    The first innovation is the one at y's first move: until then a slope of zero explains
    everything. Hedge and noise are learnt at the first row that has `kalman_rows` innovations
    behind it, a slope that is known, and its own innovation within one standard deviation.

    The filter is written for the level at the first observation, a = α + β·x₁ − y₁, with the
    prices' differences from it, and for the factors of the covariance U·D·Uᵀ (Bierman 1977; the
    process noise as two updates of rank one, Agee and Turner 1972): no term is subtracted from a
    larger one, however far the variances of level and slope lie apart.
    """
    dy = (y - s.k_y) * s.k_scale_y
    dx = (x - s.k_x) * s.k_scale_x
    q = p.kalman_q
    d1 = s.k_d1 + q
    arm = s.k_origin - s.k_u
    share = s.k_share
    d0 = s.k_d0 + q + share * s.k_d1 * arm * arm
    u = s.k_u + share * arm

    innovation = (dy - s.k_level) - s.k_beta * dx
    far = u + dx
    v1 = d1 * far
    level_size = 1.0 + d0
    size = level_size + far * v1
    inverse = 1.0 / size
    deviation = math.sqrt(s.k_r * size)
    s.k_level += innovation * ((d0 + v1 * u) * inverse)
    s.k_beta += innovation * (v1 * inverse)
    shrunk = d0 / level_size
    s.k_u = u - far * shrunk
    s.k_d0 = shrunk
    held = d1 * level_size
    s.k_d1 = held * inverse
    s.k_share = q * size / (held + q * size)  # of the next: q / d1, beside 1 / size, not after it
    predicted = size < _NOT_PREDICTED
    if predicted and not still and (s.kalman_seen > 0 or dy != 0.0):
        s.kalman_seen += 1
        if s.run_y == 1:
            s.kalman_moves += 1
        weight = p.kalman_weight
        square = innovation * innovation * inverse
        if s.kalman_seen * weight < _R_POWER:  # a division less, once it has its memory
            weight = min(_R_POWER / s.kalman_seen, 1.0)
            square *= _R_LAG
        s.k_r = max(s.k_r + weight * (square - s.k_r), _R_FLOOR)

    # for diagnostics: is the innovation still a spread that reverts, or has the hedge absorbed it?
    before = s.k_last
    s.k_last = innovation
    if s.kalman_learnt > 0:
        s.kalman_learnt += 1
        weight = p.diagnostics_weight
        if (s.kalman_learnt - 1) * weight < 1.0:
            weight = 1.0 / (s.kalman_learnt - 1)
        s.h_a += weight * (before - s.h_a)
        s.h_b += weight * (innovation - s.h_b)
        s.h_aa += weight * (before * before - s.h_aa)
        s.h_ab += weight * (before * innovation - s.h_ab)
        s.h_bb += weight * (innovation * innovation - s.h_bb)
    elif (
        predicted
        and s.kalman_seen >= p.kalman_rows
        and s.kalman_moves >= _MOVES
        and s.k_r * s.k_d1 <= _SLOPE_KNOWN
        # nor is one whose beginning nobody saw an excursion to be entered
        and innovation * innovation <= deviation * deviation
    ):
        s.kalman_learnt = 1
    return innovation * s.k_unit, deviation * s.k_unit


@jit_internal
def add_legs(s: Any, p: Any, y: float, x: float) -> None:
    """Add an observation to the moments from which `diagnostics.spread_half_life` is estimated."""
    if s.f_count == 0.0:
        s.f_y0, s.f_x0 = y, x
        s.f_count = 1.0
        return  # u, v and their steps are zero before the first
    u, v = y - s.f_y0, x - s.f_x0
    d, g = u - s.f_u1, v - s.f_v1
    weight = max(1.0 / s.f_count, p.legs_weight)
    s.f_u += weight * (s.f_u1 - s.f_u)
    s.f_v += weight * (s.f_v1 - s.f_v)
    s.f_uu += weight * (s.f_u1 * s.f_u1 - s.f_uu)
    s.f_uv += weight * (s.f_u1 * s.f_v1 - s.f_uv)
    s.f_vv += weight * (s.f_v1 * s.f_v1 - s.f_vv)
    s.f_d += weight * (d - s.f_d)
    s.f_g += weight * (g - s.f_g)
    s.f_ud += weight * (s.f_u1 * d - s.f_ud)
    s.f_ug += weight * (s.f_u1 * g - s.f_ug)
    s.f_vd += weight * (s.f_v1 * d - s.f_vd)
    s.f_vg += weight * (s.f_v1 * g - s.f_vg)
    s.f_u1, s.f_v1 = u, v
    s.f_count += 1.0
