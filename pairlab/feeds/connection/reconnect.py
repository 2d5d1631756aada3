"""Keeps one connection open: opens it, opens it again, and replaces it before it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from pairlab.errors import FeedError, FirewallError, RateLimitedError
from pairlab.feeds.config import Limits, Retry, Timeouts
from pairlab.feeds.connection.connection import Connection
from pairlab.feeds.connection.stall_detector import ReplacementReason, StallDetector
from pairlab.feeds.log import Announcer
from pairlab.feeds.rate_limit import ConnectThrottle

__all__ = ["Address", "Supervisor"]

Address = tuple[str, str, Collection[int]]
"""A route, its URL, and the streams that the URL asks for, by slot."""

_LOOK_S: Final = 0.05  # between two looks at whether a new connection has taken over


class Supervisor:
    """The reconnect loop, and the overlap of two connections.

    Parameters
    ----------
    routes : tuple of str
        The usual one first, then the one to try when that stays silent.
    address : callable
        Takes a route, and returns where to connect for the streams that are wanted now.
    names : mapping of int to str
        The streams' names by slot; grows meanwhile.
    links : list of Link
        The open connections, the one that counts first. Kept up to date here.
    start : callable
        Starts to read from a `Connection`.
    interrupted : callable
        Called when a connection has ended with none to take over.
    seamless : callable
        Returns whether nothing waits for an older connection any more.
    admission : ConnectThrottle
        Of connection attempts, shared with other connections; outlives one run.
    journal, timeouts, limits, retry
        As for the feed.

    Attributes
    ----------
    detail : str
        Why there is no connection, and what comes next.
    tries, opened, oversize : int
        Connections tried, opened, and lost to a frame too long to take.
    was_live : bool
        Whether there was data at some time.
    """

    def __init__(
        self,
        links: list[Connection],
        *,
        routes: tuple[str, ...],
        address: Callable[[str], Address],
        names: Mapping[int, str],
        start: Callable[[Connection], None],
        interrupted: Callable[[], None],
        seamless: Callable[[], bool],
        admission: ConnectThrottle,
        journal: Announcer,
        timeouts: Timeouts,
        limits: Limits,
        retry: Retry,
    ) -> None:
        self.detail = "connecting"
        self.tries = 0
        self.opened = 0
        self.oversize = 0
        self.was_live = False
        self.watch: StallDetector | None = None
        self._routes = routes
        self._address = address
        self._names = names
        self._which = 0
        self._links = links
        self._start = start
        self._interrupted = interrupted
        self._seamless = seamless
        self._admission = admission
        self._journal = journal
        self._timeouts = timeouts
        self._limits = limits
        self._retry = retry
        self._delays = retry.delays()
        self._wake = asyncio.Event()
        self._concern: ReplacementReason | None = None
        self._firewalled = 0
        self._silences = 0

    def wake(self) -> None:
        """Look at the connections: one has ended."""
        self._wake.set()

    def request(self, concern: ReplacementReason) -> None:
        """Replace the connection, unless that is under way."""
        if self._concern is None:
            self._concern = concern
            self._wake.set()

    async def run(self) -> None:
        """Keep a connection open until the recording ends.

        Raises
        ------
        FeedError
            One that is final.
        """
        while True:
            link = await self._open_persistently()
            self._links[:] = [link]
            self._concern = None
            while not link.ended:
                await self._wake.wait()
                self._wake.clear()
                concern = self._concern
                if concern is not None and not link.ended:
                    link = await self._answer(link, concern)
                    self._concern = None
            self._conclude(link)
            if link.orderly:
                return

    def _conclude(self, link: Connection) -> None:
        """Take leave of a connection that has ended."""
        healthy = link.counts.total() > 0
        self.was_live = self.was_live or healthy
        self.oversize += link.oversize
        self.detail = link.ended
        if healthy and time.monotonic() - link.opened_s >= self._timeouts.healthy_after_s:
            self._delays = self._retry.delays()
        if not link.orderly:
            self._journal.say("warning", f"{link.ended}; reconnecting", kind="ended")
            self._interrupted()

    async def _open_persistently(self) -> Connection:
        wait_s = 0.0 if self.tries == 0 else self._next_delay_s()
        while True:
            detail = self.detail
            budget = self._admission.limiter
            if (rationed_s := budget.wait_s(1)) > wait_s:
                self._journal.say(
                    "warning",
                    f"{budget.limit} connections were tried in five minutes; the next in "
                    f"{rationed_s:.0f} s, by itself; see whether this machine's network is up",
                    kind="rationed",
                )
            while (wait_s := max(wait_s, self._admission.wait_s())) > 0:
                self.detail = f"{detail}; trying again in {wait_s:.1f} s"
                await asyncio.sleep(wait_s)
                wait_s = 0.0  # unless another connection was refused meanwhile
            try:
                return await self._open(self._which)
            except FeedError as error:
                self._take_refusal(error)
                self.detail = str(error).rstrip(".")
                self._journal.say("warning", f"{self.detail}; retrying automatically", kind="open")
            wait_s = self._next_delay_s()

    def _next_delay_s(self) -> float:
        delay_s = next(self._delays, None)
        if delay_s is None:
            raise FeedError(f"{self.detail}: no more attempts are left")
        return delay_s

    def _take_refusal(self, error: FeedError) -> None:
        """Raise what is final, and remember how long to stay away."""
        self._remember(error)
        if self._retry.is_final(error) or self._firewalled >= self._limits.firewall_attempts:
            raise error

    def _remember(self, error: FeedError) -> None:
        if isinstance(error, FirewallError):
            self._firewalled += 1
            self._admission.pause(self._timeouts.firewall_s)
        elif isinstance(error, RateLimitedError):
            self._admission.pause(error.retry_after_s)

    async def _open(self, which: int) -> Connection:
        await self._admission.limiter.spend(1)
        self.tries += 1
        route, url, slots = self._address(self._routes[which])
        link = await Connection.open(url, route, self._names, slots, self._timeouts, self._limits)
        self.opened += 1
        self._firewalled = 0
        self._start(link)
        return link

    async def _answer(self, link: Connection, concern: ReplacementReason) -> Connection:
        """Replace a connection, if that helps, and return the one that counts now."""
        which = self._which
        if concern.kind == "silent":
            # The other route first; if that is silent too, this one may only need a new connection.
            self._silences += 1
            which = (self._which + self._silences) % len(self._routes)
        self._journal.say("info", f"{concern.why}: opening another connection", kind="replace")
        try:
            if self._admission.wait_s() > 0:
                raise FeedError("another connection has to wait: too many were tried")
            fresh = await self._open(which)
        except FeedError as error:
            # Even a final word ends nothing while the old connection delivers.
            self._remember(error)
            words = str(error).rstrip(".")
            self._journal.say("warning", f"{words}; the old connection stays in use", kind="open")
            self._note(concern, replaced=False)
            return link
        self._links.append(fresh)
        took_over = await self._overlap(link, fresh, concern)
        self._note(concern, replaced=took_over)
        old, new = (link, fresh) if took_over else (fresh, link)
        self._links[:] = [new]
        if not old.ended:
            await old.close("replaced")
        if took_over:
            self._which, self._silences = which, 0
            self.was_live = self.was_live or link.counts.total() > 0
        return new

    async def _overlap(
        self, link: Connection, fresh: Connection, concern: ReplacementReason
    ) -> bool:
        """Wait for the new connection to deliver what the old one did; return whether it does."""
        needed = concern.slots or tuple(slot for slot in link.slots if link.counts[slot])
        planned = concern.kind in ("age", "shutdown")
        while True:
            if fresh.ended:
                return False
            delivers = fresh.live(needed)
            if delivers and (self._seamless() or link.ended):
                return True
            if fresh.age_s > self._timeouts.first_data_s:
                # A quiet market shows nothing on any connection: a planned change goes ahead, and
                # of several streams that are silent some may be for good.
                return planned or any(fresh.counts[slot] for slot in needed)
            if link.ended:
                if link.orderly or fresh.route != link.route:
                    return False  # a route that has shown nothing is no place to stay
                self._interrupted()
                return True
            await asyncio.sleep(_LOOK_S)

    def _note(self, concern: ReplacementReason, *, replaced: bool) -> None:
        if self.watch is not None:
            self.watch.tried(concern, replaced=replaced)
