"""What is known of a pair beside its test, from the prices themselves."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np
from numba import float64, int64, types
from numpy.typing import NDArray

from pairlab.engine.jit import jit_internal, jit_kernel
from pairlab.scanning.engle_granger import Floats, sources_version

__all__ = ["DETAILS", "fit_line", "pair_details", "take_common_rows"]

DETAILS: Final = (
    "correlation",
    "return_correlation",
    "zscore",
    "crossings",
    "variance_ratio",
    "unchanged",
    "half_life_last",
    "statistic_last",
    "statistic_leg",
)
"""Columns of `pair_details`."""

_STEPS: Final = 10
"""Of the variance ratio."""

_TABLE: Final = float64[:, ::1]
_GIVEN: Final = types.Array(float64, 2, "C", readonly=True)
_PAIRS: Final = types.Array(int64, 2, "C", readonly=True)


@jit_internal
def take_common_rows(
    prices: Floats, first: int, second: int, y: Floats, x: Floats, at: NDArray[np.int64]
) -> int:
    """Write the prices that both symbols have to y and x, and where to `at`; return how many."""
    n = 0
    for t in range(prices.shape[1]):
        if math.isfinite(prices[first, t]) and math.isfinite(prices[second, t]):
            y[n], x[n] = prices[first, t], prices[second, t]
            at[n] = t
            n += 1
    return n


@jit_internal
def fit_line(y: Floats, x: Floats, n: int) -> tuple[float, float, float]:
    """Return the means of y and x, and the slope of y on x, of n rows; NaN for a constant x."""
    y_mean = x_mean = 0.0
    for t in range(n):
        y_mean += y[t] / n
        x_mean += x[t] / n
    xx = yx = 0.0
    for t in range(n):
        xx += (x[t] - x_mean) ** 2
        yx += (x[t] - x_mean) * (y[t] - y_mean)
    return y_mean, x_mean, yx / xx if xx > 0.0 else math.nan


@jit_internal
def _correlation(y: Floats, x: Floats, n: int) -> float:
    y_mean = x_mean = 0.0
    for t in range(n):
        y_mean += y[t] / n
        x_mean += x[t] / n
    yy = xx = yx = 0.0
    for t in range(n):
        u, v = y[t] - y_mean, x[t] - x_mean
        yy += u * u
        xx += v * v
        yx += u * v
    if not (yy > 0.0 and xx > 0.0):
        return math.nan
    return min(max(yx / math.sqrt(yy * xx), -1.0), 1.0)


@jit_internal
def _dickey_fuller(e: Floats, first: int, n: int) -> tuple[float, float]:
    """Return the t-value and γ of Δe_t = c + γ e_{t−1} + φ Δe_{t−1} (without φ for γ)."""
    results = (math.nan, math.nan)
    gamma = math.nan
    for lags in range(2):
        m = n - first - 1 - lags
        if m < 5:
            return results
        level = step = lagged = 0.0
        for t in range(first + 1 + lags, n):
            level += e[t - 1] / m
            step += (e[t] - e[t - 1]) / m
            if lags:
                lagged += (e[t - 1] - e[t - 2]) / m
        aa = cc = hh = ff = ae = fe = 0.0
        for t in range(first + 1 + lags, n):
            a = e[t - 1] - level
            c = e[t] - e[t - 1] - step
            f = e[t - 1] - e[t - 2] - lagged if lags else 0.0
            aa += a * a
            cc += c * c
            hh += a * c
            ff += f * f
            ae += a * f
            fe += c * f
        if not (aa > 0.0 and cc > 0.0):
            return results
        if lags == 0:
            gamma = hh / aa
            continue
        det = aa * ff - ae * ae
        if not det > 1e-12 * aa * ff:
            return (math.nan, gamma)
        g = (hh * ff - ae * fe) / det
        phi = (aa * fe - ae * hh) / det
        rest = cc - g * hh - phi * fe
        if not rest > 1e-12 * cc:
            return (math.nan, gamma)
        results = (g / math.sqrt(rest / (m - 3) * ff / det), gamma)
    return results


@functools.cache
def _pair_details_kernel() -> Any:
    """Return the function below, compiled, from the cache where it has it."""
    version = sources_version()

    def pair_details_of_version(prices, pairs, hedge, split, results):  # type: ignore[no-untyped-def]
        if version == 0:  # closes over it, which puts it in the key of numba's cache
            return
        rows = prices.shape[1]
        y, x, e = np.empty(rows), np.empty(rows), np.empty(rows)
        dy, dx = np.empty(rows), np.empty(rows)
        at = np.empty(rows, np.int64)
        for number in range(len(pairs)):
            a, b = pairs[number, 0], pairs[number, 1]
            beta, intercept, deviation = hedge[number]
            results[number, :] = math.nan
            n = take_common_rows(prices, a, b, y, x, at)
            for t in range(n):
                e[t] = y[t] - intercept - beta * x[t]
            if n < 10 or not math.isfinite(beta):
                continue
            still_y = still_x = 0
            for t in range(1, n):
                dy[t - 1] = y[t] / y[t - 1] - 1.0
                dx[t - 1] = x[t] / x[t - 1] - 1.0
                still_y += y[t] == y[t - 1]
                still_x += x[t] == x[t - 1]
            results[number, 0] = _correlation(y, x, n)
            results[number, 1] = _correlation(dy, dx, n - 1)
            results[number, 2] = e[n - 1] / deviation
            crossings = 0
            for t in range(1, n):
                crossings += (e[t] > 0.0) != (e[t - 1] > 0.0)
            results[number, 3] = crossings
            # Lo and MacKinlay (1988), overlapping, without their small-sample factors.
            one = many = 0.0
            drift = (e[n - 1] - e[0]) / (n - 1)
            for t in range(1, n):
                one += (e[t] - e[t - 1] - drift) ** 2
            for t in range(_STEPS, n):
                many += (e[t] - e[t - _STEPS] - _STEPS * drift) ** 2
            if one > 0.0 and n > 2 * _STEPS:
                results[number, 4] = many / (n - _STEPS) / (_STEPS * one / (n - 1))
            results[number, 5] = max(still_y, still_x) / (n - 1)

            results[number, 8] = min(_dickey_fuller(y, 0, n)[0], _dickey_fuller(x, 0, n)[0])

            first = n - int(split * n)
            if first < 10 or n - first < 10:
                continue
            y_mean, x_mean, before = fit_line(y, x, first)
            if math.isnan(before):
                continue
            for t in range(first, n):
                e[t] = (y[t] - y_mean) - before * (x[t] - x_mean)
            statistic, gamma = _dickey_fuller(e, first, n)
            if -1.0 < gamma < -1e-12:
                results[number, 6] = -math.log(2.0) / math.log1p(gamma)
            results[number, 7] = statistic

    return jit_kernel(
        pair_details_of_version, (_GIVEN, _PAIRS, _TABLE, float64, _TABLE), nogil=True
    )


def pair_details(
    prices: Floats, pairs: NDArray[np.int64], hedge: Floats, split: float, results: Floats
) -> None:
    """Write `DETAILS` of each pair, over the rows that both legs have.

    Parameters
    ----------
    prices : array, shape (symbols, rows)
        NaN is missing.
    pairs : array, shape (pairs, 2)
        Numbers of y and x.
    hedge : array, shape (pairs, 3)
        Hedge ratio, intercept and deviation of the residual over all rows.
    split : float
        Share of the rows that are kept out of sample, the last ones: hedge ratio and intercept are
        fitted on those before, and the spread of the last ones is tested.
    results : array, shape (pairs, 9)
        Results.
    """
    _pair_details_kernel()(prices, pairs, hedge, split, results)
