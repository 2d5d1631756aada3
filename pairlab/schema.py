"""The words that everyone shares: ticks in, rows out, and what happened in between.

All times are integers, nanoseconds since 1970-01-01 UTC. Leg 0 is ``y`` (bought when the spread
is bought), leg 1 is ``x``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COLUMN_TEXT",
    "EVENT",
    "HISTORY_COLUMNS",
    "NO_TIME_NS",
    "NS_PER_S",
    "ROW",
    "TICK",
    "TIMEFRAMES_NS",
    "AlertKind",
    "Filter",
    "LogEntry",
    "LogLevel",
    "Pair",
    "Records",
    "RowFlag",
    "Snapshot",
    "Stationary",
    "opaque",
]

Records = NDArray[Any]
"""A structured array: of `TICK`, `ROW` or `EVENT`."""


def opaque(records: Records) -> NDArray[Any]:
    """Return a view of records as opaque bytes.

    numpy copies and gathers those ten times as fast: it goes through records field by field.
    """
    return records.view(_bytes_type(records.dtype.itemsize))


@functools.cache
def _bytes_type(itemsize: int) -> np.dtype[Any]:
    return np.dtype((np.void, itemsize))


NS_PER_S: Final = 1_000_000_000

NO_TIME_NS: Final = -(2**63)
"""No time, where an integer stands for one: 0 is a time like any other (as NaT, in numpy)."""

Y_LEG: Final = 0
X_LEG: Final = 1

BOTH_LEGS: Final = 0b11
"""The legs of a gap are bits: 1 is y, 2 is x."""

TIME_CORRECTED: Final = 0b100
"""Beside the legs of a gap: the next tick's time was corrected, which is no gap."""

TIMEFRAMES_NS: Final = MappingProxyType(
    {
        "tick": 0,
        "1s": NS_PER_S,
        "5s": 5 * NS_PER_S,
        "1m": 60 * NS_PER_S,
        "5m": 300 * NS_PER_S,
        "15m": 900 * NS_PER_S,
        "1h": 3600 * NS_PER_S,
        "1d": 86_400 * NS_PER_S,
    }
)
"""Length of each timeframe in nanoseconds; 0 stands for one observation per tick."""

TICK: Final = np.dtype(
    [
        ("time_ns", np.int64),  # the exchange's trade time
        ("received_ns", np.int64),  # wall clock of this machine when the frame arrived
        ("id", np.int64),  # the exchange's sequence number, one series per symbol and stream
        ("leg", np.int8),  # 0 = y, 1 = x
        ("price", np.float64),
        ("quantity", np.float64),
        ("buyer_is_maker", np.bool_),
    ],
    align=True,  # aligned fields are what compiled code reads fastest
)
"""One trade (or mid price) of one leg."""

_UNDEFINED: Final = "null until the window is full, or where undefined."

COLUMN_TEXT: Final = {
    "y": "Last price of y, as traded.",
    "x": "Last price of x, as traded.",
    "hedge_ratio": "β: units of x per unit of y.",
    "intercept": "α of the spread, in units of y.",
    "spread": "y − β·x − α, in units of y (of ln y at log prices).",
    "spread_mean": f"Over the window, units of y; {_UNDEFINED}",
    "spread_std": f"Over the window, units of y; {_UNDEFINED}",
    "zscore": f"Standard deviations from the mean; {_UNDEFINED}",
    "correlation": "Of y and x over the window, −1 to 1 (min_correlation is compared with that of "
    f"y and β·x: with its opposite for a β below 0); {_UNDEFINED}",
    "adf_stat": f"Statistic of the stationarity test; {_UNDEFINED}",
    "p_value": f"Of the stationarity test, 0 to 1, asymptotic; {_UNDEFINED}",
    "half_life": f"Half-life of a deviation, in observations; {_UNDEFINED}",
    "stationary": "1 yes, 0 no, -1 not enough data: by critical values for the window's length.",
    "position": "After this row: 1 long the spread, -1 short, 0 flat.",
    "y_age_s": "Age of the last trade of y, seconds.",
    "x_age_s": "Age of the last trade of x, seconds.",
    "flags": "Bits: 1 window not full or hedge not learnt, 2 flat spread, 4 flat y, 8 flat x, 16 "
    "trades are missing before this row, 32 made from klines fetched at start, 64 of a trade that "
    "was stamped ahead of the clock, at a corrected time.",
}
"""Each column of `PairLab.history`, in their order, and its meaning in the REST schema."""

HISTORY_COLUMNS: Final = tuple(COLUMN_TEXT)
"""The columns of `PairLab.history`, in their order."""

ROW: Final = np.dtype(
    [
        ("time_ns", np.int64),  # running maximum of trade times, or the bar's close
        ("received_ns", np.int64),  # of the tick that made the row
        ("y", np.float64),
        ("x", np.float64),
        ("hedge_ratio", np.float64),
        ("intercept", np.float64),
        ("spread", np.float64),
        ("spread_mean", np.float64),
        ("spread_std", np.float64),
        ("zscore", np.float64),
        ("correlation", np.float64),
        ("adf_stat", np.float64),
        ("p_value", np.float64),
        ("half_life", np.float64),
        ("y_age_s", np.float64),
        ("x_age_s", np.float64),
        ("stationary", np.int8),  # a `Stationary`
        ("position", np.int8),  # after this row's transition: 1 long, -1 short, 0 flat
        ("flags", np.int16),  # `RowFlag` bits
        ("filled", np.int32),  # observations in the window, up to its size
    ],
    align=True,
)
"""One observation and everything computed on it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One row, and whether it is final.

    Attributes
    ----------
    time_ns : int
        Exchange time of the row, ns since 1970 UTC.
    y, x : float
        Last prices, as traded.
    hedge_ratio, intercept : float
        β and α of the spread.
    spread, spread_mean, spread_std : float
        In units of y (none under ``price_scale="log"``); NaN where not defined.
    zscore, correlation, adf_stat, p_value, half_life : float
        As `engine` computes them; NaN until the window is full or where not defined.
    stationary : int
        1 yes, 0 no, -1 not enough data.
    position : int
        After this row: 1 long the spread, -1 short, 0 flat.
    y_age_s, x_age_s : float
        How old each leg's last trade was, seconds.
    flags : int
        `pairlab.schema.RowFlag` bits.
    filled : int
        Observations in the window.
    provisional : bool
        True for the bar that is still forming.
    """

    time_ns: int
    y: float
    x: float
    hedge_ratio: float
    intercept: float
    spread: float
    spread_mean: float
    spread_std: float
    zscore: float
    correlation: float
    adf_stat: float
    p_value: float
    half_life: float
    stationary: int
    position: int
    y_age_s: float
    x_age_s: float
    flags: int
    filled: int
    provisional: bool = False

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same, what is not known (NaN) included."""
        if not isinstance(other, Snapshot):
            return NotImplemented
        mine, others = ([getattr(one, n) for n in self.__slots__] for one in (self, other))
        return all(a == b or (a != a and b != b) for a, b in zip(mine, others, strict=True))

    def __hash__(self) -> int:
        return hash((self.time_ns, self.filled, self.flags))

    @property
    def hedged_correlation(self) -> float:
        """Correlation of y with β·x, ρ·sign(β): what ``min_correlation`` is compared with."""
        return -self.correlation if self.hedge_ratio < 0 else self.correlation

    @classmethod
    def of(cls, row: np.void, *, provisional: bool = False) -> Snapshot:
        """Return the snapshot of one `pairlab.ROW` record."""
        # All at once: field by field takes six times as long, and many ask for every row.
        values = dict(zip(row.dtype.names or (), row.item(), strict=True))
        del values["received_ns"]
        return cls(**values, provisional=provisional)


EVENT: Final = np.dtype(
    [
        ("row", np.int64),  # index into the rows of the same update
        ("kind", np.int8),  # an `AlertKind`
        ("side", np.int8),  # 1 long the spread, -1 short: of the position entered, left or wanted
        ("failed", np.int16),  # `Filter` bits that held an entry back, or what a STOP is for
        ("withheld", np.int64),  # SUPPRESSED only: how many were not shown since the last one
    ],
    align=True,
)
"""One transition of the signal machine."""


def kalman_rows(half_life: float) -> int:
    """Return how many observations a Kalman hedge and its noise are learnt from.

    In three half-lives the gain of a filter that starts from nothing comes within a thirtieth of
    its steady one; a thousand observations are enough for any.

    Parameters
    ----------
    half_life : float
        The setting ``kalman_half_life``, observations.
    """
    return min(math.ceil(3.0 * half_life), 1_000)


class Stationary(IntEnum):
    """What the stationarity test says of a row."""

    NOT_ENOUGH_DATA = -1
    NO = 0
    YES = 1


class RowFlag(IntFlag):
    """Why numbers of a row are missing, or what came before it."""

    WARMING = 1  # the window is not full, or the Kalman hedge and its noise are not learnt yet
    FLAT_SPREAD = 2  # every spread of the window is the same: no z-score, no test
    FLAT_Y = 4  # y did not move in the window: no correlation
    FLAT_X = 8  # x did not move in the window: no correlation, no OLS
    GAP_BEFORE = 16  # trades are missing between the row before and this one
    SEEDED = 32  # made from klines fetched at start, not from ticks of this session
    TIME_CORRECTED = 64  # of a trade that was stamped ahead of the clock: its time was corrected


class AlertKind(IntEnum):
    """Kinds of alerts, one per transition of the signal machine."""

    ENTRY = 1
    EXIT = 2
    STOP = 3
    SUPPRESSED = 4
    DECOUPLED = 5


class Filter(IntFlag):
    """Filters that can hold an entry back; of a STOP, MAX_HOLD where its z-score did not."""

    CORRELATION = 1
    LEG_AGE = 2
    STATIONARY = 4
    COOLDOWN = 8
    EDGE = 16
    STOP_Z = 32  # the stop would close the position at once
    MAX_HOLD = 64  # of a STOP: the position was held for max_hold_s


class Pair(NamedTuple):
    """Two symbols.

    Attributes
    ----------
    y : str
        Bought when the spread is bought.
    x : str
        Sold against it.
    """

    y: str
    x: str


LogLevel = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the lab's event log.

    Attributes
    ----------
    time_ns : int
        Wall clock, ns since 1970 UTC.
    level : {"info", "warning", "error"}
        How much it matters.
    message : str
        What happened and, where something broke, what to do.
    """

    time_ns: int
    level: LogLevel
    message: str
