"""A pair trade with vectorbt, to be run by an interpreter that has it.

``python vectorbt_pair.py PRICES.npy``; a line of prices of y, a line of x. It does less than ours:
a fixed ratio, no test of stationarity, fills at the close that it decided on. It prints the engines
that it has and what the first trade of each took, as JSON; then, for each line that it reads (the
name of an engine), how long one more took. All are CPU times in seconds.
"""

import contextlib
import json
import sys
import time

import numpy as np
import pandas as pd
import vectorbt as vbt

WINDOW, ENTRY, EXIT, RATIO, FEE = 50, 2.0, 0.5, 25.0, 4e-4


def trade(y, x, engine):
    spread = pd.Series(y - RATIO * x)
    rolled = spread.vbt
    z = (spread - rolled.rolling_mean(WINDOW)) / rolled.rolling_std(WINDOW, ddof=1)
    z = z.to_numpy()
    long, short = z <= -ENTRY, z >= ENTRY
    long_out, short_out = z >= -EXIT, z <= EXIT
    close = np.column_stack([y, x])
    pf = vbt.Portfolio.from_signals(
        close,
        entries=np.column_stack([long, short]), exits=np.column_stack([long_out, short_out]),
        short_entries=np.column_stack([short, long]),
        short_exits=np.column_stack([short_out, long_out]),
        size=np.array([[1.0, RATIO]]), fees=FEE, init_cash=1e7, cash_sharing=True, group_by=True,
        **({} if engine is None else {"engine": engine}),
    )  # fmt: skip
    return pf.trades.records, pf.value()


def timed(y, x):
    start = time.thread_time()
    trade(y, x, None)
    return time.thread_time() - start


def main():
    y, x = np.load(sys.argv[1])
    first = {}
    for engine in ("numba", "rust"):
        vbt.settings["engine"] = engine
        with contextlib.suppress(ImportError, ValueError):  # it has no such engine
            first[engine] = timed(y, x)
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        vbt.settings["engine"] = line.strip()
        print(timed(y, x), flush=True)


main()
