"""A scan of a universe beside a loop of statsmodels' coint, timed on some of its pairs."""

from __future__ import annotations

import functools
import resource
import time
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.tsa.stattools import coint

from pairlab import scan
from pairlab.scanning.tiles import every_pair
from tests.benchmarks.harness import Result, Wanted, benchmark, of_two

SAMPLE = 200
ALL: dict[str, Any] = {"choose": False, "n_jobs": -1}


@functools.cache
def walks(symbols: int, rows: int) -> Any:
    """Prices of a universe, shape (symbols, rows)."""
    steps = np.random.default_rng(7).normal(size=(symbols, rows))
    return 1_000.0 + steps.cumsum(axis=1)


def cpu_s(work: Any) -> float:
    """Return the CPU time of all threads: a scan has several."""
    start = time.process_time()
    work()
    return time.process_time() - start


def coint_loop(prices: Any, **options: Any) -> float:
    """Return what a pair costs in a loop."""
    pairs = np.random.default_rng(8).integers(len(prices), size=(SAMPLE, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    total = cpu_s(lambda: [coint(prices[a], prices[b], **options) for a, b in pairs])
    return total / len(pairs)


@benchmark("500 symbols x 1,000 bars, both directions, beside a loop of statsmodels' coint")
def scan_coint(rounds: int) -> list[Result]:
    """Every ordered pair's statistic, with one lag and by Akaike's criterion; and a whole scan."""
    prices = walks(500, 1_000)
    wanted = np.triu(np.ones((500, 500), bool), 1)
    ordered = 500 * 499
    results = []
    for name, lags, choose, options, least in (
        ("scan, one lag", 1, False, {"maxlag": 1, "autolag": None}, 1_000),
        ("scan, lags by AIC", 12, True, {"maxlag": 12, "autolag": "aic"}, 500),
    ):
        run = functools.partial(every_pair, prices, None, wanted, lags, choose=choose, n_jobs=-1)
        run()
        ours, its = [], []
        for _ in range(rounds):
            ours.append(cpu_s(run) / ordered)
            its.append(coint_loop(prices, **options))
        middle = rounds // 2
        results.append(
            of_two(
                name, sorted(ours)[middle] * 1e6, sorted(its)[middle] * 1e6, "coint", "µs per pair",
                Wanted(ratio_at_least=least), rounds, slower=False,
            )
        )  # fmt: skip
    frame = pd.DataFrame(prices.T)
    whole = functools.partial(scan, frame, placebo=0, rows=1_000)
    whole()
    times = sorted(cpu_s(whole) for _ in range(rounds))
    results.append(
        of_two(
            "scan(), 1,000 rows of columns", times[rounds // 2], coint_loop(prices, maxlag=1,
            autolag=None) * ordered, "coint", "s", Wanted(ratio_at_least=50), rounds, slower=False,
        )
    )  # fmt: skip
    return results


@benchmark("5,000 symbols x 2,000 bars, 12.5 million pairs, in tiles; time and memory")
def scan_large(rounds: int) -> list[Result]:
    """Wall clock, once, beside the bare matrix product of the same universe, seven times."""
    prices = walks(5_000, 2_000)
    wanted = np.triu(np.ones((5_000, 5_000), bool), 1)
    every_pair(walks(500, 1_000), None, wanted[:500, :500], 1, **ALL)
    start = time.perf_counter()
    every_pair(prices, None, wanted, 1, **ALL)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(7):
        _ = prices @ prices.T
    floor = time.perf_counter() - start
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        of_two("scan, 5,000 symbols", ours, floor, "seven products", "s",
               Wanted(ratio_at_most=30), 1),
        of_two("scan, 5,000 symbols, memory", held, prices.nbytes / 2**20, "prices", "MiB",
               Wanted(ours_at_most=4_096), 1),
    ]  # fmt: skip
