"""A market without pauses, and clients for it."""

from __future__ import annotations

import json

import httpx
from websockets.asyncio.client import ClientConnection, connect

from pairlab.local_exchange import LocalExchange, SyntheticMarket


def market(**options: object) -> SyntheticMarket:
    """A market that starts with its first subscription and runs as fast as its clients read."""
    return SyntheticMarket(
        **{"seed": 5, "speed": None, "rate_per_s": 200.0, "history_s": 0, **options}
    )


def http(exchange: LocalExchange) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=exchange.url.replace("ws://", "http://"))


def dial(url: str, **options: object) -> connect:
    """Connect with an unbounded queue: a paused client does not receive the close frame."""
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
