"""What the widgets of a scan read of it, and nothing else."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.widgets.report.result_view import ResultView
from pairlab.widgets.style.theme import ThemeName

__all__ = ["Floats", "LiveLab", "ScanView"]

Floats = NDArray[np.float64]


class LiveLab(Protocol):
    """A lab that can be started and shown: `pairlab.PairLab`."""

    def start(self) -> Any:
        """Begin on the running loop."""

    async def stop(self) -> None:
        """End."""

    def dashboard(self, layout: Any = "auto", theme: ThemeName = "dark") -> Any:
        """Return what shows it."""


class ScanView(Protocol):
    """A scan's result: `pairlab.ScanResult`."""

    @property
    def frame(self) -> pd.DataFrame:
        """A row a pair."""

    @property
    def placebo(self) -> pd.DataFrame:
        """What was found, and what is by chance."""

    @property
    def histogram(self) -> pd.DataFrame:
        """The same, in bins of p or of the distance."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Those tested."""

    @property
    def set_aside(self) -> dict[str, str]:
        """Symbol → why it was not tested."""

    @property
    def pairs_tested(self) -> int:
        """How many."""

    @property
    def method(self) -> Any:
        """What ranked them."""

    @property
    def split(self) -> float:
        """Share of the last rows, out of sample."""

    def matrix(self, of: Any = "p") -> pd.DataFrame:
        """Return one number of every pair."""

    def ordered(self, among: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return symbols in the order of a clustering."""

    def pair(self, y: str, x: str) -> pd.Series[Any]:
        """Return the columns of a pair."""

    def spread(self, y: str, x: str) -> pd.DataFrame:
        """Return prices, spread and z of a pair."""

    def backtest(self, y: str, x: str) -> ResultView:
        """Backtest a pair."""

    def lab(self, y: str, x: str, feed: Any = "binance") -> LiveLab:
        """Return a lab of a pair."""
