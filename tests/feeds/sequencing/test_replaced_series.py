"""Ids that start again while nobody listens, and have passed the old ones by the next trade."""

from __future__ import annotations

import time

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.errors import SettingError
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import Limits
from pairlab.local_exchange.market.synthetic import SyntheticMarket
from pairlab.local_exchange.server.faults import RESTART_IDS, Fault, Faults
from pairlab.local_exchange.server.server import LocalExchange
from tests.feeds.scripted import (
    PAIR,
    Catcher,
    agg,
    at_once,
    local,
    playing,
    quick,
    row,
    running,
    send,
    tell,
)

pytestmark = pytest.mark.usefixtures("no_task_left")
TOLD = "a new series has begun"


def told(catcher: Catcher) -> list[str]:
    return [entry.message for entry in catcher.log if TOLD in entry.message]


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("begins", [1, 55])
async def test_a_series_that_has_passed_the_old_ids_is_not_taken_for_a_gap(
    begins: int, silent: bool
) -> None:
    """The old one ended at 49; the new one is at 60, whether or not the stream says so."""

    async def market(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            for n in range(40, 50):
                await ws.send(agg(0, n, ms=n))
                await ws.send(agg(1, n, ms=n))
            new = [row(n, ms=60_000 + n) for n in range(begins, 63)]
            script.trades = {PAIR.y: new, PAIR.x: [row(n, ms=n) for n in range(40, 51)]}
            ws.transport.abort()
            return
        await ws.send(agg(1, 50, ms=50))
        if not silent:
            for n in range(60, 63):
                await ws.send(agg(0, n, ms=60_000 + n))
        await ws.wait_closed()

    async with playing(market) as script:
        feed = local(script)
        async with running(feed) as catcher:
            await catcher.until(lambda: 62 in catcher.ids(0))
            assert catcher.ids(0) == [*range(40, 50), *range(begins, 63)]
            new = catcher.ticks[catcher.ticks["leg"] == 0][10:]
            assert (new["time_ns"] % 10**11 // 10**6 >= 60_000).all()
            health = feed.health()
            assert (health.gaps, health.missing, health.held) == (1, 0, 0)
            assert len(told(catcher)) == 1
            assert "BTCUSDT" in told(catcher)[0]
            # The gap is before the first trade of the new series.
            assert [missing for _, missing in catcher.gaps] == [1]
        asked = sum(path == "aggTrades" for path, _ in script.asked)
        assert asked < 12


@pytest.mark.parametrize(
    ("known_from", "limit", "begins"),
    [(1, 2_000, 3_000), (3_456, 2_000, 3_456), (1, 100_000, 1), (4_999, 100_000, 4_999)],
)
@pytest.mark.parametrize("silent", [False, True])
async def test_of_a_long_series_the_trades_within_the_bound_are_fetched(
    known_from: int, limit: int, begins: int, silent: bool
) -> None:
    """The old one ended at 4,999; the new one is at 6,000. Of it REST knows what it knows."""

    async def market(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            for n in range(4_990, 5_000):
                await ws.send(agg(0, n, ms=n))
                await ws.send(agg(1, n, ms=n))
            new = [row(n, ms=60_000 + n) for n in range(known_from, 6_003)]
            script.trades = {PAIR.y: new, PAIR.x: [row(n, ms=n) for n in range(4_990, 5_001)]}
            ws.transport.abort()
            return
        await ws.send(agg(1, 5_000, ms=5_000))
        if not silent:
            for n in range(6_000, 6_003):
                await ws.send(agg(0, n, ms=60_000 + n))
        await ws.wait_closed()

    async with playing(market) as script:
        feed = local(script, limits=Limits(max_gap_trades=limit))
        async with running(feed) as catcher:
            await catcher.until(lambda: 6_002 in catcher.ids(0))
            assert catcher.ids(0) == [*range(4_990, 5_000), *range(begins, 6_003)]
            assert catcher.ids(1) == [*range(4_990, 5_001)]
            health = feed.health()
            assert (health.gaps, health.missing, health.held, health.dropped) == (1, 0, 0, {})
            assert len(told(catcher)) == 1
            assert [missing for _, missing in catcher.gaps] == [1]


async def test_a_series_of_which_rest_has_nothing_new_goes_on_at_once() -> None:
    async def market(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            for n in range(4_990, 5_000):
                await ws.send(agg(0, n, ms=n))
                await ws.send(agg(1, n, ms=n))
            ws.transport.abort()
            return
        for n in range(4_000, 4_004):  # below the old one, and newer
            await ws.send(agg(0, n, ms=60_000 + n))
        for n in range(5_000, 5_003):  # three: a minute ahead of the clock, as the others are
            await ws.send(agg(1, n, ms=60_000))
        await ws.wait_closed()

    async with playing(market) as script:
        old = [row(n, ms=n) for n in range(1, 5_000)]
        script.trades = {PAIR.y: old, PAIR.x: [row(n, ms=n) for n in range(4_990, 5_000)]}
        feed = local(script, limits=Limits(max_gap_trades=2_000))
        async with running(feed) as catcher:
            before_s = time.monotonic()
            await catcher.until(lambda: catcher.count == 27)
            assert time.monotonic() - before_s < 15  # the gap's patience is 30 s
            assert catcher.ids(0) == [*range(4_990, 5_000), *range(4_000, 4_004)]
            assert (feed.health().gaps, feed.health().missing) == (1, 0)


async def test_a_gap_after_a_reconnect_is_filled_where_the_last_trade_is_the_same() -> None:
    async def market(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            await send(ws, 0, 1, 2)
            await send(ws, 1, 1, 2)
            ws.transport.abort()
            return
        await send(ws, 0, 6)
        await send(ws, 1, 6)
        await ws.wait_closed()

    async with playing(market) as script:
        for leg in (0, 1):
            tell(script, leg, *range(1, 7))
        feed = local(script)
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 12)
            assert (feed.health().gaps, told(catcher), catcher.gaps) == (0, [], [])
        pages = [(q["symbol"], q["fromId"]) for path, q in script.asked if path == "aggTrades"]
        assert sorted(pages) == [("BTCUSDT", "2"), ("ETHUSDT", "2")]


async def test_once_the_series_is_known_to_be_the_same_its_gap_is_filled_page_by_page() -> None:
    async def market(ws: ServerConnection) -> None:
        first = 1 if len(script.paths) == 1 else 2_500
        for leg in (0, 1):
            await send(ws, leg, first, first + 1)
        if first == 1:
            ws.transport.abort()
        await ws.wait_closed()

    async with playing(market) as script:
        for leg in (0, 1):
            tell(script, leg, *range(1, 2_502))
        async with running(local(script)) as catcher:
            await catcher.until(lambda: catcher.count == 2 * 2_501)
            assert (told(catcher), catcher.gaps) == ([], [])
        pages = [int(q["fromId"]) for path, q in script.asked if path == "aggTrades"]
        assert sorted(pages) == [2, 2, 1_002, 1_002, 2_002, 2_002]


@pytest.mark.slow
async def test_the_local_exchange_restarts_its_ids_and_the_feed_has_every_trade_it_can() -> None:
    market = SyntheticMarket(seed=3, rate_per_s=1_000.0, start_condition="subscribed")

    def newest() -> list[int]:
        last = [market.agg_trades(symbol, None, None, None, 1) for symbol in PAIR]
        return [rows[0]["a"] if rows else 0 for rows in last]

    async with LocalExchange(market) as exchange:
        exchange.inject(Fault(RESTART_IDS, count=1_000))
        feed = BinanceFeed(PAIR, url=exchange.url, timeouts=quick(), retry=at_once())
        async with running(feed) as catcher:
            await catcher.until(lambda: min(map(len, map(catcher.ids, (0, 1)))) > 20)
            sent = max(newest())
            exchange.inject(Fault(RESTART_IDS, code=1012))
            while min(newest()) < sent + 50:
                market.take(None, (), 100)  # nobody listens
            await catcher.until(lambda: feed.health().gaps == 2 and feed.health().held == 0)
            past = max(newest())
            await catcher.until(lambda: min(catcher.ids(0)[-1], catcher.ids(1)[-1]) > past)
            ticks = catcher.ticks
            for leg in (0, 1):
                mine = ticks[ticks["leg"] == leg]
                at = int((mine["id"] == 1).argmax())
                assert at > 20
                assert mine["id"].tolist() == [
                    *range(1_000, 1_000 + at), *range(1, len(mine) - at + 1)
                ]  # fmt: skip
                assert (mine["time_ns"][1:] >= mine["time_ns"][:-1]).all()
                there = market.agg_trades(PAIR[leg], 1, None, None, 2_000)
                times = [row["T"] * 1_000_000 for row in there]
                count = min(len(mine) - at, len(times))
                assert mine["time_ns"][at:].tolist()[:count] == times[:count]
            assert (feed.health().missing, len(told(catcher))) == (0, 2)


def test_only_a_synthetic_market_restarts_its_ids_and_only_on_demand() -> None:
    with pytest.raises(SettingError, match="restart_ids"):
        Faults({Fault(RESTART_IDS): 10.0})
