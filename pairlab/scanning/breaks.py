"""Structural breaks of a pair: sequential monitoring of its spread and of its hedge ratio.

Chu, Stinchcombe and White (1996), "Monitoring structural change", Econometrica 64: recursive
residuals w of a regression are, while nothing changes, uncorrelated with variance σ², and their sum
S_m = Σ w / σ over m residuals behaves like a Brownian motion. The chance that it ever leaves

    ± √(m (a² + ln(m / n))),   m = n, n + 1, …

where n residuals are history, is 2 (1 − Φ(a) + a φ(a)) (Robbins and Siegmund 1970): a² = 7.78 for
5 %. So one may look at every row, for ever, and be wrong about 5 % of the pairs that stayed as they
were.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numba import float64, int64, types
from numpy.typing import NDArray

from pairlab.engine.jit import jit_kernel
from pairlab.errors import DataError, SettingError
from pairlab.scanning.details import fit_line, take_common_rows
from pairlab.scanning.engle_granger import Floats, sources_version

__all__ = ["BREAKS", "BreakReport", "boundary_level", "monitor_break", "pair_breaks"]

BREAKS: Final = ("break_ratio", "break_row", "drift_ratio", "drift_row")
"""Columns of `pair_breaks`."""

FALSE_ALARMS: Final = 0.05

_LEAST_HISTORY: Final = 30
_REGRESSORS: Final = 4
_DIFFUSE: Final = 1e6  # prior variance of coefficients whose regressors have unit deviation

_TABLE: Final = float64[:, ::1]
_GIVEN: Final = types.Array(float64, 2, "C", readonly=True)
_PAIRS: Final = types.Array(int64, 2, "C", readonly=True)


def boundary_level(false_alarm_rate: float) -> float:
    """Return a² of the boundary for a rate of false alarms over an unlimited future.

    Examples
    --------
    >>> round(boundary_level(0.05), 2), round(boundary_level(0.1), 2)
    (7.78, 6.25)
    """
    if not 1e-6 <= false_alarm_rate <= 0.5:
        raise SettingError("false_alarm_rate", false_alarm_rate, "expected 1e-06 to 0.5")
    low, high = 0.0, 10.0
    for _ in range(100):
        a = (low + high) / 2
        density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
        rate = math.erfc(a / math.sqrt(2)) + 2 * a * density
        low, high = (a, high) if rate > false_alarm_rate else (low, a)
    return ((low + high) / 2) ** 2


@functools.cache
def _pair_breaks_kernel() -> Any:
    """Return the function below, compiled, from the cache where it has it."""
    version = sources_version()

    def pair_breaks_of_version(prices, pairs, split, level, results, path):  # type: ignore[no-untyped-def]
        if version == 0:  # closes over it, which puts it in the key of numba's cache
            return
        rows = prices.shape[1]
        y, x, e = np.empty(rows), np.empty(rows), np.empty(rows)
        at = np.empty(rows, np.int64)
        k = _REGRESSORS
        b, v, gain = np.empty(k), np.empty(k), np.empty(k)
        cov = np.empty((k, k))
        for number in range(len(pairs)):
            results[number, :] = math.nan
            n = take_common_rows(prices, pairs[number, 0], pairs[number, 1], y, x, at)
            first = n - int(split * n)
            if first < _LEAST_HISTORY or first >= n:
                continue
            y_mean, x_mean, slope = fit_line(y, x, first)
            if math.isnan(slope):
                continue
            for t in range(n):
                e[t] = (y[t] - y_mean) - slope * (x[t] - x_mean)
            # Units of the history: the diffuse prior then means the same for every regressor.
            of_level = of_step = of_x = 0.0
            for t in range(1, first):
                of_level += e[t - 1] ** 2 / (first - 1)
                of_step += (e[t] - e[t - 1]) ** 2 / (first - 1)
                of_x += (x[t] - x[t - 1]) ** 2 / (first - 1)
            if not (of_level > 0.0 and of_step > 1e-24 * of_level and of_x > 0.0):
                continue
            of_level, of_step, of_x = math.sqrt(of_level), math.sqrt(of_step), math.sqrt(of_x)
            for i in range(k):
                b[i] = 0.0
                for j in range(k):
                    cov[i, j] = _DIFFUSE if i == j else 0.0
            m = history = 0
            w_sum = w_square = q_sum = q_square = w_scale = q_scale = 0.0
            w_most = q_most = 0.0
            for t in range(2, n):
                z = (e[t] - e[t - 1]) / of_step
                v[0] = 1.0
                v[1] = e[t - 1] / of_level
                v[2] = (e[t - 1] - e[t - 2]) / of_step
                v[3] = (x[t] - x[t - 1]) / of_x
                spread = 1.0
                error = z
                for i in range(k):
                    gain[i] = 0.0
                    for j in range(k):
                        gain[i] += cov[i, j] * v[j]
                    spread += v[i] * gain[i]
                    error -= b[i] * v[i]
                for i in range(k):
                    b[i] += gain[i] / spread * error
                    for j in range(k):
                        cov[i, j] -= gain[i] * gain[j] / spread
                if t < 2 + k:
                    continue  # the first ones only determine the coefficients
                w = error / math.sqrt(spread)
                q = w * v[3]
                m += 1
                w_sum += w
                q_sum += q
                if t < first:
                    w_square += w * w
                    q_square += q * q
                    history = m
                    continue
                if w_scale == 0.0:
                    w_scale = math.sqrt(w_square / history)
                    q_scale = math.sqrt(q_square / history)
                if not (w_scale > 0.0 and q_scale > 0.0):
                    break
                boundary = math.sqrt(m * (level + math.log(m / history)))
                own, drift = w_sum / w_scale / boundary, q_sum / q_scale / boundary
                w_most, q_most = max(w_most, abs(own)), max(q_most, abs(drift))
                if w_most >= 1.0 and math.isnan(results[number, 1]):
                    results[number, 1] = at[t]
                if q_most >= 1.0 and math.isnan(results[number, 3]):
                    results[number, 3] = at[t]
                if len(path):
                    path[at[t], 0] = own
                    path[at[t], 1] = drift
            if w_scale > 0.0 and q_scale > 0.0:
                results[number, 0] = w_most
                results[number, 2] = q_most

    return jit_kernel(
        pair_breaks_of_version,
        (_GIVEN, _PAIRS, float64, float64, _TABLE, _TABLE),
        nogil=True,
    )


def pair_breaks(
    prices: Floats, pairs: NDArray[np.int64], split: float, level: float, results: Floats
) -> None:
    """Write `BREAKS` of each pair, over the rows that both legs have.

    Parameters
    ----------
    prices : array, shape (symbols, rows)
        NaN is missing.
    pairs : array, shape (pairs, 2)
        Numbers of y and x.
    split : float
        Share of the rows that are monitored, the last ones; those before are the history.
    level : float
        a² of the boundary.
    results : array, shape (pairs, 4)
        Results; NaN where there is no alarm, or no regression.
    """
    _pair_breaks_kernel()(prices, pairs, split, level, results, np.empty((0, 2)))


@dataclass(frozen=True)
class BreakReport:
    """What the monitoring of one pair found.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row for each monitored row: ``cusum`` of the spread and ``drift`` of the hedge ratio, in
        boundaries: beyond ±1 is an alarm.
    break_at, drift_at : object
        Index of the first alarm; None where there is none.
    false_alarm_rate : float
        Of each of the two, however long the pair is monitored.
    """

    frame: pd.DataFrame
    break_at: object
    drift_at: object
    false_alarm_rate: float


def monitor_break(
    y: pd.Series[float],
    x: pd.Series[float],
    *,
    split: float = 1 / 3,
    false_alarm_rate: float = FALSE_ALARMS,
) -> BreakReport:
    """Monitor a pair for a break of its spread and a drift of its hedge ratio.

    Hedge ratio and mean are those of the history, the rows before the last `split`. The monitored
    regression is Δe_t = c + γ e_{t−1} + φ Δe_{t−1} + θ Δx_t + u_t, e the spread. ``cusum`` sums
    its recursive residuals: a new mean or trend moves it. ``drift`` sums these times Δx_t, which
    is the score of θ: a hedge ratio that changes leaves some of Δx in the spread, and moves it.

    Parameters
    ----------
    y, x : pandas.Series
        Prices on one index; rows without a price of either are left out.
    split : float
        Share of the rows that are monitored, 0.1 to 0.5.
    false_alarm_rate : float
        The chance of an alarm for each of the two where nothing changes, over an unlimited future;
        over a finite one it is less.

    Returns
    -------
    BreakReport
        Sums and first alarms.

    Raises
    ------
    DataError
        If the history has fewer than 30 rows, or the spread of it is constant.
    SettingError
        For an argument out of its range.

    Notes
    -----
    Chu, Stinchcombe and White (1996), CUSUM of recursive residuals; the sum of scores obeys the
    same limit theorem. Both hold for a pair that is cointegrated or not: what is monitored is that
    it goes on as it was.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = pd.Series(100 + rng.normal(size=600).cumsum())
    >>> y = 2 * x + rng.normal(size=600)
    >>> y[500:] += 12
    >>> monitor_break(y, x).break_at
    500
    """
    if not 0.1 <= split <= 0.5:
        raise SettingError("split", split, "expected 0.1 to 0.5")
    level = boundary_level(false_alarm_rate)
    legs = pd.concat([y, x], axis=1)
    table = np.ascontiguousarray(legs.to_numpy(np.float64).T)
    results, path = np.empty((1, 4)), np.full((len(legs), 2), np.nan)
    pairs = np.array([[0, 1]])
    _pair_breaks_kernel()(table, pairs, split, level, results, path)
    if not np.isfinite(results[0, 0]):
        both = int(np.isfinite(table).all(axis=0).sum())
        raise DataError(
            f"{both:,} rows with both prices: the history, all but the last {split:.0%}, needs "
            f"{_LEAST_HISTORY} or more, and a spread that varies"
        )
    known = np.isfinite(path[:, 0])
    frame = pd.DataFrame(path[known], index=legs.index[known], columns=["cusum", "drift"])
    break_at, drift_at = (
        legs.index[int(row)] if np.isfinite(row) else None for row in results[0, [1, 3]]
    )
    return BreakReport(frame, break_at, drift_at, false_alarm_rate)
