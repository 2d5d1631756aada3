"""The messages about feed, engine and screen that a dashboard shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from pairlab.schema import LogEntry

__all__ = ["EventLog"]


class EventLog(Sequence[LogEntry]):
    """The newest messages, oldest first, in bounded memory.

    Parameters
    ----------
    on_entry : callable
        Called after each new message.
    capacity : int
        How many are kept.
    """

    def __init__(self, on_entry: Callable[[], None], capacity: int = 1_000) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=capacity)
        self._on_entry = on_entry
        self._total = 0

    def restore(self, entries: Iterable[LogEntry], total: int) -> None:
        """Hold these messages, the newest of `total`, in place of all others."""
        self._entries.clear()
        self._entries.extend(entries)
        self._total = total

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self._entries)

    def __reversed__(self) -> Iterator[LogEntry]:
        return reversed(self._entries)

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[LogEntry]: ...
    def __getitem__(self, index: int | slice) -> LogEntry | list[LogEntry]:
        return list(self._entries)[index] if isinstance(index, slice) else self._entries[index]

    @property
    def total(self) -> int:
        """How many messages there ever were: changes when, and only when, the log does."""
        return self._total

    def add(self, entry: LogEntry) -> None:
        """Append a message."""
        self._entries.append(entry)
        self._total += 1
        self._on_entry()
