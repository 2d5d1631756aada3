"""The dashboard: one way, or several, to put the parts together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from ipywidgets import Box, HBox, VBox

from pairlab.errors import SettingError
from pairlab.protocols import LabView
from pairlab.widgets.charts.fitted import CorrelationChart, PriceChart, SpreadChart
from pairlab.widgets.charts.hedge import HedgeChart
from pairlab.widgets.charts.histogram import ZHistogram
from pairlab.widgets.charts.zscore import ZScoreChart
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.layouts import Layout, LayoutSpec, read_layout
from pairlab.widgets.panels.alert_table import AlertTable
from pairlab.widgets.panels.controls import Controls
from pairlab.widgets.panels.event_log import EventLog
from pairlab.widgets.panels.signal_panel import SignalPanel
from pairlab.widgets.panels.status_bar import StatusBar
from pairlab.widgets.panels.tables import LatestTable, RowTable
from pairlab.widgets.style.theme import ThemeName, dress, read_theme

__all__ = ["Dashboard", "LayoutSpec", "ThemeName"]

_CHARTS: Final[dict[str, Callable[..., Any]]] = {
    "zscore": ZScoreChart,
    "spread": SpreadChart,
    "correlation": CorrelationChart,
    "hedge": HedgeChart,
    "prices": PriceChart,
}
_PANELS: Final[dict[str, Callable[..., Any]]] = {
    "strip": StatusBar,
    "settings": Controls,
    "latest": LatestTable,
    "signal": SignalPanel,
    "alerts": AlertTable,
    "rows": RowTable,
    "histogram": ZHistogram,
    "event": EventLog,
}


class Dashboard(LabWidget, VBox):  # type: ignore[misc]
    """The parts of a lab on one screen.

    Dashboards of one lab share their parts: however many there are, and however they are put
    together, each part is painted and sent once.

    Parameters
    ----------
    lab : LabView
        What to show.
    layout : str or sequence
        ``"auto"`` fits the width of the cell or window that it is in; ``"compact"`` is its narrow
        arrangement at any width; ``"wide"`` fills a wall of 1920 × 1080 with every chart. Or rows
        of part names from top to bottom, a row being one name or several side by side:
        ``["strip", ["zscore", "settings"], "prices"]``. `pairlab.widgets.layouts.PARTS` names
        them all.
    theme : {"dark", "light", "jupyterlab"}
        Colours; ``"jupyterlab"`` follows the theme of JupyterLab or Notebook.
    frames_per_s : float, optional
        How often the lab's screen is painted at most, for all its views; at first 10. A slow
        kernel paints less often; no tick is dropped for the screen's sake.

    Attributes
    ----------
    parts : dict
        The parts by name. Each is a widget that can be shown on its own.

    Raises
    ------
    SettingError
        If there is no such layout, part or theme, or no such rate.
    """

    def __init__(
        self,
        lab: LabView,
        layout: LayoutSpec = "auto",
        theme: ThemeName = "dark",
        frames_per_s: float | None = None,
    ) -> None:
        chosen = read_layout(layout)
        super().__init__()
        dress(self, theme)
        self.composition = chosen
        self.parts: dict[str, Any] = {name: _part(lab, name, chosen) for name in chosen.parts}
        self.children = [self._body()]
        self.add_class("pairlab").add_class("pairlab-dash")
        self.add_class(f"pairlab-layout-{chosen.name}")
        self.join(lab)

    @classmethod
    def identity(cls, arguments: dict[str, Any]) -> Hashable:
        """Return by what dashboards of a lab differ; refuse what there is not."""
        layout, theme, frames_per_s = arguments.values()
        layout = read_layout(layout)
        read_theme(theme)
        if frames_per_s is not None and not (
            isinstance(frames_per_s, int | float) and 0 < frames_per_s <= 60
        ):
            raise SettingError("frames_per_s", frames_per_s, "expected above 0, at most 60")
        return layout, theme

    def _body(self) -> Any:
        if self.composition.name != "own":
            return Box(list(self.parts.values())).add_class("pairlab-grid")
        rows = [
            HBox([self.parts[name] for name in row]).add_class("pairlab-beside")
            for row in self.composition.rows
        ]
        return VBox(rows).add_class("pairlab-stack")

    def paint(self, frame: Frame) -> None:
        """Nothing: its parts are painted themselves."""


def _part(lab: LabView, name: str, layout: Layout) -> Any:
    """Return the part of a dashboard; dashboards that need it alike have the same."""
    if name in _CHARTS:
        return _CHARTS[name](lab, clock=layout.labels_time(name))
    rows = dict(layout.table_rows).get(name)
    return _PANELS[name](lab, **({"rows": rows} if rows else {}))
