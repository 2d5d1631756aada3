"""Fans ticks of a connection's streams out to the feeds that want them, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from pairlab.feeds.binance.messages import ConsumedId, TickTuple, WireDecoder, on_leg
from pairlab.feeds.binance.venue import Venue

__all__ = ["Fanout", "Subscriber"]


class Subscriber(Protocol):
    """A feed that wants the ticks of one or two streams of a connection."""

    def on_items(self, items: list[TickTuple | ConsumedId]) -> None:
        """Take ticks in the order in which they arrived, their `leg` the subscriber's own."""

    def on_interruption(self, legs: Collection[int]) -> None:
        """Note that these legs may have a gap."""

    def has_gap(self, legs: Collection[int]) -> bool:
        """Return whether any of these legs has an open gap."""


class Fanout:
    """Which streams a connection carries, and which feeds get each of them.

    Parameters
    ----------
    venue : Venue
        Names the streams.
    decoder : WireDecoder
        Gives each symbol its slot.

    Attributes
    ----------
    slots : dict of str to int
        The streams that are wanted now: slot by symbol.
    """

    def __init__(self, venue: Venue, decoder: WireDecoder) -> None:
        self.slots: dict[str, int] = {}
        self._venue = venue
        self._decoder = decoder
        # Who gets a slot's ticks: as their y, as their x.
        self._subscribers: dict[int, tuple[list[Subscriber], list[Subscriber]]] = {}
        self._sole_subscriber: Subscriber | None = None  # its legs are the slots

    def add(self, symbol: str, subscriber: Subscriber, leg: int) -> int:
        """Let a subscriber have a symbol's ticks, and return their slot."""
        slot = self._decoder.add(symbol)
        self.slots.setdefault(symbol, slot)
        self._subscribers.setdefault(slot, ([], []))[leg].append(subscriber)
        self._find_sole_subscriber()
        return slot

    def remove(self, symbol: str, subscriber: Subscriber, leg: int) -> None:
        """Take that back; a stream without a subscriber is wanted no more."""
        slot = self.slots[symbol]
        subscribers = self._subscribers[slot]
        subscribers[leg].remove(subscriber)
        if not any(subscribers):
            del self._subscribers[slot], self.slots[symbol]
        self._find_sole_subscriber()

    def _find_sole_subscriber(self) -> None:
        everyone = {id(s) for both in self._subscribers.values() for side in both for s in side}
        y, x = self._subscribers.get(0, ([], [])), self._subscribers.get(1, ([], []))
        alone = len(everyone) == 1 and len(self._subscribers) == 2 and y[0] and x[1]
        self._sole_subscriber = y[0][0] if alone else None

    def streams(self) -> dict[int, str]:
        """Return the names of the streams that are wanted now, by slot."""
        return {slot: self._venue.stream_of(symbol) for symbol, slot in self.slots.items()}

    def subscribers(self, slots: Iterable[int] | None = None) -> list[Subscriber]:
        """Return the subscribers of some streams, or of all, each once."""
        wanted = self._subscribers if slots is None else slots
        return list({id(subscriber): subscriber for subscriber, _ in self._of(wanted)}.values())

    def _of(self, slots: Iterable[int]) -> Iterator[tuple[Subscriber, int]]:
        """Yield who gets these streams, and as which leg."""
        for slot in slots:
            for leg, subscribers in enumerate(self._subscribers.get(slot, ())):
                for subscriber in subscribers:
                    yield subscriber, leg

    def deliver(self, items: list[TickTuple | ConsumedId]) -> None:
        """Hand on what a connection brought, each subscriber's share at once."""
        if self._sole_subscriber is not None:
            self._sole_subscriber.on_items(items)
            return
        shares: dict[int, tuple[Subscriber, list[TickTuple | ConsumedId]]] = {}
        for item in items:
            slot = item[3]
            for leg, subscribers in enumerate(self._subscribers.get(slot, ())):
                if not subscribers:
                    continue
                own = item if leg == slot else on_leg(item, leg)
                for subscriber in subscribers:
                    share = shares.get(id(subscriber))
                    if share is None:
                        share = shares[id(subscriber)] = (subscriber, [])
                    share[1].append(own)
        for subscriber, own_items in shares.values():
            subscriber.on_items(own_items)

    def interrupt(self, slots: Iterable[int] | None = None) -> None:
        """Tell the subscribers of some streams, or of all, that these legs may have a gap."""
        legs: dict[int, tuple[Subscriber, list[int]]] = {}
        for subscriber, leg in self._of(self._subscribers if slots is None else slots):
            legs.setdefault(id(subscriber), (subscriber, []))[1].append(leg)
        for subscriber, own_legs in legs.values():
            subscriber.on_interruption(own_legs)

    def has_gap(self) -> bool:
        """Return whether any subscriber has an open gap on a leg from here."""
        return any(s.has_gap((leg,)) for s, leg in self._of(self._subscribers))
