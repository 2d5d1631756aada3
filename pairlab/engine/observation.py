"""One observation: the window moves on by it, and every metric of its row is computed.

Each step costs the same whatever the window: sums are updated, not summed again.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from pairlab.engine.cointegration import half_life, mackinnon_p, spread_tests
from pairlab.engine.hedge import add_legs, kalman_start, kalman_step, ols
from pairlab.engine.jit import jit_inlined, jit_internal
from pairlab.engine.rolling_sums import (
    minus_product,
    needs_recompute,
    recentre,
    recompute_sums,
    return_noise,
    update_sums,
)
from pairlab.engine.state import FIXED, KALMAN, LEGS_STRIDE
from pairlab.schema import RowFlag, Stationary

__all__ = ["correlation_of", "observe"]

_WARMING = int(RowFlag.WARMING)
_FLAT_SPREAD = int(RowFlag.FLAT_SPREAD)
_FLAT_Y = int(RowFlag.FLAT_Y)
_FLAT_X = int(RowFlag.FLAT_X)
_GAP_BEFORE = int(RowFlag.GAP_BEFORE)
_TIME_CORRECTED = int(RowFlag.TIME_CORRECTED)
_UNKNOWN = int(Stationary.NOT_ENOUGH_DATA)
_NS = 1e-9


@jit_internal
def observe(s: Any, p: Any, ring: NDArray[Any], row: Any) -> None:
    """Add an observation of the last prices to the window; write its row but for the position."""
    n = p.window
    time_ns = s.time_ns
    y, x = s.y_price, s.x_price
    row.time_ns = time_ns
    row.received_ns = s.received_ns
    row.y, row.x = y, x
    row.y_age_s = (time_ns - s.y_time_ns) * _NS
    row.x_age_s = (time_ns - s.x_time_ns) * _NS
    flags = 0
    if s.gap != 0:
        flags = _GAP_BEFORE
        s.gap = 0
    if s.corrected != 0:
        flags |= _TIME_CORRECTED
        s.corrected = 0
    if p.log_prices != 0:
        y, x = math.log(y), math.log(x)

    begun = s.count > 0
    newest = s.head - 1 if s.head > 0 else n - 1
    s.run_y = s.run_y + 1 if begun and ring[newest, 0] == y else 1
    s.run_x = s.run_x + 1 if begun and ring[newest, 1] == x else 1
    flat_y = s.run_y >= n
    flat_x = s.run_x >= n
    deviation = 0.0
    if p.hedge == KALMAN:
        if not begun:
            kalman_start(s, p, y, x)
        spread, deviation = kalman_step(s, p, y, x, flat_y and flat_x)
        if s.count % LEGS_STRIDE == 0:
            add_legs(s, p, y, x)
    elif p.hedge == FIXED:
        spread = minus_product(y, p.hedge_ratio, x)
    else:
        spread = math.nan
    s.run_s = s.run_s + 1 if begun and s.spread == spread else 1
    s.spread = spread

    full = s.count >= n
    if full:
        update_sums(s, p, ring, y, x, spread)
    ring[s.head, 0] = y
    ring[s.head, 1] = x
    ring[s.head, 2] = spread if p.hedge == KALMAN else 0.0
    s.head = s.head + 1 if s.head + 1 < n else 0
    s.count += 1
    s.since_recompute += 1
    if full:
        recentre(s, p)
    if s.count == n or (full and needs_recompute(s, p)):
        recompute_sums(s, p, ring)

    row.filled = min(s.count, n)
    row.hedge_ratio = p.hedge_ratio if p.hedge == FIXED else math.nan
    row.intercept = 0.0 if p.hedge == FIXED else math.nan
    row.spread = spread if p.hedge == FIXED else math.nan
    row.spread_mean = row.spread_std = row.zscore = row.correlation = math.nan
    row.adf_stat = row.p_value = row.half_life = math.nan
    row.stationary = _UNKNOWN
    if s.count < n:
        row.flags = flags | _WARMING
        return
    flags |= _measure(s, p, ring, row, y, x, deviation)
    row.flags = flags


@jit_inlined
def _measure(
    s: Any, p: Any, ring: NDArray[Any], row: Any, y: float, x: float, deviation: float
) -> int:
    """Write every metric of a full window; return its flags."""
    n = p.window
    flat_y = s.run_y >= n
    flat_x = s.run_x >= n
    flags = (_FLAT_Y if flat_y else 0) | (_FLAT_X if flat_x else 0)
    if p.correlate_returns != 0:
        s_qq = s.qq - s.q * s.q * p.inv_n1
        s_rr = s.rr - s.r * s.r * p.inv_n1
        s_qr = s.qr - s.q * s.r * p.inv_n1
        noise = return_noise(p)
        # returns that are all the same say as little as prices that stand still
        flags |= _FLAT_Y if s_qq <= noise else 0
        flags |= _FLAT_X if s_rr <= noise else 0
        if flags & (_FLAT_Y | _FLAT_X) == 0:
            row.correlation = correlation_of(s_qr, s_qq, s_rr)
    elif not (flat_y or flat_x):
        row.correlation = correlation_of(s.s_uv, s.s_uu, s.s_vv)

    v_last = x - s.x0
    w_last = (y - s.y0) - s.b0 * v_last
    a = (s.w - s.slope * s.v) * p.inv_n
    no_slope = flat_x and p.hedge != FIXED
    still = (flat_y and flat_x) or s.s_ee <= s.floor
    flat_spread = (flat_y and flat_x) or (still and not no_slope)
    if p.hedge == KALMAN:
        flat_spread = s.run_s >= n or (flat_y and flat_x)
        if s.kalman_learnt > 0:
            _measure_kalman(s, p, row, deviation, flat_spread)
        else:
            flags |= _WARMING
    elif p.hedge == FIXED:
        flat_spread = still or s.run_s >= n
        row.spread_mean = s.c0 + a
        row.spread_std = 0.0
    elif not no_slope:
        row.hedge_ratio, row.intercept = ols(s, p)
        row.spread = w_last - a - s.slope * v_last
        row.spread_mean = row.spread_std = 0.0
    if flat_spread:
        return flags | _FLAT_SPREAD
    if no_slope or still:
        return flags

    if p.hedge != KALMAN:
        row.spread_std = math.sqrt(s.s_ee * p.inv_n1)
        row.zscore = (w_last - a - s.slope * v_last) / row.spread_std
    row.adf_stat, gamma = spread_tests(s, p, ring, a)
    if p.hedge == KALMAN:
        gamma = _innovations_gamma(s, p, ring)
    row.p_value = mackinnon_p(row.adf_stat, 1 if p.hedge == FIXED else 2)
    if p.hedge != KALMAN or s.kalman_learnt > 0:
        row.half_life = half_life(gamma)
    if not math.isnan(row.p_value):
        row.stationary = 1 if row.p_value <= p.largest_p else 0
    return flags


@jit_internal
def correlation_of(s_ab: float, s_aa: float, s_bb: float) -> float:
    """Return Pearson's correlation from positive centred sums."""
    return min(max(s_ab / math.sqrt(s_aa * s_bb), -1.0), 1.0)


@jit_internal
def _measure_kalman(s: Any, p: Any, row: Any, deviation: float, flat: bool) -> None:
    """Write the filtered hedge, its innovation and, unless flat, the z-score."""
    row.hedge_ratio = s.k_beta * (s.k_scale_x * s.k_unit)
    row.intercept = s.k_y + (s.k_level * s.k_unit - row.hedge_ratio * s.k_x)
    row.spread = s.spread
    row.spread_mean = 0.0
    row.spread_std = deviation
    if not flat:
        row.zscore = s.spread / deviation
    if s.run_x < p.window:
        scaled = s.s_ee * p.inv_n1 * (s.k_scale_y * s.k_scale_y)
        s.ols_count += 1
        weight = max(1.0 / s.ols_count, p.diagnostics_weight)
        s.h_ols += weight * (scaled - s.h_ols)


@jit_internal
def _innovations_gamma(s: Any, p: Any, ring: NDArray[Any]) -> float:
    """Return γ of Δi = c + γ i₋₁ for the innovations i of a full window."""
    n = p.window
    m = n - 1
    first = ring[s.head, 2] - s.i0
    last = ring[s.head - 1 if s.head > 0 else m, 2] - s.i0
    level = (s.i - last) * p.inv_n1
    step = (last - first) * p.inv_n1
    h = 0.5 * ((last - first) * (last + first) - s.di) - m * level * step
    a = (s.ii - last * last) - m * level * level
    return h / a if a > 0.0 else math.nan
