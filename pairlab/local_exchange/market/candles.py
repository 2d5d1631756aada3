"""Candles of one minute from trades, and longer ones from those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.local_exchange.market.market import Kline

__all__ = ["BAR", "INTERVALS_MS", "as_klines", "merge_bars", "minute_bars"]

MINUTE_MS: Final = 60_000

INTERVALS_MS: Final = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1440 * MINUTE_MS,
}
"""Length of each candle that REST and streams offer, ms."""

BAR: Final = np.dtype(
    [
        ("open_ms", np.int64),
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("volume", np.float64),
        ("quote", np.float64),
        ("count", np.int64),
        ("taker_volume", np.float64),
        ("taker_quote", np.float64),
    ]
)
"""One candle."""

Bars = NDArray[Any]


def minute_bars(
    time_ms: NDArray[np.int64],
    price: NDArray[np.float64],
    quantity: NDArray[np.float64],
    buyer_is_maker: NDArray[np.bool_],
) -> Bars:
    """Return the candles of one minute that these trades, in order of time, make.

    Returns
    -------
    ndarray of BAR
        One per minute with a trade; minutes without one have none.
    """
    bars = np.zeros(len(time_ms), BAR)
    bars["open_ms"] = time_ms
    for name in ("open", "high", "low", "close"):
        bars[name] = price
    bars["volume"] = quantity
    bars["quote"] = quantity * price
    bars["count"] = 1
    bars["taker_volume"] = np.where(buyer_is_maker, 0.0, quantity)
    bars["taker_quote"] = bars["taker_volume"] * price
    return merge_bars([bars], MINUTE_MS)


def merge_bars(parts: Sequence[Bars], interval_ms: int) -> Bars:
    """Return candles of `interval_ms` from shorter ones, given in order of time."""
    bars = np.concatenate(parts) if parts else np.zeros(0, BAR)
    if not len(bars):
        return bars
    opens = bars["open_ms"] // interval_ms * interval_ms
    first = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
    last = np.append(first[1:], len(bars)) - 1
    out = np.zeros(len(first), BAR)
    out["open_ms"] = opens[first]
    out["open"] = bars["open"][first]
    out["close"] = bars["close"][last]
    out["high"] = np.maximum.reduceat(bars["high"], first)
    out["low"] = np.minimum.reduceat(bars["low"], first)
    for name in ("volume", "quote", "count", "taker_volume", "taker_quote"):
        out[name] = np.add.reduceat(bars[name], first)
    return out


def as_klines(
    bars: Bars,
    interval_ms: int,
    price_precision: int,
    quantity_precision: int,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[Kline]:
    """Return candles as REST answers them: from `start_ms` on if it is given, else the last."""
    opens = bars["open_ms"]
    low = 0 if start_ms is None else int(np.searchsorted(opens, start_ms, "left"))
    high = len(bars) if end_ms is None else int(np.searchsorted(opens, end_ms, "right"))
    chosen = bars[low:high]
    chosen = chosen[-limit:] if start_ms is None else chosen[:limit]
    p, q = price_precision, quantity_precision
    return [
        [
            int(bar["open_ms"]),
            f"{bar['open']:.{p}f}",
            f"{bar['high']:.{p}f}",
            f"{bar['low']:.{p}f}",
            f"{bar['close']:.{p}f}",
            f"{bar['volume']:.{q}f}",
            int(bar["open_ms"]) + interval_ms - 1,
            f"{bar['quote']:.{p + q}f}",
            int(bar["count"]),
            f"{bar['taker_volume']:.{q}f}",
            f"{bar['taker_quote']:.{p + q}f}",
            "0",
        ]
        for bar in chosen
    ]
