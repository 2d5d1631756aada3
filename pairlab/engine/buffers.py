"""Arrays that the kernel works in: state, parameters, window, bars and output.

Nothing here needs numba.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.state import (
    BAR,
    BAR_CLOCK,
    BAR_TIMEFRAMES,
    BARS_HELD,
    LEGS,
    PARAMS,
    RING_COLUMNS,
    STATE,
    SYMBOL_BAR,
    fill_params,
    new_state,
)
from pairlab.errors import DataError
from pairlab.schema import EVENT, ROW, Records
from pairlab.settings import SettingValues

__all__ = ["BarBuffers", "EngineBuffers", "addresses"]

_FIRST_ROWS: Final = 1_024
_MAX_KEPT_ROWS: Final = 262_144
"""The output is reused up to this many rows; longer updates get arrays of their own."""

_SLOTS: Final = BARS_HELD + 1


class BarBuffers:
    """Bars of one or more symbols at every timeframe, closed by one clock.

    Parameters
    ----------
    symbols : int
        How many; each takes 2.9 MB.

    Attributes
    ----------
    clock : numpy.ndarray
        One `BAR_CLOCK` record.
    bars : numpy.ndarray
        `SYMBOL_BAR` records, shape (timeframes, slots, symbols).
    """

    def __init__(self, symbols: int = LEGS) -> None:
        self.clock: Records = np.zeros(1, BAR_CLOCK)
        self.bars: Records = np.zeros((len(BAR_TIMEFRAMES), _SLOTS, symbols), SYMBOL_BAR)

    def hold(self, timeframe: str, bars: Records) -> None:
        """Hold these closed bars of a pair, `BAR` records, in place of those of a timeframe.

        `closed_of_pair` gives them again; no tick can be added afterwards.
        """
        level = BAR_TIMEFRAMES.index(timeframe)
        bars = bars[-BARS_HELD:]
        count = len(bars)
        for symbol, leg in enumerate("yx"):
            ring = self.bars[level, :count, symbol]
            ring["time_ns"] = bars["time_ns"]
            for column in ("open", "high", "low", "close", "volume"):
                ring[column] = bars[f"{leg}_{column}"]
        self.clock["head"][0, level] = self.clock["count"][0, level] = count

    def closed(self, symbol: int, timeframe: str) -> Records:
        """Return the closed bars of a symbol that are held, oldest first, as `SYMBOL_BAR`.

        Raises
        ------
        DataError
            For a timeframe of which there are no bars.
        """
        if timeframe not in BAR_TIMEFRAMES:
            known = ", ".join(repr(name) for name in BAR_TIMEFRAMES)
            raise DataError(f"there are no bars of {timeframe!r}: one of {known}")
        level = BAR_TIMEFRAMES.index(timeframe)
        head, count = (int(self.clock[name][0, level]) for name in ("head", "count"))
        ring = self.bars[level, :, symbol]
        oldest = (head - count) % _SLOTS
        if oldest <= head:
            closed: Records = ring[oldest:head].copy()
        else:
            closed = np.concatenate([ring[oldest:], ring[:head]])
        np.maximum(closed["volume"], 0.0, out=closed["volume"])
        return closed

    def closed_of_pair(self, y: int, x: int, timeframe: str) -> Records:
        """Return the closed bars of two symbols side by side, as `BAR`."""
        legs = {"y": self.closed(y, timeframe), "x": self.closed(x, timeframe)}
        joined = np.empty(len(legs["y"]), BAR)
        joined["time_ns"] = legs["y"]["time_ns"]
        for leg, closed in legs.items():
            for column in ("open", "high", "low", "close", "volume"):
                joined[f"{leg}_{column}"] = closed[column]
        return joined


class EngineBuffers:
    """State, parameters, window, bars and output of one pair.

    Parameters
    ----------
    values : SettingValues
        Every setting.
    bars : bool
        Whether bars are kept.

    Attributes
    ----------
    state, params : numpy.ndarray
        One `STATE` and one `PARAMS` record.
    ring : numpy.ndarray
        The window's observations, shape (window, `RING_COLUMNS`).
    bars : BarBuffers or None
        y is symbol 0, x is symbol 1.
    rows, events : numpy.ndarray
        Output of the kernel, reused by every call.
    memory : numpy.ndarray
        `addresses` of them all.
    """

    __slots__ = ("bars", "events", "memory", "params", "ring", "rows", "state")

    def __init__(self, values: SettingValues, *, bars: bool = True) -> None:
        self.state: Records = new_state()
        self.params: Records = np.zeros(1, PARAMS)
        fill_params(self.params, values)
        self.ring: NDArray[np.float64] = np.zeros((values.window, RING_COLUMNS))
        self.rows: Records = np.zeros(_FIRST_ROWS, ROW)
        self.events: Records = np.zeros(_FIRST_ROWS, EVENT)
        self.bars: BarBuffers | None = None
        self.set_bars(BarBuffers() if bars else None)

    def move_to(self, state: Records, params: Records) -> int:
        """Move state and parameters into slices of arrays of many pairs; return their window.

        Returns
        -------
        int
            Its address; it stays where it is.
        """
        state[:], params[:] = self.state, self.params
        self.state, self.params = state, params
        self.memory = self._addresses(self.rows, self.events)
        return int(self.ring.ctypes.data)

    def set_bars(self, bars: BarBuffers | None) -> None:
        """Keep bars in these buffers from now on; None keeps none."""
        self.bars = bars
        self.params["keep_bars"] = bars is not None
        self.memory = self._addresses(self.rows, self.events)

    def output(self, row_count: int) -> tuple[Records, Records, NDArray[np.int64]]:
        """Return rows and events for at least so many, and the memory that includes them."""
        if row_count > _MAX_KEPT_ROWS:
            rows, events = np.empty(row_count, ROW), np.zeros(row_count, EVENT)
            return rows, events, self._addresses(rows, events)
        if row_count > len(self.rows):
            capacity = min(2 * row_count, _MAX_KEPT_ROWS)
            self.rows, self.events = np.empty(capacity, ROW), np.zeros(capacity, EVENT)
            self.memory = self._addresses(self.rows, self.events)
        return self.rows, self.events, self.memory

    def _addresses(self, rows: Records, events: Records) -> NDArray[np.int64]:
        return addresses(self.state, self.params, self.ring, self.bars, rows, events)


def addresses(
    state: Records,
    params: Records,
    ring: NDArray[np.float64],
    bars: BarBuffers | None,
    rows: Records,
    events: Records,
) -> NDArray[np.int64]:
    """Return the addresses that a kernel is called with; keep the arrays alive as long as it runs.

    Handing over eight structured arrays costs more than a tick's work, their addresses in one
    plain array nearly nothing.

    Parameters
    ----------
    state, params : numpy.ndarray
        One `STATE` and one `PARAMS` record; they may be slices of arrays of many pairs.
    ring : numpy.ndarray
        Shape (window, `RING_COLUMNS`).
    bars : BarBuffers or None
        Of y and x; None if none are kept.
    rows, events : numpy.ndarray
        Output, `events` at least as long as `rows`.

    Raises
    ------
    DataError
        For arrays of another type or shape: the kernel would write beyond them.
    """
    clock, bar_records = (None, None) if bars is None else (bars.clock, bars.bars)
    arrays = (state, params, ring, clock, bar_records, rows, events)
    dtypes = (STATE, PARAMS, np.float64, BAR_CLOCK, SYMBOL_BAR, ROW, EVENT)
    for array, dtype in zip(arrays, dtypes, strict=True):
        if array is not None and (array.dtype != dtype or not array.flags.carray):
            raise DataError(f"the kernel's memory must be contiguous {dtype}")
    if (
        len(state) != 1
        or len(params) != 1
        or len(events) < len(rows)
        or ring.shape != (params[0]["window"], RING_COLUMNS)
        or (bars is not None and bars.bars.shape != (len(BAR_TIMEFRAMES), _SLOTS, LEGS))
        or (bars is None and params[0]["keep_bars"])
    ):
        raise DataError("the kernel's memory has the wrong shape")
    found = [0 if array is None else array.ctypes.data for array in arrays]
    return np.array([*found, len(rows)], np.int64)
