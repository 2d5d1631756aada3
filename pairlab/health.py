"""How the lab is doing: one frozen picture of feed, engine and loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pairlab.feeds.base import FeedState
from pairlab.formatting import html_table, number

__all__ = ["BoardHealth", "Health", "RecentQuantiles"]


@dataclass(frozen=True, slots=True, repr=False)
class Health:
    """A lab at one moment.

    Attributes
    ----------
    state : FeedState
        ``connecting``, ``live``, ``stalled``, ``reconnecting``, ``stopped`` or ``failed``.
    detail : str
        Why, and what comes next, in plain words.
    feed : str
        The feed's name, as on the screen.
    real_money : bool
        False for everything but the live market.
    stream : str
        ``aggTrade``, ``trade`` or ``bookTicker``.
    ticks : int
        Ticks accepted from the feed.
    rows : int
        Rows made of them since the start (`history` keeps the newest).
    dropped : Mapping[str, int]
        What was not accepted, by reason: feed's and engine's.
    reconnects : int
        Connections opened after the first.
    gaps, missing : int
        Gaps in the ids that could not be filled, and the trades in them.
    lag_ms, lag_p50_ms, lag_p99_ms : float
        Exchange's event to our receipt, corrected by the clocks' offset: last, median, 99 %.
    row_p50_ms, row_p99_ms : float
        Receipt to row, over the newest 4,096 ticks.
    ticks_per_s : float
        Over the last two seconds.
    filled, window : int
        Observations in the window, and its size.
    uptime_s : float
        Since `start`.
    memory_bytes : int
        Held by history and ticks.
    loop_lag_ms : float
        How late the event loop last came round: a blocked cell shows here, not as a stalled feed.
    late_ticks : int
        Ticks older than the last closed bar; counted in the bar that was forming.
    warnings : tuple of str
        What a person should know about the numbers.
    bad_frames : tuple of str
        The last frames that could not be read, shortened.
    """

    state: FeedState
    detail: str
    feed: str
    real_money: bool
    stream: str
    ticks: int
    rows: int
    dropped: Mapping[str, int]
    reconnects: int
    gaps: int
    missing: int
    lag_ms: float
    lag_p50_ms: float
    lag_p99_ms: float
    row_p50_ms: float
    row_p99_ms: float
    ticks_per_s: float
    filled: int
    window: int
    uptime_s: float
    memory_bytes: int
    loop_lag_ms: float
    late_ticks: int
    warnings: tuple[str, ...]
    bad_frames: tuple[str, ...]

    def __repr__(self) -> str:
        """Say in one line whether all is well; the fields have the rest."""
        lag = f", lag p50 {number(self.lag_p50_ms, 0)} ms" if math.isfinite(self.lag_p50_ms) else ""
        gaps = f", {self.gaps:,} gaps ({self.missing:,} trades missing)" if self.gaps else ""
        return (
            f"<Health: {self.feed} {self.state}, {self.detail}; {self.ticks:,} ticks, "
            f"{self.rows:,} rows, {number(self.ticks_per_s, 1)} ticks/s{lag}{gaps}>"
        )

    def _repr_html_(self) -> str:
        """Return every field in a table."""
        rows = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                text = number(value, 3)
            elif isinstance(value, Mapping):
                text = ", ".join(f"{n:,} {reason}" for reason, n in value.items()) or "none"
            elif isinstance(value, tuple):
                text = "; ".join(value) or "none"
            else:
                text = f"{value:,}" if isinstance(value, int) else str(value)
            rows.append((field.name, text))
        return html_table("Health", (), rows)


@dataclass(frozen=True, slots=True)
class BoardHealth:
    """A board at one moment.

    Attributes
    ----------
    state : FeedState
        ``live`` as long as a symbol is.
    detail : str
        Why, and which symbols are not.
    feed, stream : str
        The feed's name, and what a tick is.
    real_money : bool
        False for everything but the live market.
    pairs, symbols : int
        On the board; subscribed.
    failed : Mapping[str, str]
        Symbols whose feeds have ended for good, and why.
    waiting : tuple of str
        Symbols whose missing trades are being fetched: their pairs stand still meanwhile.
    ticks, rows : int
        Taken from the feeds, each once; made of them, of all pairs.
    ticks_per_s : float
        Over the last two seconds.
    dropped : Mapping[str, int]
        What was not accepted, by reason.
    reconnects, gaps, missing : int
        As in `pairlab.Health`, of all symbols.
    lag_ms, lag_p50_ms, lag_p99_ms : float
        Exchange's event to our receipt: last, median, 99 %.
    row_p50_ms, row_p99_ms : float
        Receipt to row of every pair, over the newest 4,096 ticks.
    loop_lag_ms, uptime_s : float
        How late the loop last came round; since `start`.
    memory_bytes : int
        Reserved for rows and ticks.
    rescans : int
        Scans of all pairs so far.
    rescan_s : float
        Seconds that the last one took, off the loop; NaN before the first.
    """

    state: FeedState
    detail: str
    feed: str
    stream: str
    real_money: bool
    pairs: int
    symbols: int
    failed: Mapping[str, str]
    waiting: tuple[str, ...]
    ticks: int
    rows: int
    ticks_per_s: float
    dropped: Mapping[str, int]
    reconnects: int
    gaps: int
    missing: int
    lag_ms: float
    lag_p50_ms: float
    lag_p99_ms: float
    row_p50_ms: float
    row_p99_ms: float
    loop_lag_ms: float
    uptime_s: float
    memory_bytes: int
    rescans: int
    rescan_s: float


class RecentQuantiles:
    """Median and 99th percentile of the newest `size` values.

    Parameters
    ----------
    size : int
        How many values are remembered.
    """

    def __init__(self, size: int = 4096) -> None:
        self._values: NDArray[np.float64] = np.empty(size)
        self._next = 0
        self._count = 0
        self._known = (float("nan"), float("nan"))

    @classmethod
    def known(cls, p50: float, p99: float) -> RecentQuantiles:
        """Return quantiles that are these until the next value is added."""
        found = cls()
        found._known = (p50, p99)
        return found

    def add(self, values: NDArray[np.float64]) -> None:
        """Remember `values`, shape (n,), in place of the oldest."""
        size = len(self._values)
        values = values[-size:]
        head = min(len(values), size - self._next)
        self._values[self._next : self._next + head] = values[:head]
        self._values[: len(values) - head] = values[head:]
        self._next = (self._next + len(values)) % size
        self._count = min(self._count + len(values), size)

    def p50_p99(self) -> tuple[float, float]:
        """Return (median, 99th percentile); NaN before the first value, if none was `known`."""
        if not self._count:
            return self._known
        p50, p99 = np.quantile(self._values[: self._count], (0.5, 0.99))
        return float(p50), float(p99)
