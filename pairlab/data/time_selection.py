"""Which rows of the history a moment, a span or an alert means."""

from __future__ import annotations

import bisect
import datetime as dt
import re
import time as wall_clock
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from pairlab.alerts import Alert
from pairlab.data.row_store import RowStore
from pairlab.errors import DataError
from pairlab.schema import HISTORY_COLUMNS, NO_TIME_NS, Records, Snapshot

_CLOCK: Final = re.compile(
    r"\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?\s*([ap]m)?\s*(z|utc|[+-][\d:]+)?", re.IGNORECASE
)

__all__ = [
    "Moment",
    "between_ns",
    "inside",
    "refuse_future",
    "row_at",
    "span_ns",
    "time_ns",
    "within",
]

Moment: TypeAlias = str | int | dt.datetime | np.datetime64 | pd.Timestamp
"""A point in time: UTC where no zone is named; an int is in ns since 1970."""


def time_ns(moment: object, name: str) -> int:
    """Return a moment, as pandas accepts one, in ns since 1970 UTC.

    Parameters
    ----------
    moment : str, datetime, numpy.datetime64, pandas.Timestamp or int
        Without a time zone it is UTC, and so is a time of today such as "14:30" or "now"; an int
        is in ns.
    name : str
        Of the argument, for the error.

    Raises
    ------
    DataError
        If it is no moment.
    """
    try:
        stamp = pd.Timestamp(_in_utc(moment))
        if not pd.isna(stamp):
            stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
            return int(stamp.as_unit("ns").value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(
        f"{name} = {moment!r} is not a valid time: give what pandas.Timestamp accepts, such as "
        "'2026-11-22 14:32:09.482' (UTC where no zone is named)"
    )


def _in_utc(moment: object) -> Any:
    """Return a text that names no day with today's in UTC: pandas would take the local one's."""
    if not isinstance(moment, str):
        return moment
    now, text = pd.Timestamp.now("UTC"), moment.strip()
    if text.lower() in ("now", "today"):
        return now
    return f"{now:%Y-%m-%d} {text}" if _CLOCK.fullmatch(text) else moment


def between_ns(records: Records, start_ns: int | None, end_ns: int | None) -> Records:
    """Return the records whose time is within both ends, without copying; None is open."""
    times = records["time_ns"]
    # Bisecting looks at a few records; searchsorted would first copy the whole strided column.
    first = 0 if start_ns is None else bisect.bisect_left(times, start_ns)
    last = len(times) if end_ns is None else bisect.bisect_right(times, end_ns)
    return records[first:last]


def span_ns(start: Moment | None, end: Moment | None) -> tuple[int | None, int | None]:
    """Return both ends of a span in ns; None stays open.

    Raises
    ------
    DataError
        If one is not a valid time, or `end` is before `start`.
    """
    first = None if start is None else time_ns(start, "start")
    last = None if end is None else time_ns(end, "end")
    if first is not None and last is not None and last < first:
        raise DataError(f"end = {end!r} is before start = {start!r}")
    return first, last


def refuse_future(name: str, given: object, at_ns: int | None, rows: Records) -> None:
    """Refuse a moment of which nothing can be held yet: it is later than the clock and the rows.

    Raises
    ------
    DataError
        If the moment is still to come. A recording's or a simulation's own time may be ahead of
        this machine's clock, so that what its rows have reached is not.
    """
    newest_ns = int(rows[-1]["time_ns"]) if len(rows) else NO_TIME_NS
    if at_ns is None or at_ns <= max(newest_ns, wall_clock.time_ns()):
        return
    newest = f"; the newest row is of {pd.Timestamp(newest_ns, tz='UTC')}" if len(rows) else ""
    raise DataError(
        f"{name} = {given!r} is {pd.Timestamp(at_ns, tz='UTC')}, which is still to come (UTC where "
        f"no zone is named){newest}"
    )


def within(time_ns: int, start_ns: int | None, end_ns: int | None) -> bool:
    """Return whether a time is within both ends; None is open."""
    return (start_ns is None or time_ns >= start_ns) and (end_ns is None or time_ns <= end_ns)


def inside(what: Any, times_ns: Any, start_ns: int | None, end_ns: int | None) -> Any:
    """Return what lies between two times that need not be in order; None is open.

    Ticks come in order of receipt: their times go back and forth between the legs.
    """
    if start_ns is None and end_ns is None:
        return what
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    start_ns, end_ns = least if start_ns is None else start_ns, most if end_ns is None else end_ns
    return what[(times_ns >= start_ns) & (times_ns <= end_ns)]


def row_at(store: RowStore, when: Alert | Moment) -> Records:
    """Return the row, as an array of one, that an alert was decided on or that stood at a moment.

    Raises
    ------
    DataError
        If it is not held, saying why, or the moment is still to come.
    """
    rows = store.view()
    at_ns = when.time_ns if isinstance(when, Alert) else time_ns(when, "when")
    moment = pd.Timestamp(at_ns, tz="UTC")
    if not isinstance(when, Alert):
        refuse_future("when", when, at_ns, rows)
    up_to = between_ns(rows, None, at_ns)
    if not len(up_to):
        oldest = pd.Timestamp(int(rows[0]["time_ns"]), tz="UTC") if len(rows) else None
        held = "there is none yet" if oldest is None else f"the oldest held is of {oldest}"
        raise DataError(
            f"no row of {moment} is held: {held}; history_rows = {store.capacity:,} are kept"
        )
    if not isinstance(when, Alert):
        return up_to[-1:]
    # Trades of one millisecond are rows of one time: the numbers tell which it was.
    same = between_ns(up_to, at_ns, None)
    same = same[[_is_row(row, when.at) for row in same]]
    if not len(same):
        raise DataError(
            f"no row of {moment} has the numbers that alert {when.number} was decided on: the "
            "history has been recomputed since, under other settings. alert.explain() has them; "
            "at(alert.time_ns) gives the row as it is now"
        )
    return same[-1:]


def _is_row(row: Any, at: Snapshot) -> bool:
    ours = np.array([row[name] for name in HISTORY_COLUMNS], dtype=np.float64)
    theirs = np.array([getattr(at, name) for name in HISTORY_COLUMNS], dtype=np.float64)
    return np.array_equal(ours, theirs, equal_nan=True)
