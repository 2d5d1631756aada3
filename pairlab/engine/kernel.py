"""The kernel that live, replay, `analyze` and the backtest share: ticks in, rows out.

There are two ways in: `consume` takes ticks, `observe_many` observations. Both make each row by
`make_row`, so that the same prices give the same row to the last bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, float64, from_dtype, int64  # type: ignore[attr-defined]
from numpy.typing import NDArray

from pairlab.engine.bars import add_to_bars, roll_bars
from pairlab.engine.buffers import EngineBuffers
from pairlab.engine.jit import DIGEST, jit_inlined, jit_internal, jit_kernel, pointer_at
from pairlab.engine.observation import observe
from pairlab.engine.signals import decide
from pairlab.engine.state import (
    BAR_CLOCK,
    BAR_CLOCK_AT,
    BAR_TIMEFRAMES,
    BARS_AT,
    BARS_HELD,
    CAPACITY_AT,
    EMPTY_BARS_MAX,
    EVENTS_AT,
    LEGS,
    PARAMS,
    PARAMS_AT,
    RING_AT,
    RING_COLUMNS,
    ROWS_AT,
    STATE,
    STATE_AT,
    SYMBOL_BAR,
)
from pairlab.schema import EVENT, ROW, TICK
from pairlab.settings import SettingValues

__all__ = [
    "consume",
    "kernel_gil",
    "kernel_nogil",
    "observe_many",
    "run_observations",
]

_LEVELS = len(BAR_TIMEFRAMES)
_TICKS_SIGNATURE = (from_dtype(TICK)[::1], int64, int64[::1])
_OBSERVATIONS_SIGNATURE = (
    int64[::1], float64[::1], float64[::1], int64[::1], int64[::1], int64[::1],
)  # fmt: skip


@jit_inlined
def make_row(s: Any, p: Any, ring: NDArray[Any], row: Any, event: Any, row_number: int) -> int:
    """Make one row of the last prices and decide on it; return the number of events, 0 or 1."""
    observe(s, p, ring, row)
    if decide(s, p, row, event) == 0:
        return 0
    event.row = row_number
    return 1


@jit_inlined
def consume(
    ticks: NDArray[Any],
    start: int,
    s: Any,
    p: Any,
    ring: NDArray[Any],
    clock: Any,
    bars: NDArray[Any],
    rows: NDArray[Any],
    events: NDArray[Any],
) -> tuple[int, int, int]:
    """Consume ticks from `start` on until they end or `rows` is full.

    Parameters
    ----------
    ticks : array of TICK
        In the order in which they happened.
    start : int
        Index of the first to consume.
    s, p : records of STATE and PARAMS
        The pair's memory and its parameters.
    ring : array of float64, shape (window, RING_COLUMNS)
        The window.
    clock, bars : BAR_CLOCK record and array of SYMBOL_BAR
        Bars of y and x; not read where the parameters say that none are kept.
    rows, events : arrays of ROW and EVENT
        Written from 0 on; `events` is as long as `rows`.

    Returns
    -------
    tuple[int, int, int]
        Index of the first tick not consumed, rows and events written.
    """
    length = p.timeframe_ns
    row_count = 0
    event_count = 0
    i = start
    end = len(ticks)
    while i < end:
        tick = ticks[i]
        if not acceptable(s, tick):
            i += 1
            continue
        if row_count == len(rows):
            break
        time_ns = tick.time_ns
        due = True
        if length > 0 and s.bar_end_ns != 0 and time_ns >= s.bar_end_ns:
            # The bar closes before the tick counts; the tick's turn comes when all bars have.
            due = s.y_seen != 0 and s.x_seen != 0
            s.received_ns = tick.received_ns
            s.time_ns = s.bar_end_ns
            s.bar_end_ns += length
            if (time_ns - s.bar_end_ns) // length > EMPTY_BARS_MAX:
                s.skip_to_ns = (time_ns // length - EMPTY_BARS_MAX) * length
        else:
            if length > 0:
                count_in_bar(s, length, time_ns)
            if p.keep_bars != 0:
                roll_bars(clock, bars, time_ns)
                add_to_bars(clock, bars, tick.leg, tick.price, tick.quantity)
            take_tick(s, tick)
            due = length == 0 and s.y_seen != 0 and s.x_seen != 0
            i += 1
        if due:
            event_count += make_row(s, p, ring, rows[row_count], events[event_count], row_count)
            row_count += 1
        if s.skip_to_ns != 0:
            s.bar_end_ns = s.skip_to_ns
            s.skip_to_ns = 0
            s.gap = 1
    return i, row_count, event_count


@jit_internal
def acceptable(s: Any, tick: Any) -> bool:
    """Return whether a tick is valid; an invalid one is counted and changes nothing else."""
    if not math.isfinite(tick.price):
        s.not_finite += 1
        return False
    if tick.price <= 0.0:
        s.not_positive += 1
        return False
    if tick.leg != 0 and tick.leg != 1:
        s.unknown_leg += 1
        return False
    return True


@jit_internal
def count_in_bar(s: Any, length: int, time_ns: int) -> None:
    """Start the first bar; count a tick that is older than the forming one as late."""
    if s.bar_end_ns == 0:
        s.bar_end_ns = (time_ns // length + 1) * length
    elif time_ns < s.bar_end_ns - length:
        s.late += 1


@jit_internal
def take_tick(s: Any, tick: Any) -> None:
    """Update the last price of a tick's leg; times never step back."""
    time_ns = tick.time_ns
    if time_ns > s.time_ns or (s.y_seen == 0 and s.x_seen == 0):
        s.time_ns = time_ns
    if tick.leg == 0:
        s.y_price = tick.price
        if s.y_seen == 0 or time_ns > s.y_time_ns:
            s.y_time_ns = time_ns
        s.y_seen = 1
    else:
        s.x_price = tick.price
        if s.x_seen == 0 or time_ns > s.x_time_ns:
            s.x_time_ns = time_ns
        s.x_seen = 1
    s.received_ns = tick.received_ns


@jit_inlined
def observe_many(
    times_ns: NDArray[Any],
    y: NDArray[Any],
    x: NDArray[Any],
    y_times_ns: NDArray[Any],
    x_times_ns: NDArray[Any],
    s: Any,
    p: Any,
    ring: NDArray[Any],
    rows: NDArray[Any],
    events: NDArray[Any],
) -> int:
    """Make one row of each observation, whatever the timeframe.

    Parameters
    ----------
    times_ns : array of int64, shape (n,)
        When each was observed, ascending.
    y, x : arrays of float64, shape (n,)
        Prices, finite and above zero.
    y_times_ns, x_times_ns : arrays of int64, shape (n,)
        When each leg last traded.
    s, p, ring
        As for `consume`.
    rows, events : arrays of ROW and EVENT
        At least n of each; written from 0 on.

    Returns
    -------
    int
        Events written.
    """
    event_count = 0
    for i in range(len(times_ns)):
        s.y_seen = s.x_seen = 1
        s.y_price, s.x_price = y[i], x[i]
        s.y_time_ns, s.x_time_ns = y_times_ns[i], x_times_ns[i]
        s.time_ns = s.received_ns = times_ns[i]
        event_count += make_row(s, p, ring, rows[i], events[event_count], i)
    return event_count


def _make_kernel(digest: int, nogil: bool) -> Callable[..., tuple[int, int, int]]:
    version = 2 * digest + nogil  # numba's cache tells the two apart by this alone

    def run(ticks: NDArray[Any], start: int, memory: NDArray[Any]) -> tuple[int, int, int]:
        s = carray(pointer_at(memory[STATE_AT]), 1, STATE)[0]
        p = carray(pointer_at(memory[PARAMS_AT]), 1, PARAMS)[0]
        s.kernel_version = version
        ring = carray(pointer_at(memory[RING_AT]), (p.window, RING_COLUMNS), np.float64)
        rows = carray(pointer_at(memory[ROWS_AT]), memory[CAPACITY_AT], ROW)
        events = carray(pointer_at(memory[EVENTS_AT]), memory[CAPACITY_AT], EVENT)
        clock = carray(pointer_at(memory[BAR_CLOCK_AT]), 1, BAR_CLOCK)[0]
        bars = carray(pointer_at(memory[BARS_AT]), (_LEVELS, BARS_HELD + 1, LEGS), SYMBOL_BAR)
        return consume(ticks, start, s, p, ring, clock, bars, rows, events)

    return jit_kernel(run, _TICKS_SIGNATURE, nogil=nogil)


@functools.cache
def kernel_gil() -> Callable[..., tuple[int, int, int]]:
    """Return the kernel for ticks that keeps the GIL: releasing it costs more than a few ticks."""
    run = _make_kernel(DIGEST, nogil=False)
    # numba remembers the type of the first array of a dtype, and dtypes are equal whether or not
    # they are called aligned: ticks from np.load must not be the first, or TICK would be refused.
    run(np.zeros(0, TICK), 0, EngineBuffers(SettingValues(), bars=False).memory)
    return run


@functools.cache
def kernel_nogil() -> Callable[..., tuple[int, int, int]]:
    """Return the kernel for ticks that releases the GIL: for many ticks, in any thread."""
    return _make_kernel(DIGEST, nogil=True)


@functools.cache
def run_observations() -> Callable[..., int]:
    """Return the kernel for observations; it releases the GIL."""
    version = DIGEST

    def run(
        times_ns: NDArray[Any],
        y: NDArray[Any],
        x: NDArray[Any],
        y_times_ns: NDArray[Any],
        x_times_ns: NDArray[Any],
        memory: NDArray[Any],
    ) -> int:
        s = carray(pointer_at(memory[STATE_AT]), 1, STATE)[0]
        p = carray(pointer_at(memory[PARAMS_AT]), 1, PARAMS)[0]
        s.kernel_version = version
        ring = carray(pointer_at(memory[RING_AT]), (p.window, RING_COLUMNS), np.float64)
        rows = carray(pointer_at(memory[ROWS_AT]), memory[CAPACITY_AT], ROW)
        events = carray(pointer_at(memory[EVENTS_AT]), memory[CAPACITY_AT], EVENT)
        return observe_many(times_ns, y, x, y_times_ns, x_times_ns, s, p, ring, rows, events)

    return jit_kernel(run, _OBSERVATIONS_SIGNATURE, nogil=True)
