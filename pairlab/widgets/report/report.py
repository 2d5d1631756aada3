"""The dashboard of a backtest's result."""

from __future__ import annotations

from typing import Any

from ipywidgets import HBox, VBox

from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.report.equity_chart import (
    DrawdownChart,
    EquityChart,
    ResultSpread,
    ResultZScore,
)
from pairlab.widgets.report.panels import panels_html
from pairlab.widgets.report.result_lab import ResultLab
from pairlab.widgets.report.result_view import ResultView
from pairlab.widgets.report.trade_table import TradeTable
from pairlab.widgets.report.words import (
    badge_of,
    head_figures,
    metrics_html,
    name_of,
    notes_html,
    period_of,
    settings_words,
)
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.theme import ThemeName, apply_theme, icon, read_theme, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["Report"]


class Report(LabWidget, VBox):  # type: ignore[misc]
    """A backtest's result on one screen: what it made, when, by which trades, at what cost.

    Equity, drawdown, z-score and spread share their time, pointer and zoom with each other; a click
    on a trade shows it in all of them.

    Parameters
    ----------
    result : ResultView
        What `pairlab.backtest` returned.
    theme : {"dark", "light", "jupyterlab"}
        Colours; ``"jupyterlab"`` follows the theme of JupyterLab or Notebook.
    lab : ResultLab, optional
        Of the result, where it was made beforehand: that takes most of the time of a large one, and
        any thread will do.

    Attributes
    ----------
    parts : dict
        Its charts and its table of trades, by name.

    Raises
    ------
    SettingError
        If there is no such theme.
    """

    static = True

    def __init__(
        self, result: ResultView, theme: ThemeName = "dark", lab: ResultLab | None = None
    ) -> None:
        read_theme(theme)
        self.result = result
        lab = ResultLab(result) if lab is None else lab
        super().__init__()
        apply_theme(self, theme)
        zscore, spread = ResultZScore(lab, clock=False), ResultSpread(lab, clock=True)
        self.parts: dict[str, Any] = {
            "equity": EquityChart(lab), "drawdown": DrawdownChart(lab), "zscore": zscore,
            "spread": spread, "trades": TradeTable(lab),
        }  # fmt: skip
        zscore.tools.reset.tooltip = "Show the whole period"
        zscore.tools.reset.description = "Whole period"
        charts = [self.parts[name] for name in ("equity", "drawdown", "zscore", "spread")]
        over_time = HBox([VBox(charts), self.parts["trades"]]).add_class("pairlab-over-time")
        panels = "".join(panels_html(result))
        self.children = [
            HTML(self._head()).add_class("pairlab-report-head"), over_time,
            HTML(metrics_html(result)).add_class("pairlab-report-metrics"),
            HTML(f'<div class="pairlab-panels">{panels}</div>'),
        ]  # fmt: skip
        self.add_class("pairlab").add_class("pairlab-dash").add_class("pairlab-report")
        self.join(lab)
        self.render_loop.view.show_all()
        self.render_loop.paint(due=True)

    def _head(self) -> str:
        result = self.result
        kind, sign, words = badge_of(result)
        badge = (
            f'<div class="pairlab-badge pairlab-badge-{kind}">{icon(sign, size=11)}'
            f"<span>{plain(words)}</span></div>"
        )
        figures = "".join(
            f'<div><small>{plain(name)}</small><b style="color:{var(tone)}">{plain(value)}</b>'
            f"<small>{plain(below)}</small></div>"
            for name, value, below, tone in head_figures(result)
        )
        return (
            f'<div class="pairlab-top"><div class="pairlab-what"><div class="pairlab-one">'
            f"{name_of(result)}</div>{badge}</div>"
            f'<div class="pairlab-figures">{figures}</div></div>'
            f'<div class="pairlab-under"><span>{plain(period_of(result))}</span>'
            f"<span>{plain(settings_words(result.settings))}</span></div>"
            f'<div class="pairlab-notes">{notes_html(result)}</div>'
        )

    def paint(self, frame: Frame) -> None:
        """Do nothing: its parts paint themselves."""

    def close(self) -> None:
        """Close it and everything below it: what shows a result shows nothing else."""
        loop = getattr(self, "render_loop", None)
        if loop is not None and self.comm is not None:
            loop.close()
