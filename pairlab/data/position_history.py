"""When the position changed: rows that are recomputed get the position that was really held."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from pairlab.schema import Records

__all__ = ["PositionHistory"]


class PositionHistory:
    """The newest changes of the position, in bounded memory.

    Parameters
    ----------
    changes : iterable of (int, int)
        Time, ns since 1970 UTC, and new position, oldest first.
    capacity : int
        How many of the newest are kept.
    """

    def __init__(self, changes: Iterable[tuple[int, int]] = (), capacity: int = 100_000) -> None:
        self._changes: deque[tuple[int, int]] = deque(changes, maxlen=capacity)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._changes)

    def add(self, rows: Records) -> None:
        """Add the rows, of `pairlab.ROW`, on which it was decided."""
        self._changes.extend(zip(rows["time_ns"].tolist(), rows["position"].tolist(), strict=True))

    def keep(self, rows: Records, was: Records) -> None:
        """Give rows recomputed the positions that were held at their times.

        Parameters
        ----------
        rows : numpy.ndarray
            `pairlab.ROW` records, changed in place.
        was : numpy.ndarray
            The rows before: the newest of them tell the position exactly where times are the same.
        """
        changes = np.array(self._changes, np.int64).reshape(-1, 2)
        at = np.searchsorted(changes[:, 0], rows["time_ns"], side="right") - 1
        rows["position"] = np.where(at >= 0, changes[at, 1], 0) if len(changes) else 0
        both = min(len(was), len(rows))
        if both and np.array_equal(was["time_ns"][-both:], rows["time_ns"][-both:]):
            rows["position"][-both:] = was["position"][-both:]
