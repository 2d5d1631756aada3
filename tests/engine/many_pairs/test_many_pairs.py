"""Nothing presumes one pair: states of one array, bars of symbols that several pairs share."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pairlab.engine import PairEngine, kernel
from pairlab.engine.bars import add_to_bars, roll_bars
from pairlab.engine.buffers import BarBuffers, addresses
from pairlab.engine.state import PARAMS, RING_COLUMNS, fill_params, new_state
from pairlab.errors import DataError
from pairlab.schema import EVENT, NS_PER_S, ROW, TICK
from pairlab.settings import Settings
from tests.engine import worlds

PAIRS = (
    {"hedge": "ols", "window": 30, "stop_z": 3.0, "adf_lags": 0},
    {"hedge": "kalman", "window": 20, "timeframe": "1s", "correlation_of": "returns"},
)


def test_states_of_one_array_advance_alternately_as_two_engines_do():
    streams = [worlds.trades(81 + k, 12_000) for k in range(2)]
    streams[1]["price"][4_000] = 1e9
    states, params = new_state(2), np.zeros(2, PARAMS)
    settings = [Settings(**given).values() for given in PAIRS]
    # one block for both windows
    starts = np.cumsum([0, *(values.window for values in settings)])
    windows = np.zeros((starts[-1], RING_COLUMNS))
    rings = [windows[starts[k] : starts[k + 1]] for k in range(2)]
    for k in range(2):
        fill_params(params[k : k + 1], settings[k])
    rows, events = np.zeros(1_024, ROW), np.zeros(1_024, EVENT)  # one output for both
    memory = [
        addresses(states[k : k + 1], params[k : k + 1], rings[k], None, rows, events)
        for k in range(2)
    ]
    runs = (kernel.kernel_gil(), kernel.kernel_nogil())
    got = [[], []]
    decided = [[], []]
    for number, parts in enumerate(zip(*(np.array_split(s, 301) for s in streams), strict=True)):
        for k, part in enumerate(parts):
            done, row_count, event_count = runs[number % 2](part, 0, memory[k])
            assert done == len(part)
            got[k].append(rows[:row_count].copy())
            decided[k].append(events[:event_count].copy())
    for k in range(2):
        engine = PairEngine(values=settings[k], bars=False)
        want, happened = [], []
        for part in np.array_split(streams[k], 301):
            want.append(engine.update(part).copy())
            happened.append(engine.events.copy())
        assert sum(map(len, want)) > 1_000
        assert sum(map(len, happened)) > 5
        assert np.concatenate(got[k]).tobytes() == np.concatenate(want).tobytes()
        assert_array_equal(np.concatenate(decided[k]), np.concatenate(happened))
        assert states[k].tobytes() == engine._buffers.state[0].tobytes()


@numba.njit
def roll(clock, bars, symbols, ticks):
    for i in range(len(ticks)):
        roll_bars(clock[0], bars, ticks[i].time_ns)
        add_to_bars(clock[0], bars, symbols[i], ticks[i].price, ticks[i].quantity)


@pytest.mark.slow
def test_a_symbol_has_one_set_of_bars_however_many_pairs_it_is_in():
    r = np.random.default_rng(82)
    count = 40_000
    symbols = r.integers(0, 3, count)
    ticks = np.zeros(count, TICK)
    ticks["time_ns"] = 1_723_161_256 * NS_PER_S + np.cumsum(r.exponential(2e8, count)).astype(int)
    ticks["price"] = np.array([60_000.0, 2_500.0, 150.0])[symbols] * (1 + r.normal(0, 1e-3, count))
    ticks["quantity"] = r.exponential(1.0, count).round(3)
    shared = BarBuffers(3)
    roll(shared.clock, shared.bars, symbols, ticks)
    for y, x in ((0, 1), (0, 2), (2, 1)):
        own = ticks[(symbols == y) | (symbols == x)]
        own["leg"] = symbols[(symbols == y) | (symbols == x)] == x
        engine = PairEngine()
        engine.update(own)
        for timeframe in ("1s", "5s", "1m", "15m", "1h"):
            got, want = shared.closed_of_pair(y, x, timeframe), engine.bars(timeframe)
            common = np.intersect1d(got["time_ns"], want["time_ns"])
            assert len(common) >= len(want) - 2 > 0
            for name in want.dtype.names:
                a, b = (bars[name][np.isin(bars["time_ns"], common)] for bars in (got, want))
                assert_array_equal(a[1:], b[1:], name)  # the first began with another tick


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
def test_an_engine_without_bars_gives_the_same_rows(timeframe):
    ticks = worlds.trades(83, 5_000)
    plain = PairEngine(hedge="ols", timeframe=timeframe, bars=False)
    want = PairEngine(hedge="ols", timeframe=timeframe)
    assert plain.update(ticks).tobytes() == want.update(ticks).tobytes()
    assert plain._buffers.bars is None
    with pytest.raises(DataError, match="bars=False"):
        plain.bars("1s")
