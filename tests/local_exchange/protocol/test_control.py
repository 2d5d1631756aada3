"""Routes and control messages, over real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Opcode

from pairlab.local_exchange import LocalExchange
from tests.local_exchange.clients import ask, dial, market, read

pytestmark = pytest.mark.usefixtures("no_task_left")


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
            LocalExchange(
                market(start_condition=["btcusdt@trade", "ethusdt@bookTicker"])
            ) as exchange,
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
