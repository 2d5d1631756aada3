"""`ManyPairs`: the engines of many pairs, advanced together by one call of the kernel a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.pair_engine import PairEngine
from pairlab.engine.state import PAIR_SLOT, PARAMS, SYMBOL_TICK, new_state
from pairlab.errors import DataError
from pairlab.schema import EVENT, TICK, Records

__all__ = ["ManyPairs"]

_CHUNK: Final = 64
"""Pairs whose states and parameters lie side by side; a chunk never moves."""

_LEAST_EVENTS: Final = 1_024
_LEAST_TICKS: Final = 1_024


class ManyPairs:
    """Memory of many pairs, and the call that advances all of them.

    Every pair is a `PairEngine` that can be used by itself between two batches (to mark a gap, to
    seed, to change a threshold): it works on the same memory.

    Parameters
    ----------
    make_room : callable
        Called with a slot whose buffer of rows is full: it sets the slot's ``rows``, ``room`` and
        ``end``, so that one more fits at least.

    Attributes
    ----------
    slots : numpy.ndarray
        `PAIR_SLOT` records, one a pair; those of pairs that were removed are not ``active``.
    """

    def __init__(self, make_room: Callable[[int], None]) -> None:
        self._make_room = make_room
        self.slots: Records = np.zeros(_CHUNK, PAIR_SLOT)
        self._states: list[Records] = []
        self._params: list[Records] = []
        self._engines: dict[int, PairEngine] = {}
        self._free: list[int] = []
        self._used = 0  # slots that were ever given out
        self._symbols = 0
        self._ends: NDArray[np.int64] = np.zeros(1, np.int64)
        self._events: Records = np.zeros(_LEAST_EVENTS, EVENT)
        self._event_slots: NDArray[np.int64] = np.zeros(_LEAST_EVENTS, np.int64)
        self._share: Records = np.zeros(_LEAST_TICKS, TICK)
        self._order: NDArray[np.int64] = np.zeros(_LEAST_TICKS, np.int64)

    def add(self, y: int, x: int) -> int:
        """Give a pair of symbols, by their numbers, a slot; it is passed over until `activate`."""
        slot = self._free.pop() if self._free else self._used
        if slot == self._used:
            self._used += 1
            if slot % _CHUNK == 0:
                self._states.append(new_state(_CHUNK))
                self._params.append(np.zeros(_CHUNK, PARAMS))
            if slot == len(self.slots):
                self.slots = np.concatenate([self.slots, np.zeros(slot, PAIR_SLOT)])
        self.slots[slot] = np.zeros(1, PAIR_SLOT)[0]
        self.slots["y"][slot], self.slots["x"][slot] = y, x
        self.know_symbols(max(y, x) + 1)
        return slot

    def know_symbols(self, count: int) -> None:
        """Take ticks of so many symbols, at least: some may be in no pair."""
        self._symbols = max(self._symbols, count)

    def bind(self, slot: int, engine: PairEngine) -> None:
        """Have an engine be the one of a slot: its state moves there.

        Raises
        ------
        DataError
            If it keeps bars: the bars of many pairs are those of their symbols.
        """
        if engine.keeps_bars:
            raise DataError("an engine of many pairs keeps no bars: make it with bars=False")
        chunk, at = divmod(slot, _CHUNK)
        state, params = self._states[chunk][at : at + 1], self._params[chunk][at : at + 1]
        self.slots["ring"][slot] = engine.move_to(state, params)
        self.slots["state"][slot] = state.ctypes.data
        self.slots["params"][slot] = params.ctypes.data
        self._engines[slot] = engine

    def activate(self, slot: int, active: bool = True) -> None:
        """Have a pair, which has an engine and a buffer, take part in each batch, or not."""
        self.slots["active"][slot] = active

    def remove(self, slot: int) -> None:
        """Take a pair's slot back."""
        self.slots["active"][slot] = 0
        self._engines.pop(slot, None)
        self._free.append(slot)

    def update(self, ticks: Records) -> Iterator[tuple[Records, NDArray[np.int64]]]:
        """Consume ticks of all symbols; yield what happened, most often nothing.

        Parameters
        ----------
        ticks : numpy.ndarray
            `SYMBOL_TICK` records, in the order in which they happened.

        Yields
        ------
        tuple of numpy.ndarray
            `pairlab.schema.EVENT` records, whose ``row`` is the row's number within its pair, and
            the slots of these pairs; overwritten by the next ones. Exhaust the iterator.

        Raises
        ------
        DataError
            If they are not such ticks, or of a symbol that is not known.
        """
        from pairlab.engine.many.many_kernel import EVENT_COUNT, RESUME_SLOT, kernel_many

        if ticks.dtype != SYMBOL_TICK or ticks.ndim != 1:
            raise DataError(f"ticks must be a 1-D array of SYMBOL_TICK, not of {ticks.dtype}")
        if not len(ticks):
            return
        ticks = np.ascontiguousarray(ticks)
        symbols = ticks["leg"]
        if int(symbols.min()) < 0 or int(symbols.max()) >= self._symbols:
            raise DataError(f"ticks of symbol {int(symbols.max())}: there are {self._symbols}")
        memory = self._memory(ticks)
        run = kernel_many()
        while True:
            done = run(memory)
            if count := int(memory[EVENT_COUNT]):
                yield self._events[:count], self._event_slots[:count]
            if done:
                return
            slot = int(memory[RESUME_SLOT])
            if self.slots["end"][slot] >= self.slots["room"][slot]:
                self._make_room(slot)

    def _memory(self, ticks: Records) -> NDArray[np.int64]:
        if len(ticks) > len(self._share):
            self._share = np.zeros(2 * len(ticks), TICK)
            self._order = np.zeros(2 * len(ticks), np.int64)
        if self._symbols > len(self._ends):
            self._ends = np.zeros(2 * self._symbols, np.int64)
        arrays = (ticks, self.slots, self._ends, self._order, self._share, self._events)
        address = [array.ctypes.data for array in (*arrays, self._event_slots)]
        return np.array(
            [
                0, address[0], len(ticks), address[1], self._used, address[2], self._symbols,
                *address[3:], len(self._events), 0, 0, 0,
            ],
            np.int64,
        )  # fmt: skip
