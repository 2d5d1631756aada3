"""Min-max decimation: thousands of rows in a few hundred pixels, every extreme kept."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.data.row_store import Cursor
from pairlab.schema import ROW, Records, RowFlag

__all__ = ["COLUMNS", "Decimated", "IncrementalDecimator", "MinMaxBuckets", "extremes_of", "trim"]

COLUMNS: Final = 800
"""Pixel columns that a chart's rows are thinned to; each keeps its lowest and highest value."""

Floats = NDArray[np.float64]

_NAMES: Final = tuple(n for n in ROW.names or () if ROW[n] == np.float64)
_AT: Final = {name: k for k, name in enumerate(_NAMES)}
_FIELDS: Final = dict(ROW.fields or {})
_OFFSETS: Final = [_FIELDS[name][1] for name in _NAMES]
_TOGETHER: Final = all(at == _OFFSETS[0] + 8 * k for k, at in enumerate(_OFFSETS))

# What is kept of each pixel column; the last four for every float column of ROW.
_COLUMN: Final = np.dtype(
    [
        ("number", np.int64),  # counted from 1970
        ("first_ns", np.int64),
        ("last_ns", np.int64),
        ("rows", np.int64),
        ("gap", np.bool_),  # trades are missing before its first row
        ("long", np.bool_),  # at least one row held this position
        ("short", np.bool_),
        ("low", np.float64, len(_NAMES)),
        ("high", np.float64, len(_NAMES)),
        ("first", np.float64, len(_NAMES)),
        ("last", np.float64, len(_NAMES)),
        ("total", np.float64, len(_NAMES)),
    ]
)


def _floats(rows: Records) -> Floats:
    """Return the float columns of rows as a matrix: not copied where they lie side by side."""
    if not _TOGETHER:
        return np.stack([rows[name] for name in _NAMES], axis=1)
    shape, strides = (len(rows), len(_NAMES)), (rows.strides[0], 8)
    start: Records = rows[_NAMES[0]]
    return np.lib.stride_tricks.as_strided(start, shape, strides, writeable=False)


def _grouped(rows: Records, number: NDArray[np.int64] | None) -> Records:
    """Return rows as pixel columns: those of one number, with no gap inside, together."""
    n = len(rows)
    if not n:
        return np.empty(0, _COLUMN)
    gap = (rows["flags"] & RowFlag.GAP_BEFORE) != 0
    new = np.ones(n, np.bool_)
    if number is not None:
        np.not_equal(number[1:], number[:-1], out=new[1:])
        new |= gap
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], n) - 1
    made = np.empty(len(starts), _COLUMN)
    made["number"] = 0 if number is None else number[starts]
    made["first_ns"], made["last_ns"] = rows["time_ns"][starts], rows["time_ns"][ends]
    made["rows"] = ends - starts + 1
    made["gap"] = gap[starts]
    values = _floats(rows)
    made["first"], made["last"] = values[starts], values[ends]
    if number is None:
        made["low"] = made["high"] = made["total"] = values
        made["long"], made["short"] = rows["position"] == 1, rows["position"] == -1
        return made
    made["low"] = np.fmin.reduceat(values, starts)
    made["high"] = np.fmax.reduceat(values, starts)
    made["total"] = np.add.reduceat(values, starts)
    made["long"] = np.maximum.reduceat(rows["position"], starts) == 1
    made["short"] = np.minimum.reduceat(rows["position"], starts) == -1
    return made


class MinMaxBuckets:
    """The pixel columns of a view that follows the newest rows: a frame costs what is new in it.

    Columns are counted from 1970, not from the view's edge: a row stays in its column while the
    view moves on, and the line does not shimmer.

    Parameters
    ----------
    span_ns : int
        Width of the view.
    columns : int
        Pixel columns in it.
    """

    def __init__(self, span_ns: int, columns: int = COLUMNS) -> None:
        self._width_ns = max(span_ns // columns, 1)
        self._kept: Records = np.empty(2 * columns, _COLUMN)
        self._begin = self._end = 0

    def add(self, rows: Records) -> None:
        """Take in rows that are not older than those before."""
        if not len(rows):
            return
        made = _grouped(rows, rows["time_ns"] // self._width_ns)
        if self._end > self._begin:
            open_, more = self._kept[self._end - 1], made[0]
            if open_["number"] == more["number"] and not more["gap"]:
                _join(open_, more)
                made = made[1:]
        count = len(made)
        if self._end + count > len(self._kept):
            kept = self._kept[self._begin : self._end]
            fresh = np.empty(max(2 * (len(kept) + count), len(self._kept)), _COLUMN)
            fresh[: len(kept)] = kept
            self._kept, self._begin, self._end = fresh, 0, len(kept)
        self._kept[self._end : self._end + count] = made
        self._end += count

    def forget(self, before_ns: int) -> None:
        """Forget columns that ended before a time, which is not after the newest row's."""
        ends = self._kept["last_ns"][self._begin : self._end]
        self._begin += int(np.searchsorted(ends, before_ns))

    @property
    def columns(self) -> Records:
        """The columns, oldest first; the newest may still grow."""
        return self._kept[self._begin : self._end]

    def seen_from(self, edge_ns: int) -> Decimated:
        """Return them for drawing, with `edge_ns` at x = 0."""
        return Decimated(self.columns, edge_ns)


class IncrementalDecimator:
    """Thins the newest rows frame after frame, and looks at every row once."""

    def __init__(self) -> None:
        self._span_ns = 0
        self._seen = Cursor(-1, 0)
        self._columns: MinMaxBuckets

    def thinned(
        self, rows: Records, shown: int, cursor: Cursor, edge_ns: int, span_ns: int
    ) -> Decimated:
        """Return the newest rows thinned.

        Parameters
        ----------
        rows : array of pairlab.ROW
            All that are held.
        shown : int
            The first of them that is in view.
        cursor : Cursor
            After the last of them.
        edge_ns, span_ns : int
            The view's right edge, and its width.
        """
        new = cursor.row - self._seen.row
        same = (cursor.epoch, span_ns) == (self._seen.epoch, self._span_ns)
        if not same or not 0 <= new < len(rows) - shown:
            self._columns = MinMaxBuckets(span_ns)
            new = len(rows) - shown
        self._seen, self._span_ns = cursor, span_ns
        self._columns.add(rows[len(rows) - new :])
        self._columns.forget(int(rows["time_ns"][shown]))
        return self._columns.seen_from(edge_ns)


def _join(column: np.void, more: np.void) -> None:
    column["last_ns"], column["last"] = more["last_ns"], more["last"]
    column["rows"] += more["rows"]
    column["long"] |= more["long"]
    column["short"] |= more["short"]
    column["low"] = np.fmin(column["low"], more["low"])
    column["high"] = np.fmax(column["high"], more["high"])
    column["total"] += more["total"]


class Decimated:
    """The rows in view as a chart draws them.

    Parameters
    ----------
    columns : array of pixel columns
        As `MinMaxBuckets` keeps them; of one row each where there are few.
    edge_ns : int
        The time that becomes x = 0.

    Attributes
    ----------
    columns : array of pixel columns
        As given.
    """

    def __init__(self, columns: Records, edge_ns: int) -> None:
        self.columns: Final = columns
        self._first_ms: Floats = (columns["first_ns"] - edge_ns) / 1e6
        self._last_ms: Floats = (columns["last_ns"] - edge_ns) / 1e6
        breaks = np.flatnonzero(columns["gap"])
        self._breaks = breaks[breaks > 0]
        self._single = bool((columns["rows"] == 1).all())

    @classmethod
    def of(cls, rows: Records, edge_ns: int, span_ns: int, columns: int = COLUMNS) -> Decimated:
        """Thin rows of a view of this span; few rows are drawn one by one."""
        if len(rows) <= 2 * columns:
            return cls(_grouped(rows, None), edge_ns)
        made = MinMaxBuckets(span_ns, columns)
        made.add(rows)
        return made.seen_from(edge_ns)

    def extremes(self, name: str) -> tuple[NDArray[np.float32], Floats]:
        """Return (x in ms before the edge, y) of a column: a point a row, or two a pixel column.

        A pixel column's two points are its lowest and its highest value, in the order that leads
        from its first row to its last. Columns without a number give NaN.
        """
        low, high, first, last = self._of(name)
        if self._single:
            return self._broken(self._first_ms, low, 1)
        rising = first <= last
        y = np.empty(2 * len(low))
        y[0::2] = np.where(rising, low, high)
        y[1::2] = np.where(rising, high, low)
        x = np.empty(2 * len(low))
        x[0::2] = self._first_ms
        x[1::2] = self._last_ms
        return self._broken(x, y, 2)

    def _of(self, name: str) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the lowest, highest, first and last value in each pixel column."""
        c = self.columns
        if name in _AT:
            at = _AT[name]
            return c["low"][:, at], c["high"][:, at], c["first"][:, at], c["last"][:, at]
        # `Snapshot.hedged_correlation`, the one number that is drawn and is no column of ROW
        low, high, first, last = self._of("correlation")
        turned = c["last"][:, _AT["hedge_ratio"]] < 0
        if not turned.any():
            return low, high, first, last
        sign = np.where(turned, -1.0, 1.0)
        return np.where(turned, -high, low), np.where(turned, -low, high), first * sign, last * sign

    def last(self, *names: str) -> Floats:
        """Return each pixel column's last values, shape (len(names), n): for slow lines."""
        return self.columns["last"][:, [_AT[name] for name in names]].T

    def slow(self, *lines: Floats) -> tuple[NDArray[np.float32], Floats]:
        """Return (x, y of shape (k, n)) for lines computed from what `last` gave."""
        return self._broken(self._last_ms, np.vstack(lines), 1)

    def bounds(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest number in view; NaN where there is none."""
        if not len(self.columns):
            return float("nan"), float("nan")
        low, high, _, _ = self._of(name)
        return float(np.fmin.reduce(low)), float(np.fmax.reduce(high))

    def mean(self, name: str) -> float:
        """Return the mean over the rows in view; NaN without rows, or if one has no number."""
        count = int(self.columns["rows"].sum())
        total = float(self.columns["total"][:, _AT[name]].sum())
        return total / count if count else float("nan")

    def held(self, side: int) -> list[tuple[float, float]]:
        """Return when a position was held, as (from, to) in ms before the edge, ascending."""
        on = self.columns["long" if side == 1 else "short"]
        turns = np.flatnonzero(np.diff(on, prepend=False, append=False))
        times = np.append(self._first_ms, self._last_ms[-1:])[turns]
        return list(zip(times[0::2].tolist(), times[1::2].tolist(), strict=True))

    def _broken(self, x: Floats, y: Floats, points: int) -> tuple[NDArray[np.float32], Floats]:
        if len(self._breaks):
            at = self._breaks * points
            x = np.insert(x, at, x[at])
            y = np.insert(y, at, np.nan, axis=-1)
        return x.astype(np.float32), y


def extremes_of(
    time_ns: NDArray[np.int64], values: Floats, edge_ns: int, span_ns: int, columns: int = COLUMNS
) -> tuple[NDArray[np.float32], Floats]:
    """Return (x in ms before the edge, y) of one series, as `Decimated.extremes` does of a column.

    Parameters
    ----------
    time_ns, values : array, shape (n,)
        The series; times do not decrease.
    edge_ns, span_ns : int
        The right end and the width of the view.
    columns : int
        Pixel columns in it.
    """
    if len(values) > 2 * columns:
        number = time_ns // max(span_ns // columns, 1)
        starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        ends = np.append(starts[1:], len(values)) - 1
        low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
        rising = values[starts] <= values[ends]
        values = np.column_stack([np.where(rising, low, high), np.where(rising, high, low)]).ravel()
        time_ns = np.column_stack([time_ns[starts], time_ns[ends]]).ravel()
    return ((time_ns - edge_ns) / 1e6).astype(np.float32), values


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
