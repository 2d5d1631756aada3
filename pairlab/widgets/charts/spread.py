"""The spread, its mean and its band."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pairlab.widgets.charts.autoscaled import AutoChart
from pairlab.widgets.charts.chart import legend
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.style.formats import MISSING, compact, currency, number, safe, sized
from pairlab.widgets.transport.bqplot_marks import Axis

__all__ = ["SpreadChart"]


class SpreadChart(AutoChart):
    """The spread with its mean and the band whose edge is the entry.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    chart_name = "spread"
    plot_px, margins_px = 118, (2, 6)
    column = "spread"

    def draw(self) -> list[Any]:
        """Return band, mean, spread and end value."""
        self._band = self.zone("spread", 0.16)
        self._mean = self.line("muted", 1, line_style="dashed")
        self._curve = self.line("spread")
        self._end = self.end_marks("spread")
        return [self._band, self._mean, self._curve, *self._end]

    def axes(self) -> list[Axis]:
        """Return the left axis."""
        self._axis = self.axis()
        return [self._axis]

    def paint_lines(self, frame: Frame) -> None:
        """Send spread, mean and band."""
        drawn = frame.thinned
        mean, std = drawn.last("spread_mean", "spread_std")
        fixed = frame.values.hedge == "fixed"
        centre = mean if fixed else np.where(np.isfinite(mean), 0.0, np.nan)
        reach = frame.values.entry_z * std
        x, lines = drawn.slow(centre - reach, centre + reach, centre)
        self.show_line(self._band, x, lines[:2])
        self.show_line(self._mean, x, lines[2])
        places = frame.spread_places_in_view
        self.show_curve(frame, self._curve, self._end, lambda spread: compact(spread, places))
        seen = np.concatenate([drawn.bounds("spread"), centre - reach, centre + reach])
        seen = seen[np.isfinite(seen)]
        if len(seen):
            self.fit(frame, self._axis, float(seen.min()), float(seen.max()), 0)

    def head_text(self, frame: Frame) -> str:
        """Return the spread, its mean and its band."""
        row, v = frame.read, frame.values
        spread = mean = band = MISSING
        log = v.price_scale == "log"
        y, x = ("ln y", "ln x") if log else ("y", "x")
        alpha = "" if v.hedge == "fixed" else " − α"
        formula = f"= {y} − β {x}{alpha}" if log else f"= y − βx{alpha}"
        if row is not None:
            beta = sized(abs(row.hedge_ratio), frame.ratio_places)
            sign = "+" if row.hedge_ratio < 0 else "−"
            if math.isfinite(row.hedge_ratio):
                formula = f"= {y} {sign} {beta} {x}{alpha}"
            places = frame.telling_places(row)
            centre = row.spread_mean if v.hedge == "fixed" else 0.0
            reach = v.entry_z * row.spread_std
            spread = sized(row.spread, places)
            mean = sized(centre, places) if centre else number(0.0)
            band = f"{sized(centre - reach, places)} … {sized(centre + reach, places)}"
            if not math.isfinite(row.spread_std):
                mean = band = MISSING
        sigmas = f"±{number(v.entry_z)}σ"
        unit = "" if log else currency(self.render_loop.lab.pair.y)  # a logarithm has none
        return (
            f"<h3>Spread</h3><small>{safe(unit)} {safe(formula)}</small>"
            f"{legend('s', 'spread', spread, title='spread')}"
            f"{legend('mean', 'muted', mean, style='dashed')}"
            f"{legend(sigmas, 'spread', band, style='band')}"
        )
