"""The dashboard on a real lab: what it sends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from ipywidgets import HTML, FloatSlider

from pairlab import PairLab, SettingError, widgets
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.local_exchange import LocalExchange, SyntheticMarket
from pairlab.schema import Pair
from pairlab.widgets import Dashboard, SpreadChart, ZScoreChart
from pairlab.widgets.core.render_loop import DEFAULT_FRAMES_PER_S, RenderLoop, lab_widgets
from pairlab.widgets.core.widget_utils import tree
from pairlab.widgets.transport.bqplot_marks import Axis
from tests.widgets.conftest import MakeLab, Wire, settled

FRAME_LIMIT_BYTES = 160_000
SINGLE = [
    getattr(widgets, name)
    for name in widgets.__all__
    if name not in ("Dashboard", "apply_theme", "dress")
]


async def test_widgets_are_made_once_and_only_updated(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab(rows=200) as lab:
        dashboard = lab.dashboard()
        assert lab.dashboard() is dashboard
        opened = set(wire.open)
        wire.take()
        await lab.wait_async(lab.health().rows + 400, 30)
        dashboard.render_loop.paint(due=True)
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
        dashboard.frames_per_s = 50.0
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
        dashboard.render_loop.paint(due=True)
        await lab.stop()
        wire.take()
        dashboard.render_loop.paint(due=True)
        dashboard.render_loop.paint(due=False)
        assert [m["data"].get("state") for m in wire.take()] == []


async def test_a_frame_stays_small_however_many_rows_are_in_view(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=6000, speed=200.0) as lab:
        dashboard = lab.dashboard()
        dashboard.render_loop.view.span_s = 604_800
        dashboard.render_loop.finish()  # painted from here on when this test says so
        await lab.wait_async(lab.health().rows + 50, 30)
        wire.take()
        dashboard.render_loop.paint(due=False)
        assert len(lab.rows) > 6000
        assert 0 < wire.bytes() < FRAME_LIMIT_BYTES
        assert len(wire.sent) < 40


async def test_stop_paints_the_end_and_rests(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        assert dashboard.render_loop._timer is not None
        await lab.stop()
        assert dashboard.render_loop._timer is None
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
        assert dashboard.render_loop._timer is not None
        await lab.wait_async(lab.health().rows + 20, 30)
        badge = dashboard.parts["strip"]._cells["feed"]
        await settled(lambda: "STOPPED" not in badge.value, lab)


async def test_close_leaves_no_widget_and_no_timer(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        screen = dashboard.render_loop
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
            assert old.render_loop._timer is None
            assert first.health().state == "stopped"
            second.dashboard()
            assert wire.open


async def test_views_of_one_lab_share_one_clock(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        alone = ZScoreChart(lab)
        beside = SpreadChart(lab)
        assert alone.render_loop is beside.render_loop is lab.dashboard().render_loop
        ends = alone._curve.x
        alone.close()
        assert alone.render_loop.time_axis.time_scale.comm is not None  # others still hang on it
        await lab.wait_async(lab.health().rows + 50, 30)
        lab.dashboard().render_loop.paint(due=True)
        assert alone._curve.x is ends
        assert len(beside._curve.x)


@pytest.mark.parametrize("kind", SINGLE, ids=lambda kind: kind.__name__)
def test_a_part_brings_what_it_needs_wherever_it_is_put(kind: Any, wire: Wire) -> None:
    lab = PairLab(feed="demo")
    before = set(wire.open)
    part, screen = kind(lab), RenderLoop.of(lab)
    assert screen.channel.widget in part.children
    assert ".pairlab" in screen.channel.widget._css
    shared = {w.model_id for w in tree(screen.shared_widgets())}
    shown = part._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]
    assert shown["model_id"] == part.model_id
    part.close()
    assert set(wire.open) - before <= shared
    assert screen.channel.widget.model_id in wire.open  # others may need it
    screen.close()
    assert wire.open == set()


@pytest.mark.parametrize("kind", [*SINGLE, Dashboard])
def test_a_class_call_makes_a_new_widget_that_is_closed_with_the_lab(kind: Any, wire: Wire) -> None:
    lab = PairLab(feed="demo")
    before = set(wire.open)
    first = kind(lab)
    once = set(wire.open)
    second = kind(lab)  # a cell is run again
    assert second is not first
    assert second.render_loop is first.render_loop
    second.close()
    assert first.comm is not None
    assert wire.open == once  # all that the second had is gone, and nothing that the first has
    kind(lab)
    first.render_loop.close()
    assert wire.open == before


async def test_cells_run_again_and_again_leave_one_clock_and_no_task(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        tasks = len(asyncio.all_tasks())
        charts = [ZScoreChart(lab) for _ in range(5)]
        loop = charts[0].render_loop
        assert len(asyncio.all_tasks()) == tasks
        newest = charts[-1]
        say = loop.channel.widget._handle_custom_msg
        say({"page": "page", "shows": [newest.model_id]}, [])
        await settled(lambda: loop.channel.pacer.answers, lab)
        before = [chart._curve.y for chart in charts]
        frames = loop.meter.painted
        while loop.meter.painted < frames + 3:
            say({"page": "page", "drawn": 10**9}, [])
            await lab.wait_async(lab.health().rows + 5, 30)
        painted = [chart._curve.y is not y for chart, y in zip(charts, before, strict=True)]
        assert painted == [False] * 4 + [True]  # those that no page shows any more cost nothing


def test_what_is_shared_is_made_once_and_again_after_it_was_closed(wire: Wire) -> None:
    lab, other = PairLab(feed="demo"), PairLab("BNBUSDT", "SOLUSDT", feed="demo", hedge="ols")
    parts = lab_widgets(lab)
    chart = parts.get(ZScoreChart)
    opened = set(wire.open)
    assert parts.get(ZScoreChart, clock=True) is chart  # what is given by default is the same
    assert wire.open == opened
    assert parts.get(ZScoreChart, clock=False) is not chart
    assert lab_widgets(other).get(ZScoreChart) is not chart
    chart.close()
    again = parts.get(ZScoreChart)
    assert again is not chart
    assert again.comm is not None
    for one in (again, lab_widgets(other).get(ZScoreChart)):
        one.render_loop.close()


def test_what_another_dashboard_has_stays_when_one_is_closed(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    auto, wide = Dashboard(lab), Dashboard(lab, layout="wide")
    strip, alone = auto.parts["strip"], ZScoreChart(lab)
    assert wide.parts["strip"] is strip
    assert alone.tools is not auto.parts["zscore"].tools
    mine = {auto.parts[name].model_id for name in ("rows", "alerts")}  # of other lengths in wide
    auto.close()
    assert not mine & wire.open
    assert strip.comm is not None
    assert strip.export.comm is not None
    alone.close()
    assert wide.parts["zscore"].tools.comm is not None
    left = {w.model_id for w in tree([wide, wide.render_loop.shared_widgets()])}
    assert wire.open == left
    wide.close()
    assert wire.open == {w.model_id for w in tree(wide.render_loop.shared_widgets())}
    wide.render_loop.close()
    assert wire.open == set()


async def test_a_part_that_breaks_is_told_once_and_the_rest_goes_on(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        broken = dashboard.parts["rows"]

        def fail(frame: object) -> None:
            raise RuntimeError("<out of ink>")

        broken.paint = fail
        for _ in range(3):
            dashboard.render_loop._tick()
        told = [e.message for e in lab.event_log if "out of ink" in e.message]
        assert len(told) == 1
        assert dashboard.render_loop._timer is not None
        del broken.paint
        dashboard.render_loop.paint(due=True)
        assert "&lt;out of ink&gt;" in dashboard.parts["event"]._event.value


async def test_a_busy_loop_does_not_lower_the_rate(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab() as lab:
        loop, render, due_s = asyncio.get_running_loop(), ZScoreChart(lab).render_loop, [0.0]
        call_at, enough = loop.call_at, asyncio.Event()

        def recorded(when: float, callback: Any, *args: Any, **keys: Any) -> asyncio.TimerHandle:
            if callback == render._tick:
                due_s.append(when)
                # Each is due a tenth of a second after the one before was due, not after it was
                # painted. (One that a busy machine delays beyond the next is left out.)
                if sum(np.isclose(np.diff(due_s), 0.1, rtol=0.0, atol=1e-9)) == 9:
                    enough.set()
                # Other work takes the loop just when the frame is due, so that it is late.
                call_at(when - 0.005, lambda: time.sleep(0.02))
            return call_at(when, callback, *args, **keys)

        monkeypatch.setattr(loop, "call_at", recorded)
        async with asyncio.timeout(30):
            await enough.wait()


async def test_pause_holds_the_view_and_not_the_strip(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        dashboard = lab.dashboard()
        strip, rows = dashboard.parts["strip"], dashboard.parts["rows"]
        strip._pause.click()
        await settled(lambda: strip._pause.description == "Resume", lab)
        held, at = rows._body.value, lab.health().rows
        line = np.array(dashboard.parts["zscore"]._curve.y)
        await lab.wait_async(at + 200, 30)
        dashboard.render_loop.paint(due=True)
        assert rows._body.value == held
        assert np.array_equal(dashboard.parts["zscore"]._curve.y, line)
        assert f"{dashboard.render_loop.view.waiting_rows():,} rows wait" in (
            dashboard.parts["event"]._event.value
        )
        assert dashboard.render_loop.view.waiting_rows() >= 200
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
    dashboard.render_loop.close()


@pytest.mark.parametrize("frames_per_s", [0, -1, 61, float("nan"), "20"])
def test_an_impossible_frame_rate_is_refused(frames_per_s: float) -> None:
    with pytest.raises(
        SettingError, match=f"frames_per_s = {frames_per_s!r} .* above 0, at most 60"
    ):
        Dashboard(PairLab(feed="demo"), frames_per_s=frames_per_s)


async def test_symbols_and_messages_are_text_never_html(wire: Wire) -> None:
    # A feed of the user's has symbols of its own.
    pair = Pair("<img src=x>", '"&<i>')
    lab = PairLab(*pair, feed=BinanceFeed(pair, url="ws://127.0.0.1:9"), hedge="ols")
    lab.log("error", "<script>alert(1)</script>")
    dashboard = lab.dashboard()
    dashboard.render_loop.paint(due=True)
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
    dashboard.render_loop.close()
    await asyncio.sleep(0)


def test_the_frame_rate_is_the_highest_that_an_open_dashboard_asks_for(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    usual = lab.dashboard()
    loop = usual.render_loop
    assert loop.frames_per_s == DEFAULT_FRAMES_PER_S
    slow, fast = Dashboard(lab, frames_per_s=5), Dashboard(lab, frames_per_s=20)
    assert loop.frames_per_s == 20
    loop.channel.pacer.on_ack({"page": "page", "shows": [slow.model_id]}, time.monotonic())
    assert loop.frames_per_s == 5  # of those, if pages tell, that somebody looks at
    loop.channel.pacer.on_ack({"page": "page", "shows": ["*"]}, time.monotonic())
    assert loop.frames_per_s == 20
    fast.close()
    assert loop.frames_per_s == 5
    slow.close()
    assert loop.frames_per_s == DEFAULT_FRAMES_PER_S
    loop.close()


def test_closing_a_dashboard_leaves_what_was_made_by_itself(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    mine, dashboard = widgets.StatusBar(lab), Dashboard(lab)
    assert dashboard.parts["strip"] is not mine
    dashboard.close()
    assert mine.comm is not None
    assert mine.export.comm is not None
    assert dashboard.parts["settings"].comm is None
    usual = lab.dashboard()
    usual.parts["settings"].close()  # somebody closes what an open dashboard has
    intact = lab.dashboard()
    assert intact is not usual
    assert intact.parts["settings"].comm is not None
    assert lab.dashboard() is intact
    intact.render_loop.close()
