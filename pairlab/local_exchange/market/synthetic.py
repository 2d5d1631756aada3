"""A market out of a seed: two symbols that belong together, at any rate, for ever."""

from __future__ import annotations

import bisect
import math
import zlib
from collections import deque
from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import SettingError
from pairlab.local_exchange.market.candles import (
    BAR,
    INTERVALS_MS,
    as_klines,
    merge_bars,
    minute_bars,
)
from pairlab.local_exchange.market.market import (
    AggTrade,
    Begins,
    Kline,
    Message,
    SymbolInfo,
    check_begins,
    check_speed,
)
from pairlab.local_exchange.market.order_flow import Block, IdCounters, make_block
from pairlab.local_exchange.market.price_process import PairProcess
from pairlab.local_exchange.protocol.frames import Instrument
from pairlab.schema import NS_PER_S

__all__ = ["SyntheticMarket"]

_NS_PER_MS: Final = 1_000_000
_START_NS: Final = 1_767_603_600 * NS_PER_S  # 2026-01-05 09:00 UTC, a Monday
_KNOWN: Final = {  # price, decimals of price, decimals of quantity
    "BTCUSDT": (61_000.0, 1, 3),
    "ETHUSDT": (2_440.0, 2, 3),
    "BNBUSDT": (580.0, 2, 2),
    "SOLUSDT": (145.0, 3, 2),
    "XRPUSDT": (0.58, 5, 1),
    "LTCUSDT": (68.0, 3, 2),
    "BCHUSDT": (340.0, 2, 3),
}
_PAST_STEP_MS: Final = 5_000
_MAX_BARS: Final = 60_000  # 41 days of minutes


class SyntheticMarket:
    """A cointegrated pair with bursts of trades, changing volatility and episodes of decoupling.

    The first symbol, y, follows ``ratio`` times the second, x, plus a spread that comes back.
    The same arguments give the same market: ids, times, prices, quantities, to the last digit,
    however fast it is played. It emits by (T, y before x, id).

    Parameters
    ----------
    seed : int, default 7
        The market's number, 0 or above.
    rate_per_s : float, default 40
        Trades of both symbols per second of its clock, on average; up to 200,000.
    symbols : (str, str), default ("BTCUSDT", "ETHUSDT")
        y and x.
    start_ns : int, optional
        Where its clock starts, ns since 1970 UTC, in whole ms; by default Monday 2026-01-05
        09:00 UTC. Pass ``time.time_ns() // 10**6 * 10**6`` for a market of today.
    speed : float or None, default 1.0
        Seconds of the market per second; None: as fast as its slowest listener.
    begins : {"open", "subscribed"} or names of streams, default "open"
        When its clock starts: with the exchange, with the first subscription, or when all these
        streams are subscribed. ``speed=None`` makes of "open" "subscribed".
    ratio : float, optional
        Units of x per unit of y: 25 for BTCUSDT/ETHUSDT, else the quotient of the two prices.
    prices : (float, float), optional
        Prices of y and x to start near.
    history_s : float, default 14 days
        How much past klines can tell of, seconds.
    keep_trades : int, default 1_000_000
        Trades kept for REST.

    Raises
    ------
    SettingError
        For a value out of range.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        rate_per_s: float = 40.0,
        symbols: tuple[str, str] = ("BTCUSDT", "ETHUSDT"),
        start_ns: int | None = None,
        speed: float | None = 1.0,
        begins: Begins = "open",
        ratio: float | None = None,
        prices: tuple[float, float] | None = None,
        history_s: float = 14 * 86_400.0,
        keep_trades: int = 1_000_000,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise SettingError("seed", seed, "expected a whole number, 0 or above")
        if not 0.01 <= rate_per_s <= 200_000:
            raise SettingError("rate_per_s", rate_per_s, "expected 0.01 to 200,000")
        if not 0 <= history_s <= _MAX_BARS * 60:
            raise SettingError("history_s", history_s, f"expected 0 to {_MAX_BARS * 60:,} s")
        if keep_trades < 1_000:
            raise SettingError("keep_trades", keep_trades, "expected 1,000 or more")
        if start_ns is not None and (start_ns < 0 or start_ns % _NS_PER_MS):
            raise SettingError("start_ns", start_ns, "expected whole milliseconds since 1970")
        names = _check_symbols(symbols)
        known = [_KNOWN.get(name) or _guess(name) for name in names]
        if prices is not None:
            if len(prices) != 2 or not all(math.isfinite(p) and p > 0 for p in prices):
                raise SettingError("prices", prices, "expected two numbers above 0")
            known = [(p, *_decimals(p)) for p in prices]
        y_price, x_price = known[0][0], known[1][0]
        self.ratio = y_price / x_price if ratio is None else float(ratio)
        if not math.isfinite(self.ratio) or self.ratio == 0:
            raise SettingError("ratio", ratio, "expected a number other than 0")
        self.seed = seed
        self.rate_per_s = float(rate_per_s)
        self.speed = check_speed(speed)
        self.begins = check_begins(begins)
        if self.speed is None and self.begins == "open":
            self.begins = "subscribed"
        self.start_ns = _START_NS if start_ns is None else start_ns
        self.position_ns = self.start_ns
        self.history_s = float(history_s)
        self.instruments = (
            Instrument(names[0], known[0][1], known[0][2]),
            Instrument(names[1], known[1][1], known[1][2]),
        )
        self._intercept = y_price - self.ratio * x_price
        self._x_price = x_price
        self._keep_trades = int(keep_trades)
        self._past: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._rewind()

    def open(self) -> None:
        """Go back to the beginning, with the past that klines tell of at hand."""
        if self._past is None:
            self._past = self._make_past()
        self._rewind()

    def _rewind(self) -> None:
        self._rng = np.random.default_rng([self.seed, 0])
        self._process = PairProcess(self._rng, self.ratio, self._intercept, self._x_price)
        self._ledger = IdCounters(
            [5_266_583_935, 4_308_068_523], [2_301_482_700, 1_702_514_300], [1, 1], [0, 0]
        )
        self._blocks: deque[Block] = deque()
        self._kept = 0
        self._bars: tuple[deque[NDArray[Any]], deque[NDArray[Any]]] = (
            deque(maxlen=_MAX_BARS),
            deque(maxlen=_MAX_BARS),
        )
        self._next_order = 0
        self._timers: dict[str, int] = {}
        self.position_ns = self.start_ns
        self._add_block(self.start_ns // _NS_PER_MS)

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return y and x."""
        return tuple(
            SymbolInfo(i.symbol, i.price(1), i.quantity(1), i.price_decimals, i.quantity_decimals)
            for i in self.instruments
        )

    def carries(self, stream: str) -> bool:
        """Return whether the stream is one of y's or x's trades, quotes or candles."""
        symbol, _, kind = stream.partition("@")
        if symbol not in [i.symbol.lower() for i in self.instruments]:
            return False
        return kind in ("trade", "aggTrade", "bookTicker") or (
            kind.startswith("kline_") and kind.removeprefix("kline_") in INTERVALS_MS
        )

    def next_ns(self) -> int | None:
        """Return when the next order is due, ns."""
        block = self._current()
        return int(block.order_ms[self._next_order]) * _NS_PER_MS

    def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
        """Return the frames of `wanted` streams due by `until_ns`, at most about `limit`."""
        messages: list[Message] = []
        timed = [name for name in wanted if "@kline_" in name]
        self._timers = {name: at for name, at in self._timers.items() if name in timed}
        budget = limit
        while budget > 0:
            block = self._current()
            low = self._next_order
            high = min(low + budget, len(block.order_ms))
            if until_ns is not None:
                due = np.searchsorted(block.order_ms, until_ns // _NS_PER_MS, "right")
                high = min(high, int(due))
            if timed and high > low:
                # Candles come at their own times; stop at each.
                tick = self._timer_ms(timed, int(block.order_ms[low]))
                high = min(high, max(low, int(np.searchsorted(block.order_ms, tick, "left"))))
                if high == low:
                    messages += self._candles(timed, tick)
                    budget -= 1
                    continue
            if high <= low:
                break
            messages += block.frames(low, high, self.instruments, wanted)
            budget -= high - low
            self._next_order = high
            self.position_ns = int(block.order_ms[high - 1]) * _NS_PER_MS
        return messages

    def agg_trades(
        self, symbol: str, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggTrade]:
        """Return aggregated trades sent so far and still kept, oldest first."""
        leg = [i.symbol for i in self.instruments].index(symbol)
        rows: list[AggTrade] = []
        if from_id is None and start_ms is None:
            for block in reversed(self._blocks):
                low, high = self._agg_range(block, leg, None, None, end_ms)
                low = max(low, high - (limit - len(rows)))
                rows = block.agg_rows(leg, self.instruments[leg], low, high) + rows
                if len(rows) >= limit:
                    break
            return rows
        begin = 0
        if from_id is not None:
            firsts = [block.first_agg[leg] for block in self._blocks]
            if from_id < firsts[0]:
                return []  # older than what is kept
            begin = bisect.bisect_right(firsts, from_id) - 1
        for block in list(self._blocks)[begin:]:
            low, high = self._agg_range(block, leg, from_id, start_ms, end_ms)
            rows += block.agg_rows(leg, self.instruments[leg], low, min(high, low + limit))
            if len(rows) >= limit:
                break
        return rows[:limit]

    def klines(
        self, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Kline]:
        """Return candles up to now; `history_s` of them lie before the start."""
        leg = [i.symbol for i in self.instruments].index(symbol)
        if self._past is None:
            self._past = self._make_past()
        parts = [self._past[leg], *self._bars[leg]]
        if self._blocks:
            parts.append(self._block_bars(self._blocks[-1], leg, self._next_order))
        bars = merge_bars([part for part in parts if len(part)], interval_ms)
        i = self.instruments[leg]
        return as_klines(
            bars, interval_ms, i.price_decimals, i.quantity_decimals, start_ms, end_ms, limit
        )

    def _current(self) -> Block:
        """Return the block with the next order; make it if need be."""
        block = self._blocks[-1]
        while self._next_order >= len(block.order_ms):
            for leg in (0, 1):
                bars = self._block_bars(block, leg, len(block.order_ms))
                self._bars[leg].extend(bars[i : i + 1] for i in range(len(bars)))
            self._add_block(block.end_ms)
            block = self._blocks[-1]
        return block

    def _add_block(self, start_ms: int) -> None:
        block = make_block(
            self._rng,
            self._process.block(),
            start_ms,
            1_000.0 / self.rate_per_s,
            self.instruments,
            self._ledger,
        )
        self._blocks.append(block)
        self._next_order = 0
        self._kept += len(block.trades["T"])
        while self._kept > self._keep_trades and len(self._blocks) > 1:
            self._kept -= len(self._blocks.popleft().trades["T"])

    def _agg_range(
        self,
        block: Block,
        leg: int,
        from_id: int | None,
        start_ms: int | None,
        end_ms: int | None,
    ) -> tuple[int, int]:
        at = block.aggs_of_leg[leg]
        low, high = 0, len(at)
        if block is self._blocks[-1]:  # not what the stream has not told yet
            high = int(np.searchsorted(block.aggs["order"][at], self._next_order, "left"))
        if from_id is not None:
            low = max(low, from_id - block.first_agg[leg])
        if start_ms is not None:
            low = max(low, int(np.searchsorted(block.aggs["T"][at], start_ms, "left")))
        if end_ms is not None:
            high = min(high, int(np.searchsorted(block.aggs["T"][at], end_ms, "right")))
        return low, max(low, high)

    def _block_bars(self, block: Block, leg: int, orders: int) -> NDArray[Any]:
        trades = block.trades
        mine = (trades["leg"] == leg) & (trades["order"] < orders)
        i = self.instruments[leg]
        return minute_bars(
            trades["T"][mine],
            trades["p"][mine] / i.ticks,
            trades["q"][mine] / i.lots,
            trades["m"][mine].astype(np.bool_),
        )

    def _make_past(self) -> tuple[NDArray[Any], NDArray[Any]]:
        rng = np.random.default_rng([self.seed, 1])
        process = PairProcess(rng, self.ratio, self._intercept, self._x_price)
        steps = int(self.history_s * 1_000) // _PAST_STEP_MS
        step_trades = self.rate_per_s * _PAST_STEP_MS / 1_000
        start_ms = self.start_ns // _NS_PER_MS
        time_ms = start_ms - _PAST_STEP_MS * np.arange(steps, 0, -1)
        bars = []
        paths = process.backwards(steps, step_trades) if steps else (np.zeros(0), np.zeros(0))
        for i, path in zip(self.instruments, paths, strict=True):
            fine = np.zeros(steps, BAR)
            following = np.append(path[1:], path[-1:])  # a step closes where the next one opens
            for name, value in (
                ("open", path),
                ("close", following),
                ("high", np.maximum(path, following)),
                ("low", np.minimum(path, following)),
            ):
                fine[name] = np.round(value * i.ticks) / i.ticks
            fine["open_ms"] = time_ms
            fine["count"] = max(1, round(step_trades / 2))
            typical = 1_000.0 * np.exp(rng.standard_normal(steps) * 0.8) * fine["count"]
            fine["volume"] = np.ceil(typical / path * i.lots) / i.lots
            fine["quote"] = fine["volume"] * path
            share = rng.uniform(0.3, 0.7, steps)
            fine["taker_volume"] = np.round(fine["volume"] * share * i.lots) / i.lots
            fine["taker_quote"] = fine["taker_volume"] * path
            bars.append(merge_bars([fine], 60_000))
        return bars[0], bars[1]

    def _timer_ms(self, streams: list[str], now_ms: int) -> int:
        """Return when the next of the candle streams speaks: every 250 ms."""
        for name in streams:
            self._timers.setdefault(name, now_ms // 250 * 250)
        return min(self._timers[name] for name in streams)

    def _candles(self, streams: list[str], at_ms: int) -> list[Message]:
        messages = []
        for name in streams:
            if self._timers[name] > at_ms:
                continue
            self._timers[name] = at_ms + 250
            symbol, interval = name.upper().split("@")[0], name.split("@kline_")[1]
            known = self.klines(symbol, INTERVALS_MS[interval], None, None, 1)
            if not known:
                continue  # nothing traded yet, and no past
            k = known[0]
            closed = "true" if int(k[6]) < at_ms else "false"
            text = (
                f'{{"stream":"{name}","data":{{"e":"kline","E":{at_ms},"s":"{symbol}","k":{{'
                f'"t":{k[0]},"T":{k[6]},"s":"{symbol}","i":"{interval}","f":-1,"L":-1,'
                f'"o":"{k[1]}","c":"{k[4]}","h":"{k[2]}","l":"{k[3]}","v":"{k[5]}","n":{k[8]},'
                f'"x":{closed},"q":"{k[7]}","V":"{k[9]}","Q":"{k[10]}","B":"0"}}}}}}'
            )
            messages.append((name, text.encode()))
        return messages


def _check_symbols(symbols: tuple[str, str]) -> tuple[str, str]:
    if isinstance(symbols, str) or len(symbols) != 2:
        raise SettingError("symbols", symbols, "expected two symbols, y and x")
    y, x = (str(name).upper() for name in symbols)
    if not y or not x or y == x:
        raise SettingError("symbols", symbols, "expected two different symbols, y and x")
    return y, x


def _decimals(price: float) -> tuple[int, int]:
    size = math.floor(math.log10(price))
    return max(0, 5 - size), max(0, size - 1)


def _guess(symbol: str) -> tuple[float, int, int]:
    """Return a price for a symbol out of its name, the same each time."""
    price = round(10 ** (zlib.crc32(symbol.encode()) % 3_000 / 1_000), 2)
    return (price, *_decimals(price))
