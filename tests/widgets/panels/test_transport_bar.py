"""The transport bar: what it shows of a replay, and what its controls ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairlab import PairLab, Replay
from pairlab.errors import DataError
from pairlab.protocols import Playback
from pairlab.widgets import Dashboard, StatusBar, TransportBar
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.panels.transport_bar import read_time
from tests.storage.replay.files import frame_of, made
from tests.widgets.conftest import Wire
from tests.widgets.core.test_lab_view import Result
from tests.widgets.strip.test_status_bar import text

TICKS = made()
HOUR = 3_600 * 10**9
DAY = 1_723_075_200 * 10**9  # 2024-08-08
FIRST, LAST = int(TICKS["time_ns"][0]), int(TICKS["time_ns"][-1])


@pytest.mark.parametrize(
    ("typed", "want"),
    [
        ("14:05", DAY + 14 * HOUR + HOUR // 12),
        (" 14:05:30 ", DAY + 14 * HOUR + 330 * 10**9),
        ("14:05:30.250 UTC", DAY + 14 * HOUR + 330_250 * 10**6),
        ("2024-08-08 14:05", DAY + 14 * HOUR + HOUR // 12),
        ("2024-08-08T16:05+02:00", DAY + 14 * HOUR + HOUR // 12),
        ("14:05Z", DAY + 14 * HOUR + HOUR // 12),
    ],
)
def test_a_time_is_read_as_people_write_it(typed: str, want: int) -> None:
    assert read_time(typed, (DAY + HOUR, DAY + 20 * HOUR), DAY + 2 * HOUR) == want


def test_a_time_of_day_is_of_the_nearest_day_that_has_it() -> None:
    span = DAY + 12 * HOUR, DAY + 60 * HOUR  # from noon of the 8th to noon of the 10th
    assert read_time("13:00", span, DAY + 14 * HOUR) == DAY + 13 * HOUR
    assert read_time("13:00", span, DAY + 40 * HOUR) == DAY + 37 * HOUR
    assert read_time("11:00", span, DAY + 14 * HOUR) == DAY + 35 * HOUR  # the first day has none
    assert read_time("2024-08-10 11:00", span, 0) == DAY + 59 * HOUR


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("noon", "'noon' is no time: expected 14:05, 14:05:30 or 2024-08-08 14:05"),
        ("25:00", "is no time"),
        ("<b>", "is no time"),
        ("00:30", "is outside of the recording: 8 Aug 01:00:00 to 8 Aug 20:00:00 UTC"),
        ("2024-08-09 10:00", "is outside of the recording"),
    ],
)
def test_what_is_no_time_of_the_recording_is_refused(typed: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_time(typed, (DAY + HOUR, DAY + 20 * HOUR), 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bar") / "mine.parquet"
    frame_of(TICKS).to_parquet(path, index=False)
    return path


def press(button: Any) -> None:
    button.click()


async def shown(lab: PairLab, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    loop = RenderLoop.of(lab)
    async with asyncio.timeout(timeout_s):
        while True:
            loop.paint(due=True)
            if condition():
                return
            await asyncio.sleep(0.005)


def player(lab: PairLab) -> Playback:
    assert lab.playback is not None
    return lab.playback


async def test_its_controls_play_pause_step_and_seek(path: Path, wire: Wire) -> None:
    lab = PairLab(feed=Replay(path, 1e-6), min_correlation=-1.0)
    bar = TransportBar(lab)
    assert bar.slider.disabled  # nothing is open yet
    async with lab:
        await shown(lab, lambda: not bar.slider.disabled and bar.play.description == "Pause")
        assert bar.slider.max == (LAST - FIRST) / 1e9
        assert "00:00:00.000" in bar.time.value
        press(bar.play)
        await shown(lab, lambda: bar.play.description == "Play")
        assert not player(lab).playing
        ticks = lab.health().ticks
        press(bar.tick)
        await shown(lab, lambda: lab.health().ticks == ticks + 1)
        rows = len(lab.rows)
        press(bar.row)
        await shown(lab, lambda: len(lab.rows) == rows + 1)
        bar.slider.value = 120.0
        await shown(lab, lambda: player(lab).position_ns == FIRST + 120 * 10**9)
        await shown(lab, lambda: "00:02:00.000" in bar.time.value)
        await shown(lab, lambda: "paused" in lab.health().detail)
        first = int(np.searchsorted(TICKS["time_ns"], FIRST + 120 * 10**9))
        assert lab.health().ticks >= first
        bar.go_to.value = "00:01:00"
        await shown(lab, lambda: player(lab).position_ns == FIRST + 60 * 10**9)
        await shown(lab, lambda: abs(bar.slider.value - 60) <= bar.slider.step)
        assert bar.go_to.value == ""
        bar.go_to.value = "noon"
        await shown(lab, lambda: "pairlab-refused" in bar.go_to._dom_classes)
        assert any("noon" in entry.message for entry in lab.event_log)
        assert player(lab).position_ns == FIRST + 60 * 10**9
        press(bar.rewind)
        await shown(lab, lambda: player(lab).position_ns == FIRST)
        bar.speed.value = 300.0
        await shown(lab, lambda: player(lab).speed == 300.0)
        player(lab).speed = 7.0  # set in code, and none of those to choose from
        await shown(lab, lambda: bar.speed.value == 7.0)
        assert ("7×", 7.0) in bar.speed.options
    assert not [e for e in lab.event_log if e.level == "error"]
    RenderLoop.of(lab).close()


async def test_after_the_end_it_plays_again(path: Path, wire: Wire) -> None:
    lab = PairLab(feed=Replay(path, float("inf")))
    bar = TransportBar(lab)
    lab.start()
    await lab.wait_closed()
    await shown(lab, lambda: bar.play.description == "Play")
    assert bar.slider.value == pytest.approx((LAST - FIRST) / 1e9, abs=bar.slider.step)
    player(lab).speed = 1e-6
    press(bar.play)
    await shown(lab, lambda: bar.play.description == "Pause")
    assert lab.running
    await lab.stop()
    RenderLoop.of(lab).close()


async def test_a_handle_that_is_held_does_not_jump(path: Path, wire: Wire) -> None:
    lab = PairLab(feed=Replay(path, 1e-6))
    bar = TransportBar(lab)
    async with lab:
        await shown(lab, lambda: not bar.slider.disabled)
        player(lab).pause()  # where it was sent, it stays
        bar.render_loop.control_touched("position")
        player(lab).seek(FIRST + 100 * 10**9)
        await shown(lab, lambda: "00:01:40" in bar.time.value)
        assert bar.slider.value == 0.0
        bar.slider.value = 30.0  # the hand lets go
        await shown(lab, lambda: player(lab).position_ns == FIRST + 30 * 10**9)
        player(lab).seek(FIRST + 100 * 10**9)
        await shown(lab, lambda: abs(bar.slider.value - 100) <= bar.slider.step)
    RenderLoop.of(lab).close()


async def test_the_badge_says_replay_and_when(path: Path, wire: Wire) -> None:
    lab = PairLab(feed=Replay(path, 1e-6))
    strip = StatusBar(lab)
    async with lab:
        await shown(lab, lambda: "REPLAY · 2024-08-08" in text(strip._cells["feed"].value))
        assert "pairlab-badge-replay" in strip._cells["feed"].value
        assert "live" not in text(strip._cells["feed"].value)
        assert "Not real money" in strip._cells["feed"].tooltip
    RenderLoop.of(lab).close()


async def test_a_view_goes_with_the_replay_to_another_time(path: Path, wire: Wire) -> None:
    lab = PairLab(feed=Replay(path, float("inf")))
    view = RenderLoop.of(lab).view
    lab.start()
    await lab.wait_closed()
    view.freeze(LAST - 10**10, LAST)
    view.clear()
    view.freeze(LAST - 10**10, LAST)
    view.pause(True)
    player(lab).seek(FIRST + 100 * 10**9)
    player(lab).pause()
    await shown(lab, lambda: "paused" in lab.health().detail)
    assert (view.paused, view.window_ns, view.cleared_ns) == (False, None, 0)
    assert view.current(view.rows()).edge_ns == lab.rows.view(1)[0]["time_ns"]
    await lab.stop()
    RenderLoop.of(lab).close()


def test_a_lab_that_plays_nothing_has_no_bar(wire: Wire) -> None:
    live = PairLab(feed="demo")
    for layout in ("auto", "wide", ["transport", "strip"]):
        dashboard = Dashboard(live, layout)  # type: ignore[arg-type]
        assert "transport" not in dashboard.parts
        assert "pairlab-replay" not in dashboard._dom_classes
    alone = TransportBar(Result())
    assert "pairlab-absent" in alone._dom_classes
    press(alone.play)
    press(alone.tick)
    alone.go_to.value = "14:05"
    alone.render_loop.close()
    dashboard.render_loop.close()


def test_in_a_layout_of_one_s_own_it_is_where_it_was_put(path: Path, wire: Wire) -> None:
    lab = PairLab(feed=Replay(path))
    own = Dashboard(lab, ["strip", "zscore", "transport"])
    assert list(own.parts) == ["strip", "zscore", "transport"]
    named = Dashboard(lab)
    assert next(iter(named.parts)) == "transport"
    assert named.parts["transport"] is own.parts["transport"]
    own.render_loop.close()
