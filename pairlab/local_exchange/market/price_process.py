"""Stochastic process of the synthetic market: two cointegrated prices with decoupled episodes.

Everything runs in *trade time*: a step is a fixed fraction of a trade, and clock time per step
varies with the market's activity. A window of a given number of ticks therefore has the same
statistics at every rate, in busy and in quiet periods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARBITRAGE_SHARE", "MEAN_SWEEP", "STEPS", "STEP_TRADES", "PairProcess", "StepBatch"]

STEPS: Final = 2_000
"""Steps in a batch."""
STEP_TRADES: Final = 0.4
"""Expected trades per step."""
MEAN_SWEEP: Final = 1.7
"""Mean number of trades per taker order."""
ARBITRAGE_SHARE: Final = 0.97
"""Share of orders that arbitrage follows at once with one on the other leg."""

Floats = NDArray[np.float64]

# Mean-reversion times in trades and sizes in units of x's (or y's) price, chosen so that over 50
# ticks the correlation is mostly above 0.8 and |z| passes 2 every second or two at 40 trades/s.
# Swings are smooth, because rough ones appear in a tick-by-tick z-score as spikes of one tick.
_DRIFT: Final = 2.2e-5  # of x per square root of a trade, mostly through a smooth velocity
_DRIFT_SMOOTH: Final = 0.97
_WAVE: Final = 5e-4  # of x: swings that last some hundred trades
_SPREAD: Final = 7e-5  # of y
_SLOW_SPREAD: Final = 1.3e-4  # of y
_MEMORY: Final = {
    "volatility": 1_200.0,
    "activity": 200.0,
    "velocity": 60.0,
    "wave": 60.0,
    "level": 850_000.0,
    "spread": 30.0,
    "slow": 48_000.0,
    "decoupled": 80.0,
}
_VOLATILITY_SD: Final = 0.45
_ACTIVITY_SD: Final = 0.6
_EPISODE_INTERVAL: Final = 3_600.0  # trades
_EPISODE_LENGTH: Final = (100.0, 260.0)  # trades

_PHI: Final = {name: math.exp(-STEP_TRADES / memory) for name, memory in _MEMORY.items()}
_POWERS: Final = {name: phi ** np.arange(1, STEPS + 1) for name, phi in _PHI.items()}


@dataclass(frozen=True, slots=True)
class StepBatch:
    """One batch of the process.

    Attributes
    ----------
    elapsed : ndarray of float, shape (STEPS + 1,)
        Clock at the edge of each step, in mean times between trades.
    y, x : ndarray of float, shape (STEPS + 1,)
        Fair prices at the edge of each step.
    """

    elapsed: Floats
    y: Floats
    x: Floats


class PairProcess:
    """y = ratio · x + intercept + spread, with stochastic volatility and decoupled episodes.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    ratio, intercept : float
        Of y on x.
    x_price : float
        Initial price of x, and the level it slowly reverts to.
    """

    def __init__(
        self, rng: np.random.Generator, ratio: float, intercept: float, x_price: float
    ) -> None:
        self._rng = rng
        self._ratio = ratio
        self._intercept = intercept
        self._x_price = x_price
        self._y_price = ratio * x_price + intercept
        self._state = dict.fromkeys([*_MEMORY, "wave2", "spread2"], 0.0)
        self._episode_left = 0
        self._last = (self._y_price, x_price)

    def next_batch(self) -> StepBatch:
        """Return the next batch; its first edge is the last edge of the batch before."""
        rng = self._rng
        volatility = np.exp(self._ar1("volatility", self._noise("volatility", _VOLATILITY_SD)))
        activity = self._ar1("activity", self._noise("activity", _ACTIVITY_SD))
        time_scale = np.exp(-activity - _ACTIVITY_SD**2 / 2)  # mean 1: keeps the requested rate

        velocity_sd = math.sqrt(_DRIFT_SMOOTH * _DRIFT**2 / (2 * _MEMORY["velocity"]))
        velocity = self._ar1("velocity", self._noise("velocity", velocity_sd))
        rough = math.sqrt((1 - _DRIFT_SMOOTH) * STEP_TRADES) * _DRIFT
        before = self._state["wave2"]
        swing = self._ar1("wave", self._noise("wave", 1.0))
        wave = self._ar1("wave", swing * (1 - _PHI["wave"]), "wave2")
        step = np.diff(wave, prepend=before) * math.sqrt(2.0) * _WAVE
        step += velocity * STEP_TRADES + rng.standard_normal(STEPS) * rough
        step *= volatility * self._x_price
        level = self._ar1("level", step)

        push = volatility * self._noise("spread", math.sqrt(2.0) * _SPREAD * self._y_price)
        rush = self._ar1("spread", push)
        spread = self._ar1("spread", rush * (1 - _PHI["spread"]), "spread2")
        slow = self._ar1("slow", self._noise("slow", _SLOW_SPREAD * self._y_price))
        # In a decoupled episode y follows noise of its own instead of x; afterwards it reverts.
        own = _DRIFT * self._y_price * 0.7 * math.sqrt(STEP_TRADES)
        shocks = volatility * own * rng.standard_normal(STEPS) - self._ratio * step
        decoupled = self._ar1("decoupled", np.where(self._episodes(), shocks, 0.0))

        x = self._x_price + level
        y = self._ratio * x + self._intercept + spread + slow + decoupled
        edges_y = np.concatenate(([self._last[0]], y))
        edges_x = np.concatenate(([self._last[1]], x))
        self._last = (float(y[-1]), float(x[-1]))
        elapsed = np.concatenate(([0.0], np.cumsum(time_scale * STEP_TRADES)))
        return StepBatch(elapsed, edges_y, edges_x)

    def history(self, steps: int, step_trades: float) -> tuple[Floats, Floats]:
        """Return a coarse history of (y, x), oldest first, that ends where the process starts.

        A stationary Ornstein-Uhlenbeck process is reversible in time, so the history is one more
        path from the same start, reversed.
        """
        rng = self._rng
        level_sd = _DRIFT * self._x_price * math.sqrt(_MEMORY["level"] / 2)
        x = self._x_price + _coarse(rng, steps, step_trades, _MEMORY["level"], level_sd)
        y = self._ratio * x + self._intercept
        for name, size in (("spread", _SPREAD), ("slow", _SLOW_SPREAD)):
            y += _coarse(rng, steps, step_trades, _MEMORY[name], size * self._y_price)
        return y[::-1], x[::-1]

    def _noise(self, name: str, sd: float) -> Floats:
        shocks: Floats = self._rng.standard_normal(STEPS) * (sd * math.sqrt(1 - _PHI[name] ** 2))
        return shocks

    def _ar1(self, name: str, shocks: Floats, slot: str | None = None) -> Floats:
        """Return s[k] = φ·s[k-1] + shocks[k], continuing from the batch before."""
        powers = _POWERS[name]
        path: Floats = powers * (self._state[slot or name] + np.cumsum(shocks / powers))
        self._state[slot or name] = float(path[-1])
        return path

    def _episodes(self) -> NDArray[np.bool_]:
        in_episode = np.zeros(STEPS, np.bool_)
        in_episode[: self._episode_left] = True
        self._episode_left = max(0, self._episode_left - STEPS)
        for start in np.flatnonzero(self._rng.random(STEPS) < STEP_TRADES / _EPISODE_INTERVAL):
            length = int(self._rng.uniform(*_EPISODE_LENGTH) / STEP_TRADES)
            in_episode[start : start + length] = True
            self._episode_left = max(self._episode_left, int(start) + length - STEPS)
        return in_episode


def _coarse(
    rng: np.random.Generator, steps: int, step_trades: float, memory: float, sd: float
) -> Floats:
    if step_trades > 30 * memory:
        return rng.standard_normal(steps) * sd  # consecutive steps are independent
    phi = math.exp(-step_trades / memory)
    shocks = rng.standard_normal(steps) * (sd * math.sqrt(1 - phi**2))
    # As many steps at once as keep φ^-k far from overflow.
    stride = max(1, min(steps, int(500 * memory / step_trades)))
    powers = phi ** np.arange(1, stride + 1)
    path = np.empty(steps)
    value = 0.0
    for start in range(0, steps, stride):
        part = shocks[start : start + stride]
        path[start : start + stride] = powers[: len(part)] * (
            value + np.cumsum(part / powers[: len(part)])
        )
        value = path[start + len(part) - 1]
    return path
