"""The rolling correlation and its minimum."""

from __future__ import annotations

import math
from typing import Any

from pairlab.schema import AlertKind
from pairlab.widgets.charts.autoscaled import AutoChart
from pairlab.widgets.charts.chart import MARKERS, legend, nice_ticks
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import MISSING, number, safe
from pairlab.widgets.transport.bqplot_marks import Axis

__all__ = ["CorrelationChart"]


class CorrelationChart(AutoChart):
    """The rolling correlation of y with β·x, and the least that allows an entry.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    chart_name = "correlation"
    plot_px, margins_px = 68, (2, 4)
    column = "hedged_correlation"
    marked = tuple(m for m in MARKERS if m.kind in (AlertKind.SUPPRESSED, AlertKind.DECOUPLED))

    def draw(self) -> list[Any]:
        """Return the zone below the minimum, the minimum, ρ and its end value."""
        self._zone = self.zone("muted", 0.13)
        self._least = self.line("text2", 1, line_style="dashed")
        self._curve = self.line("corr", 1.5)
        self._end = self.end_marks("corr")
        return [self._zone, self._least, self._curve, *self._end]

    def axes(self) -> list[Axis]:
        """Return the left axis: of ρ, and of the minimum in its own colour."""
        self._axis, self._least_axis = self.axis(), self.axis("text2")
        return [self._axis, self._least_axis]

    def paint_lines(self, frame: Frame) -> None:
        """Send ρ and, when it moved, the minimum."""
        least = frame.values.min_correlation
        lowest = frame.thinned.bounds("hedged_correlation")[0]
        low = min(least, lowest) if math.isfinite(lowest) else least
        low = max(math.floor((low - 0.08) * 10) / 10, -1.06)
        high = 1.06
        if self.changed("levels", (least, low, frame.span_ns)):
            set_traits(self.scale, min=low, max=high)
            set_traits(self._zone, **self.across(frame, low, least))
            set_traits(self._least, **self.across(frame, least))
            self.show_ticks(self._least_axis, {least: f"{number(least)} min"})
            ticks, _ = nice_ticks(low + 0.04, 1.0, 3)
            near = 10 / 46 * (high - low)  # a label's height, in the lowest of the layouts
            shown = [1.0, *(t for t in ticks if t != 1.0 and abs(t - 1) > near)]
            self.show_ticks(self._axis, {t: number(t) for t in shown if abs(t - least) > near})
        self.show_curve(frame, self._curve, self._end, number)

    def head_text(self, frame: Frame) -> str:
        """Return ρ and its minimum."""
        row, v = frame.read, frame.values
        # Under a β below 0 the legs hedge each other while they move against each other.
        name = "−ρ" if row is not None and row.hedge_ratio < 0 else "ρ"
        shown = MISSING if row is None else number(row.hedged_correlation)
        return (
            f"<h3>Correlation</h3><small>ρ of {safe(v.correlation_of)}, {v.window:,} rows"
            f"</small>{legend(name, 'corr', shown, title='correlation of y with β·x')}"
            f"{legend('min', 'text2', number(v.min_correlation), style='dashed')}"
        )
