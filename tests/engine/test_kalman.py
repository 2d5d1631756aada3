"""The Kalman hedge: it follows a moving ratio, and leaves the spread to be traded."""

import numpy as np
import pytest

from pairlab.engine import PairEngine
from tests.engine import oracles, worlds


def test_it_follows_the_ratio_and_keeps_the_spread_at_default_settings():
    errors, kept, kept_by_ols = [], [], []
    for seed in range(10):
        y, x, beta, s = worlds.moving_ratio(seed)
        engine = PairEngine(timeframe="1s", hedge="kalman")
        kalman = oracles.observe(engine, y, x)[49:]
        ols = oracles.observe(PairEngine(timeframe="1s", hedge="ols"), y, x)[49:]
        miss = [np.abs(rows["hedge_ratio"] - beta[49:]).mean() for rows in (kalman, ols)]
        errors.append(miss[0] / miss[1])
        kept.append(np.corrcoef(kalman["zscore"], s[49:])[0, 1])
        kept_by_ols.append(np.corrcoef(ols["zscore"], s[49:])[0, 1])
        assert engine.kalman_warning is None
        assert 0.9 < kalman["zscore"].std() < 1.1  # a z-score in units of its own deviation
    assert np.mean(errors) <= 0.2
    assert np.mean(kept) >= 0.8
    assert np.mean(kept) > np.mean(kept_by_ols) + 0.2


def test_its_rows_are_a_filter_written_out():
    y, x, _, _ = worlds.moving_ratio(3, 800)
    rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman", kalman_half_life=40), y, x)
    q = (np.log(2) / 40) ** 2 / 2
    state, p, noise = np.array([0.0, 1.0]), np.eye(2) * 1e8, 1e-24
    for k in range(800):
        seen = np.array([1.0, x[k] / x[0]])
        p = p + q * np.eye(2)
        error = y[k] / y[0] - state @ seen
        size = 1 + seen @ p @ seen
        z = error / np.sqrt(noise * size)
        gain = p @ seen / size
        state = state + gain * error
        p = p - np.outer(gain, gain) * size
        weight = max(1 / max(k, 1), np.log(2) / 40)
        noise = max(noise + weight * (error**2 / size - noise), 1e-24)
        if k >= 100:
            assert rows["zscore"][k] == pytest.approx(z, rel=1e-4, abs=1e-6)
            assert rows["spread"][k] == pytest.approx(error * y[0], rel=1e-4, abs=1e-6)
            assert rows["hedge_ratio"][k] == pytest.approx(state[1] * y[0] / x[0], rel=1e-6)
            assert rows["intercept"][k] == pytest.approx(state[0] * y[0], rel=1e-4, abs=1e-2)


def warning(y, x, **settings):
    engine = PairEngine(timeframe="1s", hedge="kalman", **{"window": 300, **settings})
    seen = []
    for part in np.array_split(np.arange(len(y)), 4):
        if not seen:
            oracles.observe(engine, y[part], x[part])
        else:
            times = oracles.T0 + 10**12 + part * 10**9
            engine.observe(times, y[part], x[part], times, times)
        seen.append(engine.kalman_warning)
    return seen[-1]


def test_health_is_silent_where_the_memory_is_long_enough():
    y, x, _, _ = worlds.moving_ratio(5, 12_000)
    assert warning(y, x) is None


def test_health_warns_when_the_filter_eats_the_spread():
    r = np.random.default_rng(8)
    x = 3000 + np.cumsum(r.normal(0, 0.5, 12_000))
    y = 10_000 + 25 * x + worlds.ou(r, 12_000, 1_000, 60.0)
    assert "tenth of its variance" in warning(y, x, kalman_half_life=10, window=4_000)
    assert warning(y, x, kalman_half_life=5_900, window=4_000) is None


def test_health_warns_when_the_spread_outlives_the_memory():
    y, x, _, _ = worlds.moving_ratio(5, 12_000)
    said = warning(y, x, kalman_half_life=15)
    assert "spread half-life (" in said
    assert "is too close to kalman_half_life (15): the hedge adapts" in said


def test_health_waits_for_twice_the_memory():
    y, x, _, _ = worlds.moving_ratio(5, 500)
    engine = PairEngine(timeframe="1s", hedge="kalman", kalman_half_life=300)
    oracles.observe(engine, y, x)
    assert engine.kalman_warning is None
    assert PairEngine().kalman_warning is None


def test_silence_does_not_shrink_the_noise_until_the_next_move_is_enormous():
    y, x, _, _ = worlds.moving_ratio(7, 8_000)
    y[4_000:7_000], x[4_000:7_000] = y[4_000], x[4_000]
    y[7_000:] += y[4_000] - y[7_000]
    x[7_000:] += x[4_000] - x[7_000]
    rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman"), y, x)
    assert np.isnan(rows["zscore"][4_060:7_000]).all()
    assert np.nanmax(np.abs(rows["zscore"][7_000:7_100])) < 8
