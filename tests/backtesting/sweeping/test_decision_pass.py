"""The decision pass against a whole run of the engine, for every threshold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab import DataError, PairEngine, SettingError
from pairlab.backtesting.sweeping.column_rows import COLUMNS
from pairlab.backtesting.sweeping.decision_pass import columns_of, decisions
from pairlab.schema import ROW, AlertKind
from pairlab.settings import METRIC_SETTINGS, SETTINGS
from tests.engine import worlds

HEDGES = {
    "fixed": {"hedge_ratio": 25.0},
    "ols": {},
    "kalman": {"kalman_half_life": 60.0},
    "log": {"hedge": "ols", "price_scale": "log"},
}
UNREAD = {"fee_bps", "history_rows", "ticks_held"}  # by no decision
THRESHOLDS = {
    "entry_z": st.floats(0.6, 3.5),
    "exit_z": st.floats(0.0, 0.5),
    "stop_z": st.none() | st.floats(3.6, 6.0),
    "min_correlation": st.floats(-1.0, 1.0),
    "max_leg_age_s": st.floats(0.05, 60.0),
    "require_stationary": st.booleans(),
    "max_p_value": st.floats(0.001, 1.0),
    "cooldown_s": st.sampled_from([0.0, 0.5, 30.0]),
    "max_hold_s": st.sampled_from([None, 0.0, 0.3, 5.0]),
    "min_edge_bps": st.none() | st.floats(0.1, 3.0),
}


@pytest.fixture(scope="module")
def ticks():
    return worlds.trades(11, 6_000, silence=0.005)


@pytest.fixture(scope="module")
def runs(ticks):
    """Rows under default thresholds, as columns, by hedge."""
    found = {}
    for name, given_ in HEDGES.items():
        engine = PairEngine(bars=False, window=40, **{"hedge": name, **given_})
        found[name] = columns_of(engine.update(ticks), engine.values)
    return found


def test_every_threshold_is_varied_here():
    assert {*THRESHOLDS, *UNREAD} == {*SETTINGS} - METRIC_SETTINGS


def check(ticks, columns, thresholds):
    values = replace(columns.values, **thresholds)
    engine = PairEngine(values=values, bars=False)
    rows = engine.update(ticks)
    positions, events = decisions(columns, values)
    np.testing.assert_array_equal(positions, rows["position"])
    np.testing.assert_array_equal(events, engine.events)
    return events


@settings(max_examples=60, deadline=None)
@given(hedge=st.sampled_from(sorted(HEDGES)), thresholds=st.fixed_dictionaries(THRESHOLDS))
def test_positions_and_events_are_those_of_a_whole_run(ticks, runs, hedge, thresholds):
    check(ticks, runs[hedge], thresholds)


def test_each_threshold_by_itself_and_more_events_than_there_is_room_for(ticks, runs):
    kinds = set()
    extremes = [
        {"entry_z": 0.55, "exit_z": 0.5, "min_correlation": -1.0}, {"entry_z": 3.0},
        {"stop_z": 2.1}, {"max_hold_s": 0.1}, {"min_correlation": 0.99}, {"cooldown_s": 60.0},
        {"max_leg_age_s": 0.2}, {"require_stationary": True}, {"min_edge_bps": 5.0},
    ]  # fmt: skip
    most = 0
    for hedge in HEDGES:
        plain = check(ticks, runs[hedge], {})
        for thresholds in extremes:
            events = check(ticks, runs[hedge], thresholds)
            assert not np.array_equal(events, plain), (hedge, thresholds)
            kinds |= set(events["kind"].tolist())
            most = max(most, len(events))
    assert kinds == {int(kind) for kind in AlertKind}
    assert most > 1_024


def test_rows_from_the_first_z_score_on_are_enough(ticks):
    engine = PairEngine(bars=False, window=40, hedge="ols")
    rows = engine.update(ticks)
    begin = int(np.flatnonzero(np.isfinite(rows["zscore"]))[0])
    positions, events = decisions(columns_of(rows[begin:], engine.values), engine.values)
    np.testing.assert_array_equal(positions, rows["position"][begin:])
    np.testing.assert_array_equal(events["row"] + begin, engine.events["row"])


def test_no_rows_decide_nothing(runs):
    empty = columns_of(np.zeros(0, ROW), runs["ols"].values)
    positions, events = decisions(empty, empty.values)
    assert len(positions) == len(events) == 0


def test_a_setting_that_defines_a_metric_is_refused(runs):
    with pytest.raises(SettingError, match="window"):
        decisions(runs["ols"], replace(runs["ols"].values, window=41))


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_compiled_code_would_misread_are_refused(runs, name):
    columns = runs["ols"]
    good = getattr(columns, name)
    for bad in (good[:-1], good[::-1], good.astype(np.float32), good.tolist()):
        with pytest.raises(DataError, match=name if len(bad) == len(good) else "must be"):
            replace(columns, **{name: bad})
