"""Pause, clear, hold, stop and other metrics, in every order: what is shown belongs together."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import numpy as np
import pytest
from IPython.core.events import EventManager, available_events

from pairlab import PairLab
from pairlab.feeds import FeedHealth
from pairlab.local_exchange import LocalExchange, SyntheticMarket
from pairlab.schema import NS_PER_S, TICK, Records
from pairlab.widgets import Dashboard, StatusBar
from pairlab.widgets.core import kernel_hooks as cells
from pairlab.widgets.core.render_loop import RenderLoop
from tests.widgets.conftest import MakeLab, Wire, settled
from tests.widgets.strip.test_status_bar import text

START_NS = 1_760_000_000 * NS_PER_S
STEP_NS = 50_000_000


def ticks(count: int, first: int = 0) -> Records:
    """Return trades of both legs in turn, one every 50 ms, whose spread comes back to its mean."""
    rng = np.random.default_rng(1)
    made = np.zeros(first + count, TICK)
    at = np.arange(len(made))
    made["time_ns"] = made["received_ns"] = START_NS + at * STEP_NS
    made["id"], made["leg"], made["quantity"] = at, at % 2, 1.0
    x = 2400 * np.exp(np.cumsum(rng.standard_normal(len(made))) * 1e-5)
    spread = np.zeros(len(made))
    for n, shock in enumerate(rng.standard_normal(len(made) - 1)):
        spread[n + 1] = 0.9 * spread[n] + 6 * shock
    made["price"] = np.where(at % 2, x, 60_000 + 25 * (x - 2400) + spread)
    return made[first:]


class Fed:
    """A lab that is given its ticks by the test, and its dashboard."""

    def __init__(self, count: int = 2000, **settings: Any) -> None:
        self.lab = PairLab(feed="demo", **settings)
        self.fed = 0
        self.lab._pipeline.start_engine()
        self.feed(count)
        self.dashboard = Dashboard(self.lab, layout="wide")
        self.render_loop: RenderLoop = self.dashboard.render_loop
        self.parts = self.dashboard.parts
        self.paint()

    def feed(self, count: int) -> None:
        self.lab._pipeline.on_ticks(ticks(count, self.fed))
        self.fed += count

    def paint(self) -> None:
        self.render_loop.paint(due=True)

    def head(self, name: str) -> str:
        return text(self.parts[name].head.value)

    def latest(self, name: str) -> str:
        fields = dict(
            re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", self.parts["latest"]._body.value)
        )
        return fields[name]


@pytest.fixture
def fed(wire: Wire) -> Any:
    """Make labs; every message of their widgets is recorded."""
    labs: list[Fed] = []

    def make(count: int = 2000, **settings: Any) -> Fed:
        labs.append(Fed(count, **settings))
        return labs[-1]

    yield make
    for one in labs:
        one.render_loop.close()


async def test_a_lab_that_has_stopped_can_be_used(running_lab: MakeLab) -> None:
    async with running_lab(rows=900, entry_z=1.0, min_correlation=-1.0) as lab:
        dashboard = lab.dashboard()
        screen, parts = dashboard.render_loop, dashboard.parts
        await lab.stop()
        assert screen._timer is None
        lab.dashboard("compact")
        assert screen._timer is None  # another view does not wake what has stopped

        edge_ms = screen.time_axis.time_scale.max
        parts["zscore"].tools.earlier.click()
        await turned(lab)
        assert screen.time_axis.time_scale.max < edge_ms
        alert = lab.alert_log.alerts()[-1]
        screen.hand_over(lambda _: screen.view.select(alert))(None)
        await turned(lab)
        assert parts["zscore"]._ring.x == [alert.time_ns / 1e6]
        lab.settings.window = 100  # in code
        await turned(lab)
        assert parts["settings"]._rows["window"].field.value == "100"
        assert "/100" in parts["latest"]._body.value
        lab.log("warning", "somebody should look")
        await turned(lab)
        assert "somebody should look" in parts["event"]._event.value
        assert screen._timer is None


async def turned(lab: PairLab) -> None:
    """Let what was handed to the loop be done, and what that handed to it."""
    assert lab.loop is asyncio.get_running_loop()
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_forming_bar_is_in_the_heads_and_the_lines_end_where_their_labels_say(fed: Any) -> None:
    one = fed(1200, timeframe="5s", window=10)
    for _ in range(3):
        one.feed(7)
        one.paint()
        assert one.lab.latest().provisional
        assert f"z {one.latest('z')}" in one.head("zscore")
        assert one.latest("y") in one.head("prices")
        dot, label = one.parts["zscore"]._end
        closed = one.lab.rows.view(1)["zscore"][0]
        assert dot.y[0] == closed
        assert label.text[0] == f"{closed:+.2f}".replace("-", "−")


def test_while_a_bar_forms_ages_and_times_are_those_of_its_ticks(
    fed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"entry_z": 1.0, "exit_z": 0.01, "min_correlation": -1.0, "max_leg_age_s": 10}
    one = fed(820, timeframe="1m", window=10, **settings)  # a second into a minute
    pipeline = one.lab._pipeline
    while one.lab.alert_log.opened is None or not one.lab.latest().provisional:
        one.feed(1200)  # a minute of ticks
    opened = one.lab.alert_log.opened
    one.paint()
    one.feed(500)
    assert one.lab.alert_log.opened == opened
    clock_s = [time.time()]
    monkeypatch.setattr(time, "time_ns", lambda: int(clock_s[0] * NS_PER_S))
    strip, one.lab._runner._state = one.parts["strip"], FeedHealth("live", "as if")
    strip._opened = True  # the feed's figures are seen
    for _ in range(3):
        one.feed(100)  # five seconds
        clock_s[0] += 5
        one.paint()
        ages = text(strip._cells["ages"].value)
        assert re.fullmatch(r"age y / x 0\.0\d / 0\.0\d s", ages)
    held_s = (int(pipeline.ticks.view(1)["time_ns"][0]) - opened.time_ns) / NS_PER_S
    assert 0 < held_s < 60
    assert f"· {held_s:.1f} s" in text(strip._cells["signal"].value)
    assert f"for {held_s:.1f} s" in text(one.parts["signal"]._head.value)
    clock_s[0] += 3  # nothing comes
    one.paint()
    assert "3.0" in text(strip._cells["ages"].value)


def test_every_pause_button_says_what_it_does(fed: Any) -> None:
    one = fed()
    other = Dashboard(one.lab, layout=["strip"]).parts["strip"]
    buttons = {one.parts["strip"]._pause, other._pause, StatusBar(one.lab)._pause}
    assert len(buttons) == 2  # dashboards share theirs
    one.render_loop.view.pause(True)  # in code
    one.paint()
    assert {b.description for b in buttons} == {"Resume"}
    next(iter(buttons)).click()
    one.paint()
    assert {b.description for b in buttons} == {"Pause"}
    assert not one.render_loop.view.paused


@pytest.mark.parametrize(
    "change", [{"hedge": "ols"}, {"window": 100}, {"timeframe": "1s"}, {"price_scale": "log"}]
)
def test_a_paused_view_shows_its_moment_under_the_metrics_that_are_told(
    fed: Any, change: dict[str, Any]
) -> None:
    one = fed()
    one.render_loop.view.pause(True)
    edge_ns = int(one.render_loop.view.rows()["time_ns"][-1])
    one.feed(400)
    assert one.render_loop.view.waiting_rows() == 400
    if change.get("price_scale") == "log":
        change = {**change, "hedge": "ols"}
    one.lab.settings.update(**change)
    one.paint()
    rows = one.render_loop.view.rows()
    history = one.lab.rows.view()
    same = history[history["time_ns"] <= edge_ns]
    assert len(rows) == len(same) > 50
    np.testing.assert_array_equal(rows["spread"], same["spread"])
    assert int(rows["time_ns"][-1]) <= edge_ns
    assert one.render_loop.view.waiting_rows() == len(history) - len(same) > 0
    edge_bps = float(one.latest("edge").removesuffix(" bps"))
    assert 0 <= edge_bps < 50
    if "window" in change:
        assert one.latest("rows") == "100/100"


def test_a_pause_keeps_its_moment_through_other_timeframes(fed: Any) -> None:
    one = fed()
    one.render_loop.view.pause(True)
    before = one.render_loop.view.rows()["time_ns"].copy()
    one.feed(400)
    for timeframe in ("1m", "5s", "tick"):
        one.lab.settings.timeframe = timeframe
        one.paint()
    np.testing.assert_array_equal(one.render_loop.view.rows()["time_ns"], before)


def test_the_pointer_reads_nothing_where_there_is_nothing(fed: Any) -> None:
    one = fed()
    one.render_loop.view.clear()
    one.feed(40)
    one.render_loop.view.set_pointer_share(0.05)
    one.paint()
    frame = one.render_loop._frame(due=True)
    assert frame.pointed is None
    assert len(one.parts["spread"]._pointer_dots.x) == 0
    one.render_loop.view.set_pointer_share(0.999)
    one.paint()
    assert one.render_loop._frame(due=True).pointed is not None


def test_while_the_metrics_are_made_anew_the_old_rows_are_shown_as_what_they_are(fed: Any) -> None:
    one = fed(hedge="ols")
    pipeline = one.lab._pipeline
    pipeline._rebuild_wanted = lambda: None  # it takes a while
    before = one.latest("edge"), one.latest("cost")
    one.lab.settings.price_scale = "log"
    one.paint()
    assert (one.latest("edge"), one.latest("cost")) == before
    pipeline.rebuild_finish(*pipeline.rebuild_compute(pipeline.rebuild_start()))
    one.paint()
    assert one.lab.row_settings.price_scale == "log"
    assert one.latest("cost") == before[1]  # in bps of y, as before


def test_what_waits_is_counted_beyond_what_is_held(fed: Any) -> None:
    one = fed(2000, history_rows=1000)
    one.render_loop.view.pause(True)
    one.feed(2500)
    assert one.render_loop.view.waiting_rows() == 2500


def test_a_pause_after_a_pause_shows_the_newer_moment(fed: Any) -> None:
    one = fed(3000, history_rows=1000)
    one.render_loop.view.pause(True)
    one.paint()
    one.feed(2100)
    one.render_loop.view.pause(False)
    one.render_loop.view.pause(True)
    one.paint()
    assert one.parts["zscore"]._curve.y[-1] == one.lab.rows.view(1)["zscore"][0]
    assert one.render_loop.time_axis.time_scale.max > one.lab.rows.view(1)["time_ns"][0] / 1e6 - 1


def test_clear_means_the_rows_that_are_seen(fed: Any) -> None:
    one = fed()
    one.render_loop.view.pause(True)
    one.feed(200)
    one.render_loop.view.clear()
    start, end = one.render_loop.view.ends_ns()
    assert start == end == int(one.render_loop.view.rows()["time_ns"][-1])
    one.render_loop.view.pause(False)
    one.feed(50)
    one.paint()
    shown = one.render_loop._frame(due=True).inside
    assert len(shown) == 251
    one.render_loop.view.brush(True, None)  # a drag does not bring back what was cleared
    assert len(one.render_loop._frame(due=True).inside) == 251
    one.render_loop.view.brush(False, None)
    one.lab.settings.timeframe = "1s"
    assert (
        len(one.render_loop._frame(due=True).inside) > 50
    )  # other rows: nothing of them was cleared


def test_a_drag_that_never_ends_does_not_outlive_reset(fed: Any) -> None:
    one = fed()
    one.render_loop.view.brush(True, None)
    assert one.render_loop.view.window_ns is not None
    one.render_loop.view.reset()
    assert one.render_loop.view.window_ns is None
    first, last = (int(t) for t in one.lab.rows.view()["time_ns"][[-100, -10]])
    one.lab.select(first, last)
    one.paint()
    assert len(one.parts["zscore"]._selected.x) == 4


def test_an_alert_after_the_pause_is_told(fed: Any) -> None:
    one = fed(entry_z=1.0, min_correlation=-1.0)
    one.render_loop.view.pause(True)
    one.feed(2000)
    alert = one.lab.alert_log.alerts()[-1]
    assert alert.time_ns > int(one.render_loop.view.rows()["time_ns"][-1])
    one.render_loop.view.select(alert)
    assert one.render_loop.view.window_ns is None
    assert "came after the pause: press Resume" in one.lab.event_log[-1].message


def test_alerts_of_the_pause_s_own_time_that_came_after_it_are_not_shown(fed: Any) -> None:
    one = fed(entry_z=0.5, exit_z=0.4, min_correlation=-1.0)
    chart, table = one.parts["zscore"], one.parts["alerts"]
    one.render_loop.view.pause(True)
    one.paint()
    before = str([(list(mark.x), list(mark.y)) for mark in chart.joins])
    known, page = one.lab.alert_log.newest_number, table._body.value
    later = ticks(400, one.fed)
    later["time_ns"] = ticks(1, one.fed - 1)["time_ns"][0]  # the last before the pause
    one.lab._pipeline.on_ticks(later)
    assert one.lab.alert_log.newest_number > known + 20
    assert one.lab.alert_log.alerts()[-1].time_ns == later["time_ns"][0]
    one.paint()
    assert str([(list(mark.x), list(mark.y)) for mark in chart.joins]) == before
    assert table._body.value == page
    one.render_loop.view.pause(False)
    one.paint()
    assert str([(list(mark.x), list(mark.y)) for mark in chart.joins]) != before
    assert table._body.value != page


def test_alerts_of_a_pause_are_drawn_as_soon_as_it_ends(fed: Any) -> None:
    one, twin = (fed(entry_z=0.5, exit_z=0.4, min_correlation=-1.0) for _ in range(2))
    for each in (one, twin):
        each.feed(200)  # into the middle of a page of the time axis
        each.paint()
    number = one.lab.alert_log.newest_number
    one.render_loop.view.pause(True)
    while one.lab.alert_log.newest_number < number + 3:
        for each in (one, twin):
            each.feed(1)
            each.paint()
    one.render_loop.view.pause(False)
    one.paint()
    assert one.lab.alert_log.newest_number == twin.lab.alert_log.newest_number
    for marks in ("joins", "_markers"):
        drawn, want = (
            [(list(mark.x), list(mark.y)) for mark in getattr(each.parts["zscore"], marks)]
            for each in (one, twin)
        )
        assert str(drawn) == str(want)


def test_the_pointer_reads_what_is_under_it_now(fed: Any) -> None:
    one = fed()
    at_ns = int(one.lab.rows.view()["time_ns"][-50])
    one.render_loop.view.set_pointer(at_ns / 1e6)
    one.paint()
    before = float(one.parts["spread"]._pointer_dots.y[0])
    one.lab.settings.hedge_ratio = 24.0
    one.paint()
    want = one.lab.rows.view()[-50]["spread"]
    assert one.parts["spread"]._pointer_dots.y[0] == want != before
    assert one.parts["prices"]._pointer_time.y == [one.parts["prices"].scale.min]


def test_costs_that_change_are_shown_without_a_new_row(fed: Any) -> None:
    one = fed()
    assert one.latest("cost") == "16.0 bps"
    one.lab.settings.fee_bps = 10.0
    one.paint()
    assert one.latest("cost") == "40.0 bps"


def test_a_part_that_cannot_be_painted_at_first_is_told(
    fed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fed()

    def broken(*_: Any) -> None:
        raise RuntimeError("no ink")

    one.dashboard.close()
    monkeypatch.setattr(type(one.parts["spread"]), "paint_lines", broken)
    again = Dashboard(one.lab, layout="wide")
    assert "SpreadChart could not paint: RuntimeError: no ink" in one.lab.event_log[-1].message
    assert again.parts["zscore"]._curve.y.size


async def test_only_a_cell_that_runs_makes_deaf(
    monkeypatch: pytest.MonkeyPatch, wire: Wire, no_task_left: None
) -> None:
    class Shell:
        events = EventManager(None, available_events)

    shell = Shell()
    monkeypatch.setattr(cells, "get_ipython", lambda: shell)

    def cell(event: str) -> None:
        shell.events.trigger(f"{event}_execute")
        shell.events.trigger(f"{event}_run_cell", None)

    async with LocalExchange(SyntheticMarket(seed=11, speed=20.0)) as exchange:
        lab = PairLab(feed=exchange.url)
        cell("pre")
        screen = lab.dashboard().render_loop
        assert not screen.channel.pacer.answers
        cell("post")
        # The next one starts the lab, whose task runs when the cell has ended.
        cell("pre")
        lab.start()
        cell("post")
        await lab.wait_async(50, 60)
        assert screen._timer is not None
        screen.channel.widget._handle_custom_msg({"page": "page", "shows": ["*"]}, [])
        await settled(lambda: screen.channel.pacer.answers, lab)
        shell.events.trigger("pre_execute")  # so the comm package announces a widget's message
        assert screen.channel.pacer.answers
        await lab.stop()
        cell("pre")
        lab.start()
        cell("post")
        await lab.wait_async(lab.health().rows + 50, 60)
        assert screen.channel.pacer.answers
        await lab.stop()
        screen.close()
        cell("pre")
        assert screen.channel.pacer.answers  # nothing of it is left in the shell
