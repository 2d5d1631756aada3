"""Bars of both legs for every timeframe at once, at their close times.

A tick touches the forming second only; a second that closes is merged into the longer bars that
are forming, so that six timeframes cost little more than one.
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
_SECOND = _LENGTHS[0]


@jit_internal
def roll_bars(s: Any, bars: NDArray[Any], time_ns: int) -> None:
    """Close every bar that a tick at this time is past; its first tick begins them all."""
    if s.bars_begun == 0:
        s.bars_begun = 1
        for level in range(_LEVELS):
            length = _LENGTHS[level]
            bar = bars[level, 0]
            bar.time_ns = (time_ns // length + 1) * length
            _blank(bar, math.nan, math.nan)
        return
    second = bars[0, s.bars_head[0]]
    if time_ns < second.time_ns:
        return
    for level in range(1, _LEVELS):
        _merge(bars[level, s.bars_head[level]], second)
    for level in range(_LEVELS):
        length = _LENGTHS[level]
        bar = bars[level, s.bars_head[level]]
        if time_ns < bar.time_ns:
            continue
        y, x = bar.y_close, bar.x_close
        close_ns = bar.time_ns
        end_ns = (time_ns // length + 1) * length
        # Older empty bars would be overwritten in the ring before anybody saw them.
        if (end_ns - close_ns) // length > BARS_HELD:
            close_ns = end_ns - BARS_HELD * length
        while close_ns < end_ns:
            close_ns += length
            s.bars_head[level] = (s.bars_head[level] + 1) % (BARS_HELD + 1)
            s.bars_count[level] = min(s.bars_count[level] + 1, BARS_HELD)
            bar = bars[level, s.bars_head[level]]
            bar.time_ns = close_ns
            _blank(bar, y, x)


@jit_internal
def add_to_bars(s: Any, bars: NDArray[Any], leg: int, price: float, quantity: float) -> None:
    """Count a trade in the second that is forming."""
    bar = bars[0, s.bars_head[0]]
    volume = quantity if math.isfinite(quantity) and quantity > 0.0 else 0.0
    if leg == 0:
        if math.isnan(bar.y_close) or bar.y_volume < 0.0:
            bar.y_open = bar.y_high = bar.y_low = price
            bar.y_volume = 0.0
        bar.y_high = max(bar.y_high, price)
        bar.y_low = min(bar.y_low, price)
        bar.y_close = price
        bar.y_volume += volume
    else:
        if math.isnan(bar.x_close) or bar.x_volume < 0.0:
            bar.x_open = bar.x_high = bar.x_low = price
            bar.x_volume = 0.0
        bar.x_high = max(bar.x_high, price)
        bar.x_low = min(bar.x_low, price)
        bar.x_close = price
        bar.x_volume += volume


@jit_internal
def _blank(bar: Any, y: float, x: float) -> None:
    """Carry the last prices; a volume below zero says that nothing has traded in it yet."""
    bar.y_open = bar.y_high = bar.y_low = bar.y_close = y
    bar.x_open = bar.x_high = bar.x_low = bar.x_close = x
    bar.y_volume = bar.x_volume = -1.0


@jit_internal
def _merge(bar: Any, second: Any) -> None:
    if second.y_volume >= 0.0:
        if bar.y_volume < 0.0:
            bar.y_open, bar.y_high, bar.y_low = second.y_open, second.y_high, second.y_low
            bar.y_volume = 0.0
        bar.y_high = max(bar.y_high, second.y_high)
        bar.y_low = min(bar.y_low, second.y_low)
        bar.y_close = second.y_close
        bar.y_volume += second.y_volume
    if second.x_volume >= 0.0:
        if bar.x_volume < 0.0:
            bar.x_open, bar.x_high, bar.x_low = second.x_open, second.x_high, second.x_low
            bar.x_volume = 0.0
        bar.x_high = max(bar.x_high, second.x_high)
        bar.x_low = min(bar.x_low, second.x_low)
        bar.x_close = second.x_close
        bar.x_volume += second.x_volume
