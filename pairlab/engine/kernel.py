"""The kernel that live, replay, `analyze` and the backtest share: ticks in, rows out.

There are two ways in: `consume` takes ticks, `observe_many` observations. Both make each row by
`make_row`, so that the same prices give the same row to the last bit.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import carray, float64, from_dtype, int64, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from pairlab.engine.bars import add_to_bars, roll_bars
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
    NEVER_NS,
    PARAMS,
    PARAMS_AT,
    RING_AT,
    RING_COLUMNS,
    ROWS_AT,
    STATE,
    STATE_AT,
    SYMBOL_BAR,
)
from pairlab.errors import PairlabError
from pairlab.schema import EVENT, NO_TIME_NS, ROW, TICK

__all__ = [
    "consume",
    "kernel_gil",
    "kernel_nogil",
    "observe_many",
    "run_observations",
]

_LOGGER: Final = logging.getLogger("pairlab.engine")
_LEVELS = len(BAR_TIMEFRAMES)
_TICKS_SIGNATURE = (from_dtype(TICK)[::1], int64, int64[::1])
# What is only read may be what pandas lends, which may not be written to: no copy of it is made.
_TIMES, _PRICES = (types.Array(kind, 1, "C", readonly=True) for kind in (int64, float64))
_OBSERVATIONS_SIGNATURE = (_TIMES, _PRICES, _PRICES, _TIMES, _TIMES, int64[::1])


@jit_inlined
def make_row(s: Any, p: Any, ring: NDArray[Any], row: Any, event: Any, row_number: int) -> int:
    """Make one row of the last prices and decide on it; return the number of events, 0 or 1."""
    observe(s, p, ring, row)
    happened = decide(s, p, row, event)
    row.position = s.position
    if happened == 0:
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
            s.next_corrected = 0
            i += 1
            continue
        if row_count == len(rows):
            break
        time_ns = tick.time_ns
        due = True
        if length > 0 and time_ns >= s.bar_end_ns:
            # The bar closes before the tick counts; the tick's turn comes when all bars have.
            if s.seeded != 0:  # nobody saw this bar: the seeds end before it
                s.y_seen = s.x_seen = 0
                s.gap = 1
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
        if s.skip_to_ns != NO_TIME_NS:
            s.bar_end_ns = s.skip_to_ns
            s.skip_to_ns = NO_TIME_NS
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
    s.seeded = 0
    if s.bar_end_ns == NEVER_NS:
        s.bar_end_ns = (time_ns // length + 1) * length
    elif time_ns < s.bar_end_ns - length:
        s.late += 1


@jit_internal
def take_tick(s: Any, tick: Any) -> None:
    """Update the last price of a tick's leg; times never step back."""
    time_ns = tick.time_ns
    s.time_ns = max(s.time_ns, time_ns)
    if s.next_corrected != 0:
        s.corrected |= 1 if tick.leg == 0 else 2
        s.next_corrected = 0
    if tick.leg == 0:
        s.y_price = tick.price
        s.y_time_ns = max(s.y_time_ns, time_ns)
        s.y_seen = 1
    else:
        s.x_price = tick.price
        s.x_time_ns = max(s.x_time_ns, time_ns)
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

    nothing = (np.zeros(0, TICK), 0)
    return load_kernel(run, _TICKS_SIGNATURE, nothing, version, nogil=nogil)


def load_kernel(
    function: Callable[..., Any],
    signature: tuple[Any, ...],
    nothing: tuple[Any, ...],
    version: int,
    *,
    nogil: bool,
    read: Callable[..., int] | None = None,
) -> Callable[..., Any]:
    """Load a kernel from the cache or compile it; one that is not `version` is not used.

    Parameters
    ----------
    function, signature, nogil
        As `jit_kernel` takes them.
    nothing : tuple
        Arguments but for the memory, under which it makes no row.
    version : int
        What it writes to `STATE.kernel_version`. The digest in it covers every layout, so that a
        kernel that writes this number to this place was compiled for the records of this process.
    read : callable, optional
        Runs a kernel under `nothing` and returns its version; by default `version_of`.
    """
    read = read or version_of
    run = jit_kernel(function, signature, nogil=nogil)
    if read(run, nothing) != version:
        _LOGGER.warning("the compile cache holds a kernel of another layout: compiling anew")
        run = jit_kernel(function, signature, nogil=nogil, cached=False)
        if read(run, nothing) != version:
            raise PairlabError("the compiled kernel does not fit the records: it is not used")
    return run


def version_of(run: Callable[..., Any], nothing: tuple[Any, ...]) -> int:
    """Return what a kernel writes where `STATE` has its version."""
    # Room to spare: a kernel of another layout writes and reads at places of its own.
    space = np.zeros((64, 1_024), np.int64)
    memory = np.zeros(64, np.int64)
    memory[:CAPACITY_AT] = [row.ctypes.data for row in space[:CAPACITY_AT]]
    run(*nothing, memory)
    state = space[STATE_AT].view(np.uint8)[: STATE.itemsize].view(STATE)
    return int(state["kernel_version"][0])


@functools.cache
def kernel_gil() -> Callable[..., tuple[int, int, int]]:
    """Return the kernel for ticks that keeps the GIL: releasing it costs more than a few ticks."""
    # numba remembers the type of the first array of a dtype, and dtypes are equal whether or not
    # they are called aligned: ticks from np.load must not be the first, or TICK would be refused.
    # The first is that of `version_of`.
    return _make_kernel(DIGEST, nogil=False)


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

    times, prices = np.zeros(0, np.int64), np.zeros(0)
    nothing = (times, prices, prices, times, times)
    return load_kernel(run, _OBSERVATIONS_SIGNATURE, nothing, version, nogil=True)
