"""What a report reads of a backtest's result, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.schema import AlertKind, Pair, Records
from pairlab.settings import SettingValues

__all__ = ["DataView", "FiguresView", "ResultView", "drawdown_of", "filled_events"]

Floats = NDArray[np.float64]


class DataView(Protocol):
    """What a backtest was given: `pairlab.backtesting.result.DataReport`."""

    @property
    def source(self) -> str:
        """What it was."""

    @property
    def start(self) -> pd.Timestamp | None:
        """First row, UTC."""

    @property
    def end(self) -> pd.Timestamp | None:
        """Last row, UTC."""

    @property
    def rows(self) -> int:
        """Of the result."""

    @property
    def days(self) -> int:
        """UTC days, those without a row included."""

    @property
    def market(self) -> str:
        """Its name; "": not known."""

    @property
    def simulated(self) -> bool:
        """Whether the prices are of no real market."""


class FiguresView(Protocol):
    """The figures that stand out: `pairlab.backtesting.Metrics`, which has their formulas."""

    @property
    def net_profit(self) -> float:
        """Quote currency."""

    @property
    def cumulative_return(self) -> float:
        """Share of the capital."""

    @property
    def sharpe(self) -> float:
        """Annualised."""

    @property
    def max_drawdown(self) -> float:
        """0 or below."""

    @property
    def trades(self) -> int:
        """Closed ones."""

    @property
    def win_rate(self) -> float:
        """Share of them."""

    @property
    def gross(self) -> float:
        """Quote currency."""

    @property
    def fees(self) -> float:
        """Quote currency."""

    @property
    def slippage(self) -> float:
        """Quote currency."""

    @property
    def funding(self) -> float:
        """Quote currency; received is above 0."""

    @property
    def expectancy(self) -> float:
        """Mean net of a trade."""

    @property
    def break_even_z(self) -> float:
        """The |z| from which a reversion pays."""

    def describe(self) -> pd.DataFrame:
        """Return label, value, unit and formula of every figure, indexed by name."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield label and value of every figure as text, in the same order."""


class ResultView(Protocol):
    """A backtest's result: `pairlab.BacktestResult`."""

    @property
    def trades(self) -> pd.DataFrame:
        """A row per position that was filled."""

    @property
    def equity(self) -> pd.DataFrame:
        """Equity at every row."""

    @property
    def daily(self) -> pd.Series[float]:
        """Equity at the end of every UTC day."""

    @property
    def missed(self) -> pd.DataFrame:
        """Entries that were decided and not filled."""

    @property
    def metrics(self) -> FiguresView:
        """The figures."""

    @property
    def settings(self) -> SettingValues:
        """Of the engine."""

    @property
    def costs(self) -> dict[str, float | str]:
        """As they were used."""

    @property
    def data_report(self) -> DataView:
        """What it was given."""

    @property
    def funding_known(self) -> bool:
        """Whether funding was counted."""

    @property
    def pair(self) -> Pair:
        """Names of the legs."""

    @property
    def rows(self) -> Records:
        """What it was decided on, one for each of `equity`."""

    @property
    def events(self) -> Records:
        """What was decided; ``row`` counts in `rows`."""

    @property
    def capital(self) -> float:
        """Equity at the start."""

    @property
    def notes(self) -> list[str]:
        """What a reader must know beside the figures."""


def drawdown_of(equity: Floats, capital: float) -> Floats:
    """Return the drawdown at every row, 0 or below, as a share of the peak until then."""
    if not len(equity):
        return equity
    peak = np.maximum(np.maximum.accumulate(equity), capital)
    found: Floats = equity / peak - 1.0
    return found


def filled_events(result: ResultView) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of which events trades were made.

    Parameters
    ----------
    result : ResultView
        Whose events and trades.

    Returns
    -------
    entry, exit : array of int64, shape (trades,)
        Index in ``result.events`` of the entry and of the exit of each trade; -1 for an exit of a
        position that is still open, and where events are not known.
    """
    events, trades = result.events, result.trades
    entry, exit_ = (np.full(len(trades), -1, np.int64) for _ in range(2))
    if not len(events) or not len(trades):
        return entry, exit_
    rows = events["row"]
    entries = np.flatnonzero(events["kind"] == AlertKind.ENTRY)
    ends = np.flatnonzero((events["kind"] == AlertKind.EXIT) | (events["kind"] == AlertKind.STOP))
    end_rows = rows[ends]
    times = result.rows["time_ns"][rows[entries]].tolist()
    z = result.rows["zscore"][rows[entries]].tolist()
    decided = trades["entry_decided"].astype("int64").tolist()
    entry_z, at = trades["entry_z"].tolist(), 0
    for trade in range(len(trades)):
        # Entries that were missed lie between: what was filled is found by time and z.
        while at < len(times) and (times[at] != decided[trade] or z[at] != entry_z[trade]):
            at += 1
        if at == len(times):
            break
        entry[trade] = entries[at]
        at += 1
    held = trades["rows"].to_numpy()
    end_row = np.where(entry >= 0, rows[entry], 0) + held
    found = np.searchsorted(end_rows, end_row)
    closed = (entry >= 0) & (trades["reason"] != "open").to_numpy() & (found < len(ends))
    closed[closed] = end_rows[found[closed]] == end_row[closed]
    exit_[closed] = ends[found[closed]]
    return entry, exit_
