"""A server of prepared frames.

``python -m tests.benchmarks.processes.firehose FRAMES [PER_S [SYMBOLS]]``

It prints its port, sends every connection the same frames, prepared beforehand, and closes with
"recording ended": as fast as TCP accepts them, or evenly at PER_S per second. It is a process of
its own, so that its CPU time is not counted as the client's. With SYMBOLS, frames of so many
symbols are stamped when they are sent, so that a client can tell how late they are.
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
from websockets.protocol import State

from pairlab.feeds.connection.connection import RECORDING_ENDED
from pairlab.local_exchange.protocol.frames import text_frame

SYMBOLS = ("BTCUSDT", "ETHUSDT")
_START_MS = 1_770_000_000_000
_FRAMES_PER_WRITE = 500


def frame(number: int) -> bytes:
    """Return one aggregated trade as a WebSocket frame."""
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


async def send_unpaced(ws: ServerConnection, frames: list[bytes]) -> None:
    """Send all frames as fast as possible."""
    for n in range(0, len(frames), _FRAMES_PER_WRITE):
        # The library's `send` would cost more than the client under test.
        ws.transport.write(b"".join(frames[n : n + _FRAMES_PER_WRITE]))
        await ws.drain()


async def send_evenly(ws: ServerConnection, frames: list[bytes], per_s: float) -> None:
    """Send each frame when it is due; several that are due go out in one write."""
    start_s, sent = time.perf_counter(), 0
    while sent < len(frames) and not ws.transport.is_closing():
        due = min(int((time.perf_counter() - start_s) * per_s), len(frames))
        if due > sent:
            ws.transport.write(b"".join(frames[sent:due]))
            sent = due
        sleep_briefly(2 / per_s)
        await asyncio.sleep(0)


def sleep_briefly(seconds: float) -> None:
    """Sleep for less than the event loop's resolution of a millisecond."""
    time.sleep(seconds)


def universe(count: int) -> tuple[str, ...]:
    """Return the names of so many symbols."""
    return tuple(f"S{number:02d}USDT" for number in range(count))


def stamped(number: int, symbols: tuple[str, ...], time_ms: int) -> bytes:
    """Return one aggregated trade of one of many symbols, as of now."""
    leg = number * 7 % len(symbols)
    price = (20 + leg) * (1 + (number // len(symbols) * 37 + leg * 11) % 613 / 1e5)
    text = (
        f'{{"stream":"{symbols[leg].lower()}@aggTrade","data":{{"e":"aggTrade","E":{time_ms},'
        f'"a":{1_000 + number // len(symbols)},"s":"{symbols[leg]}","p":"{price:.4f}",'
        f'"q":"0.006","f":{number},"l":{number},"T":{time_ms},"m":true}}}}'
    )
    return text_frame(text.encode())


async def send_stamped(
    ws: ServerConnection, count: int, per_s: float, symbols: tuple[str, ...]
) -> None:
    """Send each frame when it is due, stamped with the time."""
    start_s, sent = time.perf_counter(), 0
    while sent < count and ws.state is State.OPEN:
        due = min(int((time.perf_counter() - start_s) * per_s), count)
        now_ms = time.time_ns() // 1_000_000
        ws.transport.write(b"".join(stamped(n, symbols, now_ms) for n in range(sent, due)))
        sent = due
        await asyncio.sleep(0.002)


async def main(count: int, per_s: float | None, of: int = 0) -> None:
    """Serve until killed."""
    symbols = universe(of) or SYMBOLS
    frames = [] if of else [frame(n) for n in range(count)]

    def on_request(_: ServerConnection, request: Request) -> Response | None:
        if not request.path.startswith("/fapi/"):
            return None
        body = json.dumps(
            {"serverTime": time.time_ns() // 1_000_000 if of else _START_MS}
            if request.path.endswith("/time")
            else {"symbols": [{"symbol": symbol} for symbol in symbols]}
        ).encode()
        lines = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        return Response(200, http.HTTPStatus.OK.phrase, lines, body)

    async def handler(ws: ServerConnection) -> None:
        if of:
            await send_stamped(ws, count, per_s or 1_000.0, symbols)
        else:
            await (send_unpaced(ws, frames) if per_s is None else send_evenly(ws, frames, per_s))
        await ws.close(1000, RECORDING_ENDED)

    async with serve(handler, "127.0.0.1", 0, process_request=on_request, compression=None) as hose:
        print(next(iter(hose.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[2:]]
    asyncio.run(main(int(sys.argv[1]), given[0] if given else None, *map(int, given[1:])))
