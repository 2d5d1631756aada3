"""A WebSocket server that says exactly what a test wants, and ticks to say."""

from __future__ import annotations

import asyncio
import http
import inspect
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pairlab.feeds.base import Feed
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import Limits, Retry, Timeouts
from pairlab.lab.feed.feed_log import feed_events
from pairlab.schema import TICK, LogEntry, Pair, Records

PAIR = Pair("BTCUSDT", "ETHUSDT")
NOW_MS = 1_770_000_000_000
UNTIL_S = 60.0  # no condition of a test takes a tenth of it, even on a busy machine
Handler = Callable[[ServerConnection], Awaitable[None]]


def agg(leg: int, id_: int, *, ms: int = 0, price: str = "100.5", **more: Any) -> str:
    """A combined-stream frame of one aggregated trade."""
    symbol = PAIR[leg]
    data = {
        "e": "aggTrade",
        "E": NOW_MS + ms,
        "s": symbol,
        "a": id_,
        "p": price,
        "q": "0.25",
        "f": id_ * 2,
        "l": id_ * 2 + 1,
        "T": NOW_MS + ms,
        "m": bool(id_ % 2),
        **more,
    }
    return json.dumps({"stream": f"{symbol.lower()}@aggTrade", "data": data})


def row(id_: int, *, ms: int = 0, price: str = "100.5") -> dict[str, Any]:
    """The same trade as REST tells it."""
    return {
        "a": id_,
        "p": price,
        "q": "0.25",
        "f": id_ * 2,
        "l": id_ * 2 + 1,
        "T": NOW_MS + ms,
        "m": bool(id_ % 2),
    }


@dataclass
class Script:
    """What the server does; a test fills it in."""

    on_stream: Handler
    url: str = ""
    paths: list[str] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    trades: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {s: [] for s in PAIR})
    handshake: Callable[[int], tuple[int, dict[str, str]] | None] = lambda attempt: None
    rest: Callable[[str, dict[str, str]], tuple[int, bytes] | None] = lambda path, query: None
    weight_limit: int = 1_000_000

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        own = self.rest(path, query)
        if own is not None:
            return own
        body: Any
        if path.endswith("/time"):
            body = {"serverTime": NOW_MS}
        elif path.endswith("/exchangeInfo"):
            sizes = {"BTCUSDT": "0.10", "ETHUSDT": "0.01"}
            body = {
                "symbols": [
                    {
                        "symbol": symbol,
                        "filters": [{"filterType": "PRICE_FILTER", "tickSize": size}],
                    }
                    for symbol, size in sizes.items()
                ],
                "rateLimits": [
                    {
                        "rateLimitType": "REQUEST_WEIGHT",
                        "interval": "MINUTE",
                        "intervalNum": 1,
                        "limit": self.weight_limit,
                    }
                ],
            }
        else:
            rows = self.trades[query["symbol"]]
            if "fromId" in query:
                rows = [r for r in rows if r["a"] >= int(query["fromId"])]
                body = rows[: int(query["limit"])]
            else:
                body = rows[-int(query["limit"]) :]
        return 200, json.dumps(body).encode()


@asynccontextmanager
async def playing(
    on_stream: Handler, tls: ssl.SSLContext | None = None, **more: Any
) -> AsyncIterator[Script]:
    """Serve `on_stream` on a loopback port; it is called once per connection."""
    script = Script(on_stream, **more)

    def on_request(_: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if parts.path.startswith("/fapi/"):
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            script.asked.append((parts.path.rsplit("/", 1)[-1], query))
            status, body = script.answer(parts.path, query)
            return _response(status, body, {})
        script.paths.append(request.path)
        refused = script.handshake(len(script.paths))
        return _response(refused[0], b"", refused[1]) if refused else None

    async def handler(ws: ServerConnection) -> None:
        await script.on_stream(ws)

    async with serve(
        handler,
        "127.0.0.1",
        0,
        process_request=on_request,
        ssl=tls,
        compression=None,
        ping_interval=None,
        close_timeout=0.2,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        script.url = f"ws://127.0.0.1:{port}"
        yield script


def _response(status: int, body: bytes, headers: dict[str, str]) -> Response:
    lines = Headers({"Content-Length": str(len(body)), "Connection": "close", **headers})
    return Response(status, http.HTTPStatus(status).phrase, lines, body)


def tell(script: Script, leg: int, *ids: int) -> None:
    """Let REST know these trades."""
    symbol = ("BTCUSDT", "ETHUSDT")[leg]
    known = {r["a"]: r for r in script.trades[symbol]}
    known.update({n: row(n, ms=n) for n in ids})
    script.trades[symbol] = [known[n] for n in sorted(known)]


async def nothing_more(ws: ServerConnection) -> None:
    """Keep the connection open until the feed closes it."""
    await ws.wait_closed()


async def send(ws: ServerConnection, leg: int, *ids: int) -> None:
    for n in ids:
        await ws.send(agg(leg, n, ms=n))


class Market:
    """Trades on both legs, told to every connection and to REST, until the test ends.

    Parameters
    ----------
    script : Script
        Whose REST knows the trades.
    frozen : callable
        (connection's number from 1, leg, trade's number) -> whether it is withheld.
    """

    def __init__(
        self,
        script: Script,
        *,
        frozen: Callable[[int, int, int], bool] = lambda connection, leg, number: False,
    ) -> None:
        self._script = script
        self._frozen = frozen
        self._open: dict[ServerConnection, int] = {}
        self._opened = 0
        self.number = 0

    async def serve(self, ws: ServerConnection) -> None:
        self._opened += 1
        self._open[ws] = self._opened
        try:
            await ws.wait_closed()
        finally:
            del self._open[ws]

    @asynccontextmanager
    async def trading(self) -> AsyncIterator[None]:
        self._script.on_stream = self.serve
        task = asyncio.create_task(self._trade())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _trade(self) -> None:
        while True:
            self.number += 1
            for leg in (0, 1):
                self._script.trades[PAIR[leg]].append(row(self.number, ms=self.number))
                frame = agg(leg, self.number, ms=self.number)
                for ws, connection in list(self._open.items()):
                    if not self._frozen(connection, leg, self.number):
                        try:
                            await ws.send(frame)
                        except ConnectionClosed:
                            continue  # `serve` takes it off the list
            await asyncio.sleep(0.005)


def awaited(true: Callable[[], bool]) -> str:
    """Return a condition as its source says it, with the plain values that it looks at."""
    try:
        words = " ".join(inspect.getsource(true).split())
    except (OSError, TypeError):
        words = repr(true)
    seen = inspect.getclosurevars(true).nonlocals if inspect.isfunction(true) else {}
    plain = {name: v for name, v in seen.items() if isinstance(v, int | float | str | tuple)}
    return f"{words} with {plain}" if plain else words


async def wait_until(
    true: Callable[[], bool], news: asyncio.Event, state: Callable[[], str]
) -> None:
    """Wait until a condition holds, looked at whenever there is news; fail after `UNTIL_S`."""
    try:
        async with asyncio.timeout(UNTIL_S):
            while not true():
                news.clear()
                await news.wait()
    except TimeoutError:
        words = f"not true within {UNTIL_S:g} s: {awaited(true)}; {state()}"
        raise AssertionError(words) from None


class Catcher:
    """A sink and an event log that keep everything, and wake whoever waits for it."""

    def __init__(self) -> None:
        self.parts: list[Records] = []
        self.log: list[LogEntry] = []
        self.gaps: list[tuple[int, int]] = []  # (ticks before it, missing)
        self.count = 0
        self._news = asyncio.Event()

    def on_ticks(self, ticks: Records) -> None:
        assert ticks.dtype == TICK
        self.parts.append(ticks)
        self.count += len(ticks)
        self._news.set()

    def write(self, entry: LogEntry) -> None:
        self.log.append(entry)
        self._news.set()

    def on_gap(self, missing: int) -> None:
        self.gaps.append((self.count, missing))

    @property
    def ticks(self) -> Records:
        return np.concatenate(self.parts) if self.parts else np.empty(0, TICK)

    def ids(self, leg: int) -> list[int]:
        ticks = self.ticks
        return [int(i) for i in ticks["id"][ticks["leg"] == leg]]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until a condition on ticks or log holds."""
        await wait_until(true, self._news, self.state)

    def state(self) -> str:
        """Return in words what came so far, for a wait that was in vain."""
        said = [f"{entry.level}: {entry.message}" for entry in self.log[-5:]]
        return f"{self.count} ticks, {len(self.gaps)} gaps, last log lines {said}"


def quick(**more: float) -> Timeouts:
    """Time limits for a test: nothing waits long, nothing is refused for being early."""
    values: dict[str, float] = {
        "open_s": 5.0,
        "close_s": 0.5,
        "healthy_after_s": 0.0,
        "repair_grace_s": 0.01,
        **more,
    }
    return Timeouts(**values)


class ShiftedClock:
    """The machine's clock, ahead by what a test says: minutes pass in no time, on any machine."""

    ahead_s = 0.0
    time_ns = staticmethod(time.time_ns)

    def monotonic_s(self) -> float:
        """Return what the machine says, and what was added."""
        return time.monotonic() + self.ahead_s


def at_once() -> Retry:
    """Try again without a pause."""

    def delays() -> Iterator[float]:
        while True:
            yield 0.0

    return Retry(delays=delays)


async def run(feed: Feed, catcher: Catcher) -> None:
    """Run a feed as a lab does: its ticks, its gaps and its log records go to the catcher."""
    with feed_events(feed, catcher.write):
        await feed.run(catcher)


@asynccontextmanager
async def running(feed: BinanceFeed, catcher: Catcher | None = None) -> AsyncIterator[Catcher]:
    """Run a feed, and stop it."""
    catcher = catcher or Catcher()
    task = asyncio.create_task(run(feed, catcher))
    task.add_done_callback(lambda _: catcher._news.set())
    try:
        yield catcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def local(script: Script, **more: Any) -> BinanceFeed:
    """A feed on a script."""
    settings: dict[str, Any] = {"timeouts": quick(), "retry": at_once(), "limits": Limits()}
    return BinanceFeed(PAIR, url=script.url, **{**settings, **more})
