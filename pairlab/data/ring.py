"""Fixed-capacity ring buffer of records, with zero-copy views."""

from __future__ import annotations

import numpy as np

from pairlab.schema import Records, opaque

__all__ = ["Ring"]


class Ring:
    """The last `capacity` records of a structured dtype, always one contiguous array.

    Records are appended to a buffer with a quarter of room to spare. When it is full, the newest
    `capacity` records move to a *fresh* buffer, so that a view taken earlier is never written to
    again: it stays a snapshot for as long as it is held.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the records.
    capacity : int
        How many of the newest are kept.
    total : int
        How many were appended elsewhere before.
    """

    slack = 4
    """A ring of capacity c is moved to a fresh buffer once every c / slack appended records."""

    def __init__(self, dtype: np.dtype[np.void], capacity: int, total: int = 0) -> None:
        self._capacity = capacity
        self._buffer: Records = np.empty(capacity + capacity // self.slack + 1, dtype)
        self._end = 0
        self._total = total

    @classmethod
    def holding(cls, records: Records, capacity: int, total: int) -> Ring:
        """Return a ring that holds `records`, the newest of `total` that were ever appended."""
        ring = cls(records.dtype, capacity, total - len(records))
        ring.append(records)
        return ring

    @classmethod
    def adopting(cls, records: Records) -> Ring:
        """Return a ring of these records, without a copy: they are its own from now on."""
        ring = cls(records.dtype, 0, len(records))
        ring._capacity, ring._buffer, ring._end = max(len(records), 1), records, len(records)
        return ring

    def __len__(self) -> int:
        return min(self._end, self._capacity)

    @property
    def total(self) -> int:
        """How many records were ever appended, those elsewhere included."""
        return self._total

    @property
    def capacity(self) -> int:
        """How many records are kept."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes reserved (the system commits them as they fill)."""
        return int(self._buffer.nbytes)

    def resized(self, capacity: int) -> Ring:
        """Return a ring of another capacity that holds the newest of the same records."""
        return Ring.holding(self.view(), capacity, self._total)

    def emptied(self) -> Ring:
        """Return a ring of the same capacity without records, whose count goes on."""
        ring = Ring(self._buffer.dtype, self._capacity)
        ring._total = self._total
        return ring

    def append(self, records: Records) -> None:
        """Copy `records` in; the oldest beyond the capacity are forgotten."""
        count = len(records)
        self._total += count
        if count >= self._capacity:
            records = records[count - self._capacity :]
            count = len(records)
        if self._end + count > len(self._buffer):
            self._move(min(self._capacity - count, self._end))
        if records.dtype == self._buffer.dtype:
            opaque(self._buffer)[self._end : self._end + count] = opaque(records)
        else:
            self._buffer[self._end : self._end + count] = records
        self._end += count

    def _move(self, keep: int) -> None:
        """Move the newest records to a fresh buffer."""
        fresh = np.empty_like(self._buffer)
        held = self._buffer[self._end - keep : self._end]
        opaque(fresh)[:keep] = opaque(held)
        self._buffer, self._end = fresh, keep

    def view(self, last: int | None = None) -> Records:
        """Return the newest `last` records (all by default), oldest first, read-only, not copied.

        Later appends do not change what was returned.
        """
        count = len(self) if last is None else min(max(last, 0), len(self))
        view = self._buffer[self._end - count : self._end]
        view.flags.writeable = False
        return view
