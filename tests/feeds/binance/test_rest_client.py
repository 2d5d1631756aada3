"""REST: what is asked, what is understood, and what a refusal is called."""

from __future__ import annotations

import asyncio
import time

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.errors import (
    FeedError,
    FirewallError,
    GeoBlockedError,
    RateLimitedError,
    UnknownSymbolError,
)
from pairlab.feeds.binance.exchange_info import ExchangeInfo
from pairlab.feeds.binance.klines import fetch_symbol_closes
from pairlab.feeds.binance.rest_client import RestClient, refusal
from pairlab.net import host_of
from tests.feeds.scripted import NOW_MS, PAIR, Script, playing, row

pytestmark = pytest.mark.usefixtures("no_task_left")


async def silent(ws: ServerConnection) -> None:
    await ws.wait_closed()


def client(script: Script, timeout_s: float = 5.0) -> RestClient:
    return RestClient(script.url.replace("ws://", "http://"), timeout_s=timeout_s)


async def test_symbols_tick_sizes_and_weight_limit() -> None:
    async with playing(silent, weight_limit=6000) as script, client(script) as rest:
        info = await rest.exchange_info()
        assert info.weight_per_min == 6000
        assert rest.budget.limit == 5400
        assert (info.decimals("BTCUSDT"), info.decimals("ETHUSDT")) == (1, 2)
        info.check(PAIR)


@pytest.mark.parametrize(
    ("step", "decimals"),
    [("0.10", 1), ("0.0100", 2), ("1", 0), ("10", 0), ("1e-7", 7), ("", None), ("0", None)],
)
def test_decimals_of_a_tick_size(step: str, decimals: int | None) -> None:
    assert ExchangeInfo({"X": step}, 1).decimals("X") == decimals


def test_an_unknown_symbol_is_named_with_the_closest_ones() -> None:
    info = ExchangeInfo({"BTCUSDT": "", "BTCUSDC": "", "ETHUSDT": ""}, 1)
    with pytest.raises(
        UnknownSymbolError, match=r"'BTCUSD'.*did you mean BTCUSD[TC] or BTCUSD[TC]"
    ):
        info.check(("ETHUSDT", "BTCUSD"))
    with pytest.raises(UnknownSymbolError, match=r"'btcusdt'.*BTCUSDT"):
        info.check(("btcusdt",))
    with pytest.raises(UnknownSymbolError, match="'…': check its spelling"):
        info.check(("…",))


async def test_the_clock_s_offset_is_read_to_half_a_round_trip() -> None:
    async with playing(silent) as script, client(script) as rest:
        before = time.time_ns()
        clock = await rest.clock_offset()
        after = time.time_ns()
    assert before <= clock.offset_ns + NOW_MS * 10**6 <= after
    assert [path for path, _ in script.asked] == ["time"] * 3


async def test_a_page_of_trades_is_sorted_and_costs_its_weight() -> None:
    async with playing(silent) as script, client(script) as rest:
        script.trades["ETHUSDT"] = [row(n) for n in (9, 7, 8)]
        rest.budget.limit = 45
        page = await rest.agg_trades("ETHUSDT", 8, 2)
        assert [(t.a, t.p, t.T, t.m) for t in page] == [
            (8, "100.5", NOW_MS, False),
            (9, "100.5", NOW_MS, True),
        ]
        assert script.asked == [("aggTrades", {"symbol": "ETHUSDT", "limit": "2", "fromId": "8"})]
        await rest.agg_trades("ETHUSDT", limit=1)
        assert rest.budget.wait_s(20) > 0


@pytest.mark.parametrize(
    ("status", "header", "kind", "words"),
    [
        (451, None, GeoBlockedError, "does not serve this location"),
        (403, None, FirewallError, "firewall"),
        (429, "7", RateLimitedError, "too many requests.*waiting 7 s"),
        (418, None, RateLimitedError, "banned.*waiting 120 s"),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", RateLimitedError, "waiting 60 s"),
        (429, "nan", RateLimitedError, "waiting 60 s"),
        (503, None, FeedError, "fault on the exchange's side"),
        (404, None, FeedError, "HTTP 404: .*check url and rest_url"),
        (400, None, FeedError, r"HTTP 400\.$"),
    ],
)
def test_every_refusal_has_its_own_words(
    status: int, header: str | None, kind: type[FeedError], words: str
) -> None:
    error = refusal(status, header, "there")
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


async def test_a_refusal_on_rest_is_raised_as_such() -> None:
    async with playing(silent) as script, client(script) as rest:
        script.rest = lambda path, query: (451, b"{}")
        with pytest.raises(GeoBlockedError, match=r"127.0.0.1.*/fapi/v1/time"):
            await rest.clock_offset()


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"[]", b"\xff", b'[{"a":"x"}]', b"null"])
async def test_an_answer_that_cannot_be_read_is_a_feed_error(body: bytes) -> None:
    async with playing(silent) as script, client(script) as rest:
        script.rest = lambda path, query: (200, body)
        with pytest.raises(FeedError, match="unreadable time"):
            await rest.clock_offset()
        with pytest.raises(FeedError, match="unreadable exchangeInfo"):
            await rest.exchange_info()
        if body != b"[]":
            with pytest.raises(FeedError, match="unreadable aggTrades"):
                await rest.agg_trades("BTCUSDT", 1)


@pytest.mark.parametrize("answer", [(404, b"{}"), (200, b""), (200, b"{}")], ids=str)
async def test_another_server_s_answer_is_told_with_its_address_and_what_to_check(
    answer: tuple[int, bytes],
) -> None:
    async with playing(silent) as script, client(script) as rest:
        script.rest = lambda path, query: answer
        for what, ask in {
            "time": lambda: rest.clock_offset(),
            "exchangeInfo": lambda: rest.exchange_info(),
            "aggTrades": lambda: rest.agg_trades("BTCUSDT", 1),
            "klines": lambda: fetch_symbol_closes(rest, "BTCUSDT", "1m", 5, NOW_MS * 10**6),
        }.items():
            with pytest.raises(FeedError) as raised:
                await ask()
            assert f"{host_of(script.url)}/fapi/v1/{what} " in str(raised.value)
            assert "check url and rest_url" in str(raised.value)


async def test_a_folder_in_rest_url_is_part_of_the_address_that_is_told() -> None:
    async with playing(silent) as script:
        script.handshake = lambda attempt: (404, {})  # of all that is not below /fapi
        url = script.url.replace("ws://", "http://user:secret@")
        async with RestClient(f"{url}/mirror/") as rest:
            with pytest.raises(FeedError) as raised:
                await rest.clock_offset()
    assert str(raised.value).startswith(f"{host_of(url)}/mirror/fapi/v1/time answered HTTP 404")


async def test_nobody_there_and_no_answer_are_feed_errors() -> None:
    async with playing(silent) as script:
        url = script.url.replace("ws://", "http://")
    async with RestClient(url) as rest:
        with pytest.raises(FeedError, match="cannot be reached"):
            await rest.clock_offset()

    async with playing(silent) as script:

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with RestClient(f"http://127.0.0.1:{port}", timeout_s=0.1) as rest:
                with pytest.raises(FeedError, match=r"did not answer within 0\.1 s"):
                    await rest.clock_offset()


async def test_a_client_outside_its_context_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await RestClient("http://127.0.0.1:1").clock_offset()


async def test_after_a_429_every_request_waits() -> None:
    async with playing(silent) as script, client(script) as rest:
        refused = [(429, b"{}")]
        script.rest = lambda path, query: refused.pop() if refused else None
        with pytest.raises(RateLimitedError) as caught:
            await rest.agg_trades("BTCUSDT", 1)
        assert caught.value.retry_after_s == 60.0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await rest.clock_offset()
        assert len(script.asked) == 1
