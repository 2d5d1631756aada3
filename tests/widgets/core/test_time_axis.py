"""Clock and day along the time axis, under the pointer and in the tables."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pairlab import PairLab
from pairlab.schema import NS_PER_S
from pairlab.widgets import CorrelationChart, Dashboard, HedgeChart, SpreadChart, ZScoreChart
from pairlab.widgets.charts.prices import PriceChart
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.view_state import SPANS
from pairlab.widgets.style.formats import clock, day, js_number
from tests.widgets.conftest import MakeLab
from tests.widgets.panels.test_tables import cells
from tests.widgets.strip.test_status_bar import text

DAY_S = 86_400
EDGES_S = (1_732_285_910.902, 1_732_320_000.0, 1_709_164_799.5)  # midnight, and a leap day's end
CHARTS = (ZScoreChart, SpreadChart, CorrelationChart, HedgeChart, PriceChart)


def frame_of(lab: PairLab, span_s: float, edge_s: float, timeframe: str) -> Frame:
    """Return a frame of a lab that stands elsewhere."""
    frame = lab.dashboard().render_loop._frame(due=True)
    span_ns, edge_ns = round(span_s * NS_PER_S), round(edge_s * NS_PER_S)
    view = replace(frame.view, span_ns=span_ns, edge_ns=edge_ns)
    return replace(frame, view=view, values=replace(frame.values, timeframe=timeframe))


def labels_of(axis: Any) -> dict[float, str]:
    shown = {t: axis.tick_labels[js_number(t)] for t in axis.tick_values}
    return {at: label for at, label in shown.items() if label}


async def test_no_two_neighbours_on_the_time_axis_say_the_same(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        await lab.stop()
        axis = lab.dashboard().render_loop.time_axis
        for timeframe in ("tick", "1s", "1m", "1h"):
            for span_s in (*SPANS, 0.5, 3.0, 40_000, 2 * DAY_S, 3.3 * DAY_S):
                for edge_s in EDGES_S:
                    axis.place(frame_of(lab, span_s, edge_s, timeframe))
                    major, minor = map(labels_of, axis.axes)
                    # Both together, and the first alone as a narrow layout shows it.
                    for found in ({**major, **minor}, major):
                        texts = [found[at] for at in sorted(found)]
                        assert all(a != b for a, b in pairwise(texts)), texts
                    assert len(major) + len(minor) >= (2 if span_s >= 10 else 1)


@pytest.mark.parametrize("timeframe", ["tick", "1h"])
async def test_a_view_of_days_labels_the_days(running_lab: MakeLab, timeframe: str) -> None:
    async with running_lab(rows=100) as lab:
        await lab.stop()
        axis = lab.dashboard().render_loop.time_axis
        axis.place(frame_of(lab, 604_800, EDGES_S[0], timeframe))
        found = {**labels_of(axis.axes[0]), **labels_of(axis.axes[1])}
        assert [found[at] for at in sorted(found)] == [f"{n} Nov" for n in range(17, 23)]
        axis.place(frame_of(lab, 2 * DAY_S, EDGES_S[0], timeframe))
        found = {**labels_of(axis.axes[0]), **labels_of(axis.axes[1])}
        days = [label for label in found.values() if label.endswith("Nov")]
        assert sorted(days) == ["21 Nov", "22 Nov"]
        assert len(found) > 2


async def test_the_clock_has_ms_only_where_labels_are_less_than_a_second_apart(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=100) as lab:
        await lab.stop()
        axis = lab.dashboard().render_loop.time_axis
        for timeframe, span_s, pattern in (
            ("tick", 30, r"\d\d:\d\d:\d\d"), ("1s", 300, r"\d\d:\d\d:\d\d"),
            ("1s", 0.5, r"\d\d:\d\d:\d\d\.\d{3}"),  # finer than a second: each label its own time
            ("tick", 3, r"\d\d:\d\d:\d\d\.\d{3}"),
        ):  # fmt: skip
            axis.place(frame_of(lab, span_s, EDGES_S[0], timeframe))
            assert all(re.fullmatch(pattern, label) for label in labels_of(axis.axes[0]).values())


async def test_the_time_under_the_pointer_has_the_day_where_days_are_seen(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=300) as lab:
        await lab.stop()
        parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
        at_ns = int(lab.rows.view()[-40]["time_ns"])
        for timeframe, span_s, want in (
            ("tick", 30, clock(at_ns)),
            ("1s", 300, clock(at_ns, milliseconds=False)),
            ("1h", 604_800, f"{day(at_ns)} {clock(at_ns, milliseconds=False)}"),
        ):
            screen.view.set_span(span_s)
            screen.view.pointer_ns = at_ns
            frame = screen._frame(due=True)
            frame = replace(frame, values=replace(frame.values, timeframe=timeframe))
            parts["prices"]._paint_pointer(frame)
            assert list(parts["prices"]._pointer_time.text) == [want]
            assert f"</svg>{want}</span>" in parts["zscore"].head_text(frame)
            # No label stands under it, wherever it is told.
            screen.time_axis.place(frame)
            told_ms = parts["prices"]._pointer_time.x[0]
            px_ms = frame.span_ns / 1e6 / 772
            for axis in screen.time_axis.axes:
                assert all(abs(at - told_ms) > 77 * px_ms for at in labels_of(axis))


async def test_the_time_at_the_left_edge_leaves_the_day_alone(running_lab: MakeLab) -> None:
    async with running_lab(rows=600) as lab:
        await lab.stop()
        chart, screen = lab.dashboard().parts["prices"], lab.dashboard().render_loop
        rows = lab.rows.view()
        start, end = int(rows[-300]["time_ns"]), int(rows[-1]["time_ns"])
        screen.view.freeze(start, end)
        screen.view.pointer_ns = start
        screen.paint(due=True)
        px = (chart._pointer_time.x[0] - start / 1e6) / ((end - start) / 1e6) * 772
        assert 30 < px < 40
        assert chart._pointer_dots.x[0] <= start / 1e6


@pytest.mark.parametrize("kind", CHARTS)
async def test_a_chart_with_a_clock_says_the_day_once(running_lab: MakeLab, kind: Any) -> None:
    async with running_lab(rows=100) as lab:
        await lab.stop()
        chart = kind(lab)
        today = day(int(lab.rows.view(1)["time_ns"][0]))
        found = re.findall(r'<small class="pairlab-day">(.*?)</small>', chart.head.value)
        assert found == [f"{today} UTC"]
        assert "pairlab-dated" in chart._dom_classes
        assert "pairlab-day" not in kind(lab, clock=False).head.value
        chart.render_loop.view.set_span(604_800)
        chart.render_loop.paint(due=True)
        assert '<small class="pairlab-day">UTC</small>' in chart.head.value


async def test_a_dashboard_says_the_day_where_it_labels_the_clock(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        await lab.stop()
        for dashboard, named in (
            (lab.dashboard(), ["prices"]),
            (Dashboard(lab, layout=["prices", ["zscore"]]), ["zscore"]),
        ):
            heads = {n: p.head.value for n, p in dashboard.parts.items() if hasattr(p, "head")}
            assert [n for n, head in heads.items() if "pairlab-day" in head] == named


async def test_bars_are_told_to_the_second_in_the_tables(running_lab: MakeLab) -> None:
    async with running_lab(rows=15, window=10, timeframe="1s", speed=100.0) as lab:
        await lab.stop()
        lab.dashboard().render_loop.paint(due=True)
        parts = lab.dashboard().parts
        first = cells(parts["rows"]._body.value)[1]
        assert first[0] == clock(int(lab.rows.view(1)["time_ns"][0]), milliseconds=False)
        assert re.search(r"Latest\s*\d\d:\d\d:\d\d forming", text(parts["latest"]._head.value))
