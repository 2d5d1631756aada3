"""What a scan finds by chance: the same series with each pair broken."""

from __future__ import annotations

import numpy as np

from pairlab.scanning.engle_granger import Floats

__all__ = ["broken"]


def broken(prices: Floats, rng: np.random.Generator) -> Floats:
    """Return the series with their differences at other times.

    Each series keeps its own distribution, its autocorrelation and its clusters of volatility;
    what it had in common with others at the same time is gone.

    Parameters
    ----------
    prices : array, shape (symbols, rows)
        NaN is missing, and stays where it was.
    rng : numpy.random.Generator
        Source of the times: other ones for each series.

    Notes
    -----
    The differences are rotated by a quarter to three quarters of their number: a permutation of
    two blocks. Shorter blocks cut the clusters of volatility, which make spreads of walks look
    stationary: with GARCH(1, 1) of persistence 0.98, 300 rows and a common factor, 14.7 of 190
    pairs have p ≤ 0.05 (0.05 × 190 is 9.5), this placebo expects 13.7, and blocks of √rows 13.0.
    """
    results = np.full_like(prices, np.nan)
    for number, row in enumerate(prices):
        there = np.flatnonzero(np.isfinite(row))
        if len(there) < 3:
            continue
        steps = np.diff(row[there])
        quarter = len(steps) // 4
        mixed = np.roll(steps, int(rng.integers(quarter, len(steps) - quarter + 1)))
        results[number, there] = row[there[0]] + np.concatenate([[0.0], np.cumsum(mixed)])
    return results
