"""REST answers and errors, over real sockets."""

from __future__ import annotations

import pytest

from pairlab.local_exchange import LocalExchange
from tests.local_exchange.clients import dial, http, market, read

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_answers() -> None:
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
async def test_errors_have_binances_codes(path: str, status: int, code: int) -> None:
    async with LocalExchange(market()) as exchange, http(exchange) as client:
        answer = await client.get("/fapi/v1/" + path)
        assert answer.status_code == status
        assert answer.json()["code"] == code
        assert answer.json()["msg"]


async def test_the_weight_limit_is_enforced_with_429() -> None:
    async with (
        LocalExchange(market(), weight_limit=50) as exchange,
        http(exchange) as client,
    ):
        # Five, because the minute may turn in between: one of two halves goes over.
        answers = [
            await client.get("/fapi/v1/aggTrades", params={"symbol": "BTCUSDT"}) for _ in range(5)
        ]
        refused = [a for a in answers if a.status_code == 429]
        assert refused
        assert refused[0].json()["code"] == -1003
        assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
        assert answers[0].status_code == 200


async def test_only_get_is_answered() -> None:
    async with LocalExchange(market()) as exchange, http(exchange) as client:
        answer = await client.request("DELETE", "/fapi/v1/ping")
        assert answer.status_code == 405
