"""An empty chart says why it is empty, what to do, and when the next try comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from pairlab import PairLab
from pairlab.widgets import Dashboard
from tests.feeds.connection.test_no_network import closed_port
from tests.widgets.conftest import Wire
from tests.widgets.core.test_view_states import ticks
from tests.widgets.strip.test_status_bar import text


async def until(true: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("wire")
async def test_empty_charts_say_why_until_there_are_rows(wire: Wire) -> None:
    lab = PairLab(feed=f"ws://127.0.0.1:{closed_port()}")
    dashboard = Dashboard(lab, layout="wide")
    charts = [part for part in dashboard.parts.values() if hasattr(part, "_why_empty")]
    assert len(charts) >= 4
    dashboard.render_loop.paint(due=True)
    assert {chart._why_empty.value for chart in charts} == {""}  # not started: nothing is wrong
    lab.start()
    try:
        await until(lambda: any("retrying" in e.message for e in lab.event_log))
        dashboard.render_loop.paint(due=True)
        for chart in charts:
            words = text(chart._why_empty.value)
            assert words.startswith("No data yet.")
            assert "is connecting: the stream at 127.0.0.1" in words
            assert "check firewall and VPN" in words
        await until(lambda: lab._pipeline.engine is not None)
        lab._pipeline.on_ticks(ticks(200))
        dashboard.render_loop.paint(due=True)
        assert {chart._why_empty.value for chart in charts} == {""}
    finally:
        await lab.stop()
    assert not [e for e in lab.event_log if re.search("engine ready|continues without", e.message)]
