"""Every fault against real clients: its effect, and that nothing else is affected."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pairlab.errors import SettingError
from pairlab.local_exchange import FAULT_KINDS, Fault, Faults, LocalExchange, SyntheticMarket
from pairlab.local_exchange.server.faults import FaultState

pytestmark = pytest.mark.usefixtures("no_task_left")

AGGS = "/market/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade"
TRADES = "/public/stream?streams=btcusdt@trade/ethusdt@trade"


def exchange_of(**options: object) -> LocalExchange:
    """A market in real time, fifty times as fast: 10,000 trades/s."""
    market = SyntheticMarket(
        seed=5, speed=50.0, rate_per_s=200.0, history_s=0, start_condition="subscribed"
    )
    return LocalExchange(market, **options)


def dial(exchange: LocalExchange, path: str = AGGS, **options: object) -> connect:
    return connect(exchange.url + path, **{"max_queue": None, "compression": None, **options})


def http(exchange: LocalExchange) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=exchange.url.replace("ws://", "http://"))


async def read(ws: ClientConnection, count: int) -> list[dict]:
    return [json.loads(await ws.recv()) for _ in range(count)]


async def read_until(
    ws: ClientConnection, enough: Callable[[list[dict]], bool], before: list[dict]
) -> list[dict]:
    """Read 2,000 frames more than those from before the fault, and on until there is enough to see.

    The number in transit when it was injected is unknown: thousands after a pause of the
    machine, or none.
    """
    frames = before + await read(ws, 2_000)
    for _ in range(100):
        if enough(frames):
            break
        frames += await read(ws, 500)
    return frames


async def read_to_the_end(ws: ClientConnection) -> list[str | bytes]:
    got = []
    try:
        while True:
            got.append(await ws.recv())
    except ConnectionClosed:
        return got


def ids(frames: list[dict], symbol: str, key: str = "a") -> list[int]:
    return [f["data"][key] for f in frames if f["data"]["s"] == symbol]


def missing(seen: list[int]) -> list[int]:
    return sorted(set(range(min(seen), max(seen) + 1)) - set(seen))


class TestMessages:
    async def test_duplicates_have_the_same_bytes(self) -> None:
        async with exchange_of() as exchange, dial(exchange) as ws:
            before = await read(ws, 100)
            happened = exchange.inject(Fault("duplicate", stream="ethusdt@aggTrade", count=4))
            await happened.wait()

            def repeated(frames: list[dict]) -> list[int]:
                return [a for a, n in Counter(ids(frames, "ETHUSDT")).items() if n == 2]

            frames = await read_until(ws, lambda frames: len(repeated(frames)) >= 4, before)
            twice = repeated(frames)
            assert len(twice) == 4
            assert twice == list(range(twice[0], twice[0] + 4))
            assert not missing(ids(frames, "ETHUSDT"))
            bitcoin = ids(frames, "BTCUSDT")
            assert bitcoin == list(range(bitcoin[0], bitcoin[0] + len(bitcoin)))
            for a in twice:
                first, second = (f for f in frames if f["data"]["a"] == a)
                assert first == second

    async def test_a_gap_is_on_the_stream_and_not_in_rest(self) -> None:
        async with exchange_of() as exchange, http(exchange) as client, dial(exchange) as ws:
            before = await read(ws, 100)
            exchange.inject(Fault("gap", stream="btcusdt@aggTrade", count=7))
            frames = await read_until(
                ws, lambda frames: bool(missing(ids(frames, "BTCUSDT"))), before
            )
            lost = missing(ids(frames, "BTCUSDT"))
            assert len(lost) == 7
            assert lost == exchange.faults.removed["btcusdt@aggTrade"]
            assert not missing(ids(frames, "ETHUSDT"))
            params = {"symbol": "BTCUSDT", "fromId": lost[0], "limit": 7}
            rows = (await client.get("/fapi/v1/aggTrades", params=params)).json()
            assert [row["a"] for row in rows] == lost

    async def test_reorder_keeps_the_order_within_each_stream(self) -> None:
        def backwards(frames: list[dict]) -> int:
            return sum(a["data"]["T"] > b["data"]["T"] for a, b in pairwise(frames))

        async with exchange_of() as exchange, dial(exchange) as ws:
            before = await read(ws, 1_000)
            assert backwards(before) == 0
            for _ in range(5):
                await exchange.inject(Fault("reorder", count=40)).wait()
            frames = await read_until(ws, lambda frames: backwards(frames) > 0, before)
            assert 1 <= backwards(frames) <= 10
            for symbol in ("BTCUSDT", "ETHUSDT"):
                seen = ids(frames, symbol)
                assert seen == list(range(seen[0], seen[0] + len(seen)))

    async def test_an_na_trade_consumes_its_id(self) -> None:
        async with exchange_of() as exchange, dial(exchange, TRADES) as ws:
            before = await read(ws, 50)
            exchange.inject(Fault("na"))

            def not_traded(frames: list[dict]) -> list[dict]:
                return [f["data"] for f in frames if f["data"]["X"] == "NA"]

            frames = await read_until(ws, lambda frames: bool(not_traded(frames)), before)
            rows = not_traded(frames)
            assert [(r["p"], r["q"]) for r in rows] == [("0", "0")]
            assert [r["t"] for r in rows] == exchange.faults.removed[
                f"{rows[0]['s'].lower()}@trade"
            ]
            assert not missing(ids(frames, rows[0]["s"], "t"))

    async def test_malformed_messages_come_between_valid_ones(self) -> None:
        count = 60
        async with exchange_of() as exchange, dial(exchange) as ws:
            for _ in range(count):
                exchange.inject(Fault("malformed"))
            good = re.compile(
                r'\{"stream":"(btc|eth)usdt@aggTrade","data":\{"e":"aggTrade","E":\d+,"a":\d+,'
                r'"s":"(BTC|ETH)USDT","p":"\d+\.\d+","q":"\d+\.\d+","f":\d+,"l":\d+,"T":\d+,'
                r'"m":(true|false)\}\}'
            )
            got: list[str | bytes] = []
            broken = 0
            while broken < count or len(got) < 1_000:
                got.append(await ws.recv())
                broken += not (isinstance(got[-1], str) and good.fullmatch(got[-1]))
            true = [json.loads(m) for m in got if isinstance(m, str) and good.fullmatch(m)]
            assert exchange.faults.counts["malformed"] == broken == count
            assert any(isinstance(m, bytes) for m in got)  # one of sixteen ways is binary
            for symbol in ("BTCUSDT", "ETHUSDT"):
                assert not missing(ids(true, symbol))

    async def test_an_oversize_message_exceeds_a_clients_limit(self) -> None:
        async with exchange_of() as exchange, dial(exchange, max_size=1 << 20) as ws:
            await read(ws, 10)
            exchange.inject(Fault("oversize"))
            await read_to_the_end(ws)
            assert ws.protocol.close_sent is not None
            assert ws.protocol.close_sent.code == 1009
            async with dial(exchange, max_size=None) as again:
                exchange.inject(Fault("oversize", size=3 << 20))
                while len(await again.recv()) <= 3 << 20:
                    pass
                sizes = [len(await again.recv()) for _ in range(1_000)]
                assert max(sizes) < 1_000, "once, as it was ordered"


class TestStreams:
    async def test_one_stream_stalls_and_the_other_does_not(self) -> None:
        async with exchange_of() as exchange, dial(exchange) as ws:
            before = await read(ws, 100)
            fault = Fault("stall", stream="btcusdt@aggTrade", seconds=3_600)
            await exchange.inject(fault).wait()
            frames = await read_until(
                ws, lambda frames: not ids(frames[-1_500:], "BTCUSDT"), before
            )
            assert not ids(frames[-1_500:], "BTCUSDT")
            assert not missing(ids(frames, "ETHUSDT"))
            async with dial(exchange) as other:  # it is this connection's stream that stalls
                assert ids(await read(other, 500), "BTCUSDT")

    async def test_a_stalled_stream_resumes(self) -> None:
        async with exchange_of() as exchange, dial(exchange) as ws:
            before = await read(ws, 100)
            await exchange.inject(Fault("stall", seconds=0.05)).wait()
            symbols = ("BTCUSDT", "ETHUSDT")
            frames = await read_until(
                ws, lambda fs: all(missing(ids(fs, s)) for s in symbols), before
            )
            assert all(missing(ids(frames, s)) for s in symbols)
            frames += await read(ws, 500)
            tail = ids(frames[-500:], "BTCUSDT")
            assert not missing(tail)

    async def test_acknowledged_but_silent(self) -> None:
        async with exchange_of() as exchange:
            exchange.inject(Fault("silent", stream="btcusdt@aggTrade"))
            async with dial(exchange, "/market/stream") as ws, dial(exchange) as other:
                params = ["btcusdt@aggTrade", "ethusdt@aggTrade"]
                await ws.send(json.dumps({"method": "SUBSCRIBE", "params": params, "id": 1}))
                assert json.loads(await ws.recv()) == {"result": None, "id": 1}
                assert not ids(await read(ws, 1_000), "BTCUSDT")
                assert ids(await read(other, 1_000), "BTCUSDT")


class TestConnections:
    async def test_drop_aborts_the_connection(self) -> None:
        async with exchange_of() as exchange, dial(exchange) as ws:
            await read(ws, 10)
            exchange.inject(Fault("drop"))
            await read_to_the_end(ws)
            assert ws.close_code == 1006
            async with dial(exchange) as again:
                assert len(await read(again, 10)) == 10

    @pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1011, 1012])
    async def test_close_codes(self, code: int) -> None:
        async with exchange_of() as exchange, dial(exchange) as ws:
            await read(ws, 10)
            exchange.inject(Fault("close", code=code))
            await read_to_the_end(ws)
            assert ws.close_code == code
            assert exchange.stats().connections == 0

    async def test_half_open_sends_nothing_and_answers_no_ping(self) -> None:
        async with exchange_of() as exchange, dial(exchange, ping_interval=None) as ws:
            await read(ws, 10)
            await exchange.inject(Fault("half_open", seconds=0.5)).wait()
            pong = await ws.ping()
            await read_to_the_end(ws)  # until the exchange aborts it
            assert ws.close_code == 1006
            with pytest.raises(ConnectionClosed):
                await pong

    async def test_a_client_that_pings_detects_a_half_open_connection(self) -> None:
        async with (
            exchange_of() as exchange,
            dial(exchange, ping_interval=0.1, ping_timeout=0.1, close_timeout=0.1) as ws,
        ):
            await read(ws, 10)
            await exchange.inject(Fault("half_open", seconds=3_600)).wait()
            await read_to_the_end(ws)
            assert ws.protocol.close_sent is not None
            assert ws.protocol.close_sent.code == 1011  # keepalive ping timeout
            async with dial(exchange) as again:
                assert len(await read(again, 10)) == 10

    async def test_a_shutdown_is_announced(self) -> None:
        async with exchange_of() as exchange, dial(exchange) as ws:
            await read(ws, 10)
            exchange.inject(Fault("shutdown", seconds=0.1))
            got = [json.loads(m) for m in await read_to_the_end(ws)]
            notices = [i for i, m in enumerate(got) if m.get("e") == "serverShutdown"]
            assert len(notices) == 1
            assert got[notices[0] + 1 :], "data goes on between the notice and the close"
            assert ws.close_code == 1001

    async def test_a_connection_lives_no_longer_than_its_lifetime(self) -> None:
        async with exchange_of(lifetime_s=0.1) as exchange, dial(exchange) as ws:
            assert await read_to_the_end(ws)
            assert ws.close_code == 1001


class TestHandshakes:
    @pytest.mark.parametrize("status", [403, 418, 429, 451, 503])
    async def test_refused_with_a_status(self, status: int) -> None:
        async with exchange_of() as exchange:
            happened = exchange.inject(Fault("refuse", status=status, count=2, retry_after_s=7.5))
            for _ in range(2):
                assert not happened.is_set()
                with pytest.raises(InvalidStatus) as caught:
                    await dial(exchange).__aenter__()
                response = caught.value.response
                assert response.status_code == status
                wait = response.headers.get("Retry-After")
                assert wait == ("8" if status in (418, 429, 503) else None)
            assert happened.is_set()
            async with dial(exchange) as ws:
                assert len(await read(ws, 10)) == 10

    async def test_a_slow_handshake(self) -> None:
        async with exchange_of() as exchange:
            exchange.inject(Fault("slow_handshake", seconds=3_600))
            with pytest.raises(TimeoutError):
                await dial(exchange, open_timeout=0.1).__aenter__()
            exchange.inject(Fault("slow_handshake", seconds=0.05))
            async with dial(exchange) as ws:
                assert len(await read(ws, 10)) == 10

    async def test_accepted_then_closed(self) -> None:
        async with exchange_of() as exchange:
            exchange.inject(Fault("accept_then_close", code=1008, count=2))
            for _ in range(2):
                async with dial(exchange) as ws:
                    assert await read_to_the_end(ws) == []
                    assert ws.close_code == 1008
            assert exchange.stats().handshakes == 2
            async with dial(exchange) as ws:
                assert len(await read(ws, 10)) == 10


class TestRest:
    @pytest.mark.parametrize("status", [403, 418, 429, 451, 503])
    async def test_a_status(self, status: int) -> None:
        async with exchange_of() as exchange, http(exchange) as client:
            exchange.inject(Fault("rest_status", status=status, path="time", retry_after_s=3))
            assert (await client.get("/fapi/v1/ping")).status_code == 200
            answer = await client.get("/fapi/v1/time")
            assert answer.status_code == status
            expected = "3" if status in (418, 429, 503) else None
            assert answer.headers.get("Retry-After") == expected
            assert (await client.get("/fapi/v1/time")).status_code == 200

    async def test_late(self) -> None:
        async with exchange_of() as exchange, http(exchange) as client:
            exchange.inject(Fault("rest_late", seconds=3_600))
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/fapi/v1/time", timeout=0.1)
            exchange.inject(Fault("rest_late", seconds=0.05))
            assert (await client.get("/fapi/v1/time")).status_code == 200

    async def test_short_and_empty(self) -> None:
        async with exchange_of() as exchange, http(exchange) as client, dial(exchange) as ws:
            first = ids(await read(ws, 2_000), "BTCUSDT")[0]
            params = {"symbol": "BTCUSDT", "fromId": first, "limit": 301}
            answers = []
            for fault in (Fault("rest_short"), Fault("rest_empty"), None):
                if fault is not None:
                    exchange.inject(fault)
                assert (await client.get("/fapi/v1/ping")).json() == {}  # not what it is about
                answer = await client.get("/fapi/v1/aggTrades", params=params)
                answers.append([row["a"] for row in answer.json()])
            assert answers == [
                list(range(first, first + 151)), [], list(range(first, first + 301)),
            ]  # fmt: skip


class TestRandomFaults:
    async def test_the_same_seed_gives_the_same_faults(self) -> None:
        def log_of(seed: int) -> list[tuple[int, str]]:
            faults = Faults({Fault("gap"): 50, Fault("duplicate"): 80}, seed=seed)
            state, log = FaultState(), []
            for number in range(3_000):
                frame = b'{"stream":"a@aggTrade","data":{"a":%d}}' % number
                for out in faults.apply(state, [("a@aggTrade", frame)], 0.0, 0):
                    assert isinstance(out, list)
                    log.append((number, str(len(out))))
            assert 30 < faults.counts["gap"] < 90
            assert 18 < faults.counts["duplicate"] < 60
            assert len(faults.removed["a@aggTrade"]) == faults.counts["gap"]
            return log

        assert log_of(1) == log_of(1)
        assert log_of(1) != log_of(2)

    async def test_at_most_limits_each_kind(self) -> None:
        faults = Faults({Fault("gap"): 5, Fault("duplicate"): 5}, seed=1, at_most=20)
        async with exchange_of(faults=faults) as exchange, dial(exchange) as ws:
            frames = await read(ws, 4_000)
            assert faults.counts == {"gap": 20, "duplicate": 20}
            lost = sum(len(missing(ids(frames, s))) for s in ("BTCUSDT", "ETHUSDT"))
            assert lost == sum(len(removed) for removed in faults.removed.values()) == 20

    @pytest.mark.slow
    async def test_all_kinds_at_once_against_a_client_that_reconnects(self) -> None:
        """What arrives, with what REST still has, is the market: nothing else was touched."""
        # Half-open, slow and silent connections would only make this client wait.
        kinds = [k for k in FAULT_KINDS if k not in ("half_open", "slow_handshake", "silent")]
        faults = Faults.random_faults(tuple(kinds), every=100, seed=4, at_most=6)
        seen: dict[str, set[int]] = {"BTCUSDT": set(), "ETHUSDT": set()}
        frames: dict[tuple[str, int], dict] = {}
        async with exchange_of(faults=faults, weight_limit=10**6) as exchange:
            for _ in range(500):
                if min(len(s) for s in seen.values()) > 3_000:
                    break
                try:
                    async with dial(exchange, max_size=1 << 20) as ws:
                        for _ in range(3_000):
                            record_if_valid(seen, frames, await ws.recv())
                except (ConnectionClosed, InvalidStatus):
                    continue
            faults.clear()
            async with http(exchange) as client:
                for symbol, got in seen.items():
                    for lost in missing(sorted(got))[:200]:
                        params = {"symbol": symbol, "fromId": lost, "limit": 1}
                        answer = await client.get("/fapi/v1/aggTrades", params=params)
                        assert answer.json()[0]["a"] == lost
            truth = SyntheticMarket(seed=5, rate_per_s=200.0, history_s=0)
            names = {"btcusdt@aggTrade", "ethusdt@aggTrade"}
            checked = 0
            while checked < len(frames):
                for _, frame in truth.take(None, names, 4_096):
                    data = json.loads(frame)["data"]
                    if (data["s"], data["a"]) in frames:
                        assert frames[data["s"], data["a"]] == data
                        checked += 1
        assert set(faults.counts) >= {"gap", "duplicate", "malformed", "drop", "close", "shutdown"}

    def test_bad_faults_are_named(self) -> None:
        with pytest.raises(SettingError, match="kind = 'dorp'"):
            Fault("dorp")
        with pytest.raises(SettingError, match="count"):
            Fault("gap", count=0)
        with pytest.raises(SettingError, match="seconds"):
            Fault("stall", seconds=float("nan"))
        with pytest.raises(SettingError, match="every"):
            Faults({Fault("gap"): 0.5})


def record_if_valid(
    seen: dict[str, set[int]], frames: dict[tuple[str, int], dict], message: str | bytes
) -> None:
    """Keep a message if it is a valid aggregated trade."""
    try:
        data = json.loads(message)["data"]
        key = (data["s"], int(data["a"]))
        valid = float(data["p"]) > 0 and np.isfinite(float(data["p"])) and len(data) == 10
    except (ValueError, TypeError, KeyError):
        return
    if valid and key[0] in seen:
        seen[key[0]].add(key[1])
        frames[key] = data
