"""Fan-out of messages to subscribed clients, with their faults and closes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from pairlab.local_exchange.protocol.frames import text_frame
from pairlab.local_exchange.protocol.messages import Message, unwrap
from pairlab.local_exchange.server.client import Client
from pairlab.local_exchange.server.faults import Fault, Faults

__all__ = ["Hub"]

_DRAIN_TIMEOUT_S: Final = 60.0


class Hub:
    """The exchange's clients: subscriptions, delivery, faults, closing.

    It is independent of the source of messages, which calls `deliver`.

    Parameters
    ----------
    has_stream : callable
        Returns whether there are messages of a stream.
    faults : Faults
        Faults that hit delivery.
    now_ns : callable
        The exchange's clock.
    max_backlog_bytes : int
        Bytes that a client may be behind before it is closed.

    Attributes
    ----------
    clients : set of Client
        Connections that receive data.
    subscribers : dict of str to list of Client
        By stream; only streams that exist and that the client's route delivers.
    counts : dict of str to int
        frames, bytes, too_slow.
    """

    def __init__(
        self,
        has_stream: Callable[[str], bool],
        faults: Faults,
        now_ns: Callable[[], int],
        max_backlog_bytes: int,
    ) -> None:
        self.clients: set[Client] = set()
        self.subscribers: dict[str, list[Client]] = {}
        self.counts = {"frames": 0, "bytes": 0, "too_slow": 0}
        self._has_stream = has_stream
        self._faults = faults
        self._now_ns = now_ns
        self._max_backlog = max_backlog_bytes
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def refresh_subscribers(self) -> None:
        """Collect each stream's subscribers again after any client's subscriptions changed."""
        subscribers: dict[str, list[Client]] = {}
        for client in self.clients:
            for stream in client.control.streams:
                if client.control.delivers(stream) and self._has_stream(stream):
                    subscribers.setdefault(stream, []).append(client)
        self.subscribers = subscribers
        self._changed.set()

    async def wait_for_subscribers(self, enough: Callable[[Collection[str]], bool]) -> None:
        """Wait until `enough` is true of the streams that have subscribers."""
        while not enough(self.subscribers):
            self._changed.clear()
            await self._changed.wait()

    def deliver(self, messages: list[Message]) -> None:
        """Send messages to their subscribers, in one write per connection."""
        if self._faults.active or any(client.state.has_faults for client in self.clients):
            for client in list(self.clients):
                self._deliver_with_faults(client, [m for m in messages if client.receives(m)])
            return
        subscribers = self.subscribers
        touched: set[Client] = set()
        for stream, payload in messages:
            wrapped = bare = b""
            for client in subscribers.get(stream, ()):
                if client.control.combined:
                    wrapped = wrapped or text_frame(payload)
                    client.queue.append(wrapped)
                else:
                    bare = bare or text_frame(unwrap(payload))
                    client.queue.append(bare)
                touched.add(client)
        for client in touched:
            self._flush(client)

    def _deliver_with_faults(self, client: Client, messages: list[Message]) -> None:
        now_s = asyncio.get_running_loop().time()
        for step in self._faults.apply(client.state, messages, now_s, self._now_ns()):
            if isinstance(step, Fault):
                self._inject(client, step)
            else:
                client.enqueue(step)
                self._flush(client)
            if client not in self.clients:
                return

    def _inject(self, client: Client, fault: Fault) -> None:
        """Make a connection fault happen."""
        if fault.kind == "drop":
            self.remove(client)
            client.ws.transport.abort()
        elif fault.kind == "half_open":
            client.state.frozen = True
            client.ws.transport.pause_reading()
            self._end_later(fault.seconds, client, None)
        elif fault.kind == "shutdown":
            self._end_later(fault.seconds, client, 1001)
        elif fault.code == 1006:
            self.remove(client)
            client.ws.transport.close()
        else:
            self.close(client, fault.code, "")

    def _end_later(self, seconds: float, client: Client, code: int | None) -> None:
        """Close the connection with this code after a while; without a code, abort it."""

        async def end() -> None:
            await self.sleep_unless_stopped(seconds)
            self.remove(client)
            if code is None:
                client.ws.transport.abort()
            else:
                await client.ws.close(code)

        self._spawn(end(), "pairlab-exchange-later")

    def _flush(self, client: Client) -> None:
        frames, size = client.flush()
        self.counts["frames"] += frames
        self.counts["bytes"] += size
        if client.backlog_bytes > self._max_backlog:
            self._close_too_slow(client)

    def _close_too_slow(self, client: Client) -> None:
        self.counts["too_slow"] += 1
        self.close(client, 1008, "Client is too slow")

    async def drain(self) -> None:
        """Wait for the slowest client, so that a market without pauses loses no message."""
        await asyncio.sleep(0)
        for client in [c for c in self.clients if c.ws.paused]:
            try:
                await asyncio.wait_for(client.ws.drain(), _DRAIN_TIMEOUT_S)
            except TimeoutError:
                self._close_too_slow(client)
            except ConnectionError:
                continue  # closed meanwhile; its handler removes it

    def close(self, client: Client, code: int, reason: str) -> None:
        """Remove a client and close its connection, without waiting for the handshake."""
        self.remove(client)
        self._spawn(client.ws.close(code, reason), "pairlab-exchange-close")

    def close_all(self, code: int, reason: str) -> None:
        """Remove all clients and close their connections."""
        for client in list(self.clients):
            self.close(client, code, reason)

    def remove(self, client: Client) -> None:
        """Remove a client and its subscriptions."""
        self.clients.discard(client)
        self.refresh_subscribers()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sleep_unless_stopped(self, seconds: float) -> None:
        """Sleep, but return at once when the exchange stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def stop(self) -> None:
        """End all sleeps and wait for pending closes."""
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
