"""What became of decisions so far: which were filled, and what they made, as a backtest has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from pairlab.backtesting.accounting import Book, LegBook, leg_books
from pairlab.backtesting.fills import ENDED, Fills, Missed, fill
from pairlab.backtesting.live.fill_queue import FillQueue, Newest
from pairlab.backtesting.market import Market
from pairlab.backtesting.run import missed_of, trades_of
from pairlab.backtesting.terms import Terms
from pairlab.protocols import SessionMoney
from pairlab.schema import EVENT, NS_PER_S, ROW, AlertKind
from pairlab.settings import SettingValues

__all__ = [
    "Decision",
    "Settled",
    "Tables",
    "market_of_decisions",
    "nothing_settled",
    "settled",
]

_OF_EVERY_ROW: Final = ["mae", "mfe", "rows"]
"""Columns of a backtest's trades that need every row between entry and exit."""


class Decision(NamedTuple):
    """A decision to enter or leave a position.

    Attributes
    ----------
    row, event : bytes
        Of a `pairlab.ROW` and of a `pairlab.schema.EVENT`: numpy copies records field by field.
    kind : AlertKind
        ENTRY, EXIT or STOP.
    values : SettingValues
        Under which it was made.
    ordinal, known_ns : int
        Of the tick on which it was made: its number, and the newest time up to it.
    """

    row: bytes
    event: bytes
    kind: AlertKind
    values: SettingValues
    ordinal: int
    known_ns: int


class Tables(NamedTuple):
    """Trades and missed entries, as `BacktestResult` has them."""

    trades: pd.DataFrame
    missed: pd.DataFrame


class _Group(NamedTuple):
    """Decisions under settings by which they are filled and paid for alike."""

    market: Market
    fills: Fills
    missed: Missed
    fee_bps: float


@dataclass(frozen=True)
class Settled:
    """Decisions, filled as far as there were trades.

    Attributes
    ----------
    groups : sequence
        Of those that are filled alike.
    slippage_bps, capital : float
        Of the terms.
    closed, wins : int
        Positions that were left, and those that made a profit.
    net, costs : float
        Of them.
    open : tuple of float
        Units of y and of x that are held, and the profit without their value: what was paid for
        them, with the costs.
    side : int
        Of the position that is held.
    """

    groups: Sequence[_Group]
    slippage_bps: float
    capital: float
    closed: int
    wins: int
    net: float
    costs: float
    open: tuple[float, float, float]
    side: int

    def profit(self, price: tuple[float, float]) -> float:
        """Return the profit of all at these prices of y and x."""
        return self.net + self._open_net(price)

    def _open_net(self, price: tuple[float, float]) -> float:
        y, x, paid = self.open
        return (y * price[0] if y else 0.0) + (x * price[1] if x else 0.0) + paid

    def money(self, newest: Newest) -> SessionMoney:
        """Return it in figures."""
        return SessionMoney(
            capital=self.capital, trades=self.closed, wins=self.wins, net=self.net,
            costs=self.costs, open_net=self._open_net(newest.price), side=self.side,
            quantities=self.open[:2], drawdown=0.0,
        )  # fmt: skip

    def as_tables(self, newest: Newest) -> Tables:
        """Return trades and missed entries; what is held is valued at the newest trades."""
        trades, missed = [], []
        for group in self.groups:
            market = _valued(group.market, newest)
            y, x = _books(market, group, self.slippage_bps)
            none = np.full(len(group.fills), np.nan)
            table = trades_of(market, group.fills, Book(y, x, *[none] * 7))
            table = table.drop(columns=_OF_EVERY_ROW)
            begun = table[["entry_y_time", "entry_x_time"]].min(axis=1)
            age = (pd.Timestamp(max(*newest.time_ns, 0), tz="UTC") - begun).dt.total_seconds()
            table["held_s"] = table["held_s"].mask(table["reason"] == "open", age)
            trades.append(table)
            over = group.missed.reason != ENDED  # those wait for a trade
            of_them = Missed(
                *(getattr(group.missed, name)[over] for name in Missed.__annotations__)
            )
            missed.append(missed_of(market, of_them))
        return Tables(
            _joined(trades).sort_values("entry_decided", kind="stable"),
            _joined(missed).sort_index(kind="stable"),
        )


def nothing_settled(terms: Terms) -> Settled:
    """Return what no decisions made."""
    return Settled([], terms.slippage_bps, terms.capital, 0, 0, 0.0, 0.0, (0.0, 0.0, 0.0), 0)


def settled(
    queue: FillQueue,
    decisions: Sequence[Decision],
    terms: Terms,
    settings: SettingValues | None = None,
) -> Settled:
    """Fill decisions, and pay for them; the compiled passes must be there.

    Parameters
    ----------
    queue : FillQueue
        The trades that fill them.
    decisions : sequence of Decision
        In the order in which they were made.
    terms : Terms
        Under which they are filled.
    settings : SettingValues, optional
        Of now: without decisions there are empty tables, of them.
    """
    groups = []
    closed = wins = side = 0
    net = costs = paid_for_open = 0.0
    held = [0.0, 0.0]
    alike = _alike(decisions, terms)
    if not alike and settings is not None:
        alike = [([], settings)]
    for numbers, values in alike:
        market = market_of_decisions(queue, decisions, numbers, values)
        wait_ns = round(terms.max_wait_s(values) * NS_PER_S)
        fills, missed = fill(market, terms.capital, terms.latency_ns, wait_ns, terms.lots)
        group = _Group(market, fills, missed, terms.fee_bps(values))
        groups.append(group)
        books = y, x = _books(market, group, terms.slippage_bps)
        paid = y.fees + y.slippage + x.fees + x.slippage
        made = y.gross + x.gross - paid
        left = y.closed & x.closed
        closed += int(left.sum())
        wins += int((made[left] > 0.0).sum())
        net += float(made[left].sum())
        costs += float(paid[left].sum())
        for at in np.flatnonzero(~left):  # one at most: the engine holds one position
            side = int(fills.side[at])
            units = (fills.y_quantity, fills.x_quantity)
            for leg, (book, quantity) in enumerate(zip(books, units, strict=True)):
                paid_for_open -= float(book.fees[at] + book.slippage[at])
                if book.closed[at]:
                    paid_for_open += float(book.gross[at])
                else:
                    held[leg] = float(quantity[at])
                    paid_for_open -= held[leg] * float(book.entry[at])
    return Settled(
        groups, terms.slippage_bps, terms.capital, closed, wins, net, costs,
        (held[0], held[1], paid_for_open), side,
    )  # fmt: skip


def _alike(decisions: Sequence[Decision], terms: Terms) -> list[tuple[list[int], SettingValues]]:
    """Return entries with their exits, those together that are filled and paid for alike."""
    groups: dict[tuple[object, ...], tuple[list[int], SettingValues]] = {}
    key: tuple[object, ...] | None = None
    for number, decision in enumerate(decisions):
        if decision.kind == AlertKind.ENTRY:
            values = decision.values
            key = (values.price_scale, terms.fee_bps(values), terms.max_wait_s(values))
            groups.setdefault(key, ([], values))
        if key is not None:
            groups[key][0].append(number)
    return list(groups.values())


def market_of_decisions(
    queue: FillQueue, decisions: Sequence[Decision], numbers: list[int], values: SettingValues
) -> Market:
    """Return the rows of some decisions alone, and the trades that fill them."""
    chosen = [decisions[number] for number in numbers]
    rows = np.frombuffer(b"".join(one.row for one in chosen), ROW)
    events = np.frombuffer(bytearray().join(one.event for one in chosen), EVENT)
    events["row"] = np.arange(len(events))
    ordinals, known = (
        np.array([getattr(one, name) for one in chosen], np.int64)
        for name in ("ordinal", "known_ns")
    )
    y, x = queue.legs(np.array(numbers, np.int64))
    times = np.ascontiguousarray(rows["time_ns"])
    return Market(rows, events, y, x, times, ordinals, known, values, warm_up=0, gaps=0, step_ns=0)


def _books(market: Market, group: _Group, slippage_bps: float) -> tuple[LegBook, LegBook]:
    return leg_books(market, group.fills, group.fee_bps, slippage_bps, None, None)


def _valued(market: Market, newest: Newest) -> Market:
    """Return the market with the newest prices, at which what is held is valued."""
    legs = []
    for leg, time_ns, price in zip((market.y, market.x), *newest, strict=True):
        times, prices = leg.time_ns.copy(), leg.price.copy()
        times[-1], prices[-1] = time_ns, price
        legs.append(replace(leg, time_ns=times, price=prices))
    return replace(market, y=legs[0], x=legs[1])


def _joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of the same columns as one; empty ones decide nothing about it."""
    every = list(tables)
    full = [table for table in every if len(table)]
    return pd.concat(full) if full else every[-1]
