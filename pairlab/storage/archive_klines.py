"""Klines of Binance's public archive: each bar numbered, so that one that is missing shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import NS_PER_S

__all__ = ["INTERVALS_NS", "MONTH", "bars_of", "interval_of", "unusable"]

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

MONTH: Final = "1mo"

INTERVALS_NS: Final = {
    name: int(name[:-1]) * _UNITS_S[name[-1]] * NS_PER_S
    for name in (
        "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    )
}  # fmt: skip
"""Lengths of the archive's bars; those of a month (`MONTH`) differ."""


def interval_of(path: Path, open_ns: NDArray[np.int64], close_ns: NDArray[np.int64]) -> str:
    """Return the interval of bars whose file does not name it.

    Raises
    ------
    DataError
        If most of them are of no length that the archive has.
    """
    length = int(np.median(close_ns - open_ns))
    days = length // INTERVALS_NS["1d"]
    known = {ns: name for name, ns in INTERVALS_NS.items()} | (
        {length: MONTH} if 28 <= days <= 31 else {}
    )
    if length not in known:
        raise DataError(
            f"{path}: its bars are {length / NS_PER_S:g} s long: expected one of "
            f"{', '.join([*INTERVALS_NS, MONTH])}"
        )
    return known[length]


def bars_of(
    interval: str, open_ns: NDArray[np.int64], close_ns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the numbers of bars, by when they begin.

    Parameters
    ----------
    interval : str
        Of `INTERVALS_NS`, or `MONTH`.
    open_ns, close_ns : numpy.ndarray
        When they begin and end, ns since 1970 UTC, shape (n,), n > 0.

    Returns
    -------
    number : numpy.ndarray
        Shape (n,); the next bar has the next number.
    end_ns : numpy.ndarray
        When the bar of each number ends, ns since 1970 UTC.
    off_grid : int
        How many begin or end at another time than the bar of their number.
    """
    if interval == MONTH:
        number = open_ns.view("M8[ns]").astype("M8[M]").view(np.int64)
        begin_ns, end_ns = (_month_ns(number + after) for after in (0, 1))
    else:
        length = INTERVALS_NS[interval]
        number, rest = np.divmod(open_ns, length)
        offset = _most_frequent(rest)  # weeks begin on Mondays, 1970 on a Thursday
        begin_ns = number * length + offset
        end_ns = begin_ns + length
    return number, end_ns, int(((open_ns != begin_ns) | (close_ns != end_ns)).sum())


def _month_ns(number: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = number.view("M8[M]").astype("M8[ns]").view(np.int64)
    return found


def _most_frequent(values: NDArray[np.int64]) -> int:
    if not (values != values[0]).any():
        return int(values[0])
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def unusable(columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which bars have a price that cannot be, or a close or open outside of low to high."""
    prices = [columns[name] for name in ("open", "high", "low", "close")]
    bad: NDArray[np.bool_] = columns["high"] < np.maximum.reduce(prices)
    bad |= columns["low"] > np.minimum.reduce(prices)
    for price in prices:
        bad |= ~(np.isfinite(price) & (price > 0))
    return bad
