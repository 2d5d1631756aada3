"""`ScanResult`: the pairs that were tested, in an order, with what speaks for and against each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from pairlab.errors import SettingError
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.tiles import Numbers
from pairlab.scanning.universe import Universe

__all__ = ["COLUMNS", "ScanResult", "verdict"]

COLUMNS: Final = (
    "y", "x", "n", "coverage", "correlation", "return_correlation", "hedge_ratio", "intercept",
    "statistic", "lags", "p", "q", "half_life", "variance_ratio", "crossings", "zscore",
    "half_life_last", "p_last", "p_leg",
    "stability", "deviation_bps", "deviation_round_trips", "unchanged",
    "same_underlying", "collinear", "verdict",
)  # fmt: skip

_STALE: Final = 0.5
_LEVEL: Final = 0.05

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
        sub-windows with p ≤ 0.1; ``deviation_bps``, the spread's standard deviation in bps of y,
        and ``deviation_round_trips``, in costs of a round trip; ``unchanged``, the larger leg's
        share of rows without a change of price; ``same_underlying``; ``collinear``, where `coint`
        answers −inf; ``verdict``, in words.
    placebo : pandas.DataFrame
        A row a level of p: how many pairs were ``found``, and how many ``by_chance``, the mean
        count over scans of the same series with each pair broken, with its ``standard_error``.
    set_aside : dict
        Symbol → why it was not tested.
    symbols : tuple of str
        Those tested, in the order of `matrix`.
    pairs_tested, pairs_skipped : int
        Pairs with a p-value; and without, for too few rows in common or a constant spread.
    correction : str
        Of q.
    p_matrix : array, shape (symbols, symbols)
        p of every pair, above the diagonal.
    rows_in_common : array of int, shape (symbols, symbols)
        Rows in which both symbols have a price.
    universe : Universe
        The prices that were tested.
    """

    frame: pd.DataFrame
    placebo: pd.DataFrame
    set_aside: dict[str, str]
    symbols: tuple[str, ...]
    pairs_tested: int
    pairs_skipped: int
    correction: str
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

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the frame as CSV, with what was tested in a first line that begins with ``#``."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(f"# {self.summary()}\n")
            self.frame.to_csv(file, index=False)

    def summary(self) -> str:
        """Return what was tested and found, in a line."""
        text = f"{self.pairs_tested:,} pairs of {len(self.symbols):,} symbols tested"
        cut = self.placebo.loc["q ≤ 0.05"]
        text += f"; found {cut['found']:,.0f} with q ≤ 0.05"
        if np.isfinite(cut["by_chance"]):
            text += f", by chance {cut['by_chance']:,.1f}"
        if self.set_aside:
            text += f"; {len(self.set_aside):,} columns set aside"
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
    if not row.q <= _LEVEL:
        return "not distinguishable from chance"
    if row.p_leg <= _LEVEL:
        return "one leg reverts by itself"
    if not row.p_last <= _LEVEL:
        return "in sample only: not stationary in the last part"
    if not row.deviation_round_trips >= 1.0:
        return "does not pay its costs"
    return "candidate"
