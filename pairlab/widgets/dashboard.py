"""The dashboard: one way to put the parts together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipywidgets import Box, VBox

from pairlab.widgets.charts import CorrelationChart, PriceChart, SpreadChart
from pairlab.widgets.controls import Controls
from pairlab.widgets.frame import Frame
from pairlab.widgets.screen import Part, Screen, close_part, style_widget
from pairlab.widgets.status import EventLog, StatusBar
from pairlab.widgets.tables import AlertTable, LatestTable, RowTable
from pairlab.widgets.theme import ThemeName
from pairlab.widgets.zscore import ZScoreChart

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["Dashboard"]


class Dashboard(Part, VBox):  # type: ignore[misc]
    """Everything of a lab on one screen.

    Parameters
    ----------
    lab : PairLab
        What to show.
    frames_per_s : float
        How often the screen is painted at most. A slow kernel paints less often; no tick is
        dropped for the screen's sake.
    theme : {"dark", "light"}
        Colours.

    Attributes
    ----------
    parts : dict
        The parts by name: strip, zscore, spread, correlation, prices, settings, latest, alerts,
        rows, event. Each is a widget that can be shown on its own.
    """

    def __init__(self, lab: PairLab, frames_per_s: float = 10.0, theme: ThemeName = "dark") -> None:
        if not 0 < frames_per_s <= 60:
            raise ValueError(f"frames_per_s = {frames_per_s!r}: allowed: above 0, up to 60")
        self.screen = Screen.of(lab)
        self.screen.frames_per_s = frames_per_s
        self.parts: dict[str, Any] = {
            "strip": StatusBar(lab),
            "zscore": ZScoreChart(lab, clock=False),
            "spread": SpreadChart(lab, clock=False),
            "correlation": CorrelationChart(lab, clock=False),
            "prices": PriceChart(lab),
            "settings": Controls(lab),
            "latest": LatestTable(lab),
            "alerts": AlertTable(lab),
            "rows": RowTable(lab),
            "event": EventLog(lab),
        }
        grid = Box(list(self.parts.values())).add_class("pairlab-grid")
        super().__init__([style_widget(), grid])
        self.add_class("pairlab").add_class("pairlab-dash")
        if theme == "light":
            self.add_class("pairlab-light")
        self.join(lab)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self.screen.start()  # it rests after a stop; shown again, the lab may run again
        return VBox._repr_mimebundle_(self, **kwargs)

    def paint(self, frame: Frame) -> None:
        """Nothing: its parts are painted themselves."""

    def close(self) -> None:
        """Close every part: nothing stays in the front end, the kernel or the loop."""
        for part in self.__dict__.get("parts", {}).values():
            part.close()
        close_part(self)
