"""How a board is doing, from those who know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairlab.health import BoardHealth

if TYPE_CHECKING:
    from pairlab.board.rescan import Rescan
    from pairlab.board.runner import BoardRunner

__all__ = ["board_health"]


def board_health(runner: BoardRunner, rescan: Rescan | None) -> BoardHealth:
    """Return how a board is now."""
    counts, core, load = runner.counts(), runner.core, runner.load
    state, detail = runner.state()
    row_p50_ms, row_p99_ms = core.latency_ms.p50_p99()
    waiting = core.waiting
    used = {symbol for pair in runner.pairs for symbol in pair} | runner.kept
    return BoardHealth(
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
