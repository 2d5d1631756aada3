"""Who gets which stream of a shared connection, and who is told of what happens to it."""

from __future__ import annotations

from collections.abc import Collection

from pairlab.feeds.binance.messages import ConsumedId, TickTuple, WireDecoder
from pairlab.feeds.binance.venue import LIVE_URL, Venue
from pairlab.feeds.connection.fanout import Fanout


class Pair:
    """Takes what is its own."""

    def __init__(self) -> None:
        self.batches: list[list[TickTuple | ConsumedId]] = []
        self.interrupted: list[list[int]] = []
        self.gaps: set[int] = set()

    def on_items(self, items: list[TickTuple | ConsumedId]) -> None:
        self.batches.append(items)

    def on_interruption(self, legs: Collection[int]) -> None:
        self.interrupted.append(list(legs))

    def has_gap(self, legs: Collection[int]) -> bool:
        return bool(self.gaps & set(legs))

    @property
    def legs(self) -> list[tuple[int, int]]:
        return [(item[3], item[2]) for batch in self.batches for item in batch]


def fanout_of(*pairs: tuple[str, str]) -> tuple[Fanout, list[Pair]]:
    fanout = Fanout(Venue("aggTrade", LIVE_URL), WireDecoder((), "aggTrade"))
    subscribers = []
    for symbols in pairs:
        subscribers.append(Pair())
        for leg, symbol in enumerate(symbols):
            fanout.add(symbol, subscribers[-1], leg)
    return fanout, subscribers


def tick(slot: int, id_: int) -> TickTuple:
    return (id_, id_, id_, slot, 1.0, 1.0, False)


def test_a_sole_subscriber_gets_the_very_list() -> None:
    fanout, (only,) = fanout_of(("A", "B"))
    items: list[TickTuple | ConsumedId] = [tick(0, 1), tick(1, 2)]
    fanout.deliver(items)
    assert only.batches[0] is items  # nothing is done for each tick


def test_each_gets_its_own_streams_as_its_own_legs_in_one_batch() -> None:
    fanout, (first, second, third) = fanout_of(("A", "B"), ("B", "A"), ("C", "B"))
    fanout.deliver([tick(0, 1), tick(1, 2), ConsumedId(3, 3, 3, 1), tick(2, 4)])
    assert first.legs == [(0, 1), (1, 2), (1, 3)]
    assert second.legs == [(1, 1), (0, 2), (0, 3)]
    assert third.legs == [(1, 2), (1, 3), (0, 4)]
    assert [len(s.batches) for s in (first, second, third)] == [1, 1, 1]
    assert isinstance(second.batches[0][2], ConsumedId)


def test_who_is_left_alone_gets_its_own_legs_still() -> None:
    fanout, (first, second) = fanout_of(("A", "B"), ("C", "A"))
    fanout.remove("A", first, 0)
    fanout.remove("B", first, 1)
    assert fanout.streams() == {0: "a@aggTrade", 2: "c@aggTrade"}
    fanout.deliver([tick(0, 1), tick(2, 2), tick(1, 3)])
    assert (first.legs, second.legs) == ([], [(1, 1), (0, 2)])
    assert fanout.add("B", first, 0) == 1  # its slot again


def test_each_is_told_once_of_all_its_legs() -> None:
    fanout, (first, second) = fanout_of(("A", "B"), ("C", "B"))
    assert fanout.subscribers() == [first, second]
    assert fanout.subscribers([0]) == [first]
    assert fanout.subscribers([1, 2]) == [first, second]
    assert fanout.subscribers([7]) == []
    fanout.interrupt()
    assert (first.interrupted, second.interrupted) == ([[0, 1]], [[1, 0]])
    assert not fanout.has_gap()
    second.gaps = {1}
    assert fanout.has_gap()
    second.gaps = {7}
    assert not fanout.has_gap()
