"""The charts of a page: z-score, spread, correlation, hedge ratio and prices."""

from __future__ import annotations

import math

import numpy as np

from pairlab.costs import break_even_z
from pairlab.formatting import resolved
from pairlab.widgets.charts.decimation import Decimated
from pairlab.widgets.still.page_data import PageData
from pairlab.widgets.still.svg_chart import SvgChart, TimeSpan
from pairlab.widgets.style.formats import MISSING, currency, decimals_for, number, signed, sized
from pairlab.widgets.style.precision import size_of_spread

__all__ = ["charts_html", "spread_chart", "spread_places", "zscore_chart"]


def spread_places(data: PageData) -> int:
    """Return the decimals of the spread, its mean and σ."""
    return decimals_for(size_of_spread(data.rows), 2)


def charts_html(data: PageData) -> str:
    """Return the charts from top to bottom; without rows, the reason in their place."""
    if data.span_ns is None:
        return (
            '<section class="chart empty"><p>No rows: the session ended before both legs had '
            "traded and the engine was ready.</p></section>"
        )
    with np.errstate(invalid="ignore", over="ignore"):  # of numbers that are none, or too large
        return _charts(data, TimeSpan.of(*data.span_ns))


def _charts(data: PageData, span: TimeSpan) -> str:
    drawn = Decimated.of(data.rows, span.last_ns, span.last_ns - span.first_ns)
    charts = [zscore_chart(data, span, drawn), spread_chart(data, span, drawn)]
    charts.append(_correlation(data, span, drawn))
    if data.values.hedge != "fixed":
        charts.append(_hedge(data, span, drawn))
    charts.append(_prices(data, span, drawn))
    last = len(charts) - 1
    return "".join(chart.html(clock=at == last) for at, chart in enumerate(charts))


def _ends(*values: float) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return -1.0, 1.0
    room = 0.06 * (max(known) - min(known))
    return min(known) - room, max(known) + room


def zscore_chart(data: PageData, span: TimeSpan, drawn: Decimated) -> SvgChart:
    """Return the z-score with its thresholds, positions and alerts."""
    v = data.values
    # An infinite one has no place on an axis.
    lowest, highest = (z if math.isfinite(z) else math.nan for z in drawn.bounds("zscore"))
    reach = v.stop_z or v.entry_z + 1
    low = math.floor(float(np.fmin(-reach, lowest)) * 2 - 1.1) / 2
    high = math.ceil(float(np.fmax(reach, highest)) * 2 + 0.5) / 2
    chart = SvgChart("Z-score", "σ", 270, span, low, high)
    if data.latest is not None and v.fee_bps > 0.0:
        reach = break_even_z(data.latest, v.fee_bps, v.price_scale)
        if math.isfinite(reach):
            chart.zone(max(-reach, low), min(reach, high), "muted", 0.1)
    chart.zone(v.entry_z, high, "x")
    chart.zone(low, -v.entry_z, "y")
    crowded = min(v.exit_z, v.entry_z - v.exit_z) / (high - low) < 14 / 270
    chart.level(0.0, "axis", f"±{number(v.exit_z)} exit" if crowded else "0", tone="muted")
    for sign in (1, -1):
        side = "x" if sign > 0 else "y"
        exit_words = "" if crowded else f"{signed(sign * v.exit_z)} exit"
        chart.level(sign * v.exit_z, "muted", exit_words, "1 4")
        chart.level(sign * v.entry_z, side, f"{signed(sign * v.entry_z)} entry", "6 4", "text2")
        if v.stop_z is not None:
            apart = (v.stop_z - v.entry_z) / (high - low) > 14 / 270
            words = f"{signed(sign * v.stop_z)} stop" if apart else ""
            chart.level(sign * v.stop_z, "stop", words)
    chart.curve(drawn, "zscore", "z")
    chart.held(drawn, 1, "y")
    chart.held(drawn, -1, "x")
    chart.marks(data.alerts, "zscore")
    chart.key("z", "z", MISSING if data.latest is None else signed(data.latest.zscore))
    return chart


def spread_chart(data: PageData, span: TimeSpan, drawn: Decimated) -> SvgChart:
    """Return the spread with its mean and band."""
    v, places = data.values, spread_places(data)
    mean, std = drawn.last("spread_mean", "spread_std")
    centre = mean if v.hedge == "fixed" else np.where(np.isfinite(mean), 0.0, np.nan)
    reach = v.entry_z * std
    x, lines = drawn.slow(centre - reach, centre + reach, centre)
    at = x.astype(float)
    seen = lines[np.isfinite(lines)]
    low, high = _ends(*drawn.bounds("spread"), *((seen.min(), seen.max()) if len(seen) else ()))
    log = v.price_scale == "log"
    y_name, x_name = ("ln y", "ln x") if log else ("y", "x")
    formula = f"= {y_name} − β {x_name}" + ("" if v.hedge == "fixed" else " − α")
    unit = "" if log else currency(data.origin.pair.y)
    chart = SvgChart("Spread", f"{unit} {formula}".strip(), 150, span, low, high)
    chart.axis()
    chart.band(at, lines[0], lines[1], "spread")
    chart.line(at, lines[2], "muted", 1, "6 4")
    chart.curve(drawn, "spread", "spread")
    if data.latest is not None:
        now = data.latest
        chart.key("spread", "spread", sized(now.spread, places))
        middle = now.spread_mean if v.hedge == "fixed" else 0.0 * now.spread_mean
        chart.key("mean", "muted", sized(middle, places), dashed=True)
        chart.key("σ", "spread", sized(now.spread_std, places))
    return chart


def _correlation(data: PageData, span: TimeSpan, drawn: Decimated) -> SvgChart:
    least = data.values.min_correlation
    low, high = _ends(*drawn.bounds("hedged_correlation"), least)
    chart = SvgChart("Correlation", "of y and β·x", 100, span, max(low, -1.05), min(high, 1.05))
    chart.axis()
    chart.level(least, "text2", "", "6 4")
    chart.curve(drawn, "hedged_correlation", "corr")
    if data.latest is not None:
        chart.key("ρ", "corr", number(data.latest.hedged_correlation))
    chart.key("least for an entry", "text2", number(least), dashed=True)
    return chart


def _hedge(data: PageData, span: TimeSpan, drawn: Decimated) -> SvgChart:
    low, high = _ends(*drawn.bounds("hedge_ratio"))
    chart = SvgChart("Hedge ratio", f"β, {data.values.hedge}", 100, span, low, high)
    chart.axis()
    chart.curve(drawn, "hedge_ratio", "text")
    if data.latest is not None:
        beta = data.latest.hedge_ratio
        chart.key("β", "text", resolved(beta, decimals_for(abs(beta), 3)))
    return chart


def _prices(data: PageData, span: TimeSpan, drawn: Decimated) -> SvgChart:
    pair, decimals = data.origin.pair, data.decimals
    low, high = _ends(*drawn.bounds("y"))
    chart = SvgChart("Prices", currency(pair.y), 150, span, low, high)
    chart.axis(0, "y")
    chart.curve(drawn, "y", "y")
    # x has a scale of its own: both fill the plot.
    other = SvgChart("", "", 150, span, *_ends(*drawn.bounds("x")))
    other.curve(drawn, "x", "x")
    chart.overlay(other)
    chart.axis_at_right(other.low, other.high, 0, "x")
    if data.latest is not None:
        chart.key(f"y {pair.y}", "y", number(data.latest.y, decimals[0]))
        chart.key(f"x {pair.x}", "x", number(data.latest.x, decimals[1]))
    return chart
