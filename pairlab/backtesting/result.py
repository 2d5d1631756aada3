"""`BacktestResult`: trades, equity and figures of a backtest, and how they are shown."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pairlab.backtesting.metrics import Metrics
from pairlab.errors import DataError
from pairlab.schema import EVENT, ROW, Pair, Records
from pairlab.settings import SettingValues
from pairlab.storage.atomic_file import write_atomically

if TYPE_CHECKING:
    from pairlab.widgets.report.report import Report
    from pairlab.widgets.still.page import PageTheme
    from pairlab.widgets.style.theme import ThemeName

__all__ = ["BacktestResult", "DataReport"]


def _no_rows() -> Records:
    return np.zeros(0, ROW)


@dataclass(frozen=True)
class DataReport:
    """What a backtest was given.

    Attributes
    ----------
    source : str
        ``"ticks"``, ``"prices"``, ``"lab"``, ``"archive"`` or a path.
    start, end : pandas.Timestamp or None
        First and last row of the result, UTC.
    rows : int
        Of the result.
    warm_up_rows : int
        Before the first full window; no part of the result.
    ticks : int
        That were read; of prices, those of both legs.
    dropped : int
        Ticks whose price was not finite or not above 0: as live, they changed nothing.
    gaps : int
        Rows before which trades are missing.
    days : int
        UTC days, those without a row included.
    market : str
        Its name where the data say it, such as ``"SIMULATED"``; else "".
    simulated : bool
        Whether the data say that they are of no real market.
    """

    source: str
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    rows: int
    warm_up_rows: int
    ticks: int
    dropped: int
    gaps: int
    days: int
    market: str = ""
    simulated: bool = False


@dataclass(frozen=True, repr=False)
class BacktestResult:
    """What trading the signal would have made.

    Attributes
    ----------
    trades : pandas.DataFrame
        A row per position that was filled: when entry and exit were decided and filled on each leg,
        side, z, hedge ratio decided and held, quantities, prices paid, time and slip between legs,
        gross, fees, slippage, funding, net, MAE, MFE, rows held and the reason of the exit. One
        that is open at the end has ``reason`` ``"open"`` and is marked at the last prices.
    equity : pandas.DataFrame
        Columns equity, realised, unrealised, fees, funding at every row: equity = capital +
        realised + unrealised − fees + funding.
    daily : pandas.Series
        Equity at the end of every UTC day, days without a row included.
    missed : pandas.DataFrame
        Entries that were decided and not filled: time, side, z and reason.
    metrics : Metrics
        The figures; each one's docstring has its formula.
    settings : SettingValues
        Of the engine.
    costs : dict
        fee_bps, slippage_bps, latency_s, max_wait_s, capital as they were used, and ``marks``:
        what funding was charged on.
    data_report : DataReport
        What it was given.
    selected_on : tuple of pandas.Timestamp or None
        The period on which pair or thresholds were chosen, where that is known.
    funding_known : bool
        False: funding was not counted.
    pair : Pair
        Names of the legs; "" where they have none.
    events : numpy.ndarray
        `pairlab.schema.EVENT` records of what was decided; ``row`` counts in `rows`.
    rows_again : callable
        Computes `rows`.
    """

    trades: pd.DataFrame
    equity: pd.DataFrame
    daily: pd.Series[float]
    missed: pd.DataFrame
    metrics: Metrics
    settings: SettingValues
    costs: dict[str, float | str]
    data_report: DataReport
    selected_on: tuple[pd.Timestamp, pd.Timestamp] | None
    funding_known: bool
    pair: Pair
    events: Records = field(default_factory=lambda: np.zeros(0, EVENT), compare=False)
    rows_again: Callable[[], Records] = field(default=_no_rows, compare=False)

    @cached_property
    def rows(self) -> Records:
        """`pairlab.ROW` records that it was decided on, without the warm-up: one a row of `equity`.

        They take 136 bytes each and are not kept: the engine runs again when they are first asked
        for, and so the data must be as they were.

        Raises
        ------
        DataError
            If other decisions come of the data now.
        """
        return self.rows_again()

    @property
    def capital(self) -> float:
        """Equity at the start."""
        return float(self.costs["capital"])

    @property
    def notes(self) -> list[str]:
        """What a reader must know beside the figures."""
        report = self.data_report
        notes = []
        if report.simulated:
            notes.append(f"simulated prices ({report.market}): no real market")
        if not self.funding_known:
            notes.append("funding not counted")
        if report.days < 30:
            days = f"{report.days} day{'' if report.days == 1 else 's'}"
            notes.append(f"{days}: too few to annualise (30)")
        if len(self.equity) and np.min(self.equity["equity"].to_numpy()) <= 0.0:
            notes.append("equity fell to 0: every trade has the same size, returns are not defined")
        if len(self.trades) and (self.trades["reason"] == "open").any():
            notes.append("a position is still open: it is marked at the last prices")
        if len(self.missed):
            by = self.missed["reason"].value_counts()
            notes.append("missed: " + "; ".join(f"{n:,} {why}" for why, n in by.items()))
        if report.dropped:
            notes.append(f"{report.dropped:,} ticks without a usable price were dropped")
        if report.gaps:
            notes.append(f"{report.gaps:,} gaps in the data")
        if self.selected_on is not None and report.start is not None and report.end is not None:
            first, last = self.selected_on
            if report.start <= last and first <= report.end:
                notes.append(
                    f"in sample: what is tested was chosen on {first:%Y-%m-%d} to {last:%Y-%m-%d}"
                )
        return notes

    def _title(self) -> str:
        report = self.data_report
        name = "/".join(filter(None, self.pair)) or "y/x"
        if report.start is None or report.end is None:
            return f"Backtest of {name}: no row with a full window"
        return (
            f"Backtest of {name}: {report.rows:,} rows, {report.start:%Y-%m-%d %H:%M} to "
            f"{report.end:%Y-%m-%d %H:%M} UTC"
        )

    def __repr__(self) -> str:
        """Say what came of it, in plain text."""
        lines = [self._title()]
        lines += [f"  {label:40} {text:>20}" for label, text in self.metrics.lines()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the same as a table."""
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:right'>{html.escape(text)}</td></tr>"
            for label, text in self.metrics.lines()
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"<h4>{html.escape(self._title())}</h4><table>{cells}</table>" + (
            f"<ul>{notes}</ul>" if notes else ""
        )

    def dashboard(self, theme: ThemeName = "dark") -> Report:
        """Return the report: equity, z-score and spread with the trades, and what they were like.

        Parameters
        ----------
        theme : {"dark", "light", "jupyterlab"}
            Colours; ``"jupyterlab"`` follows the theme of JupyterLab or Notebook.

        Returns
        -------
        Report
            A widget; each call makes a new one, and its `close` frees it.

        Raises
        ------
        SettingError
            If there is no such theme.
        """
        from pairlab.widgets.report.report import Report

        return Report(self, theme)

    def to_html(self, path: str | os.PathLike[str], theme: PageTheme = "auto") -> Path:
        """Write the report as one HTML file: charts as SVG, no script, nothing to load.

        Parameters
        ----------
        path : str or os.PathLike
            The file; one that is there is replaced once the new one is whole.
        theme : {"auto", "dark", "light"}
            Colours; ``"auto"`` is what the reader's system prefers.

        Returns
        -------
        Path
            The same.

        Raises
        ------
        DataError
            If it cannot be written.
        SettingError
            If there is no such theme.
        """
        from pairlab.widgets.report.report_page import report_html

        content = report_html(self, theme).encode()
        try:
            write_atomically(path, lambda file: file.write(content))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        return Path(path)

    def to_csv(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write trades, equity, daily, missed, metrics and settings as CSV files.

        Parameters
        ----------
        folder : str or os.PathLike
            Created where it is missing.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        DataError
            If the folder cannot be written.
        """
        where = Path(folder)
        settings = pd.Series({**asdict(self.settings), **self.costs}, name="value")
        tables = {
            "trades": self.trades, "equity": self.equity, "daily": self.daily,
            "missed": self.missed, "metrics": self.metrics.describe(), "settings": settings,
        }  # fmt: skip
        written = []
        try:
            where.mkdir(parents=True, exist_ok=True)
            for name, table in tables.items():
                path = where / f"{name}.csv"
                table.to_csv(path, index_label="name" if name in ("metrics", "settings") else None)
                written.append(path)
        except OSError as error:
            raise DataError(f"{where}: {error.strerror or error}") from None
        return written

    def to_dict(self) -> dict[str, object]:
        """Return figures, settings, costs and report as plain values, for JSON; NaN is None."""
        parts = {
            "pair": list(self.pair),
            "metrics": asdict(self.metrics),
            "settings": asdict(self.settings),
            "costs": dict(self.costs),
            "data": asdict(self.data_report),
            "funding_known": self.funding_known,
            "missed": self.missed["reason"].value_counts().to_dict(),
            "notes": self.notes,
        }
        plain: dict[str, object] = _plain(parts)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value
