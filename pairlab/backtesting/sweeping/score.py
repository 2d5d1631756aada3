"""What one set of thresholds makes, without the tables: for sweeps and for what-if."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.accounting import LegBook, leg_books
from pairlab.backtesting.fills import Fills, fill
from pairlab.backtesting.market import Market
from pairlab.backtesting.sweeping.decision_pass import DecisionColumns, columns_of, events_of
from pairlab.backtesting.terms import Terms
from pairlab.settings import SettingValues

__all__ = ["PERIODS", "Score", "Scorer"]

PERIODS: Final = 512
"""Stretches of equal length that returns are taken over, whatever the data's frequency."""


_FILLED: Final = np.dtype([(name, np.float64) for name in ("y", "x", "hedge_ratio")])


@dataclass(frozen=True)
class Score:
    """Figures of one set of thresholds.

    Attributes
    ----------
    returns : array of float64, shape (PERIODS,)
        None without rows. Change of equity over each stretch of time / capital.
    net_profit, gross, fees, slippage, funding : float
        In the quote currency; open positions are marked at the last prices.
    trades : int
        Closed ones.
    win_rate, expectancy : float
        Of closed trades: share with net > 0, and mean net; NaN without any.
    missed_entries : int
        Entries that were decided and not filled.
    max_drawdown : float
        Of equity at the ends of the stretches, from the capital; 0 or below.
    """

    returns: NDArray[np.float64]
    net_profit: float
    gross: float
    fees: float
    slippage: float
    funding: float
    trades: int
    win_rate: float
    expectancy: float
    missed_entries: int
    max_drawdown: float

    @property
    def sharpe(self) -> float:
        """Sharpe ratio per stretch; NaN where the returns do not vary."""
        spread = float(np.std(self.returns, ddof=1)) if len(self.returns) else 0.0
        return float(np.mean(self.returns)) / spread if spread > 0.0 else np.nan


class Scorer:
    """Scores sets of thresholds on the rows of one run of the engine; any number of threads may.

    Parameters
    ----------
    market : Market
        Of the run.
    terms : Terms
        Under which it trades.
    purged : bool
        Leave out a position that is open at the end: what it makes lies beyond.
    """

    def __init__(self, market: Market, terms: Terms, *, purged: bool = False) -> None:
        self._terms, self._purged = terms, purged
        self._columns: DecisionColumns = columns_of(market.rows, market.values)
        times = market.time_ns
        if len(times):
            ends = np.linspace(times[0], times[-1], PERIODS + 1)[1:]
            self._ends = np.searchsorted(times, ends.astype(np.int64), side="right") - 1
            self._ends[-1] = len(times) - 1
        else:
            self._ends = np.zeros(0, np.int64)
        # A fill counts from the first stretch on at whose end a row knows of it.
        every = np.arange(len(times) + 1)
        self._stretch = np.searchsorted(self._ends, every, side="left")
        self._y, self._x = (np.ascontiguousarray(market.rows[leg][self._ends]) for leg in "yx")
        # What a fill reads of a row lies side by side, and the other fields need not be held.
        rows = np.empty(len(market), _FILLED)
        for name in _FILLED.names or ():
            rows[name] = market.rows[name]
        self._market = replace(market, rows=rows).indexed(terms.latency_ns)

    def score(self, values: SettingValues) -> Score:
        """Decide, fill and pay under these thresholds."""
        events = events_of(self._columns, values)
        market = replace(self._market, events=events, values=values)
        terms, wait_ns = self._terms, round(self._terms.max_wait_s(values) * 1e9)
        capital = terms.capital
        fills, missed = fill(market, capital, terms.latency_ns, wait_ns, terms.lots)
        if self._purged:
            fills = fills.taken((fills.y_exit >= 0) & (fills.x_exit >= 0))
        y, x = leg_books(
            market, fills, terms.fee_bps(values), terms.slippage_bps, terms.funding, terms.marks
        )
        equity = self._equity(fills, y, x)
        gross, fees = y.gross + x.gross, y.fees + x.fees
        slippage, funding = y.slippage + x.slippage, y.funding + x.funding
        net = (gross - slippage - fees + funding)[y.closed & x.closed]
        path = np.concatenate([[capital], equity])
        peak = np.maximum.accumulate(path)
        return Score(
            returns=np.diff(path) / capital if len(equity) else np.zeros(PERIODS),
            net_profit=float(path[-1]) - capital,
            gross=float(gross.sum()),
            fees=float(fees.sum()),
            slippage=float(slippage.sum()),
            funding=float(funding.sum()),
            trades=len(net),
            win_rate=float((net > 0.0).mean()) if len(net) else np.nan,
            expectancy=float(net.mean()) if len(net) else np.nan,
            missed_entries=len(missed.row),
            max_drawdown=float((path / peak - 1.0).min()),
        )

    def _equity(self, fills: Fills, y: LegBook, x: LegBook) -> NDArray[np.float64]:
        """Return the equity at the end of every stretch."""
        from pairlab.backtesting.trade_kernels import stretch_kernel  # numba is slow to import

        run, stretches = stretch_kernel(), len(self._ends)
        equity = np.full(stretches, self._terms.capital)
        for leg, entry, exit_, quantity, book, price in (
            (self._market.y, fills.y_entry, fills.y_exit, fills.y_quantity, y, self._y),
            (self._market.x, fills.x_entry, fills.x_exit, fills.x_quantity, x, self._x),
        ):
            held, cash = np.zeros(stretches + 1), np.zeros(stretches + 1)
            run(
                self._stretch, leg.row_of_trade, entry, exit_, quantity, book.money, book.closed,
                held, cash,
            )  # fmt: skip
            np.add.at(cash, self._stretch[book.payment_row], book.payment)
            equity += np.cumsum(held)[:-1] * price + np.cumsum(cash)[:-1]
        return equity
