"""``python -m tests.benchmarks.askers PORT PATH CONNECTIONS SECONDS``: clients that never pause.

Each connection asks again as soon as it has its answer. A process of its own, and bare sockets, so
that as little as possible of the clients' work is counted as the server's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Count:
    """What all connections saw together."""

    errors: int = 0
    took_ms: list[float] = field(default_factory=list)


class Asker(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, until: float, count: Count) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._request, self._until, self._count = request, until, count
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self._count.took_ms.append((now - self._asked) * 1e3)
        self._count.errors += not (head.startswith(b"HTTP/1.1 200") and body.endswith(b"}"))
        self._got = b""
        if now < self._until:
            self._ask()
        else:
            self.over.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self._count.errors += 1
            self.over.set_result(None)


async def main(port: int, path: str, connections: int, seconds: float) -> None:
    """Ask, and print what was seen as JSON."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    count, loop = Count(), asyncio.get_running_loop()
    start = time.perf_counter()
    made = [
        await loop.create_connection(
            lambda: Asker(request, start + seconds, count), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(asker.over for _, asker in made))
    took = time.perf_counter() - start
    for transport, _ in made:
        transport.close()
    quantiles = statistics.quantiles(count.took_ms, n=100)
    figures = {
        "requests_per_s": len(count.took_ms) / took,
        "errors": count.errors,
        "p50_ms": quantiles[49],
        "p99_ms": quantiles[98],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
