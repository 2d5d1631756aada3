"""Where a replay's ticks come from: the protocol of a source, and one whose ticks are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.feeds.base import Closes
from pairlab.schema import Pair, Records

__all__ = [
    "BLOCK",
    "BarMark",
    "Block",
    "GapMark",
    "HeldTicks",
    "IdGaps",
    "TickSource",
    "decimals_of",
    "in_order_of_time",
]

BLOCK: Final = 65_536
"""Ticks that a source hands on together."""

_MAX_DECIMALS: Final = 8
_SAMPLE: Final = 10_000


class GapMark(NamedTuple):
    """Trades that are missing before a tick, or what else is to be known of it.

    Attributes
    ----------
    at : int
        Index of the first tick after them.
    missing : int
        How many, 1 at least; 0 where none are.
    legs : int
        Whose: 1 y, 2 x, 3 both; and `TIME_CORRECTED`, as in `pairlab.engine.gaps.Gap`.
    """

    at: int
    missing: int
    legs: int


class BarMark(NamedTuple):
    """Bars of a gap that were known before the first tick after it.

    Attributes
    ----------
    at : int
        Index of that tick.
    timeframe : str
        Of the bars.
    closes : Closes
        Close times, and closes of both legs.
    """

    at: int
    timeframe: str
    closes: Closes


class Block(NamedTuple):
    """Ticks that follow each other.

    Attributes
    ----------
    ticks : numpy.ndarray
        `pairlab.TICK` records, shape (n,), n > 0.
    gaps : sequence of GapMark
        In ascending order of `at`, which counts in `ticks`.
    bars : sequence of BarMark
        In the same order.
    """

    ticks: Records
    gaps: Sequence[GapMark] = ()
    bars: Sequence[BarMark] = ()


class TickSource(Protocol):
    """What was recorded of one pair. It is opened, and read, on any thread but a loop's."""

    @property
    def pair(self) -> Pair:
        """The symbols of legs 0 and 1."""

    @property
    def stream(self) -> str:
        """What a tick is."""

    @property
    def time_span_ns(self) -> tuple[int, int]:
        """Exchange times of the first and last tick, ns since 1970 UTC."""

    @property
    def price_decimals(self) -> tuple[int, int] | None:
        """Decimals of y and x, where they are known."""

    @property
    def seeds(self) -> Mapping[str, Closes]:
        """By timeframe: bars from before the first tick of all, as far as they are known."""

    @property
    def notes(self) -> Sequence[str]:
        """What it is and what was taken for what, one sentence without a full stop each."""

    def blocks(self, start_ns: int | None = None, before: int = 0) -> Iterator[Block]:
        """Yield the ticks in the order in which they are played.

        Parameters
        ----------
        start_ns : int, optional
            Begin with the first tick whose time, or that of one before it, is at or after this
            (ns since 1970 UTC); by default with the first of all.
        before : int
            Begin this many ticks earlier, or with the first. A source of one file a symbol may
            begin so many ticks of each earlier.

        Raises
        ------
        DataError
            Where the rest cannot be read.
        """


class HeldTicks:
    """A source whose ticks are all in memory, 48 bytes each.

    Parameters
    ----------
    pair, stream, price_decimals, notes
        As in `TickSource`; decimals that are None are found in the prices.
    ticks : numpy.ndarray
        `pairlab.TICK` records, in the order in which they are played.
    gaps : sequence of GapMark
        Ascending.
    seeds : Mapping[str, Closes]
        As in `TickSource`.

    Raises
    ------
    DataError
        If there is no tick of one of the symbols.
    """

    def __init__(
        self,
        pair: Pair,
        stream: str,
        ticks: Records,
        gaps: Sequence[GapMark] = (),
        *,
        notes: Sequence[str] = (),
        price_decimals: tuple[int, int] | None = None,
        seeds: Mapping[str, Closes] = MappingProxyType({}),
    ) -> None:
        self.seeds: Final = seeds
        missing = [name for leg, name in enumerate(pair) if not (ticks["leg"] == leg).any()]
        if missing:
            raise DataError(f"no ticks of {' and '.join(missing)}")
        self.pair, self.stream, self.notes = pair, stream, notes
        self._ticks, self._gaps = ticks, list(gaps)
        self._times: NDArray[np.int64] = np.maximum.accumulate(ticks["time_ns"])
        self.time_span_ns = int(ticks["time_ns"][0]), int(self._times[-1])
        self.price_decimals = price_decimals or decimals_of(ticks)

    def __len__(self) -> int:
        return len(self._ticks)

    def blocks(self, start_ns: int | None = None, before: int = 0) -> Iterator[Block]:
        """Do as `TickSource.blocks`."""
        first = 0
        if start_ns is not None:
            first = max(int(np.searchsorted(self._times, start_ns)) - before, 0)
        marks = [mark for mark in self._gaps if mark.at >= first]
        due = 0
        for start in range(first, len(self._ticks), BLOCK):
            stop = min(start + BLOCK, len(self._ticks))
            inside = []
            while due < len(marks) and marks[due].at < stop:
                inside.append(marks[due]._replace(at=marks[due].at - start))
                due += 1
            yield Block(self._ticks[start:stop], inside)


class IdGaps:
    """Finds ids that are missing within a leg, block after block."""

    def __init__(self) -> None:
        self._last: list[int | None] = [None, None]

    def find(self, ticks: Records) -> list[GapMark]:
        """Return the gaps before the ticks of the next block."""
        found = []
        for leg in (0, 1):
            at = np.flatnonzero(ticks["leg"] == leg)
            if not len(at):
                continue
            ids = ticks["id"][at]
            last = self._last[leg]
            steps = np.diff(ids, prepend=ids[0] - 1 if last is None else last)
            for k in np.flatnonzero(steps > 1).tolist():
                found.append(GapMark(int(at[k]), int(steps[k]) - 1, 1 << leg))
            self._last[leg] = int(ids[-1])
        return sorted(found)


def in_order_of_time(y: Records, x: Records) -> Records:
    """Return the ticks of both legs merged, those of each in the order in which they were.

    A leg's times count by their running maximum: a time that falls does not move its tick before
    an earlier one. Where both legs have the same time, y's ticks come first: nothing in two files
    says which was first.
    """
    running = [np.maximum.accumulate(leg["time_ns"]) for leg in (y, x)]
    order = np.argsort(np.concatenate(running), kind="stable")
    merged: Records = np.concatenate([y, x])[order]
    return merged


def decimals_of(ticks: Records) -> tuple[int, int]:
    """Return the decimals that the first prices of y and x are written with."""
    found = []
    for leg in (0, 1):
        prices = ticks["price"][ticks["leg"] == leg][:_SAMPLE]
        prices = prices[np.isfinite(prices)]
        places = (
            n
            for n in range(_MAX_DECIMALS)
            if bool((np.abs(prices - np.round(prices, n)) <= 1e-12 * np.abs(prices)).all())
        )
        found.append(next(places, _MAX_DECIMALS))
    return found[0], found[1]
