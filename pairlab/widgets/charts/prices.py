"""Both prices, on axes that the hedge ratio ties together."""

from __future__ import annotations

import math
from typing import Any

from pairlab.widgets.charts.autoscaled import AutoChart, label_range
from pairlab.widgets.charts.chart import legend, nice_ticks
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import MISSING, currency, number, safe
from pairlab.widgets.style.precision import price_decimals
from pairlab.widgets.transport.bqplot_marks import Axis, LinearScale

__all__ = ["PriceChart"]


class PriceChart(AutoChart):
    """Both prices; the right axis is tied to the left by β, so that the gap is the spread.

    Under ``price_scale="log"`` β is of logarithms, and each price fills an axis of its own.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    chart_name = "prices"
    plot_px, margins_px = 84, (2, 4)
    column = "y"
    marked = ()

    def draw(self) -> list[Any]:
        """Return both lines."""
        self._right = LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._mean = (math.nan, (math.nan, math.nan))
        self._tied = False
        self._lines = [
            self.line("x", scale=self._right, interpolation="step-after"),
            self.line("y", interpolation="step-after"),
        ]
        return self._lines

    def axes(self) -> list[Axis]:
        """Return the axis of y at the left and of x at the right."""
        self._left_axis = self.axis("y")
        self._right_axis = self.axis("x", "right", self._right)
        return [self._left_axis, self._right_axis]

    def paint_lines(self, frame: Frame) -> None:
        """Send both prices and fit both axes."""
        drawn = frame.thinned
        self.show_line(self._lines[0], *drawn.extremes("x"))
        self.show_line(self._lines[1], *drawn.extremes("y"))
        row = frame.end
        if row is None:
            return
        (low, high), x = drawn.bounds("y"), drawn.bounds("x")
        decimals = price_decimals(self.render_loop.lab, row)
        beta, alpha = row.hedge_ratio, row.intercept
        spread_mean = drawn.mean("y") - beta * drawn.mean("x")
        mean = self._steady(spread_mean - alpha, (beta, alpha))
        tied = math.isfinite(mean) and beta > 0 and frame.values.price_scale == "linear"
        if tied:
            as_y = [alpha + mean + beta * end for end in x]
            low, high = min(low, as_y[0]), max(high, as_y[1])
        self.fit(frame, self._left_axis, low, high, decimals[0])
        if tied:
            ends = [(e - alpha - mean) / beta for e in (self.scale.min, self.scale.max)]
            set_traits(self._right, min=ends[0], max=ends[1])
            ticks, need = nice_ticks(*label_range(*ends), self._most_ticks)
            self.show_ticks(self._right_axis, {t: number(t, max(need, decimals[1])) for t in ticks})
        else:
            if self._tied:
                self.forget_fit(self._right_axis)
            self.fit(frame, self._right_axis, *x, decimals[1], self._right)
        self._tied = tied

    def _steady(self, mean: float, tie: tuple[float, float]) -> float:
        """Return the mean spread that ties the axes: it moves in steps, or the labels would run."""
        held, held_tie = self._mean
        reach = 0.02 * (self.scale.max - self.scale.min)
        if not abs(mean - held) <= reach or tie != held_tie:
            self._mean = (mean, tie)
        return self._mean[0]

    def head_text(self, frame: Frame) -> str:
        """Return both prices, and how the axes are tied."""
        row, pair = frame.read, self.render_loop.lab.pair
        prices = [MISSING, MISSING]
        if row is not None:
            decimals = price_decimals(self.render_loop.lab, row)
            prices = [number(row.y, decimals[0]), number(row.x, decimals[1])]
        tied = "axes tied by β: the gap between the lines is the spread"
        log = frame.values.price_scale == "log"
        why = "β is of log prices" if log else "no positive β"
        note = tied if self._tied else f"axes not tied: {why}"
        return (
            f"<h3>Prices</h3><small>{safe(currency(pair.y))}</small>"
            f"{legend(f'y {pair.y}', 'y', prices[0])}{legend(f'x {pair.x}', 'x', prices[1])}"
            f'<small class="pairlab-far">{note if row is not None else ""}</small>'
        )
