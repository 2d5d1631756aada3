"""The feed against the local exchange's own faults, where REST cannot make good."""

from __future__ import annotations

import itertools

import pytest

from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.local_exchange import LocalExchange, SyntheticMarket
from pairlab.local_exchange.server.faults import Fault, Faults
from tests.feeds.scripted import PAIR, at_once, quick, running

pytestmark = pytest.mark.usefixtures("no_task_left")


def removed_between(faults: Faults, leg: int, first: int, last: int) -> list[int]:
    stream = f"{PAIR[leg].lower()}@trade"
    return sorted(n for n in faults.removed.get(stream, []) if first < n < last)


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_number_of_missing_trades_is_the_number_removed(seed: int) -> None:
    faults = Faults({Fault("gap", count=3): 40.0}, seed=seed)
    market = SyntheticMarket(
        seed=seed, rate_per_s=20_000, speed=None, start_condition="subscribed", history_s=0
    )
    async with LocalExchange(market, faults=faults) as exchange:
        feed = BinanceFeed(PAIR, stream="trade", url=exchange.url, timeouts=quick())
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count > 20_000)
        gone = []
        gaps = 0
        for leg in (0, 1):
            ids = catcher.ids(leg)
            assert ids == sorted(set(ids))
            gone += (lost := removed_between(faults, leg, ids[0], ids[-1]))
            gaps += sum(b != a + 1 for a, b in itertools.pairwise([-1, *lost]))
            assert sorted({*ids, *lost}) == [*range(ids[0], ids[-1] + 1)]
    assert len(gone) > 300
    health = feed.health()
    assert health.missing == len(gone)
    assert health.gaps == gaps
    assert sum(missing for _, missing in catcher.gaps) == len(gone)
    # Each mark comes before the first tick after its gap; what lies between is the other leg's.
    ticks = catcher.ticks
    arrived = [set(catcher.ids(leg)) for leg in (0, 1)]
    for before, _ in catcher.gaps:
        after = ticks[before : before + 1_000]
        firsts = [(leg, after["id"][after["leg"] == leg][:1].tolist()) for leg in (0, 1)]
        assert any(id_ - 1 not in arrived[leg] for leg, ids in firsts for id_ in ids)


async def test_rows_that_only_use_up_an_id_are_no_gap() -> None:
    faults = Faults({Fault("na"): 50.0}, seed=3)
    market = SyntheticMarket(
        seed=3, rate_per_s=20_000, speed=None, start_condition="subscribed", history_s=0
    )
    async with LocalExchange(market, faults=faults) as exchange:
        feed = BinanceFeed(PAIR, stream="trade", url=exchange.url, timeouts=quick())
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count > 10_000)
        gone = []
        for leg in (0, 1):
            ids = catcher.ids(leg)
            gone += (used := removed_between(faults, leg, ids[0], ids[-1]))
            assert sorted({*ids, *used}) == [*range(ids[0], ids[-1] + 1)]
    assert len(gone) > 100
    health = feed.health()
    assert (health.gaps, health.missing) == (0, 0)
    assert health.dropped["not market"] >= len(gone)
    assert catcher.gaps == []


async def test_quotes_arrive_as_mid_prices_through_a_storm() -> None:
    faults = Faults({Fault("drop"): 300.0, Fault("duplicate", count=3): 50.0}, seed=5)
    market = SyntheticMarket(
        seed=5, rate_per_s=20_000, speed=None, start_condition="subscribed", history_s=0
    )
    async with LocalExchange(market, faults=faults) as exchange:
        feed = BinanceFeed(
            PAIR, stream="bookTicker", url=exchange.url, timeouts=quick(), retry=at_once()
        )
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count > 5_000)
    assert faults.counts["drop"] > 3
    for leg, (low, high) in enumerate(((30_000.0, 120_000.0), (1_000.0, 5_000.0))):
        ids = catcher.ids(leg)
        assert ids == sorted(set(ids))
        prices = catcher.ticks["price"][catcher.ticks["leg"] == leg]
        assert low < prices.min() <= prices.max() < high
    health = feed.health()
    assert health.dropped["duplicate"] > 0
    # No id tells what quotes came while nothing was connected: each break is a gap.
    assert 0 < health.gaps == health.missing <= health.reconnects + 1
    assert health.held == 0


@pytest.mark.slow
async def test_a_connection_is_replaced_before_the_exchange_ends_it() -> None:
    market = SyntheticMarket(seed=6, rate_per_s=2_000, start_condition="subscribed", history_s=0)
    async with LocalExchange(market, lifetime_s=2.0) as exchange:
        feed = BinanceFeed(
            PAIR, url=exchange.url, timeouts=quick(rotate_after_s=0.4, repair_grace_s=1.0)
        )
        async with running(feed) as catcher:
            await catcher.until(lambda: feed.health().reconnects >= 3)
            before = exchange.stats().requests
            await catcher.until(lambda: feed.health().reconnects >= 5)
            assert feed.health().state == "live"
    for leg in (0, 1):
        ids = catcher.ids(leg)
        assert ids == [*range(ids[0], ids[-1] + 1)]
    health = feed.health()
    assert (health.repaired, health.gaps) == (0, 0)
    assert health.dropped["duplicate"] > 0
    assert not any("closed" in entry.message for entry in catcher.log)
    assert exchange.stats().requests - before <= 12  # the clock, three times a connection
