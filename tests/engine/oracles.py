"""What the engine must equal: two passes over each window, in long double.

Written from the definitions and for nothing else; only layouts and constants are the engine's.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from pairlab.engine.cointegration import mackinnon_p
from pairlab.schema import TICK, TIMEFRAMES_NS

WIDE = np.longdouble
T0 = 1_723_161_256_000_000_000  # a multiple of one second


def ticks_of(y, x, *, step_ns=1_000_000, leg=None):
    """Ticks whose last prices are (y[k], x[k]): pairs of ticks, y first, or one per `leg`."""
    n = len(y)
    if leg is None:
        ticks = np.zeros(2 * n, TICK)
        ticks["leg"] = np.tile([0, 1], n)
        ticks["price"] = np.column_stack([y, x]).ravel()
    else:
        ticks = np.zeros(n, TICK)
        ticks["leg"] = leg
        ticks["price"] = np.where(np.asarray(leg) == 0, y, x)
    ticks["time_ns"] = T0 + np.arange(len(ticks)) * step_ns
    ticks["received_ns"] = ticks["time_ns"] + 5
    ticks["id"] = np.arange(len(ticks))
    ticks["quantity"] = 1.0
    return ticks


def observe(engine, y, x):
    """Rows of an engine at a bar timeframe, one per pair of closes."""
    length = TIMEFRAMES_NS[engine.values.timeframe]
    return engine.seed(T0 // length * length + length * (1 + np.arange(len(y))), y, x)


def windows(a, n):
    return np.lib.stride_tricks.sliding_window_view(np.asarray(a, WIDE), n)


def padded(values, n):
    """Put NaN before the first full window."""
    return np.concatenate([np.full(n - 1, np.nan), np.asarray(values, float)])


def moments(y, x, n, beta):
    """Spread, mean, std, z and correlation of a fixed ratio, at every row."""
    s = np.asarray(y, WIDE) - WIDE(beta) * np.asarray(x, WIDE)
    w = windows(s, n)
    mean = w.mean(axis=1)
    std = np.sqrt(((w - mean[:, None]) ** 2).sum(axis=1) / (n - 1))
    with np.errstate(all="ignore"):
        z = (w[:, -1] - mean) / std
    return {
        "spread": np.asarray(s, float),
        "spread_mean": padded(mean, n),
        "spread_std": padded(std, n),
        "zscore": padded(z, n),
        "correlation": padded(correlation(windows(y, n), windows(x, n)), n),
    }


def correlation(a, b):
    a = a - a.mean(axis=1)[:, None]
    b = b - b.mean(axis=1)[:, None]
    with np.errstate(all="ignore"):
        return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def least_squares(y, x, n):
    """β, α, residuals of every window (rows × n) in long double."""
    wy, wx = windows(y, n), windows(x, n)
    my, mx = wy.mean(axis=1), wx.mean(axis=1)
    cy, cx = wy - my[:, None], wx - mx[:, None]
    with np.errstate(all="ignore"):
        beta = (cy * cx).sum(axis=1) / (cx * cx).sum(axis=1)
    return beta, my - beta * mx, cy - beta[:, None] * cx


NOTHING = 1e-8
"""As the engine documents: collinear regressors, or an exact fit, give NaN."""


def dickey_fuller(e, lags, constant):
    """t-value of γ, for every window of e (rows × n), by projections in long double."""
    level = e[:, lags:-1]
    d = np.diff(e, axis=1)
    step = d[:, lags:]
    lagged = d[:, :-1] if lags else None
    if constant:
        level = level - level.mean(axis=1)[:, None]
        step = step - step.mean(axis=1)[:, None]
        lagged = lagged - lagged.mean(axis=1)[:, None] if lags else None
    m = level.shape[1]
    whole_level, whole_step = (level * level).sum(axis=1), (step * step).sum(axis=1)
    with np.errstate(all="ignore"):
        if lags:
            # Frisch-Waugh: take the lagged difference out of both sides first
            own = (lagged * lagged).sum(axis=1)
            level = level - ((level * lagged).sum(axis=1) / own)[:, None] * lagged
            step = step - ((step * lagged).sum(axis=1) / own)[:, None] * lagged
        a = (level * level).sum(axis=1)
        gamma = (level * step).sum(axis=1) / a
        rest = ((step - gamma[:, None] * level) ** 2).sum(axis=1)
        t = gamma / np.sqrt(rest / (m - 1 - lags - constant) / a)
        there = (a > NOTHING * whole_level) & (rest > NOTHING * whole_step)
        if lags:  # a lagged difference of nothing but long double's own rounding
            there &= own > 1e-22 * (e * e).sum(axis=1)
        t[~there] = np.nan
        return t


def half_life(e):
    """−ln 2 / ln(1 + γ) of every window of e, γ from a regression with a constant; and γ."""
    level, step = e[:, :-1], np.diff(e, axis=1)
    level = level - level.mean(axis=1)[:, None]
    step = step - step.mean(axis=1)[:, None]
    with np.errstate(all="ignore"):
        gamma = (level * step).sum(axis=1) / (level * level).sum(axis=1)
        reverts = (gamma > -1) & (gamma < 0)
        return np.where(reverts, -np.log(WIDE(2)) / np.log1p(gamma), np.nan), gamma


def assert_close(name, got, want, tolerance, *, scale=None):
    """NaN where NaN; elsewhere within tolerance of the larger of value and median magnitude.

    Where most values are zero, their mean magnitude stands in for the median.
    """
    got, want = np.asarray(got, WIDE), np.asarray(want, WIDE)
    assert got.shape == want.shape, (name, got.shape, want.shape)
    holes = np.isnan(want)
    assert not np.isinf(got).any(), f"{name}: inf"
    wrong = np.flatnonzero(np.isnan(got) != holes)
    assert wrong.size == 0, f"{name}: NaN differs at {wrong[:10]}: {got[wrong[:3]]}"
    if holes.all():
        return
    size = np.abs(want[~holes])
    middle = scale or np.median(size) or size.mean() or 1.0
    error = np.abs(got - want)[~holes] / np.maximum(size, middle)
    worst = error.max()
    assert worst <= tolerance, f"{name}: error {worst:.3g} > {tolerance} at {error.argmax()}"


def runs(a):
    """How many of the newest values are equal, at every row."""
    a = np.asarray(a)
    at = np.arange(len(a))
    starts = np.where(np.r_[True, a[1:] != a[:-1]], at, 0)
    return at - np.maximum.accumulate(starts) + 1


@functools.cache
def _compiled_mackinnon():
    @numba.vectorize
    def p_value(statistic, variables):
        return mackinnon_p(statistic, variables)

    return p_value


def mackinnon(statistic, variables):
    """The engine's own p-values, which `test_mackinnon_equals_statsmodels…` vouches for."""
    return _compiled_mackinnon()(np.asarray(statistic, float), np.int64(variables))
