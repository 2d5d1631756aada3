"""From the sequencer to the sink in batches, and the feed's words to the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import numpy as np

from pairlab.feeds.base import Log, Sink
from pairlab.feeds.sequencing.sequencer import Sequencer
from pairlab.schema import TICK, LogEntry, LogLevel

__all__ = ["FanoutLogger", "LogSink", "RateLimitedLogger", "TickDispatcher"]

_REPEAT_S = 10.0  # the same kind of line at most so often


class LogSink(Protocol):
    """Where what happens to a connection is told."""

    def say(
        self,
        level: LogLevel,
        message: str,
        *,
        kind: str = "",
        slots: Collection[int] | None = None,
    ) -> None:
        """Write a line; with `slots`, only to those whom these streams concern."""


class RateLimitedLogger:
    """Writes log lines, and counts instead of repeating one that comes in a flood.

    Parameters
    ----------
    log : callable
        Takes a `LogEntry`.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: dict[str, float] = {}
        self._withheld: Counter[str] = Counter()

    def say(self, level: LogLevel, message: str, *, kind: str = "") -> None:
        """Write a line; of the same `kind`, at most one in ten seconds."""
        if kind:
            now = time.monotonic()
            if now - self._said.get(kind, -_REPEAT_S) < _REPEAT_S:
                self._withheld[kind] += 1
                return
            self._said[kind] = now
            if more := self._withheld.pop(kind, 0):
                message = f"{message} ({more:,} more like this since the last line)"
        self._log(LogEntry(time.time_ns(), level, message))


class FanoutLogger:
    """Tells everyone whom it concerns.

    Parameters
    ----------
    listeners : callable
        Takes slots of streams, or None for all, and returns the journals of those who want them.
    """

    def __init__(
        self, listeners: Callable[[Collection[int] | None], Iterable[RateLimitedLogger]]
    ) -> None:
        self._listeners = listeners

    def say(
        self,
        level: LogLevel,
        message: str,
        *,
        kind: str = "",
        slots: Collection[int] | None = None,
    ) -> None:
        """Write a line into each journal, once."""
        for journal in self._listeners(slots):
            journal.say(level, message, kind=kind)


class TickDispatcher:
    """Hands ticks to the sink, as many at once as are due.

    Parameters
    ----------
    sequencer : Sequencer
        Where the ticks come from.
    sink : callable
        Takes arrays of `pairlab.TICK`.
    on_gap : callable
        Takes the number of missing trades, right before the first tick after the hole.
    journal : RateLimitedLogger
        Where a sink that raises is reported.

    Attributes
    ----------
    ticks : int
        Ticks handed on.
    refused : int
        Ticks that the sink refused with an exception.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        sink: Sink,
        on_gap: Callable[[int], None],
        journal: RateLimitedLogger,
    ) -> None:
        self.ticks = 0
        self.refused = 0
        self._sequencer = sequencer
        self._sink = sink
        self._on_gap = on_gap
        self._journal = journal

    def flush(self) -> None:
        """Hand on what is due, now."""
        for missing, ticks in self._sequencer.take():
            try:
                if missing:
                    self._on_gap(missing)
                self._sink(np.array(ticks, dtype=TICK))
                self.ticks += len(ticks)
            except Exception as error:
                # The stream must outlive a fault in what is built on it, and the fault be seen.
                self.refused += len(ticks)
                self._journal.say(
                    "error",
                    f"{len(ticks):,} ticks could not be processed: {error!r}. The stream goes on; "
                    "if this repeats, stop and start the lab",
                    kind="sink",
                )
