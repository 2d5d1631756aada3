"""The exchange over real sockets: routes, control messages, pace, back-pressure, REST."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import Opcode

from pairlab.errors import DataError, SettingError
from pairlab.exchange import ENDED, LocalExchange, Message, Recording, SyntheticMarket

pytestmark = pytest.mark.usefixtures("no_task_left")


def market(**options: object) -> SyntheticMarket:
    """A market that waits for its listeners and runs as fast as they read."""
    return SyntheticMarket(
        **{"seed": 5, "speed": None, "rate_per_s": 200.0, "history_s": 0, **options}
    )


def http(exchange: LocalExchange) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=exchange.url.replace("ws://", "http://"))


def dial(url: str, **options: object) -> connect:
    """Connect with a queue that never pauses: a paused client cannot hear the goodbye."""
    return connect(url, **{"max_queue": None, "compression": None, **options})


async def ask(ws: ClientConnection, **request: object) -> dict:
    """Send a control message and return its reply, passing over data."""
    await ws.send(json.dumps(request))
    async for message in ws:
        reply = json.loads(message)
        if "stream" not in reply and "e" not in reply:
            return reply
    raise AssertionError("the connection ended before the reply")


async def read(ws: ClientConnection, count: int) -> list[dict]:
    return [json.loads(await ws.recv()) for _ in range(count)]


class TestRoutes:
    @pytest.mark.parametrize(
        ("path", "delivers"),
        [
            ("/public/stream", {"trade", "bookTicker"}),
            ("/market/stream", {"aggTrade", "kline_1m"}),
            ("/stream", {"trade", "bookTicker"}),  # the old route: market streams are dead there
        ],
    )
    async def test_each_route_delivers_its_own_streams(self, path: str, delivers: set[str]) -> None:
        kinds = ("trade", "bookTicker", "aggTrade", "kline_1m")
        streams = [f"{s}@{kind}" for s in ("btcusdt", "ethusdt", "nosuchusdt") for kind in kinds]
        async with (
            LocalExchange(market()) as exchange,
            dial(exchange.url + path) as ws,
        ):
            # Acknowledged in full, whatever will come of it.
            reply = await ask(ws, method="SUBSCRIBE", params=streams, id=1)
            assert reply == {"result": None, "id": 1}
            listed = await ask(ws, method="LIST_SUBSCRIPTIONS", id=2)
            assert listed == {"result": streams, "id": 2}
            seen = {m["stream"] for m in await read(ws, 5_000)}
            assert seen == {f"{s}@{kind}" for s in ("btcusdt", "ethusdt") for kind in delivers}

    async def test_a_route_can_be_set_for_a_kind_of_stream(self) -> None:
        async with (
            LocalExchange(market(), routes={"trade": "market"}) as exchange,
            dial(exchange.url + "/market/ws/btcusdt@trade") as ws,
        ):
            assert (await read(ws, 1))[0]["e"] == "trade"

    async def test_nothing_comes_on_the_private_route(self) -> None:
        async with (
            LocalExchange(market()) as exchange,
            dial(exchange.url + "/private/stream?streams=btcusdt@trade") as private,
            dial(exchange.url + "/public/stream?streams=btcusdt@trade") as public,
        ):
            await read(public, 2_000)
            reply = await ask(private, method="LIST_SUBSCRIPTIONS", id=1)
            assert reply["result"] == ["btcusdt@trade"]
            assert not private.recv_messages.frames

    async def test_wrapped_and_bare_carry_the_same_bytes(self) -> None:
        async with (
            LocalExchange(market(begins=["btcusdt@trade", "ethusdt@bookTicker"])) as exchange,
            dial(exchange.url + "/public/stream?streams=btcusdt@trade") as wrapped,
            dial(exchange.url + "/public/ws/btcusdt@trade/ethusdt@bookTicker") as bare,
        ):
            alone = []
            while len(alone) < 500:
                message = await bare.recv()
                if '"e":"trade"' in message:
                    alone.append(message)
            for payload in alone:
                expected = f'{{"stream":"btcusdt@trade","data":{payload}}}'
                assert await wrapped.recv() == expected

    @pytest.mark.parametrize("path", ["/", "/spot/stream", "/streams", "/public"])
    async def test_another_path_is_refused(self, path: str) -> None:
        async with LocalExchange(market()) as exchange:
            with pytest.raises(InvalidStatus) as caught:
                await dial(exchange.url + path).__aenter__()
            assert caught.value.response.status_code == 404


class TestControl:
    async def test_subscriptions_come_and_go(self) -> None:
        async with (
            LocalExchange(market()) as exchange,
            dial(exchange.url + "/public/stream?streams=btcusdt@trade") as ws,
        ):
            await read(ws, 10)
            await ask(ws, method="SUBSCRIBE", params=["ethusdt@trade"], id=3)
            await ask(ws, method="UNSUBSCRIBE", params=["btcusdt@trade"], id=4)
            # From the acknowledgement on, nothing of it comes any more.
            assert {m["stream"] for m in await read(ws, 1_000)} == {"ethusdt@trade"}
            listed = await ask(ws, method="LIST_SUBSCRIPTIONS", id=5)
            assert listed == {"result": ["ethusdt@trade"], "id": 5}

    async def test_the_combined_property(self) -> None:
        async with LocalExchange(market()) as exchange, dial(exchange.url + "/public/ws") as ws:
            assert await ask(ws, method="GET_PROPERTY", params=["combined"], id=1) == {
                "result": False,
                "id": 1,
            }
            await ask(ws, method="SET_PROPERTY", params=["combined", True], id=2)
            await ask(ws, method="SUBSCRIBE", params=["btcusdt@trade"], id=3)
            assert (await read(ws, 1))[0]["stream"] == "btcusdt@trade"

    @pytest.mark.parametrize(
        ("sent", "code", "id_"),
        [
            ("{nonsense", 3, None),
            (b"\xff\xfe\x00\x01", 3, None),
            ("[1, 2]", 2, None),
            ('{"id": 7}', 2, 7),
            ('{"method": "SUBSCRIB", "params": ["a@trade"], "id": 8}', 2, 8),
            ('{"method": "SUBSCRIBE", "params": [5], "id": 9}', 2, 9),
            ('{"method": "SUBSCRIBE", "params": "a@trade", "id": 9}', 2, 9),
            ('{"method": "SUBSCRIBE", "params": [], "id": 9}', 2, 9),
            ('{"method": "SUBSCRIBE", "params": ["a@trade"], "id": -1}', 2, None),
            ('{"method": "SUBSCRIBE", "params": ["a@trade"], "id": 1.5}', 2, None),
            ('{"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}', 1, 1),
            ('{"method": "GET_PROPERTY", "params": ["other"], "id": 1}', 0, 1),
        ],
    )
    async def test_a_bad_request_gets_an_error_and_the_connection_stays(
        self, sent: str | bytes, code: int, id_: int | None
    ) -> None:
        async with LocalExchange(market()) as exchange, dial(exchange.url + "/ws") as ws:
            await ws.send(sent)
            got = json.loads(await ws.recv())
            assert got.get("id") == id_
            # Without an id to answer to, Binance sends the error bare.
            error = got if id_ is None else got["error"]
            assert error["code"] == code
            assert len(error["msg"]) > 10
            assert await ask(ws, method="LIST_SUBSCRIPTIONS", id=2) == {"result": [], "id": 2}

    async def test_too_many_messages_close_with_1008(self) -> None:
        async with LocalExchange(market()) as exchange, dial(exchange.url + "/ws") as ws:
            for number in range(11):
                await ws.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            answers = [json.loads(await ws.recv())["id"] for _ in range(10)]
            assert answers == list(range(10))
            with pytest.raises(ConnectionClosedError):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (1008, "Too many requests")

    async def test_too_many_streams_are_refused(self) -> None:
        names = [f"s{i}@trade" for i in range(6)]
        async with LocalExchange(market(), max_streams=5) as exchange:
            async with dial(exchange.url + "/ws") as ws:
                reply = await ask(ws, method="SUBSCRIBE", params=names, id=1)
                assert reply["error"]["code"] == 2
                assert (await ask(ws, method="LIST_SUBSCRIPTIONS", id=2))["result"] == []
            async with dial(exchange.url + "/stream?streams=" + "/".join(names)) as ws:
                with pytest.raises(ConnectionClosedError):
                    await ws.recv()
                assert ws.close_code == 1008

    async def test_it_pings(self) -> None:
        pinged = asyncio.Event()

        class Watching(ClientConnection):
            def process_event(self, event: object) -> None:
                if getattr(event, "opcode", None) is Opcode.PING:
                    pinged.set()
                super().process_event(event)

        async with (
            LocalExchange(market(), ping_interval_s=0.05) as exchange,
            dial(exchange.url + "/ws", create_connection=Watching) as ws,
        ):
            await pinged.wait()
            assert (await ask(ws, method="LIST_SUBSCRIPTIONS", id=1))["result"] == []


class TestPace:
    async def test_as_fast_as_possible_waits_for_the_slowest_and_loses_nothing(self) -> None:
        streams = "/public/stream?streams=btcusdt@trade/ethusdt@trade"
        both = {"btcusdt@trade", "ethusdt@trade"}
        got: tuple[list[bytes], list[bytes]] = ([], [])

        async def listen(ws: ClientConnection, into: list[bytes], count: int) -> None:
            while len(into) < count:
                message = (await ws.recv()).encode()
                if b'"e":"trade"' in message:
                    into.append(message)

        async with (
            LocalExchange(market(begins=[*both, "ethusdt@bookTicker"])) as exchange,
            connect(exchange.url + streams) as quick,
            connect(exchange.url + streams + "/ethusdt@bookTicker") as slow,
        ):
            # While one does not read, the other gets what buffers hold, and then must wait.
            before = -1
            while before < len(got[0]) < 300_000:
                before = len(got[0])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await listen(quick, got[0], 300_000)
            assert len(got[0]) < 300_000
            await asyncio.gather(
                listen(quick, got[0], len(got[0]) + 10_000), listen(slow, got[1], 20_000)
            )
            for ws in (quick, slow):
                ws.transport.abort()  # one that has stopped reading does not hear a goodbye
        expected = market()
        truth: list[bytes] = []
        while len(truth) < max(map(len, got)):
            truth += [frame for _, frame in expected.take(None, both, 4_096)]
        for trades in got:
            assert trades == truth[: len(trades)]

    async def test_a_listener_that_does_not_read_is_closed_and_nobody_else_suffers(self) -> None:
        fast = SyntheticMarket(
            seed=5, rate_per_s=20_000, speed=3.0, begins="subscribed", history_s=0
        )
        async with (
            LocalExchange(fast, max_backlog_bytes=200_000) as exchange,
            http(exchange) as client,
        ):
            stuck = await dial(exchange.url + "/public/stream?streams=btcusdt@trade", max_queue=1)
            async with dial(exchange.url + "/public/ws/ethusdt@trade") as healthy:
                ids = []
                while not exchange.stats().too_slow:
                    ids += [m["t"] for m in await read(healthy, 500)]
                ids += [m["t"] for m in await read(healthy, 500)]
                assert all(b - a == 1 for a, b in pairwise(ids))
                assert exchange.stats().connections == 1
                assert (await client.get("/fapi/v1/ping")).status_code == 200
            with pytest.raises(ConnectionClosed):
                await read(stuck, 10**9)

    async def test_in_real_time_it_follows_the_clock(self) -> None:
        live = SyntheticMarket(seed=5, rate_per_s=400, speed=50.0, history_s=0)
        async with (
            LocalExchange(live) as exchange,
            http(exchange) as client,
            dial(exchange.url + "/public/ws/btcusdt@trade") as ws,
        ):
            for _ in range(20):
                frame = (await read(ws, 100))[-1]
                now_ms = (await client.get("/fapi/v1/time")).json()["serverTime"]
                assert live.start_ns // 10**6 <= frame["E"] <= now_ms

    async def test_a_market_waits_for_its_first_listener_if_told_to(self) -> None:
        waiting = SyntheticMarket(seed=5, speed=100.0, begins="subscribed")
        async with LocalExchange(waiting) as exchange, http(exchange) as client:
            start_ms = waiting.start_ns // 10**6
            assert (await client.get("/fapi/v1/time")).json()["serverTime"] == start_ms
            async with dial(exchange.url + "/public/ws/nosuchusdt@trade") as deaf:
                await ask(deaf, method="LIST_SUBSCRIPTIONS", id=1)
                assert exchange.now_ns() == waiting.start_ns
            async with dial(exchange.url + "/public/ws/btcusdt@trade/ethusdt@trade") as ws:
                first = {m["s"]: m["t"] for m in reversed(await read(ws, 200))}
            assert first == {"BTCUSDT": 5_266_583_935, "ETHUSDT": 4_308_068_523}

    async def test_a_market_that_breaks_is_heard_of(self) -> None:
        class Broken(SyntheticMarket):
            def take(
                self, until_ns: int | None, wanted: Collection[str], limit: int
            ) -> list[Message]:
                if self.position_ns > self.start_ns:
                    raise RuntimeError("out of order")
                return super().take(until_ns, wanted, limit)

        exchange = LocalExchange(Broken(seed=1, speed=None))
        await exchange.start()
        async with dial(exchange.url + "/public/ws/btcusdt@trade") as ws:
            with pytest.raises(ConnectionClosedError):
                await read(ws, 10**9)
            assert ws.close_code == 1011
        with pytest.raises(RuntimeError, match="out of order"):
            await exchange.stop()


class TestRest:
    async def test_what_it_answers(self) -> None:
        async with (
            LocalExchange(market(history_s=4e5), weight_limit=9_999) as exchange,
            http(exchange) as client,
            dial(exchange.url + "/market/ws/btcusdt@aggTrade") as ws,
        ):
            seen = await read(ws, 300)
            assert (await client.get("/fapi/v1/ping")).json() == {}
            info = (await client.get("/fapi/v1/exchangeInfo")).json()
            assert info["rateLimits"][0]["limit"] == 9_999
            grids = {
                s["symbol"]: (s["filters"][0]["tickSize"], s["pricePrecision"], s["status"])
                for s in info["symbols"]
            }
            assert grids == {
                "BTCUSDT": ("0.1", 1, "TRADING"),
                "ETHUSDT": ("0.01", 2, "TRADING"),
            }
            path = f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={seen[100]['a']}&limit=50"
            answer = await client.get(path)
            assert [r["a"] for r in answer.json()] == [d["a"] for d in seen[100:150]]
            assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "22"
            path = "/fapi/v1/klines?symbol=ETHUSDT&interval=1h&limit=60"
            klines = (await client.get(path)).json()
            assert len(klines) == 60
            assert len(klines[0]) == 12

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("aggTrades?symbol=NOSUCH", 400, -1121),
            ("aggTrades", 400, -1102),
            ("aggTrades?symbol=BTCUSDT&limit=1001", 400, -1130),
            ("aggTrades?symbol=BTCUSDT&limit=0", 400, -1130),
            ("aggTrades?symbol=BTCUSDT&fromId=-3", 400, -1102),
            ("aggTrades?symbol=BTCUSDT&fromId=3&startTime=5", 400, -1128),
            ("aggTrades?symbol=BTCUSDT&startTime=9&endTime=5", 400, -1128),
            ("klines?symbol=BTCUSDT", 400, -1102),
            ("klines?symbol=BTCUSDT&interval=7m", 400, -1120),
            ("klines?symbol=BTCUSDT&interval=1m&limit=1501", 400, -1130),
            ("nothing", 404, -5000),
        ],
    )
    async def test_errors_are_told_as_binance_tells_them(
        self, path: str, status: int, code: int
    ) -> None:
        async with LocalExchange(market()) as exchange, http(exchange) as client:
            answer = await client.get("/fapi/v1/" + path)
            assert answer.status_code == status
            assert answer.json()["code"] == code
            assert answer.json()["msg"]

    async def test_over_the_weight_limit_comes_429(self) -> None:
        async with (
            LocalExchange(market(), weight_limit=50) as exchange,
            http(exchange) as client,
        ):
            # Five, because the minute may turn in between: one of two halves goes over.
            answers = [
                await client.get("/fapi/v1/aggTrades", params={"symbol": "BTCUSDT"})
                for _ in range(5)
            ]
            refused = [a for a in answers if a.status_code == 429]
            assert refused
            assert refused[0].json()["code"] == -1003
            assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
            assert answers[0].status_code == 200

    async def test_only_get_is_answered(self) -> None:
        async with LocalExchange(market()) as exchange, http(exchange) as client:
            answer = await client.request("DELETE", "/fapi/v1/ping")
            assert answer.status_code == 405


class TestRecording:
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
            # Whoever comes later is told the same.
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

    async def test_a_bad_file_is_told_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "bad").write_text("not a frame\n")
        with pytest.raises(DataError, match="line 1"):
            await LocalExchange(Recording(tmp_path / "bad")).start()


class TestLife:
    async def test_started_again_it_begins_again(self) -> None:
        exchange = LocalExchange(market())
        firsts = []
        for _ in range(2):
            async with exchange, dial(exchange.url + "/public/ws/btcusdt@trade") as ws:
                firsts.append(await ws.recv())
        assert firsts[0] == firsts[1]
        await exchange.stop()

    async def test_stopping_says_goodbye_with_1001(self) -> None:
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

    async def test_as_a_process_of_its_own(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pairlab.exchange", "--seed", "5", "--rate", "2000",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with dial(url + "/public/stream?streams=btcusdt@trade") as ws:
            assert len(await read(ws, 1_000)) == 1_000
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    async def test_a_process_without_its_recording_says_so(self, tmp_path: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pairlab.exchange", "--recording", str(tmp_path / "gone"),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert b"no such file" in errors
