"""A Binance on localhost: its stream protocol and its REST, on one port, on a market of ours."""

from __future__ import annotations

import asyncio
import http
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pairlab.errors import SettingError
from pairlab.local_exchange.market.market import Market
from pairlab.local_exchange.protocol.control import (
    CATEGORIES,
    Control,
    Route,
    TooManyMessagesError,
    parse_route,
)
from pairlab.local_exchange.protocol.rest import Rest, RestReply, refusal
from pairlab.local_exchange.server.client import Client
from pairlab.local_exchange.server.faults import Fault, Faults
from pairlab.local_exchange.server.hub import Hub
from pairlab.schema import NS_PER_S

__all__ = ["ENDED", "ExchangeStats", "LocalExchange"]

ENDED: Final = "recording ended"
"""Reason of the close frame, code 1000, that follows a recording's last frame."""

_WAKE_S: Final = 0.01
_CHUNK: Final = 512
_CLOSE_TIMEOUT_S: Final = 1.0
_OPEN_TIMEOUT_S: Final = 120.0
_WRITE_LIMIT: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ExchangeStats:
    """What the exchange did so far.

    Attributes
    ----------
    connections : int
        Open now.
    streams : int
        Subscribed now, one on two connections counted twice.
    handshakes : int
        WebSocket connections opened, ever.
    requests : int
        REST requests answered.
    frames, bytes : int
        Sent, all connections together, control replies not counted.
    too_slow : int
        Connections closed because they did not read.
    """

    connections: int
    streams: int
    handshakes: int
    requests: int
    frames: int
    bytes: int
    too_slow: int


class LocalExchange:
    """Serve a market as Binance USDⓈ-M Futures would, over real sockets on this machine.

    Use as ``async with LocalExchange(market) as exchange:`` and give ``exchange.url`` to a feed.
    The WebSocket routes are ``/{public|market|private}/{ws|stream}`` and the old ``/ws`` and
    ``/stream``, which acknowledge everything and carry public streams only; REST is
    ``/fapi/v1/{ping,time,exchangeInfo,aggTrades,klines}`` over http on the same port.

    Parameters
    ----------
    market : Market
        `SyntheticMarket` or `Recording`.
    host : str, default "127.0.0.1"
        Where to listen.
    port : int, default 0
        0 picks a free one.
    weight_limit : int, default 2400
        REST request weight per minute, as ``exchangeInfo.rateLimits`` tells it.
    ping_interval_s, ping_timeout_s : float, default 180, 600
        Server pings, and how long a pong may take.
    max_streams : int, default 1024
        Streams per connection.
    messages_per_s : int, default 10
        Control messages a connection may send per second.
    max_backlog_bytes : int, default 64 MiB
        What may wait for a client that does not read; then it is closed with 1008.
    close_at_end : bool, default True
        After a recording's last frame, close with 1000 "recording ended", and do so to whoever
        connects later; otherwise stay open and silent.
    routes : mapping of str to str, optional
        Kinds of streams that deliver on another route than Binance's, as ``{"trade": "market"}``.
    lifetime_s : float, default 86_400
        A connection is closed, with 1001, when it gets as old as this.
    faults : Faults, optional
        What goes wrong by chance; `inject` does so on order.

    Attributes
    ----------
    ended : asyncio.Event
        Set after the last message of a recording was sent.
    faults : Faults
        What goes wrong, and how often it did.
    """

    def __init__(
        self,
        market: Market,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        weight_limit: int = 2_400,
        ping_interval_s: float = 180.0,
        ping_timeout_s: float = 600.0,
        max_streams: int = 1_024,
        messages_per_s: int = 10,
        max_backlog_bytes: int = 64 << 20,
        close_at_end: bool = True,
        routes: Mapping[str, str] | None = None,
        lifetime_s: float = 86_400.0,
        faults: Faults | None = None,
    ) -> None:
        for name, value in (
            ("weight_limit", weight_limit),
            ("ping_interval_s", ping_interval_s),
            ("ping_timeout_s", ping_timeout_s),
            ("max_streams", max_streams),
            ("messages_per_s", messages_per_s),
            ("max_backlog_bytes", max_backlog_bytes),
            ("lifetime_s", lifetime_s),
        ):
            if not value > 0:
                raise SettingError(name, value, "expected a number above 0")
        self.market = market
        self._host = host
        self._port = port
        self._ping = (ping_interval_s, ping_timeout_s)
        self._limits = (max_streams, messages_per_s)
        self._max_backlog = max_backlog_bytes
        self._close_at_end = close_at_end
        self.ended = asyncio.Event()
        self._lifetime_s = lifetime_s
        self.faults = faults if faults is not None else Faults()
        self._categories = {**CATEGORIES, **(routes or {})}
        self._rest = Rest(market, self.now_ns, weight_limit)
        self._server: Server | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self._hub = Hub(market, self.faults, self.now_ns, max_backlog_bytes)
        self._doomed: weakref.WeakKeyDictionary[ServerConnection, list[Fault]] = (
            weakref.WeakKeyDictionary()
        )
        self._origin: tuple[float, int] | None = None
        self._counts = {"handshakes": 0, "requests": 0}

    @property
    def url(self) -> str:
        """``ws://host:port``, without a path."""
        return f"ws://{self._host}:{self.port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def stats(self) -> ExchangeStats:
        """Return the counters now."""
        return ExchangeStats(
            connections=len(self._hub.clients),
            streams=sum(len(client.control.streams) for client in self._hub.clients),
            **self._counts,
            **self._hub.counts,
        )

    def inject(self, fault: Fault) -> asyncio.Event:
        """Let a fault happen at the next occasion; the event is set when it has."""
        return self.faults.inject(fault)

    def now_ns(self) -> int:
        """Return the market's clock, ns since 1970 UTC."""
        speed = self.market.speed
        if speed is None or self.market.next_ns() is None:
            return self.market.position_ns
        if self._origin is None:
            return self.market.start_ns
        started_s, start_ns = self._origin
        return start_ns + int((self._loop.time() - started_s) * speed * NS_PER_S)

    async def start(self) -> None:
        """Open the market and listen.

        Raises
        ------
        DataError
            If the market is a recording that cannot be read.
        OSError
            If the port is taken.
        """
        if self._server is not None:
            return
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self._hub = Hub(self.market, self.faults, self.now_ns, self._max_backlog)
        self._origin = None
        await asyncio.to_thread(self.market.open)
        self._server = await serve(
            self._handle,
            self._host,
            self._port,
            process_request=self._on_request,
            compression=None,
            ping_interval=self._ping[0],
            ping_timeout=self._ping[1],
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=1 << 16,
            write_limit=_WRITE_LIMIT,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        self._pump_task = asyncio.create_task(self._pump(), name="pairlab-exchange-pump")
        self._hub.resubscribe()

    async def stop(self) -> None:
        """Close every connection with 1001 and stop listening; raise what broke the market."""
        server, self._server = self._server, None
        pump, self._pump_task = self._pump_task, None
        if server is None or pump is None:
            return
        pump.cancel()
        server.close()
        await self._hub.finish()
        await server.wait_closed()
        try:
            await pump
        except asyncio.CancelledError:
            if not pump.cancelled():
                raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # Requests

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path
        if parse_route(path) is not None:
            return await self._on_handshake(connection)
        method = getattr(request, "method", "GET")
        if method != "GET":
            body = f'{{"code":-5000,"msg":"Path {path}, Method {method} is invalid"}}'
            return _http(RestReply(405, body.encode()))
        self._counts["requests"] += 1
        reply: RestReply | None = None
        share: float = 1.0
        for fault in self.faults.on_request(path):
            if fault.kind == "rest_status":
                reply = refusal(fault.status, fault.retry_after_s)
            elif fault.kind == "rest_late":
                await self._hub.nap(fault.seconds)
            else:
                share = 0.5 if fault.kind == "rest_short" else 0.0
        if reply is None:
            reply = self._rest.answer(path, self._loop.time(), share)
        return _http(reply)

    async def _on_handshake(self, connection: ServerConnection) -> Response | None:
        for fault in self.faults.on_handshake():
            if fault.kind == "refuse":
                return _http(refusal(fault.status, fault.retry_after_s))
            if fault.kind == "slow_handshake":
                await self._hub.nap(fault.seconds)
            else:
                self._doomed.setdefault(connection, []).append(fault)
        return None

    async def _handle(self, ws: ServerConnection) -> None:
        route = parse_route(ws.request.path) if ws.request is not None else None
        if route is None:  # `_on_request` has answered everything else
            raise RuntimeError("a WebSocket connection without a route")
        self._counts["handshakes"] += 1
        if self.ended.is_set() and self._close_at_end:
            await ws.close(1000, ENDED)
            return
        client = Client(ws, Control(route, self._categories, *self._limits))
        for fault in self._doomed.pop(ws, []):
            if fault.kind == "accept_then_close":
                await ws.close(fault.code)
                return
            client.state.silent.add(fault.stream or "")
        self._hub.clients.add(client)
        age = self._loop.call_later(
            self._lifetime_s, self._hub.close, client, 1001, "this connection is too old"
        )
        try:
            await self._converse(client, route)
        except ConnectionClosed:
            return  # how it ended is the client's affair
        finally:
            age.cancel()
            self._hub.forget(client)

    async def _converse(self, client: Client, route: Route) -> None:
        if not client.control.add(route.streams):
            await client.ws.close(1008, "Too many streams")
            return
        self._hub.resubscribe()
        async for text in client.ws:
            try:
                reply = client.control.handle(text, self._loop.time())
            except TooManyMessagesError:
                await client.ws.close(1008, "Too many requests")
                return
            await client.ws.send(reply)
            self._hub.resubscribe()

    # The market's side

    async def _pump(self) -> None:
        """Hand out what is due, in one write per connection and wake-up."""
        try:
            await self._hub.begun.wait()
            market = self.market
            self._origin = (self._loop.time(), market.start_ns)
            while (next_ns := market.next_ns()) is not None:
                if market.speed is None:
                    await self._hub.heard.wait()
                    self._hub.deliver(market.take(None, self._hub.subscribers, _CHUNK))
                    await self._hub.drain()
                    continue
                now_ns = self.now_ns()
                if next_ns > now_ns:
                    due_s = (next_ns - now_ns) / (market.speed * NS_PER_S)
                    await asyncio.sleep(min(max(_WAKE_S, due_s), 1.0))
                    continue
                self._hub.deliver(market.take(now_ns, self._hub.subscribers, _CHUNK))
                await asyncio.sleep(0)
            self.ended.set()
            if self._close_at_end:
                for client in list(self._hub.clients):
                    self._hub.close(client, 1000, ENDED)
        except Exception:
            for client in list(self._hub.clients):
                self._hub.close(client, 1011, "the market broke")
            raise


def _http(reply: RestReply) -> Response:
    phrases: Any = http.HTTPStatus
    headers = Headers(
        {
            "Content-Type": "application/json;charset=UTF-8",
            "Content-Length": str(len(reply.body)),
            "Connection": "close",
            **reply.headers,
        }
    )
    return Response(reply.status, phrases(reply.status).phrase, headers, reply.body)
