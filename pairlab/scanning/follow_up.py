"""What to do with a pair that a scan has shown: look at its spread, backtest it, put it live."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from pairlab.errors import DataError
from pairlab.scanning.breaks import monitor_break
from pairlab.scanning.columns import columns_of
from pairlab.scanning.correction import corrected
from pairlab.schema import TIMEFRAMES_NS
from pairlab.settings import SettingKwargs

if TYPE_CHECKING:
    from pairlab.scanning.result import ScanResult

__all__ = ["row_of", "settings_of", "spread_of", "timeframe_of"]

_HALF_LIVES: Final = 10.0
"""Of a spread in the window of its z-score: enough for a mean, few enough to follow it."""
_LEAST_WINDOW: Final = 30


def row_of(result: ScanResult, y: str, x: str) -> pd.Series[Any]:
    """Return the columns of a pair: from the frame, or computed where it has no row there.

    Raises
    ------
    DataError
        If a symbol was not tested, or both are the same.
    """
    if y == x:
        raise DataError(f"{y} makes no pair with itself")
    numbers = {symbol: at for at, symbol in enumerate(result.symbols)}
    for symbol in (y, x):
        if symbol not in numbers:
            why = result.set_aside.get(symbol, "it is no symbol of this scan")
            raise DataError(f"{symbol} was not tested: {why}")
    frame = result.frame
    there = ((frame["y"] == y) & (frame["x"] == x)) | ((frame["y"] == x) & (frame["x"] == y))
    if there.any():
        return frame[there].iloc[0]
    i, j = sorted((numbers[y], numbers[x]))
    orders = [[numbers[y], numbers[x]], [numbers[x], numbers[y]]]
    both = columns_of(
        result.universe, np.array(orders), result.lags, result.choose, result.split,
        result.fee_bps, 1,
    )  # fmt: skip
    prices = result.universe.prices
    if result.direction == "both" and result.method == "engle-granger":
        second = both["statistic"].iloc[1] < both["statistic"].iloc[0]
    else:
        means = np.nanmean(prices[orders[0]], axis=1)
        second = means[1] > means[0]
    found = both.iloc[int(second)].copy()
    p = result.p_matrix
    tested = np.isfinite(p)
    q = np.full(p.shape, np.nan)
    q[tested] = corrected(p[tested], result.correction)
    found["p"], found["q"], found["verdict"] = p[i, j], q[i, j], "not among the pairs shown"
    return found


def spread_of(result: ScanResult, y: str, x: str) -> pd.DataFrame:
    """Return prices, spread and z over the scanned past, at the rows that both legs have."""
    row = row_of(result, y, x)
    numbers = [result.symbols.index(symbol) for symbol in (row["y"], row["x"])]
    legs = result.universe.prices[numbers]
    frame = pd.DataFrame(legs.T, index=result.universe.index, columns=["y", "x"]).dropna()
    frame["spread"] = frame["y"] - row["intercept"] - row["hedge_ratio"] * frame["x"]
    deviation = frame["spread"].std()
    frame["zscore"] = frame["spread"] / deviation if deviation > 0.0 else math.nan
    frame.attrs["pair"] = row["y"], row["x"]
    frame.attrs["breaks"] = _breaks_of(frame, result.split)
    return frame


def _breaks_of(frame: pd.DataFrame, split: float) -> dict[str, int]:
    """Return at which rows the pair's monitoring first alarms, by what has changed."""
    try:
        report = monitor_break(frame["y"], frame["x"], split=split)
    except DataError:  # too few rows, or a spread that does not vary: nothing is monitored
        return {}
    alarms = {"break": report.break_at, "drift": report.drift_at}
    return {
        what: int(np.argmax(frame.index == at)) for what, at in alarms.items() if at is not None
    }


def timeframe_of(index: pd.Index[Any]) -> str:
    """Return the timeframe whose length is the usual step of an index; else "tick"."""
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return "tick"
    step_ns = int(np.median(np.diff(index.as_unit("ns").asi8)))
    return next((name for name, length in TIMEFRAMES_NS.items() if length == step_ns > 0), "tick")


def settings_of(result: ScanResult, row: pd.Series[Any]) -> SettingKwargs:
    """Return what makes an engine's spread the one of a scan.

    The hedge ratio is the scan's; the window has ten half-lives of the spread, 30 rows at least and
    a quarter of the scanned ones at most.
    """
    half_life = float(row["half_life"])
    rows = int(row["n"]) // 4
    window = rows if not math.isfinite(half_life) else round(_HALF_LIVES * half_life)
    window = max(min(window, rows), _LEAST_WINDOW)
    return {"hedge": "fixed", "hedge_ratio": float(row["hedge_ratio"]), "window": window}
