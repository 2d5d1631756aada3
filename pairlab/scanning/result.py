"""`ScanResult`: the pairs that were tested, in an order, with what speaks for and against each."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, Unpack

import numpy as np
import pandas as pd

from pairlab.errors import SettingError
from pairlab.scanning.correction import Correction, detection_power
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.follow_up import row_of, settings_of, spread_of, timeframe_of
from pairlab.scanning.methods import Method, clustered
from pairlab.scanning.tiles import Numbers
from pairlab.scanning.universe import Universe
from pairlab.settings import SettingKwargs

if TYPE_CHECKING:
    from pairlab.backtesting import BacktestResult, Costs
    from pairlab.lab.pair_lab import PairLab
    from pairlab.widgets.scan.scan_report import ScanReport
    from pairlab.widgets.style.theme import ThemeName

__all__ = ["COLUMNS", "ScanResult", "verdict"]

COLUMNS: Final = (
    "y", "x", "n", "coverage", "correlation", "return_correlation", "hedge_ratio", "intercept",
    "statistic", "lags", "p", "q", "half_life", "variance_ratio", "crossings", "zscore",
    "half_life_last", "p_last", "p_leg",
    "stability", "break_ratio", "drift_ratio", "deviation_bps", "deviation_round_trips",
    "unchanged",
    "same_underlying", "collinear", "verdict",
)  # fmt: skip

_STALE: Final = 0.5
_LEVEL: Final = 0.05

PairColumns: TypeAlias = "pd.Series[Any]"
"""Numbers and words of one pair."""

Matrix = Literal["p", "correlation", "return_correlation", "rows"]


@dataclass(frozen=True, repr=False)
class ScanResult:
    """What `pairlab.scan` found.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row a pair, the smallest p first. ``y``, ``x``; ``n``, rows in common, and their share,
        ``coverage``; ``correlation`` of prices and ``return_correlation``; ``hedge_ratio`` (units
        of x for one of y) and ``intercept`` of the cointegrating regression; ``statistic`` and
        ``lags`` of its Dickey-Fuller test; ``p``; ``q``, corrected for all pairs tested;
        ``half_life`` of the spread in rows; ``variance_ratio`` over 10 rows (1: a walk; below:
        reverting); ``crossings`` of the mean; ``zscore`` at the last row; ``half_life_last`` and
        ``p_last``, out of sample: of the last third's spread with hedge ratio and mean of the rows
        before; ``p_leg``, the smaller p of a Dickey-Fuller test of either leg alone: a leg that
        reverts by itself seems to revert against any other; ``stability``, the share of five
        sub-windows with p ≤ 0.1; ``break_ratio`` and ``drift_ratio``, the furthest that the last
        third's CUSUM of the spread and of the hedge ratio went, in boundaries: from 1 on it is a
        structural break, of which at most 5 % are false alarms each (`pairlab.monitor_break`);
        ``deviation_bps``, the spread's standard deviation in bps of y,
        and ``deviation_round_trips``, in costs of a round trip; ``unchanged``, the larger leg's
        share of rows without a change of price; ``same_underlying``; ``collinear``, where `coint`
        answers −inf; ``verdict``, in words.
    placebo : pandas.DataFrame
        A row a level of p: how many pairs were ``found``, and how many ``by_chance``, the mean
        count over scans of the same series with each pair broken, with its ``standard_error``. Of
        distances, a row for the distance of the closest pairs.
    histogram : pandas.DataFrame
        The same for bins of p (or of the distance), ``from`` and ``to``.
    set_aside : dict
        Symbol → why it was not tested.
    symbols : tuple of str
        Those tested, in the order of `matrix`.
    pairs_tested, pairs_skipped : int
        Pairs with a p-value; and without, for too few rows in common or a constant spread.
    correction, method : str
        As `pairlab.scan` was given them; ``statistic`` is the method's: the t-value of a
        Dickey-Fuller test, the trace, or the distance.
    direction : str
        As `pairlab.scan` was given it.
    split : float
        Share of the last rows that are out of sample.
    lags : int
        Lagged differences; the most of them with `choose`.
    choose : bool
        Whether Akaike's criterion chose among them.
    fee_bps : float
        Of one fill.
    p_matrix : array, shape (symbols, symbols)
        p of every pair, above the diagonal.
    rows_in_common : array of int, shape (symbols, symbols)
        Rows in which both symbols have a price.
    universe : Universe
        The prices that were tested.
    """

    frame: pd.DataFrame
    placebo: pd.DataFrame
    histogram: pd.DataFrame
    set_aside: dict[str, str]
    symbols: tuple[str, ...]
    pairs_tested: int
    pairs_skipped: int
    correction: Correction
    method: Method
    direction: str
    split: float
    lags: int
    choose: bool
    fee_bps: float
    p_matrix: Floats
    rows_in_common: Numbers
    universe: Universe

    def matrix(self, of: Matrix = "p") -> pd.DataFrame:
        """Return one number of every pair, symbols by symbols.

        Parameters
        ----------
        of : {"p", "correlation", "return_correlation", "rows"}
            Uncorrected p-value; correlation of prices, or of returns, over the rows in common; or
            how many these are.

        Returns
        -------
        pandas.DataFrame
            Symmetric; NaN where a pair was not tested, and on the diagonal of p.
        """
        names = list(self.symbols)
        if of == "p":
            upper = np.where(np.isfinite(self.p_matrix), self.p_matrix, np.nan)
            values: Any = np.fmax(upper, upper.T)
        elif of == "rows":
            values = self.rows_in_common
        elif of in ("correlation", "return_correlation"):
            table = pd.DataFrame(self.universe.prices.T, columns=names)
            if of == "return_correlation":
                table = table.pct_change(fill_method=None)
            values = table.corr(min_periods=10).to_numpy()
        else:
            raise SettingError(
                "of", of, "expected 'p', 'correlation', 'return_correlation' or 'rows'"
            )
        return pd.DataFrame(values, index=names, columns=names)

    def pair(self, y: str, x: str) -> PairColumns:
        """Return the columns of any pair that was tested, whichever leg is named first.

        Parameters
        ----------
        y, x : str
            Symbols.

        Returns
        -------
        pandas.Series
            As a row of the frame.

        Raises
        ------
        DataError
            If a symbol was not tested, or both are the same.
        """
        return row_of(self, y, x)

    def spread(self, y: str, x: str) -> pd.DataFrame:
        """Return a pair over the scanned past: columns y, x, spread and zscore.

        The legs are as the scan has them (``attrs["pair"]``). Hedge ratio, mean and deviation are
        those of all rows, so that no z is out of sample.

        Parameters
        ----------
        y, x : str
            Symbols.

        Returns
        -------
        pandas.DataFrame
            A row for each that both legs have.
        """
        return spread_of(self, y, x)

    def backtest(
        self, y: str, x: str, costs: Costs | None = None, **settings: Unpack[SettingKwargs]
    ) -> BacktestResult:
        """Backtest a pair on the prices that were scanned, in sample.

        Parameters
        ----------
        y, x : str
            Symbols.
        costs : Costs, optional
            As for `pairlab.backtest`.
        **settings
            As for `pairlab.backtest`. By default the hedge ratio is the scan's, and the window has
            ten half-lives of the spread.

        Returns
        -------
        BacktestResult
            Its notes say that it is in sample.
        """
        from pairlab.backtesting import Costs, backtest

        row = row_of(self, y, x)
        prices = spread_of(self, y, x)
        legs = prices["y"].rename(row["y"]), prices["x"].rename(row["x"])
        index = self.universe.index
        given: Any = {**settings_of(self, row), **settings}
        return backtest(
            legs, costs=Costs() if costs is None else costs, selected_on=(index[0], index[-1]),
            **given,
        )  # fmt: skip

    def lab(
        self, y: str, x: str, feed: object = "binance", **settings: Unpack[SettingKwargs]
    ) -> PairLab:
        """Return a live lab of a pair, not started.

        Parameters
        ----------
        y, x : str
            Symbols.
        feed : object
            As `pairlab.PairLab` takes it.
        **settings
            By default the hedge ratio is the scan's, the window has ten half-lives of the spread,
            and bars are as long as the scanned rows.

        Returns
        -------
        PairLab
            `start` begins it.
        """
        from pairlab.lab.pair_lab import PairLab

        row = row_of(self, y, x)
        timeframe = timeframe_of(self.universe.index)
        given: Any = {"timeframe": timeframe, **settings_of(self, row), **settings}
        return PairLab(row["y"], row["x"], feed=feed, **given)  # type: ignore[arg-type]

    def dashboard(self, theme: ThemeName = "dark", feed: object = "binance") -> ScanReport:
        """Return the pairs as a widget: table, heat maps, and what chance finds.

        Parameters
        ----------
        theme : {"dark", "light", "jupyterlab"}
            Colours; ``"jupyterlab"`` follows the theme of JupyterLab or Notebook.
        feed : object
            Of the labs that its button "Go live" makes, as `pairlab.PairLab` takes it.

        Returns
        -------
        ScanReport
            A widget; each call makes a new one, and its `close` frees it.

        Raises
        ------
        SettingError
            If there is no such theme.
        """
        from pairlab.widgets.scan.scan_report import ScanReport

        return ScanReport(self, theme, feed)

    def power(self, half_life: float, level: float = 0.05) -> float:
        """Return the chance that this scan would have found a pair whose spread has a half-life.

        Parameters
        ----------
        half_life : float
            Rows.
        level : float
            Of q, with no other pair to be found: p ≤ level / pairs tested, in the better of both
            directions.

        See Also
        --------
        pairlab.scanning.correction.detection_power : The formula.

        Returns
        -------
        float
            0 to 1.
        """
        if not (half_life > 0.0 and math.isfinite(half_life)):
            raise SettingError("half_life", half_life, "expected a number of rows above 0")
        p = level / self.pairs_tested / (2.0 if self.direction == "both" else 1.0)
        return detection_power(half_life, len(self.universe.index), p)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the frame as CSV, with what was tested in a first line that begins with ``#``."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(f"# {self.summary()}\n")
            self.frame.to_csv(file, index=False)

    def ordered(self, among: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return symbols (by default all) in the order of a hierarchical clustering.

        Average linkage of √(½ (1 − ρ)), ρ the correlation of returns (Mantegna 1999), with leaves
        ordered so that neighbours are close.

        Parameters
        ----------
        among : tuple of str, optional
            Some of the symbols tested.

        Returns
        -------
        tuple of str
            The same symbols.

        Raises
        ------
        MissingExtraError
            Without ``pip install "pairlab[research]"``.
        """
        names = self.symbols if among is None else among
        table = self.matrix("return_correlation").loc[list(names), list(names)]
        order = clustered(table.to_numpy(np.float64))
        return tuple(names[at] for at in order)

    def summary(self) -> str:
        """Return what was tested and found, in a line."""
        text = f"{self.pairs_tested:,} pairs of {len(self.symbols):,} symbols tested"
        cut: Any
        if self.method == "distance":
            cut = self.placebo.iloc[-1]
            text += f"; the closest {cut['found']:,.0f}"
        else:
            cut = self.placebo.loc["q ≤ 0.05"]
            text += f"; found {cut['found']:,.0f} with q ≤ 0.05"
        if np.isfinite(cut["by_chance"]):
            text += f", by chance {cut['by_chance']:,.1f}"
        if self.set_aside:
            text += f"; {len(self.set_aside):,} set aside"
        return text

    def __repr__(self) -> str:
        shown = ["y", "x", "p", "q", "half_life", "p_last", "zscore", "verdict"]
        return f"{self.summary()}\n{self.frame[shown].head(10).to_string()}"

    def _repr_html_(self) -> str:
        text = self.summary().replace("≤", "&le;")
        return (
            f"<p>{text}</p>{self.frame.head(20).to_html(index=False, float_format='{:.4g}'.format)}"
        )


def verdict(row: Any) -> str:
    """Return what the numbers of a row amount to, the strongest objection first."""
    if row.same_underlying:
        return "same underlying"
    if row.collinear:
        return "collinear: one leg is a multiple of the other"
    if row.unchanged > _STALE:
        return f"stale price: {row.unchanged:.0%} of rows unchanged"
    if not row.q <= _LEVEL and np.isfinite(row.q):
        return "not distinguishable from chance"
    if row.p_leg <= _LEVEL:
        return "one leg reverts by itself"
    if not row.p_last <= _LEVEL:
        return "in sample only: not stationary in the last part"
    if row.break_ratio >= 1.0:
        return "structural break of the spread in the last part"
    if row.drift_ratio >= 1.0:
        return "hedge ratio drifts in the last part"
    if not row.deviation_round_trips >= 1.0:
        return "does not pay its costs"
    return "candidate"
