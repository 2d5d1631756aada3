"""One share of the streams, on a connection of its own that is kept open."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pairlab.errors import FeedError
from pairlab.feeds.base import FeedState
from pairlab.feeds.binance.exchange_metadata import ExchangeMetadata
from pairlab.feeds.binance.messages import (
    ConsumedId,
    ControlMessage,
    TickTuple,
    WireDecoder,
    on_leg,
)
from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.config import Limits, Retry, Timeouts
from pairlab.feeds.connection.connection import Connection
from pairlab.feeds.connection.reconnect import Address, Supervisor
from pairlab.feeds.connection.stall_detector import StallDetector, in_words
from pairlab.feeds.log import Announcer
from pairlab.feeds.rate_limit import ConnectThrottle

__all__ = ["ConnectionHealth", "SharedConnection", "Subscriber", "first_leaf"]


class Subscriber(Protocol):
    """Who wants the ticks of one or two streams of a shard."""

    def on_items(self, items: list[TickTuple | ConsumedId]) -> None:
        """Take ticks in the order in which they arrived, their `leg` the consumer's own."""

    def on_interruption(self, legs: Collection[int]) -> None:
        """Note that these legs may have a gap."""

    def has_gap(self, legs: Collection[int]) -> bool:
        """Return whether any of these legs has an open gap."""


@dataclass(frozen=True, slots=True)
class ConnectionHealth:
    """One connection of several, at one moment.

    Attributes
    ----------
    state : FeedState
        ``live`` while it is open, has data, and none of its streams has an alarm.
    detail : str
        Plain words.
    route : str
        The category it is open on; empty while it is not.
    streams : int
        Subscribed, or to be subscribed, on it.
    silent : int
        Of those, streams that have had no data on the connection as it is now.
    reconnects, attempts : int
        Connections opened after the first, and tried in all.
    """

    state: FeedState
    detail: str
    route: str
    streams: int
    silent: int
    reconnects: int
    attempts: int


class SharedConnection:
    """A connection, whoever it is at the time, and who gets what comes through it.

    Parameters
    ----------
    venue : Venue
        Where to connect.
    survey : ExchangeMetadata
        Asked about silent streams, and told of new connections.
    admission : ConnectThrottle
        Of connection attempts, shared by all shards.
    timeouts, limits, retry : Timeouts, Limits, Retry
        As for the feed.

    Attributes
    ----------
    names : dict of int to str
        Every stream it ever had, by slot.
    slots : dict of str to int
        The streams that are wanted now: slot by symbol.
    links : list of Link
        The open connections, the one that counts first, a second is to replace it.
    """

    def __init__(
        self,
        venue: Venue,
        survey: ExchangeMetadata,
        admission: ConnectThrottle,
        timeouts: Timeouts,
        limits: Limits,
        retry: Retry,
    ) -> None:
        self.names: dict[int, str] = {}
        self.slots: dict[str, int] = {}
        self.links: list[Connection] = []
        self.decoder = WireDecoder((), venue.stream, bad_frames=limits.max_bad_frames)
        self._venue = venue
        self._survey = survey
        self._limits = limits
        # Who gets a slot's ticks: as their y, as their x.
        self._wanting: dict[int, tuple[list[Subscriber], list[Subscriber]]] = {}
        self._only: Subscriber | None = None  # whose legs are the slots, if there is no one else
        self._symbols: dict[int, str] = {}
        self._journal = Announcer(__name__, self._feeds_of)
        self._tasks: asyncio.TaskGroup | None = None
        self.supervisor = Supervisor(
            self.links,
            routes=venue.routes,
            address=self._address,
            names=self.names,
            start=self._start,
            interrupted=self._interrupted,
            seamless=self._seamless,
            admission=admission,
            journal=self._journal,
            timeouts=timeouts,
            limits=limits,
            retry=retry,
        )
        self.watch = self.supervisor.watch = StallDetector(
            self.links, self._journal, timeouts, self.supervisor.request, self._is_quiet
        )

    @property
    def room(self) -> int:
        """Streams that can be added."""
        return self._limits.max_streams - len(self.slots)

    # -- who wants what ------------------------------------------------------------------------

    def add(self, symbol: str, consumer: Subscriber, leg: int) -> int:
        """Let a consumer have a symbol's ticks, and return their slot."""
        slot = self.decoder.add(symbol)
        if symbol not in self.slots:
            self.slots[symbol] = slot
            self._symbols[slot] = symbol
            self.names[slot] = self._venue.stream_of(symbol)
            self._wanting[slot] = ([], [])
            self.watch.add(slot, f"{symbol}@{self._venue.stream}")
            self._resubscribe()
        self._wanting[slot][leg].append(consumer)
        self._find_only()
        return slot

    def drop(self, symbol: str, consumer: Subscriber, leg: int) -> None:
        """Take that back; a stream that nobody wants any more is unsubscribed."""
        slot = self.slots[symbol]
        wanting = self._wanting[slot]
        wanting[leg].remove(consumer)
        if not any(wanting):
            del self._wanting[slot], self.slots[symbol]
            self.watch.drop(slot)
            self._resubscribe()
        self._find_only()

    def _find_only(self) -> None:
        everyone = {id(c) for wanting in self._wanting.values() for side in wanting for c in side}
        y, x = self._wanting.get(0, ([], [])), self._wanting.get(1, ([], []))
        alone = len(everyone) == 1 and len(self._wanting) == 2 and y[0] and x[1]
        self._only = y[0][0] if alone else None

    def _resubscribe(self) -> None:
        for link in self.links:
            link.want(self.slots.values())

    def _of(self, slots: Iterable[int]) -> Iterator[tuple[Subscriber, int]]:
        """Yield who wants these streams, and as which leg."""
        for slot in slots:
            for leg, consumers in enumerate(self._wanting.get(slot, ())):
                for consumer in consumers:
                    yield consumer, leg

    def _feeds_of(self, slots: Collection[int] | None) -> list[Subscriber]:
        wanted = self._wanting if slots is None else slots
        return list({id(c): c for c, _ in self._of(wanted)}.values())

    # -- what comes ----------------------------------------------------------------------------

    def deliver(self, items: list[TickTuple | ConsumedId]) -> None:
        """Hand on what one connection brought, each consumer's share at once."""
        if self._only is not None:
            self._only.on_items(items)
            return
        shares: dict[int, tuple[Subscriber, list[TickTuple | ConsumedId]]] = {}
        for item in items:
            slot = item[3]
            for leg, consumers in enumerate(self._wanting.get(slot, ())):
                if not consumers:
                    continue
                own = item if leg == slot else on_leg(item, leg)
                for consumer in consumers:
                    share = shares.get(id(consumer))
                    if share is None:
                        share = shares[id(consumer)] = (consumer, [])
                    share[1].append(own)
        for consumer, share_items in shares.values():
            consumer.on_items(share_items)

    def _take_notice(self, link: Connection, notice: ControlMessage) -> None:
        if notice.kind == "shutdown":
            link.shutdown = True
        elif notice.kind == "error":
            self._journal.say(
                "warning",
                f"the exchange reports an error: {notice.text}; the stream goes on, or else stop "
                "and start the lab",
                kind="error",
            )

    # -- the run -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the connection open until cancelled or, on a recording, until it has ended.

        Raises
        ------
        FeedError
            One that is final.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                helpers = (
                    tasks.create_task(self.watch.run()),
                    tasks.create_task(self.watch.inquire()),
                )
                await self.supervisor.run()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as errors:
            raise first_leaf(errors) from None

    def _start(self, link: Connection) -> None:
        if self._tasks is None:
            raise RuntimeError("a connection has opened before its shard runs")
        reading = self._tasks.create_task(
            link.read(
                self.decoder,
                self.deliver,
                self._limits.max_batch_ticks,
                lambda notice: self._take_notice(link, notice),
            )
        )
        asking = self._tasks.create_task(link.keep_asking())
        reading.add_done_callback(lambda _: asking.cancel())
        reading.add_done_callback(lambda _: self.supervisor.wake())
        link.want(self.slots.values())
        self._survey.again()

    def _address(self, route: str) -> Address:
        return self._venue.address(route, {s: self.names[s] for s in self.slots.values()})

    def _interrupted(self) -> None:
        legs: dict[int, tuple[Subscriber, list[int]]] = {}
        for consumer, leg in self._of(self._wanting):
            legs.setdefault(id(consumer), (consumer, []))[1].append(leg)
        for consumer, lost in legs.values():
            consumer.on_interruption(lost)

    def _seamless(self) -> bool:
        return not any(consumer.has_gap((leg,)) for consumer, leg in self._of(self._wanting))

    async def _is_quiet(self, link: Connection, slot: int) -> bool:
        # Quotes have no trades to compare with: the other route will tell.
        return self._venue.contiguous and await self._survey.is_quiet(
            self._symbols[slot], link.since_ns[slot]
        )

    # -- how it is -----------------------------------------------------------------------------

    @property
    def link(self) -> Connection | None:
        """The connection that counts, None while there is none."""
        link = self.links[0] if self.links else None
        return None if link is None or link.ended else link

    @property
    def dropped(self) -> Counter[str]:
        """What was dropped before it was clear whose it is, by reason."""
        return self.decoder.dropped + Counter({"too long": self.supervisor.oversize})

    def ages_s(self) -> list[float]:
        """Return the ages of the open connections, seconds."""
        now = time.monotonic()
        return [now - link.opened_s for link in self.links if not link.ended]

    def state(self, slots: Collection[int]) -> tuple[FeedState, str]:
        """Return how these streams are, in a word and in plain words."""
        starting: FeedState = "reconnecting" if self.supervisor.was_live else "connecting"
        link = self.link
        if link is None:
            return starting, self.supervisor.detail
        for slot in slots:
            if alarm := self.watch.alarms.get(slot):
                return "stalled", alarm
        if waiting := [slot for slot in slots if not link.counts[slot]]:
            names = (f"{self._symbols[slot]}@{self._venue.stream}" for slot in waiting)
            return starting, f"connected; waiting for the first data of {in_words(names)}"
        if busy := self.watch.busy():
            return "live", busy
        return "live", ""

    def health(self) -> ConnectionHealth:
        """Return how the connection is."""
        slots = self.slots.values()
        link = self.link
        silent = sum(not link.counts[slot] for slot in slots) if link else len(slots)
        state, detail = self.state(slots)
        if link is not None and state != "stalled" and silent < len(slots):
            # Some symbols trade once an hour: a connection lives by those that do.
            state = "live"
        return ConnectionHealth(
            state=state,
            detail=detail or "every stream delivers",
            route=link.route if link else "",
            streams=len(slots),
            silent=silent,
            reconnects=max(0, self.supervisor.opened - 1),
            attempts=self.supervisor.tries,
        )


def first_leaf(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that brought the others down, the exchange's own words before any other."""
    leaves: list[BaseException] = []
    todo: list[BaseException] = [errors]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, FeedError)), leaves[0])
