"""The local exchange: Binance's stream protocol and REST API on one loopback port."""

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
from pairlab.local_exchange.market.synthetic import SyntheticMarket
from pairlab.local_exchange.protocol.control import (
    CATEGORIES,
    Control,
    Route,
    TooManyMessagesError,
    parse_route,
)
from pairlab.local_exchange.protocol.rest import Rest, RestReply, refusal
from pairlab.local_exchange.server.client import Client
from pairlab.local_exchange.server.faults import RESTART_IDS, Fault, Faults
from pairlab.local_exchange.server.hub import Hub
from pairlab.local_exchange.server.pump import ENDED, MarketClock, MarketPump

__all__ = ["ExchangeStats", "LocalExchange"]

_CLOSE_TIMEOUT_S: Final = 1.0
_OPEN_TIMEOUT_S: Final = 120.0
_MAX_CONTROL_BYTES: Final = 1 << 16
_WRITE_LIMIT_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ExchangeStats:
    """Counters of the exchange.

    Attributes
    ----------
    connections : int
        Open at this moment.
    streams : int
        Subscribed at this moment; one on two connections counts twice.
    handshakes : int
        WebSocket connections opened since it was created.
    requests : int
        REST requests answered since it was created.
    frames, bytes : int
        WebSocket frames sent since the start, without control replies.
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
    """Serves a market as Binance USDⓈ-M Futures would, over real sockets on this machine.

    Use as ``async with LocalExchange(market) as exchange:`` and pass ``exchange.url`` to a feed.
    The WebSocket routes are ``/{public|market|private}/{ws|stream}`` and the legacy ``/ws`` and
    ``/stream``, which acknowledge everything and deliver public streams only; REST is
    ``/fapi/v1/{ping,time,exchangeInfo,aggTrades,klines}`` over http on the same port.

    Parameters
    ----------
    market : Market
        `SyntheticMarket`, `Recording` or `MarketGroup`.
    host : str, default "127.0.0.1"
        Address to listen on.
    port : int, default 0
        0 picks a free one.
    weight_limit : int, default 2400
        REST request weight per minute, as ``exchangeInfo.rateLimits`` reports it.
    ping_interval_s, ping_timeout_s : float, default 180, 600
        Interval of server pings, and maximum time until a pong.
    max_streams : int, default 1024
        Maximum streams per connection.
    messages_per_s : int, default 10
        Maximum control messages per second and connection.
    max_backlog_bytes : int, default 64 MiB
        Bytes buffered for a client that does not read; beyond them it is closed with 1008.
    close_at_end : bool, default True
        After a recording's last message, close all connections, and later ones at once, with 1000
        "recording ended"; otherwise they stay open and silent.
    routes : mapping of str to str, optional
        Kinds of streams delivered on another route than Binance's, such as
        ``{"trade": "market"}``.
    lifetime_s : float, default 86_400
        Maximum age of a connection, which is then closed with 1001.
    faults : Faults, optional
        Random faults; `inject` adds single ones.

    Attributes
    ----------
    ended : asyncio.Event
        Set after a recording's last message was sent.
    faults : Faults
        The faults, and how often each happened.
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
        self._clock = MarketClock(market)
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
        self._rest = Rest(market, self._clock.now_ns, weight_limit)
        self._server: Server | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self._hub = self._new_hub()
        self._pending_faults: weakref.WeakKeyDictionary[ServerConnection, list[Fault]] = (
            weakref.WeakKeyDictionary()
        )
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
        """Make a fault happen at the next opportunity; the event is set when it has."""
        if fault.kind != RESTART_IDS:
            return self.faults.inject(fault)
        if not isinstance(self.market, SyntheticMarket):
            raise SettingError("kind", fault.kind, "expected a fault of a recording: its ids stand")
        self._hub.close_all(fault.code, "maintenance")
        self.market.restart_ids(fault.count)
        self.faults.counts[fault.kind] += 1
        happened = asyncio.Event()
        happened.set()
        return happened

    def now_ns(self) -> int:
        """Return the market's clock, ns since 1970 UTC."""
        return self._clock.now_ns()

    def _new_hub(self) -> Hub:
        return Hub(self.market.has_stream, self.faults, self._clock.now_ns, self._max_backlog)

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
        self._hub = self._new_hub()
        self._clock.reset()
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
            max_size=_MAX_CONTROL_BYTES,
            write_limit=_WRITE_LIMIT_BYTES,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        pump = MarketPump(
            self.market, self._hub, self._clock, self.ended, close_at_end=self._close_at_end
        )
        self._pump_task = asyncio.create_task(pump.run(), name="pairlab-exchange-pump")

    async def stop(self) -> None:
        """Close every connection with 1001 and stop listening; raise the market's error, if any."""
        server, self._server = self._server, None
        pump, self._pump_task = self._pump_task, None
        if server is None or pump is None:
            return
        pump.cancel()
        server.close()
        await self._hub.stop()
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

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path
        if parse_route(path) is not None:
            return await self._on_handshake(connection)
        method = getattr(request, "method", "GET")
        if method != "GET":
            body = f'{{"code":-5000,"msg":"Path {path}, Method {method} is invalid"}}'
            return _as_response(RestReply(405, body.encode()))
        self._counts["requests"] += 1
        reply: RestReply | None = None
        share: float = 1.0
        for fault in self.faults.on_request(path):
            if fault.kind == "rest_status":
                reply = refusal(fault.status, fault.retry_after_s)
            elif fault.kind == "rest_late":
                await self._hub.sleep_unless_stopped(fault.seconds)
            else:
                share = 0.5 if fault.kind == "rest_short" else 0.0
        if reply is None:
            reply = self._rest.answer(path, self._loop.time(), share)
        return _as_response(reply)

    async def _on_handshake(self, connection: ServerConnection) -> Response | None:
        for fault in self.faults.on_handshake():
            if fault.kind == "refuse":
                return _as_response(refusal(fault.status, fault.retry_after_s))
            if fault.kind == "slow_handshake":
                await self._hub.sleep_unless_stopped(fault.seconds)
            else:
                self._pending_faults.setdefault(connection, []).append(fault)
        return None

    async def _handle(self, ws: ServerConnection) -> None:
        route = parse_route(ws.request.path) if ws.request is not None else None
        if route is None:  # `_on_request` has answered everything else
            raise RuntimeError("WebSocket connection without a route")
        self._counts["handshakes"] += 1
        if self.ended.is_set() and self._close_at_end:
            await ws.close(1000, ENDED)
            return
        client = Client(ws, Control(route, self._categories, *self._limits))
        for fault in self._pending_faults.pop(ws, []):
            if fault.kind == "accept_then_close":
                await ws.close(fault.code)
                return
            client.state.silent.add(fault.stream or "")
        self._hub.clients.add(client)
        age_limit = self._loop.call_later(
            self._lifetime_s, self._hub.close, client, 1001, "maximum connection age reached"
        )
        try:
            await self._handle_messages(client, route)
        except ConnectionClosed:
            return  # the client may close as it likes
        finally:
            age_limit.cancel()
            self._hub.remove(client)

    async def _handle_messages(self, client: Client, route: Route) -> None:
        if not client.control.add(route.streams):
            await client.ws.close(1008, "Too many streams")
            return
        self._hub.refresh_subscribers()
        async for text in client.ws:
            try:
                reply = client.control.handle(text, self._loop.time())
            except TooManyMessagesError:
                await client.ws.close(1008, "Too many requests")
                return
            await client.ws.send(reply)
            self._hub.refresh_subscribers()


def _as_response(reply: RestReply) -> Response:
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
