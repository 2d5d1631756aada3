"""A feed that loses nothing: gaps, repeats, what overflows, and the order in the end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.feeds.config import Limits
from pairlab.feeds.connection.connection import RECORDING_ENDED
from tests.feeds.scripted import (
    Catcher,
    ShiftedClock,
    agg,
    local,
    playing,
    quick,
    row,
    run,
    running,
    send,
    tell,
)

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_a_gap_is_fetched_in_pages_and_handed_on_in_order() -> None:
    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1)
        await send(ws, 1, 1)
        await send(ws, 0, 2503)
        await send(ws, 1, *range(2, 2504))
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(gapped) as script:
        tell(script, 0, *range(1, 2600))
        feed = local(script)
        await run(feed, catcher)
    assert catcher.ids(0) == [*range(1, 2504)]
    assert catcher.ids(1) == [*range(1, 2504)]
    # Held back together, they come out by time, y before x.
    order = [(t["time_ns"], t["leg"]) for t in catcher.ticks]
    assert order == sorted(order)
    pages = [q["fromId"] for path, q in script.asked if path == "aggTrades"]
    assert pages == ["2", "1002", "2002"]
    health = feed.health()
    assert (health.gaps, health.missing, health.repaired, health.held) == (0, 0, 2501, 0)
    assert catcher.gaps == []


async def test_duplicates_are_dropped_and_counted() -> None:
    async def twice(ws: ServerConnection) -> None:
        await send(ws, 0, 1, 1, 2, 2, 3, 1)
        await send(ws, 1, 7, 8, 8)
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(twice) as script:
        feed = local(script)
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 2, 3], [7, 8])
    assert feed.health().dropped == {"duplicate": 4}


async def test_what_was_lost_between_two_connections_is_fetched() -> None:
    async def broken(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            await send(ws, 0, 1, 2)
            await send(ws, 1, 1, 2)
            ws.transport.abort()
        else:
            await send(ws, 1, 5)
            await send(ws, 0, 6)
            await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(broken) as script:
        for leg in (0, 1):
            tell(script, leg, *range(1, 9))
        feed = local(script)
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([*range(1, 7)], [*range(1, 6)])
    order = [(t["time_ns"], t["leg"]) for t in catcher.ticks[4:]]
    assert order == sorted(order)
    assert feed.health().reconnects == 1


async def test_a_leg_that_stays_silent_after_a_reconnect_holds_nothing_back_for_long() -> None:
    async def broken(ws: ServerConnection) -> None:
        if len(script.paths) == 1:
            await send(ws, 0, 1)
            await send(ws, 1, 1)
            ws.transport.abort()
        else:
            await send(ws, 1, 2, 3)
            await ws.wait_closed()

    async with playing(broken) as script:
        tell(script, 0, 1, 2)
        async with running(local(script)) as catcher:
            await catcher.until(lambda: catcher.count == 5)
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 2], [1, 2, 3])


Answer = Callable[[list[dict[str, Any]], int], tuple[int, bytes]]


def page(rows: list[dict[str, Any]]) -> tuple[int, bytes]:
    return 200, json.dumps(rows).encode()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda rows, n: page(rows[:1]), id="short"),
        pytest.param(lambda rows, n: page(rows if n > 2 else []), id="empty at first"),
        pytest.param(lambda rows, n: page(rows) if n > 2 else (503, b""), id="503 at first"),
        pytest.param(
            lambda rows, n: page(rows) if n > 2 else (200, b"["), id="unreadable at first"
        ),
        pytest.param(lambda rows, n: page(rows[1:] if n == 1 else rows), id="not from the start"),
        pytest.param(lambda rows, n: page(rows[::-1]), id="backwards"),
        pytest.param(lambda rows, n: page(rows * 2), id="doubled"),
    ],
)
async def test_rest_that_answers_badly_is_asked_again(answer: Answer) -> None:
    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1, 6, 7)
        await send(ws, 1, 1, 2)
        await ws.close(1000, RECORDING_ENDED)

    asked = 0

    def rest(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
        nonlocal asked
        if not path.endswith("aggTrades"):
            return None
        asked += 1
        first = int(query["fromId"])
        return answer([row(n, ms=n) for n in range(first, first + int(query["limit"]))], asked)

    catcher = Catcher()
    async with playing(gapped, rest=rest) as script:
        feed = local(script)
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([*range(1, 8)], [1, 2])
    assert (feed.health().gaps, feed.health().missing) == (0, 0)


@pytest.mark.slow
async def test_a_gap_that_waited_its_turn_has_its_own_time() -> None:
    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1, *range(3, 1504), 1505)  # too far apart for one page
        await send(ws, 1, 1, 2)
        await ws.close(1000, RECORDING_ENDED)

    asked: Counter[int] = Counter()
    clock = ShiftedClock()

    def rest(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
        if not path.endswith("aggTrades"):
            return None
        first = int(query["fromId"])
        asked[first] += 1
        rows = [row(n, ms=n) for n in range(first, first + int(query["limit"]))]
        if asked[first] > 3:
            return page(rows)
        # Each gap takes its while: the second one is older than the limit when its turn comes.
        clock.ahead_s += 24.0
        return 503, b""

    catcher = Catcher()
    async with playing(gapped, rest=rest) as script:
        feed = local(script, timeouts=quick(repair_s=100.0), clock=clock)
        await run(feed, catcher)
    assert catcher.ids(0) == [*range(1, 1506)]
    assert (feed.health().gaps, feed.health().missing) == (0, 0)
    assert asked == {2: 4, 1504: 4}


@pytest.mark.slow
async def test_a_gap_that_waits_for_the_other_leg_has_its_own_time() -> None:
    fails = 4  # of 20 s each: two legs one after the other outlast the limit
    ids = range(1, 31)

    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1)
        await send(ws, 1, 1)
        for leg in (0, 1):
            await send(ws, leg, *ids[2:])
        await ws.close(1000, RECORDING_ENDED)

    asked: Counter[tuple[str, str]] = Counter()
    clock = ShiftedClock()

    def rest(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
        if not path.endswith("aggTrades"):
            return None
        key = query["symbol"], query["fromId"]
        asked[key] += 1
        if key[1] != "2" or asked[key] > fails:
            return None
        clock.ahead_s += 20.0
        return 503, b""

    catcher = Catcher()
    async with playing(gapped) as script:
        for leg in (0, 1):
            tell(script, leg, *ids)
        script.rest = rest
        # No room: until leg 0's gap is filled, to fill leg 1's would only add to what waits.
        feed = local(
            script,
            timeouts=quick(repair_s=100.0),
            limits=Limits(max_held_ticks=20),
            clock=clock,
        )
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([*ids], [*ids])
    assert (feed.health().gaps, feed.health().missing) == (0, 0)
    assert [n for (_, first), n in asked.items() if first == "2"] == [fails + 1] * 2


async def test_a_gap_that_stays_is_marked_before_the_first_tick_after_it() -> None:
    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1, 2)
        await send(ws, 1, 1)
        await send(ws, 0, 7, 8)
        await send(ws, 1, 2)
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(gapped) as script:
        tell(script, 0, 4)  # all but one of four are gone
        feed = local(script, timeouts=quick(repair_s=0.01))
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 2, 4, 7, 8], [1, 2])
    health = feed.health()
    assert (health.gaps, health.missing) == (1, 3)
    assert [missing for _, missing in catcher.gaps] == [1, 2]
    warnings = [e.message for e in catcher.log if e.level == "warning"]
    assert len(warnings) == 1
    assert "BTCUSDT: 3 trades are missing between ids 3 and 6" in warnings[0]


async def test_what_the_exchange_keeps_no_longer_is_marked_and_the_rest_fetched() -> None:
    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1)
        await send(ws, 1, 1)
        await send(ws, 0, 10)
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(gapped) as script:
        tell(script, 0, *range(6, 11))
        feed = local(script)
        await run(feed, catcher)
    assert catcher.ids(0) == [1, 6, 7, 8, 9, 10]
    assert [missing for _, missing in catcher.gaps] == [4]
    assert (feed.health().missing, feed.health().repaired) == (4, 4)
    assert "between ids 2 and 5: the exchange no longer keeps them" in catcher.log[-1].message


async def test_raw_trades_have_their_gap_marked_and_wait_for_nobody() -> None:
    def trade(leg: int, n: int) -> str:
        frame = json.loads(agg(leg, n, ms=n))
        data = frame["data"]
        data.update(e="trade", t=data.pop("a"), X="MARKET")
        return json.dumps(frame)

    async def gapped(ws: ServerConnection) -> None:
        for leg, n in ((0, 1), (1, 1), (0, 5), (0, 6), (1, 2)):
            await ws.send(trade(leg, n))
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(gapped) as script:
        feed = local(script, stream="trade")
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([1, 5, 6], [1, 2])
    assert [missing for _, missing in catcher.gaps] == [3]
    before = catcher.gaps[0][0]
    assert catcher.ticks[before]["id"] == 5
    assert (feed.health().gaps, feed.health().missing) == (1, 3)
    assert [path for path, _ in script.asked if path == "aggTrades"] == []


async def test_what_overflows_the_room_is_fetched_later() -> None:
    release = asyncio.Event()

    async def gapped(ws: ServerConnection) -> None:
        await send(ws, 0, 1)
        await send(ws, 1, 1)
        await send(ws, 0, *range(3, 103))
        await send(ws, 1, *range(2, 102))
        release.set()
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(gapped) as script:
        for leg in (0, 1):
            tell(script, leg, *range(1, 103))
        script.rest = lambda path, query: (
            (503, b"") if path.endswith("aggTrades") and not release.is_set() else None
        )
        feed = local(script, limits=Limits(max_held_ticks=50))
        await run(feed, catcher)
    assert (catcher.ids(0), catcher.ids(1)) == ([*range(1, 103)], [*range(1, 102)])
    health = feed.health()
    assert health.dropped == {"overflow": 150}
    assert (health.gaps, health.missing) == (0, 0)


async def test_aligned_legs_come_by_time_whatever_arrived_first() -> None:
    async def crossed(ws: ServerConnection) -> None:
        await send(ws, 0, 1, 3)
        await send(ws, 1, 1, 2, 3)
        await send(ws, 0, 4, 5)
        await send(ws, 1, 4)
        await ws.close(1000, RECORDING_ENDED)

    catcher = Catcher()
    async with playing(crossed) as script:
        tell(script, 0, *range(1, 6))
        await run(local(script, align_s=30.0), catcher)
    assert [(int(t["id"]), int(t["leg"])) for t in catcher.ticks] == [
        (n, leg) for n in range(1, 6) for leg in (0, 1) if (n, leg) != (5, 1)
    ]


async def test_aligned_ticks_wait_no_longer_than_told() -> None:
    async def one_leg(ws: ServerConnection) -> None:
        await send(ws, 1, 1)
        await send(ws, 0, 2, 3, 4)
        await ws.wait_closed()

    async with playing(one_leg) as script, running(local(script, align_s=0.05)) as catcher:
        await catcher.until(lambda: catcher.count == 4)
    assert catcher.ids(0) == [2, 3, 4]
