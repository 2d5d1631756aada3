"""A board at one moment: a line a pair, what needs attention first, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.board.pair_pipeline import PairPipeline
from pairlab.board.symbol_tasks import worst
from pairlab.board_protocol import BoardSnapshot
from pairlab.feeds.base import FeedHealth
from pairlab.health import BoardHealth, Health
from pairlab.lab.health_report import health_report
from pairlab.schema import HISTORY_COLUMNS, NO_TIME_NS, NS_PER_S, ROW, Pair, Records, opaque

if TYPE_CHECKING:
    from pairlab.board.rescan import Rescan
    from pairlab.board.runner import BoardRunner

__all__ = [
    "attention",
    "board_frame",
    "board_health",
    "board_snapshot",
    "leg_ages_s",
    "newest_rows",
    "pair_health",
    "round_trips",
]

_NO_ROW: Final = np.zeros(1, ROW)
for _name in ROW.names or ():
    if ROW[_name].kind == "f":
        _NO_ROW[_name] = np.nan
_NO_ROW["time_ns"] = NO_TIME_NS
_NO_ROW["stationary"] = -1


def newest_rows(runner: BoardRunner) -> Records:
    """Return the newest final row of each pair, in their order; NaN where there is none yet."""
    rows = np.empty(len(runner.pairs), ROW)
    room = opaque(rows)
    for number, view in enumerate(runner.pairs.values()):
        newest = view.pipeline.rows.newest()
        room[number : number + 1] = opaque(newest if len(newest) else _NO_ROW)
    return rows


def round_trips(runner: BoardRunner, rows: Records) -> NDArray[np.float64]:
    """Return what each deviation is worth, in costs of a round trip of both legs.

    Parameters
    ----------
    runner : BoardRunner
        Whose pairs.
    rows : array of ROW
        As `newest_rows` gives them.
    """
    engines = [view.pipeline.engine for view in runner.pairs.values()]
    values = [
        view.pipeline.values() if engine is None else engine.values
        for view, engine in zip(runner.pairs.values(), engines, strict=True)
    ]
    log = np.array([v.price_scale == "log" for v in values], bool)
    fee = np.array([v.fee_bps for v in values], float)
    with np.errstate(all="ignore"):
        distance = np.abs(rows["zscore"]) * rows["spread_std"]
        edge = np.where(log, distance, distance / rows["y"]) * 1e4
        # x's notional of a unit of y: as `pairlab.costs.round_trip_bps` has it
        share = np.where(log, rows["hedge_ratio"], rows["hedge_ratio"] * rows["x"] / rows["y"])
        found: NDArray[np.float64] = edge / (2.0 * fee * (1.0 + np.abs(share)))
    found[~np.isfinite(found)] = np.nan
    return found


def leg_ages_s(runner: BoardRunner) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how long ago each pair's legs have traded, by the market's newest trade; seconds."""
    core = runner.core
    if not runner.pairs:
        return np.zeros(0), np.zeros(0)
    times = core.store.newest_ns
    ages = (core.newest_ns - times.astype(float)) / NS_PER_S
    ages[times == NO_TIME_NS] = np.nan
    numbers = np.array([view.pipeline.symbols for view in runner.pairs.values()])
    return ages[numbers[:, 0]], ages[numbers[:, 1]]


def attention(rows: Records, failed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the order of what needs attention: open positions, then the largest deviations.

    Parameters
    ----------
    rows : array of ROW
        The newest of each pair.
    failed : array of bool
        Whose feeds have failed: they come after the open positions, for somebody to see them.
    """
    z = np.abs(rows["zscore"])
    z = np.where(np.isfinite(z), z, -1.0)
    order: NDArray[np.int64] = np.lexsort((-z, ~failed, rows["position"] == 0))
    return order


def board_snapshot(runner: BoardRunner) -> BoardSnapshot:
    """Return every pair at this moment."""
    rows = newest_rows(runner)
    of_symbol = {symbol: runner.tasks.state(symbol) for symbol in runner.core.symbols}
    states: list[tuple[str, str]] = [worst(of_symbol[y], of_symbol[x]) for y, x in runner.pairs]
    if not runner.running:
        states = [runner.state()] * len(states)
    failed = np.array([state == "failed" for state, _ in states], bool)
    y_age_s, x_age_s = leg_ages_s(runner)
    return BoardSnapshot(
        tuple(runner.pairs), rows, round_trips(runner, rows), y_age_s, x_age_s, states,
        attention(rows, failed),
    )  # fmt: skip


def board_frame(at: BoardSnapshot) -> pd.DataFrame:
    """Return one line a pair, what needs attention first; see `Board.latest`."""
    rows = at.rows
    columns: dict[str, Any] = {name: rows[name] for name in HISTORY_COLUMNS}
    columns["y_age_s"], columns["x_age_s"] = at.y_age_s, at.x_age_s
    times = pd.DatetimeIndex(rows["time_ns"].view("M8[ns]")).tz_localize("UTC")
    legs = [[pair[leg] for pair in at.pairs] for leg in (0, 1)]
    frame = pd.DataFrame(
        {
            "time": times, **columns, "deviation_round_trips": at.round_trips,
            "state": [state for state, _ in at.states],
            "detail": [detail for _, detail in at.states],
        },
        index=pd.MultiIndex.from_arrays(legs, names=["leg_y", "leg_x"]),
    )  # fmt: skip
    return frame.iloc[at.order]


def pair_health(runner: BoardRunner, pair: Pair, pipeline: PairPipeline) -> Health:
    """Return how one pair's feeds, its engine and the board's loop are."""
    y, x = (runner.tasks.health(symbol) for symbol in pair)
    state, detail = runner.tasks.pair_state(tuple(pair)) if runner.running else runner.state()
    both = FeedHealth(
        state, detail, ticks=y.ticks + x.ticks, reconnects=max(y.reconnects, x.reconnects),
        gaps=y.gaps + x.gaps, missing=y.missing + x.missing, lag_ms=y.lag_ms,
        lag_p50_ms=y.lag_p50_ms, lag_p99_ms=y.lag_p99_ms,
        dropped={name: y.dropped.get(name, 0) + x.dropped.get(name, 0)
                 for name in {*y.dropped, *x.dropped}},
    )  # fmt: skip
    return health_report(
        runner.info, both, pipeline, runner.load, running=runner.running, stamped_ahead=0
    )


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
