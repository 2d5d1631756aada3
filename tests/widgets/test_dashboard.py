"""The dashboard on a real lab: what it sends, and what it leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from ipywidgets import HTML, FloatSlider

from pairlab import PairLab, SettingError, widgets
from pairlab.local_exchange import LocalExchange, SyntheticMarket
from pairlab.widgets import Dashboard, SpreadChart, ZScoreChart
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.widget_utils import tree
from pairlab.widgets.transport.bqplot_marks import Axis
from tests.widgets.conftest import MakeLab, Wire, settled

FRAME_LIMIT_BYTES = 160_000
SINGLE = [getattr(widgets, name) for name in widgets.__all__ if name not in ("Dashboard", "dress")]


async def test_widgets_are_made_once_and_only_updated(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab(rows=200) as lab:
        dashboard = lab.dashboard()
        assert lab.dashboard() is dashboard
        opened = set(wire.open)
        wire.take()
        await lab.wait_async(lab.health().rows + 400, 30)
        dashboard.screen.paint(due=True)
        messages = wire.take()
        assert wire.open == opened
        assert messages
        assert {m["type"] for m in messages} == {"comm_msg"}
        assert {m["data"]["method"] for m in messages} <= {"update", "echo_update", "custom"}


async def test_what_a_page_missed_while_it_loaded_is_sent_again(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        parts = dashboard.parts
        axes = [w for w in tree(dashboard) if isinstance(w, Axis)]
        curves = [parts["zscore"]._curve, parts["prices"]._lines[0]]
        event = dashboard.parts["event"]
        once = {w.comm.comm_id for w in [*axes, *(w for w in tree(event) if isinstance(w, HTML))]}
        sliders = {w.comm.comm_id for w in tree(dashboard) if isinstance(w, FloatSlider)}
        wire.take()
        sent: set[str] = set()
        broad: set[str] = set()
        dashboard.screen.frames_per_s = 50.0
        async with asyncio.timeout(60):
            # The lab's own clock heals; nothing else sends an axis or how broad a curve is again.
            while not once <= sent or not all(w.comm.comm_id in broad for w in curves):
                await lab.wait_async(lab.health().rows + 1)
                messages = wire.take()
                sent |= {m["id"] for m in messages}
                broad |= {m["id"] for m in messages if "stroke_width" in m["data"]["state"]}
        assert not sliders & sent


async def test_nothing_is_sent_when_nothing_has_changed(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        dashboard.screen.paint(due=True)
        await lab.stop()
        wire.take()
        dashboard.screen.paint(due=True)
        dashboard.screen.paint(due=False)
        assert [m["data"].get("state") for m in wire.take()] == []


async def test_a_frame_stays_small_however_many_rows_are_in_view(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=6000, speed=200.0) as lab:
        dashboard = lab.dashboard()
        dashboard.screen.span_s = 604_800
        dashboard.screen.finish()  # painted from here on when this test says so
        await lab.wait_async(lab.health().rows + 50, 30)
        wire.take()
        dashboard.screen.paint(due=False)
        assert len(lab.rows) > 6000
        assert 0 < wire.bytes() < FRAME_LIMIT_BYTES
        assert len(wire.sent) < 40


async def test_stop_paints_the_end_and_rests(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        assert dashboard.screen._timer is not None
        await lab.stop()
        assert dashboard.screen._timer is None
        strip = dashboard.parts["strip"]
        assert "STOPPED" in strip._cells["feed"].value
        assert strip.comm is not None  # it stays on the screen
        curve = dashboard.parts["zscore"]._curve
        assert curve.y[-1] == lab.rows.view(1)["zscore"][0]


async def test_shown_again_after_a_restart_it_goes_on(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        await lab.stop()
        lab.start()
        lab._repr_mimebundle_()
        assert dashboard.screen._timer is not None
        await lab.wait_async(lab.health().rows + 20, 30)
        badge = dashboard.parts["strip"]._cells["feed"]
        await settled(lambda: "STOPPED" not in badge.value, lab)


async def test_close_leaves_no_widget_and_no_timer(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        screen = dashboard.screen
        assert len(wire.open) > 100
        dashboard.close()
        assert screen._timer is None
        screen.close()
        assert wire.open == set()


async def test_a_replaced_lab_takes_its_widgets_along(wire: Wire, no_task_left: None) -> None:
    async with LocalExchange(SyntheticMarket(seed=3, speed=20.0)) as exchange:
        first = PairLab(feed=exchange.url, window=30).start()
        await first.wait_async(50, 60)
        old = first.dashboard()
        of_old = set(wire.open)
        async with PairLab(feed=exchange.url, window=30) as second:
            await second.wait_async(50, 60)
            assert of_old & wire.open == set()
            assert old.screen._timer is None
            assert first.health().state == "stopped"
            second.dashboard()
            assert wire.open


async def test_views_of_one_lab_share_one_clock(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        alone = ZScoreChart(lab)
        beside = SpreadChart(lab)
        assert alone.screen is beside.screen is lab.dashboard().screen
        ends = alone._curve.x
        alone.close()
        assert alone.screen.time_scale.comm is not None  # others still hang on it
        await lab.wait_async(lab.health().rows + 50, 30)
        lab.dashboard().screen.paint(due=True)
        assert alone._curve.x is ends
        assert len(beside._curve.x)


@pytest.mark.parametrize("kind", SINGLE, ids=lambda kind: kind.__name__)
def test_a_part_brings_what_it_needs_wherever_it_is_put(kind: Any, wire: Wire) -> None:
    lab = PairLab(feed="demo")
    before = set(wire.open)
    part, screen = kind(lab), RenderLoop.of(lab)
    assert screen.pulse in part.children
    assert ".pairlab" in screen.pulse._css
    shared = {w.model_id for w in tree(screen.shared())}
    shown = part._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]
    assert shown["model_id"] == part.model_id
    part.close()
    assert set(wire.open) - before <= shared
    assert screen.pulse.model_id in wire.open  # others may need it
    screen.close()
    assert wire.open == set()


@pytest.mark.parametrize("kind", [*SINGLE, Dashboard])
def test_made_again_it_is_the_same_part(kind: Any, wire: Wire) -> None:
    lab, other = PairLab(feed="demo"), PairLab("BNBUSDT", "SOLUSDT", feed="demo", hedge="ols")
    part = kind(lab)
    opened, parts = set(wire.open), list(part.screen._parts)
    for _ in range(3):  # a cell is run again
        assert kind(lab) is part
    assert wire.open == opened
    assert part.screen._parts == parts
    assert kind(other) is not part
    part.close()
    again = kind(lab)
    assert again is not part
    assert again.comm is not None
    for made in (again, kind(other)):
        made.screen.close()


def test_what_another_part_has_stays_when_one_is_closed(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    auto, wide = Dashboard(lab), Dashboard(lab, layout="wide")
    strip, alone = auto.parts["strip"], ZScoreChart(lab)
    assert wide.parts["strip"] is strip
    assert alone is not auto.parts["zscore"]  # it labels the time
    assert alone.tools is auto.parts["zscore"].tools
    mine = {auto.parts[name].model_id for name in ("rows", "alerts")}  # of other lengths in wide
    auto.close()
    assert not mine & wire.open
    assert strip.comm is not None
    alone.close()
    assert wide.parts["zscore"].tools.comm is not None
    left = {w.model_id for w in tree([wide, wide.screen.shared()])}
    assert wire.open == left
    wide.close()
    assert wire.open == {w.model_id for w in tree(wide.screen.shared())}
    wide.screen.close()
    assert wire.open == set()


async def test_a_part_that_breaks_is_told_once_and_the_rest_goes_on(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        broken = dashboard.parts["rows"]

        def fail(frame: object) -> None:
            raise RuntimeError("<out of ink>")

        broken.paint = fail
        for _ in range(3):
            dashboard.screen._tick()
        told = [e.message for e in lab.event_log if "out of ink" in e.message]
        assert len(told) == 1
        assert dashboard.screen._timer is not None
        del broken.paint
        dashboard.screen.paint(due=True)
        assert "&lt;out of ink&gt;" in dashboard.parts["event"]._event.value


async def test_pause_holds_the_view_and_not_the_strip(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        dashboard = lab.dashboard()
        strip, rows = dashboard.parts["strip"], dashboard.parts["rows"]
        strip._pause.click()
        await settled(lambda: strip._pause.description == "Resume", lab)
        held, at = rows._body.value, lab.health().rows
        line = np.array(dashboard.parts["zscore"]._curve.y)
        await lab.wait_async(at + 200, 30)
        dashboard.screen.paint(due=True)
        assert rows._body.value == held
        assert np.array_equal(dashboard.parts["zscore"]._curve.y, line)
        assert f"{dashboard.screen.waiting_rows():,} rows wait" in (
            dashboard.parts["event"]._event.value
        )
        assert dashboard.screen.waiting_rows() >= 200
        strip._pause.click()
        await settled(lambda: strip._pause.description == "Pause", lab)
        await settled(lambda: rows._body.value != held, lab)


def test_a_lab_that_was_never_started_can_be_looked_at(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    dashboard = Dashboard(lab)
    assert "NOT ENOUGH DATA" in dashboard.parts["strip"]._cells["test"].value
    assert "no data" in dashboard.parts["strip"]._cells["signal"].value
    dashboard.parts["settings"]._rows["entry_z"].slider.value = 3.0
    assert lab.settings.entry_z == 3.0
    dashboard.screen.close()


@pytest.mark.parametrize("frames_per_s", [0, -1, 61, float("nan"), "20"])
def test_an_impossible_frame_rate_is_refused(frames_per_s: float) -> None:
    with pytest.raises(
        SettingError, match=f"frames_per_s = {frames_per_s!r} .* above 0, at most 60"
    ):
        Dashboard(PairLab(feed="demo"), frames_per_s=frames_per_s)


async def test_symbols_and_messages_are_text_never_html(wire: Wire) -> None:
    lab = PairLab("<img src=x>", '"&<i>', feed="demo", hedge="ols")
    lab.log("error", "<script>alert(1)</script>")
    dashboard = lab.dashboard()
    dashboard.screen.paint(due=True)
    texts = [
        value
        for message in wire.take()
        for value in message["data"].get("state", {}).values()
        if isinstance(value, str) and "<" in value and not value.startswith("<style>")
    ]
    assert any("&lt;img src=x&gt;" in text for text in texts)
    assert any("&lt;script&gt;" in text for text in texts)
    shown = [text for text in texts if "<div" in text or "<span" in text or "<h3" in text]
    assert not [t for t in shown if "<img" in t or "<script" in t or '"&<i>' in t]
    dashboard.screen.close()
    await asyncio.sleep(0)


def test_the_frame_rate_is_the_one_asked_for_last(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    for asked, rate in ((20, 20), (5, 5), (None, 5), (20, 20)):
        dashboard = Dashboard(lab, frames_per_s=asked)
        assert dashboard is lab.dashboard()
        assert dashboard.screen.frames_per_s == rate
    dashboard.screen.close()


def test_a_part_that_was_made_for_itself_outlives_a_dashboard(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    strip = widgets.StatusBar(lab)
    dashboard = Dashboard(lab)
    controls = dashboard.parts["settings"]
    assert dashboard.parts["strip"] is strip
    dashboard.close()
    assert strip.comm is not None
    assert strip.export.comm is not None
    assert controls.comm is None
    again = Dashboard(lab)
    assert again.parts["strip"] is strip
    widgets.Controls(lab).close()  # somebody closes what an open dashboard has
    whole = lab.dashboard()
    assert whole is not again
    assert whole.parts["settings"].comm is not None
    whole.screen.close()
