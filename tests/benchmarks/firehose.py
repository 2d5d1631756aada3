"""``python -m tests.benchmarks.firehose FRAMES``: a server that sends as fast as TCP takes it.

It prints its port, and sends every connection the same frames, made beforehand, then says that the
recording has ended. A process of its own, so that its work is not counted as the client's.
"""

from __future__ import annotations

import asyncio
import http
import json
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from pairlab.exchange.frames import text_frame
from pairlab.feeds.link import RECORDING_ENDED

SYMBOLS = ("BTCUSDT", "ETHUSDT")
_START_MS = 1_770_000_000_000
_AT_ONCE = 500


def frame(number: int) -> bytes:
    """Return one aggregated trade, as the wire has it."""
    leg = number & 1
    time_ms = _START_MS + number // 10
    price = 61_800 + number % 977 / 10 if leg == 0 else 2_450 + number % 613 / 100
    data = {
        "e": "aggTrade",
        "E": time_ms,
        "a": 1_000 + number // 2,
        "s": SYMBOLS[leg],
        "p": f"{price:.2f}",
        "q": "0.006",
        "f": number,
        "l": number,
        "T": time_ms,
        "m": bool(number % 3),
    }
    stream = f"{SYMBOLS[leg].lower()}@aggTrade"
    return text_frame(json.dumps({"stream": stream, "data": data}).encode())


async def main(frames: int) -> None:
    """Serve until killed."""
    made = [frame(n) for n in range(frames)]
    writes = [b"".join(made[n : n + _AT_ONCE]) for n in range(0, frames, _AT_ONCE)]

    def on_request(_: ServerConnection, request: Request) -> Response | None:
        if not request.path.startswith("/fapi/"):
            return None
        body = json.dumps(
            {"serverTime": _START_MS}
            if request.path.endswith("/time")
            else {"symbols": [{"symbol": symbol} for symbol in SYMBOLS]}
        ).encode()
        lines = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        return Response(200, http.HTTPStatus.OK.phrase, lines, body)

    async def handler(ws: ServerConnection) -> None:
        for write in writes:
            # The library's `send` would cost more than the client under test.
            ws.transport.write(write)
            await ws.drain()
        await ws.close(1000, RECORDING_ENDED)

    async with serve(handler, "127.0.0.1", 0, process_request=on_request, compression=None) as hose:
        print(next(iter(hose.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
