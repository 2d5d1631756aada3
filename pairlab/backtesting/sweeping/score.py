"""What one set of thresholds makes, without the tables: for sweeps and for what-if."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.accounting import Changes, trade_changes
from pairlab.backtesting.fills import fill
from pairlab.backtesting.market import Market
from pairlab.backtesting.sweeping.decision_pass import DecisionColumns, columns_of, decisions
from pairlab.backtesting.terms import Terms
from pairlab.settings import SettingValues

__all__ = ["PERIODS", "Score", "Scorer"]

PERIODS: Final = 512
"""Stretches of equal length that returns are taken over, whatever the data's frequency."""


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
        self._market, self._terms = market.indexed(terms.latency_ns), terms
        self._purged = purged
        self._columns: DecisionColumns = columns_of(market.rows, market.values)
        times = market.time_ns
        if len(times):
            ends = np.linspace(times[0], times[-1], PERIODS + 1)[1:]
            self._ends = np.searchsorted(times, ends.astype(np.int64), side="right") - 1
            self._ends[-1] = len(times) - 1
        else:
            self._ends = np.zeros(0, np.int64)
        self._y, self._x = (np.ascontiguousarray(market.rows[leg][self._ends]) for leg in "yx")

    def score(self, values: SettingValues) -> Score:
        """Decide, fill and pay under these thresholds."""
        _, events = decisions(self._columns, values)
        market = replace(self._market, events=events, values=values)
        terms, wait_ns = self._terms, round(self._terms.max_wait_s(values) * 1e9)
        capital = terms.capital
        fills, missed = fill(market, capital, terms.latency_ns, wait_ns, terms.lots)
        if self._purged:
            fills = fills.taken((fills.y_exit >= 0) & (fills.x_exit >= 0))
        books, changes = trade_changes(
            market, fills, terms.fee_bps(values), terms.slippage_bps, terms.funding, terms.marks
        )
        equity = self._equity(changes)
        y, x = books
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

    def _equity(self, changes: tuple[Changes, Changes]) -> NDArray[np.float64]:
        """Return the equity at the end of every stretch."""
        of_y, of_x = changes
        equity: NDArray[np.float64] = (
            self._terms.capital + _level(of_y.row, of_y.quantity, self._ends) * self._y
        )
        equity += _level(of_x.row, of_x.quantity, self._ends) * self._x
        equity += _level(of_y.row, of_y.cash, self._ends)
        equity += _level(of_x.row, of_x.cash, self._ends)
        return equity


def _level(
    row: NDArray[np.int64], change: NDArray[np.float64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sum of the changes up to rows."""
    order = np.argsort(row, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(change[order])])
    level: NDArray[np.float64] = total[np.searchsorted(row[order], at, side="right")]
    return level
