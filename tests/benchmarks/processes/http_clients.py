"""An HTTP load.

``python -m tests.benchmarks.processes.http_clients PORT PATH CONNECTIONS SECONDS``

Each connection sends its next request as soon as it has a response. It is a process of its own on
bare sockets, so that little of the clients' CPU time is counted as the server's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Totals:
    """Totals of all connections."""

    errors: int = 0
    took_ms: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection, which sends requests back to back."""

    def __init__(self, request: bytes, until: float, totals: Totals) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._request, self._until, self._totals = request, until, totals
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_request()

    def _send_request(self) -> None:
        self._sent_s = time.perf_counter()
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
        self._totals.took_ms.append((now - self._sent_s) * 1e3)
        self._totals.errors += not (head.startswith(b"HTTP/1.1 200") and body.endswith(b"}"))
        self._got = b""
        if now < self._until:
            self._send_request()
        else:
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._totals.errors += 1
            self.done.set_result(None)


async def main(port: int, path: str, connections: int, seconds: float) -> None:
    """Send requests, and print the totals as JSON."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    totals, loop = Totals(), asyncio.get_running_loop()
    start = time.perf_counter()
    connected = [
        await loop.create_connection(
            lambda: Client(request, start + seconds, totals), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for _, client in connected))
    took = time.perf_counter() - start
    for transport, _ in connected:
        transport.close()
    quantiles = statistics.quantiles(totals.took_ms, n=100)
    figures = {
        "requests_per_s": len(totals.took_ms) / took,
        "errors": totals.errors,
        "p50_ms": quantiles[49],
        "p99_ms": quantiles[98],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
