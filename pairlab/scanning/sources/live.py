"""`scan_live`: the candles of many symbols over REST, and a scan of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Unpack

import numpy as np
import pandas as pd

from pairlab.errors import DataError, FeedError, RateLimitedError, SettingError
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES, fetch_symbol_closes
from pairlab.feeds.binance.rest_client import ExchangeInfo, RestClient
from pairlab.feeds.binance.venue import LIVE_URL, Venue
from pairlab.limits.symbols import exchange_symbol
from pairlab.scanning.result import ScanResult
from pairlab.scanning.scan import ScanOptions, scan

__all__ = ["scan_live"]

_ATTEMPTS: Final = 4
_PAUSE_S: Final = 1.0  # before a second attempt; it doubles
_MOST_BARS: Final = 100_000


async def scan_live(
    symbols: Sequence[str],
    timeframe: str = "1h",
    bars: int = 1_000,
    *,
    feed: str = "binance",
    **options: Unpack[ScanOptions],
) -> ScanResult:
    """Fetch the last candles of symbols from the exchange, and scan their closes.

    Parameters
    ----------
    symbols : sequence of str
        As `pairlab.PairLab` takes them. Those that the exchange does not list, that do not trade,
        or that cannot be fetched are set aside, with the reason, in `ScanResult.set_aside`.
    timeframe : {"1m", "5m", "15m", "1h", "1d"}
        Length of a candle.
    bars : int
        Candles of each symbol that have closed, up to 100,000: 1,000 cost a request weight of 10
        of the 2,400 a minute that Binance allows; nine tenths of these are spent at most, and what
        is beyond waits.
    feed : str
        ``"binance"``, or a ``ws://`` or ``wss://`` URL that speaks its protocol.
    **options
        As for `pairlab.scan`.

    Returns
    -------
    ScanResult
        Of the closes, indexed by the end of each bar.

    Raises
    ------
    SettingError
        For an argument out of its range.
    DataError
        If fewer than two symbols are left.
    FeedError
        If the exchange cannot be reached, or refuses.
    """
    if timeframe not in KLINE_TIMEFRAMES:
        raise SettingError("timeframe", timeframe, f"expected one of {', '.join(KLINE_TIMEFRAMES)}")
    if isinstance(bars, bool) or not isinstance(bars, int) or not 30 <= bars <= _MOST_BARS:
        raise SettingError("bars", bars, f"expected 30 to {_MOST_BARS:,}")
    if isinstance(symbols, str) or len(symbols) < 2:
        raise SettingError("symbols", symbols, "expected two symbols or more")
    names, aside = _named(symbols)
    venue = Venue("aggTrade", LIVE_URL if feed == "binance" else feed)
    async with RestClient(venue.rest_url) as rest:
        info = await _tried(rest.exchange_info)
        wanted = []
        for name in names:
            if why := _not_listed(info, name):
                aside[name] = why
            else:
                wanted.append(name)
        offset = await _tried(rest.clock_offset)
        now_ns = rest.clock.time_ns() - offset.offset_ns
        fetched = await asyncio.gather(
            *(
                _tried(functools.partial(fetch_symbol_closes, rest, name, timeframe, bars, now_ns))
                for name in wanted
            ),
            return_exceptions=True,
        )
    series, errors = {}, []
    for name, closes in zip(wanted, fetched, strict=True):
        if isinstance(closes, FeedError):
            aside[name] = f"its candles could not be fetched: {closes}"
            errors.append(closes)
        elif isinstance(closes, BaseException):
            raise closes
        elif not len(closes[0]):
            aside[name] = "the exchange has no candle of it: it has never traded"
        else:
            index = pd.DatetimeIndex(closes[0].view("M8[ns]"), name="time").tz_localize("UTC")
            series[name] = pd.Series(closes[1], index)
    if len(series) < 2:
        if errors:
            raise errors[0]
        told = "; ".join(f"{name}: {why}" for name, why in list(aside.items())[:5])
        raise DataError(f"{len(series)} of {len(symbols)} symbols have candles ({told})")
    prices = pd.DataFrame(series, dtype=np.float64).sort_index()
    prices.attrs["label"] = "close"
    result = await asyncio.to_thread(functools.partial(scan, prices, **options))
    return replace(result, set_aside={**aside, **result.set_aside})


def _named(symbols: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the symbols as the exchange writes them, each once, and why others are left out."""
    names: list[str] = []
    aside: dict[str, str] = {}
    for given in symbols:
        try:
            name = exchange_symbol("symbols", given)
        except SettingError as error:
            aside[str(given)] = str(error)
            continue
        if name in names:
            aside[f"{name} (again)"] = "named twice: a symbol makes no pair with itself"
        else:
            names.append(name)
    return names, aside


def _not_listed(info: ExchangeInfo, name: str) -> str:
    """Return why a symbol has no candles that could be of use; empty if it trades."""
    try:
        info.check((name,))
    except FeedError as error:  # it names the closest ones
        return str(error)
    return info.not_trading(name)


async def _tried(ask: Any) -> Any:
    """Return what a request answers, asked again after what may pass."""
    for attempt in range(_ATTEMPTS):
        try:
            return await ask()
        except FeedError as error:
            passing = isinstance(error, RateLimitedError) or "HTTP 5" in str(error)
            if not passing or attempt == _ATTEMPTS - 1:
                raise
            if not isinstance(error, RateLimitedError):  # after that one the client waits itself
                await asyncio.sleep(_PAUSE_S * 2.0**attempt)
    raise AssertionError("unreachable")
