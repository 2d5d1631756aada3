"""Minute candles from trades, and longer candles from shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.local_exchange.protocol.messages import Kline

__all__ = ["CANDLE", "as_klines", "merge_candles", "minute_candles"]

_MINUTE_MS: Final = 60_000

CANDLE: Final = np.dtype(
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

Candles = NDArray[Any]


def minute_candles(
    time_ms: NDArray[np.int64],
    price: NDArray[np.float64],
    quantity: NDArray[np.float64],
    buyer_is_maker: NDArray[np.bool_],
) -> Candles:
    """Return the minute candles of these trades, which are in order of time.

    Returns
    -------
    ndarray of CANDLE
        One per minute with a trade; minutes without trades are left out.
    """
    candles = np.zeros(len(time_ms), CANDLE)
    candles["open_ms"] = time_ms
    for name in ("open", "high", "low", "close"):
        candles[name] = price
    candles["volume"] = quantity
    candles["quote"] = quantity * price
    candles["count"] = 1
    candles["taker_volume"] = np.where(buyer_is_maker, 0.0, quantity)
    candles["taker_quote"] = candles["taker_volume"] * price
    return merge_candles([candles], _MINUTE_MS)


def merge_candles(parts: Sequence[Candles], interval_ms: int) -> Candles:
    """Return candles of `interval_ms` from shorter ones, given in order of time."""
    candles = np.concatenate(parts) if parts else np.zeros(0, CANDLE)
    if not len(candles):
        return candles
    opens = candles["open_ms"] // interval_ms * interval_ms
    first = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
    last = np.append(first[1:], len(candles)) - 1
    out = np.zeros(len(first), CANDLE)
    out["open_ms"] = opens[first]
    out["open"] = candles["open"][first]
    out["close"] = candles["close"][last]
    out["high"] = np.maximum.reduceat(candles["high"], first)
    out["low"] = np.minimum.reduceat(candles["low"], first)
    for name in ("volume", "quote", "count", "taker_volume", "taker_quote"):
        out[name] = np.add.reduceat(candles[name], first)
    return out


def as_klines(
    candles: Candles,
    interval_ms: int,
    price_precision: int,
    quantity_precision: int,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[Kline]:
    """Return candles as REST returns them: from `start_ms` on if given, otherwise the last."""
    opens = candles["open_ms"]
    low = 0 if start_ms is None else int(np.searchsorted(opens, start_ms, "left"))
    high = len(candles) if end_ms is None else int(np.searchsorted(opens, end_ms, "right"))
    chosen = candles[low:high]
    chosen = chosen[-limit:] if start_ms is None else chosen[:limit]
    p, q = price_precision, quantity_precision
    return [
        [
            int(candle["open_ms"]),
            f"{candle['open']:.{p}f}",
            f"{candle['high']:.{p}f}",
            f"{candle['low']:.{p}f}",
            f"{candle['close']:.{p}f}",
            f"{candle['volume']:.{q}f}",
            int(candle["open_ms"]) + interval_ms - 1,
            f"{candle['quote']:.{p + q}f}",
            int(candle["count"]),
            f"{candle['taker_volume']:.{q}f}",
            f"{candle['taker_quote']:.{p + q}f}",
            "0",
        ]
        for candle in chosen
    ]
