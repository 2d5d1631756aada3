"""The past as a backtest sees it: rows, and what each leg traded at, before and after each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairlab.research.past import LegPrices, Past
from pairlab.schema import EVENT, ROW, TIMEFRAMES_NS, Records, RowFlag
from pairlab.settings import SettingValues

__all__ = ["DecidedRows", "Leg", "Market", "legs_of_ticks", "market_of"]

_WARMING = int(RowFlag.WARMING)
_GAP = int(RowFlag.GAP_BEFORE)
_FLAGS_AT_ONCE = 4_096
_OPAQUE_ROW = np.dtype((np.void, ROW.itemsize))
_OPAQUE_EVENT = np.dtype((np.void, EVENT.itemsize))


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
    _ordinal : array of int64, shape (n,), optional
        Numbers of the ticks that its trades were; None: observations.
    _first : int, optional
        Where every observation from this one on made a row of its own.
    """

    time_ns: NDArray[np.int64]
    price: NDArray[np.float64]
    last: NDArray[np.int64]
    _ordinal: NDArray[np.int64] | None
    _first: int | None = None
    after_row: NDArray[np.int64] | None = None
    row_of_trade: NDArray[np.int64] | None = None

    def row_of(self, trade: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first row that knows of each trade; the number of rows where none does."""
        if self.row_of_trade is not None:
            return self.row_of_trade[trade]
        if self._first is not None:
            return np.clip(trade - self._first, 0, len(self.last))
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

    def __len__(self) -> int:
        return len(self.time_ns)

    def prices(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return y and x at every row."""
        if self.y._first is None or self.x._first is None:
            return self.y.price[self.y.last], self.x.price[self.x.last]
        y, x = (leg.price[leg._first :] for leg in (self.y, self.x))  # not 136 bytes apart
        return y, x

    def after(self, leg: Leg, rows: NDArray[np.int64], latency_ns: int) -> NDArray[np.int64]:
        """Return the index of a leg's first trade that an order decided on each row can take."""
        if leg.after_row is not None:
            return leg.after_row[rows]
        if not len(rows):
            return np.zeros(0, np.int64)
        if leg._first is not None and not latency_ns:
            return rows + (leg._first + 1)  # the observation of the next row
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
    ticks : bool
        Whether the rows are of ticks: only they know then when they were, and which made them.
    """

    def __init__(self, *, ticks: bool) -> None:
        self._ticks = ticks
        self._begin = self._count = self._gaps = 0
        self._warm = False
        # As opaque bytes: numpy copies records field by field, ten times as slowly.
        self._rows, self._events = [np.zeros(0, _OPAQUE_ROW)], [np.zeros(0, _OPAQUE_EVENT)]
        self._times, self._ordinals = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]

    def take(self, rows: Records, events: Records) -> None:
        """Take the next piece."""
        if not self._warm:
            first = _first_warm(rows)
            self._begin += first
            self._warm = first < len(rows)
            rows, events = rows[first:], _counted_from(events, first)
        if len(events):  # none lies in the warm-up: z is not defined there
            self._rows.append(rows.view(_OPAQUE_ROW)[events["row"]])
            self._events.append(_counted_from(events, -self._count).view(_OPAQUE_EVENT))
        self._count += len(rows)
        if self._ticks:
            self._times.append(rows["time_ns"].copy())
            self._ordinals.append(rows["received_ns"].copy())
            self._gaps += int(((rows["flags"] & _GAP) != 0).sum())

    def market(self, past: Past) -> Market:
        """Return the market of the run, once it is over."""
        rows = np.concatenate(self._rows).view(ROW)
        events = np.concatenate(self._events).view(EVENT)
        times, ordinals = np.concatenate(self._times), np.concatenate(self._ordinals)
        return _market(
            past, rows, events, times, ordinals, self._begin, self._count, self._gaps, by_event=True
        )


def _counted_from(events: Records, first: int) -> Records:
    """Return a copy of events whose rows count from another one on."""
    events = events.copy()
    events["row"] -= first
    return events


def market_of(past: Past) -> Market:
    """Return what a run of the engine knew of both legs at each of its rows."""
    engine, rows = past.engine, past.rows
    begin = _first_warm(rows)
    events = _counted_from(engine.events, begin)  # none lies in the warm-up
    rows = rows[begin:]
    times = ordinals = np.zeros(0, np.int64)
    gaps = 0
    if past.ticks is not None:
        times, ordinals = (np.ascontiguousarray(rows[name]) for name in ("time_ns", "received_ns"))
        gaps = int(((rows["flags"] & _GAP) != 0).sum())
    return _market(past, rows, events, times, ordinals, begin, len(rows), gaps, by_event=False)


def _market(
    past: Past,
    rows: Records,
    events: Records,
    times: NDArray[np.int64],
    ordinals: NDArray[np.int64],
    begin: int,
    count: int,
    gaps: int,
    *,
    by_event: bool,
) -> Market:
    if past.observed is not None:
        times = past.observed.time_ns[begin:]  # a silence leaves rows out, and marks none
        y_at, x_at = past.observed.y_at, past.observed.x_at
        first = begin if y_at is x_at and (y_at == np.arange(len(y_at))).all() else None
        legs = tuple(
            Leg(prices.time_ns, prices.price, at[begin:], None, first)
            for prices, at in zip(past.observed.legs, (y_at, x_at), strict=True)
        )
        ordinal, known = np.arange(count), times
        step = past.observed.step_ns
    else:
        assert past.ticks is not None  # noqa: S101  # one of the two is there
        legs, known = legs_of_ticks(past.ticks, ordinals, past.engine.values)
        ordinal, step = ordinals, 0
    return Market(
        rows, events, legs[0], legs[1], times, ordinal, known, past.engine.values, begin, gaps,
        step, by_event,
    )  # fmt: skip


def _first_warm(rows: Records) -> int:
    """Return the number of the first row that is no warm-up; without one, how many rows."""
    for start in range(0, len(rows), _FLAGS_AT_ONCE):
        warm = (rows["flags"][start : start + _FLAGS_AT_ONCE] & _WARMING) == 0
        if warm.any():
            return start + int(warm.argmax())
    return len(rows)


def legs_of_ticks(
    ticks: Records, ordinal: NDArray[np.int64], values: SettingValues
) -> tuple[tuple[Leg, ...], NDArray[np.int64]]:
    """Return both legs, and when rows were known.

    Parameters
    ----------
    ticks : numpy.ndarray
        `pairlab.schema.TICK` records.
    ordinal : array of int64, shape (rows,)
        Numbers of the ticks that made the rows.
    values : SettingValues
        Of the run.
    """
    # In arrays of their own: a pass over a field of records costs as much as one over all fields.
    price, number, times = (
        np.ascontiguousarray(ticks[name]) for name in ("price", "leg", "time_ns")
    )
    valid = (price > 0.0) & (price < np.inf) & ((number >> 1) == 0)  # as the engine has it
    if not valid.all():
        times[~valid] = np.iinfo(np.int64).min
    running = np.maximum.accumulate(times)
    # A tick that closes a bar belongs to the next one.
    counted = "right" if TIMEFRAMES_NS[values.timeframe] == 0 else "left"
    legs = []
    for leg in (0, 1):
        traded = valid & (number == leg)
        at = np.flatnonzero(traded)
        # Counted up to each tick: a search for each row would take ten times as long.
        before = np.cumsum(traded) - 1
        if counted == "left":
            before -= traded
        legs.append(Leg(running[at], price[at], before[ordinal], at))
    known = running[ordinal] if len(ordinal) else np.zeros(0, np.int64)
    return tuple(legs), known


def prices_at(leg: LegPrices | Leg, time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the last price at or before each time; NaN before the first."""
    at = np.searchsorted(leg.time_ns, time_ns, side="right") - 1
    found: NDArray[np.float64] = np.where(at >= 0, leg.price[np.maximum(at, 0)], np.nan)
    return found
