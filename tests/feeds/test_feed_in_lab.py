"""The joint of a real feed and a lab: gaps, faults in a user's code, and the event log."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab import PairLab, SettingError
from pairlab.feeds import FeedGroup
from pairlab.local_exchange import LocalExchange
from pairlab.local_exchange.server.faults import Fault
from pairlab.schema import RowFlag
from tests.feeds.many import markets, pairs, stream
from tests.feeds.scripted import agg, local, nothing_more, playing, quick

pytestmark = pytest.mark.usefixtures("no_task_left")


def raw_trade(leg: int, id_: int) -> str:
    """A raw trade, whose gaps nobody can fill."""
    frame = json.loads(agg(leg, id_, ms=id_))
    data = frame["data"]
    data.update(e="trade", t=data.pop("a"), X="MARKET")
    return json.dumps(frame)


async def test_a_gap_of_the_feed_is_a_flag_on_the_row_after_it() -> None:
    async def gapped(ws: ServerConnection) -> None:
        for leg, id_ in [(0, 1), (1, 1), (0, 2), (1, 2), (0, 7), (1, 3), (0, 8)]:
            await ws.send(raw_trade(leg, id_))
        await nothing_more(ws)

    async with playing(gapped) as script, PairLab(feed=local(script, stream="trade")) as lab:
        await lab.wait_async(6, 150)
        rows, ticks = lab.rows.view(), lab.ticks()
        after_gap = ticks.index[(ticks["id"] == 7) & (ticks["symbol"] == "BTCUSDT")]
        flagged = rows["time_ns"][(rows["flags"] & RowFlag.GAP_BEFORE) != 0]
        assert flagged.tolist() == after_gap.astype(np.int64).tolist()
        assert (lab.health().gaps, lab.health().missing) == (1, 4)
        (told,) = [e for e in lab.event_log if "missing" in e.message]
        assert told.level == "warning"
        assert told.message.startswith("BTCUSDT: 4 trades are missing between ids 3 and 6")


async def test_a_callback_that_raises_costs_no_tick() -> None:
    more = asyncio.Event()

    async def trades(ws: ServerConnection) -> None:
        for id_ in range(1, 101):
            await ws.send(agg(id_ % 2, (id_ + 1) // 2, ms=id_))
            if id_ == 50:
                await more.wait()
        await nothing_more(ws)

    calls = 0

    def faulty_listener() -> None:
        raise ValueError("not my day")

    def good_listener() -> None:
        nonlocal calls
        calls += 1

    def faulty_observer(change: Any) -> None:
        raise RuntimeError("neither mine")

    def changes_a_setting() -> None:
        lab.settings.entry_z = 1.0 + lab.health().ticks / 100

    async with playing(trades) as script, PairLab(feed=local(script)) as lab:
        await lab.wait_async(40, 150)
        lab.settings.observe(faulty_observer, "entry_z")
        for listener in (faulty_listener, changes_a_setting, good_listener):
            lab.listen(listener)
        more.set()
        await lab.wait_async(99, 60)
        health = lab.health()
        assert (health.ticks, health.rows, dict(health.dropped)) == (100, 99, {})
        assert health.state == "live"
        assert lab.listener_errors == 2 * calls > 0
        told = [e for e in lab.event_log if e.level == "error"]
        assert len(told) == 2  # each is named once, however often it raises
        assert "faulty_listener raised ValueError('not my day')" in told[0].message
        assert "changes_a_setting raised RuntimeError('neither mine')" in told[1].message
        with pytest.raises((RuntimeError, SettingError)):
            lab.settings.entry_z = 3.5  # the observer's fault is told to who changes the setting


async def test_a_history_that_cannot_be_loaded_is_a_warning_and_no_failure() -> None:
    async def trades(ws: ServerConnection) -> None:
        for id_ in range(1, 11):
            await ws.send(agg(id_ % 2, (id_ + 1) // 2, ms=id_))
        await nothing_more(ws)

    async with playing(trades) as script:
        script.rest = lambda path, query: (503, b"") if path.endswith("klines") else None
        async with PairLab(feed=local(script)) as lab:
            await lab.wait_async(9, 150)
            while not (told := [e for e in lab.event_log if "klines" in e.message]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert [e.level for e in told] == ["warning"]
            assert told[0].message.startswith("could not load historical klines: ")
            assert "HTTP 503" in told[0].message
            assert (lab.health().state, lab.health().ticks) == ("live", 10)


async def test_what_happens_to_a_shared_connection_is_one_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (first, base), (second, other) = pairs(2)
    wanted = [first, second, base, other]
    async with LocalExchange(markets(2, 200.0, begins=wanted)) as exchange:
        group = FeedGroup(url=exchange.url, timeouts=quick())
        feeds = [group.pair(first, base), group.pair(second, base), group.pair(second, other)]
        labs = [PairLab(*feed.pair, feed=feed, hedge="ols") for feed in feeds]
        async with labs[0], labs[1], labs[2]:
            for lab in labs:
                await lab.wait_async(20, 150)
            await exchange.inject(Fault("drop", stream=stream(first))).wait()
            while not all(lab.health().reconnects for lab in labs):  # noqa: ASYNC110 - a number
                await asyncio.sleep(0.01)
            for lab in labs:
                await lab.wait_async(lab.health().rows + 20, 60)
            closed = [r for r in caplog.records if "reconnecting" in r.getMessage()]
            assert len(closed) == 1
            assert set(closed[0].feeds) == set(feeds)  # type: ignore[attr-defined]
            assert closed[0].levelno == logging.WARNING
            for lab in labs:
                told = [e for e in lab.event_log if "reconnecting" in e.message]
                assert [e.message for e in told] == [closed[0].getMessage()]
                assert abs(told[0].time_ns - closed[0].created * 1e9) < 1e9
