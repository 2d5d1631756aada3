"""Other ways to rank pairs, and to order symbols: Johansen's trace, distances, clusters."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import MissingExtraError
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.tiles import Numbers, workers_of

__all__ = ["Method", "clustered", "distances", "johansen_traces", "trace_p_values"]

Method = Literal["engle-granger", "johansen", "distance"]

_CHUNK: Final = 256
_MOST_OPTIMAL: Final = 400  # symbols: the best order of leaves takes their square, or their cube
_TRACE_CRITICAL: Final = 15.4943, 19.9349
"""5 % and 1 % points of the trace of two series with a constant (MacKinnon et al. 1999)."""


def _scipy(part: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError:
        raise MissingExtraError("scipy", "research") from None


def _over_pairs(
    prices: Floats,
    others: Floats,
    wanted: NDArray[np.bool_],
    n_jobs: int,
    one: Callable[[Floats, Floats], float],
) -> Floats:
    """Return `one(i, j)` of each pair that is wanted, over the rows that both have."""
    pairs: Numbers = np.argwhere(wanted)
    results = np.full(wanted.shape, np.nan)

    def some(start: int) -> None:
        for i, j in pairs[start : start + _CHUNK].tolist():
            both = np.isfinite(prices[i]) & np.isfinite(others[j])
            results[i, j] = one(prices[i][both], others[j][both])

    with ThreadPoolExecutor(workers_of(n_jobs)) as threads:
        list(threads.map(some, range(0, len(pairs), _CHUNK)))
    return results


def johansen_traces(
    prices: Floats, others: Floats, wanted: NDArray[np.bool_], lags: int, n_jobs: int
) -> Floats:
    """Return the trace statistic of no cointegration, of two series with a constant term.

    Parameters
    ----------
    prices, others : array, shape (symbols, rows)
        Of the symbols i and of the symbols j; NaN is missing.
    wanted : array of bool, shape (symbols, symbols)
        Which pairs.
    lags : int
        Lagged differences in the error correction model.
    n_jobs : int
        Threads.

    Notes
    -----
    Johansen (1991): −T Σ ln(1 − λ), which is T times the logarithm of how much the determinant of
    the residual covariance of ΔY falls when the levels are added to its regression. It equals
    ``statsmodels.tsa.vector_ar.vecm.coint_johansen(…, 0, lags).trace_stat[0]``.
    """
    return _over_pairs(prices, others, wanted, n_jobs, functools.partial(_trace, lags=lags))


def _trace(y: Floats, x: Floats, *, lags: int) -> float:
    levels = np.column_stack([y / y[0], x / x[0]])
    steps = np.diff(levels, axis=0)
    count = len(steps) - lags
    if count < 2 * lags + 8:
        return float("nan")
    before = [steps[lags - k : len(steps) - k] for k in range(1, lags + 1)]
    table = np.column_stack([*before, levels[lags:-1], steps[lags:]])
    table -= table.mean(axis=0)
    deviation = table.std(axis=0)
    if not (deviation > 0.0).all():
        return float("nan")
    table /= deviation
    gram = table.T @ table
    own = [*range(2 * lags), 2 * lags + 2, 2 * lags + 3]
    try:
        # Of each factor the last two pivots are what the regressors leave of ΔY.
        all_in = np.linalg.cholesky(gram).diagonal()[-2:]
        without = np.linalg.cholesky(gram[np.ix_(own, own)]).diagonal()[-2:]
    except np.linalg.LinAlgError:
        return float("nan")  # one leg is a multiple of the other
    return float(2.0 * count * (np.log(without).sum() - np.log(all_in).sum()))


@functools.cache
def _trace_gamma() -> tuple[float, float]:
    """Return shape and scale of the gamma distribution with the 5 % and 1 % points of the trace."""
    quantile = _scipy("special").gammaincinv
    at_5, at_1 = _TRACE_CRITICAL
    low, high = 0.5, 50.0
    for _ in range(100):
        shape = (low + high) / 2
        ratio = quantile(shape, 0.99) / quantile(shape, 0.95)
        low, high = (shape, high) if ratio > at_1 / at_5 else (low, shape)
    return shape, float(at_5 / quantile(shape, 0.95))


def trace_p_values(traces: Floats) -> Floats:
    """Return asymptotic p-values of trace statistics of two series; NaN stays NaN.

    Notes
    -----
    Doornik (1998), "Approximations to the asymptotic distributions of cointegration tests": a gamma
    distribution is as good as simulation. Its two parameters are those that have the 5 % and the
    1 % critical value of MacKinnon, Haug and Michelis (1999). These are of series that drift: of
    walks without drift about 9 % have p ≤ 0.05, which only the placebo of a scan corrects.
    """
    shape, scale = _trace_gamma()
    found: Floats = _scipy("special").gammaincc(shape, np.maximum(traces, 0.0) / scale)
    return found


def distances(
    prices: Floats, others: Floats, wanted: NDArray[np.bool_], n_jobs: int
) -> NDArray[np.float64]:
    """Return the mean squared deviation of prices that are divided by their first one.

    The sum of Gatev, Goetzmann and Rouwenhorst (2006), over the rows in common, divided by their
    number: pairs with fewer rows are no closer for it.
    """

    def distance(y: Floats, x: Floats) -> float:
        apart = y / y[0] - x / x[0]
        return float(apart @ apart) / len(apart)

    return _over_pairs(prices, others, wanted, n_jobs, distance)


def clustered(correlation: Floats) -> list[int]:
    """Return the order of the leaves of a hierarchical clustering; see `ScanResult.ordered`."""
    count = len(correlation)
    if count < 3:
        return list(range(count))
    hierarchy = _scipy("cluster.hierarchy")
    known = np.nan_to_num(np.clip((correlation + correlation.T) / 2, -1.0, 1.0))
    apart = np.sqrt(0.5 * (1.0 - known))[np.triu_indices(count, 1)]
    links = hierarchy.linkage(apart, "average", optimal_ordering=count <= _MOST_OPTIMAL)
    return [int(leaf) for leaf in hierarchy.leaves_list(links)]
