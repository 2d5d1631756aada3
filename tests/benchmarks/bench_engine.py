"""The engine beside river, a deque with numpy, statsmodels, and its own smallest window."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable

import numpy as np
import pandas as pd

from pairlab.engine import PairEngine
from pairlab.research import analyze
from pairlab.schema import Records
from tests.benchmarks.harness import Result, Wanted, benchmark, compare
from tests.engine import worlds

WINDOW = 50
NS = 1e9


@functools.cache
def market(count: int = 200_000) -> Records:
    """Rounded trades of a cointegrated pair, bursts and silences included."""
    return worlds.trades(61, count)


def everything_on(window: int = WINDOW) -> PairEngine:
    """An engine with z, correlation, OLS, Engle-Granger, half-life, signals and bars at work."""
    return PairEngine(hedge="ols", window=window, require_stationary=True, stop_z=4.0)


def batch(window: int = WINDOW) -> Callable[[], object]:
    """One update of an engine whose window is full."""
    engine, ticks = everything_on(window), market()
    for _ in range(1 + window // len(ticks)):
        engine.update(ticks)
    return lambda: engine.update(ticks)


def last_prices(count: int) -> tuple[list[float], list[float]]:
    """Prices of both legs at each tick."""
    rows = everything_on().update(market())[:count]
    return rows["y"].tolist(), rows["x"].tolist()


def river_loop(count: int = 10_000) -> Callable[[], object]:
    """Only z and correlation, by river's rolling mean, variance and Pearson correlation."""
    from river import stats, utils

    y, x = last_prices(count)

    def run() -> None:
        mean = utils.Rolling(stats.Mean, window_size=WINDOW)
        var = utils.Rolling(stats.Var, window_size=WINDOW)
        correlation = utils.Rolling(stats.PearsonCorr, window_size=WINDOW)
        for a, b in zip(y, x, strict=True):
            spread = a - 25.0 * b
            mean.update(spread)
            var.update(spread)
            correlation.update(a, b)
            deviation = math.sqrt(max(var.get(), 0.0))
            _ = (spread - mean.get()) / deviation if deviation > 0 else math.nan
            try:  # noqa: SIM105  (suppress() would cost river a tenth)
                correlation.get()
            except ValueError:  # its variances fall below zero where prices stand still
                pass

    return run


def deque_loop(count: int = 2_000) -> Callable[[], object]:
    """Only z and correlation, by numpy over deques of 50."""
    y, x = last_prices(count)

    def run() -> None:
        ys: deque[float] = deque(maxlen=WINDOW)
        xs: deque[float] = deque(maxlen=WINDOW)
        with np.errstate(all="ignore"):
            for a, b in zip(y, x, strict=True):
                ys.append(a)
                xs.append(b)
                if len(ys) == WINDOW:
                    wy, wx = np.array(ys), np.array(xs)
                    spread = wy - 25.0 * wx
                    _ = (spread[-1] - spread.mean()) / spread.std(ddof=1)
                    np.corrcoef(wy, wx)

    return run


@benchmark("batch against river doing only z and correlation; and its own rate")
def engine_batch(rounds: int) -> list[Result]:
    """Everything on."""
    n, m = len(market()), 10_000
    against = functools.partial(compare, ours=batch(), rounds=rounds, unit="ns per tick")
    river = against(
        "batch, everything on",
        peer=river_loop(m),
        peer_name="river",
        scale=(NS / n, NS / m),
        wanted=Wanted(ratio_at_least=40, ours_at_most=200),
    )
    numpy = against(
        "batch, everything on",
        peer=deque_loop(),
        peer_name="deque+numpy",
        scale=(NS / n, NS / 2_000),
        wanted=Wanted(ratio_at_least=100),
    )
    return [river, numpy]


@benchmark("one tick per update against river doing only z and correlation")
def engine_single(rounds: int) -> list[Result]:
    """Everything on, the cost of a call included."""
    engine, ticks = everything_on(), market()
    engine.update(ticks)
    ones = [ticks[k : k + 1] for k in range(20_000)]

    def ours() -> None:
        update = engine.update
        for one in ones:
            update(one)

    return [
        compare(
            "one tick per update, everything on",
            ours,
            river_loop(10_000),
            peer_name="river",
            unit="ns per tick",
            scale=(NS / len(ones), NS / 10_000),
            wanted=Wanted(ratio_at_least=4),
            rounds=rounds,
        )
    ]


@benchmark("analyze on two Series against river doing only z and correlation")
def analyze_series(rounds: int) -> list[Result]:
    """Everything on, pandas' part included."""
    y, x = last_prices(150_000)
    index = pd.date_range("2024-08-08", periods=len(y), freq="s")
    a, b = pd.Series(y, index), pd.Series(x, index)
    return [
        compare(
            "analyze, everything on",
            lambda: analyze(a, b, hedge="ols", window=WINDOW),
            river_loop(10_000),
            peer_name="river",
            unit="ns per row",
            scale=(NS / len(y), NS / 10_000),
            wanted=Wanted(ratio_at_least=20),
            rounds=rounds,
        )
    ]


@benchmark("a rolling Engle-Granger p-value against statsmodels' coint on each row")
def engle_granger(rounds: int) -> list[Result]:
    """All of a row's work of ours against the one p-value of theirs."""
    from statsmodels.tsa.stattools import coint

    y, x = (np.array(leg) for leg in last_prices(20_000))
    ends = range(WINDOW, len(y), 200)

    def theirs() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for end in ends:
                coint(y[end - WINDOW : end], x[end - WINDOW : end], maxlag=1, autolag=None)

    return [
        compare(
            "Engle-Granger p-value, rolling",
            batch(),
            theirs,
            peer_name="statsmodels",
            unit="ns per row",
            scale=(NS / len(market()), NS / len(ends)),
            wanted=Wanted(ratio_at_least=1000),
            rounds=rounds,
        )
    ]


@benchmark("window 50,000 against window 50, for each hedge")
def growth(rounds: int) -> list[Result]:
    """The cost of an observation must not depend on the window."""
    results = []
    n = len(market())
    for hedge in ("fixed", "ols", "kalman"):
        sides = []
        for window in (50_000, WINDOW):
            engine = PairEngine(hedge=hedge, hedge_ratio=25.0, window=window)
            engine.update(market())
            sides.append(functools.partial(engine.update, market()))
        results.append(
            compare(
                f"window 50,000, {hedge}",
                *sides,
                peer_name="window 50",
                unit="ns per tick",
                scale=(NS / n, NS / n),
                wanted=Wanted(ratio_at_most=1.3),
                rounds=rounds,
                slower=True,
            )
        )
    return results


@benchmark("import pairlab against import pandas, ipywidgets, bqplot")
def import_time(rounds: int) -> list[Result]:
    """In fresh interpreters, caches warm."""
    return [
        compare(
            "import pairlab",
            functools.partial(imported, "pairlab"),
            functools.partial(imported, "pandas, ipywidgets, bqplot"),
            peer_name="its toolkits",
            unit="s",
            wanted=Wanted(ratio_at_most=1.5, ours_at_most=1.0),
            rounds=max(rounds, 7),
            slower=True,
            clock=lambda run: float(str(run())),
        )
    ]


def imported(modules: str) -> float:
    """Return the seconds that an import takes in an interpreter of its own."""
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)
