"""The WebSocket: complete for a fast reader, bounded for a slow one, independent of others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.services.rest.conftest import Served, ServeLab
from tests.services.rest.test_rest_api import assert_same, numbered


def stream(served: Served, query: str = "", **options: Any) -> connect:
    return connect(served.server.url.replace("http", "ws") + "/stream" + query, **options)


async def messages(ws: ClientConnection, rows: int) -> AsyncIterator[dict[str, Any]]:
    """Give messages until so many rows were in them."""
    while rows > 0:
        message = json.loads(await ws.recv(), parse_constant=pytest.fail)
        rows -= len(message["rows"])
        yield message


def number_of(cursor: str) -> int:
    return int(cursor.split("-")[2])


async def small_socket(
    served: Served, stack: contextlib.AsyncExitStack, size: int
) -> socket.socket:
    """Connect a socket that the system holds so few bytes for: the server soon feels its stop."""
    raw = stack.enter_context(socket.socket())
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", served.server.port))
    return raw


def paused(served: Served) -> list[Any]:
    """Return the server's ends of the streams that wait for their readers."""
    ours = [c for c in served.server._uvicorn.server_state.connections if c.conn]
    return [c for c in ours if not c.writable.is_set()]


async def test_a_fast_reader_gets_every_row_and_alert(serve_lab: ServeLab) -> None:
    async with serve_lab(entry_z=1.0) as served, stream(served) as ws:
        rows, alerts = [], []
        async for message in messages(ws, 2000):
            assert message["skipped_rows"] == message["skipped_alerts"] == 0
            assert message["restated"] is False
            rows += message["rows"]
            alerts += message["alerts"]
        end = number_of(message["cursor"])
        for row, want in zip(rows, numbered(served, end - len(rows), len(rows)), strict=True):
            assert_same(row, want)
        told = int(message["cursor"].split("-")[3])  # entries of the log, from its first on
        log = list(served.lab.alert_log)[told - len(alerts) : told]
        assert [a["sentence"] for a in alerts] == [entry.sentence for entry in log]
        assert len(alerts) > 3


async def test_a_page_continues_as_a_stream_without_a_gap(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        page = await served.get("/analytics/stats", last=10)
        async with stream(served, f"?cursor={page['next_cursor']}") as ws:
            first = await anext(messages(ws, 1))
        start = number_of(page["next_cursor"])
        for row, want in zip(
            first["rows"], numbered(served, start, len(first["rows"])), strict=True
        ):
            assert_same(row, want)
        for cursor, status in (("x", 422), ("abcdef-0-0-0", 410)):
            with pytest.raises(InvalidStatus) as refused:
                await stream(served, f"?cursor={cursor}").__aenter__()
            assert refused.value.response.status_code == status


@pytest.mark.slow
async def test_a_slow_reader_gets_the_newest_and_the_number_it_missed(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairlab.services.rest.stream._MAX_BEHIND", 1000)
    async with serve_lab() as served, contextlib.AsyncExitStack() as stack:
        raw = await small_socket(served, stack, 65_536)
        # It skips the closing handshake, which would wait behind all that it has not read.
        of_it = {"sock": raw, "max_queue": 1, "close_timeout": 0.1}
        ws = await stack.enter_async_context(stream(served, **of_it))
        first = json.loads(await ws.recv())
        seen, got, skipped = number_of(first["cursor"]), 0, 0
        # It reads nothing until the sockets are full and far more rows have come.
        while not paused(served):
            await served.lab.wait_async(served.lab.health().rows + 100, 60)
        await served.lab.wait_async(served.lab.health().rows + 2000, 60)
        while not skipped:
            message = json.loads(await ws.recv())
            assert len(message["rows"]) <= 250
            got += len(message["rows"])
            skipped += message["skipped_rows"]
            assert number_of(message["cursor"]) == seen + got + skipped
        assert skipped > 1000
        end = number_of(message["cursor"])
        for row, want in zip(
            message["rows"], numbered(served, end - len(message["rows"]), 250), strict=False
        ):
            assert_same(row, want)


@pytest.mark.slow
async def test_stalled_readers_use_bounded_memory_and_delay_nobody(
    serve_lab: ServeLab,
) -> None:
    async with (
        contextlib.AsyncExitStack() as stack,
        serve_lab(history_rows=20_000, ticks_held=10_000) as served,
    ):
        process, loop = psutil.Process(), asyncio.get_running_loop()
        stalled = []
        for _ in range(20):
            # A bare socket, so that nothing reads: no library, no buffer of its own.
            raw = await small_socket(served, stack, 4096)
            request = (
                f"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:{served.server.port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await loop.sock_sendall(raw, request.encode())
            stalled.append(raw)
        async with stream(served) as quick:
            rows, done = 0, 0

            async def read_on(count: int) -> None:
                nonlocal rows
                async for message in messages(quick, count):
                    assert message["skipped_rows"] == 0  # nobody slows the quick one
                    rows += len(message["rows"])

            while len(paused(served)) < 20:  # the quick one reads: it may be waited for, too
                await read_on(500)
            before = process.memory_info().rss
            done = rows
            await read_on(6_000)
            # 6,000 rows are 2.4 MB for each of them, had they been queued.
            assert process.memory_info().rss - before < 20 * 2**20
            waiting = paused(served)
            assert len(waiting) >= 20
            assert all(c.transport.get_write_buffer_size() < 300_000 for c in waiting)
            assert rows - done >= 6_000
        assert (await served.get("/health"))["stream_readers"] == 20
        for raw in stalled:
            raw.close()
        while (
            served.lab.health().state == "live" and (await served.get("/health"))["stream_readers"]
        ):
            await served.lab.wait_async(served.lab.health().rows + 10, 10)


async def test_a_rebuild_and_a_setting_change_are_sent(serve_lab: ServeLab) -> None:
    async with serve_lab() as served, stream(served) as ws:
        await anext(messages(ws, 1))
        await served.change(window=80)
        told: list[dict[str, Any]] = []
        async for message in messages(ws, 100_000):
            told += message["alerts"]
            if message["restated"]:
                break
        changed = [entry for entry in told if entry["kind"] == "SETTING"]
        assert [(c["setting"], c["old"], c["new"]) for c in changed] == [("window", 60, 80)]
        after = await served.get("/analytics/stats", cursor=message["cursor"])
        assert after["missed"] == 0
        async for message in messages(ws, 200):
            assert message["restated"] is False


async def test_a_message_from_the_client_closes_it(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        async with stream(served) as ws:
            await ws.send("hello")
            with pytest.raises(ConnectionClosed) as closed:
                async for _ in messages(ws, 1_000_000):
                    pass
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        assert (await served.get("/health"))["stream_readers"] == 0


async def test_the_number_of_readers_is_limited(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairlab.services.rest.stream._MAX_READERS", 2)
    async with serve_lab() as served, stream(served), stream(served):
        with pytest.raises(InvalidStatus) as refused:
            await stream(served).__aenter__()
        assert refused.value.response.status_code == 503
        assert b"2 readers" in (refused.value.response.body or b"")
