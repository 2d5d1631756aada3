"""Many pairs in one call of the kernel, beside the same pairs with an engine each."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairlab import Board
from pairlab.app.garbage_collection import freeze_after_start
from pairlab.board.core import BoardCore
from pairlab.board.rescan import scan_closes
from pairlab.engine import PairEngine, compile_kernel
from pairlab.engine.many.many_pairs import ManyPairs
from pairlab.engine.state import SYMBOL_TICK
from pairlab.schema import ROW, TICK, Records
from tests.benchmarks.harness import Result, Wanted, benchmark, of_two, seconds
from tests.benchmarks.processes.firehose import universe
from tests.benchmarks.processes.kernels import firehose

SYMBOLS, PAIRS, BATCH, TICKS = 100, 500, 200, 20_000
ROOM = 12_000
NS = 1e9


def market(count: int) -> Records:
    """Ticks of 100 symbols that share a factor."""
    r = np.random.default_rng(3)
    ticks = np.zeros(count, SYMBOL_TICK)
    ticks["leg"] = r.integers(0, SYMBOLS, count)
    ticks["time_ns"] = 1_723_161_256_000_000_000 + np.arange(count) * 50_000
    factor = np.cumsum(r.normal(0, 1e-5, count))
    ticks["price"] = (20.0 + ticks["leg"]) * np.exp(factor + r.normal(0, 1e-4, count))
    ticks["quantity"] = 1.0
    return ticks


def pairs() -> list[tuple[int, int]]:
    """500 pairs: each symbol in ten of them."""
    return [(k % SYMBOLS, (k % SYMBOLS + 1 + k // SYMBOLS) % SYMBOLS) for k in range(PAIRS)]


def engine() -> PairEngine:
    return PairEngine(hedge="ols", window=50, require_stationary=True, stop_z=4.0, bars=False)


class Buffers:
    """A buffer a pair, written from the beginning again when it is full."""

    def __init__(self) -> None:
        self.many = ManyPairs(self.make_room)
        self.rows = np.zeros((PAIRS, ROOM), ROW)
        for y, x in pairs():
            slot = self.many.add(y, x)
            self.many.bind(slot, engine())
            self.many.slots["rows"][slot] = self.rows[slot].ctypes.data
            self.many.slots["room"][slot] = ROOM
            self.many.activate(slot)

    def make_room(self, slot: int) -> None:
        self.many.slots["end"][slot] = 0

    def update(self, batch: Records) -> None:
        for _ in self.many.update(batch):
            pass


@benchmark("500 pairs over 100 symbols in one call a batch, beside an engine a pair")
def board_engine(rounds: int) -> list[Result]:
    """The price of a pair and tick: one call for all, and what a lone engine takes."""
    ticks = market(TICKS)
    batches = np.array_split(ticks, TICKS // BATCH)
    board = Buffers()
    alone = engine()
    share = ticks[ticks["leg"] < 2]
    own = np.zeros(len(share), TICK)
    for name in TICK.names or ():
        own[name] = share[name]
    own = np.tile(own, 50)
    own["time_ns"] = np.sort(own["time_ns"])
    ours, theirs = [], []
    for round_ in range(rounds + 1):
        mine = seconds(lambda: [board.update(batch) for batch in batches])
        one = seconds(lambda: alone.update(own))
        if round_:  # the first fills windows and touches memory
            ours.append(mine * NS / (TICKS * PAIRS * 2 / SYMBOLS))
            theirs.append(one * NS / len(own))
    middle = rounds // 2
    mine_ns, one_ns = sorted(ours)[middle], sorted(theirs)[middle]
    return [
        of_two(
            "a pair and tick, beside a lone engine", mine_ns, one_ns, "engine", "ns",
            Wanted(ours_at_most=one_ns + 150.0), rounds, slower=True,
        )
    ]  # fmt: skip


class Lags:
    """Notes of every tick how old it is when its rows are made.

    Attributes
    ----------
    ms : list of array of float64
        A batch each: milliseconds since the server stamped it.
    """

    def __init__(self, core: BoardCore) -> None:
        self.ms: list[NDArray[np.float64]] = []
        self._core, self._joined, self._flush = core, core._joined, core.flush
        self._stamps_ns = np.zeros(0, np.int64)
        core._joined, core.flush = self.joined, self.flush  # type: ignore[method-assign]

    def joined(self) -> Any:
        found = self._joined()
        self._stamps_ns = found[0]["time_ns"].copy()
        return found

    def flush(self) -> int:
        count = self._flush()
        self.ms.append((time.time_ns() - self._stamps_ns) / 1e6)
        return count


async def loopback(seconds_: float, per_s: int) -> dict[str, float]:
    """Run 500 pairs on a firehose in another process, with their table; return what it took."""
    compile_kernel(many_pairs=True)
    names = universe(SYMBOLS)
    with firehose(int(per_s * (seconds_ + 60.0)), per_s, SYMBOLS) as url:
        board = Board([(names[y], names[x]) for y, x in pairs()], feed=url, window=50)
        freeze_after_start(board.on_update)  # as in the kernel of `pairlab board`
        async with board:
            await board.wait_async(PAIRS * 60, 60.0)
            page = board.page()
            lags = Lags(board._runner.core)
            cpu_s, start_s = time.process_time(), time.monotonic()
            ticks, rows = board.health().ticks, board.health().rows
            frames = page.table.frames
            while time.monotonic() - start_s < seconds_:
                page.table.page_says({"drawn": True})  # as a browser does that draws at once
                await asyncio.sleep(0.01)
            took_s, health = time.monotonic() - start_s, board.health()
            p50_ms, p99_ms, worst_ms = np.quantile(np.concatenate(lags.ms), (0.5, 0.99, 1.0))
            return {
                "ticks_per_s": (health.ticks - ticks) / took_s,
                "rows_per_s": (health.rows - rows) / took_s,
                "frames_per_s": (page.table.frames - frames) / took_s,
                "cores": (time.process_time() - cpu_s) / took_s,
                "lag_p50_ms": float(p50_ms),
                "lag_p99_ms": float(p99_ms),
                "lag_worst_ms": float(worst_ms),
                "lost": float(health.missing + sum(health.dropped.values())),
                "megabytes_a_pair": health.memory_bytes / PAIRS / 1e6,
            }


@benchmark("500 pairs over loopback at 20,000 ticks/s with their table: event to row, p99")
def board_loopback(rounds: int) -> list[Result]:
    """Ten seconds; a minute is `python -m tests.benchmarks.bench_board 60`."""
    found = asyncio.run(loopback(10.0, 20_000))
    print("    ", ", ".join(f"{key} {value:,.4g}" for key, value in found.items()))
    if found["lost"]:
        raise RuntimeError(f"{found['lost']:,} trades were lost")
    return [
        of_two(
            "event to row, p99", found["lag_p99_ms"], 100.0, "limit", "ms",
            Wanted(ours_at_most=100.0), rounds, slower=False,
        )
    ]  # fmt: skip


@benchmark("a rescan of all pairs of 100 symbols over 1,000 bars, as at each bar")
def board_rescan(rounds: int) -> list[Result]:
    """CPU time of the thread beside the loop."""
    r = np.random.default_rng(1)
    closes = 100 * np.exp(np.cumsum(r.normal(0, 1e-3, (1_000, SYMBOLS)), axis=0))
    names = universe(SYMBOLS)
    scan_closes(names, closes, 100)
    times = sorted(seconds(lambda: scan_closes(names, closes, 100)) for _ in range(rounds))
    return [
        of_two(
            "rescan, 4,950 pairs", times[rounds // 2] * 1e3, 50.0, "limit", "ms",
            Wanted(ours_at_most=50.0), rounds, slower=False,
        )
    ]  # fmt: skip


if __name__ == "__main__":
    print(asyncio.run(loopback(float(sys.argv[1]), 20_000)))
