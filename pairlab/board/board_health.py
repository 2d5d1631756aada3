"""How a board is doing: one frozen picture of feeds, kernel and loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairlab.feeds.base import FeedState

if TYPE_CHECKING:
    from pairlab.board.rescan import Rescan
    from pairlab.board.runner import BoardRunner

__all__ = ["BoardHealth"]


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

    @classmethod
    def of(cls, runner: BoardRunner, rescan: Rescan | None) -> BoardHealth:
        """Return how a board is now."""
        counts, core, load = runner.counts(), runner.core, runner.load
        state, detail = runner.state()
        row_p50_ms, row_p99_ms = core.latency_ms.p50_p99()
        waiting = core.waiting
        used = {symbol for pair in runner.pairs for symbol in pair} | runner.kept
        return cls(
            state=state, detail=detail, feed=runner.info.name, stream=runner.info.stream,
            real_money=runner.info.real_money, pairs=len(runner.pairs), symbols=len(used),
            failed=dict(runner.tasks.failed),
            waiting=tuple(name for name, number in core.symbols.items() if number in waiting),
            ticks=core.store.total, rows=runner.row_count,
            ticks_per_s=load.ticks_per_s if runner.running else 0.0,
            dropped=counts.dropped, reconnects=counts.reconnects, gaps=counts.gaps,
            missing=counts.missing, lag_ms=counts.lag_ms, lag_p50_ms=counts.lag_p50_ms,
            lag_p99_ms=counts.lag_p99_ms, row_p50_ms=row_p50_ms, row_p99_ms=row_p99_ms,
            loop_lag_ms=load.loop_lag_s * 1e3, uptime_s=load.uptime_s if runner.running else 0.0,
            memory_bytes=core.nbytes, rescans=0 if rescan is None else rescan.count,
            rescan_s=float("nan") if rescan is None else rescan.took_s,
        )  # fmt: skip
