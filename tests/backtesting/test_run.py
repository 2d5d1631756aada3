"""`backtest` against a plain loop in Python, with every cost and rule on and off."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pairlab import Costs, LotRule, Pair, PairEngine, backtest
from pairlab.data.frames import ticks_frame
from tests.backtesting.plain_backtest import NS, PlainBacktest, rows_of_ticks, trades_of_ticks
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")
CAPITAL = 10_000.0
RULES = LotRule(0.001, 0.001, 5.0), LotRule(0.01, 0.01, 5.0)
TIGHT = LotRule(0.01, 0.1, 9_000.0), LotRule(0.5, 3.0, 8_000.0)


def rates(seed, start_ns, end_ns, every_s=3):
    """Funding of one leg as (time, rate), often enough to be paid within short trades."""
    r = np.random.default_rng(seed)
    times = np.arange(start_ns // NS - every_s, end_ns // NS + 2 * every_s, every_s) * NS
    return list(zip(times.tolist(), r.normal(0, 1e-3, len(times)).tolist(), strict=True))


def series_of(pairs):
    times, values = zip(*pairs, strict=True)
    return pd.Series(values, pd.DatetimeIndex(np.array(times).view("M8[ns]")))


def assert_same(result, plain):
    """Trades, misses and money of a result are the plain one's, to 1e-9 of the capital."""
    want = [plain.trade(order) for order in plain.done]
    assert len(result.trades) == len(want)
    assert result.missed["reason"].tolist() == [o.missed for o in plain.orders if o.missed]
    for name in want[0] if want else ():
        values = [trade[name] for trade in want]
        if name in ("side", "reason"):
            assert result.trades[name].tolist() == values, name
        else:
            assert_allclose(result.trades[name], values, atol=1e-9 * CAPITAL, rtol=0, err_msg=name)
    for what, trades in (("entry", "filled"), ("exit", "left")):
        for leg in "yx":
            times = [getattr(o, trades).get(leg, {"time": None})["time"] for o in plain.done]
            got = result.trades[f"{what}_{leg}_time"]
            assert [None if pd.isna(t) else t.value for t in got] == times
    equity = result.equity
    assert_allclose(equity["equity"], plain.equity, atol=1e-9 * CAPITAL, rtol=0)
    parts = equity["realised"] + equity["unrealised"] - equity["fees"] + equity["funding"]
    assert_allclose(CAPITAL + parts, equity["equity"], atol=1e-9 * CAPITAL, rtol=0)
    if len(equity):
        made = equity["equity"].iloc[-1] - CAPITAL
        assert abs(result.trades["net"].sum() - made) <= 1e-9 * CAPITAL


def run_both(ticks, engine_settings, *, fee, slip, latency_s, max_wait_s, lots, funding, marks):
    frame = ticks_frame(ticks, PAIR)
    engine = PairEngine(bars=False, **engine_settings)
    rows, events = rows_of_ticks(engine, ticks)
    start, end = int(ticks["time_ns"].min()), int(ticks["time_ns"].max())
    paid = mark = plain_marks = None
    if funding:
        paid = {"y": rates(1, start, end), "x": rates(2, start, end)}
        if marks:
            at = list(range(start - NS, end, NS))
            plain_marks = {
                "y": [{"time": t, "price": 75_000.0 + k} for k, t in enumerate(at)],
                "x": [{"time": t, "price": 3_000.0 - k / 10} for k, t in enumerate(at)],
            }
            mark = tuple(
                series_of([(m["time"], m["price"]) for m in plain_marks[leg]]) for leg in "yx"
            )
    given_rates = None if paid is None else {leg: series_of(paid[leg]) for leg in "yx"}
    result = backtest(
        frame, capital=CAPITAL, latency_s=latency_s, max_wait_s=max_wait_s, lots=lots, mark=mark,
        costs=Costs(fee, slip, given_rates),
        max_silence=None, **engine_settings,
    )  # fmt: skip
    plain = PlainBacktest(
        rows, events, trades_of_ticks(ticks), capital=CAPITAL, fee_bps=fee, slip_bps=slip,
        bars=engine_settings.get("timeframe", "tick") != "tick",
        log=engine_settings.get("price_scale") == "log",
        latency_ns=round(latency_s * NS), max_wait_ns=round(max_wait_s * NS), lots=lots,
        funding=paid, marks=plain_marks,
    )  # fmt: skip
    assert_same(result, plain)
    return result


ENGINES = st.fixed_dictionaries(
    {
        "entry_z": st.sampled_from([1.0, 1.6, 2.0]),
        "exit_z": st.sampled_from([0.0, 0.5]),
        "stop_z": st.sampled_from([None, 2.2, 3.0]),
        "max_hold_s": st.sampled_from([None, 0.7, 5.0]),
        "min_correlation": st.sampled_from([-1.0, 0.3]),
        "timeframe": st.sampled_from(["tick", "tick", "1s", "5s"]),
        "window": st.sampled_from([12, 25]),
        "hedge": st.sampled_from(["fixed", "ols"]),
    }
)
RUNS = st.fixed_dictionaries(
    {
        "fee": st.sampled_from([0.0, 4.0]),
        "slip": st.sampled_from([0.0, 1.5]),
        "latency_s": st.sampled_from([0.0, 0.05, 2.0]),
        "max_wait_s": st.sampled_from([0.1, 1.0, 10.0]),
        "lots": st.sampled_from([None, RULES, TIGHT]),
        "funding": st.booleans(),
        "marks": st.booleans(),
    }
)


def check(seed, log, engine, run):
    ticks = worlds.trades(seed, 900, silence=0.01)
    ticks["price"][[50, 301]] = np.nan, 0.0
    if log:
        engine = {**engine, "price_scale": "log", "hedge_ratio": 1.0}
    else:
        engine = {**engine, "hedge_ratio": 25.0}
    run_both(ticks, engine, **run)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), log=st.booleans(), engine=ENGINES, run=RUNS)
def test_a_plain_loop_says_the_same(seed, log, engine, run):
    check(seed, log, engine, run)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), log=st.booleans(), engine=ENGINES, run=RUNS)
def test_a_plain_loop_says_the_same_of_many(seed, log, engine, run):
    check(seed, log, engine, run)


ALL_ON = {
    "fee": 4.0, "slip": 1.5, "latency_s": 0.05, "max_wait_s": 1.0, "lots": RULES,
    "funding": True, "marks": False,
}  # fmt: skip


def test_those_runs_have_every_reason_to_leave_and_to_miss():
    reasons, missed, paid = set(), set(), 0.0
    for seed, lots in ((1, RULES), (2, TIGHT), (3, None)):
        ticks = worlds.trades(seed, 900, silence=0.01)
        for engine in (
            {"entry_z": 1.0, "stop_z": 2.2, "max_hold_s": 0.7},
            {"entry_z": 1.0, "exit_z": 0.0, "timeframe": "1s"},
        ):
            more = {"lots": lots, "max_wait_s": 0.4, "latency_s": 0.05 if lots else 0.0}
            given_ = {"window": 12, "hedge": "ols", "min_correlation": -1.0, **engine}
            result = run_both(ticks, given_, **{**ALL_ON, **more})
            reasons |= set(result.trades["reason"])
            missed |= set(result.missed["reason"])
            paid += result.trades["funding"].abs().sum()
            assert (result.trades["slippage"] > 0).all()
    assert paid > 0
    assert {"exit", "stop", "max hold"} <= reasons
    assert {f"no trade of {leg} within max_wait_s" for leg in ("y", "x", "either leg")} <= missed
    assert any("minimum" in why for why in missed)


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
def test_a_plain_loop_says_the_same_of_recorded_trades(recorded, timeframe):
    ticks = worlds.recorded_trades(recorded)[5_000:9_000]
    engine = {"hedge": "ols", "window": 50, "entry_z": 1.8, "timeframe": timeframe, "stop_z": 4.0}
    result = run_both(ticks, engine, **ALL_ON)
    assert len(result.trades) >= (20 if timeframe == "tick" else 1)


def two_series(seed, n=700):
    y, x = worlds.cointegrated(seed, n, noise=4.0)
    minutes = pd.date_range("2024-08-08", periods=n, freq="min", tz="UTC")
    keep = np.random.default_rng(seed).random((2, n)) < 0.85
    return tuple(pd.Series(leg, minutes)[k] for leg, k in zip((y, x), keep, strict=True))


@pytest.mark.parametrize("latency_s", [0.0, 61.0])
def test_series_are_filled_at_each_leg_s_own_next_observation(latency_s):
    y, x = two_series(5)
    given_ = {"window": 20, "hedge": "ols", "entry_z": 1.5, "max_leg_age_s": 1e6}
    result = backtest((y, x), max_wait_s=90.0, latency_s=latency_s, **given_)
    both = pd.concat([y, x], axis=1, keys=["y", "x"], sort=True).ffill().dropna()
    times = both.index.as_unit("ns").asi8
    y_at, x_at = (leg.index.as_unit("ns").asi8 for leg in (y, x))
    engine = PairEngine(**given_)
    made = engine.observe(
        times, both["y"], both["x"],
        y_at[np.searchsorted(y_at, times, side="right") - 1],
        x_at[np.searchsorted(x_at, times, side="right") - 1],
    )  # fmt: skip
    rows = [{name: row[name].item() for name in row.dtype.names} for row in made]
    for row in rows:
        row.update(key=row["time_ns"], known=row["time_ns"])
    legs = {
        name: [
            {"key": t, "time": t, "price": p}
            for t, p in zip(leg.index.as_unit("ns").asi8.tolist(), leg.tolist(), strict=True)
        ]
        for name, leg in (("y", y), ("x", x))
    }
    events = [(int(event["row"]), event) for event in engine.events]
    plain = PlainBacktest(
        rows, events, legs, bars=False, latency_ns=round(latency_s * NS), max_wait_ns=90 * NS
    )
    assert_same(result, plain)
    assert len(result.trades) > 10
    assert len(result.missed) > 0
    frame = pd.concat([y, x], axis=1, keys=["y", "x"], sort=True)
    again = backtest(frame, max_wait_s=90.0, latency_s=latency_s, **given_)
    pd.testing.assert_frame_equal(again.trades, result.trades)
