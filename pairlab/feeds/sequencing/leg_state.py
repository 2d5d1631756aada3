"""One leg's ids: what came, what waits, what is missing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pairlab.feeds.binance.messages import ConsumedId, TickTuple

__all__ = ["Gap", "LegState"]


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
        The last id missing of the whole leg, as far as known.
    """

    leg: int
    first: int
    last: int
    since_s: float
    span_last: int = -1


class LegState:
    """One leg's series of ids, and what of it waits."""

    __slots__ = ("beyond", "gap_ids", "high", "holes", "owed", "ready", "strays", "unsure")

    def __init__(self) -> None:
        self.high = -1  # the largest id seen
        self.holes: deque[Gap] = deque()
        self.beyond: dict[int, TickTuple | ConsumedId] = {}  # ids after the first hole
        self.ready: deque[TickTuple] = deque()  # in order, waiting for the other leg
        self.strays: list[TickTuple] = []
        self.unsure = False  # after an interruption, until the next id is seen
        self.owed = 0  # missing trades to be marked before this leg's next tick
        self.gap_ids: dict[int, int] = {}  # id of a tick that waits -> trades missing before it
