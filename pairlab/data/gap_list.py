"""The newest gaps of a session, by the ordinals of the ticks after them."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.gaps import Gap

__all__ = ["GapList"]


class GapList:
    """Gaps in the order of their ordinals, one an ordinal, in bounded memory.

    Parameters
    ----------
    gaps : iterable of Gap
        To begin with, in order.
    capacity : int
        How many of the newest are kept.
    """

    def __init__(self, gaps: Iterable[Gap] = (), capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._gaps = list(gaps)[-capacity:]

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._gaps)

    @property
    def last(self) -> Gap | None:
        """The one with the highest ordinal."""
        return self._gaps[-1] if self._gaps else None

    def mark(self, gap: Gap) -> None:
        """Add a gap; its legs join those of another before the same tick."""
        at = bisect.bisect_left(self._gaps, gap.tick, key=lambda other: other.tick)
        if at < len(self._gaps) and self._gaps[at].tick == gap.tick:
            self._gaps[at] = Gap(gap.tick, gap.legs | self._gaps[at].legs)
        else:
            self._gaps.insert(at, gap)
        del self._gaps[: -self._capacity]

    def legs_before(self, first_tick: int, end_tick: int) -> NDArray[np.int8]:
        """Return `Gap.legs` before each of these ticks, 0 where there is no gap."""
        legs = np.zeros(end_tick - first_tick, np.int8)
        for gap in self.between(first_tick, end_tick - 1):
            legs[gap.tick - first_tick] = gap.legs
        return legs

    def between(self, first_tick: int, last_tick: int) -> tuple[Gap, ...]:
        """Return the gaps before the ticks of these ordinals, both included."""
        return tuple(gap for gap in self._gaps if first_tick <= gap.tick <= last_tick)
