"""The feed on a real loopback connection: what it hands on, says and leaves behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.errors import (
    DataError,
    FeedError,
    FirewallError,
    GeoBlockedError,
    UnknownSymbolError,
)
from pairlab.feeds.base import Feed
from pairlab.feeds.binance.binance_feed import LIVE_URL, TESTNET_URL, BinanceFeed
from pairlab.feeds.config import Limits, Retry
from pairlab.feeds.connection.connection import RECORDING_ENDED
from pairlab.local_exchange import LocalExchange, Recording
from pairlab.schema import Pair, Records
from tests.feeds.scripted import (
    NOW_MS,
    PAIR,
    Catcher,
    agg,
    at_once,
    local,
    playing,
    quick,
    run,
    running,
)

pytestmark = pytest.mark.usefixtures("no_task_left")


async def three_each(ws: ServerConnection) -> None:
    for id_ in (1, 2, 3):
        await ws.send(agg(0, id_, ms=id_))
        await ws.send(agg(1, id_ + 50, ms=id_))
    await ws.close(1000, RECORDING_ENDED)


def test_it_is_a_feed_and_knows_whom_it_speaks_to() -> None:
    live = BinanceFeed(PAIR)
    assert isinstance(live, Feed)
    assert (live.url, live.name, live.real_money) == (LIVE_URL, "BINANCE", True)
    assert live.rest_url == "https://fapi.binance.com"
    testnet = BinanceFeed(PAIR, url=TESTNET_URL)
    assert (testnet.name, testnet.real_money) == ("BINANCE TESTNET", False)
    assert testnet.rest_url == "https://testnet.binancefuture.com"
    here = BinanceFeed(PAIR, url="ws://127.0.0.1:5000/")
    assert (here.name, here.real_money) == ("LOCAL 127.0.0.1:5000", False)
    assert here.rest_url == "http://127.0.0.1:5000"
    closed = BinanceFeed(PAIR, url="ws://user:s3cr3t@127.0.0.1:5000/")
    assert closed.name == here.name, "health, strip and event log name it, and are saved and shown"
    assert BinanceFeed(PAIR, url="ws://h:1", name="SIMULATED").name == "SIMULATED"
    assert BinanceFeed(PAIR, url="wss://fstream.binance.com.evil.org").real_money is False
    assert live.price_decimals() is None
    assert live.health().state == "connecting"
    assert np.isnan(live.health().lag_ms)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"url": "http://localhost:1"}, "url = 'http://localhost:1' is invalid"),
        ({"url": "ws://"}, "url = 'ws://' is invalid"),
        ({"rest_url": "ftp://u:p@host"}, "rest_url = 'ftp://host' is invalid: expected http"),
        ({"rest_url": "fapi.binance.com"}, "rest_url = 'fapi.binance.com' is invalid"),
        ({"stream": "kline"}, "stream = 'kline' is invalid"),
        ({"align_s": -1.0}, "align_s = -1.0 is invalid"),
        ({"align_s": float("nan")}, "align_s = nan is invalid"),
        ({"routes": {"aggTrades": "x"}}, "routes = 'aggTrades' is invalid"),
    ],
)
def test_bad_arguments_are_named(more: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        BinanceFeed(PAIR, **more)  # type: ignore[arg-type]


async def test_ticks_arrive_in_order_and_the_run_ends_with_the_recording() -> None:
    catcher = Catcher()
    async with playing(three_each) as script:
        feed = local(script)
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 2, 3], [51, 52, 53])
    assert list(catcher.ticks["time_ns"]) == [(NOW_MS + n) * 10**6 for n in (1, 1, 2, 2, 3, 3)]
    assert script.paths == ["/market/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade"]
    health = feed.health()
    assert (health.state, health.detail) == ("stopped", "the recording has ended")
    assert (health.ticks, health.reconnects, health.attempts) == (6, 0, 1)
    assert dict(health.dropped) == {}
    assert feed.price_decimals() == (1, 2)
    assert catcher.log == []


@pytest.mark.parametrize(
    ("stream", "routes", "path"),
    [
        ("trade", None, "/public/stream?streams=btcusdt@trade/ethusdt@trade"),
        ("trade", {"trade": "market"}, "/market/stream?streams=btcusdt@trade/ethusdt@trade"),
        ("bookTicker", None, "/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker"),
    ],
)
async def test_each_stream_has_its_route(
    stream: str, routes: dict[str, str] | None, path: str
) -> None:
    async def goodbye(ws: ServerConnection) -> None:
        await ws.close(1000, RECORDING_ENDED)

    async with playing(goodbye) as script:
        await run(local(script, stream=stream, routes=routes), Catcher())
    assert script.paths == [path]


@pytest.mark.data
@pytest.mark.filterwarnings("default:unclosed:ResourceWarning")
@pytest.mark.slow
async def test_the_recorded_pair_arrives_whole_through_the_exchange(recorded: Path) -> None:
    files = sorted((recorded / "binance-usdm-trade-20240808").glob("*.gz"))
    catcher = Catcher()
    async with LocalExchange(Recording(files, speed=None)) as exchange:
        feed = BinanceFeed(PAIR, stream="trade", url=exchange.url)
        await run(feed, catcher)
    assert [len(catcher.ids(leg)) for leg in (0, 1)] == [21_313, 14_076]
    for leg in (0, 1):
        assert set(np.diff(catcher.ids(leg))) == {1}
    health = feed.health()
    assert (health.ticks, health.gaps, health.missing) == (35_389, 0, 0)
    assert np.isfinite([health.lag_ms, health.lag_p50_ms, health.lag_p99_ms]).all()


async def test_it_is_live_only_after_data_of_both_streams() -> None:
    more = asyncio.Event()

    async def one_then_both(ws: ServerConnection) -> None:
        await ws.send(json.dumps({"result": None, "id": 1}))
        await ws.send(agg(0, 1))
        await more.wait()
        await ws.send(agg(1, 1))
        await ws.wait_closed()

    async with playing(one_then_both) as script:
        feed = local(script)
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 1)
            health = feed.health()
            assert health.state == "connecting"
            assert health.detail.endswith("waiting for the first data of ETHUSDT@aggTrade")
            more.set()
            await catcher.until(lambda: catcher.count == 2)
            assert feed.health().state == "live"
    assert feed.health().state == "stopped"


async def test_bad_frames_are_counted_and_nothing_else_changes() -> None:
    good = [agg(leg, n) for n in range(1, 20) for leg in (0, 1)]
    bad = [
        agg(0, 5)[:-9],
        agg(0, 6, p="NaN"),
        agg(0, 7, p="-3"),
        agg(0, 8, a="8"),
        '{"error":{"code":2,"msg":"no"},"id":1}',
        "[]",
        b"\x00\xff" * 2**20,
    ]

    async def mixed(ws: ServerConnection) -> None:
        for n, frame in enumerate(good):
            await ws.send(frame)
            await ws.send(bad[n % len(bad)])
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(mixed) as script:
        feed = local(script)
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([*range(1, 20)], [*range(1, 20)])
    health = feed.health()
    assert sum(health.dropped.values()) == len(good)
    assert health.dropped.keys() == {"not JSON", "bad price", "malformed", "error reply"}
    assert len(health.bad_frames) == 8
    assert (health.reconnects, health.gaps) == (0, 0)


async def test_an_unknown_symbol_is_final_before_any_connection() -> None:
    async with playing(three_each) as script:
        feed = BinanceFeed(Pair("BTCUSDT", "ETHUSD"), url=script.url)
        with pytest.raises(UnknownSymbolError, match="'ETHUSD': did you mean ETHUSDT"):
            await run(feed, Catcher())
    assert script.paths == []
    assert feed.health().state == "failed"


async def test_451_is_one_attempt_and_one_plain_sentence() -> None:
    async with playing(three_each) as script:
        script.handshake = lambda attempt: (451, {})
        feed = local(script)
        with pytest.raises(GeoBlockedError):
            await run(feed, Catcher())
    health = feed.health()
    assert len(script.paths) == health.attempts == 1
    assert health.state == "failed"
    assert "does not serve this location" in health.detail


async def test_403_is_tried_again_later_and_then_final() -> None:
    async with playing(three_each) as script:
        script.handshake = lambda attempt: (403, {})
        feed = local(script, timeouts=quick(firewall_s=0.01))
        with pytest.raises(FirewallError, match="firewall"):
            await run(feed, Catcher())
    assert len(script.paths) == 3


@pytest.mark.parametrize("status", [429, 418, 500, 503])
async def test_passing_refusals_are_waited_out(status: int) -> None:
    catcher = Catcher()
    async with playing(three_each) as script:
        script.handshake = lambda attempt: (status, {"Retry-After": "0"}) if attempt < 4 else None
        feed = local(script)
        await run(feed, catcher)
    assert catcher.count == 6
    assert len(script.paths) == feed.health().attempts == 4
    assert any(f"HTTP {status}" in entry.message for entry in catcher.log)


async def test_retry_after_is_honoured() -> None:
    async with playing(three_each) as script:
        script.handshake = lambda attempt: (429, {"Retry-After": "3600"})
        feed = local(script)
        async with running(feed) as catcher:
            await catcher.until(lambda: len(catcher.log) == 1)
            await asyncio.sleep(0)
            health = feed.health()
            assert health.state == "connecting"
            assert "HTTP 429" in health.detail
            assert "trying again in 3600.0 s" in health.detail or "3599" in health.detail
    assert len(script.paths) == 1


async def test_back_off_goes_on_through_connections_that_bring_no_data() -> None:
    asked: list[int] = []
    seen: list[list[int]] = []

    def delays() -> Iterator[float]:
        seen.append(asked.copy())
        while True:
            asked.append(len(asked))
            yield 0.0

    async def accept_then_close(ws: ServerConnection) -> None:
        if len(script.paths) < 6:
            await ws.close(1011)
        elif len(script.paths) == 6:
            await ws.send(agg(0, 1))
            await ws.send(agg(1, 1))
            await ws.close(1001)
        else:
            await ws.send(agg(0, 2))
            await ws.send(agg(1, 2))
            await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(accept_then_close) as script:
        feed = local(script, retry=Retry(delays=delays))
        await run(feed, catcher)
    assert len(script.paths) == 7
    # Five closed doors used up five delays of one and the same iterator; data began a new one.
    iterators_after_five = [earlier for earlier in seen if len(earlier) == 5]
    assert iterators_after_five
    assert len(asked) == 6
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 2], [1, 2])
    assert feed.health().reconnects == 6


async def test_connection_attempts_are_rationed() -> None:
    async def slam(ws: ServerConnection) -> None:
        await ws.close(1011)

    async with playing(slam) as script:
        feed = local(script, limits=Limits(attempts_per_5_min=3))
        async with running(feed) as catcher:
            await catcher.until(lambda: any("five minutes" in e.message for e in catcher.log))
            assert "3 connections were tried" in catcher.log[-1].message
            assert len(script.paths) == 3


async def test_nobody_listens() -> None:
    async with playing(three_each) as script:
        pass
    feed = local(script, retry=Retry(delays=lambda: iter([0.0, 0.0])))
    catcher = Catcher()
    with pytest.raises(FeedError, match="cannot be reached"):
        await run(feed, catcher)
    assert feed.health().attempts == 3


async def test_the_stream_starts_without_rest() -> None:
    async with playing(three_each) as script:
        script.rest = lambda path, query: (503, b"")
        catcher = Catcher()
        feed = local(script)
        await run(feed, catcher)
    assert catcher.count == 6
    assert feed.price_decimals() is None
    assert any("asked for again, automatically" in entry.message for entry in catcher.log)
    assert np.isfinite(feed.health().lag_ms)


async def test_symbols_are_checked_once_rest_is_back() -> None:
    async def forever(ws: ServerConnection) -> None:
        await ws.wait_closed()

    async with playing(forever) as script:
        script.rest = lambda path, query: (503, b"") if len(script.asked) < 3 else None
        feed = BinanceFeed(
            Pair("BTCUSDT", "NOSUCH"), url=script.url, timeouts=quick(), retry=at_once()
        )
        with pytest.raises(UnknownSymbolError, match="'NOSUCH'"):
            await run(feed, Catcher())


async def test_a_sink_that_raises_is_reported_and_the_stream_goes_on() -> None:
    seen: list[int] = []

    class Fussy(Catcher):
        def on_ticks(self, ticks: Records) -> None:
            seen.extend(int(i) for i in ticks["id"])
            if 2 in ticks["id"]:
                raise ValueError("two is too much")

    catcher = Fussy()
    async with playing(three_each) as script:
        feed = local(script)
        await run(feed, catcher)
    assert sorted(seen) == [1, 2, 3, 51, 52, 53]
    assert [entry.level for entry in catcher.log] == ["error"]
    assert "two is too much" in catcher.log[0].message
    assert feed.health().dropped["not processed"] >= 1
    assert feed.health().ticks + feed.health().dropped["not processed"] == 6


async def test_stopping_leaves_no_socket() -> None:
    async def forever(ws: ServerConnection) -> None:
        await ws.send(agg(0, 1))
        await ws.send(agg(1, 1))
        await ws.wait_closed()

    process = psutil.Process()
    async with playing(forever) as script:
        port = int(script.url.rsplit(":", 1)[1])
        feed = local(script)
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 2)
        ours = [c for c in process.net_connections() if c.raddr and c.raddr.port == port]
        assert [c for c in ours if c.status == "ESTABLISHED"] == []
    assert feed.health().detail == "stopped"


async def test_a_feed_runs_again_but_not_twice_at_once() -> None:
    async with playing(three_each) as script:
        feed = local(script)
        for _ in range(2):
            catcher = Catcher()
            async with asyncio.TaskGroup() as group:
                first = group.create_task(run(feed, catcher))
                await asyncio.sleep(0)
                with pytest.raises(FeedError, match="running already"):
                    await run(feed, catcher)
            assert first.done()
            assert catcher.count == feed.health().ticks == 6


async def test_a_burst_arrives_in_few_batches() -> None:
    async def burst(ws: ServerConnection) -> None:
        for n in range(1, 1501):
            await ws.send(agg(0, n))
            await ws.send(agg(1, n))
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(burst) as script:
        await run(local(script, limits=Limits(max_batch_ticks=100)), catcher)
    assert catcher.count == 3000
    assert max(len(part) for part in catcher.parts) <= 100
    assert len(catcher.parts) < 1500
