"""Order flow of the synthetic market: orders, and the trades and quotes they cause."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.local_exchange.market.price_process import (
    ARBITRAGE_SHARE,
    MEAN_SWEEP,
    STEP_TRADES,
    STEPS,
    StepBatch,
)
from pairlab.local_exchange.protocol.messages import (
    AggTrade,
    Instrument,
    Message,
    agg_trade_messages,
    book_ticker_messages,
    trade_messages,
)

__all__ = ["IdCounters", "OrderBatch", "make_orders"]

Ints = NDArray[np.int64]

_ORDERS_PER_STEP: Final = STEP_TRADES / MEAN_SWEEP / (1.0 + ARBITRAGE_SHARE)
_ARBITRAGE_DELAY: Final = 1e-3  # of a step
_TYPICAL_TRADE: Final = 400.0  # in quote currency


@dataclass(slots=True)
class IdCounters:
    """State carried from one batch of orders to the next.

    Attributes
    ----------
    trade_ids, agg_ids, quote_ids : list of int
        The next id of each leg.
    bids : list of int
        The last quoted bid of each leg, ticks.
    """

    trade_ids: list[int]
    agg_ids: list[int]
    quote_ids: list[int]
    bids: list[int]


@dataclass(slots=True)
class OrderBatch:
    """Orders sorted by (T, y before x), and the trades, aggregates and quotes each caused.

    Attributes
    ----------
    start_ms, end_ms : int
        The batch's interval of the clock, end exclusive; batches share no millisecond.
    order_ms, order_leg : ndarray of int64
        One entry per order.
    trades, aggs, quotes : dict of str to ndarray of int64
        Columns; each has ``order``, the index of its order, non-decreasing.
    first_agg : tuple of int
        The id of each leg's first aggregate.
    aggs_of_leg : tuple of ndarray
        Indices of each leg's rows in `aggs`.
    """

    start_ms: int
    end_ms: int
    order_ms: Ints
    order_leg: Ints
    trades: dict[str, Ints]
    aggs: dict[str, Ints]
    quotes: dict[str, Ints]
    first_agg: tuple[int, int]
    aggs_of_leg: tuple[Ints, Ints]

    def messages(
        self,
        low: int,
        high: int,
        instruments: tuple[Instrument, Instrument],
        wanted: Collection[str],
    ) -> list[Message]:
        """Return the messages of `wanted` streams that orders ``low:high`` caused, in order."""
        parts: list[tuple[list[int], list[Message]]] = []
        for kind, columns, encode in (
            ("bookTicker", self.quotes, book_ticker_messages),
            ("trade", self.trades, trade_messages),
            ("aggTrade", self.aggs, agg_trade_messages),
        ):
            names = tuple(f"{i.symbol.lower()}@{kind}" for i in instruments)
            legs = tuple(name in wanted for name in names)
            if not any(legs):
                continue
            first, last = np.searchsorted(columns["order"], (low, high))
            part = {name: column[first:last] for name, column in columns.items()}
            if not all(legs):
                keep = part["leg"] == legs.index(True)
                part = {name: column[keep] for name, column in part.items()}
            parts.append((part["order"].tolist(), encode(part, instruments, names)))
        if len(parts) == 1:
            return parts[0][1]
        ranked = [
            (order, rank, i, message)
            for rank, (orders, messages) in enumerate(parts)
            for i, (order, message) in enumerate(zip(orders, messages, strict=True))
        ]
        ranked.sort(key=lambda entry: entry[:3])
        return [entry[3] for entry in ranked]

    def renumbered(self, low: int, first: int, counters: IdCounters) -> OrderBatch:
        """Return the orders from `low` on, their ids from `first` on; `counters` follow."""
        parts = []
        for columns in (self.trades, self.aggs, self.quotes):
            start = int(np.searchsorted(columns["order"], low))
            part = {name: column[start:].copy() for name, column in columns.items()}
            part["order"] -= low
            parts.append(part)
        trades, aggs, quotes = parts
        counters.trade_ids, counters.agg_ids, counters.quote_ids = ([first] * 2 for _ in range(3))
        old_ids = trades["id"]
        trades["id"] = _assign_ids(trades["leg"], counters.trade_ids)
        for leg in (0, 1):  # those that an aggregate is made of have moved by as much
            mine = trades["leg"] == leg
            moved = int((trades["id"] - old_ids)[mine][0]) if mine.any() else 0
            for name in ("f", "l"):
                aggs[name][aggs["leg"] == leg] += moved
        aggs["id"] = _assign_ids(aggs["leg"], counters.agg_ids)
        quotes["id"] = _assign_ids(quotes["leg"], counters.quote_ids)
        return replace(
            self,
            order_ms=self.order_ms[low:],
            order_leg=self.order_leg[low:],
            trades=trades,
            aggs=aggs,
            quotes=quotes,
            first_agg=(first, first),
            aggs_of_leg=(np.flatnonzero(aggs["leg"] == 0), np.flatnonzero(aggs["leg"] == 1)),
        )

    def agg_rows(self, leg: int, instrument: Instrument, low: int, high: int) -> list[AggTrade]:
        """Return a leg's aggregates ``low:high`` of this batch as REST returns them."""
        at = self.aggs_of_leg[leg][low:high]
        columns = (self.aggs[name][at].tolist() for name in ("id", "p", "q", "f", "l", "T", "m"))
        return [
            {
                "a": a,
                "p": instrument.price(p),
                "q": instrument.quantity(q),
                "f": f,
                "l": last,
                "T": t,
                "m": bool(m),
            }
            for a, p, q, f, last, t, m in zip(*columns, strict=True)
        ]


def make_orders(
    rng: np.random.Generator,
    steps: StepBatch,
    start_ms: int,
    ms_per_trade: float,
    instruments: tuple[Instrument, Instrument],
    counters: IdCounters,
) -> OrderBatch:
    """Return the orders of one batch of process steps, and advance `counters`."""
    at, leg = _arrivals(rng)
    clock = np.interp(at, np.arange(STEPS + 1), steps.elapsed) * ms_per_trade
    duration = max(1, math.ceil(steps.elapsed[-1] * ms_per_trade))
    order_ms = start_ms + np.minimum(clock.astype(np.int64), duration - 1)
    by_rule = np.lexsort((at, leg, order_ms))  # T, then y before x, then order of arrival
    at, leg, order_ms = at[by_rule], leg[by_rule], order_ms[by_rule]

    edges = np.arange(STEPS + 1)
    ticks = np.array([i.ticks for i in instruments])[leg]
    fair = np.where(leg == 0, np.interp(at, edges, steps.y), np.interp(at, edges, steps.x))
    bid = np.floor(fair * ticks).astype(np.int64)
    rising = np.sign(np.diff(steps.x))[np.minimum(at.astype(np.int64), STEPS - 1)]
    buys = rng.random(len(at)) < 0.5 + 0.3 * rising
    sweep = rng.geometric(1.0 / MEAN_SWEEP, len(at))

    order = np.repeat(np.arange(len(at)), sweep)
    within = np.arange(len(order)) - np.repeat(np.cumsum(sweep) - sweep, sweep)
    bought = buys[order]
    price = bid[order] + bought + np.where(bought, within // 2, -(within // 2))
    trade_leg = leg[order]
    lot_value = np.array(
        [
            fair[leg == n].mean() / i.lots if np.any(leg == n) else 1.0
            for n, i in enumerate(instruments)
        ]
    )
    size = np.exp(rng.standard_normal(len(order)) * 1.4) * _TYPICAL_TRADE / lot_value[trade_leg]
    trades = {
        "order": order,
        "leg": trade_leg,
        "id": _assign_ids(trade_leg, counters.trade_ids),
        "T": order_ms[order],
        "p": price,
        "q": np.maximum(1, np.ceil(size)).astype(np.int64),
        "m": (~bought).astype(np.int64),
    }
    first_agg = (counters.agg_ids[0], counters.agg_ids[1])
    aggs = _aggregate(trades, counters)
    quotes = _quotes(rng, bid, leg, order_ms, lot_value, counters)
    of_leg = (np.flatnonzero(aggs["leg"] == 0), np.flatnonzero(aggs["leg"] == 1))
    return OrderBatch(
        start_ms, start_ms + duration, order_ms, leg, trades, aggs, quotes, first_agg, of_leg
    )


def _arrivals(rng: np.random.Generator) -> tuple[NDArray[np.float64], Ints]:
    """Return when in the batch orders arrive, in steps, and on which leg."""
    count = max(1, rng.poisson(_ORDERS_PER_STEP * STEPS))
    # One in each of `count` equal parts: bursts come from the clock, not from this grid.
    at = (np.arange(count) + rng.random(count)) * (STEPS / count)
    leg = (rng.random(count) > 0.55).astype(np.int64)
    followed = rng.random(count) < ARBITRAGE_SHARE
    at = np.concatenate((at, np.minimum(at[followed] + _ARBITRAGE_DELAY, STEPS)))
    return at, np.concatenate((leg, 1 - leg[followed]))


def _assign_ids(leg: Ints, next_ids: list[int]) -> Ints:
    """Return contiguous ids per leg, and advance `next_ids`."""
    ids = np.empty(len(leg), np.int64)
    for n in (0, 1):
        mine = leg == n
        count = int(np.count_nonzero(mine))
        ids[mine] = next_ids[n] + np.arange(count)
        next_ids[n] += count
    return ids


def _aggregate(trades: dict[str, Ints], counters: IdCounters) -> dict[str, Ints]:
    """Merge the trades of one order at one price, as the exchange does."""
    order, price = trades["order"], trades["p"]
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(order) != 0) | (np.diff(price) != 0)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order)) - 1
    aggs = {name: trades[name][first] for name in ("order", "leg", "T", "p", "m")}
    aggs["id"] = _assign_ids(aggs["leg"], counters.agg_ids)
    aggs["q"] = np.add.reduceat(trades["q"], first) if len(first) else trades["q"]
    aggs["f"] = trades["id"][first]
    aggs["l"] = trades["id"][last[: len(first)]]
    return aggs


def _quotes(
    rng: np.random.Generator,
    bid: Ints,
    leg: Ints,
    order_ms: Ints,
    lot_value: NDArray[np.float64],
    counters: IdCounters,
) -> dict[str, Ints]:
    """Return the best bid and ask before each order at which they changed."""
    changed = np.zeros(len(bid), np.bool_)
    for n in (0, 1):
        mine = np.flatnonzero(leg == n)
        if len(mine):
            changed[mine] = np.diff(bid[mine], prepend=counters.bids[n]) != 0
            counters.bids[n] = int(bid[mine[-1]])
    order = np.flatnonzero(changed)
    deep = np.exp(rng.standard_normal((2, len(order)))) * 20 * _TYPICAL_TRADE
    depth = np.maximum(1, np.ceil(deep / lot_value[leg[order]])).astype(np.int64)
    return {
        "order": order,
        "leg": leg[order],
        "id": _assign_ids(leg[order], counters.quote_ids),
        "T": order_ms[order],
        "b": bid[order],
        "B": depth[0],
        "A": depth[1],
    }
