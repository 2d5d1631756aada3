"""The compiled kernel equals its own Python source, run by Python."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pairlab.engine import PairEngine
from pairlab.schema import EVENT, ROW
from tests.engine import worlds

PLAIN = """
import sys
import numpy as np
from pairlab.engine import kernel
from pairlab.engine.state import *
from pairlab.engine.validation import ObservationSettings
from pairlab.schema import EVENT, ROW

where = sys.argv[1]
for number, given in enumerate(eval(sys.argv[2])):
    ticks = np.load(where + "/ticks.npy")
    params, state = np.zeros(1, PARAMS), new_state()
    fill_params(params, ObservationSettings(**given).values())
    params["keep_bars"] = 1
    rows, events = np.zeros(len(ticks), ROW), np.zeros(len(ticks), EVENT)
    clock = np.zeros(1, BAR_CLOCK)
    bars = np.zeros((len(BAR_TIMEFRAMES), BARS_HELD + 1, LEGS), SYMBOL_BAR)
    ring = np.zeros((given["window"], RING_COLUMNS))
    as_records = [a.view(np.recarray) for a in (ticks, state, params, clock, bars, rows, events)]
    ticks, state, params, clock, bars, rows, events = as_records
    _, made, happened = kernel.consume(
        ticks, 0, state[0], params[0], ring, clock[0], bars, rows, events
    )
    np.save(where + f"/rows{number}.npy", np.asarray(rows[:made], ROW))
    np.save(where + f"/events{number}.npy", np.asarray(events[:happened], EVENT))

    # the first rows again, as observations
    seen = np.asarray(rows[:made][:400], ROW)
    state = new_state().view(np.recarray)
    ring[:] = 0.0
    again, events = (np.zeros(len(seen), dtype).view(np.recarray) for dtype in (ROW, EVENT))
    times = np.arange(len(seen)) * 10**9
    happened = kernel.observe_many(
        times, seen["y"], seen["x"], times - 1, times - 2, state[0], params[0], ring, again, events
    )
    np.save(where + f"/again{number}.npy", np.asarray(again, ROW))
    np.save(where + f"/again_events{number}.npy", np.asarray(events[:happened], EVENT))
"""


GIVEN = [
    {"hedge": "fixed", "hedge_ratio": 25.0, "window": 20},
    {
        "hedge": "ols",
        "window": 20,
        "adf_lags": 0,
        "correlation_of": "returns",
        "timeframe": "1s",
    },
    {
        "hedge": "ols",
        "window": 30,
        "price_scale": "log",
        "stop_z": 2.5,
        "min_edge_bps": 1.0,
        "max_hold_s": 3.0,
    },
    {"hedge": "kalman", "window": 20, "kalman_half_life": 30.0, "min_edge_bps": 1.0},
    {"hedge": "ols", "window": 10, "timeframe": "1s"},
]


@pytest.fixture(scope="module")
def in_python(tmp_path_factory):
    """The folder with what Python makes of each: a process of its own takes the time of several."""
    folder = tmp_path_factory.mktemp("python")
    ticks = worlds.trades(41, 1_500)
    ticks["price"][700] = 1e9
    ticks["price"][[3, 900]] = np.nan, -1.0
    np.save(folder / "ticks.npy", ticks)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PLAIN, str(folder), repr(GIVEN)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow  # the kernel is compiled for it
@pytest.mark.parametrize("number", range(len(GIVEN)))
def test_compiled_equals_python(number, in_python):
    engine = PairEngine(**GIVEN[number])
    rows = engine.update(np.load(in_python / "ticks.npy"))
    want = np.load(in_python / f"rows{number}.npy")
    events = np.load(in_python / f"events{number}.npy")
    assert len(rows) == len(want) > 100
    assert np.isfinite(rows["p_value"]).sum() > 50
    check(rows, engine.events, want, events)

    seen = want[:400]
    engine, times = PairEngine(**GIVEN[number]), np.arange(len(seen)) * 10**9
    rows = engine.observe(times, seen["y"], seen["x"], times - 1, times - 2)
    again, events = (np.load(in_python / f"{f}{number}.npy") for f in ("again", "again_events"))
    check(rows, engine.events, again, events)


def check(rows, events, want, want_events):
    for name in ROW.names:
        # exp, log and erfc may differ in the last place between two mathematical libraries
        np.testing.assert_allclose(rows[name], want[name], rtol=1e-9, atol=1e-12, err_msg=name)
    for name in EVENT.names:
        np.testing.assert_array_equal(events[name], want_events[name])
