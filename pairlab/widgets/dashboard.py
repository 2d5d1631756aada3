"""The dashboard: one way, or several, to put the parts together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import Box, HBox, VBox

from pairlab.widgets.charts import CorrelationChart, PriceChart, SpreadChart
from pairlab.widgets.controls import Controls
from pairlab.widgets.events import EventLog
from pairlab.widgets.frame import Frame
from pairlab.widgets.hedge import HedgeChart
from pairlab.widgets.histogram import ZHistogram
from pairlab.widgets.layouts import Layout, LayoutSpec, read_layout
from pairlab.widgets.screen import Part, Screen
from pairlab.widgets.signal import SignalPanel
from pairlab.widgets.status import StatusBar
from pairlab.widgets.tables import AlertTable, LatestTable, RowTable
from pairlab.widgets.theme import ThemeName, dress, read_theme
from pairlab.widgets.trees import close_tree, tree
from pairlab.widgets.zscore import ZScoreChart

if TYPE_CHECKING:
    from pairlab.lab import PairLab

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
_Key = tuple[str, bool, int]
"""A part's name, whether it labels the time, and the rows of a table if they are not the usual."""


class _Shelf:
    """What the dashboards of one screen share: a part that two of them show is one widget.

    So a second dashboard, however it is put together, costs no second set of updates.
    """

    def __init__(self) -> None:
        self.dashboards: dict[tuple[Layout, ThemeName], Dashboard] = {}
        self._parts: dict[_Key, Any] = {}
        self._users: dict[_Key, int] = {}

    @classmethod
    def of(cls, screen: Screen) -> _Shelf:
        if screen.shelf is None:
            screen.shelf = cls()
        shelf: _Shelf = screen.shelf
        return shelf

    def take(self, lab: PairLab, key: _Key) -> Any:
        name, clock, rows = key
        part: Any = self._parts.get(key)
        if part is None or part.comm is None:  # none yet, or closed
            if name in _CHARTS:
                part = _CHARTS[name](lab, clock=clock)
            else:
                part = _PANELS[name](lab, **({"rows": rows} if rows else {}))
            self._parts[key], self._users[key] = part, 0
        self._users[key] += 1
        return part

    def give_back(self, key: _Key, part: Any) -> None:
        on_shelf = self._parts.get(key) is part  # or it was closed and another took its place
        if on_shelf:
            self._users[key] -= 1
            if self._users[key]:
                return
            del self._parts[key], self._users[key]
        part.close()


class Dashboard(Part, VBox):  # type: ignore[misc]
    """The parts of a lab on one screen.

    Dashboards of one lab share their parts: however many there are, and however they are put
    together, each part is painted and sent once.

    Parameters
    ----------
    lab : PairLab
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
        If there is no such layout, part or theme.
    """

    def __init__(
        self,
        lab: PairLab,
        layout: LayoutSpec = "auto",
        theme: ThemeName = "dark",
        frames_per_s: float | None = None,
    ) -> None:
        chosen = read_layout(layout)
        read_theme(theme)
        if frames_per_s is not None and not 0 < frames_per_s <= 60:
            raise ValueError(f"frames_per_s = {frames_per_s!r}: allowed: above 0, up to 60")
        super().__init__()
        dress(self, theme)
        self.composition = chosen
        screen = Screen.of(lab)
        self._shelf = _Shelf.of(screen)
        lengths = dict(chosen.table_rows)
        self._keys: Final[list[_Key]] = [
            (name, chosen.labels_time(name), lengths.get(name, 0)) for name in chosen.parts
        ]
        self.parts: dict[str, Any] = {}
        for key in self._keys:
            self.parts[key[0]] = self._shelf.take(lab, key)
        self.children = [self._body()]
        self.add_class("pairlab").add_class("pairlab-dash")
        self.add_class(f"pairlab-layout-{chosen.name}")
        self.join(lab, frames_per_s)

    @classmethod
    def of(cls, lab: PairLab, layout: LayoutSpec = "auto", theme: ThemeName = "dark") -> Dashboard:
        """Return the lab's dashboard of this layout and theme: every call gives the same one."""
        key = read_layout(layout), theme
        known = _Shelf.of(Screen.of(lab)).dashboards
        dashboard = known.get(key)
        if dashboard is None or dashboard.comm is None:  # none yet, or closed
            dashboard = known[key] = cls(lab, layout, theme)
        return dashboard

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

    def close(self) -> None:
        """Close what no other dashboard shows: nothing of it stays in front end or kernel."""
        if getattr(self, "parts", None) is None or self.comm is None:
            return  # never made whole, or closed before
        self.screen.leave(self)
        stays = tree([*self.parts.values(), self.screen.pulse])
        close_tree(self, frozenset(id(widget) for widget in stays))
        for key in self._keys:
            self._shelf.give_back(key, self.parts[key[0]])
