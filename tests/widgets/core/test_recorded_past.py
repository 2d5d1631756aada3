"""The charts go on in the recording where the rows in memory end."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import PairLab, Replay
from pairlab.lab.record.past_rows import PastRows
from pairlab.schema import ROW, RowFlag
from pairlab.widgets.charts.decimation import COLUMNS, Decimated
from pairlab.widgets.core.recorded_past import NO_PAST, _Thinner
from pairlab.widgets.core.render_loop import RenderLoop
from tests.lab.record.test_past_rows import recorded
from tests.lab.test_runner import some_ticks

pytestmark = pytest.mark.usefixtures("no_task_left", "wire")

BEGIN_NS = 1_700_000_000_000_000_000
MS = 1_000_000
SMALL = {"history_rows": 1_000, "min_correlation": -1.0, "entry_z": 2.0, "exit_z": 0.2}
CURVES = {"zscore": "_curve", "spread": "_curve", "correlation": "_curve", "hedge": "_ratio"}
COLUMN = {"zscore": "zscore", "spread": "spread", "correlation": "hedged_correlation"}


def board_of(lab: PairLab) -> Any:
    return lab.dashboard([["zscore"], ["spread"], ["prices"], ["correlation"], ["hedge"]])


async def settled(condition: Callable[[], bool], lab: PairLab) -> None:
    """Let the lab's loop turn, and paint, until `condition` holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)
            board_of(lab).render_loop.paint(due=True)


async def frozen(lab: PairLab, start_ms: int, end_ms: int) -> RenderLoop:
    """Stand on a span, ms since the first tick, and let it be read."""
    loop: RenderLoop = board_of(lab).render_loop
    loop.view.freeze(BEGIN_NS + start_ms * MS, BEGIN_NS + end_ms * MS)
    loop.paint(due=True)
    await read(lab, loop)
    return loop


async def read(lab: PairLab, loop: RenderLoop) -> None:
    await settled(lambda: not loop.view.past._busy and not loop._frame(due=True).past.words, lab)
    loop.paint(due=True)


def history(lab: PairLab, start_ms: int, end_ms: int) -> pd.DataFrame:
    rows = lab.history(since=BEGIN_NS + start_ms * MS)
    return rows[rows.index <= pd.Timestamp(BEGIN_NS + end_ms * MS, tz="UTC")]


def drawn(lab: PairLab, chart: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times (ns) and values of a chart's line."""
    part = board_of(lab).parts[chart]
    mark = part._lines[1] if chart == "prices" else getattr(part, CURVES[chart])
    edge_ns = part.render_loop._frame(due=True).edge_ns
    return edge_ns + np.round(np.asarray(mark.x, np.float64)).astype(np.int64) * MS, mark.y


def same_as_history(lab: PairLab, start_ms: int, end_ms: int) -> None:
    want = history(lab, start_ms, end_ms)
    for chart, column in (*COLUMN.items(), ("prices", "y"), ("hedge", "hedge_ratio")):
        times, values = drawn(lab, chart)
        inside = times >= BEGIN_NS + start_ms * MS  # one row before leads into the view
        column = "correlation" if column == "hedged_correlation" else column  # β is above 0
        known = want[column].dropna()
        np.testing.assert_array_equal(times[inside], known.index.as_unit("ns").asi8)
        np.testing.assert_array_equal(values[inside], known.to_numpy())


async def test_a_view_before_the_memory_shows_what_the_history_has(tmp_path: Path) -> None:
    lab, shown, feed = await recorded(tmp_path / "r", {}, **SMALL)
    assert len(lab.rows) == 1_000
    loop = await frozen(lab, 1_000, 1_800)
    same_as_history(lab, 1_000, 1_800)
    parts = board_of(lab).parts
    assert "recorded rows" in parts["zscore"].head.value
    alerts = [a.time_ns / 1e6 for a in lab.alert_log.alerts()]
    marked = np.concatenate([mark.x for mark in parts["zscore"]._markers])
    seen = [t for t in alerts if BEGIN_NS + 1_000 * MS <= t * 1e6 <= BEGIN_NS + 1_800 * MS]
    assert seen
    assert set(seen) <= set(marked.tolist())
    loop.view.set_pointer((BEGIN_NS + 1_234 * MS) / 1e6 + 0.5)
    pointed = loop._frame(due=True).pointed
    assert pointed is not None
    assert pointed.zscore == history(lab, 1_234, 1_234)["zscore"].iloc[0]

    # Over the seam, also after every row of it has left the memory.
    await frozen(lab, 2_600, 3_400)
    assert 0 < len(loop._frame(due=True).inside) < 700
    same_as_history(lab, 2_600, 3_400)
    await feed.give(some_ticks(1_500, start=4_000))
    await read(lab, loop)
    assert len(loop._frame(due=True).inside) == 0
    same_as_history(lab, 2_600, 3_400)

    # Denser than the screen: each extreme, and no more points than it has pixel columns.
    await frozen(lab, 500, 4_900)
    frame, want = loop._frame(due=True), np.concatenate(shown.rows)
    number = want["time_ns"] // (frame.span_ns // COLUMNS)
    ends = [ns // (frame.span_ns // COLUMNS) for ns in (frame.start_ns, frame.edge_ns)]
    part = want[(number > ends[0]) & (number < ends[1])]  # of whole columns
    full = Decimated.of(part, frame.edge_ns, frame.span_ns)
    assert not frame.past.exact
    assert len(frame.thinned.columns) < len(part) / 2
    for name in ("zscore", "spread", "y", "x", "hedged_correlation", "hedge_ratio"):
        assert set(full.extremes(name)[1].tolist()) <= set(frame.thinned.extremes(name)[1].tolist())

    loop.view.reset()
    frame = loop._frame(due=True)
    assert frame.past is NO_PAST or frame.start_ns < lab.rows.view()["time_ns"][0]
    loop.view.set_span(0.5)
    assert loop._frame(due=True).past is NO_PAST
    await lab.stop()


async def test_a_drag_stops_where_the_recording_begins(tmp_path: Path) -> None:
    lab, _, _ = await recorded(tmp_path / "r", {}, batches=20, **SMALL)
    loop = board_of(lab).render_loop
    loop.view.set_span(0.8)
    mouse = loop.interaction.mouse

    def drag(by: float, phase: str) -> None:
        mouse._handle_custom_msg({"drag": {"by": by, "phase": phase}}, [])

    drag(0.1, "begin")
    drag(1.0, "move")
    await settled(lambda: loop.view.window_ns is not None, lab)
    edge = int(lab.rows.view()["time_ns"][-1])
    await settled(lambda: abs(loop.view.window_ns[1] - (edge - 800 * MS)) < 10 * MS, lab)
    drag(50.0, "end")
    await settled(lambda: loop.view.past.begins_ns is not None, lab)
    await read(lab, loop)
    start, end = loop.view.window_ns
    assert start < loop.view.past.begins_ns < end
    assert loop.view.past.begins_ns == lab.history(since=0).index.as_unit("ns").asi8[0]
    assert end - start == 800 * MS
    loop.view.pan(-0.5)
    assert loop.view.window_ns == (start, end)
    drag(0.0, "begin")
    drag(-100.0, "end")
    await settled(lambda: loop.view.window_ns is None, lab)
    await lab.stop()


async def test_what_was_left_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, _, feed = await recorded(tmp_path / "r", {}, batches=20, **SMALL)
    loop = board_of(lab).render_loop
    await read(lab, loop)  # the rows in memory do not fill its 30 s
    gate, asked, plain = threading.Event(), [], PastRows.read

    def slowly(self: PastRows, start_ns: int, end_ns: int) -> Any:
        asked.append((start_ns - BEGIN_NS) // MS)
        assert gate.wait(60)
        return plain(self, start_ns, end_ns)

    monkeypatch.setattr(PastRows, "read", slowly)
    head = board_of(lab).parts["spread"]
    try:
        loop.view.freeze(BEGIN_NS + 100 * MS, BEGIN_NS + 500 * MS)
        loop.paint(due=True)
        assert "Reading the recording" in head._why_empty.value
        rows = lab.health().rows
        await feed.give(some_ticks(100, start=2_000))
        assert lab.health().rows == rows + 100  # the stream goes on
        loop.view.freeze(BEGIN_NS + 600 * MS, BEGIN_NS + 900 * MS)
        loop.paint(due=True)
    finally:
        gate.set()
    await read(lab, loop)
    assert asked == [-300, 300]
    assert [span.start_ns for span in loop.view.past._spans.values()][1:] == [BEGIN_NS + 300 * MS]
    assert head._why_empty.value == ""
    same_as_history(lab, 600, 900)
    loop.view.freeze(BEGIN_NS + 100 * MS, BEGIN_NS + 500 * MS)
    monkeypatch.setattr(PastRows, "read", _broken)
    loop.paint(due=True)
    await settled(lambda: "disk is gone" in head._why_empty.value, lab)
    await lab.stop()


def _broken(self: PastRows, start_ns: int, end_ns: int) -> Any:
    raise OSError("the disk is gone")


async def test_what_was_not_recorded_is_a_gap(tmp_path: Path) -> None:
    lab, _, feed = await recorded(tmp_path / "r", {}, batches=10, **SMALL)
    await lab.recording.stop()
    await feed.give(some_ticks(2_000, start=1_000))
    recording = lab.record(tmp_path / "r")
    await recording.wait_opened()
    await feed.give(some_ticks(2_000, start=3_000))
    loop = await frozen(lab, 600, 2_300)
    times, values = drawn(lab, "spread")
    breaks = np.flatnonzero(np.isnan(values))
    assert len(breaks) == 1
    assert times[breaks[0] - 1] < BEGIN_NS + 1_000 * MS
    assert times[breaks[0] + 1] == BEGIN_NS + 2_000 * MS
    # Nothing of it, nor of its neighbours, is recorded: it says so.
    loop.view.freeze(BEGIN_NS + 1_400 * MS, BEGIN_NS + 1_500 * MS)
    loop.paint(due=True)
    await read(lab, loop)
    assert "Nothing was recorded" in board_of(lab).parts["prices"]._why_empty.value
    await lab.stop()


async def test_a_replay_goes_on_in_its_recording(tmp_path: Path) -> None:
    lab, shown, _ = await recorded(tmp_path / "r", {}, batches=20, **SMALL)
    await lab.stop()
    every = np.concatenate(shown.rows)
    options: dict[str, Any] = {"window": 20, **SMALL}
    again = PairLab(feed=Replay(tmp_path / "r", math.inf), **options)
    again.start()
    await again.wait_closed()
    assert len(again.rows) == 1_000
    assert again.history(since=0).index.equals(lab._queries._frame(every).index)
    await frozen(again, 200, 700)
    same_as_history(again, 200, 700)
    other = PairLab(feed=Replay(tmp_path / "r", math.inf), **{**options, "window": 30})
    other.start()
    await other.wait_closed()
    assert len(other.history(since=0)) == 1_000
    loop = board_of(other).render_loop
    loop.view.freeze(BEGIN_NS + 200 * MS, BEGIN_NS + 700 * MS)
    said = board_of(other).parts["zscore"]._why_empty
    await settled(lambda: "recorded with window = 20, not 30" in said.value, other)


def test_what_is_kept_does_not_depend_on_how_many_rows_there_are() -> None:
    count = 200_000
    rows = np.zeros(count, ROW)
    rows["time_ns"] = BEGIN_NS + np.arange(count) * 10 * MS
    rows["zscore"] = np.sin(np.arange(count) * 0.7)
    rows["flags"] = RowFlag.GAP_BEFORE
    end_ns, width_ns = int(rows["time_ns"][-1]), 2_000_000 * MS // 3
    thinner = _Thinner(BEGIN_NS, end_ns, width_ns)
    for piece in np.array_split(rows, 37):
        thinner.take(piece)
    kept = thinner.rows()
    assert not thinner.exact
    assert len(kept) <= 3 * COLUMNS + 2
    assert len(thinner.columns()) <= 2 * (3 * COLUMNS + 2)
    column_ns = width_ns // COLUMNS
    last = np.flatnonzero(np.diff(rows["time_ns"] // column_ns, append=0))
    np.testing.assert_array_equal(kept["time_ns"], rows["time_ns"][last])
    assert thinner.columns()["rows"].sum() == count
    assert thinner.columns()["high"].max() == rows["zscore"].max()
