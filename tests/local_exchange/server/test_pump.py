"""Delivery on the clock of the market: speed, start conditions, slow clients, failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from itertools import pairwise

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from pairlab.feeds.connection.connection import RECORDING_ENDED
from pairlab.local_exchange import ENDED, LocalExchange, Message, SyntheticMarket
from tests.local_exchange.clients import ask, dial, http, market, read

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.mark.slow
async def test_as_fast_as_possible_waits_for_the_slowest_and_loses_nothing() -> None:
    streams = "/public/stream?streams=btcusdt@trade/ethusdt@trade"
    both = {"btcusdt@trade", "ethusdt@trade"}
    got: tuple[list[bytes], list[bytes]] = ([], [])

    async def listen(ws: ClientConnection, into: list[bytes], count: int) -> None:
        while len(into) < count:
            message = (await ws.recv()).encode()
            if b'"e":"trade"' in message:
                into.append(message)

    async with (
        LocalExchange(market(start_condition=[*both, "ethusdt@bookTicker"])) as exchange,
        connect(exchange.url + streams) as quick,
        connect(exchange.url + streams + "/ethusdt@bookTicker") as slow,
    ):
        # While one does not read, the other gets what buffers hold, and then must wait.
        before = -1
        while before < len(got[0]) < 300_000:
            before = len(got[0])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await listen(quick, got[0], 300_000)
        assert len(got[0]) < 300_000
        await asyncio.gather(
            listen(quick, got[0], len(got[0]) + 10_000), listen(slow, got[1], 20_000)
        )
        for ws in (quick, slow):
            ws.transport.abort()  # one that has stopped reading does not hear a goodbye
    expected = market()
    truth: list[bytes] = []
    while len(truth) < max(map(len, got)):
        truth += [frame for _, frame in expected.take(None, both, 4_096)]
    for trades in got:
        assert trades == truth[: len(trades)]


@pytest.mark.slow
async def test_a_client_that_does_not_read_is_closed_and_others_are_not_affected() -> None:
    fast = SyntheticMarket(
        seed=5, rate_per_s=20_000, speed=3.0, start_condition="subscribed", history_s=0
    )
    async with (
        LocalExchange(fast, max_backlog_bytes=200_000) as exchange,
        http(exchange) as client,
    ):
        stuck = await dial(exchange.url + "/public/stream?streams=btcusdt@trade", max_queue=1)
        async with dial(exchange.url + "/public/ws/ethusdt@trade") as healthy:
            ids = []
            while not exchange.stats().too_slow:
                ids += [m["t"] for m in await read(healthy, 500)]
            ids += [m["t"] for m in await read(healthy, 500)]
            assert all(b - a == 1 for a, b in pairwise(ids))
            assert exchange.stats().connections == 1
            assert (await client.get("/fapi/v1/ping")).status_code == 200
        with pytest.raises(ConnectionClosed):
            await read(stuck, 10**9)


async def test_the_clock_runs_at_its_speed_and_trades_keep_up_with_it() -> None:
    live = SyntheticMarket(seed=5, rate_per_s=10, speed=50.0, history_s=0)
    loop = asyncio.get_running_loop()

    def clock_s(exchange: LocalExchange) -> tuple[float, float, float]:
        """Return the market's time, and the loop's right before and after it was read."""
        before_s = loop.time()
        return (exchange.now_ns() - live.start_ns) / 1e9, before_s, loop.time()

    async with (
        asyncio.timeout(30),
        LocalExchange(live) as exchange,
        http(exchange) as client,
        dial(exchange.url + "/public/ws/btcusdt@trade") as ws,
    ):
        await read(ws, 1)  # the clock has started
        began_s, *began = clock_s(exchange)
        for _ in range(20):
            asked_ms = exchange.now_ns() // 10**6
            trade = {"E": 0}
            while trade["E"] < asked_ms:  # trades from now on arrive, too
                trade = (await read(ws, 1))[-1]
            now_ms = (await client.get("/fapi/v1/time")).json()["serverTime"]
            assert live.start_ns // 10**6 <= trade["E"] <= now_ms  # and never too early
        passed_s, *ended = clock_s(exchange)
        passed_s -= began_s
        # The two readings are at least the inner, at most the outer interval apart.
        least_s, most_s = ended[0] - began[1], ended[1] - began[0]
        assert least_s > 0
        assert 50 * least_s - 1e-6 <= passed_s <= 50 * most_s + 1e-6


async def test_a_market_can_wait_for_its_first_subscription() -> None:
    waiting = SyntheticMarket(seed=5, speed=100.0, start_condition="subscribed")
    async with LocalExchange(waiting) as exchange, http(exchange) as client:
        start_ms = waiting.start_ns // 10**6
        assert (await client.get("/fapi/v1/time")).json()["serverTime"] == start_ms
        async with dial(exchange.url + "/public/ws/nosuchusdt@trade") as idle:
            await ask(idle, method="LIST_SUBSCRIPTIONS", id=1)
            assert exchange.now_ns() == waiting.start_ns
        async with dial(exchange.url + "/public/ws/btcusdt@trade/ethusdt@trade") as ws:
            first = {m["s"]: m["t"] for m in reversed(await read(ws, 200))}
        assert first == {"BTCUSDT": 5_266_583_935, "ETHUSDT": 4_308_068_523}


async def test_a_market_that_fails_closes_with_1011_and_stop_raises() -> None:
    class Broken(SyntheticMarket):
        def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
            if self.position_ns > self.start_ns:
                raise RuntimeError("out of order")
            return super().take(until_ns, wanted, limit)

    exchange = LocalExchange(Broken(seed=1, speed=None))
    await exchange.start()
    async with dial(exchange.url + "/public/ws/btcusdt@trade") as ws:
        with pytest.raises(ConnectionClosedError):
            await read(ws, 10**9)
        assert ws.close_code == 1011
    with pytest.raises(RuntimeError, match="out of order"):
        await exchange.stop()


def test_the_feed_recognizes_the_end_of_a_recording() -> None:
    assert ENDED == RECORDING_ENDED
