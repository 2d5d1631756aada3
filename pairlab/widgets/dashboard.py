"""The dashboard: the parts of a lab in a layout and a theme."""

from __future__ import annotations

from typing import Any, Final

from ipywidgets import Box, HBox, VBox

from pairlab.errors import SettingError
from pairlab.protocols import LabView
from pairlab.widgets.charts.correlation import CorrelationChart
from pairlab.widgets.charts.hedge import HedgeChart
from pairlab.widgets.charts.histogram import ZHistogram
from pairlab.widgets.charts.prices import PriceChart
from pairlab.widgets.charts.spread import SpreadChart
from pairlab.widgets.charts.zscore import ZScoreChart
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.render_loop import lab_widgets
from pairlab.widgets.layouts import TRANSPORT, Layout, LayoutSpec, read_layout
from pairlab.widgets.panels.alert_table import AlertTable
from pairlab.widgets.panels.controls import Controls
from pairlab.widgets.panels.event_log import EventLog
from pairlab.widgets.panels.session_pnl import SessionPnl
from pairlab.widgets.panels.signal_panel import SignalPanel
from pairlab.widgets.panels.strip.status_bar import StatusBar
from pairlab.widgets.panels.tables import LatestTable, RowTable
from pairlab.widgets.panels.transport_bar import TransportBar
from pairlab.widgets.panels.what_if import WhatIf
from pairlab.widgets.style.theme import ThemeName, apply_theme, read_theme

__all__ = ["Dashboard", "LayoutSpec", "ThemeName"]

_CHARTS: Final[dict[str, type[LabWidget]]] = {
    "zscore": ZScoreChart,
    "spread": SpreadChart,
    "correlation": CorrelationChart,
    "hedge": HedgeChart,
    "prices": PriceChart,
}
_PANELS: Final[dict[str, type[LabWidget]]] = {
    "strip": StatusBar,
    "settings": Controls,
    "latest": LatestTable,
    "signal": SignalPanel,
    "alerts": AlertTable,
    "rows": RowTable,
    "histogram": ZHistogram,
    "event": EventLog,
    "session": SessionPnl,
    "what_if": WhatIf,
    TRANSPORT: TransportBar,
}


class Dashboard(LabWidget, VBox):  # type: ignore[misc]
    """The parts of a lab on one screen.

    Dashboards of one lab share their parts: however many there are, and however they are put
    together, each part is painted and sent once. A part is closed with the last dashboard that has
    it, or with the lab.

    Parameters
    ----------
    lab : LabView
        What to show, such as a `PairLab`.
    layout : str or sequence
        ``"auto"`` fits the width of the cell or window that it is in; ``"compact"`` is its narrow
        arrangement at any width; ``"wide"`` fills a wall of 1920 × 1080 with every chart. Or rows
        of part names from top to bottom, a row being one name or several side by side:
        ``["strip", ["zscore", "settings"], "prices"]``. `pairlab.widgets.layouts.PARTS` names
        them all.
    theme : {"dark", "light", "jupyterlab"}
        Colours; ``"jupyterlab"`` follows the theme of JupyterLab or Notebook.
    frames_per_s : float, optional
        How often to paint at most; None does not ask. All widgets of a lab are painted together,
        at the highest rate that an open dashboard asks for (where pages tell which they show, one
        that is shown), or 10. A slow kernel paints less often; no tick is dropped for it.

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
        read_theme(theme)
        self.frames_per_s = _read_frames_per_s(frames_per_s)
        super().__init__()
        apply_theme(self, theme)
        self.composition = chosen
        plays = lab.playback is not None
        names = [name for name in chosen.parts if plays or name != TRANSPORT]
        if plays and chosen.name != "own":
            names.insert(0, TRANSPORT)
        self.parts: dict[str, Any] = {name: _part(lab, name, chosen) for name in names}
        self.children = self._body()
        self.toggle_class("pairlab-replay", plays and chosen.name != "own")
        self.add_class("pairlab").add_class("pairlab-dash")
        self.add_class(f"pairlab-layout-{chosen.name}")
        self.join(lab)

    @classmethod
    def shared(
        cls, lab: LabView, layout: LayoutSpec = "auto", theme: ThemeName = "dark"
    ) -> Dashboard:
        """Return the dashboard that a lab has in this layout and theme: at each call the same.

        Parameters
        ----------
        lab, layout, theme
            As the constructor takes them, and refuses them.

        Returns
        -------
        Dashboard
            Made at the first call, and again once it, or a part of it, was closed.
        """
        return lab_widgets(lab).get(cls, layout=read_layout(layout), theme=read_theme(theme))

    def _body(self) -> list[Any]:
        if self.composition.name != "own":
            above = [part for name, part in self.parts.items() if name == TRANSPORT]
            grid = [part for name, part in self.parts.items() if name != TRANSPORT]
            return [*above, Box(grid).add_class("pairlab-grid")]
        rows = [
            HBox([self.parts[name] for name in row if name in self.parts])
            for row in self.composition.rows
        ]
        return [
            VBox([row.add_class("pairlab-beside") for row in rows if row.children]).add_class(
                "pairlab-stack"
            )
        ]

    def paint(self, frame: Frame) -> None:
        """Do nothing: its parts paint themselves."""


def _read_frames_per_s(rate: float | None) -> float | None:
    if rate is None or (isinstance(rate, int | float) and 0 < rate <= 60):
        return rate
    raise SettingError("frames_per_s", rate, "expected a number above 0, at most 60")


def _part(lab: LabView, name: str, layout: Layout) -> LabWidget:
    """Return the part of a dashboard; dashboards that need it alike share it."""
    if name in _CHARTS:
        return lab_widgets(lab).get(_CHARTS[name], clock=layout.labels_time(name))
    rows = dict(layout.table_rows).get(name)
    return lab_widgets(lab).get(_PANELS[name], **({"rows": rows} if rows else {}))
