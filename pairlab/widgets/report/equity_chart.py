"""The charts of a report over the time that they share: equity, drawdown, z-score and spread."""

from __future__ import annotations

import bisect
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert
from pairlab.schema import AlertKind
from pairlab.widgets.charts.autoscaled import AutoChart
from pairlab.widgets.charts.chart import MARKERS, legend
from pairlab.widgets.charts.decimation import extremes_of
from pairlab.widgets.charts.spread import SpreadChart
from pairlab.widgets.charts.zscore import ZScoreChart
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.report.panels import money
from pairlab.widgets.report.result_lab import ResultLab
from pairlab.widgets.style.formats import MISSING, currency, fitted, number, safe
from pairlab.widgets.style.theme import var
from pairlab.widgets.transport.bqplot_marks import Axis

__all__ = ["MOST_MARKED", "DrawdownChart", "EquityChart", "ResultSpread", "ResultZScore"]

Floats = NDArray[np.float64]

MOST_MARKED: Final = 90
"""Fills in view that are marked: a frame has 300, in view and a span to either side."""


class SparseMarkers:
    """Mixin of a report's charts: too many trades in view are not marked, which says the header."""

    def _paint_markers(self, frame: Frame) -> None:
        times: NDArray[np.int64] = self.render_loop.lab.alert_log.time_ns  # type: ignore[attr-defined]
        first, last = np.searchsorted(times, [frame.start_ns, frame.edge_ns + 1])
        for mark in (*self._markers, *self.joins):  # type: ignore[attr-defined]
            set_traits(mark, visible=bool(last - first <= MOST_MARKED))
        super()._paint_markers(frame)  # type: ignore[misc]


class ResultZScore(SparseMarkers, ZScoreChart):
    """The z-score of a result."""

    def head_text(self, frame: Frame) -> str:
        """Return what the z-score chart says, and why no trade is marked where none is."""
        times = self.render_loop.lab.alert_log.time_ns  # type: ignore[attr-defined]
        first, last = np.searchsorted(times, [frame.start_ns, frame.edge_ns + 1])
        many = last - first > MOST_MARKED
        more = '<small class="pairlab-far pairlab-many">zoom in: trades</small>' if many else ""
        return super().head_text(frame) + more


class ResultSpread(SparseMarkers, SpreadChart):
    """The spread of a result."""


class _SeriesChart(SparseMarkers, AutoChart):
    """One number for each row of a result, filled down to a level."""

    tone = "text"
    level = 0.0

    def __init__(self, lab: ResultLab, series: Floats, *, clock: bool = False) -> None:
        self._series, self._result_lab = series, lab
        super().__init__(lab, clock=clock)

    def draw(self) -> list[Any]:
        """Return the area, its level, the line and its end."""
        self._area = self.zone(self.tone, 0.14)
        self._base = self.line("muted", 1, line_style="dashed")
        self._curve = self.line(self.tone, 1.5)
        self._end = self.end_marks(self.tone)
        return [self._area, self._base, self._curve, *self._end]

    def axes(self) -> list[Axis]:
        """Return the left axis."""
        self._axis = self.axis()
        return [self._axis]

    def paint_lines(self, frame: Frame) -> None:
        """Send line and area of what is in view."""
        series = self._series[frame.first : frame.first + len(frame.shown)]
        times = np.ascontiguousarray(frame.shown["time_ns"])
        x, y = extremes_of(times, series, frame.edge_ns, frame.span_ns)
        last = self.show_line(self._curve, x, y)
        self.show_line(self._area, x, np.vstack([y, np.full(len(y), self.level)]))
        self.show_line(self._base, *self.across(frame, self.level).values())
        self.show_end(self._end, last, self.end_text(float(series[-1])) if len(y) else MISSING)
        if len(y):
            # Zoomed in, the line is what matters: the level may be far from it.
            held = [y.min(), y.max()] + ([] if frame.frozen else [self.level])
            self.fit(frame, self._axis, float(min(held)), float(max(held)), 0)

    def end_text(self, value: float) -> str:
        """Return the value at the line's end."""
        raise NotImplementedError

    def value_at(self, frame: Frame) -> float:
        """Return the value of the row that headers show."""
        if not len(self._series):
            return math.nan
        if frame.pointed is None:
            return float(self._series[frame.first + len(frame.shown) - 1])
        at = bisect.bisect_right(frame.shown["time_ns"], frame.view.pointer_ns or 0) - 1
        return float(self._series[frame.first + max(at, 0)])

    def dots_at(self, frame: Frame) -> list[float]:
        """Return the value on which the pointer puts a dot."""
        return [] if frame.pointed is None else [self.value_at(frame)]

    def marked_value(self, alert: Alert) -> float:
        """Return the value of the row at which an alert was."""
        return float(self._series[self._result_lab.alert_log.row_of(alert)])


class EquityChart(_SeriesChart):
    """Equity at every row, with the exits of trades.

    Parameters
    ----------
    lab : ResultLab
        Whose equity.
    """

    chart_name = "equity"
    plot_px, margins_px = 150, (3, 6)
    column = "equity"
    tone = "z"
    marked = tuple(m for m in MARKERS if m.kind in (AlertKind.EXIT, AlertKind.STOP))
    marker_scale = 0.7

    def __init__(self, lab: ResultLab) -> None:
        self.level = lab.result.capital
        super().__init__(lab, lab.equity)

    def end_text(self, value: float) -> str:
        """Return the equity."""
        return fitted(value, 2, 8)

    def head_text(self, frame: Frame) -> str:
        """Return equity and what was made."""
        value = self.value_at(frame)
        unit = currency(self._result_lab.pair.y)
        return (
            f"<h3>Equity</h3><small>{safe(unit)} after costs, every row</small>"
            f"{legend('equity', 'z', number(value))}"
            f"{legend('net', 'corr' if value >= self.level else 'stop', money(value - self.level))}"
            f"{legend('capital', 'muted', number(self.level), style='dashed')}"
        )


class DrawdownChart(_SeriesChart):
    """How far equity is below its highest so far.

    Parameters
    ----------
    lab : ResultLab
        Whose equity.
    """

    chart_name = "drawdown"
    plot_px, margins_px = 60, (2, 6)
    column = "drawdown"
    tone = "stop"
    marked = ()
    _most_ticks = 3

    def __init__(self, lab: ResultLab) -> None:
        super().__init__(lab, 100.0 * lab.drawdown)

    def end_text(self, value: float) -> str:
        """Return the drawdown."""
        return f"{number(value)} %"

    def head_text(self, frame: Frame) -> str:
        """Return the drawdown, and the deepest of the whole."""
        lowest = float(self._series.min()) if len(self._series) else math.nan
        return (
            f"<h3>Drawdown</h3><small>% below the highest equity so far</small>"
            f"{legend('now', 'stop', f'{number(self.value_at(frame))} %')}"
            f'<span class="pairlab-key">deepest<b style="color:{var("text")}">'
            f"{safe(number(lowest))} %</b></span>"
        )
