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
