"""Rows by absolute number: what was read once can be continued, and a rebuild is noticed."""

from __future__ import annotations

from typing import NamedTuple

from pairlab.data.ring import Ring
from pairlab.schema import ROW, Records

__all__ = ["Cursor", "RowStore", "Rows"]


class Cursor(NamedTuple):
    """A reader's position in a `RowStore`.

    Attributes
    ----------
    epoch : int
        Of the rows that were read; a rebuild of the metrics begins the next one.
    row : int
        Number of the next row to read, counted from the first row of the epoch.
    """

    epoch: int
    row: int


class Rows(NamedTuple):
    """What a reader gets for its cursor.

    Attributes
    ----------
    records : numpy.ndarray
        `pairlab.ROW` records, shape (n,), read-only, not copied.
    first : int
        Number of the first of them.
    rebuilt : bool
        The cursor is of an earlier epoch: these are all rows that are held, recomputed.
    skipped : int
        Rows between the cursor and `first` that are no longer held.
    next : Cursor
        For the next call.
    """

    records: Records
    first: int
    rebuilt: bool
    skipped: int
    next: Cursor


class RowStore:
    """The newest rows in bounded memory, numbered from 0 within an epoch.

    Numbers are absolute: they stay the same when old rows leave. `replace` puts rows that were
    recomputed in place of all others and begins a new epoch, in which numbers
    start at 0. A view that was taken earlier is never written to again.

    Parameters
    ----------
    capacity : int
        How many of the newest rows are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._ring = self._new_ring(capacity)
        self._epoch = 0

    def _new_ring(self, capacity: int) -> Ring:
        """Return the ring of an epoch that begins."""
        return Ring(ROW, capacity)

    @classmethod
    def holding(cls, rows: Records, capacity: int, epoch: int, end: int) -> RowStore:
        """Return a store that holds `rows`: the newest of an epoch in which `end` were appended."""
        store = cls(capacity)
        store._ring, store._epoch = Ring.holding(rows, capacity, end), epoch
        return store

    @classmethod
    def adopting(cls, rows: Records) -> RowStore:
        """Return a store of these rows, without a copy: they are its own from now on."""
        store = cls(1)
        store._ring = Ring.adopting(rows)
        return store

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def epoch(self) -> int:
        """How often the rows were replaced."""
        return self._epoch

    @property
    def start(self) -> int:
        """Number of the oldest row held."""
        return self._ring.total - len(self._ring)

    @property
    def end(self) -> int:
        """Number that the next row will get: rows appended in this epoch."""
        return self._ring.total

    @property
    def cursor(self) -> Cursor:
        """The position after the newest row."""
        return Cursor(self._epoch, self.end)

    @property
    def ring(self) -> Ring:
        """The rows of this epoch alone: a holder can keep reading them after a rebuild."""
        return self._ring

    @property
    def capacity(self) -> int:
        """How many rows are kept."""
        return self._ring.capacity

    @property
    def nbytes(self) -> int:
        """Bytes reserved (the system commits them as they fill)."""
        return self._ring.nbytes

    def append(self, rows: Records) -> None:
        """Copy `rows` in; the oldest beyond the capacity are forgotten."""
        self._ring.append(rows)

    def replace(self, rows: Records) -> None:
        """Begin a new epoch with `rows` in place of all others."""
        ring = self._new_ring(self._ring.capacity)
        ring.append(rows)
        self._ring = ring
        self._epoch += 1

    def resize(self, capacity: int) -> None:
        """Change how many rows are kept; numbers and epoch stay."""
        self._ring = self._ring.resized(capacity)

    def view(self, last: int | None = None) -> Records:
        """Return the newest `last` rows (all by default), oldest first, read-only, not copied."""
        return self._ring.view(last)

    def slice(self, start: int, stop: int) -> Records:
        """Return the rows held whose numbers are from `start` to before `stop`, not copied."""
        first = self.start
        return self._ring.view()[max(start - first, 0) : max(stop - first, 0)]

    def since(self, cursor: Cursor, at_most: int | None = None) -> Rows:
        """Return the rows from a cursor on, oldest first.

        Parameters
        ----------
        cursor : Cursor
            As an earlier call, or `cursor`, gave it. One of another epoch reads all rows held.
        at_most : int, optional
            How many rows at the most: the oldest ones that are due.

        Returns
        -------
        Rows
            `records` is empty where nothing is new.
        """
        rebuilt = cursor.epoch != self._epoch
        wanted = self.start if rebuilt else cursor.row
        first = min(max(wanted, self.start), self.end)
        stop = self.end if at_most is None else min(self.end, first + max(at_most, 0))
        skipped = max(0, first - wanted)
        return Rows(self.slice(first, stop), first, rebuilt, skipped, Cursor(self._epoch, stop))
