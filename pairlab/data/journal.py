"""What else decides the rows beside the ticks, each with the tick before which it took effect.

Every accepted tick has an ordinal: 0 for the first that the pipeline took, one more for each that
follows, over both legs. Given the ticks in this order, the settings at the start and these events,
the rows are the same to the last bit (as long as no event has left the journal); times cannot
replace ordinals, because many trades share a
millisecond.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.gaps import Gap
from pairlab.schema import BOTH_LEGS
from pairlab.settings import SettingValue, SettingValues

__all__ = [
    "EngineStarted",
    "GapFilled",
    "GapMarked",
    "Journal",
    "JournalEvent",
    "Rebuilt",
    "Reset",
    "Seeds",
    "SettingChanged",
    "TimeCorrected",
]


_LOGGER: Final = logging.getLogger("pairlab.data.journal")


class Seeds(NamedTuple):
    """Closes of bars that were not made of ticks held: from before the first one, or of a gap.

    Attributes
    ----------
    time_ns : numpy.ndarray
        Close times, ns since 1970 UTC, ascending.
    y, x : numpy.ndarray
        Closes of both legs.
    """

    time_ns: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """The engine was compiled and caught up with the ticks held.

    Attributes
    ----------
    tick : int
        Ordinal of the first tick that became rows at once.
    first_tick : int
        Ordinal of the oldest tick held then, which it began with.
    values : SettingValues
        The settings it started with.
    seeds : Seeds or None
        The closes it was warmed with.
    gaps : tuple of Gap
        Those before the ticks held then, numbered by ordinal.
    candles : Seeds or None
        Bars known from the exchange: those within the gaps were observed.
    """

    tick: int
    first_tick: int
    values: SettingValues
    seeds: Seeds | None
    gaps: tuple[Gap, ...] = ()
    candles: Seeds | None = None


@dataclass(frozen=True, slots=True)
class GapMarked:
    """Trades are missing before a tick.

    Attributes
    ----------
    tick : int
        Ordinal of the first tick after the gap.
    missing : int or None
        Trades in the gap; None where nobody can know: the feed did not run.
    legs : int
        Whose: 1 y, 2 x, 3 both.
    """

    tick: int
    missing: int | None
    legs: int = BOTH_LEGS


@dataclass(frozen=True, slots=True)
class TimeCorrected:
    """A tick was stamped ahead of the clock: its feed gave it the newest time known before it.

    Attributes
    ----------
    tick : int
        Its ordinal.
    """

    tick: int


@dataclass(frozen=True, slots=True)
class GapFilled:
    """Bars of a gap came from the exchange before the first tick after it.

    Attributes
    ----------
    tick : int
        Ordinal of that tick.
    candles : Seeds
        The closes.
    """

    tick: int
    candles: Seeds


@dataclass(frozen=True, slots=True)
class SettingChanged:
    """A setting was changed.

    Attributes
    ----------
    tick : int
        Ordinal of the first tick after it was asked for. A threshold applies from that tick on; a
        setting that defines a metric from `Rebuilt.tick` on.
    name : str
        The setting.
    old, new : object
        Its values.
    """

    tick: int
    name: str
    old: SettingValue
    new: SettingValue


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Metrics were recomputed from the ticks held, and a fresh engine took over.

    Attributes
    ----------
    asked_tick : int
        Ordinal of the first tick after it was asked for.
    tick : int
        Ordinal of the first tick that the fresh engine decided.
    first_tick : int
        Ordinal of the oldest tick held when it was asked for: it computed from that one on.
    resumed_tick : int
        It went on from this tick: `asked_tick`, or a later one where more ticks came meanwhile
        than are held. That row is flagged GAP_BEFORE.
    values : SettingValues
        The settings that it computed with.
    seeds : Seeds or None
        The closes it was warmed with.
    gaps : tuple of Gap
        Those before the ticks from `first_tick` to before `asked_tick`, numbered by ordinal.
    candles : Seeds or None
        Bars known from the exchange: those within the gaps were observed.
    """

    asked_tick: int
    tick: int
    first_tick: int
    resumed_tick: int
    values: SettingValues
    seeds: Seeds | None
    gaps: tuple[Gap, ...] = ()
    candles: Seeds | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Ticks, rows and alerts were forgotten: a replay was restarted, or sent to another time.

    Attributes
    ----------
    tick : int
        Ordinal of the first tick that came after it; ordinals go on.
    """

    tick: int


JournalEvent = (
    EngineStarted | GapFilled | GapMarked | SettingChanged | Rebuilt | Reset | TimeCorrected
)


class Journal:
    """The newest events in the order in which they took place, in bounded memory.

    Parameters
    ----------
    capacity : int
        How many are kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._events: deque[JournalEvent] = deque(maxlen=capacity)
        self._observers: list[Callable[[JournalEvent], None]] = []
        self._total = 0

    def restore(self, events: Iterable[JournalEvent], total: int) -> None:
        """Hold these events, the newest of `total`, in place of all others; nobody is told."""
        self._events.clear()
        self._events.extend(events)
        self._total = total

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[JournalEvent]:
        return iter(self._events)

    @property
    def total(self) -> int:
        """How many events there ever were."""
        return self._total

    def observe(self, observer: Callable[[JournalEvent], None]) -> Callable[[], None]:
        """Call `observer` with each event as it happens; what is returned ends it.

        What an observer raises is logged; the event takes place all the same.
        """
        self._observers.append(observer)

        def remove() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return remove

    def add(self, event: JournalEvent) -> None:
        """Append an event."""
        self._events.append(event)
        self._total += 1
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                _LOGGER.exception("a journal observer raised on %s; the event stands", event)
