"""Would it have paid? The live engine's decisions on past prices, with fills and costs."""

from pairlab.backtesting.checks import check_lookahead, check_warmup
from pairlab.backtesting.costs import Costs, LotRule
from pairlab.backtesting.metrics import Metrics
from pairlab.backtesting.recorded.reconcile import Reconciliation, reconcile
from pairlab.backtesting.result import BacktestResult
from pairlab.backtesting.run import backtest
from pairlab.backtesting.sweeping.sweep import SweepResult, sweep
from pairlab.backtesting.sweeping.walk_forward import WalkForwardResult, walk_forward

__all__ = [
    "BacktestResult",
    "Costs",
    "LotRule",
    "Metrics",
    "Reconciliation",
    "SweepResult",
    "WalkForwardResult",
    "backtest",
    "check_lookahead",
    "check_warmup",
    "reconcile",
    "sweep",
    "walk_forward",
]
