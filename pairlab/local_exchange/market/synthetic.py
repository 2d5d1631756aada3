"""A synthetic market: an endless cointegrated pair from a random seed, at any trade rate."""

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
    CANDLE,
    as_klines,
    merge_candles,
    minute_candles,
)
from pairlab.local_exchange.market.market import (
    StartCondition,
    check_speed,
    check_start_condition,
)
from pairlab.local_exchange.market.order_flow import IdCounters, OrderBatch, make_orders
from pairlab.local_exchange.market.price_process import PairProcess
from pairlab.local_exchange.protocol.messages import (
    KLINE_INTERVALS_MS,
    AggTrade,
    Instrument,
    Kline,
    Message,
    SymbolInfo,
)
from pairlab.schema import NS_PER_S

__all__ = ["SyntheticMarket"]

_NS_PER_MS: Final = 1_000_000
_START_NS: Final = 1_767_603_600 * NS_PER_S  # 2026-01-05 09:00 UTC, a Monday
_DEFAULTS: Final = {  # price, decimals of price, decimals of quantity
    "BTCUSDT": (61_000.0, 1, 3),
    "ETHUSDT": (2_440.0, 2, 3),
    "BNBUSDT": (580.0, 2, 2),
    "SOLUSDT": (145.0, 3, 2),
    "XRPUSDT": (0.58, 5, 1),
    "LTCUSDT": (68.0, 3, 2),
    "BCHUSDT": (340.0, 2, 3),
}
_HISTORY_STEP_MS: Final = 5_000
_MAX_CANDLES: Final = 60_000  # 41 days of minutes


class SyntheticMarket:
    """A cointegrated pair with bursts of trades, stochastic volatility and decoupled episodes.

    The first symbol, y, follows ``ratio`` times the second, x, plus a mean-reverting spread.
    The same arguments give the same market: ids, times, prices and quantities, to the last digit,
    at every speed. Messages are sorted by (T, y before x, id).

    Parameters
    ----------
    seed : int, default 7
        Of the random numbers, 0 or above.
    rate_per_s : float, default 40
        Trades of both symbols per second of its clock, on average; up to 200,000.
    symbols : (str, str), default ("BTCUSDT", "ETHUSDT")
        y and x.
    start_ns : int, optional
        First time of its clock, ns since 1970 UTC, in whole ms; by default Monday 2026-01-05
        09:00 UTC. Pass ``time.time_ns() // 10**6 * 10**6`` for a market of today.
    speed : float or None, default 1.0
        Seconds of the market per second; None: as fast as its slowest client reads.
    start_condition : {"open", "subscribed"} or names of streams, default "open"
        When its clock starts: with the exchange, with the first subscription, or when all these
        streams are subscribed. With ``speed=None``, "open" becomes "subscribed".
    ratio : float, optional
        Units of x per unit of y: 25 for BTCUSDT/ETHUSDT, otherwise the quotient of the prices.
    prices : (float, float), optional
        Initial prices of y and x, approximately.
    history_s : float, default 14 days
        Length of the kline history before the start, seconds.
    keep_trades : int, default 1_000_000
        Number of trades kept for REST.
    past : (array, array), optional
        Closes of y and x before the start, oldest first, in steps of `past_step_s`, for the kline
        history; by default one is made up. `prices` should continue them.
    past_step_s : int, default 3,600
        Whole minutes.

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
        start_condition: StartCondition = "open",
        ratio: float | None = None,
        prices: tuple[float, float] | None = None,
        history_s: float = 14 * 86_400.0,
        keep_trades: int = 1_000_000,
        past: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
        past_step_s: int = 3_600,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise SettingError("seed", seed, "expected a whole number, 0 or above")
        if not 0.01 <= rate_per_s <= 200_000:
            raise SettingError("rate_per_s", rate_per_s, "expected 0.01 to 200,000")
        if not 0 <= history_s <= _MAX_CANDLES * 60:
            raise SettingError("history_s", history_s, f"expected 0 to {_MAX_CANDLES * 60:,} s")
        if keep_trades < 1_000:
            raise SettingError("keep_trades", keep_trades, "expected 1,000 or more")
        if start_ns is not None and (start_ns < 0 or start_ns % _NS_PER_MS):
            raise SettingError("start_ns", start_ns, "expected whole milliseconds since 1970")
        if past_step_s % 60 or past_step_s <= 0:
            raise SettingError("past_step_s", past_step_s, "expected whole minutes")
        if past is not None and len(past[0]) != len(past[1]):
            raise SettingError(
                "past", (len(past[0]), len(past[1])), "expected as many of x as of y"
            )
        names = _check_symbols(symbols)
        defaults = [_DEFAULTS.get(name) or _made_up_price(name) for name in names]
        if prices is not None:
            if len(prices) != 2 or not all(math.isfinite(p) and p > 0 for p in prices):
                raise SettingError("prices", prices, "expected two numbers above 0")
            defaults = [(p, *_decimals(p)) for p in prices]
        y_price, x_price = defaults[0][0], defaults[1][0]
        self.ratio = y_price / x_price if ratio is None else float(ratio)
        if not math.isfinite(self.ratio) or self.ratio == 0:
            raise SettingError("ratio", ratio, "expected a number other than 0")
        self.seed = seed
        self.rate_per_s = float(rate_per_s)
        self.speed = check_speed(speed)
        self.start_condition = check_start_condition(start_condition, self.speed)
        self.start_ns = _START_NS if start_ns is None else start_ns
        self.position_ns = self.start_ns
        self.history_s = float(history_s)
        self.instruments = (
            Instrument(names[0], defaults[0][1], defaults[0][2]),
            Instrument(names[1], defaults[1][1], defaults[1][2]),
        )
        self._intercept = y_price - self.ratio * x_price
        self._x_price = x_price
        self._keep_trades = int(keep_trades)
        self._past, self._past_step_ms = past, past_step_s * 1_000
        self._history: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._rewind()

    def open(self) -> None:
        """Go back to the beginning; make the kline history the first time."""
        if self._history is None:
            self._history = self._make_history()
        self._rewind()

    def _rewind(self) -> None:
        self._rng = np.random.default_rng([self.seed, 0])
        self._price_process = PairProcess(self._rng, self.ratio, self._intercept, self._x_price)
        self._counters = IdCounters(
            [5_266_583_935, 4_308_068_523], [2_301_482_700, 1_702_514_300], [1, 1], [0, 0]
        )
        self._batches: deque[OrderBatch] = deque()
        self._kept_count = 0
        self._forgotten = True  # whether the series has trades before those kept
        self._minute_candles: tuple[deque[NDArray[Any]], deque[NDArray[Any]]] = (
            deque(maxlen=_MAX_CANDLES),
            deque(maxlen=_MAX_CANDLES),
        )
        self._next_order = 0
        self._kline_due_ms: dict[str, int] = {}
        self.position_ns = self.start_ns
        self._append_batch(self.start_ns // _NS_PER_MS)

    def restart_ids(self, first: int) -> None:
        """Let the ids of every series go on at `first`; REST knows no trade from before."""
        batch = self._current_batch()
        minutes = [self._batch_candles(batch, leg, self._next_order) for leg in (0, 1)]
        for held, candles in zip(self._minute_candles, minutes, strict=True):
            held.extend(candles[i : i + 1] for i in range(len(candles)))
        self._batches.clear()
        self._batches.append(batch.renumbered(self._next_order, first, self._counters))
        self._next_order = 0
        self._kept_count = len(self._batches[0].trades["T"])
        self._forgotten = False

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return y and x."""
        return tuple(
            SymbolInfo(i.symbol, i.price(1), i.quantity(1), i.price_decimals, i.quantity_decimals)
            for i in self.instruments
        )

    def has_stream(self, stream: str) -> bool:
        """Return whether the stream is one of y's or x's trades, quotes or candles."""
        symbol, _, kind = stream.partition("@")
        if symbol not in [i.symbol.lower() for i in self.instruments]:
            return False
        return kind in ("trade", "aggTrade", "bookTicker") or (
            kind.startswith("kline_") and kind.removeprefix("kline_") in KLINE_INTERVALS_MS
        )

    def next_ns(self) -> int | None:
        """Return when the next order is due, ns."""
        batch = self._current_batch()
        return int(batch.order_ms[self._next_order]) * _NS_PER_MS

    def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
        """Return the messages of `wanted` streams due by `until_ns`, about `limit` at most."""
        messages: list[Message] = []
        klines = [name for name in wanted if "@kline_" in name]
        self._kline_due_ms = {name: at for name, at in self._kline_due_ms.items() if name in klines}
        budget = limit
        while budget > 0:
            batch = self._current_batch()
            low = self._next_order
            high = min(low + budget, len(batch.order_ms))
            if until_ns is not None:
                due = np.searchsorted(batch.order_ms, until_ns // _NS_PER_MS, "right")
                high = min(high, int(due))
            if klines and high > low:
                # Kline messages have times of their own; stop at each.
                tick = self._kline_due(klines, int(batch.order_ms[low]))
                high = min(high, max(low, int(np.searchsorted(batch.order_ms, tick, "left"))))
                if high == low:
                    messages += self._kline_messages(klines, tick)
                    budget -= 1
                    continue
            if high <= low:
                break
            messages += batch.messages(low, high, self.instruments, wanted)
            budget -= high - low
            self._next_order = high
            self.position_ns = int(batch.order_ms[high - 1]) * _NS_PER_MS
        return messages

    def agg_trades(
        self, symbol: str, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggTrade]:
        """Return aggregated trades sent so far and still kept, oldest first."""
        leg = [i.symbol for i in self.instruments].index(symbol)
        rows: list[AggTrade] = []
        if from_id is None and start_ms is None:
            for batch in reversed(self._batches):
                low, high = self._agg_range(batch, leg, None, None, end_ms)
                low = max(low, high - (limit - len(rows)))
                rows = batch.agg_rows(leg, self.instruments[leg], low, high) + rows
                if len(rows) >= limit:
                    break
            return rows
        begin = 0
        if from_id is not None:
            firsts = [batch.first_agg[leg] for batch in self._batches]
            if from_id < firsts[0] and self._forgotten:
                return []  # older than the trades kept
            begin = max(0, bisect.bisect_right(firsts, from_id) - 1)
        for batch in list(self._batches)[begin:]:
            low, high = self._agg_range(batch, leg, from_id, start_ms, end_ms)
            rows += batch.agg_rows(leg, self.instruments[leg], low, min(high, low + limit))
            if len(rows) >= limit:
                break
        return rows[:limit]

    def klines(
        self, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Kline]:
        """Return candles up to now; the first `history_s` lie before the start."""
        leg = [i.symbol for i in self.instruments].index(symbol)
        if self._history is None:
            self._history = self._make_history()
        parts = [self._history[leg], *self._minute_candles[leg]]
        if self._batches:
            parts.append(self._batch_candles(self._batches[-1], leg, self._next_order))
        candles = merge_candles([part for part in parts if len(part)], interval_ms)
        i = self.instruments[leg]
        return as_klines(
            candles, interval_ms, i.price_decimals, i.quantity_decimals, start_ms, end_ms, limit
        )

    def _current_batch(self) -> OrderBatch:
        """Return the batch with the next order; make it if necessary."""
        batch = self._batches[-1]
        while self._next_order >= len(batch.order_ms):
            for leg in (0, 1):
                candles = self._batch_candles(batch, leg, len(batch.order_ms))
                self._minute_candles[leg].extend(candles[i : i + 1] for i in range(len(candles)))
            self._append_batch(batch.end_ms)
            batch = self._batches[-1]
        return batch

    def _append_batch(self, start_ms: int) -> None:
        batch = make_orders(
            self._rng,
            self._price_process.next_batch(),
            start_ms,
            1_000.0 / self.rate_per_s,
            self.instruments,
            self._counters,
        )
        self._batches.append(batch)
        self._next_order = 0
        self._kept_count += len(batch.trades["T"])
        while self._kept_count > self._keep_trades and len(self._batches) > 1:
            self._kept_count -= len(self._batches.popleft().trades["T"])
            self._forgotten = True

    def _agg_range(
        self,
        batch: OrderBatch,
        leg: int,
        from_id: int | None,
        start_ms: int | None,
        end_ms: int | None,
    ) -> tuple[int, int]:
        at = batch.aggs_of_leg[leg]
        low, high = 0, len(at)
        if batch is self._batches[-1]:  # nothing that the stream has not sent yet
            high = int(np.searchsorted(batch.aggs["order"][at], self._next_order, "left"))
        if from_id is not None:
            low = max(low, from_id - batch.first_agg[leg])
        if start_ms is not None:
            low = max(low, int(np.searchsorted(batch.aggs["T"][at], start_ms, "left")))
        if end_ms is not None:
            high = min(high, int(np.searchsorted(batch.aggs["T"][at], end_ms, "right")))
        return low, max(low, high)

    def _batch_candles(self, batch: OrderBatch, leg: int, orders: int) -> NDArray[Any]:
        trades = batch.trades
        mine = (trades["leg"] == leg) & (trades["order"] < orders)
        i = self.instruments[leg]
        return minute_candles(
            trades["T"][mine],
            trades["p"][mine] / i.ticks,
            trades["q"][mine] / i.lots,
            trades["m"][mine].astype(np.bool_),
        )

    def _make_history(self) -> tuple[NDArray[Any], NDArray[Any]]:
        rng = np.random.default_rng([self.seed, 1])
        process = PairProcess(rng, self.ratio, self._intercept, self._x_price)
        step_ms = _HISTORY_STEP_MS if self._past is None else self._past_step_ms
        steps = int(self.history_s * 1_000) // step_ms
        if self._past is not None:
            steps = len(self._past[0])
        step_trades = self.rate_per_s * step_ms / 1_000
        start_ms = self.start_ns // _NS_PER_MS
        time_ms = start_ms - step_ms * np.arange(steps, 0, -1)
        candles = []
        paths = self._past
        if paths is None:
            paths = process.history(steps, step_trades) if steps else (np.zeros(0), np.zeros(0))
        for i, path in zip(self.instruments, paths, strict=True):
            fine = np.zeros(steps, CANDLE)
            # Each step closes where the next opens; of a past, closes are what is given.
            opens, closes = path, np.append(path[1:], path[-1:])
            if self._past is not None:
                opens, closes = np.append(path[:1], path[:-1]), path
            for name, value in (
                ("open", opens),
                ("close", closes),
                ("high", np.maximum(opens, closes)),
                ("low", np.minimum(opens, closes)),
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
            candles.append(merge_candles([fine], 60_000))
        return candles[0], candles[1]

    def _kline_due(self, streams: list[str], now_ms: int) -> int:
        """Return when the next kline message is due: one per stream every 250 ms."""
        for name in streams:
            self._kline_due_ms.setdefault(name, now_ms // 250 * 250)
        return min(self._kline_due_ms[name] for name in streams)

    def _kline_messages(self, streams: list[str], at_ms: int) -> list[Message]:
        messages = []
        for name in streams:
            if self._kline_due_ms[name] > at_ms:
                continue
            self._kline_due_ms[name] = at_ms + 250
            symbol, interval = name.upper().split("@")[0], name.split("@kline_")[1]
            newest = self.klines(symbol, KLINE_INTERVALS_MS[interval], None, None, 1)
            if not newest:
                continue  # no trades yet, and no history
            k = newest[0]
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


def _made_up_price(symbol: str) -> tuple[float, int, int]:
    """Return a price derived from a symbol's name, the same each time."""
    price = round(10 ** (zlib.crc32(symbol.encode()) % 3_000 / 1_000), 2)
    return (price, *_decimals(price))
