"""State of one leg's series of ids: what came, what is buffered, which gaps are open."""

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
        Last id of the leg's last gap, as far as known.
    """

    leg: int
    first: int
    last: int
    since_s: float
    span_last: int = -1


class LegState:
    """One leg's series of ids, and what of it waits."""

    __slots__ = (
        "buffered",
        "gaps",
        "max_id",
        "missing_before",
        "outliers",
        "ready",
        "unconfirmed",
        "unreported",
    )

    def __init__(self) -> None:
        self.max_id = -1  # the largest id seen
        self.gaps: deque[Gap] = deque()  # open ones, oldest first
        self.buffered: dict[int, TickTuple | ConsumedId] = {}  # ids after the first gap
        self.ready: deque[TickTuple] = deque()  # in order, waiting for the other leg
        self.outliers: list[TickTuple] = []
        self.unconfirmed = False  # after an interruption, until the next id is seen
        self.unreported = 0  # trades missing before this leg's next tick
        self.missing_before: dict[int, int] = {}  # id of a tick that waits -> trades missing
