"""The newest ticks of all symbols, held once, and any pair's share of them."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.data.ring import Ring
from pairlab.engine.gaps import Gap
from pairlab.engine.state import SYMBOL_TICK
from pairlab.schema import NO_TIME_NS, TICK, TIME_CORRECTED, Records

__all__ = ["PairTicks", "SymbolGap", "TickStore", "merged", "share_of"]

_GAPS_KEPT: Final = 10_000


class SymbolGap(NamedTuple):
    """Trades of a symbol that are missing, or a tick of it whose time was corrected.

    Attributes
    ----------
    tick : int
        Ordinal, among the ticks of all symbols, from which on its next tick comes; of the tick
        itself, if that was corrected.
    symbol : int
        Its number.
    since_ns : int
        Time of its last trade before; `NO_TIME_NS` if there was none.
    corrected : bool
        Nothing is missing: the tick was stamped ahead of the clock.
    """

    tick: int
    symbol: int
    since_ns: int
    corrected: bool = False

    def legs(self, x: int) -> int:
        """Return what a `pairlab.engine.gaps.Gap` says of it, where this symbol is x."""
        if self.corrected:
            return TIME_CORRECTED
        return 2 if self.symbol == x else 1


class TickStore:
    """The newest ticks of all symbols.

    Parameters
    ----------
    capacity : int
        How many are held.

    Attributes
    ----------
    counts : numpy.ndarray
        Ticks that each symbol ever had, by its number.
    newest_ns : numpy.ndarray
        Time of the last one of each; `NO_TIME_NS` before the first.
    gaps : deque of SymbolGap
        The newest ones.
    """

    def __init__(self, capacity: int) -> None:
        self._ring = Ring(SYMBOL_TICK, capacity)
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self.newest_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self.prices: NDArray[np.float64] = np.zeros(0)
        self.gaps: deque[SymbolGap] = deque(maxlen=_GAPS_KEPT)

    def add_symbol(self) -> int:
        """Return the number of one more symbol."""
        self.counts = np.append(self.counts, 0)
        self.newest_ns = np.append(self.newest_ns, NO_TIME_NS)
        self.prices = np.append(self.prices, np.nan)
        return len(self.counts) - 1

    @property
    def total(self) -> int:
        """Ticks ever appended."""
        return self._ring.total

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._ring.nbytes

    def append(self, ticks: Records) -> None:
        """Hold ticks, of `SYMBOL_TICK`."""
        self._ring.append(ticks)
        symbols = ticks["leg"]
        self.counts += np.bincount(symbols, minlength=len(self.counts))
        self.newest_ns[symbols] = ticks["time_ns"]  # the last one of each stays
        self.prices[symbols] = ticks["price"]

    def mark(self, symbol: int, *, corrected: bool = False) -> SymbolGap:
        """Note that trades of a symbol are missing before its next tick, or that it is corrected.

        One that is corrected is the next of all.
        """
        gap = SymbolGap(self.total, symbol, int(self.newest_ns[symbol]), corrected)
        self.gaps.append(gap)
        return gap

    def of_pair(
        self, y: int, x: int, since: int = 0, until: int | None = None
    ) -> tuple[Records, NDArray[np.int64]]:
        """Return a pair's ticks that are held, as `TICK`, and their ordinals among all.

        Parameters
        ----------
        y, x : int
            Numbers of the symbols.
        since, until : int
            Ordinals: the first one that is wanted, and the one after the last.
        """
        held = self._ring.view()
        first = self.total - len(held)
        stop = len(held) if until is None else max(until - first, 0)
        start = max(since - first, 0)
        held = held[start:stop]
        ticks, at = share_of(held, y, x)
        return ticks, at + (first + start)


class PairTicks(Ring):
    """A pair's share of a `TickStore`, as a pipeline reads its ticks.

    Parameters
    ----------
    store : TickStore
        Where all ticks are.
    y, x : int
        Numbers of the symbols.

    Attributes
    ----------
    held_at : int or None
        Ordinal among all ticks from which on they are held back from the pair; None: none are.
    """

    def __init__(self, store: TickStore, y: int, x: int) -> None:
        self._store = store
        self._y, self._x = y, x
        self.held_at: int | None = None
        self._held_total = self._held_first = 0
        self._spans: deque[tuple[int, int]] = deque(maxlen=1_000)  # that came out by time

    @property
    def total(self) -> int:
        """The ticks that the pair ever had."""
        if self.held_at is not None:
            return self._held_total
        counts = self._store.counts
        return int(counts[self._y] + counts[self._x])

    @property
    def nbytes(self) -> int:
        """Nothing of its own."""
        return 0

    def __len__(self) -> int:
        return len(self.view())

    def hold(self) -> None:
        """Hold back the ticks that come from now on."""
        self._held_total = self._held_first = self.total
        self.held_at = self._store.total

    def waiting(self) -> tuple[Records, NDArray[np.int64]]:
        """Return the ticks that are held back, and their ordinals among all."""
        return self._store.of_pair(self._y, self._x, self.held_at or 0)

    def come_out(self, count: int) -> None:
        """Count so many of what is held back as the pair's: they come out by time."""
        self._held_total += count

    def release(self) -> None:
        """Hold back nothing any more: what waited has come out by time."""
        first = self._held_first
        self.held_at = None
        if self.total > first:
            self._spans.append((first, self.total))

    def append(self, records: Records) -> None:
        """Refuse: ticks go to the store."""
        raise NotImplementedError

    def resized(self, capacity: int) -> Ring:
        """Return itself: how many are held is the store's."""
        return self

    def emptied(self) -> Ring:
        """Refuse: the store is not one pair's."""
        raise NotImplementedError

    def view(self, last: int | None = None) -> Records:
        """Return the newest `last` ticks, or all, as the engine has had them."""
        ticks, _ = self._store.of_pair(self._y, self._x, 0, self.held_at)
        first = self.total - len(ticks)
        for start, stop in self._spans:
            if stop > first:
                part = slice(max(start - first, 0), stop - first)
                ticks[part] = ticks[part][merged(ticks[part])]
        return ticks if last is None else ticks[max(len(ticks) - last, 0) :]

    def gaps(self) -> list[Gap]:
        """Return the gaps before ticks that are held, by the pair's own ordinals."""
        ticks, ordinals = self._store.of_pair(self._y, self._x, 0, self.held_at)
        first = self.total - len(ticks)
        found: dict[int, int] = {}
        for gap in self._store.gaps:
            if gap.symbol not in (self._y, self._x):
                continue
            at = int(np.searchsorted(ordinals, gap.tick))
            there = at < len(ordinals) and ordinals[at] == gap.tick
            if there if gap.corrected else at > 0:  # before the first that is held nothing is known
                found[first + at] = found.get(first + at, 0) | gap.legs(self._x)
        return [Gap(at, legs) for at, legs in sorted(found.items())]


def share_of(ticks: Records, y: int, x: int) -> tuple[Records, NDArray[np.int64]]:
    """Return the ticks of a pair among those of all symbols, as new `TICK` records, and where."""
    symbols = ticks["leg"]
    at = np.flatnonzero((symbols == y) | (symbols == x))
    share = ticks[at]
    is_x = share["leg"] == x
    own: Records = share.view(TICK)  # every field but the leg lies where TICK has it
    own["leg"] = is_x
    return own, at


def merged(ticks: Records) -> NDArray[np.int64]:
    """Return the order by time, y before x, in which held ticks come out; each leg's own stays."""
    keys = ticks["time_ns"].copy()
    for leg in (0, 1):
        own = ticks["leg"] == leg
        keys[own] = np.maximum.accumulate(keys[own]) if own.any() else keys[own]
    order: NDArray[np.int64] = np.lexsort((ticks["leg"], keys))
    return order
