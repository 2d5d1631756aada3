"""Peak memory and time of one backtest of so many rows, in a process of its own.

``python -m tests.benchmarks.processes.backtest_memory ROWS``: prints bytes a row beyond the prices
that it was given, and seconds of CPU time, as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pairlab import backtest

_STATUS = Path("/proc/self/status")


def _kib(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def _prices(rows: int) -> tuple[pd.Series, pd.Series]:
    """Return a cointegrated pair of rounded prices, a second apart."""
    random = np.random.default_rng(5)
    x = 3_000.0 + np.cumsum(random.normal(0.0, 0.05, rows))
    index = pd.date_range("2000-01-01", periods=rows, freq="s", tz="UTC")
    noise = random.normal(0.0, 1.0, rows)
    for _ in range(3):  # it reverts within some rows
        noise[1:] += 0.5 * noise[:-1]
    return pd.Series((25.0 * x + 4.0 * noise).round(1), index), pd.Series(x.round(2), index)


def main() -> None:
    rows = int(sys.argv[1])
    small = _prices(5_000)
    backtest(small, hedge="ols", window=50)  # compiled, imported
    prices = _prices(rows)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, start = _kib("VmRSS"), time.process_time()
    result = backtest(prices, hedge="ols", window=50, max_silence=None)
    took = time.process_time() - start
    peak, kept = _kib("VmHWM") - before, _kib("VmRSS") - before
    print(json.dumps({
        "bytes": peak * 1024 / rows, "kept": kept * 1024 / rows, "seconds": took,
        "trades": len(result.trades),
    }))  # fmt: skip


main()
