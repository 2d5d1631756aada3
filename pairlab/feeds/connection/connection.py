"""One WebSocket connection: it moves bytes, and counts what it has seen."""

from __future__ import annotations

import asyncio
import json
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from pairlab.errors import FeedError
from pairlab.feeds.binance.messages import ConsumedId, ControlMessage, TickTuple, WireDecoder
from pairlab.feeds.binance.rest_client import refusal
from pairlab.feeds.connection.stall_detector import SocketActivity
from pairlab.feeds.context import FeedContext
from pairlab.feeds.environment import find_proxy, proxy_hint, tls_context, tls_hint, unreachable
from pairlab.feeds.rate_limit import SlidingWindowLimiter
from pairlab.net import host_of

__all__ = ["RECORDING_ENDED", "Connection"]

_SLOT = operator.itemgetter(3)
_REQUESTS_PER_S: Final = 5  # Binance closes a connection at the eleventh, pongs included
_STREAMS_PER_REQUEST: Final = 100

RECORDING_ENDED = "recording ended"
"""The reason with which a local exchange closes (code 1000) when its recording is over."""

Deliver = Callable[[list[TickTuple | ConsumedId]], None]


class Connection:
    """One open connection and what came through it.

    Attributes
    ----------
    number : int
        Tells the connections for the same streams apart.
    route : str
        The category it was opened on.
    slots : set of int
        The streams it is subscribed to.
    counts : Counter of int
        Frames by slot, consumed ids included.
    opened_s : float
        When it opened, monotonic seconds.
    since_ns : dict of int to int
        When each stream was subscribed, wall clock.
    ended : str
        Why it ended, in a sentence; empty while it is open.
    orderly : bool
        It ended because the recording did.
    oversize : bool
        It ended because a frame was too long.
    restart_announced : bool
        The server announced its restart.
    """

    def __init__(
        self,
        ws: ClientConnection,
        context: FeedContext,
        *,
        number: int,
        route: str,
        streams: Mapping[int, str],
    ) -> None:
        self.number = number
        self.route = route
        self.slots = set(streams)
        self.counts: Counter[int] = Counter()
        self.opened_s = context.clock.monotonic_s()
        self.since_ns = dict.fromkeys(self.slots, context.clock.time_ns())
        self.ended = ""
        self.orderly = False
        self.oversize = False
        self.restart_announced = False
        self._ws = ws
        self._clock = context.clock
        self._timeouts = context.timeouts
        self._max_batch = context.limits.max_batch_ticks
        self._burst: list[bytes] = []  # frames read together, not yet decoded
        self._burst_ns = 0
        self._pong: asyncio.Future[float] | None = None
        self._pong_waited_s = 0.0
        self._names = dict(streams)  # of every stream it ever had
        self._wanted = self.slots
        self._subscriptions_changed = asyncio.Event()
        self._requests = 0

    @classmethod
    async def open(
        cls,
        url: str,
        context: FeedContext,
        *,
        number: int,
        route: str,
        streams: Mapping[int, str],
    ) -> Connection:
        """Connect.

        Parameters
        ----------
        url : str
            It subscribes to `streams`.
        context : FeedContext
            Timeouts, limits and clock.
        number : int
            Tells this connection from others.
        route : str
            The category that `url` names.
        streams : Mapping[int, str]
            Names by slot.

        Raises
        ------
        FeedError
            It says what went wrong; `GeoBlockedError`, `FirewallError` and
            `RateLimitedError` where the exchange refused.
        """
        host = host_of(url)
        timeouts, limits = context.timeouts, context.limits
        proxy = find_proxy(url)
        # Certificates are files: they are not read on the loop.
        tls = await asyncio.to_thread(tls_context) if url.startswith("wss://") else None
        to_proxy: dict[str, Any] = {}
        if proxy is not None and proxy.url.startswith("https:"):
            to_proxy["proxy_ssl"] = await asyncio.to_thread(tls_context)
        try:
            ws = await connect(
                url,
                ssl=tls,
                **to_proxy,
                compression=None,
                proxy=None if proxy is None else proxy.url,
                open_timeout=timeouts.open_s,
                close_timeout=timeouts.close_s,
                ping_interval=None,  # `heartbeat` pings, in time that no cell took from the loop
                max_size=limits.max_frame_bytes,
                max_queue=limits.max_queue_frames,
            )
        except InvalidStatus as error:
            answer = error.response
            raise refusal(
                answer.status_code, answer.headers.get("Retry-After"), f"the stream at {host}"
            ) from error
        except TimeoutError as error:
            raise FeedError(
                f"the stream at {host} did not open within {timeouts.open_s:g} s"
                f"{proxy_hint(url)}: check this machine's network, VPN and firewall."
            ) from error
        except (InvalidProxy, ProxyError) as error:
            where = "" if proxy is None else f" of {proxy.variable} ({proxy.shown})"
            why = error.__cause__ or error  # what a SOCKS proxy answered
            raise FeedError(
                f"the proxy{where} to {host} does not work: {why}. Correct or unset it, or "
                f"except {host} by NO_PROXY, and restart Python."
            ) from error
        except InvalidURI as error:  # of a redirect: `Venue` has looked at ours
            raise refusal(302, None, f"the stream at {host}") from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise FeedError(
                f"the stream at {host} cannot be reached{proxy_hint(url)}: {unreachable(error)}."
                f"{tls_hint(error)}"
            ) from error
        return cls(ws, context, number=number, route=route, streams=streams)

    # -- frames ----------------------------------------------------------------------------------

    async def read(
        self, decoder: WireDecoder, deliver: Deliver, on_error: Callable[[str], None]
    ) -> None:
        """Read until the connection ends; `ended` then says why.

        Parameters
        ----------
        decoder : WireDecoder
            Turns frames into ticks.
        deliver : callable
            Takes what was read together.
        on_error : callable
            Takes the text of an error that the server reports.
        """
        recv, loop, time_ns = self._ws.recv, asyncio.get_running_loop(), self._clock.time_ns
        # `recv` does not suspend while frames are queued: what is scheduled with the first frame
        # of a burst runs when all of it has been read.
        try:
            async with self._ws:
                while True:
                    frame = await recv(decode=False)
                    if not self._burst:
                        self._burst_ns = time_ns()
                        loop.call_soon(self._decode_burst, decoder, deliver, on_error)
                    self._burst.append(frame)
        except ConnectionClosed as closed:
            self._note_end(closed)
        except asyncio.CancelledError:
            self.ended = self.ended or "closed by us"
            raise
        except Exception as error:
            # Whatever broke, the remedy is a new connection, and the reason goes to the log.
            self.ended = self.ended or f"reading failed: {error!r}"
        finally:
            self._decode_burst(decoder, deliver, on_error)
            self.ended = self.ended or "closed"

    def _decode_burst(
        self, decoder: WireDecoder, deliver: Deliver, on_error: Callable[[str], None]
    ) -> None:
        frames, self._burst = self._burst, []
        messages: list[ControlMessage] = []
        try:
            for start in range(0, len(frames), self._max_batch):
                batch = frames[start : start + self._max_batch]
                items = decoder.decode_many(batch, self._burst_ns + start, messages)
                self.counts.update(map(_SLOT, items))
                deliver(items)
        except Exception as error:
            self.fail(f"reading failed: {error!r}")
        for message in messages:
            if message.kind == "shutdown":
                self.restart_announced = True
            elif message.kind == "error":
                on_error(message.text)

    # -- subscriptions ---------------------------------------------------------------------------

    def set_subscriptions(self, streams: Mapping[int, str]) -> None:
        """Ask for these streams, names by slot, and no others; `subscription_loop` sends it."""
        self._names.update(streams)
        self._wanted = set(streams)
        self._subscriptions_changed.set()

    async def subscription_loop(self) -> None:
        """Subscribe and unsubscribe as was asked, within the exchange's limit, until it ends."""
        limiter = SlidingWindowLimiter(_REQUESTS_PER_S, 1.0, clock=self._clock)
        try:
            while True:
                await self._subscriptions_changed.wait()
                self._subscriptions_changed.clear()
                gone = sorted(self.slots - self._wanted)
                new = sorted(self._wanted - self.slots)
                for method, slots in (("UNSUBSCRIBE", gone), ("SUBSCRIBE", new)):
                    for start in range(0, len(slots), _STREAMS_PER_REQUEST):
                        await limiter.spend(1)
                        await self._request(method, slots[start : start + _STREAMS_PER_REQUEST])
        except ConnectionClosed:
            return  # the reader knows

    async def _request(self, method: str, slots: list[int]) -> None:
        for slot in slots:
            if method == "SUBSCRIBE":
                self.slots.add(slot)
                self.since_ns[slot] = self._clock.time_ns()
                self.counts[slot] = 0
            else:
                self.slots.discard(slot)
        self._requests += 1
        params = [self._names[slot] for slot in slots]
        await self._ws.send(json.dumps({"method": method, "params": params, "id": self._requests}))

    # -- its state -------------------------------------------------------------------------------

    def activity(self) -> SocketActivity:
        """Return what it has done so far, for the stall detector."""
        counts = {slot: self.counts[slot] for slot in self.slots}
        return SocketActivity(self.number, self.route, counts, self.restart_announced)

    def delivers(self, slots: tuple[int, ...]) -> bool:
        """Return whether every one of these streams has shown data."""
        return all(self.counts[slot] for slot in slots)

    async def heartbeat(self, silent_s: float, awake_s: float) -> bool:
        """Ping a silent connection; return False once it has not answered for too long.

        Parameters
        ----------
        silent_s : float
            Awake time since any of its streams spoke.
        awake_s : float
            Awake time since the last call.
        """
        timeouts = self._timeouts
        if silent_s < timeouts.ping_after_s:
            self._pong = None
            return True
        if self._pong is None:
            try:
                self._pong = asyncio.ensure_future(await self._ws.ping())
            except ConnectionClosed:
                return True  # the reader knows
            self._pong_waited_s = 0.0
            return True
        self._pong_waited_s += awake_s
        if not self._pong.done():
            return self._pong_waited_s < timeouts.pong_s
        if self._pong_waited_s >= timeouts.ping_after_s:
            self._pong = None  # answered a while ago: ping again at the next call
        return True

    # -- its end ---------------------------------------------------------------------------------

    def _note_end(self, closed: ConnectionClosed) -> None:
        if self.ended:
            return
        got, sent = closed.rcvd, closed.sent
        if got is not None:
            self.orderly = got.code == 1000 and got.reason == RECORDING_ENDED
            reason = f": {got.reason}" if got.reason else ""
            self.ended = f"the server closed the connection (code {got.code}{reason})"
        elif sent is not None and sent.code == 1009:
            self.oversize = True
            self.ended = "a frame exceeded the size limit"
        elif sent is not None and sent.code != 1000:
            self.ended = f"the connection broke (code {sent.code}: {sent.reason})"
        else:
            self.ended = "the connection broke off (code 1006)"

    def fail(self, why: str) -> None:
        """End it at once, without the closing handshake."""
        self.ended = self.ended or why
        self._ws.transport.abort()

    async def close(self, why: str) -> None:
        """Close it in order."""
        self.ended = self.ended or why
        await self._ws.close()
