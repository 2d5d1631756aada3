"""Thousands of rows in a few hundred pixels: every extreme stays on the screen."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "Thinned", "trim"]

COLUMNS: Final = 800
"""Pixel columns that a chart's rows are thinned to; each keeps its lowest and highest value."""

Floats = NDArray[np.float64]


class Thinned:
    """The rows in view, grouped into pixel columns that stand still while the view moves on.

    Parameters
    ----------
    time_ns : array of int64, shape (n,)
        Ascending times of the rows in view.
    gap : array of bool, shape (n,)
        True where trades are missing before the row: lines break there.
    edge_ns : int
        The time that becomes x = 0.
    span_ns : int
        Width of the view.
    columns : int
        Pixel columns in the view.
    """

    def __init__(
        self,
        time_ns: NDArray[np.int64],
        gap: NDArray[np.bool_],
        edge_ns: int,
        span_ns: int,
        columns: int = COLUMNS,
    ) -> None:
        n = len(time_ns)
        self._ms: Floats = (time_ns - edge_ns) / 1e6
        if n <= 2 * columns:
            self._starts = None
            breaks = np.flatnonzero(gap)
        else:
            # Columns are counted from 1970, not from the view's edge: a row stays in its column
            # while the view moves, and the line does not shimmer.
            column = time_ns // max(span_ns // columns, 1)
            new = np.empty(n, np.bool_)
            new[0] = True
            np.not_equal(column[1:], column[:-1], out=new[1:])
            new |= gap
            self._starts = np.flatnonzero(new)
            breaks = np.flatnonzero(gap[self._starts])
        self._breaks = breaks[breaks > 0]

    def extremes(self, values: Floats) -> tuple[NDArray[np.float32], Floats]:
        """Return (x in ms before the edge, y): one point a row, or two a column.

        A column's two points are its lowest and its highest value, in the order that leads from
        its first row to its last. Columns without a number give NaN.
        """
        if self._starts is None:
            return self._broken(self._ms, values, 1)
        starts = self._starts
        ends = np.append(starts[1:], len(values)) - 1
        low = np.fmin.reduceat(values, starts)
        high = np.fmax.reduceat(values, starts)
        rising = values[starts] <= values[ends]
        y = np.empty(2 * len(starts))
        y[0::2] = np.where(rising, low, high)
        y[1::2] = np.where(rising, high, low)
        x = np.empty(2 * len(starts))
        x[0::2] = self._ms[starts]
        x[1::2] = self._ms[ends]
        return self._broken(x, y, 2)

    def last(self, *series: Floats) -> tuple[NDArray[np.float32], Floats]:
        """Return (x, y of shape (k, n)): each column's last value, for lines that move slowly."""
        values = np.vstack(series)
        if self._starts is None:
            return self._broken(self._ms, values, 1)
        ends = np.append(self._starts[1:], values.shape[1]) - 1
        return self._broken(self._ms[ends], values[:, ends], 1)

    def _broken(self, x: Floats, y: Floats, points: int) -> tuple[NDArray[np.float32], Floats]:
        if len(self._breaks):
            at = self._breaks * points
            x = np.insert(x, at, x[at])
            y = np.insert(y, at, np.nan, axis=-1)
        return x.astype(np.float32), y


def trim(x: NDArray[np.float32], y: Floats) -> tuple[NDArray[np.float32], Floats]:
    """Cut points without a number from both ends.

    A `bqplot.Lines` whose last y is NaN logs an error in the browser.

    Parameters
    ----------
    x : array, shape (n,)
    y : array, shape (n,) or (k, n)

    Returns
    -------
    tuple
        x and y, empty where no y is a number.
    """
    known = np.isfinite(y) if y.ndim == 1 else np.isfinite(y).all(axis=0)
    where = np.flatnonzero(known)
    if not len(where):
        return x[:0], y[..., :0]
    cut = slice(where[0], where[-1] + 1)
    return x[cut], y[..., cut]
