"""Stretches of time of what a backtest is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.backtesting.inputs import Source
from pairlab.errors import DataError, SettingError
from pairlab.research.inputs import Given
from pairlab.research.prices import times_of
from pairlab.schema import NS_PER_S, TIMEFRAMES_NS

__all__ = ["Times", "between", "duration_ns", "times_in"]

_SPARE: Final = 20
"""Ticks more than a window has: a row needs both legs to have traded."""


@dataclass(frozen=True)
class Times:
    """When prices came.

    Attributes
    ----------
    time_ns : array of int64, shape (n,)
        Ascending, ns since 1970 UTC: at tick timeframe each makes a row.
    """

    time_ns: NDArray[np.int64]

    @property
    def first_ns(self) -> int:
        """The first time."""
        return int(self.time_ns[0])

    @property
    def last_ns(self) -> int:
        """The last time."""
        return int(self.time_ns[-1])

    def before(self, time_ns: int, rows: int, timeframe: str) -> int:
        """Return how long before a time, ns, prices must begin for so many rows until then."""
        if TIMEFRAMES_NS[timeframe]:
            return (rows + 1) * TIMEFRAMES_NS[timeframe]
        at = int(np.searchsorted(self.time_ns, time_ns)) - rows - _SPARE
        return time_ns - int(self.time_ns[max(at, 0)])


def times_in(given: Given) -> Times:
    """Return when prices came.

    Raises
    ------
    DataError
        If there is none.
    """
    if given.ticks is not None:
        times = np.maximum.accumulate(times_of(given.ticks.index, "ticks"))
    else:
        times = np.union1d(times_of(given.y.index, "y"), times_of(given.x.index, "x"))
    if not len(times):
        raise DataError("there are no prices to walk through")
    return Times(times)


def between(source: Source, start_ns: int, end_ns: int) -> Source:
    """Return the data from a time on, to before another."""
    given = source.given
    if given.ticks is not None:
        times = np.maximum.accumulate(times_of(given.ticks.index, "ticks"))
        begin, end = np.searchsorted(times, (start_ns, end_ns))
        return source._replace(given=given._replace(ticks=given.ticks.iloc[begin:end]))
    legs = []
    for leg, name in ((given.y, "y"), (given.x, "x")):
        times = times_of(leg.index, name)
        legs.append(leg[(times >= start_ns) & (times < end_ns)])
    return source._replace(given=given._replace(y=legs[0], x=legs[1]))


def duration_ns(name: str, value: object) -> int:
    """Return a duration, ``"7D"`` or seconds, as ns.

    Raises
    ------
    SettingError
        If it is none, or not above 0.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float | pd.Timedelta):
            raise ValueError
        seconds = isinstance(value, int | float)
        found = pd.Timedelta(value, unit="s") if seconds else pd.Timedelta(value)
        length = int(found.as_unit("ns").value)
    except (ValueError, OverflowError):
        length = 0
    if length <= 0 or length > 10_000 * 86_400 * NS_PER_S:
        raise SettingError(name, value, "expected a duration such as '7D', '12h' or seconds")
    return length
