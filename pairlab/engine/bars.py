"""OHLCV bars of every symbol for all timeframes at once, at their close times.

A tick touches the forming second of its symbol only; a second that closes is merged into the
longer bars that are forming, so that seven timeframes cost little more than one. All symbols of a
stream share one clock: a tick of any of them closes the bars of all. Nothing here knows of pairs,
so that a symbol's bars are made once, in however many pairs it is a leg.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from pairlab.engine.jit import jit_inlined, jit_internal
from pairlab.engine.state import BAR_TIMEFRAMES, BARS_HELD
from pairlab.schema import TIMEFRAMES_NS

__all__ = ["add_to_bars", "roll_bars"]

_LEVELS = len(BAR_TIMEFRAMES)
_LENGTHS = tuple(TIMEFRAMES_NS[name] for name in BAR_TIMEFRAMES)


@jit_inlined
def roll_bars(clock: Any, bars: NDArray[Any], time_ns: int) -> None:
    """Close every bar that ends at or before this time; the first call starts them all.

    Parameters
    ----------
    clock : BAR_CLOCK record
        Of these bars.
    bars : array of SYMBOL_BAR, shape (timeframes, slots, symbols)
        Rings of bars; those that close together lie together.
    time_ns : int
        Of a tick of any of the symbols.
    """
    if clock.begun == 0:
        clock.begun = 1
        for level in range(_LEVELS):
            clock.end_ns[level] = (time_ns // _LENGTHS[level] + 1) * _LENGTHS[level]
            for symbol in range(bars.shape[2]):
                _start(bars[level, 0, symbol], clock.end_ns[level], math.nan)
    elif time_ns >= clock.end_ns[0]:
        for symbol in range(bars.shape[2]):
            _merge_second(clock, bars, symbol)
        for level in range(_LEVELS):
            if time_ns < clock.end_ns[level]:
                break  # longer bars end no earlier
            _close(clock, bars, level, time_ns)


@jit_inlined
def _close(clock: Any, bars: NDArray[Any], level: int, time_ns: int) -> None:
    """Close the forming bars of a timeframe and the empty ones up to this time; start the next."""
    length = _LENGTHS[level]
    last = clock.head[level]
    if clock.unseen != 0:
        for symbol in range(bars.shape[2]):
            if clock.unseen >> symbol & 1:  # what it closed at, and stood at since, nobody saw
                bars[level, last, symbol].close = math.nan
    close_ns = clock.end_ns[level]
    end_ns = (time_ns // length + 1) * length
    # Older empty bars would be overwritten in the ring before anybody saw them.
    if (end_ns - close_ns) // length > BARS_HELD:
        close_ns = end_ns - BARS_HELD * length
    while close_ns < end_ns:
        close_ns += length
        slot = last + 1 if last < BARS_HELD else 0
        for symbol in range(bars.shape[2]):
            _start(bars[level, slot, symbol], close_ns, bars[level, last, symbol].close)
        clock.count[level] = min(clock.count[level] + 1, BARS_HELD)
        last = slot
    clock.head[level] = last
    clock.end_ns[level] = end_ns


@jit_internal
def add_to_bars(clock: Any, bars: NDArray[Any], symbol: int, price: float, quantity: float) -> None:
    """Add a trade to the forming second of its symbol."""
    if clock.unseen != 0:
        clock.unseen &= ~(1 << symbol)
    bar = bars[0, clock.head[0], symbol]
    if math.isnan(bar.close) or bar.volume < 0.0:
        bar.open = bar.high = bar.low = price
        bar.volume = 0.0
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    bar.close = price
    bar.volume += quantity if math.isfinite(quantity) and quantity > 0.0 else 0.0


@jit_inlined
def _start(bar: Any, close_ns: int, price: float) -> None:
    """Start a bar at the last price; a negative volume marks that nothing has traded in it yet."""
    bar.time_ns = close_ns
    bar.open = bar.high = bar.low = bar.close = price
    bar.volume = -1.0


@jit_inlined
def _merge_second(clock: Any, bars: NDArray[Any], symbol: int) -> None:
    """Merge the closing second of a symbol into its longer bars."""
    second = bars[0, clock.head[0], symbol]
    if second.volume < 0.0:
        return
    opened, high, low, close = second.open, second.high, second.low, second.close
    volume = second.volume
    for level in range(1, _LEVELS):
        bar = bars[level, clock.head[level], symbol]
        if bar.volume < 0.0:
            bar.open, bar.high, bar.low = opened, high, low
            bar.volume = 0.0
        bar.high = max(bar.high, high)
        bar.low = min(bar.low, low)
        bar.close = close
        bar.volume += volume
