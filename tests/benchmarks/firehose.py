"""``python -m tests.benchmarks.firehose FRAMES [PER_S]``: a server that sends what it has made.

It prints its port, and sends every connection the same frames, made beforehand, then says that the
recording has ended: as fast as TCP takes them, or PER_S a second, evenly, each when it is due. A
process of its own, so that its work is not counted as the client's.
"""

from __future__ import annotations

import asyncio
import http
import json
import sys
import time

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from pairlab.feeds.connection.connection import RECORDING_ENDED
from pairlab.local_exchange.protocol.frames import text_frame

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


async def at_once(ws: ServerConnection, made: list[bytes]) -> None:
    """Send all as fast as it goes."""
    for n in range(0, len(made), _AT_ONCE):
        # The library's `send` would cost more than the client under test.
        ws.transport.write(b"".join(made[n : n + _AT_ONCE]))
        await ws.drain()


async def evenly(ws: ServerConnection, made: list[bytes], per_s: float) -> None:
    """Send each when it is due; what came due meanwhile goes out together."""
    start_s, sent = time.perf_counter(), 0
    while sent < len(made) and not ws.transport.is_closing():
        due = min(int((time.perf_counter() - start_s) * per_s), len(made))
        if due > sent:
            ws.transport.write(b"".join(made[sent:due]))
            sent = due
        nap(2 / per_s)
        await asyncio.sleep(0)


def nap(seconds: float) -> None:
    """Rest for less than the millisecond that the loop's clock knows: the machine is shared."""
    time.sleep(seconds)


async def main(frames: int, per_s: float | None) -> None:
    """Serve until killed."""
    made = [frame(n) for n in range(frames)]

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
        await (at_once(ws, made) if per_s is None else evenly(ws, made, per_s))
        await ws.close(1000, RECORDING_ENDED)

    async with serve(handler, "127.0.0.1", 0, process_request=on_request, compression=None) as hose:
        print(next(iter(hose.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None))
