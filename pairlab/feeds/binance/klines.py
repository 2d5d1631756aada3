"""Closes of the bars before the first tick, over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pairlab.feeds.base import Closes
from pairlab.feeds.binance.lenient import ListDecoder
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.schema import TIMEFRAMES_NS, Pair

__all__ = ["KLINE_TIMEFRAMES", "Closes", "exchange_ns", "fetch_closes", "fetch_symbol_closes"]

KLINE_TIMEFRAMES: Final = ("1m", "5m", "15m", "1h", "1d")
"""Timeframes that the exchange keeps candles of; shorter ones warm up quickly."""

_NS_PER_MS: Final = 1_000_000
_MAX_CANDLES: Final = 1_500
"""Candles that one answer holds at most."""

_WEIGHTS: Final = ((100, 1), (500, 2), (1_001, 5))
_LARGEST_WEIGHT: Final = 10
"""Of a request, by how many candles it asks for."""

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
    now_ns = await exchange_ns(rest)
    length_ns = TIMEFRAMES_NS[timeframe]
    legs = []
    for symbol in pair:
        times, closes = await _page(rest, symbol, timeframe, count + 1, None, can_wait=True)
        good = _usable(times, closes, now_ns, length_ns)
        legs.append((times[good], closes[good]))
    (y_times, y), (x_times, x) = legs
    times, in_y, in_x = np.intersect1d(y_times, x_times, return_indices=True)
    return times, y[in_y], x[in_x]


async def exchange_ns(rest: RestClient) -> int:
    """Return the exchange's time, ns since 1970 UTC."""
    offset = await rest.clock_offset(samples=1)
    return rest.clock.time_ns() - offset.offset_ns


async def fetch_symbol_closes(
    rest: RestClient,
    symbol: str,
    timeframe: str,
    count: int,
    now_ns: int,
    *,
    can_wait: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the last bars of one symbol that have closed by `now_ns`, page by page.

    Parameters
    ----------
    rest : RestClient
        Open; its budget makes this wait.
    symbol : str
        As the exchange writes it.
    timeframe : {"1m", "5m", "15m", "1h", "1d"}
        Length of a bar.
    count : int
        The most bars.
    now_ns : int
        The exchange's clock, see `exchange_ns`.
    can_wait : bool
        Whether the repair of gaps comes first.

    Returns
    -------
    tuple of array
        Close times (ns, the exclusive end of the bar) and closes; fewer of a young symbol.

    Raises
    ------
    FeedError
        For no answer, a refusal, or an answer that cannot be read.
    """
    length_ns = TIMEFRAMES_NS[timeframe]
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    left, before_ms = count + 1, None  # one is not closed yet
    while left > 0:
        asked = min(left, _MAX_CANDLES)
        times, closes = await _page(rest, symbol, timeframe, asked, before_ms, can_wait=can_wait)
        parts.insert(0, (times, closes))
        left -= len(times)
        if len(times) < asked:
            break
        before_ms = int(times.min() - length_ns) // _NS_PER_MS - 1
    times, closes = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    times, first = np.unique(times, return_index=True)
    closes = closes[first]
    good = _usable(times, closes, now_ns, length_ns)
    return times[good][-count:], closes[good][-count:]


def _usable(
    times: NDArray[np.int64], closes: NDArray[np.float64], now_ns: int, length_ns: int
) -> NDArray[np.bool_]:
    good: NDArray[np.bool_] = (
        (times <= now_ns) & (times % length_ns == 0) & np.isfinite(closes) & (closes > 0)
    )
    return good


async def _page(
    rest: RestClient,
    symbol: str,
    timeframe: str,
    count: int,
    before_ms: int | None,
    *,
    can_wait: bool,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return close times and closes of the candles that open by `before_ms`, or of the last."""
    limit = min(count, _MAX_CANDLES)
    query: dict[str, str | int] = {"symbol": symbol, "interval": timeframe, "limit": limit}
    if before_ms is not None:
        query["endTime"] = before_ms
    weight = next((w for least, w in _WEIGHTS if limit < least), _LARGEST_WEIGHT)
    raw = await rest.get("/fapi/v1/klines", query, weight=weight, can_wait=can_wait)
    try:
        return _read(raw, lambda text: rest.report_odd("klines", text))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise rest.unreadable("klines", error) from error


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
