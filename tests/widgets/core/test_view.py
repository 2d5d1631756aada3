"""What the charts show can be moved; nothing else is touched by it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab import PairLab
from pairlab.schema import NO_TIME_NS
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.view_state import PAD, ViewState
from tests.engine import worlds
from tests.widgets.conftest import MakeLab, Wire, settled

CHARTS = ("zscore", "spread", "correlation", "prices")


def drag(screen: RenderLoop, start_ms: float, end_ms: float) -> None:
    """Set what the browser sends for a drag over a chart."""
    brush = screen.interaction.brush_selector
    brush.set_state({"brushing": True})
    brush.set_state({"selected": None if start_ms == end_ms else [start_ms, end_ms]})
    brush.set_state({"brushing": False})


def bands(lab: PairLab) -> list[list[float]]:
    return [np.asarray(lab.dashboard().parts[name]._selected.x).tolist() for name in CHARTS]


async def test_a_drag_over_a_chart_is_the_selection(running_lab: MakeLab) -> None:
    async with running_lab(rows=600) as lab:
        screen, parts = lab.dashboard().render_loop, lab.dashboard().parts
        assert len(lab.selection) == 0
        parts["zscore"].tools.select.value = True
        await settled(lambda: screen.view.select_mode, lab)
        assert all(parts[n].figure.interaction is screen.interaction.brush_selector for n in CHARTS)
        rows = lab.rows.view()
        start_ms, end_ms = rows[-200]["time_ns"] / 1e6, rows[-50]["time_ns"] / 1e6
        drag(screen, start_ms, end_ms)
        await settled(lambda: lab.selected_ns is not None and not screen.view.brushing, lab)
        want = lab.between(int(rows[-200]["time_ns"]), int(rows[-50]["time_ns"]))
        assert len(want) >= 151
        pd.testing.assert_frame_equal(lab.selection, want)
        assert screen.view.window_ns is None, "the view follows again"
        await settled(lambda: bands(lab)[0] != [], lab)
        assert bands(lab) == [[start_ms, start_ms, end_ms, end_ms]] * 4
        assert "lab.selection" in lab.event_log[-1].message
        # A click without a drag selects nothing.
        drag(screen, end_ms, end_ms)
        await settled(lambda: lab.selected_ns is None, lab)
        await settled(lambda: bands(lab) == [[]] * 4, lab)
        assert len(lab.selection) == 0
        parts["zscore"].tools.select.value = False
        await settled(lambda: not screen.view.select_mode, lab)
        assert all(
            parts[n].figure.interaction is screen.interaction.pointer_selector for n in CHARTS
        )


async def test_nothing_slides_away_while_the_mouse_drags(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        screen = lab.dashboard().render_loop
        screen.interaction.brush_selector.set_state({"brushing": True})
        await settled(lambda: screen.view.brushing, lab)
        held = screen.view.window_ns
        assert held is not None
        await lab.wait_async(lab.health().rows + 100)
        screen.paint(due=True)
        assert screen.time_axis.time_scale.max * 1e6 >= held[1]
        assert screen.view.window_ns == held
        screen.interaction.brush_selector.set_state({"brushing": False})
        await settled(lambda: screen.view.window_ns is None, lab)


async def test_a_selection_made_in_code_stands_on_the_charts(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        tools = lab.dashboard().parts["zscore"].tools
        assert tools.unselect.layout.display == "none"
        rows = lab.rows.view()
        lab.select(int(rows[-100]["time_ns"]), int(rows[-20]["time_ns"]))
        await settled(lambda: len(bands(lab)[3]) == 4, lab)
        assert tools.unselect.layout.display is None
        tools.to_selection.click()
        await settled(lambda: lab.dashboard().render_loop.view.window_ns == lab.selected_ns, lab)
        tools.unselect.click()
        await settled(lambda: lab.selected_ns is None, lab)


async def test_a_click_on_an_alert_pans_to_it_and_holds(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab(rows=3000, speed=100.0, window=30) as lab:
        dashboard = lab.dashboard()
        parts, screen = dashboard.parts, dashboard.render_loop
        screen.view.span_s = 10
        screen.paint(due=True)
        oldest_first = lab.alert_log.alerts()
        alert = next(a for a in oldest_first if a.time_ns > lab.rows.view(1000)[0]["time_ns"])
        screen.lab.call_on_loop(screen.view.select, alert)
        await settled(lambda: screen.view.window_ns is not None, lab)
        start, end = screen.view.window_ns
        assert start < alert.time_ns <= end
        assert end - start == 10_000_000_000
        screen.paint(due=True)
        assert (screen.time_axis.time_scale.min, screen.time_axis.offset_scale.min) == (
            start / 1e6,
            -10_000,
        )
        for name in CHARTS:
            assert parts[name]._ring.x.tolist() == [alert.time_ns / 1e6]
        curve = parts["zscore"]._curve
        shown = lab.between(start, end)["zscore"].to_numpy()
        assert curve.y[-1] == shown[-1]
        assert parts["zscore"]._end[0].y[0] == shown[-1]
        assert "held" in parts["zscore"].head.value
        # What is held costs the charts nothing; the strip goes on.
        await lab.wait_async(lab.health().rows + 500)
        wire.take()
        screen.paint(due=True)
        charts = {parts[n]._curve.comm.comm_id for n in CHARTS[:3]}
        sent = {m["id"] for m in wire.take()}
        assert not charts & sent
        assert sent
        parts["zscore"].tools.reset.click()
        await settled(lambda: screen.view.window_ns is None and screen.view.selected is None, lab)
        screen.paint(due=True)
        assert parts["zscore"]._ring.x.tolist() == []
        assert screen.time_axis.time_scale.max * 1e6 >= lab.rows.view(1)["time_ns"][0]


async def test_the_table_pans_and_a_second_click_goes_back(running_lab: MakeLab) -> None:
    async with running_lab(rows=2000, speed=100.0, window=30) as lab:
        table, screen = lab.dashboard().parts["alerts"], lab.dashboard().render_loop
        await lab.stop()
        screen.paint(due=True)
        alert = table._on_page[1]
        table._covers[1].click()
        await settled(lambda: screen.view.window_ns is not None, lab)
        assert screen.view.selected == alert
        screen.paint(due=True)
        assert alert.sentence.split(":")[0] in table._why.value
        table._covers[1].click()
        await settled(lambda: screen.view.window_ns is None and screen.view.selected is None, lab)


async def test_an_alert_older_than_the_history_is_explained_in_words(running_lab: MakeLab) -> None:
    async with running_lab(rows=3000, speed=100.0, window=30, history_rows=300) as lab:
        screen = lab.dashboard().render_loop
        alert = lab.alert_log.alerts()[0]
        screen.view.select(alert)
        assert screen.view.window_ns is None
        assert screen.view.selected == alert, "its explanation is still shown"
        assert "no longer held" in lab.event_log[-1].message
        assert "history_rows = 300" in lab.event_log[-1].message


async def test_zoom_and_pan_move_the_view_and_reset_brings_it_back(running_lab: MakeLab) -> None:
    async with running_lab(rows=2000, speed=100.0) as lab:
        screen, tools = lab.dashboard().render_loop, lab.dashboard().parts["zscore"].tools
        await lab.stop()
        screen.paint(due=True)
        assert (screen.view.span_s, tools.span.value) == (30, 30)
        tools.nearer.click()
        await settled(lambda: screen.view.span_s == 10, lab)
        assert screen.view.window_ns is None, "it follows: only the span changes"
        tools.earlier.click()
        await settled(lambda: screen.view.window_ns is not None, lab)
        start, end = screen.view.window_ns
        newest = int(lab.rows.view(1)["time_ns"][0])
        assert (end, start) == (newest - 5_000_000_000, newest - 15_000_000_000)
        tools.nearer.click()
        await settled(
            lambda: screen.view.window_ns == (start + 2_500_000_000, end - 2_500_000_000), lab
        )
        screen.paint(due=True)
        assert tools.span.value == 5
        assert "5 s" in [label for label, _ in tools.span.options]
        tools.wider.click()
        await settled(lambda: screen.view.window_ns == (start, end), lab)
        tools.span.value = 60.0
        await settled(
            lambda: screen.view.window_ns[1] - screen.view.window_ns[0] == 60_000_000_000, lab
        )
        assert screen.view.window_ns[1] == newest, "never beyond the newest row"
        screen.view.freeze(start, end)
        tools.later.click()
        await settled(lambda: screen.view.window_ns is None, lab)
        screen.view.freeze(start, end)
        for _ in range(200):
            screen.view.pan(-0.5)
        oldest = int(lab.rows.view()[0]["time_ns"])
        assert screen.view.window_ns[1] >= oldest, "there is always something to see"
        tools.reset.click()
        await settled(lambda: screen.view.window_ns is None, lab)
        tools.reset.click()
        await settled(lambda: screen.view.span_s == 30, lab)


async def test_reset_shows_again_what_was_cleared(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        screen, tools = lab.dashboard().render_loop, lab.dashboard().parts["zscore"].tools
        await lab.stop()
        before = len(screen._frame(due=True).shown)
        screen.view.span_s = 60
        tools.clear.click()
        await settled(lambda: screen.view.cleared_ns > 0, lab)
        assert len(screen._frame(due=True).shown) < before
        tools.reset.click()
        await settled(lambda: screen.view.cleared_ns == NO_TIME_NS, lab)
        assert len(screen._frame(due=True).shown) >= before
        assert screen.view.span_s == 60, "the span is what the next click resets"
        tools.reset.click()
        await settled(lambda: screen.view.span_s == 30, lab)


async def test_resume_follows_again(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        screen = lab.dashboard().render_loop
        screen.view.pause(True)
        screen.view.pan(-0.5)
        assert screen.view.window_ns is not None
        screen.view.pause(False)
        assert screen.view.window_ns is None


async def test_the_mouse_over_one_chart_reads_all_of_them(running_lab: MakeLab) -> None:
    async with running_lab(rows=600) as lab:
        screen = lab.dashboard().render_loop
        await lab.stop()
        screen.paint(due=True)
        mouse = screen.interaction.mouse
        mouse._handle_custom_msg({"share": 0.9}, [])
        await settled(lambda: screen.view.pointer_ns is not None, lab)
        left, right = screen.time_axis.time_scale.min, screen.time_axis.time_scale.max
        assert abs(screen.view.pointer_ns / 1e6 - (left + 0.9 * (right - left))) < 0.001
        screen.paint(due=True)
        want = screen._frame(due=True).pointed
        for name, column in zip(CHARTS, ("zscore", "spread", "correlation", "y"), strict=True):
            assert lab.dashboard().parts[name]._pointer_dots.y[0] == getattr(want, column)
        mouse._handle_custom_msg({"share": "a lot"}, [])  # not ours: nothing happens
        mouse._handle_custom_msg({"share": None}, [])
        await settled(lambda: screen.view.pointer_ns is None, lab)
        screen.paint(due=True)
        assert screen.interaction.pointer_selector.selected is None


async def test_a_mouse_that_rests_reads_what_moves_by_under_it(running_lab: MakeLab) -> None:
    async with running_lab(rows=600) as lab:
        screen = lab.dashboard().render_loop
        screen.view.set_span(30)
        screen.interaction.mouse._handle_custom_msg({"share": 0.75}, [])
        await settled(lambda: screen.view.pointer_ns is not None, lab)
        at_ns, edge_ms = screen.view.pointer_ns, screen.time_axis.time_scale.max
        await settled(lambda: screen.time_axis.time_scale.max > edge_ms + 1000, lab, 30)
        moved_ms = screen.time_axis.time_scale.max - edge_ms
        assert (screen.view.pointer_ns - at_ns) / 1e6 == pytest.approx(moved_ms, abs=1e-3)
        left, right = screen.time_axis.time_scale.min, screen.time_axis.time_scale.max
        at_ms = screen.view.pointer_ns / 1e6
        assert (at_ms - left) / (right - left) == pytest.approx(0.75, abs=1e-6)
        (drawn_ms,) = screen.interaction.pointer_selector.selected
        assert drawn_ms == pytest.approx(at_ms, abs=1e-3)
        screen.view.freeze(at_ns - 10**9, at_ns + 10**9)
        screen.paint(due=True)
        assert screen.view.pointer_ns is not None
        held_ns = screen.view.pointer_ns
        await lab.wait_async(lab.health().rows + 50, 30)
        screen.paint(due=True)
        assert screen.view.pointer_ns == held_ns


async def test_what_is_held_fills_the_picture_until_a_span_is_chosen(running_lab: MakeLab) -> None:
    async with running_lab(rows=200) as lab:
        await lab.stop()
        view, rows = lab.dashboard().render_loop.view, lab.rows.view()
        held_s = (int(rows[-1]["time_ns"]) - int(rows[0]["time_ns"])) / 1e9
        assert 0 < held_s < 24  # of a usual span of 30
        width_s = view.current(rows).span_ns / 1e9
        assert held_s <= width_s < 30
        assert held_s / width_s > 0.55
        start_ns, end_ns = view.ends_ns()
        assert (end_ns - start_ns) / 1e9 == width_s
        view.set_span(30)
        assert view.current(rows).span_ns == 30_000_000_000
        view.reset()  # goes back to the newest rows; there already, to the usual span
        view.reset()
        assert view.current(rows).span_ns / 1e9 == width_s


@given(
    share=st.floats(0.0, 1.0),
    factor=st.floats(0.05, 20.0),
    frozen=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_zoom_leaves_what_is_under_the_mouse_where_it_is(
    share: float, factor: float, frozen: bool
) -> None:
    lab = PairLab(feed="demo")
    lab._pipeline.start_engine()
    lab._pipeline.on_ticks(worlds.trades(5, 4_000))
    view, rows = ViewState(lab), lab.rows.view()
    newest, oldest = int(rows[-1]["time_ns"]), int(rows[0]["time_ns"])
    if frozen:
        third = (newest - oldest) // 3
        view.freeze(oldest + third, newest - third)
    start, end = view.ends_ns()
    width = end - start
    view.zoom_at(share, factor)
    start_after, end_after = view.ends_ns()
    width_after = end_after - start_after
    at = start + share * width * (1 + PAD)
    if view.window_ns is None:  # it reaches the newest row, and follows
        assert end_after == newest
        assert at + (end - at) * factor >= newest - 2
        assert view.span_s * 1e9 == pytest.approx(width * factor, rel=1e-6)
    elif end_after > oldest + width_after // 2 + 2:  # not where the history ends
        at_after = start_after + share * width_after * (1 + PAD)
        assert at_after == pytest.approx(at, abs=3 + 2 * PAD * abs(width_after - width))
        assert width_after == pytest.approx(width * factor, rel=1e-6, abs=2)
    view.close()
