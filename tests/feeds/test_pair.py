"""From the sequencer to the sink: batches, gaps between them, and sinks that raise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.messages import TickTuple
from pairlab.schema import Records
from tests.feeds.scripted import PAIR


class Sink:
    """Notes what it is told; raises where a test says so."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.fault: Exception | None = None

    def on_ticks(self, ticks: Records) -> None:
        self.told.append(("ticks", [int(i) for i in ticks["id"]]))
        if self.fault:
            raise self.fault

    def on_gap(self, missing: int) -> None:
        self.told.append(("gap", missing))
        if self.fault:
            raise self.fault


def trade(id_: int) -> TickTuple:
    return (id_, id_, id_, 0, 1.0, 1.0, False)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def feed(sink: Sink) -> Iterator[BinanceFeed]:
    feed = BinanceFeed(PAIR, stream="trade")
    feed._sink = sink  # as within `run`
    yield feed
    feed._sink = None


def test_ticks_that_arrive_together_leave_together_and_gaps_come_between(
    feed: BinanceFeed, sink: Sink
) -> None:
    feed.on_items([trade(1), trade(2)])
    feed.on_items([trade(5), trade(6)])
    assert sink.told == [("ticks", [1, 2])]
    assert feed.has_gap((0,))
    feed._sequencer.give_up(0)
    feed.deliver_due()
    assert sink.told == [("ticks", [1, 2]), ("gap", 2), ("ticks", [5, 6])]
    assert feed.health().ticks == 4
    feed.deliver_due()
    assert len(sink.told) == 3
    assert dict(feed.dropped) == {}


def test_what_a_sink_refuses_is_counted_and_what_it_takes_is_not(
    feed: BinanceFeed, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    feed.on_items([trade(1), trade(2)])
    sink.fault = ValueError("no room")
    feed.on_items([trade(3)])
    feed.on_items([trade(9)])
    feed._sequencer.give_up(0)
    feed.deliver_due()
    sink.fault = None
    feed.on_items([trade(10)])
    # A gap that cannot be marked costs no tick of its own: the sink is offered what follows.
    assert sink.told[2:] == [("gap", 5), ("ticks", [9]), ("ticks", [10])]
    assert (feed.health().ticks, dict(feed.dropped)) == (3, {"not processed": 2})
    assert [r.levelname for r in caplog.records] == ["ERROR", "ERROR"]
    assert "1 ticks could not be processed: ValueError('no room')" in caplog.messages[0]
    assert "gap of 5 trades could not be marked" in caplog.messages[1]
    assert all(r.feeds == (feed,) for r in caplog.records)  # type: ignore[attr-defined]


class LegSink(Sink):
    """Is told whose trades are missing."""

    def on_leg_gap(self, missing: int, legs: int) -> None:
        self.told.append(("legs", (missing, legs)))


def of_leg(id_: int, leg: int) -> TickTuple:
    return (id_, id_, id_, leg, 1.0, 1.0, False)


def test_a_gap_names_its_leg_and_the_other_one_if_it_has_a_gap_too() -> None:
    sink = LegSink()
    feed = BinanceFeed(PAIR, stream="trade")
    feed._sink = sink
    feed.on_items([of_leg(1, 0), of_leg(1, 1)])
    feed.on_items([of_leg(4, 0), of_leg(2, 1)])
    feed._sequencer.give_up(0)
    feed.deliver_due()
    assert ("legs", (2, 1)) in sink.told  # x goes on: its price is known
    sink.told.clear()
    feed.on_items([of_leg(9, 0), of_leg(7, 1)])
    feed._sequencer.give_up(0)
    feed.deliver_due()
    assert sink.told == [("legs", (4, 3)), ("ticks", [9])]  # x has not come back yet
    feed._sequencer.give_up(1)
    feed.deliver_due()
    assert sink.told[2:] == [("legs", (4, 2)), ("ticks", [7])]
    feed._sink = None


def test_quotes_have_a_gap_where_the_connection_was_down() -> None:
    sink = LegSink()
    feed = BinanceFeed(PAIR, stream="bookTicker")
    feed._sink = sink
    feed.on_interruption((0, 1))  # before the first one, nothing is missing
    feed.on_items([of_leg(10, 0), of_leg(90, 1)])
    feed.on_interruption((0, 1))
    feed.on_items([of_leg(50, 0)])
    assert sink.told == [("ticks", [10, 90]), ("legs", (1, 3)), ("ticks", [50])]
    assert (feed.health().gaps, feed.health().missing) == (1, 1)
    feed._sink = None


def test_a_leg_of_which_nobody_knows_whether_it_traded_is_a_gap() -> None:
    sink = LegSink()
    feed = BinanceFeed(PAIR, stream="aggTrade")
    feed._sink = sink
    feed.note_unknown(1)
    assert sink.told == [("legs", (1, 2))]
    feed._sink = None
