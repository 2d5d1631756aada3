"""`min_edge_bps`: what the distance from the mean is worth, as a filter of entries."""

from dataclasses import asdict

import numba
import numpy as np
import pandas as pd
import pytest

from pairlab.costs import edge_bps
from pairlab.data.alert_log import AlertLog
from pairlab.engine import PairEngine
from pairlab.engine.signals import decide, failed_filters
from pairlab.engine.state import PARAMS, fill_params, new_state
from pairlab.research import analyze
from pairlab.schema import EVENT, NS_PER_S, ROW, AlertKind, Filter, Snapshot
from pairlab.settings import Settings
from tests.engine import oracles, worlds
from tests.engine.plain_machine import PlainMachine

WINDOW = 40
EDGE = int(Filter.EDGE)


@numba.njit
def filters(rows, state, params, failed):
    for i in range(len(rows)):
        failed[i] = failed_filters(state[0], params[0], rows[i])


@numba.njit
def one(row, state, params, event):
    happened = decide(state[0], params[0], row[0], event[0])
    row[0].position = state[0].position
    return happened


def failed_of(rows, **settings):
    params, failed = np.zeros(1, PARAMS), np.zeros(len(rows), np.int64)
    fill_params(params, Settings(**settings).values())
    filters(rows, new_state(), params, failed)
    return failed


def wide_edge(y, x, hedge, scale):
    """bps of y's notional at every row, by two passes over each window in long double."""
    wide = np.log if scale == "log" else (lambda a: a)
    ys, xs = (wide(np.asarray(leg, oracles.WIDE)) for leg in (y, x))
    if hedge == "fixed":
        window = oracles.windows(ys - oracles.WIDE(25.0) * xs, WINDOW)
        away = window[:, -1] - window.mean(axis=1)
    else:
        away = oracles.least_squares(ys, xs, WINDOW)[2][:, -1]
    share = np.abs(away) if scale == "log" else np.abs(away) / ys[WINDOW - 1 :]
    return oracles.padded(share * 10_000, WINDOW)


@pytest.mark.parametrize(
    ("scale", "noise"),
    # The logarithm of a double has 1e-15 of its own: a tighter pair in logs asks more than it has.
    [("linear", 8.0), ("linear", 1e-3), ("log", 8.0), ("log", 0.1)],
)
@pytest.mark.parametrize("hedge", ["fixed", "ols"])
def test_every_row_passes_or_fails_as_long_double_says(hedge, scale, noise):
    y, x = worlds.cointegrated(71, 6_000, noise=noise)
    rows = oracles.observe(
        PairEngine(hedge=hedge, hedge_ratio=25.0, window=WINDOW, price_scale=scale, timeframe="1s"),
        y, x,
    )  # fmt: skip
    want = wide_edge(y, x, hedge, scale)
    got = np.array([edge_bps(Snapshot.of(row), scale) for row in rows])
    assert np.isfinite(want).sum() == len(rows) - WINDOW + 1
    oracles.assert_close("edge", got, want, 1e-8)
    least = float(np.nanmedian(want))
    near = np.abs(want - least) < 1e-7 * least
    failed = failed_of(rows, hedge="ols", min_edge_bps=least, price_scale=scale) & EDGE != 0
    decided = ~near
    np.testing.assert_array_equal(failed[decided], ~(want >= least)[decided])
    assert 0.4 < failed.mean() < 0.6


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
def test_kernel_and_python_say_the_same_to_the_last_bit(hedge):
    rows = PairEngine(hedge=hedge, hedge_ratio=25.0, window=WINDOW).update(worlds.trades(72, 5_000))
    edges = np.array([edge_bps(Snapshot.of(row), "linear") for row in rows])
    for least in np.nanquantile(edges, [0.1, 0.5, 0.9]):
        failed = failed_of(rows, min_edge_bps=float(least)) & EDGE != 0
        np.testing.assert_array_equal(failed, ~(edges >= least))


def test_off_it_holds_nothing_back():
    ticks = worlds.trades(73, 20_000)
    off = PairEngine(hedge_ratio=25.0, window=WINDOW)
    rows = off.update(ticks).copy()
    on = PairEngine(hedge_ratio=25.0, window=WINDOW, min_edge_bps=1e-12)
    assert on.update(ticks).tobytes() == rows.tobytes()
    assert len(on.events) == len(off.events) > 20
    assert not (failed_of(rows) & EDGE).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["zscore", "spread_std", "y"])
def test_what_is_no_number_never_enters(name, value):
    row = np.zeros(1, ROW)
    row["zscore"], row["spread_std"], row["y"], row["correlation"] = 3.0, 100.0, 60_000.0, 0.9
    params, event = np.zeros(1, PARAMS), np.zeros(1, EVENT)
    fill_params(params, Settings(min_edge_bps=1.0).values())
    one(row.copy(), new_state(), params, event)
    assert event["kind"][0] == AlertKind.ENTRY  # or what follows would say nothing
    row[name] = value
    event["kind"] = 0
    one(row, new_state(), params, event)
    assert event["kind"][0] != AlertKind.ENTRY
    assert row["position"][0] == 0


def test_it_is_told_and_never_holds_an_exit_or_a_stop_back():
    rows = np.zeros(4, ROW)
    rows["time_ns"] = (1 + np.arange(4)) * 20 * NS_PER_S
    rows["y"], rows["correlation"], rows["spread_std"] = 60_000.0, 0.9, 60.0
    rows["zscore"] = [-2.0, -3.0, -0.4, -2.0]
    rows["spread_std"][3] = 6.0
    log, state, params = AlertLog(), new_state(), np.zeros(1, PARAMS)
    values = Settings(min_edge_bps=25.0, entry_z=1.5).values()
    fill_params(params, values)
    told = []
    for k in range(4):
        event = np.zeros(1, EVENT)
        if one(rows[k : k + 1], state, params, event):
            log.add(event, rows[k : k + 1], values)
            told.append((k, log.alerts()[-1].kind))
    assert told == [
        (0, AlertKind.SUPPRESSED), (1, AlertKind.ENTRY), (2, AlertKind.EXIT),
        (3, AlertKind.SUPPRESSED),
    ]  # fmt: skip
    first, entry, _, last = log.alerts()
    assert first.reason == "20.00 bps < 25 bps"
    assert "but 20.00 bps < 25 bps; legs" in first.sentence
    assert first.edge_bps == pytest.approx(20.0)
    assert last.failed == Filter.EDGE
    assert "30.00 ≥ 25 bps" in entry.sentence
    assert "edge     30.00 bps (at least 25); a round trip costs 8.00 bps" in entry.explain()
    assert log.frame()["min_edge_bps"].tolist() == [25.0] * 4


def test_analyze_enters_where_the_plain_machine_does():
    y, x = worlds.cointegrated(74, 8_000, noise=40.0)
    times = pd.date_range("2024-08-08", periods=len(y), freq="s")
    settings = {"hedge": "ols", "window": WINDOW, "min_edge_bps": 8.0, "entry_z": 1.5}
    frame = analyze(pd.Series(y, times), pd.Series(x, times), **settings)
    free = analyze(pd.Series(y, times), pd.Series(x, times), **{**settings, "min_edge_bps": None})
    machine = PlainMachine(**asdict(Settings(**settings).values()))
    want = []
    for time, row in frame.iterrows():
        machine.step({**row, "time_ns": time.value})
        want.append(machine.position)
    np.testing.assert_array_equal(frame["position"], want)
    assert 10 < (frame["position"].diff().abs() == 1).sum() < (free["position"].diff() != 0).sum()
    entered = frame[(frame["position"] != 0) & (frame["position"].shift(fill_value=0) == 0)]
    edges = (entered["spread"] - entered["spread_mean"]).abs() / entered["y"] * 1e4
    assert (edges >= 8.0 * (1 - 1e-9)).all()
    assert edges.min() < 9.0
