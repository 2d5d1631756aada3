"""What the feeds of a group share, from the first run to the last: REST, clock, connections."""

from __future__ import annotations

import asyncio
from typing import Final

from pairlab.errors import FeedError
from pairlab.feeds.binance.exchange_metadata import ExchangeMetadata
from pairlab.feeds.binance.rest_client import PAGE_WEIGHT, RestClient
from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.connection.fanout import Subscriber
from pairlab.feeds.connection.shared_connection import WILL_CONTINUE, SharedConnection
from pairlab.feeds.context import FeedContext
from pairlab.feeds.log import concerning, feed_logger
from pairlab.feeds.sequencing.trade_pages import TradePages

__all__ = ["Session", "StreamSlot"]

_logger: Final = feed_logger(__name__)

StreamSlot = tuple[SharedConnection, int]
"""Where a leg's ticks come from: the connection, and the stream's slot on it."""


class Session:
    """REST client, exchange metadata and connections, each a task of its own.

    Make it on the loop where it is to live; it begins at once.

    Parameters
    ----------
    venue : Venue
        Where to connect.
    context : FeedContext
        Timeouts, limits, retry policy, throttle and clock.

    Attributes
    ----------
    subscribers : list of Subscriber
        The feeds that take part.
    connections : dict of SharedConnection to Task
        The connections.
    task : Task
        Refreshes the metadata; it ends only with an error that is final for every feed.
    """

    def __init__(self, venue: Venue, context: FeedContext) -> None:
        self.loop = asyncio.get_running_loop()
        self.subscribers: list[Subscriber] = []
        self.connections: dict[SharedConnection, asyncio.Task[None]] = {}
        self.rest = RestClient(
            venue.rest_url,
            timeout_s=context.timeouts.rest_s,
            clock=context.clock,
            report=self._report_odd,
        )
        self.pages = TradePages(self.rest)
        self.metadata = ExchangeMetadata(self.rest)
        self._venue = venue
        self._context = context
        self._opened: asyncio.Future[None] = self.loop.create_future()
        self.task = asyncio.create_task(self._run(), name="pairlab feed session")

    async def _run(self) -> None:
        async with self.rest:
            try:
                complete = await self._refresh()
                self._opened.set_result(None)
                await self._keep_fresh(complete)
            finally:
                await self.pages.close()

    async def _keep_fresh(self, complete: bool) -> None:
        """Refresh the metadata when it is time, until cancelled."""
        retry, timeouts = self._context.retry, self._context.timeouts
        period_s, status_s = timeouts.clock_refresh_s, timeouts.status_s
        delays = retry.delays()
        while True:
            if complete:
                delays = retry.delays()
            due_s = period_s if complete else next(delays, period_s)
            waits = bool(self._closed_markets())
            await self.metadata.refresh_due(min(due_s, status_s) if waits else due_s)
            complete = await self._refresh(status=waits)

    def _closed_markets(self) -> dict[tuple[SharedConnection, str], str]:
        """Return why symbols that are wanted do not trade, as far as is known."""
        wanted = [(connection, s) for connection in self.connections for s in connection.symbols]
        reasons = {place: self.metadata.not_trading(place[1]) for place in wanted}
        return {place: why for place, why in reasons.items() if why}

    def _log_status_changes(self, before: dict[tuple[SharedConnection, str], str]) -> None:
        after = self._closed_markets()
        for connection, symbol in before.keys() | after.keys():
            why = after.get((connection, symbol), "")
            if why == before.get((connection, symbol), ""):
                continue
            feeds = connection.subscribers(symbol)
            if why:
                _logger.warning(f"{why}; {WILL_CONTINUE}", extra=concerning(feeds))
            else:
                _logger.info(f"{symbol} trades by now", extra=concerning(feeds))

    async def _refresh(self, *, status: bool = False) -> bool:
        """Refresh the metadata, and return whether the exchange answered.

        Parameters
        ----------
        status : bool
            Read the symbols' status even if it is known.

        Raises
        ------
        FeedError
            One that is final.
        """
        before = self._closed_markets()
        try:
            await self.metadata.refresh(status=status)
        except FeedError as error:
            if self._context.retry.is_final(error):
                raise
            streams = any(connection.ages_s() for connection in self.connections)
            _logger.warning(
                f"{error} "
                + (
                    "The stream continues without it."
                    if streams
                    else "Symbols and clock are asked for again, automatically."
                ),
                extra=concerning(self.subscribers, kind="metadata" if streams else "no metadata"),
            )
            return False
        finally:
            self._log_status_changes(before)
        return True

    def _report_odd(self, text: str) -> None:
        _logger.warning(text, extra=concerning(self.subscribers, kind="odd entries"))

    async def opened(self) -> None:
        """Wait until REST has been asked for the symbols and the clock.

        Raises
        ------
        FeedError
            One that is final.
        """
        await asyncio.wait({self.task, self._opened}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()

    def gap_patience_s(self) -> float:
        """Return how long a gap may hold back what follows it: every stream may have one."""
        streams = sum(len(connection.symbols) for connection in self.connections)
        budget = self.rest.budget
        one_page_each_s = budget.window_s * streams * PAGE_WEIGHT / budget.limit
        return self._context.timeouts.repair_s + one_page_each_s

    # -- who takes part --------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber, symbols: tuple[str, ...]) -> tuple[StreamSlot, ...]:
        """Let a feed have its symbols' ticks, each symbol once on all connections together."""
        places = []
        for leg, symbol in enumerate(symbols):
            connection = self._find(symbol, symbols[1 - leg] if len(symbols) > 1 else "")
            places.append((connection, connection.subscribe(symbol, subscriber, leg)))
        return tuple(places)

    def _find(self, symbol: str, partner: str) -> SharedConnection:
        """Return the connection that has a symbol or, both legs together if it can be, gets it."""
        alive = [connection for connection, task in self.connections.items() if not task.done()]
        of_partner = None
        for connection in alive:
            if symbol in connection.symbols:
                return connection
            if partner in connection.symbols:
                of_partner = connection
        if of_partner is not None and of_partner.room:
            return of_partner
        needed = 2 if partner and of_partner is None else 1
        found = next((connection for connection in alive if connection.room >= needed), None)
        if found is None:
            found = SharedConnection(self._venue, self.metadata, self._context)
            task = asyncio.create_task(found.run(), name="pairlab feed connection")
            self.connections[found] = task
        return found

    async def release(
        self, subscriber: Subscriber, symbols: tuple[str, ...], places: tuple[StreamSlot, ...]
    ) -> None:
        """Take that back, and close a connection that no feed needs any more."""
        for leg, (connection, _) in enumerate(places):
            connection.unsubscribe(symbols[leg], subscriber, leg)
        await self._end([connection for connection in self.connections if not connection.symbols])

    async def close(self) -> None:
        """End everything and wait until it has ended."""
        await self._end(list(self.connections))
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _end(self, connections: list[SharedConnection]) -> None:
        tasks = [self.connections.pop(connection) for connection in connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
