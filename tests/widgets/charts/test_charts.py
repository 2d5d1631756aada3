"""The charts draw the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pairlab.costs import break_even_z, round_trip_bps
from pairlab.schema import AlertKind, Filter, Records
from pairlab.widgets.charts.chart import nice_ticks
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.style.formats import number
from tests.widgets.conftest import MakeLab, settled
from tests.widgets.strip.test_status_bar import text


def show_from(screen: RenderLoop, row: int) -> Records:
    """Clear what is before a row; return the rows in view, with the one that leads into it."""
    rows = screen.lab.rows.view()
    screen.view.cleared_ns = int(rows["time_ns"][row])
    screen.view.span_s = 604_800
    screen.paint(due=True)
    return rows[max(np.searchsorted(rows["time_ns"], screen.view.cleared_ns) - 1, 0) :]


async def test_lines_are_the_rows_in_view(running_lab: MakeLab) -> None:
    async with running_lab(rows=500) as lab:
        parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
        rows = show_from(screen, max(len(lab.rows) - 1500, 0))
        assert len(rows) < 1600  # not decimated: each row a point
        z = rows["zscore"]
        first = int(np.isfinite(z).argmax())
        assert np.array_equal(parts["zscore"]._curve.y, z[first:])
        assert np.array_equal(parts["spread"]._curve.y, rows["spread"])
        assert np.array_equal(parts["prices"]._lines[1].y, rows["y"])
        x = parts["prices"]._lines[1].x
        assert np.allclose(x, (rows["time_ns"] - rows["time_ns"][-1]) / 1e6, rtol=1e-6)
        assert x[-1] == 0
        band = parts["spread"]._band.y
        reach = lab.settings.entry_z * rows["spread_std"][first:]
        assert np.allclose(band[1] - band[0], 2 * reach)
        end = parts["zscore"]._end
        assert end[0].y[0] == z[-1]


async def test_no_line_ends_without_a_number(running_lab: MakeLab) -> None:
    async with running_lab(rows=30, window=2000) as lab:
        parts = lab.dashboard().parts
        assert len(parts["zscore"]._curve.y) == 0  # all NaN: the window fills
        assert len(parts["spread"]._curve.y) >= 29
        for part in parts.values():
            for mark in getattr(part, "figure", part).trait_values().get("marks", ()):
                y = np.atleast_2d(np.asarray(mark.y, dtype=float))
                if y.size:
                    assert np.isfinite(y[:, -1]).all()


async def test_thresholds_follow_the_settings(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        chart = lab.dashboard().parts["zscore"]
        assert len(chart._stops.y) == 0
        lab.settings.update(entry_z=2.5, stop_z=4.5)
        await settled(lambda: len(chart._stops.y) == 2, lab)
        assert chart._entries.y[:, 0].tolist() == [2.5, -2.5]
        assert chart._stops.y[:, 0].tolist() == [4.5, -4.5]
        assert chart._labels["text2"].tick_labels["-2.5"] == "−2.50 entry"
        assert chart._labels["stop"].tick_labels["4.5"] == "+4.50 stop"
        assert chart.scale.min < -4.5
        assert chart.scale.max > 4.5
        least = lab.dashboard().parts["correlation"]
        lab.settings.min_correlation = 0.55
        await settled(lambda: least._least.y[0] == 0.55, lab)


async def test_legs_that_move_against_each_other_are_drawn_as_coupled(running_lab: MakeLab) -> None:
    async with running_lab(rows=300, hedge_ratio=-25.0) as lab:
        chart, screen = lab.dashboard().parts["correlation"], lab.dashboard().render_loop
        await lab.stop()
        screen.paint(due=True)
        rows = lab.rows.view()
        rows = rows[rows["time_ns"] >= screen.view.ends_ns()[0]]  # on a busy machine, not all
        drawn = chart._curve.y[np.isfinite(chart._curve.y)]
        assert drawn.min() == pytest.approx(-np.nanmax(rows["correlation"]))
        assert drawn.max() == pytest.approx(-np.nanmin(rows["correlation"]))
        head = screen._frame(due=True)
        told = text(chart.head_text(head))
        assert f"−ρ {number(head.read.hedged_correlation)}" in told
        assert "min 0.70" in told
        held = [a for a in lab.alert_log.alerts() if a.failed & Filter.CORRELATION]
        assert held
        assert all(chart.marked_value(a) == -a.at.correlation < 0.7 for a in held)


async def test_alerts_are_marked_where_they_were_decided(running_lab: MakeLab) -> None:
    async with running_lab(rows=3000, speed=100.0, window=30) as lab:
        screen = lab.dashboard().render_loop
        screen.view.span_s = 604_800
        screen.paint(due=True)
        chart = lab.dashboard().parts["zscore"]
        alerts = lab.alert_log.alerts()[-300:]
        assert len(alerts) > 20
        for marker, mark in zip(chart.marked, chart._markers, strict=True):
            mine = [a for a in alerts if a.kind == marker.kind and marker.side in (0, a.side)]
            assert np.allclose(mark.x, [a.time_ns / 1e6 for a in mine], rtol=0, atol=1e-3)
            assert np.allclose(mark.y, [a.at.zscore for a in mine])
        drawn = lab.dashboard().parts["correlation"].marked
        assert {m.kind for m in drawn} == {AlertKind.SUPPRESSED, AlertKind.DECOUPLED}


async def test_entries_are_joined_with_exits_by_what_they_made(running_lab: MakeLab) -> None:
    async with running_lab(rows=3000, speed=100.0, window=30, fee_bps=0.05) as lab:
        screen = lab.dashboard().render_loop
        screen.view.span_s = 604_800
        await lab.stop()
        screen.paint(due=True)
        chart = lab.dashboard().parts["zscore"]
        ends: dict[bool, list[tuple[float, float, float, float]]] = {True: [], False: []}
        entry = None
        for alert in lab.alert_log.alerts()[-300:]:
            if alert.kind == AlertKind.ENTRY:
                entry = alert
            elif alert.kind in (AlertKind.EXIT, AlertKind.STOP) and entry is not None:
                a, b = entry.at, alert.at
                gross = entry.side * ((b.y - a.y) - a.hedge_ratio * (b.x - a.x))
                traded = a.y + b.y + abs(a.hedge_ratio) * (a.x + b.x)
                ends[gross > 0.05e-4 * traded].append(
                    (a.time_ns / 1e6, b.time_ns / 1e6, a.zscore, b.zscore)
                )
                entry = None
        assert min(map(len, ends.values())) > 3
        for mark, paid in zip(chart.joins, (True, False), strict=True):
            x, y = (np.append(line, np.nan).reshape(-1, 3) for line in (mark.x, mark.y))
            assert np.allclose(np.hstack([x[:, :2], y[:, :2]]), ends[paid], rtol=0, atol=1e-3)
            assert np.isnan(y[:, 2]).all()


async def test_what_was_decided_under_other_thresholds_is_faded(running_lab: MakeLab) -> None:
    async with running_lab(rows=1500, speed=100.0, window=30) as lab:
        screen = lab.dashboard().render_loop
        screen.view.span_s = 604_800
        chart = lab.dashboard().parts["zscore"]
        before = lab.alert_log.newest_number
        lab.settings.update(entry_z=1.8, history_rows=9_000)
        while lab.alert_log.newest_number < before + 20:
            await lab.wait_async(lab.health().rows + 100, 30)
        await lab.stop()
        screen.paint(due=True)
        alerts = lab.alert_log.alerts()[-300:]
        now = [a.settings.entry_z == 1.8 for a in alerts]
        assert any(now)
        assert not all(now)
        for marker, mark in zip(chart.marked, chart._markers, strict=True):
            mine = [
                same for a, same in zip(alerts, now, strict=True)
                if a.kind == marker.kind and marker.side in (0, a.side)
            ]  # fmt: skip
            shown = np.resize(mark.opacities, len(mine))  # one of all, or each its own
            assert [opacity == 1.0 for opacity in shown] == mine
        (change,) = [e for e in lab.alert_log if getattr(e, "name", "") == "entry_z"]
        assert np.allclose(chart._changes.x, [change.time_ns / 1e6] * 2, rtol=0, atol=1e-3)
        assert list(chart._changes.y) == [chart.scale.min, chart.scale.max]
        lab.settings.entry_z = 2.0  # as it was: the first are not faded any more
        screen.paint(due=True)
        shown = np.concatenate([
            np.resize(mark.opacities, len(mark.x)) for mark in chart._markers
        ])  # fmt: skip
        assert (shown == 1.0).sum() == now.count(False)


async def test_the_ribbon_is_the_position(running_lab: MakeLab) -> None:
    async with running_lab(rows=2000, speed=100.0, window=30) as lab:
        screen = lab.dashboard().render_loop
        # Few enough rows to be drawn one by one, from one on that holds nothing.
        flat = np.flatnonzero(lab.rows.view()["position"] == 0)
        rows = show_from(screen, flat[np.searchsorted(flat, len(lab.rows) - 1500)])
        for side, ribbon in lab.dashboard().parts["zscore"]._ribbons.items():
            held = np.diff((rows["position"] == side).astype(int), prepend=0) == 1
            assert held.sum() > 3
            assert np.isfinite(ribbon.y).sum() == 2 * held.sum()
            assert len({*ribbon.y[np.isfinite(ribbon.y)]}) == 1


async def test_the_price_axes_are_tied_so_that_the_gap_is_the_spread(running_lab: MakeLab) -> None:
    async with running_lab(rows=800) as lab:
        chart, screen = lab.dashboard().parts["prices"], lab.dashboard().render_loop
        screen.paint(due=True)
        row, left, right = lab.latest(), chart.scale, chart._right
        mean = chart._mean[0]

        def pixel(value: float, scale: object) -> float:
            return (value - scale.min) / (scale.max - scale.min)

        gap = (pixel(row.y, left) - pixel(row.x, right)) * (left.max - left.min)
        assert abs(gap - (row.spread - mean)) < 1e-6 * row.y
        shown = screen._frame(due=True).shown
        assert abs(mean - shown["spread"].mean()) <= 0.05 * (left.max - left.min)


async def test_the_pointer_reads_the_same_row_in_all_charts(running_lab: MakeLab) -> None:
    async with running_lab(rows=500) as lab:
        parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
        row = lab.rows.view()[-40]
        screen.interaction.pointer_selector.selected = np.array([row["time_ns"] / 1e6])
        await settled(lambda: screen.view.pointer_ns is not None, lab)
        screen.view.pause(True)
        screen.paint(due=True)
        charts = [parts[name] for name in ("zscore", "spread", "correlation", "prices")]
        assert {chart.figure.interaction for chart in charts} == {
            screen.interaction.pointer_selector
        }
        for chart, name in zip(charts, ("zscore", "spread", "correlation", "y"), strict=True):
            assert np.isclose(
                chart._pointer_dots.y[0], screen._frame(due=True).pointed.__getattribute__(name)
            )
        assert "pairlab-icon-shape" in parts["zscore"].head.value
        screen.view.set_pointer(None)
        screen.paint(due=True)
        assert screen.interaction.pointer_selector.selected is None


async def test_clear_and_span_change_what_is_in_view(running_lab: MakeLab) -> None:
    async with running_lab(rows=500) as lab:
        parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
        parts["zscore"].tools.span.value = 10.0
        await settled(lambda: screen.time_axis.offset_scale.min == -10_000, lab)
        parts["zscore"].tools.clear.click()
        await settled(lambda: screen.view.cleared_ns > 0, lab)
        screen.paint(due=True)
        assert screen._frame(due=True).shown["time_ns"][1] >= screen.view.cleared_ns
        assert len(lab.rows) >= 500  # the history keeps everything


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (-5.3, 7.1), (61_000, 61_040), (1.2e-5, 1.9e-5), (-1e6, 3e6)):
        ticks, decimals = nice_ticks(low, high, 4)
        assert 2 <= len(ticks) <= 4
        assert all(low <= t <= high for t in ticks)
        assert all(np.isclose(t, round(t, decimals)) for t in ticks)
        steps = np.diff(ticks)
        assert np.allclose(steps, steps[0])
    assert nice_ticks(1, 1, 4) == ([], 0)
    assert nice_ticks(float("nan"), 1, 4) == ([], 0)


async def test_z_that_does_not_pay_is_shaded_and_entries_in_it_are_ringed(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=2_000, speed=100.0, window=30, fee_bps=0.07) as lab:
        screen = lab.dashboard().render_loop
        screen.view.span_s = 604_800
        chart = lab.dashboard().parts["zscore"]
        await lab.stop()
        screen.paint(due=True)
        row = screen._frame(due=True).read
        exact = break_even_z(row, 0.07, "linear")
        low, high = chart.scale.min, chart.scale.max
        reach = math.ceil(10 * exact) / 10
        drawn, shaded = np.atleast_2d(chart._break_even.y), np.asarray(chart._unpaid.y)
        head = text(chart.head_text(screen._frame(due=True)))
        assert f"break-even ±{number(reach, 1)}" in head
        assert ("above this chart" in head) == (reach >= high)
        assert {float(at[0]) for at in drawn if len(at)} == {
            at for at in (-reach, reach) if low < at < high
        }
        # The whole chart is never shaded: where it would be, the head says it.
        if low < -reach or reach < high:
            assert (shaded[0, 0], shaded[1, 0]) == (max(-reach, low), min(reach, high))
        else:
            assert len(shaded) == 0
        entries = [a for a in screen._frame(due=True).alerts if a.kind == AlertKind.ENTRY]
        losing = [a for a in entries if a.edge_bps < round_trip_bps(0.07, a.at, "linear")]
        assert 0 < len(losing) < len(entries), (len(entries), [a.edge_bps for a in entries[:9]])
        assert list(chart._losing.x) == [a.time_ns / 1e6 for a in losing]
        assert "it loses even if z returns to 0" in losing[0].explain()
        free = next(a for a in entries if a not in losing)
        assert "it loses" not in free.explain()
        lab.settings.fee_bps = 0.0
        screen.paint(due=True)
        assert len(chart._unpaid.y) == len(chart._break_even.y) == 0
