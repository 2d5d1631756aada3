"""The engine of a session that has ended: what it knew, without the window that it computed on."""

from __future__ import annotations

import numpy as np

from pairlab.engine import PairEngine
from pairlab.engine.buffers import EngineBuffers
from pairlab.engine.state import DROP_REASONS
from pairlab.errors import PairlabError
from pairlab.schema import EVENT, TIMEFRAMES_NS, Records
from pairlab.settings import SettingValues
from pairlab.storage.session.saved_session import EngineFacts

__all__ = ["StoppedEngine"]


class StoppedEngine(PairEngine):
    """An engine that takes no more ticks, but can be rebuilt under other settings.

    It needs no compiled kernel: a session opens at once. Of a file nothing reaches the memory that
    a kernel writes to but counters, and bars that are never added to.

    Parameters
    ----------
    values : SettingValues
        With which the rows were computed.
    facts : EngineFacts
        What it knew.
    """

    def __init__(self, values: SettingValues, facts: EngineFacts) -> None:
        # Not the base class's: that compiles.
        self.values = values
        self.events = np.empty(0, EVENT)
        self.per_tick = TIMEFRAMES_NS[values.timeframe] == 0
        self._buffers = EngineBuffers(values)
        self._forming = facts.forming
        self._warning = facts.kalman_warning
        state, bars = self._buffers.state, self._buffers.bars
        for name, value in facts.signal.items():
            state[name] = value
        for name in DROP_REASONS:
            state[name] = facts.dropped[name.replace("_", " ")]
        state["late"] = facts.late
        if bars is not None:
            for timeframe, held in facts.bars.items():
                bars.hold(timeframe, held)

    def update(self, ticks: Records) -> Records:
        """Refuse ticks.

        Raises
        ------
        PairlabError
            Always.
        """
        raise PairlabError("this engine's session has ended: it takes no more ticks")

    def provisional(self) -> Records | None:
        """Return the row of the bar that was forming."""
        return self._forming.copy() if len(self._forming) else None

    @property
    def kalman_warning(self) -> str | None:
        """What it warned of."""
        return self._warning
