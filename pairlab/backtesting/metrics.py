"""The figures of a backtest, each with its formula."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.formatting import MISSING, number

__all__ = ["DAYS_A_YEAR", "LEAST_DAYS", "METRIC_TEXT", "Metrics", "metrics_of"]

DAYS_A_YEAR: Final = 365
"""Daily returns in a year: these markets trade every day."""

LEAST_DAYS: Final = 30
"""Days below which nothing is annualised."""

_YEAR_S: Final = 365.25 * 86_400.0


def _metric(label: str, unit: str, text: str) -> Any:
    return field(metadata={"label": label, "unit": unit, "text": text})


@dataclass(frozen=True)
class Metrics:
    """Figures of a backtest; NaN (shown as –) where one is not defined.

    r are the daily returns, of UTC days, days without a row included: equity at a day's end over
    that at the end of the day before (the first: over the capital), less 1; d is their number. What
    is annualised is NaN below 30 days. `METRIC_TEXT` has each name's formula; so has `describe`.

    Compared with empyrical (``annualization=365``) and quantstats (``periods=365``): the same are
    `cumulative_return`, `annual_volatility`, `sharpe`, `sortino`, `var_95`, `cvar_95` (of
    empyrical), `skew`, `kurtosis` (of quantstats), and `max_drawdown` of the returns per row. Other
    by definition: `cagr` counts the time that passed, in years of 365.25 days (they count days of
    returns); `calmar` uses it, and the drawdown of all rows; quantstats' Ulcer index divides by
    d − 1, its value at risk is that of a normal distribution, and its win rate, profit factor and
    payoff ratio are of days, not of trades.
    """

    cumulative_return: float = _metric("cumulative return", "%", "final equity / capital − 1.")
    net_profit: float = _metric("net profit", "quote", "final equity − capital.")
    cagr: float = _metric(
        "CAGR (years of 365.25 days)", "%",
        "(final equity / capital)^(1 / years) − 1, years = elapsed time / 365.25 days.",
    )  # fmt: skip
    annual_volatility: float = _metric(
        "annual volatility (daily × √365)", "%", "std(r, ddof 1) × √365."
    )
    sharpe: float = _metric(
        "Sharpe ratio (daily × √365)", "", "mean(r) / std(r, ddof 1) × √365; risk-free rate 0."
    )
    sortino: float = _metric(
        "Sortino ratio (daily × √365)", "", "mean(r) / √mean(min(r, 0)²) × √365."
    )
    calmar: float = _metric("Calmar ratio", "", "cagr / −max_drawdown.")
    max_drawdown: float = _metric(
        "maximum drawdown", "%",
        "least of equity / max(capital, equity so far) − 1, over all rows; 0 or below.",
    )  # fmt: skip
    max_drawdown_days: float = _metric(
        "longest drawdown",
        "days",
        "longest time from a peak until equity is back at it, or the end.",
    )
    ulcer_index: float = _metric(
        "Ulcer index", "%", "√mean(drawdown²), drawdowns at the ends of days."
    )
    var_95: float = _metric(
        "value at risk 95 %, daily", "%", "5th percentile of r (linear between observations)."
    )
    cvar_95: float = _metric(
        "conditional value at risk 95 %, daily", "%",
        "mean of the ⌊0.05 × (d − 1)⌋ + 1 lowest r.",
    )  # fmt: skip
    skew: float = _metric(
        "skewness of daily returns", "", "adjusted Fisher-Pearson coefficient of r (as pandas)."
    )
    kurtosis: float = _metric(
        "excess kurtosis of daily returns", "", "unbiased excess kurtosis of r (as pandas)."
    )
    trades: int = _metric("trades", "", "closed trades; one still open at the end is not counted.")
    win_rate: float = _metric("win rate", "%", "share of closed trades with net > 0.")
    profit_factor: float = _metric(
        "profit factor", "", "Σ net of winners / −Σ net of losers; NaN without losers."
    )
    payoff_ratio: float = _metric("payoff ratio", "", "mean net of winners / −mean net of losers.")
    expectancy: float = _metric("expectancy", "quote", "mean net of closed trades.")
    exposure: float = _metric(
        "exposure", "%", "share of the time in which a trade's first fill to its last was open."
    )
    turnover: float = _metric(
        "turnover", "× capital", "Σ notional of all fills, both legs / capital."
    )
    average_hold_s: float = _metric(
        "average holding time", "s", "mean time from first entry fill to last exit fill."
    )
    longest_hold_s: float = _metric("longest holding time", "s", "longest of the same.")
    gross: float = _metric(
        "gross profit", "quote", "Σ gross of all trades, at the market's prices."
    )
    fees: float = _metric("fees", "quote", "Σ fee_bps / 10,000 × notional of every fill.")
    slippage: float = _metric(
        "slippage", "quote", "Σ quantity × |price paid − price traded| of every fill."
    )
    funding: float = _metric(
        "funding", "quote", "Σ −quantity × mark × rate at each payment; received is above 0."
    )
    mae: float = _metric(
        "average adverse excursion", "quote", "mean over trades of the worst profit before costs."
    )
    mfe: float = _metric(
        "average favourable excursion", "quote", "mean over trades of the best profit before costs."
    )
    half_life_ratio: float = _metric(
        "holding time / half-life", "", "median of rows held / half-life at entry, both in rows."
    )
    break_even_z: float = _metric(
        "break-even z", "",
        "median over trades of |entry_z| × (fees + slippage − funding) / edge: the |z| from which "
        "a full reversion would have paid its costs.",
    )  # fmt: skip
    missed_entries: int = _metric("missed entries", "", "entries that were decided and not filled.")
    leg_gap_s: float = _metric(
        "time between legs", "s", "mean time between the fills of y and x, entries and exits."
    )
    leg_slip_bps: float = _metric(
        "slip between legs", "bps",
        "mean of (entry_drift + exit_drift) / notional of y at entry: how far prices moved against "
        "the trade from decisions to fills.",
    )  # fmt: skip

    def describe(self) -> pd.DataFrame:
        """Return label, value, unit and formula of every figure, indexed by name."""
        rows = {
            f.name: (f.metadata["label"], getattr(self, f.name), f.metadata["unit"],
                     f.metadata["text"])
            for f in fields(self)
        }  # fmt: skip
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=["label", "value", "unit", "formula"]
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield label and value of every figure as text."""
        for f in fields(self):
            value, unit = getattr(self, f.name), f.metadata["unit"]
            if isinstance(value, int):
                text = f"{value:,}"
            elif not math.isfinite(value):
                text = MISSING
            elif unit == "%":
                text = f"{number(100.0 * value)} %"
            else:
                text = number(value) + (f" {unit}" if unit else "")
            yield f.metadata["label"], text


METRIC_TEXT: Final = {f.name: f.metadata["text"] for f in fields(Metrics)}
"""Each figure's formula."""

_UNITS: Final = {f.name: f.metadata["unit"] for f in fields(Metrics)}

Metrics.__doc__ = "\n".join(
    [
        *(Metrics.__doc__ or "").rstrip().splitlines(),
        "",
        "    Attributes",
        "    ----------",
        *(
            f"    {name} : {'int' if name in ('trades', 'missed_entries') else 'float'}"
            f"\n        {text}" + (f" Unit: {_UNITS[name]}." if _UNITS[name] else "")
            for name, text in METRIC_TEXT.items()
        ),
        "    ",
    ]
)


_COLUMNS: Final = (
    "net", "held_s", "rows", "half_life", "fees", "slippage", "funding", "entry_z", "edge",
    "y_quantity", "y_entry_price", "entry_leg_gap_s", "exit_leg_gap_s", "entry_drift", "exit_drift",
    "mae", "mfe",
)  # fmt: skip
"""Of the trades, from which figures are computed as arrays."""


def metrics_of(
    equity: pd.Series[float],
    daily: pd.Series[float],
    trades: pd.DataFrame,
    capital: float,
    missed: int,
    turnover: float,
) -> Metrics:
    """Compute every figure.

    Parameters
    ----------
    equity : Series
        At every row.
    daily : Series
        At the end of every UTC day.
    trades : DataFrame
        As `BacktestResult.trades`.
    capital : float
        At the start.
    missed : int
        Entries that were not filled.
    turnover : float
        Notional of all fills.
    """
    values = equity.to_numpy()
    final = float(values[-1]) if len(values) else capital
    elapsed_s = (equity.index[-1] - equity.index[0]).total_seconds() if len(values) else 0.0
    ends = np.concatenate([[capital], daily.to_numpy()])
    with np.errstate(divide="ignore", invalid="ignore"):
        r = ends[1:] / ends[:-1] - 1.0
    r = r if len(ends) > 1 and (ends > 0.0).all() else np.full(len(r), math.nan)
    enough = len(r) >= LEAST_DAYS
    root = math.sqrt(DAYS_A_YEAR) if enough else math.nan
    years = elapsed_s / _YEAR_S
    cagr = math.nan
    if enough and years > 0.0 and final > 0.0:
        cagr = (final / capital) ** (1.0 / years) - 1.0
    deepest, longest_days = _drawdown(equity, capital)
    of_days = ends / np.maximum.accumulate(ends) - 1.0
    # Arrays of the columns: as a Series each step would cost as much again as its numbers.
    of = {name: trades[name].to_numpy() for name in _COLUMNS}
    closed = np.flatnonzero(trades["reason"] != "open")
    net, hold = of["net"][closed], of["held_s"][closed]
    won, lost = net[net > 0.0], net[net < 0.0]
    with np.errstate(divide="ignore", invalid="ignore"):
        half_lives = of["rows"][closed] / of["half_life"][closed]
        costs = of["fees"] + of["slippage"] - of["funding"]
        break_even = np.abs(of["entry_z"]) * costs / of["edge"]
        notional = np.abs(of["y_quantity"]) * of["y_entry_price"]
        out_gap, out_drift = of["exit_leg_gap_s"], of["exit_drift"]
        gaps = np.concatenate([of["entry_leg_gap_s"], out_gap[~np.isnan(out_gap)]])
        slip = (of["entry_drift"] + np.where(np.isnan(out_drift), 0.0, out_drift)) / notional * 1e4
    lowest = np.sort(r)[: int(0.05 * (len(r) - 1)) + 1] if len(r) else r
    return Metrics(
        cumulative_return=final / capital - 1.0,
        net_profit=final - capital,
        cagr=cagr,
        annual_volatility=_std(r) * root,
        sharpe=_ratio(_mean(r), _std(r)) * root,
        sortino=_ratio(_mean(r), math.sqrt(_mean(np.minimum(r, 0.0) ** 2))) * root,
        calmar=_ratio(cagr, -deepest),
        max_drawdown=deepest,
        max_drawdown_days=longest_days,
        ulcer_index=math.sqrt(_mean(of_days[1:] ** 2)),
        var_95=float(np.percentile(r, 5)) if len(r) else math.nan,
        cvar_95=_mean(lowest),
        skew=_scalar(pd.Series(r).skew()),
        kurtosis=_scalar(pd.Series(r).kurt()),
        trades=len(closed),
        win_rate=_ratio(float(len(won)), float(len(net))),
        profit_factor=_ratio(float(won.sum()), -float(lost.sum())),
        payoff_ratio=_ratio(_mean(won), -_mean(lost)),
        expectancy=_mean(net),
        exposure=_exposure(trades, equity),
        turnover=turnover / capital,
        average_hold_s=_mean(hold),
        longest_hold_s=float(hold.max()) if len(hold) else math.nan,
        gross=float(trades["gross"].sum()),
        fees=float(trades["fees"].sum()),
        slippage=float(trades["slippage"].sum()),
        funding=float(trades["funding"].sum()),
        mae=_mean(of["mae"]),
        mfe=_mean(of["mfe"]),
        half_life_ratio=_median(half_lives),
        break_even_z=_median(break_even),
        missed_entries=missed,
        leg_gap_s=_mean(gaps),
        leg_slip_bps=_mean(slip),
    )


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _scalar(value: Any) -> float:
    return float(value)


def _std(values: Any) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _median(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan


def _ratio(a: float, b: float) -> float:
    return a / b if b != 0.0 else math.nan


def _drawdown(equity: pd.Series[float], capital: float) -> tuple[float, float]:
    """Return the deepest drawdown, and how long the longest lasted, days."""
    from pairlab.backtesting.trade_kernels import drawdown_kernel  # numba is slow to import

    times = equity.index.asi8  # type: ignore[attr-defined]
    deepest, longest_ns, _ = drawdown_kernel()(equity.to_numpy(np.float64), times, capital)
    return deepest, longest_ns / 86_400e9


_FILL_TIMES: Final = ("entry_y_time", "entry_x_time", "exit_y_time", "exit_x_time")


def _exposure(trades: pd.DataFrame, equity: pd.Series[float]) -> float:
    """Return the share of the time that is covered by trades."""
    if not len(equity) or equity.index[-1] == equity.index[0]:
        return math.nan
    if not len(trades):
        return 0.0
    times = {name: trades[name].astype("int64").to_numpy() for name in _FILL_TIMES}
    never, last_ns = pd.NaT.value, equity.index.asi8[-1]  # type: ignore[attr-defined]
    start = np.minimum(times["entry_y_time"], times["entry_x_time"])
    ends = (times[name] for name in ("exit_y_time", "exit_x_time"))
    end = np.maximum(*(np.where(ns == never, last_ns, ns) for ns in ends))
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    before = np.concatenate([[start[0]], reach[:-1]])
    covered = np.maximum(reach - np.maximum(start, before), 0).sum()
    return float(covered / (equity.index.asi8[-1] - equity.index.asi8[0]))  # type: ignore[attr-defined]
