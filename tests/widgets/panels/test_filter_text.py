"""Why the signal waits, against the filters that the kernel takes; lags; hover texts."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairlab.data.row_store import RowStore
from pairlab.engine import PairEngine
from pairlab.health import RecentQuantiles
from pairlab.schema import ROW, AlertKind, RowFlag, Snapshot
from pairlab.settings import Settings
from pairlab.widgets.panels.filter_text import entry_filters
from pairlab.widgets.transport.render_latency import RenderLatency
from tests.engine import worlds
from tests.widgets.conftest import MakeLab, settled
from tests.widgets.strip.test_status_bar import painted

GIVEN: dict[str, Any] = {
    "min_correlation": 0.9, "max_leg_age_s": 0.4, "require_stationary": True, "max_p_value": 0.2,
    "cooldown_s": 3.0, "min_edge_bps": 1.2, "entry_z": 1.0,
}  # fmt: skip


def test_they_are_the_ones_that_the_kernel_takes() -> None:
    engine = PairEngine(hedge_ratio=25.0, window=40, **GIVEN)
    rows = engine.update(worlds.trades(81, 40_000)).copy()
    left_ns, told = None, 0
    for event in engine.events:
        row, kind = Snapshot.of(rows[event["row"]]), AlertKind(int(event["kind"]))
        if kind in (AlertKind.EXIT, AlertKind.STOP):
            left_ns = row.time_ns
        if kind not in (AlertKind.ENTRY, AlertKind.SUPPRESSED):
            continue
        found = entry_filters(row, engine.values, left_ns)
        assert len(found) == 4 + (left_ns is not None)
        names = ["ρ", "leg", "p", *(["out"] if left_ns is not None else []), "edge"]
        assert [words.split()[0] for _, words in found] == names
        passed = [name for (ok, _), name in zip(found, names, strict=True) if not ok]
        bits = {"ρ": 1, "leg": 2, "p": 4, "out": 8, "edge": 16}
        assert sum(bits[name] for name in passed) == event["failed"]
        told += 1
    assert told > 20
    seen = set(engine.events["failed"].tolist())
    assert all(any(failed & bit for failed in seen) for bit in (1, 2, 4, 8, 16))


def test_what_is_no_number_does_not_pass() -> None:
    row = Snapshot.of(np.full(1, 0, ROW)[0])
    unknown = replace(row, correlation=math.nan, p_value=math.nan, zscore=math.nan, y_age_s=0.1)
    found = entry_filters(unknown, Settings(**GIVEN).values(), None)
    assert [ok for ok, _ in found] == [False, True, False, False]
    assert [words for _, words in found] == [
        "ρ – < 0.90", "leg 0.10 s < 0.4 s", "p – > 0.203", "edge – < 1.2 bps",
    ]  # fmt: skip


def test_a_cooldown_that_is_nearly_over_is_not_told_as_over() -> None:
    row = Snapshot.of(np.zeros(1, ROW)[0])
    for cooldown_s, since_s, words in (
        (3.0, 2.9996, "out for 2.9996 s < 3 s"),
        (60.0, 59.97, "out for 59.97 s < 60 s"),
        (60.0, 60.2, "out for 0:01:00 ≥ 60 s"),
    ):
        values = Settings(cooldown_s=cooldown_s).values()
        found = entry_filters(replace(row, time_ns=round(since_s * 1e9)), values, 0)
        assert found[-1] == (since_s >= cooldown_s, words)


async def test_the_strip_says_what_holds_an_entry_back_and_the_rest_on_hover(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=100, min_edge_bps=30.0, stop_z=4.0) as lab:
        cell = lab.dashboard().parts["strip"]._cells["signal"]
        flat = {"position": 0, "zscore": -2.5, "spread_std": 60.0, "y": 60_000.0,
                "correlation": 0.9, "y_age_s": 0.1, "x_age_s": 0.2}  # fmt: skip
        shown = painted(lab, flat, state="live")["signal"]
        assert "edge 25.00 &lt; 30 bps" in shown
        assert "In when |z| ≥ 2.00 and every filter passes; z is −2.50" in cell.tooltip
        assert "✓ ρ 0.90 ≥ 0.70; ✓ leg 0.20 s < 10 s; ✕ edge 25.00 < 30 bps" in cell.tooltip
        old = {**flat, "y_age_s": 12.0}
        assert "leg 12 s ≥ 10 s" in painted(lab, old, state="live")["signal"]
        painted(lab, {**flat, "position": 1}, state="live")
        assert "Out when z ≥ −0.50, stopped when z ≤ −4.00; z is −2.50" in cell.tooltip
        painted(lab, {**flat, "position": 1, "zscore": -0.5004}, state="live")
        assert "Out when z ≥ −0.50, stopped when z ≤ −4.00; z is −0.5004." in cell.tooltip
        painted(lab, {**flat, "zscore": -1.9996}, state="live")
        assert "In when |z| ≥ 2.00 and every filter passes; z is −1.9996." in cell.tooltip


def test_no_reason_contradicts_itself_by_rounding() -> None:
    row = Snapshot.of(np.zeros(1, ROW)[0])
    values = Settings(require_stationary=True, min_edge_bps=None).values()
    near = replace(row, correlation=0.6999, p_value=0.04264, y_age_s=9.9996)
    assert [words for _, words in entry_filters(near, values, None)] == [
        "ρ 0.6999 < 0.7000", "leg 9.9996 s < 10 s", "p 0.04264 > 0.04263"
    ]  # fmt: skip
    far = replace(row, correlation=0.91, p_value=1e-9, y_age_s=0.2)
    assert [words for _, words in entry_filters(far, values, None)] == [
        "ρ 0.91 ≥ 0.70", "leg 0.20 s < 10 s", "p <0.001 ≤ 0.043"
    ]  # fmt: skip


async def test_stationarity_and_ages_give_their_reasons_on_hover(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        cells = lab.dashboard().parts["strip"]._cells
        painted(lab, {"stationary": 0, "p_value": 0.214})
        assert cells["test"].tooltip.startswith("p 0.214 > 0.044. ADF on the spread")
        assert "stationary when p ≤ 0.0439, which 60 rows need for a level of 0.050" in (
            cells["test"].tooltip
        )
        painted(lab, {"stationary": 1, "p_value": 0.0001})
        assert cells["test"].tooltip.startswith("p <0.001 ≤ 0.044.")
        painted(lab, {"stationary": -1, "flags": int(RowFlag.FLAT_SPREAD)})
        assert "no z, no test, no alerts" in cells["test"].tooltip
        painted(lab, {"y_age_s": 0.25, "x_age_s": 7.5}, state="connecting", detail="…")
        assert "BTCUSDT 0.25 s, ETHUSDT 7.50 s; no entry from 10 s on" in cells["ages"].tooltip


class _Rows:
    """What `RenderLatency` reads of a lab."""

    playback = None  # receive times are of this machine's clock

    def __init__(self) -> None:
        self.rows = RowStore(10_000)

    def add(self, received_ns: list[int], flags: int = 0) -> None:
        rows = np.zeros(len(received_ns), ROW)
        rows["received_ns"], rows["flags"] = received_ns, flags
        self.rows.append(rows)


def test_each_row_waits_until_the_frame_that_showed_it_first() -> None:
    lab: Any = _Rows()
    lag = RenderLatency()
    assert all(math.isnan(v) for v in lag.p50_p99_ms())
    lab.add([1])
    lag.sent(
        lab, 10, asked=None, answers=False
    )  # what was there before the screen waited for other things
    assert all(math.isnan(v) for v in lag.p50_p99_ms())
    lab.add([1_000_000, 2_000_000, 5_000_000])
    lag.sent(lab, 11_000_000, asked=None, answers=False)
    assert lag.p50_p99_ms()[0] == 9.0
    lag.sent(lab, 10**12, asked=None, answers=False)  # nothing new
    assert lag.p50_p99_ms()[0] == 9.0
    lab.add([0], flags=int(RowFlag.SEEDED))
    lag.sent(lab, 10**12, asked=None, answers=False)
    lab.rows.replace(np.zeros(0, ROW))
    lab.add([0])
    lag.sent(lab, 10**12, asked=None, answers=False)  # made anew
    want = RecentQuantiles()
    want.add(np.array([10.0, 9.0, 6.0]))
    assert lag.p50_p99_ms() == want.p50_p99()
    lab.add([10**12] * 5_000)
    lag.sent(lab, 10**12 + 2_000_000, asked=None, answers=False)
    assert lag.p50_p99_ms() == pytest.approx((2.0, 2.0))


def test_where_pages_answer_a_row_waits_until_it_is_drawn() -> None:
    lab: Any = _Rows()
    lag = RenderLatency()
    lag.sent(lab, 10, asked=1, answers=True)
    lab.add([1_000_000])
    lag.sent(lab, 2_000_000, asked=2, answers=True)
    lab.add([2_000_000])
    lag.sent(lab, 3_000_000, asked=None, answers=True)  # nobody will say when this one is drawn
    lab.add([3_000_000])
    lag.sent(lab, 4_000_000, asked=4, answers=True)
    assert all(math.isnan(v) for v in lag.p50_p99_ms())
    lag.drawn(4, 13_000_000)  # which says of the second one that it is, too
    want = RecentQuantiles()
    want.add(np.array([12.0, 10.0]))
    assert lag.p50_p99_ms() == want.p50_p99()
    lag.drawn(4, 10**12)  # another page, later
    lab.add([14_000_000])
    lag.sent(lab, 15_000_000, asked=5, answers=True)
    lag.reset()
    lag.drawn(5, 10**12)  # it was hidden
    assert lag.p50_p99_ms() == want.p50_p99()


async def test_the_whole_way_is_on_the_strip_and_on_the_event_line(running_lab: MakeLab) -> None:
    async with running_lab(rows=300) as lab:
        screen, strip = lab.dashboard().render_loop, lab.dashboard().parts["strip"]
        strip._feed.opener.click()
        # painted by the screen's own clock while rows come
        await settled(lambda: math.isfinite(screen.latency.p50_p99_ms()[0]), lab, 30)
        p50, p99 = screen.latency.p50_p99_ms()
        assert 0 < p50 <= p99
        way = lab.dashboard().parts["event"]._way.value
        assert "exchange→receive" in way
        assert "→screen" in way
        # What a narrow dashboard leaves out, for the strip has it, is marked.
        assert re.search(
            r'<span class="pairlab-lags"><i>[^<]*→receive[^<]*</i>→row[^<]*→screen', way
        )
        assert "nan" not in way
        await settled(lambda: "Receipt to row" in strip._cells["lag"].tooltip, lab)
        words = strip._cells["lag"].tooltip
        assert "Receipt to row" in words
        assert "Receipt until the browser has drawn" in words
