"""One connection: it moves bytes, and knows what it has seen."""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import Callable
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
from pairlab.feeds.delivery import Outbox
from pairlab.feeds.limits import Limits, Timeouts
from pairlab.feeds.rest import is_loopback, refusal
from pairlab.feeds.sequence import Sequencer
from pairlab.feeds.wire import Notice, WireDecoder

__all__ = ["RECORDING_ENDED", "Link"]

_LEG = operator.itemgetter(3)

RECORDING_ENDED = "recording ended"
"""The reason with which a local exchange closes (code 1000) when its recording is over."""


class Link:
    """One open connection and what came through it.

    Attributes
    ----------
    route : str
        The category it was opened on.
    counts : list of int
        Frames of each leg, used-up ids included.
    opened_s, opened_ns : float, int
        When it opened: monotonic seconds, and wall clock.
    ended : str
        Why it ended, in plain words; empty while it is open.
    orderly : bool
        It ended because the recording did.
    shutdown : bool
        The server announced its restart.
    """

    def __init__(self, ws: ClientConnection, route: str) -> None:
        self.route = route
        self.counts = [0, 0]
        self.opened_s = time.monotonic()
        self.opened_ns = time.time_ns()
        self.ended = ""
        self.orderly = False
        self.oversize = False
        self.shutdown = False
        self.age_s = 0.0  # awake time since it opened
        self.idle_s = [0.0, 0.0]  # awake time since each leg's last frame
        self.looked = [0, 0]  # the counts when the watch last looked
        self._ws = ws
        self._burst: list[bytes] = []  # frames read together, not yet decoded
        self._burst_ns = 0
        self._pong: asyncio.Future[float] | None = None
        self._pong_s = 0.0

    @classmethod
    async def open(cls, url: str, route: str, timeouts: Timeouts, limits: Limits) -> Link:
        """Connect.

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
        return cls(ws, route)

    async def read(
        self,
        decoder: WireDecoder,
        sequencer: Sequencer,
        outbox: Outbox,
        max_batch: int,
        on_notice: Callable[[Notice], None],
    ) -> None:
        """Read until the connection ends; `ended` then says why."""
        recv, loop = self._ws.recv, asyncio.get_running_loop()

        def take_burst() -> None:
            self._take_burst(decoder, sequencer, outbox, max_batch, on_notice)

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
        sequencer: Sequencer,
        outbox: Outbox,
        max_batch: int,
        on_notice: Callable[[Notice], None],
    ) -> None:
        frames, self._burst = self._burst, []
        notices: list[Notice] = []
        try:
            for start in range(0, len(frames), max_batch):
                part = frames[start : start + max_batch]
                items = decoder.decode_many(part, self._burst_ns, notices)
                x_count = sum(map(_LEG, items))
                self.counts[0] += len(items) - x_count
                self.counts[1] += x_count
                sequencer.accept_many(items)
                outbox.flush()
        except Exception as error:
            self.fail(f"reading failed: {error!r}")
        for notice in notices:
            on_notice(notice)

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
        if min(self.idle_s) < timeouts.ping_after_s:
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

    @property
    def live(self) -> bool:
        """Whether every stream has shown data."""
        return self.counts[0] > 0 and self.counts[1] > 0
