"""Many markets on one exchange."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict

import pytest
from websockets.asyncio.client import connect

from pairlab.errors import SettingError
from pairlab.local_exchange import LocalExchange, MarketGroup, SyntheticMarket

PAIRS = [(f"Y{i}USDT", f"X{i}USDT") for i in range(120)]


def markets(count: int) -> list[SyntheticMarket]:
    return [
        SyntheticMarket(seed=i, symbols=pair, rate_per_s=5, history_s=0)
        for i, pair in enumerate(PAIRS[:count])
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("no_task_left")
async def test_240_streams_over_two_connections_carry_each_markets_messages() -> None:
    streams = [f"{symbol.lower()}@aggTrade" for pair in PAIRS for symbol in pair]
    halves = streams[:120], streams[120:]
    group = MarketGroup(markets(120), speed=20.0, start_condition=streams)
    got: dict[str, list[dict]] = defaultdict(list)

    async def listen(url: str, mine: list[str]) -> None:
        path = f"{url}/market/stream?streams={'/'.join(mine)}"
        async with connect(path, max_queue=None, compression=None) as ws:
            while not all(len(got[stream]) >= 20 for stream in mine):
                frame = json.loads(await ws.recv())
                got[frame["stream"]].append(frame["data"])

    async with LocalExchange(group) as exchange:
        await asyncio.gather(*(listen(exchange.url, half) for half in halves))
    assert set(got) == set(streams)
    for market, (y, x) in zip(markets(120), PAIRS, strict=True):
        both = {f"{y.lower()}@aggTrade", f"{x.lower()}@aggTrade"}
        truth: dict[str, list[dict]] = defaultdict(list)
        while not all(len(truth[s]) >= len(got[s]) for s in both):
            for stream, frame in market.take(None, both, 256):
                truth[stream].append(json.loads(frame)["data"])
        for stream in both:
            assert got[stream] == truth[stream][: len(got[stream])]


def test_rest_asks_the_market_of_the_symbol() -> None:
    group = MarketGroup(markets(3), speed=None)
    assert group.start_condition == "subscribed"
    group.open()
    seen = [
        json.loads(frame)["data"]["a"]
        for _ in range(400)
        for _, frame in group.take(None, {"y2usdt@aggTrade"}, 100)
    ]
    assert len(seen) > 100
    rows = group.agg_trades("Y2USDT", seen[0], None, None, 100)
    assert [row["a"] for row in rows] == seen[:100]
    assert group.klines("X1USDT", 60_000, None, None, 5)
    assert [info.symbol for info in group.symbols()] == [s for pair in PAIRS[:3] for s in pair]
    assert group.has_stream("x0usdt@trade")
    assert not group.has_stream("btcusdt@trade")


def test_a_symbol_in_two_markets_is_refused() -> None:
    with pytest.raises(SettingError, match="each symbol in one market only"):
        MarketGroup([SyntheticMarket(), SyntheticMarket(seed=2)])
    with pytest.raises(SettingError, match="at least one"):
        MarketGroup([])
