"""Rolling memory: rows and ticks in fixed room, seen without copying."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.schema import HISTORY_COLUMNS, Pair, Records

__all__ = [
    "CSV_HEADER",
    "Ring",
    "TimeUnit",
    "bars_frame",
    "csv_name",
    "csv_pieces",
    "csv_text",
    "iso_times",
    "rows_frame",
    "ticks_frame",
    "time_unit",
]

TimeUnit = Literal["ns", "ms"]

CSV_HEADER: Final = ",".join(("time", *HISTORY_COLUMNS)) + "\n"

_CSV_ROWS: Final = 20_000
"""Rows turned to text at a time, so that a long history never becomes one long string."""

_SLACK: Final = 4
"""A ring of capacity c is moved to a fresh buffer once every c / _SLACK appended records."""


class Ring:
    """The last `capacity` records of a structured dtype, always one contiguous array.

    Records are appended to a buffer with a quarter of room to spare. When it is full, the newest
    `capacity` records move to a *fresh* buffer, so that a view taken earlier is never written to
    again: it stays the picture of its moment for as long as somebody holds it.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the records.
    capacity : int
        How many of the newest are kept.
    """

    def __init__(self, dtype: np.dtype[np.void], capacity: int) -> None:
        self._capacity = capacity
        self._buffer: Records = np.empty(capacity + capacity // _SLACK + 1, dtype)
        self._end = 0
        self._total = 0

    def __len__(self) -> int:
        return min(self._end, self._capacity)

    @property
    def total(self) -> int:
        """How many records were ever appended."""
        return self._total

    @property
    def capacity(self) -> int:
        """How many records are kept."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes reserved (the system commits them as they fill)."""
        return int(self._buffer.nbytes)

    def resized(self, capacity: int) -> Ring:
        """Return a ring of another capacity that holds the newest of the same records."""
        ring = Ring(self._buffer.dtype, capacity)
        ring.append(self.view())
        ring._total = self._total
        return ring

    def append(self, records: Records) -> None:
        """Copy `records` in; the oldest beyond the capacity are forgotten."""
        count = len(records)
        self._total += count
        if count >= self._capacity:
            records = records[count - self._capacity :]
            count = len(records)
        if self._end + count > len(self._buffer):
            keep = min(self._capacity - count, self._end)
            fresh = np.empty_like(self._buffer)
            fresh[:keep] = self._buffer[self._end - keep : self._end]
            self._buffer, self._end = fresh, keep
        self._buffer[self._end : self._end + count] = records
        self._end += count

    def view(self, last: int | None = None) -> Records:
        """Return the newest `last` records (all by default), oldest first, read-only, not copied.

        Later appends do not change what was returned.
        """
        count = len(self) if last is None else min(max(last, 0), len(self))
        view = self._buffer[self._end - count : self._end]
        view.flags.writeable = False
        return view


def rows_frame(rows: Records) -> pd.DataFrame:
    """Return `pairlab.ROW` records as the DataFrame of `PairLab.history`, without copying.

    Parameters
    ----------
    rows : array of pairlab.ROW, shape (n,)
        As `Ring.view` gives them.

    Returns
    -------
    pandas.DataFrame
        n rows; columns `HISTORY_COLUMNS`; index ``time``, UTC. `stationary` is 1, 0, or -1 for
        "not enough data"; `position` 1 long, -1 short, 0 flat.
    """
    columns = {name: rows[name] for name in HISTORY_COLUMNS}
    return pd.DataFrame(columns, index=_utc(rows["time_ns"]), copy=False)


def ticks_frame(ticks: Records, pair: Pair) -> pd.DataFrame:
    """Return `pairlab.TICK` records as the DataFrame of `PairLab.ticks`.

    Returns
    -------
    pandas.DataFrame
        Columns symbol, id, price, quantity, buyer_is_maker, received; index ``time``, the
        exchange's trade time, UTC.
    """
    # A tick of no leg is held as it came; the engine counts and drops it.
    legs: NDArray[np.int8] = np.where((ticks["leg"] >> 1) == 0, ticks["leg"], -1)
    received = pd.DatetimeIndex(ticks["received_ns"].view("M8[ns]")).tz_localize("UTC")
    return pd.DataFrame(
        {
            "symbol": pd.Categorical.from_codes(legs, pd.Index(pair)),
            "id": ticks["id"],
            "price": ticks["price"],
            "quantity": ticks["quantity"],
            "buyer_is_maker": ticks["buyer_is_maker"],
            "received": received,
        },
        index=_utc(ticks["time_ns"]),
    )


def bars_frame(bars: Records) -> pd.DataFrame:
    """Return the engine's bars as the DataFrame of `PairLab.bars`, indexed by close time, UTC."""
    parts = ("open", "high", "low", "close", "volume")
    columns = {f"{leg}_{part}": bars[f"{leg}_{part}"] for leg in "yx" for part in parts}
    return pd.DataFrame(columns, index=_utc(bars["time_ns"]))


def csv_pieces(rows: Records) -> Iterator[str]:
    """Yield `rows` as CSV text in pieces: a header, ISO 8601 UTC times, NaN as an empty field.

    Numbers are written so that they read back to the same bits.
    """
    unit = time_unit(rows)
    yield CSV_HEADER
    for at in range(0, len(rows), _CSV_ROWS):
        yield csv_text(rows[at : at + _CSV_ROWS], unit)


def csv_text(rows: Records, unit: TimeUnit) -> str:
    """Return `rows` as lines under `CSV_HEADER`; any thread may call it."""
    # A third of the time that DataFrame.to_csv takes for the same bytes.
    columns: list[list[str]] = [iso_times(rows["time_ns"], unit)]
    for name in HISTORY_COLUMNS:
        values = rows[name].tolist()
        real = rows.dtype[name].kind == "f"
        columns.append([repr(v) if v == v else "" for v in values] if real else [*map(str, values)])
    return "".join(f"{line}\n" for line in map(",".join, zip(*columns, strict=True)))


def csv_name(pair: Pair) -> str:
    """Return the name of a file of `pair`'s history now: safe on every system, UTC time."""
    legs = "-".join(re.sub(r"[^A-Za-z0-9_.]", "_", leg) for leg in pair)
    return f"pairlab-{legs}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.csv"


def time_unit(rows: Records) -> TimeUnit:
    """Return how finely the times of `rows` must be written to be read back as they are."""
    # Exchange times are whole milliseconds; another feed's may be finer.
    return "ns" if (rows["time_ns"] % 1_000_000).any() else "ms"


def iso_times(time_ns: NDArray[np.int64], unit: TimeUnit) -> list[str]:
    """Return times as ISO 8601, UTC."""
    times: NDArray[np.datetime64] = time_ns.view("M8[ns]")
    texts: list[str] = np.datetime_as_string(times, unit=unit, timezone="UTC").tolist()
    return texts


def _utc(time_ns: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(time_ns.view("M8[ns]"), name="time").tz_localize("UTC")
