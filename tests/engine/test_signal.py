"""The compiled signal machine against the table, row by row, and against a plain one."""

from collections import Counter
from dataclasses import asdict

import numba
import numpy as np
import pytest

from pairlab.engine import PairEngine
from pairlab.engine.signals import decide
from pairlab.engine.state import PARAMS, fill_params, new_state
from pairlab.limits.stationarity import largest_p
from pairlab.schema import EVENT, NS_PER_S, ROW, AlertKind, Filter
from pairlab.settings import Settings
from tests.engine import worlds
from tests.engine.plain_machine import PlainMachine

ENTRY, EXIT, STOP = AlertKind.ENTRY, AlertKind.EXIT, AlertKind.STOP
SUPPRESSED, DECOUPLED = AlertKind.SUPPRESSED, AlertKind.DECOUPLED


@numba.njit
def drive(rows, state, params, events):
    k = 0
    for i in range(len(rows)):
        happened = decide(state[0], params[0], rows[i], events[k])
        rows[i].position = state[0].position
        if happened != 0:
            events[k].row = i
            k += 1
    return k


def run(
    z, *, every_s=1.0, correlation=0.9, p_value=0.01, y_age_s=0.0, hedge_ratio=25.0, **settings
):
    """Events [(row, kind, side)] and positions for a series of z-scores."""
    rows = np.zeros(len(z), ROW)
    rows["time_ns"] = (1 + np.arange(len(z)) * every_s) * NS_PER_S
    rows["zscore"], rows["correlation"], rows["p_value"] = z, correlation, p_value
    rows["y_age_s"], rows["hedge_ratio"] = y_age_s, hedge_ratio
    params, state, events = np.zeros(1, PARAMS), new_state(), np.zeros(len(z) + 1, EVENT)
    fill_params(params, Settings(**settings).values())
    count = drive(rows, state, params, events)
    return events[:count], rows["position"].tolist()


def told(events):
    return [(int(e["row"]), AlertKind(e["kind"]), int(e["side"])) for e in events]


@pytest.mark.parametrize("side", [1, -1])
def test_entry_and_exit_at_the_thresholds_themselves(side):
    events, positions = run([0, -side * 1.99, -side * 2.0, -side * 0.51, -side * 0.5, 0])
    assert told(events) == [(2, ENTRY, side), (4, EXIT, side)]
    assert positions == [0, 0, side, side, 0, 0]


def test_a_jump_right_through_exits_first_and_enters_on_the_next_row():
    events, positions = run([-2.5, 3.0, 3.0, 0.0])
    assert told(events) == [(0, ENTRY, 1), (1, EXIT, 1), (2, ENTRY, -1), (3, EXIT, -1)]
    assert positions == [1, 0, -1, 0]


def test_nothing_repeats_while_a_state_lasts():
    events, _ = run([-3.0] * 50)
    assert told(events) == [(0, ENTRY, 1)]


@pytest.mark.parametrize("side", [1, -1])
def test_a_stop_locks_until_the_excursion_ends(side):
    z = -side * np.array([2.5, 4.0, 3.0, 2.5, 0.6, 2.5, 0.5, 2.2])
    events, _ = run(z, stop_z=4.0)
    assert told(events) == [(0, ENTRY, side), (1, STOP, side), (7, ENTRY, side)]


def test_a_stop_opens_when_z_changes_sign():
    events, _ = run([-2.5, -4.5, -3.0, 2.5], stop_z=4.0)
    assert told(events) == [(0, ENTRY, 1), (1, STOP, 1), (3, ENTRY, -1)]


def test_without_a_stop_nothing_stops():
    events, _ = run([-2.5, -40.0, -400.0])
    assert told(events) == [(0, ENTRY, 1)]


@pytest.mark.parametrize(
    ("given", "settings", "failed"),
    [
        ({"correlation": 0.69}, {}, Filter.CORRELATION),
        ({"correlation": np.nan}, {"min_correlation": -1.0}, Filter.CORRELATION),
        ({"y_age_s": 10.0}, {}, Filter.LEG_AGE),
        ({"correlation": 0.95, "hedge_ratio": -25.0}, {}, Filter.CORRELATION),
        ({"correlation": -0.69, "hedge_ratio": -25.0}, {}, Filter.CORRELATION),
        ({"p_value": 0.05}, {"require_stationary": True}, Filter.STATIONARY),
        ({"p_value": 0.06}, {"require_stationary": True}, Filter.STATIONARY),
        ({"p_value": np.nan}, {"require_stationary": True}, Filter.STATIONARY),
    ],
)
def test_each_filter_suppresses_and_says_so(given, settings, failed):
    events, positions = run([0, 2.5, 2.6], **given, **settings)
    assert told(events) == [(1, SUPPRESSED, -1)]
    assert events["failed"][0] == failed
    assert positions == [0, 0, 0]


def test_filters_at_their_edges_pass():
    p_value = largest_p(Settings(require_stationary=True).values())
    assert 0.042 < p_value < 0.043  # of the level 0.05 at 50 rows
    events, _ = run([2.5], correlation=0.7, y_age_s=9.999, p_value=p_value, require_stationary=True)
    assert told(events) == [(0, ENTRY, -1)]


def test_an_entry_beyond_the_stop_is_held_back_until_it_is_not():
    events, positions = run([0.0, 4.0, 4.5, 3.99, 0.0, -7.0], stop_z=4.0, every_s=20.0)
    assert told(events) == [(1, SUPPRESSED, -1), (3, ENTRY, -1), (4, EXIT, -1), (5, SUPPRESSED, 1)]
    assert events["failed"][[0, 3]].tolist() == [Filter.STOP_Z, Filter.STOP_Z]
    assert positions == [0, 0, 0, -1, 0, 0]


@pytest.mark.parametrize("beta", [25.0, -25.0, 1e-9, -1e-9])
def test_legs_are_coupled_while_y_moves_with_beta_times_x(beta):
    sign = np.sign(beta)
    correlation = sign * np.array([0.7, 0.7, 0.69, 0.9, 0.1, 0.9])
    events, _ = run([2.5, 2.0, 2.0, 2.0, 2.0, 0.0], correlation=correlation, hedge_ratio=beta)
    assert told(events) == [(0, ENTRY, -1), (2, DECOUPLED, -1), (5, EXIT, -1)]


def test_a_mirrored_pair_has_the_same_entries():
    """Of y − 25·x and y + 25·x′, with x′ = 2·mean − x, the spreads move alike."""
    ticks = worlds.trades(100, 40_000)
    mirrored = ticks.copy()
    x = ticks["leg"] == 1
    mirrored["price"][x] = 6_000.0 - ticks["price"][x]
    given = {"window": 40, "min_edge_bps": None, "require_stationary": True, "max_p_value": 0.5}
    plain = PairEngine(hedge_ratio=25.0, **given)
    plain.update(ticks)
    turned = PairEngine(hedge_ratio=-25.0, **given)
    rows = turned.update(mirrored)
    assert (plain.events["kind"] == ENTRY).sum() > 100
    np.testing.assert_array_equal(plain.events, turned.events)
    assert np.nanmean(rows["correlation"]) < -0.5, "the column stays Pearson's own"


def test_several_filters_fail_together():
    events, _ = run([2.5], correlation=0.1, y_age_s=11.0)
    assert events["failed"][0] == Filter.CORRELATION | Filter.LEG_AGE


def test_filters_never_hold_back_an_exit_or_a_stop():
    n = np.nan
    correlation = [0.9, n, 0.9, n]
    events, _ = run([2.5, 0.2, 2.5, 4.2], correlation=correlation, y_age_s=[0, 99, 0, 99], stop_z=4)
    assert told(events) == [(0, ENTRY, -1), (1, EXIT, -1), (2, ENTRY, -1), (3, STOP, -1)]


@pytest.mark.parametrize("side", [1, -1])
def test_a_position_is_stopped_at_its_age_and_locked_until_the_excursion_ends(side):
    z = -side * np.array([2.5, 2.4, 2.3, 2.5, 0.4, 2.5])
    events, positions = run(z, max_hold_s=2.0)
    assert told(events) == [(0, ENTRY, side), (2, STOP, side), (5, ENTRY, side)]
    assert events["failed"].tolist() == [0, Filter.MAX_HOLD, 0]
    assert positions == [side, side, 0, 0, 0, side]


def test_a_row_that_exits_or_stops_by_itself_does_not_stop_by_time():
    events, _ = run([2.5, 2.5, 0.4], max_hold_s=2.0)
    assert told(events) == [(0, ENTRY, -1), (2, EXIT, -1)]
    events, _ = run([2.5, 2.5, 4.4], max_hold_s=2.0, stop_z=4.0)
    assert told(events) == [(0, ENTRY, -1), (2, STOP, -1)]
    assert not events["failed"].any()


def test_a_position_is_stopped_at_its_age_though_z_is_not_known():
    n = np.nan
    events, positions = run([2.5, n, n, n, 2.5, 0.1, 2.5], max_hold_s=2.0)
    assert told(events) == [(0, ENTRY, -1), (2, STOP, -1), (6, ENTRY, -1)]
    assert positions == [-1, -1, 0, 0, 0, 0, -1]


def test_a_time_stop_begins_the_cooldown_and_its_age_counts_from_the_last_entry():
    z = [2.5, 0.0, 2.5, 2.5, 2.5, -2.5, -2.5, -2.5]
    events, _ = run(z, max_hold_s=2.0, cooldown_s=2.0)
    kinds = [(0, ENTRY, -1), (1, EXIT, -1), (2, SUPPRESSED, -1), (3, ENTRY, -1), (5, EXIT, -1)]
    assert told(events) == [*kinds, (7, ENTRY, 1)]
    events, _ = run([2.5, 2.5, 2.5, -2.5, -2.5], max_hold_s=2.0, cooldown_s=2.0)
    assert told(events) == [(0, ENTRY, -1), (2, STOP, -1), (3, SUPPRESSED, 1), (4, ENTRY, 1)]
    assert events["failed"].tolist() == [0, Filter.MAX_HOLD, Filter.COOLDOWN, 0]


def test_suppressed_once_per_excursion_and_entry_when_the_filter_passes():
    events, _ = run([2.5, 1.0, 2.5, 2.5], correlation=[0.1, 0.1, 0.1, 0.9])
    assert told(events) == [(0, SUPPRESSED, -1), (3, ENTRY, -1)]


def test_suppressed_at_most_once_in_ten_seconds_with_a_count():
    z = [2.5, 0, 2.5, 0, -2.5, 0, 2.5]
    events, _ = run(z, every_s=2.0, correlation=0.1)
    assert told(events) == [(0, SUPPRESSED, -1), (6, SUPPRESSED, -1)]
    assert events["withheld"].tolist() == [0, 2]


def test_a_withheld_excursion_is_not_shown_later():
    events, _ = run([2.5, 0, 2.5, 2.5, 2.5], every_s=6.0, correlation=0.1)
    assert told(events) == [(0, SUPPRESSED, -1), (2, SUPPRESSED, -1)]
    events, _ = run([2.5, 0, 2.5, 2.5, 2.5], every_s=4.0, correlation=0.1)
    assert told(events) == [(0, SUPPRESSED, -1)]


def test_cooldown_counts_from_the_last_exit():
    events, _ = run([2.5, 0.0, 2.5, 2.5, 2.5], cooldown_s=3.0)
    assert told(events) == [(0, ENTRY, -1), (1, EXIT, -1), (2, SUPPRESSED, -1), (4, ENTRY, -1)]
    assert events["failed"][2] == Filter.COOLDOWN


def test_decoupled_once_per_position_and_not_for_nan():
    correlation = [0.9, np.nan, 0.5, 0.9, 0.4, 0.9, 0.9, 0.3]
    events, _ = run([2.5, 2.5, 2.5, 2.5, 2.5, 0.0, 2.5, 2.5], correlation=correlation)
    assert told(events) == [
        (0, ENTRY, -1),
        (2, DECOUPLED, -1),
        (5, EXIT, -1),
        (6, ENTRY, -1),
        (7, DECOUPLED, -1),
    ]


def test_exit_comes_before_decoupled():
    events, _ = run([2.5, 0.1], correlation=[0.9, 0.1])
    assert told(events) == [(0, ENTRY, -1), (1, EXIT, -1)]


def test_nan_changes_nothing():
    n = np.nan
    events, positions = run([n, 2.5, n, n, 0.1, n], correlation=[0.9, 0.9, 0.1, n, 0.9, 0.9])
    assert told(events) == [(1, ENTRY, -1), (4, EXIT, -1)]
    assert positions == [0, -1, -1, -1, 0, 0]


SETTINGS = [
    {},
    {"stop_z": 2.6, "exit_z": 0.0, "entry_z": 1.5},
    {"min_correlation": 0.95, "cooldown_s": 5.0},
    {"max_leg_age_s": 0.5, "stop_z": 3.0},
    {"require_stationary": True, "max_p_value": 0.2, "entry_z": 1.0, "exit_z": 0.9},
    {"min_correlation": -1.0, "entry_z": 0.5, "exit_z": 0.1, "stop_z": 0.6},
    {"min_edge_bps": 1.1, "entry_z": 1.0},
    {"max_hold_s": 4.0, "stop_z": 3.0, "cooldown_s": 1.0},
]


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
@pytest.mark.parametrize("given", range(len(SETTINGS)))
def test_a_plain_machine_says_the_same_of_real_rows(hedge, given):
    ticks = worlds.trades(100 + given, 40_000)
    engine = PairEngine(hedge=hedge, hedge_ratio=25.0, window=40, **SETTINGS[given])
    rows = engine.update(ticks)
    machine = PlainMachine(**asdict(engine.values))
    want, positions = [], []
    for k, row in enumerate(rows):
        happened = machine.step(row)
        if happened is not None:
            want.append((k, *map(int, happened)))
        positions.append(machine.position)
    got = [tuple(int(v) for v in e) for e in engine.events]
    assert got == want
    np.testing.assert_array_equal(rows["position"], positions)
    kinds = Counter(kind for _, kind, *_ in want)
    assert kinds[ENTRY] >= 5
    assert kinds[EXIT] + kinds[STOP] >= 5


def test_those_runs_show_every_kind_of_event():
    seen = set()
    for given, settings in enumerate(SETTINGS):
        engine = PairEngine(hedge_ratio=25.0, window=40, **settings)
        engine.update(worlds.trades(100 + given, 40_000))
        seen |= set(engine.events["kind"].tolist())
    assert seen == {int(kind) for kind in AlertKind}
