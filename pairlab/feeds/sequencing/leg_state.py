"""State of one leg's series of ids: what came, what is buffered, which gaps are open."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from pairlab.feeds.binance.messages import ConsumedId, TickTuple

__all__ = ["Gap", "GapMark", "LegState", "split_at_marks"]


@dataclass(slots=True)
class Gap:
    """Ids of one leg that were passed over.

    Attributes
    ----------
    leg : int
        0 = y, 1 = x.
    first, last : int
        The ids, both included.
    since_s : float
        When it was noticed, monotonic seconds.
    span_last : int
        Last id of the leg's last gap, as far as known.
    unverified : bool
        It was noted after an interruption, and what follows it may be of another series.
    """

    leg: int
    first: int
    last: int
    since_s: float
    span_last: int = -1
    unverified: bool = False


@dataclass(slots=True)
class GapMark:
    """A gap that was given up, until a tick after it is handed on.

    Attributes
    ----------
    position : int
        Ticks of the leg that were placed before it.
    time_ns : int
        Time of the leg's last id before it: what is later was not seen.
    missing : int
        Trades in it.
    """

    position: int
    time_ns: int
    missing: int


class LegState:
    """One leg's series of ids, and what of it waits."""

    __slots__ = (
        "buffered",
        "gaps",
        "last_mark",
        "marks",
        "max_id",
        "newest_ns",
        "old_series_ns",
        "outliers",
        "ready",
        "released",
        "unconfirmed",
    )

    def __init__(self) -> None:
        self.max_id = -1  # the largest id seen
        self.gaps: deque[Gap] = deque()  # open ones, oldest first
        self.buffered: dict[int, TickTuple | ConsumedId] = {}  # ids after the first gap
        self.ready: deque[TickTuple] = deque()  # in order, waiting for the other leg
        self.newest_ns = 0  # newest time of an id that was buffered
        self.outliers: list[TickTuple | ConsumedId] = []
        # Last time of the series before, until the first id of the new one is known.
        self.old_series_ns: int | None = None
        self.unconfirmed = False  # after an interruption, until the next id is seen
        self.marks: deque[GapMark] = deque()  # of gaps given up, not handed on yet
        self.last_mark: GapMark | None = None  # the one that this leg's next tick comes after
        self.released = 0  # ticks that have left `ready`

    def first_gap(self, next_id: int) -> Gap:
        """Return what is missing from the next id on, up to the end of the first gap."""
        gaps = self.gaps
        unverified = any(gap.unverified for gap in gaps)
        return replace(gaps[0], first=next_id, span_last=gaps[-1].last, unverified=unverified)

    def mark(self, missing: int, time_ns: int) -> None:
        """Mark that trades are missing before this leg's next tick, after a time."""
        if self.last_mark is None:
            position = self.released + len(self.ready)
            self.last_mark = GapMark(position, time_ns, 0)
            self.marks.append(self.last_mark)
        self.last_mark.missing += missing

    def place(self, tick: TickTuple) -> None:
        """Append the next tick to what is ready."""
        self.last_mark = None
        self.ready.append(tick)

    def missing_before(self, tick: TickTuple, *, own: bool) -> int:
        """Return how many trades the marks before a tick lack, and forget these marks.

        A tick of the other leg comes after a gap of this one if it is later than what came before
        the gap: of this leg nothing is known by then.
        """
        missing = 0
        while self.marks:
            mark = self.marks[0]
            if self.released < mark.position or not (own or tick[0] > mark.time_ns):
                break
            missing += self.marks.popleft().missing
            if mark is self.last_mark:
                self.last_mark = None
        return missing

    def may_have_gap(self) -> bool:
        """Return whether ids are missing before this leg's next tick, or may be."""
        return bool(self.gaps or self.marks or self.unconfirmed)

    def waits(self) -> bool:
        """Return whether anything is not yet clear about this leg."""
        return bool(self.gaps or self.marks or self.unconfirmed or self.outliers)


def split_at_marks(
    ticks: list[TickTuple], marks: list[tuple[int, int, int]]
) -> list[tuple[int, int, list[TickTuple]]]:
    """Split ticks where trades are missing.

    Parameters
    ----------
    ticks : list of tuple
        In order.
    marks : list of (int, int, int)
        Index of the tick after a gap, trades missing, and of which leg: 1 y, 2 x.

    Returns
    -------
    list of (int, int, list of tuple)
        Trades missing before the ticks, of which legs (bits), and the ticks.
    """
    parts = []
    start = missing = legs = 0
    for index, count, leg_bit in marks:
        if index > start:
            parts.append((missing, legs, ticks[start:index]))
            missing = legs = 0
        start = index
        missing += count
        legs |= leg_bit
    parts.append((missing, legs, ticks[start:]))
    return parts
