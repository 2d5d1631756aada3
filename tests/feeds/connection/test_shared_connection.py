"""A shared connection on a real loopback server: replaced without a seam, or left alone.

When a stream counts as silent is the stall detector's matter, and tested without a network. Limits
of silence here are longer than `Timeouts.blocked_s`: a test machine's hiccup is no stall.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.feeds.config import Limits
from pairlab.feeds.connection import liveness
from pairlab.feeds.connection.connection import RECORDING_ENDED
from tests.feeds.scripted import (
    Catcher,
    Market,
    local,
    nothing_more,
    playing,
    quick,
    row,
    run,
    running,
    send,
    tell,
)

pytestmark = [pytest.mark.usefixtures("no_task_left"), pytest.mark.slow]  # real timeouts


def compute(seconds: float) -> None:
    """Keep the loop as a cell that computes does."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


async def test_a_restart_that_is_announced_leaves_no_seam() -> None:
    second = asyncio.Event()
    first_closed = asyncio.Event()

    async def restarting(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            await send(ws, 0, 1, 2)
            await send(ws, 1, 1, 2)
            await ws.send(json.dumps({"e": "serverShutdown", "E": 1}))
            await second.wait()
            await send(ws, 0, 3, 4)  # overlap: the old connection is still a moment ahead
            await send(ws, 1, 3)
            await ws.wait_closed()
            first_closed.set()
        else:
            second.set()
            await send(ws, 0, 4, 5)
            await send(ws, 1, 3, 4)
            await first_closed.wait()
            await send(ws, 0, 6)
            await send(ws, 1, 5)
            await ws.wait_closed()

    async with playing(restarting) as script:
        feed = local(script, timeouts=quick(repair_grace_s=5.0))
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 11)
            assert feed.health().state == "live"
            assert feed.health().reconnects == 1
    assert (catcher.ids(0), catcher.ids(1)) == ([*range(1, 7)], [*range(1, 6)])
    assert [path for path, _ in script.asked if path == "aggTrades"] == []
    assert not any(e.level == "warning" for e in catcher.log)


async def test_a_connection_near_its_age_limit_is_replaced() -> None:
    async with playing(nothing_more) as script, Market(script).trading():
        feed = local(script, timeouts=quick(rotate_after_s=0.3))
        async with running(feed) as catcher:
            await catcher.until(lambda: len(script.paths) >= 4)
    for leg in (0, 1):
        assert catcher.ids(leg) == [*range(catcher.ids(leg)[0], catcher.ids(leg)[-1] + 1)]
    assert feed.health().gaps == 0
    assert not any(e.level == "warning" for e in catcher.log)


@pytest.mark.parametrize("status", [451, 403, 429, 503])
async def test_a_refused_replacement_leaves_the_old_connection_alone(status: int) -> None:
    async with playing(nothing_more) as script, Market(script).trading():
        script.handshake = lambda attempt: (status, {"Retry-After": "60"}) if attempt > 1 else None
        feed = local(script, timeouts=quick(rotate_after_s=0.3))
        async with running(feed) as catcher:
            await catcher.until(lambda: any(f"HTTP {status}" in e.message for e in catcher.log))
            before = catcher.count
            await catcher.until(lambda: catcher.count > before + 100)
            assert feed.health().state == "live"
    assert catcher.ids(0) == [*range(catcher.ids(0)[0], catcher.ids(0)[-1] + 1)]


@pytest.mark.parametrize("stalled_legs", [(0, 1), (1,)])
async def test_a_stream_that_stalls_on_a_living_connection_is_replaced(
    stalled_legs: tuple[int, ...],
) -> None:
    """Pings are answered by the library, so only the data's silence can tell."""
    stalls = False

    def frozen(connection: int, leg: int, number: int) -> bool:
        return stalls and connection == 1 and leg in stalled_legs

    async with playing(nothing_more) as script, Market(script, frozen=frozen).trading():
        feed = local(script, timeouts=quick(idle_min_s=1.5, idle_busy_s=1.6))
        async with running(feed) as catcher:
            await catcher.until(lambda: feed.health().state == "live" and catcher.count > 50)
            stalls = True
            await catcher.until(lambda: any("stalled" in e.message for e in catcher.log))
            await catcher.until(lambda: any("data resumed" in e.message for e in catcher.log))
            before = len(catcher.ids(1))
            await catcher.until(lambda: len(catcher.ids(1)) > before + 50)
            assert feed.health().state == "live"
    assert len(script.paths) == 2
    for leg in (0, 1):
        assert catcher.ids(leg) == [*range(catcher.ids(leg)[0], catcher.ids(leg)[-1] + 1)]


async def test_a_half_open_socket_is_found_by_ping() -> None:
    async def half_open(ws: ServerConnection) -> None:
        first = len(script.paths) == 1
        await send(ws, 0, 1 if first else 2)
        await send(ws, 1, 1 if first else 2)
        if first:
            ws.transport.pause_reading()
        await ws.wait_closed()

    async with playing(half_open) as script:
        feed = local(script, timeouts=quick(ping_after_s=0.3, pong_s=1.5))
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 4)
            assert len(script.paths) == 2
    assert any("half-open" in e.message for e in catcher.log)


async def test_a_route_that_is_acknowledged_but_silent_is_changed() -> None:
    async def routed(ws: ServerConnection) -> None:
        await ws.send('{"result":null,"id":1}')
        if ws.request is not None and ws.request.path.startswith("/public"):
            await send(ws, 0, 1)
            await send(ws, 1, 1)
        await ws.wait_closed()

    async with playing(routed) as script:
        for leg in (0, 1):
            script.trades[("BTCUSDT", "ETHUSDT")[leg]] = [row(1, ms=10**9)]
        feed = local(script, timeouts=quick(first_data_s=1.3))
        async with running(feed) as catcher:
            await catcher.until(lambda: any("data resumed" in e.message for e in catcher.log))
            assert catcher.count == 2
            assert feed.health().state == "live"
    assert [path.split("/")[1] for path in script.paths] == ["market", "public"]
    assert any("subscribed but silent" in e.message for e in catcher.log)


async def test_a_silent_connection_is_opened_anew_where_the_other_route_is_silent_too() -> None:
    async def one_mute(ws: ServerConnection) -> None:
        if len(script.paths) == 3:
            await send(ws, 0, 1)
            await send(ws, 1, 1)
        await ws.wait_closed()

    async with playing(one_mute) as script:
        for symbol in script.trades:
            script.trades[symbol] = [row(1, ms=10**9)]
        feed = local(script, timeouts=quick(first_data_s=1.3))
        async with running(feed) as catcher:
            await catcher.until(lambda: any(e.level == "warning" for e in catcher.log))
            assert feed.health().state == "stalled"
            assert feed.health().detail.startswith("subscribed but silent: BTCUSDT@aggTrade and")
            await catcher.until(lambda: catcher.count == 2)
    assert [path.split("/")[1] for path in script.paths] == ["market", "public", "market"]
    assert sum(e.level == "warning" for e in catcher.log) == 1


async def test_an_unproven_route_is_left_when_the_old_connection_ends() -> None:
    second = asyncio.Event()

    async def one_mute(ws: ServerConnection) -> None:
        number = len(script.paths)
        if number == 2:
            second.set()
        elif number == 1:
            await second.wait()
            ws.transport.abort()
        else:
            await send(ws, 0, 1)
            await send(ws, 1, 1)
        await ws.wait_closed()

    async with playing(one_mute) as script:
        for symbol in script.trades:
            script.trades[symbol] = [row(1, ms=10**9)]
        feed = local(script, timeouts=quick(first_data_s=1.3))
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 2)
    assert [path.split("/")[1] for path in script.paths] == ["market", "public", "market"]


async def test_a_market_that_does_not_trade_is_no_alarm() -> None:
    asked: list[str] = []
    twice = asyncio.Event()

    def rest(path: str, query: dict[str, str]) -> None:
        if path.endswith("aggTrades"):
            asked.append(query["symbol"])
            if len(asked) == 4:  # both markets, and both again
                twice.set()

    async with playing(nothing_more, rest=rest) as script:
        for symbol in script.trades:
            script.trades[symbol] = [row(1, ms=-60_000)]
        feed = local(script, timeouts=quick(first_data_s=0.2))
        async with running(feed) as catcher:
            await twice.wait()
            health = feed.health()
            assert (health.state, health.attempts) == ("connecting", 1)
            assert "waiting for the first data" in health.detail
            assert catcher.log == []


async def test_catching_up_after_a_silence_is_not_told_as_a_cell(no_blocking_calls: Any) -> None:
    silent = False

    def frozen(connection: int, leg: int, number: int) -> bool:
        return silent

    async with playing(nothing_more) as script:
        market = Market(script, frozen=frozen)
        async with market.trading():
            feed = local(
                script, timeouts=quick(idle_min_s=0.5, idle_busy_s=0.6, ping_after_s=0.3, pong_s=5)
            )
            async with running(feed) as catcher:
                await catcher.until(lambda: catcher.count > 100)
                silent = True
                await catcher.until(lambda: any("stalled" in e.message for e in catcher.log))
                silent = False
                before = catcher.count
                await catcher.until(lambda: catcher.count > before)
                no_blocking_calls.deactivate()
                compute(1.5)  # what was missed
                no_blocking_calls.activate()
                await catcher.until(lambda: any("busy for" in e.message for e in catcher.log))
                (told,) = [e.message for e in catcher.log if "busy for" in e.message]
    assert "a cell" not in told
    assert "the exchange or the network had stood still; to catch up kept the event loop" in told


WATCHED = """
import asyncio, sys
from tests.feeds.scripted import PAIR, Catcher, quick, run
from pairlab.feeds.binance.binance_feed import BinanceFeed

class Printer(Catcher):
    def on_ticks(self, ticks):
        if not self.count:
            print("live", flush=True)
        super().on_ticks(ticks)

    def write(self, entry):
        print(entry.message, flush=True)

asyncio.run(run(BinanceFeed(PAIR, url=sys.argv[1], timeouts=quick()), Printer()))
"""


async def test_a_process_that_was_stopped_is_not_told_as_a_busy_cell() -> None:
    async with playing(nothing_more) as script, Market(script).trading():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WATCHED, script.url, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                assert await process.stdout.readline() == b"live\n"
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(2.5)
                process.send_signal(signal.SIGCONT)
                told = []
                while not any("waited in the socket" in line for line in told):
                    told.append((await process.stdout.readline()).decode())
                    assert told[-1], told
        finally:
            process.kill()
            await process.communicate()
    assert "nothing ran in this process for" in told[-1]
    assert "it was stopped (SIGSTOP" in told[-1]
    assert not any("a cell" in line for line in told)


async def test_a_machine_that_was_suspended_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    suspended_s = 100.0
    monkeypatch.setattr(liveness, "suspended_s", lambda: suspended_s)
    async with (
        playing(nothing_more) as script,
        Market(script).trading(),
        running(local(script)) as catcher,
    ):
        await catcher.until(lambda: catcher.count > 100)
        suspended_s += 7_200.0
        await catcher.until(lambda: any("suspended" in e.message for e in catcher.log))
        before = catcher.count
        await catcher.until(lambda: catcher.count > before + 200)
    (told,) = [e.message for e in catcher.log if "suspended" in e.message]
    assert "suspended for 7,200 s" in told


async def test_a_blocked_loop_is_no_stall(no_blocking_calls: Any) -> None:
    async with playing(nothing_more) as script, Market(script).trading():
        feed = local(
            script,
            timeouts=quick(idle_min_s=1.5, idle_busy_s=1.6, ping_after_s=0.3, pong_s=1.5),
        )
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count > 100)
            no_blocking_calls.deactivate()
            compute(3.0)  # that is the fault
            no_blocking_calls.activate()
            await catcher.until(lambda: any("busy for" in e.message for e in catcher.log))
            health = feed.health()
            assert health.state == "live"
            assert "a cell kept the notebook busy for" in health.detail
            assert health.loop_lag_max_ms > 2500
            before = catcher.count
            await catcher.until(lambda: catcher.count > before + 200)
            assert feed.health().state == "live"
    assert len(script.paths) == 1
    assert not any(e.level == "warning" for e in catcher.log)
    assert catcher.ids(0) == [*range(catcher.ids(0)[0], catcher.ids(0)[-1] + 1)]


async def test_a_frame_too_long_costs_a_connection_and_no_trade() -> None:
    async def oversize(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            await send(ws, 0, 1, 2)
            await send(ws, 1, 1, 2)
            await ws.send("x" * 70_000)
            await ws.wait_closed()
        else:
            await send(ws, 0, 4)
            await send(ws, 1, 4)
            await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(oversize) as script:
        for leg in (0, 1):
            tell(script, leg, 1, 2, 3, 4)
        feed = local(script, limits=Limits(max_frame_bytes=65_536))
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 2, 3, 4], [1, 2, 3, 4])
    assert feed.health().dropped == {"too long": 1}
