"""Closes of the bars before the first tick, over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pairlab.errors import FeedError
from pairlab.feeds.base import Closes
from pairlab.feeds.binance.lenient import ListDecoder
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.schema import TIMEFRAMES_NS, Pair

__all__ = ["KLINE_TIMEFRAMES", "Closes", "fetch_closes", "fetch_symbol_closes"]

KLINE_TIMEFRAMES: Final = ("1m", "5m", "15m", "1h", "1d")
"""Timeframes that the exchange keeps candles of; shorter ones warm up quickly."""

_NS_PER_MS: Final = 1_000_000
_MAX_CANDLES: Final = 1_500
"""Candles that one answer holds at most."""

_DECODER: Final[ListDecoder[list[Any]]] = ListDecoder(list[Any])
_CLOSE, _CLOSE_TIME = 4, 6
_END_NS: Final = 2**63  # the first time that int64 does not hold


async def fetch_closes(rest: RestClient, pair: Pair, timeframe: str, count: int) -> Closes:
    """Return the last bars that have closed, by the exchange's clock, and that both legs have.

    Parameters
    ----------
    rest : RestClient
        Open.
    pair : Pair
        The symbols.
    timeframe : {"1m", "5m", "15m", "1h", "1d"}
        Length of a bar.
    count : int
        How many; an answer holds 1,500 at most.

    Returns
    -------
    tuple of array
        Close times (ns, the exclusive end of the bar), closes of y, closes of x; shape (n,).

    Raises
    ------
    FeedError
        For no answer, a refusal, or an answer that cannot be read.
    """
    now_ns = await _exchange_ns(rest)
    (y_times, y), (x_times, x) = [
        await _closes(rest, symbol, timeframe, count, now_ns) for symbol in pair
    ]
    times, in_y, in_x = np.intersect1d(y_times, x_times, return_indices=True)
    return times, y[in_y], x[in_x]


async def fetch_symbol_closes(
    rest: RestClient, symbol: str, timeframe: str, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return close times and closes of one symbol's last bars, as `fetch_closes`, which see."""
    return await _closes(rest, symbol, timeframe, count, await _exchange_ns(rest))


async def _exchange_ns(rest: RestClient) -> int:
    offset = await rest.clock_offset(samples=1)
    return rest.clock.time_ns() - offset.offset_ns


async def _closes(
    rest: RestClient, symbol: str, timeframe: str, count: int, now_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    length_ns = TIMEFRAMES_NS[timeframe]
    raw = await rest.get(
        "/fapi/v1/klines",
        {"symbol": symbol, "interval": timeframe, "limit": min(count + 1, _MAX_CANDLES)},
        weight=5 if count < 500 else 10,
        can_wait=True,
    )
    try:
        times, closes = _read(raw, lambda text: rest.report_odd("klines", text))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FeedError(f"{rest.base_url} sent unreadable klines: {error}.") from error
    good = (times <= now_ns) & (times % length_ns == 0) & np.isfinite(closes) & (closes > 0)
    return times[good], closes[good]


def _read(
    raw: bytes, report: Callable[[str], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return close times and closes of the candles that can be read."""
    candles = _DECODER.decode(raw, report)
    times, closes = [], []
    for candle in candles:
        try:
            # Binance ends a candle at its last millisecond; the bar's close is the one after.
            time_ns = (int(candle[_CLOSE_TIME]) + 1) * _NS_PER_MS
            close = float(candle[_CLOSE])
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        if 0 < time_ns < _END_NS:
            times.append(time_ns)
            closes.append(close)
    if odd := len(candles) - len(times):
        if odd == len(candles):
            raise ValueError("no candle has a close and its time")
        report(f"{odd:,} of {len(candles):,} candles have no close or no time and are left out")
    return np.array(times, np.int64), np.array(closes, np.float64)
