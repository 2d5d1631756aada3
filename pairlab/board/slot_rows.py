"""Rows of one of many pairs: the kernel writes them, everybody else reads them as any other's."""

from __future__ import annotations

from typing import Final

from pairlab.data.ring import Ring
from pairlab.data.row_store import RowStore
from pairlab.engine.many.many_pairs import ManyPairs
from pairlab.schema import ROW, Records

__all__ = ["SlotRing", "SlotRows"]

_GOLDEN: Final = 0.6180339887498949  # its multiples are spread evenly, however many there are


class SlotRing(Ring):
    """A ring whose buffer and counts are those of a slot of `ManyPairs`.

    Parameters
    ----------
    many : ManyPairs
        Whose kernel writes to it.
    slot : int
        The pair.
    capacity, total
        As `Ring` takes them.
    """

    slack = 2

    def __init__(self, many: ManyPairs, slot: int, capacity: int, total: int = 0) -> None:
        self._many = many
        self._slot = slot
        self._left: tuple[int, int] | None = None
        super().__init__(ROW, capacity, total)
        # Pairs that began together and get as many rows would be full together, and move in one
        # batch: 500 of them held up the loop for 0.6 s. So each moves a little earlier, once.
        early = int(slot * _GOLDEN % 1.0 * (capacity // self.slack))
        many.slots["room"][slot] -= early

    @property
    def _buffer(self) -> Records:
        return self._records

    @_buffer.setter
    def _buffer(self, buffer: Records) -> None:
        self._records = buffer
        if self._left is None:
            self._many.slots["rows"][self._slot] = buffer.ctypes.data
            self._many.slots["room"][self._slot] = len(buffer)

    @property
    def _end(self) -> int:
        return int(self._many.slots["end"][self._slot]) if self._left is None else self._left[0]

    @_end.setter
    def _end(self, end: int) -> None:
        if self._left is None:
            self._many.slots["end"][self._slot] = end

    @property
    def _total(self) -> int:
        return int(self._many.slots["total"][self._slot]) if self._left is None else self._left[1]

    @_total.setter
    def _total(self, total: int) -> None:
        if self._left is None:
            self._many.slots["total"][self._slot] = total

    def make_room(self) -> None:
        """Move the newest rows to a fresh buffer, in which more have room."""
        self._move(min(self._capacity, self._end))

    def leave(self) -> None:
        """Stay as it is: the slot gets another ring, or another pair."""
        self._left = self._end, self._total

    def resized(self, capacity: int) -> Ring:
        """Return a ring of another capacity that holds the newest of the same records."""
        rows, total = self.view(), self._total
        self.leave()
        rows = rows[-capacity:]
        ring = SlotRing(self._many, self._slot, capacity, total - len(rows))
        ring.append(rows)
        return ring


class SlotRows(RowStore):
    """The rows of a slot of `ManyPairs`.

    Parameters
    ----------
    many, slot
        As `SlotRing` takes them.
    capacity : int
        How many of the newest rows are kept.
    """

    def __init__(self, many: ManyPairs, slot: int, capacity: int) -> None:
        self._many = many
        self._slot = slot
        self._left = False
        self._made_before = 0  # once it has left its slot
        super().__init__(capacity)

    def _new_ring(self, capacity: int) -> Ring:
        if self._left:
            return Ring(ROW, capacity)
        before = getattr(self, "_ring", None)
        if before is not None:
            before.leave()
        return SlotRing(self._many, self._slot, capacity)

    def make_room(self) -> None:
        """Have room for more rows."""
        if isinstance(self._ring, SlotRing):
            self._ring.make_room()

    def leave(self) -> None:
        """Keep what there is, in memory of its own: the pair gives its slot back."""
        self._made_before = self.made
        if isinstance(self._ring, SlotRing):
            self._ring.leave()
        self._left = True

    def resize(self, capacity: int) -> None:
        """Do as `RowStore.resize`; the slot may be another pair's by now."""
        if self._left:
            rows = self._ring.view()[-capacity:]
            self._ring = Ring.holding(rows, capacity, self._ring.total)
        else:
            super().resize(capacity)

    @property
    def made(self) -> int:
        """Rows since the start, over every rebuild."""
        return self._made_before if self._left else int(self._many.slots["made"][self._slot])

    @made.setter
    def made(self, count: int) -> None:
        if self._left:
            self._made_before = count
        else:
            self._many.slots["made"][self._slot] = count

    def written(self, first: int, stop: int) -> Records:
        """Return rows by number as `slice` does, those that are about to leave included."""
        ring = self._ring
        before = ring._total - ring._end
        return ring._buffer[max(first - before, 0) : max(stop - before, 0)]

    def newest(self) -> Records:
        """Return a view of the newest row, of length 0 before the first."""
        end = self._ring._end
        return self._ring._buffer[max(end - 1, 0) : end]
