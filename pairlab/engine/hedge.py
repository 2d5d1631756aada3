"""Hedge ratio estimators: rolling least squares and a Kalman filter."""

from __future__ import annotations

import math
from typing import Any

from pairlab.engine.jit import jit_internal

__all__ = ["kalman_start", "kalman_step", "ols"]

_R_FLOOR = 1e-24
_P_START = 1e8


@jit_internal
def ols(s: Any, p: Any) -> tuple[float, float]:
    """Return the OLS hedge ratio and intercept of y on x over a full window."""
    a = (s.w - s.slope * s.v) * p.inv_n
    # y = c0 + b0·x + w: neither c0 nor the rest loses digits to the size of the prices
    return s.b0 + s.slope, s.c0 + (a - s.slope * s.x0)


@jit_internal
def kalman_start(s: Any, p: Any, y: float, x: float) -> None:
    """Initialise the filter from the first observation."""
    if p.log_prices != 0:
        s.k_y = s.k_x = 1.0
        s.k_alpha = y - x
    else:
        s.k_y = y
        s.k_x = x
        s.k_alpha = 0.0
    s.k_beta = 1.0
    s.k_p00 = s.k_p11 = _P_START
    s.k_p01 = 0.0
    s.k_r = _R_FLOOR
    s.k_last = 0.0


@jit_internal
def kalman_step(s: Any, p: Any, y: float, x: float, still: bool) -> tuple[float, float]:
    """Advance the filter by one observation: predict y, update state and noise.

    The covariance is kept in units of the observation noise R, so that the gain follows from the
    memory and the prices alone, and a wrong guess of R at the start costs no hedge.

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
    """
    ys = y / s.k_y
    xs = x / s.k_x
    p00 = s.k_p00 + p.kalman_q
    p01 = s.k_p01
    p11 = s.k_p11 + p.kalman_q
    innovation = ys - s.k_alpha - s.k_beta * xs
    t0 = p00 + p01 * xs
    t1 = p01 + p11 * xs
    size = 1.0 + t0 + xs * t1
    deviation = math.sqrt(s.k_r * size)
    s.k_alpha += innovation * (t0 / size)
    s.k_beta += innovation * (t1 / size)
    s.k_p00 = p00 - t0 * t0 / size
    s.k_p01 = p01 - t0 * t1 / size
    s.k_p11 = p11 - t1 * t1 / size
    if not still:
        # the mean of the first ones, then exponential with the hedge's own memory
        weight = max(1.0 / max(s.count, 1), p.kalman_weight)
        s.k_r = max(s.k_r + weight * (innovation * innovation / size - s.k_r), _R_FLOOR)

    # for diagnostics: is the innovation still a spread that reverts, or has the hedge absorbed it?
    before = s.k_last
    s.k_last = innovation
    weight = max(1.0 / max(s.count, 1), p.diagnostics_weight)
    s.h_a += weight * (before - s.h_a)
    s.h_b += weight * (innovation - s.h_b)
    s.h_aa += weight * (before * before - s.h_aa)
    s.h_ab += weight * (before * innovation - s.h_ab)
    s.h_bb += weight * (innovation * innovation - s.h_bb)
    return innovation * s.k_y, deviation * s.k_y
