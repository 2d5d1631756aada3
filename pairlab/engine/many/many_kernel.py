"""The kernel for many pairs: ticks of all symbols in, each pair's rows into its own buffer.

A pair's share of the ticks is gathered, and then `pairlab.engine.kernel.consume` makes its rows:
the same function as of a single pair, so that the rows are the same to the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import carray, int64  # type: ignore[attr-defined]
from numpy.typing import NDArray

from pairlab.engine.jit import DIGEST, jit_inlined, jit_internal, pointer_at
from pairlab.engine.kernel import consume, load_kernel
from pairlab.engine.state import (
    BAR_CLOCK,
    BAR_TIMEFRAMES,
    BARS_HELD,
    LEGS,
    PAIR_SLOT,
    PARAMS,
    RING_COLUMNS,
    STATE,
    SYMBOL_BAR,
    SYMBOL_TICK,
)
from pairlab.schema import EVENT, ROW, TICK, RowFlag

__all__ = [
    "ADDRESSES",
    "EVENT_COUNT",
    "RESUME_SLOT",
    "RESUME_TICK",
    "consume_many",
    "kernel_many",
    "split_by_symbol",
]

ADDRESSES: Final = (
    "version", "ticks", "tick_count", "slots", "slot_count", "symbol_ends", "symbol_count",
    "order", "share", "events", "event_slots", "event_room", "resume_slot", "resume_tick",
    "event_count",
)  # fmt: skip
"""What the array holds that the kernel is called with; arrays by their addresses."""

(
    _VERSION, _TICKS, _TICK_COUNT, _SLOTS, _SLOT_COUNT, _SYMBOL_ENDS, _SYMBOL_COUNT, _ORDER, _SHARE,
    _EVENTS, _EVENT_SLOTS, _EVENT_ROOM, RESUME_SLOT, RESUME_TICK, EVENT_COUNT,
) = range(len(ADDRESSES))  # fmt: skip

_GAP_BEFORE = int(RowFlag.GAP_BEFORE)
_ROW_BYTES = ROW.itemsize
_LEVELS = len(BAR_TIMEFRAMES)


@jit_internal
def split_by_symbol(ticks: NDArray[Any], ends: NDArray[Any], order: NDArray[Any]) -> None:
    """Write the numbers of each symbol's ticks, ascending, symbol by symbol.

    Parameters
    ----------
    ticks : array of SYMBOL_TICK
        Their ``leg`` is below ``len(ends)``.
    ends : array of int64
        Written: where in `order` each symbol's numbers end; they begin where the one before ends.
    order : array of int64
        Written.
    """
    ends[:] = 0
    for tick in ticks:
        ends[tick.leg] += 1
    begin = 0
    for symbol in range(len(ends)):
        count = ends[symbol]
        ends[symbol] = begin
        begin += count
    for i in range(len(ticks)):
        symbol = ticks[i].leg
        order[ends[symbol]] = i
        ends[symbol] += 1


@jit_internal
def _gather(
    ticks: NDArray[Any],
    ends: NDArray[Any],
    order: NDArray[Any],
    y: int,
    x: int,
    share: NDArray[Any],
) -> int:
    """Write a pair's ticks in the order in which they came; return how many there are."""
    i = ends[y - 1] if y > 0 else 0
    j = ends[x - 1] if x > 0 else 0
    y_end, x_end = ends[y], ends[x]
    count = 0
    while i < y_end or j < x_end:
        own = j >= x_end or (i < y_end and order[i] < order[j])
        tick = ticks[order[i] if own else order[j]]
        to = share[count]
        to.time_ns = tick.time_ns
        to.received_ns = tick.received_ns
        to.id = tick.id
        to.leg = 0 if own else 1
        to.price = tick.price
        to.quantity = tick.quantity
        to.buyer_is_maker = tick.buyer_is_maker
        count += 1
        if own:
            i += 1
        else:
            j += 1
    return count


@jit_internal
def _note_rows(slot: Any, p: Any, rows: NDArray[Any], count: int) -> None:
    """Count rows that were written to a pair's buffer."""
    slot.end += count
    slot.total += count
    slot.made += count
    if p.timeframe_ns > 0:
        for k in range(count):
            if rows[k].flags & _GAP_BEFORE != 0:
                slot.gaps += 1


@jit_inlined
def consume_many(
    ticks: NDArray[Any],
    slots: NDArray[Any],
    ends: NDArray[Any],
    order: NDArray[Any],
    share: NDArray[Any],
    events: NDArray[Any],
    event_slots: NDArray[Any],
    memory: NDArray[Any],
) -> bool:
    """Consume ticks of all symbols for every active pair, until a pair or the events are full.

    Parameters
    ----------
    ticks : array of SYMBOL_TICK
        In the order in which they happened.
    slots : array of PAIR_SLOT
        The pairs.
    ends, order : arrays of int64
        Room for a number a symbol, and one a tick.
    share : array of TICK
        Room for as many ticks.
    events, event_slots : arrays of EVENT and int64
        Written from 0 on: ``row`` is the row's number within its pair, and the pair's slot.
    memory : array of int64
        Where to resume: slot and tick within its share; and how many events were written.

    Returns
    -------
    bool
        Whether everything was consumed; else the pair to resume with has no room for another row,
        or there is none for another event.
    """
    split_by_symbol(ticks, ends, order)
    event_count = 0
    first = memory[RESUME_SLOT]
    start = memory[RESUME_TICK]
    for k in range(first, len(slots)):
        slot = slots[k]
        if slot.active == 0:
            start = 0
            continue
        count = _gather(ticks, ends, order, slot.y, slot.x, share)
        s = carray(pointer_at(slot.state), 1, STATE)[0]
        p = carray(pointer_at(slot.params), 1, PARAMS)[0]
        ring = carray(pointer_at(slot.ring), (p.window, RING_COLUMNS), np.float64)
        clock = carray(pointer_at(0), 1, BAR_CLOCK)[0]  # no pair keeps bars
        bars = carray(pointer_at(0), (_LEVELS, BARS_HELD + 1, LEGS), SYMBOL_BAR)
        while start < count:
            room = min(slot.room - slot.end, len(events) - event_count)
            rows = carray(pointer_at(slot.rows + slot.end * _ROW_BYTES), room, ROW)
            start, row_count, happened = consume(
                share[:count], start, s, p, ring, clock, bars, rows, events[event_count:]
            )
            for e in range(event_count, event_count + happened):
                events[e].row += slot.total
                event_slots[e] = k
            event_count += happened
            _note_rows(slot, p, rows, row_count)
            if start < count:
                memory[RESUME_SLOT] = k
                memory[RESUME_TICK] = start
                memory[EVENT_COUNT] = event_count
                return False
        start = 0
    memory[EVENT_COUNT] = event_count
    return True


@functools.cache
def kernel_many() -> Callable[[NDArray[np.int64]], bool]:
    """Return the kernel for many pairs; it keeps the GIL, for batches come often and are short."""
    version = DIGEST

    def run(memory: NDArray[Any]) -> bool:
        memory[_VERSION] = version
        tick_count = memory[_TICK_COUNT]
        ticks = carray(pointer_at(memory[_TICKS]), tick_count, SYMBOL_TICK)
        slots = carray(pointer_at(memory[_SLOTS]), memory[_SLOT_COUNT], PAIR_SLOT)
        ends = carray(pointer_at(memory[_SYMBOL_ENDS]), memory[_SYMBOL_COUNT], np.int64)
        order = carray(pointer_at(memory[_ORDER]), tick_count, np.int64)
        share = carray(pointer_at(memory[_SHARE]), tick_count, TICK)
        events = carray(pointer_at(memory[_EVENTS]), memory[_EVENT_ROOM], EVENT)
        event_slots = carray(pointer_at(memory[_EVENT_SLOTS]), memory[_EVENT_ROOM], np.int64)
        return consume_many(ticks, slots, ends, order, share, events, event_slots, memory)

    return load_kernel(run, (int64[::1],), (), version, nogil=False, read=_version_of)


def _version_of(run: Callable[..., Any], nothing: tuple[Any, ...]) -> int:
    """Return the version that a kernel writes where it is given nothing to do."""
    memory = np.zeros(64, np.int64)
    run(*nothing, memory)
    return int(memory[_VERSION])
