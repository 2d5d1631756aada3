"""Proxies from the environment: honoured for the world, left out for this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.connection.connection import RECORDING_ENDED
from tests.feeds.scripted import PAIR, Catcher, agg, local, playing, quick, run


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP proxy that finds every host at one local port."""
    asked: list[str] = []
    open_: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # either side may go first
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            asked.append(f"{method} {target}")
            there, back = await asyncio.open_connection("127.0.0.1", port)
            ends.append(back)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = target.split("//", 1)[1].split("/", 1)[1]
                back.write(head.replace(target.encode(), b"/" + path.encode(), 1))
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            for end in ends:
                end.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        open_.add(task)
        task.add_done_callback(open_.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        for task in list(open_):
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        await server.wait_closed()


async def one_each(ws: ServerConnection) -> None:
    await ws.send(agg(0, 1))
    await ws.send(agg(1, 1))
    await ws.close(1000, RECORDING_ENDED)


@pytest.mark.usefixtures("no_task_left")
async def test_the_stream_and_rest_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    catcher = Catcher()
    async with playing(one_each) as script:
        port = int(script.url.rsplit(":", 1)[1])
        async with proxy(port) as (address, asked):
            for name in ("http_proxy", "https_proxy"):
                monkeypatch.setenv(name, address)
            feed = BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick())
            await run(feed, catcher)
    assert catcher.count == 2
    assert "CONNECT exchange.invalid:80" in asked
    assert "GET http://exchange.invalid/fapi/v1/exchangeInfo" in asked
    assert feed.price_decimals() == (1, 2)


async def test_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody there
    catcher = Catcher()
    async with playing(one_each) as script:
        await run(local(script), catcher)
    assert catcher.count == 2
