"""No edge is found where there is none, and a look-ahead of one row is found at once."""

import numpy as np
import pandas as pd
import pytest

from pairlab import Costs, backtest
from pairlab.backtesting.accounting import book_of
from pairlab.backtesting.fills import fill
from pairlab.backtesting.inputs import source_of
from pairlab.backtesting.market import market_of
from pairlab.backtesting.run import run_of

SEEDS = 400
ROWS = 400
SETTINGS = {
    "window": 20, "hedge": "ols", "price_scale": "log", "entry_z": 1.5, "min_correlation": -1.0,
    "max_leg_age_s": 1e6,
}  # fmt: skip


def walk(r, world):
    """Log returns of two legs without any relation that could be traded."""
    noise = r.normal(0.0, 1e-3, (2, ROWS))
    if world == "garch":
        for leg in noise:
            variance = 1e-6
            for k in range(ROWS):
                leg[k] *= np.sqrt(variance) / 1e-3
                variance = 5e-8 + 0.1 * leg[k] ** 2 + 0.85 * variance
    elif world == "common factor":
        noise += r.normal(0.0, 1e-3, ROWS)
    return np.exp(np.cumsum(noise, axis=1))


def gross(seed, world):
    """Profit before costs over one world, that of a look-ahead of one row, and trades."""
    y, x = walk(np.random.default_rng([seed, 7]), world) * [[60_000.0], [3_000.0]]
    minutes = pd.date_range("2024-08-08", periods=ROWS, freq="min", tz="UTC")
    data = pd.Series(y, minutes), pd.Series(x, minutes)
    market = market_of(run_of(source_of(data, None), None, None, SETTINGS))
    made = []
    for ahead in (0, 2):  # filled one row after the decision: two too early is the row before it
        market.events["row"] -= ahead
        fills, _ = fill(market, 10_000.0, 0, 10**15, None)
        book = book_of(market, fills, 10_000.0, 0.0, 0.0, None, None)
        made.append(float((book.y.gross + book.x.gross).sum()))
    return *made, len(fills)


def t_statistic(values):
    return np.mean(values) / (np.std(values, ddof=1) / np.sqrt(len(values)))


@pytest.mark.slow
@pytest.mark.parametrize("world", ["walks", "garch", "common factor"])
def test_noise_pays_nothing_and_a_look_ahead_of_one_row_shows(world):
    honest, leaky, trades = zip(*(gross(seed, world) for seed in range(SEEDS)), strict=True)
    assert sum(trades) > 10 * SEEDS
    assert abs(t_statistic(honest)) < 3.0
    assert abs(t_statistic(leaky)) > 10.0


@pytest.mark.slow
def test_on_noise_a_trade_loses_its_costs():
    nets, costs = [], []
    for seed in range(60):
        y, x = walk(np.random.default_rng([seed, 7]), "walks") * [[60_000.0], [3_000.0]]
        minutes = pd.date_range("2024-08-08", periods=ROWS, freq="min", tz="UTC")
        data = pd.Series(y, minutes), pd.Series(x, minutes)
        trades = backtest(data, costs=Costs(4.0, 1.0), **SETTINGS).trades
        nets += trades["net"].tolist()
        costs += (trades["fees"] + trades["slippage"]).tolist()
    assert np.mean(costs) > 10.0
    assert abs(t_statistic(np.array(nets) + np.array(costs))) < 3.0
