"""The hedge over time: β, and the intercept that goes with it."""

from __future__ import annotations

from typing import Any, Final

from pairlab.widgets.charts.autoscaled import AutoChart
from pairlab.widgets.charts.chart import legend
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.style.formats import MISSING, fitted, safe, sized
from pairlab.widgets.transport.bqplot_marks import Axis, LinearScale

__all__ = ["HedgeChart"]

_WAYS: Final = {
    "fixed": "fixed: β is a setting, α is 0",
    "ols": "least squares of y on x, {window:,} rows",
    "kalman": "Kalman filter, row by row",
}


def _intercept(value: float, decimals: int) -> str:
    """Return α with the spread's decimals, as long as it needs to be."""
    return fitted(value, decimals, 6 + decimals) if decimals <= 8 else sized(value, decimals)


class HedgeChart(AutoChart):
    """β at the left, the intercept α at the right, with the alerts on the β of their moment.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    chart_name = "hedge"
    plot_px, margins_px = 84, (2, 4)
    column = "hedge_ratio"
    _most_ticks = 3

    def draw(self) -> list[Any]:
        """Return both lines, α behind β."""
        self._right = LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._intercept = self.line("muted", 1, scale=self._right)
        self._ratio = self.line("z")
        return [self._intercept, self._ratio]

    def axes(self) -> list[Axis]:
        """Return the axis of β at the left and of α at the right."""
        self._left_axis = self.axis("text2")
        self._right_axis = self.axis("muted", "right", self._right)
        return [self._left_axis, self._right_axis]

    def paint_lines(self, frame: Frame) -> None:
        """Send both lines and fit both axes."""
        for name, mark, axis, scale in (
            ("hedge_ratio", self._ratio, self._left_axis, self.scale),
            ("intercept", self._intercept, self._right_axis, self._right),
        ):
            self.show_line(mark, *frame.thinned.extremes(name))
            low, high = frame.thinned.bounds(name)
            self.fit(frame, axis, low, high, 0, scale)

    def head_text(self, frame: Frame) -> str:
        """Return β, α and where they come from."""
        row, v = frame.read, frame.values
        beta = MISSING if row is None else sized(row.hedge_ratio, frame.ratio_places)
        places = frame.spread_places_in_view
        alpha = MISSING if row is None else _intercept(row.intercept, places)
        x = "notional of x" if v.price_scale == "log" else "x"
        way = _WAYS[v.hedge].format(window=v.window)
        return (
            f"<h3>Hedge</h3><small>{x} against one y</small>"
            f"{legend('β', 'z', beta, title='hedge ratio')}"
            f"{legend('α', 'muted', alpha, title='intercept')}"
            f'<small class="pairlab-far">{safe(way)}</small>'
        )
