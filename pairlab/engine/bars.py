"""OHLCV bars of every symbol for all timeframes at once, at their close times.

A tick touches the forming second of its symbol only; a second that closes is merged into the
longer bars that are forming, so that six timeframes cost little more than one. All symbols of a
stream share one clock: a tick of any of them closes the bars of all. Nothing here knows of pairs,
so that a symbol's bars are made once, in however many pairs it is a leg.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from pairlab.engine.jit import jit_internal
from pairlab.engine.state import BAR_TIMEFRAMES, BARS_HELD
from pairlab.schema import TIMEFRAMES_NS

__all__ = ["add_to_bars", "roll_bars"]

_LEVELS = len(BAR_TIMEFRAMES)
_LENGTHS = tuple(TIMEFRAMES_NS[name] for name in BAR_TIMEFRAMES)


@jit_internal
def roll_bars(clock: Any, bars: NDArray[Any], time_ns: int) -> None:
    """Close every bar that ends at or before this time; the first call starts them all.

    Parameters
    ----------
    clock : BAR_CLOCK record
        Of these bars.
    bars : array of SYMBOL_BAR, shape (symbols, timeframes, slots)
        Rings of bars.
    time_ns : int
        Of a tick of any of the symbols.
    """
    symbols = bars.shape[0]
    if clock.begun == 0:
        clock.begun = 1
        for level in range(_LEVELS):
            close_ns = (time_ns // _LENGTHS[level] + 1) * _LENGTHS[level]
            for symbol in range(symbols):
                _start(bars[symbol, level, 0], close_ns, math.nan)
            if level == 0:
                clock.second_end_ns = close_ns
        return
    if time_ns < clock.second_end_ns:
        return
    for symbol in range(symbols):
        second = bars[symbol, 0, clock.head[0]]
        for level in range(1, _LEVELS):
            _merge(bars[symbol, level, clock.head[level]], second)
    for level in range(_LEVELS):
        length = _LENGTHS[level]
        last = clock.head[level]
        close_ns = bars[0, level, last].time_ns
        if time_ns < close_ns:
            continue
        end_ns = (time_ns // length + 1) * length
        # Older empty bars would be overwritten in the ring before anybody saw them.
        if (end_ns - close_ns) // length > BARS_HELD:
            close_ns = end_ns - BARS_HELD * length
        while close_ns < end_ns:
            close_ns += length
            slot = (last + 1) % (BARS_HELD + 1)
            for symbol in range(symbols):
                _start(bars[symbol, level, slot], close_ns, bars[symbol, level, last].close)
            clock.count[level] = min(clock.count[level] + 1, BARS_HELD)
            last = slot
        clock.head[level] = last
        if level == 0:
            clock.second_end_ns = end_ns


@jit_internal
def add_to_bars(clock: Any, bars: NDArray[Any], symbol: int, price: float, quantity: float) -> None:
    """Add a trade to the forming second of its symbol."""
    bar = bars[symbol, 0, clock.head[0]]
    if math.isnan(bar.close) or bar.volume < 0.0:
        bar.open = bar.high = bar.low = price
        bar.volume = 0.0
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    bar.close = price
    bar.volume += quantity if math.isfinite(quantity) and quantity > 0.0 else 0.0


@jit_internal
def _start(bar: Any, close_ns: int, price: float) -> None:
    """Start a bar at the last price; a negative volume marks that nothing has traded in it yet."""
    bar.time_ns = close_ns
    bar.open = bar.high = bar.low = bar.close = price
    bar.volume = -1.0


@jit_internal
def _merge(bar: Any, second: Any) -> None:
    """Merge a closed second into a longer bar."""
    if second.volume >= 0.0:
        if bar.volume < 0.0:
            bar.open, bar.high, bar.low = second.open, second.high, second.low
            bar.volume = 0.0
        bar.high = max(bar.high, second.high)
        bar.low = min(bar.low, second.low)
        bar.close = second.close
        bar.volume += second.volume
