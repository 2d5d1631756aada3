"""From the sequencer to the sink, and words to the log."""

from __future__ import annotations

from pairlab.feeds.dispatch import RateLimitedLogger, TickDispatcher
from pairlab.feeds.sequencing.sequencer import Sequencer
from pairlab.schema import LogEntry, Records


def test_a_flood_of_one_kind_is_counted_not_repeated() -> None:
    lines: list[LogEntry] = []
    journal = RateLimitedLogger(lines.append)
    for n in range(1000):
        journal.say("warning", f"line {n}", kind="open")
    journal.say("info", "another", kind="ended")
    for n in range(3):
        journal.say("error", f"no kind {n}")
    assert [line.message for line in lines] == [
        "line 0",
        "another",
        "no kind 0",
        "no kind 1",
        "no kind 2",
    ]
    assert [line.level for line in lines[:3]] == ["warning", "info", "error"]


def test_ticks_that_arrive_together_leave_together_and_gaps_come_between() -> None:
    told: list[tuple[str, object]] = []

    def sink(ticks: Records) -> None:
        told.append(("ticks", [int(i) for i in ticks["id"]]))

    sequencer = Sequencer(repairable=False)
    journal = RateLimitedLogger(lambda entry: None)
    outbox = TickDispatcher(sequencer, sink, lambda n: told.append(("gap", n)), journal)
    for id_ in (1, 2, 5, 6):
        sequencer.accept((id_, id_, id_, 0, 1.0, 1.0, False))
    sequencer.give_up(0)
    assert told == []
    outbox.flush()
    assert told == [("ticks", [1, 2]), ("gap", 2), ("ticks", [5, 6])]
    assert outbox.ticks == 4
    outbox.flush()
    assert len(told) == 3
