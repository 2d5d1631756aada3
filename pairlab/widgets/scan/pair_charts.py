"""What chance finds as a histogram; a pair's spread and z over the scanned past."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from pairlab.widgets.charts.decimation import extremes_of
from pairlab.widgets.report.svg_figure import Figure, panel
from pairlab.widgets.scan.scan_view import ScanView
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.still.svg_chart import SvgChart, TimeSpan
from pairlab.widgets.style.formats import compact, count, number, p_value, safe, signed
from pairlab.widgets.style.theme import var

__all__ = ["chance_words", "facts_html", "histogram_html", "spread_html"]

_MINUTE_NS: Final = 60_000_000_000
_SPREAD_PX, _Z_PX = 110, 130
_BREAK_TONES: Final = {"break": "stop", "drift": "warn"}


def chance_words(scan: ScanView) -> str:
    """Return how many pairs were found and how many chance finds, as text."""
    cut: Any
    if scan.method == "distance":
        cut = scan.placebo.iloc[-1]
        found = f"the closest {count(int(cut['found']))}"
    else:
        cut = scan.placebo.loc["q ≤ 0.05"]
        found = f"found {count(int(cut['found']))}"
    if not math.isfinite(cut["by_chance"]):
        return f"{found}; no placebo was scanned"
    return f"{found}, by chance {number(float(cut['by_chance']), 1)}"


def histogram_html(scan: ScanView) -> str:
    """Return how often p was what, with the placebo's mean count beside each bar."""
    bins = scan.histogram
    most = max(float(bins[["found", "by_chance"]].max(numeric_only=True).max()), 1.0)
    ends = float(bins["from"].iloc[0]), float(bins["to"].iloc[-1])
    name = "distances" if scan.method == "distance" else "p-values"
    figure = Figure(f"how often {name} were what, found and by chance", ends, (0.0, 1.12 * most))
    figure.ticks_left(most=4)
    for low, high, found, chance in bins.itertuples(index=False):
        width = (high - low) / 2
        tip = f"{low:.2g} to {high:.2g}: found {found:,}"
        if math.isfinite(chance):
            tip += f", by chance {chance:,.1f}"
            figure.bar(low + width, high - 0.12 * width, 0.0, chance, "axis", tip)
        figure.bar(low + 0.12 * width, low + width, 0.0, float(found), "corr", tip)
    figure.ticks_foot(6)
    legend = (
        f'<p class="pairlab-figure-legend"><span style="color:{var("corr")}">■</span> found '
        f'<span style="color:{var("axis")}">■</span> by chance</p>'
    )
    about = "of all pairs tested, before any correction"
    head = "Distances" if scan.method == "distance" else "p-values"
    return panel(head, about, figure.html() + legend, note=chance_words(scan))


def facts_html(row: pd.Series[Any]) -> str:
    """Return what is known of one pair, as a list."""
    deviation = float(row["deviation_bps"])
    facts = {
        "β": compact(float(row["hedge_ratio"]), 5, 10), "n": count(int(row["n"])),
        "p": p_value(float(row["p"])), "q": p_value(float(row["q"])),
        "half-life": number(float(row["half_life"]), 1), "p last": p_value(float(row["p_last"])),
        "half-life last": number(float(row["half_life_last"]), 1),
        "z now": signed(float(row["zscore"])),
        "ρ returns": number(float(row["return_correlation"])),
        "crossings": count(int(row["crossings"])),
        "variance ratio": number(float(row["variance_ratio"])),
        "break": number(float(row["break_ratio"])), "drift": number(float(row["drift_ratio"])),
        "deviation": f"{compact(deviation, 1 if deviation < 100.0 else 0)} bps",
        "round trips": compact(float(row["deviation_round_trips"]), 2),
        "unchanged": f"{100 * float(row['unchanged']):.0f} %",
    }  # fmt: skip
    return "".join(
        f"<div><dt>{name}</dt><dd>{safe(told)}</dd></div>" for name, told in facts.items()
    )


def spread_html(frame: pd.DataFrame, split: float) -> str:
    """Return spread and z over the scanned past; the part out of sample is marked.

    Parameters
    ----------
    frame : DataFrame
        Columns spread and zscore; ``attrs["breaks"]``: rows at which the monitoring first alarms.
    split : float
        Share of the last rows that `p_last` was tested on.
    """
    dated = isinstance(frame.index, pd.DatetimeIndex)
    if dated:
        times = np.ascontiguousarray(frame.index.as_unit("ns").asi8)  # type: ignore[attr-defined]
    else:
        times = np.arange(len(frame)) * _MINUTE_NS
    span = TimeSpan.of(int(times[0]), int(times[-1]))
    first = len(frame) - int(split * len(frame))
    charts = []
    for name, title, unit, px, tone in (
        ("spread", "Spread", "y − β x − α", _SPREAD_PX, "spread"),
        ("zscore", "z", "of the whole scan's mean and deviation: in sample", _Z_PX, "z"),
    ):
        values = np.ascontiguousarray(frame[name].to_numpy(np.float64))
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if name == "zscore":
            low, high = min(low, -2.5), max(high, 2.5)
        room = 0.05 * (high - low) or 1.0
        chart = SvgChart(title, unit, px, span, low - room, high + room)
        if name == "zscore":
            chart.zone(2.0, high + room, "x")
            chart.zone(-2.0, low - room, "y")
        chart.axis()
        chart.level(0.0, "axis")
        apart = np.array([(times[first] - span.last_ns) / 1e6] * 2) if first < len(frame) else None
        if apart is not None:
            chart.line(apart, np.array([low - room, high + room]), "muted", 1, "4 3")
        for what, at in frame.attrs.get("breaks", {}).items():
            moment = np.array([(times[at] - span.last_ns) / 1e6] * 2)
            chart.line(moment, np.array([low - room, high + room]), _BREAK_TONES[what], 1, "2 2")
        x, y = extremes_of(times, values, span.last_ns, span.last_ns - span.first_ns)
        chart.line(x.astype(np.float64), y, tone)
        last = number(float(values[-1])) if name == "spread" else signed(float(values[-1]))
        chart.key(title.lower(), tone, last)
        if name == "spread":
            chart.key(f"last {plain(f'{split:.0%}')}", "muted", "out of sample", dashed=True)
            for what, at in frame.attrs.get("breaks", {}).items():
                when = f"{frame.index[at]:%m-%d %H:%M}" if dated else f"row {at:,}"
                chart.key(what, _BREAK_TONES[what], when, dashed=True)
        charts.append(chart.html(clock=dated and name == "zscore"))
    return f'<div class="pairlab-scanned">{"".join(charts)}</div>'
