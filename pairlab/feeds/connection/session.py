"""What the feeds of a group share, from the first run to the last: REST, clock, connections."""

from __future__ import annotations

import asyncio

from pairlab.feeds.binance.exchange_metadata import ExchangeMetadata
from pairlab.feeds.binance.rest_client import PAGE_WEIGHT, RestClient
from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.connection.shared_connection import SharedConnection, Subscriber
from pairlab.feeds.context import FeedContext
from pairlab.feeds.log import Announcer
from pairlab.feeds.sequencing.trade_pages import TradePages
from pairlab.schema import Pair

__all__ = ["Session", "StreamSlot"]

StreamSlot = tuple[SharedConnection, int]
"""Where a leg's ticks come from: the connection, and the stream's slot on it."""


class Session:
    """REST client, survey and shards, each of them a task.

    Make it on the loop where it is to live; it begins at once.

    Parameters
    ----------
    venue : Venue
        Where to connect.
    context : FeedContext
        Timeouts, limits, retry policy, throttle and clock.

    Attributes
    ----------
    consumers : list of Consumer
        Who takes part.
    shards : dict of Shard to Task
        The connections.
    task : Task
        Looks at the clock; it ends only with an error that is final for everyone.
    """

    def __init__(
        self,
        venue: Venue,
        context: FeedContext,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.consumers: list[Subscriber] = []
        self.shards: dict[SharedConnection, asyncio.Task[None]] = {}
        self.rest = RestClient(
            venue.rest_url, timeout_s=context.timeouts.rest_s, clock=context.clock
        )
        self.pages = TradePages(self.rest)
        everyone = Announcer(__name__, lambda _: self.consumers)
        self.survey = ExchangeMetadata(self.rest, everyone, context.timeouts, context.retry)
        self._venue = venue
        self._context = context
        self._ready: asyncio.Future[None] = self.loop.create_future()
        self.task = asyncio.create_task(self._run(), name="pairlab feed session")

    async def _run(self) -> None:
        async with self.rest:
            try:
                await self.survey.look()
                self._ready.set_result(None)
                await self.survey.run()
            finally:
                await self.pages.close()

    async def opened(self) -> None:
        """Wait until REST has been asked for the symbols and the clock.

        Raises
        ------
        FeedError
            One that is final.
        """
        await asyncio.wait({self.task, self._ready}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()

    def patience_s(self) -> float:
        """Return how long a hole may hold back what follows it: every stream may have one."""
        streams = sum(len(shard.slots) for shard in self.shards)
        budget = self.rest.budget
        return (
            self._context.timeouts.repair_s + budget.window_s * streams * PAGE_WEIGHT / budget.limit
        )

    # -- who takes part ------------------------------------------------------------------------

    def subscribe(self, consumer: Subscriber, pair: Pair) -> tuple[StreamSlot, StreamSlot]:
        """Let a consumer have two symbols' ticks, each symbol once on all connections together."""
        y = self._find(pair.y, pair.x)
        y_slot = y.add(pair.y, consumer, 0)
        x = self._find(pair.x, pair.y)
        return (y, y_slot), (x, x.add(pair.x, consumer, 1))

    def _find(self, symbol: str, partner: str) -> SharedConnection:
        """Return the connection that has a symbol or, both legs together if it can be, gets it."""
        shards = [shard for shard, task in self.shards.items() if not task.done()]
        of_partner = None
        for shard in shards:
            if symbol in shard.slots:
                return shard
            if partner in shard.slots:
                of_partner = shard
        if of_partner is not None and of_partner.room:
            return of_partner
        needed = 2 if of_partner is None else 1
        found = next((shard for shard in shards if shard.room >= needed), None)
        if found is None:
            found = SharedConnection(
                self._venue,
                self.survey,
                self._context.throttle,
                self._context.timeouts,
                self._context.limits,
                self._context.retry,
            )
            self.shards[found] = asyncio.create_task(found.run(), name="pairlab feed connection")
        return found

    async def release(
        self, consumer: Subscriber, pair: Pair, places: tuple[StreamSlot, ...]
    ) -> None:
        """Take that back, and close a connection that nobody needs any more."""
        for leg, (shard, _) in enumerate(places):
            shard.drop(pair[leg], consumer, leg)
        await self._end([shard for shard in self.shards if not shard.slots])

    async def close(self) -> None:
        """End everything and wait until it has ended."""
        await self._end(list(self.shards))
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _end(self, shards: list[SharedConnection]) -> None:
        tasks = [self.shards.pop(shard) for shard in shards]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
