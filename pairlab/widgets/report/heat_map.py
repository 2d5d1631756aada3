"""A sweep as a heat map: a click on a cell opens the report of that backtest."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from ipywidgets import HTML, Button, GridBox, HBox, Layout, VBox

from pairlab.errors import DataError, SettingError
from pairlab.widgets.core.widget_utils import close_tree
from pairlab.widgets.report.report import Report
from pairlab.widgets.report.result_lab import ResultLab
from pairlab.widgets.report.result_view import ResultView
from pairlab.widgets.report.sweep_still import (
    SweepMoment,
    level_of,
    sweep_picture,
    sweep_words,
    value_words,
)
from pairlab.widgets.still.output import ResultStill, StillOutput
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.formats import count, fitted
from pairlab.widgets.style.theme import ThemeName, apply_theme, read_theme
from pairlab.widgets.transport.frontend_channel import StaticPageScript

__all__ = ["SweepHeatmap", "SweepView", "best_of_cells"]

_MOST_CELLS: Final = 900


class SweepView(Protocol):
    """What a heat map reads of a sweep: `pairlab.SweepResult`."""

    @property
    def frame(self) -> pd.DataFrame:
        """A row per set."""

    @property
    def objective(self) -> str:
        """The column that the best set has the largest of."""

    @property
    def best(self) -> dict[str, object]:
        """The settings of the best set."""

    @property
    def n_trials(self) -> int:
        """Sets that were tried."""

    @property
    def deflated_sharpe(self) -> float:
        """Probability that the best is no luck."""

    @property
    def pbo(self) -> float:
        """Probability of overfitting."""

    def backtest(self, number: int | None = None) -> ResultView:
        """Return the whole result of one set."""


def best_of_cells(frame: pd.DataFrame, x: str, y: str, value: str) -> dict[tuple[Any, Any], int]:
    """Return the row of the best set of each cell, by its (x, y); cells without a trade have none.

    Parameters
    ----------
    frame : DataFrame
        A row per set, as `SweepResult.frame`.
    x, y : str
        Settings.
    value : str
        The column that the best has the largest of.
    """
    traded = frame[(frame["trades"] > 0) & frame[value].notna()]
    best: dict[Any, Any] = (
        traded.groupby([x, y], sort=False, observed=True)[value].idxmax().to_dict()
    )
    return {key: int(row) for key, row in best.items()}


class SweepHeatmap(VBox):  # type: ignore[misc]
    """What every set of a sweep made, over two of its settings. A click opens that backtest.

    Parameters
    ----------
    sweep : SweepView
        What `pairlab.sweep` returned.
    x, y : str, optional
        The settings across and down; by default the first two that vary. Where more vary, a cell
        shows the best of its sets.
    theme : {"dark", "light", "jupyterlab"}
        Colours.

    Attributes
    ----------
    cells : dict
        The buttons by (x, y).
    report : Report or None
        Of the cell that was clicked on last.

    Raises
    ------
    SettingError
        If a setting does not vary, or there is no such theme.
    DataError
        If there are more cells than a person can read.
    """

    def __init__(
        self,
        sweep: SweepView,
        x: str | None = None,
        y: str | None = None,
        theme: ThemeName = "dark",
    ) -> None:
        read_theme(theme)
        frame = sweep.frame
        names = list(frame.columns[: list(frame.columns).index("net_profit")])
        x = _chosen("x", x, names, [name for name in names if name != y])
        y = _chosen("y", y, names, [name for name in names if name != x] or [x])
        self._sweep, self._theme = sweep, theme
        xs, ys = (list(pd.unique(frame[name])) for name in (x, y))
        ys = [None] if x == y else ys
        if len(xs) * len(ys) > _MOST_CELLS:
            raise DataError(f"{len(xs)} × {len(ys)} cells are too many to read: {_MOST_CELLS:,}")
        best = best_of_cells(frame, x, y, sweep.objective)
        values = frame[sweep.objective].to_numpy(np.float64)
        most = float(np.nanmax(np.abs(values))) if len(values) else 0.0
        self.cells: dict[tuple[Any, Any], Button] = {}
        shown: dict[tuple[Any, Any], float] = {}
        boxes: list[Any] = [HTML(f"<small>{plain(y if x != y else '')}</small>")]
        boxes += [HTML(f"<small>{plain(value_words(value))}</small>") for value in xs]
        for down in ys:
            boxes.append(HTML(f"<small>{plain('' if down is None else value_words(down))}</small>"))
            for across in xs:
                row = best.get((across, across if down is None else down))
                boxes.append(self._cell(row, most, (across, down)))
                if row is not None:
                    shown[across, down] = float(values[row])
        self._moment = SweepMoment(
            sweep.objective, x, y, xs, ys, shown, sweep.best, sweep.n_trials,
            sweep.deflated_sharpe, sweep.pbo,
        )  # fmt: skip
        grid = GridBox(
            boxes, layout=Layout(grid_template_columns=f"76px repeat({len(xs)}, minmax(0, 1fr))")
        ).add_class("pairlab-cells")
        more = [name for name in names if name not in (x, y)]
        self._opened = VBox([])
        self._progress = HTML().add_class("pairlab-map")
        self._asked: asyncio.Future[tuple[ResultView, ResultLab]] | None = None
        self.report: Report | None = None
        rest = f"; each cell is the best over {', '.join(more)}" if more else ""
        head = HTML(
            f"<h3>Sweep</h3><small>{plain(sweep.objective)} over {plain(x)} → and "
            f"{plain(y)} ↓{plain(rest)}</small>"
        ).add_class("pairlab-head-text")
        foot = HTML(
            f"<p>Best of {count(sweep.n_trials)} tried: <b>{plain(self._moment.best_words)}</b> · "
            f"{self._moment.luck_words} · chosen in sample: test it on other data. A click opens a "
            "backtest.</p>"
        ).add_class("pairlab-map")
        panel = VBox([HBox([head]).add_class("pairlab-head"), grid, foot, self._progress])
        panel.add_class("pairlab-panel").add_class("pairlab")
        super().__init__([panel, self._opened, StaticPageScript()])
        apply_theme(self, theme)
        # By its model's id the page's script knows whose view it is when a notebook is saved.
        self.add_class("pairlab").add_class("pairlab-sweep").add_class(f"pairlab-{self.model_id}")

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        still = ResultStill(sweep_words(self._moment), lambda: sweep_picture(self._moment))
        return StillOutput(still).show(super()._repr_mimebundle_(**kwargs))

    def _cell(self, row: int | None, most: float, at: tuple[Any, Any]) -> Button:
        if row is None:
            return Button(description="·", disabled=True, tooltip="no trade").add_class(
                "pairlab-heat-cell"
            )
        values = self._sweep.frame.iloc[row]
        value = float(values[self._sweep.objective])
        net = fitted(float(values["net_profit"]), 2, 9)
        tip = f"{count(int(values['trades']))} trades, net {net}"
        button = Button(description=fitted(value, 2, 6), tooltip=tip).add_class("pairlab-heat-cell")
        # A class, not a colour: it follows the theme.
        button.add_class(f"pairlab-{'up' if value > 0 else 'down'}-{level_of(value, most)}")
        button.on_click(lambda _: self._on_click(row))
        self.cells[at] = button
        return button

    def show_report(self, number: int) -> Report:
        """Show the report of a set below the map, in place of the one before.

        Parameters
        ----------
        number : int
            Its row in the sweep's frame.
        """
        return self._shown(*self._computed(number))

    def _computed(self, number: int) -> tuple[ResultView, ResultLab]:
        """Return the result of a set, and the lab that shows it; in any thread."""
        result = self._sweep.backtest(number)
        return result, ResultLab(result)

    def _shown(self, result: ResultView, lab: ResultLab) -> Report:
        report = Report(result, self._theme, lab)
        before, self.report = self.report, report
        self._progress.value = ""
        self._opened.children = (report,)
        if before is not None:
            before.close()
        return report

    def _on_click(self, number: int) -> None:
        """Compute the backtest of a set off the loop, if there is one, and show it; the newest."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.show_report(number)
            return
        self._progress.value = "<p>Computing this backtest …</p>"
        asked = loop.run_in_executor(None, self._computed, number)
        self._asked = asked
        asked.add_done_callback(self._on_computed)

    def _on_computed(self, asked: asyncio.Future[tuple[ResultView, ResultLab]]) -> None:
        if asked is not self._asked or asked.cancelled():
            return  # another one was asked for meanwhile, or the map was closed
        self._asked = None
        error = asked.exception()
        if error is None:
            self._shown(*asked.result())
        else:
            self._progress.value = f"<p>{plain(str(error) or type(error).__name__)}</p>"

    def close(self) -> None:
        """Close it and the report that it opened."""
        if getattr(self, "_opened", None) is None:
            return  # it was refused before there was anything
        self._asked = None
        if self.report is not None:
            self.report.close()
        close_tree(self)


def _chosen(which: str, name: str | None, names: list[str], usual: list[str]) -> str:
    if name is None:
        return usual[0]
    if name not in names:
        raise SettingError(which, name, f"expected one of {', '.join(names)}: they vary")
    return name
