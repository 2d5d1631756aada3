"""The server from start to stop: recordings, restarts, closes, arguments."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pairlab.errors import DataError, SettingError
from pairlab.local_exchange import ENDED, LocalExchange, Recording, SyntheticMarket
from tests.local_exchange.clients import ask, dial, http, market, read

pytestmark = pytest.mark.usefixtures("no_task_left")


class TestRecording:
    @pytest.mark.slow
    @pytest.mark.data
    async def test_every_recorded_trade_arrives(self, recorded: Path) -> None:
        folder = recorded / "binance-usdm-trade-20240808"
        async with LocalExchange(Recording(folder, None)) as exchange:
            got = []
            path = "/public/stream?streams=btcusdt@trade/ethusdt@trade"
            async with dial(exchange.url + path) as ws:
                async for message in ws:
                    got.append(message)
                assert (ws.close_code, ws.close_reason) == (1000, ENDED)
            counts = {
                s: sum(m.startswith(f'{{"stream":"{s}@') for m in got)
                for s in ("btcusdt", "ethusdt")
            }
            assert counts == {"btcusdt": 21_313, "ethusdt": 14_076}
            reference = Recording(folder, None)
            await asyncio.to_thread(reference.open)
            truth = reference.take(None, {"btcusdt@trade", "ethusdt@trade"}, 10**9)
            assert got == [frame.decode() for _, frame in truth]
            # Later connections are closed in the same way.
            async with dial(exchange.url + path) as ws:
                assert [m async for m in ws] == []
                assert (ws.close_code, ws.close_reason) == (1000, ENDED)
            async with http(exchange) as client:
                now_ms = (await client.get("/fapi/v1/time")).json()["serverTime"]
                assert abs(now_ms - json.loads(got[-1])["data"]["E"]) < 5_000

    @pytest.mark.data
    async def test_it_can_stay_open_and_silent_at_the_end(self, recorded: Path) -> None:
        recording = Recording(recorded / "binance-usdm-2021-aggtrade", speed=1e6)
        async with (
            LocalExchange(recording, close_at_end=False) as exchange,
            dial(exchange.url + "/market/stream?streams=sushiusdt@aggTrade") as ws,
        ):
            assert len(await read(ws, 40)) == 40
            await exchange.ended.wait()
            listed = await ask(ws, method="LIST_SUBSCRIPTIONS", id=1)
            assert listed["result"] == ["sushiusdt@aggTrade"]

    async def test_a_bad_file_is_reported_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "bad").write_text("not a frame\n")
        with pytest.raises(DataError, match="line 1"):
            await LocalExchange(Recording(tmp_path / "bad")).start()


class TestStartAndStop:
    async def test_a_restart_begins_at_the_beginning(self) -> None:
        exchange = LocalExchange(market())
        firsts = []
        for _ in range(2):
            async with exchange, dial(exchange.url + "/public/ws/btcusdt@trade") as ws:
                firsts.append(await ws.recv())
        assert firsts[0] == firsts[1]
        await exchange.stop()

    async def test_stop_closes_with_1001(self) -> None:
        exchange = LocalExchange(SyntheticMarket())
        await exchange.start()
        async with dial(exchange.url + "/ws") as ws:
            await asyncio.gather(exchange.stop(), ws.wait_closed())
            assert ws.close_code == 1001

    @pytest.mark.parametrize(
        "option", ["weight_limit", "ping_interval_s", "max_streams", "max_backlog_bytes"]
    )
    def test_bad_limits_are_named(self, option: str) -> None:
        with pytest.raises(SettingError, match=option):
            LocalExchange(SyntheticMarket(), **{option: 0})
