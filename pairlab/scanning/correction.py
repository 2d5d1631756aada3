"""p-values of a family: MacKinnon's surface over arrays, and corrections for many tests."""

from __future__ import annotations

import functools
import math
from typing import Any, Final, Literal

import numpy as np
from numba import float64, int64

from pairlab.engine.cointegration import mackinnon_p
from pairlab.engine.jit import jit_kernel
from pairlab.scanning.engle_granger import Floats, sources_version

__all__ = ["Correction", "both_directions", "corrected", "detection_power", "p_values"]

Correction = Literal["bh", "by", "none"]

_p_of: Final = mackinnon_p


@functools.cache
def _fill_kernel() -> Any:
    version = sources_version()

    def fill_of_version(statistics, variables, results):  # type: ignore[no-untyped-def]
        if version == 0:  # closes over it, which puts it in the key of numba's cache
            return
        for at in range(len(statistics)):
            results[at] = _p_of(statistics[at], variables)

    return jit_kernel(fill_of_version, (float64[::1], int64, float64[::1]), nogil=True)


def p_values(statistics: Floats, variables: int = 2) -> Floats:
    """Return MacKinnon's (1994) p-values, of the statistics' shape; NaN stays NaN."""
    flat = np.ascontiguousarray(statistics).ravel()
    results = np.empty(len(flat))
    _fill_kernel()(flat, variables, results)
    return results.reshape(statistics.shape)


def both_directions(one: Floats, other: Floats) -> Floats:
    """Return the p-value of one hypothesis tested in two directions: twice the smaller, at most 1.

    min(p₁, p₂) alone is no p-value (Bonferroni for two tests).
    """
    return np.minimum(2.0 * np.fmin(one, other), 1.0)


def corrected(p: Floats, method: Correction) -> Floats:
    """Return q-values: the smallest false discovery rate at which each p would be a discovery.

    Parameters
    ----------
    p : array, shape (tests,)
        Without NaN.
    method : {"bh", "by", "none"}
        Benjamini and Hochberg (1995); Benjamini and Yekutieli (2001), under any dependence; or p
        as it is.
    """
    count = len(p)
    if method == "none" or count == 0:
        return p.copy()
    order = np.argsort(p, kind="stable")
    factor = np.sum(1.0 / np.arange(1, count + 1)) if method == "by" else 1.0
    scaled = p[order] * (factor * count) / np.arange(1, count + 1)
    q = np.empty(count)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def detection_power(half_life: float, rows: int, p: float) -> float:
    """Return the chance that a test of a spread with a half-life has at most a p-value.

    Parameters
    ----------
    half_life : float
        Of an Ornstein-Uhlenbeck spread, rows.
    rows : int
        Of the pair.
    p : float
        MacKinnon's p-value of one direction.

    Returns
    -------
    float
        Φ(c + √(n (1 − φ) / (1 + φ))), with φ = 2^(−1 / half-life) and c the statistic that has `p`:
        the t-value of γ = φ − 1 in a stationary first-order autoregression is about normal, with
        deviation 1. It is too optimistic where it is low, for a slow spread in few rows.
    """
    low, high = -100.0, 5.0
    for _ in range(100):
        critical = (low + high) / 2
        below = float(p_values(np.array([critical]))[0]) < p
        low, high = (critical, high) if below else (low, critical)
    phi = 2.0 ** (-1.0 / half_life)
    expected = -math.sqrt(rows * (1.0 - phi) / (1.0 + phi))
    return 0.5 * math.erfc(-(critical - expected) / math.sqrt(2.0))
