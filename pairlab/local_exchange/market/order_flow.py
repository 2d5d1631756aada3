"""A stretch of the synthetic market: orders, and the trades and quotes that come of them."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.local_exchange.market.market import AggTrade, Message
from pairlab.local_exchange.market.price_process import (
    CELL_TRADES,
    CELLS,
    MEAN_ECHO,
    MEAN_SWEEP,
    StepBatch,
)
from pairlab.local_exchange.protocol.frames import (
    Instrument,
    write_aggs,
    write_quotes,
    write_trades,
)

__all__ = ["Block", "IdCounters", "make_block"]

Ints = NDArray[np.int64]

_ORDERS_PER_CELL: Final = CELL_TRADES / MEAN_SWEEP / (1.0 + MEAN_ECHO)
_ECHO_AFTER: Final = 1e-3  # of a cell
_TYPICAL_TRADE: Final = 400.0  # in quote currency


@dataclass(slots=True)
class IdCounters:
    """What goes on from one block to the next.

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
class Block:
    """Orders in order (T, y before x) and, by order, the trades, aggregates and quotes they made.

    Attributes
    ----------
    start_ms, end_ms : int
        The block's part of the clock, end exclusive; blocks share no millisecond.
    order_ms, order_leg : ndarray of int64
        One entry per order.
    trades, aggs, quotes : dict of str to ndarray of int64
        Columns; each has ``order``, the index of the order it belongs to, never stepping back.
    first_agg : tuple of int
        The id of each leg's first aggregate.
    aggs_of_leg : tuple of ndarray
        Where in `aggs` each leg's are.
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

    def frames(
        self,
        low: int,
        high: int,
        instruments: tuple[Instrument, Instrument],
        wanted: Collection[str],
    ) -> list[Message]:
        """Return the frames of `wanted` streams that orders ``low:high`` made, in order."""
        parts: list[tuple[list[int], list[Message]]] = []
        for kind, columns, write in (
            ("bookTicker", self.quotes, write_quotes),
            ("trade", self.trades, write_trades),
            ("aggTrade", self.aggs, write_aggs),
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
            parts.append((part["order"].tolist(), write(part, instruments, names)))
        if len(parts) == 1:
            return parts[0][1]
        ranked = [
            (order, rank, i, message)
            for rank, (orders, messages) in enumerate(parts)
            for i, (order, message) in enumerate(zip(orders, messages, strict=True))
        ]
        ranked.sort(key=lambda entry: entry[:3])
        return [entry[3] for entry in ranked]

    def agg_rows(self, leg: int, instrument: Instrument, low: int, high: int) -> list[AggTrade]:
        """Return a leg's aggregates ``low:high`` of this block as REST answers them."""
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


def make_block(
    rng: np.random.Generator,
    cells: StepBatch,
    start_ms: int,
    ms_per_trade: float,
    instruments: tuple[Instrument, Instrument],
    ledger: IdCounters,
) -> Block:
    """Return the trading that a stretch of the process brings about, and move the ledger on."""
    at, leg = _orders(rng)
    clock = np.interp(at, np.arange(CELLS + 1), cells.elapsed) * ms_per_trade
    duration = max(1, math.ceil(cells.elapsed[-1] * ms_per_trade))
    order_ms = start_ms + np.minimum(clock.astype(np.int64), duration - 1)
    by_rule = np.lexsort((at, leg, order_ms))  # T, then y before x, then as they came
    at, leg, order_ms = at[by_rule], leg[by_rule], order_ms[by_rule]

    edges = np.arange(CELLS + 1)
    ticks = np.array([i.ticks for i in instruments])[leg]
    fair = np.where(leg == 0, np.interp(at, edges, cells.y), np.interp(at, edges, cells.x))
    bid = np.floor(fair * ticks).astype(np.int64)
    rising = np.sign(np.diff(cells.x))[np.minimum(at.astype(np.int64), CELLS - 1)]
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
        "id": _number(trade_leg, ledger.trade_ids),
        "T": order_ms[order],
        "p": price,
        "q": np.maximum(1, np.ceil(size)).astype(np.int64),
        "m": (~bought).astype(np.int64),
    }
    first_agg = (ledger.agg_ids[0], ledger.agg_ids[1])
    aggs = _aggregate(trades, ledger)
    quotes = _quotes(rng, bid, leg, order_ms, lot_value, ledger)
    of_leg = (np.flatnonzero(aggs["leg"] == 0), np.flatnonzero(aggs["leg"] == 1))
    return Block(
        start_ms, start_ms + duration, order_ms, leg, trades, aggs, quotes, first_agg, of_leg
    )


def _orders(rng: np.random.Generator) -> tuple[NDArray[np.float64], Ints]:
    """Return where in the block orders arrive, in cells, and on which leg."""
    count = max(1, rng.poisson(_ORDERS_PER_CELL * CELLS))
    # One in each of `count` equal parts: bursts and lulls are the clock's matter, not the grid's.
    at = (np.arange(count) + rng.random(count)) * (CELLS / count)
    leg = (rng.random(count) > 0.55).astype(np.int64)
    echoed = rng.random(count) < MEAN_ECHO
    at = np.concatenate((at, np.minimum(at[echoed] + _ECHO_AFTER, CELLS)))
    return at, np.concatenate((leg, 1 - leg[echoed]))


def _number(leg: Ints, following: list[int]) -> Ints:
    """Return contiguous ids per leg, and move `following` on."""
    ids = np.empty(len(leg), np.int64)
    for n in (0, 1):
        mine = leg == n
        count = int(np.count_nonzero(mine))
        ids[mine] = following[n] + np.arange(count)
        following[n] += count
    return ids


def _aggregate(trades: dict[str, Ints], ledger: IdCounters) -> dict[str, Ints]:
    """Join the trades of one order at one price, as the exchange does."""
    order, price = trades["order"], trades["p"]
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(order) != 0) | (np.diff(price) != 0)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order)) - 1
    aggs = {name: trades[name][first] for name in ("order", "leg", "T", "p", "m")}
    aggs["id"] = _number(aggs["leg"], ledger.agg_ids)
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
    ledger: IdCounters,
) -> dict[str, Ints]:
    """Return the best bid and ask before each order that finds them changed."""
    changed = np.zeros(len(bid), np.bool_)
    for n in (0, 1):
        mine = np.flatnonzero(leg == n)
        if len(mine):
            changed[mine] = np.diff(bid[mine], prepend=ledger.bids[n]) != 0
            ledger.bids[n] = int(bid[mine[-1]])
    order = np.flatnonzero(changed)
    deep = np.exp(rng.standard_normal((2, len(order)))) * 20 * _TYPICAL_TRADE
    depth = np.maximum(1, np.ceil(deep / lot_value[leg[order]])).astype(np.int64)
    return {
        "order": order,
        "leg": leg[order],
        "id": _number(leg[order], ledger.quote_ids),
        "T": order_ms[order],
        "b": bid[order],
        "B": depth[0],
        "A": depth[1],
    }
