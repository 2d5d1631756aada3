"""One connection: it moves bytes, and knows what it has seen."""

from __future__ import annotations

import asyncio
import json
import operator
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

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
from pairlab.feeds.binance.rest_client import is_loopback, refusal
from pairlab.feeds.config import Limits, Timeouts
from pairlab.feeds.rate_limit import SlidingWindowLimiter

__all__ = ["RECORDING_ENDED", "Connection"]

_SLOT = operator.itemgetter(3)
_REQUESTS_PER_S: Final = 5  # Binance closes a connection at the eleventh, pongs included
_STREAMS_A_REQUEST: Final = 100

RECORDING_ENDED = "recording ended"
"""The reason with which a local exchange closes (code 1000) when its recording is over."""


class Connection:
    """One open connection and what came through it.

    Attributes
    ----------
    route : str
        The category it was opened on.
    slots : set of int
        The streams it was asked for.
    counts : Counter of int
        Frames by slot, used-up ids included.
    opened_s : float
        When it opened, monotonic seconds.
    since_ns : dict of int to int
        When each stream was asked for, wall clock.
    ended : str
        Why it ended, in plain words; empty while it is open.
    orderly : bool
        It ended because the recording did.
    shutdown : bool
        The server announced its restart.
    """

    def __init__(
        self, ws: ClientConnection, route: str, names: Mapping[int, str], slots: Collection[int]
    ) -> None:
        self.route = route
        self.slots = set(slots)
        self.counts: Counter[int] = Counter()
        self.opened_s = time.monotonic()
        self.since_ns = dict.fromkeys(self.slots, time.time_ns())
        self.ended = ""
        self.orderly = False
        self.oversize = False
        self.shutdown = False
        self.age_s = 0.0  # awake time since it opened
        # Awake time since each stream's last frame, or since it was asked for.
        self.idle_s = dict.fromkeys(self.slots, 0.0)
        self.looked: Counter[int] = Counter()  # the counts when the watch last looked
        self._ws = ws
        self._burst: list[bytes] = []  # frames read together, not yet decoded
        self._burst_ns = 0
        self._pong: asyncio.Future[float] | None = None
        self._pong_s = 0.0
        self._names = names
        self._wanted = self.slots
        self._changed = asyncio.Event()
        self._requests = 0

    @classmethod
    async def open(
        cls,
        url: str,
        route: str,
        names: Mapping[int, str],
        slots: Collection[int],
        timeouts: Timeouts,
        limits: Limits,
    ) -> Connection:
        """Connect; `url` asks for the streams of `slots`, `names` knows these and all others.

        Raises
        ------
        FeedError
            With what went wrong in plain words; `GeoBlockedError`, `FirewallError` and
            `RateLimitedError` where the exchange refused.
        """
        host = urlsplit(url).netloc
        try:
            ws = await connect(
                url,
                compression=None,
                proxy=None if is_loopback(url) else True,
                open_timeout=timeouts.open_s,
                close_timeout=timeouts.close_s,
                ping_interval=None,  # the watch pings, in time that no cell took from the loop
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
                f"the stream at {host} did not open within {timeouts.open_s:g} s."
            ) from error
        except (InvalidProxy, ProxyError) as error:
            raise FeedError(f"the proxy to {host} does not work: {error}.") from error
        except (OSError, InvalidHandshake, InvalidURI, EOFError) as error:
            why = str(error) or type(error).__name__
            raise FeedError(f"the stream at {host} cannot be reached: {why}.") from error
        return cls(ws, route, names, slots)

    async def read(
        self,
        decoder: WireDecoder,
        deliver: Callable[[list[TickTuple | ConsumedId]], None],
        max_batch: int,
        on_notice: Callable[[ControlMessage], None],
    ) -> None:
        """Read until the connection ends; `ended` then says why."""
        recv, loop = self._ws.recv, asyncio.get_running_loop()

        def take_burst() -> None:
            self._take_burst(decoder, deliver, max_batch, on_notice)

        # `recv` does not suspend while frames are queued: what is scheduled with the first frame
        # of a burst runs when all of it has been read.
        try:
            async with self._ws:
                while True:
                    frame = await recv(decode=False)
                    if not self._burst:
                        self._burst_ns = time.time_ns()
                        loop.call_soon(take_burst)
                    self._burst.append(frame)
        except ConnectionClosed as closed:
            self._note_end(closed)
        except asyncio.CancelledError:
            self.ended = self.ended or "closed by us"
            raise
        except Exception as error:
            # Whatever broke, the way back is a new connection, and the words go to the log.
            self.ended = self.ended or f"reading failed: {error!r}"
        finally:
            take_burst()
            self.ended = self.ended or "closed"

    def _take_burst(
        self,
        decoder: WireDecoder,
        deliver: Callable[[list[TickTuple | ConsumedId]], None],
        max_batch: int,
        on_notice: Callable[[ControlMessage], None],
    ) -> None:
        frames, self._burst = self._burst, []
        notices: list[ControlMessage] = []
        try:
            for start in range(0, len(frames), max_batch):
                part = frames[start : start + max_batch]
                items = decoder.decode_many(part, self._burst_ns, notices)
                self.counts.update(map(_SLOT, items))
                deliver(items)
        except Exception as error:
            self.fail(f"reading failed: {error!r}")
        for notice in notices:
            on_notice(notice)

    def want(self, slots: Collection[int]) -> None:
        """Ask for these streams and for no others; `keep_asking` sends it."""
        self._wanted = set(slots)
        self._changed.set()

    async def keep_asking(self) -> None:
        """Subscribe and unsubscribe as `want` says, within the exchange's limit, until it ends."""
        budget = SlidingWindowLimiter(_REQUESTS_PER_S, 1.0)
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                gone = sorted(self.slots - self._wanted)
                new = sorted(self._wanted - self.slots)
                for method, slots in (("UNSUBSCRIBE", gone), ("SUBSCRIBE", new)):
                    for start in range(0, len(slots), _STREAMS_A_REQUEST):
                        await budget.spend(1)
                        await self._ask(method, slots[start : start + _STREAMS_A_REQUEST])
        except ConnectionClosed:
            return  # the reader knows

    async def _ask(self, method: str, slots: list[int]) -> None:
        for slot in slots:
            if method == "SUBSCRIBE":
                self.slots.add(slot)
                self.since_ns[slot] = time.time_ns()
                self.idle_s[slot] = 0.0
                self.counts[slot] = self.looked[slot] = 0
            else:
                self.slots.discard(slot)
                self.idle_s.pop(slot, None)
        self._requests += 1
        params = [self._names[slot] for slot in slots]
        await self._ws.send(json.dumps({"method": method, "params": params, "id": self._requests}))

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
            self.ended = "a frame was too long to take"
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

    async def check_pulse(self, awake_s: float, timeouts: Timeouts) -> bool:
        """Ping a silent connection; return False once it has not answered for too long."""
        if min(self.idle_s.values(), default=self.age_s) < timeouts.ping_after_s:
            self._pong = None
            return True
        if self._pong is None:
            try:
                self._pong = asyncio.ensure_future(await self._ws.ping())
            except ConnectionClosed:
                return True  # the reader knows
            self._pong_s = 0.0
            return True
        self._pong_s += awake_s
        if not self._pong.done():
            return self._pong_s < timeouts.pong_s
        if self._pong_s >= timeouts.ping_after_s:
            self._pong = None  # answered a while ago: ask again at the next look
        return True

    def live(self, slots: Collection[int]) -> bool:
        """Whether every one of these streams has shown data."""
        return all(self.counts[slot] for slot in slots)
