"""Many symbols on one feed: shared connections, whose troubles are their own."""

from __future__ import annotations

import asyncio

import numpy as np
import psutil
import pytest

from pairlab.errors import DataError, FeedError, GeoBlockedError, UnknownSymbolError
from pairlab.feeds import Feed, FeedGroup
from pairlab.feeds.config import Limits
from pairlab.local_exchange import LocalExchange, MarketGroup
from pairlab.local_exchange.server.faults import Fault
from pairlab.schema import Pair
from tests.feeds.many import Truths, crowd, market, markets, pairs, stream
from tests.feeds.scripted import Catcher, quick

pytestmark = [pytest.mark.usefixtures("no_task_left"), pytest.mark.slow]  # real timeouts

FOUR = Limits(max_streams=4)  # two pairs on a connection
DROP = 10**6  # refused handshakes: until the faults are cleared


async def test_260_streams_come_whole_over_two_connections() -> None:
    these = pairs(130)
    async with (
        LocalExchange(markets(130, 20.0)) as exchange,
        crowd(exchange.url, these) as them,
    ):
        await them.grow(these, 6)
        stats = exchange.stats()
        assert (stats.connections, stats.handshakes, stats.streams) == (2, 2, 260)
        streams = [connection.streams for connection in them.group.connections()]
        assert streams == [200, 60]
        health = them.group.health()
        assert (health.state, health.detail) == ("live", "130 pairs are live")
        assert (health.gaps, health.reconnects, health.attempts) == (0, 0, 2)
        assert health.ticks == sum(them[pair].count for pair in these)
        assert {them.feed(pair).health().state for pair in these} == {"live"}
        assert them.feed(these[0]).price_decimals() is not None
    truths = Truths(130, 20.0)
    for pair in these:
        truths.check(pair, them[pair].ticks)
        assert them[pair].warnings == []
    assert dict(health.dropped) == {}


@pytest.mark.slow
async def test_a_connection_that_drops_again_and_again_loses_nothing_and_disturbs_nobody() -> None:
    these = pairs(45)
    mine, others = these[:40], these[40:]
    async with (
        LocalExchange(markets(45, 40.0), weight_limit=10**6) as exchange,
        crowd(exchange.url, these, limits=Limits(max_streams=80)) as them,
    ):
        await them.grow(these, 3)
        for _ in range(4):
            exchange.inject(Fault("refuse", status=503, count=DROP))
            await exchange.inject(Fault("drop", stream=stream(mine[0].y))).wait()
            await them.until(lambda: them.feed(mine[0]).health().state == "reconnecting")
            # While it is down, the others get their ticks and know nothing of it.
            await them.grow(others, 1)
            assert [c.state for c in them.group.connections()] == ["reconnecting", "live"]
            assert {them.feed(pair).health().state for pair in others} == {"live"}
            assert {them.feed(pair).health().state for pair in mine} == {"reconnecting"}
            assert them.group.health().state == "reconnecting"
            exchange.faults.clear()
            await them.grow(mine, 3)
        first, second = them.group.connections()
        assert (first.reconnects, second.reconnects) == (4, 0)
        assert second.attempts == 1
        assert {them.feed(pair).health().reconnects for pair in others} == {0}
    truths = Truths(45, 40.0)
    for pair in these:
        truths.check(pair, them[pair].ticks)
        assert them[pair].gaps == []
    assert not any(them[pair].warnings for pair in others)
    assert all(them[pair].warnings for pair in mine)
    assert sum(them.feed(pair).health().repaired for pair in mine) > 0
    assert sum(them.feed(pair).health().repaired for pair in others) == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("stall", seconds=60.0),
        Fault("half_open", seconds=60.0),
        Fault("close", code=1008),
        Fault("shutdown", seconds=0.3),
        Fault("oversize", size=70_000),
        Fault("gap", count=3),
    ],
    ids=lambda fault: fault.kind,
)
async def test_whatever_befalls_one_connection_leaves_the_other_alone(fault: Fault) -> None:
    these = pairs(4)
    hit = stream(these[0].y)
    timeouts = quick(idle_min_s=1.5, idle_busy_s=1.6, ping_after_s=0.3, pong_s=1.5)
    limits = Limits(max_streams=4, max_frame_bytes=65_536)
    async with (
        LocalExchange(markets(4, 200.0)) as exchange,
        crowd(exchange.url, these, timeouts=timeouts, limits=limits) as them,
    ):
        await them.grow(these, 10)
        told = {name: getattr(fault, name) for name in ("seconds", "count", "code", "size")}
        await exchange.inject(Fault(fault.kind, stream=hit, **told)).wait()
        if fault.kind == "gap":
            await them.until(lambda: them.feed(these[0]).health().repaired >= 3)
        else:
            await them.until(lambda: them.group.connections()[0].reconnects == 1)
        await them.grow(these, 10)
        first, second = them.group.connections()
        assert first.reconnects == (fault.kind != "gap")
        assert (second.reconnects, second.attempts) == (0, 1)
    truths = Truths(4, 200.0)
    for pair in these:
        truths.check(pair, them[pair].ticks)
    assert them[these[2]].warnings == them[these[3]].warnings == []
    assert them.feed(these[2]).health().repaired == 0


async def test_a_pair_whose_legs_come_over_two_connections() -> None:
    these = pairs(4)
    across = Pair(these[0].y, these[2].x)
    async with (
        LocalExchange(markets(4, 100.0)) as exchange,
        crowd(exchange.url, these, limits=FOUR, align_s=30.0) as them,
    ):
        them.run([across])
        await them.grow([*these, across], 20)
        assert exchange.stats().streams == 8
        assert [c.streams for c in them.group.connections()] == [4, 4]
        exchange.inject(Fault("refuse", status=503, count=DROP))
        await exchange.inject(Fault("drop", stream=stream(across.x))).wait()
        await them.until(lambda: them.feed(across).health().state == "reconnecting")
        await them.grow(these[:2], 20)
        assert them.feed(these[0]).health().state == "live"
        assert them.feed(across).health().state == "reconnecting"
        exchange.faults.clear()
        await them.grow([*these, across], 20)
        health = them.feed(across).health()
        assert (health.state, health.reconnects, health.attempts) == (
            "live",
            1,
            sum(c.attempts for c in them.group.connections()),
        )
    truths = Truths(4, 100.0)
    for pair in (*these, across):
        truths.check(pair, them[pair].ticks)
        order = [(int(t["time_ns"]), int(t["leg"]), int(t["id"])) for t in them[pair].ticks]
        assert order == sorted(order)


async def test_a_symbol_of_many_pairs_is_received_once_and_its_gaps_fetched_once() -> None:
    base = pairs(40)[0].x
    these = [Pair(pair.y, base) for pair in pairs(40)]
    wanted = [base, *(pair.y for pair in these)]
    async with (
        LocalExchange(markets(40, 20.0, begins=wanted)) as exchange,
        crowd(exchange.url, these) as them,
    ):
        await them.grow(these, 5)
        assert exchange.stats().streams == 41
        asked = exchange.stats().requests
        await exchange.inject(Fault("gap", stream=stream(base), count=3)).wait()
        await them.until(lambda: all(them.feed(pair).health().repaired for pair in these))
        assert exchange.stats().requests - asked <= 2  # pages, where 40 pairs miss the same
        await them.grow(these, 5)
        assert them.group.health().held == 0
    truths = Truths(40, 20.0)
    for pair in these:
        truths.check(pair, them[pair].ticks)
        assert them.feed(pair).health().gaps == 0
    first = set(them[these[0]].ids(1)) & set(them[these[-1]].ids(1))
    assert len(first) > 10


async def test_pairs_join_and_leave_without_a_new_connection() -> None:
    these = pairs(80)
    late = these[1:]
    early = these[:1]
    async with (
        LocalExchange(markets(80, 20.0, begins=early[0])) as exchange,
        crowd(exchange.url, early) as them,
    ):
        await them.grow(early, 2)
        for pair in late:
            them.run([pair])
            await asyncio.sleep(0)  # one by one, as cells do: a message for each would be too many
        await them.grow(these, 2)
        stats = exchange.stats()
        assert (stats.handshakes, stats.streams) == (1, 160)
        gone = late[:40]
        shared = Pair(gone[0].y, early[0].y)  # keeps one symbol of those that go
        them.run([shared])
        await them.grow([shared], 1)
        for pair in gone:
            them.tasks[pair].cancel()
        await them.until(lambda: exchange.stats().streams == 160 - 79)
        counts = [them[pair].count for pair in gone]
        stay = [*early, *late[40:], shared]
        await them.grow(stay, 2)
        assert [them[pair].count for pair in gone] == counts
        assert {them.feed(pair).health().state for pair in gone} == {"stopped"}
        assert {them.feed(pair).health().state for pair in stay} == {"live"}
        them.run(gone[:1])  # and comes back
        await them.grow(gone[:1], 2)
        assert exchange.stats().handshakes == 1
        assert them.group.health().reconnects == 0
    truths = Truths(80, 20.0)
    for pair in (*stay, gone[0]):
        truths.check(pair, them[pair].ticks)


async def test_closing_the_group_leaves_no_task_and_no_socket() -> None:
    these = pairs(4)
    process = psutil.Process()
    async with LocalExchange(markets(4, 50.0)) as exchange:
        async with crowd(exchange.url, these, limits=FOUR) as them:
            await them.grow(these, 2)
            await them.group.close()
            assert all(task.done() and task.exception() is None for task in them.tasks.values())
            assert them.group.connections() == ()
            assert them.group.health().state == "stopped"
        ours = [c for c in process.net_connections() if c.raddr and c.raddr.port == exchange.port]
        assert [c for c in ours if c.status == "ESTABLISHED"] == []
        for pair in these:
            health = them.feed(pair).health()
            assert (health.state, health.detail) == ("stopped", "the group of feeds was closed")
            assert health.ticks == them[pair].count
        async with them.group as group:  # it can be used again
            them.run(these[:1])
            await them.grow(these[:1], 2)
            assert len(group.connections()) == 1


async def test_what_is_final_for_one_pair_or_connection_ends_no_other() -> None:
    these = pairs(3)
    unknown = Pair(these[0].y, "NOSUCHUSDT")
    async with (
        LocalExchange(markets(3, 50.0, begins=these[0])) as exchange,
        crowd(exchange.url, [*these[:2], unknown], limits=FOUR) as them,
    ):
        await them.grow(these[:2], 3)
        with pytest.raises(UnknownSymbolError, match="'NOSUCHUSDT'"):
            await them.tasks[unknown]
        assert them.feed(unknown).health().state == "failed"
        exchange.inject(Fault("refuse", status=451))
        them.run(these[2:])  # there is no room left: on a connection of its own
        with pytest.raises(GeoBlockedError, match="does not serve this location"):
            await them.tasks[these[2]]
        assert them.feed(these[2]).health().state == "failed"
        await them.grow(these[:2], 3)
        assert len(them.group.connections()) == 1
        assert them.group.health().state == "live"
        them.run(these[2:])  # tried again, it gets a new one
        await them.grow(these, 3)
        assert len(them.group.connections()) == 2


async def test_a_market_that_does_not_trade_is_no_trouble_to_those_that_do() -> None:
    busy, quiet = pairs(2)
    both = MarketGroup(
        [market(0, 50.0), market(1, 0.01)], start_condition=[stream(symbol) for symbol in busy]
    )
    async with (
        LocalExchange(both) as exchange,
        crowd(exchange.url, [busy, quiet], timeouts=quick(first_data_s=0.3)) as them,
    ):
        await them.grow([busy], 5)
        asked = exchange.stats().requests
        await them.until(lambda: exchange.stats().requests >= asked + 4)  # whether they traded
        await them.grow([busy], 5)
        connection = them.group.connections()[0]
        assert (connection.state, connection.silent, connection.attempts) == ("live", 2, 1)
        assert them.feed(busy).health().state == "live"
        health = them.feed(quiet).health()
        assert health.state == "connecting"
        assert health.detail.startswith("connected; waiting for the first data of Y1USDT@aggTrade")
    assert them[busy].warnings == them[quiet].warnings == []


async def test_a_stream_that_is_mute_is_told_to_its_own_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Trades this much younger than the silence tell that the market trades: both clocks are one.
    monkeypatch.setattr("pairlab.feeds.binance.exchange_metadata._QUIET_MARGIN_MS", 50.0)
    these = pairs(2)
    timeouts = quick(first_data_s=0.4)
    async with LocalExchange(markets(2, 100.0)) as exchange:
        exchange.inject(Fault("silent", stream=stream(these[1].x)))
        async with crowd(exchange.url, these, timeouts=timeouts) as them:
            await them.grow(these, 5)
            assert them.group.connections()[0].reconnects >= 1
            assert them[these[1]].warnings[0].startswith("subscribed but silent: X1USDT@aggTrade")
            assert them[these[0]].warnings == []
    truths = Truths(2, 100.0)
    for pair in these:
        truths.check(pair, them[pair].ticks)


def test_what_is_lost_or_repeated_or_wrong_is_seen() -> None:
    pair = pairs(1)[0]
    truths = Truths(1, 50.0)
    good = np.concatenate([truths.first(symbol, 20) for symbol in pair])
    truths.check(pair, good)
    wrong = good.copy()
    wrong["price"][30] = np.nextafter(wrong["price"][30], np.inf)
    swapped = good[[1, 0, *range(2, 40)]]
    for bad in (np.delete(good, 7), np.insert(good, 7, good[7]), wrong, swapped, good[:20]):
        with pytest.raises(AssertionError):
            truths.check(pair, bad)


def test_a_pair_of_a_group_is_a_feed_and_always_the_same() -> None:
    group = FeedGroup()
    feed = group.pair("BTCUSDT", "ETHUSDT")
    assert isinstance(feed, Feed)
    assert group.pair("BTCUSDT", "ETHUSDT") is feed
    assert (feed.name, feed.real_money, feed.stream) == ("BINANCE", True, "aggTrade")
    assert feed.health().state == "connecting"
    assert group.health().detail == "no pair runs"
    with pytest.raises(DataError, match="two symbols"):
        group.pair("BTCUSDT", "BTCUSDT")
    with pytest.raises(DataError, match="align_s = 61"):
        FeedGroup(align_s=61)
    with pytest.raises(DataError, match="stream = 'kline'"):
        FeedGroup(stream="kline")


async def test_one_group_runs_on_one_loop() -> None:
    these = pairs(2)
    async with (
        LocalExchange(markets(2, 50.0, begins=these[0])) as exchange,
        crowd(exchange.url, these[:1]) as them,
    ):
        await them.grow(these[:1], 1)
        other = them.feed(these[1])

        def elsewhere() -> None:
            asyncio.run(other.run(Catcher()))

        with pytest.raises(FeedError, match="on one event loop"):
            await asyncio.to_thread(elsewhere)
        await them.grow(these[:1], 1)
