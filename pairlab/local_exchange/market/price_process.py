"""The random process behind the synthetic market: two prices that belong together, mostly.

Everything runs in *trade time*: a cell is a fixed part of a trade, and the clock runs faster or
slower over it as the market's activity changes. Windows of so many ticks therefore look alike at
every rate, in bursts and in lulls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELLS", "CELL_TRADES", "MEAN_ECHO", "MEAN_SWEEP", "PairProcess", "StepBatch"]

CELLS: Final = 2_000
"""Cells in a block."""
CELL_TRADES: Final = 0.4
"""Expected trades in a cell."""
MEAN_SWEEP: Final = 1.7
"""Trades that one taker's order makes, on average."""
MEAN_ECHO: Final = 0.97
"""Share of orders that arbitrage answers on the other leg at once."""

Floats = NDArray[np.float64]

# Memories in trades and sizes in units of x's (or y's) price, chosen so that over 50 ticks the
# correlation is mostly above 0.8 and |z| passes 2 every second or two at 40 trades/s. Smooth
# swings, because in a tick-by-tick z-score roughness shows as spikes that last one tick.
_DRIFT: Final = 2.2e-5  # of x per square root of a trade, mostly through a smooth velocity
_DRIFT_SMOOTH: Final = 0.97
_WAVE: Final = 5e-4  # of x: swings that come and go within some hundred trades
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
    "apart": 80.0,
}
_VOLATILITY_SD: Final = 0.45
_ACTIVITY_SD: Final = 0.6
_EPISODE_EVERY: Final = 3_600.0  # trades
_EPISODE_LENGTH: Final = (100.0, 260.0)  # trades

_PHI: Final = {name: math.exp(-CELL_TRADES / memory) for name, memory in _MEMORY.items()}
_POWERS: Final = {name: phi ** np.arange(1, CELLS + 1) for name, phi in _PHI.items()}


@dataclass(frozen=True, slots=True)
class StepBatch:
    """A block of the process.

    Attributes
    ----------
    elapsed : ndarray of float, shape (CELLS + 1,)
        Clock at each cell's edge, in mean times between trades.
    y, x : ndarray of float, shape (CELLS + 1,)
        Fair prices at each cell's edge.
    """

    elapsed: Floats
    y: Floats
    x: Floats


class PairProcess:
    """y = ratio · x + intercept + spread, with changing volatility and episodes apart.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where chance comes from.
    ratio, intercept : float
        How y follows x.
    x_price : float
        Where x starts and what it is slowly pulled back to.
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

    def block(self) -> StepBatch:
        """Return the next block; the first edge is the last one of the block before."""
        rng = self._rng
        volatility = np.exp(self._walk("volatility", self._noise("volatility", _VOLATILITY_SD)))
        activity = self._walk("activity", self._noise("activity", _ACTIVITY_SD))
        pace = np.exp(-activity - _ACTIVITY_SD**2 / 2)  # mean 1: the rate asked for is kept

        velocity_sd = math.sqrt(_DRIFT_SMOOTH * _DRIFT**2 / (2 * _MEMORY["velocity"]))
        velocity = self._walk("velocity", self._noise("velocity", velocity_sd))
        rough = math.sqrt((1 - _DRIFT_SMOOTH) * CELL_TRADES) * _DRIFT
        before = self._state["wave2"]
        swing = self._walk("wave", self._noise("wave", 1.0))
        wave = self._walk("wave", swing * (1 - _PHI["wave"]), "wave2")
        step = np.diff(wave, prepend=before) * math.sqrt(2.0) * _WAVE
        step += velocity * CELL_TRADES + rng.standard_normal(CELLS) * rough
        step *= volatility * self._x_price
        level = self._walk("level", step)

        push = volatility * self._noise("spread", math.sqrt(2.0) * _SPREAD * self._y_price)
        rush = self._walk("spread", push)
        spread = self._walk("spread", rush * (1 - _PHI["spread"]), "spread2")
        slow = self._walk("slow", self._noise("slow", _SLOW_SPREAD * self._y_price))
        # Apart, y no longer follows x but noise of its own; afterwards it is drawn back.
        own = _DRIFT * self._y_price * 0.7 * math.sqrt(CELL_TRADES)
        shocks = volatility * own * rng.standard_normal(CELLS) - self._ratio * step
        apart = self._walk("apart", np.where(self._episodes(), shocks, 0.0))

        x = self._x_price + level
        y = self._ratio * x + self._intercept + spread + slow + apart
        edges_y = np.concatenate(([self._last[0]], y))
        edges_x = np.concatenate(([self._last[1]], x))
        self._last = (float(y[-1]), float(x[-1]))
        elapsed = np.concatenate(([0.0], np.cumsum(pace * CELL_TRADES)))
        return StepBatch(elapsed, edges_y, edges_x)

    def backwards(self, steps: int, step_trades: float) -> tuple[Floats, Floats]:
        """Return a coarse past of (y, x), oldest first, that ends where the process starts.

        A stationary Ornstein-Uhlenbeck process looks the same run backwards, so the past is one
        more walk from the same start.
        """
        rng = self._rng
        level_sd = _DRIFT * self._x_price * math.sqrt(_MEMORY["level"] / 2)
        x = self._x_price + _coarse(rng, steps, step_trades, _MEMORY["level"], level_sd)
        y = self._ratio * x + self._intercept
        for name, size in (("spread", _SPREAD), ("slow", _SLOW_SPREAD)):
            y += _coarse(rng, steps, step_trades, _MEMORY[name], size * self._y_price)
        return y[::-1], x[::-1]

    def _noise(self, name: str, sd: float) -> Floats:
        shocks: Floats = self._rng.standard_normal(CELLS) * (sd * math.sqrt(1 - _PHI[name] ** 2))
        return shocks

    def _walk(self, name: str, shocks: Floats, slot: str | None = None) -> Floats:
        """Return s[k] = φ·s[k-1] + shocks[k], going on from the block before."""
        powers = _POWERS[name]
        path: Floats = powers * (self._state[slot or name] + np.cumsum(shocks / powers))
        self._state[slot or name] = float(path[-1])
        return path

    def _episodes(self) -> NDArray[np.bool_]:
        inside = np.zeros(CELLS, np.bool_)
        inside[: self._episode_left] = True
        self._episode_left = max(0, self._episode_left - CELLS)
        for start in np.flatnonzero(self._rng.random(CELLS) < CELL_TRADES / _EPISODE_EVERY):
            length = int(self._rng.uniform(*_EPISODE_LENGTH) / CELL_TRADES)
            inside[start : start + length] = True
            self._episode_left = max(self._episode_left, int(start) + length - CELLS)
        return inside


def _coarse(
    rng: np.random.Generator, steps: int, step_trades: float, memory: float, sd: float
) -> Floats:
    if step_trades > 30 * memory:
        return rng.standard_normal(steps) * sd  # nothing is left of a step at the next one
    phi = math.exp(-step_trades / memory)
    shocks = rng.standard_normal(steps) * (sd * math.sqrt(1 - phi**2))
    # As many steps at once as keep φ^-k far from overflowing.
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
