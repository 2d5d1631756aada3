"""Engle-Granger tests of many pairs: sums of products by matrix products, the rest pair by pair.

For e = y − βx (both centred, β by least squares) every sum of the Dickey-Fuller regression
Δe_t = γ e_{t−1} + Σ φ_j Δe_{t−j} + ε is Σ u v for two of its variables u, v, each linear in the
legs: q = K_yy − β(K_yx + K_xy) + β² K_xx with K = UᵀV over all symbols. So a handful of matrix
products serve every pair, and each pair costs one small Cholesky factorisation. A pair whose
residual nearly vanishes loses its digits in q; it is computed again from the residuals themselves.
"""

from __future__ import annotations

import functools
import hashlib
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import boolean, float64, int8, int64, types
from numpy.typing import NDArray

from pairlab.engine.jit import DIGEST, jit_internal, jit_kernel

__all__ = [
    "NEAR",
    "direct_tests",
    "moment_pairs",
    "pair_statistics",
    "sources_version",
    "variables_of",
]

Floats = NDArray[np.float64]

NEAR: Final = 1e-6
"""A residual with less than this share of its leg's variance is computed from itself."""

_LOST_IN_PRODUCTS: Final = 1e-6
_LOST_IN_SUMS: Final = 1e-13
"""A pivot that keeps less than this share of its sum of squares has lost the digits asked for."""

_LIST: Final = float64[::1]
_TABLE: Final = float64[:, ::1]
_CUBE: Final = float64[:, :, ::1]
_GIVEN: Final = types.Array(float64, 2, "C", readonly=True)
_PAIRS: Final = types.Array(int64, 2, "C", readonly=True)


def sources_version() -> int:
    """Return a digest of this folder's files: a kernel that is cached misses when they change."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return DIGEST ^ int.from_bytes(digest.digest()[:7])


def moment_pairs(lags: int) -> list[tuple[int, int]]:
    """Return which variables are multiplied: (row, column) of a lower triangle.

    Variable 0 is Δe_t, 1 is e_{t−1}, and 1 + j is Δe_{t−j}, j from 1 to `lags`.
    """
    return [(row, column) for row in range(lags + 2) for column in range(row + 1)]


def variables_of(levels: Floats, lags: int) -> list[Floats]:
    """Return the regression's variables of every symbol: views of shape (rows − 1 − lags, symbols).

    Parameters
    ----------
    levels : array, shape (rows, symbols)
        Centred prices.
    lags : int
        Lagged differences.
    """
    rows = len(levels)
    steps = np.diff(levels, axis=0)
    return [
        steps[lags:],
        levels[lags : rows - 1],
        *(steps[lags - j : rows - 1 - j] for j in range(1, lags + 1)),
    ]


@jit_internal
def _statistic(
    gram: Floats, head: Floats, rows: int, lags: int, choose: bool, work: Floats, lost: float
) -> tuple[float, int]:
    """Return the t-value of γ, and the lags used; NaN where digits are lost.

    Parameters
    ----------
    gram : array, shape (lags + 2, lags + 2)
        Lower triangle of sums over t = lags + 1 … rows − 1; it is written to.
    head : array, shape (lags + 1,)
        The residual's first observations.
    rows : int
        Observations of the pair.
    lags : int
        Lagged differences, or the most of them.
    choose : bool
        Choose them by Akaike's criterion, all on the same sample, as statsmodels does.
    work : array, shape (lags + 2, lags + 2)
        Scratch.
    lost : float
        Share of a sum of squares below which what is left of it is rounding.
    """
    count = rows - 1 - lags
    used = lags
    if choose:
        # Order: e_{t−1}, Δe_{t−1}, …: each leading block is one candidate.
        rest = gram[0, 0]
        if not rest > 0.0:
            return math.nan, 0
        best = math.inf
        for i in range(lags + 1):
            pivot = gram[i + 1, i + 1]
            own = pivot
            right = gram[i + 1, 0]
            for j in range(i):
                value = gram[i + 1, j + 1]
                for k in range(j):
                    value -= work[i, k] * work[j, k]
                value /= work[j, j]
                work[i, j] = value
                pivot -= value * value
                right -= value * work[lags + 1, j]
            if not pivot > lost * own:
                return math.nan, 0
            work[i, i] = math.sqrt(pivot)
            right /= work[i, i]
            work[lags + 1, i] = right
            rest -= right * right
            if not rest > lost * gram[0, 0]:
                return math.nan, 0
            criterion = count * math.log(rest / count) + 2.0 * (i + 1)
            if criterion < best:
                best = criterion
                used = i
        # The chosen regression has more observations than the comparison had.
        for t in range(used + 1, lags + 1):
            for i in range(used + 2):
                u = head[t - 1] if i == 1 else head[t] - head[t - 1]
                if i > 1:
                    u = head[t - i + 1] - head[t - i]
                for j in range(i + 1):
                    v = head[t - 1] if j == 1 else head[t] - head[t - 1]
                    if j > 1:
                        v = head[t - j + 1] - head[t - j]
                    gram[i, j] += u * v
        count = rows - 1 - used
    if not gram[0, 0] > 0.0:
        return math.nan, used
    # Order: Δe_{t−1}, …, e_{t−1} last: its t-value is its own share of the fit.
    rest = gram[0, 0]
    right = 0.0
    for i in range(used + 1):
        a = i + 2 if i < used else 1
        pivot = gram[a, a]
        own = pivot
        right = gram[a, 0]
        for j in range(i):
            b = j + 2
            value = gram[a, b] if a > b else gram[b, a]
            for k in range(j):
                value -= work[i, k] * work[j, k]
            value /= work[j, j]
            work[i, j] = value
            pivot -= value * value
            right -= value * work[used + 1, j]
        if not pivot > lost * own:
            return math.nan, used
        work[i, i] = math.sqrt(pivot)
        right /= work[i, i]
        work[used + 1, i] = right
        rest -= right * right
    if not rest > lost * gram[0, 0] or count - used - 1 < 1:
        return math.nan, used
    return right / math.sqrt(rest / (count - used - 1)), used


@functools.cache
def _pair_statistics_kernel() -> Any:
    """Return the function below, compiled, from the cache where it has it."""
    version = sources_version()

    def pair_statistics_of_version(  # type: ignore[no-untyped-def]
        products,
        cross,
        own_y,
        square_y,
        head_y,
        own_x,
        square_x,
        head_x,
        rows,
        lags,
        choose,
        statistics,
        used,
    ):
        if version == 0:  # closes over it, which puts it in the key of numba's cache
            return
        size = lags + 2
        gram = np.empty((size, size))
        work = np.empty((size, size))
        head = np.empty(lags + 1)
        for y in range(cross.shape[0]):
            for x in range(cross.shape[1]):
                beta = cross[y, x] / square_x[x]
                left = square_y[y] - beta * cross[y, x]
                if not left > NEAR * square_y[y]:
                    statistics[y, x] = math.nan
                    continue
                at = 0
                for i in range(size):
                    for j in range(i + 1):
                        gram[i, j] = own_y[at, y] + beta * (
                            beta * own_x[at, x] - products[at, y, x]
                        )
                        at += 1
                if choose:
                    for t in range(lags + 1):
                        head[t] = head_y[t, y] - beta * head_x[t, x]
                value, lag = _statistic(gram, head, rows, lags, choose, work, _LOST_IN_PRODUCTS)
                statistics[y, x] = value
                used[y, x] = lag

    return jit_kernel(
        pair_statistics_of_version,
        (
            _CUBE,
            _TABLE,
            _TABLE,
            _LIST,
            _TABLE,
            _TABLE,
            _LIST,
            _TABLE,
            int64,
            int64,
            boolean,
            _TABLE,
            int8[:, ::1],
        ),
        nogil=True,
    )


def pair_statistics(
    products: NDArray[np.float64],
    cross: Floats,
    own_y: Floats,
    square_y: Floats,
    head_y: Floats,
    own_x: Floats,
    square_x: Floats,
    head_x: Floats,
    rows: int,
    lags: int,
    choose: bool,
    statistics: Floats,
    used: NDArray[np.int8],
) -> None:
    """Write the statistic of y on x for each pair of a tile; NaN where it must be computed anew.

    Parameters
    ----------
    products : array, shape (moments, ys, xs)
        K_yx + K_xy of each pair of variables, in the order of `moment_pairs`.
    cross : array, shape (ys, xs)
        Σ y x over all rows.
    own_y, own_x : array, shape (moments, ys) and (moments, xs)
        K_yy and K_xx.
    square_y, square_x : array, shape (ys,) and (xs,)
        Σ y² and Σ x² over all rows.
    head_y, head_x : array, shape (lags + 1, ys) and (lags + 1, xs)
        First rows of the centred prices.
    rows, lags, choose
        As `_statistic` takes them.
    statistics, used : array, shape (ys, xs)
        Results.
    """
    _pair_statistics_kernel()(
        products,
        cross,
        own_y,
        square_y,
        head_y,
        own_x,
        square_x,
        head_x,
        rows,
        lags,
        choose,
        statistics,
        used,
    )


@jit_internal
def _centre(values: Floats, count: int) -> None:
    for _ in range(2):
        total = 0.0
        for t in range(count):
            total += values[t]
        mean = total / count
        for t in range(count):
            values[t] -= mean


@functools.cache
def _direct_tests_kernel() -> Any:
    """Return the function below, compiled, from the cache where it has it."""
    version = sources_version()

    def direct_tests_of_version(prices, pairs, first, last, lags, choose, results):  # type: ignore[no-untyped-def]
        if version == 0:  # closes over it, which puts it in the key of numba's cache
            return
        size = lags + 2
        gram = np.empty((size, size))
        work = np.empty((size, size))
        y = np.empty(last - first)
        x = np.empty(last - first)
        for number in range(len(pairs)):
            a, b = pairs[number, 0], pairs[number, 1]
            n = 0
            for t in range(first, last):
                if math.isfinite(prices[a, t]) and math.isfinite(prices[b, t]):
                    y[n] = prices[a, t]
                    x[n] = prices[b, t]
                    n += 1
            results[number, :] = math.nan
            results[number, 0] = n
            if n < 2 * lags + 6:
                continue
            y0, x0 = y[0], x[0]
            for t in range(n):
                y[t] -= y0
                x[t] -= x0
            y_mean = x_mean = 0.0
            for t in range(n):
                y_mean += y[t] / n
                x_mean += x[t] / n
            _centre(y, n)
            _centre(x, n)
            yy = xx = 0.0
            for t in range(n):
                yy += y[t] * y[t]
                xx += x[t] * x[t]
            if not (xx > 0.0 and yy > 0.0):
                continue
            # Twice: what the first pass leaves of x in the residual is rounding, and goes.
            beta = 0.0
            for _ in range(2):
                xe = 0.0
                for t in range(n):
                    xe += x[t] * y[t]
                step = xe / xx
                beta += step
                for t in range(n):
                    y[t] -= step * x[t]
                _centre(y, n)
            ee = 0.0
            for t in range(n):
                ee += y[t] * y[t]
            results[number, 1] = beta
            results[number, 2] = (y0 + y_mean) - beta * (x0 + x_mean)
            results[number, 6] = math.sqrt(ee / (n - 1))
            results[number, 7] = y[n - 1]
            results[number, 8] = ee / yy
            if not ee > 1e-28 * yy:
                continue  # the legs are one another's multiple: nothing but rounding is left
            gram[:, :] = 0.0
            for t in range(lags + 1, n):
                for i in range(size):
                    u = y[t - 1]
                    if i == 0:
                        u = y[t] - y[t - 1]
                    elif i > 1:
                        u = y[t - i + 1] - y[t - i]
                    work[0, i] = u
                for i in range(size):
                    for j in range(i + 1):
                        gram[i, j] += work[0, i] * work[0, j]
            value, used = _statistic(gram, y[: lags + 1], n, lags, choose, work, _LOST_IN_SUMS)
            results[number, 3] = value
            results[number, 4] = used
            steps = 0.0
            for t in range(1, n):
                steps += (y[t] - y[t - 1]) * (y[t] - y[t - 1])
            m = n - 1
            level, step = -y[n - 1] / m, (y[n - 1] - y[0]) / m
            own = ee - y[n - 1] * y[n - 1] - m * level * level
            both = 0.5 * (y[n - 1] * y[n - 1] - y[0] * y[0] - steps) - m * level * step
            if own > 0.0:
                results[number, 5] = both / own

    return jit_kernel(
        direct_tests_of_version,
        (_GIVEN, _PAIRS, int64, int64, int64, boolean, _TABLE),
        nogil=True,
    )


def direct_tests(
    prices: Floats,
    pairs: NDArray[np.int64],
    first: int,
    last: int,
    lags: int,
    choose: bool,
    results: Floats,
) -> None:
    """Test pairs from their residuals, over the rows that both legs have.

    Parameters
    ----------
    prices : array, shape (symbols, rows)
        A row a symbol, contiguous; NaN is missing.
    pairs : array, shape (pairs, 2)
        Numbers of y and x.
    first, last : int
        Rows to use.
    lags, choose
        As `_statistic` takes them.
    results : array, shape (pairs, 9)
        n, hedge ratio, intercept, statistic, lags used, γ of Δe = c + γ e₋₁, standard deviation of
        the residual (ddof 1), the last residual, and the share of y's variance that is left.
    """
    _direct_tests_kernel()(prices, pairs, first, last, lags, choose, results)
