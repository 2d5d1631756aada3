"""From the logger "pairlab.feeds" to the event log of the lab whose feed a record concerns."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.feeds.base import Feed
from pairlab.feeds.group import FeedGroup
from pairlab.schema import LogEntry, LogLevel

__all__ = ["EventLogHandler", "feed_events"]

_FEEDS: Final = logging.getLogger("pairlab.feeds")

# Set while a lab runs its feed; every task of that feed inherits it.
_running_feed: ContextVar[Feed | FeedGroup | None] = ContextVar("running_feed", default=None)


class EventLogHandler(logging.Handler):
    """Puts log records about one feed into a lab's event log.

    A record names the feeds that it concerns in its attribute ``feeds``; one without that
    attribute belongs to the feed from whose tasks it was logged. It does no I/O, and a record from
    another thread is handed to the lab's loop: a handler never blocks the stream.

    Parameters
    ----------
    feed : Feed or FeedGroup
        Whose records are taken; of a group, those of all its feeds.
    add : callable
        Takes a `LogEntry`, on the loop on which the handler was made.
    clock : Clock
        What stamps the entries.
    """

    def __init__(
        self, feed: Feed | FeedGroup, add: Callable[[LogEntry], None], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        super().__init__(logging.INFO)
        self._clock = clock
        self._feed = feed
        self._add = add
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def concerns(self, record: logging.LogRecord) -> bool:
        """Return whether a record is about this lab's feed."""
        feeds: tuple[object, ...] | None = getattr(record, "feeds", None)
        if feeds is None:
            return _running_feed.get() is self._feed
        return any(
            feed is self._feed or getattr(feed, "source", None) is self._feed for feed in feeds
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to the event log, if it concerns the feed."""
        try:
            if not self.concerns(record):
                return
            entry = LogEntry(self._clock.time_ns(), _level(record.levelno), record.getMessage())
            if threading.get_ident() == self._thread:
                self._add(entry)
            else:
                self._loop.call_soon_threadsafe(self._add, entry)
        except Exception:
            # A log line must not become a fault of the feed that wrote it.
            self.handleError(record)


def _level(number: int) -> LogLevel:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"


class _Relay(logging.Handler):
    """Passes records to the parent's handlers, if the parent's own level lets them pass.

    The event log shows what is INFO. Other handlers get what they got without a lab: a notebook
    whose root logger is at WARNING prints no INFO line because a lab runs.
    """

    def emit(self, record: logging.LogRecord) -> None:
        parent = _FEEDS.parent
        if parent is not None and parent.isEnabledFor(record.levelno):
            parent.callHandlers(record)


_RELAY: Final = _Relay()


class _LevelOverride:
    """Lets "pairlab.feeds" log from INFO on, and gives back exactly what it found."""

    saved: tuple[int, bool] | None = None

    def apply(self) -> None:
        """Lower the level; other handlers get what they got before."""
        self.saved = _FEEDS.level, _FEEDS.propagate
        if _FEEDS.propagate:
            _FEEDS.addHandler(_RELAY)
            _FEEDS.propagate = False
        self.level = min(logging.INFO, _FEEDS.getEffectiveLevel())
        _FEEDS.setLevel(self.level)

    def undo(self) -> None:
        """Restore what was there, but for a level that was set meanwhile."""
        if self.saved is None:
            return
        level, propagate = self.saved
        self.saved = None
        if _RELAY in _FEEDS.handlers:
            _FEEDS.removeHandler(_RELAY)
            _FEEDS.propagate = propagate
        if _FEEDS.level == self.level:
            _FEEDS.setLevel(level)


_OVERRIDE: Final = _LevelOverride()


@contextlib.contextmanager
def feed_events(
    feed: Feed | FeedGroup, add: Callable[[LogEntry], None], clock: Clock = SYSTEM_CLOCK
) -> Iterator[None]:
    """Put what is logged about a feed into an event log, within the block that runs the feed.

    Where "pairlab.feeds" has no level of its own, it logs from INFO on while any lab runs.

    Parameters
    ----------
    feed : Feed or FeedGroup
        What the block runs.
    add : callable
        Takes a `LogEntry`, on the running loop.
    clock : Clock
        The lab's: its event log has one time.

    Notes
    -----
    ``logging.disable`` and a ``dictConfig`` that disables existing loggers silence this, too.
    """
    handler = EventLogHandler(feed, add, clock)
    _FEEDS.addHandler(handler)
    if _OVERRIDE.saved is None and _FEEDS.level == logging.NOTSET:
        _OVERRIDE.apply()
    token = _running_feed.set(feed)
    try:
        yield
    finally:
        _running_feed.reset(token)
        _FEEDS.removeHandler(handler)
        if not any(isinstance(other, EventLogHandler) for other in _FEEDS.handlers):
            _OVERRIDE.undo()
