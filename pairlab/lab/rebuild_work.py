"""What a rebuild of the rows works on, frozen at the moment at which it was asked for."""

from __future__ import annotations

from typing import NamedTuple

from pairlab.data.journal import Seeds
from pairlab.engine import PairEngine
from pairlab.engine.gaps import Gap
from pairlab.schema import Records
from pairlab.settings import SettingValues

__all__ = ["RebuildWork"]


class RebuildWork(NamedTuple):
    """What a rebuild computes from, frozen when it was asked for.

    `asked_tick` is the ordinal of the first tick after that; those of `gaps` are ordinals, too.
    """

    engine: PairEngine
    values: SettingValues
    ticks: Records
    seeds: Seeds | None
    asked_tick: int
    gaps: tuple[Gap, ...] = ()
    candles: Seeds | None = None
