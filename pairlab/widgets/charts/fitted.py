"""Spread, correlation and prices: charts whose y axes fit their data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pairlab.schema import AlertKind
from pairlab.widgets.charts.chart import MARKERS, Chart, legend, nice_ticks
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import put
from pairlab.widgets.style.formats import MISSING, compact, currency, number, safe
from pairlab.widgets.style.precision import price_decimals
from pairlab.widgets.transport.bqplot_marks import Axis, LinearScale

__all__ = ["AutoChart", "CorrelationChart", "PriceChart", "SpreadChart"]


def inside(low: float, high: float) -> tuple[float, float]:
    """Return the part of an axis where a label is not cut off at the plot's ends."""
    edge = 0.07 * (high - low)
    return low + edge, high - edge


class AutoChart(Chart):
    """A chart whose y axis fits its data, in round steps."""

    _most_ticks = 4

    def fit(self, axis: Axis, low: float, high: float, decimals: int, scale: Any = None) -> None:
        """Fit a scale and its ticks, moving them only when data leaves them or shrinks by far."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return
        if high - low < 1e-12 * max(abs(low), abs(high), 1e-6):
            reach = min(1.0, 0.1 * abs(low)) or 1.0
            low, high = low - reach, high + reach
        scale = self.scale if scale is None else scale
        have_low, have_high = scale.min, scale.max
        moved = self.changed(f"view {axis.side}", (self.screen.window_ns, self.screen.span_s))
        fits = not moved and have_low <= low and high <= have_high
        if not fits or (high - low) < 0.55 * (have_high - have_low):
            margin = 0.1 * (high - low)
            put(scale, min=low - margin, max=high + margin)
        if self.changed(f"fit {axis.side}", (scale.min, scale.max, decimals)):
            ticks, need = nice_ticks(*inside(scale.min, scale.max), self._most_ticks)
            self.show_ticks(axis, {t: number(t, max(decimals, need)) for t in ticks})

    def forget_fit(self, axis: Axis) -> None:
        """Fit anew at the next `fit`, as if nothing had been shown: something else moved it."""
        for what in ("view", "fit"):
            self._seen.pop(f"{what} {axis.side}", None)


class SpreadChart(AutoChart):
    """The spread with its mean and the band whose edge is the entry.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    caption = "spread"
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
            self.fit(self._axis, float(seen.min()), float(seen.max()), 0)

    def head_text(self, frame: Frame) -> str:
        """Return the spread, its mean and its band."""
        row, v = frame.read, frame.values
        spread = mean = band = MISSING
        log = v.price_scale == "log"
        y, x = ("ln y", "ln x") if log else ("y", "x")
        alpha = "" if v.hedge == "fixed" else " − α"
        formula = f"= {y} − β {x}{alpha}" if log else f"= y − βx{alpha}"
        if row is not None:
            beta = number(abs(row.hedge_ratio), frame.ratio_places)
            sign = "+" if row.hedge_ratio < 0 else "−"
            if math.isfinite(row.hedge_ratio):
                formula = f"= {y} {sign} {beta} {x}{alpha}"
            places = frame.spread_places_in_view
            centre = row.spread_mean if v.hedge == "fixed" else 0.0
            reach = v.entry_z * row.spread_std
            spread = number(row.spread, places)
            mean = number(centre, places) if centre else number(0.0)
            band = f"{number(centre - reach, places)} … {number(centre + reach, places)}"
            if not math.isfinite(row.spread_std):
                mean = band = MISSING
        sigmas = f"±{number(v.entry_z)}σ"
        unit = "" if log else currency(self.screen.lab.pair.y)  # a logarithm has none
        return (
            f"<h3>Spread</h3><small>{safe(unit)} {safe(formula)}</small>"
            f"{legend('s', 'spread', spread, title='spread')}"
            f"{legend('mean', 'muted', mean, style='dashed')}"
            f"{legend(sigmas, 'spread', band, style='band')}"
        )


class CorrelationChart(AutoChart):
    """The rolling correlation and the least that allows an entry.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    caption = "correlation"
    plot_px, margins_px = 68, (2, 4)
    column = "correlation"
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
        lowest = frame.thinned.bounds("correlation")[0]
        low = min(least, lowest) if math.isfinite(lowest) else least
        low = max(math.floor((low - 0.08) * 10) / 10, -1.06)
        high = 1.06
        if self.changed("levels", (least, low, frame.span_ns)):
            put(self.scale, min=low, max=high)
            put(self._zone, **self.across(frame, low, least))
            put(self._least, **self.across(frame, least))
            self.show_ticks(self._least_axis, {least: f"{number(least)} min"})
            ticks, _ = nice_ticks(low + 0.04, 1.0, 3)
            near = 11 / 68 * (high - low)
            shown = [1.0, *(t for t in ticks if t != 1.0 and abs(t - 1) > near)]
            self.show_ticks(self._axis, {t: number(t) for t in shown if abs(t - least) > near})
        self.show_curve(frame, self._curve, self._end, number)

    def head_text(self, frame: Frame) -> str:
        """Return ρ and its minimum."""
        row, v = frame.read, frame.values
        return (
            f"<h3>Correlation</h3><small>ρ of {safe(v.correlation_of)}, {v.window:,} rows"
            f"</small>{legend('ρ', 'corr', MISSING if row is None else number(row.correlation))}"
            f"{legend('min', 'text2', number(v.min_correlation), style='dashed')}"
        )


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

    caption = "prices"
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
        if row is None or not len(frame.shown):
            return
        (low, high), x = drawn.bounds("y"), drawn.bounds("x")
        decimals = price_decimals(self.screen.lab, row)
        beta, alpha = row.hedge_ratio, row.intercept
        spread_mean = drawn.mean("y") - beta * drawn.mean("x")
        mean = self._steady(spread_mean - alpha, (beta, alpha))
        tied = math.isfinite(mean) and beta > 0 and frame.values.price_scale == "linear"
        if tied:
            as_y = [alpha + mean + beta * end for end in x]
            low, high = min(low, as_y[0]), max(high, as_y[1])
        self.fit(self._left_axis, low, high, decimals[0])
        if tied:
            ends = [(e - alpha - mean) / beta for e in (self.scale.min, self.scale.max)]
            put(self._right, min=ends[0], max=ends[1])
            ticks, need = nice_ticks(*inside(*ends), self._most_ticks)
            self.show_ticks(self._right_axis, {t: number(t, max(need, decimals[1])) for t in ticks})
        else:
            if self._tied:
                self.forget_fit(self._right_axis)
            self.fit(self._right_axis, *x, decimals[1], self._right)
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
        row, pair = frame.read, self.screen.lab.pair
        prices = [MISSING, MISSING]
        if row is not None:
            decimals = price_decimals(self.screen.lab, row)
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
