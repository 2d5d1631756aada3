"""Lists with odd entries, and symbols that do not trade: what still serves, and what is told."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.errors import UnknownSymbolError
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.exchange_info import read_exchange_info
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.feeds.config import Timeouts
from tests.feeds.scripted import (
    NOW_MS,
    PAIR,
    Catcher,
    Script,
    agg,
    local,
    nothing_more,
    playing,
    quick,
    run,
    send,
)

pytestmark = pytest.mark.usefixtures("no_task_left")

GOOD = [
    {
        "symbol": s,
        "filters": [{"filterType": "PRICE_FILTER", "tickSize": size}],
        "status": "TRADING",
    }
    for s, size in (("BTCUSDT", "0.10"), ("ETHUSDT", "0.01"))
]


def info(*more: Any, limits: Any = (), **changes: Any) -> bytes:
    """An answer with further entries before the good ones, or with other values for ETHUSDT."""
    eth = {**GOOD[1], **changes}
    return json.dumps({"symbols": [*more, GOOD[0], eth], "rateLimits": limits}).encode()


def told(catcher: Catcher, words: str) -> bool:
    return any(words in entry.message for entry in catcher.log)


ODD = [
    None, 7, "BTCUSDT", [], {}, {"symbol": None}, {"symbol": 5, "filters": []}, {"filters": None},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
async def test_one_odd_entry_leaves_the_others_and_the_clock(odd: Any) -> None:
    catcher = Catcher()

    async def one_each(ws: ServerConnection) -> None:
        await ws.send(agg(0, 1))
        await ws.send(agg(1, 1))
        await catcher.until(lambda: not math.isnan(feed.health().clock_offset_ms))
        await ws.close(1000, "recording ended")

    async with playing(one_each) as script:
        script.rest = lambda path, _: (200, info(odd)) if "exchangeInfo" in path else None
        feed = local(script)
        await run(feed, catcher)
    assert catcher.count == 2
    assert feed.price_decimals() == (1, 2)
    assert math.isfinite(feed.health().clock_offset_ms)
    (entry,) = [entry for entry in catcher.log if "exchangeInfo" in entry.message]
    assert entry.level == "warning"
    assert "1 of 3 entries cannot be read and is left out" in entry.message


async def test_with_an_odd_entry_a_wrong_symbol_is_still_refused() -> None:
    async with playing(nothing_more) as script:
        script.rest = lambda path, _: (200, info(None)) if "exchangeInfo" in path else None
        feed = BinanceFeed(("BTCUSD", "ETHUSDT"), url=script.url, timeouts=quick())
        with pytest.raises(UnknownSymbolError, match="did you mean BTCUSDT"):
            await run(feed, Catcher())


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": None}, {"filters": 3}, {"filters": [None, 3]}, {"filters": {}},
        {"filters": [{"filterType": "PRICE_FILTER", "tickSize": None}]},
        {"filters": [{"filterType": "PRICE_FILTER", "tickSize": "1e-999999"}]},
    ],
)  # fmt: skip
def test_a_symbol_with_odd_filters_is_listed_without_decimals(changes: Any) -> None:
    reports: list[str] = []
    read = read_exchange_info(info(**changes), reports.append)
    assert read.lists(PAIR)
    assert (read.decimals("BTCUSDT"), read.decimals("ETHUSDT")) == (1, None)
    assert reports == []


@pytest.mark.parametrize("status", [None, 3, "TRADING"])
def test_an_odd_status_is_no_reason_to_distrust_a_symbol(status: Any) -> None:
    assert read_exchange_info(info(status=status), print).not_trading("ETHUSDT") == ""


@pytest.mark.parametrize(
    "limits",
    [
        None, 3, [None], [{"rateLimitType": 1}], "no",
        [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 0}],
        [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 0, "limit": 9}],
        [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": -1}],
    ],
)  # fmt: skip
def test_odd_rate_limits_cost_the_default(limits: Any) -> None:
    reports: list[str] = []
    read = read_exchange_info(info(limits=limits), reports.append)
    assert read.lists(PAIR)
    assert read.weight_per_min == 2400
    assert len(reports) == 1
    assert "2,400 a minute are assumed" in reports[0]


def test_a_good_rate_limit_serves_beside_an_odd_one() -> None:
    weight = {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000,
    }  # fmt: skip
    assert read_exchange_info(info(limits=[None, weight]), print).weight_per_min == 6000


@pytest.mark.parametrize("symbols", [b"null", b"[]"])
async def test_an_answer_without_symbols_does_not_take_the_clock_along(symbols: bytes) -> None:
    async with playing(nothing_more) as script:
        script.rest = lambda path, _: (200, b'{"symbols":%b}' % symbols) if "Info" in path else None
        catcher, feed = Catcher(), local(script)
        running = asyncio.create_task(run(feed, catcher))
        await catcher.until(
            lambda: any("unreadable exchangeInfo" in e.message for e in catcher.log)
        )
        assert math.isfinite(feed.health().clock_offset_ms)
        # An empty list would say of every symbol that it does not exist.
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def trade_row(id_: int) -> dict[str, Any]:
    return {"a": id_, "p": "100.5", "q": "1", "f": id_, "l": id_, "T": NOW_MS, "m": True}


@asynccontextmanager
async def client(script: Script) -> AsyncIterator[tuple[RestClient, list[str]]]:
    reports: list[str] = []
    url = script.url.replace("ws://", "http://")
    async with RestClient(url, report=reports.append) as rest:
        yield rest, reports


@pytest.mark.parametrize("odd", [None, [], {}, {"a": -5}, {**trade_row(2), "p": 100.5}])
async def test_an_odd_trade_leaves_the_other_trades(odd: Any) -> None:
    async with playing(nothing_more) as script, client(script) as (rest, reports):
        body = json.dumps([trade_row(1), odd, trade_row(3)]).encode()
        script.rest = lambda path, _: (200, body)
        assert [trade.a for trade in await rest.agg_trades("BTCUSDT", 1)] == [1, 3]
    assert len(reports) == 1
    assert "aggTrades: 1 of 3 entries cannot be read" in reports[0]


@pytest.mark.parametrize(
    "odd", [None, {}, [], [1, 2], [0] * 4 + [None, "0", 59_999], [0] * 4 + ["x", "0", 59_999],
            [0] * 4 + ["1", "0", None], [0] * 4 + ["1", "0", 10**30]],
)  # fmt: skip
async def test_an_odd_candle_leaves_the_other_candles(odd: Any) -> None:
    minute = NOW_MS // 60_000 * 60_000

    def candle(back: int) -> list[Any]:
        opened = minute - back * 60_000
        return [opened, "1", "1", "1", str(100 + back), "5", opened + 59_999, 1.5, None]

    async with playing(nothing_more) as script:
        body = json.dumps([candle(3), odd, candle(2), candle(1)]).encode()
        script.rest = lambda path, _: (200, body) if "klines" in path else None
        feed = local(script)
        closes = await feed.seed_closes("1m", 10)
    assert closes is not None
    times, y, x = closes
    np.testing.assert_array_equal(y, [103.0, 102.0, 101.0])
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(times, (minute - np.array([2, 1, 0]) * 60_000) * 10**6)


# -- symbols that do not trade -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "SETTLING"}, "ETHUSDT does not trade: it is being settled"),
        ({"status": "PENDING_TRADING"}, "its trading has not begun yet (status PENDING_TRADING)"),
        ({"status": "PENDING_TRADING", "onboardDate": 1_770_000_600_000},
         "it begins 2026-02-02 02:50 UTC"),
        ({"status": "CLOSE"}, "the contract is closed"),
        ({"status": "DELIVERING"}, "it is being delivered"),
        ({"status": "NEVER_SEEN"}, "(status NEVER_SEEN)"),
    ],
)  # fmt: skip
async def test_the_status_of_a_symbol_that_does_not_trade_is_told_at_the_start(
    changes: dict[str, Any], words: str
) -> None:
    catcher = Catcher()

    async def only_btc(ws: ServerConnection) -> None:
        await send(ws, 0, 1, 2, 3)
        await ws.wait_closed()

    async with playing(only_btc) as script:
        script.rest = lambda path, _: (200, info(**changes)) if "exchangeInfo" in path else None
        feed = local(script)
        running = asyncio.create_task(run(feed, catcher))
        await catcher.until(lambda: catcher.count == 3)
        health = feed.health()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert health.state == "stalled"
    assert words in health.detail
    assert "continues by itself once it trades" in health.detail
    assert [e.level for e in catcher.log if words in e.message] == ["warning"]
    assert len(script.paths) == 1  # no connection is replaced for it


async def test_a_pending_symbol_goes_live_when_it_trades() -> None:
    catcher, opened = Catcher(), asyncio.Event()

    async def later(ws: ServerConnection) -> None:
        await send(ws, 0, 1)
        await opened.wait()
        await send(ws, 1, 1)
        await ws.wait_closed()

    async with playing(later) as script:
        status = "PENDING_TRADING"
        script.rest = lambda path, _: (200, info(status=status)) if "exchangeInfo" in path else None
        feed = BinanceFeed(PAIR, url=script.url, timeouts=Timeouts(status_s=0.05))
        running = asyncio.create_task(run(feed, catcher))
        await catcher.until(lambda: catcher.count == 1)
        assert feed.health().state == "stalled"
        status = "TRADING"
        await catcher.until(lambda: told(catcher, "ETHUSDT trades by now"))
        assert feed.health().state == "connecting"
        opened.set()
        await catcher.until(lambda: catcher.count == 2)
        assert feed.health().state == "live"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("gone", [False, True])
async def test_a_contract_that_is_delivered_midway_is_told(gone: bool) -> None:
    catcher, ended = Catcher(), asyncio.Event()

    async def market(ws: ServerConnection) -> None:
        number = 0
        while True:
            number += 1
            await send(ws, 0, number)
            if not ended.is_set():
                await send(ws, 1, number)
            await asyncio.sleep(0.01)

    async with playing(market) as script:
        listed = info()
        script.rest = lambda path, _: (200, listed) if "exchangeInfo" in path else None
        timeouts = quick(idle_min_s=0.3, idle_busy_s=0.3, idle_max_s=0.5, first_data_s=1.0)
        feed = BinanceFeed(PAIR, url=script.url, timeouts=timeouts)
        running = asyncio.create_task(run(feed, catcher))
        await catcher.until(lambda: catcher.count > 20)
        assert feed.health().state == "live"
        entries = {"symbols": GOOD[:1]}
        listed = json.dumps(entries).encode() if gone else info(status="DELIVERED")
        ended.set()
        words = "does not list it any more" if gone else "the contract was delivered"
        await catcher.until(lambda: told(catcher, words))
        assert feed.health().state == "stalled"
        assert words in feed.health().detail
        count = len(script.paths)
        assert count <= 2  # one before the status was known; then none
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
