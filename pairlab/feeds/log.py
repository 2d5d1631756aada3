"""Log records of feeds: which feeds a record concerns, and repeated lines counted, not repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

__all__ = ["REPEAT_FILTER", "RepeatFilter", "concerning", "feed_logger"]

_REPEAT_S: Final = 10.0  # of the same kind and feed, at most one line in this time


def concerning(feeds: Iterable[object], kind: str = "") -> dict[str, object]:
    """Return the ``extra`` of a log record: the feeds it concerns, and what kind of line it is.

    Parameters
    ----------
    feeds : iterable of Feed
        One happening is one record, however many feeds share the connection it happened to.
    kind : str
        Lines of the same kind are repeated once in ten seconds; without a kind, always.
    """
    return {"feeds": tuple(feeds), "kind": kind}


class RepeatFilter(logging.Filter):
    """Lets a line of one kind pass once in ten seconds for each feed, and counts the others.

    The next line that passes says how many were left out. A record that some of its feeds have
    seen lately goes to the others alone.

    Examples
    --------
    >>> import logging
    >>> repeats = RepeatFilter()
    >>> record = logging.makeLogRecord({"msg": "closed", **concerning(["a feed"], "closed")})
    >>> repeats.filter(record), repeats.filter(record)
    (True, False)
    """

    def __init__(self) -> None:
        super().__init__()
        # By feed and kind: when a line last passed, and how many were left out since.
        self._seen: dict[int, dict[str, tuple[float, int]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is due for any feed that it concerns."""
        kind: str = getattr(record, "kind", "")
        feeds: tuple[object, ...] = getattr(record, "feeds", ())
        if not kind or not feeds:
            return True
        due, more = [], 0
        for feed in feeds:
            kinds = self._seen.setdefault(id(feed), {})
            last_s, left_out = kinds.get(kind, (float("-inf"), 0))
            if 0 <= record.created - last_s < _REPEAT_S:  # a clock set back makes it due
                kinds[kind] = last_s, left_out + 1
                continue
            kinds[kind] = record.created, 0
            due.append(feed)
            more = max(more, left_out)
        if due:
            record.feeds = tuple(due)
        if more:
            record.msg = f"{record.getMessage()} ({more:,} more like this since the last line)"
            record.args = None
        return bool(due)

    def forget(self, feed: object) -> None:
        """Let the next line of any kind about this feed pass: a run begins, or has ended."""
        self._seen.pop(id(feed), None)


REPEAT_FILTER: Final = RepeatFilter()
"""The filter of every logger that `feed_logger` returns."""


def feed_logger(name: str) -> logging.Logger:
    """Return the logger of a module under `pairlab.feeds`, whose repeated lines are counted."""
    logger = logging.getLogger(name)
    logger.addFilter(REPEAT_FILTER)
    return logger
