"""From the logger "pairlab.feeds" to the event log of the right lab, and to no one else."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pairlab.feeds.base import FeedHealth, FeedInfo, TickSink
from pairlab.lab.feed.feed_log import EventLogHandler, feed_events
from pairlab.schema import LogEntry

FEEDS = logging.getLogger("pairlab.feeds")
logger = logging.getLogger("pairlab.feeds.custom")


class LoggingFeed:
    """Logs what a test tells it to, from a task of its own."""

    info = FeedInfo("LOGGING", real_money=False, stream="trade")

    def __init__(self, *lines: tuple[int, str]) -> None:
        self.lines = lines

    async def run(self, sink: TickSink) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._talk())
            tasks.create_task(asyncio.to_thread(logger.warning, "from a thread of the feed"))
        await asyncio.sleep(0)

    async def _talk(self) -> None:
        for level, message in self.lines:
            logger.log(level, message)

    def health(self) -> FeedHealth:
        return FeedHealth("live", "")

    def price_decimals(self) -> None:
        return None

    async def seed_closes(self, timeframe: str, count: int) -> None:
        return None


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = (FEEDS.level, FEEDS.propagate, list(FEEDS.handlers))
    yield
    assert (FEEDS.level, FEEDS.propagate, list(FEEDS.handlers)) == before


async def run(feed: LoggingFeed, log: list[LogEntry]) -> None:
    with feed_events(feed, log.append):
        await feed.run(None)  # type: ignore[arg-type]


async def test_what_a_feed_logs_has_its_level_and_time() -> None:
    log: list[LogEntry] = []
    lines = [
        (logging.DEBUG, "too fine"),
        (logging.INFO, "an info"),
        (logging.WARNING, "a warning with 100 %"),
        (logging.ERROR, "an error"),
        (logging.CRITICAL, "the end"),
    ]
    before = time.time_ns()
    await run(LoggingFeed(*lines), log)
    mine = [e for e in log if "thread" not in e.message]
    assert [(e.level, e.message) for e in mine] == [
        ("info", "an info"),
        ("warning", "a warning with 100 %"),
        ("error", "an error"),
        ("error", "the end"),
    ]
    assert before - 10**6 <= mine[0].time_ns <= time.time_ns() + 10**6
    assert [e.message for e in log if "thread" in e.message] == ["from a thread of the feed"]


async def test_a_record_from_another_thread_is_added_on_the_loop() -> None:
    threads: list[int] = []
    with feed_events(feed := LoggingFeed(), lambda entry: threads.append(threading.get_ident())):
        logger.info("here", extra={"feeds": (feed,)})
        await asyncio.to_thread(logger.info, "there", extra={"feeds": (feed,)})
        await asyncio.sleep(0)
    assert threads == [threading.get_ident()] * 2


async def test_a_record_goes_to_the_labs_whose_feeds_it_names_or_comes_from() -> None:
    one, two = LoggingFeed((logging.INFO, "of one")), LoggingFeed((logging.INFO, "of two"))
    log_one: list[LogEntry] = []
    log_two: list[LogEntry] = []
    with feed_events(one, log_one.append):
        with feed_events(two, log_two.append):
            logger.info("of both", extra={"feeds": (one, two)})
            logger.info("of two", extra={"feeds": (two,)})
            logger.info("of nobody here", extra={"feeds": (object(),)})
            logger.info("of no feed that is left", extra={"feeds": ()})
            logger.info("from where two runs")
        logger.info("from where one runs")
        logger.info("two has ended", extra={"feeds": (two,)})
    logger.warning("from nowhere")
    assert [e.message for e in log_one] == ["of both", "from where one runs"]
    assert [e.message for e in log_two] == ["of both", "of two", "from where two runs"]


async def test_other_handlers_get_what_they_got_without_a_lab(
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed = LoggingFeed()
    log: list[LogEntry] = []
    with caplog.at_level(logging.WARNING), feed_events(feed, log.append):
        logger.info("quiet", extra={"feeds": (feed,)})
        logger.warning("loud", extra={"feeds": (feed,)})
    with caplog.at_level(logging.INFO), feed_events(feed, log.append):
        logger.info("asked for", extra={"feeds": (feed,)})
    assert [e.message for e in log] == ["quiet", "loud", "asked for"]
    assert caplog.messages == ["loud", "asked for"]


async def test_a_level_that_the_user_has_set_is_left_alone() -> None:
    log: list[LogEntry] = []
    FEEDS.setLevel(logging.ERROR)
    try:
        with feed_events(feed := LoggingFeed(), log.append):
            assert FEEDS.propagate
            logger.warning("below", extra={"feeds": (feed,)})
            logger.error("above", extra={"feeds": (feed,)})
        assert FEEDS.level == logging.ERROR
    finally:
        FEEDS.setLevel(logging.NOTSET)
    assert [e.message for e in log] == ["above"]


async def test_an_event_log_that_fails_is_no_fault_of_the_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(entry: LogEntry) -> None:
        raise MemoryError("no room")

    told: list[logging.LogRecord] = []
    monkeypatch.setattr(EventLogHandler, "handleError", lambda _, record: told.append(record))
    with feed_events(feed := LoggingFeed(), full):
        logger.warning("a line", extra={"feeds": (feed,)})
    assert [record.getMessage() for record in told] == ["a line"]


def test_without_any_logging_set_up_nothing_is_printed() -> None:
    code = (
        "import logging, pairlab.feeds\n"
        "logging.getLogger('pairlab.feeds.connection').warning('into a notebook cell')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


async def test_a_level_and_a_propagation_of_the_users_are_given_back() -> None:
    seen: list[str] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    root, handler = logging.getLogger(), Seen()
    level = root.level
    root.addHandler(handler)
    try:
        root.setLevel(logging.DEBUG)
        await run(LoggingFeed((logging.DEBUG, "a debug line")), [])
        assert "a debug line" in seen  # as without a lab
        FEEDS.propagate = False
        seen.clear()
        await run(LoggingFeed((logging.ERROR, "for nobody else")), [])
        assert seen == []
        assert FEEDS.propagate is False
    finally:
        FEEDS.propagate = True
        root.setLevel(level)
        root.removeHandler(handler)
