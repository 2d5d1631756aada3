"""The past as a backtest sees it: rows, and what each leg traded at, before and after each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.legs import Leg, LegColumns, legs_of_ticks
from pairlab.data.spooled_array import SpooledArray
from pairlab.research.past import Past
from pairlab.schema import EVENT, ROW, Records, RowFlag
from pairlab.settings import SettingValues

__all__ = ["DecidedRows", "Market", "market_of"]

_WARMING = int(RowFlag.WARMING)
_GAP = int(RowFlag.GAP_BEFORE)
_FLAGS_AT_ONCE = 4_096
_OPAQUE_ROW = np.dtype((np.void, ROW.itemsize))
_OPAQUE_EVENT = np.dtype((np.void, EVENT.itemsize))


@dataclass(frozen=True)
class Market:
    """Rows from the first full window on, and both legs.

    Attributes
    ----------
    rows : numpy.ndarray
        `pairlab.schema.ROW` records, warm-up left out; if `by_event`, only those of the events, one
        for each.
    events : numpy.ndarray
        `pairlab.schema.EVENT` records; ``row`` counts in all rows.
    y, x : Leg
        The legs.
    time_ns : array of int64, shape (rows,)
        Those of the rows.
    ordinal : array of int64, shape (rows,)
        Number of the tick that made a row; of observations, of the row.
    known_ns : array of int64, shape (rows,)
        When a row was known: the time of the tick that made it (a bar is known at the first tick
        past its close), or its own.
    values : SettingValues
        As they were used.
    warm_up : int
        Rows left out before the first full window.
    gaps : int
        Rows before which trades are missing.
    step_ns : int
        Of prices that come in regular steps; 0: irregular, or trades.
    by_event : bool
        Whether `rows` are those of the events alone.
    on_disk : bool
        Whether arrays of as many elements as rows lie in temporary files instead of memory.
    """

    rows: Records
    events: Records
    y: Leg
    x: Leg
    time_ns: NDArray[np.int64]
    ordinal: NDArray[np.int64]
    known_ns: NDArray[np.int64]
    values: SettingValues
    warm_up: int
    gaps: int
    step_ns: int
    by_event: bool = False
    on_disk: bool = False

    def __len__(self) -> int:
        return len(self.time_ns)

    def prices(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the prices of y, which of them each row has, and the same of x.

        An index that is empty counts up from 0.
        """
        found: list[NDArray[Any]] = []
        for leg in (self.y, self.x):
            counts_up = leg.first is not None
            found += [leg.price[leg.first :], leg.last[:0] if counts_up else leg.last]
        y, y_at, x, x_at = found
        return y, y_at, x, x_at

    def after(self, leg: Leg, rows: NDArray[np.int64], latency_ns: int) -> NDArray[np.int64]:
        """Return the index of a leg's first trade that an order decided on each row can take."""
        if leg.after_row is not None:
            return leg.after_row[rows]
        if not len(rows):
            return np.zeros(0, np.int64)
        if leg.first is not None and not latency_ns:
            return rows + (leg.first + 1)  # the observation of the next row
        return leg.after(self.ordinal[rows], self.known_ns[rows], latency_ns)

    def indexed(self, latency_ns: int) -> Market:
        """Return the same, with every search done: for many sets of thresholds on these rows.

        `after` must then be asked with this latency. It takes 16 bytes a row and a trade more.
        """
        every = np.arange(len(self))
        legs = (
            replace(
                leg,
                after_row=self.after(leg, every, latency_ns),
                row_of_trade=leg.row_of(np.arange(len(leg.price))),
            )
            for leg in (self.y, self.x)
        )
        y, x = legs
        return replace(self, y=y, x=x)


class DecidedRows:
    """What a market keeps of a run's rows, taken piece by piece: those of the events.

    Parameters
    ----------
    timeframe : str
        Of the rows.
    on_disk : bool
        As `Market` has it.
    """

    def __init__(self, timeframe: str, *, on_disk: bool = False) -> None:
        self._begin = self._count = self._gaps = 0
        self._warm = False
        self._on_disk: Final = on_disk
        # As opaque bytes: numpy copies records field by field, ten times as slowly.
        self._rows, self._events = [np.zeros(0, _OPAQUE_ROW)], [np.zeros(0, _OPAQUE_EVENT)]
        self._times, self._ordinals = (SpooledArray(np.int64, on_disk=on_disk) for _ in range(2))
        self._legs: Final = LegColumns(timeframe, on_disk=on_disk)

    def take(self, ticks: Records | None, rows: Records, events: Records) -> None:
        """Take the next piece; of observations there are no ticks."""
        if not self._warm:
            first = _first_warm(rows)
            self._begin += first
            self._warm = first < len(rows)
            rows, events = rows[first:], _counted_from(events, first)
        if len(events):  # none lies in the warm-up: z is not defined there
            self._rows.append(rows.view(_OPAQUE_ROW)[events["row"]])
            self._events.append(_counted_from(events, -self._count).view(_OPAQUE_EVENT))
        self._count += len(rows)
        if ticks is not None:  # only rows of ticks know when they were, and which made them
            ordinals = rows["received_ns"].copy()
            self._times.append(rows["time_ns"].copy())
            self._ordinals.append(ordinals)
            self._gaps += int(((rows["flags"] & _GAP) != 0).sum())
            self._legs.take(ticks, ordinals)

    def market(self, past: Past) -> Market:
        """Return the market of the run, once it is over."""
        rows = np.concatenate(self._rows).view(ROW)
        events = np.concatenate(self._events).view(EVENT)
        if past.observed is not None:
            return _observed_market(past, rows, events, self._begin, by_event=True)
        (y, x), known = self._legs.legs()
        times, ordinals = self._times.array(), self._ordinals.array()
        return Market(
            rows, events, y, x, times, ordinals, known, past.engine.values, self._begin,
            self._gaps, step_ns=0, by_event=True, on_disk=self._on_disk,
        )  # fmt: skip


def _counted_from(events: Records, first: int) -> Records:
    """Return a copy of events whose rows count from another one on."""
    counted: Records = events.view(_OPAQUE_EVENT).copy().view(EVENT)
    counted["row"] -= first
    return counted


def market_of(past: Past) -> Market:
    """Return what a run of the engine knew of both legs at each of its rows."""
    engine, rows = past.engine, past.rows
    begin = _first_warm(rows)
    events = _counted_from(engine.events, begin)  # none lies in the warm-up
    rows = rows[begin:]
    if past.ticks is None:
        return _observed_market(past, rows, events, begin, by_event=False)
    times, ordinals = (np.ascontiguousarray(rows[name]) for name in ("time_ns", "received_ns"))
    gaps = int(((rows["flags"] & _GAP) != 0).sum())
    (y, x), known = legs_of_ticks(past.ticks, ordinals, engine.values)
    return Market(rows, events, y, x, times, ordinals, known, engine.values, begin, gaps, step_ns=0)


def _observed_market(
    past: Past, rows: Records, events: Records, begin: int, *, by_event: bool
) -> Market:
    """Return the market of observations; a silence leaves rows out, and marks none."""
    observed = past.observed
    assert observed is not None  # noqa: S101  # one of the two is there
    times, y_at, x_at = observed.time_ns[begin:], observed.y_at, observed.x_at
    first = begin if y_at is x_at else None  # then it counts up from 0
    y, x = (
        Leg(prices.time_ns, prices.price, at[begin:], None, first)
        for prices, at in zip(observed.legs, (y_at, x_at), strict=True)
    )
    numbers = y_at[: len(times)] if y_at is x_at else np.arange(len(times))
    return Market(
        rows, events, y, x, times, numbers, times, past.engine.values, begin,
        gaps=0, step_ns=observed.step_ns, by_event=by_event,
    )  # fmt: skip


def _first_warm(rows: Records) -> int:
    """Return the number of the first row that is no warm-up; without one, how many rows."""
    for start in range(0, len(rows), _FLAGS_AT_ONCE):
        warm = (rows["flags"][start : start + _FLAGS_AT_ONCE] & _WARMING) == 0
        if warm.any():
            return start + int(warm.argmax())
    return len(rows)
