"""A backtest beside vectorbt, and the decision pass by itself."""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pairlab import PairEngine, PairLab, backtest, sweep
from pairlab.backtesting.sweeping.decision_pass import columns_of, decisions
from tests.benchmarks.harness import Result, Wanted, benchmark, of_two, seconds
from tests.benchmarks.processes.peers import Peer
from tests.engine import worlds

ROWS = 1_000_000
SETTINGS: dict[str, Any] = {"hedge": "ols", "window": 50}
NS = 1e9


@functools.cache
def ticks() -> Any:
    """Rounded trades of a cointegrated pair."""
    return worlds.trades(61, ROWS)


@functools.cache
def prices() -> Any:
    """Both legs' last prices at each of those trades."""
    rows = PairEngine(hedge_ratio=25.0, bars=False).update(ticks())
    return np.array([rows["y"], rows["x"]])


class Vectorbt(Peer):
    """vectorbt on the same prices; ``PAIRLAB_VECTORBT`` names an interpreter that has it.

    Parameters
    ----------
    rows : int
        How many prices of each leg.
    """

    def __init__(self, rows: int = ROWS) -> None:
        super().__init__("vectorbt_pair.py", "PAIRLAB_VECTORBT", "vectorbt", prices()[:, :rows])
        self.first: dict[str, float] = json.loads(self.ready)
        """What the first trade took, s, by engine."""

    def again(self) -> dict[str, float]:
        """Return what one more trade takes, s, by engine."""
        return {engine: float(self.ask(engine)) for engine in self.first}


def beside(
    ours: Callable[[], float], theirs: Vectorbt, rounds: int
) -> tuple[float, dict[str, float]]:
    """Return medians of both sides, measured in turn."""
    mine: list[float] = []
    its: dict[str, list[float]] = {engine: [] for engine in theirs.first}
    for _ in range(rounds):
        mine.append(ours())
        for engine, took in theirs.again().items():
            its[engine].append(took)
    return statistics.median(mine), {name: statistics.median(t) for name, t in its.items()}


@benchmark("a million rows, every metric, fees and the trade list, beside vectorbt's fixed ratio")
def backtest_vectorbt(rounds: int) -> list[Result]:
    """Ours from two Series to the result, all tables and figures included."""
    index = pd.date_range("2024-08-08", periods=prices().shape[1], freq="s", tz="UTC")
    y, x = (pd.Series(leg, index) for leg in prices())
    run = functools.partial(backtest, (y, x), max_silence=None, **SETTINGS)
    first = seconds(run)
    with Vectorbt() as theirs:
        warm, its = beside(lambda: seconds(run), theirs, rounds)
        its_first = theirs.first
    results = []
    for name, ours, peers, wanted in (
        ("backtest, warm", warm, its, Wanted(ratio_at_least=2.5)),
        ("backtest, first call", first, its_first, Wanted(ratio_at_least=1.0)),
    ):
        scale, best = NS / ROWS, min(peers, key=lambda engine: peers[engine])
        results.append(
            of_two(
                name, ours * scale, peers[best] * scale, f"vectorbt {best}", "ns per row", wanted,
                rounds, slower=False,
            )
        )  # fmt: skip
    return results


@benchmark("a thousand sets of thresholds over 100,000 rows, beside a loop of vectorbt; one core")
def sweep_vectorbt(rounds: int) -> list[Result]:
    """Ours: the engine once, then every set decided, filled and paid for."""
    rows, sets = 100_000, 1_000
    index = pd.date_range("2024-08-08", periods=rows, freq="s", tz="UTC")
    y, x = (pd.Series(leg[:rows], index) for leg in prices())
    grid = {
        "entry_z": np.linspace(1.5, 3.0, 10), "exit_z": np.linspace(0.0, 1.0, 10),
        "stop_z": np.linspace(3.5, 6.0, 10),
    }  # fmt: skip
    run = functools.partial(sweep, (y, x), grid, n_jobs=1, max_silence=None, **SETTINGS)
    run()

    def ours() -> float:
        # Its thread's time is no measure: the sets run in a pool of one other thread.
        start = time.process_time()
        run()
        return time.process_time() - start

    with Vectorbt(rows) as theirs:
        whole, its = beside(ours, theirs, rounds)
    best = min(its, key=lambda engine: its[engine])
    return [
        of_two(
            "sweep, a set", whole / sets * 1e3, its[best] * 1e3, f"vectorbt {best}", "ms per set",
            Wanted(ratio_at_least=60), rounds, slower=False,
        )
    ]  # fmt: skip


@benchmark("one set of thresholds over rows that exist, beside the engine's own run")
def decision_pass(rounds: int) -> list[Result]:
    """What a threshold costs in a sweep, and while it is dragged."""
    engine = PairEngine(bars=False, **SETTINGS)
    part = ticks()[:100_000]
    columns = columns_of(engine.update(part), engine.values)
    values = [replace(engine.values, entry_z=1.5 + 0.05 * k) for k in range(20)]
    decisions(columns, values[0])

    def passes() -> None:
        for each in values:
            decisions(columns, each)

    def whole() -> None:
        PairEngine(values=values[0], bars=False).update(part)

    ours, its = [], []
    for _ in range(rounds):
        ours.append(seconds(passes) / len(values))
        start = time.thread_time()
        whole()
        its.append(time.thread_time() - start)
    middle = rounds // 2
    scale = NS / len(columns)
    return [
        of_two(
            "decision pass", sorted(ours)[middle] * scale, sorted(its)[middle] * scale,
            "whole run", "ns per row", Wanted(ours_at_most=5.0, ratio_at_least=10.0), rounds,
            slower=False,
        )
    ]  # fmt: skip


@benchmark(
    "thresholds moved over 100,000 rows held, until a chart can draw what they would have made"
)
def what_if(rounds: int) -> list[Result]:
    """From the setting to the outcome, on its thread; rows as they are prepared once a second."""
    part = ticks()[:100_000]
    lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo", **SETTINGS)
    engine = PairEngine(bars=False, **SETTINGS)
    lab.rows.append(engine.update(part))
    asked = lab.what_if

    def moved(entry_z: float) -> float:
        before = asked.outcome
        start = time.perf_counter()
        lab.settings.entry_z = entry_z
        while asked.outcome is before or asked.outcome is None:
            time.sleep(1e-4)
        return (time.perf_counter() - start) * 1e3

    def whole() -> float:
        return seconds(lambda: PairEngine(values=engine.values, bars=False).update(part)) * 1e3

    moved(1.4)
    dragged = [
        [moved(1.5 + 0.05 * step + 0.001 * turn) for step in range(10)] for turn in range(rounds)
    ]
    fresh = []
    for turn in range(rounds):
        asked._held = None  # as after a second
        fresh.append(moved(2.2 + 0.01 * turn))
    peer = statistics.median(whole() for _ in range(rounds))
    wanted = Wanted(ours_at_most=16.0)
    return [
        of_two(name, ours, peer, "whole run", "ms", wanted, rounds, slower=False)
        for name, ours in (
            ("what-if while dragged", statistics.median(t for turn in dragged for t in turn)),
            ("what-if, rows prepared anew", statistics.median(fresh)),
        )
    ]


@benchmark("peak memory of a backtest beyond the prices that it is given, from 1e5 to 1e7 rows")
def backtest_memory(rounds: int) -> list[Result]:
    """Each size in a process of its own; the time a row is printed."""
    results: list[Result] = []
    for rows in (100_000, 1_000_000, 10_000_000):
        command = [sys.executable, "-m", "tests.benchmarks.processes.backtest_memory", str(rows)]
        told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        row_ns = told["seconds"] / rows * NS
        print(f"     {rows:>10,} rows: {row_ns:.0f} ns a row, {told['kept']:.0f} bytes a row kept")
        results.append(
            of_two(
                f"memory, {rows:,} rows", told["bytes"], 200.0, "allowed", "bytes per row",
                Wanted(ours_at_most=200.0), rounds,
            )
        )  # fmt: skip
    return results


@benchmark(
    "peak memory of a backtest of a recording, streamed, beside that of a tenth of the ticks"
)
def backtest_streamed(rounds: int) -> list[Result]:
    """Each size in a process of its own: memory that no file stands behind, in all."""
    module = [sys.executable, "-m", "tests.benchmarks.processes.backtest_streamed"]
    taken: list[float] = []
    for ticks in (100_000, 1_000_000, 10_000_000):
        with tempfile.TemporaryDirectory() as home:
            folder = str(Path(home) / "recording")
            subprocess.run([*module, folder, str(ticks)], check=True)
            done = subprocess.run([*module, folder], capture_output=True, check=True)
        told = json.loads(done.stdout)
        taken.append(told["bytes"] / 1e6)
        tick_ns = told["seconds"] / ticks * NS
        print(f"     {ticks:>10,} ticks: {tick_ns:.0f} ns of CPU a tick, {taken[-1]:.0f} MB")
    return [
        of_two(
            "streamed backtest, 10,000,000 ticks", taken[2], taken[1], "1,000,000", "MB",
            Wanted(ratio_at_most=1.5), rounds,
        )
    ]  # fmt: skip
