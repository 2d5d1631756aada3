"""`walk_forward`: settings chosen on the past, traded on what comes next, again and again."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.backtesting.costs import Costs
from pairlab.backtesting.fills import ENDED
from pairlab.backtesting.inputs import Source, source_of
from pairlab.backtesting.market import Market, market_of
from pairlab.backtesting.metrics import Metrics, metrics_of
from pairlab.backtesting.result import BacktestResult
from pairlab.backtesting.run import daily_of, evaluate, run_of
from pairlab.backtesting.sweeping.grid import axes_of
from pairlab.backtesting.sweeping.jobs import Trading
from pairlab.backtesting.sweeping.spans import Times, between, duration_ns, times_in
from pairlab.backtesting.sweeping.sweep import SweepPlan, SweepResult, swept
from pairlab.errors import DataError, SettingError
from pairlab.research.silence import MaxSilence
from pairlab.schema import NS_PER_S, TIMEFRAMES_NS, AlertKind, Records
from pairlab.settings import SETTINGS, SettingKwargs

__all__ = ["WalkForwardResult", "walk_forward"]

_MAX_FOLDS: Final = 10_000
_TRIES: Final = 8
_KALMAN_HALF_LIVES: Final = 8
"""A Kalman hedge has forgotten where it began by then, but for 1/256."""


@dataclass(frozen=True, repr=False)
class WalkForwardResult:
    """What settings would have made that were always chosen on the past alone.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row per fold: train_start, train_end, test_start, test_end, embargo_s; the settings that
        were chosen (missing where none traded in training); train_profit, n_trials,
        deflated_sharpe and pbo of the training; trades and net_profit of the test.
    equity : pandas.DataFrame
        Out of sample: columns equity and fold at every row of the tests. A position that is open at
        a test's end is held until its own exit, beside those of the next fold.
    daily : pandas.Series
        Equity at the end of every UTC day.
    trades, missed : pandas.DataFrame
        As those of `BacktestResult`, out of sample, with the column fold.
    metrics : Metrics
        Out of sample.
    objective : str
        What was largest in training.
    n_trials : int
        Sets that were tried, over all folds.
    capital : float
        Notional of y of every trade, and equity at the start.
    """

    frame: pd.DataFrame
    equity: pd.DataFrame
    daily: pd.Series[float]
    trades: pd.DataFrame
    missed: pd.DataFrame
    metrics: Metrics
    objective: str
    n_trials: int
    capital: float

    def __repr__(self) -> str:
        """Say what came of it out of sample, and beside it what training had promised."""
        frame = self.frame
        traded = int((frame["trades"] > 0).sum())
        tried = f"{len(frame):,} folds, {self.n_trials:,} sets tried, chosen by {self.objective}"
        lines = [f"Walk-forward: {tried}", "  no row of a test has a full window"]
        if len(self.equity):
            first, last = (f"{self.equity.index[at]:%Y-%m-%d %H:%M}" for at in (0, -1))
            lines[1] = f"  out of sample {first} to {last} UTC, {traded:,} folds traded"
        lines += [f"  {label:40} {text:>20}" for label, text in self.metrics.lines()]
        promised = frame["train_profit"].mean()
        if np.isfinite(promised):
            lines.append(
                f"  note: the chosen sets made {promised:,.2f} in training on average, and "
                f"{frame['net_profit'].mean():,.2f} in the test after it"
            )
        return "\n".join(lines)


class _Fold(NamedTuple):
    """Times of one fold, ns since 1970 UTC; a test ends before the next one begins."""

    train_ns: int
    border_ns: int
    end_ns: int


def walk_forward(
    data: object,
    grid: Mapping[str, Iterable[object]],
    *,
    train: str | float = "7D",
    test: str | float = "1D",
    embargo: str | float | None = None,
    objective: str = "net_profit",
    constraint: Callable[[dict[str, object]], bool] | None = None,
    max_tries: int | None = None,
    seed: int = 0,
    n_jobs: int = -1,
    client: object = None,
    pair: tuple[str, str] | None = None,
    costs: Costs | None = None,
    capital: float = 10_000.0,
    latency_s: float = 0.0,
    max_wait_s: float | None = None,
    lots: object = None,
    mark: object = None,
    label: str | None = None,
    max_silence: MaxSilence = "auto",
    **settings: Unpack[SettingKwargs],
) -> WalkForwardResult:
    """Choose settings on a stretch of time, trade them on the next, and go on: out of sample.

    Each fold is a `sweep` of the training and a backtest of the test, with an engine of its own for
    each, warmed up within the fold. Between training and test lies the embargo: no price of it is
    traded in training, and a position that is open where training ends is purged, so that no
    training trade knows of the test. The engine of the test is warmed up in the embargo.

    Parameters
    ----------
    data, pair, costs, capital, latency_s, max_wait_s, lots, mark, label, max_silence
        As `pairlab.backtest` takes them.
    grid, objective, constraint, max_tries, seed, n_jobs, client
        As `pairlab.sweep` takes them.
    train, test : str or float
        How long each training (embargo included) and each test is: ``"7D"``, ``"12h"``, or seconds.
    embargo : str or float, optional
        At least the time of the largest window (and of eight half-lives of a Kalman hedge) and the
        longest hold: the setting ``max_hold_s`` of the chosen set, or what it held longest in
        training. By default exactly that.
    **settings
        Settings of all sets, as for `PairLab`.

    Returns
    -------
    WalkForwardResult
        What was chosen in each fold, and the curve of the tests alone.

    Raises
    ------
    SettingError
        As `pairlab.sweep`; for durations that are none, and an embargo that is too short.
    DataError
        As `pairlab.sweep`; for data that end before the first test, and if no set
        traded in any training.
    """
    train_ns, test_ns = duration_ns("train", train), duration_ns("test", test)
    embargo_ns = None if embargo is None else duration_ns("embargo", embargo)
    source = source_of(data, pair)
    terms: dict[str, Any] = {
        "capital": capital, "latency_s": latency_s, "max_wait_s": max_wait_s, "lots": lots,
        "mark": mark,
    }  # fmt: skip
    costs = Costs() if costs is None else costs
    trading = Trading(costs, terms, label, max_silence, dict(settings), purged=True)
    plan = SweepPlan(objective, constraint, max_tries, seed, n_jobs, progress=False)
    times = times_in(source.given)
    folds = _folds(times, train_ns, test_ns)
    rows = _warm_rows(source, trading, axes_of(grid))
    found: list[dict[str, object]] = []
    results: list[tuple[_Fold, BacktestResult | None]] = []
    for fold in folds:
        warm_ns = times.before(fold.border_ns, *rows)
        chosen, gap_ns = _train(source, trading, grid, plan, fold, warm_ns, embargo_ns, client)
        result = None
        if chosen.best:
            result = _tested(source, trading, chosen.best, fold, fold.border_ns - gap_ns, times)
        results.append((fold, result))
        found.append(_told(fold, gap_ns, chosen, result))
    if not any(result is not None for _, result in results):
        raise DataError("no set of the grid traded in any training: there is nothing to test")
    return _joined(found, results, list(axes_of(grid)), objective, float(capital))


def _folds(times: Times, train_ns: int, test_ns: int) -> list[_Fold]:
    count = -(-(times.last_ns + 1 - times.first_ns - train_ns) // test_ns)
    if count < 1:
        length = pd.Timedelta(times.last_ns - times.first_ns)
        raise DataError(
            f"the data span {length}: expected more than train = {pd.Timedelta(train_ns)}"
        )
    if count > _MAX_FOLDS:
        raise SettingError(
            "test", str(pd.Timedelta(test_ns)), f"{count:,} folds: expected up to {_MAX_FOLDS:,}"
        )
    borders = [times.first_ns + train_ns + k * test_ns for k in range(count)]
    return [_Fold(border - train_ns, border, border + test_ns) for border in borders]


def _warm_rows(
    source: Source, trading: Trading, axes: Mapping[str, list[object]]
) -> tuple[int, str]:
    """Return how many rows the slowest set needs before it decides, and the longest timeframe."""
    fixed = {**source.settings, **trading.settings}

    def of(name: str) -> list[Any]:
        default = [fixed.get(name, SETTINGS[name].default)]
        return list(axes.get(name, default))

    rows = max(of("window"))
    if "kalman" in [str(hedge).lower() for hedge in of("hedge")]:
        rows += math.ceil(_KALMAN_HALF_LIVES * max(of("kalman_half_life")))
    return rows, max(of("timeframe"), key=TIMEFRAMES_NS.__getitem__)


def _train(
    source: Source,
    trading: Trading,
    grid: Mapping[str, Iterable[object]],
    plan: SweepPlan,
    fold: _Fold,
    warm_ns: int,
    embargo_ns: int | None,
    client: object,
) -> tuple[SweepResult, int]:
    """Choose a set on what lies before the embargo; return it, and how long the embargo is."""
    gap_ns = warm_ns if embargo_ns is None else embargo_ns
    for _ in range(_TRIES):
        if gap_ns >= fold.border_ns - fold.train_ns:
            raise DataError(
                f"the embargo before {pd.Timestamp(fold.border_ns, tz='UTC')} is "
                f"{pd.Timedelta(gap_ns)} (window and longest hold): expected train to be longer"
            )
        part = between(source, fold.train_ns, fold.border_ns - gap_ns)
        chosen = swept(part, None, grid, plan, trading, client)
        if not chosen.best:
            return chosen, gap_ns
        least_ns = warm_ns + _longest_hold_ns(part, trading, chosen.best)
        if gap_ns >= least_ns:
            return chosen, gap_ns
        if embargo_ns is not None:
            raise SettingError(
                "embargo", str(pd.Timedelta(embargo_ns)),
                f"expected at least {pd.Timedelta(least_ns)}: window and longest hold",
            )  # fmt: skip
        gap_ns = least_ns
    return chosen, gap_ns


def _longest_hold_ns(part: Source, trading: Trading, point: dict[str, object]) -> int:
    """Return how long the chosen set may hold a position, or has held one in training."""
    result = trading.backtest(part, point, None)
    longest = result.settings.max_hold_s
    if longest is None:
        longest = float(result.trades["held_s"].max()) if len(result.trades) else 0.0
    return round(longest * NS_PER_S)


def _tested(
    source: Source,
    trading: Trading,
    point: dict[str, object],
    fold: _Fold,
    start_ns: int,
    times: Times,
) -> BacktestResult:
    """Trade a set in the test; what is open at its end goes on until its own exit."""
    tail_ns = fold.end_ns - fold.border_ns
    until_ns = fold.end_ns
    while True:
        part = between(source, start_ns, until_ns)
        past = run_of(part, trading.label, trading.max_silence, {**trading.settings, **point})
        market = _entered_within(market_of(past), fold)
        result = evaluate(
            part,
            past,
            market,
            functools.partial(_itself, market.rows),
            trading.costs,
            **trading.terms,
            selected_on=None,
        )
        unfilled = (result.trades["reason"] == "open").any() or (
            result.missed["reason"] == ENDED
        ).any()
        if not unfilled or until_ns > times.last_ns:
            return result
        until_ns += tail_ns
        tail_ns *= 2


def _itself(rows: Records) -> Records:
    return rows


def _entered_within(market: Market, fold: _Fold) -> Market:
    """Return a market with the positions alone that are entered in the test."""
    events, kept, is_held = market.events, [], False
    time_ns = market.time_ns[events["row"]]
    for at, kind in enumerate(events["kind"]):
        if kind == int(AlertKind.ENTRY):
            is_held = bool(fold.border_ns <= time_ns[at] < fold.end_ns)
        elif kind not in (int(AlertKind.EXIT), int(AlertKind.STOP)):
            continue
        if is_held:
            kept.append(at)
    return replace(market, events=events[kept])


def _told(
    fold: _Fold, gap_ns: int, chosen: SweepResult, result: BacktestResult | None
) -> dict[str, object]:
    """Return a fold's row of the frame."""
    start, border, end = (pd.Timestamp(ns, tz="UTC") for ns in fold)
    profit = np.nan
    if chosen.best:
        ranked = chosen.frame[chosen.objective].where(chosen.frame["trades"] > 0)
        at = int(ranked.to_numpy(np.float64, na_value=-np.inf).argmax())
        profit = float(chosen.frame["net_profit"].iloc[at])
    return {
        "train_start": start,
        "train_end": border - pd.Timedelta(gap_ns),
        "test_start": border,
        "test_end": end,
        "embargo_s": gap_ns / NS_PER_S,
        **chosen.best,
        "train_profit": profit,
        "n_trials": chosen.n_trials,
        "deflated_sharpe": chosen.deflated_sharpe,
        "pbo": chosen.pbo,
        "trades": 0 if result is None else len(result.trades),
        "net_profit": 0.0 if result is None else result.metrics.net_profit,
    }


def _joined(
    told: list[dict[str, object]],
    results: list[tuple[_Fold, BacktestResult | None]],
    names: list[str],
    objective: str,
    capital: float,
) -> WalkForwardResult:
    """Return the curve of all tests, and the figures of it."""
    columns = [
        "train_start", "train_end", "test_start", "test_end", "embargo_s", *names, "train_profit",
        "n_trials", "deflated_sharpe", "pbo", "trades", "net_profit",
    ]  # fmt: skip
    frame = pd.DataFrame(told, columns=columns)
    frame.index.name = "fold"
    shown = [(at, fold, result) for at, (fold, result) in enumerate(results) if result is not None]
    curves = [
        (result.equity.index.asi8, result.equity["equity"].to_numpy() - capital)  # type: ignore[attr-defined]
        for _, _, result in shown
    ]
    times, equity, number = [], [], []
    for k, (at, fold, _) in enumerate(shown):
        own_ns, profit = curves[k]
        until = shown[k + 1][1].border_ns if k + 1 < len(shown) else np.iinfo(np.int64).max
        begin, end = np.searchsorted(own_ns, (fold.border_ns, until))
        within = own_ns[begin:end]
        total = capital + profit[begin:end]
        for earlier in curves[:k]:  # what they held at their end may still be open
            total = total + _level(*earlier, within)
        times.append(within)
        equity.append(total)
        number.append(np.full(len(within), at))
    index = pd.DatetimeIndex(
        np.concatenate([np.zeros(0, np.int64), *times]).view("M8[ns]"), name="time"
    ).tz_localize("UTC")
    curve = pd.DataFrame(
        {
            "equity": np.concatenate([np.zeros(0), *equity]),
            "fold": np.concatenate([np.zeros(0, np.int64), *number]),
        },
        index=index,
    )
    trades = _stacked([result.trades.assign(fold=at) for at, _, result in shown])
    missed = _stacked([result.missed.assign(fold=at) for at, _, result in shown])
    daily = daily_of(curve["equity"])
    turnover = 0.0
    for leg in "yx" if len(trades) else "":
        prices = trades[f"{leg}_entry_price"] + trades[f"{leg}_exit_price"].fillna(0.0)
        turnover += float((trades[f"{leg}_quantity"].abs() * prices).sum())
    return WalkForwardResult(
        frame=frame,
        equity=curve,
        daily=daily,
        trades=trades,
        missed=missed,
        metrics=metrics_of(curve["equity"], daily, trades, capital, len(missed), turnover),
        objective=objective,
        n_trials=int(frame["n_trials"].sum()),
        capital=capital,
    )


def _level(
    time_ns: NDArray[np.int64], profit: NDArray[np.float64], at_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return a profit at times: the last one known; 0 before the first."""
    known = np.concatenate([[0.0], profit])
    level: NDArray[np.float64] = known[np.searchsorted(time_ns, at_ns, side="right")]
    return level


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of all folds as one."""
    held = [frame for frame in frames if len(frame)]
    return pd.concat(held) if held else frames[0]
