"""Money: cash, equity at every row, and what each trade made, from fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.costs import FundingRates
from pairlab.backtesting.fills import Fills
from pairlab.backtesting.legs import Leg, prices_at
from pairlab.backtesting.market import Market
from pairlab.data.spooled_array import empty_spooled
from pairlab.research.past import LegPrices

__all__ = ["Book", "LegBook", "book_of", "leg_books"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LegBook:
    """One leg of every trade, an array element each.

    Attributes
    ----------
    money : array of float64, shape (8, trades)
        Lines: `entry` and `exit`, the prices of the trades that filled it, of an open one the last
        price of the data; `entry_fill` and `exit_fill`, the same moved against the order by the
        slippage; `gross`; `slippage`; the fee at entry and at exit. In the quote currency.
    closed : array of bool
        Whether the exit was filled.
    funding : array of float64
        In the quote currency; received is above 0.
    payment_row, payment : array of int64 and of float64, shape (payments,)
        Payments of funding: the rows from which they count, and their amounts.
    """

    money: _Floats
    closed: NDArray[np.bool_]
    funding: _Floats
    payment_row: NDArray[np.int64]
    payment: _Floats

    def _line(self, number: int) -> _Floats:
        line: _Floats = self.money[number]
        return line

    @property
    def entry(self) -> _Floats:
        """Prices of the trades that filled the entries."""
        return self._line(0)

    @property
    def exit(self) -> _Floats:
        """Prices of the trades that filled the exits; of an open one the last price."""
        return self._line(1)

    @property
    def entry_fill(self) -> _Floats:
        """Prices paid at the entries."""
        return self._line(2)

    @property
    def exit_fill(self) -> _Floats:
        """Prices paid at the exits."""
        return self._line(3)

    @property
    def gross(self) -> _Floats:
        """Profit at the market's prices."""
        return self._line(4)

    @property
    def slippage(self) -> _Floats:
        """What the slippage cost."""
        return self._line(5)

    @property
    def fees(self) -> _Floats:
        """Fees of entries and exits."""
        total: _Floats = self.money[6] + self.money[7]
        return total


@dataclass(frozen=True)
class Book:
    """What the fills of a backtest amount to.

    Attributes
    ----------
    y, x : LegBook
        Both legs of every trade.
    equity, realised, unrealised, fees, funding : array of float64, shape (rows,)
        At every row: equity = capital + realised + unrealised − fees + funding. Slippage is part
        of the prices of fills, and so of the first two.
    mae, mfe : array of float64, shape (trades,)
        Worst (at most 0) and best (at least 0) profit before costs, while both legs were held.
    """

    y: LegBook
    x: LegBook
    equity: _Floats
    realised: _Floats
    unrealised: _Floats
    fees: _Floats
    funding: _Floats
    mae: _Floats
    mfe: _Floats


def book_of(
    market: Market,
    fills: Fills,
    capital: float,
    fee_bps: float,
    slippage_bps: float,
    funding: tuple[FundingRates, FundingRates] | None,
    marks: tuple[LegPrices, LegPrices] | None,
) -> Book:
    """Account for every fill and every payment of funding.

    Parameters
    ----------
    market, fills
        As `pairlab.backtesting.fills.fill` takes and gives them.
    capital : float
        At the start.
    fee_bps, slippage_bps : float
        Of every fill.
    funding : tuple of FundingRates, optional
        Of both legs.
    marks : tuple of LegPrices, optional
        Prices on which funding is charged; None: the last trades.
    """
    y, x = leg_books(market, fills, fee_bps, slippage_bps, funding, marks)
    changes = tuple(
        _changes(leg, entry, exit_, quantity, book)
        for leg, entry, exit_, quantity, book in (
            (market.y, fills.y_entry, fills.y_exit, fills.y_quantity, y),
            (market.x, fills.x_entry, fills.x_exit, fills.x_quantity, x),
        )
    )
    paths = _paths(market, capital, changes)
    mae, mfe = _excursions(market, fills, y, x)
    return Book(y, x, *paths, mae, mfe)


class _Changes(NamedTuple):
    """Fills and payments of one leg: the rows from which they count, and what they change.

    Attributes
    ----------
    row : array of int64, shape (k,)
        In no order.
    quantity, cash, cost, realised, fees, funding : array of float64, shape (k,)
        Units held, money, price paid for what is held, profit of what was sold, and their costs.
    """

    row: NDArray[np.int64]
    quantity: _Floats
    cash: _Floats
    cost: _Floats
    realised: _Floats
    fees: _Floats
    funding: _Floats


def leg_books(
    market: Market,
    fills: Fills,
    fee_bps: float,
    slippage_bps: float,
    funding: tuple[FundingRates, FundingRates] | None,
    marks: tuple[LegPrices, LegPrices] | None,
) -> tuple[LegBook, LegBook]:
    """Return what y and x of every trade made; as `book_of`."""
    from pairlab.backtesting.trade_kernels import leg_kernel  # numba is slow to import

    run, books = leg_kernel(), []
    for number, (leg, entry, exit_, quantity) in enumerate(
        (
            (market.y, fills.y_entry, fills.y_exit, fills.y_quantity),
            (market.x, fills.x_entry, fills.x_exit, fills.x_quantity),
        )
    ):
        money, closed = np.empty((8, len(fills))), np.empty(len(fills), bool)
        last = float(leg.price[leg.last[-1]]) if len(market) else np.nan
        run(
            leg.price, entry, exit_, quantity, fee_bps / 1e4, slippage_bps / 1e4, last, money,
            closed,
        )  # fmt: skip
        rates = None if funding is None else funding[number]
        mark = leg if marks is None else marks[number]
        paid, rows, payments = _funding(market, leg, entry, exit_, quantity, rates, mark)
        books.append(LegBook(money, closed, paid, rows, payments))
    return books[0], books[1]


def _changes(
    leg: Leg,
    entry: NDArray[np.int64],
    exit_: NDArray[np.int64],
    quantity: _Floats,
    book: LegBook,
) -> _Changes:
    """Return what changes at which rows."""
    closed, (fee_in, fee_out) = book.closed, book.money[6:]
    none = np.zeros(len(book.payment))
    moved_in, moved_out = quantity * book.entry_fill, (quantity * book.exit_fill)[closed]
    held = moved_in[closed]
    return _Changes(
        np.concatenate([leg.row_of(entry), leg.row_of(exit_[closed]), book.payment_row]),
        np.concatenate([quantity, -quantity[closed], none]),
        np.concatenate([-moved_in - fee_in, moved_out - fee_out[closed], book.payment]),
        np.concatenate([moved_in, -held, none]),
        np.concatenate([np.zeros(len(entry)), moved_out - held, none]),
        np.concatenate([fee_in, fee_out[closed], none]),
        np.concatenate([np.zeros(len(entry)), np.zeros(len(held)), book.payment]),
    )


def _funding(
    market: Market,
    leg: Leg,
    entry: NDArray[np.int64],
    exit_: NDArray[np.int64],
    quantity: _Floats,
    rates: FundingRates | None,
    mark: Leg | LegPrices,
) -> tuple[_Floats, NDArray[np.int64], _Floats]:
    """Return the funding of each trade, and rows and amounts of the payments.

    A position pays if it was filled before the time of payment, and not closed before it.
    """
    nothing = np.zeros(len(entry)), np.zeros(0, np.int64), np.zeros(0)
    if rates is None or not len(entry) or not len(market):
        return nothing
    due = rates.time_ns <= market.time_ns[-1]
    times = rates.time_ns[due]
    price = prices_at(mark, times)
    charged = np.where(np.isfinite(price), price, 0.0) * rates.rate[due]
    first = np.searchsorted(times, leg.time_ns[entry], side="right")
    until = np.where(exit_ >= 0, leg.time_ns[exit_], np.iinfo(np.int64).max)
    end = np.searchsorted(times, until, side="right")
    total = np.concatenate([[0.0], np.cumsum(charged)])
    paid = -quantity * (total[end] - total[first])
    # What each payment is: of everything held then, which a difference array adds up.
    held = np.zeros(len(times) + 1)
    np.add.at(held, first, quantity)
    np.add.at(held, end, -quantity)
    amounts = -np.cumsum(held)[:-1] * charged
    rows = np.searchsorted(market.time_ns, times, side="left")
    # A payment belongs to a row that knows of the position.
    return paid, np.minimum(rows, len(market) - 1), amounts


def _paths(
    market: Market, capital: float, changes: tuple[_Changes, ...]
) -> tuple[_Floats, _Floats, _Floats, _Floats, _Floats]:
    """Return equity, realised, unrealised, fees and funding at every row."""
    from pairlab.backtesting.trade_kernels import path_kernel  # numba is slow to import

    (row_y, quantity_y, *money_y), (row_x, quantity_x, *money_x) = changes
    row = np.concatenate([row_y, row_x])
    order = np.argsort(row, kind="stable")
    change = np.zeros((7, len(row)))
    change[0, : len(row_y)], change[1, len(row_y) :] = quantity_y, quantity_x
    for line, parts in zip(change[2:], zip(money_y, money_x, strict=True), strict=True):
        np.concatenate(parts, out=line)
    n = len(market)
    # At once: fewer pages to be made.
    equity, realised, unrealised, fees = empty_spooled((4, n), on_disk=market.on_disk)
    if change[6].any():
        paid = funding = empty_spooled((n,), on_disk=market.on_disk)
    else:
        paid = np.zeros(n)  # of which the system makes nothing until something is written
        funding = paid[:0]
    path_kernel()(
        row[order], np.take(change, order, axis=1), *market.prices(), capital, equity, realised,
        unrealised, fees, funding,
    )  # fmt: skip
    return equity, realised, unrealised, fees, paid


def _excursions(market: Market, fills: Fills, y: LegBook, x: LegBook) -> tuple[_Floats, _Floats]:
    """Return the worst and the best profit of each trade before costs."""
    from pairlab.backtesting.trade_kernels import excursion_kernel  # numba is slow to import

    gross = y.gross + x.gross
    worst, best = np.minimum(gross, 0.0), np.maximum(gross, 0.0)
    if not len(fills):
        return worst, best
    n = len(market)
    first, end = np.zeros(len(fills), np.int64), np.full(len(fills), n)
    for leg, entry, exit_ in (
        (market.y, fills.y_entry, fills.y_exit),
        (market.x, fills.x_entry, fills.x_exit),
    ):
        first = np.maximum(first, leg.row_of(entry))
        left = leg.row_of(np.maximum(exit_, 0))
        end = np.minimum(end, np.where(exit_ >= 0, left, n))
    excursion_kernel()(
        first, end, fills.y_quantity, fills.x_quantity, y.entry, x.entry, *market.prices(), worst,
        best,
    )  # fmt: skip
    return worst, best
