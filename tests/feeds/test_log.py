"""Log records of feeds: repeated lines are counted, for each feed and each kind on its own."""

from __future__ import annotations

import logging

from pairlab.feeds.log import RepeatFilter, concerning


def record(message: str, at_s: float, feeds: tuple[object, ...], kind: str) -> logging.LogRecord:
    fields = {"msg": message, "created": at_s, **concerning(feeds, kind)}
    return logging.makeLogRecord(fields)


def passed(repeats: RepeatFilter, line: logging.LogRecord) -> tuple[str, tuple[object, ...]] | None:
    return (line.getMessage(), line.feeds) if repeats.filter(line) else None  # type: ignore[attr-defined]


def test_a_flood_of_one_kind_is_counted_not_repeated() -> None:
    repeats = RepeatFilter()
    lines = [record(f"line {n}", 100.0 + n / 1000, ("a",), "open") for n in range(1000)]
    lines.append(record("another", 101.0, ("a",), "ended"))
    lines += [record(f"no kind {n}", 101.0, ("a",), "") for n in range(3)]
    lines.append(record("again", 110.1, ("a",), "open"))
    lines.append(record("and again", 125.0, ("a",), "open"))
    assert [p[0] for line in lines if (p := passed(repeats, line))] == [
        "line 0",
        "another",
        "no kind 0",
        "no kind 1",
        "no kind 2",
        "again (999 more like this since the last line)",
        "and again",
    ]


def test_a_line_goes_to_the_feeds_that_have_not_seen_its_kind_lately() -> None:
    repeats = RepeatFilter()
    assert passed(repeats, record("one", 100.0, ("a", "b"), "open")) == ("one", ("a", "b"))
    assert passed(repeats, record("two", 101.0, ("a", "b", "c"), "open")) == ("two", ("c",))
    assert passed(repeats, record("three", 102.0, ("a", "b", "c"), "open")) is None
    repeats.forget("b")
    assert passed(repeats, record("four", 103.0, ("a", "b"), "open")) == ("four", ("b",))
    more = "five (3 more like this since the last line)"
    assert passed(repeats, record("five", 120.0, ("a",), "open")) == (more, ("a",))


def test_a_clock_set_back_silences_nobody() -> None:
    repeats = RepeatFilter()
    assert passed(repeats, record("one", 1000.0, ("a",), "open"))
    assert passed(repeats, record("two", 10.0, ("a",), "open"))


def test_arguments_of_a_line_are_formatted_before_the_count() -> None:
    repeats = RepeatFilter()
    for at_s in (1.0, 2.0):
        repeats.filter(record("x", at_s, ("a",), "open"))
    line = record("100 %% of %d", 20.0, ("a",), "open")
    line.args = (7,)
    assert passed(repeats, line) == ("100 % of 7 (1 more like this since the last line)", ("a",))
