"""Prices to try the engine on, by seed."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd

from pairlab.schema import TICK


def random_walks(seed, n, *, x0=3000.0, step=0.5):
    r = np.random.default_rng(seed)
    x = x0 + np.cumsum(r.normal(0, step, n))
    return 25 * x0 + np.cumsum(r.normal(0, 25 * step, n)), x


def ou(r, n, half_life, sd):
    phi = 0.5 ** (1 / half_life)
    noise = r.normal(0, sd * np.sqrt(1 - phi * phi), n)
    s = np.empty(n)
    s[0] = r.normal(0, sd)
    for t in range(1, n):
        s[t] = phi * s[t - 1] + noise[t]
    return s


def cointegrated(seed, n, *, noise=2.0, half_life=7.0, beta=25.0, x0=3000.0, step=0.5):
    r = np.random.default_rng(seed)
    x = x0 + np.cumsum(r.normal(0, step, n))
    return 100 + beta * x + ou(r, n, half_life, noise), x


def moving_ratio(seed, n=20_000):
    """y, x, the ratio between them, which wanders, and the spread."""
    r = np.random.default_rng(seed)
    x = 3000 + np.cumsum(r.normal(0, 0.5, n))
    beta = 25 * np.exp(np.cumsum(r.normal(0, 1e-6, n)))
    s = ou(r, n, 20, 2.0)
    return 10_000 + beta * x + s, x, beta, s


def trades(seed, n, *, burst=0.3, silence=0.001):
    """Ticks of a rounded cointegrated pair: bursts, silences, ties, times that step back."""
    r = np.random.default_rng(seed)
    y, x = cointegrated(seed, n, noise=8.0, half_life=15, step=0.25)
    ticks = np.zeros(n, TICK)
    ticks["leg"] = r.random(n) < np.where(np.arange(n) // 400 % 3 == 0, 0.1, 0.6)
    ticks["price"] = np.where(ticks["leg"] == 0, np.round(y, 0), np.round(x, 1))
    gaps = np.where(r.random(n) < burst, 0, r.exponential(2e8, n))
    gaps[r.random(n) < silence] = 4e10
    back = np.where(r.random(n) < 0.02, r.integers(0, 1_500_000_000, n), 0)
    ticks["time_ns"] = 1_723_161_256_000_000_000 + np.cumsum(gaps).astype(np.int64) - back
    ticks["received_ns"] = ticks["time_ns"] + 7_000_000
    ticks["id"] = np.arange(n)
    ticks["quantity"] = r.exponential(1.0, n).round(3)
    ticks["buyer_is_maker"] = r.random(n) < 0.5
    return ticks


def recorded_trades(folder):
    """BTCUSDT and ETHUSDT trades of 2024-08-08 as ticks, in the order received."""
    found = []
    for path in sorted((folder / "binance-usdm-trade-20240808").glob("*.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                if '"e":"trade"' not in line:
                    continue
                received, frame = line.split(" ", 1)
                d = json.loads(frame)["data"]
                leg = 0 if d["s"] == "BTCUSDT" else 1
                price, quantity = float(d["p"]), float(d["q"])
                found.append(
                    (d["T"] * 1_000_000, int(received), d["t"], leg, price, quantity, d["m"])
                )
    found.sort(key=lambda tick: tick[1])
    return np.array(found, TICK)


def crude(folder):
    """Monthly Brent and WTI prices, where there are both."""
    frame = pd.read_csv(folder / "crude" / "crude.csv.gz", index_col=0, parse_dates=True)
    return frame.dropna()
