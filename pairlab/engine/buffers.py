"""The arrays that a kernel works in, and what can be read from them."""

from __future__ import annotations

from types import ModuleType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.state import (
    BAR,
    BAR_TIMEFRAMES,
    BARS_HELD,
    PARAMS,
    RING_COLUMNS,
    SIGNAL_FIELDS,
    fill_params,
    new_state,
)
from pairlab.errors import DataError
from pairlab.schema import EVENT, ROW, Records
from pairlab.settings import SettingValues

__all__ = ["EngineBuffers"]

_FIRST_ROWS: Final = 1_024
_KEPT_ROWS: Final = 262_144
"""The row buffer is reused up to this size; longer updates get an array of their own."""

_DROPPED: Final = ("not_finite", "not_positive", "unknown_leg")
_BAR_FIELDS: Final = ("bars_begun", "bars_head", "bars_count")


class EngineBuffers:
    """State, settings, window, bars and room for rows of one pair.

    Parameters
    ----------
    kernel : module
        `pairlab.engine.kernel`, which is imported late.
    values : mapping
        Every setting.
    """

    def __init__(self, kernel: ModuleType, values: SettingValues) -> None:
        self._kernel = kernel
        self.values: SettingValues = values
        self._params = np.zeros(1, PARAMS)
        self._params["keep_bars"] = 1
        fill_params(self._params, self.values)
        self._state = new_state()
        self._ring: NDArray[np.float64] = np.zeros((self.values.window, RING_COLUMNS))
        self._bars: Records = np.zeros((len(BAR_TIMEFRAMES), BARS_HELD + 1), BAR)
        self._rows: Records = np.zeros(_FIRST_ROWS, ROW)
        self._events: Records = np.zeros(_FIRST_ROWS, EVENT)
        self._room = _FIRST_ROWS
        self._memory = self._addresses(self._rows, self._events)

    def _room_for(self, wanted: int) -> tuple[Records, Records]:
        if wanted > _KEPT_ROWS:
            return np.empty(wanted, ROW), np.zeros(wanted, EVENT)
        if wanted > self._room:
            self._room = min(2 * wanted, _KEPT_ROWS)
            self._rows = np.empty(self._room, ROW)
            self._events = np.zeros(self._room, EVENT)
            self._memory = self._addresses(self._rows, self._events)
        return self._rows, self._events

    def _addresses(self, rows: Records, events: Records) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._kernel.addresses(
            self._state, self._params, self._ring, self._bars, rows, events
        )
        return found

    def _take_signal(self, old: EngineBuffers) -> None:
        mine = self._state[0]
        for name, value in old.signal_state.items():
            mine[name] = value

    def _take_bars_and_counts(self, old: EngineBuffers) -> None:
        mine, its = self._state[0], old._state[0]
        for name in (*_DROPPED, "late", *_BAR_FIELDS):
            mine[name] = its[name]
        self._bars = old._bars
        self._memory = self._addresses(self._rows, self._events)

    @property
    def signal_state(self) -> dict[str, int]:
        """Position, lock, cooldown and what was suppressed."""
        state = self._state[0]
        return {name: int(state[name]) for name in SIGNAL_FIELDS}

    def bars(self, timeframe: str) -> Records:
        """Return the closed bars of a timeframe that are held, oldest first.

        Parameters
        ----------
        timeframe : {"1s", "5s", "1m", "5m", "15m", "1h"}
            Any but ``"tick"``, whatever the engine's own.

        Returns
        -------
        numpy.ndarray
            `pairlab.engine.state.BAR` records at their close times: open, high, low, close and
            volume per leg. A bar in which a leg did not trade carries its last price and has
            volume 0; prices are NaN until the leg has traded.
        """
        if timeframe not in BAR_TIMEFRAMES:
            known = ", ".join(repr(name) for name in BAR_TIMEFRAMES)
            raise DataError(f"there are no bars of {timeframe!r}: one of {known}")
        level = BAR_TIMEFRAMES.index(timeframe)
        head = int(self._state[0]["bars_head"][level])
        count = int(self._state[0]["bars_count"][level])
        slots = (head - count + np.arange(count)) % (BARS_HELD + 1)
        bars: Records = self._bars[level, slots]
        for leg in "yx":
            np.maximum(bars[f"{leg}_volume"], 0.0, out=bars[f"{leg}_volume"])
        return bars

    def mark_gap(self) -> None:
        """Let the next row say that trades are missing before it."""
        self._state["gap"] = 1

    @property
    def dropped(self) -> dict[str, int]:
        """Ticks that were counted and changed nothing else, by reason."""
        state = self._state[0]
        return {name.replace("_", " "): int(state[name]) for name in _DROPPED}

    @property
    def late(self) -> int:
        """Ticks at bar timeframes that were older than the forming bar; they counted in it."""
        return int(self._state[0]["late"])
