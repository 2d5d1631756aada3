"""Which rows of the history a moment, a span or an alert means."""

from __future__ import annotations

import bisect
import datetime as dt
import re
import time as wall_clock
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from pairlab.alerts import Alert
from pairlab.data.row_store import RowStore
from pairlab.errors import DataError
from pairlab.schema import HISTORY_COLUMNS, NO_TIME_NS, NS_PER_S, ROW, Records, Snapshot

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

_LOOK_BACK_NS: Final = tuple(s * NS_PER_S for s in (1, 60, 3_600, 86_400, 4_000_000_000))
"""How far before a moment the row that stood at it is looked for: the least is read first."""

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


def row_at(
    store: RowStore,
    when: Alert | Moment,
    older: Callable[[int, int], Records] = lambda first, last: np.zeros(0, ROW),
) -> Records:
    """Return the row, as an array of one, that an alert was decided on or that stood at a moment.

    Parameters
    ----------
    store : RowStore
        The rows that are held.
    when : Alert or Moment
        Which.
    older : callable
        Returns rows of a span of time (both ends included) that are not held any more, the last one
        among them.

    Raises
    ------
    DataError
        If it is neither held nor among the older ones, saying why, or the moment is still to come.
    """
    rows = store.view()
    if isinstance(when, Alert):
        return _row_of(when, rows, older, store.capacity)
    at_ns = time_ns(when, "when")
    refuse_future("when", when, at_ns, rows)
    found = between_ns(rows, None, at_ns)[-1:]
    for back_ns in _LOOK_BACK_NS if not len(found) else ():
        found = older(max(at_ns - back_ns, 0), at_ns)[-1:]
        if len(found):
            break
    if not len(found):
        raise _not_held(rows, at_ns, store.capacity)
    return found


def _row_of(
    alert: Alert, rows: Records, older: Callable[[int, int], Records], capacity: int
) -> Records:
    at_ns = alert.time_ns
    # Trades of one millisecond are rows of one time: the numbers tell which it was.
    same = _decided_on(between_ns(rows, at_ns, at_ns), alert)
    is_older = not len(rows) or at_ns <= int(rows[0]["time_ns"])
    if not len(same) and is_older:
        same = _decided_on(older(at_ns, at_ns), alert)
    if len(same):
        return same[-1:]
    if not len(rows) or at_ns < int(rows[0]["time_ns"]):
        raise _not_held(rows, at_ns, capacity)
    raise DataError(
        f"no row of {pd.Timestamp(at_ns, tz='UTC')} has the numbers that alert {alert.number} was "
        "decided on: the history has been recomputed since, under other settings. alert.explain() "
        "has them; at(alert.time_ns) gives the row as it is now"
    )


def _not_held(rows: Records, at_ns: int, capacity: int) -> DataError:
    oldest = pd.Timestamp(int(rows[0]["time_ns"]), tz="UTC") if len(rows) else None
    held = "there is none yet" if oldest is None else f"the oldest held is of {oldest}"
    return DataError(
        f"no row of {pd.Timestamp(at_ns, tz='UTC')} is held: {held}; history_rows = {capacity:,} "
        "are kept"
    )


def _decided_on(rows: Records, alert: Alert) -> Records:
    found: Records = rows[np.array([_is_row(row, alert.at) for row in rows], bool)]
    return found


def _is_row(row: Any, at: Snapshot) -> bool:
    ours = np.array([row[name] for name in HISTORY_COLUMNS], dtype=np.float64)
    theirs = np.array([getattr(at, name) for name in HISTORY_COLUMNS], dtype=np.float64)
    return np.array_equal(ours, theirs, equal_nan=True)
