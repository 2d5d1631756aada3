"""What is no lab, but has what widgets read of one, is shown like one: a result, a replay."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pairlab import PairLab, widgets
from pairlab.data.alert_log import AlertLog
from pairlab.data.csv_export import csv_pieces
from pairlab.data.row_store import RowStore
from pairlab.engine import PairEngine
from pairlab.health import Health
from pairlab.protocols import DisplayListener, LabView, Playback, Table
from pairlab.schema import NO_TIME_NS, NS_PER_S, LogEntry, LogLevel, Pair, Records, Snapshot
from pairlab.settings import Settings, SettingValues
from pairlab.widgets import Dashboard
from tests.widgets.conftest import Wire
from tests.widgets.core.test_view_states import ticks
from tests.widgets.strip.test_status_bar import text


class Result:
    """Rows and alerts that were computed beforehand: nothing of it ever runs."""

    def __init__(self, of: Records | None = None, **settings: Any) -> None:
        self.pair = Pair("BTCUSDT", "ETHUSDT")
        self.settings = Settings(**settings)
        self.rows = RowStore(10_000)
        self.alert_log = AlertLog()
        self.event_log: deque[LogEntry] = deque()
        self.event_log_total = 0
        self.selected_ns: tuple[int, int] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.running = False
        self.playback: Playback | None = None
        self.recordings = self.past = self.what_if = self.session_pnl = None
        self.views: list[DisplayListener] = []
        engine, of = PairEngine(self.settings), ticks(2000) if of is None else of
        rows = engine.update(of)
        self.rows.append(rows)
        self.alert_log.add(engine.events, rows, engine.values)
        self.newest_ns = int(of[-1]["time_ns"])
        never_started = PairLab(feed="demo").health()
        self._health = replace(never_started, state="stopped", feed="RESULT", ticks=2000, filled=50)

    @property
    def row_settings(self) -> SettingValues:
        return self.settings.values()

    def latest(self) -> Snapshot | None:
        return Snapshot.of(self.rows.view(1)[0])

    def health(self) -> Health:
        return self._health

    def price_decimals(self) -> tuple[int, int] | None:
        return None

    def csv_pieces(
        self, what: Table = "history", start: Any = None, end: Any = None
    ) -> Iterator[str]:
        return csv_pieces(self.rows.view())

    def select(self, start: Any = None, end: Any = None) -> None:
        self.selected_ns = None if start is None else (start, end)

    def log(self, level: LogLevel, message: str) -> None:
        self.event_log.append(LogEntry(time.time_ns(), level, message))
        self.event_log_total += 1

    def call_on_loop(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)

    def attach(self, view: DisplayListener) -> None:
        self.views.append(view)


def test_a_result_is_shown_by_the_dashboard(wire: Wire) -> None:
    result = Result(entry_z=1.0, min_correlation=-1.0)
    assert isinstance(result, LabView)
    dashboard = Dashboard(result, layout="wide")
    parts = dashboard.parts
    assert "STOPPED" in text(parts["strip"]._cells["feed"].value)
    assert parts["zscore"]._curve.y[-1] == result.rows.view(1)["zscore"][0]
    assert sum(map(len, (mark.x for mark in parts["zscore"]._markers))) > 0
    assert not [e for e in result.event_log if e.level == "error"]
    alert = result.alert_log.alerts()[-1]
    parts["alerts"]._covers[0].click()
    assert dashboard.render_loop.view.selected == alert
    parts["settings"]._rows["entry_z"].slider.value = 3.0
    assert result.settings.entry_z == 3.0
    dashboard.render_loop.close()
    assert wire.open == set()


@pytest.mark.parametrize("name", sorted(set(widgets.__all__) - {"apply_theme", "dress"}))
def test_a_result_is_shown_by_every_widget(name: str, wire: Wire) -> None:
    result = Result()
    part = getattr(widgets, name)(result)
    assert not [e for e in result.event_log if e.level == "error"]
    part.render_loop.close()


@pytest.mark.parametrize("last_s", [-1, 0])
def test_times_up_to_the_epoch_are_times(last_s: int, wire: Wire) -> None:
    of = ticks(2000)
    of["time_ns"] += last_s * NS_PER_S - of["time_ns"][-1]
    result = Result(of)
    view_end = int(result.rows.view(1)["time_ns"][0])
    board = Dashboard(result)
    screen = board.render_loop
    screen.view.span_s = 777.0
    try:
        frame = screen._frame(due=True)
        assert len(frame.alerts) == len(list(result.alert_log.newest_first()))
        screen.paint(due=True)
        assert "UTC" in board.parts["prices"].head.value
        screen.view.clear()
        assert screen.view.cleared_ns == view_end == last_s * NS_PER_S
        assert len(screen._frame(due=True).alerts) <= 1
        screen.view.reset()
        assert screen.view.cleared_ns == NO_TIME_NS
        assert screen.view.span_s == 777.0  # what was cleared is shown again, first of all
        screen.view.reset()
        assert screen.view.span_s != 777.0
    finally:
        screen.close()
