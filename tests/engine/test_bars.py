"""Timeframes and bars against pandas' resample, at their close times."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from pairlab.engine import PairEngine
from pairlab.engine.state import BARS_HELD, EMPTY_BARS_MAX
from pairlab.errors import DataError
from pairlab.schema import NS_PER_S, TICK, TIMEFRAMES_NS, RowFlag
from tests.engine import oracles, worlds

BARS = [name for name in TIMEFRAMES_NS if name != "tick"]
PANDAS = {
    "1s": "1s",
    "5s": "5s",
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "1h": "1h",
    "1d": "1D",
}


def sorted_trades(seed, n, **kwargs):
    ticks = worlds.trades(seed, n, **kwargs)
    return ticks[np.argsort(ticks["time_ns"], kind="stable")]


def by_leg(ticks, leg):
    of = ticks[ticks["leg"] == leg]
    index = pd.DatetimeIndex(of["time_ns"].view("M8[ns]"))
    return pd.Series(of["price"], index), pd.Series(of["quantity"], index)


@pytest.mark.parametrize("timeframe", ["1s", "5s", "1m", "5m"])
def test_observations_are_resample_last_ffill_at_the_close(timeframe):
    ticks = sorted_trades(21, 30_000, silence=0.002)
    rows = PairEngine(hedge_ratio=25.0, window=20, timeframe=timeframe).update(ticks)
    legs = [by_leg(ticks, leg)[0].resample(PANDAS[timeframe]).last() for leg in (0, 1)]
    want = pd.concat(legs, axis=1, keys=["y", "x"]).ffill().dropna().iloc[:-1]  # the last is open
    length = TIMEFRAMES_NS[timeframe]
    assert_array_equal(rows["time_ns"], want.index.as_unit("ns").asi8 + length)
    assert_array_equal(rows["y"], want["y"])
    assert_array_equal(rows["x"], want["x"])
    last = by_leg(ticks, 0)[0].index.as_unit("ns").asi8
    before = last[np.searchsorted(last, rows["time_ns"], side="left") - 1]
    np.testing.assert_allclose(rows["y_age_s"], (rows["time_ns"] - before) / 1e9, rtol=1e-12)
    assert (rows["y_age_s"] > 0).all()
    assert rows["y_age_s"].max() > (30 if timeframe == "1s" else 0)


@pytest.mark.parametrize("timeframe", BARS)
def test_bars_of_every_timeframe_at_once(timeframe):
    ticks = sorted_trades(22, 60_000, silence=0.001)
    longer = 50 if timeframe == "1d" else 2
    ticks["time_ns"] += (ticks["time_ns"] - ticks["time_ns"][0]) * longer
    engine = PairEngine(hedge_ratio=25.0)
    for part in np.array_split(ticks, 37):
        engine.update(part)
    bars = engine.bars(timeframe)
    length = TIMEFRAMES_NS[timeframe]
    for leg, name in enumerate("yx"):
        price, quantity = by_leg(ticks, leg)
        resampled = price.resample(PANDAS[timeframe])
        want = resampled.ohlc()
        want["close"] = want["close"].ffill()
        for column in ("open", "high", "low"):
            want[column] = want[column].fillna(want["close"])
        want["volume"] = quantity.resample(PANDAS[timeframe]).sum()
        times = want.index.as_unit("ns").asi8 + length
        there = np.isin(times, bars["time_ns"])
        at = np.searchsorted(bars["time_ns"], times[there])
        assert there.sum() >= min(len(bars) - 1, len(times) - 2) > (1 if timeframe != "1h" else 0)
        for column in ("open", "high", "low", "close", "volume"):
            np.testing.assert_allclose(
                bars[f"{name}_{column}"][at], want[column][there], rtol=1e-12, err_msg=column
            )
    assert (np.diff(bars["time_ns"]) == length).all()
    assert (bars["time_ns"] % length == 0).all()


def test_late_ticks_count_in_the_forming_bar():
    prices = [(0, 0.1, 100.0), (1, 0.2, 10.0), (0, 1.5, 101.0), (0, 0.9, 99.0), (1, 2.1, 11.0)]
    ticks = np.zeros(len(prices), TICK)
    for tick, (leg, time_s, price) in zip(ticks, prices, strict=True):
        tick["leg"], tick["price"] = leg, price
        tick["time_ns"] = oracles.T0 + round(time_s * 1e9)
    engine = PairEngine(hedge_ratio=25.0, timeframe="1s")
    rows = engine.update(ticks)
    assert rows["y"].tolist() == [100.0, 99.0]
    assert engine.late == 1
    assert rows["y_age_s"][1] == pytest.approx(0.5)  # of the newest trade, not of the late one
    bars = engine.bars("1s")
    assert bars["y_low"].tolist() == [100.0, 99.0]
    assert bars["y_close"].tolist() == [100.0, 99.0]


def test_a_leg_that_has_not_traded_has_no_price():
    ticks = np.zeros(4, TICK)
    ticks["price"], ticks["quantity"] = 100.0, 2.0
    ticks["time_ns"] = oracles.T0 + np.arange(4) * NS_PER_S
    engine = PairEngine(hedge_ratio=25.0, timeframe="1s")
    assert len(engine.update(ticks)) == 0
    bars = engine.bars("1s")
    assert len(bars) == 3
    assert np.isnan(bars["x_close"]).all()
    assert (bars["x_volume"] == 0).all()
    assert (bars["y_volume"] == 2).all()


def test_a_far_future_tick_closes_a_bounded_number_of_bars():
    ticks = oracles.ticks_of([100.0, 100.0], [4.0, 4.0])
    ticks["time_ns"][2:] += 400 * 86_400 * NS_PER_S
    engine = PairEngine(hedge_ratio=25.0, timeframe="1s")
    rows = engine.update(ticks).copy()
    assert EMPTY_BARS_MAX <= len(rows) <= EMPTY_BARS_MAX + 2
    gaps = np.flatnonzero(rows["flags"] & RowFlag.GAP_BEFORE)
    assert gaps.tolist() == [1]
    assert (np.diff(rows["time_ns"][1:]) == NS_PER_S).all()
    assert rows["time_ns"][-1] == ticks["time_ns"][-1] // NS_PER_S * NS_PER_S
    assert len(engine.bars("1s")) == BARS_HELD


def test_the_forming_bar_is_provisional_and_changes_nothing():
    ticks = sorted_trades(23, 6_000, silence=0)
    for hedge in ("fixed", "ols", "kalman"):
        given = {"hedge": hedge, "hedge_ratio": 25.0, "window": 20, "timeframe": "1s"}
        plain, asked = PairEngine(**given), PairEngine(**given)
        assert asked.provisional() is None
        last, checked = None, 0
        for part in np.array_split(ticks, 2_000):
            want = plain.update(part).copy()
            got = asked.update(part).copy()
            assert want.tobytes() == got.tobytes()
            assert plain.events.tobytes() == asked.events.tobytes()
            events = asked.events
            forming = asked.provisional()
            if forming is not None:
                assert min(forming["y_age_s"][0], forming["x_age_s"][0]) == 0.0
            assert asked.events is events
            if last is not None and len(got) == 1 and part["time_ns"][0] >= last["time_ns"][0]:
                # the first tick of the part closed the bar: it is the row that was provisional
                for name in (
                    "time_ns",
                    "y",
                    "x",
                    "zscore",
                    "correlation",
                    "p_value",
                    "hedge_ratio",
                ):
                    assert_array_equal(got[name], last[name])
                checked += 1
            last = forming
        assert checked > 20
        assert last["position"][0] == asked.signal_state["position"]
    assert PairEngine().provisional() is None


def test_seeds_warm_the_window_before_the_first_tick():
    y, x = worlds.cointegrated(24, 200)
    minute = TIMEFRAMES_NS["1m"]
    times = oracles.T0 // minute * minute + minute * np.arange(1, 201)
    whole = PairEngine(hedge="ols", timeframe="1m", window=50)
    want = whole.observe(times, y, x, times, times).copy()
    engine = PairEngine(hedge="ols", timeframe="1m", window=50)
    seeded = engine.seed(times[:150], y[:150], x[:150]).copy()
    assert (seeded["flags"] & RowFlag.SEEDED > 0).all()
    assert len(engine.events) == 0
    assert (seeded["position"] == 0).all()
    ticks = oracles.ticks_of(y[150:], x[150:], step_ns=0)
    ticks["time_ns"] = np.repeat(times[150:] - minute // 2, 2)
    rows = engine.update(ticks)
    for name in ("time_ns", "y", "x", "spread", "zscore", "p_value", "half_life", "correlation"):
        assert_array_equal(np.concatenate([seeded[name], rows[name]]), want[name][:-1], name)
    assert (rows["flags"] & RowFlag.SEEDED == 0).all()


@pytest.mark.parametrize(
    ("settings", "times", "y", "message"),
    [
        ({}, [NS_PER_S], [1.0], "'tick'"),
        ({"timeframe": "1m"}, [NS_PER_S], [1.0], "multiples of 1m"),
        ({"timeframe": "1s"}, [2 * NS_PER_S, NS_PER_S], [1.0, 1.0], "ascend"),
        ({"timeframe": "1s"}, [NS_PER_S], [1.0, 1.0], "one length"),
        ({"timeframe": "1s"}, [NS_PER_S], [np.nan], "finite"),
        ({"timeframe": "1s"}, [NS_PER_S], [0.0], "above zero"),
    ],
)
def test_seeds_that_cannot_be_used(settings, times, y, message):
    engine = PairEngine(**settings)
    with pytest.raises(DataError, match=message):
        engine.seed(times, y, [1.0] * len(times))
    assert engine.signal_state["position"] == 0


def test_seeds_come_first():
    engine = PairEngine(timeframe="1s")
    engine.update(oracles.ticks_of([1.0], [1.0]))
    with pytest.raises(DataError, match="before the first tick"):
        engine.seed([NS_PER_S], [1.0], [1.0])


def test_there_are_no_bars_of_ticks():
    with pytest.raises(DataError, match="'1s'"):
        PairEngine().bars("tick")


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
def test_observations_give_the_rows_that_ticks_give_to_the_last_bit(hedge):
    given = {"hedge": hedge, "hedge_ratio": 25.0, "window": 20, "timeframe": "1s", "stop_z": 3.0}
    by_ticks = PairEngine(**given)
    want = by_ticks.update(sorted_trades(25, 12_000)).copy()
    events = by_ticks.events.copy()
    assert len(want) > 500
    assert len(events) > 5
    times = want["time_ns"]
    traded = [times - np.round(want[f"{leg}_age_s"] * 1e9).astype(np.int64) for leg in "yx"]
    by_observations = PairEngine(**given)
    got = by_observations.observe(times, want["y"], want["x"], *traded)
    for name in set(got.dtype.names) - {"received_ns"}:
        assert_array_equal(got[name], want[name], name)
    for name in events.dtype.names:
        assert_array_equal(by_observations.events[name], events[name], name)
    assert_array_equal(got["received_ns"], times)
