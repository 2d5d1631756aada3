"""What each leg of a pair traded at, and which of its trades a row knows of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.data.spooled_array import SpooledArray
from pairlab.research.past import LegPrices
from pairlab.schema import TIMEFRAMES_NS, Records
from pairlab.settings import SettingValues

__all__ = ["NEVER_NS", "Leg", "LegColumns", "Trades", "legs_of_ticks", "prices_at", "trades_in"]

NEVER_NS: Final = np.iinfo(np.int64).min
"""Before any trade."""


class Trades(NamedTuple):
    """Ticks, told apart.

    Attributes
    ----------
    price : array of float64, shape (n,)
        Of every tick.
    of : tuple of arrays of bool, shape (n,)
        Which ticks are trades of y, and which of x; the engine drops any other.
    running_ns : array of int64, shape (n,)
        The newest time up to each tick, as rows have it.
    """

    price: NDArray[np.float64]
    of: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    running_ns: NDArray[np.int64]


def trades_in(ticks: Records, reached_ns: int) -> Trades:
    """Tell the trades of both legs apart.

    Parameters
    ----------
    ticks : numpy.ndarray
        `pairlab.schema.TICK` records.
    reached_ns : int
        The newest time before the first of them; `NEVER_NS` if it is the first of all.
    """
    # In arrays of their own: a pass over a field of records costs as much as over all fields.
    price, number, times = (ticks[name].copy() for name in ("price", "leg", "time_ns"))
    valid = (price > 0.0) & (price < np.inf) & ((number >> 1) == 0)  # as the engine has it
    if not valid.all():
        times[~valid] = NEVER_NS
    if len(times):
        times[0] = max(times[0], reached_ns)
    of = valid & (number == 0), valid & (number == 1)
    return Trades(price, of, np.maximum.accumulate(times))


@dataclass(frozen=True)
class Leg:
    """One leg.

    Attributes
    ----------
    time_ns, price : arrays, shape (n,)
        Of its trades (or observations); times are running maxima, as those of rows are.
    last : array of int64, shape (rows,)
        Index of the newest trade that a row knows of.
    after_row, row_of_trade : arrays of int64, optional
        As `Market.indexed` makes them.
    first : int, optional
        Where every observation from this one on made a row of its own.
    _ordinal : array of int64, shape (n,), optional
        Numbers of the ticks that its trades were; None: observations.
    """

    time_ns: NDArray[np.int64]
    price: NDArray[np.float64]
    last: NDArray[np.int64]
    _ordinal: NDArray[np.int64] | None
    first: int | None = None
    after_row: NDArray[np.int64] | None = None
    row_of_trade: NDArray[np.int64] | None = None

    def row_of(self, trade: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first row that knows of each trade; the number of rows where none does."""
        if self.row_of_trade is not None:
            return self.row_of_trade[trade]
        if self.first is not None:
            return np.clip(trade - self.first, 0, len(self.last))
        return np.searchsorted(self.last, trade, side="left")

    def after(
        self, ordinal: NDArray[np.int64], known_ns: NDArray[np.int64], latency_ns: int
    ) -> NDArray[np.int64]:
        """Return the index of the first trade after decisions, and not before the latency is over.

        Parameters
        ----------
        ordinal : array of int64, shape (k,)
            Numbers of the ticks on which they were made.
        known_ns : array of int64, shape (k,)
            When they were made.
        latency_ns : int
            How long an order takes.
        """
        if self._ordinal is None:
            later = np.searchsorted(self.time_ns, known_ns, side="right")
            if not latency_ns:
                return later  # beyond any trade at that time
        else:
            later = np.searchsorted(self._ordinal, ordinal, side="right")
        return np.maximum(later, np.searchsorted(self.time_ns, known_ns + latency_ns, side="left"))


class LegColumns:
    """Both legs of ticks, taken piece by piece with the rows that they made.

    Parameters
    ----------
    timeframe : str
        Of the rows.
    on_disk : bool
        Whether the arrays lie in temporary files instead of memory.
    """

    def __init__(self, timeframe: str, *, on_disk: bool = False) -> None:
        # A tick that closes a bar belongs to the next one.
        self._counts_itself: Final = TIMEFRAMES_NS[timeframe] == 0
        self._ticks = 0
        self._reached = NEVER_NS
        times, prices = np.int64, np.float64
        # time_ns, price, ordinal and last of y and of x
        self._legs: Final = [
            [SpooledArray(kind, on_disk=on_disk) for kind in (times, prices, times, times)]
            for _ in (0, 1)
        ]
        self._known: Final = SpooledArray(times, on_disk=on_disk)

    def take(self, ticks: Records, ordinal: NDArray[np.int64]) -> None:
        """Take the next ticks, and the numbers of those among them that made rows.

        Parameters
        ----------
        ticks : numpy.ndarray
            `pairlab.schema.TICK` records.
        ordinal : array of int64, shape (rows,)
            Counted from the first tick that was ever taken.
        """
        price, trades_of, running = trades_in(ticks, self._reached)
        local = ordinal - self._ticks
        for traded, (leg_times, prices, ordinals, last) in zip(trades_of, self._legs, strict=True):
            at = np.flatnonzero(traded)
            # Counted up to each tick: a search for each row would take ten times as long.
            before = np.cumsum(traded) + (len(leg_times) - 1)
            if not self._counts_itself:
                before -= traded
            leg_times.append(running[at])
            prices.append(price[at])
            ordinals.append(at + self._ticks)
            last.append(before[local])
        self._known.append(running[local] if len(local) else np.zeros(0, np.int64))
        self._ticks += len(ticks)
        if len(running):
            self._reached = running[-1]

    def legs(self) -> tuple[tuple[Leg, Leg], NDArray[np.int64]]:
        """Return y and x, and when each row was known: the time of the tick that made it."""
        y, x = (
            Leg(times.array(), prices.array(), last.array(), ordinals.array())
            for times, prices, ordinals, last in self._legs
        )
        return (y, x), self._known.array()


def legs_of_ticks(
    ticks: Records, ordinal: NDArray[np.int64], values: SettingValues
) -> tuple[tuple[Leg, Leg], NDArray[np.int64]]:
    """Return both legs of ticks that are all there; as `LegColumns`."""
    columns = LegColumns(values.timeframe)
    columns.take(ticks, ordinal)
    return columns.legs()


def prices_at(leg: LegPrices | Leg, time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the last price at or before each time; NaN before the first."""
    at = np.searchsorted(leg.time_ns, time_ns, side="right") - 1
    found: NDArray[np.float64] = np.where(at >= 0, leg.price[np.maximum(at, 0)], np.nan)
    return found
