"""What thresholds would have made, on the screen: ghosts, words and the map."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from pairlab.backtesting import what_if as live_what_if
from pairlab.protocols import WhatIfMap, WhatIfOutcome
from pairlab.widgets import WhatIf, ZScoreChart
from tests.widgets.conftest import MakeLab, Wire
from tests.widgets.core.test_lab_view import Result


class Supposed:
    """An outcome and a map that are there."""

    outcome: WhatIfOutcome | None = None
    map: WhatIfMap | None = None
    mapping = False
    asked = prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def ask_map(self) -> None:
        self.asked += 1


def outcome(of: Result, number: int = 1) -> WhatIfOutcome:
    rows = of.rows.view()[-60:]
    at, out = rows[[5, 25]], rows[[15, 35]]
    return WhatIfOutcome(
        number=number, values=of.row_settings, trades=2, last_trades=1, net=-12.345, costs=8.0,
        last_net=-4.5, capital=10_000.0, span_s=754.0, tried=17, at_trades=True,
        entry_ns=at["time_ns"], entry_z=at["zscore"], entry_side=np.array([1, -1]),
        exit_ns=out["time_ns"], exit_z=out["zscore"],
    )  # fmt: skip


def lab_of(what_if: Any) -> Result:
    lab = Result(window=20)
    lab.what_if = what_if
    return lab


def test_ghosts_are_drawn_beside_the_real_ones_and_go_again(wire: Wire) -> None:
    supposed = Supposed()
    lab = lab_of(supposed)
    chart = ZScoreChart(lab)
    real = [mark.x.copy() for mark in chart._markers]
    assert chart._supposed.value == ""
    supposed.outcome = outcome(lab)
    chart.render_loop.paint(due=True)
    up, down, left = chart._ghosts
    assert up.x.tolist() == [supposed.outcome.entry_ns[0] / 1e6]
    assert down.x.tolist() == [supposed.outcome.entry_ns[1] / 1e6]
    assert left.y.tolist() == supposed.outcome.exit_z.tolist()
    words = chart._supposed.value
    for part in ("WHAT IF", "2 trades", "−12.35", "8.00", "0:12:34 held", "−4.50", "17 settings"):
        assert part in words, part
    assert "in sample" in words
    for mark, before in zip(chart._markers, real, strict=True):
        np.testing.assert_array_equal(mark.x, before)
    supposed.outcome = None
    chart.render_loop.paint(due=True)
    assert not len(up.x) + len(down.x) + len(left.x)
    assert chart._supposed.value == ""
    chart.render_loop.close()


def test_nothing_more_is_sent_while_nothing_is_moved(wire: Wire) -> None:
    supposed = Supposed()
    chart = ZScoreChart(lab_of(supposed))
    chart.render_loop.paint(due=True)
    supposed.outcome = outcome(chart.render_loop.lab)
    chart.render_loop.paint(due=True)
    wire.take()
    chart.render_loop.paint(due=True)
    assert wire.take() == []
    chart.render_loop.close()


def test_the_chart_has_it_prepared_once_there_are_rows(wire: Wire) -> None:
    lab = lab_of(supposed := Supposed())
    chart = ZScoreChart(lab)
    assert supposed.prepared == 0  # its first frame is not held up
    chart.render_loop.paint(due=True)
    assert supposed.prepared == 1
    chart.render_loop.close()
    lab.rows, lab.latest = type(lab.rows)(100), lambda: None
    chart = ZScoreChart(lab)
    chart.render_loop.paint(due=True)
    assert supposed.prepared == 1  # the engine compiles still
    chart.render_loop.close()


@pytest.mark.slow
def test_the_map_shows_the_line_between_what_pays_and_what_does_not(wire: Wire) -> None:
    supposed = Supposed()
    lab = lab_of(supposed)
    part = WhatIf(lab)
    part._ask.click()
    assert supposed.asked == 1
    net = np.array([[-3.0, -1.0, 2.0], [np.nan, 1.0, 4.0]])
    supposed.map = WhatIfMap(
        1, ("tick", "1s"), np.array([1.0, 2.0, 3.0]), net, np.array([[3, 2, 1], [0, 2, 2]]),
        lab.row_settings, 754.0,
    )  # fmt: skip
    part.render_loop.paint(due=True)
    html = part._body.value
    # Between −1 and 2 in the first line, and between −1 above and 1 below.
    assert html.count("border-left:2px") == 1
    assert html.count("border-top:2px") == 1
    assert "3 of 5 would have paid" in html
    assert "Best: 1s, entry 3.00 (+4.00 on 2 trades)" in html
    assert "no full window" in html
    supposed.map = WhatIfMap(
        2, ("tick",), np.array([1.0, 2.0]), np.array([[-3.0, -1.0]]), np.array([[3, 2]]),
        lab.row_settings, 754.0,
    )  # fmt: skip
    part.render_loop.paint(due=True)
    assert "Nowhere does it pay" in part._body.value
    assert "border" not in part._body.value
    part.render_loop.close()


async def test_the_newest_request_wins_and_settings_tried_are_counted(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, first = [], threading.Event()
    go_on, whole = threading.Event(), live_what_if.outcome_of

    def slow(held: Any, values: Any, number: int, tried: int) -> WhatIfOutcome:
        computed.append(values.entry_z)
        first.set()
        assert go_on.wait(20)
        return whole(held, values, number, tried)

    async with running_lab(400, min_correlation=-1.0) as lab:
        live = lab.what_if
        assert live is lab.what_if
        assert live.outcome is None
        live.prepare()  # a chart asks for it at some frame: what it computes is no request
        while live._busy:  # noqa: ASYNC110 - a thread
            await asyncio.sleep(0.01)
        monkeypatch.setattr(live_what_if, "outcome_of", slow)
        before = lab.health().ticks
        lab.settings.entry_z = 1.5
        await asyncio.to_thread(first.wait, 20)
        for z in (1.6, 1.7, 1.8):
            lab.settings.entry_z = z
        await lab.wait_async(lab.rows.end + 50, 30)  # the loop goes on meanwhile
        assert lab.health().ticks > before
        go_on.set()
        for _ in range(400):
            if live.outcome is not None and live.outcome.values.entry_z == 1.8:
                break
            await asyncio.sleep(0.05)
        assert computed == [1.5, 1.8]
        assert live.outcome.tried == 2
        assert live.outcome.number == 2
        live._shown_until_s = 0.0  # some seconds later
        assert live.outcome is None
