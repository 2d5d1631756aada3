"""Every figure against empyrical, quantstats or its own formula, in plain Python."""

import math
import statistics
import warnings
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from pairlab import Costs, backtest
from pairlab.backtesting import Metrics
from pairlab.backtesting.metrics import METRIC_TEXT
from tests.engine import worlds

CAPITAL = 10_000.0


@pytest.fixture(scope="module")
def result():
    """Ninety days of hourly prices that wins and loses, with two days missing."""
    y, x = worlds.cointegrated(8, 24 * 90, noise=60.0, half_life=20.0)
    hours = pd.date_range("2024-03-01 05:00", periods=len(y), freq="h", tz="UTC")
    kept = (hours < "2024-04-10") | (hours >= "2024-04-12")
    return backtest(
        (pd.Series(y, hours)[kept], pd.Series(x, hours)[kept]),
        costs=Costs(0.5, 0.1), window=60, hedge="ols", entry_z=1.5, min_correlation=-1.0,
        max_leg_age_s=1e6, max_hold_s=30 * 3600.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def daily(result):
    ends = np.concatenate([[CAPITAL], result.daily.to_numpy()])
    return pd.Series(ends[1:] / ends[:-1] - 1.0, result.daily.index)


def test_the_world_says_something(result):
    net = result.trades["net"]
    assert (net > 0).sum() > 10
    assert (net < 0).sum() > 5
    assert len(result.daily) == (result.daily.index[-1] - result.daily.index[0]).days + 1
    missing = result.daily["2024-04-10":"2024-04-11"]
    assert (missing == result.daily["2024-04-09"]).all()


def test_class_text_table_and_report_list_the_same(result):
    names = [f.name for f in fields(Metrics)]
    assert list(METRIC_TEXT) == names
    assert list(result.metrics.describe().index) == names
    doc = Metrics.__doc__
    assert [line.split(" : ")[0].strip() for line in doc.splitlines() if " : " in line] == names
    for f in fields(Metrics):
        assert f.metadata["text"] in doc
        assert f.metadata["label"] in repr(result)
        assert f.metadata["label"] in result._repr_html_().replace("&lt;", "<")
    asked_for = {
        "cumulative_return", "cagr", "annual_volatility", "sharpe", "sortino", "calmar",
        "max_drawdown", "max_drawdown_days", "ulcer_index", "var_95", "cvar_95", "skew", "kurtosis",
        "win_rate", "profit_factor", "payoff_ratio", "expectancy", "exposure", "turnover", "trades",
        "average_hold_s", "longest_hold_s", "fees", "slippage", "funding", "mae", "mfe",
        "half_life_ratio", "break_even_z", "missed_entries", "leg_slip_bps",
    }  # fmt: skip
    assert asked_for <= set(names)


@pytest.mark.slow
def test_figures_of_days_are_empyrical_s(result, daily):
    emp = pytest.importorskip("empyrical")
    m = result.metrics
    same = {
        "cumulative_return": emp.cum_returns_final(daily),
        "annual_volatility": emp.annual_volatility(daily, annualization=365),
        "sharpe": emp.sharpe_ratio(daily, annualization=365),
        "sortino": emp.sortino_ratio(daily, annualization=365),
        "var_95": emp.value_at_risk(daily, cutoff=0.05),
        "cvar_95": emp.conditional_value_at_risk(daily, cutoff=0.05),
    }
    equity = np.concatenate([[CAPITAL], result.equity["equity"]])
    same["max_drawdown"] = emp.max_drawdown(pd.Series(equity[1:] / equity[:-1] - 1.0))
    for name, value in same.items():
        assert getattr(m, name) == pytest.approx(value, rel=1e-9), name
    years = (result.equity.index[-1] - result.equity.index[0]).total_seconds() / 86_400 / 365.25
    assert m.cagr == pytest.approx((1 + m.cumulative_return) ** (1 / years) - 1, rel=1e-12)
    counted = emp.annual_return(daily, annualization=365)
    assert m.cagr == pytest.approx(counted, rel=0.05)
    assert m.cagr != pytest.approx(counted, rel=1e-6), "the docstring says that they differ"


@pytest.mark.slow
def test_figures_of_days_are_quantstats_s(result, daily):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        qs = pytest.importorskip("quantstats").stats
    m = result.metrics
    returns = daily.tz_localize(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = {
            "cumulative_return": qs.comp(returns),
            "annual_volatility": qs.volatility(returns, periods=365),
            "sharpe": qs.sharpe(returns, periods=365),
            "sortino": qs.sortino(returns, periods=365),
            "skew": qs.skew(returns),
            "kurtosis": qs.kurtosis(returns),
        }
        ulcer = qs.ulcer_index(returns)
    for name, value in same.items():
        assert getattr(m, name) == pytest.approx(float(value), rel=1e-9), name
    d = len(returns)
    assert m.ulcer_index == pytest.approx(ulcer * math.sqrt((d - 1) / d), rel=1e-9)


def test_figures_of_trades_are_their_formulas(result):
    trades, m = result.trades, result.metrics
    closed = trades[trades["reason"] != "open"]
    net = closed["net"].tolist()
    won, lost = [n for n in net if n > 0], [n for n in net if n < 0]
    assert m.trades == len(net)
    assert m.win_rate == pytest.approx(len(won) / len(net))
    assert m.profit_factor == pytest.approx(sum(won) / -sum(lost))
    assert m.payoff_ratio == pytest.approx(statistics.mean(won) / -statistics.mean(lost))
    assert m.expectancy == pytest.approx(statistics.mean(net))
    first = closed[["entry_y_time", "entry_x_time"]].min(axis=1)
    hold = (closed[["exit_y_time", "exit_x_time"]].max(axis=1) - first).dt.total_seconds()
    assert m.average_hold_s == pytest.approx(hold.mean())
    assert m.longest_hold_s == hold.max()
    span = (result.equity.index[-1] - result.equity.index[0]).total_seconds()
    assert m.exposure == pytest.approx(trades["held_s"].sum() / span, abs=0.02)
    paid = 0.0
    for leg in "yx":
        prices = trades[f"{leg}_entry_price"] + trades[f"{leg}_exit_price"].fillna(0.0)
        paid += (trades[f"{leg}_quantity"].abs() * prices).sum()
    assert m.turnover == pytest.approx(paid / CAPITAL)
    assert m.fees == pytest.approx(0.5e-4 * paid)
    assert m.gross - m.fees - m.slippage + m.funding == pytest.approx(m.net_profit)
    cost = trades["fees"] + trades["slippage"]
    even = (trades["entry_z"].abs() * cost / trades["edge"]).median()
    assert m.break_even_z == pytest.approx(even)


def test_drawdown_is_from_the_capital_and_lasts_until_it_is_made_good(result):
    peak, worst, since, longest = CAPITAL, 0.0, None, 0.0
    begin = result.equity.index[0]
    at_peak = begin
    for time, value in result.equity["equity"].items():
        if value >= peak:
            if since is not None:
                longest = max(longest, (time - at_peak).total_seconds())
            peak, at_peak, since = value, time, None
        else:
            since = time
            worst = min(worst, value / peak - 1)
            longest = max(longest, (time - at_peak).total_seconds())
    assert result.metrics.max_drawdown == pytest.approx(worst, rel=1e-12)
    assert result.metrics.max_drawdown < 0
    assert result.metrics.max_drawdown_days == pytest.approx(longest / 86_400)


def test_nothing_is_annualised_below_thirty_days(result):
    y, x = worlds.cointegrated(8, 24 * 20, noise=60.0)
    hours = pd.date_range("2024-03-01", periods=len(y), freq="h", tz="UTC")
    short = backtest((pd.Series(y, hours), pd.Series(x, hours)), window=60, hedge="ols")
    for name in ("cagr", "annual_volatility", "sharpe", "sortino", "calmar"):
        assert math.isnan(getattr(short.metrics, name))
    assert "too few to annualise" in repr(short)
    assert "nan" not in repr(short) + short._repr_html_()
    assert not math.isnan(result.metrics.sharpe)
