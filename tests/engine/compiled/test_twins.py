"""Each function that calls no other equals its Python source; `test_python_source` has the rest."""

import doctest
import functools
import math

import numba
import numpy as np
import pytest

from pairlab.engine import bars, cointegration, hedge, kernel, observation, rolling_sums, signals
from pairlab.engine.buffers import BarBuffers
from pairlab.engine.state import PARAMS, STATE, fill_params
from pairlab.schema import ROW
from pairlab.settings import Settings
from tests.engine import worlds

EDGES = [0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan]


@functools.cache
def compiled(function):
    """Return a compiled caller: an internal function has no wrapper for Python."""
    return numba.njit(error_model="numpy")(lambda *args: function(*args))


def records(dtype, count, seed, low=-3.0, high=3.0):
    """Records of small integers and numbers of either sign, some of them NaN or infinite."""
    r = np.random.default_rng(seed)
    out = np.zeros(count, dtype)
    for name in dtype.names:
        field = out[name]
        if dtype[name].base.kind == "f":
            field[...] = r.uniform(low, high, field.shape)
            field[r.random(field.shape) < 0.02] = r.choice(EDGES)
        else:
            field[...] = r.integers(-2, 4, field.shape)
    return out


def same(function, cases):
    """Run both on the same arguments; compare what they return and what they write."""
    assert len(cases) >= 20
    for args in cases:
        ours, theirs = ([copied(a) for a in args] for _ in "ab")
        got = compiled(function)(*map(record, ours))
        with np.errstate(all="ignore"):
            want = function.py_func(*map(record, theirs))
        if want is not None:
            np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=str(args))
        for a, b in zip(ours, theirs, strict=True):
            if isinstance(a, np.ndarray) and a.tobytes() == b.tobytes():
                continue
            for name in getattr(getattr(a, "dtype", None), "names", None) or ():
                np.testing.assert_allclose(a[name], b[name], rtol=1e-12, err_msg=name)


def copied(a):
    """Copy an array; Python reads the fields of a recarray as attributes, as compiled code does."""
    if not isinstance(a, np.ndarray):
        return a
    return a.copy() if a.dtype.names is None else a.copy().view(np.recarray)


def record(a):
    """Return the record itself of an array of one."""
    return a[0] if isinstance(a, np.ndarray) and a.dtype.names and a.shape == (1,) else a


def numbers(count, seed, scale=(1e-9, 1e9)):
    r = np.random.default_rng(seed)
    size = np.exp(r.uniform(*np.log(scale), (200, count)))
    return (size * r.choice([-1.0, 1.0], size.shape)).tolist()


def params_of(**given):
    params = np.zeros(1, PARAMS)
    fill_params(params, Settings(**given).values())
    return params


GIVEN = [
    {"hedge": "fixed", "hedge_ratio": 25.0, "window": 20},
    {"hedge": "ols", "window": 12, "price_scale": "log", "adf_lags": 0, "min_edge_bps": 1.0},
    {"hedge": "kalman", "window": 30, "require_stationary": True, "cooldown_s": 1e-9},
]


def test_scalar_functions():
    same(rolling_sums.minus_product, numbers(3, 1))
    same(cointegration.half_life, [[g] for g in (*np.linspace(-1.2, 0.2, 57), -1e-13, *EDGES)])
    same(
        cointegration.mackinnon_p,
        [[t, n] for t in (*np.linspace(-20, 4, 97), -1.61, -2.62, math.nan) for n in (1, 2)],
    )
    same(
        cointegration.adf_statistic,
        [[50, k % 2, k // 2 % 2, *map(abs, row[:2]), *row[2:]]
         for k, row in enumerate(numbers(6, 2, (1e-3, 1e3)))],
    )  # fmt: skip
    same(
        observation.correlation_of, [[a, abs(b), abs(c)] for a, b, c in numbers(3, 3, (0.1, 10.0))]
    )


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.slow
def test_functions_of_state_and_parameters(given):
    p = params_of(**given)
    states = [records(STATE, 1, k, 0.01, 3.0) for k in range(24)]
    ring = np.random.default_rng(4).uniform(1.0, 2.0, (given["window"], 3))
    slots = [k % given["window"] for k in range(24)]
    same(rolling_sums.one_return, [[p, abs(a), abs(b)] for a, b in numbers(2, 5)])
    same(rolling_sums.return_noise, [[p]] * 20)
    same(rolling_sums.noise_floor, [[s, p] for s in states])
    same(rolling_sums.recentre, [[s, p] for s in states])
    same(hedge.ols, [[s, p] for s in states])
    same(hedge.kalman_start, [[s, p, 2.0, 3.0] for s in states])
    for s in states:
        for variance in ("k_r", "k_d0", "k_d1"):
            s[variance] = np.abs(s[variance])
    same(
        hedge.kalman_step,
        [[s, p, 1.0 + k, 2.0, k % 5 == 0] for k, s in enumerate(states)],
    )
    same(
        cointegration.residual,
        [[s, ring, slot, 0.5] for s, slot in zip(states, slots, strict=True)],
    )


@pytest.mark.parametrize("given", GIVEN)
def test_the_edge_of_a_row(given):
    p = params_of(**given)
    same(signals.edge_bps, [[p, records(ROW, 1, k)] for k in range(60)])


def test_functions_of_ticks():
    ticks = worlds.trades(6, 40)
    ticks["price"][[5, 9, 11]] = math.nan, -1.0, math.inf
    ticks["leg"][[20, 21]] = 2, -1
    states = [records(STATE, 1, k) for k in range(40)]
    same(kernel.acceptable, [[s, ticks[k : k + 1]] for k, s in enumerate(states)])
    same(kernel.take_tick, [[s, ticks[k : k + 1]] for k, s in enumerate(states)])
    same(kernel.count_in_bar, [[s, 10**9, k - 20] for k, s in enumerate(states)])


def test_a_trade_in_its_bar():
    books = BarBuffers(1)
    book = books.bars[:1, :4].copy()
    cases = []
    for k, (price, quantity) in enumerate(numbers(2, 7, (1e-3, 1e3))):
        bars_now = book.copy()
        bars_now["close"], bars_now["volume"] = (math.nan, 0.0) if k % 3 else (2.0, k % 2 - 1.0)
        clock = books.clock.copy()
        clock["head"][0, 0] = k % 4
        cases.append([clock, bars_now, 0, abs(price), quantity if k % 7 else math.nan])
    same(bars.add_to_bars, cases)


def test_examples_call_the_python_source():
    # an internal function has no wrapper for Python: calling it would end the process
    done = doctest.testmod(cointegration)
    assert (done.attempted, done.failed) == (1, 0)
