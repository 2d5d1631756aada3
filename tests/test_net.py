"""Which hosts are this machine; sockets that listen."""

from __future__ import annotations

import asyncio
import socket

from pairlab.feeds.binance.rest_client import is_loopback_url
from pairlab.net import is_loopback, listen


def test_loopback_hosts() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    others = ("0.0.0.0", "::", "10.0.0.1", "example.org", "127.example.org", "")
    assert not any(map(is_loopback, others))


def test_loopback_urls() -> None:
    assert all(map(is_loopback_url, ("ws://127.0.0.1:9", "http://[::1]:80/x", "ws://localhost")))
    assert not any(map(is_loopback_url, ("wss://fstream.binance.com", "ws://127.evil.example")))


async def test_answers_of_a_server_on_it_are_not_held_back() -> None:
    seen: list[int] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen("127.0.0.1", 0)
    async with await asyncio.start_server(serve, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert len(seen) == 1
    assert seen[0] != 0
