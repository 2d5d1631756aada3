"""The columns of a scan: what is known of each pair beside its p-value."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.scanning.breaks import BREAKS, FALSE_ALARMS, boundary_level, pair_breaks
from pairlab.scanning.correction import p_values
from pairlab.scanning.details import DETAILS, pair_details
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.tiles import Numbers, from_residuals
from pairlab.scanning.universe import Universe, underlying

__all__ = ["columns_of"]

_WINDOWS: Final = 5
_COLLINEAR: Final = 100.0 * math.sqrt(np.finfo(float).eps)
"""statsmodels' `coint` answers −inf where less than this share of y's variance is left."""


def columns_of(
    universe: Universe,
    pairs: Numbers,
    most: int,
    choose: bool,
    split: float,
    fee_bps: float,
    n_jobs: int,
) -> pd.DataFrame:
    """Return the columns of some pairs, but for p, q and the verdict."""
    prices, symbols = universe.prices, np.array(universe.symbols, object)
    found = from_residuals(prices, pairs, most, choose=choose, n_jobs=n_jobs)
    n, beta, intercept, statistic, used, gamma, deviation, _, left = found.T
    details = np.empty((len(pairs), len(DETAILS)))
    pair_details(prices, pairs, np.ascontiguousarray(found[:, [1, 2, 6]]), split, details)
    broken = np.empty((len(pairs), len(BREAKS)))
    pair_breaks(prices, pairs, split, boundary_level(FALSE_ALARMS), broken)
    more = dict(zip((*DETAILS, *BREAKS), [*details.T, *broken.T], strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        half_life = np.where(
            (gamma > -1.0) & (gamma < -1e-12), -math.log(2) / np.log1p(gamma), np.nan
        )
    y, x = symbols[pairs[:, 0]], symbols[pairs[:, 1]]
    last = [np.flatnonzero(np.isfinite(prices[a]) & np.isfinite(prices[b]))[-1] for a, b in pairs]
    y_price, x_price = prices[pairs[:, 0], last], prices[pairs[:, 1], last]
    deviation_bps = deviation / y_price * 1e4
    round_trip = 2.0 * fee_bps * (1.0 + np.abs(beta) * x_price / y_price)
    with np.errstate(divide="ignore"):
        trips = np.where(round_trip > 0.0, deviation_bps / round_trip, np.inf)
    columns: dict[str, Any] = {
        "y": y,
        "x": x,
        "n": n.astype(np.int64),
        "coverage": n / len(universe.index),
        "correlation": more["correlation"],
        "return_correlation": more["return_correlation"],
        "hedge_ratio": beta,
        "intercept": intercept,
        "statistic": statistic,
        "lags": used.astype(np.int64),
        "half_life": half_life,
        "variance_ratio": more["variance_ratio"],
        "crossings": more["crossings"].astype(np.int64),
        "zscore": more["zscore"],
        "half_life_last": more["half_life_last"],
        "p_last": p_values(more["statistic_last"], 1),
        "p_leg": p_values(more["statistic_leg"], 1),
        "stability": _stability(prices, pairs, most, choose, n_jobs),
        "break_ratio": more["break_ratio"],
        "drift_ratio": more["drift_ratio"],
        "deviation_bps": deviation_bps,
        "deviation_round_trips": trips,
        "unchanged": more["unchanged"],
        "same_underlying": [underlying(a) == underlying(b) for a, b in zip(y, x, strict=True)],
        "collinear": left < _COLLINEAR,
    }
    return pd.DataFrame(columns)


def _stability(
    prices: Floats, pairs: Numbers, most: int, choose: bool, n_jobs: int
) -> NDArray[np.float64]:
    """Return the share of sub-windows, each a third of the rows, in which p ≤ 0.1."""
    count = prices.shape[1]
    length = count // 3
    stable = np.zeros(len(pairs))
    for start in np.linspace(0, count - length, _WINDOWS).astype(int):
        rows = int(start), int(start) + length
        found = from_residuals(prices, pairs, most, choose=choose, n_jobs=n_jobs, rows=rows)
        stable += p_values(found[:, 3]) <= 0.1
    return stable / _WINDOWS
