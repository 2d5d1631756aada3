"""Who listens to what, and what goes out to whom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pairlab.local_exchange.market.market import Market, Message
from pairlab.local_exchange.protocol.frames import text_frame, unwrap
from pairlab.local_exchange.server.client import Client
from pairlab.local_exchange.server.faults import Fault, Faults

__all__ = ["Hub"]

_SLOWEST_S: Final = 60.0


class Hub:
    """The exchange's clients: subscriptions, delivery, faults, goodbyes.

    Parameters
    ----------
    market : Market
        Tells which streams there are and when its clock starts.
    faults : Faults
        What goes wrong on the way.
    now_ns : callable
        The market's clock.
    max_backlog_bytes : int
        What may wait for a client before it is closed.

    Attributes
    ----------
    clients : set of Client
        Connections that data goes to.
    subscribers : dict of str to list of Client
        By stream; only streams that the market has and the client's route carries.
    begun : asyncio.Event
        Set once those are there whom the market waits for.
    heard : asyncio.Event
        Set while anybody listens.
    counts : dict of str to int
        frames, bytes, too_slow.
    """

    def __init__(
        self, market: Market, faults: Faults, now_ns: Callable[[], int], max_backlog_bytes: int
    ) -> None:
        self.clients: set[Client] = set()
        self.subscribers: dict[str, list[Client]] = {}
        self.begun = asyncio.Event()
        self.heard = asyncio.Event()
        self.counts = {"frames": 0, "bytes": 0, "too_slow": 0}
        self._market = market
        self._faults = faults
        self._now_ns = now_ns
        self._max_backlog = max_backlog_bytes
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def resubscribe(self) -> None:
        """Look again who wants what, and whether that starts the clock."""
        subscribers: dict[str, list[Client]] = {}
        for client in self.clients:
            for stream in client.control.streams:
                if client.control.delivers(stream) and self._market.carries(stream):
                    subscribers.setdefault(stream, []).append(client)
        self.subscribers = subscribers
        if subscribers:
            self.heard.set()
        else:
            self.heard.clear()
        begins = self._market.begins
        if begins == "open" or (
            bool(subscribers) if begins == "subscribed" else subscribers.keys() >= set(begins)
        ):
            self.begun.set()

    def deliver(self, messages: list[Message]) -> None:
        """Send these messages to whom they are for, in one write per connection."""
        if self._faults.active or any(client.state.ails for client in self.clients):
            for client in list(self.clients):
                self._deliver_badly(client, [m for m in messages if client.wants(m)])
            return
        subscribers = self.subscribers
        touched: set[Client] = set()
        for stream, frame in messages:
            wrapped = bare = b""
            for client in subscribers.get(stream, ()):
                if client.control.combined:
                    wrapped = wrapped or text_frame(frame)
                    client.out.append(wrapped)
                else:
                    bare = bare or text_frame(unwrap(frame))
                    client.out.append(bare)
                touched.add(client)
        for client in touched:
            self._flush(client)

    def _deliver_badly(self, client: Client, messages: list[Message]) -> None:
        """Deliver to one client what its faults leave of it."""
        now_s = asyncio.get_running_loop().time()
        for step in self._faults.apply(client.state, messages, now_s, self._now_ns()):
            if isinstance(step, Fault):
                self._befall(client, step)
            else:
                client.put(step)
                self._flush(client)
            if client not in self.clients:
                return

    def _befall(self, client: Client, fault: Fault) -> None:
        """Let a fault of connections happen."""
        if fault.kind == "drop":
            self.forget(client)
            client.ws.transport.abort()
        elif fault.kind == "half_open":
            client.state.frozen = True
            client.ws.transport.pause_reading()
            self._later(fault.seconds, client, None)
        elif fault.kind == "shutdown":
            self._later(fault.seconds, client, 1001)
        elif fault.code == 1006:
            self.forget(client)
            client.ws.transport.close()
        else:
            self.close(client, fault.code, "")

    def _later(self, seconds: float, client: Client, code: int | None) -> None:
        """Close with this code, or cut, the connection after a while."""

        async def end() -> None:
            await self.nap(seconds)
            self.forget(client)
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
            self.counts["too_slow"] += 1
            self.close(client, 1008, "Client is too slow")

    async def drain(self) -> None:
        """Wait for the slowest listener, so that as fast as possible loses nothing."""
        await asyncio.sleep(0)
        for client in [c for c in self.clients if c.ws.paused]:
            try:
                await asyncio.wait_for(client.ws.drain(), _SLOWEST_S)
            except TimeoutError:
                self.counts["too_slow"] += 1
                self.close(client, 1008, "Client is too slow")
            except ConnectionError:
                continue  # gone while we waited; its handler cleans up

    def close(self, client: Client, code: int, reason: str) -> None:
        """Take a client off the list and say goodbye without waiting for it."""
        self.forget(client)
        self._spawn(client.ws.close(code, reason), "pairlab-exchange-close")

    def forget(self, client: Client) -> None:
        """Take a client off the list."""
        self.clients.discard(client)
        self.resubscribe()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def nap(self, seconds: float) -> None:
        """Sleep, but not on when the exchange stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def finish(self) -> None:
        """End what sleeps and wait for the goodbyes."""
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
