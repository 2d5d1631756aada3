"""Ids that start again, after a maintenance of the exchange: recognised, told, and gone on with."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.sequencing.sequencer import Sequencer
from tests.feeds.scripted import NOW_MS, agg, local, playing, row, running

pytestmark = pytest.mark.usefixtures("no_task_left")


def tick(id_: int, time_ns: int, leg: int = 0) -> TickTuple:
    return (time_ns, time_ns + 5, id_, leg, 100.0, 1.0, False)


def quote(leg: int, id_: int, ms: int) -> str:
    symbol = ("BTCUSDT", "ETHUSDT")[leg]
    data = {
        "e": "bookTicker", "u": id_, "s": symbol, "b": "100.0", "B": "1", "a": "100.2", "A": "2",
        "T": NOW_MS + ms, "E": NOW_MS + ms,
    }  # fmt: skip
    return json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})


def out(sequencer: Sequencer) -> list[int]:
    return [t[2] for _, _, part in sequencer.take() for t in part]


@pytest.mark.parametrize("first", [1, 5, 100, 8_999_990])
def test_quotes_that_start_again_go_on(first: int) -> None:
    told: list[tuple[int, int, int]] = []
    sequencer = Sequencer(contiguous=False, on_new_series=lambda *what: told.append(what))
    sequencer.accept_many(tick(9_000_000 + n, n) for n in range(10))
    assert len(out(sequencer)) == 10
    sequencer.accept_many(tick(first + 3 * n, 1_000 + n) for n in range(5))
    ((missing, _, ticks),) = sequencer.take()
    assert missing == 1
    assert [t[2] for t in ticks] == [first + 3 * n for n in range(5)]
    assert told == [(0, 9_000_010, first)]
    assert not sequencer.dropped


def test_quotes_of_two_connections_that_overlap_are_no_new_series() -> None:
    told: list[tuple[int, ...]] = []
    sequencer = Sequencer(contiguous=False, on_new_series=lambda *what: told.append(what))
    sequencer.accept_many(tick(100 + n, n // 2) for n in range(50))
    sequencer.accept_many(tick(100 + n, n // 2) for n in range(20, 50))
    sequencer.accept_many(tick(150 + n, 25 + n) for n in range(5))
    assert out(sequencer) == [*range(100, 155)]
    assert sequencer.dropped == {"duplicate": 30}
    assert told == []


@pytest.mark.parametrize("expected", [600, 90_000, 99_999, 5_000_000])
@pytest.mark.parametrize("first", [0, 1, 7, 400])
def test_trades_that_start_again_go_on_with_what_rest_has(expected: int, first: int) -> None:
    told: list[tuple[int, ...]] = []
    sequencer = Sequencer(on_new_series=lambda *what: told.append(what))
    sequencer.accept_many(tick(expected - 5 + n, n) for n in range(5))
    assert len(out(sequencer)) == 5
    sequencer.accept_many(tick(first + n, 1_000 + first + n) for n in range(6))
    assert told == [(0, expected, first)]
    if first:  # REST knows the series from id 1, and the same ids of the old one
        assert [gap.first for gap in sequencer.open_gaps()] == [0]
        sequencer.fill(0, [tick(n, -10 + n) for n in range(1, 4)])
        sequencer.fill(0, [tick(n, 1_000 + n) for n in range(1, first + 3)])
    parts = sequencer.take()
    assert parts[0][0] == 1
    assert [t[2] for _, _, part in parts for t in part] == [*range(min(first, 1), first + 6)]
    assert sequencer.open_gaps() == []
    sequencer.accept(tick(first + 6, 3_000))
    assert out(sequencer) == [first + 6]
    assert not sequencer.dropped


@pytest.mark.parametrize(("first", "asked_from"), [(99_999, 0), (150_000, 50_001)])
def test_of_a_long_new_series_as_many_trades_are_asked_for_as_a_gap_may_have(
    first: int, asked_from: int
) -> None:
    sequencer = Sequencer(max_gap_trades=100_000)
    sequencer.accept_many(tick(5_000_000 + n, n) for n in range(5))
    sequencer.accept_many(tick(first + n, 1_000 + n) for n in range(3))
    (gap,) = sequencer.open_gaps()
    assert (gap.first, gap.last) == (asked_from, first - 1)
    # REST is slow to forget the old series, and knows the new one from id 70,000 on.
    sequencer.fill(0, [tick(asked_from, -10)])
    sequencer.fill(0, [tick(n, 900) for n in range(70_000, 70_003)])
    assert [gap.first for gap in sequencer.open_gaps()] == [70_003]
    sequencer.fill(0, [tick(n, 900) for n in range(70_003, first)])
    assert out(sequencer) == [*range(5_000_000, 5_000_005), *range(70_000, first + 3)]
    assert (sequencer.gaps, sequencer.missing) == (1, 0)


def test_a_new_series_of_raw_trades_may_have_holes_and_consumed_ids() -> None:
    sequencer = Sequencer(repairable=False)
    sequencer.accept_many(tick(90_000 + n, n) for n in range(5))
    sequencer.accept_many(
        [tick(3, 1_000), ConsumedId(1_001, 1_006, 4, 0), tick(6, 1_002), tick(7, 1_003)]
    )
    while sequencer.open_gaps():
        sequencer.give_up(0)
    assert out(sequencer) == [*range(90_000, 90_005), 3, 6, 7]


def test_ids_that_jump_about_between_ids_in_order_are_no_new_series() -> None:
    told: list[tuple[int, ...]] = []
    sequencer = Sequencer(on_new_series=lambda *what: told.append(what))
    for n in range(20):
        sequencer.accept(tick(1_000 + n, n))
        sequencer.accept(tick(10**7 + n, n))
    sequencer.accept(tick(1_020, 20))
    assert out(sequencer) == [*range(1_000, 1_021)]
    assert sequencer.dropped == {"stray id": 20}
    assert told == []


def test_late_duplicates_are_no_new_series() -> None:
    told: list[tuple[int, ...]] = []
    sequencer = Sequencer(on_new_series=lambda *what: told.append(what))
    sequencer.accept_many(tick(1_000 + n, n) for n in range(20))
    sequencer.accept_many(tick(1_000 + n, n) for n in range(5, 20))
    sequencer.accept_many(tick(1_030 + n, 30 + n) for n in range(5))  # behind a gap
    sequencer.accept_many(tick(1_005 + n, 5 + n) for n in range(15))
    assert told == []
    assert sequencer.dropped == {"duplicate": 30}


def test_a_new_series_that_rest_does_not_know_goes_on_without_it() -> None:
    sequencer = Sequencer()
    sequencer.accept_many(tick(600 + n, n) for n in range(5))
    sequencer.accept_many(tick(50 + n, 1_000 + n) for n in range(4))
    assert sequencer.give_up(0) == 0
    assert out(sequencer) == [*range(600, 605), *range(50, 54)]
    assert (sequencer.gaps, sequencer.missing) == (1, 0)


async def test_a_feed_of_quotes_goes_on_after_a_maintenance() -> None:
    connections = 0

    async def market(ws: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        first, ms = (9_000_000, 0) if connections == 1 else (1, 60_000)
        for n in range(20):
            await ws.send(quote(0, first + 2 * n, ms + n))
            await ws.send(quote(1, first + 2 * n + 1, ms + n))
        if connections == 1:
            await ws.close(1012, "maintenance")
        await ws.wait_closed()

    async with playing(market) as script:
        feed = local(script, stream="bookTicker")
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 80)
            assert catcher.ids(0)[20:] == [1 + 2 * n for n in range(20)]
            assert feed.health().state == "live"
            said = [e.message for e in catcher.log if "a new series has begun" in e.message]
            assert len(said) == 2
            assert "BTCUSDT" in said[0]
            assert not feed.health().dropped.get("duplicate")


async def test_a_feed_of_trades_below_100_000_goes_on_and_fetches_what_it_missed() -> None:
    connections = 0

    def at(leg: int, id_: int, ms: int) -> str:
        return agg(leg, id_, ms=ms)

    async def market(ws: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        first, ms = (50_000, 0) if connections == 1 else (11, 60_011)
        for n in range(10):
            for leg in (0, 1):
                await ws.send(at(leg, first + n, ms + n))
        if connections == 1:
            new: list[dict[str, Any]] = [row(n, ms=60_000 + n) for n in range(1, 21)]
            for symbol in script.trades:
                script.trades[symbol] = new
            await asyncio.sleep(0)
            await ws.close(1012, "maintenance")
        await ws.wait_closed()

    async with playing(market) as script:
        feed = local(script)
        async with running(feed) as catcher:
            await catcher.until(lambda: catcher.count == 60)
            for leg in (0, 1):
                assert catcher.ids(leg) == [*range(50_000, 50_010), *range(1, 21)]
            health = feed.health()
            assert (health.state, health.missing, health.gaps) == ("live", 0, 2)


@pytest.mark.parametrize("contiguous", [True, False])
def test_a_series_that_restarts_after_a_trade_stamped_far_ahead_goes_on(contiguous: bool) -> None:
    second = 1_000_000_000
    limit_ns = 10 * second
    sequencer = Sequencer(contiguous=contiguous, repairable=False, ahead_ns=lambda leg: limit_ns)

    def at(id_: int, second_: float, ahead_s: float = 0.0) -> TickTuple:
        received_ns = int(second_ * second)
        return (received_ns + int(ahead_s * second), received_ns, id_, 0, 1.0, 1.0, False)

    sequencer.accept_many([at(n, n) for n in range(1, 100)])
    sequencer.accept(at(100, 100, ahead_s=86_400.0))
    assert len(out(sequencer)) == 100
    # What a second connection repeats is no new series,
    sequencer.accept_many([at(n, n + 0.5, ahead_s=-0.5) for n in range(95, 101)])
    assert out(sequencer) == []
    assert sequencer.dropped == {"duplicate": 6}
    # and what begins anew, after the maintenance, is not taken for old for a day.
    sequencer.accept_many([at(n, 300 + n) for n in range(6)])
    assert out(sequencer) == [*range(6)]
